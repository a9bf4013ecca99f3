//! Tests of views, splits and hooked pages together.

use super::entry::{Entry, Level, MemoryType, Permissions};
use super::model::{CHUNKS, GIB, MIB, StoreLog, design, dump, mtrrs, translate, world};
use super::view::{HiddenChunks, MapRequest, TablesExhausted, Views};
use crate::fake::FlatMemory;
use crate::pool::TableSource;
use crate::port::PhysicalMemory;
use wire_protocol::address::GuestPhysical;

/// Gives pages from an address upwards.
struct Pages {
    next: u64,
    left: u64,
}

impl TableSource for Pages {
    fn take(&mut self) -> Option<u64> {
        self.left = self.left.checked_sub(1)?;
        self.next += 4096;
        Some(self.next)
    }
}

fn request<'a>(hidden: &'a HiddenChunks, mtrrs: &'a super::mtrr::RawMtrrs) -> MapRequest<'a> {
    MapRequest {
        limit: 4 * GIB + 5 * MIB + 4096,
        mtrrs,
        has_1gib_leaves: true,
        hidden,
        zero_page: 0x1000,
        sink_page: 0x2000,
        has_view_switching: false,
    }
}

#[test]
fn both_views_map_memory_one_to_one() {
    let world = world(true, design());
    let views = *world.installed.views();
    for view in [views.hooked, views.clean] {
        for gpa in [0x123, 0x9_f000, 0x12_3456, 200 * MIB + 5, GIB + 7] {
            assert_eq!(translate(&world.mem, &view, gpa), Some((gpa, 7)));
        }
        assert_eq!(translate(&world.mem, &view, views.limit), None);
    }
}

#[test]
fn leaves_are_as_large_as_memory_types_allow() {
    let mut mem = FlatMemory::new(8 * GIB);
    let (none, mtrrs) = (HiddenChunks::new(core::iter::empty()), mtrrs());
    let request = request(&none, &mtrrs);
    let mut pages = Pages {
        next: 7 * GIB,
        left: 100,
    };
    let view = Views::build(&request, &mut mem, &mut pages).unwrap().hooked;
    let level_of = |gpa| view.walk(&mem, gpa).level;
    // The first 2 MiB have fixed ranges of several types.
    assert_eq!(level_of(0), Level::Page4K);
    assert_eq!(level_of(2 * MIB), Level::Page2M);
    assert_eq!(level_of(GIB), Level::Page1G);
    assert_eq!(level_of(3 * GIB), Level::Page1G);
    // Behind the last large page that fits below the limit.
    assert_eq!(level_of(4 * GIB), Level::Page2M);
    assert_eq!(level_of(4 * GIB + 4 * MIB), Level::Page4K);
    assert!(view.walk(&mem, request.limit - 1).entry.is_present());
    assert!(!view.walk(&mem, request.limit).entry.is_present());
    let type_of = |gpa| view.walk(&mem, gpa).entry.memory_type();
    assert_eq!(type_of(0xa_0000), Some(MemoryType::Uncacheable));
    assert_eq!(type_of(0x9_f000), Some(MemoryType::WriteBack));
    assert_eq!(type_of(3 * GIB), Some(MemoryType::Uncacheable));
    assert_eq!(type_of(2 * GIB), Some(MemoryType::WriteBack));
}

#[test]
fn the_table_count_is_exact() {
    let (none, mtrrs) = (HiddenChunks::new(core::iter::empty()), mtrrs());
    let some = HiddenChunks::new(CHUNKS.into_iter());
    for (hidden, has_1gib_leaves) in [(&none, true), (&none, false), (&some, true), (&some, false)]
    {
        if cfg!(miri) && !(has_1gib_leaves && core::ptr::eq(hidden, &none)) {
            continue;
        }
        let mut mem = FlatMemory::new(8 * GIB);
        let mut request = request(hidden, &mtrrs);
        request.has_1gib_leaves = has_1gib_leaves;
        if cfg!(miri) {
            request.limit = GIB;
        }
        let needed = request.tables_needed();
        let mut pages = Pages {
            next: 7 * GIB,
            left: needed,
        };
        assert!(Views::build(&request, &mut mem, &mut pages).is_ok());
        assert_eq!(pages.left, 0);
        pages.left = needed - 1;
        assert_eq!(
            Views::build(&request, &mut mem, &mut pages),
            Err(TablesExhausted { needed })
        );
    }
}

