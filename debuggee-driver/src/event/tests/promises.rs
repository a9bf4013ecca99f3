//! What holds after any number of changes in any order.

use super::*;
use crate::ept::entry::Level;
use crate::ept::model::{MIB, config};
use proptest::prelude::*;
use std::collections::BTreeMap;

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
        let other = installed.add(mem, &spec, &NOWHERE).unwrap();
        world.change(EventChange::Clear, hook);
        world.change(EventChange::Clear, other);
        assert_eq!(world.state(), state);
    }
    assert_eq!(world.view(), view);
}
