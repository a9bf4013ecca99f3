//! Every core stops, is shown, and goes on.

use crate::lab::Lab;
use vm_lab::machine::{KernelLine, Options};

/// `*  0  halted   …` per core.
fn halted_cores(list: &str) -> Vec<&str> {
    list.lines()
        .filter(|line| line.contains("  halted   "))
        .collect()
}

fn every_core_is_held(kernel_line: KernelLine, cpus: u32) {
    let mut lab = Lab::with(&Options {
        kernel_line,
        cpus,
        ..Options::default()
    });
    lab.guest("echo before");
    for _ in 0..3 {
        assert!(lab.run("pause").starts_with("break-in on core "));
        let list = lab.run("~");
        assert_eq!(halted_cores(&list).len(), cpus as usize, "{list}");
        assert_eq!(list.lines().count(), cpus as usize, "{list}");
        for core in 0..cpus {
            lab.run(&format!("~ {core}"));
            let list = lab.run("~");
            let listed = list.lines().nth(core as usize).unwrap_or_default();
            assert!(listed.starts_with(&format!("*{core:2x}  halted")), "{list}");
            // The instruction pointer in the list is the one that `r` shows for this core.
            let rip = lab.run("r rip");
            let digits = rip.trim_start_matches("rip=");
            assert!(listed.contains(digits), "{listed} / {rip}");
            assert!(lab.run("r").contains(&format!("rip={digits}")));
        }
        assert!(!lab.guest_answers(), "the halted guest runs");
        lab.go();
    }
}

#[test]
fn two_cores_are_held_and_go_on() {
    every_core_is_held(KernelLine::Lean, 2);
}

#[test]
fn two_cores_of_the_stock_kernel_are_held_and_go_on() {
    every_core_is_held(KernelLine::Stock, 2);
}

#[test]
fn four_cores_are_held_and_go_on() {
    every_core_is_held(KernelLine::Lean, 4);
}

#[test]
fn four_cores_of_the_stock_kernel_are_held_and_go_on() {
    every_core_is_held(KernelLine::Stock, 4);
}

#[test]
fn a_machine_of_four_gibibytes_is_debugged_like_others() {
    let mut lab = Lab::with(&Options {
        memory_mib: 4096,
        ..Options::default()
    });
    // What `cargo lab --help` says of it.
    let ram = lab.guest("grep -i 'system ram' /proc/iomem | tail -n 1");
    assert!(ram.contains("-bffeffff : "), "{ram}");
    lab.run("pause");
    assert_eq!(halted_cores(&lab.run("~")).len(), 2);
    lab.run("!db bffef000 l 1000");
    lab.run("!epthook vmlinux!__x64_sys_getsid script { .lab_calls += 1; }");
    lab.go();
    assert!(lab.guest("lab-calls 100 1").contains("calls 100 core 1"));
    lab.run("pause");
    assert_eq!(lab.run("? printf(\"%d\\n\", .lab_calls);"), "100");
    lab.run("events c all");
    lab.go();
}

#[test]
fn break_in_reaches_cores_that_spin_with_interrupts_off() {
    let mut lab = Lab::boot(KernelLine::Lean);
    lab.load_probe();
    lab.guest_background("echo 60000 > /sys/module/lab_probe/parameters/spin_ms");
    // It takes a moment until the shell is one of those that no longer run.
    let spins = (0..10).any(|_| !lab.guest_answers());
    assert!(spins, "the cores do not spin");
    lab.run("pause");
    let list = lab.run("~");
    let halted = halted_cores(&list);
    assert_eq!(halted.len(), 2, "{list}");
    for core in 0..2 {
        lab.run(&format!("~ {core}"));
        assert_eq!(lab.run("r if"), "if=0");
    }
    lab.go();
}

#[test]
fn break_in_reaches_cores_in_x2apic_mode() {
    let mut lab = Lab::boot(KernelLine::Lean);
    lab.load_probe();
    lab.guest_background("echo 600000 > /sys/module/lab_probe/parameters/x2apic");
    let spins = (0..10).any(|_| !lab.guest_answers());
    assert!(spins, "the cores do not spin");
    for _ in 0..3 {
        lab.run("pause");
        let list = lab.run("~");
        assert_eq!(halted_cores(&list).len(), 2, "{list}");
        for core in 0..2 {
            lab.run(&format!("~ {core}"));
            assert_eq!(lab.run("r if"), "if=0");
        }
        lab.run("g");
    }
}
