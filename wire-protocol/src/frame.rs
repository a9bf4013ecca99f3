//! Finds frames in a stream of bytes, and checks them. Called by [`crate::link`], in every mode.
//!
//! ```text
//! 00 | COBS( header, 2 bytes | payload | CRC-32, 4 bytes ) | 00
//! ```
//!
//! COBS leaves no zero inside, so a zero always ends whatever came before: after any garbage the
//! next good frame is found. A payload below 248 bytes costs nine bytes of framing.
//!
//! The checksum is over the number of the session, both counts of the header (4 bytes each, lowest
//! first), the header and the payload. Of the counts only the lowest five bits are sent, the
//! number not at all: whoever opens a frame knows them. So a frame of an earlier session looks like
//! a damaged one, and so does one that comes once more when its five bits mean another frame.
//!
//! [`BREAK_IN`] stands between two zeroes like a frame, and can't be one: its first byte
//! announces 65 more.
//!
//! A datagram that is authenticated carries one frame and needs none of that:
//!
//! ```text
//! header, 2 bytes | CRC-32, 4 bytes | payload
//! ```
//!
//! It begins and ends where the datagram does, and the checksum leaves the payload out: it is there to tell what does not belong
//! to the session or to this round of counts. [`BREAK_IN`] is shorter than any.

use crate::crc::Crc32;
use crate::limits::{FRAME_PAYLOAD_BYTES, WINDOW_FRAMES};
use bitflags::bitflags;

/// Asks a running debuggee to halt.
pub const BREAK_IN: [u8; 5] = *b"\0BRK\0";

const HEADER_BYTES: usize = 2;
const CRC_BYTES: usize = 4;

/// The longest frame before COBS and delimiters.
pub const BODY_BYTES: usize = HEADER_BYTES + FRAME_PAYLOAD_BYTES + CRC_BYTES;

/// What a frame takes of a datagram besides its payload.
const DATAGRAM_HEAD_BYTES: usize = HEADER_BYTES + CRC_BYTES;

/// The longest frame on the wire.
pub const WIRE_BYTES: usize = BODY_BYTES + BODY_BYTES.div_ceil(254) + 2;

/// The longest payload of a frame in a datagram of so many bytes.
#[must_use]
pub const fn payload_within(datagram_bytes: usize) -> usize {
    let payload_bytes = datagram_bytes.saturating_sub(DATAGRAM_HEAD_BYTES);
    if payload_bytes < FRAME_PAYLOAD_BYTES {
        payload_bytes
    } else {
        FRAME_PAYLOAD_BYTES
    }
}

/// What a frame is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A fragment of a message.
    Data,
    /// Nothing but the acknowledgement that every header carries.
    Ack,
    /// Proposes a session; its number is the payload.
    Syn,
    /// Agrees to a session; its number is the payload.
    SynAck,
}

bitflags! {
    /// One bit each in the header.
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
    pub struct Flags: u16 {
        /// First fragment of its message.
        const FIRST = 1 << 2;
        /// Last fragment of its message.
        const LAST = 1 << 3;
        /// Frames after the acknowledged one were lost or thrown away: send them again.
        const AGAIN = 1 << 4;
        /// Of a data frame, a part: the payload begins with where it goes on. Of an acknowledgement,
        /// how much of the frame that is waited for is there.
        const PART = 1 << 5;
        /// Of a proposal: whoever has the debuggee loses it.
        const TAKE_OVER = 1 << 2;
        /// Of an agreement: it is none, since another host has the debuggee.
        const BUSY = 1 << 2;
        /// Of an agreement: the session that was agreed to is over, since another host has taken the debuggee.
        const TAKEN = 1 << 3;
        /// Of an acknowledgement: is the host there? With [`Self::PONG`]: the host leaves.
        const PING = 1 << 2;
        /// Of an acknowledgement: it is.
        const PONG = 1 << 3;
    }
}

/// The header has the counts modulo this.
pub(crate) const COUNT_MODULUS: u32 = 32;

