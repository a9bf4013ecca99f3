//! Within one halt nothing changes but what the user asked for.

use crate::lab::Lab;
use vm_lab::machine::KernelLine;

/// Kernel functions on pages of their own and on shared ones.
const HOOKED: usize = 20;

/// Digests of all RAM and of all registers of all cores.
#[track_caller]
fn digest(lab: &mut Lab) -> (String, String) {
    (lab.run("!digest"), lab.run("!digest registers"))
}

fn nothing_changes_in_a_halt(kernel_line: KernelLine) {
    let mut lab = Lab::halted(kernel_line);
    let start = digest(&mut lab);
    let pools = lab.run("pools");
    let found = lab.run("x vmlinux!__x64_sys_get*");
    let functions: Vec<String> = found
        .lines()
        .filter_map(|line| line.split_whitespace().next().map(str::to_owned))
        .take(HOOKED)
        .collect();
    assert_eq!(functions.len(), HOOKED, "{found}");
    for (leaf, function) in functions.iter().enumerate() {
        lab.run(&format!("!epthook {function}"));
        lab.run(&format!("!cpuid {leaf:x}"));
    }
    assert_eq!(lab.run("events").lines().count(), 2 * HOOKED);
    assert_eq!(digest(&mut lab), start, "adding events changed the guest");
    lab.run("prealloc regular-event 10");
    lab.run("prealloc epthook 8");
    lab.run(&format!("db {} l 1000", functions[0]));
    lab.run("dq @rsp l 100");
    lab.run("u l 40");
    lab.run("~ 1");
    lab.run("r all");
    lab.run("!va2pa @rip");
    assert_eq!(digest(&mut lab), start, "looking changed the guest");
    lab.run("events c all");
    assert_eq!(lab.run("events"), "no events");
    assert_eq!(digest(&mut lab), start, "clearing changed the guest");
    assert_ne!(lab.run("pools"), pools, "prealloc shows in the pools");

    // The digests can see a single byte and a single bit of a register.
    let line = lab.run("db @rsp l 1");
    let byte = line.split_whitespace().nth(1).unwrap_or_default();
    let byte = u8::from_str_radix(byte, 16).unwrap_or_else(|_| panic!("no byte in {line}"));
    lab.run(&format!("eb @rsp {:x}", byte ^ 1));
    let changed = digest(&mut lab);
    assert_ne!(changed.0, start.0, "one byte went unnoticed");
    assert_eq!(changed.1, start.1);
    lab.run(&format!("eb @rsp {byte:x}"));
    lab.run("r rax = (@rax ^ 1)");
    let changed = digest(&mut lab);
    assert_eq!(changed.0, start.0);
    assert_ne!(changed.1, start.1, "one bit of a register went unnoticed");
    lab.run("r rax = (@rax ^ 1)");
    assert_eq!(digest(&mut lab), start);
    lab.go();
}

#[test]
fn forty_events_and_looking_around_change_nothing() {
    nothing_changes_in_a_halt(KernelLine::Lean);
}

#[test]
fn forty_events_and_looking_around_change_nothing_in_the_stock_kernel() {
    nothing_changes_in_a_halt(KernelLine::Stock);
}
