//! The driver says what stands in its way, each line with what to change; and when that is changed, the line is gone.

use crate::lab::{Lab, assert_log_is_clean};
use vm_lab::GuestFile;
use vm_lab::machine::Options;

/// Where the disc has the driver.
const MODULE: &str = "/standstill.ko";

/// A machine without the driver, with these words on its kernel's line.
#[track_caller]
fn patient(kernel_words: &[&str]) -> Lab {
    Lab::with(&Options {
        load_driver: false,
        kernel_words: kernel_words.iter().map(|&word| word.to_owned()).collect(),
        ..Options::default()
    })
}

/// What the script says of loading with these parameters, and whether it finds nothing to change.
#[track_caller]
fn examined_for(lab: &mut Lab, module: &str, parameters: &str) -> (String, bool) {
    let command = format!("STANDSTILL_MODULE={module} standstill-doctor {parameters}");
    said_by(lab, &command, parameters)
}

/// The same, in a shell in which other functions were defined first.
#[track_caller]
fn examined_as(lab: &mut Lab, front: &str, module: &str, parameters: &str) -> (String, bool) {
    let command = format!(
        "({front} export STANDSTILL_MODULE={module}; set -- {parameters}; . $(which standstill-doctor))"
    );
    said_by(lab, &command, parameters)
}

#[track_caller]
fn said_by(lab: &mut Lab, command: &str, parameters: &str) -> (String, bool) {
    let answer = lab.guest(&format!("{command}; echo exit $?"));
    let (said, code) = answer.trim_end().rsplit_once("exit ").expect("its code");
    eprintln!("--- {parameters}\n{said}");
    let has_change = said.lines().any(|line| line.starts_with("change: "));
    assert_eq!(code == "0", !has_change, "{answer}");
    (said.to_owned(), code == "0")
}

#[track_caller]
pub(crate) fn examined(lab: &mut Lab, parameters: &str) -> (String, bool) {
    examined_for(lab, MODULE, parameters)
}

/// With `parameters` one line says so, beginning with `line`; with others none does.
#[track_caller]
fn is_said_of(lab: &mut Lab, parameters: &str, line: &str) {
    let (said, is_well) = examined(lab, parameters);
    let lines = said.lines().filter(|it| it.starts_with(line)).count();
    assert_eq!(lines, 1, "{line}");
    assert_eq!(is_well, !line.starts_with("change: "));
}

/// As at first: nothing is to be changed, and no line is as the one before.
#[track_caller]
fn is_well_again(lab: &mut Lab, line: &str) {
    let (said, is_well) = examined(lab, "com=2");
    assert!(
        is_well && !said.lines().any(|it| it.starts_with(line)),
        "{said}"
    );
}

#[track_caller]
fn probe(lab: &mut Lab, parameter: &str, value: &str) {
    lab.guest(&format!(
        "echo {value} > /sys/module/lab_probe/parameters/{parameter}"
    ));
}

#[test]
fn each_line_of_doctor_is_there_until_what_it_names_is_changed() {
    let mut lab = patient(&[]);
    lab.load_probe();
    lab.guest("echo 'lab: loading the driver' > /dev/kmsg");
    let (said, is_well) = examined(&mut lab, "com=2");
    assert!(is_well);
    for line in [
        "fine: driver: /standstill.ko",
        "fine: signature: none is wanted",
        "fine: processor: VT-x\n",
        "fine: processor: monitor trap flag",
        "fine: processor: execute-only pages",
        "fine: processor: VMFUNC",
        "note: processor: no last-branch records: !lbr is refused",
        "fine: kernel: 2 cores of at most 64, ",
        "fine: memory: 16 MiB for the arena",
        "fine: line: com2 (I/O port 0x2f8) is there; it is ttyS1, which is given back at unload",
    ] {
        assert!(said.contains(line), "{line} is not in:\n{said}");
    }
    ports(&mut lab);
    hypervisors(&mut lab);
    let arena = "change: memory: arena_bytes=1 must be a multiple of 2097152";
    is_said_of(&mut lab, "arena_bytes=1", arena);
    drivers(&mut lab);
    others(&mut lab);
    // Nothing has changed by all of that.
    let vmx = lab.guest("cat /sys/module/lab_probe/parameters/vmx");
    assert_eq!(vmx, "core 0 vmxe=0\ncore 1 vmxe=0\n");
    lab.guest("stty -F /dev/ttyS1 9600 && echo x > /dev/ttyS1");
    assert!(lab.guest("lab-check 1").contains("check ok cores 2"));
    assert_log_is_clean(&lab.guest("dmesg"));
}

