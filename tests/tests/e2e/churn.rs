//! Events come, change and go at random while every core works, and the guest never sees a difference.
//!
//! `STANDSTILL_CHURN_SEED` makes it another run, `STANDSTILL_CHURN_CHANGES` a longer one.

mod change;
mod load;

use crate::lab::{Lab, assert_log_is_clean};
use change::Churn;
pub(crate) use change::Random;
use load::Load;
use std::fmt::Write;
use std::time::{Duration, Instant};
use vm_lab::machine::{KernelLine, Options};

const SEED: u64 = 20_260_731;
const CHANGES: usize = 10_000;
/// Changes in the stock kernel, with the replenisher at work.
const STOCK_CHANGES: usize = 1_600;
/// Changes in one halt.
const BATCH: usize = 160;
/// What the guest runs between two halts.
const BETWEEN: Duration = Duration::from_millis(150);

/// A number from the environment.
#[track_caller]
pub(crate) fn setting(name: &str, default: u64) -> u64 {
    match std::env::var(name) {
        Ok(text) => text
            .parse()
            .unwrap_or_else(|error| panic!("{name}={text}: {error}")),
        Err(_) => default,
    }
}

/// All cores under load, with events whose hits are counted; and the pools before those were added.
fn at_work(options: &Options) -> (Lab, Load, Churn, String) {
    let seed = setting("STANDSTILL_CHURN_SEED", SEED);
    eprintln!("seed {seed}");
    let mut lab = Lab::with(options);
    lab.load_probe();
    let load = Load::prepare(&mut lab);
    lab.run("pause");
    for reserve in ["regular-event 50", "epthook 18", "monitor 10"] {
        lab.run(&format!("prealloc {reserve}"));
    }
    let pools = lab.run("pools");
    let counted = load.count(&mut lab);
    lab.run("g");
    load.start(&mut lab);
    let churn = Churn::new(Random::new(seed), counted, change::places(load.target));
    (lab, load, churn, pools)
}

/// Makes changes in halts, between which the guest works; ends while it does.
fn make(changes: usize, churn: &mut Churn, lab: &mut Lab) {
    let started = Instant::now();
    let mut halting = Duration::ZERO;
    let mut done = 0;
    while done < changes {
        let paused = Instant::now();
        lab.run("pause");
        halting += paused.elapsed();
        let list = lab.run("events");
        churn.meet(&list);
        let mut script = String::new();
        for _ in 0..BATCH {
            let _ = writeln!(script, "{}", churn.change());
        }
        let file = lab.file("changes", &script);
        lab.run(&format!(".script {}", file.display()));
        done += BATCH;
        lab.run("g");
        if done % (50 * BATCH) == 0 || done >= changes {
            eprintln!(
                "{done} changes in {:.0} s, {:.0} s of them for the guest to halt",
                started.elapsed().as_secs_f32(),
                halting.as_secs_f32()
            );
        }
        std::thread::sleep(BETWEEN);
    }
}

#[test]
fn ten_thousand_random_changes_under_load_go_unnoticed() {
    let changes = setting("STANDSTILL_CHURN_CHANGES", CHANGES as u64) as usize;
    let (mut lab, load, mut churn, start) = at_work(&Options {
        cpus: 4,
        params: vec![("replenish_ms".into(), "0".into())],
        ..Options::default()
    });
    make(changes, &mut churn, &mut lab);
    lab.run("pause");
    let list = lab.run("events");
    churn.meet(&list);
    let file = lab.file("changes", &churn.clear_all().join("\n"));
    lab.run(&format!(".script {}", file.display()));
    lab.run("g");
    load.end(&mut lab);
    lab.run("pause");
    load.compare(&mut lab);
    eprintln!(
        "{} other hits",
        lab.run("? printf(\"%lld\", .churn_hits);").trim()
    );
    lab.run("events c all");
    assert_eq!(lab.run("events"), "no events");
    assert_eq!(lab.run("pools"), start, "objects are missing");
    lab.run("g");
    assert!(lab.guest("lab-check 1").contains("check ok cores 4"));
    assert_log_is_clean(&lab.guest("dmesg"));
    load::assert_check_can_fail(&mut lab);
}

#[test]
fn stock_kernel_notices_neither_random_changes_nor_an_unload_among_events() {
    let (mut lab, load, mut churn, _) = at_work(&Options {
        cpus: 4,
        kernel_line: KernelLine::Stock,
        ..Options::default()
    });
    make(STOCK_CHANGES, &mut churn, &mut lab);
    lab.run("pause");
    let list = lab.run("events");
    assert!(list.lines().count() > 10, "hardly any events:\n{list}");
    // A traced core may take minutes for what `rmmod` waits for.
    let is_trace = |line: &&str| line.contains(" trace ");
    for line in list.lines().filter(is_trace) {
        let event = line.split_whitespace().next().unwrap_or_default();
        lab.run(&format!("events c {event}"));
    }
    lab.run("g");
    load.end_check(&mut lab);
    lab.kill_host();
    lab.unload_driver();
    load.end(&mut lab);
    assert!(lab.guest("lab-check 1").contains("check ok cores 4"));
    let vmx = lab.guest("cat /sys/module/lab_probe/parameters/vmx");
    assert!(!vmx.contains("vmxe=1"), "{vmx}");
    assert_log_is_clean(&lab.guest("dmesg"));
    // It comes back without anything of before.
    lab.load_driver(&[]);
    lab.connect();
    lab.run("pause");
    assert_eq!(lab.run("events"), "no events");
    lab.go();
}
