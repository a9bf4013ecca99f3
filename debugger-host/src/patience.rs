//! How long anything may take: Ctrl+C, time limits, and the line that says what is being waited
//! for. Made by `main`, used by every wait in [`crate::session`] and [`crate::command`].

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

/// Counts Ctrl+C; shared with the signal handler.
pub type Interrupts = Arc<AtomicU32>;

/// Who says when to give up.
pub struct Patience {
    interrupts: Interrupts,
    seen: u32,
    limit: Option<Duration>,
    /// A shorter limit, for a while.
    hurry: Option<Duration>,
    explain: Box<dyn Fn(&str) + Send>,
}

impl Patience {
    /// Without a limit, only Ctrl+C ends a wait. `explain` prints one line.
    pub fn new(
        interrupts: Interrupts,
        limit: Option<Duration>,
        explain: impl Fn(&str) + Send + 'static,
    ) -> Self {
        Self {
            interrupts,
            seen: 0,
            limit,
            hurry: None,
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
        self.hurry.or(self.limit)
    }

    /// Waits no longer than this, until told otherwise.
    pub const fn hurry(&mut self, limit: Option<Duration>) {
        self.hurry = limit;
    }

    /// Says what is being waited for.
    pub fn explain(&self, line: &str) {
        (self.explain)(line);
    }
}
