//! The initiator's part: it climbs from rate to rate, goes down again, and looks for a responder that is elsewhere.

mod search;

use super::{Answer, Hearing, Here, Order, RateNews, RateState, Rates, longest_us};
use crate::baud::{next_above, next_below};
use crate::link::Timing;

/// An answer may take so long beyond its time on the line.
const ANSWER_US: u64 = 300_000;
/// Orders that are asked again so often; each could be lost on a bad line.
const TRIES: u8 = 4;
/// Echoes that prove a rate, and probes that may be lost: the first may come while the other end still changes.
const ECHOES: u8 = 3;
const LOST_PROBES: u8 = 1;
/// Bytes there and back of a probe, with its frame.
const PROBE_BYTES: usize = 2 * 280;
/// The other end changes within this, which is many of its looks at the line.
const SETTLE_US: u64 = 50_000;
/// What the other end bears garbage for, in this end's time. A trial lasts three times as long.
const PATIENCE_MS: u64 = 700;
/// An emulated debuggee's clock may run so many times faster.
const FASTER_MAX: u64 = 1000;
/// Between two looks whether the other end has gone back.
const RETURN_US: u64 = 100_000;
/// Between the two looks at that clock.
const LOOKS_US: u64 = 30_000;
/// Bytes come for so long, and no frame: the rate is wrong.
const GARBLED_US: u64 = 300_000;
/// In a session there was a good one, and only garbage that lasts is believed.
const GARBLED_IN_SESSION_US: u64 = 1_000_000;
/// What comes in may be an answer; then it is waited on, this long at a time.
const HEARING_US: u64 = 100_000;
/// A rate that was left is not left again within this: the lower one would be no better.
const DOWN_US: u64 = 5_000_000;

#[derive(Debug, Default)]
pub(in crate::link) struct Leader {
    /// 0: the line has no rate.
    asked_hz: u32,
    /// It is not to be changed.
    is_fixed: bool,
    baud_hz: u32,
    /// What the responder said of itself; 0 before.
    load_hz: u32,
    clock_hz: u32,
    patience_ms: u32,
    /// The lowest rate that did not get through; 0 for none.
    failed_hz: u32,
    attempt: u8,
    state: State,
    change_hz: Option<u32>,
    order: Option<Order>,
    news: Option<RateNews>,
    leaves: bool,
    /// The responder is not where it was looked for first.
    is_elsewhere: bool,
    /// The rate that is left was good.
    was_good: bool,
    /// Garbage was told of, and nothing good has come since.
    is_told: bool,
    next_round_us: u64,
    next_down_us: u64,
    pub(super) hearing: Hearing,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
    /// There is no session.
    #[default]
    Apart,
    /// Nothing is to be done.
    Settled,
    /// It asks where the other end is: twice, at both clocks' times.
    Looking {
        first: Option<(u64, u64)>,
        tries: u8,
        due_us: u64,
    },
    /// It asked for a rate.
    Asking { to_hz: u32, tries: u8, due_us: u64 },
    /// At a new rate.
    Proving {
        from_hz: u32,
        echoes: u8,
        lost: u8,
        due_us: u64,
        /// No probe is under way.
        is_quiet: bool,
    },
    /// It told the other end to stay there.
    Keeping {
        from_hz: u32,
        tries: u8,
        due_us: u64,
    },
    /// At the rate before again, and waits for the other end.
    Returning { until_us: u64, due_us: u64 },
    /// It looks at other rates.
    Searching {
        from_hz: u32,
        next: u8,
        in_session: bool,
        due_us: u64,
    },
}

impl Leader {
    pub(super) const fn begin(&mut self, rates: Rates) {
        self.asked_hz = rates.baud_hz;
        self.baud_hz = rates.baud_hz;
        self.is_fixed = rates.is_fixed;
    }

    /// A session begins, or is asked for anew.
    pub(super) fn restart(&mut self) {
        self.order = None;
        // What is on trial ends by itself at the other end.
        match self.state {
            State::Proving { from_hz, .. } | State::Keeping { from_hz, .. } => {
                self.change_to(from_hz);
            }
            _ => {}
        }
        self.state = State::Apart;
    }

