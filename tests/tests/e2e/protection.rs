//! The driver's image is memory of the guest, which cannot change what the debugger runs on.

use crate::lab::{Lab, assert_log_is_clean};
use std::ops::Range;
use vm_lab::machine::{KernelLine, Options};

const PAGE_BYTES: u64 = 0x1000;
/// One word in so many bytes is written to.
const STEP_BYTES: u64 = 0x80;

/// Whole pages from the first to the last section of the driver's module whose name begins so.
#[track_caller]
fn pages(lab: &mut Lab, prefix: &str) -> Range<u64> {
    let listed = lab.guest(&format!(
        "cd /sys/module/standstill/sections && grep . {prefix}*; cd /"
    ));
    let addresses: Vec<u64> = listed
        .lines()
        .filter_map(|line| line.rsplit_once(":0x"))
        .filter_map(|(_, address)| u64::from_str_radix(address, 16).ok())
        .collect();
    let (Some(first), Some(last)) = (addresses.iter().min(), addresses.iter().max()) else {
        panic!("no {prefix} in {listed}");
    };
    first & !(PAGE_BYTES - 1)..(last | (PAGE_BYTES - 1)) + 1
}

/// Digests of everything there, page by page.
#[track_caller]
fn digests(lab: &mut Lab, range: &Range<u64>) -> Vec<String> {
    let pages = range.clone().step_by(PAGE_BYTES as usize);
    pages
        .map(|page| {
            let told = lab.run(&format!("!va2pa {page:x}"));
            let mut words = told.split(' ').skip_while(|word| *word != "physical");
            let at = words.nth(1).unwrap_or_default();
            lab.run(&format!("!digest {at} l {PAGE_BYTES:x}"))
        })
        .collect()
}

/// Inverts words through the module's own addresses and through the direct map.
#[track_caller]
fn write_both_ways(lab: &mut Lab, range: &Range<u64>) {
    const SCRIBBLE: &str = "/sys/module/lab_hostile/parameters/scribble";
    let len_bytes = range.end - range.start;
    for way in ["own", "direct"] {
        let attack = format!("{way} {:x} {len_bytes:x} {STEP_BYTES:x}", range.start);
        lab.guest(&format!("echo {attack} > {SCRIBBLE}"));
        let found = lab.guest(&format!("cat {SCRIBBLE}"));
        let tried = len_bytes / STEP_BYTES;
        assert_eq!(found, format!("tried {tried} changed 0\n"), "{attack}");
    }
}

/// Constants and jump tables of the code that runs in VMX-root, and that code, written to by the kernel.
#[test]
fn code_and_constants_of_the_driver_stay_as_they_are() {
    let mut lab = Lab::boot(KernelLine::Stock);
    lab.machine.load_hostile().unwrap();
    let constants = pages(&mut lab, ".rodata");
    let code = pages(&mut lab, ".text");
    assert!(constants.end - constants.start > 8 * PAGE_BYTES);
    lab.run("pause");
    let before = [digests(&mut lab, &constants), digests(&mut lab, &code)];
    lab.go();
    write_both_ways(&mut lab, &constants);
    write_both_ways(&mut lab, &code);
    // All that the debugger does works as ever, and it sees what it saw.
    lab.run("pause");
    let after = [digests(&mut lab, &constants), digests(&mut lab, &code)];
    assert!(before == after, "the image has changed");
    for command in [
        "r all",
        "u @rip",
        "pools",
        "lm",
        "? { printf(\"%d\\n\", 5); }",
    ] {
        lab.run(command);
    }
    lab.run("!epthook vmlinux!__x64_sys_getsid script { .lab_calls = .lab_calls + 1; }");
    lab.run("!cpuid 1 script { .lab_leaves = .lab_leaves + 1; }");
    lab.run("g");
    assert!(lab.guest("lab-calls 100 1").contains("calls 100 core 1"));
    lab.run("pause");
    assert_eq!(lab.run("? printf(\"%d\\n\", .lab_calls);"), "100");
    lab.run("events c all");
    lab.run("g");
    lab.kill_host();
    lab.unload_driver();
    assert_log_is_clean(&lab.guest("dmesg"));
}

/// A function of the driver's, called by code that has no right to; what it gave.
#[track_caller]
fn call(lab: &mut Lab, call: &str) -> String {
    const CALL: &str = "/sys/module/lab_hostile/parameters/call";
    lab.guest(&format!("echo {call} > {CALL}"));
    lab.guest(&format!("cat {CALL}"))
}

/// The kernel's other code calls the hypervisor as the driver does.
#[test]
fn calls_that_are_not_the_drivers_do_no_harm() {
    let mut lab = Lab::with(&Options {
        params: vec![("replenish_ms".into(), "600000".into())],
        ..Options::default()
    });
    lab.machine.load_hostile().unwrap();
    lab.run("pause");
    lab.run("!epthook vmlinux!__x64_sys_getsid script { .lab_calls = .lab_calls + 1; }");
    // More than the arena has: it wants memory.
    let queued = lab.run("prealloc big-safe-buffer c0");
    lab.go();
    for refused in [
        "standstill_take_chunk none clean",
        "standstill_take_chunk known dirty",
        // The local APIC, code of the kernel, and no chunk at all.
        "standstill_take_chunk known fee00000",
        "standstill_take_chunk known 1000000",
        "standstill_take_chunk known 1234568",
        "standstill_take_chunk known ffffffffffe00000",
        // A core alone, with the token or without it.
        "standstill_stop_core none 0",
        "standstill_stop_core known 0",
        "standstill_clear none 0",
        "standstill_wanted_chunks none 0",
        "standstill_exits none 0",
    ] {
        assert_eq!(call(&mut lab, refused), "gave 0\n", "{refused}");
    }
    let wanted = call(&mut lab, "standstill_wanted_chunks known 0");
    assert_ne!(wanted, "gave 0\n", "{queued}");
    let taken = call(&mut lab, "standstill_take_chunk known clean");
    assert_eq!(taken, "gave 1\n", "what is in order is taken");
    // Every core is under the hypervisor, break-ins come, and the event is there.
    assert!(lab.guest("lab-calls 100 1").contains("calls 100 core 1"));
    lab.run("pause");
    assert_eq!(lab.run("~").lines().count(), 2);
    assert_eq!(lab.run("? printf(\"%d\\n\", .lab_calls);"), "100");
    lab.run("g");
    lab.kill_host();
    lab.unload_driver();
    assert_log_is_clean(&lab.guest("dmesg"));
}

/// All cores leave together, those too that are offline: they come online for it.
#[test]
fn driver_goes_while_a_core_is_offline() {
    const ONLINE: &str = "/sys/devices/system/cpu/cpu1/online";
    let mut lab = Lab::boot(KernelLine::Stock);
    lab.load_probe();
    lab.guest(&format!("echo 0 > {ONLINE}"));
    lab.kill_host();
    lab.unload_driver();
    assert_eq!(lab.guest(&format!("cat {ONLINE}")), "0\n");
    lab.guest(&format!("echo 1 > {ONLINE}"));
    let vmx = lab.guest("cat /sys/module/lab_probe/parameters/vmx");
    assert_eq!(vmx, "core 0 vmxe=0\ncore 1 vmxe=0\n");
    assert!(lab.guest("lab-calls 100 1").contains("calls 100 core 1"));
    assert_log_is_clean(&lab.guest("dmesg"));
}
