//! Where the registers of a card of VIRTIO are: the card says it in its configuration space, in pieces, each with a base address
//! register and a distance. Pure; at load.
//!
//! Source: VIRTIO 1.2, "Virtio Structure PCI Capabilities" 4.1.4.

use crate::transport::net::card::{Config, SECOND_WINDOW, WINDOWS};

/// In the configuration space: whether there are capabilities, and where the first is (PCI Local Bus Specification 3.0, 6.7).
const STATUS: usize = 0x06;
const HAS_CAPABILITIES: u8 = 1 << 4;
const FIRST: usize = 0x34;
/// Of a vendor's own.
const VENDOR_SPECIFIC: u8 = 0x09;
/// More do not fit in 256 bytes.
const MOST: usize = 48;
/// Base address registers that there are.
const BARS: u8 = 6;

/// Kinds of piece.
const COMMON: u8 = 1;
const NOTIFY: u8 = 2;
const DEVICE: u8 = 4;
/// Bytes that are used of the first and the last.
const COMMON_BYTES: u32 = 0x38;
const DEVICE_BYTES: u32 = 6;

/// See the module.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Places {
    /// The base address registers of the windows.
    pub(crate) bars: [Option<u8>; WINDOWS],
    /// As many bytes of each window the pieces take.
    pub(crate) window_bytes: [u32; WINDOWS],
    pub(super) common: u32,
    pub(super) device: u32,
    notify: u32,
    notify_bytes: u32,
    notify_step: u32,
}

/// Where a piece is.
#[derive(Clone, Copy)]
struct Piece {
    bar: u8,
    offset: u32,
    len_bytes: u32,
    /// What follows, of the one that has it.
    step: u32,
}

impl Places {
    /// As the card says. Nothing where it says too little, or more than two base address registers.
    pub(crate) fn of(config: &Config) -> Option<Self> {
        let byte = |at: usize| config.get(at).copied().unwrap_or_default();
        let word = |at: usize| u32::from_le_bytes([0, 1, 2, 3].map(|more| byte(at + more)));
        if byte(STATUS) & HAS_CAPABILITIES == 0 {
            return None;
        }
        // The first of each kind is the one that the card would rather have used.
        let mut pieces: [Option<Piece>; 5] = [None; 5];
        let mut at = usize::from(byte(FIRST) & !3);
        for _ in 0..MOST {
            if at == 0 {
                break;
            }
            let bar = byte(at + 4);
            let slot = pieces.get_mut(usize::from(byte(at + 3)));
            if let Some(slot) = slot
                && byte(at) == VENDOR_SPECIFIC
                && slot.is_none()
                && bar < BARS
            {
                *slot = Some(Piece {
                    bar,
                    offset: word(at + 8),
                    len_bytes: word(at + 12),
                    step: word(at + 16),
                });
            }
            at = usize::from(byte(at + 1) & !3);
        }
        let mut places = Self::default();
        let piece = |kind: u8| pieces.get(usize::from(kind)).copied().flatten();
        places.common = places.put(piece(COMMON)?, COMMON_BYTES)?;
        places.device = places.put(piece(DEVICE)?, DEVICE_BYTES)?;
        let notify = piece(NOTIFY)?;
        places.notify = places.put(notify, 2)?;
        places.notify_bytes = notify.len_bytes;
        places.notify_step = notify.step;
        Some(places)
    }

    /// Where a piece that has so many bytes at least begins among the registers.
    fn put(&mut self, piece: Piece, least_bytes: u32) -> Option<u32> {
        let end = piece.offset.checked_add(piece.len_bytes)?;
        if piece.len_bytes < least_bytes || end > SECOND_WINDOW || !piece.offset.is_multiple_of(4) {
            return None;
        }
        let window = self
            .bars
            .iter()
            .position(|bar| bar.is_none_or(|bar| bar == piece.bar))?;
        *self.bars.get_mut(window)? = Some(piece.bar);
        let bytes = self.window_bytes.get_mut(window)?;
        *bytes = end.max(*bytes);
        Some(window as u32 * SECOND_WINDOW + piece.offset)
    }

    /// Where a queue is told that there is something new, by what it says itself.
    pub(super) fn notify_at(&self, offset: u16) -> u32 {
        let at = u32::from(offset).saturating_mul(self.notify_step);
        // None but a card that is out of order says more.
        self.notify
            + if at.saturating_add(2) <= self.notify_bytes {
                at
            } else {
                0
            }
    }
}
