//! Every message is delivered once and in order, whatever the line does to the bytes.
#![allow(clippy::unwrap_used, missing_docs)]

mod support;

use proptest::prelude::*;
use proptest::test_runner::Config;
use support::SERIAL;
use support::scene::{End, Faults, QUIET, Scene, message};
use wire_protocol::limits::WINDOW_FRAMES;
use wire_protocol::link::Role;

fn chance() -> impl Strategy<Value = u32> {
    prop_oneof![Just(0), 500u32..5000]
}

fn faults() -> impl Strategy<Value = Faults> {
    (chance(), chance(), chance(), chance(), chance(), chance()).prop_map(
        |(flip, lose, insert, repeat, swap, hole)| Faults {
            flip,
            lose,
            insert,
            repeat,
            swap,
            hole,
        },
    )
}

/// Mostly short ones, now and then one of many fragments.
fn lengths() -> impl Strategy<Value = Vec<usize>> {
    prop::collection::vec(
        prop_oneof![8 => 0usize..40, 2 => 100usize..400, 1 => 0usize..700],
        0..30,
    )
}

fn config() -> Config {
    Config {
        cases: if cfg!(miri) { 2 } else { 96 },
        failure_persistence: None,
        ..Config::default()
    }
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn every_message_arrives_once_and_in_order(
        faults in faults(),
        // A host that has nothing to say starts no session either.
        first in 0usize..40,
        down in lengths(),
        up in lengths(),
        seed: [u8; 32],
        slow in prop_oneof![Just(0usize), 0usize..500],
    ) {
        let mut scene = Scene::new(faults, seed, SERIAL, slow);
        let number = |lengths: &[usize]| -> Vec<Vec<u8>> {
            lengths.iter().enumerate().map(|(n, &len)| message(n, len)).collect()
        };
        let (down, up) = (number(&[&[first], &*down].concat()), number(&up));
        scene.host.link.connect(1);
        scene.host.to_say.extend(down.iter().cloned());
        // What a debuggee queues before a session is that session's loss.
        while scene.debuggee.sessions == 0 {
            scene.step();
        }
        scene.debuggee.to_say.extend(up.iter().cloned());
        scene.settle(4_000_000);
        prop_assert_eq!(scene.debuggee.heard, down);
        prop_assert_eq!(scene.host.heard, up);
        prop_assert_eq!(scene.debuggee.sessions, 1);
    }

    #[test]
    fn a_host_that_starts_over_gets_a_clean_session(
        faults in faults(),
        lengths in lengths(),
        seed: [u8; 32],
        restart_after in 0usize..4000,
    ) {
        let mut scene = Scene::new(faults, seed, SERIAL, 0);
        scene.host.link.connect(1);
        let old = lengths.iter().map(|&len| message(1_000_000, len));
        scene.host.to_say.extend(old.clone());
        scene.debuggee.to_say.extend(old);
        for _ in 0..restart_after {
            scene.step();
        }
        // The process is gone, with everything it knew.
        scene.host = End::new(Role::Initiator, SERIAL, 0);
        scene.host.link.connect(2);
        scene.debuggee.to_say.clear();
        scene.debuggee.heard.clear();
        // Frames that are still under way may begin the old session once more, and deliver; what was said in the new one
        // tells that it is that one.
        let first = message(usize::MAX, 0);
        scene.host.to_say.push_back(first.clone());
        while scene.debuggee.heard.last() != Some(&first) {
            scene.step();
        }
        scene.debuggee.heard.clear();
        let new: Vec<_> = lengths.iter().enumerate().map(|(n, &len)| message(n, len)).collect();
        scene.host.to_say.extend(new.iter().cloned());
        scene.debuggee.to_say.extend(new.iter().cloned());
        scene.settle(4_000_000);
        prop_assert_eq!(&scene.host.heard, &new);
        prop_assert_eq!(&scene.debuggee.heard, &new);
    }
}

