//! How long what goes at once may be: the whole of a frame, or a part of it.

use super::{Header, Link, Timing, WIRE_BYTES, part};
use crate::frame::{self, COUNT_MODULUS};
use crate::limits::{FRAME_PAYLOAD_BYTES, WINDOW_FRAMES};

/// What the sender cuts by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Cut {
    /// A longer payload goes in parts of so many bytes at most.
    pub(super) part_bytes: usize,
    /// As long as so many are on the way, no further part goes out.
    pub(super) window_bytes: usize,
    /// Nor a frame that is so many behind the first one that is not acknowledged.
    pub(super) window_frames: usize,
    /// A message goes in frames of so many bytes at most.
    pub(super) frame_bytes: usize,
}

/// On the way over a network: the host may be a while away, and a debuggee has no reason to wait.
const DATAGRAM_WINDOW_FRAMES: usize = 15;
const _: () = assert!(DATAGRAM_WINDOW_FRAMES < COUNT_MODULUS as usize / 2);

impl Cut {
    /// On a line that loses bytes: what is lost is to be short.
    const fn of_bytes(part_bytes: usize) -> Self {
        Self {
            part_bytes,
            window_bytes: WINDOW_FRAMES * part_bytes,
            window_frames: WINDOW_FRAMES,
            frame_bytes: FRAME_PAYLOAD_BYTES,
        }
    }

    /// On one that loses datagrams of so many bytes.
    const fn of_datagrams(room_bytes: usize) -> Self {
        let part_bytes = frame::payload_within(room_bytes).saturating_sub(part::HEAD_BYTES);
        // Datagrams are full, as far as a message goes.
        let frame_bytes = match FRAME_PAYLOAD_BYTES.checked_div(part_bytes) {
            Some(parts @ 1..) => parts * part_bytes,
            _ => FRAME_PAYLOAD_BYTES,
        };
        Self {
            part_bytes,
            window_bytes: DATAGRAM_WINDOW_FRAMES * FRAME_PAYLOAD_BYTES,
            window_frames: DATAGRAM_WINDOW_FRAMES,
            frame_bytes,
        }
    }
}

/// Writes a frame, for a datagram or for a line of bytes.
pub(super) fn encode(
    is_datagram: bool,
    header: Header,
    session: u32,
    payload: [&[u8]; 3],
    wire: &mut [u8; WIRE_BYTES],
) -> usize {
    match is_datagram {
        true => frame::encode_datagram(header, session, payload, wire),
        false => frame::encode(header, session, payload, wire),
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
