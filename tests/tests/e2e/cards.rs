//! Network cards that the lab's emulator lacks, in QEMU: the lab's module drives them from a thread of the kernel with the driver's
//! own code, from taking the card to the secure datagrams, over a network that loses and damages some. With as many datagrams as are
//! wanted goes the other end of the secure channel, by itself; then the host program connects, halts the machine, reads its
//! memory and lets it go.
//!
//! One of them is tried by every run; `cargo lab soak nics` tries all.

#[path = "../net/answers.rs"]
mod answers;

use crate::lab::{LOADING, assert_log_is_clean};
use crate::relay::Relay;
use answers::Answers;
use std::collections::BTreeSet;
use std::net::UdpSocket;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};
use vm_lab::host::{self, Host};
use vm_lab::qemu::{HOST, Options, Qemu};
use wire_protocol::secure::Key;

/// Wants the cards that have this in their names, or `all`, and ten times as many datagrams.
const WANTED: &str = "STANDSTILL_CARDS";

/// Datagrams that have to come back.
const SOME: u64 = 1000;
const MANY: u64 = 10_000;
/// Halts by the host program.
const HALTS: usize = 5;
/// Longest time for them, on a busy machine.
const PATIENCE: Duration = Duration::from_secs(300);

struct Case {
    name: &'static str,
    options: Options<'static>,
    /// Its own driver in the kernel, which has it before and after.
    driver: Option<&'static str>,
    /// Another address for the card.
    mac: Option<&'static str>,
}

const EVERY_RUN: Case = Case {
    name: "virtio-net",
    options: Options {
        device: "virtio-net-pci",
        others: &["e1000"],
        has_iommu: false,
    },
    driver: Some("virtio-pci"),
    mac: None,
};

const fn case(name: &'static str, device: &'static str, driver: Option<&'static str>) -> Case {
    Case {
        name,
        options: Options {
            device,
            others: &[],
            has_iommu: false,
        },
        driver,
        mac: None,
    }
}

const fn behind_iommu(
    name: &'static str,
    device: &'static str,
    driver: Option<&'static str>,
) -> Case {
    Case {
        name,
        options: Options {
            device,
            others: &[],
            has_iommu: true,
        },
        driver,
        mac: None,
    }
}

const fn with_mac(name: &'static str, device: &'static str, driver: Option<&'static str>) -> Case {
    Case {
        mac: Some("02:00:00:00:00:77"),
        ..case(name, device, driver)
    }
}

const CASES: [Case; 11] = [
    EVERY_RUN,
    case(
        "virtio-net, modern only",
        "virtio-net-pci,disable-legacy=on",
        Some("virtio-pci"),
    ),
    behind_iommu(
        "virtio-net, IOMMU",
        "virtio-net-pci,disable-legacy=on,iommu_platform=on,ats=on",
        Some("virtio-pci"),
    ),
    // Without the property the card reaches memory past the IOMMU.
    behind_iommu(
        "virtio-net, past an IOMMU",
        "virtio-net-pci,disable-legacy=on",
        Some("virtio-pci"),
    ),
    case("vmxnet3", "vmxnet3", Some("vmxnet3")),
    with_mac("vmxnet3, another address", "vmxnet3", Some("vmxnet3")),
    case("82574L", "e1000e", None),
    behind_iommu("82574L, IOMMU", "e1000e", None),
    case("82540EM", "e1000", None),
    behind_iommu("82540EM, IOMMU", "e1000", None),
    with_mac(
        "82540EM, no address of its own",
        "e1000,mac=01:00:00:00:00:01",
        None,
    ),
];

/// Where the card is.
const DEVICE: &str = "/sys/bus/pci/devices/0000:00:01.0";
const PARAMETERS: &str = "/sys/module/lab_cards/parameters";
const TRACING: &str = "/sys/kernel/tracing";
/// With the address that QEMU's router gives away.
const PING: &str = "ifconfig eth0 10.0.2.15 up && ping -c 2 -W 10 10.0.2.2";

/// A machine, and what it is asked.
struct Tried {
    machine: Qemu,
    name: &'static str,
}

