//! Which counters of the other end were taken: each is once. For [`super::session`].

/// Counters below the highest one of which it is known whether they came: what comes later than so many others is dropped.
const BITS: u64 = u128::BITS as u64;

/// The counters that came.
#[derive(Clone, Debug, Default)]
pub(super) struct Window {
    /// One above the highest one.
    next: u64,
    /// Bit `n`: `next - 1 - n` came.
    came: u128,
}

impl Window {
    /// It has not come, as far as is known.
    pub(super) fn is_new(&self, counter: u64) -> bool {
        match self.next.checked_sub(counter) {
            None | Some(0) => true,
            Some(behind) => behind <= BITS && self.came >> (behind - 1) & 1 == 0,
        }
    }

    /// It has come now. True if it is the highest one so far.
    pub(super) fn take(&mut self, counter: u64) -> bool {
        if let Some(behind @ 1..) = self.next.checked_sub(counter) {
            if behind <= BITS {
                self.came |= 1 << (behind - 1);
            }
            return false;
        }
        let ahead = (counter - self.next).saturating_add(1);
        self.came = if ahead < BITS { self.came << ahead } else { 0 };
        self.came |= 1;
        self.next = counter.saturating_add(1);
        true
    }

    /// How many the other end has used.
    pub(super) const fn count(&self) -> u64 {
        self.next
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    proptest! {
        #![proptest_config(crate::proptest_config())]

        #[test]
        fn each_counter_is_taken_once_and_none_that_is_too_old(counters in proptest::collection::vec(0u64..400, 0..200)) {
            let mut window = Window::default();
            let mut came = BTreeSet::new();
            for counter in counters {
                let highest = came.last().copied();
                let is_within = highest.is_none_or(|highest| highest < counter + BITS);
                prop_assert_eq!(window.is_new(counter), is_within && !came.contains(&counter));
                if window.is_new(counter) {
                    prop_assert_eq!(window.take(counter), highest.is_none_or(|highest| highest < counter));
                    came.insert(counter);
                }
            }
        }
    }

    #[test]
    fn far_ahead_forgets_what_was_before() {
        let mut window = Window::default();
        for counter in [0, BITS - 1, 2 * BITS - 1, 1 << 40] {
            assert!(window.is_new(counter));
            assert!(window.take(counter));
            assert!(!window.is_new(counter));
        }
        assert!(!window.is_new((1 << 40) - BITS));
        assert!(window.is_new((1 << 40) - BITS + 1));
        assert!(window.is_new(u64::MAX - 1));
    }
}
