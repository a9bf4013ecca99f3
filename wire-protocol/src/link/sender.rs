//! The sending half: a window over the queue, go-back-N. What is too long for the line goes in parts.

use super::cut::Cut;
use super::queue::{Queue, Record};
use super::{SendError, part};
use crate::frame::Flags;
use crate::limits::{FRAME_PAYLOAD_BYTES, MESSAGE_BYTES};

#[derive(Debug)]
pub(super) struct Sender<'b> {
    queue: Queue<'b>,
    /// Number of the oldest frame in the queue.
    oldest: u32,
    /// Bytes of it that the other side has.
    oldest_part: usize,
    /// Frames from the oldest on of which something was on the wire, and how much of the last one.
    sent: u32,
    sent_part: usize,
    /// The frame that goes next, counted from the oldest one, where its record starts, and how much of it went.
    next: u32,
    next_at: usize,
    next_part: usize,
}

/// A frame to be put on the wire.
pub(super) struct Outgoing<'a> {
    /// Of the queue's frame: its flags, and the bytes that go now.
    pub(super) record: Record<'a>,
    /// What goes before them, if these are not all of the frame.
    pub(super) head: Option<[u8; part::HEAD_BYTES]>,
    pub(super) sequence: u32,
    /// It was on the wire before.
    pub(super) repeated: bool,
}

impl<'b> Sender<'b> {
    pub(super) fn new(ring: &'b mut [u8]) -> Self {
        Self {
            queue: Queue::new(ring),
            oldest: 0,
            oldest_part: 0,
            sent: 0,
            sent_part: 0,
            next: 0,
            next_at: 0,
            next_part: 0,
        }
    }

    /// Forgets everything unsent and unacknowledged.
    pub(super) fn reset(&mut self) {
        self.queue.clear();
        self.oldest = 0;
        self.oldest_part = 0;
        self.sent = 0;
        self.sent_part = 0;
        self.rewind();
    }

    pub(super) fn send(&mut self, message: &[u8], cut: Cut) -> Result<(), SendError> {
        if message.len() > MESSAGE_BYTES {
            return Err(SendError::TooLong {
                limit_bytes: MESSAGE_BYTES,
                wanted_bytes: message.len(),
            });
        }
        let wanted_bytes = Queue::cost(message.len(), cut.frame_bytes);
        let free_bytes = self.queue.free();
        if wanted_bytes > free_bytes {
            return Err(SendError::QueueFull {
                wanted_bytes,
                free_bytes,
            });
        }
        let mut flags = Flags::FIRST;
        let mut rest = message;
        while rest.len() > cut.frame_bytes {
            let (fragment, after) = rest.split_at(cut.frame_bytes);
            self.queue.append(flags, fragment);
            flags = Flags::empty();
            rest = after;
        }
        self.queue.append(flags | Flags::LAST, rest);
        Ok(())
    }

    /// Number of the oldest frame that is not acknowledged, or of the next one there will be.
    pub(super) fn oldest(&self) -> u32 {
        self.oldest
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
        (self.next_at + self.next_part).saturating_sub(self.oldest_part)
    }

    /// Bytes of frames that are not acknowledged, whether they were on the wire or not.
    pub(super) fn queued_bytes(&self) -> usize {
        self.queue.len()
    }

    /// The next frame goes on the wire, or a part of it if it is longer than such a part.
    pub(super) fn take_next(&mut self, cut: Cut) -> Option<Outgoing<'_>> {
        if self.next as usize >= cut.window_frames {
            return None;
        }
        let record = self.queue.record(self.next_at)?;
        let len = record.len();
        let is_whole = self.next_part == 0 && len <= cut.part_bytes;
        if !is_whole && self.waiting_bytes() >= cut.window_bytes {
            return None;
        }
        let from = self.next_part;
        let most = FRAME_PAYLOAD_BYTES - part::HEAD_BYTES;
        let room = cut.part_bytes.min(most);
        let to = if is_whole { len } else { len.min(from + room) };
        let is_last = to == len;
        let sequence = self.oldest.wrapping_add(self.next);
        let repeated = self.next + 1 < self.sent
            || self.next + 1 == self.sent && (from < self.sent_part || is_whole);
        if self.next + 1 > self.sent {
            self.sent = self.next + 1;
            self.sent_part = to;
        } else if self.next + 1 == self.sent {
            self.sent_part = self.sent_part.max(to);
        }
        if is_last {
            self.next += 1;
            self.next_at = record.end;
            self.next_part = 0;
        } else {
            self.next_part = to;
        }
        Some(Outgoing {
            record: record.part(from, to),
            head: (!is_whole).then(|| part::head(from, is_last)),
            sequence,
            repeated,
        })
    }

    /// The other side has everything before frame `expected`, and `part` bytes of that one. Returns how many bytes of the
    /// queue are news.
    pub(super) fn acknowledge(&mut self, expected: u32, part: usize) -> usize {
        let count = expected.wrapping_sub(self.oldest);
        if count > self.sent || count == 0 && part <= self.oldest_part {
            return 0;
        }
        let before = self.queue.len() - self.oldest_part;
        for _ in 0..count {
            let dropped = self.queue.drop_oldest();
            self.next_at = self.next_at.saturating_sub(dropped);
        }
        self.oldest = expected;
        self.sent -= count;
        let len = self.queue.record(0).map_or(0, |record| record.len());
        self.oldest_part = if self.sent > 0 { part.min(len) } else { 0 };
        // What went once more may be there by now.
        if count > self.next || count == self.next && self.next_part < self.oldest_part {
            self.next_part = self.oldest_part;
        }
        self.next = self.next.saturating_sub(count);
        before.saturating_sub(self.queue.len() - self.oldest_part)
    }

    /// Starts again with the first byte that the other side lacks.
    pub(super) fn rewind(&mut self) {
        self.next = 0;
        self.next_at = 0;
        self.next_part = self.oldest_part;
    }
}
