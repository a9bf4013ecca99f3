//! The driver's own network card: a real kernel on a machine with an 82540EM, which the driver drives while all stands still.

#[path = "network/clock.rs"]
mod clock;
#[path = "network/restored.rs"]
mod restored;

use crate::budget::through_a_relay;
use crate::lab::{Lab, assert_log_is_clean};
use crate::link::transcript_of_two_hundred;
use crate::relay::{assert_differ, has};
use std::process::Command;
use std::time::Duration;
use vm_lab::machine::{KernelLine, Options};

fn options() -> Options {
    Options {
        network: true,
        ..Options::default()
    }
}

#[test]
fn two_hundred_commands_over_a_bad_network_have_the_transcript_of_a_good_one() {
    let (mut lab, relay) = through_a_relay(&options());
    lab.run("pause");
    let clean = transcript_of_two_hundred(&mut lab);
    lab.kill_host();
    relay.set_bad(true);
    lab.connect();
    let bad = transcript_of_two_hundred(&mut lab);
    for (clean, bad) in clean.iter().zip(&bad) {
        assert_eq!(clean, bad);
    }
    let status = lab.run(".status");
    assert!(status.contains("\ndropped     "), "{status}");
    lab.go();
    let captured = relay.captured();
    println!("{} datagrams\n{status}", captured.len());
    assert_differ(&captured);
    for word in [&b"Linux 6.1"[..], b"vmlinux", b"GenuineIntel"] {
        assert!(!captured.iter().any(|datagram| has(word, datagram)));
    }
}

#[test]
fn what_is_no_datagram_of_the_session_changes_nothing_and_is_not_answered() {
    let (mut lab, relay) = through_a_relay(&options());
    lab.run("pause");
    let before = lab.run("r");
    let captured = relay.captured();
    let of = |kind: u8| captured.iter().rfind(|it| it[0] == kind).unwrap().clone();
    let [hello, welcome, to_host, to_debuggee] = [0x91, 0x92, 0x93, 0x94].map(of);
    let mut forged = to_debuggee.clone();
    *forged.last_mut().unwrap() ^= 1;
    // The counter is one that did not come yet, or it would be taken for a replay.
    forged[8] = 0xff;
    let sent = relay.captured().len();
    for _ in 0..20 {
        let bad: [&[u8]; 8] = [
            b"",
            b"GET / HTTP/1.1",
            &hello,
            &welcome,
            &to_host,
            &to_debuggee,
            &to_debuggee[..to_debuggee.len() - 1],
            &forged,
        ];
        for datagram in bad {
            relay.bring_to_core(datagram);
        }
    }
    std::thread::sleep(Duration::from_millis(300));
    // What was on its way, and signs of life: both ends say one a second when there is nothing else, the debuggee's seconds
    // being shorter.
    let more = relay.captured().split_off(sent);
    let more: Vec<_> = more.iter().map(|it| (it[0], it.len())).collect();
    assert!(more.len() < 20, "{more:x?}");
    lab.run("~");
    assert_eq!(lab.run("r"), before);
    let status = lab.run(".status");
    let counted = status
        .lines()
        .find(|line| line.starts_with("network "))
        .unwrap();
    for (count, cause) in [
        (40, "no debuggee's"),
        (20, "without their end"),
        (40, "sent back"),
        (20, "forged or damaged"),
        (20, "replayed or doubled"),
        (20, "of a session that is over"),
    ] {
        assert!(counted.contains(&format!("{count} {cause}")), "{counted}");
    }
    lab.go();
}

#[test]
fn a_guest_that_hangs_or_has_panicked_is_halted() {
    let mut lab = Lab::with(&options());
    lab.load_probe();
    lab.guest_background("echo 20000 > /sys/module/lab_probe/parameters/spin_ms");
    let hangs = (0..50).any(|_| {
        std::thread::sleep(Duration::from_millis(100));
        lab.run("pause");
        let hangs = (0..2).all(|core| {
            lab.run(&format!("~ {core}"));
            lab.value("@rflags & 0x200") == 0
        });
        if !hangs {
            lab.run("g");
        }
        hangs
    });
    assert!(hangs, "the guest does not hang");
    lab.run("g");
    lab.guest("true");
    // The guest has no network of its own: its only card is the debugger's.
    let interfaces = lab.guest("tail -n +3 /proc/net/dev | grep -v '^ *lo:' || true");
    assert_eq!(interfaces.trim(), "");
    lab.run("pause");
    for occasion in ["oops", "panic"] {
        lab.run(&format!("sxd {occasion}"));
    }
    lab.run("g");
    lab.guest_background("echo c > /proc/sysrq-trigger");
    let has_panicked = (0..300).any(|_| {
        std::thread::sleep(Duration::from_millis(100));
        let console = lab.machine.console_transcript();
        console.contains("end Kernel panic")
    });
    assert!(has_panicked, "the kernel does not panic");
    lab.run("pause");
    assert!(lab.run("db vmlinux!linux_banner l 10").contains("Linux"));
    lab.run("!epthook vmlinux!do_sys_openat2");
    lab.run("g");
    lab.run("pause");
}

