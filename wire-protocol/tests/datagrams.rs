//! Whole conversations over the secure channel and a network in memory, a thousand of them: each goes as on a good one.
#![allow(clippy::unwrap_used, missing_docs)]

#[path = "support/network.rs"]
mod network;
mod support;

use network::{Faults, Scene, To};
use proptest::prelude::RngExt;
use proptest::test_runner::TestRng;
use std::collections::BTreeSet;
use support::scene::message;
use wire_protocol::secure::{Cause, DATAGRAM_BYTES, Timing};

/// Requests of some length in each schedule, each answered once it is there, by what an answer of this number says.
const WORK: [(usize, usize); 6] = [(12, 30), (8, 3000), (40, 4), (9, 200), (1600, 12), (10, 25)];

/// New keys every so often, to have them change in the middle of everything.
const TIMING: Timing = Timing {
    call_us: 20_000,
    alive_us: 30_000,
    lost_us: 200_000,
    rekey_us: 50_000,
};

fn rng(seed: &[u8; 32]) -> TestRng {
    TestRng::from_seed(proptest::test_runner::RngAlgorithm::ChaCha, seed)
}

/// What a schedule of this number does to datagrams: in one of four what the acceptance asks for, else anything.
fn faults(number: u64, rng: &mut TestRng) -> Faults {
    if number.is_multiple_of(4) {
        return Faults {
            lose: 20,
            corrupt: 100,
            repeat: 100,
            delay: 100,
            ..Faults::default()
        };
    }
    let mut chance = |worst: u32| match rng.random_range(0..2) {
        0 => rng.random_range(worst..200),
        _ => 0,
    };
    Faults {
        lose: chance(4),
        corrupt: chance(5),
        repeat: chance(4),
        delay: chance(3),
        cut: chance(8),
        reflect: chance(8),
        replay: chance(4),
    }
}

/// A schedule of mishaps, from its number: the whole conversation goes as on a good network.
fn conversation_goes_as_on_a_good_network(number: u64) -> Scene {
    let mut seed = [0; 32];
    seed[..8].copy_from_slice(&number.to_le_bytes());
    let mut rng = rng(&seed);
    let faults = faults(number, &mut rng);
    let mut scene = Scene::new(faults, seed, TIMING);
    let mut rest = rng.random_range(0..1_000_u32);
    scene.host.link.connect(number as u32);
    let asked: Vec<_> = (0..WORK.len()).map(|n| message(n, WORK[n].0)).collect();
    let answers: Vec<_> = (0..WORK.len()).map(|n| message(n, WORK[n].1)).collect();
    scene.host.to_say.push_back(asked[0].clone());
    let mut steps = 0;
    while scene.host.heard.len() < WORK.len() {
        let (carried_out, heard) = (scene.debuggee.heard.len(), scene.host.heard.len());
        scene.step();
        if scene.debuggee.heard.len() > carried_out {
            assert_eq!(scene.debuggee.heard.len(), carried_out + 1);
            let answer = answers[carried_out].clone();
            scene.debuggee.to_say.push_back(answer);
        }
        if scene.host.heard.len() > heard {
            steps = 0;
            scene.host.to_say.extend(asked.get(heard + 1).cloned());
        }
        steps += 1;
        // Once in a conversation the cable is out for a while.
        rest = rest.wrapping_sub(1);
        scene.network.cut = rest > u32::MAX - 300;
        assert!(steps < 400_000, "schedule {number} hangs: {faults:?}");
    }
    assert_eq!(scene.debuggee.heard, asked, "schedule {number}");
    assert_eq!(scene.host.heard, answers, "schedule {number}");
    scene
}

/// Public keys of handshakes; session, direction and nonce of all else.
fn uses(scene: &Scene) -> Vec<&[u8]> {
    let sent = scene.network.sent.iter();
    sent.map(|(_, datagram)| match datagram[0] {
        0x91 | 0x92 => &datagram[7..39],
        _ => &datagram[..31],
    })
    .collect()
}

const SCHEDULES: u64 = 1000;

#[test]
fn conversations_go_as_on_a_good_network_under_a_thousand_schedules() {
    let threads = 2;
    let totals = std::thread::scope(|scope| {
        let run = |first: u64| {
            let (mut sessions, mut causes) = (0, [0; Cause::ALL.len()]);
            for number in (first..SCHEDULES).step_by(threads) {
                let scene = conversation_goes_as_on_a_good_network(number);
                sessions += scene.sessions;
                for dropped in scene.dropped() {
                    for (count, cause) in causes.iter_mut().zip(Cause::ALL) {
                        *count += dropped.of(cause);
                    }
                }
                let uses = uses(&scene);
                let different: BTreeSet<_> = uses.iter().collect();
                assert_eq!(different.len(), uses.len(), "schedule {number}");
                let is_short = |(_, it): &(To, Vec<u8>)| it.len() <= DATAGRAM_BYTES;
                assert!(scene.network.sent.iter().all(is_short));
            }
            (sessions, causes)
        };
        let threads: Vec<_> = (0..threads as u64)
            .map(|first| scope.spawn(move || run(first)))
            .collect();
        let joined = threads.into_iter().map(|thread| thread.join().unwrap());
        joined.collect::<Vec<_>>()
    });
    let sessions: u32 = totals.iter().map(|(sessions, _)| sessions).sum();
    println!("{sessions} sessions; dropped: {totals:?}");
    assert!(u64::from(sessions) > SCHEDULES * 3 / 2, "{sessions}");
    // All kinds that a network can make of good datagrams came up.
    for (at, cause) in Cause::ALL.into_iter().enumerate() {
        let count: u64 = totals.iter().map(|(_, causes)| causes[at]).sum();
        let is_possible = cause != Cause::WrongKey;
        assert!(count > 0 || !is_possible, "{cause:?}");
    }
}

#[test]
fn a_long_message_goes_in_many_datagrams_at_once() {
    let mut scene = Scene::new(Faults::default(), [3; 32], Timing::USUAL);
    scene.host.link.connect(7);
    while !scene.debuggee.link.is_connected() {
        scene.step();
    }
    let long = message(1, 16 * 1024);
    scene.debuggee.to_say.push_back(long.clone());
    let before = scene.network.sent.len();
    scene.step();
    let at_once = scene.network.sent[before..]
        .iter()
        .filter(|(to, _)| *to == To::Host)
        .count();
    // Twelve that are full, and one with the rest.
    assert_eq!(at_once, 13);
    while scene.host.heard.is_empty() {
        scene.step();
    }
    assert_eq!(scene.host.heard, [long]);
    assert_eq!(scene.debuggee.link.statistics().repeated_frames, 0);
}
