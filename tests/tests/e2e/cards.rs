//! Network cards that the lab's emulator lacks, in QEMU: the lab's module drives them from a thread of the kernel with the driver's
//! own code, from taking the card to the secure datagrams, over a network that loses and damages some.
//!
//! One of them is tried by every run; `cargo lab soak nics` tries all.

#[path = "../net/answers.rs"]
mod answers;

use crate::lab::{LOADING, assert_log_is_clean};
use crate::relay::Relay;
use answers::Answers;
use std::time::{Duration, Instant};
use vm_lab::qemu::{HOST, Options, Qemu};
use wire_protocol::secure::Key;

/// Wants the cards that have this in their names, or `all`, and ten times as many datagrams.
const WANTED: &str = "STANDSTILL_CARDS";

/// Datagrams that have to come back.
const SOME: u64 = 1000;
const MANY: u64 = 10_000;
/// Longest time for them, on a busy machine.
const PATIENCE: Duration = Duration::from_secs(300);

struct Case {
    name: &'static str,
    options: Options<'static>,
    /// Its own driver in the kernel, which has it before and after.
    driver: Option<&'static str>,
}

const EVERY_RUN: Case = Case {
    name: "virtio-net",
    options: Options {
        device: "virtio-net-pci",
        others: &["e1000"],
        has_iommu: false,
    },
    driver: Some("virtio-pci"),
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
    }
}

const CASES: [Case; 8] = [
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
    case("vmxnet3", "vmxnet3", Some("vmxnet3")),
    case("82574L", "e1000e", None),
    behind_iommu("82574L, IOMMU", "e1000e", None),
    case("82540EM", "e1000", None),
    behind_iommu("82540EM, IOMMU", "e1000", None),
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

fn exchanges(case: &Case, count: u64) {
    let Case {
        name,
        ref options,
        driver,
    } = *case;
    let began = Instant::now();
    let machine = Qemu::boot(options).unwrap();
    let mut tried = Tried { machine, name };
    if let Some(driver) = driver {
        tried.machine.load_drivers().unwrap();
        assert_eq!(tried.driver(), driver);
        tried.run(PING);
    }
    let mut secret = [0; 32];
    getrandom::fill(&mut secret).unwrap();
    let key = Key::new(secret);
    let answers = Answers::new(key.clone());
    let relay = Relay::to(answers.port, true);
    tried.run(&format!("echo '{LOADING}' > /dev/kmsg"));
    let load = format!(
        "insmod /lab_cards.ko net={HOST}:{} key={} count={count}",
        relay.address.port(),
        key.reveal()
    );
    if !options.others.is_empty() {
        assert!(tried.machine.run(&load).is_err());
        let log = tried.run("dmesg");
        assert!(log.contains("0000:00:01.0, 0000:00:02.0: nic= names which"));
        assert_eq!(tried.driver(), driver.unwrap_or_default());
    }
    tried.run(&format!("{load} nic=0000:00:01.0"));
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
    if driver.is_some() {
        tried.run(PING);
    }
    assert_log_is_clean(&tried.run("dmesg"));
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
