//! What the debuggee says by itself, until somebody takes it.

use super::identity::Halt;
use crate::dropped::DropNews;
use crate::recording::Moment;
use crate::script::lines::Line;
use wire_protocol::address::CoreId;
use wire_protocol::event::Standing;
use wire_protocol::link::RateNews;
use wire_protocol::packet::{Failure, Source};

/// Something the debuggee said by itself that the user has not seen yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum News {
    /// It halted.
    Stopped(Halt),
    /// The hypervisor met a fault of its own.
    Fault {
        /// On which core.
        core: CoreId,
        /// Exception vector.
        vector: u16,
        /// Host instruction pointer.
        rip: u64,
        /// CR2 or error code.
        detail: u64,
    },
    /// Programs of one core said something, in order.
    Messages(Vec<ProgramMessage>),
    /// The same, of programs that have to be read first. Not given to users.
    Unread {
        /// The message.
        raw: Vec<u8>,
        /// When it came.
        at: Moment,
    },
    /// The driver is not there any more, and is waited for.
    DriverGone {
        /// It told so itself; else another one was loaded without a word of the one before.
        said_goodbye: bool,
    },
    /// A driver that was waited for is there.
    DriverBack,
    /// Another host program has the debuggee: for so many seconds, or from now on.
    OtherHost {
        /// None when it took it from this one.
        seconds: Option<u32>,
    },
    /// The line is lost, and is being opened again.
    LineLost {
        /// Why.
        why: String,
    },
    /// A line that was lost is open again.
    LineBack {
        /// Why it had been lost, if that was not told.
        untold: Option<String>,
    },
    /// Something about the line's rate.
    Rate(RateNews),
    /// Datagrams came that change nothing.
    Dropped(DropNews),
    /// A notice of a kind that this program does not know.
    UnknownNotice {
        /// Its first byte.
        kind: u8,
    },
    /// A notice of a known kind that cannot be read.
    MalformedNotice {
        /// Its first byte.
        kind: u8,
    },
    /// Nothing is recorded any more.
    RecordingEnded {
        /// What the operating system says.
        why: String,
    },
}

/// What a program said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProgramMessage {
    /// Whose program it was.
    pub source: Source,
    /// On which core it ran.
    pub core: CoreId,
    /// Messages of that core that found no room right before this one.
    pub lost: u64,
    /// What.
    pub what: MessageContent,
}

/// One message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MessageContent {
    /// A text.
    Text(String),
    /// An instruction of a trace is about to run.
    Trace {
        /// Where.
        rip: u64,
        /// Its first bytes.
        code: Vec<u8>,
    },
    /// Something went wrong.
    Failure {
        /// What.
        failure: Failure,
        /// Where in the script, if that is known.
        line: Option<Line>,
    },
    /// The event stands otherwise to the code that it hooks.
    Standing(Standing),
}
