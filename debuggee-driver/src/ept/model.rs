//! Ways to look at the views of a made-up machine ([`crate::fake::world`]), for tests.

extern crate std;

use super::entry::{Entry, Level};
use super::table::View;
use crate::fake::FlatMemory;
pub(crate) use crate::fake::world::{CHUNKS, GIB, MIB, World, design, mtrrs, world};
use crate::pool::arena::CHUNK_BYTES;
use crate::port::PhysicalMemory;
use proptest::test_runner::Config;
use std::vec::Vec;

/// Few cases under Miri, which is slow; no files with old failures anywhere.
pub(crate) fn config() -> Config {
    Config {
        cases: if cfg!(miri) { 1 } else { 64 },
        failure_persistence: None,
        ..Config::default()
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
