//! Events that watch the memory of a process: they go where its pages go, and end with it.

use super::*;
use crate::event::Guest;
use crate::event::owner::Owner;
use crate::fake::FlatMemory;
use crate::fake::tables::{self as model, GuestTables, PRESENT, USER, WRITE};
use crate::guest::kernel::KernelSpace;
use crate::guest::layout::{GuestLayout, SystemLayout};
use wire_protocol::address::Extent;
use wire_protocol::event::Standing;

const PID: u32 = 51;
const DIRECT_MAP: u64 = 0xffff_8880_0000_0000;
/// The only process.
const TASK: u64 = 16 * MIB;
const MM: u64 = TASK + 0x1000;
const ROOT: u64 = TASK + 0x2000;
/// The entry of the page that is watched: the process's tables are four pages in a row.
const ENTRY: u64 = ROOT + 3 * 4096 + ((VA >> 12) & 511) * 8;
const VA: u64 = 0x7000_1000;
const FLAGS: u64 = PRESENT | WRITE | USER;
/// An entry of a page that is swapped out.
const SWAPPED: u64 = 0x1234_5000;

fn layout() -> GuestLayout {
    GuestLayout {
        kernel: KernelSpace {
            direct_map: Extent::new(GuestVirtual(DIRECT_MAP), 8 * GIB).unwrap(),
            image: Extent::default(),
            cr3: TASK + 0x100_0000,
            cr4: 0,
        },
        system: SystemLayout::Linux(model::linux(DIRECT_MAP + TASK)),
    }
}

/// What was told, in order.
type Told = Vec<(EventId, Standing)>;

struct Followed {
    world: World,
    owner: Owner,
    told: Told,
}

impl Followed {
    /// A process whose page at [`VA`] is at `RAM`.
    fn new() -> Self {
        let mut world = world(true, design());
        let mem = &mut world.mem;
        mem.write(TASK + 0x10, &(DIRECT_MAP + TASK + 0x10).to_le_bytes());
        mem.write(TASK + 0x20, &PID.to_le_bytes());
        mem.write(TASK + 0x28, &(DIRECT_MAP + MM).to_le_bytes());
        mem.write(MM + 8, &(DIRECT_MAP + ROOT).to_le_bytes());
        let mut tables = GuestTables::new(ROOT, 4);
        tables.map(mem, VA, RAM, 12, FLAGS);
        assert_eq!(mem.read_u64(ENTRY), RAM | FLAGS);
        world
            .installed
            .pools_mut()
            .prealloc(PoolClass::Monitor, 10)
            .unwrap();
        let owner = Owner {
            pid: Some(PID),
            cr3: ROOT,
            cr4: 0,
            from: GuestVirtual(VA + 2),
            len_bytes: 1,
        };
        Self {
            world,
            owner,
            told: Vec::new(),
        }
    }

    fn hook(&mut self, address: u64, at: u64) -> Result<EventId, Refusal> {
        let address = GuestVirtual(address);
        let facts = Facts {
            hook: Some(GuestPhysical(at)),
            owner: Some(Owner {
                from: address,
                ..self.owner
            }),
            ..Facts::default()
        };
        let spec = spec(Trigger::EptHook { address });
        self.world.installed.add(&mut self.world.mem, &spec, &facts)
    }

    fn monitor(&mut self, len_bytes: u64) -> EventId {
        self.try_monitor(len_bytes).unwrap()
    }

    fn try_monitor(&mut self, len_bytes: u64) -> Result<EventId, Refusal> {
        let (from, access) = (VA + 2, Access::READ);
        let facts = Facts {
            range: Some(Range {
                from,
                len_bytes,
                access,
                tables: Some((ROOT, 0)),
            }),
            owner: Some(Owner {
                len_bytes,
                ..self.owner
            }),
            ..Facts::default()
        };
        let spec = spec(Trigger::Monitor {
            space: Space::Virtual,
            access,
            from,
            len_bytes,
        });
        self.world.installed.add(&mut self.world.mem, &spec, &facts)
    }

    /// The kernel writes the entry; returns what the host is told.
    fn set_entry(&mut self, entry: u64) -> Told {
        self.world.mem.write_u64(ENTRY, entry);
        self.follow()
    }

    fn follow(&mut self) -> Told {
        let (layout, told) = (layout(), &mut self.told);
        let ram = [Extent::new(GuestPhysical(0), 6 * GIB).unwrap()];
        let guest = Guest {
            layout: &layout,
            ram: &ram,
        };
        let World { mem, installed, .. } = &mut self.world;
        installed.follow(mem, &guest, |event, now| told.push((event, now)));
        assert!(!installed.is_to_follow(mem), "nothing is left to follow");
        core::mem::take(told)
    }

    fn is_hooked(&self, at: u64) -> bool {
        let hooked = self.world.executed(at) == 0xcc;
        let watches = self.world.installed.watches();
        assert_eq!(hooked, watches.is_hooked(GuestPhysical(at)));
        assert_eq!(hooked, self.world.hit(&on_byte(at), 0).is_some());
        hooked
    }
}

