//! Texts in memory, read in pieces that never reach into a page that the text does not, and
//! compared and measured by words of eight bytes.

use super::memory::Space;
use super::run::Run;
use super::{FaultKind, Machine, PIECE_BYTES};
use core::cmp::Ordering;

/// Bytes that are looked at together.
const WORD_BYTES: usize = 8;

/// Size of a character.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Width {
    Byte,
    Wide,
}

impl Width {
    pub(super) const fn bytes(self) -> usize {
        match self {
            Self::Byte => 1,
            Self::Wide => 2,
        }
    }

    /// The lowest bit of each character of a word.
    const fn lowest_bits(self) -> u64 {
        match self {
            Self::Byte => 0x0101_0101_0101_0101,
            Self::Wide => 0x0001_0001_0001_0001,
        }
    }

    /// Not zero if any character of a word is; the lowest bit that is set is the highest of the first that is.
    const fn zeros(self, word: u64) -> u64 {
        let lowest = self.lowest_bits();
        let highest = lowest << (8 * self.bytes() - 1);
        word.wrapping_sub(lowest) & !word & highest
    }

    /// Where the first character is that is zero in `left` or other than in `right`.
    fn first(self, left: &[u8], right: &[u8]) -> Option<usize> {
        let mut at = 0;
        let ((left, left_rest), (right, right_rest)) = (left.as_chunks(), right.as_chunks());
        for (left, right) in left.iter().zip(right) {
            let (left, right) = (u64::from_le_bytes(*left), u64::from_le_bytes(*right));
            let marks = self.zeros(left) | left ^ right;
            if marks != 0 {
                let byte = marks.trailing_zeros() as usize / 8;
                return Some(at + byte / self.bytes() * self.bytes());
            }
            at += WORD_BYTES;
        }
        let units = |bytes: &'_ [u8]| bytes.len() / self.bytes();
        (0..units(left_rest).min(units(right_rest)))
            .map(|unit| unit * self.bytes())
            .find(|&from| {
                let left = self.unit(left_rest, from);
                left == 0 || left != self.unit(right_rest, from)
            })
            .map(|from| at + from)
    }

    /// The character that begins at a byte.
    fn unit(self, bytes: &[u8], from: usize) -> u16 {
        match bytes.get(from..from + self.bytes()) {
            Some(&[low]) => u16::from(low),
            Some(&[low, high]) => u16::from_le_bytes([low, high]),
            _ => 0,
        }
    }
}

/// Reads one text, a piece at a time.
pub(super) struct Text {
    width: Width,
    /// Where the next piece begins.
    address: u64,
    piece: [u8; PIECE_BYTES],
    at: usize,
    len: usize,
}

impl Text {
    pub(super) fn new(address: u64, width: Width) -> Self {
        Self {
            width,
            address,
            piece: [0; PIECE_BYTES],
            at: 0,
            len: 0,
        }
    }

    /// What has been read and not been passed.
    fn here(&self) -> &[u8] {
        self.piece.get(self.at..self.len).unwrap_or_default()
    }

    /// The next characters, at least one; `None` if there is none that can be read (a fault is noted) or the
    /// budget is spent.
    fn next<M: Machine>(&mut self, run: &mut Run<'_, '_, M>) -> Option<&[u8]> {
        if self.at == self.len {
            self.fill(run)?;
        }
        Some(self.here())
    }

    /// The characters before the zero, and whether it comes then; else all that there are in this piece.
    pub(super) fn part<M: Machine>(&mut self, run: &mut Run<'_, '_, M>) -> Option<(&[u8], bool)> {
        let width = self.width;
        self.next(run)?;
        let (from, to) = (self.at, self.len);
        self.at = to;
        let part = self.piece.get(from..to)?;
        match width.first(part, part) {
            Some(end) => Some((part.get(..end)?, true)),
            None => Some((part, false)),
        }
    }

