//! What events cost the guest, in ticks of its own time-stamp counter.
//!
//! The emulated counter follows executed instructions, so the median of a thousand is the same on every machine: with one
//! processor it counts them, with two a straight run of N instructions counts (N + 16) / 2, N being 16 at most, so that a
//! jump costs eight ticks. Both are measured. Used by a test and by `cargo lab bench`, which prints the table.

use crate::lab::Lab;
use std::fmt::Write;
use vm_lab::machine::Options;

const PROBE: &str = "/sys/module/lab_probe/parameters";

/// Events among which the costs must stay what they are, and how many of them are of CPUID.
const CROWD: usize = 1000;
const CROWD_LEAVES: usize = 700;

/// Numbers of processors that are measured.
const PROCESSORS: [u32; 2] = [1, 2];

/// One line of the table; what has two parts, with one processor and with two.
pub(crate) struct Cost {
    work: &'static str,
    /// What it may cost at most with one processor.
    target_ticks: u64,
    /// What it may cost at most with two processors, where the place of a jump tells more than the number of instructions.
    held_ticks: u64,
    /// With this event alone.
    ticks: [u64; 2],
    /// With a thousand others.
    crowded_ticks: [u64; 2],
}

/// Ticks that the median of a thousand rounds takes, which `what` measures in the guest.
#[track_caller]
fn median(lab: &mut Lab, what: &str) -> u64 {
    let said = lab.guest(what);
    let number = said.trim().strip_prefix("median ");
    number
        .and_then(|number| number.parse().ok())
        .unwrap_or_else(|| panic!("no median: {said}"))
}

/// A hexadecimal number after `before`.
#[track_caller]
fn address_after(text: &str, before: &str) -> u64 {
    let (_, rest) = text
        .split_once(before)
        .unwrap_or_else(|| panic!("no {before} in {text}"));
    let digits: String = rest.chars().take_while(char::is_ascii_hexdigit).collect();
    u64::from_str_radix(&digits, 16).unwrap_or_else(|_| panic!("no number in {text}"))
}

struct Work {
    name: &'static str,
    target_ticks: u64,
    held_ticks: u64,
    /// The event, if there is one.
    event: Option<String>,
    /// What measures it in the guest.
    guest: String,
    /// Whether a round counts in the event's script.
    counts: bool,
}

/// How often everything is measured before something counts as too much. The emulator counts the turns of a second
/// processor, too, and those are not the same each time.
const ROUNDS: u32 = 3;

impl Cost {
    /// On one processor the target holds, on two what it may be there.
    fn is_within(&self) -> bool {
        let [one, two] = self.ticks;
        one <= self.target_ticks && two <= self.held_ticks
    }

    /// Events that it does not meet make it a fifth dearer at most on one processor, where instructions are counted. On
    /// two, where the same instructions cost eight ticks more for each place at which the emulator cuts them anew, they
    /// leave it within what it may be there.
    fn is_flat(&self) -> bool {
        let [one, _] = self.ticks;
        let [crowded_one, crowded_two] = self.crowded_ticks;
        crowded_one * 10 <= one * 12 && crowded_two <= self.held_ticks
    }

    fn take_least(&mut self, other: &Self) {
        let own = self.ticks.iter_mut().chain(&mut self.crowded_ticks);
        let others = other.ticks.iter().chain(&other.crowded_ticks);
        for (own, other) in own.zip(others) {
            *own = (*own).min(*other);
        }
    }
}

/// Measures everything on every number of processors.
pub(crate) fn measure() -> Vec<Cost> {
    let mut costs = Vec::new();
    for (column, cpus) in PROCESSORS.into_iter().enumerate() {
        let mut lab = Lab::with(&Options {
            cpus,
            // Room for a thousand events more, on four processors, too.
            params: vec![("arena_bytes".into(), (24 << 20).to_string())],
            ..Options::default()
        });
        lab.load_probe();
        let works = works(&mut lab);
        if costs.is_empty() {
            costs.extend(works.iter().map(|work| Cost {
                work: work.name,
                target_ticks: work.target_ticks,
                held_ticks: work.held_ticks,
                ticks: [0; 2],
                crowded_ticks: [0; 2],
            }));
        }
        for (work, cost) in works.iter().zip(&mut costs) {
            cost.ticks[column] = measure_one(&mut lab, work);
        }
        lab.run("pause");
        crowd(&mut lab);
        lab.run("g");
        for (work, cost) in works.iter().zip(&mut costs) {
            cost.crowded_ticks[column] = measure_one(&mut lab, work);
        }
    }
    costs
}

/// The probe measures.
fn probe(what: &str) -> String {
    format!("echo {what} > {PROBE}/cost && cat {PROBE}/cost")
}