/// What a session's frames are counted by, from 0, modulo 2^32.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Number of this frame among data frames; 0 in others.
    pub sequence: u32,
    /// Number of the data frame that the sender of this one waits for.
    pub acknowledged: u32,
}

impl Counts {
    /// The counts nearest to these that have `low`'s lowest bits.
    fn nearest(self, low: Self) -> Self {
        let nearest = |near: u32, low: u32| {
            let ahead = low.wrapping_sub(near) % COUNT_MODULUS;
            let behind = if ahead < COUNT_MODULUS / 2 {
                0
            } else {
                COUNT_MODULUS
            };
            near.wrapping_add(ahead).wrapping_sub(behind)
        };
        Self {
            sequence: nearest(self.sequence, low.sequence),
            acknowledged: nearest(self.acknowledged, low.acknowledged),
        }
    }
}

const _: () = assert!(WINDOW_FRAMES < COUNT_MODULUS as usize / 2);

/// Two bytes: kind in bits 1:0, [`Flags`] in 5:2, lowest bits of the sequence in 10:6, of what is
/// acknowledged in 15:11.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// What the frame is for.
    pub kind: Kind,
    /// See [`Flags`].
    pub flags: Flags,
    /// See [`Counts`].
    pub counts: Counts,
}

impl Header {
    /// The two bytes.
    #[must_use]
    pub fn to_bytes(self) -> [u8; HEADER_BYTES] {
        let kind = match self.kind {
            Kind::Data => 0u16,
            Kind::Ack => 1,
            Kind::Syn => 2,
            Kind::SynAck => 3,
        };
        let low = |count: u32| (count % COUNT_MODULUS) as u16;
        let counts = low(self.counts.sequence) << 6 | low(self.counts.acknowledged) << 11;
        (kind | self.flags.bits() | counts).to_le_bytes()
    }

    /// The counts are the lowest bits only.
    #[must_use]
    pub fn from_bytes(bytes: [u8; HEADER_BYTES]) -> Self {
        let bits = u16::from_le_bytes(bytes);
        let kind = match bits & 3 {
            0 => Kind::Data,
            1 => Kind::Ack,
            2 => Kind::Syn,
            _ => Kind::SynAck,
        };
        Self {
            kind,
            flags: Flags::from_bits_truncate(bits),
            counts: Counts {
                sequence: u32::from(bits >> 6 & 0x1f),
                acknowledged: u32::from(bits >> 11),
            },
        }
    }
}

/// A frame whose checksum is right.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Frame<'a> {
    /// See [`Header`].
    pub header: Header,
    /// What it carries.
    pub payload: &'a [u8],
}

/// Writes a frame with both delimiters and returns its length. The payload comes in pieces, as a
/// ring buffer has it behind a head of its own; together at most [`FRAME_PAYLOAD_BYTES`], and
/// nothing is written (length 0) if it is more.
pub fn encode(
    header: Header,
    session: u32,
    [first, second, third]: [&[u8]; 3],
    wire: &mut [u8; WIRE_BYTES],
) -> usize {
    if first.len() + second.len() + third.len() > FRAME_PAYLOAD_BYTES {
        return 0;
    }
    let head = header.to_bytes();
    let parts = [&head, first, second, third];
    let crc = checksum(session, header.counts, &parts).to_le_bytes();
    let mut cobs = Cobs::new(wire);
    for part in parts {
        cobs.bytes(part);
    }
    cobs.bytes(&crc);
    cobs.finish()
}

/// The same for a datagram that will be authenticated.
pub fn encode_datagram(
    header: Header,
    session: u32,
    payload: [&[u8]; 3],
    datagram: &mut [u8; WIRE_BYTES],
) -> usize {
    let len = payload.iter().map(|piece| piece.len()).sum::<usize>();
    if len > FRAME_PAYLOAD_BYTES {
        return 0;
    }
    let head = header.to_bytes();
    let crc = checksum(session, header.counts, &[&head]).to_le_bytes();
    let [first, second, third] = payload;
    let mut rest = &mut datagram[..];
    for piece in [&head, &crc[..], first, second, third] {
        let Some((room, behind)) = rest.split_at_mut_checked(piece.len()) else {
            return 0;
        };
        room.copy_from_slice(piece);
        rest = behind;
    }
    DATAGRAM_HEAD_BYTES + len
}

