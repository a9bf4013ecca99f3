//! The driver comes and goes, or says why it does not come.

use crate::doctor::examined;
use crate::lab::{Lab, assert_log_is_clean};
use vm_lab::machine::{self, KernelLine, Options};

const ROUNDS: u32 = 20;

fn without_driver(kernel_line: KernelLine) -> Lab {
    without_driver_on(machine::DEFAULT_CPU, kernel_line)
}

fn without_driver_on(cpu: &str, kernel_line: KernelLine) -> Lab {
    Lab::with(&Options {
        cpu: cpu.into(),
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
    refuses_with(lab, &[(name.into(), value.into())], reason);
    let vmx = lab.guest("cat /sys/module/lab_probe/parameters/vmx");
    assert_eq!(vmx, "core 0 vmxe=0\ncore 1 vmxe=0\n");
}

fn refuses_with(lab: &mut Lab, params: &[(String, String)], reason: &str) {
    let said = match lab.machine.load_driver(params) {
        Ok(()) => panic!("the driver loaded with {params:?}"),
        Err(error) => format!("{error:#}"),
    };
    assert!(said.contains(reason), "{params:?}: {said}");
    assert!(lab.guest("lab-check 1").contains("check ok cores 2"));
}

/// The machine has no port in memory, and its firmware's tables name none.
fn other_ports_are_refused(lab: &mut Lab) {
    for (name, value, reason) in [
        (
            "io",
            "0xfff9",
            "io=0xfff9: a UART's eight ports are not all there",
        ),
        (
            "acpi",
            "1",
            "the firmware's tables DBG2 and SPCR name no 16550",
        ),
        (
            "mmio",
            "0x100000",
            "the UART at address 0x100000 is in use by \"System RAM\"",
        ),
        ("mmio", "0xfe030000", "no serial port at address 0xfe030000"),
    ] {
        let params = [("com", "0"), (name, value)];
        let params = params.map(|(name, value)| (name.to_owned(), value.to_owned()));
        refuses_with(lab, &params, reason);
    }
    refuses_with(lab, &[("io".into(), "0x2f8".into())], "give one of them");
}

#[test]
fn processor_without_vtx_is_refused() {
    let mut lab = without_driver_on("zambezi", KernelLine::Lean);
    refuses_with(&mut lab, &[], "this processor has no VT-x");
    let (said, is_well) = examined(&mut lab, "com=2");
    assert!(!is_well && said.contains("change: processor: this processor has no VT-x, or "));
    assert_eq!(
        said.matches(": processor: ").count(),
        1,
        "the rest cannot be known"
    );
    assert_log_is_clean(&lab.guest("dmesg"));
}

#[test]
fn processor_of_the_first_vtx_generation_is_refused() {
    let mut lab = without_driver_on("core2_penryn_t9600", KernelLine::Lean);
    refuses_with(
        &mut lab,
        &[],
        "this processor lacks the VMX preemption timer",
    );
    let (said, is_well) = examined(&mut lab, "com=2");
    assert!(!is_well);
    for line in [
        "fine: processor: VT-x\n",
        "fine: processor: NMI exiting\n",
        "change: processor: this processor lacks the VMX preemption timer\n",
        "change: processor: this processor has no EPT\n",
        "change: processor: this processor's EPT has no execute-only pages, ",
    ] {
        assert!(said.contains(line), "{line} is not in:\n{said}");
    }
    assert_log_is_clean(&lab.guest("dmesg"));
}

#[test]
fn driver_that_cannot_work_refuses_to_load_and_says_why() {
    let mut lab = without_driver(KernelLine::Lean);
    lab.load_probe();
    refuses(&mut lab, "com", "9", "com=9: the serial ports are 1 to 4");
    refuses(&mut lab, "com", "4", "no serial port at I/O port 0x2e8");
    let console = "com1 (I/O port 0x3f8) is the kernel's console; choose another port, or";
    refuses(&mut lab, "com", "1", console);
    let claim = "/sys/module/lab_probe/parameters/claim";
    lab.guest(&format!("echo 2e8 > {claim}"));
    let claimed = "com4 (I/O port 0x2e8) is in use by \"lab_probe\"";
    refuses(&mut lab, "com", "4", claimed);
    lab.guest(&format!("echo 0 > {claim}"));
    refuses(&mut lab, "arena_bytes", "1", "arena");
    refuses(&mut lab, "regular_events", "1000000", "arena");
    let rates = "makes 1200, 2400, 4800, 9600, 19200, 38400, 57600 or 115200";
    refuses(&mut lab, "baud", "7", rates);
    other_ports_are_refused(&mut lab);
    // What another hypervisor does first.
    let vmxe = "/sys/module/lab_probe/parameters/vmxe";
    lab.guest(&format!("echo 1 > {vmxe}"));
    refuses_with(&mut lab, &[], "another hypervisor has VT-x on");
    let vmx = lab.guest("cat /sys/module/lab_probe/parameters/vmx");
    assert_eq!(
        vmx, "core 0 vmxe=1\ncore 1 vmxe=1\n",
        "not its own to clear"
    );
    lab.guest(&format!("echo 0 > {vmxe}"));
    assert_log_is_clean(&lab.guest("dmesg"));
    // None of it stands in the way of a driver that can.
    lab.load_driver(&[]);
    lab.connect();
    lab.run("pause");
    lab.go();
}
