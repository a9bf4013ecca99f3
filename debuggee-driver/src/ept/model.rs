//! A small machine for tests: memory, an arena, views, and ways to look at them.

extern crate std;

use super::entry::{Entry, Level};
use super::mtrr::{RawMtrrs, VARIABLE_MAX};
use super::table::View;
use super::view::{HiddenChunks, MapRequest, Views};
use crate::event::Installed;
use crate::fake::FlatMemory;
use crate::pool::TableSource;
use crate::pool::arena::{Arena, CHUNK_BYTES};
use crate::pool::budget::Design;
use crate::port::PhysicalMemory;
use proptest::test_runner::Config;
use std::boxed::Box;
use std::sync::OnceLock;
use std::vec::Vec;

pub(crate) const GIB: u64 = 1 << 30;
pub(crate) const MIB: u64 = 1 << 20;

/// Few cases under Miri, which is slow; no files with old failures anywhere.
pub(crate) fn config() -> Config {
    Config {
        cases: if cfg!(miri) { 1 } else { 64 },
        failure_persistence: None,
        ..Config::default()
    }
}

/// Everything write-back but the VGA hole, the ROMs and what is from 3 to 4 GiB.
pub(crate) fn mtrrs() -> RawMtrrs {
    const WB: u64 = 6;
    const ALL_WB: u64 = 0x0606_0606_0606_0606;
    let mut fixed = [0; 11];
    fixed[0] = ALL_WB;
    fixed[1] = ALL_WB;
    let mut variable = [(0, 0); VARIABLE_MAX];
    variable[0] = (3 * GIB, !(GIB - 1) & ((1 << 39) - 1) | 1 << 11);
    RawMtrrs {
        cap: 0x501,
        def_type: 1 << 11 | 1 << 10 | WB,
        fixed,
        variable,
        physical_address_bits: 39,
    }
}

/// Where the chunks of the test arena are: under a 1 GiB leaf, and one alone under another.
pub(crate) const CHUNKS: [u64; 3] = [128 * MIB, 256 * MIB, GIB + 512 * MIB];

pub(crate) fn arena() -> Arena {
    let mut arena = Arena::new();
    for chunk in CHUNKS {
        arena.add_chunk(chunk).unwrap();
    }
    arena
}

/// A machine with events installed in it.
pub(crate) struct World {
    pub(crate) mem: FlatMemory,
    pub(crate) installed: Box<Installed>,
    pub(crate) zero_page: u64,
    pub(crate) sink_page: u64,
}

/// No part of the arena is kept for `prealloc`; a handful of objects are reserved at load.
pub(crate) fn design() -> Design {
    let mut design = Design {
        prealloc_only_bytes: 0,
        ..Design::DEFAULT
    };
    design.levels.0 = [4, 0, 0, 0, 4, 2, 2, 0];
    design
}

/// What is the same for every test, so that it is made only once.
struct Built {
    mem: FlatMemory,
    views: Views,
    zero_page: u64,
    sink_page: u64,
    /// Pages carved from the arena.
    pages: u64,
}

fn build(has_1gib_leaves: bool) -> Built {
    let mut mem = FlatMemory::new(8 * GIB);
    let mut arena = arena();
    let zero_page = arena.take().unwrap();
    let sink_page = arena.take().unwrap();
    let hidden = HiddenChunks::new(arena.chunks());
    let request = MapRequest {
        limit: if cfg!(miri) { 2 * GIB } else { 6 * GIB },
        mtrrs: &mtrrs(),
        has_1gib_leaves,
        hidden: &hidden,
        zero_page,
        sink_page,
        has_view_switching: false,
    };
    let views = Views::build(&request, &mut mem, &mut arena).unwrap();
    Built {
        mem,
        views,
        zero_page,
        sink_page,
        pages: arena.carved_bytes() / 4096,
    }
}

/// Memory of 8 GiB, of which 6 GiB are mapped.
pub(crate) fn world(has_1gib_leaves: bool, design: Design) -> World {
    static SMALL: OnceLock<Built> = OnceLock::new();
    static LARGE: OnceLock<Built> = OnceLock::new();
    let place = if has_1gib_leaves { &LARGE } else { &SMALL };
    let built = place.get_or_init(|| build(has_1gib_leaves));
    let mut arena = arena();
    for _ in 0..built.pages {
        arena.take().unwrap();
    }
    let mut installed = Box::new(Installed::new());
    installed.init(arena, design, built.views, 2).unwrap();
    World {
        mem: built.mem.clone(),
        installed,
        zero_page: built.zero_page,
        sink_page: built.sink_page,
    }
}

/// All tables of a view, as (address, entries), in the order of a walk.
pub(crate) fn dump(mem: &FlatMemory, view: &View) -> Vec<(u64, Vec<u64>)> {
    let mut tables = Vec::new();
    dump_table(mem, view.root(), Level::Root, &mut tables);
    tables
}

fn dump_table(mem: &FlatMemory, table: u64, level: Level, tables: &mut Vec<(u64, Vec<u64>)>) {
    let entries: Vec<u64> = mem
        .bytes(table, 4096)
        .chunks_exact(8)
        .map(|entry| u64::from_le_bytes(entry.try_into().unwrap()))
        .collect();
    tables.push((table, entries.clone()));
    if level == Level::Page4K {
        return;
    }
    for entry in entries.into_iter().map(Entry) {
        if entry.is_table(level) && !entry.is_shared() {
            dump_table(mem, entry.address(), level.below().unwrap(), tables);
        }
    }
}

/// Physical address that a view leads to, with the permission bits, as the processor walks.
pub(crate) fn translate(mem: &FlatMemory, view: &View, gpa: u64) -> Option<(u64, u64)> {
    let leaf = view.walk(mem, gpa);
    let offset_mask = leaf.level.bytes() - 1;
    let page = leaf.entry.address() & !offset_mask;
    leaf.entry
        .is_present()
        .then_some((page | gpa & offset_mask, leaf.entry.0 & 7))
}

/// Memory that remembers where words were stored, in order.
pub(crate) struct StoreLog {
    mem: FlatMemory,
    pub(crate) stores: Vec<u64>,
}

impl StoreLog {
    pub(crate) fn new(mem: FlatMemory) -> Self {
        Self {
            mem,
            stores: Vec::new(),
        }
    }
}

impl PhysicalMemory for StoreLog {
    fn limit(&self) -> u64 {
        self.mem.limit()
    }

    fn read(&self, at: u64, out: &mut [u8]) {
        self.mem.read(at, out);
    }

    fn write(&mut self, _: u64, _: &[u8]) {
        unreachable!("tables and shadows are written word by word");
    }

    fn read_u64(&self, at: u64) -> u64 {
        self.mem.read_u64(at)
    }

    fn write_u64(&mut self, at: u64, value: u64) {
        self.stores.push(at);
        self.mem.write_u64(at, value);
    }

    fn with_bytes<R>(&self, at: u64, len_bytes: usize, look: impl FnOnce(&[u8]) -> R) -> R {
        self.mem.with_bytes(at, len_bytes, look)
    }

    fn with_bytes_mut<R>(&mut self, _: u64, _: usize, _: impl FnOnce(&mut [u8]) -> R) -> R {
        unreachable!("nothing is changed in place");
    }
}

#[test]
fn chunks_are_whole_large_pages() {
    assert_eq!(CHUNK_BYTES, Level::Page2M.bytes());
}
