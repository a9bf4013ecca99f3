//! Whole sessions against the made-up debuggee, byte for byte as users see them. Each file in
//! `sessions/` has what is typed and what is printed; together they have every command.
//!
//! `> ` begins a command, `| ` its further lines, `% ` an order to the test; all else is output,
//! which ends with `(failed)` when the command does. With `STANDSTILL_RECORD` set the outputs are
//! written anew.
#![cfg(unix)]
#![allow(missing_docs, reason = "a test")]

#[allow(dead_code, reason = "other test files use the rest")]
mod fake;

use debugger_host::command::{COMMANDS, find};
use fake::Debuggee;
use fake::host::Host;
use std::fs;
use std::path::PathBuf;
use std::sync::atomic::Ordering;

/// What stands for the folder of the test.
const FOLDER: &str = "{folder}";

/// One paragraph of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Step {
    /// `% NAME VALUE`, with the lines that belong to it.
    Order { line: String, text: String },
    /// `> COMMAND`, with what it printed.
    Command { text: String, printed: String },
}

fn sessions() -> Vec<PathBuf> {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/sessions");
    let mut files: Vec<PathBuf> = fs::read_dir(folder)
        .expect("the folder is there")
        .map(|entry| entry.expect("readable").path())
        .collect();
    files.sort();
    files
}

fn steps(text: &str) -> Vec<Step> {
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

fn text(steps: &[Step]) -> String {
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

/// Counts of frames depend on time.
fn without_counts(printed: &str) -> String {
    let mut text = String::new();
    for line in printed.lines() {
        let is_count = line.starts_with("link  ") || line.starts_with("frames  ");
        let hide = |c: char| if c.is_ascii_digit() { '#' } else { c };
        let mut line: String = match is_count {
            true => line.chars().map(hide).collect(),
            false => line.to_owned(),
        };
        while is_count && line.contains("##") {
            line = line.replace("##", "#");
        }
        text.push_str(&line);
        text.push('\n');
    }
    text
}

/// Carries out an order to the test.
fn obey(debuggee: &Debuggee, line: &str, text: &str) {
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
        "extra_event" => controls.extra_event.store(true, Ordering::Relaxed),
        _ => panic!("there is no order `{name}`"),
    }
}

/// Runs the commands of a session; the same steps, with what is printed now.
fn run(steps: &[Step]) -> Vec<Step> {
    let debuggee = Debuggee::start();
    let folder = debuggee.socket.parent().expect("it is in a folder");
    let folder = folder.to_str().expect("a plain name").to_owned();
    let (mut host, greeting) = Host::connect(&debuggee);
    // What happens while the debuggee runs is shown by this command or the next one.
    let mut early = greeting;
    steps
        .iter()
        .map(|step| match step {
            Step::Order { line, text } => {
                obey(&debuggee, line, text);
                step.clone()
            }
            Step::Command { text, .. } => {
                let (now, is_good) = host.run(&text.replace(FOLDER, &folder));
                let mut printed = std::mem::take(&mut early) + &now;
                if text == "g" && is_good {
                    early = std::mem::take(&mut printed);
                }
                if !is_good {
                    printed.push_str("(failed)\n");
                }
                Step::Command {
                    text: text.clone(),
                    printed: without_counts(&printed.replace(&folder, FOLDER)),
                }
            }
        })
        .collect()
}

#[test]
fn sessions_print_what_they_always_printed() {
    for file in sessions() {
        let recorded = fs::read_to_string(&file).expect("readable");
        let now = text(&run(&steps(&recorded)));
        if std::env::var_os("STANDSTILL_RECORD").is_some() {
            fs::write(&file, now).expect("writable");
            continue;
        }
        for (number, (was, is)) in recorded.lines().zip(now.lines()).enumerate() {
            assert_eq!(was, is, "{}, line {}", file.display(), number + 1);
        }
        assert_eq!(recorded, now, "{}", file.display());
    }
}

#[test]
fn sessions_have_every_command() {
    let mut typed: Vec<&'static str> = Vec::new();
    for file in sessions() {
        for step in steps(&fs::read_to_string(&file).expect("readable")) {
            if let Step::Command { text, .. } = step
                && let Some(row) = find(debugger_host::command::parse::split(&text).0)
            {
                typed.push(row.names[0]);
            }
        }
    }
    for row in COMMANDS.iter() {
        assert!(
            typed.contains(&row.names[0]),
            "no session has `{}`",
            row.names[0]
        );
    }
}
