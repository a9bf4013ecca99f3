//! Every event that needs no EPT fires where and when it should, and nowhere else.

use crate::lab::{Lab, assert_log_is_clean};
use vm_lab::machine::KernelLine;

const RUN: &str = "/sys/module/lab_probe/parameters/run";
const RESULT: &str = "/sys/module/lab_probe/parameters/result";

/// Command, `$context` that it must have, and what makes the guest do it on both cores.
struct Case {
    event: &'static str,
    context: &'static str,
    guest: String,
}

fn probe(instruction: &str) -> String {
    format!("echo {instruction} > {RUN}; cat {RESULT}")
}

fn case(event: &'static str, context: &'static str, guest: impl Into<String>) -> Case {
    Case {
        event,
        context,
        guest: guest.into(),
    }
}

/// Adds an event for core 1 and process `pid`, and waits for its stop.
fn fires(lab: &mut Lab, case: &Case) {
    let Case {
        event,
        context,
        guest,
    } = case;
    lab.run("pause");
    let added = lab.run(&format!(
        "{event} core 1 condition {{ $context == {context} }}"
    ));
    let number = added.split(' ').nth(1).unwrap_or_default().to_owned();
    lab.run("g");
    lab.guest_background(guest);
    let stop = lab.run(".wait 0n60");
    assert!(
        stop.contains(&format!(
            "event {} hit on core 1",
            number.trim_end_matches(':')
        )),
        "{event}: {stop}"
    );
    // Once cleared, the same goes by without a stop.
    lab.run("events c all");
    lab.run("g");
    lab.guest("wait");
    lab.guest(guest);
    // With a condition that never holds, too.
    lab.run("pause");
    lab.run(&format!("{event} condition {{ $context == deadbeef }}"));
    lab.run("g");
    lab.guest(guest);
    lab.run("pause");
    lab.run("events c all");
    lab.run("g");
}

fn all_fire(cases: &[Case]) {
    let mut lab = Lab::boot(KernelLine::Lean);
    lab.load_probe();
    for case in cases {
        fires(&mut lab, case);
    }
    let log = lab.guest("dmesg");
    assert_log_is_clean(&log);
    assert!(lab.guest("lab-check 2").contains("check ok cores 2"));
}

#[test]
fn events_of_registers_fire() {
    all_fire(&[
        case("!msrread c0000080", "c0000080", probe("rdmsr")),
        case("!msrwrite c0000102", "c0000102", probe("wrmsr")),
        case("!msrread c0000102", "c0000102", probe("wrmsr")),
        case("!crwrite 0 mask 8", "@rax & 0 + $context", probe("cr0")),
        case("!crwrite 4 mask 100", "$context | 100", probe("cr4")),
        case("!xsetbv 0", "0", probe("xsetbv")),
        case("!dr", "0", probe("dr")),
    ]);
}

#[test]
fn events_of_instructions_fire() {
    all_fire(&[
        case(
            "!cpuid 16",
            "16",
            "lab-cpuid 0x16 20 & taskset 2 lab-cpuid 0x16 1; wait",
        ),
        case("!vmcall", "0", probe("vmcall")),
        case("!pmc", "0", probe("rdpmc")),
        case("!tsc", "0", probe("rdtsc")),
        case("!ioout 70", "70", probe("port")),
        case("!ioin 71", "71", probe("port")),
    ]);
}

#[test]
fn events_of_calls_and_interruptions_fire() {
    all_fire(&[
        case("!syscall 7c", "7c", "lab-calls 3 0; lab-calls 3 1"),
        case("!syscall2 7c", "7c", "lab-calls 3 0; lab-calls 3 1"),
        case("!sysret", "@rip", "lab-calls 3 0; lab-calls 3 1"),
        case("!exception 6", "6", probe("ud2")),
        case("!exception e", "e", "lab-calls 3 0; lab-calls 3 1"),
        case("!interrupt ec", "ec", "lab-spin 1 1"),
    ]);
}
