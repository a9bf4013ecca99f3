//! Two links and the line between them, in memory.
#![allow(
    dead_code,
    unused_imports,
    reason = "each test file takes what it needs"
)]
#![allow(unreachable_pub, reason = "shared by test files as a module")]

pub mod scene;
pub mod values;

use wire_protocol::link::{Incoming, Link, Role, Storage, Timing};

/// 115,200 baud.
pub const SERIAL: Timing = Timing {
    retry_us: 200_000,
    ack_delay_us: 20_000,
    answer_us: 500_000,
    byte_time_ns: 86_806,
};

/// A link whose memory lives as long as the test program.
pub fn link(role: Role, timing: Timing) -> Link<'static> {
    let memory = Box::leak(vec![0; Storage::BYTES].into_boxed_slice());
    Link::new(role, Storage::carve(memory).expect("enough"), timing)
}

/// Both ends of a line that loses nothing.
pub struct Pair {
    pub host: Link<'static>,
    pub debuggee: Link<'static>,
    pub now_us: u64,
    /// Bytes on the wire, both directions.
    pub bytes: usize,
    pub to_host: Vec<Vec<u8>>,
    pub to_debuggee: Vec<Vec<u8>>,
    pub break_ins: usize,
}

impl Pair {
    /// With a session, and nothing under way.
    pub fn connected() -> Self {
        let mut pair = Self {
            host: link(Role::Initiator, SERIAL),
            debuggee: link(Role::Responder, SERIAL),
            now_us: 0,
            bytes: 0,
            to_host: Vec::new(),
            to_debuggee: Vec::new(),
            break_ins: 0,
        };
        pair.host.connect(0x5eed_1234);
        pair.settle();
        assert!(pair.host.is_connected() && pair.debuggee.is_connected());
        pair
    }

    /// Moves bytes at line rate until neither end has anything left to say, and until `answer`,
    /// which sees each message that reached the debuggee, has been heard.
    pub fn settle_with(&mut self, mut answer: impl FnMut(&[u8]) -> Option<Vec<u8>>) {
        while !(self.host.is_idle() && self.debuggee.is_idle()) {
            let from_host = self.host.pull(self.now_us);
            let from_debuggee = self.debuggee.pull(self.now_us);
            self.now_us += 87;
            self.bytes += usize::from(from_host.is_some()) + usize::from(from_debuggee.is_some());
            if let Some(byte) = from_host {
                match self.debuggee.push(byte, self.now_us) {
                    Some(Incoming::BreakIn) => self.break_ins += 1,
                    Some(Incoming::Message) => {
                        let message = self.debuggee.message().to_vec();
                        self.debuggee.release();
                        if let Some(reply) = answer(&message) {
                            self.debuggee.send(&reply).expect("room");
                        }
                        self.to_debuggee.push(message);
                    }
                    Some(Incoming::Connected | Incoming::Busy | Incoming::TakenOver) | None => {}
                }
            }
            if let Some(byte) = from_debuggee
                && self.host.push(byte, self.now_us) == Some(Incoming::Message)
            {
                self.to_host.push(self.host.message().to_vec());
                self.host.release();
            }
        }
    }

    pub fn settle(&mut self) {
        self.settle_with(|_| None);
    }
}
