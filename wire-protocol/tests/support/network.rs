//! Two ends of a link over the secure channel, and a network between them that does to datagrams what networks do.

#![allow(unreachable_pub, reason = "used by one test as a module")]

use super::support::link;
use proptest::prelude::RngExt;
use proptest::test_runner::{RngAlgorithm, TestRng};
use std::collections::{BTreeMap, VecDeque};
use wire_protocol::link::{Incoming, Link, Role, SendError, Timing};
use wire_protocol::secure::{
    self, Caller, DATAGRAM_BYTES, Dropped, Heard, Key, Listener, OlderClock, ROOM_BYTES, Random,
    Taken,
};

/// One chance in so many for each mishap of a datagram (0: never).
#[derive(Clone, Copy, Debug, Default)]
pub struct Faults {
    pub lose: u32,
    /// Between one bit and all of it.
    pub corrupt: u32,
    pub repeat: u32,
    /// It comes behind those that are sent within the next milliseconds.
    pub delay: u32,
    /// Its end is missing.
    pub cut: u32,
    /// It comes to who sent it, too.
    pub reflect: u32,
    /// One that went by long ago comes once more.
    pub replay: u32,
}

impl Faults {
    fn happens(one_in: u32, rng: &mut TestRng) -> bool {
        one_in != 0 && rng.random_range(0..one_in) == 0
    }
}

/// Which end something is on its way to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum To {
    Host,
    Debuggee,
}

/// What is under way.
pub struct Network {
    pub faults: Faults,
    rng: TestRng,
    /// By the time of arrival, and a number.
    under_way: BTreeMap<(u64, u64), (To, Vec<u8>)>,
    number: u64,
    /// Everything that was sent.
    pub sent: Vec<(To, Vec<u8>)>,
    pub cut: bool,
}

/// How long a datagram takes.
const WAY_US: u64 = 300;

impl Network {
    fn put(&mut self, to: To, datagram: &[u8], now_us: u64) {
        let faults = self.faults;
        let rng = &mut self.rng;
        self.sent.push((to, datagram.to_vec()));
        let mut copies = vec![(to, datagram.to_vec())];
        if self.cut || Faults::happens(faults.lose, rng) {
            copies.clear();
        }
        if let Some((_, copy)) = copies.first_mut()
            && Faults::happens(faults.corrupt, rng)
        {
            for _ in 0..1 << rng.random_range(0..8) {
                let at = rng.random_range(0..copy.len());
                copy[at] ^= 1 << rng.random_range(0..8);
            }
        }
        if let Some((_, copy)) = copies.first_mut()
            && Faults::happens(faults.cut, rng)
        {
            copy.truncate(rng.random_range(0..copy.len()));
        }
        if Faults::happens(faults.repeat, rng) {
            copies.push((to, datagram.to_vec()));
        }
        if Faults::happens(faults.reflect, rng) {
            let back = match to {
                To::Host => To::Debuggee,
                To::Debuggee => To::Host,
            };
            copies.push((back, datagram.to_vec()));
        }
        if Faults::happens(faults.replay, rng) {
            let at = rng.random_range(0..self.sent.len());
            copies.push(self.sent[at].clone());
        }
        for copy in copies {
            let delay_us = match Faults::happens(faults.delay, &mut self.rng) {
                true => self.rng.random_range(0..20 * WAY_US),
                false => 0,
            };
            self.number += 1;
            let at = (now_us + WAY_US + delay_us, self.number);
            self.under_way.insert(at, copy);
        }
    }

    fn get(&mut self, now_us: u64) -> Option<(To, Vec<u8>)> {
        let first = self.under_way.first_entry()?;
        (first.key().0 <= now_us).then(|| first.remove())
    }
}

/// One end's link and what it has to say.
pub struct End {
    pub link: Link<'static>,
    pub to_say: VecDeque<Vec<u8>>,
    pub heard: Vec<Vec<u8>>,
    /// All that is asked of random bits is that they are others each time.
    random: Random,
}

impl End {
    fn new(role: Role, random: Random) -> Self {
        let mut link = link(role, Timing::NETWORK);
        link.use_datagrams(ROOM_BYTES);
        Self {
            link,
            to_say: VecDeque::new(),
            heard: Vec::new(),
            random,
        }
    }

    fn random(&mut self) -> Random {
        for byte in &mut self.random {
            *byte = byte.wrapping_add(1);
            if *byte != 0 {
                break;
            }
        }
        self.random
    }

