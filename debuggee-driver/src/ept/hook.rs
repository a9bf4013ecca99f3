//! One hook, and what the shadow of its page has in its place. Kept by [`super::watch`], called in VMX-root.

use core::sync::atomic::{AtomicU8, Ordering};
use wire_protocol::address::{EventId, GuestPhysical};
use wire_protocol::event::Standing;

/// INT3, one byte.
const BREAKPOINT: u8 = 0xcc;

/// Bytes of a near jump.
pub const JUMP_BYTES: usize = 5;

/// What an event hooks.
#[derive(Clone, Copy, Debug)]
pub struct NewHook {
    /// Guest-physical address of the byte that is a breakpoint in the shadow.
    pub at: GuestPhysical,
    /// The event that has it.
    pub event: EventId,
    /// The shadow has this jump instead of a breakpoint. Such a page has no breakpoints but in the place of jumps.
    pub jump: Option<[u8; JUMP_BYTES]>,
    /// Where its [`super::reference::Reference`] is kept.
    pub reference_at: u64,
}

/// One hook.
#[derive(Debug)]
pub(super) struct Hook {
    /// What it was made from.
    pub(super) new: NewHook,
    /// A disabled hook is not shown.
    pub(super) enabled: bool,
    /// A [`Standing`].
    pub(super) standing: AtomicU8,
}

/// Bytes of a shadow page that are not those of the page.
#[derive(Clone, Copy, Debug)]
pub(super) struct Patch {
    /// Of the first one.
    pub(super) offset: usize,
    bytes: [u8; JUMP_BYTES],
    len: usize,
}

impl Patch {
    pub(super) const fn end(&self) -> usize {
        self.offset + self.len
    }

    /// Into the word at an offset of the page.
    pub(super) fn put(&self, word_at: usize, word: &mut [u8; 8]) {
        for (place, byte) in (self.offset..).zip(self.bytes).take(self.len) {
            let slot = place.checked_sub(word_at);
            if let Some(slot) = slot.and_then(|slot| word.get_mut(slot)) {
                *slot = byte;
            }
        }
    }
}

impl Hook {
    /// How it stands to the code.
    pub(super) fn standing(&self) -> Standing {
        let number = self.standing.load(Ordering::Relaxed);
        Standing::from_wire(number).unwrap_or(Standing::Replaced)
    }

    /// What the shadow has in its place, if anything. A detour that is a breakpoint for now keeps the rest of its jump,
    /// which nobody executes: so it becomes one, and a jump again, by one byte.
    pub(super) fn patch(&self) -> Option<Patch> {
        if !self.enabled || self.standing().is_stale() {
            return None;
        }
        let mut bytes = self.new.jump.unwrap_or_default();
        let len = self.new.jump.map_or(1, |jump| jump.len());
        if let ([first, ..], true) = (&mut bytes, self.is_breakpoint()) {
            *first = BREAKPOINT;
        }
        Some(Patch {
            offset: self.new.at.offset(),
            bytes,
            len,
        })
    }

    /// Whether it is a breakpoint where it is shown.
    pub(super) fn is_breakpoint(&self) -> bool {
        self.new.jump.is_none() || self.standing() == Standing::Breakpoint
    }
}
