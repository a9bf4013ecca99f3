//! Installing and removing events, with every core halted: plan, reserve all, commit. What can
//! fail comes before the first change; a refused event leaves no trace.
//!
//! The caller flushes: after any change, every core invalidates its EPT caches and loads
//! [`Installed::controls`] before it resumes.

mod reserve;

use super::installed::Installed;
use super::owner::Owner;
use super::plan::{Facts, Plan, Resolver};
use super::programs::StoredPrograms;
use super::registry::NewRecord;
use super::trigger::{Key, TriggerKind};
use crate::ept::hook::NewHook;
use crate::ept::reference::{REFERENCE_BYTES, Reference};
use crate::pool::PoolMark;
use crate::pool::budget::EVENT_HEADER_BYTES;
use crate::port::PhysicalMemory;
use reserve::Reservation;
use wire_protocol::address::{EventId, Extent, GuestPhysical};
use wire_protocol::event::{EventChange, EventSpec, PoolClass, Selection, Trigger};
use wire_protocol::refusal::Refusal;

// What stood around a hook is kept in front of its event's programs.
const _: () = assert!(REFERENCE_BYTES <= EVENT_HEADER_BYTES as usize);

/// State before a transaction; see [`Installed::roll_back`].
#[derive(Clone, Debug)]
pub struct Savepoint {
    pools: PoolMark,
    next_id: EventId,
}

impl Installed {
    /// Installs one event, enabled.
    ///
    /// # Errors
    /// Why not; nothing has changed.
    pub fn add(
        &mut self,
        mem: &mut impl PhysicalMemory,
        spec: &EventSpec<'_>,
        facts: &Facts,
    ) -> Result<EventId, Refusal> {
        let mark = self.pools.mark();
        let added = self.add_linked(mem, spec, facts);
        if added.is_err() && facts.owner.is_some() {
            self.unlink(mem, self.registry.next_id());
            self.pools.rewind(&mark);
        }
        added
    }

    /// First what leads to the memory of a process is watched: that may divide what the plan finds.
    fn add_linked(
        &mut self,
        mem: &mut impl PhysicalMemory,
        spec: &EventSpec<'_>,
        facts: &Facts,
    ) -> Result<EventId, Refusal> {
        spec.check()?;
        if let Some(owner) = &facts.owner {
            self.link(mem, self.registry.next_id(), owner)?;
        }
        let plan = Plan::new(spec, facts, self, mem)?;
        let reservation = self.reserve(mem, &plan)?;
        Ok(self.commit(mem, spec, plan, facts.owner, reservation))
    }

