//! The receiving half: takes frames in order and joins them to one message.

use super::part;
use crate::frame::{Flags, Frame};

#[derive(Debug)]
pub(super) struct Receiver<'b> {
    pub(super) buffer: &'b mut [u8],
    len: usize,
    /// Number of the frame that comes next.
    expected: u32,
    /// Bytes of it that came in parts.
    part_bytes: usize,
    state: State,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Between messages.
    Empty,
    /// The first fragment was taken, the last was not.
    Partial,
    /// This message does not fit or did not start: its fragments are thrown away.
    Skipping,
    /// Complete, and the consumer has not released it.
    Ready,
}

/// What became of a data frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reception {
    /// It was the next one, or the next part of it.
    Fragment,
    /// It was the next one, and the message is complete.
    Message,
    /// It was the last of a message that cannot be taken.
    Discarded,
    /// It was taken before.
    Duplicate,
    /// Something before it is missing.
    Gap(Ahead),
    /// The consumer has not released the message before.
    Busy,
}

/// How far what came is ahead of what is missing: frames, and bytes within the frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Ahead {
    frames: u32,
    from: usize,
}

impl<'b> Receiver<'b> {
    pub(super) fn new(buffer: &'b mut [u8]) -> Self {
        Self {
            buffer,
            len: 0,
            expected: 0,
            part_bytes: 0,
            state: State::Empty,
        }
    }

    pub(super) fn reset(&mut self) {
        self.len = 0;
        self.expected = 0;
        self.part_bytes = 0;
        self.state = State::Empty;
    }

    pub(super) fn expected(&self) -> u32 {
        self.expected
    }

    /// Bytes of the next frame that are there.
    pub(super) fn part_bytes(&self) -> usize {
        self.part_bytes
    }

    pub(super) fn take(&mut self, frame: &Frame<'_>) -> Reception {
        let frames = frame.header.counts.sequence.wrapping_sub(self.expected);
        if frames.cast_signed() < 0 {
            return Reception::Duplicate;
        }
        let Some(part) = part::brought(frame) else {
            return Reception::Duplicate;
        };
        let from = part.from;
        if frames > 0 || from > self.part_bytes {
            return Reception::Gap(Ahead { frames, from });
        }
        if self.state == State::Ready {
            return Reception::Busy;
        }
        let news = part.bytes.get(self.part_bytes - from..).unwrap_or_default();
        if news.is_empty() && !part.is_last {
            return Reception::Duplicate;
        }
        let flags = frame.header.flags;
        if self.part_bytes == 0 && flags.contains(Flags::FIRST) {
            self.len = 0;
            self.state = State::Partial;
        }
        if self.state != State::Partial || !self.append(news) {
            self.state = State::Skipping;
        }
        self.part_bytes += news.len();
        if !part.is_last {
            return Reception::Fragment;
        }
        self.part_bytes = 0;
        self.expected = self.expected.wrapping_add(1);
        match (flags.contains(Flags::LAST), self.state) {
            (false, _) => Reception::Fragment,
            (true, State::Partial) => {
                self.state = State::Ready;
                Reception::Message
            }
            (true, _) => {
                self.state = State::Empty;
                Reception::Discarded
            }
        }
    }

    fn append(&mut self, payload: &[u8]) -> bool {
        let end = self.len + payload.len();
        let Some(room) = self.buffer.get_mut(self.len..end) else {
            return false;
        };
        room.copy_from_slice(payload);
        self.len = end;
        true
    }

    /// The complete message; empty when there is none.
    pub(super) fn message(&self) -> &[u8] {
        if self.state == State::Ready {
            self.buffer.get(..self.len).unwrap_or_default()
        } else {
            &[]
        }
    }

    pub(super) fn release(&mut self) {
        if self.state == State::Ready {
            self.state = State::Empty;
        }
    }
}
