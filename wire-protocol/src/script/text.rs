//! Texts in memory, read in pieces that never reach into a page that the text does not.

use super::memory::Space;
use super::run::Run;
use super::{FaultKind, Machine, PIECE_BYTES};
use core::cmp::Ordering;

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
}

/// Reads one text, a character at a time.
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

    /// The next character; `None` if it cannot be read (a fault is noted) or the budget is spent.
    pub(super) fn next<M: Machine>(&mut self, run: &mut Run<'_, '_, M>) -> Option<u16> {
        let width = self.width.bytes();
        if self.at == self.len {
            self.fill(run)?;
        }
        let unit = self.piece.get(self.at..self.at + width)?;
        self.at += width;
        match *unit {
            [low] => Some(u16::from(low)),
            [low, high] => Some(u16::from_le_bytes([low, high])),
            _ => None,
        }
    }

    /// Up to the next multiple of the piece's size, or one character if not even that fits.
    fn fill<M: Machine>(&mut self, run: &mut Run<'_, '_, M>) -> Option<()> {
        if !run.charge(1) {
            return None;
        }
        let width = self.width.bytes();
        let before_end = PIECE_BYTES - (self.address % PIECE_BYTES as u64) as usize;
        let mut len = (before_end / width * width).max(width);
        if !run.try_read(Space::Virtual, self.address, self.piece.get_mut(..len)?) {
            // A variable may be shorter than a piece.
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
        while text.next(self).is_some_and(|unit| unit != 0) {
            count += 1;
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
            if left != right {
                return ordering(left.cmp(&right));
            }
            if left == 0 {
                break;
            }
            rest -= 1;
        }
        0
    }
}

/// -1, 0 or 1 as a value.
pub(super) fn ordering(order: Ordering) -> u64 {
    i64::from(order as i8) as u64
}