    /// Installs several events, enabled; one result each, in order, as far as there are `results`.
    ///
    /// With `all_or_nothing`, the first refusal takes all events back, is the result of every one,
    /// and nothing has changed.
    pub fn add_all<'e>(
        &mut self,
        mem: &mut impl PhysicalMemory,
        resolver: &Resolver<'_>,
        events: impl Iterator<Item = EventSpec<'e>>,
        all_or_nothing: bool,
        results: &mut [Result<EventId, Refusal>],
    ) {
        let begun = self.begin();
        let mut refused = None;
        for (spec, result) in events.zip(results.iter_mut()) {
            let facts = resolver.resolve(mem, &spec.settings);
            *result = facts.and_then(|facts| self.add(mem, &spec, &facts));
            refused = refused.or(result.err());
            if all_or_nothing && refused.is_some() {
                break;
            }
        }
        if let Some(refusal) = refused.filter(|_| all_or_nothing) {
            self.roll_back(mem, &begun);
            results.fill(Err(refusal));
        }
    }

    /// Enables, disables or clears events. Returns how many were concerned.
    ///
    /// # Errors
    /// There is no such event.
    pub fn change(
        &mut self,
        mem: &mut impl PhysicalMemory,
        change: EventChange,
        which: Selection,
    ) -> Result<u32, Refusal> {
        if let Selection::One(event) = which {
            self.registry
                .get(event)
                .ok_or(Refusal::NoSuchEvent { event })?;
            self.change_one(mem, change, event);
            return Ok(1);
        }
        let mut count = 0;
        // From the newest to the oldest, so that clearing all moves no records. Every turn is
        // another event, and there are at most as many as records.
        let mut next = self.registry.newest_below(None);
        while let Some(event) = next {
            let record = self.registry.get(event);
            if record.is_some_and(|record| which.contains(event, &record.settings)) {
                self.change_one(mem, change, event);
                count += 1;
            }
            next = self.registry.newest_below(Some(event));
        }
        Ok(count)
    }

    /// Whether a thread is intercepted.
    #[must_use]
    pub fn has_interceptions(&self) -> bool {
        let class = PoolClass::ThreadInterception;
        self.pools.counts(class).in_use != 0
    }

    /// Intercepts no thread any more. Their numbers are free again, as nobody heard of them.
    pub fn clear_interceptions(&mut self, mem: &mut impl PhysicalMemory) {
        if !self.has_interceptions() {
            return;
        }
        let mut next = self.registry.newest_below(None);
        while let Some(event) = next {
            next = self.registry.newest_below(Some(event));
            let record = self.registry.get(event);
            if record.is_some_and(|record| record.settings.is_interception()) {
                self.clear(mem, event);
                self.registry.reuse_id(event);
            }
        }
    }

    /// Does what scripts wanted to be done in a halt; see [`super::registry::Record::want`].
    pub fn carry_out_wanted(&mut self, mem: &mut impl PhysicalMemory) {
        let mut next = self.registry.newest_below(None);
        while let Some(event) = next {
            let wanted = self
                .registry
                .get(event)
                .and_then(super::registry::Record::take_wanted);
            if let Some(change) = wanted {
                self.change_one(mem, change, event);
            }
            next = self.registry.newest_below(Some(event));
        }
    }

    /// Remembers the state, for events that are to be added together or not at all.
    #[must_use]
    pub fn begin(&self) -> Savepoint {
        Savepoint {
            pools: self.pools.mark(),
            next_id: self.registry.next_id(),
        }
    }

    /// Takes back everything that was added since `begun`, in the same halt, as if it had never
    /// been asked for.
    pub fn roll_back(&mut self, mem: &mut impl PhysicalMemory, begun: &Savepoint) {
        while let Some(event) = self
            .registry
            .newest_below(None)
            .filter(|id| *id >= begun.next_id)
        {
            self.clear(mem, event);
        }
        self.pools.rewind(&begun.pools);
        self.registry.reuse_ids_from(begun.next_id);
    }

    /// Cannot fail.
    fn commit(
        &mut self,
        mem: &mut impl PhysicalMemory,
        spec: &EventSpec<'_>,
        plan: Plan,
        owner: Option<Owner>,
        reservation: Reservation,
    ) -> EventId {
        let id = self.registry.next_id();
        let object = self.pools.record_at(&reservation.event);
        let hook = plan.hook.map(|hook| hook.at);
        if let Some(hook) = &plan.hook {
            if let Some(detour) = &hook.detour {
                self.detours.commit(mem, detour, id);
            }
            let lead_bytes = spec.settings.options.lead_bytes;
            let moved = hook.detour.map_or(0, |detour| detour.moved_bytes());
            Reference::take(mem, hook.at, lead_bytes, moved).store(mem, object);
            let new = NewHook {
                at: hook.at,
                event: id,
                jump: hook.detour.map(|detour| detour.jump),
                reference_at: object,
            };
            self.watches
                .add_hook(mem, &self.views.hooked, new, reservation.new_page);
        }
        if plan.range.is_some() {
            self.enable_monitor(mem, id, true);
        }
        let buffer = reservation.buffer.as_ref().map(|buffer| {
            let at = GuestPhysical(self.pools.phys(buffer));
            Extent::in_memory(at, spec.settings.options.buffer_bytes)
        });
        let sizes = self.pools.design().sizes;
        let programs = StoredPrograms::write(
            mem,
            object,
            sizes.action_at(plan.event_class),
            &spec.programs,
            &plan.programs,
            buffer,
        );
        let place = self.registry.push(NewRecord {
            settings: spec.settings,
            sizes: spec.programs.sizes(),
            object: reservation.event,
            buffer: reservation.buffer,
            programs,
            hook,
            owner,
        });
        let key = Key::of(&spec.settings, hook);
        if let Some(key) = key {
            self.index.add(key, place);
        }
        if spec.settings.options.stage.has_post() {
            let kind = key.map_or(TriggerKind::Memory, |key| key.kind);
            self.index.count_after(kind, true);
        }
        id
    }

    fn change_one(&mut self, mem: &mut impl PhysicalMemory, change: EventChange, event: EventId) {
        match change {
            EventChange::Enable => self.set_enabled(mem, event, true),
            EventChange::Disable => self.set_enabled(mem, event, false),
            EventChange::Clear => self.clear(mem, event),
        }
    }

    fn set_enabled(&mut self, mem: &mut impl PhysicalMemory, event: EventId, enabled: bool) {
        let Some(record) = self.registry.get(event) else {
            return;
        };
        record.set_enabled(enabled);
        if enabled {
            record.renew();
        }
        let is_monitor = matches!(record.settings.trigger, Trigger::Monitor { .. });
        if let Some(at) = record.hook {
            // Nobody saw what was written while the page was not watched.
            let tell = |event, standing| self.set_standing(event, standing);
            self.watches.judge(mem, at, |_, _| true, tell);
            self.watches
                .enable_hook(mem, &self.views.hooked, at, event, enabled);
        }
        if is_monitor {
            self.enable_monitor(mem, event, enabled);
        }
    }

    fn enable_monitor(&mut self, mem: &mut impl PhysicalMemory, event: EventId, enabled: bool) {
        let view = &self.views.hooked;
        self.watches
            .enable_monitor(mem, view, &mut self.pools, event, enabled);
    }

    fn clear(&mut self, mem: &mut impl PhysicalMemory, event: EventId) {
        let Some((place, record)) = self.registry.remove(event) else {
            return;
        };
        if let Some(key) = Key::of(&record.settings, record.hook) {
            self.index.remove(key, place);
        }
        if record.settings.options.stage.has_post() {
            // Its kind is the same wherever its hook is, if anywhere.
            let anywhere = record.hook.or(Some(GuestPhysical(0)));
            let key = Key::of(&record.settings, anywhere);
            let kind = key.map_or(TriggerKind::Memory, |key| key.kind);
            self.index.count_after(kind, false);
        }
        if let Some(at) = record.hook {
            let view = &self.views.hooked;
            self.watches
                .remove_hook(mem, view, &mut self.pools, at, event);
        }
        if let Trigger::EptHook2 { .. } = record.settings.trigger {
            self.detours.release(mem, event);
        }
        if let Trigger::Monitor { .. } = record.settings.trigger {
            let view = &self.views.hooked;
            self.watches
                .remove_monitor(mem, view, &mut self.pools, event);
        }
        self.unlink(mem, event);
        self.pools.release(record.object);
        if let Some(buffer) = record.buffer {
            self.pools.release(buffer);
        }
    }
}
