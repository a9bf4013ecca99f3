//! How fast the line runs: both ends go to the highest rate that it carries, and find each other again when it carries
//! that no longer, or when one of them began at another rate.
//!
//! The initiator leads: it asks the responder for a rate, both change, and 256 bytes go there and back three times. Whoever
//! does not hear what it should goes back to the rate before by itself. After the session has begun that is done rate by
//! rate, upwards, until one fails. The responder follows; if nothing but garbage comes it returns to the rate that it
//! began at, where the initiator looks for it.
//!
//! What is said for this are frames like those of the handshake, with [`crate::frame::Flags::PART`]. They are neither
//! counted nor repeated by the link; while a rate is on trial, no others go out.

mod follower;
mod hearing;
mod leader;
mod order;
#[cfg(test)]
mod tests;

use super::{Flags, Header, Kind, Link, Role};
use crate::baud;
use crate::frame::{self, Counts, WIRE_BYTES};
pub use crate::transport::Rates;
use follower::Follower;
use hearing::Hearing;
use leader::Leader;
use order::{Answer, Here, Order};

/// What the initiator found out about the line's rate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RateNews {
    /// The responder was not at the rate that the line was opened with.
    Elsewhere {
        /// That rate.
        asked_hz: u32,
        /// Where it was found.
        found_hz: u32,
    },
    /// Bytes come, but they are no frames at any rate that was tried.
    Nowhere {
        /// The rate that the line was opened with.
        asked_hz: u32,
        /// How many others were tried.
        tried: u32,
    },
    /// The line no longer carried a rate.
    Lowered {
        /// The rate.
        from_hz: u32,
        /// Where it goes on.
        to_hz: u32,
    },
}

/// Whether a rate can be used was tried and decided.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RateState {
    /// The rate of the line; 0 if it has none.
    pub baud_hz: u32,
    /// The lowest one that did not get through; 0 if none was tried in vain.
    pub failed_hz: u32,
}

/// This end's part in it.
#[derive(Debug)]
pub(super) enum Pace {
    Leader(Leader),
    Follower(Follower),
}

impl Pace {
    pub(super) fn new(role: Role) -> Self {
        match role {
            Role::Initiator => Self::Leader(Leader::default()),
            Role::Responder => Self::Follower(Follower::default()),
        }
    }

    fn hearing(&mut self) -> &mut Hearing {
        match self {
            Self::Leader(leader) => &mut leader.hearing,
            Self::Follower(follower) => &mut follower.hearing,
        }
    }

    /// A session begins, or is asked for.
    pub(super) fn restart(&mut self) {
        match self {
            Self::Leader(leader) => leader.restart(),
            Self::Follower(follower) => follower.restart(),
        }
    }

    /// Both ends have agreed on one.
    pub(super) fn connected(&mut self, now_us: u64) {
        if let Self::Leader(leader) = self {
            leader.connected(now_us);
        }
    }

    /// Says where it is, in no session.
    pub(super) fn call(&mut self, now_us: u64) {
        if let Self::Follower(follower) = self {
            follower.call(now_us);
        }
    }

    /// A byte came.
    pub(super) fn byte(&mut self, now_us: u64) {
        self.hearing().byte(now_us);
    }

    /// What came was for this end.
    pub(super) fn good(&mut self, now_us: u64) {
        self.hearing().good(now_us);
        if let Self::Leader(leader) = self {
            leader.good(now_us);
        }
    }

    /// What came was damaged.
    pub(super) fn broken(&mut self, now_us: u64) {
        self.hearing().broken(now_us);
    }

    /// Nothing but what concerns the rate goes out now.
    pub(super) fn holds(&self) -> bool {
        match self {
            Self::Leader(leader) => leader.holds(),
            Self::Follower(follower) => follower.holds(),
        }
    }

    /// When [`Link::pull`] has something to do for it.
    pub(super) fn deadline_us(&self) -> Option<u64> {
        match self {
            Self::Leader(leader) => leader.deadline_us(),
            // It is polled anyway.
            Self::Follower(_) => None,
        }
    }

    /// The rate to change to.
    pub(super) fn wanted_hz(&self) -> Option<u32> {
        match self {
            Self::Leader(leader) => leader.wanted_hz(),
            Self::Follower(follower) => follower.wanted_hz(),
        }
    }
}

