//! From messages to the line.

use super::cut::encode;
use super::{
    BACK_OFF_LIMIT, BREAK_IN, Flags, Header, Kind, Link, Role, Timing, WIRE_BYTES, claim, part,
};
use crate::frame::Counts;

impl Timing {
    pub(super) fn retry_at_us(&self, now_us: u64, waiting_bytes: usize, back_off: u32) -> u64 {
        now_us
            .saturating_add(self.line_us(waiting_bytes))
            .saturating_add(self.retry_us.saturating_mul(1 << back_off))
    }

    pub(super) fn line_us(&self, bytes: usize) -> u64 {
        (bytes as u64).saturating_mul(u64::from(self.byte_time_ns)) / 1000
    }
}

impl Link<'_> {
    /// Gives the next byte for the line; `None` when there is nothing to say now.
    pub fn pull(&mut self, now_us: u64) -> Option<u8> {
        let mut byte = [0];
        let count = self.pull_from_frame(&mut byte, now_us);
        let [byte] = byte;
        (count == 1).then_some(byte)
    }

    /// As many bytes as there are and fit; returns how many. Where datagrams carry them, no more than one does.
    pub fn pull_into(&mut self, bytes: &mut [u8], now_us: u64) -> usize {
        let mut count = 0;
        while let Some(room) = bytes.get_mut(count..).filter(|room| !room.is_empty()) {
            let more = self.pull_from_frame(room, now_us);
            count += more;
            if more == 0 || self.datagrams.is_some() && self.wire_at == self.wire_len {
                break;
            }
        }
        count
    }

    /// As many bytes of one frame as there are and fit.
    fn pull_from_frame(&mut self, bytes: &mut [u8], now_us: u64) -> usize {
        if self.wire_at == self.wire_len && self.begin_frame(now_us).is_none() {
            return 0;
        }
        let left = self.wire.get(self.wire_at..self.wire_len);
        let left = left.unwrap_or_default();
        let count = left.len().min(bytes.len());
        if let (Some(to), Some(from)) = (bytes.get_mut(..count), left.get(..count)) {
            to.copy_from_slice(from);
        }
        self.wire_at += count;
        self.statistics.sent_bytes += count as u64;
        if self.wire_at == self.wire_len && self.wire_starts_retry {
            let waiting = self.sender.waiting_bytes();
            self.retry_at_us = Some(self.timing.retry_at_us(now_us, waiting, self.back_off));
        }
        if self.wire_at == self.wire_len {
            self.asked(now_us);
        }
        count
    }

    /// Once [`Self::pull`] has nothing to say: when it will, if nothing comes in before.
    #[must_use]
    pub fn next_deadline_us(&self) -> Option<u64> {
        let ack_us = if self.connecting {
            None
        } else {
            self.ack_due_us
        };
        let rate_us = self.rate.deadline_us();
        if self.rate.holds() {
            return rate_us;
        }
        let retry_us = self.retry_due_us();
        let claim_us = self.claim_due_us();
        let due_us = ack_us.into_iter().chain(retry_us).chain(claim_us);
        due_us.chain(rate_us).min()
    }

    fn begin_frame(&mut self, now_us: u64) -> Option<()> {
        self.wire_starts_retry = false;
        if self.rate.wanted_hz().is_some() {
            return None;
        }
        if self.break_in_wanted {
            self.break_in_wanted = false;
            self.wire
                .get_mut(..BREAK_IN.len())?
                .copy_from_slice(&BREAK_IN);
            self.wire_at = 0;
            self.wire_len = BREAK_IN.len();
            return Some(());
        }
        if let Some(begun) = self.begin_rate_frame(now_us) {
            return begun;
        }
        if let Some(nonce) = self.syn_ack_wanted.take() {
            return self.begin_handshake(Kind::SynAck, Flags::empty(), nonce, &[]);
        }
        if let Some(nonce) = self.ownership.refused.take() {
            let seconds = now_us.saturating_sub(self.ownership.since_us) / 1_000_000;
            let seconds = u32::try_from(seconds).unwrap_or(u32::MAX);
            return self.begin_handshake(Kind::SynAck, Flags::BUSY, nonce, &seconds.to_le_bytes());
        }
        if let Some(nonce) = self.ownership.displaced_told.take() {
            return self.begin_handshake(Kind::SynAck, Flags::TAKEN, nonce, &[]);
        }
        self.check_retry(now_us);
        if self.is_held(now_us) {
            return None;
        }
        let asks = self.asks(now_us);
        if let Some(nonce) = self.syn_ack_wanted.take() {
            return self.begin_handshake(Kind::SynAck, Flags::empty(), nonce, &[]);
        }
        let session = self.session?;
        if self.syn_wanted {
            self.syn_wanted = false;
            self.wire_starts_retry = true;
            let mut flags = Flags::empty();
            flags.set(Flags::TAKE_OVER, self.ownership.takes_over);
            let former = self
                .ownership
                .former
                .map(|it| claim::folded(it).to_le_bytes());
            let former = former.as_ref().map_or(&[][..], |bytes| bytes);
            return self.begin_handshake(Kind::Syn, flags, session, former);
        }
        if self.connecting {
            return None;
        }
        self.begin_session_frame(session, asks, now_us)
    }

    fn begin_handshake(&mut self, kind: Kind, flags: Flags, nonce: u32, more: &[u8]) -> Option<()> {
        let header = Header {
            kind,
            flags,
            counts: Counts::default(),
        };
        let payload: [&[u8]; 3] = [&nonce.to_le_bytes(), more, &[]];
        let len = encode(self.datagrams.is_some(), header, 0, payload, self.wire);
        self.wire_is(len)
    }

    /// A responder takes the first frame of a session for its start and nothing else.
    pub(super) fn introduces(&self, now_us: u64) -> bool {
        let ack_is_due = self.ack_due_us.is_some_and(|due_us| due_us <= now_us);
        self.role == Role::Initiator
            && self.session.is_some()
            && !self.connecting
            && !self.confirmed
            && (ack_is_due || self.has_presence())
    }

    fn begin_session_frame(&mut self, session: u32, asks: bool, now_us: u64) -> Option<()> {
        let speaks_of_itself = asks || self.has_presence();
        let ack_is_due = speaks_of_itself || self.ack_due_us.is_some_and(|due| due <= now_us);
        let mut flags = Flags::empty();
        flags.set(Flags::AGAIN, self.again_wanted);
        let acknowledged = self.receiver.expected();
        let cut = self.cut();
        let is_datagram = self.datagrams.is_some();
        let outgoing = if self.introduces(now_us) || speaks_of_itself {
            None
        } else {
            self.sender.take_next(cut)
        };
        let len = if let Some(outgoing) = outgoing {
            self.wire_starts_retry = true;
            self.statistics.repeated_frames += u64::from(outgoing.repeated);
            flags.set(Flags::PART, outgoing.head.is_some());
            let header = Header {
                kind: Kind::Data,
                flags: flags | outgoing.record.flags,
                counts: Counts {
                    sequence: outgoing.sequence,
                    acknowledged,
                },
            };
            let head = outgoing.head.as_ref().map_or(&[][..], |head| head);
            let (first, second) = outgoing.record.payload;
            encode(
                is_datagram,
                header,
                session,
                [head, first, second],
                self.wire,
            )
        } else if ack_is_due {
            let there = self.receiver.part_bytes();
            flags.set(Flags::PART, there > 0);
            flags |= self.presence(asks);
            let header = Header {
                kind: Kind::Ack,
                flags,
                counts: Counts {
                    sequence: 0,
                    acknowledged,
                },
            };
            let progress = part::progress_bytes(there);
            let progress = if there > 0 { &progress[..] } else { &[] };
            encode(
                is_datagram,
                header,
                session,
                [progress, &[], &[]],
                self.wire,
            )
        } else {
            return None;
        };
        self.ack_due_us = None;
        self.unacknowledged_frames = 0;
        self.again_reported |= self.again_wanted;
        self.again_wanted = false;
        self.wire_is(len)
    }

    pub(super) fn wire_is(&mut self, len: usize) -> Option<()> {
        self.wire_at = 0;
        self.wire_len = len;
        self.statistics.sent_frames += 1;
        Some(())
    }

    /// When it is time, everything unacknowledged goes out once more.
    fn check_retry(&mut self, now_us: u64) {
        if self.retry_due_us().is_none_or(|due_us| now_us < due_us) {
            return;
        }
        self.retry_at_us = None;
        // The first time the other side, or this one, may only have been late.
        if self.back_off > 0 && self.sender.is_waiting() {
            self.quality.lost();
        }
        if self.back_off > 0 {
            self.rate_may_be_wrong(now_us);
        }
        self.back_off = (self.back_off + 1).min(BACK_OFF_LIMIT);
        self.sender.rewind();
        // Without a frame from the other side, the session itself may not have come about.
        self.syn_wanted |= self.role == Role::Initiator && !self.confirmed;
    }

    /// The retry time, or later while a frame comes in: it may hold the acknowledgement. Garbage
    /// can look like one, so that is not believed for longer than the longest frame takes.
    fn retry_due_us(&self) -> Option<u64> {
        let retry_at_us = self.retry_at_us?;
        if !self.decoder.is_inside() {
            return Some(retry_at_us);
        }
        let patience_us = self.timing.line_us(WIRE_BYTES);
        let quiet_at_us = self.last_byte_us.saturating_add(self.timing.retry_us);
        let latest_us = retry_at_us.saturating_add(patience_us);
        Some(quiet_at_us.min(latest_us).max(retry_at_us))
    }
}
