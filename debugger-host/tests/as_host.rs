//! Recordings that play the host: what users see of it.
#![cfg(unix)]
#![allow(missing_docs, reason = "a test")]

#[allow(dead_code, reason = "other test files use the rest")]
mod fake;

use fake::host::{recorded, standstill};
use fake::{Debuggee, ToldStop};
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::sync::atomic::Ordering;

/// One of each: questions, changes, refusals, halts that were asked for and that came by themselves.
const COMMANDS: [&str; 17] = [
    "pause",
    "r",
    "r rbx=5",
    "db 1000 l 20",
    "eb 2000 1 2 3",
    "!va2pa 1000",
    "!digest 1000 l 1000",
    "~",
    "!epthook do_sys_openat2",
    "!cpuid 1 script { printf(\"%d\\n\", 1); }",
    "events",
    "prealloc epthook 2",
    "pools",
    "? .n = 1;",
    "db 900000000",
    "events c 0",
    "g",
];

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).expect("text")
}

fn play(file: &Path, debuggee: &Debuggee) -> Output {
    let socket = Path::new("--socket");
    standstill(&["replay", "--as-host"], &[file, socket, &debuggee.socket])
}

/// What is said of the first difference.
fn difference(file: &Path, debuggee: &Debuggee) -> String {
    let output = play(file, debuggee);
    assert!(!output.status.success() && output.stdout.is_empty());
    let said = text(&output.stderr);
    let [_, line] = &said.lines().collect::<Vec<_>>()[..] else {
        panic!("{said}");
    };
    let begins = format!("standstill: {}: ", file.display());
    let line = line.strip_prefix(&begins);
    line.unwrap_or_else(|| panic!("{said}")).to_owned()
}

#[test]
fn a_recording_plays_the_host_to_another_debuggee_and_again_to_the_same() {
    let (_first, file) = recorded(&COMMANDS);
    let other = Debuggee::start();
    let output = play(&file, &other);
    assert!(output.status.success(), "{output:?}");
    let said = text(&output.stdout);
    let begins = format!(
        "socket {} answers as it was recorded: ",
        other.socket.display()
    );
    assert!(said.starts_with(&begins), "{said}");
    // It was asked what it was asked then, beside the greeting that comes first.
    let asked = other.take_requests();
    for kind in [
        "Hello",
        "WriteMemory",
        "AddEvents",
        "Prealloc",
        "RunScript",
        "Go",
    ] {
        assert!(asked.iter().any(|it| it == kind), "{kind}: {asked:?}");
    }
    // What it did then is there, so an event has another number.
    assert!(difference(&file, &other).contains(
        "(in the command `!epthook do_sys_openat2`) in its results ([0] then, [2] now): \
             expected EventsAdded #"
    ));
}

/// `standstill replay --as-host --confirm`.
fn confirmed(file: &Path, debuggee: &Debuggee) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_standstill"));
    command.args(["replay", "--as-host", "--confirm", "--socket"]);
    command.arg(&debuggee.socket).arg(file);
    command.stdin(Stdio::piped()).stdout(Stdio::piped());
    command
}

#[test]
fn commands_wait_for_a_line_where_that_is_wanted() {
    let (_first, file) = recorded(&COMMANDS);
    let other = Debuggee::start();
    let mut program = confirmed(&file, &other).spawn().expect("it starts");
    let mut input = program.stdin.take().expect("piped");
    let mut lines = BufReader::new(program.stdout.take().expect("piped")).lines();
    for command in COMMANDS {
        let line = lines.next().expect("a line").expect("text");
        assert_eq!(line, format!("next: {command}"));
        if command == "g" {
            assert!(!other.take_requests().iter().any(|it| it == "Go"));
        }
        writeln!(input).expect("it waits");
    }
    let last = lines.next().expect("a line").expect("text");
    assert!(last.contains(" answers as it was recorded: "), "{last}");
    assert!(program.wait().expect("it ends").success());

    // Without anybody who says so, all goes on.
    let another = Debuggee::start();
    let output = confirmed(&file, &another).stdin(Stdio::null()).output();
    assert!(output.expect("it starts").status.success());
}

#[test]
fn the_first_difference_is_named_with_what_was_expected_and_what_came() {
    let (_first, file) = recorded(&COMMANDS);
    let other = Debuggee::start();
    other.controls.core_dies.store(true, Ordering::Relaxed);
    let said = difference(&file, &other);
    assert!(
        said.starts_with("the debuggee differs from packet ")
            && said.contains("in its halt (false then, true now): expected Hello #"),
        "{said}"
    );

    let other = Debuggee::start();
    *other.controls.next_stop.lock().expect("unpoisoned") = Some(ToldStop::Garbled);
    let said = difference(&file, &other);
    assert!(
        said.contains("(in the command `pause`)")
            && said.contains("expected Stopped halt=1 cause=break-in ")
            && said.ends_with("seen 80 (a notice that is malformed)"),
        "{said}"
    );
}

#[test]
fn what_does_not_come_is_not_waited_for_for_ever() {
    let (_first, file) = recorded(&["pause"]);
    let other = Debuggee::start();
    other.controls.deaf_for.store(u32::MAX, Ordering::Relaxed);
    let said = difference(&file, &other);
    assert!(
        said.contains("(in the command `pause`): expected Stopped halt=1")
            && said.contains("seen nothing for "),
        "{said}"
    );
}

#[test]
fn what_cannot_be_played_is_one_line() {
    let (debuggee, file) = recorded(&["pause"]);
    let complaint = |arguments: &[&str], files: &[&Path]| {
        let output = standstill(arguments, files);
        assert!(!output.status.success() && output.stdout.is_empty());
        text(&output.stderr)
    };
    let socket = Path::new("--socket");
    // Not without a line, and no line without it.
    assert!(complaint(&["replay", "--as-host"], &[&file]).contains("required arguments"));
    assert_eq!(
        complaint(&["replay"], &[&file, socket, &debuggee.socket]),
        "standstill: a line is of use with --as-host only: else the file is the debuggee\n"
    );
    let both = ["replay", "--as-host", "--batch"];
    assert!(complaint(&both, &[&file, socket, &debuggee.socket]).contains("cannot be used with"));
    let no_file = debuggee.file("text", "no recording");
    assert_eq!(
        complaint(
            &["replay", "--as-host"],
            &[&no_file, socket, &debuggee.socket]
        ),
        format!(
            "standstill: {}: it is no recording of this program (not pcapng)\n",
            no_file.display()
        )
    );
    // Nobody was there to be recorded.
    let empty = debuggee.socket.with_file_name("empty");
    let nobody = ["connect", "--batch", "--record"];
    assert!(standstill(&nobody, &[&empty]).status.success());
    assert!(
        complaint(
            &["replay", "--as-host"],
            &[&empty, socket, &debuggee.socket]
        )
        .ends_with("empty: it has no session with a debuggee\n")
    );
    // A line that is none.
    let folder = debuggee.socket.parent().expect("it is in a folder");
    let said = complaint(&["replay", "--as-host"], &[&file, socket, folder]);
    assert!(said.contains("cannot be opened"), "{said}");
    // A debuggee of another version.
    *debuggee.controls.other_version.lock().expect("unpoisoned") = Some(99);
    let said = complaint(&["replay", "--as-host"], &[&file, socket, &debuggee.socket]);
    assert!(said.contains("version 99"), "{said}");
}
