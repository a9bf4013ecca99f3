//! Damage done to a byte stream, repeatable from a seed.
//!
//! Called by `line` for each direction. What happens to a byte depends on the seed and the byte's position only, never
//! on how the stream was cut into chunks, so a failing run can be repeated.

use std::time::Duration;

/// How often what goes wrong; each rate is the probability per byte, but the last two.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Faults {
    /// Where the pseudo-random sequence starts.
    pub seed: u64,
    /// One bit of the byte is inverted.
    pub flip: f64,
    /// The byte is lost.
    pub drop: f64,
    /// A made-up byte goes before it.
    pub insert: f64,
    /// Up to sixteen bytes before and including it are sent twice.
    pub duplicate: f64,
    /// Of a run of sixteen bytes: all of it is lost.
    pub hole: f64,
    /// Of a run of sixteen bytes: it goes behind the next one.
    pub reorder: f64,
    /// Of a run of sixteen bytes: it comes late, by up to this long.
    pub delay: Duration,
}

const MEMORY: usize = 16;
const HOLE: usize = 16;

/// The damage to one direction.
#[derive(Debug)]
pub(crate) struct Damage {
    faults: Faults,
    random: fastrand::Rng,
    recent: Vec<u8>,
    /// Bytes that are left of a run, and whether it is lost.
    run: (usize, bool),
    /// A run that waits for the end of the next one, and whether it is still being filled.
    held: (Vec<u8>, bool),
}

impl Damage {
    /// `direction` keeps the two directions of a line from being damaged alike.
    pub(crate) fn new(faults: Faults, direction: u64) -> Self {
        Self {
            faults,
            random: fastrand::Rng::with_seed(faults.seed.wrapping_mul(2).wrapping_add(direction)),
            recent: Vec::new(),
            run: (0, false),
            held: (Vec::new(), false),
        }
    }

    /// Appends to `output` what becomes of `input`.
    pub(crate) fn apply(&mut self, input: &[u8], output: &mut Vec<u8>) {
        for &byte in input {
            if self.run.0 == 0 {
                self.run = (HOLE, self.happens(self.faults.hole));
                // What was filled by the run that ended waits for this one; what waited for that one goes.
                if self.held.1 {
                    self.held.1 = false;
                } else {
                    output.append(&mut self.held.0);
                    self.held.1 = self.happens(self.faults.reorder);
                }
            }
            self.run.0 -= 1;
            if self.run.1 {
                continue;
            }
            if self.happens(self.faults.insert) {
                let made_up = self.random.u8(..);
                self.emit(made_up, output);
            }
            if self.happens(self.faults.drop) {
                continue;
            }
            let flip = self.happens(self.faults.flip);
            let bit = if flip { 1 << self.random.u8(..8) } else { 0 };
            self.emit(byte ^ bit, output);
            if self.happens(self.faults.duplicate) {
                let count = self.random.usize(1..=self.recent.len());
                output.extend(&self.recent[self.recent.len() - count..]);
            }
        }
    }

    fn emit(&mut self, byte: u8, output: &mut Vec<u8>) {
        match self.held.1 {
            true => self.held.0.push(byte),
            false => output.push(byte),
        }
        if self.recent.len() == MEMORY {
            self.recent.remove(0);
        }
        self.recent.push(byte);
    }

    fn happens(&mut self, rate: f64) -> bool {
        rate > 0.0 && self.random.f64() < rate
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: Faults = Faults {
        seed: 7,
        flip: 0.05,
        drop: 0.05,
        insert: 0.05,
        duplicate: 0.02,
        hole: 0.01,
        reorder: 0.01,
        delay: Duration::ZERO,
    };

    fn damaged(faults: Faults, direction: u64, chunk: usize) -> Vec<u8> {
        let input: Vec<u8> = (0..5000_u32).map(|at| at.to_le_bytes()[0]).collect();
        let mut damage = Damage::new(faults, direction);
        let mut output = Vec::new();
        for part in input.chunks(chunk) {
            damage.apply(part, &mut output);
        }
        output
    }

    #[test]
    fn same_seed_same_damage_however_the_stream_is_cut() {
        assert_eq!(damaged(ALL, 0, 1), damaged(ALL, 0, 977));
    }

    #[test]
    fn seeds_and_directions_differ() {
        assert_ne!(damaged(ALL, 0, 100), damaged(ALL, 1, 100));
        assert_ne!(
            damaged(ALL, 0, 100),
            damaged(Faults { seed: 8, ..ALL }, 0, 100)
        );
    }

    #[test]
    fn no_rates_no_damage() {
        let input: Vec<u8> = (0..5000_u32).map(|at| at.to_le_bytes()[0]).collect();
        assert_eq!(damaged(Faults::default(), 0, 100), input);
    }

    #[test]
    fn certain_loss_leaves_nothing_and_certain_flip_changes_all() {
        let drop = Faults {
            drop: 1.0,
            ..Faults::default()
        };
        assert!(damaged(drop, 0, 64).is_empty());
        let flip = Faults {
            flip: 1.0,
            ..Faults::default()
        };
        let clean = damaged(Faults::default(), 0, 64);
        let changed = damaged(flip, 0, 64);
        assert!(
            clean
                .iter()
                .zip(&changed)
                .all(|(a, b)| (a ^ b).count_ones() == 1)
        );
    }

    #[test]
    fn holes_are_runs_of_sixteen_bytes() {
        let faults = Faults {
            seed: 3,
            hole: 0.1,
            ..Faults::default()
        };
        let left = damaged(faults, 0, 977);
        let lost = 5000 - left.len();
        assert!(lost > 0 && lost.is_multiple_of(HOLE), "{lost}");
    }

    #[test]
    fn reordered_runs_are_all_there_but_what_still_waits() {
        let faults = Faults {
            seed: 5,
            reorder: 0.3,
            ..Faults::default()
        };
        let clean = damaged(Faults::default(), 0, 977);
        let mixed = damaged(faults, 0, 977);
        assert_eq!(mixed, damaged(faults, 0, 1));
        assert_ne!(mixed, clean);
        assert!(clean.len() - mixed.len() <= 2 * HOLE);
        let count = |bytes: &[u8]| bytes.iter().filter(|byte| **byte == 1).count();
        assert!(count(&clean) - count(&mixed) <= 1);
    }

    #[test]
    fn certain_duplicate_at_the_first_byte_is_no_panic() {
        let twice = Faults {
            duplicate: 1.0,
            ..Faults::default()
        };
        let mut output = Vec::new();
        Damage::new(twice, 0).apply(b"a", &mut output);
        assert_eq!(output, b"aa");
    }
}
