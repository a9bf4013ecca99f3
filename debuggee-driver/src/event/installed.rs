//! What is installed, as data: one for the whole machine.
//!
//! Looked at by every core through its seat; changed with every core halted, by [`super::transaction`] and
//! [`super::growth`].

use super::detour::{Detours, Site};
use super::index::Index;
use super::registry::Registry;
use crate::ept::view::Views;
use crate::ept::watch::Watches;
use crate::guest::kernel::KernelSpace;
use crate::pool::Pools;
use crate::pool::arena::Arena;
use crate::pool::budget::Design;
use crate::port::{Hidden, OwnedMemory, PhysicalMemory};
use wire_protocol::address::{EventId, Extent, GuestPhysical, PAGE_BYTES};
use wire_protocol::event::{EventEntry, Standing, Trigger};
use wire_protocol::packet;
use wire_protocol::refusal::Refusal;

/// Everything that events are made of. One for the whole machine; about half a megabyte, so it
/// is copied to its place in the arena from a `static`.
#[derive(Debug)]
pub struct Installed {
    pub(super) pools: Pools,
    pub(super) registry: Registry,
    pub(super) index: Index,
    pub(super) watches: Watches,
    pub(super) detours: Detours,
    pub(super) views: Views,
    pub(super) core_count: u16,
    /// Memory of the line's devices.
    owned: OwnedMemory,
}

impl Default for Installed {
    fn default() -> Self {
        Self::new()
    }
}

impl Installed {
    /// Without memory and without views; [`Self::init`] gives it both.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            pools: Pools::new(),
            registry: Registry::new(),
            index: Index::new(),
            watches: Watches::new(),
            detours: Detours::NONE,
            views: Views::NONE,
            core_count: 1,
            owned: [Extent::EMPTY; 4],
        }
    }

    /// Takes over the rest of the arena and the views. Once, at load. Scripts have locals on each
    /// of `core_count` cores.
    ///
    /// # Errors
    /// The arena is too small for the design levels.
    pub fn init(
        &mut self,
        arena: Arena,
        design: Design,
        views: Views,
        core_count: u16,
    ) -> Result<(), Refusal> {
        self.views = views;
        self.core_count = core_count;
        self.pools.init(arena, design)
    }

    /// Counts memory of the line's devices as the debugger's own. Once, at load.
    pub const fn hide(&mut self, owned: OwnedMemory) {
        self.owned = owned;
    }

    /// Memory of the line's devices.
    pub fn owned(&self) -> impl Iterator<Item = &Extent<GuestPhysical>> {
        self.owned.iter().take_while(|piece| !piece.is_empty())
    }

    /// Says where detours lead. Once, at load, where the processor can carry them.
    pub fn place_detours(&mut self, site: Site) {
        self.detours.place(site);
    }

    /// Where detours lead.
    #[must_use]
    pub const fn detours(&self) -> &Detours {
        &self.detours
    }

    /// Pre-allocated objects, and the arena.
    #[must_use]
    pub const fn pools(&self) -> &Pools {
        &self.pools
    }

    /// Pre-allocated objects, and the arena, to carve from.
    #[must_use]
    pub const fn pools_mut(&mut self) -> &mut Pools {
        &mut self.pools
    }

    /// The two views.
    #[must_use]
    pub const fn views(&self) -> &Views {
        &self.views
    }

    /// Cores there may be.
    #[must_use]
    pub const fn core_count(&self) -> u16 {
        self.core_count
    }

    /// What is watched in memory.
    #[must_use]
    pub const fn watches(&self) -> &Watches {
        &self.watches
    }

    /// What is installed.
    #[must_use]
    pub const fn registry(&self) -> &Registry {
        &self.registry
    }

    /// All events in ascending order of number.
    pub fn entries(&self) -> impl Iterator<Item = EventEntry> {
        self.registry.entries()
    }

    /// See [`packet::events_digest`].
    #[must_use]
    pub fn digest(&self) -> u16 {
        packet::events_digest(self.entries())
    }

    /// See [`Registry::begin_report`].
    pub fn begin_report(&self) {
        self.registry.begin_report();
    }

    /// See [`Registry::hits_since_last_stop`].
    pub fn hits_since_last_stop(&self) -> impl Iterator<Item = (EventId, u64)> {
        self.registry.hits_since_last_stop()
    }

    /// Looks at the hooks of a page after it was written, tells which stand otherwise to the code now, and brings its
    /// shadow up to date; pages without hooks have none. By one core at a time, also while others run.
    pub fn refresh_shadow(
        &self,
        mem: &mut impl PhysicalMemory,
        page: GuestPhysical,
        kernel: &KernelSpace,
        mut tell: impl FnMut(EventId, Standing),
    ) {
        if self.watches.has_page(page) {
            self.judge(mem, page, kernel, &mut tell);
            self.watches.refresh(mem, page);
        }
    }

    /// Looks at all hooks, for what changes without a write by a core: where addresses lead, and what devices write. In
    /// a halt.
    pub fn look_at_hooks(
        &self,
        mem: &mut impl PhysicalMemory,
        kernel: &KernelSpace,
        mut tell: impl FnMut(EventId, Standing),
    ) {
        for page in self.watches.pages() {
            let mut is_changed = false;
            self.judge(mem, page, kernel, &mut |event, standing| {
                is_changed = true;
                tell(event, standing);
            });
            if is_changed {
                self.watches.refresh(mem, page);
            }
        }
    }

    fn judge(
        &self,
        mem: &impl PhysicalMemory,
        page: GuestPhysical,
        kernel: &KernelSpace,
        tell: &mut impl FnMut(EventId, Standing),
    ) {
        let leads_there = |event, at| self.leads_to(mem, kernel, event, at);
        self.watches
            .judge(mem, page, leads_there, |event, standing| {
                self.set_standing(event, standing);
                tell(event, standing);
            });
    }

    pub(super) fn set_standing(&self, event: EventId, standing: Standing) {
        if let Some(record) = self.registry.get(event) {
            record.set_standing(standing);
        }
    }

    /// Whether the address of an event, if it is one of the kernel's, leads to its hook at `at`.
    fn leads_to(
        &self,
        mem: &impl PhysicalMemory,
        kernel: &KernelSpace,
        event: EventId,
        at: GuestPhysical,
    ) -> bool {
        let record = self.registry.get(event);
        let trigger = record.map(|record| record.settings.trigger);
        let Some(Trigger::EptHook { address } | Trigger::EptHook2 { address }) = trigger else {
            return true;
        };
        if address.0 >> 63 == 0 {
            return true;
        }
        // A detour may begin behind a landing pad.
        let behind = at.0.wrapping_sub(address.0) % PAGE_BYTES;
        kernel.physical(mem, address.0.wrapping_add(behind)) == Some(at.0)
    }
}

impl Hidden for Installed {
    fn hides(&self, page: GuestPhysical) -> bool {
        self.pools.arena().hides(page) || self.owned().any(|piece| piece.contains(page))
    }
}