impl Link<'_> {
    /// The transport runs at a rate, which can be changed by [`Self::wanted_rate`]. Before anything is said.
    pub fn use_rates(&mut self, rates: Rates) {
        match &mut self.rate {
            Pace::Leader(leader) => leader.begin(rates),
            Pace::Follower(follower) => follower.begin(rates),
        }
        self.timing.byte_time_ns = baud::byte_time_ns(rates.baud_hz);
    }

    /// The transport is to run at this rate once all that was pulled has left; nothing is pulled until [`Self::rate_is`].
    #[must_use]
    pub fn wanted_rate(&self) -> Option<u32> {
        let is_out = self.wire_at == self.wire_len;
        self.rate.wanted_hz().filter(|_| is_out)
    }

    /// The transport runs at this rate now: the one that was wanted, or the one before if it does not take that.
    pub fn rate_is(&mut self, baud_hz: u32, now_us: u64) {
        self.timing.byte_time_ns = baud::byte_time_ns(baud_hz);
        match &mut self.rate {
            Pace::Follower(follower) => follower.rate_is(baud_hz, now_us),
            Pace::Leader(leader) => {
                let wants_syn = leader.rate_is(baud_hz, now_us, self.timing);
                self.syn_wanted |= wants_syn && self.connecting;
            }
        }
    }

    /// How it stands with the rate.
    #[must_use]
    pub fn rate_state(&self) -> RateState {
        match &self.rate {
            Pace::Leader(leader) => leader.state(),
            Pace::Follower(follower) => RateState {
                baud_hz: follower.baud_hz(),
                failed_hz: 0,
            },
        }
    }

    /// What is to be told of it.
    pub fn take_rate_news(&mut self) -> Option<RateNews> {
        match &mut self.rate {
            Pace::Leader(leader) => leader.take_news(),
            Pace::Follower(_) => None,
        }
    }

    /// The initiator leaves: who comes after it looks for the responder where it was at first.
    pub fn leave_rate(&mut self) {
        if let Pace::Leader(leader) = &mut self.rate {
            leader.leave();
        }
    }

    /// Sends what is to be said of the rate. `Some` if nothing else may be sent now.
    pub(super) fn begin_rate_frame(&mut self, now_us: u64) -> Option<Option<()>> {
        let introduces = self.introduces(now_us);
        let (kind, session, words) = match &mut self.rate {
            Pace::Leader(leader) => {
                let in_session = self.session.filter(|_| !self.connecting);
                leader.tick(self.timing, now_us);
                if introduces {
                    return None;
                }
                // Who leaves does so at the rate of now.
                let order = if self.ownership.leave_wanted {
                    None
                } else {
                    leader.take_order()
                };
                if order.is_some() && !self.confirmed {
                    // If it is not answered, the frame that the session begins with was lost.
                    self.ack_due_us = Some(now_us);
                }
                (Kind::Syn, in_session, order.map(Order::words))
            }
            Pace::Follower(follower) => {
                follower.tick(self.timing, now_us);
                match follower.take_answer() {
                    Some((answer, true)) => (Kind::SynAck, self.session, Some(answer.words())),
                    Some((answer, false)) => (Kind::SynAck, Some(0), Some(answer.words())),
                    None => (Kind::SynAck, None, None),
                }
            }
        };
        if let (Some(session), Some(words)) = (session, words) {
            let header = Header {
                kind,
                flags: Flags::PART,
                counts: Counts::default(),
            };
            let len = frame::encode(header, session, words.pieces(), self.wire);
            return Some(self.wire_is(len));
        }
        self.is_held(now_us).then_some(None)
    }

    /// Nothing but what concerns the rate, and the frame that a session begins with, goes out now.
    pub(super) fn is_held(&self, now_us: u64) -> bool {
        let is_changing = self.rate.wanted_hz().is_some();
        is_changing || self.rate.holds() && !self.introduces(now_us)
    }

    /// Takes a frame about the rate. `None`: it is damaged, or not for this end.
    pub(super) fn receive_about_rate(&mut self, now_us: u64) -> Option<()> {
        let near = Counts::default();
        let in_session = self.session.and_then(|it| self.decoder.open(it, near));
        let is_in_session = in_session.is_some();
        let frame = in_session.or_else(|| self.decoder.open(0, near))?;
        match &mut self.rate {
            Pace::Follower(follower) if is_in_session => {
                let (_, order) = order::order(frame.payload).ok()?;
                follower.take(order, now_us);
            }
            Pace::Follower(_) => return None,
            Pace::Leader(leader) => {
                let (_, answer) = order::answer(frame.payload).ok()?;
                if is_in_session {
                    leader.take(answer, self.timing, now_us);
                } else {
                    // Who says where it is has not understood the proposal.
                    self.syn_wanted |= self.connecting;
                }
            }
        }
        Some(())
    }

    /// Nothing was answered for long.
    pub(super) fn rate_may_be_wrong(&mut self, now_us: u64) {
        if let Pace::Leader(leader) = &mut self.rate {
            leader.silent(self.timing, now_us);
        }
    }
}

/// Time of the longest frame.
fn longest_us(timing: super::Timing) -> u64 {
    timing.line_us(WIRE_BYTES)
}
