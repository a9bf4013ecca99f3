//! The driver comes and goes, or says why it does not come.

use crate::lab::{Lab, assert_log_is_clean};
use vm_lab::machine::{KernelLine, Options};

const ROUNDS: u32 = 20;

fn without_driver(kernel_line: KernelLine) -> Lab {
    Lab::with(&Options {
        kernel_line,
        load_driver: false,
        ..Options::default()
    })
}

#[test]
fn twenty_loads_and_unloads_under_load_leave_the_stock_kernel_well() {
    let mut lab = without_driver(KernelLine::Stock);
    lab.load_probe();
    lab.guest_background(
        "while [ ! -e /tmp/end ]; do lab-check 3 > /tmp/check || { cat /tmp/check; touch /tmp/broken; }; done",
    );
    lab.guest_background("while [ ! -e /tmp/end ]; do ls -lR /proc/self > /dev/null 2>&1; done");
    for round in 0..ROUNDS {
        lab.load_driver(&[]);
        if round % 5 == 0 {
            lab.connect();
            lab.run("pause");
            lab.run("!epthook vmlinux!__x64_sys_getsid");
            lab.run("events c all");
            lab.run("g");
            lab.kill_host();
        }
        lab.unload_driver();
    }
    lab.guest("touch /tmp/end; wait; test ! -e /tmp/broken");
    let vmx = lab.guest("cat /sys/module/lab_probe/parameters/vmx");
    assert_eq!(vmx, "core 0 vmxe=0\ncore 1 vmxe=0\n");
    assert_log_is_clean(&lab.guest("dmesg"));
}

#[test]
fn unloading_takes_installed_events_along() {
    let mut lab = Lab::halted(KernelLine::Lean);
    lab.run("!epthook vmlinux!__x64_sys_getsid");
    lab.run("!cpuid");
    lab.run("g");
    lab.kill_host();
    lab.guest_background("rmmod standstill");
    // CPUID stops the debuggee, perhaps before the driver is gone: a new host lets it go on.
    if !lab.guest_answers() {
        lab.connect();
        lab.reply("events c all");
        lab.reply("g");
        lab.kill_host();
    }
    lab.guest("wait");
    assert!(lab.guest("lab-calls 100 1").contains("calls 100 core 1"));
    lab.guest("lab-cpuid 0 10");
    assert_log_is_clean(&lab.guest("dmesg"));
}

/// Loads with a parameter that can't work: refused with `reason` in the log, and all is as before.
fn refuses(lab: &mut Lab, name: &str, value: &str, reason: &str) {
    let loaded = lab.machine.load_driver(&[(name.into(), value.into())]);
    let said = match loaded {
        Ok(()) => panic!("the driver loaded with {name}={value}"),
        Err(error) => format!("{error:#}"),
    };
    assert!(said.contains(reason), "{name}={value}: {said}");
    assert!(lab.guest("lab-check 1").contains("check ok cores 2"));
    let vmx = lab.guest("cat /sys/module/lab_probe/parameters/vmx");
    assert_eq!(vmx, "core 0 vmxe=0\ncore 1 vmxe=0\n");
}

#[test]
fn driver_that_cannot_work_refuses_to_load_and_says_why() {
    let mut lab = without_driver(KernelLine::Lean);
    lab.load_probe();
    refuses(&mut lab, "com", "9", "com=9: the serial ports are 1 to 4");
    refuses(&mut lab, "com", "4", "no serial port at I/O port 0x2e8");
    refuses(&mut lab, "arena_bytes", "1", "arena");
    refuses(&mut lab, "regular_events", "1000000", "arena");
    refuses(&mut lab, "baud", "7", "baud");
    assert_log_is_clean(&lab.guest("dmesg"));
    // None of it stands in the way of a driver that can.
    lab.load_driver(&[]);
    lab.connect();
    lab.run("pause");
    lab.go();
}
