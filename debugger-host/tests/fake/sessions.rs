//! Sessions from files: what is typed and what is printed. `> ` begins a command, `| ` its further
//! lines, `% ` an order to the test; all else is output, which ends with `(failed)` when the
//! command does.

use super::{Debuggee, Driver};
use std::fs;
use std::path::PathBuf;
use std::sync::atomic::Ordering;
use wire_protocol::packet::Occasion;

/// What stands for the folder of the test.
pub(crate) const FOLDER: &str = "{folder}";

/// One paragraph of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// `% NAME VALUE`, with the lines that belong to it.
    Order { line: String, text: String },
    /// `> COMMAND`, with what it printed.
    Command { text: String, printed: String },
}

/// All files of a folder beside the tests.
pub(crate) fn files(folder: &str) -> Vec<PathBuf> {
    let folder = format!("{}/tests/{folder}", env!("CARGO_MANIFEST_DIR"));
    let mut files: Vec<PathBuf> = fs::read_dir(folder)
        .expect("the folder is there")
        .map(|entry| entry.expect("readable").path())
        .collect();
    files.sort();
    files
}

/// The recorded text of a file is that of these steps; with `STANDSTILL_RECORD` set it is written anew.
pub(crate) fn hold_to_record(file: &std::path::Path, now: &[Step]) {
    let now = text(now);
    if std::env::var_os("STANDSTILL_RECORD").is_some() {
        return fs::write(file, now).expect("writable");
    }
    let recorded = fs::read_to_string(file).unwrap_or_default();
    for (number, (was, is)) in recorded.lines().zip(now.lines()).enumerate() {
        assert_eq!(was, is, "{}, line {}", file.display(), number + 1);
    }
    assert_eq!(recorded, now, "{}", file.display());
}

/// What a file has.
pub(crate) fn steps(text: &str) -> Vec<Step> {
    let mut steps = Vec::new();
    for line in text.lines() {
        if let Some(command) = line.strip_prefix("> ") {
            steps.push(Step::Command {
                text: command.to_owned(),
                printed: String::new(),
            });
            continue;
        }
        if let Some(order) = line.strip_prefix("% ") {
            steps.push(Step::Order {
                line: order.to_owned(),
                text: String::new(),
            });
            continue;
        }
        let more = line.strip_prefix("| ");
        match (steps.last_mut(), more) {
            (Some(Step::Command { text, .. }), Some(more)) => {
                text.push('\n');
                text.push_str(more);
            }
            (Some(Step::Order { text, .. }), Some(more)) => {
                text.push_str(more);
                text.push('\n');
            }
            (Some(Step::Command { printed, .. }), None) => {
                printed.push_str(line);
                printed.push('\n');
            }
            (step, _) => panic!("`{line}` belongs to no command: {step:?}"),
        }
    }
    steps
}

/// The file with these steps.
pub(crate) fn text(steps: &[Step]) -> String {
    let mut text = String::new();
    for step in steps {
        match step {
            Step::Order { line, text: more } => {
                text.push_str(&format!("% {line}\n"));
                for line in more.lines() {
                    text.push_str(&format!("| {line}\n"));
                }
            }
            Step::Command {
                text: command,
                printed,
            } => {
                text.push_str(&format!("> {}\n", command.replace('\n', "\n| ")));
                text.push_str(printed);
            }
        }
    }
    text
}

/// Carries out an order to the test.
pub(crate) fn carry_out(debuggee: &Debuggee, line: &str, text: &str) {
    let (name, value) = line.split_once(' ').unwrap_or((line, ""));
    let controls = &debuggee.controls;
    match name {
        "file" => drop(debuggee.file(value, text)),
        "hit_after_go" => controls
            .hit_after_go
            .store(value == "yes", Ordering::Relaxed),
        "script_hits" => controls
            .script_hits
            .store(value.parse().expect("a number"), Ordering::Relaxed),
        "driver" => {
            let driver = match value {
                "goes" => Driver::Goes,
                _ => Driver::Comes,
            };
            *controls.driver.lock().expect("unpoisoned") = Some(driver);
        }
        "version" => {
            let version = value.parse().expect("a number");
            *controls.other_version.lock().expect("unpoisoned") = Some(version);
        }
        "core_dies" => controls.core_dies.store(true, Ordering::Relaxed),
        "comes" => {
            let occasion = match value {
                "panic" => Occasion::Panic,
                "oops" => Occasion::Oops,
                "reboot" => Occasion::Restart,
                "module" => Occasion::ModuleLoad,
                "program" => Occasion::Program,
                _ => panic!("nothing is called {value}"),
            };
            *controls.occasion.lock().expect("unpoisoned") = Some(occasion);
        }
        "extra_event" => controls.extra_event.store(true, Ordering::Relaxed),
        _ => panic!("there is no order `{name}`"),
    }
}
