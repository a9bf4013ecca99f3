//! Tests of the pools' accounting.

extern crate std;

use super::arena::{Arena, CHUNK_BYTES};
use super::budget::{ByClass, CLASS_COUNT, Design};
use super::{Carved, Pools, TableSource};
use crate::ept::model::config;
use proptest::prelude::*;
use std::boxed::Box;
use std::collections::BTreeSet;
use std::vec::Vec;
use wire_protocol::event::PoolClass;
use wire_protocol::refusal::Refusal;

fn arena(chunks: u64) -> Arena {
    let mut arena = Arena::new();
    for index in 0..chunks {
        arena.add_chunk((3 * index + 1) * CHUNK_BYTES).unwrap();
    }
    arena
}

fn pools(chunks: u64, levels: [u32; CLASS_COUNT], prealloc_only_bytes: u64) -> Box<Pools> {
    let mut pools = Box::new(Pools::new());
    let design = Design {
        levels: ByClass(levels),
        prealloc_only_bytes,
        ..Design::DEFAULT
    };
    pools.init(arena(chunks), design).unwrap();
    pools
}

const NONE: [u32; CLASS_COUNT] = [0; CLASS_COUNT];

fn assert_balanced(pools: &Pools) {
    for class in PoolClass::ALL {
        let counts = pools.counts(class);
        assert_eq!(counts.reserved, counts.free + counts.in_use, "{class:?}");
    }
}

#[test]
fn the_design_levels_are_reserved_at_load() {
    let pools = pools(8, Design::DEFAULT.levels.0, 8 << 20);
    for line in pools.lines() {
        assert_eq!(line.reserved, *Design::DEFAULT.levels.get(line.class));
        assert_eq!(line.in_use, 0);
    }
    assert_eq!(pools.spare_tables(), 2 * (3 * 20 + 4));
}

#[test]
fn free_counts_are_told_of_the_classes_concerned() {
    let mut pools = pools(8, Design::DEFAULT.levels.0, 8 << 20);
    let before = pools.all_counts();
    assert_eq!(pools.free_counts(&before).iter().next(), None);
    let object = pools.reserve(PoolClass::Monitor).unwrap();
    let free = pools.free_counts(&before);
    assert!(free.iter().eq([(PoolClass::Monitor, 19)]));
    pools.release(object);
    assert_eq!(pools.free_counts(&before).iter().next(), None);
}

#[test]
fn load_fails_with_numbers_when_the_levels_do_not_fit() {
    let mut pools = Box::new(Pools::new());
    let mut design = Design::DEFAULT;
    *design.levels.get_mut(PoolClass::BigEvent) = 100;
    let Err(Refusal::ArenaTooSmall {
        class,
        asked,
        possible,
        ..
    }) = pools.init(arena(1), design)
    else {
        unreachable!("a chunk has no room for 100 big events");
    };
    assert_eq!((class, asked), (PoolClass::BigEvent, 100));
    assert!(possible < 100);
}

#[test]
fn an_empty_pool_carves_by_itself_but_leaves_what_is_for_prealloc() {
    let mut pools = pools(1, NONE, CHUNK_BYTES - 30_000);
    let first = pools.reserve(PoolClass::RegularEvent).unwrap();
    let second = pools.reserve(PoolClass::RegularEvent).unwrap();
    assert_ne!(pools.phys(&first), pools.phys(&second));
    let left = pools.arena().left_bytes();
    assert!(left >= CHUNK_BYTES - 30_000);
    assert_eq!(
        pools.reserve(PoolClass::RegularEvent),
        Err(Refusal::PoolExhausted {
            class: PoolClass::RegularEvent,
            reserved: 2,
            in_use: 2,
            needed: 1,
            most: 2048,
            object_bytes: 12_672,
            arena_left_bytes: left,
            possible: 1,
            refill_ms: 0,
        })
    );
    // What comes back can be had again.
    pools.release(first);
    assert!(pools.reserve(PoolClass::RegularEvent).is_ok());
    pools.release(second);
}

