//! Events come, change and go at random while every core works, and the guest never sees a difference.
//!
//! `STANDSTILL_CHURN_SEED` makes it another run, `STANDSTILL_CHURN_CHANGES` a longer one.

mod change;
mod load;

use crate::lab::{Lab, assert_log_is_clean};
use change::{Churn, Random};
use load::Load;
use std::fmt::Write;
use std::time::{Duration, Instant};
use vm_lab::machine::Options;

const SEED: u64 = 20_260_731;
const CHANGES: usize = 10_000;
/// Changes in one halt.
const BATCH: usize = 160;
/// What the guest runs between two halts.
const BETWEEN: Duration = Duration::from_millis(150);

/// A number from the environment.
#[track_caller]
fn setting(name: &str, default: u64) -> u64 {
    match std::env::var(name) {
        Ok(text) => text
            .parse()
            .unwrap_or_else(|error| panic!("{name}={text}: {error}")),
        Err(_) => default,
    }
}

#[test]
fn ten_thousand_random_changes_under_load_go_unnoticed() {
    let seed = setting("STANDSTILL_CHURN_SEED", SEED);
    let changes = setting("STANDSTILL_CHURN_CHANGES", CHANGES as u64) as usize;
    eprintln!("seed {seed}");
    let mut lab = Lab::with(&Options {
        cpus: 4,
        params: vec![("replenish_ms".into(), "0".into())],
        ..Options::default()
    });
    lab.load_probe();
    let load = Load::prepare(&mut lab);
    lab.run("pause");
    for reserve in ["regular-event 50", "epthook 18", "monitor 10"] {
        lab.run(&format!("prealloc {reserve}"));
    }
    let start = lab.run("pools");
    let counted = load.count(&mut lab);
    lab.run("g");
    load.start(&mut lab);
    let mut churn = Churn::new(Random::new(seed), counted, change::places(load.target));
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
        std::thread::sleep(BETWEEN);
    }
    let seconds = started.elapsed().as_secs_f32();
    eprintln!(
        "{done} changes in {seconds:.0} s, {:.0} s of them for the guest to halt",
        halting.as_secs_f32()
    );
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
