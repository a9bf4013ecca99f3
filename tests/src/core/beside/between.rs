//! The core's host, which stands between the core and the real one: it says what it is given to say and keeps what it hears.

use super::super::line::{Heard, Host, HostEnd};
use super::super::memory::{GuestMemory, Piece, Skims};
use super::super::recording::Log;
use super::super::skims_through;
use super::{Memory, REST};
use debugger_host::recording::input::{Input, LINE_BYTES};
use std::collections::VecDeque;
use std::time::Duration;
use wire_protocol::address::{CoreId, GuestVirtual};
use wire_protocol::packet::{Message, Notice, Request, StopCause};

/// What the core is told next.
pub(super) enum Told {
    Connect,
    BreakIn,
    Message(Vec<u8>),
}

/// See the module.
pub(super) struct Between {
    /// What it is to say, in order.
    pub(super) told: VecDeque<Told>,
    /// What the real host was not told yet.
    pub(super) heard: VecDeque<Vec<u8>>,
    /// Halts that it heard of.
    pub(super) halts: usize,
    /// The core has taken all that was said.
    pub(super) is_idle: bool,
    /// The core stands still, and looks at its line all the time.
    is_halted: bool,
    log: Log,
    skims: Skims,
    sessions: u32,
}

impl Between {
    pub(super) const fn new(log: Log, skims: Skims) -> Self {
        Self {
            told: VecDeque::new(),
            heard: VecDeque::new(),
            halts: 0,
            is_idle: true,
            is_halted: false,
            log,
            skims,
            sessions: 0,
        }
    }

    /// The last thing that it heard which is so.
    pub(super) fn last(&self, is_so: impl Fn(&[u8]) -> bool) -> Option<Vec<u8>> {
        self.heard.iter().rev().find(|said| is_so(said)).cloned()
    }
}

impl Host for Between {
    fn look(&mut self, end: &mut HostEnd) {
        self.is_idle = end.is_idle();
        if !self.is_idle {
            return;
        }
        let Some(told) = self.told.pop_front() else {
            return;
        };
        self.is_idle = false;
        self.log.heard();
        match told {
            Told::Connect => {
                self.sessions += 1;
                end.connect(self.sessions);
            }
            Told::BreakIn => end.break_in(),
            Told::Message(message) => {
                self.is_halted &= !is_go(&message);
                self.skims.set(skims_through(&message));
                end.send(&message);
            }
        }
    }

    fn hear(&mut self, heard: Heard) {
        if let Heard::Message(message) = heard {
            self.log.said(&message);
            if cause(&message, GuestVirtual(0)).is_some() {
                self.halts += 1;
                self.is_halted = true;
            }
            self.heard.push_back(message);
        }
    }

    fn rest(&self) -> Option<Duration> {
        (self.is_halted && self.is_idle && self.told.is_empty()).then_some(REST)
    }
}

/// Memory of the real machine, written down as it is looked at.
pub(super) struct NotedLines {
    pub(super) memory: Memory,
    pub(super) log: Log,
}

impl NotedLines {
    fn now(&mut self, line: u64) -> [u8; LINE_BYTES] {
        let mut now = [0; LINE_BYTES];
        (self.memory)(line, &mut now);
        now
    }
}

impl GuestMemory for NotedLines {
    fn first(&mut self, line: u64) -> Piece {
        let now = self.now(line);
        self.log.took(Input::line(line, &now));
        Piece {
            at: line,
            len_bytes: LINE_BYTES,
            bytes: now.to_vec(),
        }
    }

    fn again(&mut self, line: u64, then: &[u8]) -> Option<Vec<u8>> {
        let now = self.now(line);
        if now == then {
            return None;
        }
        self.log.took(Input::line(line, &now));
        Some(now.to_vec())
    }
}

/// The cause of a halt that a message tells of.
pub(super) fn cause(message: &[u8], base: GuestVirtual) -> Option<(StopCause, CoreId)> {
    match Message::decode(message, base) {
        Ok(Message::Notice(Notice::Stopped(stop))) => Some((stop.cause, stop.core)),
        _ => None,
    }
}

/// Whether it is the reply to the request of this number.
pub(super) fn is_reply_to(message: &[u8], number: u8, base: GuestVirtual) -> bool {
    matches!(Message::decode(message, base), Ok(Message::Reply { id, .. }) if id == number)
}

/// Whether it says that the driver leaves.
pub(super) fn is_goodbye(message: &[u8]) -> bool {
    let decoded = Message::decode(message, GuestVirtual(0));
    matches!(decoded, Ok(Message::Notice(Notice::Goodbye)))
}

fn is_go(message: &[u8]) -> bool {
    matches!(
        Request::decode(message, GuestVirtual(0)),
        Ok((_, Request::Go))
    )
}

/// What a message says that scripts printed.
pub(super) fn printed(message: &[u8], base: GuestVirtual) -> Option<Vec<String>> {
    match Message::decode(message, base) {
        Ok(Message::Notice(Notice::Messages(messages))) => {
            let core = messages.core;
            let texts = messages.iter();
            let texts =
                texts.map(|record| format!("{core:?} {:?} {:x?}", record.source, record.content));
            Some(texts.collect())
        }
        _ => None,
    }
}
