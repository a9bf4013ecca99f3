//! The receiving half: takes frames in order and joins them to one message.

use crate::frame::{Flags, Frame, SEQUENCE_MODULUS};
use crate::limits::WINDOW_FRAMES;

#[derive(Debug)]
pub(super) struct Receiver<'b> {
    pub(super) buffer: &'b mut [u8],
    len: usize,
    /// Sequence number of the frame that comes next.
    expected: u8,
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
    /// It was the next one.
    Fragment,
    /// It was the next one, and the message is complete.
    Message,
    /// It was the last of a message that cannot be taken.
    Discarded,
    /// It was taken before.
    Duplicate,
    /// One before it is missing.
    Gap,
    /// The consumer has not released the message before.
    Busy,
}

impl<'b> Receiver<'b> {
    pub(super) fn new(buffer: &'b mut [u8]) -> Self {
        Self {
            buffer,
            len: 0,
            expected: 0,
            state: State::Empty,
        }
    }

    pub(super) fn reset(&mut self) {
        self.len = 0;
        self.expected = 0;
        self.state = State::Empty;
    }

    pub(super) fn expected(&self) -> u8 {
        self.expected
    }

    pub(super) fn take(&mut self, frame: &Frame<'_>) -> Reception {
        let behind = self.expected.wrapping_sub(frame.header.sequence) % SEQUENCE_MODULUS;
        if behind != 0 {
            return if usize::from(behind) <= WINDOW_FRAMES {
                Reception::Duplicate
            } else {
                Reception::Gap
            };
        }
        if self.state == State::Ready {
            return Reception::Busy;
        }
        self.expected = (self.expected + 1) % SEQUENCE_MODULUS;
        let flags = frame.header.flags;
        if flags.contains(Flags::FIRST) {
            self.len = 0;
            self.state = State::Partial;
        }
        if self.state != State::Partial || !self.append(frame.payload) {
            self.state = State::Skipping;
        }
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
