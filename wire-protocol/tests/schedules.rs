//! Whole conversations over lines in memory, thousands of them: each goes as on a good line.
#![allow(clippy::unwrap_used, missing_docs)]

mod support;

use proptest::prelude::RngExt;
use proptest::test_runner::TestRng;
use support::SERIAL;
use support::scene::{Faults, QUIET, Scene, message};
use wire_protocol::link::Statistics;

/// Requests of some length in each schedule, each answered once it is there, by what an answer of this number says.
const WORK: [(usize, usize); 6] = [(12, 30), (8, 9), (40, 4), (9, 200), (150, 12), (10, 25)];

/// A schedule of mishaps, from its number: the whole conversation goes as on a good line.
fn conversation_goes_as_on_a_good_line(number: u64) {
    let mut seed = [0; 32];
    seed[..8].copy_from_slice(&number.to_le_bytes());
    let mut rng = TestRng::from_seed(proptest::test_runner::RngAlgorithm::ChaCha, &seed);
    let mut chance = |worst: u32| {
        let often = rng.random_range(0..3) == 0;
        if often {
            rng.random_range(worst..4000)
        } else {
            0
        }
    };
    let faults = Faults {
        flip: chance(60),
        lose: chance(60),
        insert: chance(60),
        repeat: chance(200),
        swap: chance(200),
        hole: chance(300),
    };
    let mut scene = Scene::new(faults, seed, SERIAL, number as usize % 3 * 40);
    let mut rest = rng.random_range(0..4_000_u32);
    scene.host.link.connect(number as u32);
    let answers: Vec<_> = (0..WORK.len()).map(|n| message(n, WORK[n].1)).collect();
    let mut steps = 0;
    while scene.host.heard.len() < WORK.len() {
        let asked = scene.host.heard.len();
        if scene.host.to_say.is_empty() && steps == 0 {
            scene.host.to_say.push_back(message(asked, WORK[asked].0));
        }
        let carried_out = scene.debuggee.heard.len();
        let heard = scene.host.heard.len();
        scene.step();
        if scene.debuggee.heard.len() > carried_out {
            assert_eq!(scene.debuggee.heard.len(), carried_out + 1);
            scene
                .debuggee
                .to_say
                .push_back(answers[carried_out].clone());
        }
        steps = if scene.host.heard.len() > heard {
            0
        } else {
            steps + 1
        };
        // Once in a conversation the cable is out for a while.
        rest = rest.wrapping_sub(1);
        let is_out = rest > u32::MAX - 500;
        (scene.down.cut, scene.up.cut) = (is_out, is_out && number.is_multiple_of(2));
        assert!(steps < 2_000_000, "schedule {number} hangs: {faults:?}");
    }
    let asked: Vec<_> = (0..WORK.len()).map(|n| message(n, WORK[n].0)).collect();
    assert_eq!(scene.debuggee.heard, asked, "schedule {number}");
    assert_eq!(scene.host.heard, answers, "schedule {number}");
}

/// Schedules that are tried.
const SCHEDULES: u64 = if cfg!(miri) { 2 } else { 10_000 };

#[test]
fn conversations_go_as_on_a_good_line_under_ten_thousand_schedules() {
    // In threads, each with every so manieth.
    let threads = 2;
    std::thread::scope(|scope| {
        for first in 0..threads {
            scope.spawn(move || {
                let mine = (first..SCHEDULES).step_by(threads as usize);
                mine.for_each(conversation_goes_as_on_a_good_line);
            });
        }
    });
}

/// One byte in a hundred is damaged, and one run of bytes in a hundred lost.
const VERY_BAD: Faults = Faults {
    flip: 100,
    hole: 1600,
    ..QUIET
};

#[test]
fn frames_get_shorter_on_a_very_bad_line_and_longer_again() {
    let mut scene = Scene::new(VERY_BAD, [9; 32], SERIAL, 0);
    scene.host.link.connect(1);
    scene.settle(1_000_000);
    let long: Vec<_> = (0..4).map(|n| message(n, 16 * 1024)).collect();
    scene.debuggee.to_say.extend(long.iter().cloned());
    let before = scene.debuggee.link.statistics();
    scene.settle(4_000_000);
    assert_eq!(scene.host.heard, long);
    let bad = scene.debuggee.link.statistics();
    let bytes_per_frame = |later: Statistics, earlier: Statistics| {
        (later.sent_bytes - earlier.sent_bytes) / (later.sent_frames - earlier.sent_frames)
    };
    assert!(bytes_per_frame(bad, before) < 90, "{bad:?}");
    (scene.down.faults, scene.up.faults) = (QUIET, QUIET);
    scene
        .debuggee
        .to_say
        .extend((0..8).map(|n| message(n, 16 * 1024)));
    scene.settle(4_000_000);
    let good = scene.debuggee.link.statistics();
    scene
        .debuggee
        .to_say
        .extend((0..4).map(|n| message(n, 16 * 1024)));
    scene.settle(4_000_000);
    let last = scene.debuggee.link.statistics();
    assert!(bytes_per_frame(last, good) > 3000, "{good:?} {last:?}");
}
