//! The driver's image is memory of the guest, which cannot change what the debugger runs on.

use crate::lab::{Lab, assert_log_is_clean};
use std::ops::Range;
use vm_lab::machine::KernelLine;

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
