//! Tests of events as a whole: pools, views, hooks and records together.

extern crate std;

use super::dispatch::ExitFacts;
use super::plan::{Facts, Resolver};
use crate::ept::entry::Level;
use crate::ept::model::{CHUNKS, GIB, MIB, World, config, design, dump, world};
use crate::ept::watch::HOOKS_PER_PAGE;
use crate::guest::model::{GuestTables, PRESENT, WRITE};
use crate::guest::process::GuestLayout;
use crate::pool::slab::Counts;
use crate::port::{Hidden, PhysicalMemory};
use core::cell::Cell;
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::vec;
use std::vec::Vec;
use wire_protocol::address::{CoreId, EventId, GuestPhysical, GuestVirtual};
use wire_protocol::event::{Actions, EventChange, EventSpec, Filter, PoolClass, PoolLine, Trigger};
use wire_protocol::limits;
use wire_protocol::refusal::Refusal;

const RAM: u64 = 2 * GIB - 64 * MIB;

fn hook_spec() -> EventSpec {
    spec(Trigger::EptHook {
        address: GuestVirtual(0),
    })
}

fn spec(trigger: Trigger) -> EventSpec {
    EventSpec {
        trigger,
        filter: Filter::default(),
        actions: Actions::BREAK,
    }
}

fn cpuid(leaf: Option<u32>) -> EventSpec {
    spec(Trigger::Cpuid { leaf })
}

fn at(gpa: u64) -> Facts {
    Facts {
        hook: Some(GuestPhysical(gpa)),
    }
}

const NOWHERE: Facts = Facts { hook: None };

fn on_core(core: u16) -> ExitFacts<impl Fn() -> Option<u32>> {
    ExitFacts {
        core: CoreId(core),
        pid: || Some(1),
    }
}

impl World {
    fn hook(&mut self, gpa: u64) -> Result<EventId, Refusal> {
        self.installed.add(&mut self.mem, hook_spec(), &at(gpa))
    }