    /// Up to the next multiple of the piece's size, or one character if not even that fits.
    fn fill<M: Machine>(&mut self, run: &mut Run<'_, '_, M>) -> Option<()> {
        if !run.charge(1) {
            return None;
        }
        let width = self.width.bytes();
        let before_end = PIECE_BYTES - (self.address % PIECE_BYTES as u64) as usize;
        // A variable may be shorter than a piece.
        let before_end = run.own_bytes_at(self.address).unwrap_or(before_end);
        let mut len = (before_end.min(PIECE_BYTES) / width * width).max(width);
        let is_read = if len == PIECE_BYTES {
            // Of a known length: it is read in few instructions.
            run.try_read(Space::Virtual, self.address, &mut self.piece)
        } else {
            run.try_read(Space::Virtual, self.address, self.piece.get_mut(..len)?)
        };
        if !is_read {
            len = width;
            if !run.try_read(Space::Virtual, self.address, self.piece.get_mut(..len)?) {
                run.fault(FaultKind::Read(self.address));
                return None;
            }
        }
        self.address = self.address.wrapping_add(len as u64);
        self.at = 0;
        self.len = len;
        Some(())
    }
}

impl<M: Machine> Run<'_, '_, M> {
    /// Characters before the zero, or before what cannot be read.
    pub(super) fn text_length(&mut self, address: u64, width: Width) -> u64 {
        let mut text = Text::new(address, width);
        let mut count = 0;
        while let Some((part, is_last)) = text.part(self) {
            count += (part.len() / width.bytes()) as u64;
            if is_last {
                break;
            }
        }
        count
    }

    /// Below, equal or above: -1, 0 or 1. What cannot be read is below all that can be, and
    /// never equal.
    pub(super) fn text_compare(&mut self, a: u64, b: u64, most: u64, width: Width) -> u64 {
        let mut a = Text::new(a, width);
        let mut b = Text::new(b, width);
        let mut rest = most;
        while rest > 0 {
            let Some(left) = a.next(self) else {
                return ordering(Ordering::Less);
            };
            let Some(right) = b.next(self) else {
                return ordering(Ordering::Greater);
            };
            let wanted = usize::try_from(rest).unwrap_or(usize::MAX);
            let units = left.len().min(right.len()) / width.bytes();
            let units = units.min(wanted);
            let bytes = units * width.bytes();
            let (left, right) = (left.get(..bytes), right.get(..bytes));
            let (left, right) = (left.unwrap_or_default(), right.unwrap_or_default());
            if let Some(at) = width.first(left, right) {
                return ordering(width.unit(left, at).cmp(&width.unit(right, at)));
            }
            a.at += bytes;
            b.at += bytes;
            rest -= units as u64;
        }
        0
    }
}

/// -1, 0 or 1 as a value.
pub(super) fn ordering(order: Ordering) -> u64 {
    i64::from(order as i8) as u64
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// One character after the other.
    fn slowly(width: Width, left: &[u8], right: &[u8]) -> Option<usize> {
        let size = width.bytes();
        let pairs = left.chunks_exact(size).zip(right.chunks_exact(size));
        let at = pairs
            .into_iter()
            .position(|(left, right)| left != right || left.iter().all(|&byte| byte == 0));
        at.map(|unit| unit * size)
    }

    proptest! {
        #![proptest_config(crate::proptest_config())]

        #[test]
        fn the_first_character_that_matters_is_found(
            left in proptest::collection::vec(0..3_u8, 0..40),
            at in 0..40_usize,
            other in 0..3_u8,
        ) {
            let mut right = left.clone();
            if let Some(byte) = right.get_mut(at) {
                *byte = other;
            }
            for width in [Width::Byte, Width::Wide] {
                prop_assert_eq!(width.first(&left, &right), slowly(width, &left, &right));
            }
            let full: std::vec::Vec<u8> = left.iter().map(|byte| byte | 0x80).collect();
            for width in [Width::Byte, Width::Wide] {
                prop_assert_eq!(width.first(&full, &full), None);
            }
        }
    }
}
