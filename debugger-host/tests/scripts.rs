//! Scripts of events and of the prompt, against a made-up debuggee that runs them.
#![cfg(unix)]
#![allow(missing_docs, reason = "a test")]

#[allow(dead_code, reason = "other test files use the rest")]
mod fake;

use fake::Debuggee;
use fake::host::{Host, halted};
use std::sync::atomic::Ordering;

fn hits(debuggee: &Debuggee, count: u32) {
    debuggee
        .controls
        .script_hits
        .store(count, Ordering::Relaxed);
}

#[test]
fn the_prompt_runs_what_the_host_cannot_work_out() {
    let (debuggee, mut host) = halted();
    assert_eq!(host.good("? @rax + 1"), "1001 = 0n4097\n");
    assert_eq!(debuggee.take_requests(), ["ReadRegisters"]);
    assert_eq!(host.good("? @rax == 1000"), "1 = 0n1\n");
    assert_eq!(host.good("? .hits = 5;"), "");
    assert_eq!(host.good("? .hits++"), "");
    assert_eq!(host.good("print .hits"), "6 = 0n6\n");
    assert!(host.good(".formats .hits").contains("binary    110\n"));
    assert_eq!(host.good("? $pid"), "1c = 0n28\n");
    assert_eq!(host.good("? 1.5 * 2.0"), "3\n");
    host.good("? @rbx = 77;");
    assert_eq!(host.good("r rbx"), "rbx=0000000000000077\n");
    assert!(debuggee.take_requests().contains(&"RunScript".to_owned()));
}

#[test]
fn statements_at_the_prompt_print_before_the_next_prompt() {
    let (_debuggee, mut host) = halted();
    assert_eq!(
        host.good("? printf(\"%llx and %s\\n\", @rax, \"text\");"),
        "1000 and text\n"
    );
    let block = "? {\n  for (i = 0; i < 3; i++) {\n    printf(\"%d,\", i); // }\n  }\n}";
    assert_eq!(host.good(block), "0,1,2,\n");
    assert_eq!(host.good("? print(@rip)"), "ffffffff91001000\n");
}

#[test]
fn what_is_wrong_with_a_script_is_said_with_its_place() {
    let (debuggee, mut host) = halted();
    let text = host.bad("? printf(\"%d\");");
    assert!(text.starts_with("?:1:"), "{text}");
    let text = host.bad("!cpuid script {\n  x = 1;\n  y = = 2;\n}");
    assert!(text.starts_with("script:3:7: "), "{text}");
    assert!(!debuggee.take_requests().contains(&"AddEvents".to_owned()));
    let text = host.bad("? { while (1) {\n x = x + 1;\n} }");
    assert!(
        text.contains("?:2: it did more than 10000 (0x2710) operations"),
        "{text}"
    );
    assert!(
        host.bad("!cpuid script { file:/nowhere.ds }")
            .contains("cannot read the script /nowhere.ds")
    );
}

#[test]
fn an_event_carries_its_script_and_condition() {
    let (debuggee, mut host) = halted();
    let text = host.good("!cpuid 1 condition { $pid == 1c } script { printf(\"%llx\\n\", @rax); }");
    assert!(text.starts_with("event 0: cpuid 1, condition ("), "{text}");
    assert!(
        text.contains(", script (") && !text.contains("break"),
        "{text}"
    );
    let file = debuggee.file("hit.ds", "interlocked_increment(&.hits);\n");
    host.good(&format!(
        "!epthook vfs_read script {{ file:{} }}",
        file.display()
    ));
    hits(&debuggee, 3);
    let printed = host.good("g") + &host.good("pause");
    assert!(
        printed.starts_with("2000\n2000\n2000\nbreak-in"),
        "{printed}"
    );
    assert_eq!(host.good("print .hits"), "3 = 0n3\n");
    assert!(host.good("events").contains("; 3 hits"));
}

#[test]
fn a_pause_in_a_script_halts_after_its_messages() {
    let (debuggee, mut host) = halted();
    host.good("!epthook vfs_read script { printf(\"no end of line\"); pause(); }");
    hits(&debuggee, 1);
    let text = host.good("g") + &host.good(".wait 5");
    assert!(
        text.starts_with("no end of line\nevent 0 hit on core 1: epthook vmlinux!vfs_read; "),
        "{text}"
    );
    debuggee.take_requests();
    assert!(host.good("events sc on").contains("does not take effect"));
    assert_eq!(debuggee.take_requests(), ["ShortCircuit"]);
    hits(&debuggee, 0);
    host.good("g");
    host.good("pause");
    assert!(
        host.bad("events sc off")
            .contains("nothing to short-circuit")
    );
}

