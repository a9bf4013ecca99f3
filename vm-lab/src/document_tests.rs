//! Tests of `document` without a machine.

use super::*;
use crate::host::Reply;
use crate::script::{self, Ends};
use std::time::Duration;

/// Says what each command's answer is.
struct Fake {
    asked: Vec<String>,
}

impl Ends for Fake {
    fn host(&mut self, command: &str) -> Result<Reply> {
        self.asked.push(format!("host {command}"));
        let (output, ok) = match command {
            "events" => ("  0  enabled   cpuid 1, break; 3 hits\n", true),
            "u @rip" => ("vmlinux!idle+44:\nffffffff81a17918 eb06  jmp\n", true),
            "!digest" => ("0123456789abcdef\n", true),
            "db 0123456789abcdef" => ("0123456789abcdef 00\n", true),
            "!cpuid 2" => ("c0000042: no regular event left: all 2 are in use\n", false),
            ".wait 0n60" => ("event 0 hit on core 1: cpuid 1\nvmlinux!x:\n", true),
            _ => ("", true),
        };
        Ok(Reply {
            output: output.to_owned(),
            ok,
        })
    }
    fn guest(&mut self, command: &str) -> Result<String> {
        self.asked.push(format!("guest {command}"));
        Ok("done\n".to_owned())
    }
    fn guest_background(&mut self, command: &str) -> Result<()> {
        self.asked.push(format!("background {command}"));
        Ok(())
    }
    fn unplug(&mut self, _time: Duration) {}
}

/// A document with one session on the default machine.
fn document(session: &str) -> String {
    format!("# A title\n\n```sh\ncargo lab\n```\n\n```session\n{session}\n```\n")
}

/// How many steps of a session fail, what was asked, and what was told.
fn played(session: &str) -> (usize, Vec<String>, String) {
    let parts = parse(&document(session), Path::new("/somewhere")).unwrap();
    let mut fake = Fake { asked: Vec::new() };
    let mut told = Vec::new();
    let failures = script::run(&parts[0].script, &mut fake, true, &mut told).unwrap();
    (failures, fake.asked, String::from_utf8(told).unwrap())
}

#[track_caller]
fn holds(session: &str) {
    let (failures, _, told) = played(session);
    assert_eq!(failures, 0, "{told}");
}

#[track_caller]
fn fails(session: &str) {
    let (failures, _, told) = played(session);
    assert_ne!(failures, 0, "{told}");
}

#[test]
fn session_is_what_is_typed_at_both_ends() {
    let (failures, asked, told) = played(
        "^C\n0: kd> !cpuid 1 script {\n  print(1);\n}\n0: kd> g\ndebuggee# true &\n\
         event 0 hit on core …: cpuid 1\n…\n1: kd> events\n  0  enabled   cpuid 1, break; 3 hits\n\
         debuggee# wait\ndone",
    );
    assert_eq!(failures, 0, "{told}");
    assert_eq!(
        asked,
        [
            "host pause",
            "host !cpuid 1 script {\n  print(1);\n}",
            "host g",
            "background true",
            "host .wait 0n60",
            "host events",
            "guest wait",
        ]
    );
}

#[test]
fn output_must_be_all_that_is_shown() {
    holds("0: kd> events\n  0  enabled   cpuid 1, break; 3 hits");
    fails("0: kd> events\n  0  enabled   cpuid 1, break; 4 hits");
    fails("0: kd> events\nenabled");
    fails("0: kd> events");
    fails("0: kd> g\nnothing");
    fails("0: kd> u @rip\nvmlinux!idle+44:");
}

#[test]
fn what_varies_matches_anything_of_its_kind() {
    holds("0: kd> events\n  0  enabled   cpuid 1, …; … hits");
    holds("0: kd> u @rip\n…!…:\nffffffff00000000 eb06  jmp");
    holds("0: kd> u @rip\n…");
    holds("0: kd> u @rip\nvmlinux!idle+44:\n…");
    fails("0: kd> u @rip\nvmlinux!idle+45:\n…");
    fails("0: kd> u @rip\nvmlinux!idle+44:\nffffffff00000000 eb07  jmp");
}

#[test]
fn address_stands_for_what_it_stood_for_before() {
    holds("0: kd> !digest\nffffffffffff\n0: kd> !digest\nffffffffffff");
    holds("0: kd> !digest\nffffffffffff\n0: kd> db ffffffffffff\nffffffffffff 00");
    // What it stood for is not here; nothing said what it stands for.
    fails("0: kd> !digest\nffffffff81a17918\n0: kd> u @rip\n…\nffffffff81a17918 eb06  jmp");
    fails("0: kd> db ffffffffffff\n0123456789abcdef 00");
    // Two that appear together.
    holds("0: kd> db 0123456789abcdef\n0123456789abcdef 00\n0: kd> !digest\n0123456789abcdef");
}

#[test]
fn refusal_must_come_of_a_command_that_fails() {
    holds("0: kd> !cpuid 2\nc0000042: no regular event left: all … are in use");
    // The command succeeds, and says nothing either.
    let (failures, ..) = played("0: kd> g\nc0000042: no regular event left");
    assert_eq!(failures, 2);
    // What fails must be shown to fail.
    let (failures, ..) = played("0: kd> !cpuid 2");
    assert_eq!(failures, 2);
}

#[test]
fn each_machine_has_its_sessions() {
    let text = "```sh\ncargo lab\n```\n```sh\ncargo lab --param regular_events=2 --cpus 4 --stock\n```\n\
                text\n```session\n^C\n```\n```session\n0: kd> g\n```\n```sh\ncargo build\n```\n\
                ```sh\ncargo lab\n```\n```session\n^C\n```\n";
    let parts = parse(text, Path::new("/")).unwrap();
    assert_eq!(parts.len(), 2);
    let machine = &parts[0].machine;
    assert_eq!(
        machine.params,
        [("regular_events".to_owned(), "2".to_owned())]
    );
    assert_eq!((machine.cpus, machine.stock), (4, true));
    assert_eq!(parts[1].machine.cpus, 2);
}

#[test]
fn nonsense_is_told_with_its_line() {
    for (text, why) in [
        (document("events"), "line 8: nothing was typed"),
        (document("0: kd> !cpuid script {"), "line 8: a brace"),
        ("```session\n^C\n```\n".to_owned(), "line 1: no machine"),
        ("nothing\n".to_owned(), "no session"),
        ("```sh\ncargo lab --nonsense\n```\n".to_owned(), "line 2: "),
    ] {
        let error = parse(&text, Path::new("/")).unwrap_err();
        assert!(format!("{error:#}").contains(why), "{error:#}");
    }
}
