//! Random bits for whoever has no operating system to ask: drawn from a seed, and from whatever the machine offers besides at
//! each draw. For the driver in VMX-root; nothing is allocated.

use super::secret::{Random, SECRET_BYTES, Secret};

const DRAW_PURPOSE: &[u8; 16] = b"standstill draw ";
const NEXT_PURPOSE: &[u8; 16] = b"standstill next ";

/// See the module. Who learns what is in it cannot tell what was drawn before.
pub struct Entropy(Secret);

impl Entropy {
    /// From bits that an operating system drew.
    #[must_use]
    pub fn new(seed: [u8; SECRET_BYTES]) -> Self {
        Self(Secret::new(seed))
    }

    /// Bits that were not drawn before. `fresh` is what the processor draws, if it does, and the time-stamp counter: whatever
    /// it is, it takes nothing away from the seed.
    pub fn draw(&mut self, fresh: &[u8]) -> Random {
        let drawn = self.0.mac(&[DRAW_PURPOSE, fresh]);
        self.stir(fresh);
        drawn
    }

    /// Adds bits, for draws to come.
    pub fn stir(&mut self, bits: &[u8]) {
        self.0 = Secret::new(self.0.mac(&[NEXT_PURPOSE, bits]));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn nothing_is_drawn_twice_even_where_nothing_is_fresh() {
        let mut entropy = Entropy::new([7; SECRET_BYTES]);
        let drawn: HashSet<Random> = (0..100).map(|_| entropy.draw(&[])).collect();
        assert_eq!(drawn.len(), 100);
    }

    /// A restored machine has its state again; what is fresh then makes the difference.
    #[test]
    fn what_is_fresh_and_what_was_stirred_in_changes_all_draws() {
        let draw = |stirred: &[u8], fresh: &[u8]| {
            let mut entropy = Entropy::new([7; SECRET_BYTES]);
            entropy.stir(stirred);
            [entropy.draw(fresh), entropy.draw(&[])]
        };
        let drawn = [(&[1], &[1]), (&[1], &[2]), (&[2], &[1])].map(|(a, b)| draw(a, b));
        let different: HashSet<Random> = drawn.into_iter().flatten().collect();
        assert_eq!(different.len(), 6);
    }
}