#[test]
fn prealloc_may_take_the_last_byte() {
    let mut pools = pools(1, NONE, CHUNK_BYTES);
    assert!(pools.reserve(PoolClass::RegularSafeBuffer).is_err());
    let carved = pools.prealloc(PoolClass::RegularSafeBuffer, 512);
    assert_eq!(
        carved,
        Ok(Carved {
            ready: 512,
            queued: 0,
            free: 512,
            arena_left_bytes: 0
        })
    );
    assert!(pools.reserve(PoolClass::RegularSafeBuffer).is_ok());
    assert_balanced(&pools);
}

#[test]
fn prealloc_is_refused_whole_when_the_arena_cannot_grow() {
    let mut pools = pools(1, NONE, 0);
    assert_eq!(
        pools.prealloc(PoolClass::RegularSafeBuffer, 513),
        Err(Refusal::ArenaTooSmall {
            class: PoolClass::RegularSafeBuffer,
            asked: 513,
            possible: 512,
            room: 1024,
        })
    );
    assert_eq!(pools.counts(PoolClass::RegularSafeBuffer).reserved, 0);
    assert_eq!(pools.arena().left_bytes(), CHUNK_BYTES);
}

#[test]
fn prealloc_beyond_the_class_is_refused_even_if_the_arena_can_grow() {
    let mut pools = pools(1, NONE, 0);
    pools.arena_mut().allow_growth(200);
    let refused = pools.prealloc(PoolClass::BigSafeBuffer, 257);
    assert!(matches!(
        refused,
        Err(Refusal::ArenaTooSmall { asked: 257, .. })
    ));
    assert_eq!(pools.arena().carved_bytes(), 0);
}

#[test]
fn what_prealloc_queues_is_ready_once_the_arena_has_grown() {
    let mut pools = pools(1, NONE, CHUNK_BYTES);
    pools.arena_mut().allow_growth(2);
    let carved = pools.prealloc(PoolClass::RegularSafeBuffer, 600).unwrap();
    assert_eq!((carved.ready, carved.queued, carved.free), (512, 88, 512));
    assert_eq!(pools.queued(PoolClass::RegularSafeBuffer), 88);
    assert_eq!(pools.wanted_chunks(), 1);
    // Before the chunk is there, nothing can be made ready.
    assert_eq!(pools.replenish(), 0);
    pools.arena_mut().add_chunk(100 * CHUNK_BYTES).unwrap();
    assert_eq!(pools.replenish(), 88);
    assert_eq!(pools.queued(PoolClass::RegularSafeBuffer), 0);
    assert_eq!(pools.wanted_chunks(), 0);
    assert_eq!(pools.counts(PoolClass::RegularSafeBuffer).free, 600);
}

#[test]
fn promises_are_not_made_twice_for_the_same_growth() {
    let mut pools = pools(1, NONE, 0);
    pools.arena_mut().allow_growth(1);
    pools.prealloc(PoolClass::RegularSafeBuffer, 512).unwrap();
    let queued = pools.prealloc(PoolClass::RegularSafeBuffer, 500).unwrap();
    assert_eq!(queued.queued, 500);
    assert!(pools.prealloc(PoolClass::RegularEvent, 10).is_err());
}

#[test]
fn promises_count_as_objects_of_the_class() {
    let mut pools = pools(1, NONE, 0);
    pools.arena_mut().allow_growth(100);
    let carved = pools.prealloc(PoolClass::BigSafeBuffer, 200).unwrap();
    assert_eq!((carved.ready, carved.queued), (25, 175));
    // 256 there can be.
    assert!(pools.prealloc(PoolClass::BigSafeBuffer, 57).is_err());
    assert!(pools.prealloc(PoolClass::BigSafeBuffer, 56).is_ok());
}

