//! The debuggee is reset, switched off and on, while a host program is in a session with it.

use crate::lab::Lab;
use std::time::{Duration, Instant};
use vm_lab::machine::Options;

/// Emulated machines take their time to switch themselves off.
const OFF_WITHIN: Duration = Duration::from_secs(60);

/// What the program says until the debuggee is there again.
#[track_caller]
fn told(lab: &mut Lab) -> Vec<String> {
    let mut told: Vec<String> = Vec::new();
    for _ in 0..100 {
        told.extend(lab.run("sleep 0n100").lines().map(str::to_owned));
        if told.iter().any(|line| line.contains("there again")) {
            eprintln!("{}", told.join("\n"));
            return told;
        }
    }
    panic!("it does not come back: {told:?}");
}

/// It halts, has no event, takes one, and goes on.
#[track_caller]
fn is_as_new(lab: &mut Lab) {
    lab.run("pause");
    assert_eq!(lab.run("events"), "no events");
    lab.run("!epthook vmlinux!__x64_sys_getsid core 1");
    lab.run("g");
    lab.guest_background("lab-calls 1 1");
    assert!(lab.run(".wait 0n30").contains(" hit on core 1"));
    lab.run("events c all");
    lab.go();
}

#[test]
fn debuggee_that_is_reset_under_the_host_is_met_again() {
    let mut lab = Lab::with(&Options {
        load_driver: false,
        starts_driver: true,
        ..Options::default()
    });
    lab.run("pause");
    lab.run("!epthook vmlinux!__x64_sys_getsid");
    lab.run("g");
    let started = Instant::now();
    lab.machine.reset().unwrap();
    eprintln!("started again after {:.1?}", started.elapsed());
    let told = told(&mut lab);
    assert_eq!(told.len(), 2, "{told:?}");
    assert!(
        told[0].starts_with("the debuggee has started anew"),
        "{told:?}"
    );
    assert!(told[1].ends_with("; running"), "{told:?}");
    is_as_new(&mut lab);
}

#[test]
fn debuggee_that_is_switched_off_and_on_is_met_again() {
    let mut lab = Lab::with(&Options::default());
    lab.run("pause");
    lab.run("!cpuid 1234");
    // In the middle of a halt.
    lab.machine.power_cycle().unwrap();
    lab.load_driver(&[]);
    told(&mut lab);
    is_as_new(&mut lab);
    // By itself.
    lab.guest_background("poweroff -f");
    let started = Instant::now();
    while lab.machine.is_running() {
        assert!(started.elapsed() < OFF_WITHIN, "it stays on");
        std::thread::sleep(Duration::from_millis(10));
    }
    lab.machine.power_cycle().unwrap();
    lab.load_driver(&[]);
    told(&mut lab);
    is_as_new(&mut lab);
}
