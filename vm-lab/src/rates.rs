//! A serial line with a rate at each end: what a receiver makes of bits that were sent at another rate.
//!
//! Called by `line`. The rate of the debuggee's end is what its UART was programmed with; the emulator says it between
//! the bytes. The rate of the host's end is that of the pseudo-terminal which it has open.

use crate::faults::{Damage, Faults};
use std::collections::VecDeque;

/// Start bit, eight data bits, stop bit.
const BITS: u64 = 10;

/// Of each byte at a rate that the line does not let through.
const DAMAGED: f64 = 0.4;

/// A receiver that samples the middle of each of its own bits. Times are in parts of a second of which both rates' bits,
/// and their halves, are whole numbers.
#[derive(Debug)]
struct Sampler {
    sent_hz: u64,
    read_hz: u64,
    /// What was sent: levels, one for each of the sender's bits; before and behind them the line is high.
    bits: VecDeque<bool>,
    /// Time of the first of them.
    begin: u64,
    state: State,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// It waits for a start bit, from this time on.
    Idle(u64),
    /// A start bit begins at this time.
    Start(u64),
    /// The line was low where it should have been high, and is waited for.
    Break(u64),
}

impl Sampler {
    fn new(sent_hz: u32, read_hz: u32) -> Self {
        Self {
            sent_hz: sent_hz.into(),
            read_hz: read_hz.into(),
            bits: VecDeque::new(),
            begin: 0,
            state: State::Idle(0),
        }
    }

    const fn sent_bit(&self) -> u64 {
        2 * self.read_hz
    }

    const fn read_bit(&self) -> u64 {
        2 * self.sent_hz
    }

    fn end(&self) -> u64 {
        self.begin + self.bits.len() as u64 * self.sent_bit()
    }

    fn send(&mut self, byte: u8) {
        self.bits.push_back(false);
        self.bits.extend((0..8).map(|bit| byte >> bit & 1 != 0));
        self.bits.push_back(true);
    }

    /// Nothing is sent for as long as a byte takes at the slower of the rates, so that what was sent is read to its end.
    fn rest(&mut self) {
        let count = BITS * self.sent_hz.div_ceil(self.read_hz).max(1) + 1;
        self.bits.extend((0..count).map(|_| true));
    }

    fn level(&self, at: u64) -> bool {
        let index = (at - self.begin) / self.sent_bit();
        let index = usize::try_from(index).unwrap_or(usize::MAX);
        self.bits.get(index).copied().unwrap_or(true)
    }

    /// When the line is at that level first, not before `from`.
    fn when(&self, level: bool, from: u64) -> Option<u64> {
        let first = (from - self.begin) / self.sent_bit();
        let first = usize::try_from(first).unwrap_or(usize::MAX);
        let index = (first..self.bits.len()).find(|index| self.bits[*index] == level)?;
        Some(from.max(self.begin + index as u64 * self.sent_bit()))
    }

    /// What is read of all that is there.
    fn read(&mut self, output: &mut Vec<u8>) {
        loop {
            self.state = match self.state {
                State::Idle(from) => match self.when(false, from) {
                    Some(at) => State::Start(at),
                    None => break,
                },
                State::Break(from) => match self.when(true, from) {
                    Some(at) => State::Idle(at),
                    None => break,
                },
                State::Start(at) => {
                    let middle = |bit: u64| at + self.read_bit() * bit + self.read_bit() / 2;
                    if middle(BITS - 1) >= self.end() {
                        break;
                    }
                    if self.level(middle(0)) {
                        // Too short for a start bit.
                        State::Idle(middle(0))
                    } else {
                        let bits = (0..8).map(|bit| u8::from(self.level(middle(bit + 1))) << bit);
                        let byte = bits.sum();
                        output.push(byte);
                        match (self.level(middle(BITS - 1)), byte) {
                            (true, _) => State::Idle(middle(BITS - 1)),
                            (false, 0) => State::Break(middle(BITS - 1)),
                            // A 16550 takes it for the next start bit.
                            (false, _) => State::Start(at + self.read_bit() * (BITS - 1)),
                        }
                    }
                }
            };
        }
        self.forget();
    }

