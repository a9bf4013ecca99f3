//! Looking for a responder that is at another rate.

use super::{Leader, State};
use crate::link::Timing;
use crate::link::rate::{Order, RateNews};

/// At each other rate it is looked so long.
const LOOK_US: u64 = 200_000;
/// A frame that was understood proves the rate for so long: the responder may ask another host first whether it is there.
const PROVEN_US: u64 = 3_000_000;
/// Between two rounds through all rates.
const ROUND_US: u64 = 500_000;
/// Where responders are, the likeliest first.
const COMMON: [u32; 8] = [
    115_200, 9600, 57_600, 38_400, 19_200, 230_400, 460_800, 921_600,
];
/// In a session the responder is at the rate of before or comes to where it began, and both are looked at so often.
const KNOWN_LOOKS: u8 = 8;

impl Leader {
    /// A frame came for this end.
    pub(in super::super) fn good(&mut self, now_us: u64) {
        self.is_told = false;
        if matches!(self.state, State::Apart | State::Searching { .. }) {
            self.next_round_us = now_us.saturating_add(PROVEN_US);
        }
        let State::Searching {
            from_hz,
            in_session,
            ..
        } = self.state
        else {
            return;
        };
        self.order = None;
        let was_good = core::mem::take(&mut self.was_good);
        if in_session {
            if self.baud_hz < from_hz && !was_good {
                self.failed_hz = from_hz;
                self.news = Some(RateNews::Lowered {
                    from_hz,
                    to_hz: self.baud_hz,
                });
            }
            self.look(now_us);
        } else {
            self.is_elsewhere = self.baud_hz != self.asked_hz;
            self.state = State::Apart;
        }
    }

    /// Waits a little for a good frame at this rate.
    pub(super) fn look_here(&mut self, timing: Timing, now_us: u64) {
        if let State::Searching {
            in_session, due_us, ..
        } = &mut self.state
        {
            *due_us = now_us
                .saturating_add(LOOK_US)
                .saturating_add(timing.line_us(64));
            if *in_session {
                let attempt = self.next_attempt();
                self.order = Some(Order::Look { attempt });
            }
        }
    }

    /// Nothing was answered for long. Where both ends began that may have any reason.
    pub(in super::super) fn silent(&mut self, timing: Timing, now_us: u64) {
        let home_hz = if self.load_hz == 0 {
            self.asked_hz
        } else {
            self.load_hz
        };
        let is_idle = matches!(
            self.state,
            State::Settled | State::Apart | State::Looking { .. }
        );
        if is_idle && self.baud_hz != home_hz {
            self.search(self.state != State::Apart, timing, now_us);
        }
    }

    /// Looks for the other end, unless that was done a moment ago.
    pub(super) fn search(&mut self, in_session: bool, timing: Timing, now_us: u64) {
        if now_us < self.next_round_us {
            return;
        }
        if self.is_fixed {
            return self.end_round(self.baud_hz, in_session, now_us);
        }
        self.search_on(self.baud_hz, 0, in_session, timing, now_us);
    }

    /// The rate to look at next; `None` at the end of a round.
    fn candidate(&self, from_hz: u32, next: &mut u8, in_session: bool) -> Option<u32> {
        let is_other = |baud_hz: u32| baud_hz != 0 && (in_session || baud_hz != from_hz);
        while *next < KNOWN_LOOKS {
            let baud_hz = match *next % 2 {
                0 => from_hz,
                _ => self.load_hz,
            };
            *next = if in_session || *next == 0 {
                *next + 1
            } else {
                KNOWN_LOOKS
            };
            if is_other(baud_hz) {
                return Some(baud_hz);
            }
        }
        let at = usize::from(*next - KNOWN_LOOKS);
        let Some(left) = COMMON.get(at..).filter(|left| !left.is_empty()) else {
            // The responder may have come back meanwhile.
            *next = next.saturating_add(1);
            return (at == COMMON.len()).then_some(from_hz);
        };
        let is_new = |baud_hz: &&u32| **baud_hz != from_hz && **baud_hz != self.load_hz;
        let Some(skipped) = left.iter().position(|baud_hz| is_new(&baud_hz)) else {
            *next = KNOWN_LOOKS + u8::try_from(COMMON.len()).unwrap_or(0);
            return self.candidate(from_hz, next, in_session);
        };
        *next = next.saturating_add(u8::try_from(skipped).ok()?.saturating_add(1));
        left.get(skipped).copied()
    }

    pub(super) fn search_on(
        &mut self,
        from_hz: u32,
        mut next: u8,
        in_session: bool,
        timing: Timing,
        now_us: u64,
    ) {
        let Some(baud_hz) = self.candidate(from_hz, &mut next, in_session) else {
            return self.end_round(from_hz, in_session, now_us);
        };
        self.state = State::Searching {
            from_hz,
            next,
            in_session,
            due_us: now_us,
        };
        if baud_hz == self.baud_hz {
            self.look_here(timing, now_us);
        } else {
            self.change_hz = Some(baud_hz);
        }
    }

    /// Nobody was found anywhere.
    fn end_round(&mut self, from_hz: u32, in_session: bool, now_us: u64) {
        if !core::mem::replace(&mut self.is_told, true) {
            let others = COMMON.iter().filter(|baud_hz| **baud_hz != from_hz);
            let tried = if self.is_fixed { 0 } else { others.count() };
            self.news = Some(RateNews::Nowhere {
                asked_hz: self.asked_hz,
                tried: u32::try_from(tried).unwrap_or(u32::MAX),
            });
        }
        self.next_round_us = now_us.saturating_add(ROUND_US);
        self.change_to(from_hz);
        self.order = None;
        self.state = if in_session {
            State::Settled
        } else {
            State::Apart
        };
        self.hearing.restart(now_us);
    }
}
