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
    lab.run("!epthook __x64_sys_getsid core 1 script { .n += 1; }");
    lab.run("!epthook @rip+(__x64_sys_getsid-@rip) core 0");
    lab.run("!cpuid 1234 condition { @rax == 5 }");
    lab.run("events d 1");
    let set = lab.run("events");
    lab.run("sxd reboot");
    lab.run("g");
    let started = Instant::now();
    lab.machine.reset().unwrap();
    eprintln!("started again after {:.1?}", started.elapsed());
    let mut told = told(&mut lab);
    told.extend(lab.run("sleep 0").lines().map(str::to_owned));
    eprintln!("{}", told.join("\n"));
    assert_eq!(told.len(), 3, "{told:?}");
    assert!(told[0].starts_with("the debuggee has started anew"));
    assert!(told[1].ends_with("; running"));
    let offer = "3 events of the session before had been set; `.session load` sets them again";
    assert_eq!(told[2], offer);
    lab.run("pause");
    assert_eq!(lab.run("events"), "no events");
    assert!(
        lab.run(".session load")
            .starts_with("3 events set again from ")
    );
    assert_eq!(lab.run("events"), set);
    lab.run("g");
    lab.guest("lab-calls 7 1");
    lab.run("pause");
    assert_eq!(lab.value(".n"), 7);
    // A program that dies leaves them to the next one.
    lab.run("g");
    lab.kill_host();
    lab.connect();
    lab.run("pause");
    let again = lab.run(".session load");
    assert!(again.ends_with("; 3 events there already"), "{again}");
    lab.run("events c all");
    lab.run("g");
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
