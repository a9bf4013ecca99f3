//! Every message is delivered once and in order, whatever the line does to the bytes.
#![allow(clippy::unwrap_used, missing_docs)]

mod support;

use proptest::prelude::*;
use proptest::test_runner::{Config, TestRng};
use std::collections::VecDeque;
use support::{SERIAL, link};
use wire_protocol::limits::WINDOW_FRAMES;
use wire_protocol::link::{Incoming, Link, Role, SendError, Statistics, Timing};

/// One direction of a line, with one chance in so many for each mishap of a byte (0: never).
#[derive(Clone, Copy, Debug)]
struct Faults {
    flip: u32,
    lose: u32,
    insert: u32,
    /// Of up to 64 bytes that went by, all once more.
    repeat: u32,
    /// Of the next two runs of up to 32 bytes, the second comes first.
    swap: u32,
    /// It and the bytes behind it are lost, 16 in all.
    hole: u32,
}

struct Line {
    faults: Faults,
    rng: TestRng,
    arriving: VecDeque<u8>,
    gone_by: VecDeque<u8>,
    held: Vec<u8>,
    held_want: usize,
    hole_left: usize,
    cut: bool,
}

impl Line {
    fn new(faults: Faults, rng: TestRng) -> Self {
        Self {
            faults,
            rng,
            arriving: VecDeque::new(),
            gone_by: VecDeque::new(),
            held: Vec::new(),
            held_want: 0,
            hole_left: 0,
            cut: false,
        }
    }

    fn happens(&mut self, one_in: u32) -> bool {
        one_in != 0 && self.rng.random_range(0..one_in) == 0
    }

    fn put(&mut self, mut byte: u8) {
        if self.happens(self.faults.hole) {
            self.hole_left = 16;
        }
        if self.hole_left > 0 {
            self.hole_left -= 1;
            return;
        }
        if self.cut || self.happens(self.faults.lose) {
            return;
        }
        if self.happens(self.faults.flip) {
            byte ^= 1 << self.rng.random_range(0..8);
        }
        if self.happens(self.faults.insert) {
            let noise = self.rng.random();
            self.arriving.push_back(noise);
        }
        self.gone_by.push_back(byte);
        if self.gone_by.len() > 64 {
            self.gone_by.pop_front();
        }
        if self.held_want == 0 && self.happens(self.faults.swap) {
            self.held_want = self.rng.random_range(1..32);
        }
        if self.held_want == 0 {
            self.arriving.push_back(byte);
        } else {
            self.held.push(byte);
            if self.held.len() == 2 * self.held_want {
                self.held.rotate_left(self.held_want);
                self.arriving.extend(self.held.drain(..));
                self.held_want = 0;
            }
        }
        if self.happens(self.faults.repeat) {
            self.arriving.extend(&self.gone_by);
        }
    }

    fn get(&mut self) -> Option<u8> {
        self.arriving.pop_front()
    }
}

/// One end and what it has to say.
struct End {
    link: Link<'static>,
    to_say: VecDeque<Vec<u8>>,
    heard: Vec<Vec<u8>>,
    sessions: usize,
    /// Messages wait this many bytes before they are released.
    slow: usize,
    release_in: Option<usize>,
}

impl End {
    fn new(role: Role, timing: Timing, slow: usize) -> Self {
        Self {
            link: link(role, timing),
            to_say: VecDeque::new(),
            heard: Vec::new(),
            sessions: 0,
            slow,
            release_in: None,
        }
    }

    fn step(&mut self, into: &mut Line, from: &mut Line, now_us: u64) {
        if let Some(message) = self.to_say.front() {
            match self.link.send(message) {
                Ok(()) => drop(self.to_say.pop_front()),
                Err(SendError::NotConnected | SendError::QueueFull { .. }) => {}
                Err(error) => panic!("{error:?}"),
            }
        }
        if let Some(byte) = self.link.pull(now_us) {
            into.put(byte);
        }
        if let Some(byte) = from.get() {
            match self.link.push(byte, now_us) {
                Some(Incoming::Connected) => {
                    self.sessions += 1;
                    self.release_in = None;
                }
                Some(Incoming::Message) => {
                    self.heard.push(self.link.message().to_vec());
                    self.release_in = Some(self.slow);
                }
                Some(Incoming::BreakIn) | None => {}
            }
        }
        match self.release_in {
            Some(0) => {
                self.link.release();
                self.release_in = None;
            }
            Some(left) => self.release_in = Some(left - 1),
            None => {}
        }
    }

    fn is_done(&self) -> bool {
        self.to_say.is_empty() && self.link.is_idle()
    }
}

struct Scene {
    host: End,
    debuggee: End,
    down: Line,
    up: Line,
    now_us: u64,
}

impl Scene {
    fn new(faults: Faults, seed: [u8; 32], timing: Timing, slow: usize) -> Self {
        let rng = |flip: u8| {
            let seed = seed.map(|byte| byte ^ flip);
            TestRng::from_seed(proptest::test_runner::RngAlgorithm::ChaCha, &seed)
        };
        Self {
            host: End::new(Role::Initiator, timing, slow),
            debuggee: End::new(Role::Responder, timing, slow),
            down: Line::new(faults, rng(0)),
            up: Line::new(faults, rng(0xff)),
            now_us: 0,
        }
    }

    fn step(&mut self) {
        self.now_us += 87;
        self.host.step(&mut self.down, &mut self.up, self.now_us);
        self.debuggee
            .step(&mut self.up, &mut self.down, self.now_us);
        // When all is quiet, time passes without a byte.
        if self.down.arriving.is_empty() && self.up.arriving.is_empty() {
            self.now_us += 1000;
        }
    }

    fn settle(&mut self, limit: usize) {
        for _ in 0..limit {
            if self.host.is_done() && self.debuggee.is_done() && self.host.link.is_connected() {
                return;
            }
            self.step();
        }
        panic!(
            "not settled: host {:?}, debuggee {:?}, heard {} and {}",
            self.host.link.statistics(),
            self.debuggee.link.statistics(),
            self.host.heard.len(),
            self.debuggee.heard.len()
        );
    }
}

fn message(number: usize, len_bytes: usize) -> Vec<u8> {
    let mut message = number.to_le_bytes().to_vec();
    message.extend((0..len_bytes).map(|at| (at * 7 + number) as u8));
    message
}

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

const QUIET: Faults = Faults {
    flip: 0,
    lose: 0,
    insert: 0,
    repeat: 0,
    swap: 0,
    hole: 0,
};

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
fn a_debuggee_that_was_reset_says_nothing_until_the_host_connects_again() {
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
    assert_eq!(scene.debuggee.link.statistics().sent_bytes, 0);
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
