//! Requests, replies and notices: what one message holds.
//!
//! A message is `[kind][request id, for requests and replies][body]`. The host numbers its
//! requests; a reply carries the number of its request; a notice comes by itself.
//!
//! Both ends give `encode` and `decode` the same `base`: 0 from the start of a session until the
//! reply to `Hello` has been sent or received, the kernel base from then on. So the debuggee
//! sends no notice between the start of a session and that reply.

use crate::address::GuestVirtual;
use crate::codec::{EncodeError, Writer, whole};
use kind::{NoticeKind, ReplyKind};

mod branch;
#[cfg(test)]
mod document;
mod event;
mod form;
mod kind;
mod list;
mod memory;
mod messages;
mod network;
mod notice;
mod occasion;
mod pool;
mod program;
mod refusal;
mod register;
mod reply;
mod request;
mod run;
mod step;
mod system;
mod task;
#[cfg(test)]
mod testing;

pub use branch::Branches;
pub use event::{AddResults, EventEntries, EventSpecs, events_digest};
pub use list::{Item, Iter, List};
pub use memory::MemoryAt;
pub use messages::{
    Argument, Arguments, Batch, Content, Failure, FailureCause, MessageCounts, MessageRecord,
    Messages, Source,
};
pub use network::NetworkCounts;
pub use notice::Notice;
pub use occasion::{Came, Occasion, OccasionRule, OccasionRules, OccasionText};
pub use pool::PoolLines;
pub use program::{GlobalName, GlobalNames, GlobalOffset, GlobalOffsets};
pub use register::RegisterValues;
pub use reply::Reply;
pub use request::{Request, RequestError};
pub use run::{CoreState, CoreStates, Hits, StepEnd, Stop, StopCause};
pub use step::{StepBuffer, StepDetail, StepOrder, StepRecord, Stepped, Steps, Until, Walk};
pub use system::{
    Constants, Features, GuestSystem, Hello, LinuxLayout, PROTOCOL_VERSION, RamRanges,
};
pub use task::{
    FoundTasks, StopTask, Task, TaskName, TaskSelection, TaskState, TaskWriter, Tasks, TasksEnd,
};

/// Why a message of the debuggee has no meaning here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MessageError {
    /// It ends before its head does.
    Truncated,
    /// No reply has that number: the debuggee is newer.
    UnknownReply {
        /// The number.
        kind: u8,
        /// The request's id.
        id: u8,
    },
    /// The body of a reply is not one that this version writes.
    MalformedReply {
        /// The number.
        kind: u8,
        /// The request's id.
        id: u8,
    },
    /// No notice has that number: the debuggee is newer.
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

impl MessageError {
    /// Whether the debuggee told of a halt, in words that are lost.
    #[must_use]
    pub fn is_of_a_stop(self) -> bool {
        let stopped = NoticeKind::Stopped.to_wire();
        matches!(self, Self::MalformedNotice { kind } if kind == stopped)
    }
}

/// What the debuggee sends.
#[expect(
    clippy::large_enum_variant,
    reason = "the handshake's answer is made once in a session, and nothing is allocated here"
)]
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
    pub fn decode(message: &'a [u8], base: GuestVirtual) -> Result<Self, MessageError> {
        match *message {
            [kind, ref body @ ..] if kind & kind::NOTICE != 0 => {
                let known =
                    NoticeKind::from_wire(kind).ok_or(MessageError::UnknownNotice { kind })?;
                whole(Notice::parse(known, base.0, body))
                    .map(Self::Notice)
                    .ok_or(MessageError::MalformedNotice { kind })
            }
            [kind, id, ref body @ ..] => {
                let known =
                    ReplyKind::from_wire(kind).ok_or(MessageError::UnknownReply { kind, id })?;
                whole(Reply::parse(known, base.0, body))
                    .map(|reply| Self::Reply { id, reply })
                    .ok_or(MessageError::MalformedReply { kind, id })
            }
            [] | [_] => Err(MessageError::Truncated),
        }
    }
}
