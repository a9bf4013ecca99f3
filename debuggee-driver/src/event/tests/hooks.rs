//! Hooks of single events: what the guest sees, and what is refused.

use super::*;
use crate::ept::entry::{Level, Permissions};
use crate::ept::model::{CHUNKS, StoreLog};
use crate::ept::watch::HOOKS_PER_PAGE;
use crate::fake::tables::{GuestTables, PRESENT, WRITE};
use crate::guest::kernel::KernelSpace;
use crate::port::Hidden;
use wire_protocol::refusal::EventRefusal;

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
            .change(&mut world.mem, EventChange::Clear, Selection::One(hook)),
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
    assert!(!world.installed.watches().is_hooked(GuestPhysical(RAM + 2)));
    assert_eq!(world.executed(RAM + 9), 0xcc);
    world.change(EventChange::Disable, second);
    // With no hook enabled the page is the original again, and may be written freely.
    let leaf = world.installed.views().hooked.walk(&world.mem, RAM);
    assert_eq!(leaf.entry.0 & 7, 7);
    assert_eq!(world.installed.controls().exception_bitmap, 0);
    assert!(world.installed.watches().has_page(GuestPhysical(RAM)));
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
fn hooks_at_the_same_address_are_all_served_oldest_first() {
    let mut world = world(true, design());
    let (view, state) = (world.view(), world.state());
    let first = world.hook(RAM).unwrap();
    let second = world.hook(RAM).unwrap();
    let gpa = GuestPhysical(RAM);
    let trigger = on_byte(gpa.0);
    let hit = world.hit(&trigger, 0).unwrap();
    assert_eq!(hit.event, first);
    world.installed.count(&hit);
    let hits: Vec<u64> = world.installed.entries().map(|entry| entry.hits).collect();
    assert_eq!(hits, [1, 1]);
    world.change(EventChange::Disable, first);
    assert_eq!(world.executed(RAM), 0xcc);
    let hit = world.hit(&trigger, 0).unwrap();
    assert_eq!(hit.event, second);
    world.change(EventChange::Clear, second);
    assert_eq!(world.executed(RAM), 0);
    world.change(EventChange::Clear, first);
    assert_eq!(world.view(), view);
    assert_eq!(world.state(), state);
}

