//! Memory and devices made of plain values, for tests of logic on the host. Needs an allocator,
//! so it exists only under the feature `fake` and in tests.

extern crate alloc;

use crate::port::{Hidden, PhysicalMemory, RegisterIo};
use alloc::boxed::Box;
use alloc::collections::{BTreeMap, BTreeSet, VecDeque};
use alloc::vec::Vec;
use wire_protocol::address::{GuestPhysical, PAGE_BYTES};

type Page = [u8; PAGE_BYTES as usize];

/// Physical memory from 0 to a limit. Pages that were never written are zero and take no space.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FlatMemory {
    pages: BTreeMap<u64, Box<Page>>,
    limit: u64,
    writes: u64,
}

impl FlatMemory {
    /// All zero, up to `limit`.
    #[must_use]
    pub const fn new(limit: u64) -> Self {
        Self {
            pages: BTreeMap::new(),
            limit,
            writes: 0,
        }
    }

    /// A copy of `len_bytes` from `at`.
    #[must_use]
    pub fn bytes(&self, at: u64, len_bytes: usize) -> Vec<u8> {
        let mut out = alloc::vec![0; len_bytes];
        self.read(at, &mut out);
        out
    }

    /// Stores since it was made, of whatever size.
    #[must_use]
    pub const fn writes(&self) -> u64 {
        self.writes
    }

    fn in_range(&self, at: u64, len_bytes: usize) -> bool {
        at.checked_add(len_bytes as u64)
            .is_some_and(|end| end <= self.limit)
    }

    /// The next part, from byte `done` on, of `len_bytes` at `at`, that ends with the page: its
    /// page, where it starts there, and its length.
    fn part(at: u64, done: usize, len_bytes: usize) -> Option<(u64, usize, usize)> {
        let left = len_bytes.checked_sub(done).filter(|left| *left > 0)?;
        let start = at + done as u64;
        let offset = (start % PAGE_BYTES) as usize;
        let in_page = PAGE_BYTES as usize - offset;
        Some((start / PAGE_BYTES, offset, in_page.min(left)))
    }
}

impl PhysicalMemory for FlatMemory {
    fn limit(&self) -> u64 {
        self.limit
    }

    fn read(&self, at: u64, out: &mut [u8]) {
        out.fill(0);
        if !self.in_range(at, out.len()) {
            return;
        }
        let mut done = 0;
        while let Some((page, offset, len_bytes)) = Self::part(at, done, out.len()) {
            let page = self.pages.get(&page);
            let from = page.and_then(|page| page.get(offset..offset + len_bytes));
            if let (Some(from), Some(into)) = (from, out.get_mut(done..done + len_bytes)) {
                into.copy_from_slice(from);
            }
            done += len_bytes;
        }
    }

    fn write(&mut self, at: u64, bytes: &[u8]) {
        if !self.in_range(at, bytes.len()) {
            return;
        }
        self.writes += 1;
        let mut done = 0;
        while let Some((page, offset, len_bytes)) = Self::part(at, done, bytes.len()) {
            let empty = || Box::new([0; PAGE_BYTES as usize]);
            let page = self.pages.entry(page).or_insert_with(empty);
            let into = page.get_mut(offset..offset + len_bytes);
            if let (Some(into), Some(from)) = (into, bytes.get(done..done + len_bytes)) {
                into.copy_from_slice(from);
            }
            done += len_bytes;
        }
    }

    fn read_u64(&self, at: u64) -> u64 {
        debug_assert!(at.is_multiple_of(8), "aligned load");
        debug_assert!(self.in_range(at, 8), "load below the limit");
        let page = self.pages.get(&(at / PAGE_BYTES));
        let word = page.and_then(|page| {
            let start = (at % PAGE_BYTES) as usize;
            page.get(start..)?.first_chunk().copied()
        });
        word.map_or(0, u64::from_le_bytes)
    }

    fn write_u64(&mut self, at: u64, value: u64) {
        debug_assert!(at.is_multiple_of(8), "aligned store");
        debug_assert!(self.in_range(at, 8), "store below the limit");
        self.write(at, &value.to_le_bytes());
    }
}

/// Pages that are the debugger's.
#[derive(Clone, Debug, Default)]
pub struct HiddenPages(
    /// Addresses of pages.
    pub BTreeSet<u64>,
);

impl Hidden for HiddenPages {
    fn hides(&self, page: GuestPhysical) -> bool {
        self.0.contains(&page.page().0)
    }
}

/// A 16550 behind its eight ports, with the other end of the line in hand.
#[derive(Clone, Debug)]
pub struct FakePorts {
    /// First of the eight ports.
    pub base_port: u16,
    /// What the other end sent, not read yet.
    pub incoming: VecDeque<u8>,
    /// What was sent to the other end.
    pub sent: Vec<u8>,
    /// The transmitter has sent everything.
    pub transmitter_empty: bool,
    /// Error bits that the next read of the line status shows.
    pub line_errors: u8,
    /// Divisor latch.
    pub divisor: u16,
    /// Last value written to each register, outside the divisor latch.
    pub registers: [u8; 8],
    /// Whether the chip has a FIFO.
    pub has_fifo: bool,
    /// Nobody answers.
    pub missing: bool,
    /// Writes seen.
    pub writes: u64,
}

impl FakePorts {
    /// A chip at `base_port`, with nothing on the line.
    #[must_use]
    pub const fn new(base_port: u16) -> Self {
        Self {
            base_port,
            incoming: VecDeque::new(),
            sent: Vec::new(),
            transmitter_empty: true,
            line_errors: 0,
            divisor: 0,
            registers: [0; 8],
            has_fifo: true,
            missing: false,
            writes: 0,
        }
    }

    fn register(&self, port: u16) -> Option<usize> {
        let register = usize::from(port.checked_sub(self.base_port)?);
        (register < 8 && !self.missing).then_some(register)
    }

    fn stored(&self, register: usize) -> u8 {
        self.registers.get(register).copied().unwrap_or(0)
    }

    fn divisor_is_open(&self) -> bool {
        self.stored(3) & 0x80 != 0
    }
}

impl RegisterIo for FakePorts {
    fn read(&mut self, port: u16) -> u8 {
        let Some(register) = self.register(port) else {
            return 0xff;
        };
        match register {
            0 if !self.divisor_is_open() => self.incoming.pop_front().unwrap_or(0),
            2 if self.has_fifo && self.stored(2) & 1 != 0 => 0xc1,
            2 => 1,
            5 => {
                let data = u8::from(!self.incoming.is_empty());
                let empty = if self.transmitter_empty { 0x60 } else { 0 };
                data | empty | core::mem::take(&mut self.line_errors)
            }
            other => self.stored(other),
        }
    }

    fn write(&mut self, port: u16, value: u8) {
        let Some(register) = self.register(port) else {
            return;
        };
        self.writes += 1;
        let [low, high] = self.divisor.to_le_bytes();
        match register {
            0 if self.divisor_is_open() => self.divisor = u16::from_le_bytes([value, high]),
            1 if self.divisor_is_open() => self.divisor = u16::from_le_bytes([low, value]),
            0 => {
                self.sent.push(value);
                self.transmitter_empty = false;
            }
            _ => {
                if let Some(slot) = self.registers.get_mut(register) {
                    *slot = value;
                }
            }
        }
    }
}
