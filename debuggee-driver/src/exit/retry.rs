//! Whether a core gets on: what is answered by letting an instruction run again must not come up for ever.
//!
//! Asked by handlers that found no reason for an exit, in VMX-root, by the core it stands for. Such an exit has one good
//! reason, which is over when the instruction runs again: what made the core leave was taken away after it had left.

/// Exits in which the same one must come up again to count as such: others may come in between.
const NEARBY_EXITS: u64 = 16;
/// How often one instruction is tried again.
const TRIES: u8 = 2;

/// The last instruction that was let run again, as data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retries {
    rip: u64,
    /// Number of the exit.
    exit: u64,
    tries: u8,
}

impl Retries {
    /// None.
    pub const NONE: Self = Self {
        rip: 0,
        exit: 0,
        tries: 0,
    };

    /// Exit number `exit`, of the instruction at `rip`: whether it may run once more.
    pub fn may_try(&mut self, rip: u64, exit: u64) -> bool {
        let is_same = self.rip == rip && exit.wrapping_sub(self.exit) <= NEARBY_EXITS;
        let tries = if is_same { self.tries } else { 0 };
        let may = tries < TRIES;
        *self = Self {
            rip,
            exit,
            // What is refused is over: the next time is another one.
            tries: if may { tries + 1 } else { 0 },
        };
        may
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_instruction_is_tried_twice_and_then_begins_anew() {
        let mut retries = Retries::NONE;
        let tried = [1_u64, 2, 3, 4].map(|exit| retries.may_try(0x10, exit));
        assert_eq!(tried, [true, true, false, true]);
        // With a few exits for other reasons in between.
        let tried = [100_u64, 110, 126, 127].map(|exit| retries.may_try(0x20, exit));
        assert_eq!(tried, [true, true, false, true]);
    }

    #[test]
    fn others_and_later_ones_are_new() {
        let mut retries = Retries::NONE;
        for exit in 0..10 {
            assert!(retries.may_try(0x10 + exit % 2, exit));
            assert!(retries.may_try(0x20, 1000 + exit * (NEARBY_EXITS + 1)));
        }
    }
}
