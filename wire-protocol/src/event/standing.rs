//! How an enabled event stands to what it watches: code changes and memory goes, and an event must not.

use crate::closed::closed_set;

closed_set! {
    /// How an event acts that is enabled, and if it cannot, why. Only hooks and monitors are ever anything but active.
    pub enum Standing {
        /// As it was asked for.
        Active,
        /// A detour that is a hidden breakpoint for now: the instruction that it moved was changed.
        Breakpoint,
        /// Stale: no instruction starts at the hook, because one that was written before it lies over it.
        Covered,
        /// Stale: other code stands there than the hook was set on.
        Replaced,
        /// Stale: the address does not lead to the memory any more in which the hook was set; of a monitor, for good.
        Unmapped,
        /// Stale for good: the process whose memory it was has ended or runs another program.
        Ended,
        /// Stale for good: the page is elsewhere now, and there is no room for what following it takes.
        Crowded,
    }
}

impl Standing {
    /// Whether the event is out of effect until what made it so goes.
    #[must_use]
    pub const fn is_stale(self) -> bool {
        match self {
            Self::Active | Self::Breakpoint => false,
            Self::Covered | Self::Replaced | Self::Unmapped | Self::Ended | Self::Crowded => true,
        }
    }
}
