//! The responder's part: it changes when it is asked to, and back by itself. In VMX-root, as the link.

use super::{Answer, Hearing, Here, Order, Rates, longest_us};
use crate::baud::divisor;
use crate::link::Timing;

/// Garbage is borne so long before anybody said what time is at the other end.
const PATIENCE_US: u64 = 700_000;
/// Who sends garbage is told so often that there is somebody.
const CALL_US: u64 = 400_000;
/// The same many bytes of garbage are no probe: those are two of them, nearly, and a third is not sent.
const NO_PROBE_BYTES: u32 = 500;
/// A new rate has so many times the patience to prove itself.
const TRIAL: u64 = 3;

#[derive(Debug, Default)]
pub(in crate::link) struct Follower {
    /// 0: the rate is not to be changed, or there is none.
    clock_hz: u32,
    load_hz: u32,
    baud_hz: u32,
    patience_us: u64,
    pub(super) hearing: Hearing,
    answer: Option<Answer>,
    /// It says where it is, in no session.
    calls: bool,
    called_us: Option<u64>,
    change: Option<Change>,
    trial: Option<Trial>,
    /// A rate was no good, and the other end may not be back yet.
    is_back: bool,
    /// Number of the last order to change: one that comes late is none.
    changed: Option<u8>,
}

/// To come, once the answer is out.
#[derive(Clone, Copy, Debug)]
struct Change {
    baud_hz: u32,
    is_trial: bool,
}

#[derive(Clone, Copy, Debug)]
struct Trial {
    back_hz: u32,
    until_us: u64,
}

impl Follower {
    pub(super) fn begin(&mut self, rates: Rates) {
        self.clock_hz = if rates.is_fixed { 0 } else { rates.clock_hz };
        self.load_hz = rates.baud_hz;
        self.baud_hz = rates.baud_hz;
        self.patience_us = PATIENCE_US;
    }

    /// A session begins: its orders are counted anew.
    pub(super) const fn restart(&mut self) {
        self.changed = None;
        self.answer = None;
    }

    pub(super) const fn baud_hz(&self) -> u32 {
        self.baud_hz
    }

    pub(super) fn wanted_hz(&self) -> Option<u32> {
        let change = self.change.filter(|_| self.answer.is_none());
        change.map(|change| change.baud_hz)
    }

    pub(super) const fn holds(&self) -> bool {
        self.change.is_some() || self.trial.is_some()
    }

    pub(super) fn take(&mut self, order: Order, now_us: u64) {
        self.is_back = false;
        let answer = match order {
            Order::Look { attempt } => self.here(attempt, now_us),
            Order::Change {
                attempt,
                baud_hz,
                patience_ms,
            } => {
                let behind = |last: u8| attempt.wrapping_sub(last).wrapping_sub(1) >= 0x80;
                if self.changed.is_some_and(behind) {
                    return;
                }
                self.changed = Some(attempt);
                if divisor(self.clock_hz, baud_hz).is_none() {
                    Answer::Impossible { attempt }
                } else {
                    self.patience_us = u64::from(patience_ms) * 1000;
                    self.change = Some(Change {
                        baud_hz,
                        is_trial: true,
                    });
                    Answer::Changing { attempt }
                }
            }
            Order::Probe { attempt } => Answer::Probed { attempt },
            Order::Keep { attempt } => {
                self.trial = None;
                Answer::Kept { attempt }
            }
            Order::Leave { attempt } => {
                self.trial = None;
                self.change_to(self.load_hz);
                Answer::Kept { attempt }
            }
        };
        self.answer = Some(answer);
    }

    const fn here(&self, attempt: u8, now_us: u64) -> Answer {
        let here = Here {
            load_hz: self.load_hz,
            clock_hz: self.clock_hz,
            now_us,
        };
        Answer::Here { attempt, here }
    }

    fn change_to(&mut self, baud_hz: u32) {
        self.change = (baud_hz != self.baud_hz).then_some(Change {
            baud_hz,
            is_trial: false,
        });
    }

    pub(super) fn rate_is(&mut self, baud_hz: u32, now_us: u64) {
        let is_trial = self.change.take().is_some_and(|change| change.is_trial);
        let back_hz = self.trial.map_or(self.baud_hz, |trial| trial.back_hz);
        self.trial = is_trial.then(|| Trial {
            back_hz,
            until_us: now_us.saturating_add(self.patience_us.saturating_mul(TRIAL)),
        });
        self.baud_hz = baud_hz;
        self.hearing.restart(now_us);
    }

    pub(super) fn tick(&mut self, timing: Timing, now_us: u64) {
        if self.baud_hz == 0 || self.change.is_some() {
            return;
        }
        let times = if self.is_back { TRIAL } else { 1 };
        let patience_us = self.patience_us.saturating_mul(times);
        let is_garbled = |patience_us| {
            let longest_us = longest_us(timing);
            self.hearing.is_garbled(now_us, patience_us, longest_us)
        };
        if let Some(trial) = self.trial {
            if now_us >= trial.until_us || self.hearing.bytes() >= NO_PROBE_BYTES {
                self.trial = None;
                self.is_back = true;
                self.change_to(trial.back_hz);
            }
        } else if self.baud_hz != self.load_hz && is_garbled(patience_us) {
            self.change_to(self.load_hz);
            self.calls = true;
        } else if is_garbled(CALL_US) && self.may_call(now_us) {
            self.called_us = Some(now_us);
            self.calls = true;
        } else if self.baud_hz != self.load_hz && self.hearing.is_unclean(now_us) {
            self.answer.get_or_insert(Answer::Unclean);
        }
    }

    /// Says where it is to whoever hears it.
    pub(super) fn call(&mut self, now_us: u64) {
        let is_late = |at_us| now_us.saturating_sub(at_us) >= CALL_US / 4;
        if self.baud_hz != 0 && self.called_us.is_none_or(is_late) {
            self.called_us = Some(now_us);
            self.calls = true;
        }
    }

    /// Who sends garbage is answered, but not all the time.
    fn may_call(&self, now_us: u64) -> bool {
        self.called_us.is_none_or(|at_us| {
            now_us.saturating_sub(at_us) >= CALL_US && self.hearing.has_heard_since(at_us)
        })
    }

    /// What is to be said, and whether in the session.
    pub(super) fn take_answer(&mut self) -> Option<(Answer, bool)> {
        if let Some(answer) = self.answer.take() {
            return Some((answer, true));
        }
        if self.change.is_some() || !core::mem::take(&mut self.calls) {
            return None;
        }
        Some((self.here(0, 0), false))
    }
}
