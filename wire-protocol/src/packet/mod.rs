//! Requests, replies and notices: what one message holds.
//!
//! A message is `[kind][request id, for requests and replies][body]`. The host numbers its
//! requests; a reply carries the number of its request; a notice comes by itself.
//!
//! Both ends give `encode` and `decode` the same `base`: 0 from the start of a session until the
//! reply to `Hello` has been sent or received, the kernel base from then on. So the debuggee
//! sends no notice between the start of a session and that reply.

use crate::address::GuestVirtual;
use crate::codec::{EncodeError, Parsed, Writer};

mod event;
mod list;
mod memory;
mod messages;
mod notice;
mod pool;
mod program;
mod refusal;
mod register;
mod reply;
mod request;
mod run;
mod system;
#[cfg(test)]
mod testing;

pub use event::{AddResults, EventEntries, EventSpecs, events_digest};
pub use list::{Item, Iter, List};
pub use memory::MemoryAt;
pub use messages::{
    Argument, Arguments, Batch, Content, Failure, FailureCause, MessageCounts, MessageRecord,
    Messages, Source,
};
pub use notice::Notice;
pub use pool::PoolLines;
pub use program::{GlobalName, GlobalNames, GlobalOffset, GlobalOffsets};
pub use register::RegisterValues;
pub use reply::Reply;
pub use request::Request;
pub use run::{CoreState, CoreStates, Hits, Stop, StopCause};
pub use system::{Constants, Features, Hello, ModuleLayout, PROTOCOL_VERSION, RamRange, RamRanges};

/// First byte of a message. A request and its reply share a number; notices have the top bit.
mod kind {
    pub(super) const HELLO: u8 = 0x00;
    pub(super) const DONE: u8 = 0x01;
    pub(super) const REFUSED: u8 = 0x02;
    pub(super) const GO: u8 = 0x10;
    pub(super) const CORES: u8 = 0x11;
    pub(super) const SHORT_CIRCUIT: u8 = 0x12;
    pub(super) const REGISTERS: u8 = 0x20;
    pub(super) const WRITE_REGISTER: u8 = 0x21;
    pub(super) const MEMORY: u8 = 0x30;
    pub(super) const WRITE_MEMORY: u8 = 0x31;
    pub(super) const PHYSICAL: u8 = 0x32;
    pub(super) const DIGEST: u8 = 0x33;
    pub(super) const MEMORY_AS_EXPECTED: u8 = 0x34;
    pub(super) const ADD_EVENTS: u8 = 0x40;
    pub(super) const CHANGE_EVENTS: u8 = 0x41;
    pub(super) const EVENTS: u8 = 0x42;
    pub(super) const EVENT_PROGRAMS: u8 = 0x43;
    pub(super) const PREALLOC: u8 = 0x50;
    pub(super) const POOLS: u8 = 0x51;
    pub(super) const DEFINE_GLOBALS: u8 = 0x60;
    pub(super) const RUN_SCRIPT: u8 = 0x61;
    pub(super) const FLUSH: u8 = 0x62;
    pub(super) const MESSAGE_COUNTS: u8 = 0x63;
    pub(super) const NOTICE: u8 = 0x80;
    pub(super) const STOPPED: u8 = 0x80;
    pub(super) const FAULT: u8 = 0x81;
    pub(super) const MESSAGES: u8 = 0x82;
}

/// Why a message has no meaning here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DecodeError {
    /// It ends before its head does.
    Truncated,
    /// No request or reply has that number: the other side is newer.
    UnknownKind {
        /// The number.
        kind: u8,
        /// The request's id.
        id: u8,
    },
    /// The body of a request or reply is not one that this version writes.
    Malformed {
        /// The number.
        kind: u8,
        /// The request's id.
        id: u8,
    },
    /// No notice has that number: the other side is newer.
    UnknownNotice {
        /// The number.
        kind: u8,
    },
    /// The body of a notice is not one that this version writes.
    MalformedNotice {
        /// The number.
        kind: u8,
    },
}

/// What the debuggee sends.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Message<'a> {
    /// The answer to a request.
    Reply {
        /// The request's id.
        id: u8,
        /// The answer.
        reply: Reply<'a>,
    },
    /// Something that happened.
    Notice(Notice<'a>),
}

impl<'a> Message<'a> {
    /// Writes the whole message. `base` is the kernel base once the handshake is over, 0 before.
    ///
    /// # Errors
    /// It does not fit, or holds more than [`crate::limits`] allows.
    pub fn encode(&self, base: GuestVirtual, out: &mut Writer<'_>) -> Result<(), EncodeError> {
        match self {
            Self::Reply { id, reply } => reply.encode(*id, base, out),
            Self::Notice(notice) => notice.encode(base, out),
        }
    }

    /// Reads a whole message.
    ///
    /// # Errors
    /// The number is unknown, or the body is not one that [`Self::encode`] writes.
    pub fn decode(message: &'a [u8], base: GuestVirtual) -> Result<Self, DecodeError> {
        match *message {
            [kind, ref body @ ..] if kind >= kind::NOTICE => {
                let parsed =
                    Notice::parse(kind, base.0, body).ok_or(DecodeError::UnknownNotice { kind })?;
                whole(parsed)
                    .map(Self::Notice)
                    .ok_or(DecodeError::MalformedNotice { kind })
            }
            [kind, id, ref body @ ..] => {
                let parsed = Reply::parse(kind, base.0, body)
                    .ok_or(DecodeError::UnknownKind { kind, id })?;
                whole(parsed)
                    .map(|reply| Self::Reply { id, reply })
                    .ok_or(DecodeError::Malformed { kind, id })
            }
            _ => Err(DecodeError::Truncated),
        }
    }
}

/// The value, if nothing stands behind it.
fn whole<T>(parsed: Parsed<'_, T>) -> Option<T> {
    match parsed {
        Ok(([], value)) => Some(value),
        _ => None,
    }
}