/// Libraries may panic. Here the code that stands on them does so at each thirtieth frame that comes: the network is made anew
/// each time, and the halt, the events and the guest know nothing of it.
#[test]
fn a_network_that_panics_in_the_middle_of_a_frame_is_made_anew() {
    let (mut lab, relay) = through_a_relay(&Options {
        params: vec![("net_panics".to_owned(), "30".to_owned())],
        ..options()
    });
    lab.run("pause");
    lab.run("!epthook vmlinux!__x64_sys_getsid");
    let [memory, cores] = ["!digest", "~"].map(|command| lab.run(command));
    let greeted = || relay.captured().iter().filter(|it| it[0] == 0x92).count();
    let before = greeted();
    for at in 0..40 {
        lab.run(&format!("db (vmlinux!_text + {:x}) l 40", at * 0x1_3000));
    }
    assert_eq!([lab.run("!digest"), lab.run("~")], [memory, cores]);
    assert!(
        greeted() >= before + 2,
        "{before} sessions, then {}",
        greeted()
    );
    assert!(
        lab.run(".status")
            .contains("; its code failed and it was made anew ")
    );
    lab.run("g");
    lab.guest_background("lab-calls 1 1");
    assert!(lab.run(".wait 0n40").contains("event 0 hit on core 1"));
    lab.run("events c all");
    lab.go();
    assert_log_is_clean(&lab.guest("dmesg"));
}

#[test]
fn the_card_is_nobody_elses_until_it_is_given_back() {
    const CARD: &str = "/sys/bus/pci/devices/0000:00:02.0";
    let mut lab = Lab::with(&options());
    lab.load_probe();
    let driver = |lab: &mut Lab| lab.guest(&format!("readlink {CARD}/driver || true"));
    assert!(driver(&mut lab).trim_end().ends_with("/standstill"));
    let key = std::fs::read_to_string(&lab.machine.network().unwrap().key_file).unwrap();
    let told = lab.guest("grep -r . /sys/module/standstill/parameters 2>/dev/null; dmesg");
    assert!(!told.contains(key.trim()), "{told}");
    assert!(told.contains("is the debugger's network card until this module is unloaded"));
    for _ in 0..3 {
        lab.run("pause");
        lab.run("g");
        lab.kill_host();
        lab.unload_driver();
        assert_eq!(driver(&mut lab).trim_end(), "");
        let enabled = lab.guest(&format!("cat {CARD}/enable"));
        assert_eq!(enabled.trim_end(), "0");
        lab.load_driver(&[]);
        lab.connect();
    }
    lab.run("pause");
    lab.go();
    assert_log_is_clean(&lab.guest("dmesg"));
}

