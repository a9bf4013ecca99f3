//! The event model: what is watched, for whom, and what is done on a hit.
//!
//! Written by the host's command parser, checked and installed by the driver's registry.

use crate::address::{CoreId, EventId, GuestVirtual};
use bitflags::bitflags;

/// What is watched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trigger {
    /// `!epthook`: the instruction at `address` is about to run. Hidden from the guest.
    EptHook {
        /// First byte of the instruction.
        address: GuestVirtual,
    },
    /// `!cpuid`: CPUID is executed.
    Cpuid {
        /// EAX of the instruction; `None` watches all leaves.
        leaf: Option<u32>,
    },
}

/// For whom: both must match, `None` matches all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    /// The operating system's number of the running process.
    pub pid: Option<u32>,
    /// The core on which it happens.
    pub core: Option<CoreId>,
}

bitflags! {
    /// What is done on a hit.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct Actions: u8 {
        /// Halt every core and tell the host.
        const BREAK = 1;
    }
}

/// One event, whole: it is checked and installed as a unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EventSpec {
    /// What is watched.
    pub trigger: Trigger,
    /// For whom.
    pub filter: Filter,
    /// What is done on a hit.
    pub actions: Actions,
}

/// An installed event, as `events` lists it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EventEntry {
    /// Its number.
    pub id: EventId,
    /// What was asked for.
    pub spec: EventSpec,
    /// Disabled events stay installed and do nothing.
    pub enabled: bool,
    /// Times it matched since it was added.
    pub hits: u64,
}

/// What `events e|d|c` does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EventChange {
    /// It acts on hits again.
    Enable,
    /// It does nothing and keeps its objects.
    Disable,
    /// It is gone, with its effect on every core, and its objects are back in their pools.
    Clear,
}

/// Classes of pre-allocated objects. The names are those of `prealloc`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
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

impl PoolClass {
    /// All classes, in the order of their wire numbers.
    pub const ALL: [Self; 8] = [
        Self::RegularEvent,
        Self::BigEvent,
        Self::RegularSafeBuffer,
        Self::BigSafeBuffer,
        Self::EptHook,
        Self::EptHook2,
        Self::Monitor,
        Self::ThreadInterception,
    ];

    /// The class of that wire number.
    #[must_use]
    pub fn from_wire(number: u8) -> Option<Self> {
        Self::ALL.get(usize::from(number)).copied()
    }

    /// Its wire number, which is its place in [`Self::ALL`].
    #[must_use]
    pub const fn to_wire(self) -> u8 {
        self as u8
    }

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

/// Free objects after an event was added or cleared, so that the prompt can warn in time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FreeCounts {
    /// Regular events left.
    pub regular_events: u32,
    /// Big events left.
    pub big_events: u32,
    /// EPT-hook pages left.
    pub ept_hooks: u32,
}