/// Another page with the same content.
const COPY: u64 = RAM + 64 * 4096;

fn copied(mem: &mut FlatMemory) {
    let page = mem.bytes(RAM, 4096).clone();
    mem.write(COPY, &page);
}

#[test]
fn a_hook_goes_where_its_page_goes() {
    let mut it = Followed::new();
    let (view, state) = (it.world.view(), it.world.state());
    it.world.mem.write(RAM, &[1, 2, 0x90, 4, 5]);
    copied(&mut it.world.mem);
    let event = it.hook(VA + 2, RAM + 2).unwrap();
    let held = it.world.state();
    assert!(it.is_hooked(RAM + 2) && !it.is_hooked(COPY + 2));
    // Cleared while others forget where it was, then the copy.
    assert_eq!(it.set_entry(0), []);
    assert!(!it.is_hooked(RAM + 2));
    assert_eq!(it.set_entry(COPY | FLAGS), []);
    assert!(!it.is_hooked(RAM + 2) && it.is_hooked(COPY + 2));
    assert_eq!(it.world.state(), held);
    // Only permissions change: nothing is done.
    it.world.mem.write_u64(ENTRY, COPY | PRESENT | USER | 0x60);
    assert!(!it.world.installed.is_to_follow(&it.world.mem));
    it.world.change(EventChange::Clear, event);
    assert_eq!((it.world.view(), it.world.state()), (view, state));
}

#[test]
fn writes_to_what_leads_to_a_watched_page_are_noticed() {
    let mut it = Followed::new();
    let event = it.hook(VA + 2, RAM + 2).unwrap();
    let view = it.world.installed.views().hooked;
    let may = |it: &Followed, at: u64| view.walk(&it.world.mem, at).entry.0 & 7;
    for table in 0..4 {
        assert_eq!(may(&it, ROOT + table * 4096), 5, "readable, not writable");
    }
    assert_eq!(may(&it, MM), 7);
    // Another event of the process needs no more for it.
    let objects = it.world.counts(PoolClass::Monitor).in_use;
    assert_eq!(objects, 4);
    let other = it.hook(VA + 9, RAM + 9).unwrap();
    assert_eq!(it.world.counts(PoolClass::Monitor).in_use, objects);
    it.world.change(EventChange::Clear, event);
    assert_eq!(may(&it, ENTRY), 5);
    it.world.change(EventChange::Clear, other);
    assert_eq!(may(&it, ENTRY), 7);
}

#[test]
fn a_page_that_is_not_there_is_waited_for() {
    let mut it = Followed::new();
    let state = it.world.state();
    let event = it.hook(VA + 2, RAM + 2).unwrap();
    assert_eq!(it.set_entry(SWAPPED), []);
    assert!(!it.is_hooked(RAM + 2));
    assert_eq!(it.set_entry(COPY | FLAGS), []);
    assert!(it.is_hooked(COPY + 2));
    // Cleared while it waits.
    assert_eq!(it.set_entry(0), []);
    assert!(!it.is_hooked(COPY + 2));
    it.world.change(EventChange::Clear, event);
    assert_eq!(it.world.state(), state);
}

#[test]
fn an_event_ends_with_its_process() {
    for pgd in [0_u64, DIRECT_MAP + ROOT + 0x10_0000] {
        let mut it = Followed::new();
        let (view, state) = (it.world.view(), it.world.state());
        let hook = it.hook(VA + 2, RAM + 2).unwrap();
        let monitor = it.monitor(4);
        // It has other memory now, or none, and the old one is given back.
        let mm = if pgd == 0 { 0 } else { DIRECT_MAP + MM };
        it.world.mem.write(TASK + 0x28, &mm.to_le_bytes());
        it.world.mem.write(MM + 8, &pgd.to_le_bytes());
        let mut told = it.set_entry(0);
        told.sort_by_key(|(event, _)| *event);
        let ended = Standing::Ended;
        assert_eq!(told, [(hook, ended), (monitor, ended)]);
        // Whatever the pages hold from now on.
        assert_eq!(it.set_entry(RAM | FLAGS), []);
        assert!(!it.is_hooked(RAM + 2));
        assert_eq!(it.world.view(), view);
        for event in [hook, monitor] {
            it.world.change(EventChange::Disable, event);
            it.world.change(EventChange::Enable, event);
        }
        assert!(!it.is_hooked(RAM + 2));
        it.world.change(EventChange::Clear, hook);
        it.world.change(EventChange::Clear, monitor);
        assert_eq!((it.world.view(), it.world.state()), (view, state));
    }
}

#[test]
fn a_monitor_of_all_addresses_is_refused_as_soon_as_one_of_a_page() {
    let mut it = Followed::new();
    let before = it.world.installed.digest();
    for len_bytes in [1 << 40, 1 << 47, (1 << 48) - 1] {
        let refusal = it.try_monitor(len_bytes).unwrap_err();
        assert!(
            matches!(
                refusal,
                Refusal::NotPresent { .. } | Refusal::PoolExhausted { .. }
            ),
            "{refusal:?}"
        );
    }
    assert_eq!(it.world.installed.digest(), before);
}

