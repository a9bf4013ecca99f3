//! How a driver ends, and how a core does: each is told at once, and what is left goes on.

use crate::lab::{Lab, assert_log_is_clean};
use std::io::Write;
use std::os::unix::net::UnixStream;
use vm_lab::machine::KernelLine;

const UNLOADED: &str = "no driver answers: it was unloaded, or no session came about; you are told when one \
                        is there, and `.reconnect` tries at once";

/// Waits until the host program tells this by itself, and returns all that it told.
#[track_caller]
fn told(lab: &mut Lab, what: &str) -> String {
    let mut said = String::new();
    for _ in 0..150 {
        said.push_str(&lab.run("sleep 0n200"));
        if said.contains(what) {
            return said;
        }
    }
    panic!("`{what}` is not told, but: {said}");
}

/// A break-in without any session, as one that lay in the line.
fn break_in_from_nowhere(lab: &Lab) {
    let mut line = UnixStream::connect(lab.machine.socket_path()).unwrap();
    line.write_all(b"\0BRK\0").unwrap();
    line.shutdown(std::net::Shutdown::Write).unwrap();
}

#[test]
fn ends_are_told_and_what_is_left_goes_on() {
    let mut lab = Lab::boot(KernelLine::Lean);
    hit_is_told_by_whoever_waits(&mut lab);
    driver_that_goes_is_missed_at_once_and_met_again(&mut lab);
    break_in_counts_within_a_session_only(&mut lab);
    assert_log_is_clean(&lab.guest("dmesg"));
    core_that_dies_halts_the_machine(&mut lab);
}

fn hit_is_told_by_whoever_waits(lab: &mut Lab) {
    lab.run("pause");
    lab.run("!epthook vmlinux!__x64_sys_getsid");
    assert_eq!(lab.run("g"), "");
    lab.guest_background("lab-calls 21 1");
    for _ in 0..20 {
        let stop = lab.run(".wait 0n60");
        assert!(stop.starts_with("event 0 hit on core 1"), "{stop}");
        assert_eq!(lab.run("g"), "", "the next one comes at once");
    }
    assert!(lab.run(".wait 0n60").starts_with("event 0 hit on core 1"));
    lab.run("events c all");
    lab.run("g");
    lab.guest("wait");
}

fn driver_that_goes_is_missed_at_once_and_met_again(lab: &mut Lab) {
    lab.run("pause");
    lab.run("!epthook vmlinux!__x64_sys_getsid");
    lab.run("g");
    lab.unload_driver();
    told(lab, "the driver was unloaded; this program waits for it");
    for command in ["pause", "g", "events"] {
        assert_eq!(lab.refused(command), UNLOADED);
    }
    lab.load_driver(&[]);
    let again = told(lab, "the driver is there again; connected: ");
    assert!(again.trim_end().ends_with("; running"), "{again}");
    assert!(lab.run("pause").starts_with("break-in on core "));
    assert_eq!(lab.run("events"), "no events");
    // An unload that is begun while everything stands still.
    lab.guest_background("rmmod standstill");
    lab.run("g");
    told(lab, "the driver was unloaded; this program waits for it");
    lab.guest("wait");
}

fn break_in_counts_within_a_session_only(lab: &mut Lab) {
    lab.kill_host();
    break_in_from_nowhere(lab);
    lab.load_driver(&[]);
    assert!(lab.guest_answers(), "it lay in the line");
    break_in_from_nowhere(lab);
    assert!((0..3).all(|_| lab.guest_answers()), "no host is there");
    lab.unload_driver();
    lab.load_driver(&[("halt".into(), "1".into())]);
    break_in_from_nowhere(lab);
    assert!((0..20).any(|_| !lab.guest_answers()), "it was asked for");
    lab.connect();
    assert!(lab.run(".status").contains("state       halted"));
    lab.go();
}

fn core_that_dies_halts_the_machine(lab: &mut Lab) {
    lab.run("pause");
    lab.run("~ 1");
    lab.run("r cr3 = 0");
    assert_eq!(lab.run("g"), "");
    let stop = lab.run(".wait 0n60");
    assert!(stop.starts_with("core 1 died of a triple fault "), "{stop}");
    let list = lab.run("~");
    let cores: Vec<&str> = list.lines().collect();
    assert!(cores[0].starts_with("  0  halted   "), "{list}");
    assert!(cores[1].starts_with("* 1  died     "), "{list}");
    let rip = lab.run("r rip");
    assert!(cores[1].contains(rip.trim_start_matches("rip=")), "{list}");
    assert_eq!(lab.run("r cr3"), "cr3=0000000000000000");
    lab.run("~ 0");
    lab.run("dq vmlinux!_text l 40");
    lab.run("!dq 100000 l 40");
    assert_eq!(
        lab.refused("!cpuid 3 core 1"),
        "c0000118: core 1 has died and executes nothing any more; choose another core, or leave it \
         out where all are meant"
    );
    lab.run("!cpuid 3");
    lab.run("events c all");
    // The other core runs: its timer interrupts it.
    lab.run("!interrupt ec core 0 script { .lab_ticks += 1; }");
    for _ in 0..100 {
        lab.run("g");
        lab.run("sleep 0n100");
        lab.run("pause");
        if lab.run("? printf(\"%d\\n\", .lab_ticks);") != "0" {
            assert!(lab.run("~").contains(" 1  died     "));
            return;
        }
    }
    panic!("core 0 does not run");
}
