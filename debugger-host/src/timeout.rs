//! How long anything may take: Ctrl+C, time limits, and who is told of what is being waited for. Made by `main`, used by every wait in [`crate::session`] and [`crate::command`].

use crate::dropped::DropNews;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;
use wire_protocol::link::RateNews;

/// Counts Ctrl+C; shared with the signal handler.
pub type Interrupts = Arc<AtomicU32>;

/// Whether bytes can get through at all.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LineState {
    /// As far as this end knows.
    Open,
    /// It is open, and what comes is not from a debugger's driver.
    Foreign {
        /// So much came, and not one frame.
        bytes: u64,
    },
    /// It is being opened again.
    Lost {
        /// What the operating system says.
        why: String,
    },
}

impl fmt::Display for LineState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Open => f.write_str("the line is open"),
            Self::Foreign { bytes } => write!(
                f,
                "{bytes} bytes came and no message among them, as if there were no debugger's driver at the other end"
            ),
            Self::Lost { why } => write!(f, "the line is lost ({why}) and is being opened again"),
        }
    }
}

/// A wait that takes long.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wait {
    /// For the debuggee.
    Answer {
        /// The request that has no answer yet; `None` if the debuggee is to halt.
        request: Option<&'static str>,
        /// How long it takes so far.
        seconds: u64,
        /// State of the line.
        line: LineState,
    },
    /// For the debuggee, which may be at another rate.
    Rate(RateNews),
    /// For the debuggee, while datagrams come that change nothing.
    Dropped(DropNews),
    /// For a line that cannot be opened yet.
    Line {
        /// Which.
        line: String,
        /// How long it takes so far.
        seconds: u64,
        /// What the last attempt said.
        why: String,
    },
}

/// Who says when to give up.
pub struct Timeout {
    interrupts: Interrupts,
    seen: u32,
    limit: Option<Duration>,
    /// A shorter limit, for a while.
    shorter: Option<Duration>,
    explain: Box<dyn Fn(&Wait)>,
}

impl Timeout {
    /// Without a limit, only Ctrl+C ends a wait. `explain` is told of long waits.
    pub fn new(
        interrupts: Interrupts,
        limit: Option<Duration>,
        explain: impl Fn(&Wait) + 'static,
    ) -> Self {
        Self {
            interrupts,
            seen: 0,
            limit,
            shorter: None,
            explain: Box::new(explain),
        }
    }

    /// A command begins: Ctrl+C before it does not count.
    pub fn begin(&mut self) {
        self.seen = self.interrupts.load(Ordering::Relaxed);
    }

    /// Ctrl+C was pressed since [`Self::begin`].
    #[must_use]
    pub fn is_interrupted(&self) -> bool {
        self.interrupts.load(Ordering::Relaxed) != self.seen
    }

    /// Longest wait for an answer.
    #[must_use]
    pub fn limit(&self) -> Option<Duration> {
        self.shorter.or(self.limit)
    }

    /// Waits no longer than this, until told otherwise.
    pub const fn shorten(&mut self, limit: Option<Duration>) {
        self.shorter = limit;
    }

    /// Says what is being waited for.
    pub fn explain(&self, wait: &Wait) {
        (self.explain)(wait);
    }
}
