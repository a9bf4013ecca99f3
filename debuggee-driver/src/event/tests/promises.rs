//! What holds after any number of changes in any order.

use super::*;
use crate::ept::entry::Permissions;
use crate::ept::model::{MIB, config};
use crate::ept::monitor::Touch;
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};
use wire_protocol::refusal::EventRefusal;

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
    Hook {
        gpa: u64,
    },
    Monitor {
        gpa: u64,
        len_bytes: u64,
        access: Access,
    },
    Clear(usize),
    Enable(usize, bool),
    Write {
        gpa: u64,
        byte: u8,
    },
    Touch {
        gpa: u64,
        len_bytes: u16,
        access: Access,
    },
    Batch {
        page: u64,
        count: u64,
    },
}

fn access() -> impl Strategy<Value = Access> {
    (1_u8..8).prop_map(Access::from_bits_truncate)
}

fn step() -> impl Strategy<Value = Step> {
    let offset = || prop_oneof![0_u64..16, 4080_u64..4096, 0_u64..4096];
    let gpa = || (0_u64..30, offset()).prop_map(|(number, offset)| page(number) + offset);
    let large = 2 * MIB..5 * MIB;
    let len_bytes = prop_oneof![4 => 1_u64..64, 2 => 1_u64..20_000, 1 => large];
    prop_oneof![
        5 => gpa().prop_map(|gpa| Step::Hook { gpa }),
        4 => (gpa(), len_bytes, access())
            .prop_map(|(gpa, len_bytes, access)| Step::Monitor { gpa, len_bytes, access }),
        5 => any::<usize>().prop_map(Step::Clear),
        2 => (any::<usize>(), any::<bool>()).prop_map(|(index, on)| Step::Enable(index, on)),
        2 => (gpa(), any::<u8>()).prop_map(|(gpa, byte)| Step::Write { gpa, byte }),
        4 => (gpa(), 1_u16..65, access())
            .prop_map(|(gpa, len_bytes, access)| Step::Touch { gpa, len_bytes, access }),
        1 => (0_u64..30, 1_u64..12).prop_map(|(page, count)| Step::Batch { page, count }),
    ]
}

/// What a test knows of an event.
#[derive(Clone, Copy, Debug)]
struct Known {
    gpa: u64,
    /// 0 for a hook.
    len_bytes: u64,
    access: Access,
    enabled: bool,
}

impl Known {
    fn watches(&self, start: u64, end: u64, access: Access) -> bool {
        self.enabled
            && self.access.intersects(access)
            && self.gpa < end
            && start < self.gpa + self.len_bytes
    }
}

type Model = BTreeMap<EventId, Known>;

fn hooks_of(model: &Model) -> impl Iterator<Item = &Known> {
    model.values().filter(|known| known.len_bytes == 0)
}

fn assert_counts(world: &World, model: &Model) {
    let pools = world.installed.pools();
    let (mut reserved, mut in_use) = (0, 0);
    for class in PoolClass::ALL {
        let counts = pools.counts(class);
        assert_eq!(counts.reserved, counts.free + counts.in_use);
        if crate::pool::budget::has_tables(class) {
            reserved += counts.reserved;
            in_use += counts.in_use;
        }
    }
    let pages: BTreeSet<u64> = hooks_of(model).map(|hook| hook.gpa & !0xfff).collect();
    let hooked = pools.counts(PoolClass::EptHook).in_use;
    assert_eq!(usize::from(hooked), pages.len());
    assert_eq!(
        usize::from(pools.counts(PoolClass::RegularEvent).in_use),
        model.len()
    );
    let in_view = reserved * 2 - pools.spare_tables();
    assert!(in_view <= 2 * in_use, "{in_view} tables for {in_use} pages");
}

/// The page's leaf allows what nobody watches, and leads to a shadow if there are hooks.
fn assert_page(world: &World, model: &Model, page: u64) {
    let hooks = || hooks_of(model).filter(|hook| hook.enabled && hook.gpa & !0xfff == page);
    let is_watched = |access| {
        let mut monitors = model.values();
        monitors.any(|known| known.watches(page, page + 4096, access))
    };
    let has_hooks = hooks().next().is_some();
    let mut permissions = Permissions::all();
    if is_watched(Access::READ) || has_hooks {
        permissions -= Permissions::READ | Permissions::WRITE;
    }
    if is_watched(Access::WRITE) {
        permissions -= Permissions::WRITE;
    }
    if is_watched(Access::EXECUTE) {
        permissions -= Permissions::EXECUTE;
    }
    let view = world.installed.views().hooked;
    let leaf = view.leaf_4k(&world.mem, page);
    assert_eq!(leaf.permissions(), permissions, "{page:x} {model:x?}");
    assert_eq!(leaf.is_watched(), !permissions.is_all());
    if !has_hooks {
        assert_eq!(leaf.address(), page);
        return;
    }
    let mut expected = world.mem.bytes(page, 4096);
    // What is written at random may be other code.
    let acts = |id: &EventId| world.installed.registry().get(*id).unwrap().acts();
    let shown = model.iter().filter(|(id, _)| acts(id));
    for hook in hooks_of(&shown.map(|(id, known)| (*id, *known)).collect()) {
        if hook.gpa & !0xfff == page {
            expected[(hook.gpa - page) as usize] = 0xcc;
        }
    }
    assert_eq!(world.mem.bytes(leaf.address(), 4096), expected);
}

