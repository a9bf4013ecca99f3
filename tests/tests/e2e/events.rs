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
    // A halt that comes at once is told with the answer to `g`.
    let mut stop = lab.run("g");
    lab.guest_background(guest);
    if stop.is_empty() {
        stop = lab.run(".wait 0n60");
    }
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

/// Number of hits that the list of events shows for the only event.
#[track_caller]
fn hits(lab: &mut Lab) -> u64 {
    let list = lab.run("events");
    list.lines()
        .find_map(|line| {
            let (before, _) = line.split_once(" hits")?;
            before.rsplit(' ').next()?.parse().ok()
        })
        .unwrap_or_else(|| panic!("no hits in:\n{list}"))
}

/// Installs one event while `guest` runs, and returns what it printed and the hits.
#[track_caller]
fn while_watched(lab: &mut Lab, event: &str, guest: &str) -> (String, u64) {
    lab.run("pause");
    lab.run(event);
    lab.run("g");
    let said = lab.guest(guest);
    lab.run("pause");
    let hits = hits(lab);
    lab.run("events c all");
    lab.run("g");
    (said, hits)
}

#[test]
fn options_of_events_do_what_they_say() {
    let mut lab = Lab::boot(KernelLine::Lean);
    lab.load_probe();
    let cpuid = "taskset 2 lab-cpuid 0x16 3";
    // Before and after.
    for (stage, condition, expected) in [
        ("pre", "@rax == 16", 3),
        ("post", "@rax == 16", 0),
        ("post", "@rax != 16", 3),
        ("all", "1", 6),
    ] {
        let event = format!(
            "!cpuid 16 core 1 stage {stage} condition {{ {condition} }} script {{ .n = 1; }}"
        );
        let (_, hits) = while_watched(&mut lab, &event, cpuid);
        assert_eq!(hits, expected, "{event}");
    }
    // What is kept from happening.
    let event = "!cpuid 16 core 1 sc on script { @rax = 1234; }";
    let (said, _) = while_watched(&mut lab, event, cpuid);
    assert!(said.contains("eax 00001234"), "{said}");
    let event = "!ioin 71 core 1 sc on script { @rax = 5a; }";
    let (said, _) = while_watched(&mut lab, event, &probe("port"));
    assert!(said.contains("core 1 port 0x5a"), "{said}");
    let event = "!exception 6 core 1 script { @rip = @rip + 2; }";
    let (said, hits) = while_watched(&mut lab, event, &probe("ud2"));
    assert!(said.contains("core 0 ud2 0x1"), "{said}");
    assert!(said.contains("core 1 ud2 0x0"), "{said}");
    assert_eq!(hits, 1);
    let event = "!vmcall core 1 sc on script { .n = 1; }";
    let (said, hits) = while_watched(&mut lab, event, &probe("vmcall"));
    assert!(said.contains("core 1 vmcall 0x0"), "{said}");
    assert_eq!(hits, 1);
    // The user decides in the stop.
    lab.run("pause");
    lab.run("!cpuid 16 core 1");
    lab.run("g");
    lab.guest_background("taskset 2 lab-cpuid 0x16 1 > /said");
    lab.run(".wait 0n60");
    lab.run("r @rax = 4321");
    lab.run("events sc on");
    lab.run("events c all");
    lab.run("g");
    lab.guest("wait");
    let said = lab.guest("cat /said");
    assert!(said.contains("eax 00004321"), "{said}");
    // One process.
    let pid = lab.guest("lab-spin 40 1 > /dev/null & echo $!");
    let pid: u32 = pid.trim().parse().expect("a number");
    lab.run("pause");
    lab.run(&format!("!tsc pid {pid:x} condition {{ $pid != {pid:x} }}"));
    lab.run(&format!("!tsc pid {pid:x} condition {{ $core != 1 }}"));
    lab.run("g");
    lab.guest("lab-check 1");
    lab.run("pause");
    lab.run("events c all");
    lab.run(&format!("!tsc pid {pid:x} condition {{ $pid == {pid:x} }}"));
    let mut stop = lab.run("g");
    if stop.is_empty() {
        stop = lab.run(".wait 0n60");
    }
    assert!(stop.contains("hit on core 1"), "{stop}");
    lab.run("events c all");
    // Every instruction of that process.
    lab.run(&format!(
        "!trace instrument-step core 1 pid {pid:x} script {{ .n = .n + 1; }}"
    ));
    lab.run("g");
    // So slow is a traced core that nothing is asked of it meanwhile.
    lab.run("sleep 100");
    lab.run("pause");
    let steps = self::hits(&mut lab);
    assert!(steps > 1000, "{steps} instructions");
    lab.run("events c all");
    lab.run("g");
    lab.guest(&format!("kill {pid}; true"));
    // Much that is watched at once, and nothing is lost.
    lab.run("pause");
    for event in [
        "!syscall",
        "!sysret",
        "!interrupt ec",
        "!exception e",
        "!tsc",
        "!msrwrite",
        "!cpuid",
        "!ioout 3f8",
    ] {
        lab.run(&format!("{event} script {{ .n = .n + 1; }}"));
    }
    lab.run("g");
    assert!(lab.guest("lab-check 3").contains("check ok cores 2"));
    lab.guest(&probe("wrmsr"));
    lab.run("pause");
    let list = lab.run("events");
    assert!(!list.contains("; 0 hits"), "{list}");
    lab.run("events c all");
    lab.run("g");
    let log = lab.guest("dmesg");
    assert_log_is_clean(&log);
    lab.unload_driver();
}