impl Tried {
    fn run(&mut self, command: &str) -> String {
        let done = self.machine.run(command);
        done.unwrap_or_else(|why| panic!("{}: {why:#}", self.name))
    }

    /// A file of the card's; empty if there is none.
    fn file(&mut self, name: &str) -> String {
        let text = self.run(&format!("cat {DEVICE}/{name} 2> /dev/null || true"));
        text.trim_end().to_owned()
    }

    /// The address that the kernel's driver has for it.
    fn address(&mut self) -> String {
        let text = self.run("cat /sys/class/net/eth0/address 2> /dev/null || true");
        text.trim_end().to_owned()
    }

    /// What the driver's doctor says of a card: one line.
    fn examined(&mut self, parameters: &str) -> String {
        let command = format!("dmesg -c > /dev/null; insmod /lab_cards.ko examine=1 {parameters}");
        assert!(self.machine.run(&command).is_err());
        let log = self.run("dmesg");
        // Some insmod try again, so that it is said twice.
        let said: BTreeSet<_> = log
            .lines()
            .filter_map(|line| Some(line.split_once("doctor: ")?.1))
            .collect();
        assert_eq!(said.len(), 1, "{}: {log}", self.name);
        said.first()
            .map(|&line| line.to_owned())
            .unwrap_or_default()
    }

    fn symbol(&mut self, name: &str) -> String {
        let line = self.run(&format!("grep ' {name}$' /proc/kallsyms"));
        line.split_whitespace().next().unwrap().to_owned()
    }

    fn parameter(&mut self, name: &str) -> String {
        self.run(&format!("cat {PARAMETERS}/{name}"))
    }

    /// Who drives the card.
    fn driver(&mut self) -> String {
        let link = self.run(&format!("readlink {DEVICE}/driver || true"));
        let name = link.trim_end().rsplit('/').next();
        name.unwrap_or_default().to_owned()
    }

    /// The line of the card's interrupt, if anybody waits for that.
    fn interrupts(&mut self) -> String {
        self.run(&format!(
            "grep \"^ *$(cat {DEVICE}/irq):\" /proc/interrupts || true"
        ))
    }

    /// Begins to note what memory the thread takes and gives back.
    fn trace(&mut self) {
        let thread = self.parameter("thread");
        self.run(&format!(
            "cd {TRACING}/events/kmem && echo 'common_pid == {}' > filter && echo 1 > enable",
            thread.trim_end()
        ));
    }

    /// What it has allocated, but for what interrupts did meanwhile.
    fn allocated(&mut self) -> Vec<String> {
        let trace = self.run(&format!("cat {TRACING}/trace"));
        let lines = trace.lines().filter(|line| !line.starts_with('#'));
        // "lab_cards-70 [001] ..s1. 3.14: kmalloc: ...": where the third flag says otherwise, an interrupt.
        let is_its = |line: &&str| {
            let flags = line.split_once("] ").map(|(_, rest)| rest.as_bytes());
            flags.is_some_and(|flags| flags[2] == b'.')
        };
        let allocates = |line: &&str| line.contains("alloc");
        let found = lines.filter(is_its).filter(allocates);
        found.map(str::to_owned).collect()
    }
}

fn number(result: &str, name: &str) -> u64 {
    let mut words = result.split_whitespace().skip_while(|word| *word != name);
    words.nth(1).unwrap().parse().unwrap()
}

/// What the driver's doctor says of the card, which is as it was afterwards.
fn is_examined(tried: &mut Tried, case: &Case) {
    if !case.options.others.is_empty() {
        let said = tried.examined("");
        assert!(said.starts_with("change: network: 0000:00:01.0, 0000:00:02.0: nic= names which "));
    }
    let driver = case.driver.unwrap_or("nobody");
    let verdict = if case.driver.is_some() {
        "note"
    } else {
        "fine"
    };
    let well = format!("{verdict}: network: 0000:00:01.0 (driver: {driver}) would be the ");
    let own = tried.examined("nic=0000:00:01.0");
    let is_well = !case.options.device.contains("mac=01:");
    let expected = if is_well { &well[..] } else { NO_MAC };
    assert!(own.starts_with(expected), "{}: {own}", tried.name);
    let other = tried.examined("nic=0000:00:01.0 mac=02:00:00:00:00:77");
    let takes_mac = !case.options.device.starts_with("virtio");
    let expected = if takes_mac {
        &well[..]
    } else {
        "change: network: nic=0000:00:01.0: 1af4:10"
    };
    assert!(other.starts_with(expected), "{}: {other}", tried.name);
    let host = tried.examined("nic=0000:00:00.0");
    assert!(host.ends_with("is no network card that the driver knows; docs/network.md lists them"));
    assert_eq!(tried.driver(), case.driver.unwrap_or_default());
}