fn assert_consistent(world: &World, model: &Model) {
    assert_counts(world, model);
    let mut pages: BTreeSet<u64> = (0..if cfg!(miri) { 3 } else { 30 }).map(page).collect();
    for known in model.values() {
        let last = known.gpa + known.len_bytes.max(1) - 1;
        for gpa in [known.gpa, last, last + 4096, known.gpa - 4096] {
            pages.insert(gpa & !0xfff);
        }
    }
    for page in pages {
        assert_page(world, model, page);
    }
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn any_mix_of_changes_keeps_every_promise(
        steps in prop::collection::vec(step(), if cfg!(miri) { 1..4 } else { 1..100 }),
        has_1gib_leaves: bool,
    ) {
        let mut world = world(has_1gib_leaves, design());
        let view = world.view();
        let mut model = Model::new();
        for step in steps {
            match step {
                Step::Hook { gpa } => match world.hook(gpa) {
                    Ok(id) => {
                        let access = Access::empty();
                        let known = Known { gpa, len_bytes: 0, access, enabled: true };
                        model.insert(id, known);
                    }
                    Err(Refusal::Event(EventRefusal::TooManyHooksOnPage { .. }) | Refusal::PoolExhausted { .. }) => {}
                    Err(other) => prop_assert!(false, "{:?}", other),
                },
                Step::Monitor { gpa, len_bytes, access } => {
                    let (state, before) = (world.state(), world.view());
                    match world.monitor(gpa, len_bytes, access) {
                        Ok(id) => {
                            let known = Known { gpa, len_bytes, access, enabled: true };
                            model.insert(id, known);
                        }
                        Err(Refusal::PoolExhausted { .. }) => {
                            prop_assert_eq!(world.state(), state);
                            prop_assert_eq!(world.view(), before);
                        }
                        Err(other) => prop_assert!(false, "{:?}", other),
                    }
                }
                Step::Clear(index) if !model.is_empty() => {
                    let id = *model.keys().nth(index % model.len()).unwrap();
                    model.remove(&id);
                    world.change(EventChange::Clear, id);
                }
                Step::Enable(index, on) if !model.is_empty() => {
                    let place = index % model.len();
                    let (id, known) = model.iter_mut().nth(place).unwrap();
                    known.enabled = on;
                    let change = if on { EventChange::Enable } else { EventChange::Disable };
                    world.change(change, *id);
                }
                Step::Clear(_) | Step::Enable(..) => {}
                Step::Write { gpa, byte } => {
                    world.mem.write(gpa, &[byte]);
                    world.written(gpa);
                }
                Step::Touch { gpa, len_bytes, access } => {
                    let end = (gpa + u64::from(len_bytes)).min((gpa & !0xfff) + 4096);
                    let touch = Touch {
                        at: GuestPhysical(gpa),
                        len_bytes: (end - gpa) as u16,
                        access,
                    };
                    let monitors = world.installed.watches().monitors();
                    let found: Vec<EventId> = monitors.events(touch, None).collect();
                    let wanted = model.iter().filter(|(_, known)| known.watches(gpa, end, access));
                    let wanted: Vec<EventId> = wanted.map(|(id, _)| *id).collect();
                    prop_assert_eq!(monitors.is_any_met(&touch), !wanted.is_empty());
                    prop_assert_eq!(found, wanted);
                }
                Step::Batch { page: number, count } => {
                    let (state, before) = (world.state(), world.view());
                    let begun = world.installed.begin();
                    for index in 0..count {
                        let _ = world.hook(page(number + index * 5) + 0x100);
                        let _ = world.monitor(page(number + index), 0x1800, Access::READ);
                    }
                    world.installed.roll_back(&mut world.mem, &begun);
                    prop_assert_eq!(world.state(), state);
                    prop_assert_eq!(world.view(), before);
                }
            }
            assert_consistent(&world, &model);
        }
        world.installed.change(&mut world.mem, EventChange::Clear, Selection::Events).unwrap();
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