#[test]
fn a_host_that_starts_anew_reads_programs_and_finds_variables() {
    let (debuggee, mut host) = halted();
    host.good("? .other = 1; .hits = 9;");
    host.good("!cpuid script { printf(\"hit %llx\\n\", .hits); }");
    drop(host);
    let (mut host, _) = Host::connect(&debuggee);
    hits(&debuggee, 1);
    let text = host.good("g") + &host.good("pause");
    assert!(text.starts_with("hit 9\nbreak-in"), "{text}");
    assert!(
        debuggee
            .take_requests()
            .contains(&"EventPrograms".to_owned())
    );
}

#[test]
fn sinks_get_every_message_once_and_in_order_and_the_screen_none() {
    let (debuggee, mut host) = halted();
    let path = debuggee.file("out.txt", "");
    host.good(&format!("output create a file {}", path.display()));
    host.good("output open a");
    host.good("!cpuid script { .n = .n + 1; printf(\"%d\\n\", .n); } output { a }");
    hits(&debuggee, 500);
    let mut screen = host.good("g");
    hits(&debuggee, 0);
    screen += &host.good("pause");
    assert!(host.good("events").contains("; 500 hits"));
    assert!(
        !screen.lines().any(|line| line.parse::<u32>().is_ok()),
        "{screen}"
    );
    host.good("output close a");
    let text = std::fs::read_to_string(path).expect("a file");
    let expected: String = (1..=500).map(|n| format!("{n}\n")).collect();
    assert_eq!(text, expected);
}

#[test]
fn arguments_of_a_command_file_reach_its_scripts() {
    let (debuggee, mut host) = halted();
    let inner = debuggee.file("inner.ds", "printf(\"%llx\\n\", $arg1);");
    let outer = format!(
        "!cpuid $arg2 script {{ file:{} }}\n? print($arg1);\n",
        inner.display()
    );
    let outer = debuggee.file("outer.ds", &outer);
    let text = host.good(&format!(".script {} 1234 7", outer.display()));
    assert!(text.contains("event 0: cpuid 7, script"), "{text}");
    assert!(text.ends_with("? print(1234);\n1234\n"), "{text}");
    hits(&debuggee, 1);
    let text = host.good("g") + &host.good("pause");
    assert!(text.starts_with("1234\n"), "{text}");
}

#[test]
fn a_flood_of_messages_is_shown_while_it_comes_and_all_of_it() {
    let (debuggee, mut host) = halted();
    host.good("!cpuid script { .n = .n + 1; printf(\"message %d of many\\n\", .n); if (.n == 4e20) { pause(); } }");
    hits(&debuggee, 20_000);
    let text = host.good("g") + &host.good(".wait 0n60");
    let expected = (1..=20_000).map(|n| format!("message {n} of many"));
    let lines: Vec<&str> = text.lines().collect();
    assert!(expected.eq(lines[..20_000].iter().copied()));
    assert!(
        lines[20_000].starts_with("event 0 hit"),
        "{}",
        lines[20_000]
    );
    assert!(host.good(".status").contains("messages    "));
}

#[test]
fn scripts_too_long_for_one_message_travel_in_several() {
    let (debuggee, mut host) = halted();
    let long: String = (0..1000)
        .map(|n| format!("printf(\"line {n} of a text that is long enough\\n\");\n"))
        .collect();
    let text: String = (0..3)
        .map(|leaf| format!("!cpuid {leaf} script {{\n{long}}}\n"))
        .collect();
    let file = debuggee.file("long.ds", &text);
    let text = host.good(&format!(".script {}", file.display()));
    let requests = debuggee.take_requests();
    let adds = requests.iter().filter(|name| *name == "AddEvents").count();
    assert!((2..=3).contains(&adds), "{requests:?}");
    assert!(
        text.contains("event 2: cpuid 2, script ("),
        "{}",
        &text[..200]
    );
}

#[test]
fn a_script_that_is_ended_is_named_with_its_line() {
    let (debuggee, mut host) = halted();
    host.good("!cpuid script {\n  x = 1;\n  while (x) { x = x + 1; }\n}");
    hits(&debuggee, 1);
    let text = host.good("g") + &host.good("pause");
    assert!(
        text.starts_with("event 0, core 1: script:3: it did more than 10000 (0x2710) operations"),
        "{text}"
    );
    host.good("events c all");
    host.good("!cpuid condition { @rax != 1 } script { while (1) { } }");
    let text = host.good("g") + &host.good("pause");
    assert!(
        text.contains("script:1 (or the condition): it did"),
        "{text}"
    );
}