/// Of a card whose own address is a group's.
const NO_MAC: &str = "change: network: nic=0000:00:01.0: it has the address 01:00:00:00:00:01, which is no card's; mac= gives it one";

fn exchanges(case: &Case, count: u64) {
    let Case {
        name,
        ref options,
        driver,
        mac,
    } = *case;
    let began = Instant::now();
    let machine = Qemu::boot(options).unwrap();
    let mut tried = Tried { machine, name };
    if let Some(driver) = driver {
        tried.machine.load_drivers().unwrap();
        assert_eq!(tried.driver(), driver);
        tried.run(PING);
        // Whom the user names stays named.
        tried.run(&format!("echo {driver} > {DEVICE}/driver_override"));
    }
    let (named, address) = (tried.file("driver_override"), tried.address());
    let mut secret = [0; 32];
    getrandom::fill(&mut secret).unwrap();
    let key = Key::new(secret);
    let answers = Answers::new(key.clone());
    let relay = Relay::to(answers.port, true);
    is_examined(&mut tried, case);
    tried.run(&format!("echo '{LOADING}' > /dev/kmsg"));
    let load = |port: u16| {
        let key = key.reveal();
        format!("insmod /lab_cards.ko net={HOST}:{port} key={key} nic=0000:00:01.0")
    };
    let port = relay.address.port();
    if !options.others.is_empty() {
        let any = load(port).replace("nic=0000:00:01.0", "");
        assert!(tried.machine.run(&any).is_err());
        let log = tried.run("dmesg");
        assert!(log.contains("0000:00:01.0, 0000:00:02.0: nic= names which"));
        assert_eq!(tried.driver(), driver.unwrap_or_default());
    }
    if options.device.contains("mac=01:") {
        assert!(tried.machine.run(&load(port)).is_err());
        let log = tried.run("dmesg");
        let (_, why) = NO_MAC.split_once("network: ").unwrap();
        assert!(log.contains(why), "{log}");
        assert_eq!(tried.driver(), "");
    }
    let mac = mac.map_or_else(String::new, |mac| format!(" mac={mac}"));
    tried.run(&format!("{}{mac} count={count}", load(port)));
    assert_eq!(tried.driver(), "standstill");
    tried.trace();
    let interrupts = tried.interrupts();
    tried.run(&format!("echo 1 > {PARAMETERS}/run"));
    let started = Instant::now();
    let result = loop {
        std::thread::sleep(Duration::from_millis(100));
        let result = tried.parameter("result");
        if result.contains("done") || started.elapsed() > PATIENCE {
            break result;
        }
    };
    println!(
        "{name}: {} in {:.1} s, all in {:.1} s",
        result.trim_end(),
        started.elapsed().as_secs_f32(),
        began.elapsed().as_secs_f32()
    );
    assert!(number(&result, "answered") >= count, "{name}: {result}");
    assert_eq!(number(&result, "wrong"), 0, "{name}");
    assert_eq!(number(&result, "interrupts"), 0, "{name}");
    assert_eq!(tried.interrupts(), interrupts, "{name}");
    // What is damaged on its way is not answered, and the network lost some.
    let (answered, dropped) = answers.counts();
    assert!(answered >= count && dropped > 0, "{name}: {dropped}");
    assert!(number(&result, "sent") > number(&result, "answered"));
    // The one by which the module shows that it would be seen.
    let allocated = tried.allocated();
    let [control] = &allocated[..] else {
        panic!("{name}: {allocated:?}");
    };
    assert!(control.contains(": kmalloc: "), "{name}: {control}");
    tried.run("rmmod lab_cards");
    assert_eq!(tried.driver(), driver.unwrap_or_default(), "{name}");
    let began = Instant::now();
    let datagrams = meets_the_host_program(&mut tried, &key, &load, &mac);
    println!(
        "{name}: {datagrams} datagrams with the host program in {:.1} s",
        began.elapsed().as_secs_f32()
    );
    assert_eq!(tried.driver(), driver.unwrap_or_default(), "{name}");
    assert_eq!(tried.file("driver_override"), named, "{name}");
    assert_eq!(tried.address(), address, "{name}");
    if driver.is_some() {
        tried.run(PING);
    }
    assert_log_is_clean(&tried.run("dmesg"));
}

