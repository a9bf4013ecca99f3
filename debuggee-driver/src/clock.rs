//! Ticks of the time-stamp counter: what they are in seconds, and which of them the guest does not
//! see.
//!
//! One for all cores, in the arena; used in VMX-root, and by detours.

use crate::port::Cpu;
use crate::vmx::control_field;
use core::sync::atomic::{AtomicU64, Ordering::SeqCst};

/// A second, in milliseconds: ticks of a kilohertz make one of them.
const MILLISECONDS: u64 = 1000;

/// See the module.
#[derive(Debug)]
pub struct Clock {
    khz: u32,
    hidden_ticks: AtomicU64,
}

impl Clock {
    /// A counter that runs at so many kilohertz, of which nothing is hidden.
    #[must_use]
    pub const fn new(khz: u32) -> Self {
        Self {
            khz,
            hidden_ticks: AtomicU64::new(0),
        }
    }

    /// Ticks that a core which is in order never needs to come, or to acknowledge: one second.
    #[must_use]
    pub fn timeout_ticks(&self) -> u64 {
        u64::from(self.khz) * MILLISECONDS
    }

    /// Microseconds since power-on, from ticks.
    #[must_use]
    pub fn microseconds(&self, ticks: u64) -> u64 {
        let khz = u64::from(self.khz.max(1));
        ticks / khz * 1000 + ticks % khz * 1000 / khz
    }

    /// Ticks in so many nanoseconds.
    #[must_use]
    pub fn ticks_in_ns(&self, ns: u64) -> u64 {
        ns.saturating_mul(u64::from(self.khz)) / 1_000_000
    }

    /// Takes `ticks` out of the guest's time, on every core before it runs again. True if these are
    /// the first.
    pub fn hide(&self, ticks: u64) -> bool {
        self.hidden_ticks.fetch_add(ticks, SeqCst) == 0 && ticks != 0
    }

    /// Ticks taken out of the guest's time so far.
    pub fn hidden_ticks(&self) -> u64 {
        self.hidden_ticks.load(SeqCst)
    }

    /// Lets the guest's reads of the counter skip the hidden time. `accounted` is what this core's
    /// offset holds already.
    pub fn apply(&self, cpu: &mut impl Cpu, accounted: &mut u64) {
        let hidden = self.hidden_ticks();
        if *accounted != hidden {
            *accounted = hidden;
            cpu.vmwrite(control_field::TSC_OFFSET_FULL, hidden.wrapping_neg());
        }
    }

    /// Whether [`Self::apply`] has something to do.
    #[inline]
    pub fn has_hidden_more_than(&self, accounted: u64) -> bool {
        self.hidden_ticks() != accounted
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_microseconds_without_overflow() {
        let clock = Clock::new(2_000_000);
        assert_eq!(clock.microseconds(2_000_001_999), 1_000_000);
        assert_eq!(clock.microseconds(u64::MAX), u64::MAX / 2000);
        assert_eq!(clock.timeout_ticks(), 2_000_000_000);
        assert_eq!(Clock::new(0).microseconds(1), 1000);
        assert_eq!(clock.ticks_in_ns(1500), 3000);
    }

    #[test]
    fn only_the_first_hidden_ticks_are_the_first() {
        let clock = Clock::new(1000);
        assert!(!clock.hide(0));
        assert!(clock.hide(5));
        assert!(!clock.hide(7));
        assert_eq!(clock.hidden_ticks(), 12);
        assert!(clock.has_hidden_more_than(5) && !clock.has_hidden_more_than(12));
    }
}
