//! Tests of events as a whole: pools, views, hooks and records together.

extern crate std;

mod batches;
mod detours;
mod follow;
mod hooks;
mod matching;
mod programs;
mod promises;
mod ranges;

use super::dispatch::{ExitFacts, Hit, Moment, Running};
use super::plan::Facts;
use super::range::Range;
use super::trigger::{TriggerInstance, TriggerKind};
use crate::ept::model::{GIB, MIB, World, design, dump, world};
use crate::guest::kernel::KernelSpace;
use crate::pool::slab::Counts;
use crate::port::PhysicalMemory;
use std::vec::Vec;
use wire_protocol::address::{CoreId, EventId, GuestPhysical, GuestVirtual};
use wire_protocol::event::{
    Access, Actions, EventChange, EventSpec, PoolClass, PoolLine, Selection, Space, Standing,
    Trigger,
};
use wire_protocol::refusal::Refusal;

const RAM: u64 = 2 * GIB - 64 * MIB;

fn hook_spec() -> EventSpec<'static> {
    spec(Trigger::EptHook {
        address: GuestVirtual(0),
    })
}

fn spec(trigger: Trigger) -> EventSpec<'static> {
    EventSpec::new(trigger)
}

fn cpuid(leaf: Option<u32>) -> EventSpec<'static> {
    spec(Trigger::Cpuid { leaf })
}

fn at(gpa: u64) -> Facts {
    Facts {
        hook: Some(GuestPhysical(gpa)),
        ..Facts::default()
    }
}

const NOWHERE: Facts = Facts {
    hook: None,
    code: None,
    range: None,
    owner: None,
};

fn on_leaf(leaf: u64) -> TriggerInstance {
    TriggerInstance::new(TriggerKind::Cpuid, leaf)
}

fn on_byte(gpa: u64) -> TriggerInstance {
    TriggerInstance::new(TriggerKind::Execute, gpa)
}

fn on_core(core: u16) -> ExitFacts<impl Fn(Running) -> Option<u32>> {
    ExitFacts {
        core: CoreId(core),
        running: |_| Some(1),
    }
}

impl World {
    fn hook(&mut self, gpa: u64) -> Result<EventId, Refusal> {
        self.installed.add(&mut self.mem, &hook_spec(), &at(gpa))
    }

    fn monitor(&mut self, from: u64, len_bytes: u64, access: Access) -> Result<EventId, Refusal> {
        let trigger = Trigger::Monitor {
            space: Space::Physical,
            access,
            from,
            len_bytes,
        };
        let facts = Facts {
            range: Some(Range {
                from,
                len_bytes,
                access,
                tables: None,
            }),
            ..Facts::default()
        };
        self.installed.add(&mut self.mem, &spec(trigger), &facts)
    }

    /// What is told after the guest wrote to a page.
    fn written(&mut self, gpa: u64) -> Vec<(EventId, Standing)> {
        self.written_under(gpa, &KernelSpace::default())
    }

    fn written_under(&mut self, gpa: u64, kernel: &KernelSpace) -> Vec<(EventId, Standing)> {
        let mut told = Vec::new();
        let tell = |event, standing| told.push((event, standing));
        let page = GuestPhysical(gpa).page();
        self.installed
            .refresh_shadow(&mut self.mem, page, kernel, tell);
        told
    }

    fn hit<'o>(&self, trigger: &'o TriggerInstance, core: u16) -> Option<Hit<'o>> {
        self.installed
            .find(trigger, Moment::Pre, None, &on_core(core))
    }

    fn change(&mut self, change: EventChange, event: EventId) {
        let count = self
            .installed
            .change(&mut self.mem, change, Selection::One(event))
            .unwrap();
        assert_eq!(count, 1);
    }

    fn state(&self) -> ([PoolLine; 8], u64, u16) {
        let pools = self.installed.pools();
        (
            pools.lines(),
            pools.arena().left_bytes(),
            pools.spare_tables(),
        )
    }

    fn view(&self) -> Vec<(u64, Vec<u64>)> {
        dump(&self.mem, &self.installed.views().hooked)
    }

    /// What the guest executes at `gpa`.
    fn executed(&self, gpa: u64) -> u8 {
        let leaf = self.installed.views().hooked.walk(&self.mem, gpa);
        let mask = leaf.level.bytes() - 1;
        let mut byte = [0];
        self.mem
            .read(leaf.entry.address() & !mask | gpa & mask, &mut byte);
        byte[0]
    }

    fn counts(&self, class: PoolClass) -> Counts {
        self.installed.pools().counts(class)
    }
}
