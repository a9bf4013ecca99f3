//! Recordings: what a session and its debuggee told each other, message by message and above the
//! link, with what else the session must know to be played again. The file is pcapng; its packets
//! are described in `docs/recording.md`.
//!
//! [`Recorder`] writes as it happens, called by the link thread of [`crate::session`];
//! [`Recording`] is read for [`crate::session`] to play it, and for people by `standstill show`,
//! in the words of [`describe`], which are those of [`told`]. A recording may also have what the driver's core took in ([`input`]). [`compare`] says whether a debuggee answers now as one did then.

pub mod compare;
pub mod describe;
mod form;
pub mod input;
mod reader;
#[cfg(test)]
mod tests;
pub mod told;
pub mod trim;
pub mod value;
mod writer;

pub use reader::{Damage, Ending, Recording, RecordingError};
pub use writer::Recorder;

use crate::transport::Endpoint;
use input::Input;
use serde::{Deserialize, Serialize};
use std::time::Duration;
use wire_protocol::link::{RateState, SendError, Statistics};
use wire_protocol::secure::Dropped;

/// Of what stands in packets. A recording of another form is not read.
pub const FORM: u16 = 1;

/// Link type of the packets: the first of those that are left to users.
const LINK_TYPE: u16 = 147;

/// What a recording begins with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Start {
    /// Version of the protocol that is spoken.
    pub protocol: u16,
    /// The program that recorded, with its version.
    pub program: String,
    /// Where the debuggee was, if that was said before anything was typed.
    pub endpoint: Option<Endpoint>,
    /// The file of symbols that was given, if any.
    pub symbols: Option<String>,
}

/// Answer to the question how the line is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Counts of the link.
    pub statistics: Statistics,
    /// Why the line is not open, if it is not.
    pub lost: Option<String>,
    /// How fast it is.
    pub rate: RateState,
    /// Datagrams that changed nothing.
    pub dropped: Dropped,
}

/// What one packet tells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Entry {
    /// The first packet, and only it.
    Start(Start),
    /// A message of the host.
    Request(Vec<u8>),
    /// A message of the debuggee.
    Message(Vec<u8>),
    /// The host proposes a session.
    Connect {
        /// Its number.
        nonce: u32,
    },
    /// The session that was proposed has begun.
    Connected,
    /// The host asks the debuggee to halt.
    BreakIn,
    /// The driver at the other end knows of no session.
    Greeting,
    /// Another host has the debuggee: for so many seconds, so that no session came about, or from now on.
    OtherHost {
        /// None when it took it from this one.
        seconds: Option<u32>,
    },
    /// The request of this number could not be queued.
    Unsent {
        /// Of the request.
        id: u8,
        /// What the link says.
        why: SendError,
    },
    /// The line was lost.
    Lost {
        /// What the operating system says.
        why: String,
    },
    /// The line was opened again.
    Reopened {
        /// Why it had been lost, if that was not told.
        untold: Option<String>,
    },
    /// A command begins.
    Command(String),
    /// A command has ended.
    CommandEnd,
    /// The session asked how the line is.
    Counts(Box<Counts>),
    /// The session has ended, and with it the recording.
    End,
    /// A line was opened; the one before, if any, had been closed.
    Open(Endpoint),
    /// A line was not opened.
    NotOpen(NotOpen),
    /// The driver's core took something in of its machine; sessions do not see it.
    Input(Input),
}

/// Why a line was not opened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NotOpen {
    /// Who gave up.
    pub cause: NotOpenCause,
    /// What the operating system says.
    pub why: String,
}

/// Who gave up opening a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotOpenCause {
    /// It can never be opened.
    Never,
    /// Not within so many seconds.
    TimeOut(u64),
    /// The user did.
    User,
}

/// Who a packet is from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Side {
    /// It went to the debuggee.
    Host,
    /// It came from the debuggee.
    Debuggee,
    /// It is a note of the program.
    Program,
}

impl Entry {
    /// Who it is from.
    #[must_use]
    pub const fn side(&self) -> Side {
        match self {
            Self::Request(_) | Self::Connect { .. } | Self::BreakIn => Side::Host,
            Self::Message(_)
            | Self::Connected
            | Self::Greeting
            | Self::OtherHost { .. }
            | Self::Input(_) => Side::Debuggee,
            Self::Start(_)
            | Self::Unsent { .. }
            | Self::Lost { .. }
            | Self::Reopened { .. }
            | Self::Command(_)
            | Self::CommandEnd
            | Self::Counts(_)
            | Self::Open(_)
            | Self::NotOpen(_)
            | Self::End => Side::Program,
        }
    }
}

/// One packet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Packet {
    /// Counts from 0.
    pub number: u32,
    /// When.
    pub at: Moment,
    /// How much of what came the session had taken when it did this; 0 for what comes to it. What
    /// had come when a line is opened counts as taken. Of an input: how much the core had taken of what the host sent.
    pub taken: u32,
    /// What.
    pub entry: Entry,
}

/// A time as recordings have it: microseconds since the beginning of 1970.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Moment(pub u64);

impl Moment {
    /// Now.
    #[must_use]
    pub fn now() -> Self {
        Self(u64::try_from(crate::clock::now().as_micros()).unwrap_or(u64::MAX))
    }

    /// Since the beginning of 1970.
    #[must_use]
    pub const fn since_1970(self) -> Duration {
        Duration::from_micros(self.0)
    }
}
