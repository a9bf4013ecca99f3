//! From the line to messages.

use super::{Completed, Kind, WINDOW_FRAMES};
use super::{Incoming, Link, Reception, Role};
use crate::frame::Flags;

impl Link<'_> {
    /// Takes one byte from the line.
    pub fn push(&mut self, byte: u8, now_us: u64) -> Option<Incoming> {
        self.last_byte_us = now_us;
        self.statistics.received_bytes += 1;
        match self.decoder.push(byte)? {
            Completed::BreakIn => {
                self.statistics.break_ins += 1;
                if self.connecting {
                    // Who greets has not seen the proposal.
                    self.syn_wanted = true;
                    return None;
                }
                Some(Incoming::BreakIn)
            }
            Completed::Broken => {
                self.statistics.broken_frames += 1;
                None
            }
            Completed::Frame => {
                let opened = self.receive(now_us);
                let count = match opened {
                    Some(_) => &mut self.statistics.received_frames,
                    None => &mut self.statistics.broken_frames,
                };
                *count += 1;
                opened?
            }
        }
    }

    /// `None`: the frame is damaged, or not for this end.
    fn receive(&mut self, now_us: u64) -> Option<Option<Incoming>> {
        match (self.decoder.header()?.kind, self.role) {
            (Kind::Syn, Role::Responder) => {
                let nonce = self.open_nonce()?;
                if self.session != Some(nonce) {
                    self.proposed = Some(nonce);
                }
                self.syn_ack_wanted = Some(nonce);
                Some(None)
            }
            (Kind::SynAck, Role::Initiator) => {
                let nonce = self.open_nonce()?;
                Some(self.agreed(nonce, now_us))
            }
            (Kind::Data | Kind::Ack, _) => self.receive_in_session(now_us),
            (Kind::Syn | Kind::SynAck, _) => None,
        }
    }

    fn open_nonce(&self) -> Option<u32> {
        let frame = self.decoder.open(0)?;
        frame.payload.try_into().ok().map(u32::from_le_bytes)
    }

    fn agreed(&mut self, nonce: u32, now_us: u64) -> Option<Incoming> {
        if self.session != Some(nonce) {
            return None;
        }
        // The responder starts the session with the first frame of it: send one, whatever it is.
        self.ack_due_us = Some(now_us);
        if !self.connecting {
            return None;
        }
        self.connecting = false;
        self.syn_wanted = false;
        self.retry_at_us = None;
        self.back_off = 0;
        self.statistics.sessions += 1;
        Some(Incoming::Connected)
    }

    fn receive_in_session(&mut self, now_us: u64) -> Option<Option<Incoming>> {
        if self.connecting {
            return None;
        }
        if let Some(frame) = self.session.and_then(|session| self.decoder.open(session)) {
            self.confirmed = true;
            if self.sender.acknowledge(frame.header.acknowledged) {
                self.back_off = 0;
                self.retry_at_us = self.sender.is_waiting().then(|| {
                    self.timing
                        .retry_at_us(now_us, self.sender.waiting_bytes(), 0)
                });
            }
            if frame.header.flags.contains(Flags::AGAIN) && self.sender.is_waiting() {
                self.sender.rewind();
            }
            return Some(match frame.header.kind {
                Kind::Data => {
                    let taken = self.receiver.take(&frame);
                    self.account(taken, now_us)
                }
                _ => None,
            });
        }
        let proposed = self.proposed?;
        let has_data = self.decoder.open(proposed)?.header.kind == Kind::Data;
        self.start_session(proposed);
        self.confirmed = true;
        self.statistics.sessions += 1;
        if has_data {
            // One byte brings one thing about: the data has to come again.
            self.again_wanted = true;
            self.ack_due_us = Some(now_us);
        }
        Some(Some(Incoming::Connected))
    }

    /// Draws the consequences of a data frame for acknowledgements.
    fn account(&mut self, taken: Reception, now_us: u64) -> Option<Incoming> {
        match taken {
            Reception::Fragment | Reception::Message | Reception::Discarded => {
                self.again_reported = false;
                self.again_wanted = false;
                self.unacknowledged_frames += 1;
                let wait_us = if self.unacknowledged_frames * 2 < WINDOW_FRAMES {
                    self.timing.ack_delay_us
                } else {
                    0
                };
                let due_us = now_us.saturating_add(wait_us);
                self.ack_due_us = Some(self.ack_due_us.map_or(due_us, |due| due.min(due_us)));
            }
            Reception::Duplicate => {
                self.statistics.duplicate_frames += 1;
                self.ack_due_us = Some(now_us);
            }
            Reception::Gap => {
                self.statistics.gap_frames += 1;
                if !self.again_reported {
                    self.again_wanted = true;
                    self.ack_due_us = Some(now_us);
                }
            }
            Reception::Busy => {
                self.statistics.busy_frames += 1;
                self.was_busy = true;
            }
        }
        match taken {
            Reception::Message => Some(Incoming::Message),
            Reception::Discarded => {
                self.statistics.discarded_messages += 1;
                None
            }
            _ => None,
        }
    }
}
