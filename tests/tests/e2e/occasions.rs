//! The machine halts by itself when its kernel ends, and when something begins or ends that is asked for.

use crate::lab::Lab;
use std::time::{Duration, Instant};
use vm_lab::machine::{KernelLine, Options};

/// Emulated machines take their time to switch themselves off.
const OFF_WITHIN: Duration = Duration::from_secs(60);

/// What the lab's module does by itself.
const END: &str = "/sys/module/lab_ends/parameters/end";

/// Has the guest do something while it runs, and gives what is told of the halt that comes.
#[track_caller]
fn halt_at(lab: &mut Lab, guest: &str) -> String {
    assert_eq!(lab.run("g"), "");
    lab.guest_background(guest);
    let stop = lab.run(".wait 0n60");
    eprintln!("{stop}");
    stop.lines().next().unwrap_or_default().to_owned()
}

/// Lets it run until it is halted again by itself.
#[track_caller]
fn next_halt(lab: &mut Lab) -> String {
    lab.run("g");
    let stop = lab.run(".wait 0n60");
    eprintln!("{stop}");
    stop.lines().next().unwrap_or_default().to_owned()
}

/// Memory, registers, tasks and the kernel's log can be looked at.
#[track_caller]
fn is_readable(lab: &mut Lab) {
    lab.run("r");
    lab.run("dq @rsp l 40");
    assert!(lab.run("dc vmlinux!linux_banner l 40").contains("Linux"));
    assert!(lab.run(".process list").contains("kthreadd"));
}

/// A line begins and ends so, with a core between.
#[track_caller]
fn says(line: &str, parts: &[&str]) {
    let mut rest = line;
    for part in parts {
        let at = rest.find(part);
        rest = at.map_or_else(|| panic!("no `{part}` in {line}"), |at| &rest[at..]);
    }
    assert!(line.starts_with(parts[0]), "{line}");
}

#[test]
fn what_comes_and_goes_halts_where_it_is_wanted() {
    let mut lab = Lab::halted(KernelLine::Lean);
    modules(&mut lab);
    processes(&mut lab);
    // A kernel that has met a fault looks for hung tasks no more.
    hangs(&mut lab);
    lockups(&mut lab);
    complaints(&mut lab);
    // Nothing of it is left.
    lab.run("sxr");
    for occasion in ["oops", "panic"] {
        lab.run(&format!("sxd {occasion}"));
    }
    lab.run("g");
    lab.guest(&format!("echo bug > {END}; sleep 1"));
    lab.guest("lab-check 1");
    lab.unload_driver();
    lab.guest("rmmod lab_ends && insmod /lab_ends.ko && rmmod lab_ends");
}

fn modules(lab: &mut Lab) {
    lab.run("sxe ld lab_ends");
    lab.run("sxe ud lab_ends");
    // Another one is not meant.
    let stop = halt_at(
        lab,
        "insmod /lab_probe.ko; rmmod lab_probe; insmod /lab_ends.ko",
    );
    says(
        &stop,
        &[
            "module lab_ends comes, on core ",
            " at ffffffff",
            "; process ",
            "(insmod)",
        ],
    );
    // It can be hooked before it runs.
    lab.run("bp lab_ends!init_module");
    let stop = next_halt(lab);
    says(&stop, &["breakpoint ", " hit on core ", "(insmod)"]);
    lab.run("bc all");
    lab.run("g");
    lab.guest("wait");
    lab.run("pause");
    let stop = halt_at(lab, "rmmod lab_ends; insmod /lab_ends.ko");
    says(
        &stop,
        &["module lab_ends goes, on core ", "; process ", "(rmmod)"],
    );
    lab.run("sxd ud");
    says(&next_halt(lab), &["module lab_ends comes, "]);
    lab.run("sxd ld");
    lab.run("g");
    lab.guest("wait");
    lab.run("pause");
}