    fn queue(&mut self) {
        if let Some(message) = self.to_say.front() {
            match self.link.send(message) {
                Ok(()) => drop(self.to_say.pop_front()),
                Err(SendError::NotConnected | SendError::QueueFull { .. }) => {}
                Err(error) => panic!("{error:?}"),
            }
        }
    }

    /// What the link says now, for one datagram.
    fn pull(&mut self, now_us: u64) -> Vec<u8> {
        let mut bytes = [0; DATAGRAM_BYTES];
        let count = self.link.pull_into(&mut bytes, now_us);
        assert!(count <= ROOM_BYTES, "{count} bytes do not fit");
        bytes[..count].to_vec()
    }

    fn push(&mut self, bytes: &[u8], now_us: u64) {
        if self.link.take(bytes, now_us) == Some(Incoming::Message) {
            self.heard.push(self.link.message().to_vec());
            self.link.release();
        }
    }
}

pub struct Scene {
    pub host: End,
    pub debuggee: End,
    pub caller: Caller,
    pub listener: Listener,
    pub network: Network,
    pub now_us: u64,
    /// Sessions of the secure channel.
    pub sessions: u32,
}

fn key() -> Key {
    Key::new([0x4b; 32])
}

impl Scene {
    pub fn new(faults: Faults, seed: [u8; 32], timing: secure::Timing) -> Self {
        let random = |flip: u8| seed.map(|byte| byte ^ flip);
        Self {
            host: End::new(Role::Initiator, random(1)),
            debuggee: End::new(Role::Responder, random(2)),
            caller: Caller::new(key(), timing),
            listener: Listener::new(key(), None, OlderClock::Refused),
            network: Network {
                faults,
                rng: TestRng::from_seed(RngAlgorithm::ChaCha, &seed),
                under_way: BTreeMap::new(),
                number: 0,
                sent: Vec::new(),
                cut: false,
            },
            now_us: 0,
            sessions: 0,
        }
    }

    pub fn step(&mut self) {
        self.now_us += 100;
        // When all is quiet, time passes without a datagram.
        if self.network.under_way.is_empty() {
            self.now_us += 900;
        }
        self.host.queue();
        self.debuggee.queue();
        self.speak_as_debuggee();
        self.speak_as_host();
        while let Some((to, datagram)) = self.network.get(self.now_us) {
            match to {
                To::Host => self.reach_host(datagram),
                To::Debuggee => self.reach_debuggee(datagram),
            }
        }
    }

    fn speak_as_debuggee(&mut self) {
        let mut out = [0; DATAGRAM_BYTES];
        loop {
            let random = self.debuggee.random();
            let len = self
                .caller
                .poll(self.now_us, self.now_us / 1000, &random, &mut out);
            if len == 0 {
                break;
            }
            self.network.put(To::Host, &out[..len], self.now_us);
        }
        while self.caller.is_connected() {
            let bytes = self.debuggee.pull(self.now_us);
            if bytes.is_empty() {
                break;
            }
            let random = self.debuggee.random();
            let len = self.caller.seal(&bytes, self.now_us, &random, &mut out);
            self.network.put(To::Host, &out[..len], self.now_us);
        }
    }

    fn speak_as_host(&mut self) {
        let mut out = [0; DATAGRAM_BYTES];
        while self.listener.is_connected() {
            let bytes = self.host.pull(self.now_us);
            if bytes.is_empty() {
                break;
            }
            let random = self.host.random();
            let len = self.listener.seal(&bytes, &random, &mut out);
            self.network.put(To::Debuggee, &out[..len], self.now_us);
        }
    }

    fn reach_host(&mut self, mut datagram: Vec<u8>) {
        let mut out = [0; DATAGRAM_BYTES];
        let random = self.host.random();
        let answer_bytes = match self.listener.take(&mut datagram, &random, &mut out) {
            Heard::Dropped(_) => 0,
            Heard::Call { answer_bytes, .. } => answer_bytes,
            Heard::Debuggee {
                bytes,
                answer_bytes,
                begins,
                ..
            } => {
                self.sessions += u32::from(begins.is_some());
                self.host.push(bytes, self.now_us);
                answer_bytes
            }
        };
        if answer_bytes > 0 {
            let answer = &out[..answer_bytes];
            self.network.put(To::Debuggee, answer, self.now_us);
        }
    }

    fn reach_debuggee(&mut self, mut datagram: Vec<u8>) {
        if let Taken::Bytes(bytes) = self.caller.take(&mut datagram, self.now_us) {
            self.debuggee.push(bytes, self.now_us);
        }
    }

    /// What either end dropped.
    pub fn dropped(&self) -> [Dropped; 2] {
        [self.listener.dropped(), self.caller.dropped()]
    }
}
