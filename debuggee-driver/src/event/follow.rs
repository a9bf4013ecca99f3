//! Following the pages of a process. What an event hooks or monitors in user mode is memory of one process: the kernel
//! moves it (a copy on a write, merging, swapping, large pages, other debuggers), takes it away, and gives it to
//! others when the process ends.
//!
//! So the entries of the page tables that lead there are watched ([`crate::ept::links`]). When one leads elsewhere, the event
//! is set up anew where its addresses lead now, with every core held; where they lead nowhere, nothing can run or touch it
//! and it waits. When the process is gone, or there is no room, it is stale for good. Whatever watches user mode goes this way.
//!
//! The kernel's own memory is not followed: where a module or BPF code was freed, what is mapped there later is something
//! else. A monitor there is stale for good when an entry leads elsewhere; of hooks, [`crate::ept::reference`] judges.

use super::installed::Installed;
use super::owner::Owner;
use super::plan::plan_hook;
use super::range::{self, Range};
use super::trigger::Key;
use crate::ept::entry::Level;
use crate::ept::hook::NewHook;
use crate::ept::monitor::{Piece, Span};
use crate::guest::layout::GuestLayout;
use crate::guest::walk;
use crate::pool::slab::EVENTS_MAX;
use crate::port::{Hidden, PhysicalMemory};
use wire_protocol::address::{EventId, Extent, GuestPhysical, GuestVirtual};
use wire_protocol::event::{Access, PoolClass, Standing, Trigger};
use wire_protocol::refusal::{EventRefusal, Refusal};

/// What following needs to know of the guest.
#[derive(Clone, Copy, Debug)]
pub struct Guest<'a> {
    /// Where processes are found.
    pub layout: &'a GuestLayout,
    /// RAM; elsewhere no code can be hooked.
    pub ram: &'a [Extent<GuestPhysical>],
}

impl Installed {
    /// Watches the entries that lead to what `owner` names, for an event.
    ///
    /// # Errors
    /// There is no room; what was taken for the event so far, [`Self::unlink`] gives back.
    pub(super) fn link(
        &mut self,
        mem: &mut impl PhysicalMemory,
        event: EventId,
        owner: &Owner,
    ) -> Result<(), Refusal> {
        let mut next = Some(owner.from);
        while let Some(at) = next.filter(|at| *at <= owner.last()) {
            let path = walk::path(mem, owner.cr3, owner.cr4, at);
            // A table that is missing is one entry, so that a hole of terabytes takes no longer than a page; and each
            // entry takes some of the room there is.
            next = path.behind();
            // Tables above those of pages a kernel does not take back.
            let skipped = match owner.pid {
                Some(_) => 0,
                None => path.entries().len().saturating_sub(2),
            };
            for entry in path.entries().iter().skip(skipped) {
                self.link_entry(mem, event, GuestPhysical(*entry))?;
            }
        }
        Ok(())
    }

    fn link_entry(
        &mut self,
        mem: &mut impl PhysicalMemory,
        event: EventId,
        at: GuestPhysical,
    ) -> Result<(), Refusal> {
        let page = at.page();
        if !self.watches.links().has_room() {
            return Err(self.pools.exhausted(PoolClass::Monitor, 1));
        }
        if self.hides(page) {
            return Err(Refusal::DebuggerMemory { address: at });
        }
        if !self.watches.links().has_table(page) {
            let object = self.pools.reserve(PoolClass::Monitor)?;
            let plan = self.views.hooked.plan_split(mem, page.0, Level::Page4K);
            let Some(split) = plan.and_then(|plan| plan.take_tables(&mut self.pools)) else {
                self.pools.release(object);
                return Err(Refusal::DebuggerMemory { address: at });
            };
            self.watches
                .add_table(mem, &self.views.hooked, page, split, object);
        }
        self.watches.add_link(mem, at, event);
        Ok(())
    }

    /// Takes back what [`Self::link`] did for an event.
    pub(super) fn unlink(&mut self, mem: &mut impl PhysicalMemory, event: EventId) {
        let view = self.views.hooked;
        self.watches
            .remove_links(mem, &view, &mut self.pools, event);
    }

    /// Sets events up anew whose addresses lead elsewhere than when they were looked at last, and tells which stand
    /// otherwise now.
    pub fn follow(
        &mut self,
        mem: &mut impl PhysicalMemory,
        guest: &Guest<'_>,
        mut tell: impl FnMut(EventId, Standing),
    ) {
        // An event that was followed has no changed entry any more.
        for _ in 0..EVENTS_MAX {
            let Some(event) = self.watches.links().first_changed(mem) else {
                return;
            };
            self.follow_one(mem, guest, event, &mut tell);
        }
    }

    /// Whether [`Self::follow`] has something to do.
    #[must_use]
    pub fn is_to_follow(&self, mem: &impl PhysicalMemory) -> bool {
        !self.watches.links().is_empty() && self.watches.links().first_changed(mem).is_some()
    }

    fn follow_one(
        &mut self,
        mem: &mut impl PhysicalMemory,
        guest: &Guest<'_>,
        event: EventId,
        tell: &mut impl FnMut(EventId, Standing),
    ) {
        let Some(record) = self.registry.get(event) else {
            return self.unlink(mem, event);
        };
        let (before, owner) = (record.standing(), record.owner);
        let found = match &owner {
            Some(owner) if owner.pid.is_none() => self.stay(mem, event, owner),
            Some(owner) if owner.lives(mem, guest.layout) => {
                self.unwatch(mem, event);
                self.watch_anew(mem, guest, event, owner)
            }
            _ => Err(Standing::Ended),
        };
        if let Err(lost) = found {
            self.unwatch(mem, event);
            self.set_standing(event, lost);
        }
        let standing = self
            .registry
            .get(event)
            .map_or(before, super::registry::Record::standing);
        if standing != before {
            tell(event, standing);
        }
    }

