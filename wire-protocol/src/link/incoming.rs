//! From the line to messages.

use super::{Completed, Kind};
use super::{DAMAGE_REPORTS, Incoming, Link, Reception, Role, claim, part};
use crate::frame::{Counts, Flags, Header};

impl Link<'_> {
    /// Takes one byte from the line.
    pub fn push(&mut self, byte: u8, now_us: u64) -> Option<Incoming> {
        self.last_byte_us = now_us;
        self.statistics.received_bytes += 1;
        self.rate.byte(now_us);
        let completed = self.decoder.push(byte)?;
        self.completed(completed, now_us)
    }

    /// Takes what one datagram carried, where the transport moves those.
    pub fn take(&mut self, datagram: &[u8], now_us: u64) -> Option<Incoming> {
        self.last_byte_us = now_us;
        self.statistics.received_bytes += datagram.len() as u64;
        let completed = self.decoder.take(datagram);
        self.completed(completed, now_us)
    }

    fn completed(&mut self, completed: Completed, now_us: u64) -> Option<Incoming> {
        match completed {
            Completed::BreakIn => {
                self.statistics.break_ins += 1;
                self.rate.good(now_us);
                if self.connecting {
                    // Who greets has not seen the proposal.
                    self.syn_wanted = true;
                    return None;
                }
                Some(Incoming::BreakIn)
            }
            Completed::Broken => {
                self.take_damaged(now_us);
                None
            }
            Completed::Frame => {
                let opened = self.receive(now_us);
                if opened.is_some() {
                    self.statistics.received_frames += 1;
                    self.rate.good(now_us);
                    self.damage_reports = 0;
                } else {
                    self.take_damaged(now_us);
                }
                opened?
            }
        }
    }

    /// What was no frame of the session was one before the line damaged it, as a rule, and the other side sends it again
    /// at once if it is asked to. Not for long: two ends that understand nothing would tell each other so for ever.
    fn take_damaged(&mut self, now_us: u64) {
        self.statistics.broken_frames += 1;
        self.rate.broken(now_us);
        // What comes behind a damaged frame says more.
        let is_told = self.again_reported && self.gap.is_some();
        if self.is_connected() && !is_told && self.damage_reports < DAMAGE_REPORTS {
            self.damage_reports += 1;
            self.again_wanted = true;
            self.ack_due_us = Some(now_us);
        }
    }

    /// `None`: the frame is damaged, or not for this end.
    fn receive(&mut self, now_us: u64) -> Option<Option<Incoming>> {
        let Header { kind, flags, .. } = self.decoder.header()?;
        let is_about_rate = flags.contains(Flags::PART);
        match (kind, self.role) {
            (Kind::Syn, Role::Responder) | (Kind::SynAck, Role::Initiator) if is_about_rate => {
                self.receive_about_rate(now_us)?;
                Some(None)
            }
            (Kind::Syn, Role::Responder) => {
                let frame = self.decoder.open(0, Counts::default())?;
                let flags = frame.header.flags;
                let mut payload = [0; 8];
                let payload = payload.get_mut(..frame.payload.len())?;
                payload.copy_from_slice(frame.payload);
                self.proposed(flags, payload, now_us)?;
                if self.ownership.claim.is_some() {
                    // Whoever looks for the right rate knows at once that this is it.
                    self.rate.call(now_us);
                }
                Some(None)
            }
            (Kind::SynAck, Role::Initiator) => {
                let frame = self.decoder.open(0, Counts::default())?;
                let flags = frame.header.flags;
                let (nonce, seconds) = claim::agreement(frame.payload)?;
                if flags.intersects(Flags::BUSY | Flags::TAKEN) {
                    return Some(self.told_of_others(flags, nonce, seconds));
                }
                Some(self.agreed(nonce, now_us))
            }
            (Kind::Data | Kind::Ack, _) => self.receive_in_session(now_us),
            (Kind::Syn | Kind::SynAck, _) => None,
        }
    }

    /// A good frame came that shows no gap: what was damaged before it was none that is missing.
    fn forget_damage(&mut self) {
        if self.gap.is_none() {
            self.again_reported = false;
        }
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
        self.rate.connected(now_us);
        Some(Incoming::Connected)
    }

    fn receive_in_session(&mut self, now_us: u64) -> Option<Option<Incoming>> {
        if self.connecting {
            return None;
        }
        let near = Counts {
            sequence: self.receiver.expected(),
            acknowledged: self.sender.oldest(),
        };
        if let Some(frame) = self.session.and_then(|it| self.decoder.open(it, near)) {
            self.confirmed = true;
            let presence = match frame.header.kind {
                Kind::Ack => frame.header.flags,
                _ => Flags::empty(),
            };
            let there = match frame.header.kind {
                Kind::Ack => part::progress(&frame),
                _ => 0,
            };
            let acknowledged = frame.header.counts.acknowledged;
            let news_bytes = self.sender.acknowledge(acknowledged, there);
            if news_bytes > 0 {
                self.quality.passed(news_bytes);
                self.back_off = 0;
                self.retry_at_us = self.sender.is_waiting().then(|| {
                    self.timing
                        .retry_at_us(now_us, self.sender.waiting_bytes(), 0)
                });
            }
            if frame.header.flags.contains(Flags::AGAIN) && self.sender.is_waiting() {
                self.quality.lost();
                self.sender.rewind();
            }
            return Some(match frame.header.kind {
                Kind::Data => {
                    let taken = self.receiver.take(&frame);
                    self.account(taken, now_us)
                }
                _ => {
                    self.forget_damage();
                    self.take_presence(presence, now_us);
                    None
                }
            });
        }
        let Some((proposed, first)) = self
            .proposed
            .and_then(|it| Some((it, self.decoder.open(it, Counts::default())?)))
        else {
            return self.of_no_session().then_some(None);
        };
        let has_data = first.header.kind == Kind::Data;
        self.displace(now_us);
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
                self.gap = None;
                self.unacknowledged_frames += 1;
                let wait_us = if self.unacknowledged_frames * 2 < self.cut().window_frames {
                    self.timing.ack_delay_us
                } else {
                    0
                };
                let due_us = now_us.saturating_add(wait_us);
                self.ack_due_us = Some(self.ack_due_us.map_or(due_us, |due| due.min(due_us)));
            }
            Reception::Duplicate => {
                self.forget_damage();
                self.statistics.duplicate_frames += 1;
                self.ack_due_us = Some(now_us);
            }
            Reception::Gap(ahead) => {
                self.statistics.gap_frames += 1;
                // Where what comes goes back, the other side has begun again, and what is missing is lost again.
                let began_again = self.gap.is_some_and(|before| ahead <= before);
                if !self.again_reported || began_again {
                    self.again_wanted = true;
                    self.ack_due_us = Some(now_us);
                }
                self.gap = Some(ahead);
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
