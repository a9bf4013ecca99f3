//! Hooks and detours in code that the kernel changes: what the kernel writes counts at once, for the kernel and for the hook.

use crate::lab::{Lab, assert_log_is_clean};
use crate::paths;
use vm_lab::machine::{KernelLine, Options};

/// Calls of each part.
const CALLS: u64 = 25;
const FUNCTION: &str = "__x64_sys_getsid";
const COUNT: &str = "/sys/module/lab_probe/parameters/count";
const INSTANCE: &str = "/sys/kernel/tracing/instances/lab";

/// Lets the guest run, calls the function so often, and halts; how often `counter` counted meanwhile.
fn counted(lab: &mut Lab, counter: &str) -> u64 {
    let before = lab.value(counter);
    lab.run("g");
    let said = lab.guest(&format!("lab-calls {CALLS} 1"));
    assert!(said.contains(&format!("calls {CALLS} core 1")), "{said}");
    lab.run("pause");
    lab.value(counter) - before
}

/// In the guest, from a halt to a halt.
fn change(lab: &mut Lab, command: &str) -> String {
    lab.run("g");
    let said = lab.guest(command);
    lab.run("pause");
    said
}

/// The calls that the kernel's own kprobe counts.
fn probed(lab: &mut Lab, place: &str) -> u64 {
    let said = change(lab, &format!("cat {COUNT}"));
    let count = said.trim().strip_prefix(place);
    let count = count.and_then(|count| count.trim().parse().ok());
    count.unwrap_or_else(|| panic!("{place}: {said}"))
}

/// How the only event is listed, without its number.
fn listed(lab: &mut Lab) -> String {
    let list = lab.run("events");
    assert_eq!(list.lines().count(), 1, "{list}");
    let (_, rest) = list.trim().split_once(' ').unwrap_or_default();
    rest.trim().to_owned()
}

fn add_probe(lab: &mut Lab, place: &str) {
    change(lab, &format!("echo {place} > {COUNT}"));
}

fn remove_probe(lab: &mut Lab) {
    change(lab, &format!("echo - > {COUNT}"));
}

fn add_tracer(lab: &mut Lab) {
    let command = format!(
        "mkdir {INSTANCE} && cd {INSTANCE} && echo {FUNCTION} > set_ftrace_filter && \
         echo function > current_tracer; cd /"
    );
    change(lab, &command);
}

fn traced(lab: &mut Lab) -> u64 {
    let said = change(lab, &format!("grep -c {FUNCTION} {INSTANCE}/trace; true"));
    said.trim().parse().unwrap_or_else(|_| panic!("{said}"))
}

/// Its trampoline is freed, and modules are loaded where it was.
fn remove_tracer(lab: &mut Lab) {
    let command = format!(
        "echo nop > {INSTANCE}/current_tracer && rmdir {INSTANCE}; rmmod lab_probe; \
         for i in 1 2 3; do insmod /lab_probe.ko; rmmod lab_probe; done; insmod /lab_probe.ko"
    );
    change(lab, &command);
}

/// A kprobe at the start of the function, a breakpoint behind it, and a tracer, with this kind of hook; both orders.
fn beside_kernel_probes(lab: &mut Lab, command: &str) {
    let is_detour = command == "!epthook2";
    let hook = format!("{command} vmlinux!{FUNCTION} script {{ .lab_code += 1; }}");
    let expected = |is_changed| match (is_detour, is_changed) {
        (true, true) => "a hidden breakpoint for now",
        _ => " hits",
    };
    // The hook first.
    lab.run(&hook);
    assert_eq!(counted(lab, ".lab_code"), CALLS, "{command} alone");
    add_probe(lab, FUNCTION);
    assert_eq!(counted(lab, ".lab_code"), CALLS, "{command}, then a kprobe");
    assert_eq!(probed(lab, FUNCTION), CALLS, "a kprobe after {command}");
    assert!(listed(lab).contains(expected(true)), "{}", listed(lab));
    remove_probe(lab);
    assert_eq!(
        counted(lab, ".lab_code"),
        CALLS,
        "{command}, the kprobe gone"
    );
    let line = listed(lab);
    assert!(
        line.starts_with("enabled") && line.ends_with(" hits"),
        "{line}"
    );
    add_tracer(lab);
    assert_eq!(counted(lab, ".lab_code"), CALLS, "{command}, then a tracer");
    assert_eq!(traced(lab), CALLS, "a tracer after {command}");
    remove_tracer(lab);
    assert_eq!(
        counted(lab, ".lab_code"),
        CALLS,
        "{command}, the tracer gone"
    );
    lab.run("events c all");
    // The tracer first, and then it goes.
    add_tracer(lab);
    lab.run(&hook);
    let before = traced(lab);
    assert_eq!(counted(lab, ".lab_code"), CALLS, "{command} on a tracer");
    assert_eq!(traced(lab) - before, CALLS, "a tracer under {command}");
    remove_tracer(lab);
    assert_eq!(
        counted(lab, ".lab_code"),
        CALLS,
        "{command}, the tracer under it gone"
    );
    lab.run("events c all");
    // A kprobe first.
    add_probe(lab, FUNCTION);
    lab.run(&hook);
    assert_eq!(counted(lab, ".lab_code"), CALLS, "{command} on a kprobe");
    assert_eq!(probed(lab, FUNCTION), CALLS, "a kprobe under {command}");
    remove_probe(lab);
    assert_eq!(
        counted(lab, ".lab_code"),
        CALLS,
        "{command}, the kprobe under it gone"
    );
    lab.run("events c all");
}

