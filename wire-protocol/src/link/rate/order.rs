//! What is said about the rate: kind, number of the attempt, fields, each lowest byte first.

use nom::IResult;
use nom::Parser;
use nom::bytes::complete::tag;
use nom::combinator::{all_consuming, map, verify};
use nom::error::{Error, ErrorKind};
use nom::number::complete::{le_u32, le_u64, u8};

/// Every byte once: all there is to be got wrong.
const PATTERN: [u8; 256] = pattern();

/// Kind, attempt and the longest fields.
const HEAD_BYTES_MAX: usize = 18;

/// An order of the initiator's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Order {
    /// Where are you, and what can your UART do?
    Look { attempt: u8 },
    /// Say that you will, and change. Go back if nothing good comes for so long.
    Change {
        attempt: u8,
        baud_hz: u32,
        patience_ms: u32,
    },
    /// Give these bytes back.
    Probe { attempt: u8 },
    /// The rate is good.
    Keep { attempt: u8 },
    /// Go to the rate that you began at: there is nobody any more.
    Leave { attempt: u8 },
}

/// An answer of the responder's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    /// To [`Order::Look`]; and in no session, to whoever sends garbage.
    Here { attempt: u8, here: Here },
    /// It changes now.
    Changing { attempt: u8 },
    /// Its UART does not make that rate.
    Impossible { attempt: u8 },
    /// The bytes of the probe.
    Probed { attempt: u8 },
    /// To [`Order::Keep`] and [`Order::Leave`].
    Kept { attempt: u8 },
    /// Too much of what comes is damaged.
    Unclean,
}

/// What the responder says of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Here {
    /// Where it began.
    pub(super) load_hz: u32,
    /// 0: it stays there.
    pub(super) clock_hz: u32,
    /// Its clock, which may run otherwise than the initiator's.
    pub(super) now_us: u64,
}

/// Encoded.
pub(super) struct Words {
    head: [u8; HEAD_BYTES_MAX],
    len: usize,
    has_pattern: bool,
}

impl Words {
    fn new(kind: u8, attempt: u8) -> Self {
        let empty = Self {
            head: [0; HEAD_BYTES_MAX],
            len: 0,
            has_pattern: false,
        };
        empty.with(&[kind, attempt])
    }

    fn with(mut self, bytes: &[u8]) -> Self {
        let end = self.len + bytes.len();
        if let Some(place) = self.head.get_mut(self.len..end) {
            place.copy_from_slice(bytes);
            self.len = end;
        }
        self
    }

    fn with_pattern(mut self) -> Self {
        self.has_pattern = true;
        self
    }

    /// For [`crate::frame::encode`].
    pub(super) fn pieces(&self) -> [&[u8]; 3] {
        let pattern: &[u8] = if self.has_pattern { &PATTERN } else { &[] };
        [self.head.get(..self.len).unwrap_or_default(), pattern, &[]]
    }
}

impl Order {
    pub(super) fn words(self) -> Words {
        match self {
            Self::Look { attempt } => Words::new(0, attempt),
            Self::Change {
                attempt,
                baud_hz,
                patience_ms,
            } => Words::new(1, attempt)
                .with(&baud_hz.to_le_bytes())
                .with(&patience_ms.to_le_bytes()),
            Self::Probe { attempt } => Words::new(2, attempt).with_pattern(),
            Self::Keep { attempt } => Words::new(3, attempt),
            Self::Leave { attempt } => Words::new(4, attempt),
        }
    }
}

impl Answer {
    /// The attempt that it answers.
    pub(super) const fn attempt(self) -> Option<u8> {
        match self {
            Self::Here { attempt, .. }
            | Self::Changing { attempt }
            | Self::Impossible { attempt }
            | Self::Probed { attempt }
            | Self::Kept { attempt } => Some(attempt),
            Self::Unclean => None,
        }
    }

    pub(super) fn words(self) -> Words {
        match self {
            Self::Here { attempt, here } => Words::new(0, attempt)
                .with(&here.load_hz.to_le_bytes())
                .with(&here.clock_hz.to_le_bytes())
                .with(&here.now_us.to_le_bytes()),
            Self::Changing { attempt } => Words::new(1, attempt),
            Self::Probed { attempt } => Words::new(2, attempt).with_pattern(),
            Self::Kept { attempt } => Words::new(3, attempt),
            Self::Impossible { attempt } => Words::new(4, attempt),
            Self::Unclean => Words::new(5, 0),
        }
    }
}

