//! The places in the driver's code where detours lead, and which event has which.
//!
//! A place begins with a push of its number and a jump to the one stub that all places share
//! (`hw/detour.S`); behind that stands the instruction that the detour's jump covers, moved, and a
//! jump back. A core can be halted, and a thread preempted, at any instruction of a place. So the
//! first part of a place never changes, and the rest only ever belongs to one instruction of the
//! kernel: a place that was given back is taken again for the same instruction, and for no other
//! until the driver is loaded anew.
//!
//! Changed with every core halted; looked up by all cores, in VMX-root and as guests.

use super::relocate::{self, Moved};
use crate::ept::hook::JUMP_BYTES;
use crate::guest::instruction::LENGTH_MAX;
use crate::port::PhysicalMemory;
use wire_protocol::address::{EventId, GuestVirtual, PAGE_BYTES};
use wire_protocol::refusal::{DetourObstacle, EventRefusal, Refusal};

/// Places in all.
pub const SLOTS: usize = 512;

/// Bytes of a place.
pub const SLOT_BYTES: u64 = 64;

/// Pages that all places take.
pub const PAGES: usize = SLOTS * SLOT_BYTES as usize / PAGE_BYTES as usize;

/// From the start of a place to the instruction that was moved there.
const MOVED_AT: u64 = 16;

const _: () = assert!(MOVED_AT as usize + relocate::MOVED_MAX <= SLOT_BYTES as usize);

/// Where the places are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Site {
    /// Linear address of the first.
    pub linear: GuestVirtual,
    /// Linear address of the stub that all lead to.
    pub stub: GuestVirtual,
    /// Physical addresses of their pages.
    pub pages: [u64; PAGES],
    /// The lists of views that the guest can change to, of which each core has one.
    pub lists: [ViewList; 2],
}

/// A list of views that the guest can change to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ViewList {
    /// Physical address.
    pub at: u64,
    /// What is in it while there is a detour: EPT pointers. At other times nothing is.
    pub views: [u64; 2],
}

/// An instruction of the kernel, as it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Code {
    /// Linear address.
    pub at: GuestVirtual,
    /// The bytes from there on, as far as they are on the same page.
    pub bytes: [u8; LENGTH_MAX],
    /// How many of them.
    pub len: usize,
}

impl Code {
    /// The bytes.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        self.bytes.get(..self.len).unwrap_or_default()
    }
}

/// What was given to an instruction.
#[derive(Clone, Copy, Debug)]
struct Slot {
    /// Linear address of the instruction.
    at: GuestVirtual,
    moved: Moved,
    /// Where the guest goes on after the event was served.
    goes_on: u64,
    event: Option<EventId>,
}

impl Slot {
    const fn served(&self) -> Served {
        Served {
            event: self.event,
            at: self.at,
            goes_on: self.goes_on,
        }
    }
}

/// What a detour needs.
#[derive(Clone, Copy, Debug)]
pub struct DetourPlan {
    number: usize,
    slot: Slot,
    /// What stands at the instruction in the shadow.
    pub jump: [u8; JUMP_BYTES],
}

impl DetourPlan {
    /// Length of the instruction that is moved.
    #[must_use]
    pub const fn moved_bytes(&self) -> u8 {
        self.slot.moved.covered
    }
}

/// Whom a core that came through a place serves, and how it goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Served {
    /// The event; none if it was cleared while the core was on its way.
    pub event: Option<EventId>,
    /// Linear address of the instruction.
    pub at: GuestVirtual,
    /// Where to go on.
    pub goes_on: u64,
}

/// All places.
#[derive(Debug)]
pub struct Detours {
    site: Option<Site>,
    /// In the order in which they were given away first.
    slots: [Option<Slot>; SLOTS],
}

impl Detours {
    /// Nowhere.
    pub const NONE: Self = Self {
        site: None,
        slots: [None; SLOTS],
    };

    /// Says where the places are, once, at load: no detour can be built before.
    pub fn place(&mut self, site: Site) {
        self.site = Some(site);
    }