fn scene(seed: u8) -> Scene {
    let mut scene = Scene::new(QUIET, [seed; 32], SERIAL, 0);
    scene.host.link.connect(1);
    scene.settle(10_000);
    scene
}

#[test]
fn a_cable_pulled_for_a_minute_loses_nothing() {
    let mut scene = scene(1);
    let messages: Vec<_> = (0..20).map(|n| message(n, 300)).collect();
    scene.host.to_say.extend(messages.iter().cloned());
    scene.debuggee.to_say.extend(messages.iter().cloned());
    for _ in 0..500 {
        scene.step();
    }
    (scene.down.cut, scene.up.cut) = (true, true);
    let plugged_in_at = scene.now_us + 60_000_000;
    while scene.now_us < plugged_in_at {
        scene.step();
    }
    (scene.down.cut, scene.up.cut) = (false, false);
    let sent = scene.host.link.statistics().sent_frames;
    assert!(sent < 300, "back-off: {sent} frames in a minute");
    scene.settle(1_000_000);
    assert_eq!(scene.host.heard, messages);
    assert_eq!(scene.debuggee.heard, messages);
    assert!(scene.now_us < plugged_in_at + 10_000_000);
}

#[test]
fn a_line_that_is_deaf_one_way_loses_nothing() {
    let mut scene = scene(2);
    scene.up.cut = true;
    let messages: Vec<_> = (0..WINDOW_FRAMES).map(|n| message(n, 30)).collect();
    scene.host.to_say.extend(messages.iter().cloned());
    for _ in 0..10_000 {
        scene.step();
    }
    assert_eq!(scene.debuggee.heard, messages);
    scene.up.cut = false;
    scene.settle(100_000);
    assert_eq!(scene.debuggee.heard, messages);
}

#[test]
fn the_longest_message_passes_both_ways_at_once() {
    let mut scene = scene(3);
    let long = message(1, 80_000);
    scene.host.to_say.push_back(long.clone());
    scene.debuggee.to_say.push_back(long.clone());
    scene.settle(1_000_000);
    assert_eq!(scene.host.heard, std::slice::from_ref(&long));
    assert_eq!(scene.debuggee.heard, [long]);
    assert_eq!(scene.host.link.statistics().repeated_frames, 0);
    assert_eq!(scene.debuggee.link.statistics().repeated_frames, 0);
}

#[test]
fn a_debuggee_that_was_reset_greets_who_speaks_in_a_session_that_is_over() {
    let mut scene = scene(4);
    scene.host.to_say.push_back(message(0, 10));
    scene.settle(10_000);
    scene.debuggee = End::new(Role::Responder, SERIAL, 0);
    scene.host.to_say.push_back(message(1, 10));
    for _ in 0..20_000 {
        scene.step();
    }
    assert!(scene.debuggee.heard.is_empty());
    assert!(!scene.debuggee.link.is_connected());
    // Five bytes for each frame that came, and nothing else.
    let frames = scene.debuggee.link.statistics().broken_frames;
    assert_eq!(scene.debuggee.link.statistics().sent_bytes, frames * 5);
    assert!(scene.host.link.statistics().break_ins > 0);
    scene.host.link.connect(2);
    scene.host.to_say.push_back(message(2, 10));
    scene.settle(100_000);
    assert_eq!(scene.debuggee.heard, [message(2, 10)]);
}

#[test]
fn a_jump_of_the_clock_repeats_frames_once_and_loses_nothing() {
    let mut scene = scene(5);
    for number in 0..5 {
        scene.host.to_say.push_back(message(number, 20));
        for _ in 0..10 {
            scene.step();
        }
        scene.now_us += 3_600_000_000;
    }
    scene.settle(100_000);
    assert_eq!(scene.debuggee.heard.len(), 5);
    assert!(scene.host.link.statistics().repeated_frames <= 16);
}