    /// What is before the time that matters is not needed any more. Without anything to wait for, time ends with the bits.
    fn forget(&mut self) {
        let (State::Idle(from) | State::Break(from) | State::Start(from)) = self.state;
        let from = match self.state {
            State::Start(_) => from,
            _ => from.max(self.end()),
        };
        while self.begin + self.sent_bit() <= from && self.bits.pop_front().is_some() {
            self.begin += self.sent_bit();
        }
        match &mut self.state {
            State::Idle(at) | State::Break(at) => *at = from,
            State::Start(_) => {}
        }
        let (State::Idle(at) | State::Break(at) | State::Start(at)) = &mut self.state;
        *at -= self.begin;
        self.begin = 0;
    }
}

/// One direction between two ends with rates of their own.
#[derive(Debug)]
pub(crate) struct Direction {
    sampler: Option<Sampler>,
    damage: Damage,
}

/// What there is to know about both ends, for as long as it holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ends {
    /// Who sends.
    pub(crate) sent_hz: u32,
    /// Who receives.
    pub(crate) read_hz: u32,
    /// Bytes at higher rates are damaged.
    pub(crate) highest_hz: u32,
}

impl Direction {
    pub(crate) fn new(direction: u64) -> Self {
        let faults = Faults {
            seed: 1,
            flip: DAMAGED,
            ..Faults::default()
        };
        Self {
            sampler: None,
            damage: Damage::new(faults, direction),
        }
    }

    /// Appends to `output` what is read of `bytes`. The end of what is read now may come with the next ones.
    pub(crate) fn pass(&mut self, ends: Ends, bytes: &[u8], output: &mut Vec<u8>) {
        let Ends {
            sent_hz,
            read_hz,
            highest_hz,
        } = ends;
        let mut damaged = Vec::new();
        let mut bytes = bytes;
        if sent_hz > highest_hz {
            self.damage.apply(bytes, &mut damaged);
            bytes = &damaged;
        }
        let is_same = |it: &Sampler| (it.sent_hz, it.read_hz) == (sent_hz.into(), read_hz.into());
        if !self.sampler.as_ref().is_some_and(is_same) {
            self.sampler = (sent_hz != read_hz).then(|| Sampler::new(sent_hz, read_hz));
        }
        match &mut self.sampler {
            Some(sampler) => {
                bytes.iter().for_each(|byte| sampler.send(*byte));
                sampler.read(output);
            }
            None => output.extend(bytes),
        }
    }

    /// Something was sent whose end was not read yet.
    pub(crate) fn is_waiting(&self) -> bool {
        let sampler = self.sampler.as_ref();
        sampler.is_some_and(|sampler| !sampler.bits.is_empty())
    }

    /// Nothing more is sent for a while.
    pub(crate) fn rest(&mut self, output: &mut Vec<u8>) {
        if let Some(sampler) = &mut self.sampler {
            sampler.rest();
            sampler.read(output);
        }
    }
}

/// Bytes of the emulator's, or what its UART's rate is from there on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Said {
    Byte(u8),
    Rate(u32),
}

/// Takes apart what the emulator's second port says: RFC 2217, "Set Baud Rate", of which nothing else occurs.
#[derive(Debug, Default)]
pub(crate) struct Reader {
    escape: Vec<u8>,
}

const ESCAPE: u8 = 255;
const BEGIN: [u8; 4] = [ESCAPE, 250, 44, 1];
const END: [u8; 2] = [ESCAPE, 240];

