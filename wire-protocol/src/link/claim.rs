//! Whose the debuggee is, where several hosts reach it by one line. A host that proposes a session while there is one is let
//! in when it is the same host, when it takes over, or when the host of the session does not answer; else it is refused.
//! A host that lost its session to another one is told so.

use super::{Incoming, Link, Role, WIRE_BYTES};
use crate::frame::{Counts, Flags};
use nom::IResult;
use nom::Parser;
use nom::combinator::{all_consuming, opt};
use nom::number::complete::{le_u16, le_u32};

/// How often a host is asked whether it is there, before it counts as gone: a line may lose the question, or its answer.
const QUESTIONS: u8 = 3;

/// A proposal that waits for what the host of the session says.
#[derive(Clone, Copy, Debug)]
pub(super) struct Claim {
    nonce: u32,
    questions_left: u8,
    /// When the next question is due, or the wait is over. Not while a question is on its way out.
    due_us: Option<u64>,
}

/// What two ends tell each other of whose the debuggee is.
#[derive(Debug, Default)]
pub(super) struct Ownership {
    /// Initiator: the last session that it had.
    pub(super) former: Option<u32>,
    /// Initiator: whoever has the debuggee loses it.
    pub(super) takes_over: bool,
    /// Initiator: for how many seconds another host had the debuggee when this one was refused.
    pub(super) busy_s: u32,
    pub(super) claim: Option<Claim>,
    /// Responder: who is refused.
    pub(super) refused: Option<u32>,
    /// Responder: who is told that its session is over.
    pub(super) displaced_told: Option<u32>,
    /// Responder: the session before this one, and what its next frame counts.
    pub(super) displaced: Option<(u32, Counts)>,
    /// Responder: when the session began.
    pub(super) since_us: u64,
    /// Responder: its host has left.
    pub(super) has_left: bool,
    /// Initiator: it was asked whether it is there.
    pub(super) pong_wanted: bool,
    /// Initiator: it says that it leaves.
    pub(super) leave_wanted: bool,
}

/// A session's number in two bytes: with four, a proposal would be longer than what a serial port takes unread.
pub(super) const fn folded(session: u32) -> u16 {
    let [a, b, c, d] = session.to_le_bytes();
    u16::from_le_bytes([a ^ c, b ^ d])
}

/// A proposal: its number, and that of the session that the host had before, folded.
fn proposal(payload: &[u8]) -> Option<(u32, Option<u16>)> {
    let parsed: IResult<&[u8], _> = all_consuming((le_u32, opt(le_u16))).parse(payload);
    parsed.ok().map(|(_, proposal)| proposal)
}

/// An agreement: the number, and for how many seconds another host has had the debuggee.
pub(super) fn agreement(payload: &[u8]) -> Option<(u32, Option<u32>)> {
    let parsed: IResult<&[u8], _> = all_consuming((le_u32, opt(le_u32))).parse(payload);
    parsed.ok().map(|(_, agreement)| agreement)
}