/// A port that is not there, that is the console, that another driver or a program has.
fn ports(lab: &mut Lab) {
    is_said_of(
        lab,
        "com=9",
        "change: line: com=9: the serial ports are 1 to 4",
    );
    is_said_of(
        lab,
        "com=4",
        "change: line: no serial port at I/O port 0x2e8; choose another with com=N",
    );
    let console =
        "change: line: com1 (I/O port 0x3f8) is the kernel's console; choose another port, or ";
    is_said_of(lab, "com=1", console);
    // Without one there is nothing but the network, for which this machine has no card.
    let key = wire_protocol::secure::Key::new([0x5a; 32])
        .reveal()
        .to_string();
    let net = format!("net=10.0.2.2:50000 key={key}");
    let none = "change: network: no network card that the driver knows; docs/network.md lists them";
    is_said_of(lab, &net, none);
    probe(lab, "claim", "2e8");
    let held = "change: line: com4 (I/O port 0x2e8) is in use by \"lab_probe\"; unload that first";
    is_said_of(lab, "com=4", held);
    probe(lab, "claim", "0");
    let (said, _) = examined(lab, "com=4");
    assert!(!said.contains("lab_probe"), "{said}");
    lab.guest("sleep 1000 < /dev/ttyS1 & echo $! > /tmp/sleeper");
    let (said, is_well) = examined(lab, "com=2");
    assert!(is_well, "it is hung up");
    assert!(
        said.contains(" (sleep) has /dev/ttyS1 open, and is hung up "),
        "{said}"
    );
    assert!(
        said.contains("note: line: com2 (I/O port 0x2f8) is ttyS1, which a program has open"),
        "{said}"
    );
    lab.guest("kill $(cat /tmp/sleeper)");
    is_well_again(lab, "note: line");
}

/// Another hypervisor, on all cores or on one.
fn hypervisors(lab: &mut Lab) {
    for (value, line) in [
        ("1", "change: processor: another hypervisor has VT-x on"),
        ("2", "change: core "),
    ] {
        probe(lab, "vmxe", value);
        let (said, is_well) = examined(lab, "com=2");
        assert!(
            !is_well && said.lines().any(|it| it.starts_with(line)),
            "{said}"
        );
        probe(lab, "vmxe", "0");
        is_well_again(lab, line);
    }
}

/// A driver that is not there, and one that is loaded already.
fn drivers(lab: &mut Lab) {
    let (said, is_well) = examined_for(lab, "/nothing.ko", "com=2");
    assert!(
        !is_well && said.contains("change: driver: none for kernel 6."),
        "{said}"
    );
    lab.load_driver(&[]);
    let (said, is_well) = examined(lab, "com=2");
    assert!(
        !is_well && said.contains("change: driver: it is loaded"),
        "{said}"
    );
    lab.unload_driver();
    is_well_again(lab, "change: driver");
}

