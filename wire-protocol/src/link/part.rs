//! Parts of data frames, for lines that long frames do not pass; and how much of a frame is there.

use crate::frame::{Flags, Frame};
use crate::limits::FRAME_PAYLOAD_BYTES;
use nom::IResult;
use nom::number::complete::le_u16;

/// Of a part's head: no part is behind it. The other bits say how many bytes are before it.
const LAST: u16 = 0x8000;

/// Bytes of a part's head.
pub(super) const HEAD_BYTES: usize = 2;

const _: () = assert!(FRAME_PAYLOAD_BYTES < LAST as usize);

/// Bytes of a frame that come together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Part<'a> {
    /// Bytes of the frame's payload before them.
    pub(super) from: usize,
    /// The frame ends with them.
    pub(super) is_last: bool,
    pub(super) bytes: &'a [u8],
}

/// Before the bytes of a part.
pub(super) fn head(from: usize, is_last: bool) -> [u8; HEAD_BYTES] {
    let last = if is_last { LAST } else { 0 };
    (u16::try_from(from).unwrap_or(0) & !LAST | last).to_le_bytes()
}

/// What an acknowledgement says of the frame that is waited for.
pub(super) fn progress_bytes(there: usize) -> [u8; HEAD_BYTES] {
    head(there, false)
}

/// Bytes that are there of the frame that is waited for, as an acknowledgement says.
pub(super) fn progress(frame: &Frame<'_>) -> usize {
    let is_said = frame.header.flags.contains(Flags::PART);
    let part = is_said.then(|| part(frame.payload).ok()).flatten();
    part.map_or(0, |(_, part)| part.from)
}

/// What a data frame brings: a part, or all of it. `None` if it says that it is a part and is none.
pub(super) fn brought<'a>(frame: &Frame<'a>) -> Option<Part<'a>> {
    if frame.header.flags.contains(Flags::PART) {
        return part(frame.payload).ok().map(|(_, part)| part);
    }
    Some(Part {
        from: 0,
        is_last: true,
        bytes: frame.payload,
    })
}

/// A head and the bytes behind it.
fn part(payload: &[u8]) -> IResult<&[u8], Part<'_>> {
    let (bytes, head) = le_u16(payload)?;
    let part = Part {
        from: usize::from(head & !LAST),
        is_last: head & LAST != 0,
        bytes,
    };
    Ok((&[], part))
}