/// Reads an order.
pub(super) fn order(payload: &[u8]) -> IResult<&[u8], Order> {
    let (rest, (kind, attempt)) = (u8, u8).parse(payload)?;
    let fields = (le_u32, le_u32);
    match kind {
        0 => end(rest, Order::Look { attempt }),
        1 => all_consuming(map(fields, |(baud_hz, patience_ms)| Order::Change {
            attempt,
            baud_hz,
            patience_ms,
        }))
        .parse(rest),
        2 => probe(rest, Order::Probe { attempt }),
        3 => end(rest, Order::Keep { attempt }),
        4 => end(rest, Order::Leave { attempt }),
        _ => unknown(payload),
    }
}

/// Reads an answer.
pub(super) fn answer(payload: &[u8]) -> IResult<&[u8], Answer> {
    let (rest, (kind, attempt)) = (u8, u8).parse(payload)?;
    let fields = (le_u32, le_u32, le_u64);
    match kind {
        0 => all_consuming(map(fields, |(load_hz, clock_hz, now_us)| Answer::Here {
            attempt,
            here: Here {
                load_hz,
                clock_hz,
                now_us,
            },
        }))
        .parse(rest),
        1 => end(rest, Answer::Changing { attempt }),
        2 => probe(rest, Answer::Probed { attempt }),
        3 => end(rest, Answer::Kept { attempt }),
        4 => end(rest, Answer::Impossible { attempt }),
        5 if attempt == 0 => end(rest, Answer::Unclean),
        _ => unknown(payload),
    }
}

fn end<T: Copy>(rest: &[u8], value: T) -> IResult<&[u8], T> {
    map(verify(nom::combinator::rest, <[u8]>::is_empty), |_| value).parse(rest)
}

fn probe<T: Copy>(rest: &[u8], value: T) -> IResult<&[u8], T> {
    all_consuming(map(tag(&PATTERN[..]), |_: &[u8]| value)).parse(rest)
}

fn unknown<T>(payload: &[u8]) -> IResult<&[u8], T> {
    Err(nom::Err::Error(Error::new(payload, ErrorKind::Switch)))
}

const fn pattern() -> [u8; 256] {
    let mut bytes = [0; 256];
    let mut next = 0_u8;
    let mut left: &mut [u8] = &mut bytes;
    while let Some((first, rest)) = left.split_first_mut() {
        *first = next;
        next = next.wrapping_add(167);
        left = rest;
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proptest_config;
    use proptest::prelude::*;
    use std::vec::Vec;

    #[test]
    fn the_pattern_has_every_byte() {
        let mut sorted = PATTERN;
        sorted.sort_unstable();
        assert!(sorted.into_iter().eq(0..=255));
    }

    proptest! {
        #![proptest_config(proptest_config())]
        #[test]
        fn what_is_written_is_read_back(attempt: u8, one: u32, two: u32, three: u64) {
            for said in [
                Order::Look { attempt },
                Order::Change { attempt, baud_hz: one, patience_ms: two },
                Order::Probe { attempt },
                Order::Keep { attempt },
                Order::Leave { attempt },
            ] {
                let bytes = said.words().pieces().concat();
                prop_assert_eq!(order(&bytes), Ok((&[][..], said)));
                prop_assert!(order(&bytes[..bytes.len() - 1]).is_err());
                let longer: Vec<u8> = bytes.iter().copied().chain([0]).collect();
                prop_assert!(order(&longer).is_err());
            }
            for said in [
                Answer::Here {
                    attempt,
                    here: Here { load_hz: one, clock_hz: two, now_us: three },
                },
                Answer::Changing { attempt },
                Answer::Impossible { attempt },
                Answer::Probed { attempt },
                Answer::Kept { attempt },
                Answer::Unclean,
            ] {
                let bytes = said.words().pieces().concat();
                prop_assert_eq!(answer(&bytes), Ok((&[][..], said)));
                prop_assert!(answer(&bytes[..bytes.len() - 1]).is_err());
            }
        }

        #[test]
        fn any_bytes_are_something_or_nothing(bytes: Vec<u8>) {
            if let Ok((rest, said)) = order(&bytes) {
                prop_assert!(rest.is_empty());
                prop_assert_eq!(said.words().pieces().concat(), bytes.clone());
            }
            if let Ok((rest, said)) = answer(&bytes) {
                prop_assert!(rest.is_empty());
                prop_assert_eq!(said.words().pieces().concat(), bytes);
            }
        }
    }
}