#[test]
fn a_monitor_watches_the_pages_that_are_there() {
    let mut it = Followed::new();
    let state = it.world.state();
    it.world.mem.write_u64(ENTRY + 8, (RAM + 4096) | FLAGS);
    let event = it.monitor(0x1000);
    let spans = |it: &Followed| -> Vec<u64> {
        let monitors = it.world.installed.watches().monitors();
        monitors.spans(event).map(|span| span.at.0).collect()
    };
    assert_eq!(spans(&it), [RAM + 2, RAM + 4096]);
    it.set_entry(SWAPPED);
    assert_eq!(spans(&it), [RAM + 4096]);
    it.set_entry(COPY | FLAGS);
    assert_eq!(spans(&it), [RAM + 4096, COPY + 2]);
    it.world.change(EventChange::Clear, event);
    assert_eq!(it.world.state(), state);
}

#[test]
fn a_disabled_event_stays_so_on_another_page() {
    let mut it = Followed::new();
    let event = it.hook(VA + 2, RAM + 2).unwrap();
    it.world.change(EventChange::Disable, event);
    it.set_entry(COPY | FLAGS);
    assert_eq!(it.world.executed(COPY + 2), 0);
    it.world.change(EventChange::Enable, event);
    assert!(it.is_hooked(COPY + 2) && !it.is_hooked(RAM + 2));
}

#[test]
fn events_that_meet_on_a_page_are_served_in_order() {
    let mut it = Followed::new();
    let first = it.hook(VA + 2, RAM + 2).unwrap();
    let second = it.world.hook(COPY + 2).unwrap();
    it.set_entry(COPY | FLAGS);
    let trigger = on_byte(COPY + 2);
    let hit = it.world.hit(&trigger, 0).unwrap();
    assert_eq!((hit.event, hit.count), (first, 2));
    let next = it.world.installed.next_of(&hit, Some(first)).unwrap();
    assert_eq!(next.id, second);
}

#[test]
fn without_room_nothing_is_added_and_what_was_moved_is_stale() {
    let mut it = Followed::new();
    let event = it.hook(VA + 2, RAM + 2).unwrap();
    let mut taken = Vec::new();
    while let Ok(other) = it.world.monitor(RAM + 8 * 4096, 1, Access::READ) {
        taken.push(other);
    }
    // A stretch that has a table of its own.
    let state = it.world.state();
    let mut tables = GuestTables::new(ROOT, 4);
    tables.next_table(ROOT + 8 * 4096);
    tables.map(&mut it.world.mem, VA + 2 * MIB, RAM + 8 * 4096, 12, FLAGS);
    it.follow();
    let refused = it.hook(VA + 2 * MIB, RAM + 8 * 4096);
    assert!(matches!(refused, Err(Refusal::PoolExhausted { .. })));
    assert_eq!(it.world.state(), state);
    // Its own table goes elsewhere, and the objects that were given back do not.
    let table = ROOT + 16 * 4096;
    it.world
        .mem
        .write_u64(table + ((VA >> 12) & 511) * 8, COPY | FLAGS);
    it.world
        .mem
        .write_u64(ROOT + 2 * 4096 + ((VA >> 21) & 511) * 8, table | FLAGS);
    assert_eq!(it.follow(), []);
    assert!(it.is_hooked(COPY + 2));
    it.world.change(EventChange::Clear, event);
}

#[test]
fn a_monitor_of_the_kernels_memory_is_stale_for_good_when_it_goes() {
    let mut it = Followed::new();
    let (view, state) = (it.world.view(), it.world.state());
    it.owner.pid = None;
    let event = it.monitor(4);
    let held = it.world.state();
    let is_watched = |it: &Followed| {
        let monitors = it.world.installed.watches().monitors();
        monitors.on_page(GuestPhysical(RAM)) == Access::READ
    };
    // By another table to the same page.
    let table = it.world.mem.bytes(ENTRY & !4095, 4096);
    let other = ROOT + 16 * 4096;
    it.world.mem.write(other, &table);
    it.world
        .mem
        .write_u64(ROOT + 2 * 4096 + ((VA >> 21) & 511) * 8, other | FLAGS);
    assert_eq!(it.follow(), []);
    assert!(is_watched(&it));
    assert_eq!(it.world.state(), held);
    // The page goes, and another one comes; then the first one again.
    let entry = other + (ENTRY & 4095);
    it.world.mem.write_u64(entry, (RAM + 4096) | FLAGS);
    assert_eq!(it.follow(), [(event, Standing::Unmapped)]);
    assert!(!is_watched(&it));
    assert_eq!(it.world.view(), view);
    it.world.mem.write_u64(entry, RAM | FLAGS);
    assert_eq!(it.follow(), []);
    it.world.change(EventChange::Disable, event);
    it.world.change(EventChange::Enable, event);
    assert!(!is_watched(&it));
    it.world.change(EventChange::Clear, event);
    assert_eq!((it.world.view(), it.world.state()), (view, state));
}