fn processes(lab: &mut Lab) {
    lab.run("sxe create sh");
    let stop = halt_at(lab, "sleep 0.1");
    says(
        &stop,
        &["thread ", " (sh) is made, on core ", "; process ", "(sh)"],
    );
    lab.run("sxd create");
    lab.run("g");
    lab.guest("wait");
    lab.run("pause");
    lab.run("sxe process lab-calls");
    lab.run("sxe exit lab-calls");
    let stop = halt_at(lab, "ls > /dev/null; lab-calls 1 1");
    says(
        &stop,
        &[
            "program lab-calls begins at ",
            "on core ",
            "; process ",
            "(lab-calls)",
        ],
    );
    // Its first instruction is the one that it says.
    let place = stop
        .split(' ')
        .nth(4)
        .unwrap()
        .trim_end_matches(',')
        .to_owned();
    let end = lab.run(&format!("ta {place}"));
    eprintln!("{end}");
    assert_eq!(lab.run("r rip"), format!("rip={place}"));
    assert_eq!(lab.value("@cs & 3"), 3);
    let stop = next_halt(lab);
    says(&stop, &["a thread exits with 0, on core ", "(lab-calls)"]);
    lab.run("sxd process");
    lab.run("sxd exit");
    lab.run("sxe signal");
    for (name, number) in [("SEGV", "b"), ("TERM", "f"), ("KILL", "9")] {
        let stop = halt_at(lab, &format!("(sh -c 'kill -{name} $$'); true"));
        says(
            &stop,
            &[
                &format!("signal {number} kills a process, on core "),
                "; process ",
                "(sh)",
            ],
        );
        lab.run("g");
        lab.guest("wait");
        lab.run("pause");
    }
    lab.run("sxd signal");
}

fn lockups(lab: &mut Lab) {
    lab.run("g");
    lab.guest("echo 1 > /proc/sys/kernel/watchdog_thresh");
    lab.run("pause");
    for (end, found) in [
        ("hard", "hard lockup, found on core "),
        ("soft", "soft lockup, found on core "),
    ] {
        assert!(lab.run(&format!("sxe {end}-lockup")).ends_with(" halts"));
        let stop = halt_at(lab, &format!("wait; echo {end} > {END}"));
        says(&stop, &[found, "; process ", "(sh)"]);
        assert!(lab.run(&format!("sxd {end}-lockup")).ends_with(" goes on"));
        assert_eq!(lab.run("bl"), "no breakpoints");
    }
    lab.run("g");
    lab.guest("wait");
    lab.run("pause");
}

/// What is complained of in the kernel's own code; the process that does it dies, and the kernel goes on.
fn complaints(lab: &mut Lab) {
    for occasion in ["warn", "gp"] {
        lab.run(&format!("sxe {occasion}"));
    }
    let stop = halt_at(lab, &format!("echo warn > {END}"));
    says(
        &stop,
        &[
            "kernel warning on core ",
            " at lab_ends!end_set+",
            "; process ",
            "(sh)",
        ],
    );
    lab.run("g");
    lab.guest("wait");
    lab.run("pause");
    let stop = halt_at(lab, &format!("echo bug > {END}"));
    says(
        &stop,
        &[
            "kernel oops on core ",
            " at lab_ends!lab_dies+",
            ": invalid opcode",
            "; process ",
        ],
    );
    is_readable(lab);
    let stop = halt_at(lab, &format!("wait; echo gp > {END}"));
    let first = "general-protection fault 0 of the kernel, on core ";
    says(
        &stop,
        &[first, " at lab_ends!lab_dies+", "; process ", "(lab-dies)"],
    );
    let stop = next_halt(lab);
    let text = ": general protection fault";
    says(
        &stop,
        &[
            "kernel oops on core ",
            " at lab_ends!lab_dies+",
            text,
            "; process ",
        ],
    );
    lab.run("g");
    lab.guest("wait");
    lab.run("pause");
}

fn hangs(lab: &mut Lab) {
    lab.run("sxe hung-task");
    let seconds = "/proc/sys/kernel/hung_task_timeout_secs";
    let stop = halt_at(lab, &format!("echo 1 > {seconds}; echo hang > {END}"));
    says(
        &stop,
        &[
            "thread ",
            " (lab-hang) hangs; found on core ",
            "(khungtaskd)",
        ],
    );
    lab.run("sxd hung-task");
    lab.run("g");
    lab.guest("echo 0 > /proc/sys/kernel/hung_task_timeout_secs");
    lab.run("pause");
}