    /// Both ends have a session.
    pub(super) fn connected(&mut self, now_us: u64) {
        self.good(now_us);
        if self.asked_hz != 0 && !self.is_fixed {
            self.look(now_us);
        }
    }

    pub(super) const fn state(&self) -> RateState {
        RateState {
            baud_hz: self.baud_hz,
            failed_hz: self.failed_hz,
        }
    }

    pub(super) const fn take_news(&mut self) -> Option<RateNews> {
        self.news.take()
    }

    pub(super) fn leave(&mut self) {
        self.leaves = self.asked_hz != 0 && self.load_hz != 0 && self.baud_hz != self.load_hz;
    }

    pub(super) const fn wanted_hz(&self) -> Option<u32> {
        self.change_hz
    }

    pub(super) const fn take_order(&mut self) -> Option<Order> {
        if self.leaves {
            self.leaves = false;
            let attempt = self.attempt;
            return Some(Order::Leave { attempt });
        }
        self.order.take()
    }

    pub(super) const fn holds(&self) -> bool {
        match self.state {
            State::Apart | State::Settled => false,
            // Where it began is told before anything is answered.
            State::Looking { .. } => self.is_elsewhere,
            State::Searching { in_session, .. } => in_session,
            State::Asking { .. }
            | State::Proving { .. }
            | State::Keeping { .. }
            | State::Returning { .. } => true,
        }
    }

    pub(super) fn deadline_us(&self) -> Option<u64> {
        match self.state {
            // Garbage that came is looked at again.
            State::Apart => self.garbled_us(GARBLED_US),
            State::Settled => self.garbled_us(GARBLED_IN_SESSION_US),
            State::Looking { due_us, .. }
            | State::Asking { due_us, .. }
            | State::Proving { due_us, .. }
            | State::Keeping { due_us, .. }
            | State::Returning { due_us, .. }
            | State::Searching { due_us, .. } => Some(due_us),
        }
        .filter(|_| self.asked_hz != 0)
    }

    fn garbled_us(&self, patience_us: u64) -> Option<u64> {
        let garbled_us = self.hearing.garbled_us(patience_us)?;
        Some(garbled_us.max(self.next_round_us))
    }

    const fn next_attempt(&mut self) -> u8 {
        self.attempt = self.attempt.wrapping_add(1);
        self.attempt
    }

    fn change_to(&mut self, baud_hz: u32) {
        self.change_hz = (baud_hz != self.baud_hz).then_some(baud_hz);
    }

    fn answer_due_us(timing: Timing, now_us: u64, bytes: usize) -> u64 {
        now_us
            .saturating_add(timing.line_us(bytes))
            .saturating_add(ANSWER_US)
    }

    fn look(&mut self, now_us: u64) {
        let attempt = self.next_attempt();
        self.order = Some(Order::Look { attempt });
        self.state = State::Looking {
            first: None,
            tries: TRIES,
            due_us: now_us.saturating_add(ANSWER_US),
        };
    }

    /// The next rate, if there is one to try.
    fn climb(&mut self, timing: Timing, now_us: u64) {
        let next_hz = next_above(self.clock_hz, self.baud_hz);
        let is_open = |next_hz: &u32| self.failed_hz == 0 || *next_hz < self.failed_hz;
        match next_hz.filter(is_open) {
            Some(to_hz) => self.ask(to_hz, TRIES, timing, now_us),
            None => self.state = State::Settled,
        }
    }

    fn ask(&mut self, to_hz: u32, tries: u8, timing: Timing, now_us: u64) {
        let attempt = self.next_attempt();
        self.order = Some(Order::Change {
            attempt,
            baud_hz: to_hz,
            patience_ms: self.patience_ms,
        });
        self.state = State::Asking {
            to_hz,
            tries,
            due_us: Self::answer_due_us(timing, now_us, 64),
        };
    }

    fn probe(&mut self, from_hz: u32, echoes: u8, lost: u8, timing: Timing, now_us: u64) {
        let attempt = self.next_attempt();
        self.order = Some(Order::Probe { attempt });
        self.state = State::Proving {
            from_hz,
            echoes,
            lost,
            due_us: Self::answer_due_us(timing, now_us, PROBE_BYTES),
            is_quiet: false,
        };
    }

