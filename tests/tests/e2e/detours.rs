//! Detours: hits that are served in the guest, without an exit.

use crate::lab::Lab;
use vm_lab::machine::KernelLine;

/// Calls in the part that counts exits.
const CALLS: u64 = 10_000;
const SYSCALL: &str = "vmlinux!__x64_sys_getsid";

/// Exits that a core took so far.
#[track_caller]
fn exits(lab: &mut Lab, core: u32) -> u64 {
    let mask = 1 << core;
    let text = lab.guest(&format!(
        "taskset {mask} cat /sys/module/standstill/parameters/exits"
    ));
    text.trim().parse().unwrap_or_else(|_| panic!("{text}"))
}

/// Sixteen bytes of code, as the debugger reads them.
#[track_caller]
fn code(lab: &mut Lab) -> String {
    lab.run(&format!("db {SYSCALL} l 10"))
}

fn hits_are_served_in_the_guest(kernel_line: KernelLine) {
    let mut lab = Lab::halted(kernel_line);
    let before = code(&mut lab);
    lab.run("g");
    let vmfuncs = lab.guest("lab-vmfunc 3");
    for entry in 0..3 {
        // As without a hypervisor.
        assert!(
            vmfuncs.contains(&format!("vmfunc {entry} signal 4")),
            "{vmfuncs}"
        );
    }
    lab.run("pause");
    lab.run(&format!(
        "!epthook2 {SYSCALL} script {{ \
         .lab_hits = .lab_hits + 1; .lab_context = $context; .lab_ip = @rip; .lab_core = $core; \
         .lab_ax = dw(@rdi + 50); .lab_pid = $pid; .lab_cr0 = @cr0; .lab_cs = @cs; }}"
    ));
    assert_eq!(code(&mut lab), before, "the page reads as before");
    lab.run("g");
    let program = lab.guest(&format!(
        "lab-calls {CALLS} 1 > /tmp/said & echo $!; wait; cat /tmp/said"
    ));
    let pid = program.split_whitespace().next().unwrap_or_default();
    let pid: u64 = pid.parse().unwrap_or_else(|_| panic!("{program}"));
    assert!(
        program.contains(&format!("calls {CALLS} core 1")),
        "{program}"
    );
    lab.run("pause");
    assert_eq!(lab.value(".lab_hits"), CALLS, "no hit is lost");
    let address = lab.value(SYSCALL);
    assert_eq!(lab.value(".lab_context"), address);
    assert_eq!(lab.value(".lab_ip"), address);
    assert_eq!(lab.value(".lab_core"), 1);
    assert_eq!(lab.value(".lab_pid"), pid);
    assert_eq!(lab.value(".lab_cs"), 0x10);
    assert_eq!(lab.value(".lab_cr0") & 0x8000_0001, 0x8000_0001);
    lab.run("events c all");

    // Once more with a script that asks for nothing that only an exit can tell.
    lab.run(&format!(
        "!epthook2 {SYSCALL} script {{ .lab_hits = .lab_hits + 1; .lab_word = poi(@rsp); }}"
    ));
    lab.run("g");
    // A program's own change of views: the first leads to where it is, the second to where nothing of it
    // can be executed.
    let vmfuncs = lab.guest("lab-vmfunc 3");
    for (entry, signal) in [(0, 0), (1, 4), (2, 4)] {
        let line = format!("vmfunc {entry} signal {signal}");
        assert!(vmfuncs.contains(&line), "{vmfuncs}");
    }
    let start = exits(&mut lab, 1);
    assert!(
        lab.guest(&format!("lab-calls {CALLS} 1"))
            .contains("core 1")
    );
    let with = exits(&mut lab, 1) - start;
    lab.run("pause");
    assert_eq!(lab.value(".lab_hits"), 2 * CALLS);
    let word = lab.value(".lab_word");
    assert!(
        word >> 40 == 0xff_ffff,
        "a return address of the kernel: {word:x}"
    );
    lab.run("events c all");
    lab.run(&format!(
        "!epthook {SYSCALL} script {{ .lab_other = .lab_other + 1; }}"
    ));
    lab.run("g");
    let start = exits(&mut lab, 1);
    assert!(
        lab.guest(&format!("lab-calls {CALLS} 1"))
            .contains("core 1")
    );
    let by_hook = exits(&mut lab, 1) - start;
    eprintln!("{CALLS} hits: {with} exits with a detour, {by_hook} with a hidden breakpoint");
    assert!(by_hook > CALLS, "{by_hook}");
    assert!(with < CALLS / 10, "{with} exits");

    // Cleared in a halt, nothing comes any more.
    lab.run("pause");
    lab.run("events c all");
    lab.run("g");
    assert!(lab.guest("lab-calls 100 1").contains("calls 100 core 1"));
    lab.run("pause");
    assert_eq!(lab.value(".lab_hits"), 2 * CALLS);
    assert_eq!(code(&mut lab), before);
    lab.go();
}

