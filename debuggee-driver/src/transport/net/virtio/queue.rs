//! A split queue: buffers that are given to a card, and come back from it.
//!
//! Source: VIRTIO 1.2, "Split Virtqueues" 2.7.

use crate::transport::net::card::CardIo;

/// Of a descriptor: the card writes its buffer.
pub(super) const CARD_WRITES: u64 = 2;
/// It reads it.
pub(super) const CARD_READS: u64 = 0;

/// Of the available ring: no interrupts are wanted ("Used Buffer Notification Suppression" 2.7.7).
const NO_INTERRUPT: u16 = 1;

const DESCRIPTOR_BYTES: usize = 16;
const USED_BYTES: usize = 8;
/// Flags and index in front of each ring.
const HEAD_BYTES: usize = 4;
const INDEX: usize = 2;

/// Where the descriptors, the available ring and the used ring of a queue of `count` at `at` are.
pub(super) const fn parts(at: usize, count: usize) -> [usize; 3] {
    let available = at + count * DESCRIPTOR_BYTES;
    let used = (available + HEAD_BYTES + 2 * count).next_multiple_of(USED_BYTES);
    [at, available, used]
}

/// Bytes of a queue of `count`, so that another may stand behind it.
pub(super) const fn bytes(count: usize) -> usize {
    let [_, _, used] = parts(0, count);
    (used + HEAD_BYTES + USED_BYTES * count).next_multiple_of(DESCRIPTOR_BYTES)
}

/// See the module. Each buffer has the descriptor of its number; counts go round at 65,536.
pub(super) struct Queue {
    count: usize,
    descriptors: usize,
    available: usize,
    used: usize,
    given: u16,
    taken: u16,
}

impl Queue {
    /// The card has none of its buffers. `count` is a power of two.
    pub(super) const fn new(at: usize, count: usize) -> Self {
        let [descriptors, available, used] = parts(at, count);
        Self {
            count,
            descriptors,
            available,
            used,
            given: 0,
            taken: 0,
        }
    }

    /// Writes that both rings are empty, while the card does not look.
    pub(super) fn clear(&self, io: &mut impl CardIo) {
        io.write(self.available, &NO_INTERRUPT.to_le_bytes());
        io.write(self.available + INDEX, &[0; 2]);
        io.write(self.used, &[0; HEAD_BYTES]);
    }

    /// Says where buffer `index` is, and who writes it. It is not the card's now.
    pub(super) fn describe(
        &self,
        io: &mut impl CardIo,
        index: usize,
        address: u64,
        len_bytes: usize,
        flags: u64,
    ) {
        let at = self.descriptors + index * DESCRIPTOR_BYTES;
        io.set_word(at, address);
        io.set_word(at + 8, len_bytes as u64 | flags << 32);
    }

    /// Buffer `index` is the card's from now on.
    pub(super) fn give(&mut self, io: &mut impl CardIo, index: usize) {
        let slot = usize::from(self.given) % self.count;
        let at = self.available + HEAD_BYTES + 2 * slot;
        io.write(at, &(index as u16).to_le_bytes());
        self.given = self.given.wrapping_add(1);
        io.write(self.available + INDEX, &self.given.to_le_bytes());
    }

    /// The card is done with a buffer.
    pub(super) fn has_used(&self, io: &impl CardIo) -> bool {
        let mut index = [0; 2];
        io.read(self.used + INDEX, &mut index);
        u16::from_le_bytes(index) != self.taken
    }

    /// Takes the next buffer that the card is done with: its number, and how many bytes were written.
    pub(super) fn used(&mut self, io: &impl CardIo) -> Option<(usize, usize)> {
        if !self.has_used(io) {
            return None;
        }
        let slot = usize::from(self.taken) % self.count;
        let mut told = [0; USED_BYTES];
        io.read(self.used + HEAD_BYTES + USED_BYTES * slot, &mut told);
        self.taken = self.taken.wrapping_add(1);
        let [a, b, c, d, e, f, g, h] = told;
        let index = u32::from_le_bytes([a, b, c, d]) as usize;
        let len_bytes = u32::from_le_bytes([e, f, g, h]) as usize;
        // None but a card that is out of order says another number.
        Some((index % self.count, len_bytes))
    }
}
