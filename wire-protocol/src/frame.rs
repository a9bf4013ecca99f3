//! Finds frames in a stream of bytes, and checks them. Called by [`crate::link`], in every mode.
//!
//! ```text
//! 00 | COBS( header, 2 bytes | payload | CRC-32, 4 bytes ) | 00
//! ```
//!
//! COBS leaves no zero inside, so a zero always ends whatever came before: after any garbage the
//! next good frame is found. A payload below 248 bytes costs nine bytes of framing.
//!
//! The checksum is over the number of the session (4 bytes, lowest first), the header and the
//! payload. The number itself is not sent: a frame of an earlier session looks like a damaged one.
//!
//! [`BREAK_IN`] stands between two zeroes like a frame, and can't be one: its first byte
//! announces 65 more.

use crate::crc::Crc32;
use crate::limits::FRAME_PAYLOAD_BYTES;
use bitflags::bitflags;

/// Asks a running debuggee to halt.
pub const BREAK_IN: [u8; 5] = *b"\0BRK\0";

const HEADER_BYTES: usize = 2;
const CRC_BYTES: usize = 4;

/// The longest frame before COBS and delimiters.
pub const BODY_BYTES: usize = HEADER_BYTES + FRAME_PAYLOAD_BYTES + CRC_BYTES;

/// The longest frame on the wire.
pub const WIRE_BYTES: usize = BODY_BYTES + BODY_BYTES.div_ceil(254) + 2;

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
    }
}

/// Sequence numbers count modulo this.
pub const SEQUENCE_MODULUS: u8 = 32;

/// Two bytes: kind in bits 1:0, [`Flags`], 0 in bit 5, sequence in 10:6, acknowledged in 15:11.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// What the frame is for.
    pub kind: Kind,
    /// See [`Flags`].
    pub flags: Flags,
    /// Number of this frame among data frames; 0 in others.
    pub sequence: u8,
    /// Number of the data frame that the sender of this one waits for.
    pub acknowledged: u8,
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
        let sequence = u16::from(self.sequence % SEQUENCE_MODULUS) << 6;
        let acknowledged = u16::from(self.acknowledged % SEQUENCE_MODULUS) << 11;
        (kind | self.flags.bits() | sequence | acknowledged).to_le_bytes()
    }

    /// `None` if a bit is set that has no meaning.
    #[must_use]
    pub fn from_bytes(bytes: [u8; HEADER_BYTES]) -> Option<Self> {
        let bits = u16::from_le_bytes(bytes);
        let kind = match bits & 3 {
            0 => Kind::Data,
            1 => Kind::Ack,
            2 => Kind::Syn,
            _ => Kind::SynAck,
        };
        Some(Self {
            kind,
            flags: Flags::from_bits(bits & 0b11_1100)?,
            sequence: (bits >> 6 & 0x1f) as u8,
            acknowledged: (bits >> 11) as u8,
        })
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

/// Writes a frame with both delimiters and returns its length. The payload comes in two pieces,
/// as a ring buffer has it; together at most [`FRAME_PAYLOAD_BYTES`], and nothing is written
/// (length 0) if it is more.
pub fn encode(
    header: Header,
    session: u32,
    payload: (&[u8], &[u8]),
    wire: &mut [u8; WIRE_BYTES],
) -> usize {
    if payload.0.len() + payload.1.len() > FRAME_PAYLOAD_BYTES {
        return 0;
    }
    let head = header.to_bytes();
    let crc = checksum(session, &[&head, payload.0, payload.1]).to_le_bytes();
    let mut cobs = Cobs::new(wire);
    for part in [&head, payload.0, payload.1, &crc] {
        cobs.bytes(part);
    }
    cobs.finish()
}

fn checksum(session: u32, parts: &[&[u8]]) -> u32 {
    let mut crc = Crc32::new();
    crc.update(&session.to_le_bytes());
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
        for &byte in bytes {
            if self.code == 0xff {
                self.close_group();
                self.open_group();
            }
            if byte == 0 {
                self.close_group();
                self.open_group();
            } else {
                self.put(byte);
                self.code += 1;
            }
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

/// Takes the stream byte by byte.
#[derive(Debug)]
pub struct Decoder<'b> {
    body: &'b mut [u8; BODY_BYTES],
    len: usize,
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
        Header::from_bytes(*head)
    }

    /// The last frame found, if it belongs to that session and is whole.
    #[must_use]
    pub fn open(&self, session: u32) -> Option<Frame<'_>> {
        let (checked, crc) = self.body.get(..self.len)?.split_last_chunk()?;
        let (head, payload) = checked.split_first_chunk()?;
        if checksum(session, &[checked]) != u32::from_le_bytes(*crc) {
            return None;
        }
        let header = Header::from_bytes(*head)?;
        Some(Frame { header, payload })
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