/// What the script says by itself, of files that are put in the place of the system's: other users of VT-x, Secure Boot, who asks.
fn others(lab: &mut Lab) {
    for (users, line) in [
        (0, "note: hypervisor: kvm_intel is loaded; "),
        (
            2,
            "change: hypervisor: kvm_intel is in use; end its machines, ",
        ),
    ] {
        let module = format!("kvm_intel 434176 {users} - Live 0x0000000000000000");
        lab.guest(&format!(
            "echo '{module}' > /tmp/modules; mount --bind /tmp/modules /proc/modules"
        ));
        is_said_of(lab, "com=2", line);
        lab.guest("umount /proc/modules");
        is_well_again(lab, line);
    }
    let variable = "SecureBoot-8be4df61-93ca-11d2-aa0d-00e098032b8c";
    lab.guest(&format!(
        "mount -t tmpfs firmware /sys/firmware; mkdir -p /sys/firmware/efi/efivars; \
         printf '\\006\\000\\000\\000\\001' > /sys/firmware/efi/efivars/{variable}"
    ));
    is_said_of(lab, "com=2", "note: Secure Boot: it is on; ");
    lab.guest("umount /sys/firmware");
    is_well_again(lab, "note: Secure Boot");
    // Tools that say something else than this system's.
    for (tool, line) in [
        (
            "id() { echo 1000; }",
            "change: rights: only root can ask the driver; ",
        ),
        (
            "uname() { echo aarch64; }",
            "change: processor: aarch64 has no VT-x; ",
        ),
    ] {
        let (said, is_well) = examined_as(lab, &format!("{tool};"), MODULE, "com=2");
        assert!(
            !is_well && said.lines().any(|it| it.starts_with(line)),
            "{said}"
        );
        is_well_again(lab, line);
    }
}

/// What a kernel wants that is started otherwise. `cargo lab soak packages` has it.
#[test]
#[ignore = "two more machines; part of `cargo lab soak packages`"]
fn packages_doctor_on_kernels_that_want_more() {
    let words = ["module.sig_enforce=1", "lockdown=integrity"];
    for word in words {
        let mut lab = patient(&[word]);
        let (said, is_well) = examined(&mut lab, "com=2");
        assert!(
            !is_well && said.contains("change: signature: the kernel "),
            "{word}: {said}"
        );
        // Where the system can be asked, the driver is not tried at all.
        lab.guest("mount -t securityfs security /sys/kernel/security");
        let (said, is_well) = examined(&mut lab, "com=2");
        assert!(
            !is_well && said.contains("; standstill-sign signs it"),
            "{said}"
        );
        // One that is signed, as its file says, by nobody whom the kernel knows.
        let signed = "modinfo() { echo somebody; };";
        let (said, is_well) = examined_as(&mut lab, signed, MODULE, "com=2");
        assert!(said.contains("; this one is signed by somebody"), "{said}");
        let line = match word {
            "lockdown=integrity" => "change: signature: the kernel is locked down, and takes ",
            _ => "change: signature: the kernel does not know the key that signed it; ",
        };
        assert!(!is_well && said.contains(line), "{said}");
    }
    // A driver of another kernel, and a kernel that takes no more modules.
    let provisions = vm_lab::provision::provision().unwrap();
    let driver = vm_lab::driver::build(&provisions, None).unwrap();
    let mut bytes = std::fs::read(driver).unwrap();
    // Where symbols have versions, a kernel overlooks its own in this, but not how it was built.
    let place = |part: &[u8], from: usize| {
        let at = bytes[from..].windows(part.len()).position(|it| it == part);
        from + at.expect("it says for which kernel it is")
    };
    let at = place(b" SMP ", place(b"vermagic=6", 0));
    bytes[at + 1] = b'U';
    let folder = tempfile::tempdir().unwrap();
    let contents = folder.path().join("other.ko");
    std::fs::write(&contents, bytes).unwrap();
    let mut lab = Lab::with(&Options {
        load_driver: false,
        files: vec![GuestFile {
            name: "other.ko".to_owned(),
            contents,
        }],
        ..Options::default()
    });
    let (said, is_well) = examined_for(&mut lab, "/other.ko", "com=2");
    let line = "change: driver: it was built for another kernel; dkms autoinstall";
    assert!(!is_well && said.contains(line), "{said}");
    is_well_again(&mut lab, "change: driver");
    lab.guest("echo 1 > /proc/sys/kernel/modules_disabled");
    is_said_of(
        &mut lab,
        "com=2",
        "change: rights: the kernel lets nobody load modules ",
    );
    let mut lab = patient(&["possible_cpus=65"]);
    let (said, is_well) = examined(&mut lab, "com=2");
    let line =
        "change: kernel: 65 cores are more than the 64 this driver supports; boot with nr_cpus=64";
    assert!(!is_well && said.contains(line), "{said}");
}