#[test]
fn a_page_of_registers_looks_as_if_no_device_were_there() {
    let mut world = world(true, design());
    let views = *world.installed.views();
    // Among RAM, and where devices are, which Miri does without.
    let devices = if cfg!(miri) { GIB } else { 3 * GIB };
    for page in [64 * MIB + 0x5000, devices + 0x3_4000] {
        let arena = world.installed.pools_mut().arena_mut();
        let ones_page = arena.take().unwrap();
        let seen = [ones_page, world.sink_page];
        views
            .make_absent(&mut world.mem, arena, GuestPhysical(page), seen)
            .unwrap();
        let hooked = translate(&world.mem, &views.hooked, page);
        let clean = translate(&world.mem, &views.clean, page);
        assert_eq!(hooked, Some((ones_page, 1)));
        assert_eq!(clean, Some((world.sink_page, 3)));
        for neighbour in [page - 4096, page + 4096] {
            for view in [&views.hooked, &views.clean] {
                let found = translate(&world.mem, view, neighbour);
                assert_eq!(found, Some((neighbour, 7)));
            }
        }
    }
}

#[test]
fn hidden_chunks_read_as_zero_and_writes_go_to_the_sink() {
    let world = world(true, design());
    let views = world.installed.views();
    for chunk in CHUNKS {
        for page in [chunk, chunk + 77 * 4096, chunk + 2 * MIB - 4096] {
            let hooked = translate(&world.mem, &views.hooked, page);
            let clean = translate(&world.mem, &views.clean, page);
            assert_eq!(hooked, Some((world.zero_page, 1)));
            assert_eq!(clean, Some((world.sink_page, 3)));
        }
        for neighbour in [chunk - 1, chunk + 2 * MIB] {
            assert_eq!(
                translate(&world.mem, &views.hooked, neighbour),
                Some((neighbour, 7))
            );
        }
        assert!(
            views
                .hooked
                .plan_split(&world.mem, chunk, Level::Page4K)
                .is_none()
        );
    }
}

#[test]
fn a_split_maps_what_was_mapped_before() {
    // The GiB at 1 GiB has no large leaf, as there is a chunk in it; the one at 2 GiB has one.
    for (gpa, tables) in [(2 * GIB + 4096, 2), (GIB + 2 * MIB, 1), (0x1000, 0)] {
        if cfg!(miri) && gpa > 2 * GIB {
            continue;
        }
        let mut world = world(true, design());
        let view = world.installed.views().hooked;
        let plan = view.plan_split(&world.mem, gpa, Level::Page4K).unwrap();
        assert_eq!(plan.tables_needed(), tables);
        let before = dump(&world.mem, &view);
        let split = plan.take_tables(world.installed.pools_mut()).unwrap();
        let leaf = view.split(&mut world.mem, split);
        assert_eq!(leaf.level, Level::Page4K);
        assert_eq!(leaf, view.walk(&world.mem, gpa));
        for neighbour in [gpa, gpa + 4096, (gpa + 2 * MIB) & !0xfff, gpa + 100 * MIB] {
            assert_eq!(
                translate(&world.mem, &view, neighbour),
                Some((neighbour, 7))
            );
        }
        for level in [Level::Page2M, Level::Page1G] {
            let _ = view.merge(&mut world.mem, gpa, level);
        }
        assert_eq!(dump(&world.mem, &view), before);
    }
}

#[test]
fn a_table_with_a_changed_leaf_is_not_merged() {
    let mut world = world(true, design());
    let view = world.installed.views().hooked;
    let gpa = GIB + 6 * MIB;
    let plan = view.plan_split(&world.mem, gpa, Level::Page4K).unwrap();
    let split = plan.take_tables(world.installed.pools_mut()).unwrap();
    let leaf = view.split(&mut world.mem, split);
    let changed = leaf.entry.with_permissions(Permissions::EXECUTE);
    view.set_leaf(&mut world.mem, leaf.entry_phys, changed);
    assert_eq!(view.merge(&mut world.mem, gpa, Level::Page2M), None);
    view.set_leaf(&mut world.mem, leaf.entry_phys, leaf.entry);
    assert!(view.merge(&mut world.mem, gpa, Level::Page2M).is_some());
    assert_eq!(view.merge(&mut world.mem, gpa, Level::Page2M), None);
}

