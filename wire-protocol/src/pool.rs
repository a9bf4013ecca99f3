//! Classes of pre-allocated objects, and how many of each there are. Counted by the driver's pools,
//! shown by the host.

use crate::closed::closed_set;

closed_set! {
    /// Classes of pre-allocated objects. The names are those of `prealloc`.
    pub enum PoolClass {
        /// Event record, small condition buffer and small action buffer.
        RegularEvent,
        /// Event record, page-sized condition buffer and large action buffer.
        BigEvent,
        /// Small scratch memory of an event.
        RegularSafeBuffer,
        /// Large scratch memory of an event.
        BigSafeBuffer,
        /// One page that carries `!epthook` events, with the tables it may need.
        EptHook,
        /// One page that carries an `!epthook2` event.
        EptHook2,
        /// One page watched by `!monitor` events.
        Monitor,
        /// One intercepted thread.
        ThreadInterception,
    }
}

impl PoolClass {
    /// The word users type.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::RegularEvent => "regular-event",
            Self::BigEvent => "big-event",
            Self::RegularSafeBuffer => "regular-safe-buffer",
            Self::BigSafeBuffer => "big-safe-buffer",
            Self::EptHook => "epthook",
            Self::EptHook2 => "epthook2",
            Self::Monitor => "monitor",
            Self::ThreadInterception => "thread-interception",
        }
    }
}

/// One line of `pools`. At any time `reserved == free + in_use`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PoolLine {
    /// The class.
    pub class: PoolClass,
    /// Arena bytes that one object takes.
    pub object_bytes: u32,
    /// Objects carved from the arena so far.
    pub reserved: u32,
    /// Objects that belong to an installed event.
    pub in_use: u32,
}

/// Free objects after events were added or cleared, of the classes concerned, so that the prompt
/// can warn in time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FreeCounts([Option<u32>; PoolClass::COUNT]);

impl FreeCounts {
    /// Free objects of that class, if it is concerned.
    #[must_use]
    pub fn of(&self, class: PoolClass) -> Option<u32> {
        self.0.get(class as usize).copied().flatten()
    }

    /// With the count of free objects of a class that is concerned.
    #[must_use]
    pub fn with(mut self, class: PoolClass, free: u32) -> Self {
        if let Some(count) = self.0.get_mut(class as usize) {
            *count = Some(free);
        }
        self
    }

    /// Classes concerned, with their counts.
    pub fn iter(&self) -> impl Iterator<Item = (PoolClass, u32)> {
        PoolClass::ALL
            .into_iter()
            .zip(self.0)
            .filter_map(|(class, free)| Some((class, free?)))
    }
}
