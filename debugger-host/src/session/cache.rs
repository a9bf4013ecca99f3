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
    /// Where the bytes end that are known from `from` on, `end` at most.
    fn known_to(&self, from: usize, end: usize) -> usize {
        let mut at = from;
        while at < end {
            let run = (self.known[at / 64] >> (at % 64)).trailing_ones() as usize;
            if run == 0 {
                break;
            }
            at += run;
        }
        at.min(end)
    }

    fn keep(&mut self, offset: usize, bytes: &[u8]) {
        let end = offset + bytes.len();
        self.bytes[offset..end].copy_from_slice(bytes);
        for at in offset / 64..end.div_ceil(64) {
            let below = |place: usize| match place.saturating_sub(64 * at) {
                0 => 0,
                count => u64::MAX >> 64_usize.saturating_sub(count),
            };
            self.known[at] |= below(end) & !below(offset);
        }
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
            let known = page.known_to(offset, end);
            bytes.extend(&page.bytes[offset..known]);
            if known < end {
                break;
            }
        }
        bytes
    }

    fn keep(&mut self, space: Space, address: u64, bytes: &[u8]) {
        let mut rest = bytes;
        let mut at = address;
        while !rest.is_empty() {
            let offset = (at % PAGE_BYTES) as usize;
            let (here, behind) = rest.split_at(rest.len().min(PAGE - offset));
            let page = self
                .0
                .entry((space, at / PAGE_BYTES))
                .or_insert_with(|| Page {
                    bytes: Box::new([0; PAGE]),
                    known: [0; PAGE / 64],
                });
            page.keep(offset, here);
            let Some(next) = at.checked_add(here.len() as u64) else {
                return;
            };
            (at, rest) = (next, behind);
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