fn checksum(session: u32, counts: Counts, parts: &[&[u8]]) -> u32 {
    let mut crc = Crc32::new();
    for number in [session, counts.sequence, counts.acknowledged] {
        crc.update(&number.to_le_bytes());
    }
    for part in parts {
        crc.update(part);
    }
    crc.finish()
}

/// Writes groups of up to 254 bytes without a zero, each after its length + 1.
struct Cobs<'b> {
    wire: &'b mut [u8],
    len: usize,
    group_at: usize,
    code: u8,
}

impl<'b> Cobs<'b> {
    fn new(wire: &'b mut [u8; WIRE_BYTES]) -> Self {
        let mut cobs = Self {
            wire,
            len: 0,
            group_at: 0,
            code: 0,
        };
        cobs.put(0);
        cobs.open_group();
        cobs
    }

    fn put(&mut self, byte: u8) {
        if let Some(at) = self.wire.get_mut(self.len) {
            *at = byte;
            self.len += 1;
        }
    }

    /// Bytes of the group that is open, which has room for them.
    fn put_all(&mut self, bytes: &[u8]) {
        if let Some(room) = self.wire.get_mut(self.len..self.len + bytes.len()) {
            room.copy_from_slice(bytes);
            self.len += bytes.len();
            self.code = self
                .code
                .saturating_add(u8::try_from(bytes.len()).unwrap_or(u8::MAX));
        }
    }

    fn open_group(&mut self) {
        self.group_at = self.len;
        self.code = 1;
        self.put(0);
    }

    fn close_group(&mut self) {
        if let Some(at) = self.wire.get_mut(self.group_at) {
            *at = self.code;
        }
    }

    fn bytes(&mut self, bytes: &[u8]) {
        let mut rest = bytes;
        while !rest.is_empty() {
            if self.code == 0xff {
                self.close_group();
                self.open_group();
            }
            let room = usize::from(0xff - self.code).min(rest.len());
            let (next, behind) = rest.split_at(room);
            let end = next.iter().position(|byte| *byte == 0);
            let (run, from_zero) = next.split_at(end.unwrap_or(room));
            self.put_all(run);
            rest = match from_zero {
                [] => behind,
                _ => {
                    self.close_group();
                    self.open_group();
                    rest.get(run.len() + 1..).unwrap_or_default()
                }
            };
        }
    }

    fn finish(mut self) -> usize {
        self.close_group();
        self.put(0);
        self.len
    }
}

/// What a byte completed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Completed {
    /// [`BREAK_IN`].
    BreakIn,
    /// Something of the shape of a frame: [`Decoder::open`] checks it, before the next byte.
    Frame,
    /// Something else.
    Broken,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// No delimiter seen yet, or the frame grew too long: whatever comes is thrown away.
    Hunting,
    /// A delimiter was the last byte.
    Fresh,
    /// `left` bytes of the group are to come; then a zero, if another group follows.
    Inside { left: u8, then_zero: bool },
}

/// What stands where in a frame that was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Layout {
    /// Header, payload, checksum of both.
    Stream,
    /// Header, its checksum, payload.
    Datagram,
}

/// Takes the stream byte by byte, or datagrams.
#[derive(Debug)]
pub struct Decoder<'b> {
    body: &'b mut [u8; BODY_BYTES],
    len: usize,
    layout: Layout,
    state: State,
    /// The last bytes since the delimiter, and how many there were (saturating).
    tail: [u8; 3],
    tail_len: u8,
}

impl<'b> Decoder<'b> {
    /// Waits for the first delimiter.
    pub fn new(body: &'b mut [u8; BODY_BYTES]) -> Self {
        Self {
            body,
            len: 0,
            layout: Layout::Stream,
            state: State::Hunting,
            tail: [0; 3],
            tail_len: 0,
        }
    }

