//! Cores that do little but leave their guest: what they run on is watched, or what the handlers of their interrupts run
//! through.
//!
//! Such a core is so slow that the next interrupt of its timer waits already when the handler of one returns; if it came at
//! once, the core would run nothing but handlers. Its interrupts are taken, and after each handler of the timer the core
//! makes some times as many exits as in the handler before it is given another one. What others send is given at once: they
//! may wait for the answer. As data; used by `timer`, `interrupt` and `derived`, in VMX-root, by the core it stands for.

/// A core does little but leave its guest if an exit, and what the guest does up to it, takes fewer ticks than this.
const TICKS_PER_EXIT: u64 = 4096;
/// How often a core is looked at: the time in which it counts its exits, in milliseconds.
pub(super) const LOOK_MS: u64 = 16;
/// Between two handlers are so many times as many exits as in the first.
const SHARE: u64 = 4;
/// And no more than this, whatever took a handler so long.
const KEPT_EXITS_MAX: u64 = 50_000;

/// See the module.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Respite {
    /// The core has been found to be such a one.
    is_on: bool,
    /// When it was looked at last, by the time-stamp counter, and its exits up to then.
    looked: (u64, u64),
    /// A handler runs that was entered after so many exits.
    handler: Option<u64>,
    /// Up to so many exits it is given no interrupt.
    until: u64,
}

impl Respite {
    /// Any other core.
    pub const NONE: Self = Self {
        is_on: false,
        looked: (0, 0),
        handler: None,
        until: 0,
    };

    /// Looks at what the core does, unless it did so less than `period` ticks ago. Returns whether it found another answer.
    /// One that is traced has a pace of its own.
    pub(super) fn look(&mut self, (now, exits): (u64, u64), period: u64, is_traced: bool) -> bool {
        let (looked, before) = self.looked;
        let ticks = now.wrapping_sub(looked);
        if ticks < period {
            return false;
        }
        self.looked = (now, exits);
        let was_on = self.is_on;
        let made = exits.wrapping_sub(before);
        self.is_on = !is_traced && made.saturating_mul(TICKS_PER_EXIT) >= ticks;
        if self.is_on != was_on {
            self.handler = None;
            self.until = exits;
        }
        self.is_on != was_on
    }

    /// Whether the core's interrupts are taken.
    pub(super) const fn is_on(&self) -> bool {
        self.is_on
    }

    /// An interrupt of the timer is given to the guest.
    pub(super) const fn given(&mut self, exits: u64) {
        if self.is_on {
            self.handler = Some(exits);
        }
    }

    /// Whether the guest is in the handler of one that was given to it, with interrupts off.
    pub(super) const fn is_in_handler(&self) -> bool {
        self.handler.is_some()
    }

    /// The guest lets interrupts in: the handler, if there was one, is over.
    pub(super) fn lets_in(&mut self, exits: u64) {
        if let Some(entered) = self.handler.take() {
            let taken = exits.wrapping_sub(entered);
            self.until = exits.wrapping_add(taken.saturating_mul(SHARE).min(KEPT_EXITS_MAX));
        }
    }

    /// Whether one that was taken waits still.
    pub(super) const fn keeps(&self, exits: u64) -> bool {
        self.is_on && (self.handler.is_some() || self.until.wrapping_sub(exits).cast_signed() > 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PERIOD: u64 = 160_000;

    fn look(respite: &mut Respite, now: u64, exits: u64) -> bool {
        respite.look((now, exits), PERIOD, false)
    }

    fn on_since(exits: u64) -> Respite {
        let mut respite = Respite::NONE;
        respite.looked = (0, exits - PERIOD / 1000);
        assert!(look(&mut respite, PERIOD, exits) && respite.is_on());
        respite
    }

    #[test]
    fn a_core_is_found_by_how_many_exits_it_makes_in_a_period() {
        let mut respite = Respite::NONE;
        let seldom = PERIOD / TICKS_PER_EXIT;
        for (now, exits, is_other, is_on) in [
            (PERIOD, seldom, false, false),
            // Too early to look.
            (2 * PERIOD - 1, 10_000, false, false),
            (2 * PERIOD, 10_000, true, true),
            (3 * PERIOD, 20_000, false, true),
            (4 * PERIOD, 20_000 + seldom, true, false),
            (5 * PERIOD, 30_000, true, true),
        ] {
            assert_eq!(look(&mut respite, now, exits), is_other, "{now}");
            assert_eq!(respite.is_on(), is_on, "{now}");
        }
        assert!(respite.look((6 * PERIOD, 40_000), PERIOD, true) && !respite.is_on());
    }

    #[test]
    fn the_first_interrupt_comes_at_once_and_the_next_one_after_the_cores_share() {
        let mut respite = on_since(1000);
        assert!(!respite.keeps(1000));
        respite.given(1000);
        assert!(respite.keeps(1000) && respite.keeps(1200));
        respite.lets_in(1200);
        assert!(respite.keeps(1200 + 200 * SHARE - 1));
        assert!(!respite.keeps(1200 + 200 * SHARE));
        // A window that opens for another reason changes nothing.
        respite.lets_in(1500);
        assert!(!respite.keeps(1200 + 200 * SHARE));
    }

    #[test]
    fn a_handler_that_takes_long_does_not_keep_the_next_for_ever() {
        let mut respite = on_since(1000);
        respite.given(1000);
        respite.lets_in(1_001_000);
        assert!(respite.keeps(1_001_000 + KEPT_EXITS_MAX - 1));
        assert!(!respite.keeps(1_001_000 + KEPT_EXITS_MAX));
    }

    #[test]
    fn any_other_core_keeps_nothing() {
        let mut respite = on_since(1000);
        respite.given(1000);
        respite.lets_in(2000);
        assert!(look(&mut respite, 2 * PERIOD, 1001) && !respite.keeps(1001));
        respite.given(1001);
        assert!(!respite.is_in_handler() && !respite.keeps(1001));
    }
}