    fn change(&mut self, change: EventChange, event: EventId) {
        let count = self
            .installed
            .change(&mut self.mem, change, Some(event))
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

#[test]
fn a_hook_is_executed_but_not_read() {
    let mut world = world(true, design());
    world.mem.write(RAM, &[1, 2, 3, 4, 5]);
    world.hook(RAM + 2).unwrap();
    assert_eq!(world.executed(RAM + 1), 2);
    assert_eq!(world.executed(RAM + 2), 0xcc);
    assert_eq!(world.executed(RAM + 3), 4);
    assert_eq!(world.mem.bytes(RAM, 5), [1, 2, 3, 4, 5]);
    let leaf = world.installed.views().hooked.walk(&world.mem, RAM);
    assert_eq!((leaf.level, leaf.entry.0 & 7), (Level::Page4K, 4));
    // The clean view knows nothing of it.
    let clean = world.installed.views().clean.walk(&world.mem, RAM);
    assert_eq!(clean.entry.0 & 7, 7);
}

#[test]
fn clearing_restores_the_view_and_the_pools() {
    let mut world = world(true, design());
    let (view, state) = (world.view(), world.state());
    let hook = world.hook(RAM + 2).unwrap();
    assert_ne!(world.view(), view);
    world.change(EventChange::Clear, hook);
    assert_eq!(world.view(), view);
    assert_eq!(world.state(), state);
    assert_eq!(
        world
            .installed
            .change(&mut world.mem, EventChange::Clear, Some(hook)),
        Err(Refusal::NoSuchEvent { event: hook })
    );
}

#[test]
fn a_disabled_hook_costs_nothing_and_comes_back() {
    let mut world = world(true, design());
    let first = world.hook(RAM + 2).unwrap();
    let second = world.hook(RAM + 9).unwrap();
    assert_eq!(world.installed.controls().exception_bitmap, 8);
    world.change(EventChange::Disable, first);
    assert_eq!(world.executed(RAM + 2), 0);
    assert!(!world.installed.is_hooked(GuestPhysical(RAM + 2)));
    assert_eq!(world.executed(RAM + 9), 0xcc);
    world.change(EventChange::Disable, second);
    // With no hook enabled the page is the original again, and may be written freely.
    let leaf = world.installed.views().hooked.walk(&world.mem, RAM);
    assert_eq!(leaf.entry.0 & 7, 7);
    assert_eq!(world.installed.controls().exception_bitmap, 0);
    assert!(world.installed.is_hooked_page(GuestPhysical(RAM)));
    world.mem.write(RAM + 3, &[7]);
    world.change(EventChange::Enable, first);
    assert_eq!(world.executed(RAM + 2), 0xcc);
    assert_eq!(world.executed(RAM + 3), 7);
    assert_eq!(world.executed(RAM + 9), 0);
}

#[test]
fn a_second_hook_on_a_page_needs_no_second_page_object() {
    let mut world = world(true, design());
    world.hook(RAM).unwrap();
    let before = world.counts(PoolClass::EptHook);
    world.hook(RAM + 4095).unwrap();
    assert_eq!(world.counts(PoolClass::EptHook), before);
    assert_eq!(world.counts(PoolClass::RegularEvent).in_use, 2);
    world.hook(RAM + 4096).unwrap();
    assert_eq!(world.counts(PoolClass::EptHook).in_use, 2);
}

#[test]
fn two_hooks_cannot_share_an_address() {
    let mut world = world(true, design());
    let event = world.hook(RAM).unwrap();
    let state = world.state();
    assert_eq!(world.hook(RAM), Err(Refusal::AlreadyHooked { event }));
    assert_eq!(world.state(), state);
}

#[test]
fn a_page_has_a_limit_of_hooks() {
    let mut world = world(true, design());
    for index in 0..u64::from(HOOKS_PER_PAGE) {
        world.hook(RAM + index * 64).unwrap();
    }
    let state = world.state();
    assert_eq!(
        world.hook(RAM + 1),
        Err(Refusal::TooManyHooksOnPage {
            limit: HOOKS_PER_PAGE
        })
    );
    assert_eq!(world.state(), state);
    world.hook(RAM + 4096).unwrap();
}

#[test]
fn the_debuggers_memory_cannot_be_hooked() {
    let mut world = world(true, design());
    let address = GuestPhysical(CHUNKS[0] + 5);
    assert_eq!(
        world.hook(address.0),
        Err(Refusal::DebuggerMemory { address })
    );
    assert!(world.installed.hides(address.page()));
}

#[test]
fn memory_that_is_not_mapped_cannot_be_hooked() {
    let mut world = world(true, design());
    let limit = world.installed.views().limit;
    assert_eq!(
        world.hook(limit),
        Err(Refusal::PhysicalOutOfRange {
            address: GuestPhysical(limit),
            limit: GuestPhysical(limit)
        })
    );
}

#[test]
fn an_event_that_is_refused_half_way_leaves_no_trace() {
    let mut design = design();
    design.levels.0 = [1, 0, 0, 0, 0, 0, 0, 0];
    let mut world = world(true, design);
    let view = world.view();
    // Room for event objects is left, but not for a page object.
    let fill = world.installed.pools_mut();
    while fill.arena_mut().carve(12 * 1024, 4096).is_ok() {}
    let state = world.state();
    let id = world.installed.registry().next_id();
    for _ in 0..3 {
        let refused = world.hook(RAM);
        assert!(matches!(
            refused,
            Err(Refusal::PoolExhausted {
                class: PoolClass::EptHook,
                ..
            })
        ));
        assert_eq!(world.state(), state);
        assert_eq!(world.view(), view);
        assert_eq!(world.installed.registry().next_id(), id);
    }
    // An event without a hook still finds its object.
    let added = world.installed.add(&mut world.mem, cpuid(None), &NOWHERE);
    assert_eq!(added, Ok(id));
}

#[test]
fn shadows_follow_the_original_but_for_the_hooks() {
    let mut world = world(true, design());
    world.hook(RAM + 8).unwrap();
    world.mem.write(RAM + 6, &[1, 2, 3, 4]);
    assert_eq!(world.executed(RAM + 7), 0);
    let (installed, mem) = (&world.installed, &mut world.mem);
    installed.refresh_shadow(mem, GuestPhysical(RAM + 6));
    let executed: Vec<u8> = (6..10).map(|offset| world.executed(RAM + offset)).collect();
    assert_eq!(executed, [1, 2, 0xcc, 4]);
    // What is right already is not written again.
    let writes = world.mem.writes();
    let (installed, mem) = (&world.installed, &mut world.mem);
    installed.refresh_shadow(mem, GuestPhysical(RAM));
    installed.refresh_shadow(mem, GuestPhysical(RAM + 4096));
    assert_eq!(world.mem.writes(), writes);
}

#[test]
fn a_hook_hits_only_for_its_core_and_process() {
    let mut world = world(true, design());
    let mut for_one = hook_spec();
    for_one.filter = Filter {
        pid: Some(7),
        core: Some(CoreId(1)),
    };
    let (mem, gpa) = (&mut world.mem, GuestPhysical(RAM));
    let event = world.installed.add(mem, for_one, &at(RAM)).unwrap();
    let asked = Cell::new(0);
    for (core, pid, hits) in [(0, 7, false), (1, 8, false), (1, 7, true)] {
        let facts = ExitFacts {
            core: CoreId(core),
            pid: || {
                asked.set(asked.get() + 1);
                Some(pid)
            },
        };
        let hit = world.installed.on_execute(gpa, &facts);
        assert_eq!(hit.map(|hit| hit.event), hits.then_some(event));
        assert!(world.installed.is_hooked(gpa));
        if let Some(hit) = hit {
            world.installed.count(&hit);
        }
    }
    // The wrong core needs no look at the process.
    assert_eq!(asked.get(), 2);
    assert_eq!(world.installed.entries().next().unwrap().hits, 1);
    let elsewhere = GuestPhysical(RAM + 1);
    assert!(world.installed.on_execute(elsewhere, &on_core(1)).is_none());
}

#[test]
fn cpuid_events_match_their_leaf_or_all() {
    let mut world = world(true, design());
    let mut log_only = cpuid(None);
    log_only.actions = Actions::empty();
    let mut add = |spec| world.installed.add(&mut world.mem, spec, &NOWHERE).unwrap();
    let any = add(log_only);
    let seven = add(cpuid(Some(7)));
    let installed = &world.installed;
    let hit = installed.on_cpuid(7, &on_core(0)).unwrap();
    assert_eq!((hit.event, hit.actions), (seven, Actions::BREAK));
    installed.count(&hit);
    let hit = installed.on_cpuid(8, &on_core(0)).unwrap();
    assert_eq!((hit.event, hit.actions), (any, Actions::empty()));
    installed.count(&hit);
    let hits: Vec<u64> = installed.entries().map(|entry| entry.hits).collect();
    assert_eq!(hits, [2, 1]);
    world.change(EventChange::Disable, any);
    assert!(world.installed.on_cpuid(8, &on_core(0)).is_none());
    world.change(EventChange::Clear, seven);
    assert!(world.installed.on_cpuid(7, &on_core(0)).is_none());
}

#[test]
fn each_stop_reports_the_hits_since_the_one_before() {
    let mut world = world(true, design());
    let mut add = |leaf| {
        let spec = cpuid(Some(leaf));
        world.installed.add(&mut world.mem, spec, &NOWHERE).unwrap()
    };
    let (one, two) = (add(1), add(2));
    let installed = &world.installed;
    let report = || -> Vec<_> { installed.hits_since_last_stop().collect() };
    let hit = |leaf| installed.count(&installed.on_cpuid(leaf, &on_core(0)).unwrap());
    hit(1);
    hit(1);
    assert_eq!(report(), []);
    installed.begin_report();
    assert_eq!(report(), [(one, 2)]);
    // The same halt is reported the same way again.
    assert_eq!(report(), [(one, 2)]);
    hit(2);
    installed.begin_report();
    assert_eq!(report(), [(two, 1)]);
    installed.begin_report();
    assert_eq!(report(), []);
}

#[test]
fn the_digest_follows_changes_and_not_hits() {
    let mut world = world(true, design());
    let empty = world.installed.digest();
    let event = world
        .installed
        .add(&mut world.mem, cpuid(None), &NOWHERE)
        .unwrap();
    let added = world.installed.digest();
    assert_ne!(added, empty);
    let hit = world.installed.on_cpuid(0, &on_core(0)).unwrap();
    world.installed.count(&hit);
    assert_eq!(world.installed.digest(), added);
    world.change(EventChange::Disable, event);
    assert_ne!(world.installed.digest(), added);
    world.change(EventChange::Clear, event);
    assert_eq!(world.installed.digest(), empty);
}

#[test]
fn numbers_of_cleared_events_are_not_used_again() {
    let mut world = world(true, design());
    let first = world.hook(RAM).unwrap();
    world.change(EventChange::Clear, first);
    assert_eq!(world.hook(RAM), Ok(EventId(first.0 + 1)));
}

#[test]
fn a_change_can_concern_all_events() {
    let mut world = world(true, design());
    let state = world.state();
    for index in 0..3 {
        world.hook(RAM + index).unwrap();
    }
    let World { installed, mem, .. } = &mut world;
    assert_eq!(installed.change(mem, EventChange::Disable, None), Ok(3));
    assert!(installed.entries().all(|entry| !entry.enabled));
    assert_eq!(installed.change(mem, EventChange::Enable, None), Ok(3));
    assert_eq!(installed.change(mem, EventChange::Clear, None), Ok(3));
    assert_eq!(installed.change(mem, EventChange::Clear, None), Ok(0));
    assert_eq!(world.state(), state);
}

/// A guest whose virtual 0x10000 and 0x11000 are at [`RAM`].
fn resolver_and_world(layout: &GuestLayout) -> (Resolver<'_>, World) {
    let mut world = world(true, design());
    let root = 16 * MIB;
    let mut tables = GuestTables::new(root, 4);
    for page in 0..2 {
        let (va, pa) = (0x1_0000 + page * 4096, RAM + page * 4096);
        tables.map(&mut world.mem, va, pa, 12, PRESENT | WRITE);
    }
    let resolver = Resolver {
        cr3: root,
        cr4: 0,
        core_count: 2,
        layout,
    };
    (resolver, world)
}

fn no_processes() -> GuestLayout {
    GuestLayout {
        direct_map_base: 0,
        direct_map_bytes: 0,
        kernel_cr3: 0,
        kernel_cr4: 0,
        current_task_slot: [0; limits::CORES],
        init_task: 0,
        task_tasks: 0,
        task_tgid: 0,
        task_pid: 0,
        task_mm: 0,
        task_active_mm: 0,
        task_comm: 0,
        mm_pgd: 0,
    }
}

fn hook_at(address: u64) -> EventSpec {
    spec(Trigger::EptHook {
        address: GuestVirtual(address),
    })
}

#[test]
fn names_and_addresses_are_resolved_before_anything_is_touched() {
    let layout = no_processes();
    let (resolver, world) = resolver_and_world(&layout);
    let mem = &world.mem;
    assert_eq!(
        resolver.resolve(mem, &hook_at(0x1_0123)),
        Ok(at(RAM + 0x123))
    );
    let address = GuestVirtual(0x2_0000);
    assert_eq!(
        resolver.resolve(mem, &hook_at(address.0)),
        Err(Refusal::NotPresent { address })
    );
    let mut on_core_2 = cpuid(None);
    on_core_2.filter.core = Some(CoreId(2));
    assert_eq!(
        resolver.resolve(mem, &on_core_2),
        Err(Refusal::NoSuchCore {
            core: CoreId(2),
            count: 2
        })
    );
    let mut of_process = cpuid(None);
    of_process.filter.pid = Some(12);
    assert_eq!(
        resolver.resolve(mem, &of_process),
        Err(Refusal::ProcessNotFound { pid: 12 })
    );
}

#[test]
fn best_effort_gives_each_event_its_own_result() {
    let layout = no_processes();
    let (resolver, mut world) = resolver_and_world(&layout);
    let specs = [hook_at(0x1_0000), hook_at(0x2_0000), hook_at(0x1_1000)];
    let mut results = [Err(Refusal::Malformed); 4];
    let World { installed, mem, .. } = &mut world;
    installed.add_all(mem, &resolver, specs.into_iter(), false, &mut results);
    let address = GuestVirtual(0x2_0000);
    assert_eq!(results[0], Ok(EventId(0)));
    assert_eq!(results[1], Err(Refusal::NotPresent { address }));
    assert_eq!(results[2], Ok(EventId(1)));
    assert_eq!(results[3], Err(Refusal::Malformed));
}

#[test]
fn all_or_nothing_leaves_no_trace_of_a_refused_batch() {
    let layout = no_processes();
    let (resolver, mut world) = resolver_and_world(&layout);
    let (view, state) = (world.view(), world.state());
    // More pages than are reserved, so that the batch carves some.
    let mut specs: Vec<EventSpec> = vec![cpuid(None); 9];
    specs.push(hook_at(0x1_0000));
    specs.push(hook_at(0x1_1000));
    specs.push(hook_at(0x1_0000));
    let mut results = vec![Err(Refusal::Malformed); specs.len()];
    let World { installed, mem, .. } = &mut world;
    installed.add_all(
        mem,
        &resolver,
        specs.clone().into_iter(),
        true,
        &mut results,
    );
    let event = EventId(9);
    assert!(
        results
            .iter()
            .all(|result| *result == Err(Refusal::AlreadyHooked { event }))
    );
    assert_eq!(world.view(), view);
    assert_eq!(world.state(), state);
    assert!(world.installed.registry().is_empty());
    // The same without the culprit gets the same numbers.
    specs.pop();
    let World { installed, mem, .. } = &mut world;
    installed.add_all(mem, &resolver, specs.into_iter(), true, &mut results);
    assert_eq!(results[10], Ok(EventId(10)));
}

/// Pages close together and far apart, under large and small leaves.
fn page(number: u64) -> u64 {
    const SPREAD: [u64; 6] = [0, 1, 2, 511, 512, 700];
    let spread = SPREAD[(number % 6) as usize] * 4096;
    let region = [0x3000, 20 * MIB, GIB + 4 * MIB, 2 * GIB, 4 * GIB + 6 * MIB];
    let regions = if cfg!(miri) { 3 } else { region.len() as u64 };
    region[(number / 6 % regions) as usize] + spread
}

#[derive(Clone, Debug)]
enum Step {
    Add { page: u64, offset: u64 },
    Clear(usize),
    Enable(usize, bool),
    Write { page: u64, offset: u64, byte: u8 },
    Batch { page: u64, count: u64 },
}

fn step() -> impl Strategy<Value = Step> {
    let offset = || prop_oneof![0_u64..16, 4080_u64..4096, 0_u64..4096];
    prop_oneof![
        5 => (0_u64..30, offset()).prop_map(|(page, offset)| Step::Add { page, offset }),
        4 => any::<usize>().prop_map(Step::Clear),
        2 => (any::<usize>(), any::<bool>()).prop_map(|(index, on)| Step::Enable(index, on)),
        2 => (0_u64..30, offset(), any::<u8>())
            .prop_map(|(page, offset, byte)| Step::Write { page, offset, byte }),
        1 => (0_u64..30, 1_u64..12).prop_map(|(page, count)| Step::Batch { page, count }),
    ]
}

fn assert_consistent(world: &World, model: &BTreeMap<u64, (EventId, bool)>) {
    let pools = world.installed.pools();
    let mut page_objects = 0;
    for class in PoolClass::ALL {
        let counts = pools.counts(class);
        assert_eq!(counts.reserved, counts.free + counts.in_use);
        if crate::pool::budget::has_tables(class) {
            page_objects += counts.reserved;
        }
    }
    let pages: std::collections::BTreeSet<u64> = model.keys().map(|gpa| gpa & !0xfff).collect();
    let in_use = pools.counts(PoolClass::EptHook).in_use;
    assert_eq!(usize::from(in_use), pages.len());
    assert_eq!(
        usize::from(pools.counts(PoolClass::RegularEvent).in_use),
        model.len()
    );
    let in_view = page_objects * 2 - pools.spare_tables();
    assert!(in_view <= 2 * in_use, "{in_view} tables for {in_use} pages");
    for page in pages {
        let hooks: Vec<_> = model.range(page..page + 4096).collect();
        let any_enabled = hooks.iter().any(|(_, (_, enabled))| *enabled);
        let leaf = world.installed.views().hooked.walk(&world.mem, page);
        assert_eq!(leaf.level, Level::Page4K);
        assert_eq!(leaf.entry.0 & 7, if any_enabled { 4 } else { 7 });
        let mut expected = world.mem.bytes(page, 4096);
        for (gpa, (_, enabled)) in hooks {
            if *enabled {
                expected[(gpa - page) as usize] = 0xcc;
            }
        }
        assert_eq!(world.mem.bytes(leaf.entry.address(), 4096), expected);
    }
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn any_mix_of_changes_keeps_every_promise(
        steps in prop::collection::vec(step(), if cfg!(miri) { 1..10 } else { 1..120 }),
        has_1gib_leaves: bool,
    ) {
        let mut world = world(has_1gib_leaves, design());
        let view = world.view();
        let mut model: BTreeMap<u64, (EventId, bool)> = BTreeMap::new();
        for step in steps {
            match step {
                Step::Add { page: number, offset } => {
                    let gpa = page(number) + offset;
                    match world.hook(gpa) {
                        Ok(id) => {
                            prop_assert!(model.insert(gpa, (id, true)).is_none());
                        }
                        Err(Refusal::AlreadyHooked { event }) => {
                            prop_assert_eq!(model[&gpa].0, event);
                        }
                        Err(Refusal::TooManyHooksOnPage { .. }) => {}
                        Err(other) => prop_assert!(false, "{:?}", other),
                    }
                }
                Step::Clear(index) if !model.is_empty() => {
                    let gpa = *model.keys().nth(index % model.len()).unwrap();
                    world.change(EventChange::Clear, model.remove(&gpa).unwrap().0);
                }
                Step::Enable(index, on) if !model.is_empty() => {
                    let place = index % model.len();
                    let (event, enabled) = model.values_mut().nth(place).unwrap();
                    *enabled = on;
                    let change = if on { EventChange::Enable } else { EventChange::Disable };
                    world.change(change, *event);
                }
                Step::Clear(_) | Step::Enable(..) => {}
                Step::Write { page: number, offset, byte } => {
                    let gpa = page(number) + offset;
                    world.mem.write(gpa, &[byte]);
                    let (installed, mem) = (&world.installed, &mut world.mem);
                    installed.refresh_shadow(mem, GuestPhysical(gpa));
                }
                Step::Batch { page: number, count } => {
                    let (state, before) = (world.state(), world.view());
                    let begun = world.installed.begin();
                    for index in 0..count {
                        let _ = world.hook(page(number + index * 5) + 0x100);
                    }
                    world.installed.roll_back(&mut world.mem, &begun);
                    prop_assert_eq!(world.state(), state);
                    prop_assert_eq!(world.view(), before);
                }
            }
            // A disabled page may lag behind; looking at it brings nothing to light but its leaf.
            for (gpa, (event, _)) in &model {
                let hook = world.installed.hooked().hook_at(GuestPhysical(*gpa)).unwrap();
                prop_assert_eq!(hook.event, *event);
            }
            assert_consistent(&world, &model);
        }
        world.installed.change(&mut world.mem, EventChange::Clear, None).unwrap();
        prop_assert_eq!(world.view(), view);
        for line in world.installed.pools().lines() {
            prop_assert_eq!(line.in_use, 0);
        }
    }
}

#[test]
fn ten_thousand_rounds_end_with_the_counts_they_began_with() {
    let rounds = if cfg!(miri) { 3 } else { 10_000 };
    let mut world = world(true, design());
    let (view, state) = (world.view(), world.state());
    for round in 0..rounds {
        let hook = world.hook(page(round % 30) + round % 4096).unwrap();
        let World { installed, mem, .. } = &mut world;
        let spec = cpuid(Some(round as u32));
        let other = installed.add(mem, spec, &NOWHERE).unwrap();
        world.change(EventChange::Clear, hook);
        world.change(EventChange::Clear, other);
        assert_eq!(world.state(), state);
    }
    assert_eq!(world.view(), view);
}