#[test]
fn a_network_that_cannot_be_is_refused_and_says_why() {
    let mut lab = Lab::with(&Options {
        load_driver: false,
        ..options()
    });
    let refuses = |lab: &mut Lab, params: &[(&str, &str)], reason: &str| {
        let params: Vec<_> = params
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect();
        let error = lab.machine.load_driver(&params).unwrap_err();
        let error = format!("{error:#}");
        assert!(error.contains(reason), "{params:?}: {error}");
    };
    refuses(
        &mut lab,
        &[("net", "host:50000")],
        "net= wants the IPv4 address",
    );
    refuses(&mut lab, &[("key", "1.2.3")], "key=: a key has 4 groups");
    refuses(
        &mut lab,
        &[("key", "@/nowhere")],
        "the file cannot be opened",
    );
    refuses(&mut lab, &[("ip", "10.0.2.15")], "ip= wants an address and");
    refuses(
        &mut lab,
        &[("gateway", "10.0.2.2")],
        "gateway= goes with ip=",
    );
    refuses(
        &mut lab,
        &[("mac", "01:00:00:00:00:00")],
        "mac= wants six bytes",
    );
    refuses(
        &mut lab,
        &[("nic", "0000:00:1f.7")],
        "there is no such device",
    );
    refuses(
        &mut lab,
        &[("nic", "0000:00:00.0")],
        "is no network card that the driver knows",
    );
    let doctor = |lab: &mut Lab, params: &[(&str, &str)], line: &str| {
        let words: Vec<_> = params
            .iter()
            .map(|(name, value)| format!("{name}={value}"))
            .collect();
        let said = lab.guest(&format!(
            "dmesg -c > /dev/null; insmod /standstill.ko doctor=1 {} 2> /dev/null || dmesg",
            words.join(" ")
        ));
        assert!(said.contains(line), "{said}");
    };
    let good = std::fs::read_to_string(&lab.machine.network().unwrap().key_file).unwrap();
    let net = [("net", "10.0.2.2:5000"), ("key", good.trim())];
    doctor(
        &mut lab,
        &net,
        "doctor: fine: network: 0000:00:02.0 (driver: nobody) would be",
    );
    doctor(
        &mut lab,
        &net[..1],
        "doctor: change: network: net= wants key=",
    );
    let [net, key] = net;
    doctor(
        &mut lab,
        &[net, key, ("nic", "0000:00:00.0")],
        "doctor: change: network: nic=0000:00:00.0: ",
    );
    doctor(
        &mut lab,
        &[net, key, ("nic", "0000:00:1f.7")],
        "doctor: change: network: nic=0000:00:1f.7: there is no such device",
    );
    // Registers that nobody reaches: each reason is said, and gone when it is as it was.
    lab.load_probe();
    for (change, line) in [
        (
            1,
            "register 0, to which neither firmware nor kernel gave a place; ",
        ),
        (2, "register 0, which are I/O ports; "),
        (3, "register 0, which has 4096 bytes of the 131072 that "),
        (
            4,
            "in a page with others; boot with pci=resource_alignment=",
        ),
    ] {
        let card = "/sys/module/lab_probe/parameters/card";
        lab.guest(&format!("echo {change} > {card}"));
        doctor(&mut lab, &[net, key], line);
        lab.guest(&format!("echo 0 > {card}"));
        doctor(
            &mut lab,
            &[net, key],
            "doctor: fine: network: 0000:00:02.0 ",
        );
    }
    // Nothing of all that is left, and addresses that are given are used.
    lab.machine
        .load_driver(&[
            ("ip".to_owned(), "10.0.2.77/24".to_owned()),
            ("gateway".to_owned(), "10.0.2.2".to_owned()),
            ("mac".to_owned(), "02:00:00:00:00:77".to_owned()),
        ])
        .unwrap();
    lab.connect();
    lab.run("pause");
    lab.go();
}

/// On the kernel as it is distributed, and with the serial line standing by: a host that comes over that is answered, too.
#[test]
fn the_serial_line_stands_by_for_a_network_that_died() {
    let (mut lab, relay) = through_a_relay(&Options {
        kernel_line: KernelLine::Stock,
        params: vec![("com".to_owned(), "2".to_owned())],
        ..options()
    });
    lab.run("pause");
    lab.run("!epthook vmlinux!__x64_sys_getsid");
    relay.cut(true);
    // Who is at the network is told, and so is who comes over the serial line.
    std::thread::sleep(Duration::from_secs(8));
    let status = lab.run(".status");
    let why = "lost: nothing has come from the debuggee for 6 s; one that has a serial port besides (com=)";
    assert!(status.contains(why), "{status}");
    lab.kill_host();
    lab.connect_by_line();
    let status = lab.run(".reconnect");
    assert!(
        status.contains("\nnetwork: a host was heard there "),
        "{status}"
    );
    assert!(status.contains(", so this line is the way to the debuggee"));
    assert!(lab.run(".status").contains("; 1 session"));
    assert!(lab.run("events").contains("getsid"));
    assert!(lab.run("db vmlinux!linux_banner l 10").contains("Linux"));
    lab.run("g");
    lab.run("pause");
    lab.kill_host();
    // And back.
    relay.cut(false);
    lab.connect();
    assert!(lab.run("events").contains("getsid"));
    lab.run("events c all");
    lab.go();
}

/// The ciphers that the network takes are often built on vector registers, which hold the guest's values in VMX-root.
#[test]
fn no_instruction_of_the_driver_touches_a_vector_register() {
    let provisions = vm_lab::provision::provision().unwrap();
    let module = vm_lab::driver::build(&provisions, None).unwrap();
    let mut objdump = Command::new("objdump");
    objdump.args(["-d", "--no-show-raw-insn"]).arg(module);
    let text = vm_lab::run::output(&mut objdump).unwrap();
    assert!(text.lines().count() > 100_000);
    let vectors = ["%xmm", "%ymm", "%zmm", "%mm", "%st"];
    let touches = |line: &&str| vectors.iter().any(|name| line.contains(name));
    let found: Vec<&str> = text.lines().filter(touches).collect();
    assert!(found.is_empty(), "{found:?}");
}