    /// What a detour at the start of `code` needs.
    ///
    /// # Errors
    /// What stands in its way.
    pub fn plan(&self, code: &Code) -> Result<DetourPlan, Refusal> {
        self.plan_at(code)
            .map_err(|obstacle| Refusal::Event(EventRefusal::NoDetour { obstacle }))
    }

    fn plan_at(&self, code: &Code) -> Result<DetourPlan, DetourObstacle> {
        let site = self.site.ok_or(DetourObstacle::Processor)?;
        let from = code.at.0;
        let mut free = None;
        for (number, slot) in self.slots.iter().enumerate() {
            let moved_at = slot_start(&site, number) + MOVED_AT;
            let is_usable = slot.as_ref().is_none_or(|slot| {
                slot.at == code.at
                    && relocate::relocate(code.bytes(), from, moved_at) == Ok(slot.moved)
            });
            if is_usable {
                free = Some(number);
                break;
            }
        }
        let number = free.ok_or(DetourObstacle::NoPlace)?;
        let start = slot_start(&site, number);
        let moved = relocate::relocate(code.bytes(), from, start + MOVED_AT)?;
        let goes_on = if moved.bytes().is_empty() {
            from.wrapping_add(u64::from(moved.covered))
        } else {
            start + MOVED_AT
        };
        let slot = Slot {
            at: code.at,
            moved,
            goes_on,
            event: None,
        };
        Ok(DetourPlan {
            number,
            slot,
            jump: relocate::jump(from, start)?,
        })
    }

    /// Writes what was planned and gives the place to `event`. In the halt in which it was planned.
    pub(super) fn commit(
        &mut self,
        mem: &mut impl PhysicalMemory,
        plan: &DetourPlan,
        event: EventId,
    ) {
        let Some(site) = self.site else { return };
        let start = slot_start(&site, plan.number);
        let offset = start - site.linear.0;
        let page = site.pages.get((offset / PAGE_BYTES) as usize);
        let (Some(page), Some(slot)) = (page, self.slots.get_mut(plan.number)) else {
            return;
        };
        let physical = page + offset % PAGE_BYTES;
        let [a, b, c, d] = (plan.number as u32).to_le_bytes();
        mem.write(physical, &[0x68, a, b, c, d]);
        // The stub is in the same image.
        if let Ok(jump) = relocate::jump(start + JUMP_BYTES as u64, site.stub.0) {
            mem.write(physical + JUMP_BYTES as u64, &jump);
        }
        mem.write(physical + MOVED_AT, plan.slot.moved.bytes());
        *slot = Some(Slot {
            event: Some(event),
            ..plan.slot
        });
        self.list_views(mem);
    }

    /// Takes the place of an event back.
    pub(super) fn release(&mut self, mem: &mut impl PhysicalMemory, event: EventId) {
        let slots = self.slots.iter_mut().map_while(Option::as_mut);
        for slot in slots.filter(|slot| slot.event == Some(event)) {
            slot.event = None;
        }
        self.list_views(mem);
    }

    /// The guest can change views only while there is a detour.
    fn list_views(&self, mem: &mut impl PhysicalMemory) {
        let Some(site) = &self.site else { return };
        let mut slots = self.slots.iter().map_while(Option::as_ref);
        let is_any = slots.any(|slot| slot.event.is_some());
        for list in &site.lists {
            for (at, view) in (list.at..).step_by(8).zip(list.views) {
                mem.write_u64(at, if is_any { view } else { 0 });
            }
        }
    }

    /// Whether a core or a thread may still be on its way through a place.
    #[must_use]
    pub fn were_any(&self) -> bool {
        self.served(0).is_some()
    }

    /// The place of an event.
    #[must_use]
    pub fn of(&self, event: EventId) -> Option<Served> {
        let mut slots = self.slots.iter().map_while(Option::as_ref);
        let slot = slots.find(|slot| slot.event == Some(event))?;
        Some(slot.served())
    }

    /// Who is served at a place; `None` if it was never given away.
    #[must_use]
    pub fn served(&self, number: usize) -> Option<Served> {
        let slot = self.slots.get(number)?.as_ref()?;
        Some(slot.served())
    }
}

fn slot_start(site: &Site, number: usize) -> u64 {
    site.linear.0.wrapping_add(number as u64 * SLOT_BYTES)
}