#[test]
#[cfg_attr(miri, ignore = "takes minutes there")]
fn tables_made_at_boot_are_not_merged() {
    let mut world = world(false, design());
    let view = world.installed.views().hooked;
    let before = dump(&world.mem, &view);
    assert_eq!(view.merge(&mut world.mem, 0, Level::Page2M), None);
    assert_eq!(view.merge(&mut world.mem, GIB, Level::Page1G), None);
    assert_eq!(view.merge(&mut world.mem, CHUNKS[0], Level::Page2M), None);
    assert_eq!(dump(&world.mem, &view), before);
}

#[test]
fn protecting_a_page_leaves_its_neighbours_alone() {
    let mut world = world(true, design());
    let view = world.installed.views().hooked;
    let read_execute = Permissions::READ | Permissions::EXECUTE;
    let gpa = GIB + 6 * MIB + 4096;
    let pools = world.installed.pools_mut();
    view.protect(&mut world.mem, gpa, read_execute, pools)
        .unwrap();
    assert_eq!(translate(&world.mem, &view, gpa), Some((gpa, 5)));
    let next = gpa + 4096;
    assert_eq!(translate(&world.mem, &view, next), Some((next, 7)));
    // It is not to be edited again, by a hook for example.
    assert!(view.plan_split(&world.mem, gpa, Level::Page4K).is_none());
    assert!(view.plan_split(&world.mem, next, Level::Page4K).is_some());
    let mut nothing = Pages { next: 0, left: 0 };
    let far = GIB + 20 * MIB;
    assert!(
        view.protect(&mut world.mem, far, read_execute, &mut nothing)
            .is_err()
    );
    assert_eq!(translate(&world.mem, &view, far), Some((far, 7)));
}

#[test]
fn a_chunk_that_is_added_later_is_hidden_too() {
    let mut world = world(true, design());
    let views = *world.installed.views();
    let pools = world.installed.pools_mut();
    // One in a GiB with tables, one under a 1 GiB leaf (not under Miri, whose map is small).
    let far = if cfg!(miri) { GIB } else { 4 * GIB };
    for chunk in [GIB + 32 * MIB, far + 64 * MIB] {
        views
            .hooked
            .hide_chunk(&mut world.mem, chunk, pools)
            .unwrap();
        assert_eq!(
            translate(&world.mem, &views.hooked, chunk + 5 * 4096),
            Some((world.zero_page, 1))
        );
        let next = chunk + 2 * MIB;
        assert_eq!(translate(&world.mem, &views.hooked, next), Some((next, 7)));
        assert!(
            views
                .hooked
                .hide_chunk(&mut world.mem, chunk, pools)
                .is_err()
        );
    }
}

#[test]
fn a_table_is_complete_before_it_is_linked() {
    let mut mem = FlatMemory::new(8 * GIB);
    let (none, mtrrs) = (HiddenChunks::new(core::iter::empty()), mtrrs());
    let mut pages = Pages {
        next: 7 * GIB,
        left: 100,
    };
    let view = Views::build(&request(&none, &mtrrs), &mut mem, &mut pages)
        .unwrap()
        .hooked;
    let gpa = GIB + 0x5_5000;
    let large = view.walk(&mem, gpa);
    assert_eq!(large.level, Level::Page1G);
    let mut log = StoreLog::new(mem);
    let plan = view.plan_split(&log, gpa, Level::Page4K).unwrap();
    let split = plan.take_tables(&mut pages).unwrap();
    view.split(&mut log, split);
    let last = log.stores.pop();
    assert_eq!(last, Some(large.entry_phys));
    assert!(!log.stores.contains(&large.entry_phys));
    assert!(Entry(log.read_u64(large.entry_phys)).is_split());
}
