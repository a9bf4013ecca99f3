//! Which core looks at the line while the guest runs, and how often.
//!
//! One for all cores, in the arena; used in VMX-root.

use core::sync::atomic::{AtomicBool, AtomicU16, Ordering::SeqCst};
use wire_protocol::address::CoreId;

/// Cores that do not poll look this many times less often whether they should.
const IDLE_FACTOR: u64 = 64;

/// See the module.
#[derive(Debug)]
pub struct Poll {
    is_on: AtomicBool,
    core: AtomicU16,
    interval_ticks: u64,
    idle_ticks: u64,
}

impl Poll {
    /// Polls of `hz` in a second of so many ticks. They begin with [`Self::set_on`].
    #[must_use]
    pub fn new(hz: u64, second_ticks: u64) -> Self {
        // As many as the timer can count.
        let interval_ticks = (second_ticks / hz.max(1)).min(u64::from(u32::MAX));
        Self {
            is_on: AtomicBool::new(false),
            core: AtomicU16::new(0),
            interval_ticks,
            idle_ticks: interval_ticks.saturating_mul(IDLE_FACTOR),
        }
    }

    /// Starts or stops polling.
    pub fn set_on(&self, on: bool) {
        self.is_on.store(on, SeqCst);
    }

    /// Whether `core` is the one that polls.
    pub fn is_by(&self, core: CoreId) -> bool {
        self.is_on.load(SeqCst) & (self.core.load(SeqCst) == core.0)
    }

    /// Ticks between two polls.
    #[inline]
    pub const fn interval_ticks(&self) -> u64 {
        self.interval_ticks
    }

    /// Ticks between two looks of `core`.
    #[inline]
    pub fn ticks_to_next_look(&self, core: CoreId) -> u64 {
        if self.is_by(core) {
            self.interval_ticks
        } else {
            self.idle_ticks
        }
    }

    /// `core` is the one that polls from now on.
    pub fn give_to(&self, core: CoreId) {
        self.core.store(core.0, SeqCst);
    }

    /// `core` will execute nothing for a while: one of `others` polls, if there is any.
    pub fn hand_over(&self, core: CoreId, mut others: impl Iterator<Item = CoreId>) {
        if self.core.load(SeqCst) != core.0 {
            return;
        }
        if let Some(next) = others.find(|other| *other != core) {
            self.core.store(next.0, SeqCst);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_core_that_polls_looks_often() {
        let poll = Poll::new(1000, 2_000_000);
        assert!(!poll.is_by(CoreId(0)));
        poll.set_on(true);
        assert_eq!(poll.ticks_to_next_look(CoreId(0)), 2000);
        assert_eq!(poll.ticks_to_next_look(CoreId(1)), 128_000);
        // One that does not poll has nothing to hand over.
        poll.hand_over(CoreId(1), [CoreId(2)].into_iter());
        poll.hand_over(CoreId(0), [CoreId(0)].into_iter());
        assert!(poll.is_by(CoreId(0)));
        poll.hand_over(CoreId(0), [CoreId(0), CoreId(3)].into_iter());
        assert!(poll.is_by(CoreId(3)) && !poll.is_by(CoreId(0)));
    }

    #[test]
    fn no_interval_is_longer_than_the_timer_counts() {
        assert_eq!(Poll::new(0, u64::MAX).interval_ticks(), u64::from(u32::MAX));
    }
}
