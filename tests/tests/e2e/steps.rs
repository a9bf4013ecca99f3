//! Single instructions of one core, while all others stay held.

use crate::lab::Lab;
use serde_json::Value;
use std::collections::BTreeSet;
use std::time::Duration;
use vm_lab::machine::{KernelLine, Options};

const SYSCALL: &str = "vmlinux!__x64_sys_getsid";
/// The core that a program makes its calls on.
const CORE: u16 = 1;

/// Halted at the first instruction of a system call that a program makes again and again.
#[track_caller]
fn at_system_call(lab: &mut Lab, core: u16) {
    lab.run(&format!("!epthook {SYSCALL} core {core:x}"));
    lab.run("g");
    lab.guest_background(&format!("lab-calls 1000000 {core}"));
    let stop = lab.run(".wait 1e");
    assert!(stop.contains("event 0 hit"), "{stop}");
}

fn number(value: &Value) -> u64 {
    let text = value.as_str().unwrap_or_default();
    u64::from_str_radix(text.trim_start_matches("0x"), 16).unwrap_or_else(|_| panic!("{value}"))
}

/// Where the core stood after each instruction.
fn trace(answer: &Value) -> Vec<u64> {
    let trace = answer["trace"].as_array().expect("a trace");
    trace.iter().map(number).collect()
}

/// All registers of every core but this one.
#[track_caller]
fn others(lab: &mut Lab, core: u16, cores: u16) -> Vec<String> {
    let mut registers = Vec::new();
    for other in (0..cores).filter(|other| *other != core) {
        lab.run(&format!("~ {other:x}"));
        registers.push(lab.run("r all"));
    }
    lab.run(&format!("~ {core:x}"));
    registers
}

#[track_caller]
fn requests(lab: &mut Lab) -> u64 {
    let status = lab.answer(".status");
    let count = &status["status"]["line"]["requests"];
    count.as_u64().unwrap_or_else(|| panic!("{status}"))
}

#[track_caller]
fn hits(lab: &mut Lab) -> String {
    let events = lab.run("events");
    let line = events.lines().next().unwrap_or_default();
    line.rsplit_once("; ")
        .map_or("", |(_, hits)| hits)
        .to_owned()
}

/// One instruction is one, and nobody else moves, on a machine of so many cores.
fn one_core_moves_alone(cores: u16) {
    let mut lab = Lab::with(&Options {
        cpus: cores.into(),
        kernel_line: KernelLine::Lean,
        ..Options::default()
    });
    lab.run("pause");
    let core = CORE.min(cores - 1);
    at_system_call(&mut lab, core);
    let start = lab.value(SYSCALL);
    assert_eq!(hits(&mut lab), "1 hits");
    let still = others(&mut lab, core, cores);

    // The hooked instruction runs, and its event does not fire again.
    let code = lab.run(&format!("u {SYSCALL} l 20"));
    let second = code.lines().nth(2).and_then(|line| line.split(' ').next());
    let second = second.and_then(|it| u64::from_str_radix(it, 16).ok());
    let one = lab.answer("i");
    assert_eq!(trace(&one), [second.expect("code")], "{code}");
    assert_eq!(one["count"], 1);
    assert_eq!(lab.value("@rip"), second.unwrap());
    assert_eq!(hits(&mut lab), "1 hits");

    // Out of the call, through the program in user mode, into the next call, to where the hook is again.
    let round = lab.answer("i 0n100000");
    assert_eq!(round["halt"]["cause"]["kind"], "event", "{round}");
    assert_eq!(round["halt"]["core"], core);
    let places = trace(&round);
    assert_eq!(places.len() as u64, round["count"].as_u64().unwrap());
    assert_eq!(places.last(), Some(&start));
    let is_user = |place: &u64| place >> 47 == 0;
    let users = places.iter().filter(|place| is_user(place)).count();
    assert!((2..places.len()).contains(&users), "{users} in user mode");
    let entry = lab.value("vmlinux!entry_SYSCALL_64");
    let entered = places
        .windows(2)
        .any(|pair| is_user(&pair[0]) && pair[1] == entry);
    assert!(
        entered,
        "the call's first instruction in the kernel is a step"
    );
    assert_eq!(hits(&mut lab), "2 hits");

    // Nobody else did anything.
    assert_eq!(others(&mut lab, core, cores), still);
    let states = lab.run("~");
    assert_eq!(
        states.matches("halted").count(),
        usize::from(cores),
        "{states}"
    );

    // Ten thousand of them in one request.
    lab.run("events c all");
    let before = requests(&mut lab);
    let many = lab.answer("i 0n10000");
    let sent = requests(&mut lab) - before;
    assert_eq!(many["count"], 10_000);
    assert_eq!(trace(&many).len(), 10_000);
    // `.status` asks for the counts of messages.
    assert_eq!(sent, 2, "one request, and that of `.status`");
    assert_eq!(others(&mut lab, core, cores), still);
    let distinct: BTreeSet<u64> = trace(&many).into_iter().collect();
    println!("10,000 instructions at {} places", distinct.len());

    // Another core takes a few, and the one before stays.
    if cores > 1 {
        // Without the marks of what the steps before changed.
        let own = lab.run("r all").replace('*', "");
        lab.run("~ 0");
        let other = lab.answer("i 0n20");
        assert_eq!(other["halt"]["core"], 0);
        lab.run(&format!("~ {core:x}"));
        assert_eq!(lab.run("r all"), own);
        lab.answer("i 3");
    }
    for (command, says) in [
        ("i 0", "COUNT is 0, not between 1 and 100000"),
        ("i 100001", "COUNT is 100001, not between 1 and 100000"),
        ("ir 41", "COUNT is 41, not between 1 and 40"),
        ("i zz", "`zz` is no number"),
    ] {
        let refused = lab.refused(command);
        assert!(refused.contains(says), "{refused}");
    }
    lab.run("g");
    assert!(lab.refused("i").contains("the debuggee is running"));
    lab.run("pause");
    lab.go();
}

