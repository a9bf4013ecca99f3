//! Two ends with something to say, and a line between them that does to bytes what lines do.

use super::link;
use proptest::prelude::RngExt;
use proptest::test_runner::TestRng;
use std::collections::VecDeque;
use wire_protocol::link::{Incoming, Link, Role, SendError, Timing};

/// One direction of a line, with one chance in so many for each mishap of a byte (0: never).
#[derive(Clone, Copy, Debug)]
pub struct Faults {
    pub flip: u32,
    pub lose: u32,
    pub insert: u32,
    /// Of up to 64 bytes that went by, all once more.
    pub repeat: u32,
    /// Of the next two runs of up to 32 bytes, the second comes first.
    pub swap: u32,
    /// It and the bytes behind it are lost, 16 in all.
    pub hole: u32,
}

pub struct Line {
    pub faults: Faults,
    pub rng: TestRng,
    pub arriving: VecDeque<u8>,
    pub gone_by: VecDeque<u8>,
    pub held: Vec<u8>,
    pub held_want: usize,
    pub hole_left: usize,
    pub cut: bool,
}

impl Line {
    pub fn new(faults: Faults, rng: TestRng) -> Self {
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
pub struct End {
    pub link: Link<'static>,
    pub to_say: VecDeque<Vec<u8>>,
    pub heard: Vec<Vec<u8>>,
    pub sessions: usize,
    /// Messages wait this many bytes before they are released.
    pub slow: usize,
    pub release_in: Option<usize>,
}

impl End {
    pub fn new(role: Role, timing: Timing, slow: usize) -> Self {
        Self {
            link: link(role, timing),
            to_say: VecDeque::new(),
            heard: Vec::new(),
            sessions: 0,
            slow,
            release_in: None,
        }
    }

    pub fn step(&mut self, into: &mut Line, from: &mut Line, now_us: u64) {
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
                Some(Incoming::BreakIn | Incoming::Busy | Incoming::TakenOver) | None => {}
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

    pub fn is_done(&self) -> bool {
        self.to_say.is_empty() && self.link.is_idle()
    }
}

pub struct Scene {
    pub host: End,
    pub debuggee: End,
    pub down: Line,
    pub up: Line,
    pub now_us: u64,
}

impl Scene {
    pub fn new(faults: Faults, seed: [u8; 32], timing: Timing, slow: usize) -> Self {
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

    pub fn step(&mut self) {
        self.now_us += 87;
        self.host.step(&mut self.down, &mut self.up, self.now_us);
        self.debuggee
            .step(&mut self.up, &mut self.down, self.now_us);
        // When all is quiet, time passes without a byte.
        if self.down.arriving.is_empty() && self.up.arriving.is_empty() {
            self.now_us += 1000;
        }
    }

    pub fn settle(&mut self, limit: usize) {
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

pub fn message(number: usize, len_bytes: usize) -> Vec<u8> {
    let mut message = number.to_le_bytes().to_vec();
    message.extend((0..len_bytes).map(|at| (at * 7 + number) as u8));
    message
}

/// Nothing goes wrong.
pub const QUIET: Faults = Faults {
    flip: 0,
    lose: 0,
    insert: 0,
    repeat: 0,
    swap: 0,
    hole: 0,
};