    fn keep(&mut self, from_hz: u32, tries: u8, timing: Timing, now_us: u64) {
        let attempt = self.next_attempt();
        self.order = Some(Order::Keep { attempt });
        self.state = State::Keeping {
            from_hz,
            tries,
            due_us: Self::answer_due_us(timing, now_us, 64),
        };
    }

    /// The rate on trial is no good; the other end goes back by itself, within the time of a trial.
    fn give_up(&mut self, from_hz: u32, now_us: u64) {
        if self.baud_hz > from_hz {
            self.failed_hz = self.baud_hz;
        }
        self.change_to(from_hz);
        self.order = None;
        self.state = State::Returning {
            until_us: now_us.saturating_add(6 * PATIENCE_MS * 1000),
            due_us: now_us,
        };
    }

    /// The transport's rate is this. True if what the session begins with is to be said there.
    pub(super) fn rate_is(&mut self, baud_hz: u32, now_us: u64, timing: Timing) -> bool {
        let wanted_hz = self.change_hz.take();
        let from_hz = core::mem::replace(&mut self.baud_hz, baud_hz);
        self.hearing.restart(now_us);
        let is_done = wanted_hz.is_none_or(|wanted_hz| wanted_hz == baud_hz);
        match self.state {
            State::Asking { to_hz, .. } => {
                if is_done {
                    self.state = State::Proving {
                        from_hz,
                        echoes: 0,
                        lost: 0,
                        due_us: now_us.saturating_add(SETTLE_US),
                        is_quiet: true,
                    };
                } else {
                    // This end's port does not make it.
                    self.failed_hz = to_hz;
                    self.give_up(baud_hz, now_us);
                }
                false
            }
            State::Searching { .. } => {
                self.look_here(timing, now_us);
                true
            }
            State::Apart => true,
            _ => false,
        }
    }

    /// An answer came.
    pub(super) fn take(&mut self, answer: Answer, timing: Timing, now_us: u64) {
        let is_late = answer.attempt() != Some(self.attempt);
        match (self.state, answer) {
            (State::Settled, Answer::Unclean) => self.go_down(timing, now_us),
            (State::Returning { .. }, Answer::Here { .. }) => self.climb(timing, now_us),
            _ if is_late => {}
            (State::Looking { first, .. }, Answer::Here { here, .. }) => {
                self.learn(first, here, timing, now_us);
            }
            (State::Asking { to_hz, .. }, Answer::Changing { .. }) => self.change_to(to_hz),
            (State::Asking { to_hz, .. }, Answer::Impossible { .. }) => {
                self.failed_hz = to_hz;
                self.state = State::Settled;
            }
            (
                State::Proving {
                    from_hz,
                    echoes,
                    lost,
                    ..
                },
                Answer::Probed { .. },
            ) => {
                if echoes + 1 < ECHOES {
                    self.probe(from_hz, echoes + 1, lost, timing, now_us);
                } else {
                    self.keep(from_hz, TRIES, timing, now_us);
                }
            }
            (State::Keeping { from_hz, .. }, Answer::Kept { .. }) => {
                if self.baud_hz > from_hz {
                    self.climb(timing, now_us);
                } else {
                    self.news = Some(RateNews::Lowered {
                        from_hz,
                        to_hz: self.baud_hz,
                    });
                    self.state = State::Settled;
                }
            }
            _ => {}
        }
    }

    /// The responder said what it is, once or twice.
    fn learn(&mut self, first: Option<(u64, u64)>, here: Here, timing: Timing, now_us: u64) {
        self.load_hz = here.load_hz;
        self.clock_hz = here.clock_hz;
        if core::mem::take(&mut self.is_elsewhere) && self.load_hz != self.asked_hz {
            self.news = Some(RateNews::Elsewhere {
                asked_hz: self.asked_hz,
                found_hz: self.load_hz,
            });
        }
        let Some((own_us, before_us)) = first else {
            self.state = State::Looking {
                first: Some((now_us, here.now_us)),
                tries: TRIES,
                due_us: now_us.saturating_add(LOOKS_US),
            };
            return;
        };
        let own_us = now_us.saturating_sub(own_us).max(1);
        let times = here.now_us.saturating_sub(before_us) / own_us;
        // An answer that had to wait makes it look slower than it is.
        let patience_ms = PATIENCE_MS * (times + times / 2).clamp(1, FASTER_MAX);
        let patience_ms = u32::try_from(patience_ms).unwrap_or(u32::MAX);
        self.patience_ms = self.patience_ms.max(patience_ms);
        self.climb(timing, now_us);
    }