#[test]
fn kernel_that_panics_halts_and_can_be_read() {
    let mut lab = Lab::halted(KernelLine::Lean);
    lab.run("sxe int3");
    let stop = halt_at(&mut lab, &format!("insmod /lab_ends.ko; echo int3 > {END}"));
    let at = " at lab_ends";
    says(
        &stop,
        &[
            "INT3 that nobody handles, on core ",
            at,
            "; process ",
            "(lab-dies)",
        ],
    );
    let stop = next_halt(&mut lab);
    says(
        &stop,
        &["kernel oops on core ", at, ": int3; process ", "(lab-dies)"],
    );
    // An exception where no process can be ended.
    let stop = next_halt(&mut lab);
    let why = ": Fatal exception in interrupt; process ";
    says(&stop, &["kernel panic on core ", why, "(lab-dies)"]);
    is_readable(&mut lab);
    let gone = lab.run("g");
    assert!(gone.starts_with("the kernel has panicked: "), "{gone}");
    lab.run("pause");
    is_readable(&mut lab);
}

#[test]
fn machine_that_ends_is_started_anew_and_met_again() {
    let mut lab = Lab::with(&Options {
        load_driver: false,
        starts_driver: true,
        ..Options::default()
    });
    lab.run("pause");
    // The kernel's own way, which is told before the devices are at rest.
    let stop = halt_at(&mut lab, "reboot -f");
    says(
        &stop,
        &["the kernel restarts the machine, on core ", "; process "],
    );
    is_readable(&mut lab);
    let gone = lab.run("g");
    assert!(gone.starts_with("the machine starts anew; "), "{gone}");
    lab.machine.wait_for_start().unwrap();
    is_met_again(&mut lab);
    // A panic on purpose, and the reset button.
    lab.run("pause");
    assert_eq!(lab.run(".crash"), "");
    let stop = lab.run(".wait 0n60");
    says(
        &stop,
        &[
            "kernel panic on core ",
            ": asked for by the debugger; process ",
            "(standstill)",
        ],
    );
    let gone = lab.run(".reboot");
    assert!(gone.starts_with("the machine starts anew; "), "{gone}");
    lab.machine.wait_for_start().unwrap();
    is_met_again(&mut lab);
    lab.run("pause");
    lab.run("sxe power-off");
    let stop = halt_at(&mut lab, "poweroff -f");
    says(
        &stop,
        &[
            "the kernel switches the machine off, on core ",
            "; process ",
        ],
    );
    let gone = lab.run("g");
    assert!(
        gone.starts_with("the machine is switched off or halted; "),
        "{gone}"
    );
    let started = Instant::now();
    while lab.machine.is_running() {
        assert!(started.elapsed() < OFF_WITHIN, "it stays on");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// The host program says so by itself.
#[track_caller]
fn is_met_again(lab: &mut Lab) {
    let mut told = String::new();
    for _ in 0..100 {
        told.push_str(&lab.run("sleep 0n100"));
        if told.contains("the driver is there again") {
            assert!(told.contains("the debuggee has started anew"), "{told}");
            return;
        }
    }
    panic!("it does not come back: {told}");
}

#[test]
fn faults_that_end_a_core_halt_and_leave_the_rest() {
    let mut lab = Lab::halted(KernelLine::Lean);
    let stop = halt_at(
        &mut lab,
        &format!("insmod /lab_ends.ko; echo recurse > {END}"),
    );
    says(
        &stop,
        &[
            "double fault on core ",
            " at lab_ends",
            "; process ",
            "(lab-dies)",
        ],
    );
    is_readable(&mut lab);
    // What the kernel makes of it.
    lab.run("sxd oops");
    says(
        &next_halt(&mut lab),
        &["kernel panic on core ", ": ", "(lab-dies)"],
    );
}

#[test]
fn core_without_an_interrupt_table_dies_alone() {
    let mut lab = Lab::halted(KernelLine::Lean);
    let stop = halt_at(
        &mut lab,
        &format!("insmod /lab_ends.ko; echo triple > {END}"),
    );
    says(
        &stop,
        &[
            "core ",
            " died of a triple fault ",
            "; process ",
            "(lab-dies)",
        ],
    );
    is_readable(&mut lab);
    lab.run("g");
    lab.run("pause");
    assert!(lab.run("~").contains("  died "));
}
