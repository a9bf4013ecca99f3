//! Pools run dry with numbers, are refilled in the same halt, and end as they began.

use crate::lab::Lab;
use vm_lab::machine::{KernelLine, Options};

/// The default constants leave little of it.
const SMALL_ARENA_BYTES: u32 = 6 << 20;

/// reserved, in use, free of a class in the output of `pools`.
#[track_caller]
fn counts(pools: &str, class: &str) -> [u32; 3] {
    let line = pools
        .lines()
        .find(|line| line.split(' ').next() == Some(class))
        .unwrap_or_else(|| panic!("no {class} in:\n{pools}"));
    let numbers: Vec<u32> = line
        .split_whitespace()
        .skip(2)
        .filter_map(|word| word.parse().ok())
        .collect();
    match numbers[..] {
        [reserved, in_use, free] => [reserved, in_use, free],
        _ => panic!("not three counts: {line}"),
    }
}

/// In every class, what is reserved is either free or in use.
#[track_caller]
fn assert_balanced(pools: &str) {
    for line in pools
        .lines()
        .skip(1)
        .filter(|line| !line.starts_with("arena"))
    {
        let class = line.split(' ').next().unwrap_or_default();
        let [reserved, in_use, free] = counts(pools, class);
        assert_eq!(reserved, in_use + free, "{line}");
    }
}

fn with_small_arena() -> Lab {
    let mut lab = Lab::with(&Options {
        params: vec![("arena_bytes".into(), SMALL_ARENA_BYTES.to_string())],
        ..Options::default()
    });
    lab.run("pause");
    lab
}

fn clear_is_instant(kernel_line: KernelLine) {
    // Nothing is refilled while the guest runs, so that the pools end as they began.
    let mut lab = Lab::with(&Options {
        kernel_line,
        params: vec![("replenish_ms".into(), "0".into())],
        ..Options::default()
    });
    lab.run("pause");
    let start = lab.run("pools");
    assert_balanced(&start);
    lab.run("!epthook vmlinux!__x64_sys_getsid");
    lab.run("!cpuid 12345");
    lab.run("g");
    lab.guest_background("lab-calls 3 1");
    assert!(lab.run(".wait 0n30").contains("event 0 hit on core 1"));
    assert_ne!(lab.run("pools"), start);
    let cleared = lab.run("events c all");
    assert!(cleared.starts_with("2 events cleared; "), "{cleared}");
    assert_eq!(lab.run("events"), "no events");
    assert_eq!(lab.run("pools"), start, "not all objects are back");
    lab.run("g");
    // Two of the three calls, and CPUID, are still to come: none stops.
    let said = lab.guest("wait; lab-calls 1000 0; lab-cpuid 0x12345 100");
    assert!(said.contains("calls 3 core 1"), "{said}");
    assert!(said.contains("calls 1000 core 0"), "{said}");
    assert!(lab.run(".status").contains("state       running"));
    lab.run("pause");
    assert_eq!(lab.run("pools"), start);
}

#[test]
fn clear_is_complete_before_its_reply() {
    clear_is_instant(KernelLine::Lean);
}

#[test]
fn clear_is_complete_before_its_reply_in_the_stock_kernel() {
    clear_is_instant(KernelLine::Stock);
}

fn rounds_leave_no_trace(kernel_line: KernelLine) {
    let mut lab = Lab::halted(kernel_line);
    let start = lab.run("pools");
    let digest = lab.run("!digest");
    for round in 0..1000_u32 {
        // Twenty functions' worth of places, on pages that come and go, and every kind of filter.
        let place = (round * 37) % 0x20_0000;
        match round % 4 {
            0 => lab.run(&format!("!epthook (vmlinux!_text + {place:x}) force")),
            1 => lab.run(&format!("!cpuid {round:x} core 1")),
            2 => lab.run(&format!(
                "!epthook (vmlinux!_text + {place:x}) core 0 force"
            )),
            _ => lab.run("!cpuid pid 1"),
        };
        if round % 10 == 9 {
            let cleared = lab.run("events c all");
            assert!(cleared.starts_with("10 events cleared"), "{cleared}");
        }
        if round % 250 == 249 {
            assert_eq!(lab.run("pools"), start, "after {} rounds", round + 1);
        }
    }
    assert_eq!(lab.run("!digest"), digest);
    lab.go();
    // Numbers go on; what is installed works.
    lab.run("pause");
    let added = lab.run("!epthook vmlinux!__x64_sys_getsid");
    assert!(added.starts_with("event 3e8: "), "{added}");
    lab.run("g");
    lab.guest_background("lab-calls 1 0");
    assert!(lab.run(".wait 0n30").contains("event 3e8 hit on core 0"));
}

#[test]
fn thousand_rounds_end_with_the_counts_they_began_with() {
    rounds_leave_no_trace(KernelLine::Lean);
}

#[test]
fn thousand_rounds_in_the_stock_kernel_end_with_the_counts_they_began_with() {
    rounds_leave_no_trace(KernelLine::Stock);
}

#[test]
fn what_the_arena_cannot_give_comes_after_the_next_g() {
    let mut lab = with_small_arena();
    // More than 5 MiB of big events: some wait for memory.
    let answer = lab.run("prealloc big-event 20");
    assert!(answer.contains("after the next `g`"), "{answer}");
    let before = lab.run("pools");
    let [reserved, _, _] = counts(&before, "big-event");
    assert!(reserved < 0x20, "{before}");
    let digest = lab.run("!digest");
    assert_eq!(lab.run("!digest"), digest);
    lab.go();
    lab.guest("sleep 3");
    lab.run("pause");
    let after = lab.run("pools");
    assert_eq!(
        counts(&after, "big-event"),
        [0x20, 0, 0x20],
        "{before}\n{after}"
    );
    assert_balanced(&after);
    lab.go();
    assert!(lab.guest("lab-check 2").contains("check ok cores 2"));
}
