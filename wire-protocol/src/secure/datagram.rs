//! Datagrams as they are on the network: told apart, and taken to pieces. For [`super::caller`] and [`super::listener`].
//!
//! ```text
//! 91 | length (2) | key's id (4) | public key (32) | sealed: time (8) | tag (16)      hello, to the host
//! 92 | length (2) | first bytes of the hello's public key (4) | public key (32) | tag (16)    welcome, to the debuggee
//! 93 | length (2) | session (4) | nonce (24) | sealed: content (1), bytes | tag (16)  to the host
//! 94 | the same                                                                       to the debuggee
//! ```

use super::noise::{Public, TAG_BYTES, Tag};
use crate::dropped::Cause;
use nom::bytes::complete::take;
use nom::combinator::{all_consuming, map_opt, rest};
use nom::number::complete::le_u16;
use nom::{IResult, Parser};

/// The longest datagram: what passes Ethernet, PPP over it and WireGuard (MTU 1420), in IPv4 and IPv6, without being cut.
pub const DATAGRAM_BYTES: usize = 1372;

/// Bytes that one takes for the link.
pub const ROOM_BYTES: usize = DATAGRAM_BYTES - SEALED_FROM - 1 - TAG_BYTES;

/// Bytes of what tells datagrams apart.
pub(super) const HEAD_BYTES: usize = 3;
pub(super) const NONCE_BYTES: usize = 24;
/// Where the sealed part begins.
pub(super) const SEALED_FROM: usize = HEAD_BYTES + 4 + NONCE_BYTES;
/// Bytes of the head and the session, which are authenticated with it.
pub(super) const CLEAR_BYTES: usize = HEAD_BYTES + 4;

pub(super) const HELLO_BYTES: usize = HEAD_BYTES + 4 + 32 + 8 + TAG_BYTES;
pub(super) const WELCOME_BYTES: usize = HEAD_BYTES + 4 + 32 + TAG_BYTES;

/// Where a datagram goes, and what it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Hello,
    Welcome,
    ToHost,
    ToDebuggee,
}

impl Kind {
    const fn of(number: u8) -> Option<Self> {
        Some(match number {
            0x91 => Self::Hello,
            0x92 => Self::Welcome,
            0x93 => Self::ToHost,
            0x94 => Self::ToDebuggee,
            _ => return None,
        })
    }

    const fn number(self) -> u8 {
        match self {
            Self::Hello => 0x91,
            Self::Welcome => 0x92,
            Self::ToHost => 0x93,
            Self::ToDebuggee => 0x94,
        }
    }

    /// What a datagram of so many bytes begins with.
    pub(super) fn head(self, len_bytes: usize) -> [u8; HEAD_BYTES] {
        let [low, high] = u16::try_from(len_bytes).unwrap_or(u16::MAX).to_le_bytes();
        [self.number(), low, high]
    }
}

/// The first message of a handshake.
#[derive(Clone, Copy, Debug)]
pub(super) struct Hello {
    pub(super) key_id: [u8; 4],
    pub(super) public: Public,
    pub(super) sealed_clock: [u8; 8],
    pub(super) tag: Tag,
}

/// The second.
#[derive(Clone, Copy, Debug)]
pub(super) struct Welcome {
    pub(super) attempt: [u8; 4],
    pub(super) public: Public,
    pub(super) tag: Tag,
}

/// One of a session. What is sealed stands in the datagram, from [`SEALED_FROM`] on.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sealed {
    pub(super) session: [u8; 4],
    pub(super) nonce: [u8; NONCE_BYTES],
}

#[derive(Clone, Copy, Debug)]
pub(super) enum Datagram {
    Hello(Hello),
    Welcome(Welcome),
    ToHost(Sealed),
    ToDebuggee(Sealed),
}

fn array<const N: usize>(bytes: &[u8]) -> IResult<&[u8], [u8; N]> {
    map_opt(take(N), |taken: &[u8]| taken.first_chunk().copied()).parse(bytes)
}

fn hello(bytes: &[u8]) -> IResult<&[u8], Hello> {
    let (rest, (key_id, public, sealed_clock, tag)) =
        all_consuming((array, array, array, array)).parse(bytes)?;
    let hello = Hello {
        key_id,
        public,
        sealed_clock,
        tag,
    };
    Ok((rest, hello))
}

fn welcome(bytes: &[u8]) -> IResult<&[u8], Welcome> {
    let (rest, (attempt, public, tag)) = all_consuming((array, array, array)).parse(bytes)?;
    let welcome = Welcome {
        attempt,
        public,
        tag,
    };
    Ok((rest, welcome))
}

fn sealed(bytes: &[u8]) -> IResult<&[u8], Sealed> {
    let (rest, (session, nonce, _, _)) =
        all_consuming((array, array, array::<{ 1 + TAG_BYTES }>, rest)).parse(bytes)?;
    Ok((rest, Sealed { session, nonce }))
}

/// Tells what a datagram is, and looks whether all of it is there.
pub(super) fn read(datagram: &[u8]) -> Result<Datagram, Cause> {
    let (number, behind) = datagram.split_first().ok_or(Cause::Foreign)?;
    let kind = Kind::of(*number).ok_or(Cause::Foreign)?;
    let length: IResult<&[u8], u16> = le_u16(behind);
    let (body, len_bytes) = length.map_err(|_| Cause::Truncated)?;
    match datagram.len().cmp(&usize::from(len_bytes)) {
        core::cmp::Ordering::Less => return Err(Cause::Truncated),
        core::cmp::Ordering::Greater => return Err(Cause::Foreign),
        core::cmp::Ordering::Equal => {}
    }
    let read = match kind {
        Kind::Hello => hello(body).map(|(_, hello)| Datagram::Hello(hello)),
        Kind::Welcome => welcome(body).map(|(_, welcome)| Datagram::Welcome(welcome)),
        Kind::ToHost => sealed(body).map(|(_, sealed)| Datagram::ToHost(sealed)),
        Kind::ToDebuggee => sealed(body).map(|(_, sealed)| Datagram::ToDebuggee(sealed)),
    };
    read.map_err(|_| Cause::Foreign)
}

/// Writes pieces behind each other; how many bytes that are, 0 if there is no room for them.
pub(super) fn write(pieces: &[&[u8]], out: &mut [u8]) -> usize {
    let len_bytes = pieces.iter().map(|piece| piece.len()).sum();
    let Some(mut out) = out.get_mut(..len_bytes) else {
        return 0;
    };
    for piece in pieces {
        let Some((room, rest)) = out.split_at_mut_checked(piece.len()) else {
            return 0;
        };
        room.copy_from_slice(piece);
        out = rest;
    }
    len_bytes
}
