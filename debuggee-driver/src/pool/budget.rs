//! Design constants of the pools: how big an object of each class is, and how many are reserved
//! at load. Plain numbers, chosen at boot; nothing here changes afterwards.

use wire_protocol::address::PAGE_BYTES;
use wire_protocol::event::PoolClass;

/// Number of classes.
pub const CLASS_COUNT: usize = PoolClass::ALL.len();

/// One value per class.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ByClass<T>(
    /// In the order of [`PoolClass::ALL`].
    pub [T; CLASS_COUNT],
);

impl<T> ByClass<T> {
    /// The value of `class`.
    #[must_use]
    pub const fn get(&self, class: PoolClass) -> &T {
        let [regular, big, safe, big_safe, hook, hook2, monitor, thread] = &self.0;
        match class {
            PoolClass::RegularEvent => regular,
            PoolClass::BigEvent => big,
            PoolClass::RegularSafeBuffer => safe,
            PoolClass::BigSafeBuffer => big_safe,
            PoolClass::EptHook => hook,
            PoolClass::EptHook2 => hook2,
            PoolClass::Monitor => monitor,
            PoolClass::ThreadInterception => thread,
        }
    }

    /// The value of `class`, to be changed.
    #[must_use]
    pub const fn get_mut(&mut self, class: PoolClass) -> &mut T {
        let [regular, big, safe, big_safe, hook, hook2, monitor, thread] = &mut self.0;
        match class {
            PoolClass::RegularEvent => regular,
            PoolClass::BigEvent => big,
            PoolClass::RegularSafeBuffer => safe,
            PoolClass::BigSafeBuffer => big_safe,
            PoolClass::EptHook => hook,
            PoolClass::EptHook2 => hook2,
            PoolClass::Monitor => monitor,
            PoolClass::ThreadInterception => thread,
        }
    }
}

/// Bytes of the record in front of an event's buffers.
pub const EVENT_HEADER_BYTES: u32 = 128;

/// Objects start at a multiple of this, so that no two share a cache line.
pub const CACHE_LINE_BYTES: u32 = 64;

/// Table pages that come with a page object. A page of the guest is reached through at most two
/// tables that did not exist before: a page directory and a page table, split out of a 1 GiB
/// leaf.
pub const TABLES_PER_PAGE_OBJECT: u32 = 2;

/// From the start of the object of an intercepted thread to its record: behind the page and its tables.
pub const INTERCEPTION_RECORD_AT: u32 = (1 + TABLES_PER_PAGE_OBJECT) * PAGE_BYTES as u32;

/// Bytes that an event has for its scripts as they run, beside as many as its condition may have and what its actions
/// leave of their buffer.
pub const DECODED_BYTES: u32 = 4096;

/// Sizes that the design constants decide. A bigger value costs that many arena bytes per
/// object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ObjectSizes {
    /// Condition buffer of a regular event.
    pub regular_condition_bytes: u32,
    /// Condition buffer of a big event.
    pub big_condition_bytes: u32,
    /// Action buffer of a regular event.
    pub regular_action_bytes: u32,
    /// Action buffer of a big event.
    pub big_action_bytes: u32,
    /// Safe buffer, regular.
    pub regular_safe_buffer_bytes: u32,
    /// Safe buffer, big.
    pub big_safe_buffer_bytes: u32,
}

impl ObjectSizes {
    /// The documented defaults.
    pub const DEFAULT: Self = Self {
        regular_condition_bytes: 100,
        big_condition_bytes: 4096,
        regular_action_bytes: 8192,
        big_action_bytes: 80 * 1024,
        regular_safe_buffer_bytes: 4096,
        big_safe_buffer_bytes: 80 * 1024,
    };

    /// Arena bytes of one object of `class`, a multiple of [`Self::align_bytes`].
    #[must_use]
    pub const fn object_bytes(&self, class: PoolClass) -> u32 {
        let bytes = match class {
            PoolClass::RegularEvent | PoolClass::BigEvent => {
                self.action_at(class).saturating_add(self.room(class))
            }
            PoolClass::RegularSafeBuffer => self.regular_safe_buffer_bytes,
            PoolClass::BigSafeBuffer => self.big_safe_buffer_bytes,
            PoolClass::EptHook | PoolClass::EptHook2 | PoolClass::Monitor => {
                (1 + TABLES_PER_PAGE_OBJECT) * PAGE_BYTES as u32
            }
            PoolClass::ThreadInterception => INTERCEPTION_RECORD_AT + PAGE_BYTES as u32,
        };
        round_up(bytes, self.align_bytes(class))
    }

    /// Condition and action buffer of an event of `class`.
    #[must_use]
    pub const fn buffers(&self, class: PoolClass) -> (u32, u32) {
        match class {
            PoolClass::BigEvent => (self.big_condition_bytes, self.big_action_bytes),
            _ => (self.regular_condition_bytes, self.regular_action_bytes),
        }
    }

