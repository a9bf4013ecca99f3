//! Frames to be sent, in a ring: `[length and flags, 2 bytes][payload]` each, oldest first.

use crate::frame::Flags;

const RECORD_HEAD_BYTES: usize = 2;
const LEN_MASK: u16 = 0x3fff;
const FIRST: u16 = 0x4000;
const LAST: u16 = 0x8000;

const _: () = assert!(crate::limits::FRAME_PAYLOAD_BYTES <= LEN_MASK as usize);

#[derive(Debug)]
pub(super) struct Queue<'b> {
    ring: &'b mut [u8],
    start: usize,
    len: usize,
}

/// One frame of the queue. The payload is in two pieces where the ring wraps.
pub(super) struct Record<'a> {
    pub(super) flags: Flags,
    pub(super) payload: (&'a [u8], &'a [u8]),
    /// Where the next record starts.
    pub(super) end: usize,
}

impl Record<'_> {
    /// Bytes of payload.
    pub(super) fn len(&self) -> usize {
        self.payload.0.len() + self.payload.1.len()
    }

    /// The bytes of its payload from `from` up to `to`.
    pub(super) fn part(self, from: usize, to: usize) -> Self {
        let (first, second) = self.payload;
        let behind = |at: usize| at.saturating_sub(first.len());
        Self {
            payload: (cut(first, from, to), cut(second, behind(from), behind(to))),
            ..self
        }
    }
}

/// What of `piece` lies there.
fn cut(piece: &[u8], from: usize, to: usize) -> &[u8] {
    let end = to.min(piece.len());
    piece.get(from..end).unwrap_or_default()
}

impl<'b> Queue<'b> {
    pub(super) fn new(ring: &'b mut [u8]) -> Self {
        Self {
            ring,
            start: 0,
            len: 0,
        }
    }

    pub(super) fn clear(&mut self) {
        (self.start, self.len) = (0, 0);
    }

    pub(super) fn len(&self) -> usize {
        self.len
    }

    pub(super) fn free(&self) -> usize {
        self.ring.len() - self.len
    }

    /// Bytes taken by a message cut into fragments of at most `fragment_bytes`.
    pub(super) fn cost(message_bytes: usize, fragment_bytes: usize) -> usize {
        let fragments = message_bytes.div_ceil(fragment_bytes).max(1);
        message_bytes + fragments * RECORD_HEAD_BYTES
    }

    /// The caller has compared [`Self::cost`] with [`Self::free`].
    pub(super) fn append(&mut self, flags: Flags, payload: &[u8]) {
        let mut head = u16::try_from(payload.len()).unwrap_or(LEN_MASK) & LEN_MASK;
        if flags.contains(Flags::FIRST) {
            head |= FIRST;
        }
        if flags.contains(Flags::LAST) {
            head |= LAST;
        }
        self.write(&head.to_le_bytes());
        self.write(payload);
    }

    fn write(&mut self, bytes: &[u8]) {
        let at = self.place(self.len);
        let (before, after) = bytes.split_at(bytes.len().min(self.ring.len() - at));
        for (at, part) in [(at, before), (0, after)] {
            if let Some(room) = self.ring.get_mut(at..at + part.len()) {
                room.copy_from_slice(part);
            }
        }
        self.len += bytes.len();
    }

    /// The record that starts `at` bytes after the oldest one.
    pub(super) fn record(&self, at: usize) -> Option<Record<'_>> {
        if at >= self.len {
            return None;
        }
        let (low, high) = self.pieces(at, RECORD_HEAD_BYTES)?;
        let mut head = low.iter().chain(high).copied();
        let head = u16::from_le_bytes([head.next()?, head.next()?]);
        let mut flags = Flags::empty();
        flags.set(Flags::FIRST, head & FIRST != 0);
        flags.set(Flags::LAST, head & LAST != 0);
        let len = usize::from(head & LEN_MASK);
        let payload = self.pieces(at + RECORD_HEAD_BYTES, len)?;
        Some(Record {
            flags,
            payload,
            end: at + RECORD_HEAD_BYTES + len,
        })
    }

    fn pieces(&self, at: usize, len: usize) -> Option<(&[u8], &[u8])> {
        let at = self.place(at);
        let before = len.min(self.ring.len() - at);
        Some((
            self.ring.get(at..at + before)?,
            self.ring.get(..len - before)?,
        ))
    }

    fn place(&self, at: usize) -> usize {
        let place = self.start + at;
        if place < self.ring.len() {
            place
        } else {
            place - self.ring.len()
        }
    }

    /// Forgets the oldest record and returns its length in the ring.
    pub(super) fn drop_oldest(&mut self) -> usize {
        let Some(end) = self.record(0).map(|record| record.end) else {
            return 0;
        };
        self.start = self.place(end);
        self.len -= end;
        end
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::VecDeque;
    use std::vec::Vec;

    fn payload(record: &Record<'_>) -> Vec<u8> {
        [record.payload.0, record.payload.1].concat()
    }

    #[test]
    fn records_come_out_as_they_went_in_wherever_the_ring_wraps() {
        for ring_bytes in (5..40).step_by(if cfg!(miri) { 9 } else { 1 }) {
            let mut ring = std::vec![0; ring_bytes];
            let mut queue = Queue::new(&mut ring);
            let mut model = VecDeque::new();
            for number in 0..100u8 {
                let bytes = std::vec![number; usize::from(number) % 4];
                while queue.free() < Queue::cost(bytes.len(), 100) {
                    let oldest = queue.record(0).unwrap();
                    assert_eq!(oldest.flags, Flags::LAST);
                    assert_eq!(Some(payload(&oldest)), model.pop_front());
                    queue.drop_oldest();
                }
                queue.append(Flags::LAST, &bytes);
                let newest = queue.record(queue.len() - bytes.len() - 2).unwrap();
                assert_eq!(payload(&newest), bytes);
                model.push_back(bytes);
            }
        }
    }

    #[test]
    fn empty_queue_has_no_record() {
        let mut ring = [0; 8];
        let mut queue = Queue::new(&mut ring);
        assert!(queue.record(0).is_none());
        assert_eq!(queue.drop_oldest(), 0);
        let mut none = Queue::new(&mut []);
        assert!(none.record(0).is_none());
        assert_eq!(none.drop_oldest(), 0);
    }

    #[test]
    fn empty_message_costs_a_record() {
        assert_eq!(Queue::cost(0, 100), 2);
        assert_eq!(Queue::cost(100, 100), 102);
        assert_eq!(Queue::cost(101, 100), 105);
    }
}