/// The host program, as anybody starts it, halts the machine over the card, reads the kernel's memory while nothing else there
/// runs, and lets it go; how many datagrams that were.
fn meets_the_host_program(
    tried: &mut Tried,
    key: &Key,
    load: &impl Fn(u16) -> String,
    mac: &str,
) -> usize {
    let name = tried.name;
    let folder = tempfile::tempdir().unwrap();
    let key_file = folder.path().join("key");
    std::fs::write(&key_file, key.reveal().to_string()).unwrap();
    let probe = UdpSocket::bind("127.0.0.1:0").unwrap();
    let port = probe.local_addr().unwrap().port();
    drop(probe);
    let relay = Relay::to(port, true);
    let [start, banner, time] = ["_text", "linux_banner", "jiffies_64"].map(|it| tried.symbol(it));
    let load = load(relay.address.port());
    tried.run(&format!("{load}{mac} text=0x{start}"));
    tried.run(&format!("echo 1 > {PARAMETERS}/run"));
    let mut command = Command::new(host::build().unwrap());
    command.args(["connect", "--net", &format!("127.0.0.1:{port}"), "--batch"]);
    command.arg("--key-file").arg(&key_file);
    command.env("XDG_STATE_HOME", folder.path());
    let mut host = Host::run(command.stderr(Stdio::null())).unwrap();
    let mut run = |command: &str, is_ok: bool| {
        let reply = host.command_within(command, PATIENCE).unwrap();
        assert_eq!(reply.ok, is_ok, "{name}: {command}: {}", reply.output);
        reply.output
    };
    let said = run(".status", true);
    assert!(
        said.contains("Linux 6.1") && said.contains("2 cores"),
        "{said}"
    );
    run(&format!("db {banner} l 8"), false);
    let mut before = String::new();
    for _ in 0..HALTS {
        run("pause", true);
        assert!(run(&format!("db {banner} l 40"), true).contains("Linux version"));
        // Time stands still, and goes on.
        let now = run(&format!("dq {time} l 1"), true);
        assert_ne!(now, before, "{name}");
        let whole = run(&format!("db {start} l 2000"), true);
        assert_eq!(whole.lines().count(), 0x200, "{name}");
        assert_eq!(run(&format!("dq {time} l 1"), true), now, "{name}");
        before = now;
        run("g", true);
    }
    run("pause", true);
    // What takes a hypervisor is refused, and what is not there.
    run("!epthook 0", false);
    run("db 0 l 8", false);
    run("g", true);
    let told = run(".status", true);
    assert!(told.contains("\nnetwork "), "{told}");
    host.finish().unwrap();
    tried.run("rmmod lab_cards");
    relay.captured().len()
}

#[test]
fn a_card_of_qemus_exchanges_datagrams_over_a_bad_network() {
    let Ok(wanted) = std::env::var(WANTED) else {
        return exchanges(&EVERY_RUN, SOME);
    };
    let is_wanted = |case: &&Case| wanted == "all" || case.name.contains(&wanted);
    let cases: Vec<_> = CASES.iter().filter(is_wanted).collect();
    assert!(!cases.is_empty(), "{wanted} is no card of the list");
    for case in cases {
        exchanges(case, MANY);
    }
}