    /// From the start of an event of `class` to its actions.
    #[must_use]
    pub const fn action_at(&self, class: PoolClass) -> u32 {
        let (condition_bytes, _) = self.buffers(class);
        let front = EVENT_HEADER_BYTES.saturating_add(condition_bytes);
        round_up(front, CACHE_LINE_BYTES)
    }

    /// Bytes of an event of `class` for its actions and for all its scripts as they run. A script's code grows to
    /// about its length and a half, its tables and texts do not. A big event has its buffers once more: what is that
    /// long has most of it in code.
    #[must_use]
    pub const fn room(&self, class: PoolClass) -> u32 {
        let (condition_bytes, action_bytes) = self.buffers(class);
        let buffers = condition_bytes.saturating_add(action_bytes);
        let decoded = match class {
            PoolClass::BigEvent => buffers.saturating_add(DECODED_BYTES),
            _ => condition_bytes.saturating_add(DECODED_BYTES),
        };
        action_bytes.saturating_add(decoded)
    }

    /// Alignment of an object of `class`, in bytes.
    #[must_use]
    pub const fn align_bytes(&self, class: PoolClass) -> u32 {
        if has_tables(class) {
            PAGE_BYTES as u32
        } else {
            CACHE_LINE_BYTES
        }
    }
}

/// Whether objects of the class are a page for the guest with [`TABLES_PER_PAGE_OBJECT`] table
/// pages.
#[must_use]
pub const fn has_tables(class: PoolClass) -> bool {
    matches!(
        class,
        PoolClass::EptHook
            | PoolClass::EptHook2
            | PoolClass::Monitor
            | PoolClass::ThreadInterception
    )
}

/// To the next multiple; values that have none stay (no arena can hold them anyway).
const fn round_up(bytes: u32, align_bytes: u32) -> u32 {
    match bytes.checked_next_multiple_of(align_bytes) {
        Some(rounded) => rounded,
        None => bytes,
    }
}

/// Everything the pools are built from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Design {
    /// Object sizes.
    pub sizes: ObjectSizes,
    /// Objects reserved at load and kept free by the replenisher.
    pub levels: ByClass<u32>,
    /// Arena bytes that only `prealloc` may take.
    pub prealloc_only_bytes: u64,
    /// Milliseconds between two looks of the replenisher; 0: there is none.
    pub replenish_ms: u32,
}

impl Design {
    /// The documented defaults.
    pub const DEFAULT: Self = Self {
        sizes: ObjectSizes::DEFAULT,
        levels: ByClass([20, 0, 0, 0, 20, 20, 20, 4]),
        prealloc_only_bytes: 8 << 20,
        replenish_ms: 1000,
    };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn default_objects_have_the_documented_sizes() {
        let sizes = ObjectSizes::DEFAULT;
        assert_eq!(sizes.action_at(PoolClass::RegularEvent), 256);
        assert_eq!(sizes.room(PoolClass::RegularEvent), 8192 + 100 + 4096);
        assert_eq!(sizes.object_bytes(PoolClass::RegularEvent), 12_672);
        let big = 4096 + 80 * 1024;
        assert_eq!(sizes.action_at(PoolClass::BigEvent), 128 + 4096);
        assert_eq!(sizes.room(PoolClass::BigEvent), 80 * 1024 + big + 4096);
        assert_eq!(sizes.object_bytes(PoolClass::BigEvent), 176_256);
        assert_eq!(sizes.object_bytes(PoolClass::RegularSafeBuffer), 4096);
        assert_eq!(sizes.object_bytes(PoolClass::BigSafeBuffer), 80 * 1024);
        assert_eq!(sizes.object_bytes(PoolClass::EptHook), 3 * 4096);
        assert_eq!(sizes.object_bytes(PoolClass::Monitor), 3 * 4096);
        assert_eq!(sizes.object_bytes(PoolClass::ThreadInterception), 4 * 4096);
    }

    #[test]
    fn objects_are_multiples_of_their_alignment() {
        let sizes = ObjectSizes {
            regular_safe_buffer_bytes: 1,
            ..ObjectSizes::DEFAULT
        };
        for class in PoolClass::ALL {
            assert_eq!(sizes.object_bytes(class) % sizes.align_bytes(class), 0);
        }
    }

    #[test]
    fn absurd_sizes_do_not_overflow() {
        let sizes = ObjectSizes {
            big_condition_bytes: u32::MAX,
            big_action_bytes: u32::MAX,
            ..ObjectSizes::DEFAULT
        };
        assert_eq!(sizes.object_bytes(PoolClass::BigEvent), u32::MAX);
    }
}
