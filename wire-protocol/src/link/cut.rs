//! How long what goes at once may be: the whole of a frame, or a part of it.

use super::{Link, Timing, part};
use crate::frame;
use crate::limits::{FRAME_PAYLOAD_BYTES, WINDOW_FRAMES};

/// What the sender cuts by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Cut {
    /// A longer payload goes in parts of so many bytes at most.
    pub(super) part_bytes: usize,
    /// As long as so many are on the way, no further part goes out.
    pub(super) window_bytes: usize,
}

impl Cut {
    /// On a line that loses bytes: what is lost is to be short.
    const fn of_bytes(part_bytes: usize) -> Self {
        Self {
            part_bytes,
            window_bytes: WINDOW_FRAMES * part_bytes,
        }
    }

    /// On one that loses datagrams of so many bytes.
    const fn of_datagrams(room_bytes: usize) -> Self {
        let part_bytes = frame::payload_within(room_bytes).saturating_sub(part::HEAD_BYTES);
        Self {
            part_bytes,
            window_bytes: WINDOW_FRAMES * FRAME_PAYLOAD_BYTES,
        }
    }
}

impl Link<'_> {
    /// The transport moves datagrams, each with so many bytes at most: [`Self::pull_into`] gives what one carries. Before
    /// anything is said.
    pub fn use_datagrams(&mut self, room_bytes: usize) {
        self.datagrams = Some(Cut::of_datagrams(room_bytes));
    }

    /// The transport goes another way from now on, with datagrams of so many bytes if it has them there. What was on its way
    /// is lost, and comes again.
    pub fn go_by(&mut self, timing: Timing, datagram_bytes: Option<usize>) {
        self.timing = timing;
        self.datagrams = datagram_bytes.map(Cut::of_datagrams);
        self.wire_at = self.wire_len;
        self.sender.rewind();
        self.retry_at_us = None;
        self.back_off = 0;
    }

    pub(super) fn cut(&self) -> Cut {
        self.datagrams
            .unwrap_or_else(|| Cut::of_bytes(self.quality.cut_bytes()))
    }
}