/// And hooks and detours in all paths, in this order, if one is given: that takes a minute or more.
fn hooks_follow_the_kernels_changes(options: &Options, paths: Option<[&str; 2]>) {
    let mut lab = Lab::with(options);
    lab.load_probe();
    lab.run("pause");
    for command in ["!epthook", "!epthook2"] {
        beside_kernel_probes(&mut lab, command);
    }
    lab.run("g");
    if let Some(commands) = paths {
        paths::can_be_hooked(&mut lab, commands);
    }
    assert_log_is_clean(&lab.guest("dmesg"));
}

#[test]
fn kernel_probes_and_hooks_see_every_call() {
    hooks_follow_the_kernels_changes(&Options::default(), Some(["!epthook2", "!epthook"]));
}

/// In all paths, too, with `STANDSTILL_KERNEL_PATHS=stock`.
#[test]
fn kernel_probes_and_hooks_of_the_stock_kernel_see_every_call() {
    let options = Options {
        kernel_line: KernelLine::Stock,
        cpus: 4,
        ..Options::default()
    };
    let whole = std::env::var("STANDSTILL_KERNEL_PATHS").is_ok_and(|line| line == "stock");
    hooks_follow_the_kernels_changes(&options, whole.then_some(["!epthook", "!epthook2"]));
}

/// Inside an instruction, under a jump of an optimised kprobe, and in a module that goes.
#[test]
fn a_hook_is_shown_only_where_an_instruction_starts() {
    let mut lab = Lab::boot(KernelLine::Lean);
    lab.load_probe();
    lab.run("pause");
    let line = lab.refused("!epthook lab_probe!lab_probe_pushes+2 script { .lab_code += 1; }");
    assert!(
        line.contains("no instruction starts at lab_probe!lab_probe_pushes+2")
            && line.contains("`push r12` at lab_probe!lab_probe_pushes+1"),
        "{line}"
    );
    let line = lab.run("!epthook vmlinux!jiffies");
    assert!(line.contains("warning: vmlinux!jiffies"), "{line}");
    lab.run("events c all");

    // PUSH RBX; PUSH R12; MOV RBX, RDI; and so on: a jump over the second covers the third.
    let pushes = "echo 25 > /sys/module/lab_probe/parameters/pushes";
    let right = "cat /sys/module/lab_probe/parameters/pushes";
    lab.run("!epthook lab_probe!lab_probe_pushes+3 script { .lab_code += 1; }");
    change(&mut lab, pushes);
    assert_eq!(lab.value(".lab_code"), CALLS);
    add_probe(&mut lab, "lab_probe_pushes+1");
    // Kprobes are optimised after a while.
    let list = "grep -q OPTIMIZED /sys/kernel/debug/kprobes/list";
    change(&mut lab, &format!("while ! {list}; do sleep 1; done"));
    let line = listed(&mut lab);
    assert!(
        line.starts_with("stale") && line.contains("a jump"),
        "{line}"
    );
    change(&mut lab, pushes);
    assert_eq!(
        lab.value(".lab_code"),
        CALLS,
        "nothing is counted while it is stale"
    );
    assert_eq!(change(&mut lab, right).trim(), "wrong 0");
    remove_probe(&mut lab);
    change(&mut lab, "sleep 1");
    let line = listed(&mut lab);
    assert!(
        line.starts_with("enabled") && line.ends_with(" hits"),
        "{line}"
    );
    change(&mut lab, pushes);
    assert_eq!(lab.value(".lab_code"), 2 * CALLS);

    // The module goes, and others come where it was.
    change(
        &mut lab,
        "rmmod lab_probe; for i in 1 2 3; do insmod /lab_hostile.ko; rmmod lab_hostile; done; true",
    );
    let line = listed(&mut lab);
    let why = "the address leads to other memory now, or to none";
    assert!(line.starts_with("stale") && line.ends_with(why), "{line}");
    lab.run("events c all");
    in_a_bpf_program(&mut lab);
    lab.run("g");
    assert_log_is_clean(&lab.guest("dmesg"));
}

/// Both kinds of hooks on a program that the kernel compiled, until it goes.
fn in_a_bpf_program(lab: &mut Lab) {
    for command in ["!epthook", "!epthook2"] {
        lab.run("g");
        lab.guest("rm -f /tmp/filter /tmp/filtering");
        lab.guest_background(&format!("lab-filter {CALLS}"));
        lab.guest("while [ ! -e /tmp/filtering ]; do sleep 1; done");
        lab.run("pause");
        let programs = lab.run("x bpf!bpf_prog_*_lab");
        let name = programs
            .split_whitespace()
            .find(|word| word.starts_with("bpf!"));
        let name = name.unwrap_or_else(|| panic!("{programs}"));
        lab.run("? .lab_code = 0;");
        lab.run(&format!("{command} {name} script {{ .lab_code += 1; }}"));
        let said = change(lab, "touch /tmp/filter; wait");
        assert!(said.contains(&format!("passed {CALLS}")), "{said}");
        assert_eq!(lab.value(".lab_code"), CALLS, "{command}");
        lab.run("events c all");
    }
}