#[test]
fn replenish_fills_to_the_design_level() {
    let mut levels = NONE;
    levels[0] = 20;
    let mut pools = pools(2, levels, CHUNK_BYTES);
    let taken: Vec<_> = (0..15)
        .map(|_| pools.reserve(PoolClass::RegularEvent).unwrap())
        .collect();
    assert_eq!(pools.replenish(), 15);
    assert_eq!(pools.counts(PoolClass::RegularEvent).free, 20);
    assert_eq!(pools.replenish(), 0);
    taken.into_iter().for_each(|object| pools.release(object));
    assert_eq!(pools.counts(PoolClass::RegularEvent).free, 35);
}

#[test]
fn a_replenisher_is_told_how_much_the_levels_lack() {
    let mut levels = NONE;
    levels[0] = 20;
    let mut pools = pools(1, levels, CHUNK_BYTES);
    assert_eq!(pools.wanted_chunks(), 0);
    let object = pools.reserve(PoolClass::RegularEvent).unwrap();
    // The arena cannot grow, so there is no use in asking.
    assert_eq!(pools.wanted_chunks(), 0);
    pools.arena_mut().allow_growth(10);
    assert_eq!(pools.replenish(), 0);
    assert_eq!(pools.wanted_chunks(), 2);
    for index in 0..2 {
        let base = (100 + index) * CHUNK_BYTES;
        pools.arena_mut().add_chunk(base).unwrap();
    }
    assert_eq!(pools.replenish(), 1);
    pools.release(object);
}

/// What an empty pool says of itself: objects that `prealloc` can carve, milliseconds until one is there.
fn remedies(pools: &Pools, class: PoolClass, needed: u32) -> (u32, u32) {
    match pools.exhausted(class, needed) {
        Refusal::PoolExhausted {
            possible,
            refill_ms,
            ..
        } => (possible, refill_ms),
        other => panic!("{other:?}"),
    }
}

#[test]
fn an_empty_pool_names_the_remedies_that_help() {
    let mut levels = NONE;
    levels[0] = 20;
    let mut pools = pools(1, levels, CHUNK_BYTES);
    let taken: Vec<_> = (0..20)
        .map(|_| pools.reserve(PoolClass::RegularEvent).unwrap())
        .collect();
    assert_eq!(remedies(&pools, PoolClass::RegularEvent, 3), (3, 0));
    pools.arena_mut().allow_growth(10);
    assert_eq!(remedies(&pools, PoolClass::RegularEvent, 3), (3, 1000));
    // It has no level, so nothing refills it.
    assert_eq!(remedies(&pools, PoolClass::BigEvent, 1), (1, 0));
    // The bytes that are left may lie in pieces, none of which is large enough.
    while pools.arena_mut().carve(64 << 10, 64).is_ok() {}
    let left = pools.arena().left_bytes();
    assert!(left > 0 && left < 64 << 10);
    assert_eq!(remedies(&pools, PoolClass::BigEvent, 1), (0, 0));
    taken.into_iter().for_each(|object| pools.release(object));
}

#[test]
fn rewinding_forgets_objects_and_tables_carved_since() {
    let mut pools = pools(1, NONE, 0);
    let kept = pools.reserve(PoolClass::EptHook).unwrap();
    let mark = pools.mark();
    let left = pools.arena().left_bytes();
    let objects = [
        pools.reserve(PoolClass::EptHook).unwrap(),
        pools.reserve(PoolClass::RegularEvent).unwrap(),
        pools.reserve(PoolClass::Monitor).unwrap(),
    ];
    assert_eq!(pools.spare_tables(), 6);
    objects.into_iter().for_each(|object| pools.release(object));
    pools.rewind(&mark);
    assert_eq!(pools.arena().left_bytes(), left);
    assert_eq!(pools.counts(PoolClass::EptHook).reserved, 1);
    assert_eq!(pools.counts(PoolClass::EptHook).in_use, 1);
    assert_eq!(pools.counts(PoolClass::RegularEvent).reserved, 0);
    assert_eq!(pools.spare_tables(), 2);
    pools.release(kept);
    assert_balanced(&pools);
}