    /// Lets an event watch what it does, if the addresses lead there as before by other entries.
    ///
    /// # Errors
    /// They do not, or there is no room.
    fn stay(
        &mut self,
        mem: &mut impl PhysicalMemory,
        event: EventId,
        owner: &Owner,
    ) -> Result<(), Standing> {
        let range = Range {
            from: owner.from.0,
            len_bytes: owner.len_bytes,
            access: Access::empty(),
            tables: Some((owner.cr3, owner.cr4)),
        };
        let monitors = self.watches.monitors();
        let is_there = |span: Result<Span, _>| span.is_ok_and(|span| monitors.has(event, &span));
        let are_there = range.spans(mem).all(is_there);
        if !are_there {
            return Err(Standing::Unmapped);
        }
        self.unlink(mem, event);
        self.link(mem, event, owner).map_err(|_| Standing::Crowded)
    }

    /// Takes away whatever an event watches, and the watch on what leads there.
    fn unwatch(&mut self, mem: &mut impl PhysicalMemory, event: EventId) {
        let view = self.views.hooked;
        self.watches
            .remove_monitor(mem, &view, &mut self.pools, event);
        self.unlink(mem, event);
        let Some(record) = self.registry.get_mut(event) else {
            return;
        };
        let (place, settings) = (record.place, record.settings);
        let Some(at) = record.hook.take() else { return };
        if let Some(key) = Key::of(&settings, Some(at)) {
            self.index.remove(key, place);
        }
        self.watches
            .remove_hook(mem, &view, &mut self.pools, at, event);
    }

    /// Watches what the addresses of an event lead to now; nothing, where they lead nowhere.
    ///
    /// # Errors
    /// Why it cannot.
    fn watch_anew(
        &mut self,
        mem: &mut impl PhysicalMemory,
        guest: &Guest<'_>,
        event: EventId,
        owner: &Owner,
    ) -> Result<(), Standing> {
        let no_room = |_| Standing::Crowded;
        self.link(mem, event, owner).map_err(no_room)?;
        let Some(record) = self.registry.get(event) else {
            return Ok(());
        };
        let is_enabled = record.is_enabled();
        match record.settings.trigger {
            Trigger::Monitor { access, .. } => {
                let any = self
                    .monitor_anew(mem, event, owner, access)
                    .map_err(no_room)?;
                let view = self.views.hooked;
                self.watches
                    .enable_monitor(mem, &view, &mut self.pools, event, is_enabled);
                if any {
                    self.set_standing(event, Standing::Active);
                }
            }
            _ => {
                let Ok(found) = walk::translate(mem, owner.cr3, owner.cr4, owner.from) else {
                    return Ok(());
                };
                self.hook_anew(mem, guest, event, found.address)
                    .map_err(no_room)?;
                if !is_enabled {
                    let view = self.views.hooked;
                    self.watches
                        .enable_hook(mem, &view, found.address, event, false);
                }
            }
        }
        Ok(())
    }

    fn hook_anew(
        &mut self,
        mem: &mut impl PhysicalMemory,
        guest: &Guest<'_>,
        event: EventId,
        at: GuestPhysical,
    ) -> Result<(), Refusal> {
        if !guest.ram.iter().any(|range| range.contains(at)) {
            return Err(Refusal::Event(EventRefusal::NotRam { address: at }));
        }
        let plan = plan_hook(at, None, self, mem)?;
        let new_page = plan
            .new_page
            .map(|split| self.reserve_page(split, PoolClass::EptHook))
            .transpose()?;
        let Some(record) = self.registry.get_mut(event) else {
            return Ok(());
        };
        record.hook = Some(at);
        let (place, settings) = (record.place, record.settings);
        let new = NewHook {
            at,
            event,
            jump: None,
            reference_at: self.pools.record_at(&record.object),
        };
        if let Some(key) = Key::of(&settings, Some(at)) {
            let registry = &self.registry;
            let is_older = |other| registry.at(other).is_some_and(|record| record.id < event);
            self.index.add_in_order(key, place, is_older);
        }
        self.watches
            .add_hook(mem, &self.views.hooked, new, new_page);
        self.set_standing(event, Standing::Active);
        let tell = |event, standing| self.set_standing(event, standing);
        self.watches.judge(mem, at, |_, _| true, tell);
        self.watches.refresh(mem, at);
        Ok(())
    }

    /// Adds the pieces of a monitor that are there, without effect. Returns whether there are any.
    fn monitor_anew(
        &mut self,
        mem: &impl PhysicalMemory,
        event: EventId,
        owner: &Owner,
        access: Access,
    ) -> Result<bool, Refusal> {
        let tables = Some((owner.cr3, owner.cr4));
        let end = owner.from.0.saturating_add(owner.len_bytes);
        let mut from = owner.from.0;
        let mut any = false;
        while from < end {
            let rest = Range {
                from,
                len_bytes: end - from,
                access,
                tables,
            };
            let Some(Ok(span)) = rest.spans(mem).next() else {
                let hole = walk::path(mem, owner.cr3, owner.cr4, GuestVirtual(from));
                from = hole.behind().map_or(end, |behind| behind.0);
                continue;
            };
            range::check(&span, self, mem)?;
            let object = self.pools.reserve(PoolClass::Monitor)?;
            self.watches.add_piece(Piece {
                span,
                access,
                event,
                enabled: false,
                object,
            });
            from = from.saturating_add(span.len_bytes);
            any = true;
        }
        Ok(any)
    }
}