#[test]
fn one_of_two_cores_steps_and_the_other_stands_still() {
    one_core_moves_alone(2);
}

#[test]
fn the_only_core_steps() {
    one_core_moves_alone(1);
}

#[test]
fn one_of_four_cores_steps_and_the_others_stand_still() {
    one_core_moves_alone(4);
}

/// What an instruction touches that is watched fires once, and memory changes by what the instruction writes.
#[test]
fn what_a_step_touches_is_seen_once_and_nothing_else_changes() {
    let mut lab = Lab::halted(KernelLine::Lean);
    at_system_call(&mut lab, CORE);
    // To the first PUSH of the function.
    let mut line = lab.run("i");
    for _ in 0..8 {
        if line.contains(" push ") {
            break;
        }
        line = lab.run("i");
    }
    assert!(line.contains(" push "), "{line}");
    lab.run("events c all");
    lab.run("!monitor w (@rsp - 8) l 8 script { .lab_pushed = .lab_pushed + 1; }");
    let top = lab.value("@rsp");
    let memory = lab.run("!digest");
    let value = lab.value("poi(@rsp - 8)");
    let answer = lab.answer("i");
    assert_eq!(answer["count"], 1);
    assert_eq!(lab.value("@rsp"), top - 8);
    assert_eq!(lab.value(".lab_pushed"), 1);
    // With the one word as it was before, so is all memory.
    let pushed = lab.value("poi(@rsp)");
    lab.run(&format!("eq @rsp {value:x}"));
    assert_eq!(lab.run("!digest"), memory);
    lab.run(&format!("eq @rsp {pushed:x}"));
    lab.run("events c all");
    lab.go();
}

/// In the middle of a long one Ctrl+C halts the core where the answer says, and the next step goes on from there.
#[test]
fn ctrl_c_ends_a_long_step_where_the_answer_says() {
    let mut lab = Lab::halted(KernelLine::Lean);
    at_system_call(&mut lab, CORE);
    lab.run("events c all");
    let still = others(&mut lab, CORE, 2);
    let said = lab.interrupted("i 100000", Duration::from_millis(700));
    let (count, _) = said
        .split_once(" instructions of core 1 are done")
        .unwrap_or_else(|| panic!("{said}"));
    let count: u32 = count.parse().unwrap_or_else(|_| panic!("{said}"));
    assert!((1000..0x10_0000).contains(&count), "{said}");
    assert!(said.contains("break-in on core 1"), "{said}");
    println!("{count} instructions until Ctrl+C");
    let rip = lab.value("@rip");
    assert!(said.contains(&format!("{rip:016x} ")), "{said}");
    assert_eq!(others(&mut lab, CORE, 2), still);
    assert_eq!(lab.answer("i 2")["count"], 2);
    lab.go();
}

/// So many in one request, with no more bytes on the line than a few each, and nobody else moves.
#[test]
fn a_hundred_thousand_instructions_are_one_request_and_move_one_core() {
    const COUNT: u64 = 100_000;
    let mut lab = Lab::halted(KernelLine::Lean);
    at_system_call(&mut lab, CORE);
    lab.run("events c all");
    let still = others(&mut lab, CORE, 2);
    let bytes = |lab: &Lab| {
        let count = lab.machine.line_bytes();
        count.to_debuggee + count.to_host
    };
    let before = (requests(&mut lab), bytes(&lab));
    let many = lab.answer(&format!("i 0n{COUNT}"));
    let line_bytes = bytes(&lab) - before.1;
    // `.status` asks for the counts of messages.
    assert_eq!(requests(&mut lab) - before.0, 2);
    assert_eq!(many["halt"]["cause"]["end"], "count");
    assert_eq!(many["count"], COUNT);
    assert_eq!(trace(&many).len() as u64, COUNT);
    println!("{COUNT} instructions: {line_bytes} bytes on the line");
    assert!(line_bytes <= 6 * COUNT, "{line_bytes} bytes");
    assert_eq!(others(&mut lab, CORE, 2), still);
    lab.go();
}
