//! Ranges that monitors watch: looked up page by page, cut into pieces, refused as a whole.

use super::batches::resolver_and_world;
use super::*;
use crate::ept::entry::Level;
use crate::ept::model::CHUNKS;
use crate::ept::monitor::Touch;
use crate::fake::tables::no_processes;
use wire_protocol::address::Extent;
use wire_protocol::refusal::EventRefusal;

fn settings(space: Space, from: u64, len_bytes: u64) -> EventSpec<'static> {
    spec(Trigger::Monitor {
        space,
        access: Access::WRITE,
        from,
        len_bytes,
    })
}

#[test]
fn a_virtual_range_is_looked_up_to_its_last_page() {
    let layout = no_processes();
    let (resolver, mut world) = resolver_and_world(&layout);
    let (view, state) = (world.view(), world.state());
    // 0x10000 and 0x11000 are present, and nothing behind them.
    for (len_bytes, missing) in [
        (0x2000, None),
        (0x2001, Some(0x1_2000)),
        (1 << 40, Some(0x1_2000)),
    ] {
        let spec = settings(Space::Virtual, 0x1_0000, len_bytes);
        let facts = resolver.resolve(&world.mem, &spec.settings).unwrap();
        let added = world.installed.add(&mut world.mem, &spec, &facts);
        match missing {
            None => {
                assert_eq!(world.counts(PoolClass::Monitor).in_use, 2);
                world.change(EventChange::Clear, added.unwrap());
            }
            Some(address) => {
                let address = GuestVirtual(address);
                assert_eq!(added, Err(Refusal::NotPresent { address }));
            }
        }
        assert_eq!(world.view(), view);
        assert_eq!(world.state(), state);
    }
}

#[test]
fn a_large_page_that_is_covered_takes_one_object() {
    let mut world = world(true, design());
    let view = world.view();
    // One page, one large page, one page.
    let from = 2 * GIB - 8 * MIB - 4096;
    let event = world
        .monitor(from, 2 * MIB + 2 * 4096, Access::READ)
        .unwrap();
    assert_eq!(world.counts(PoolClass::Monitor).in_use, 3);
    let hooked = world.installed.views().hooked;
    let leaf = hooked.walk(&world.mem, from + MIB);
    assert_eq!((leaf.level, leaf.entry.0 & 7), (Level::Page2M, 4));
    // A hook splits it, and watches on.
    let hook = world.hook(from + MIB).unwrap();
    assert_eq!(hooked.walk(&world.mem, from + MIB).level, Level::Page4K);
    let neighbour = hooked.leaf_4k(&world.mem, from + MIB + 4096);
    assert_eq!(neighbour.0 & 7, 4);
    world.change(EventChange::Clear, event);
    assert_eq!(hooked.leaf_4k(&world.mem, from + MIB + 4096).0 & 7, 7);
    world.change(EventChange::Clear, hook);
    assert_eq!(world.view(), view);
    assert_eq!(world.counts(PoolClass::Monitor).in_use, 0);
}

#[test]
fn what_cannot_be_watched_is_refused_as_a_whole() {
    let mut world = world(true, design());
    let (view, state) = (world.view(), world.state());
    let limit = world.installed.views().limit;
    let beyond = world.monitor(limit - 8, 9, Access::READ);
    assert!(matches!(beyond, Err(Refusal::PhysicalOutOfRange { .. })));
    let own = world.monitor(CHUNKS[0] - 4096, 8192, Access::READ);
    let address = GuestPhysical(CHUNKS[0]);
    assert_eq!(own, Err(Refusal::DebuggerMemory { address }));
    // The memory of a device that carries the line, in the middle of a large page.
    let address = GuestPhysical(GIB + 5 * MIB);
    let page = Extent::new(address, 4096).unwrap();
    world
        .installed
        .hide([page, Extent::EMPTY, Extent::EMPTY, Extent::EMPTY]);
    let devices = world.monitor(GIB + 4 * MIB, 2 * MIB, Access::READ);
    assert_eq!(devices, Err(Refusal::DebuggerMemory { address }));
    let hook = world.hook(address.0 + 8);
    let address = GuestPhysical(address.0 + 8);
    assert_eq!(hook, Err(Refusal::DebuggerMemory { address }));
    // Two stretches of pages, neither of which is a whole large page: more than the arena has objects for.
    let from = GIB + 8 * MIB + 4096;
    let many = world.monitor(from, 4 * MIB - 2 * 4096, Access::READ);
    let pools = world.installed.pools();
    assert_eq!(many, Err(pools.exhausted(PoolClass::Monitor, 1022)));
    assert_eq!(world.view(), view);
    assert_eq!(world.state(), state);
}

#[test]
fn devices_can_be_watched_but_not_hooked() {
    let layout = no_processes();
    let (resolver, mut world) = resolver_and_world(&layout);
    let device = 3 * GIB + 0x1000;
    let World { mem, .. } = &mut world;
    let mut tables = crate::fake::tables::GuestTables::new(resolver.cr3, 4);
    tables.next_table(32 * MIB);
    let flags = crate::fake::tables::PRESENT | crate::fake::tables::WRITE;
    tables.map(mem, 0x8000_0000, device, 12, flags);
    let trigger = Trigger::EptHook {
        address: GuestVirtual(0x8000_0010),
    };
    let address = GuestPhysical(device + 0x10);
    let refused = resolver.resolve(mem, &spec(trigger).settings);
    assert_eq!(
        refused,
        Err(Refusal::Event(EventRefusal::NotRam { address }))
    );
    if !cfg!(miri) {
        let event = world.monitor(device, 8, Access::READ).unwrap();
        world.change(EventChange::Clear, event);
    }
}

#[test]
#[cfg_attr(miri, ignore = "looks at every byte of a page, many times")]
fn the_distance_to_what_is_watched_is_that_of_the_first_watched_byte() {
    let mut world = world(true, design());
    let page = GIB + 0x5000;
    let ranges = [
        (0x10, 8, Access::READ),
        (0x10, 1, Access::WRITE),
        (0x40, 0x20, Access::WRITE),
        (0x48, 4, Access::READ | Access::EXECUTE),
        (0xff0, 0x20, Access::READ),
    ];
    for (offset, len_bytes, access) in ranges {
        world.monitor(page + offset, len_bytes, access).unwrap();
    }
    let disabled = world.monitor(page, 0x1000, Access::WRITE).unwrap();
    world.change(EventChange::Disable, disabled);
    let monitors = world.installed.watches().monitors();
    for access in [Access::READ, Access::WRITE, Access::READ | Access::WRITE] {
        for offset in [
            0, 0xf, 0x10, 0x17, 0x18, 0x40, 0x4b, 0x4c, 0x5f, 0x60, 0xfff,
        ] {
            let at = GuestPhysical(page + offset);
            let is_met = |byte: &u64| {
                let at = GuestPhysical(page + byte);
                monitors.is_any_met(&Touch {
                    at,
                    len_bytes: 1,
                    access,
                })
            };
            let first = (offset..0x1000).find(is_met);
            let expected = first.map_or(u64::MAX, |first| first - offset);
            assert_eq!(monitors.distance(at, access), Some(expected), "{offset:x}");
        }
    }
    let unwatched = GuestPhysical(page - 0x1000);
    assert_eq!(monitors.distance(unwatched, Access::READ), None);
}
