//! What comes to the session, from the link thread or from the recording that stands in its place.

use crate::dropped::DropNews;
use crate::recording::{Counts, Moment};
use std::time::Duration;
use wire_protocol::link::{RateNews, SendError};

/// Something that came.
#[derive(Debug)]
pub(super) enum Event {
    /// The line could not be opened yet, or never can be.
    NotOpen { why: String, is_final: bool },
    /// The line is open for the first time.
    Open,
    /// The line was lost a while ago.
    Lost { why: String },
    /// A lost line is open again. Why it had been lost, if that was not told.
    OpenAgain { untold: Option<String> },
    /// The session that was asked for has begun.
    Connected,
    /// A whole message.
    Message {
        /// Its bytes.
        bytes: Vec<u8>,
        /// When it came.
        at: Moment,
    },
    /// The driver at the other end knows of no session.
    Greeting,
    /// Another host has the debuggee: for so many seconds, so that no session came about, or from now on.
    OtherHost { seconds: Option<u32> },
    /// The request of this number could not be queued.
    Unsent { id: u8, why: SendError },
    /// Something about the line's rate.
    Rate(RateNews),
    /// Datagrams came that change nothing.
    Dropped(DropNews),
    /// The recording that is replayed has no answer to the request of this number, or no halt where
    /// one was asked for.
    Missing { id: Option<u8>, gap: Gap },
}

/// What is known about the line at any time.
pub(super) type Health = Counts;

/// What a recording does not have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Gap {
    /// It was not asked then, or after what was not done now.
    NotAsked {
        /// What is asked now.
        asked: String,
        /// What was done next then.
        next: String,
    },
    /// It was asked then, too, and nobody answered.
    NotAnswered {
        /// So long it was waited for.
        waited: Duration,
    },
}
