//! Every design constant: its name, unit, default, and what a bigger value costs.
//!
//! The platform offers each under its name as a load-time parameter (a module parameter on Linux)
//! and passes the values in the order of [`TABLE`].

use crate::pool::budget::{ByClass, Design, ObjectSizes};
use wire_protocol::event::PoolClass;

/// One design constant.
#[derive(Clone, Copy, Debug)]
pub struct Constant {
    /// Name of the parameter.
    pub name: &'static str,
    /// Value unless the loader says otherwise.
    pub default: u64,
    /// Unit and cost.
    pub meaning: &'static str,
}

macro_rules! constants {
    ($($(#[doc = $meaning:literal])+ $name:ident = $default:expr;)*) => {
        /// All design constants, in the order in which the platform passes them.
        pub const TABLE: &[Constant] = &[$(Constant {
            name: stringify!($name),
            default: $default,
            meaning: concat!($($meaning),+),
        }),*];

        /// The values in force.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[repr(C)]
        pub struct Constants {
            $($(#[doc = $meaning])+ pub $name: u64,)*
        }

        impl Constants {
            /// The documented defaults.
            pub const DEFAULT: Self = Self { $($name: $default,)* };

            /// The values in the order of [`TABLE`].
            #[must_use]
            pub fn of_words(words: [u64; TABLE.len()]) -> Self {
                let mut words = words.into_iter();
                Self { $($name: words.next().unwrap_or_default(),)* }
            }
        }
    };
}

constants! {
    /// Bytes reserved at load for everything: a multiple of 2 MiB. Costs that much of the guest's memory.
    arena_bytes = 16 << 20;
    /// Bytes of the arena that only `prealloc` may take. Costs objects that are carved by themselves.
    prealloc_only_bytes = 8 << 20;
    /// Regular events reserved at load. Each costs an event object.
    regular_events = 20;
    /// Big events reserved at load. Each costs an event object.
    big_events = 0;
    /// Pages for `!epthook` reserved at load. Each costs 12 KiB. So many, but no more than four, threads can be intercepted for
    /// steps and `g ADDRESS`, too, for 16 KiB each.
    ept_hooks = 20;
    /// Pages for `!epthook2` reserved at load. Each costs 12 KiB.
    ept_hooks2 = 20;
    /// Pages for `!monitor` reserved at load. Each costs 12 KiB.
    monitors = 20;
    /// Regular safe buffers reserved at load.
    regular_safe_buffers = 0;
    /// Big safe buffers reserved at load.
    big_safe_buffers = 0;
    /// Bytes of a regular event's condition buffer. Costs that much per regular event.
    regular_condition_bytes = 100;
    /// Bytes of a big event's condition buffer. Costs that much per big event.
    big_condition_bytes = 4096;
    /// Bytes of a regular event's action buffer. Costs that much per regular event.
    regular_action_bytes = 8192;
    /// Bytes of a big event's action buffer. Costs that much per big event.
    big_action_bytes = 80 * 1024;
    /// Bytes of a regular safe buffer.
    regular_safe_buffer_bytes = 4096;
    /// Bytes of a big safe buffer.
    big_safe_buffer_bytes = 80 * 1024;
    /// Bytes that the arena may grow by while the guest runs. Costs nothing until they are taken.
    arena_growth_bytes = 32 << 20;
    /// Milliseconds between two looks whether pools are below their levels; 0: never, and the arena does not grow. Each costs a VM exit.
    replenish_ms = 1000;
    /// Bytes for messages that wait to be sent, per core. Costs that much for every core.
    message_ring_bytes = 32 << 10;
    /// Operations after which a script is ended. Costs a core the time of so many when one does not end.
    script_operations = 1_000_000;
    /// Instructions after which machine code of an event is ended. Costs a core the time of so many exceptions.
    code_instructions = 100_000;
    /// Polls of the line per second while the guest runs. Each costs one VM exit of one core.
    poll_hz = 1000;
    /// 1: time spent halted is taken out of the guest's time-stamp counter. 0: the guest sees it.
    hide_time = 1;
    /// 1: the machine halts at load until a host lets it go, and a break-in counts also while no host is in a session. 0: only within one.
    halt = 0;
}

/// Threads that are intercepted at a time: steps take one, and so does each way to stop in a thread.
const INTERCEPTIONS: u64 = 4;

const fn clamp(value: u64) -> u32 {
    if value > u32::MAX as u64 {
        u32::MAX
    } else {
        value as u32
    }
}

impl Constants {
    /// What the pools are built from.
    #[must_use]
    pub fn design(&self) -> Design {
        let mut levels = ByClass([0; PoolClass::ALL.len()]);
        for (class, level) in [
            (PoolClass::RegularEvent, self.regular_events),
            (PoolClass::BigEvent, self.big_events),
            (PoolClass::RegularSafeBuffer, self.regular_safe_buffers),
            (PoolClass::BigSafeBuffer, self.big_safe_buffers),
            (PoolClass::EptHook, self.ept_hooks),
            (PoolClass::EptHook2, self.ept_hooks2),
            (PoolClass::Monitor, self.monitors),
            (
                PoolClass::ThreadInterception,
                self.ept_hooks.min(INTERCEPTIONS),
            ),
        ] {
            *levels.get_mut(class) = clamp(level);
        }
        Design {
            sizes: ObjectSizes {
                regular_condition_bytes: clamp(self.regular_condition_bytes),
                big_condition_bytes: clamp(self.big_condition_bytes),
                regular_action_bytes: clamp(self.regular_action_bytes),
                big_action_bytes: clamp(self.big_action_bytes),
                regular_safe_buffer_bytes: clamp(self.regular_safe_buffer_bytes),
                big_safe_buffer_bytes: clamp(self.big_safe_buffer_bytes),
            },
            levels,
            prealloc_only_bytes: self.prealloc_only_bytes,
            replenish_ms: clamp(self.replenish_ms),
        }
    }

    /// Bytes that the arena grows by while the guest runs: only the replenisher adds to it.
    #[must_use]
    pub const fn growth_bytes(&self) -> u64 {
        if self.replenish_ms == 0 {
            0
        } else {
            self.arena_growth_bytes
        }
    }

    /// What the host shows.
    #[must_use]
    pub const fn for_host(&self) -> wire_protocol::packet::Constants {
        wire_protocol::packet::Constants {
            arena_bytes: self.arena_bytes,
            prealloc_only_bytes: if self.prealloc_only_bytes < self.arena_bytes {
                self.prealloc_only_bytes
            } else {
                self.arena_bytes
            },
            hide_time: self.hide_time != 0,
            poll_hz: clamp(self.poll_hz),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_are_the_pools_documented_defaults() {
        assert_eq!(Constants::DEFAULT.design(), Design::DEFAULT);
    }

    #[test]
    fn an_arena_that_nobody_replenishes_does_not_grow() {
        let mut constants = Constants::DEFAULT;
        assert_eq!(constants.growth_bytes(), 32 << 20);
        constants.replenish_ms = 0;
        assert_eq!(constants.growth_bytes(), 0);
    }

    #[test]
    fn the_table_lists_every_field() {
        assert_eq!(size_of::<Constants>(), TABLE.len() * 8);
    }
}
