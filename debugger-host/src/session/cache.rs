//! What is known of the halted debuggee: nothing that was read once in a halt is asked for again.
//! Owned by [`super::Session`].

use std::collections::HashMap;
use wire_protocol::address::{CoreId, PAGE_BYTES};
use wire_protocol::register::{Register, RegisterSet};

/// An address space.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Space {
    /// As the page tables of a core say.
    Virtual(CoreId),
    /// Through the page tables of a process, at a physical address.
    Tables(u64),
    /// Without translation.
    Physical,
}

const PAGE: usize = PAGE_BYTES as usize;

/// Pages of earlier halts that are kept.
const EARLIER_PAGES: usize = 4096;

struct Page {
    bytes: Box<[u8; PAGE]>,
    known: [u64; PAGE / 64],
}

impl Page {
    fn is_known(&self, at: usize) -> bool {
        self.known[at / 64] & (1 << (at % 64)) != 0
    }
}

/// Memory, each byte by itself.
#[derive(Default)]
struct Pages(HashMap<(Space, u64), Page>);

impl Pages {
    /// Known bytes from `address` on, at most `len`.
    fn get(&self, space: Space, address: u64, len: usize) -> Vec<u8> {
        let mut bytes = Vec::new();
        while bytes.len() < len {
            let Some(at) = address.checked_add(bytes.len() as u64) else {
                break;
            };
            let offset = (at % PAGE_BYTES) as usize;
            let Some(page) = self.0.get(&(space, at / PAGE_BYTES)) else {
                break;
            };
            let end = PAGE.min(offset + len - bytes.len());
            let before = bytes.len();
            bytes.extend(
                (offset..end)
                    .take_while(|at| page.is_known(*at))
                    .map(|at| page.bytes[at]),
            );
            if bytes.len() - before < end - offset {
                break;
            }
        }
        bytes
    }

    fn keep(&mut self, space: Space, address: u64, bytes: &[u8]) {
        for (i, byte) in bytes.iter().enumerate() {
            let Some(at) = address.checked_add(i as u64) else {
                return;
            };
            let offset = (at % PAGE_BYTES) as usize;
            let page = self
                .0
                .entry((space, at / PAGE_BYTES))
                .or_insert_with(|| Page {
                    bytes: Box::new([0; PAGE]),
                    known: [0; PAGE / 64],
                });
            page.bytes[offset] = *byte;
            page.known[offset / 64] |= 1 << (offset % 64);
        }
    }
}

/// Registers and memory of one halt, and what memory was before.
#[derive(Default)]
pub(super) struct Cache {
    registers: HashMap<(CoreId, Register), u64>,
    pages: Pages,
    /// Memory as it was in earlier halts: worth asking whether it still is.
    earlier: Pages,
}

impl Cache {
    /// The debuggee runs, or has run.
    pub(super) fn forget_all(&mut self) {
        self.registers.clear();
        self.forget_memory();
    }

    /// Memory was written. Other addresses may lead to the same page, so all pages go.
    pub(super) fn forget_memory(&mut self) {
        if self.earlier.0.len() > EARLIER_PAGES {
            self.earlier.0.clear();
        }
        self.earlier.0.extend(self.pages.0.drain());
    }

    pub(super) fn forget_register(&mut self, core: CoreId, register: Register) {
        self.registers.remove(&(core, register));
        if matches!(
            register,
            Register::Cr0 | Register::Cr3 | Register::Cr4 | Register::Efer
        ) {
            self.forget_memory();
        }
    }

    pub(super) fn forget_registers(&mut self, core: CoreId) {
        self.registers.retain(|(known, _), _| *known != core);
    }

    pub(super) fn register(&self, core: CoreId, register: Register) -> Option<u64> {
        self.registers.get(&(core, register)).copied()
    }

    /// Those of `set` that have to be asked for.
    pub(super) fn missing(&self, core: CoreId, set: RegisterSet) -> RegisterSet {
        set.iter()
            .filter(|register| self.register(core, *register).is_none())
            .fold(RegisterSet::default(), RegisterSet::with)
    }

    pub(super) fn keep_register(&mut self, core: CoreId, register: Register, value: u64) {
        self.registers.insert((core, register), value);
    }

    /// Known bytes from `address` on, at most `len`.
    pub(super) fn memory(&self, space: Space, address: u64, len: usize) -> Vec<u8> {
        self.pages.get(space, address, len)
    }

    /// What probably is at `address`, if all `len` bytes were read before.
    pub(super) fn expected(&self, space: Space, address: u64, len: usize) -> Option<Vec<u8>> {
        let bytes = self.earlier.get(space, address, len);
        (bytes.len() == len).then_some(bytes)
    }

    pub(super) fn keep_memory(&mut self, space: Space, address: u64, bytes: &[u8]) {
        self.pages.keep(space, address, bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_known_byte_by_byte_across_pages() {
        let mut cache = Cache::default();
        cache.keep_memory(Space::Physical, 0x1ffe, &[1, 2, 3, 4]);
        assert_eq!(cache.memory(Space::Physical, 0x1ffe, 8), [1, 2, 3, 4]);
        assert_eq!(cache.memory(Space::Physical, 0x2000, 1), [3]);
        assert!(cache.memory(Space::Physical, 0x1ffd, 8).is_empty());
        assert!(
            cache
                .memory(Space::Virtual(CoreId(0)), 0x1ffe, 4)
                .is_empty()
        );
    }

    #[test]
    fn only_unknown_registers_are_missing() {
        let mut cache = Cache::default();
        let set = RegisterSet::default()
            .with(Register::Rax)
            .with(Register::Rip);
        cache.keep_register(CoreId(1), Register::Rax, 5);
        assert_eq!(
            cache.missing(CoreId(1), set),
            RegisterSet::default().with(Register::Rip)
        );
        assert_eq!(cache.missing(CoreId(0), set), set);
    }

    #[test]
    fn a_new_page_table_makes_all_pages_unknown() {
        let mut cache = Cache::default();
        cache.keep_memory(Space::Virtual(CoreId(0)), 0, &[1]);
        cache.forget_register(CoreId(0), Register::Cr3);
        assert!(cache.memory(Space::Virtual(CoreId(0)), 0, 1).is_empty());
    }

    #[test]
    fn memory_of_an_earlier_halt_is_expected_but_not_known() {
        let mut cache = Cache::default();
        cache.keep_memory(Space::Physical, 0, &[1, 2]);
        cache.forget_all();
        assert!(cache.memory(Space::Physical, 0, 2).is_empty());
        assert_eq!(cache.expected(Space::Physical, 0, 2), Some(vec![1, 2]));
        assert_eq!(cache.expected(Space::Physical, 0, 3), None);
    }
}
