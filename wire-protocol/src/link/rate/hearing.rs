//! What becomes of the bytes that come: whether there is anything in them, and how many frames arrive damaged.

/// So long is counted.
const WINDOW_US: u64 = 2_000_000;
/// Fewer frames say nothing.
const WINDOW_FRAMES: u32 = 8;

#[derive(Debug, Default)]
pub(super) struct Hearing {
    /// When the first byte came behind the last good frame.
    since_us: Option<u64>,
    last_us: u64,
    bytes: u32,
    window_at_us: u64,
    good_frames: u32,
    broken_frames: u32,
}

impl Hearing {
    /// Nothing that came before counts: it was at another rate.
    pub(super) fn restart(&mut self, now_us: u64) {
        *self = Self {
            window_at_us: now_us,
            ..Self::default()
        };
    }

    pub(super) fn byte(&mut self, now_us: u64) {
        self.since_us.get_or_insert(now_us);
        self.last_us = now_us;
        self.bytes = self.bytes.saturating_add(1);
    }

    pub(super) fn good(&mut self, now_us: u64) {
        self.since_us = None;
        self.last_us = now_us;
        self.bytes = 0;
        self.good_frames = self.good_frames.saturating_add(1);
    }

    pub(super) fn broken(&mut self, now_us: u64) {
        self.last_us = now_us;
        self.broken_frames = self.broken_frames.saturating_add(1);
    }

    /// Bytes since the last good frame.
    pub(super) const fn bytes(&self) -> u32 {
        self.bytes
    }

    /// A byte came within this time.
    pub(super) const fn is_hearing(&self, now_us: u64, within_us: u64) -> bool {
        self.since_us.is_some() && now_us.saturating_sub(self.last_us) < within_us
    }

    /// A byte came later than this.
    pub(super) const fn has_heard_since(&self, at_us: u64) -> bool {
        self.last_us > at_us
    }

    /// When what came so far is garbage for sure, if nothing good comes.
    pub(super) fn garbled_us(&self, patience_us: u64) -> Option<u64> {
        let garbled_us = self.since_us?.saturating_add(patience_us);
        Some(garbled_us.max(self.last_us.saturating_add(patience_us / 4)))
    }

    /// For so long bytes have come without a good frame, and the last of them are no beginning of a long one.
    pub(super) fn is_garbled(&self, now_us: u64, patience_us: u64, longest_us: u64) -> bool {
        let Some(since_us) = self.since_us else {
            return false;
        };
        let waited_us = now_us.saturating_sub(since_us);
        let is_quiet = now_us.saturating_sub(self.last_us) >= patience_us / 4;
        waited_us >= patience_us && is_quiet || waited_us >= patience_us.saturating_add(longest_us)
    }

    /// More than one in four of the frames of the last two seconds was damaged. True once, and then counted anew.
    pub(super) fn is_unclean(&mut self, now_us: u64) -> bool {
        let frames = self.good_frames.saturating_add(self.broken_frames);
        if now_us.saturating_sub(self.window_at_us) < WINDOW_US || frames < WINDOW_FRAMES {
            return false;
        }
        let is_unclean = self.broken_frames.saturating_mul(4) > frames;
        self.window_at_us = now_us;
        self.good_frames = 0;
        self.broken_frames = 0;
        is_unclean
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_frame_is_no_garbage_until_it_is_too_long() {
        let mut hearing = Hearing::default();
        for now_us in (0..5000).step_by(10) {
            hearing.byte(now_us);
        }
        assert!(!hearing.is_garbled(5000, 1000, 6000));
        assert!(hearing.is_garbled(5240, 1000, 6000), "it stopped");
        assert!(hearing.is_garbled(5000, 1000, 4000));
        hearing.good(5001);
        assert!(!hearing.is_garbled(90_000, 1000, 4000), "it was one");
    }

    #[test]
    fn more_than_one_damaged_frame_in_four_is_unclean_after_two_seconds() {
        for (good, broken, is_unclean) in [(9, 3, false), (8, 3, true), (2, 5, false)] {
            let mut hearing = Hearing::default();
            (0..good).for_each(|_| hearing.good(0));
            (0..broken).for_each(|_| hearing.broken(0));
            assert!(!hearing.is_unclean(WINDOW_US - 1));
            assert_eq!(hearing.is_unclean(WINDOW_US), is_unclean, "{good} {broken}");
            assert!(!hearing.is_unclean(WINDOW_US), "it is told once");
        }
    }
}