fn works(lab: &mut Lab) -> [Work; 7] {
    let target = lab.guest(&format!("cat {PROBE}/target"));
    let target = address_after(&target, "address 0x");
    let page = lab.guest(&format!("cat {PROBE}/page"));
    let page = address_after(&page, "virtual 0x");
    let script = "script { .lab_cost = .lab_cost + 1; }";
    [
        Work {
            name: "CPUID, no event",
            target_ticks: 170,
            held_ticks: 240,
            event: None,
            guest: probe("cpuid 16"),
            counts: false,
        },
        Work {
            name: "!epthook hit, script counts in a global",
            target_ticks: 800,
            held_ticks: 1200,
            event: Some(format!("!epthook {target:x} {script}")),
            guest: probe("target"),
            counts: true,
        },
        Work {
            name: "bp, false condition",
            target_ticks: 600,
            held_ticks: 900,
            event: Some(format!("bp {target:x} condition {{ @rsp == 17 }}")),
            guest: probe("target"),
            counts: false,
        },
        Work {
            name: "!monitor, other bytes of the page",
            target_ticks: 600,
            held_ticks: 750,
            event: Some(format!("!monitor r {:x} l 8 {script}", page + 0x800)),
            guest: probe(&format!("load {page:x}")),
            counts: false,
        },
        Work {
            name: "!cpuid, false condition",
            target_ticks: 350,
            held_ticks: 520,
            event: Some("!cpuid 16 condition { $context == 17 }".into()),
            guest: probe("cpuid 16"),
            counts: false,
        },
        Work {
            name: "system call, !syscall of another",
            target_ticks: 1880,
            held_ticks: 2600,
            event: Some("!syscall 5f".into()),
            guest: "lab-call-cost 1000".into(),
            counts: false,
        },
        Work {
            name: "system call, !syscall entry of another",
            target_ticks: 1000,
            held_ticks: 1600,
            event: Some("!syscall entry 5f".into()),
            guest: "lab-call-cost 1000".into(),
            counts: false,
        },
    ]
}

/// Begins and ends with the guest running, and with the events as they were.
#[track_caller]
fn measure_one(lab: &mut Lab, work: &Work) -> u64 {
    lab.run("pause");
    let number = work.event.as_ref().map(|event| {
        let added = lab.run(event);
        let number = added.split(' ').nth(1).unwrap_or_default();
        number.trim_end_matches(':').to_owned()
    });
    lab.run("? .lab_cost = 0;");
    lab.run("g");
    let ticks = median(lab, &work.guest);
    lab.run("pause");
    let counted = lab.run("? printf(\"%llx\\n\", .lab_cost);");
    let expected = if work.counts { "3e8" } else { "0" };
    assert_eq!(counted.trim(), expected, "{}", work.name);
    if let Some(number) = number {
        let clear = match work.event {
            Some(ref event) if event.starts_with("bp") => "bc",
            _ => "events c",
        };
        lab.run(&format!("{clear} {number}"));
    }
    lab.run("g");
    ticks
}

/// A thousand events of several kinds, none of which the measurements hit.
#[track_caller]
fn crowd(lab: &mut Lab) {
    lab.run("prealloc regular-event 420");
    lab.run("prealloc epthook 80");
    let mut script = String::new();
    for index in 0..CROWD_LEAVES {
        let _ = writeln!(script, "!cpuid {:x}", 0x1_0000 + index);
    }
    // System calls of 32-bit programs, of which there are none.
    let found = lab.run("x vmlinux!__ia32_sys_*");
    let names = found
        .lines()
        .filter_map(|line| line.split_whitespace().next());
    for name in names.take(CROWD - CROWD_LEAVES) {
        let _ = writeln!(script, "!epthook {name} script {{ .lab_crowd = 1; }}");
    }
    let file = lab.file("crowd", &script);
    lab.run(&format!(".script {}", file.display()));
    assert_eq!(lab.run("events").lines().count(), CROWD);
}

/// Ticks that one of many single steps takes, with what is told of it, on one processor. They pass in the halt, where the
/// guest does not see them.
#[track_caller]
pub(crate) fn step_ticks() -> u64 {
    const FEW: u64 = 1000;
    const MANY: u64 = 9000;
    let mut lab = Lab::with(&Options {
        cpus: 1,
        ..Options::default()
    });
    lab.guest_background("lab-spin 60 0");
    lab.guest("sleep 1");
    lab.run("pause");
    // What the host takes meanwhile is in both.
    let mut ticks = |count: u64| {
        let before = lab.value("rdtsc()");
        let done = lab.run(&format!("i 0n{count}"));
        assert!(done.contains("instructions of core 0 are done"), "{done}");
        lab.value("rdtsc()") - before
    };
    let mut rounds: Vec<u64> = (0..3)
        .map(|_| ticks(MANY).saturating_sub(ticks(FEW)) / (MANY - FEW))
        .collect();
    rounds.sort_unstable();
    rounds[rounds.len() / 2]
}

/// The table, for people.
pub(crate) fn table(costs: &[Cost]) -> String {
    let head = ["1 processor", "of 1,000", "2 processors", "of 1,000"];
    let mut text = format!(
        "{:<42} {:>8}",
        "ticks of the guest's time-stamp counter", "target"
    );
    for head in head {
        let _ = write!(text, " {head:>12}");
    }
    for cost in costs {
        let _ = write!(text, "\n{:<42} {:>8}", cost.work, cost.target_ticks);
        for (ticks, crowded_ticks) in cost.ticks.iter().zip(&cost.crowded_ticks) {
            let _ = write!(text, " {ticks:>12} {crowded_ticks:>12}");
        }
    }
    text
}

#[test]
fn events_cost_no_more_than_they_may() {
    let mut costs = measure();
    for _ in 1..ROUNDS {
        if costs.iter().all(|cost| cost.is_within() && cost.is_flat()) {
            break;
        }
        for (cost, again) in costs.iter_mut().zip(measure()) {
            cost.take_least(&again);
        }
    }
    let table = table(&costs);
    println!("{table}");
    for cost in &costs {
        assert!(cost.is_within(), "{}:\n{table}", cost.work);
        assert!(cost.is_flat(), "{} is not flat:\n{table}", cost.work);
    }
}

#[test]
fn a_single_step_costs_no_more_than_it_may() {
    /// Most of it is one exit, the place that is noted, and a byte or two on the line.
    const MOST: u64 = 4000;
    let ticks = step_ticks();
    println!("{ticks} ticks for one of many single steps, with its trace");
    assert!((1..=MOST).contains(&ticks), "{ticks} ticks");
}
