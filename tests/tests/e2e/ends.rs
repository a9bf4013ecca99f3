//! How a driver ends, and how a core does: each is told at once, and what is left goes on.

use crate::lab::{Lab, assert_log_is_clean};
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::time::Duration;
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
    port_of_the_line_is_the_drivers_alone(&mut lab);
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
    let [.., there, lost] = again.lines().collect::<Vec<_>>()[..] else {
        panic!("{again}");
    };
    assert!(there.ends_with("; running"), "{again}");
    assert_eq!(
        lost,
        "1 event of the session before had been set; `.session load` sets it again"
    );
    assert!(lab.run("pause").starts_with("break-in on core "));
    assert_eq!(lab.run("events"), "no events");
    lab.run(".session load");
    assert!(
        lab.run("events")
            .contains("epthook vmlinux!__x64_sys_getsid")
    );
    lab.run("events c all");
    // An unload that is begun while everything stands still.
    lab.guest_background("rmmod standstill");
    lab.run("g");
    told(lab, "the driver was unloaded; this program waits for it");
    lab.guest("wait");
}

/// The tty of the line's port works in both directions, as the other end of the line finds.
#[track_caller]
fn tty_works(lab: &mut Lab) {
    let mut line = UnixStream::connect(lab.machine.socket_path()).unwrap();
    line.set_read_timeout(Some(Duration::from_secs(30)))
        .unwrap();
    lab.guest("stty -F /dev/ttyS1 -echo; echo hello > /dev/ttyS1");
    let mut heard = Vec::new();
    while !heard.ends_with(b"hello\r\n") {
        let mut byte = [0];
        let count = line.read(&mut byte).unwrap_or(0);
        assert_eq!(count, 1, "heard {}", String::from_utf8_lossy(&heard));
        heard.extend(byte);
    }
    lab.guest_background("cat /dev/ttyS1 > /tmp/heard");
    // What comes before the port is open is lost.
    for _ in 0..60 {
        line.write_all(b"ahoy\n").unwrap();
        if lab.guest("sleep 1; cat /tmp/heard").contains("ahoy\n") {
            lab.guest("kill $!; wait; true");
            return;
        }
    }
    panic!("the guest hears nothing");
}

/// Whatever the guest does to the port that the driver took finds no device; before and afterwards it has it.
fn port_of_the_line_is_the_drivers_alone(lab: &mut Lab) {
    const TOUCH: &str = "/sys/module/lab_probe/parameters/touch";
    lab.kill_host();
    tty_works(lab);
    // Who has it open is hung up.
    lab.guest_background("cat /dev/ttyS1");
    lab.load_driver(
        &[("com", "0"), ("io", "0x2f8")].map(|(name, value)| (name.into(), value.into())),
    );
    lab.guest("wait");
    lab.connect();
    lab.load_probe();
    lab.guest("! echo hello > /dev/ttyS1");
    lab.guest("stty -F /dev/ttyS1 9600; true");
    // Divisor, interrupts, FIFO, loopback.
    let writes = "'2fb 80' '2f8 1' '2f9 0' '2fb 0' '2f9 f' '2fa 0' '2fc 10'";
    lab.guest(&format!(
        "for write in {writes}; do echo outb $write > {TOUCH}; done"
    ));
    let found = lab.guest(&format!(
        "for port in 8 9 a b c d e f; do echo inb 2f$port > {TOUCH}; cat {TOUCH}; done"
    ));
    assert_eq!(found.matches(" word 0xff\n").count(), 8, "{found}");
    // The same by string instructions.
    let at = found.split(' ').nth(1).unwrap_or_default();
    let at = at.trim_start_matches("0x");
    let found = lab.guest(&format!(
        "for act in 'store {at} 0' 'in 2f8 {at} 6' 'out 2fb {at} 6' 'load {at}'; do \
         echo $act > {TOUCH}; done; cat {TOUCH}"
    ));
    assert!(found.ends_with(" word 0xffffffffffff\n"), "{found}");
    assert!(lab.run("pause").starts_with("break-in on core "));
    lab.run("!ioin script { .n += 1; }");
    lab.run("g");
    lab.guest(&format!("echo inb 2f8 > {TOUCH}; echo inb 84 > {TOUCH}"));
    lab.run("pause");
    assert_ne!(lab.run("? printf(\"%d\\n\", .n);"), "0");
    lab.run("events c all");
    lab.go();
    lab.kill_host();
    lab.unload_driver();
    tty_works(lab);
}

fn break_in_counts_within_a_session_only(lab: &mut Lab) {
    lab.kill_host();
    break_in_from_nowhere(lab);
    lab.load_driver(&[]);
    assert!(lab.guest_answers(), "it lay in the line");
    break_in_from_nowhere(lab);
    assert!((0..3).all(|_| lab.guest_answers()), "no host is there");
    lab.unload_driver();
    // It halts at load, until a host has come and let it go; and later for anybody.
    lab.guest_background("insmod /standstill.ko com=2 halt=1");
    // Loading takes some seconds of the guest's.
    assert!(
        (0..500).any(|_| !lab.guest_answers()),
        "it waits for a host"
    );
    lab.connect();
    assert!(lab.run(".status").contains("state       halted"));
    lab.go();
    lab.guest("wait; test -d /sys/module/standstill");
    lab.kill_host();
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