#[test]
fn page_objects_and_their_tables_do_not_overlap() {
    let mut pools = pools(1, NONE, 0);
    let mut pages = BTreeSet::new();
    let mut objects = Vec::new();
    while let Ok(object) = pools.reserve(PoolClass::EptHook) {
        assert!(pages.insert(pools.phys(&object)));
        objects.push(object);
    }
    while let Some(table) = pools.take() {
        assert!(pages.insert(table));
    }
    assert_eq!(pages.len(), 3 * objects.len());
    assert!(pages.iter().all(|page| page.is_multiple_of(4096)));
    assert!(pages.iter().all(|page| pools.arena().is_carved(*page)));
}

#[derive(Clone, Debug)]
enum Step {
    Reserve(PoolClass),
    Release(usize),
    Prealloc(PoolClass, u32),
    AddChunk,
    Replenish,
    /// Reserves this many, then takes it all back.
    Transaction(PoolClass, u32),
}

fn step() -> impl Strategy<Value = Step> {
    let class = || prop::sample::select(PoolClass::ALL.to_vec());
    prop_oneof![
        6 => class().prop_map(Step::Reserve),
        6 => any::<usize>().prop_map(Step::Release),
        2 => (class(), 0_u32..40).prop_map(|(class, count)| Step::Prealloc(class, count)),
        1 => Just(Step::AddChunk),
        1 => Just(Step::Replenish),
        2 => (class(), 1_u32..9).prop_map(|(class, count)| Step::Transaction(class, count)),
    ]
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn counts_balance_and_objects_never_overlap(steps in prop::collection::vec(step(), 1..if cfg!(miri) { 12 } else { 200 })) {
        let mut pools = pools(2, [3, 1, 1, 0, 2, 1, 1, 1], CHUNK_BYTES / 2);
        pools.arena_mut().allow_growth(3);
        let mut held: Vec<super::slab::Reserved> = Vec::new();
        let mut chunk = 100;
        for step in steps {
            match step {
                Step::Reserve(class) => {
                    let before = (pools.lines(), pools.arena().left_bytes());
                    match pools.reserve(class) {
                        Ok(object) => held.push(object),
                        Err(_) => {
                            let after = (pools.lines(), pools.arena().left_bytes());
                            prop_assert_eq!(before, after);
                        }
                    }
                }
                Step::Release(index) if !held.is_empty() => {
                    let object = held.swap_remove(index % held.len());
                    pools.release(object);
                }
                Step::Release(_) => {}
                Step::Prealloc(class, count) => {
                    let before = u32::from(pools.counts(class).free);
                    if let Ok(carved) = pools.prealloc(class, count) {
                        prop_assert_eq!(carved.ready + carved.queued, count);
                        prop_assert_eq!(carved.free, before + carved.ready);
                    } else {
                        prop_assert_eq!(u32::from(pools.counts(class).free), before);
                    }
                }
                Step::AddChunk => {
                    if pools.wanted_chunks() > 0 {
                        chunk += 2;
                        pools.arena_mut().add_chunk(chunk * CHUNK_BYTES).unwrap();
                    }
                }
                Step::Replenish => {
                    pools.replenish();
                }
                Step::Transaction(class, count) => {
                    let before = (pools.lines(), pools.arena().left_bytes(), pools.spare_tables());
                    let mark = pools.mark();
                    let taken: Vec<_> = (0..count).map_while(|_| pools.reserve(class).ok()).collect();
                    taken.into_iter().for_each(|object| pools.release(object));
                    pools.rewind(&mark);
                    let after = (pools.lines(), pools.arena().left_bytes(), pools.spare_tables());
                    prop_assert_eq!(before, after);
                }
            }
            assert_balanced(&pools);
            let in_use: u32 = pools.lines().iter().map(|line| line.in_use).sum();
            prop_assert_eq!(in_use as usize, held.len());
            let mut ranges: Vec<(u64, u64)> = held
                .iter()
                .map(|object| {
                    let start = pools.phys(object);
                    let line = pools.lines()[object.class() as usize];
                    (start, start + u64::from(line.object_bytes))
                })
                .collect();
            ranges.sort_unstable();
            prop_assert!(ranges.windows(2).all(|pair| pair[0].1 <= pair[1].0));
        }
    }
}
