//! Whole sessions against the made-up debuggee, byte for byte as users see them. Each file in
//! `sessions/` has what is typed and what is printed; together they have every command. With
//! `STANDSTILL_RECORD` set the outputs are written anew.
#![cfg(unix)]
#![allow(missing_docs, reason = "a test")]

#[allow(dead_code, reason = "other test files use the rest")]
mod fake;

use debugger_host::command::{COMMANDS, find};
use fake::Debuggee;
use fake::host::Host;
use fake::sessions::{FOLDER, Step, carry_out, files, hold_to_record, steps};
use std::fs;

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

/// Runs the commands of a session; the same steps, with what is printed now.
fn run(steps: &[Step]) -> Vec<Step> {
    let debuggee = Debuggee::start();
    let folder = debuggee.socket.parent().expect("it is in a folder");
    let folder = folder.to_str().expect("a plain name").to_owned();
    let (mut host, greeting) = Host::connect(&debuggee);
    // What programs print while the debuggee runs is shown by this command or the next one.
    let mut early = greeting;
    steps
        .iter()
        .map(|step| match step {
            Step::Order { line, text } => {
                carry_out(&debuggee, line, text);
                step.clone()
            }
            Step::Command { text, .. } => {
                let (now, is_good) = host.run(&text.replace(FOLDER, &folder));
                let mut printed = std::mem::take(&mut early) + &now;
                if text == "g" && is_good {
                    assert!(
                        !now.contains("hit on core"),
                        "the next command tells: {now}"
                    );
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
    for file in files("sessions") {
        let recorded = fs::read_to_string(&file).expect("readable");
        hold_to_record(&file, &run(&steps(&recorded)));
    }
}

#[test]
fn sessions_have_every_command() {
    let mut typed: Vec<&'static str> = Vec::new();
    for file in files("sessions") {
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