    /// To the next rate below, but not below where the responder began.
    fn go_down(&mut self, timing: Timing, now_us: u64) {
        if now_us < self.next_down_us || self.baud_hz <= self.load_hz {
            return;
        }
        self.next_down_us = now_us.saturating_add(DOWN_US);
        if let Some(to_hz) = next_below(self.clock_hz, self.baud_hz) {
            self.failed_hz = self.baud_hz;
            self.ask(to_hz, TRIES, timing, now_us);
        }
    }

    /// Looks what time it is.
    pub(super) fn tick(&mut self, timing: Timing, now_us: u64) {
        if self.asked_hz == 0 || self.change_hz.is_some() {
            return;
        }
        match self.state {
            State::Apart => {
                if self.hearing.is_garbled(now_us, GARBLED_US, 0) {
                    self.search(false, timing, now_us);
                }
            }
            State::Settled => {
                let (patience_us, longest_us) = (GARBLED_IN_SESSION_US, longest_us(timing));
                if self.hearing.is_garbled(now_us, patience_us, longest_us) {
                    self.search(true, timing, now_us);
                } else if self.hearing.is_unclean(now_us) {
                    self.go_down(timing, now_us);
                }
            }
            _ if now_us < self.deadline_us().unwrap_or(0) => {}
            State::Looking { .. } | State::Asking { .. } if self.may_be_answer(timing, now_us) => {
                self.wait_until(now_us.saturating_add(HEARING_US / 4));
            }
            State::Looking { first, tries, .. } => {
                if tries == 0 {
                    // A driver that has no rate to change is one that says nothing of it.
                    self.state = State::Settled;
                    return;
                }
                let attempt = self.next_attempt();
                self.order = Some(Order::Look { attempt });
                self.state = State::Looking {
                    first,
                    tries: tries - 1,
                    due_us: Self::answer_due_us(timing, now_us, 64),
                };
            }
            State::Asking { to_hz, tries, .. } => {
                if tries == 0 {
                    self.state = State::Settled;
                } else {
                    self.ask(to_hz, tries - 1, timing, now_us);
                }
            }
            State::Proving {
                from_hz,
                echoes,
                lost,
                is_quiet,
                ..
            } => {
                if is_quiet {
                    self.probe(from_hz, echoes, lost, timing, now_us);
                } else if lost < LOST_PROBES {
                    self.probe(from_hz, echoes, lost + 1, timing, now_us);
                } else {
                    self.give_up(from_hz, now_us);
                }
            }
            State::Keeping { from_hz, tries, .. } => {
                if tries == 0 {
                    self.give_up(from_hz, now_us);
                } else {
                    self.keep(from_hz, tries - 1, timing, now_us);
                }
            }
            State::Returning { until_us, .. } => {
                if now_us >= until_us {
                    self.was_good = true;
                    self.search(true, timing, now_us);
                    return;
                }
                let attempt = self.next_attempt();
                self.order = Some(Order::Look { attempt });
                let line_us = timing.line_us(64);
                self.state = State::Returning {
                    until_us,
                    due_us: now_us.saturating_add(line_us).saturating_add(RETURN_US),
                };
            }
            State::Searching {
                from_hz,
                next,
                in_session,
                ..
            } => self.search_on(from_hz, next, in_session, timing, now_us),
        }
    }

    /// Something comes in, and it is not garbage for sure.
    fn may_be_answer(&self, timing: Timing, now_us: u64) -> bool {
        let patience_us = GARBLED_IN_SESSION_US;
        self.hearing.is_hearing(now_us, HEARING_US)
            && !(self.hearing).is_garbled(now_us, patience_us, longest_us(timing))
    }

    const fn wait_until(&mut self, until_us: u64) {
        if let State::Looking { due_us, .. } | State::Asking { due_us, .. } = &mut self.state {
            *due_us = until_us;
        }
    }
}
