//! The sending half: a window over the queue, go-back-N.

use super::SendError;
use super::queue::{Queue, Record};
use crate::frame::{Flags, SEQUENCE_MODULUS};
use crate::limits::{FRAME_PAYLOAD_BYTES, MESSAGE_BYTES, WINDOW_FRAMES};

const _: () = assert!(WINDOW_FRAMES < SEQUENCE_MODULUS as usize / 2);

#[derive(Debug)]
pub(super) struct Sender<'b> {
    queue: Queue<'b>,
    /// Sequence number of the oldest frame in the queue.
    oldest: u8,
    /// Frames from the oldest on that were on the wire at least once.
    sent: u8,
    /// The frame that goes next, counted from the oldest one, and where its record starts.
    next: u8,
    next_at: usize,
}

/// A frame to be put on the wire.
pub(super) struct Outgoing<'a> {
    pub(super) record: Record<'a>,
    pub(super) sequence: u8,
    /// It was on the wire before.
    pub(super) repeated: bool,
}

impl<'b> Sender<'b> {
    pub(super) fn new(ring: &'b mut [u8]) -> Self {
        Self {
            queue: Queue::new(ring),
            oldest: 0,
            sent: 0,
            next: 0,
            next_at: 0,
        }
    }

    /// Forgets everything unsent and unacknowledged.
    pub(super) fn reset(&mut self) {
        self.queue.clear();
        self.oldest = 0;
        self.sent = 0;
        self.rewind();
    }

    pub(super) fn send(&mut self, message: &[u8]) -> Result<(), SendError> {
        if message.len() > MESSAGE_BYTES {
            return Err(SendError::TooLong {
                limit_bytes: MESSAGE_BYTES,
                wanted_bytes: message.len(),
            });
        }
        let wanted_bytes = Queue::cost(message.len(), FRAME_PAYLOAD_BYTES);
        let free_bytes = self.queue.free();
        if wanted_bytes > free_bytes {
            return Err(SendError::QueueFull {
                wanted_bytes,
                free_bytes,
            });
        }
        let mut flags = Flags::FIRST;
        let mut rest = message;
        while rest.len() > FRAME_PAYLOAD_BYTES {
            let (fragment, after) = rest.split_at(FRAME_PAYLOAD_BYTES);
            self.queue.append(flags, fragment);
            flags = Flags::empty();
            rest = after;
        }
        self.queue.append(flags | Flags::LAST, rest);
        Ok(())
    }

    pub(super) fn is_empty(&self) -> bool {
        self.queue.len() == 0
    }

    /// A frame was on the wire and is not acknowledged.
    pub(super) fn is_waiting(&self) -> bool {
        self.sent != 0
    }

    /// Bytes of frames that were on the wire and are not acknowledged, framing not counted.
    pub(super) fn waiting_bytes(&self) -> usize {
        self.next_at
    }

    /// Bytes of frames that are not acknowledged, whether they were on the wire or not.
    pub(super) fn queued_bytes(&self) -> usize {
        self.queue.len()
    }

    /// The next frame goes on the wire.
    pub(super) fn take_next(&mut self) -> Option<Outgoing<'_>> {
        if usize::from(self.next) >= WINDOW_FRAMES {
            return None;
        }
        let record = self.queue.record(self.next_at)?;
        let sequence = (self.oldest + self.next) % SEQUENCE_MODULUS;
        let repeated = self.next < self.sent;
        self.next += 1;
        self.next_at = record.end;
        self.sent = self.sent.max(self.next);
        Some(Outgoing {
            record,
            sequence,
            repeated,
        })
    }

    /// The other side has everything before `expected`. Returns whether that is news.
    pub(super) fn acknowledge(&mut self, expected: u8) -> bool {
        let count = expected.wrapping_sub(self.oldest) % SEQUENCE_MODULUS;
        if count == 0 || count > self.sent {
            return false;
        }
        for _ in 0..count {
            let dropped = self.queue.drop_oldest();
            self.next_at = self.next_at.saturating_sub(dropped);
        }
        self.oldest = expected;
        self.sent -= count;
        self.next = self.next.saturating_sub(count);
        true
    }

    /// Starts again with the oldest frame.
    pub(super) fn rewind(&mut self) {
        self.next = 0;
        self.next_at = 0;
    }
}
