//! Within one halt nothing changes but what the user asked for.

mod outside;
mod rows;

use crate::lab::Lab;
use rows::EVENTS;
use std::collections::BTreeSet;
use vm_lab::machine::KernelLine;

/// Digests of all RAM and of all registers of all cores.
#[track_caller]
fn digest(lab: &mut Lab) -> (String, String) {
    (lab.run("!digest"), lab.run("!digest registers"))
}

/// The digests see a single byte and a single bit of a register.
#[track_caller]
fn digests_see_what_is_small(lab: &mut Lab, start: &(String, String)) {
    let line = lab.run("db @rsp l 1");
    let byte = line.split_whitespace().nth(1).unwrap_or_default();
    let byte = u8::from_str_radix(byte, 16).unwrap_or_else(|_| panic!("no byte in {line}"));
    lab.run(&format!("eb @rsp {:x}", byte ^ 1));
    let changed = digest(lab);
    assert_ne!(changed.0, start.0, "one byte went unnoticed");
    assert_eq!(changed.1, start.1);
    lab.run(&format!("eb @rsp {byte:x}"));
    lab.run("r rax = (@rax ^ 1)");
    let changed = digest(lab);
    assert_eq!(changed.0, start.0);
    assert_ne!(changed.1, start.1, "one bit of a register went unnoticed");
    lab.run("r rax = (@rax ^ 1)");
}

/// Eighty mixed events: every kind, the rest hooks and leaves of CPUID.
fn nothing_changes_in_a_halt(kernel_line: KernelLine) {
    let mut lab = Lab::halted(kernel_line);
    let start = digest(&mut lab);
    for reserve in [
        "regular-event 50",
        "epthook 20",
        "monitor 10",
        "regular-safe-buffer 1",
    ] {
        lab.run(&format!("prealloc {reserve}"));
    }
    let pools = lab.run("pools");
    let found = lab.run("x vmlinux!__x64_sys_s*");
    let names = found
        .lines()
        .filter_map(|line| line.split_whitespace().next());
    let hooks = names
        .take(30)
        .map(|name| format!("!epthook {name} script {{ .lab_still = .lab_still + 1; }}"));
    let mut events: Vec<String> = EVENTS
        .iter()
        .map(|event| (*event).to_owned())
        .chain(hooks)
        .collect();
    events.push("!cpuid 10 buffer 100".into());
    let leaves = (0x11..).map(|leaf| format!("!cpuid {leaf:x}"));
    events.extend(leaves.take(80 - events.len()));
    for (index, event) in events.iter().enumerate() {
        lab.run(event);
        if index % 20 == 19 {
            assert_eq!(digest(&mut lab), start, "after {} events", index + 1);
        }
    }
    let list = lab.run("events");
    assert_eq!(list.lines().count(), 80);
    let kinds: BTreeSet<&str> = list
        .lines()
        .filter_map(|line| line.split_whitespace().nth(2))
        .collect();
    assert!(kinds.len() >= 21, "{kinds:?}");
    for command in [
        "events d all",
        "events e all",
        "? { still = poi(@rsp) + @rip; print(still); }",
        "db @rsp l 1000",
        "u @rip l 40",
        "r all",
        "~ 1",
        "~ 0",
        "!va2pa @rip",
        "prealloc regular-event 10",
        "prealloc epthook 8",
    ] {
        lab.run(command);
    }
    assert_eq!(digest(&mut lab), start, "using them changed the guest");
    lab.run("events c all");
    assert_eq!(lab.run("events"), "no events");
    let after = lab.run("pools");
    assert_eq!(in_use(&after), in_use(&pools), "not all objects are back");
    assert_ne!(after, pools, "prealloc shows in the pools");
    assert_eq!(digest(&mut lab), start, "clearing changed the guest");
    digests_see_what_is_small(&mut lab, &start);
    assert_eq!(digest(&mut lab), start);
    lab.go();
    assert!(lab.guest("lab-check 2").contains("check ok cores 2"));
}

#[test]
fn eighty_events_of_every_kind_change_nothing() {
    nothing_changes_in_a_halt(KernelLine::Lean);
}

#[test]
fn eighty_events_of_every_kind_change_nothing_in_the_stock_kernel() {
    nothing_changes_in_a_halt(KernelLine::Stock);
}

/// Objects in use, of each class.
fn in_use(pools: &str) -> Vec<&str> {
    let classes = pools.lines().filter(|line| !line.starts_with("arena"));
    classes
        .filter_map(|line| line.split_whitespace().nth(3))
        .collect()
}
