//! Hooks and detours on what runs when nothing must go wrong, and on what the driver itself calls: each is right, or refused
//! with a reason. On the machines of [`crate::code`].

use crate::lab::Lab;

const CALLS: u64 = 25;
const FUNCTION: &str = "__x64_sys_getsid";
const COUNT: &str = "/sys/module/lab_probe/parameters/count";
const TRACING: &str = "/sys/kernel/tracing";
/// How a detour may be refused: code of the entry and of the debugger, and instructions that no jump fits.
const NO_DETOUR: [&str; 2] = [
    "this is code of the kernel's entry or the debugger's own",
    "the instruction is shorter than the five bytes of a jump",
];
const OWN: &str = "belongs to the debugger itself";

/// What is hooked, and whether what the guest does here leads through it while the events are looked at.
const PATHS: [(&str, bool); 31] = [
    // Faults, exceptions and NMIs.
    ("vmlinux!asm_exc_page_fault", true),
    ("vmlinux!exc_page_fault", true),
    ("vmlinux!handle_mm_fault", true),
    ("vmlinux!asm_exc_nmi", true),
    ("vmlinux!exc_nmi", true),
    ("vmlinux!default_do_nmi", true),
    ("vmlinux!asm_exc_int3", true),
    ("vmlinux!exc_int3", true),
    ("vmlinux!asm_exc_debug", false),
    ("vmlinux!error_entry", true),
    ("vmlinux!paranoid_entry", true),
    // The timer, the scheduler, locks.
    ("vmlinux!asm_sysvec_apic_timer_interrupt", true),
    ("vmlinux!hrtimer_interrupt", true),
    ("vmlinux!schedule", true),
    ("vmlinux!__schedule", true),
    ("vmlinux!try_to_wake_up", true),
    ("vmlinux!_raw_spin_lock", true),
    ("vmlinux!native_queued_spin_lock_slowpath", false),
    // What changes code, and a module's code.
    ("vmlinux!text_poke_bp_batch", true),
    ("vmlinux!__text_poke", true),
    ("lab_probe!lab_probe_target", true),
    // What the driver calls to fill its pools and to go.
    ("vmlinux!kthread_should_stop", true),
    ("vmlinux!schedule_timeout_interruptible", true),
    ("vmlinux!__alloc_pages", true),
    ("vmlinux!__free_pages", false),
    ("vmlinux!kthread_stop", false),
    ("vmlinux!synchronize_rcu_tasks", false),
    ("vmlinux!stop_machine_cpuslocked", false),
    ("vmlinux!multi_cpu_stop", false),
    ("standstill!replenish", false),
    ("standstill!leave_here", false),
];

/// With both kinds of hooks, one after the other. The driver goes with the last of them in place.
pub(crate) fn can_be_hooked(lab: &mut Lab, commands: [&str; 2]) {
    lab.run("pause");
    let line = lab.refused("!epthook vmlinux!start_kernel");
    assert!(line.contains("was code of the kernel's start"), "{line}");
    for pool in ["epthook", "epthook2", "regular-event"] {
        lab.run(&format!("prealloc {pool} 20"));
    }
    for (turn, command) in commands.into_iter().enumerate() {
        lab.run("events c all");
        let hooked = hook_all(lab, command);
        if turn == 0 {
            // More than there is: the driver takes memory from the kernel, through what is hooked.
            let reserved = lab.run("prealloc big-event c0");
            assert!(reserved.contains("after the next"), "{reserved}");
        }
        lab.run("g");
        all_is_used(lab);
        lab.run("pause");
        let list = lab.run("events");
        assert_eq!(list.lines().count(), hooked.len(), "{list}");
        for ((path, is_used), line) in hooked.iter().zip(list.lines()) {
            assert!(line.contains(" enabled ") && line.contains(path), "{line}");
            assert!(!is_used || !line.ends_with(" 0 hits"), "{line}");
        }
        let pools = lab.run("pools");
        let big = pools.lines().find(|line| line.starts_with("big-event"));
        let reserved = big.and_then(|line| line.split_whitespace().nth(2));
        assert_eq!(reserved, Some("192"), "{pools}");
    }
    lab.run("g");
    lab.kill_host();
    lab.unload_driver();
    assert!(lab.guest("lab-check 1").contains("check ok"));
}

/// The kernel gets NMIs and changes its code, under a kprobe's breakpoint and for the tracer.
fn all_is_used(lab: &mut Lab) {
    let said = lab.guest(&format!(
        "cd /sys/module/lab_probe/parameters; echo nmi > run; echo {CALLS} > target; \
         echo {FUNCTION}+5 > {COUNT}; lab-calls {CALLS} 1; cat {COUNT}; echo - > {COUNT}"
    ));
    assert!(said.contains(&format!("{FUNCTION}+5 {CALLS}")), "{said}");
    // The first of all functions: to find one by its name takes the kernel longer than all else here.
    lab.guest(&format!(
        "cd {TRACING}; echo 1 > set_ftrace_filter; echo function > current_tracer; \
         echo nop > current_tracer; cd /"
    ));
    assert!(lab.guest("lab-check 1").contains("check ok"));
}

/// Returns those that are hooked.
fn hook_all(lab: &mut Lab, command: &str) -> Vec<(&'static str, bool)> {
    let mut hooked = Vec::new();
    for (path, is_used) in PATHS {
        let reply = lab.reply(&format!("{command} {path} script {{ .lab_path += 1; }}"));
        let why: &[&str] = match command {
            "!epthook" => &[],
            _ => &NO_DETOUR,
        };
        let mut why = why.iter().chain([&OWN]);
        assert!(
            reply.ok || why.any(|why| reply.output.contains(why)),
            "{command} {path}: {}",
            reply.output
        );
        if reply.ok {
            hooked.push((path, is_used));
        }
    }
    hooked
}
