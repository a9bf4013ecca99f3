//! Several events at once, and what their names mean.

use super::*;
use crate::ept::model::MIB;
use crate::event::Resolver;
use crate::event::growth::GrowthRefused;
use crate::fake::tables::{GuestTables, PRESENT, WRITE, no_processes};
use crate::guest::layout::GuestLayout;
use crate::pool::arena::ChunkRefused;
use crate::port::{Hidden, PortRange};
use std::sync::LazyLock;
use std::vec;
use wire_protocol::address::Extent;
use wire_protocol::event::Modes;
use wire_protocol::refusal::EventRefusal;
use wire_protocol::refusal::ProcessorFeature;

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
    assert_eq!(
        installed.change(mem, EventChange::Disable, Selection::Events),
        Ok(3)
    );
    assert!(installed.entries().all(|entry| !entry.enabled));
    assert_eq!(
        installed.change(mem, EventChange::Enable, Selection::Events),
        Ok(3)
    );
    assert_eq!(
        installed.change(mem, EventChange::Clear, Selection::Events),
        Ok(3)
    );
    assert_eq!(
        installed.change(mem, EventChange::Clear, Selection::Events),
        Ok(0)
    );
    assert_eq!(world.state(), state);
}

static RAM_RANGES: LazyLock<[Extent<GuestPhysical>; 1]> =
    LazyLock::new(|| [Extent::new(GuestPhysical(0), 3 * GIB).unwrap()]);

/// A guest whose virtual 0x10000 and 0x11000 are at [`RAM`].
pub(super) fn resolver_and_world(layout: &GuestLayout) -> (Resolver<'_>, World) {
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
        dead_cores: 0b10,
        owned_ports: PortRange {
            first: 0x3f8,
            count: 8,
        },
        can_take_interrupts: true,
        can_tell_modes: false,
        layout,
        syscall_entry: GuestVirtual(0x1_1000),
        undisturbed: [Extent::default(); 2],
        ram: &*RAM_RANGES,
    };
    (resolver, world)
}

