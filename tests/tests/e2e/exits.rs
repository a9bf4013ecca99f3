//! What makes a core leave the guest leads to what it would have led to without a hypervisor.

use crate::lab::{Lab, assert_log_is_clean};
use std::time::{Duration, Instant};
use vm_lab::machine::{KernelLine, Options};

const PROBE: &str = "/sys/module/lab_probe/parameters";
const INSTRUCTIONS: [&str; 9] = [
    "cr0", "cr3", "cr4", "cr8", "xsetbv", "wbinvd", "invd", "rdmsr", "wrmsr",
];

#[track_caller]
fn results(lab: &mut Lab) -> Vec<String> {
    INSTRUCTIONS
        .iter()
        .map(|name| lab.guest(&format!("echo {name} > {PROBE}/run; cat {PROBE}/result")))
        .collect()
}

#[test]
fn privileged_instructions_do_what_they_do_without_a_hypervisor() {
    let mut lab = Lab::with(&Options {
        load_driver: false,
        ..Options::default()
    });
    lab.load_probe();
    let bare = results(&mut lab);
    assert!(
        bare[0].contains("core 0 cr0 0x8 0x0\ncore 1 cr0 0x8 0x0"),
        "{bare:?}"
    );
    assert!(bare[2].contains("core 1 cr4 0x100 0x0"), "{bare:?}");
    lab.load_driver(&[]);
    lab.connect();
    assert_eq!(results(&mut lab), bare);
    // The kernel does not see that VMX is on.
    assert_eq!(
        lab.guest(&format!("cat {PROBE}/vmx")),
        "core 0 vmxe=0\ncore 1 vmxe=0\n"
    );
    // And again with a hook armed.
    lab.run("pause");
    lab.run("!epthook vmlinux!__x64_sys_getsid");
    lab.run("g");
    assert_eq!(results(&mut lab), bare);
    lab.run("pause");
    lab.go();
}

#[test]
fn core_taken_offline_and_back_is_held_and_hooked() {
    let mut lab = Lab::boot(KernelLine::Lean);
    let online = "/sys/devices/system/cpu/cpu1/online";
    for _ in 0..2 {
        lab.guest(&format!("echo 0 > {online}"));
        assert!(lab.run("pause").starts_with("break-in on core 0"));
        let list = lab.run("~");
        assert!(list.starts_with("* 0  halted"), "{list}");
        lab.run("!epthook vmlinux!__x64_sys_getsid");
        lab.run("g");
        lab.guest(&format!("echo 1 > {online}"));
        lab.guest_background("lab-calls 1 1");
        let halt = lab.run(".wait 0n30");
        assert!(halt.contains("hit on core 1"), "{halt}");
        let list = lab.run("~");
        assert_eq!(list.matches("  halted   ").count(), 2, "{list}");
        lab.run("events c all");
        lab.go();
    }
    let log = lab.guest("dmesg");
    assert_log_is_clean(&log);
}

/// Seconds since the kernel started, as it believes.
#[track_caller]
fn uptime(lab: &mut Lab) -> f64 {
    let text = lab.guest("cat /proc/uptime");
    let word = text.split(' ').next().unwrap_or_default();
    word.parse().unwrap_or_else(|_| panic!("no uptime: {text}"))
}

/// Seconds on the clock that runs whether or not the processors do.
#[track_caller]
fn wall_clock(lab: &mut Lab) -> i64 {
    let text = lab.guest("cat /sys/class/rtc/rtc0/since_epoch");
    text.trim()
        .parse()
        .unwrap_or_else(|_| panic!("no time: {text}"))
}

#[test]
fn half_a_minute_of_halt_goes_unnoticed() {
    let mut lab = Lab::boot(KernelLine::Lean);
    let mut halt_for = Duration::from_secs(8);
    loop {
        let before = (wall_clock(&mut lab), uptime(&mut lab));
        lab.run("pause");
        let halted = Instant::now();
        // The debugger is in use meanwhile.
        while halted.elapsed() < halt_for {
            lab.run("!digest");
        }
        lab.run("g");
        let after = (wall_clock(&mut lab), uptime(&mut lab));
        let (passed, noticed) = (after.0 - before.0, after.1 - before.1);
        eprintln!("halted for {passed} emulated seconds, of which {noticed:.2} were noticed");
        assert!((0.0..3.0).contains(&noticed), "{noticed} s were noticed");
        if passed >= 30 {
            break;
        }
        // How fast the emulator is depends on the machine below.
        halt_for *= 2;
        assert!(
            halt_for < Duration::from_secs(100),
            "the clock stands still"
        );
    }
    let log = lab.guest("dmesg");
    assert_log_is_clean(&log);
    assert!(lab.guest("lab-check 2").contains("check ok cores 2"));
}
