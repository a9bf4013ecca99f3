//! Whom the session talks to: a debuggee on a line, or the recording of one. The session is the
//! same for both.

use super::incoming::{Event, Gap, Health};
use super::line::LinkThread;
use super::recorded::Recorded;
use std::rc::Rc;
use std::time::Duration;

/// See the module.
pub(super) enum Peer {
    /// A debuggee.
    Line(LinkThread),
    /// A recording that plays it.
    Recorded(Rc<Recorded>),
}

impl Peer {
    /// Begins a new session.
    pub(super) fn connect(&self, nonce: u32, takes_over: bool) {
        match self {
            Self::Line(line) => line.connect(nonce, takes_over),
            Self::Recorded(recorded) => recorded.connect(),
        }
    }

    /// Sends a request.
    pub(super) fn send(&self, message: Vec<u8>) {
        match self {
            Self::Line(line) => line.send(message),
            Self::Recorded(recorded) => recorded.send(&message),
        }
    }

    /// Asks the debuggee to halt.
    pub(super) fn break_in(&self) {
        match self {
            Self::Line(line) => line.break_in(),
            Self::Recorded(recorded) => recorded.break_in(),
        }
    }

    /// The next event; `None` if there is none in time.
    pub(super) fn next(&self, limit: Duration) -> Option<Event> {
        match self {
            Self::Line(line) => line.next(limit),
            Self::Recorded(recorded) => recorded.next(limit),
        }
    }

    /// How the line is.
    pub(super) fn health(&self) -> Health {
        match self {
            Self::Line(line) => line.health(),
            Self::Recorded(recorded) => recorded.health(),
        }
    }

    /// Why no halt can come, whatever is waited for.
    pub(super) fn why_no_halt(&self) -> Option<Gap> {
        match self {
            Self::Line(_) => None,
            Self::Recorded(recorded) => recorded.why_no_halt(),
        }
    }
}
