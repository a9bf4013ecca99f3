//! Whole sessions against the made-up debuggee, byte for byte as users see them. Each file in
//! `sessions/` has what is typed and what is printed; together they have every command. With
//! `STANDSTILL_RECORD` set the outputs are written anew.
#![cfg(unix)]
#![allow(missing_docs, reason = "a test")]

#[allow(dead_code, reason = "other test files use the rest")]
mod fake;

use debugger_host::command::{COMMANDS, find};
use debugger_host::recording::{Ending, Entry, Recording};
use fake::Debuggee;
use fake::host::Host;
use fake::sessions::{FOLDER, Step, carry_out, files, hold_to_record, steps};
use serde_json::Value;
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

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

/// A session that was run: the debuggee, the file that it was recorded into, and what each command
/// printed.
struct Ran {
    debuggee: Debuggee,
    folder: String,
    recording: PathBuf,
    greeting: String,
    printed: Vec<(String, (String, bool))>,
}

/// Runs the commands of a session, and records it.
fn run(steps: &[Step]) -> Ran {
    let debuggee = Debuggee::start();
    let folder = debuggee.socket.parent().expect("it is in a folder");
    let folder = folder.to_str().expect("a plain name").to_owned();
    let recording = PathBuf::from(&folder).join("recording");
    let (mut host, greeting) = Host::record(&debuggee, &recording);
    let mut printed = Vec::new();
    for step in steps {
        match step {
            Step::Order { line, text } => carry_out(&debuggee, line, text),
            Step::Command { text, .. } => {
                let command = text.replace(FOLDER, &folder);
                let now = host.run(&command);
                printed.push((command, now));
            }
        }
    }
    host.end();
    Ran {
        debuggee,
        folder,
        recording,
        greeting,
        printed,
    }
}

/// The same steps, with what was printed now.
fn printed_now(steps: &[Step], ran: &Ran) -> Vec<Step> {
    let mut printed_by_command = ran.printed.iter();
    // What programs print while the debuggee runs is shown by this command or the next one.
    let mut early = ran.greeting.clone();
    steps
        .iter()
        .map(|step| match step {
            Step::Order { .. } => step.clone(),
            Step::Command { text, .. } => {
                let (_, (now, is_good)) = printed_by_command.next().expect("it was run");
                let mut printed = std::mem::take(&mut early) + now;
                if text == "g" && *is_good {
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
                    printed: without_counts(&printed.replace(&ran.folder, FOLDER)),
                }
            }
        })
        .collect()
}

/// Types the same commands, with the recording in place of the debuggee.
fn replay(ran: &Ran) {
    // Nobody can ask it anything.
    fs::remove_file(&ran.debuggee.socket).expect("it is there");
    let (mut host, greeting) = Host::replay(&ran.recording, &ran.debuggee.symbols());
    assert_eq!(greeting, ran.greeting);
    for (command, printed) in &ran.printed {
        assert_eq!(&host.run(command), printed, "{command}");
    }
    host.end();
}

/// What `standstill show` prints.
fn shown(arguments: &[&str], recording: &Path) -> Vec<String> {
    let output = Command::new(env!("CARGO_BIN_EXE_standstill"))
        .arg("show")
        .args(arguments)
        .arg(recording)
        .output()
        .expect("the program starts");
    assert!(output.status.success(), "{output:?}");
    let text = String::from_utf8(output.stdout).expect("text");
    text.lines().map(str::to_owned).collect()
}

/// Every packet is a line, and every message of a known kind is read. The kinds that there are.
fn show(recording: &Path) -> BTreeSet<String> {
    let whole = Recording::open(recording).expect("it is whole");
    assert_eq!(whole.ending, Ending::Closed);
    let text = shown(&[], recording);
    let json = shown(&["--json"], recording);
    assert_eq!(text.len(), whole.packets.len());
    assert_eq!(json.len(), whole.packets.len());
    let mut kinds = BTreeSet::new();
    for ((packet, text), json) in whole.packets.iter().zip(&text).zip(&json) {
        let row: Value = serde_json::from_str(json).expect("JSON");
        let word = |name: &str| row[name].as_str().expect("a text").to_owned();
        assert_eq!(row["number"], packet.number);
        assert!(text.contains(&word("kind")), "{text}");
        let is_message = matches!(packet.entry, Entry::Request(_) | Entry::Message(_));
        assert_eq!(row["message"].is_string(), is_message, "{json}");
        // Names begin with a capital letter; what is not known is a number.
        assert!(
            word("kind").starts_with(|c: char| c.is_ascii_uppercase()),
            "{text}"
        );
        kinds.insert(format!("{} {}", word("from"), word("kind")));
    }
    kinds
}

#[test]
fn sessions_print_what_they_always_printed_and_so_do_their_recordings() {
    let mut replays = Vec::new();
    let mut kinds = BTreeSet::new();
    for file in files("sessions") {
        let steps = steps(&fs::read_to_string(&file).expect("readable"));
        let ran = run(&steps);
        hold_to_record(&file, &printed_now(&steps, &ran));
        kinds.extend(show(&ran.recording));
        replays.push(std::thread::spawn(move || replay(&ran)));
    }
    for replay in replays {
        replay.join().expect("it prints the same");
    }
    for kind in [
        "host ReadMemory",
        "host Connect",
        "debuggee Registers",
        "debuggee Stopped",
        "debuggee Refused",
        "debuggee Greeting",
        "program Command",
        "program End",
    ] {
        assert!(kinds.contains(kind), "{kind}: {kinds:?}");
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