    /// A frame has begun and not ended.
    #[must_use]
    pub fn is_inside(&self) -> bool {
        matches!(self.state, State::Inside { .. })
    }

    /// Takes a datagram, which was authenticated.
    pub fn take(&mut self, datagram: &[u8]) -> Completed {
        // What a stream brought before is over.
        self.state = State::Hunting;
        self.tail_len = 0;
        if datagram == BREAK_IN {
            return Completed::BreakIn;
        }
        let room = self.body.get_mut(..datagram.len());
        let Some(room) = room.filter(|room| room.len() >= DATAGRAM_HEAD_BYTES) else {
            return Completed::Broken;
        };
        room.copy_from_slice(datagram);
        self.len = datagram.len();
        self.layout = Layout::Datagram;
        Completed::Frame
    }

    /// Takes the next byte.
    pub fn push(&mut self, byte: u8) -> Option<Completed> {
        if byte == 0 {
            return self.delimiter();
        }
        let [_, middle, last] = self.tail;
        self.tail = [middle, last, byte];
        self.tail_len = self.tail_len.saturating_add(1);
        self.state = self.after(byte).unwrap_or(State::Hunting);
        None
    }

    /// `None`: the frame is too long.
    fn after(&mut self, byte: u8) -> Option<State> {
        match self.state {
            State::Hunting => None,
            State::Fresh => {
                self.len = 0;
                self.layout = Layout::Stream;
                Some(group(byte))
            }
            State::Inside { left: 0, then_zero } => {
                if then_zero {
                    self.put(0)?;
                }
                Some(group(byte))
            }
            State::Inside { left, then_zero } => {
                self.put(byte)?;
                let left = left - 1;
                Some(State::Inside { left, then_zero })
            }
        }
    }

    fn delimiter(&mut self) -> Option<Completed> {
        let found = match self.state {
            _ if self.tail_len == 0 => None,
            _ if self.tail_len == 3 && BREAK_IN.get(1..4) == Some(&self.tail) => {
                Some(Completed::BreakIn)
            }
            State::Inside { left: 0, .. } if self.len >= HEADER_BYTES + CRC_BYTES => {
                Some(Completed::Frame)
            }
            _ => Some(Completed::Broken),
        };
        self.state = State::Fresh;
        self.tail_len = 0;
        found
    }

    fn put(&mut self, byte: u8) -> Option<()> {
        *self.body.get_mut(self.len)? = byte;
        self.len += 1;
        Some(())
    }

    /// The header of the last frame found. It may be damaged.
    #[must_use]
    pub fn header(&self) -> Option<Header> {
        let head = self.body.get(..self.len)?.first_chunk()?;
        Some(Header::from_bytes(*head))
    }

    /// The last frame found, if it is whole and belongs to that session, where its counts are near
    /// these: those of the frame that comes next.
    #[must_use]
    pub fn open(&self, session: u32, near: Counts) -> Option<Frame<'_>> {
        let body = self.body.get(..self.len)?;
        let (head, payload, checked, crc) = match self.layout {
            Layout::Stream => {
                let (checked, crc) = body.split_last_chunk()?;
                let (head, payload) = checked.split_first_chunk()?;
                (head, payload, checked, crc)
            }
            Layout::Datagram => {
                let (head, behind) = body.split_first_chunk::<HEADER_BYTES>()?;
                let (crc, payload) = behind.split_first_chunk()?;
                (head, payload, &head[..], crc)
            }
        };
        let mut header = Header::from_bytes(*head);
        let near = match header.kind {
            Kind::Data => near,
            _ => Counts {
                sequence: 0,
                ..near
            },
        };
        header.counts = near.nearest(header.counts);
        let is_whole = checksum(session, header.counts, &[checked]) == u32::from_le_bytes(*crc);
        is_whole.then_some(Frame { header, payload })
    }
}

fn group(code: u8) -> State {
    State::Inside {
        left: code - 1,
        then_zero: code != 0xff,
    }
}

#[cfg(test)]
mod tests;