impl Reader {
    /// The next byte; `None` if what it belongs to has not ended.
    pub(crate) fn take(&mut self, byte: u8) -> Option<Said> {
        if self.escape.is_empty() && byte != ESCAPE {
            return Some(Said::Byte(byte));
        }
        self.escape.push(byte);
        if self.escape == [ESCAPE, ESCAPE] {
            self.escape.clear();
            return Some(Said::Byte(ESCAPE));
        }
        let inside = self.escape.strip_prefix(&BEGIN)?.strip_suffix(&END)?;
        let mut rate = Vec::new();
        let mut was_escape = false;
        for byte in inside {
            was_escape = *byte == ESCAPE && !was_escape;
            if !was_escape {
                rate.push(*byte);
            }
        }
        let rate = u32::from_be_bytes(rate.try_into().ok()?);
        self.escape.clear();
        Some(Said::Rate(rate))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// All that a receiver reads, of a burst.
    fn read(sent_hz: u32, read_hz: u32, bytes: &[u8]) -> Vec<u8> {
        let mut sampler = Sampler::new(sent_hz, read_hz);
        let mut output = Vec::new();
        bytes.iter().for_each(|byte| sampler.send(*byte));
        sampler.rest();
        sampler.read(&mut output);
        output
    }

    #[test]
    fn a_receiver_at_half_the_rate_sees_every_other_bit() {
        // Low for nine of the sender's bits, which is until the middle of the receiver's fifth.
        assert_eq!(read(19_200, 9600, &[0]), [0xf8]);
        assert_eq!(
            read(19_200, 9600, &[0xff]),
            [] as [u8; 0],
            "too short for a start bit"
        );
    }

    #[test]
    fn a_receiver_at_twelve_times_the_rate_sees_long_levels() {
        // The start bit is twelve bits low: a byte of zeroes without a stop bit, then it waits for the line to be high.
        assert_eq!(read(9600, 115_200, &[0xff]), [0]);
        // Nine bits low, one long break.
        assert_eq!(read(9600, 115_200, &[0x00]), [0]);
        // Each bit that is 0 is one, where a 1 stands before it.
        assert_eq!(read(9600, 115_200, &[0x55]), [0; 5]);
    }

    #[test]
    fn twice_the_rate_shows_each_bit_twice() {
        // Start twice; bits 0..3 of 0xff twice each make the byte, and more of the same the stop bit.
        assert_eq!(read(9600, 19_200, &[0xff]), [0b1111_1110]);
    }

    #[test]
    fn rates_that_differ_by_less_than_a_uart_bears_are_the_same() {
        let bytes: Vec<u8> = (0..=255).collect();
        for (sent_hz, read_hz) in [(115_200, 115_385), (115_385, 115_200), (9600, 9500)] {
            assert_eq!(read(sent_hz, read_hz, &bytes), bytes, "{sent_hz} {read_hz}");
        }
        assert_ne!(read(9600, 10_200, &bytes), bytes);
    }

    #[test]
    fn what_the_line_does_not_let_through_is_damaged() {
        let bytes: Vec<u8> = (0..=255).collect();
        let ends = |highest_hz| Ends {
            sent_hz: 115_200,
            read_hz: 115_200,
            highest_hz,
        };
        let pass = |highest_hz| {
            let mut output = Vec::new();
            Direction::new(0).pass(ends(highest_hz), &bytes, &mut output);
            output
        };
        assert_eq!(pass(115_200), bytes);
        let damaged = pass(57_600);
        assert_eq!(damaged.len(), bytes.len());
        let wrong = bytes.iter().zip(&damaged).filter(|(a, b)| a != b).count();
        assert!((70..140).contains(&wrong), "{wrong}");
    }

    #[test]
    fn what_the_emulator_says_is_taken_apart() {
        let mut reader = Reader::default();
        let mut said = Vec::new();
        let stream = [
            &[1, 255, 255, 0][..],
            &[255, 250, 44, 1, 0, 1, 0xc2, 0, 255, 240],
            &[7, 255, 250, 44, 1, 0, 0, 255, 255, 0, 255, 240, 255, 255],
        ];
        for byte in stream.concat() {
            said.extend(reader.take(byte));
        }
        let expected = [
            Said::Byte(1),
            Said::Byte(255),
            Said::Byte(0),
            Said::Rate(115_200),
            Said::Byte(7),
            Said::Rate(0xff00),
            Said::Byte(255),
        ];
        assert_eq!(said, expected);
    }

    fn rate() -> impl Strategy<Value = u32> {
        prop::sample::select(vec![1200, 9600, 19_200, 38_400, 57_600, 115_200, 921_600])
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]
        #[test]
        fn at_one_rate_all_is_read_as_it_was_sent(rate in rate(), bytes: Vec<u8>) {
            prop_assert_eq!(read(rate, rate, &bytes), bytes);
        }

        #[test]
        fn it_is_read_alike_however_it_is_cut(sent in rate(), got in rate(), bytes: Vec<u8>, cut in 1_usize..9) {
            let mut sampler = Sampler::new(sent, got);
            let mut output = Vec::new();
            for part in bytes.chunks(cut) {
                part.iter().for_each(|byte| sampler.send(*byte));
                sampler.read(&mut output);
            }
            sampler.rest();
            sampler.read(&mut output);
            prop_assert_eq!(output, read(sent, got, &bytes));
            prop_assert!(sampler.bits.len() < 200, "it forgets");
        }

        #[test]
        fn no_more_is_read_than_there_is_time_for(sent in rate(), got in rate(), bytes: Vec<u8>) {
            let bits = bytes.len() * 10 + 10;
            let time = bits as f64 / f64::from(sent) + 10.0 / f64::from(got);
            let most = (time * f64::from(got) / 9.0).ceil() as usize + 1;
            prop_assert!(read(sent, got, &bytes).len() <= most);
        }
    }
}