#[test]
#[cfg_attr(miri, ignore = "takes minutes there")]
fn a_page_has_a_limit_of_hooks() {
    let mut world = world(true, design());
    for index in 0..u64::from(HOOKS_PER_PAGE) {
        world.hook(RAM + index * 64).unwrap();
    }
    let state = world.state();
    assert_eq!(
        world.hook(RAM + 1),
        Err(Refusal::Event(EventRefusal::TooManyHooksOnPage {
            limit: HOOKS_PER_PAGE
        }))
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
fn the_drivers_code_cannot_be_hooked() {
    let mut world = world(true, design());
    let view = world.installed.views().hooked;
    let read_execute = Permissions::READ | Permissions::EXECUTE;
    let World { installed, mem, .. } = &mut world;
    view.protect(mem, RAM, read_execute, installed.pools_mut())
        .unwrap();
    let address = GuestPhysical(RAM + 5);
    assert_eq!(
        world.hook(address.0),
        Err(Refusal::DebuggerMemory { address })
    );
    world.hook(RAM + 4096).unwrap();
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
    design.levels.0 = [0; 8];
    let mut world = world(true, design);
    let view = world.view();
    // Room for an event object is left, which the hook would carve, but not for a page object.
    let arena = world.installed.pools_mut().arena_mut();
    while arena.carvable_count(4096, 4096, 6) > 5 {
        arena.carve(4096, 4096).unwrap();
    }
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
    let added = world.installed.add(&mut world.mem, &cpuid(None), &NOWHERE);
    assert_eq!(added, Ok(id));
}

#[test]
fn shadows_follow_the_original_but_for_the_hooks() {
    let mut world = world(true, design());
    world.hook(RAM + 8).unwrap();
    // ADD EAX, [RSI] where another addition was.
    world.mem.write(RAM + 6, &[1, 2, 3, 6]);
    assert_eq!(world.executed(RAM + 7), 0);
    assert_eq!(world.written(RAM + 6), []);
    let executed: Vec<u8> = (6..10).map(|offset| world.executed(RAM + offset)).collect();
    assert_eq!(executed, [1, 2, 0xcc, 6]);
    // What is right already is not written again.
    let mut log = StoreLog::new(world.mem);
    let kernel = KernelSpace::default();
    for page in [RAM, RAM + 4096] {
        let page = GuestPhysical(page);
        let tell = |event, standing| panic!("{event:?} is {standing:?}");
        world
            .installed
            .refresh_shadow(&mut log, page, &kernel, tell);
    }
    assert_eq!(log.stores, []);
}

/// PUSH RBP; MOV RBP, RSP; PUSH R12; NOP of five bytes; XOR EAX, EAX; RET.
const FUNCTION: [u8; 14] = [
    0x55, 0x48, 0x89, 0xe5, 0x41, 0x54, 0x0f, 0x1f, 0x44, 0, 0, 0x31, 0xc0, 0xc3,
];

#[test]
fn a_hook_under_a_jump_is_stale_until_the_jump_goes() {
    let mut world = world(true, design());
    world.mem.write(RAM, &FUNCTION);
    let mut spec = hook_spec();
    spec.settings.options.lead_bytes = Some(1);
    let (covered, function) = (at(RAM + 1), at(RAM));
    let World { installed, mem, .. } = &mut world;
    let covered = installed.add(mem, &spec, &covered).unwrap();
    let first = installed.add(mem, &hook_spec(), &function).unwrap();
    world.mem.write(RAM, &[0xe9, 1, 2, 3, 4]);
    assert_eq!(world.written(RAM), [(covered, Standing::Covered)]);
    let executed: Vec<u8> = (0..5).map(|offset| world.executed(RAM + offset)).collect();
    assert_eq!(executed, [0xcc, 1, 2, 3, 4]);
    assert!(!world.installed.watches().is_hooked(GuestPhysical(RAM + 1)));
    assert_eq!(world.hit(&on_byte(RAM + 1), 0), None);
    let standings = |world: &World| -> Vec<_> {
        let entries = world.installed.entries();
        entries.map(|it| (it.enabled, it.standing)).collect()
    };
    let (active, stale) = ((true, Standing::Active), (true, Standing::Covered));
    assert_eq!(standings(&world), [stale, active]);
    // Enabling it anew does not change that.
    world.change(EventChange::Disable, covered);
    world.change(EventChange::Enable, covered);
    assert_eq!(world.executed(RAM + 1), 1);
    // The kernel takes it back in three writes.
    world.mem.write(RAM, &[0xcc]);
    assert_eq!(world.written(RAM), []);
    world.mem.write(RAM + 1, &FUNCTION[1..5]);
    assert_eq!(world.written(RAM), [(covered, Standing::Active)]);
    assert_eq!(world.executed(RAM + 1), 0xcc);
    world.mem.write(RAM, &FUNCTION);
    assert_eq!(world.written(RAM), []);
    assert_eq!(standings(&world), [active, active]);
    assert!(world.hit(&on_byte(RAM + 1), 0).is_some());
    assert_eq!(
        world.hit(&on_byte(RAM), 0).map(|hit| hit.event),
        Some(first)
    );
}

#[test]
fn a_hook_is_stale_where_other_code_was_put() {
    let mut world = world(true, design());
    world.mem.write(RAM, &FUNCTION);
    let hook = world.hook(RAM).unwrap();
    world.mem.write(RAM, &[0; 14]);
    assert_eq!(world.written(RAM), [(hook, Standing::Replaced)]);
    assert_eq!(world.executed(RAM), 0);
    // Nobody looks while it is disabled.
    world.change(EventChange::Disable, hook);
    world.mem.write(RAM, &FUNCTION);
    world.change(EventChange::Enable, hook);
    assert_eq!(world.executed(RAM), 0xcc);
    world.change(EventChange::Disable, hook);
    world.mem.write(RAM, &[0; 14]);
    world.change(EventChange::Enable, hook);
    assert_eq!(world.executed(RAM), 0);
    world.change(EventChange::Clear, hook);
}

#[test]
fn a_hook_is_stale_when_its_address_leads_elsewhere() {
    let address = 0xffff_ffff_c012_3000;
    let mut world = world(true, design());
    let mut tables = GuestTables::new(16 * MIB, 4);
    tables.map(&mut world.mem, address, RAM, 12, PRESENT | WRITE);
    world.mem.write(RAM + 6, &FUNCTION);
    let spec = spec(Trigger::EptHook {
        address: GuestVirtual(address + 6),
    });
    let World { installed, mem, .. } = &mut world;
    let hook = installed.add(mem, &spec, &at(RAM + 6)).unwrap();
    let kernel = KernelSpace {
        cr3: 16 * MIB,
        ..KernelSpace::default()
    };
    assert_eq!(world.written_under(RAM, &kernel), []);
    assert_eq!(world.executed(RAM + 6), 0xcc);
    let leads_to = |world: &mut World, page| {
        let mut tables = GuestTables::new(16 * MIB, 4);
        tables.map(&mut world.mem, address, page, 12, PRESENT | WRITE);
    };
    leads_to(&mut world, RAM + 4096);
    let stale = [(hook, Standing::Unmapped)];
    assert_eq!(world.written_under(RAM, &kernel), stale);
    assert_eq!(world.executed(RAM + 6), FUNCTION[0]);
    // A halt looks, too, where nothing was written.
    let look = |world: &mut World| {
        let mut told = Vec::new();
        let tell = |event, standing| told.push((event, standing));
        world.installed.look_at_hooks(&mut world.mem, &kernel, tell);
        told
    };
    assert_eq!(look(&mut world), []);
    leads_to(&mut world, RAM);
    assert_eq!(look(&mut world), [(hook, Standing::Active)]);
    assert_eq!(world.executed(RAM + 6), 0xcc);
    leads_to(&mut world, RAM + 4096);
    assert_eq!(look(&mut world), stale);
    assert_eq!(world.executed(RAM + 6), FUNCTION[0]);
}
