//! Bytes that come late, each behind the one before it, repeatable from a seed.
//!
//! Called by `line` for each direction.

use crate::faults::Faults;
use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// So many bytes are late together.
const RUN: usize = 16;

/// What one direction holds back.
#[derive(Debug)]
pub(crate) struct Delay {
    longest: Duration,
    random: fastrand::Rng,
    /// Bytes that are left of a run, and how late it is.
    run: (usize, Duration),
    waiting: VecDeque<(Instant, u8)>,
}

impl Delay {
    /// `direction` keeps the two directions of a line from being late alike.
    pub(crate) fn new(faults: Faults, direction: u64) -> Self {
        let seed = faults.seed.wrapping_mul(2).wrapping_add(direction);
        Self {
            longest: faults.delay,
            random: fastrand::Rng::with_seed(seed),
            run: (0, Duration::ZERO),
            waiting: VecDeque::new(),
        }
    }

    /// Takes what was sent `now`.
    pub(crate) fn put(&mut self, bytes: &[u8], now: Instant) {
        for byte in bytes {
            if self.run.0 == 0 {
                self.run = (RUN, self.longest.mul_f64(self.random.f64()));
            }
            self.run.0 -= 1;
            let due = now + self.run.1;
            let last = self.waiting.back().map_or(due, |(last, _)| *last);
            self.waiting.push_back((due.max(last), *byte));
        }
    }

    /// Appends to `output` what has come by `now`.
    pub(crate) fn take(&mut self, now: Instant, output: &mut Vec<u8>) {
        while let Some((_, byte)) = self.waiting.pop_front_if(|(due, _)| *due <= now) {
            output.push(byte);
        }
    }

    /// Appends all that waits: nothing is late any more.
    pub(crate) fn end(self, output: &mut Vec<u8>) {
        output.extend(self.waiting.into_iter().map(|(_, byte)| byte));
    }

    /// When something comes next.
    pub(crate) fn next(&self) -> Option<Instant> {
        self.waiting.front().map(|(due, _)| *due)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FAULTS: Faults = Faults {
        seed: 7,
        flip: 0.0,
        drop: 0.0,
        insert: 0.0,
        duplicate: 0.0,
        hole: 0.0,
        reorder: 0.0,
        delay: Duration::from_millis(100),
    };

    /// How much has come after so many milliseconds.
    fn came(delay: &mut Delay, sent: Instant, after_ms: u64) -> Vec<u8> {
        let mut output = Vec::new();
        delay.take(sent + Duration::from_millis(after_ms), &mut output);
        output
    }

    #[test]
    fn bytes_come_late_in_order_and_all_of_them() {
        let sent = Instant::now();
        let bytes: Vec<u8> = (0..200).collect();
        let mut delay = Delay::new(FAULTS, 0);
        delay.put(&bytes, sent);
        assert!(delay.next().is_some_and(|due| due > sent));
        let mut output = came(&mut delay, sent, 50);
        assert!(output.len() < bytes.len());
        output.extend(came(&mut delay, sent, 100));
        assert_eq!(output, bytes);
        assert_eq!(delay.next(), None);
    }

    #[test]
    fn same_seed_same_delay_however_the_stream_is_cut() {
        let sent = Instant::now();
        let bytes: Vec<u8> = (0..200).collect();
        let late = |cut| {
            let mut delay = Delay::new(FAULTS, 1);
            bytes.chunks(cut).for_each(|part| delay.put(part, sent));
            came(&mut delay, sent, 60)
        };
        assert_eq!(late(1), late(77));
    }

    #[test]
    fn what_waits_comes_at_once_when_nothing_is_late_any_more() {
        let mut delay = Delay::new(FAULTS, 0);
        delay.put(b"late", Instant::now());
        let mut output = Vec::new();
        delay.end(&mut output);
        assert_eq!(output, b"late");
    }
}