impl Link<'_> {
    /// Initiator: starts a session as [`Link::connect`] does, and takes the debuggee from the host that has it.
    pub fn take_over(&mut self, nonce: u32) {
        self.connect(nonce);
        self.ownership.takes_over = true;
    }

    /// Initiator: says that nobody answers here from now on, so that the next host need not wait.
    pub fn leave(&mut self) {
        if self.is_connected() {
            self.ownership.leave_wanted = true;
        }
    }

    /// After [`Incoming::Busy`]: seconds for which another host had had the debuggee.
    #[must_use]
    pub const fn busy_s(&self) -> u32 {
        self.ownership.busy_s
    }

    /// Responder: a host proposes a session.
    pub(super) fn proposed(&mut self, flags: Flags, payload: &[u8], now_us: u64) -> Option<()> {
        let (nonce, former) = proposal(payload)?;
        let is_known = self.session == Some(nonce) || self.proposed == Some(nonce);
        let is_free = self.session.is_none() || self.ownership.has_left;
        let is_same_host = former.is_some() && former == self.session.map(folded);
        if is_known || is_free || is_same_host || flags.contains(Flags::TAKE_OVER) {
            self.let_in(nonce);
        } else if self
            .ownership
            .claim
            .is_none_or(|claim| claim.nonce != nonce)
        {
            self.ownership.claim = Some(Claim {
                nonce,
                questions_left: QUESTIONS,
                due_us: Some(now_us),
            });
        }
        Some(())
    }

    fn let_in(&mut self, nonce: u32) {
        if self.session != Some(nonce) {
            self.proposed = Some(nonce);
        }
        self.ownership.claim = None;
        self.syn_ack_wanted = Some(nonce);
    }

    /// Responder: the host of the session is there; who wants the debuggee is refused.
    pub(super) fn answered(&mut self) {
        if let Some(claim) = self.ownership.claim.take() {
            self.ownership.refused = Some(claim.nonce);
        }
    }

    /// Responder: what the proposal that waits is due for. True if that is a question.
    pub(super) fn asks(&mut self, now_us: u64) -> bool {
        let Some(claim) = &mut self.ownership.claim else {
            return false;
        };
        if claim.due_us.is_none_or(|due_us| now_us < due_us) {
            return false;
        }
        let Some(left) = claim.questions_left.checked_sub(1) else {
            let nonce = claim.nonce;
            self.let_in(nonce);
            return false;
        };
        claim.questions_left = left;
        claim.due_us = None;
        true
    }

    /// Responder: the question is out.
    pub(super) fn asked(&mut self, now_us: u64) {
        // The host may be in the middle of a long frame.
        let patience_us =
            self.timing.answer_us + self.timing.line_us(WIRE_BYTES) / u64::from(QUESTIONS);
        if let Some(claim) = &mut self.ownership.claim
            && claim.due_us.is_none()
        {
            claim.due_us = Some(now_us.saturating_add(patience_us));
        }
    }

    pub(super) fn claim_due_us(&self) -> Option<u64> {
        self.ownership.claim?.due_us
    }

    /// Responder: a session replaces the one before, whose host hears of it.
    pub(super) fn displace(&mut self, now_us: u64) {
        let counts = Counts {
            sequence: self.receiver.expected(),
            acknowledged: self.sender.oldest(),
        };
        self.ownership = Ownership {
            displaced: self.session.map(|session| (session, counts)),
            displaced_told: self.session,
            since_us: now_us,
            ..Ownership::default()
        };
    }

    /// Responder: a frame of no session that is known. Its host is told that it is over, or greeted as one that missed that
    /// the driver was loaded.
    pub(super) fn of_no_session(&mut self) -> bool {
        // Behind a proposal it would end the session that is just beginning.
        if self.role == Role::Responder && self.session.is_none() && self.proposed.is_none() {
            self.break_in_wanted = true;
        }
        match self.ownership.displaced {
            Some((session, near)) if self.decoder.open(session, near).is_some() => {
                self.ownership.displaced_told = Some(session);
                true
            }
            _ => false,
        }
    }

    /// Initiator: the debuggee tells whose it is.
    pub(super) fn told_of_others(
        &mut self,
        flags: Flags,
        nonce: u32,
        seconds: Option<u32>,
    ) -> Option<Incoming> {
        if self.session != Some(nonce) {
            return None;
        }
        let incoming = match (flags.contains(Flags::TAKEN), self.connecting) {
            (false, true) => {
                self.ownership.busy_s = seconds.unwrap_or_default();
                Incoming::Busy
            }
            (true, false) => Incoming::TakenOver,
            _ => return None,
        };
        let busy_s = self.ownership.busy_s;
        self.start_session(nonce);
        self.session = None;
        self.connecting = false;
        self.syn_wanted = false;
        self.ownership = Ownership {
            busy_s,
            ..Ownership::default()
        };
        Some(incoming)
    }

    /// Takes what the flags of an acknowledgement say of the host.
    pub(super) fn take_presence(&mut self, flags: Flags, now_us: u64) {
        let asks = flags.contains(Flags::PING);
        let answers = flags.contains(Flags::PONG);
        match (asks, answers) {
            (true, true) => self.ownership.has_left = true,
            (true, false) => {
                self.ownership.pong_wanted = true;
                self.ack_due_us = Some(now_us);
            }
            (false, true) => self.answered(),
            (false, false) => {}
        }
    }

    /// What the next acknowledgement says of the host.
    pub(super) fn presence(&mut self, asks: bool) -> Flags {
        let leaves = core::mem::take(&mut self.ownership.leave_wanted);
        let answers = core::mem::take(&mut self.ownership.pong_wanted);
        let mut flags = Flags::empty();
        flags.set(Flags::PING, asks || leaves);
        flags.set(Flags::PONG, answers || leaves);
        flags
    }

    /// Whether the next frame must say something of the host.
    pub(super) const fn has_presence(&self) -> bool {
        self.ownership.pong_wanted || self.ownership.leave_wanted
    }
}

#[cfg(test)]
#[path = "claim_tests.rs"]
mod tests;