#[test]
fn detours_cost_no_exits() {
    hits_are_served_in_the_guest(KernelLine::Lean);
}

#[test]
fn detours_cost_no_exits_in_the_stock_kernel() {
    hits_are_served_in_the_guest(KernelLine::Stock);
}

/// Filters, conditions, messages, halts, machine code, and the driver's end.
#[test]
fn a_detour_does_what_a_hook_does() {
    let mut lab = Lab::halted(KernelLine::Lean);
    // Only one core; both have the same number of calls.
    lab.run(&format!(
        "!epthook2 {SYSCALL} core 0 condition {{ $core == 0 }} script {{ .lab_zero = .lab_zero + 1; }}"
    ));
    lab.run("g");
    lab.guest("lab-calls 50 0 & lab-calls 50 1 & wait");
    lab.run("pause");
    assert_eq!(lab.value(".lab_zero"), 50);
    lab.run("events c all");

    // A process that is not the caller.
    lab.run(&format!(
        "!epthook2 {SYSCALL} pid 1 script {{ .lab_init = 1; }}"
    ));
    lab.run("g");
    lab.guest("lab-calls 50 1");
    lab.run("pause");
    assert_eq!(lab.value(".lab_init"), 0);
    lab.run("events c all");

    // Messages come up, and changes that a script asks for.
    lab.run(&format!(
        "!epthook2 {SYSCALL} script {{ .lab_said = .lab_said + 1; printf(\"said %llx\\n\", .lab_said); \
         if (.lab_said == 3) {{ event_clear($event_id); }} }}"
    ));
    lab.run("g");
    lab.guest("lab-calls 50 1");
    let mut news = lab.reply(".wait 0n1").output;
    news += &lab.run("pause");
    for turn in 1..=3 {
        assert!(news.contains(&format!("said {turn}")), "{news}");
    }
    assert!(!news.contains("said 4"), "{news}");
    assert_eq!(lab.run("events"), "no events");

    // Steps that a script asks for: from here on the guest leaves at each.
    lab.run(&format!(
        "!epthook2 {SYSCALL} script {{ if ($context) {{ .lab_next = @rip + disassemble_len(@rip); \
         event_trace_step_in(); }} else {{ .lab_steps += 1; if (@rip != .lab_next) {{ .lab_astray += 1; }} }} }}"
    ));
    lab.run("g");
    assert!(lab.guest("lab-calls 50 1").contains("calls 50 core 1"));
    lab.run("pause");
    assert_eq!(lab.value(".lab_steps"), 50);
    assert_eq!(lab.value(".lab_astray"), 0);
    lab.run("events c all");

    // A halt shows the moment before the instruction, and every hit is one.
    lab.run(&format!("!epthook2 {SYSCALL}"));
    lab.run("g");
    lab.guest_background("lab-calls 3 1; echo all called");
    let mut news = String::new();
    for hit in 0..3 {
        // A halt that comes at once is told with the answer to `g`.
        if news.is_empty() {
            news = lab.run(".wait 0n30");
        }
        assert!(news.contains("hit on core 1"), "hit {hit}: {news}");
        assert_eq!(lab.value("@rip"), lab.value(SYSCALL));
        assert_eq!(lab.run("~").lines().count(), 2);
        if hit == 2 {
            lab.run("events c all");
        }
        news = lab.run("g");
    }
    assert_eq!(news, "", "more hits than calls");
    assert!(lab.guest("wait; echo done").contains("done"));

    // Wherever the cores are when all is halted, what is shown is the guest's.
    lab.run("pause");
    lab.run(&format!(
        "!epthook2 {SYSCALL} script {{ .lab_busy = .lab_busy + 1; }}"
    ));
    lab.run("g");
    let busy = lab.guest("lab-calls 100000000 1 > /dev/null & echo $!");
    for _ in 0..20 {
        lab.run("sleep 20");
        lab.run("pause");
        lab.run("~ 1");
        let place = lab.run("u @rip l 1");
        assert!(!place.contains("standstill"), "{place}");
        lab.run("g");
    }
    lab.run("pause");
    assert!(lab.value(".lab_busy") > 1000);
    lab.run("events c all");
    lab.run("g");
    lab.guest(&format!("kill {}; true", busy.trim()));

    // Machine code: mov qword [rdx + 50h], 1234h is R10 of the guest, which getsid does not use.
    lab.run("pause");
    lab.run(&format!(
        "!epthook2 {SYSCALL} code {{48 c7 42 50 34 12 00 00 c3}} script {{ .lab_code = .lab_code + 1; }}"
    ));
    lab.run("g");
    assert!(lab.guest("lab-calls 50 1").contains("calls 50 core 1"));
    lab.run("pause");
    assert_eq!(lab.value(".lab_code"), 50);
    // The driver goes with a detour in place.
    lab.run("g");
    lab.kill_host();
    lab.unload_driver();
    assert!(lab.guest("lab-calls 50 1").contains("calls 50 core 1"));
    let log = lab.guest("dmesg");
    crate::lab::assert_log_is_clean(&log);
}