fn hook_at(address: u64) -> EventSpec<'static> {
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
        resolver.resolve(mem, &hook_at(0x1_0123).settings),
        Ok(at(RAM + 0x123))
    );
    let number = None;
    let entry = spec(Trigger::SyscallEntry { number }).settings;
    assert_eq!(resolver.resolve(mem, &entry), Ok(at(RAM + 0x1000)));
    let address = GuestVirtual(0x2_0000);
    assert_eq!(
        resolver.resolve(mem, &hook_at(address.0).settings),
        Err(Refusal::NotPresent { address })
    );
    let mut on_core_2 = cpuid(None);
    on_core_2.settings.filter.core = Some(CoreId(2));
    assert_eq!(
        resolver.resolve(mem, &on_core_2.settings),
        Err(Refusal::NoSuchCore {
            core: CoreId(2),
            count: 2
        })
    );
    let mut on = cpuid(None);
    on.settings.filter.core = Some(CoreId(1));
    let core = CoreId(1);
    assert_eq!(
        resolver.resolve(mem, &on.settings),
        Err(Refusal::CoreDied { core })
    );
    on.settings.filter.core = Some(CoreId(0));
    assert!(resolver.resolve(mem, &on.settings).is_ok());
    let mut of_process = cpuid(None);
    of_process.settings.filter.pid = Some(12);
    assert_eq!(
        resolver.resolve(mem, &of_process.settings),
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
    let mut specs: Vec<EventSpec<'static>> = vec![cpuid(None); 9];
    specs.push(hook_at(0x1_0000));
    specs.push(hook_at(0x1_1000));
    specs.push(hook_at(0x2_0000));
    let mut results = vec![Err(Refusal::Malformed); specs.len()];
    let World { installed, mem, .. } = &mut world;
    installed.add_all(
        mem,
        &resolver,
        specs.clone().into_iter(),
        true,
        &mut results,
    );
    let address = GuestVirtual(0x2_0000);
    assert!(
        results
            .iter()
            .all(|result| *result == Err(Refusal::NotPresent { address }))
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

#[test]
fn memory_added_later_is_hidden_and_makes_what_waits_ready() {
    let mut world = world(true, design());
    let World { installed, mem, .. } = &mut world;
    let pools = installed.pools_mut();
    pools.arena_mut().allow_growth(2);
    let class = PoolClass::BigSafeBuffer;
    let carved = pools.prealloc(class, 100).unwrap();
    assert!(carved.queued > 0);
    assert_eq!(pools.wanted_chunks(), 2);
    let spare = pools.spare_tables();
    let far = if cfg!(miri) { GIB } else { 4 * GIB };
    let mut ready = carved.ready;
    for chunk in [GIB + 64 * MIB, far + 128 * MIB] {
        ready += installed.grow(mem, chunk).unwrap();
        assert!(installed.hides(GuestPhysical(chunk)));
        for view in [installed.views().hooked, installed.views().clean] {
            assert!(view.walk(mem, chunk).is_shared);
            assert!(!view.walk(mem, chunk + 2 * MIB).is_shared);
        }
        let again = installed.grow(mem, chunk);
        assert_eq!(again, Err(GrowthRefused::NotPlain));
    }
    assert_eq!(ready, 100);
    assert_eq!(installed.pools().spare_tables(), spare);
}

#[test]
fn memory_with_a_hook_in_it_is_not_taken() {
    let mut world = world(true, design());
    world.hook(RAM).unwrap();
    let state = world.state();
    let World { installed, mem, .. } = &mut world;
    assert_eq!(installed.grow(mem, RAM), Err(GrowthRefused::NotPlain));
    let odd = GIB + 64 * MIB + 4096;
    let refused = GrowthRefused::Chunk(ChunkRefused::Misplaced);
    assert_eq!(installed.grow(mem, odd), Err(refused));
    assert_eq!(world.state(), state);
}

#[test]
fn what_the_debugger_lives_on_cannot_be_watched() {
    let layout = no_processes();
    let (resolver, world) = resolver_and_world(&layout);
    let refused = |trigger| {
        let settings = spec(trigger).settings;
        resolver.resolve(&world.mem, &settings).unwrap_err()
    };
    for msr in [0x3a, 0x480, 0x491] {
        let refusal = refused(Trigger::MsrRead { msr: Some(msr) });
        assert_eq!(refusal, Refusal::Event(EventRefusal::OwnMsr { msr }));
        let refusal = refused(Trigger::MsrWrite { msr: Some(msr) });
        assert_eq!(refusal, Refusal::Event(EventRefusal::OwnMsr { msr }));
    }
    for port in [0x3f8, 0x3ff] {
        let refusal = refused(Trigger::IoOut { port: Some(port) });
        assert_eq!(refusal, Refusal::Event(EventRefusal::OwnPort { port }));
    }
    let others = [
        Trigger::IoIn { port: Some(0x400) },
        Trigger::MsrRead { msr: Some(0x479) },
    ];
    for trigger in others {
        assert!(
            resolver
                .resolve(&world.mem, &spec(trigger).settings)
                .is_ok()
        );
    }
    let to = Modes::USER;
    assert_eq!(
        refused(Trigger::Mode { to }),
        Refusal::Event(EventRefusal::NoFeature {
            feature: ProcessorFeature::ModeBasedExecute
        })
    );
    let able = Resolver {
        can_tell_modes: true,
        ..resolver
    };
    let settings = spec(Trigger::Mode { to }).settings;
    assert!(able.resolve(&world.mem, &settings).is_ok());
}

#[test]
fn interrupts_are_taken_only_where_the_processor_tells_their_vector() {
    let layout = no_processes();
    let (mut resolver, world) = resolver_and_world(&layout);
    let interrupts = spec(Trigger::Interrupt { vector: 0xec }).settings;
    assert!(resolver.resolve(&world.mem, &interrupts).is_ok());
    resolver.can_take_interrupts = false;
    let feature = ProcessorFeature::AcknowledgeInterrupt;
    assert_eq!(
        resolver.resolve(&world.mem, &interrupts),
        Err(Refusal::Event(EventRefusal::NoFeature { feature }))
    );
}

#[test]
fn memory_that_the_kernel_maps_for_a_time_is_its_own_to_take_back() {
    let mut layout = no_processes();
    let kernel = &mut layout.kernel;
    kernel.direct_map = Extent::new(GuestVirtual(0xffff_8880_0000_0000), GIB).unwrap();
    kernel.image = Extent::new(GuestVirtual(0xffff_ffff_8100_0000), 16 * MIB).unwrap();
    kernel.cr3 = 32 * MIB;
    let (resolver, world) = resolver_and_world(&layout);
    let owner = |space, from| {
        let trigger = Trigger::Monitor {
            space,
            access: Access::WRITE,
            from,
            len_bytes: 8,
        };
        let facts = resolver.resolve(&world.mem, &spec(trigger).settings);
        facts.unwrap().owner
    };
    let module = 0xffff_ffff_c000_0010;
    let found = owner(Space::Virtual, module).unwrap();
    assert_eq!((found.pid, found.cr3), (None, 32 * MIB));
    assert_eq!((found.from.0, found.len_bytes), (module, 8));
    for settled in [0xffff_8880_0000_1000, 0xffff_ffff_81ff_ff00] {
        assert_eq!(owner(Space::Virtual, settled), None);
    }
    assert_eq!(owner(Space::Physical, 0x1000), None);
}
