//! Memory and devices made of plain values, for tests of logic on the host. Needs an allocator,
//! so it exists only under the feature `fake` and in tests.

pub mod cpu;
pub mod lan;
pub mod machine;
pub mod rtc;
pub mod tables;
pub mod world;

extern crate alloc;

use crate::port::{Hidden, Owned, PhysicalMemory, PortRange, RegisterIo};
use alloc::boxed::Box;
use alloc::collections::{BTreeSet, VecDeque};
use alloc::vec::Vec;
use wire_protocol::address::{GuestPhysical, PAGE_BYTES};
use wire_protocol::transport::Transport;

/// Pages of a region: 2 MiB.
const REGION_PAGES: u64 = 512;

type Page = [u8; PAGE_BYTES as usize];
type Region = [Option<Box<Page>>; REGION_PAGES as usize];

/// Physical memory from 0 to a limit. Pages that were never written are zero and take no space.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FlatMemory {
    /// Found by index, which Miri does much faster than looking up in a map.
    regions: Vec<Option<Box<Region>>>,
    limit: u64,
}

impl FlatMemory {
    /// All zero, up to `limit`.
    #[must_use]
    pub const fn new(limit: u64) -> Self {
        Self {
            regions: Vec::new(),
            limit,
        }
    }

    /// A copy of `len_bytes` from `at`.
    #[must_use]
    pub fn bytes(&self, at: u64, len_bytes: usize) -> Vec<u8> {
        let mut out = alloc::vec![0; len_bytes];
        self.read(at, &mut out);
        out
    }

    fn in_range(&self, at: u64, len_bytes: usize) -> bool {
        at.checked_add(len_bytes as u64)
            .is_some_and(|end| end <= self.limit)
    }

    /// The page of `at` from that byte on; `None` if it was never written.
    fn tail(&self, at: u64) -> Option<&[u8]> {
        let (region, page, offset) = place(at);
        let region = self.regions.get(region)?.as_ref()?;
        region.get(page)?.as_ref()?.get(offset..)
    }

    /// The page of `at` from that byte on, to be written.
    fn tail_mut(&mut self, at: u64) -> Option<&mut [u8]> {
        let (region, page, offset) = place(at);
        if region >= self.regions.len() {
            self.regions.resize_with(region + 1, || None);
        }
        let new_region = || Box::new([const { None }; REGION_PAGES as usize]);
        let region = self.regions.get_mut(region)?.get_or_insert_with(new_region);
        let new_page = || Box::new([0; PAGE_BYTES as usize]);
        let page = region.get_mut(page)?.get_or_insert_with(new_page);
        page.get_mut(offset..)
    }
}

/// Number of the region, of the page in it, and of the byte in that.
const fn place(at: u64) -> (usize, usize, usize) {
    let page = at / PAGE_BYTES;
    (
        (page / REGION_PAGES) as usize,
        (page % REGION_PAGES) as usize,
        (at % PAGE_BYTES) as usize,
    )
}

/// Bytes from `at` to the end of its page, at most `most`.
fn in_page(at: u64, most: usize) -> usize {
    most.min((PAGE_BYTES - at % PAGE_BYTES) as usize)
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
        let (mut at, mut rest) = (at, out);
        while !rest.is_empty() {
            let (part, next) = rest.split_at_mut(in_page(at, rest.len()));
            if let Some(from) = self.tail(at).and_then(|tail| tail.get(..part.len())) {
                part.copy_from_slice(from);
            }
            (at, rest) = (at + part.len() as u64, next);
        }
    }

    fn write(&mut self, at: u64, bytes: &[u8]) {
        if !self.in_range(at, bytes.len()) {
            return;
        }
        let (mut at, mut rest) = (at, bytes);
        while !rest.is_empty() {
            let (part, next) = rest.split_at(in_page(at, rest.len()));
            let into = self
                .tail_mut(at)
                .and_then(|tail| tail.get_mut(..part.len()));
            if let Some(into) = into {
                into.copy_from_slice(part);
            }
            (at, rest) = (at + part.len() as u64, next);
        }
    }

    fn read_u64(&self, at: u64) -> u64 {
        debug_assert!(at.is_multiple_of(8), "aligned load");
        debug_assert!(self.in_range(at, 8), "load below the limit");
        let word = self.tail(at).and_then(|tail| tail.first_chunk());
        word.map_or(0, |bytes| u64::from_le_bytes(*bytes))
    }

    fn write_u64(&mut self, at: u64, value: u64) {
        debug_assert!(at.is_multiple_of(8), "aligned store");
        debug_assert!(self.in_range(at, 8), "store below the limit");
        let word = self.tail_mut(at).and_then(|tail| tail.first_chunk_mut());
        if let Some(word) = word {
            *word = value.to_le_bytes();
        }
    }

    fn with_bytes<R>(&self, at: u64, len_bytes: usize, look: impl FnOnce(&[u8]) -> R) -> R {
        look(&self.bytes(at, len_bytes))
    }

    fn with_bytes_mut<R>(
        &mut self,
        at: u64,
        len_bytes: usize,
        change: impl FnOnce(&mut [u8]) -> R,
    ) -> R {
        let mut bytes = self.bytes(at, len_bytes);
        let result = change(&mut bytes);
        self.write(at, &bytes);
        result
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

/// What a chip has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Chip {
    /// A 16450.
    NoFifo,
    /// A 16550A.
    Fifo16,
    /// A 16650, with a register of its own behind a value of the line control.
    Enhanced32,
    /// A 16750, whose FIFO is as long if it is asked for with the divisor latch open.
    Fifo64,
}

impl Chip {
    const fn fifo_bytes(self) -> u32 {
        match self {
            Self::NoFifo => 1,
            Self::Fifo16 => 16,
            Self::Enhanced32 => 32,
            Self::Fifo64 => 64,
        }
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
    /// It has so at once.
    pub keeps_up: bool,
    /// Error bits that the next read of the line status shows.
    pub line_errors: u8,
    /// Divisor latch.
    pub divisor: u16,
    /// Last value written to each register, outside the divisor latch.
    pub registers: [u8; 8],
    /// What kind it is.
    pub chip: Chip,
    /// Register of an enhanced chip.
    pub enhanced: u8,
    /// Bytes that were sent and found no room.
    pub lost: u32,
    /// Nobody answers.
    pub missing: bool,
    /// Writes seen.
    pub writes: u64,
    /// Bytes in the transmitter.
    waiting: u32,
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
            keeps_up: false,
            line_errors: 0,
            divisor: 0,
            registers: [0; 8],
            chip: Chip::Fifo16,
            enhanced: 0,
            lost: 0,
            missing: false,
            writes: 0,
            waiting: 0,
        }
    }

    fn register(&self, register: u8) -> Option<usize> {
        (register < 8 && !self.missing).then_some(usize::from(register))
    }

    fn shows_enhanced(&self) -> bool {
        self.chip == Chip::Enhanced32 && self.stored(3) == 0xbf
    }

    fn stored(&self, register: usize) -> u8 {
        self.registers.get(register).copied().unwrap_or(0)
    }

    fn divisor_is_open(&self) -> bool {
        self.stored(3) & 0x80 != 0
    }
}

impl RegisterIo for FakePorts {
    fn read(&mut self, register: u8) -> u8 {
        let Some(register) = self.register(register) else {
            return 0xff;
        };
        match register {
            0 if !self.divisor_is_open() => self.incoming.pop_front().unwrap_or(0),
            2 if self.shows_enhanced() => self.enhanced,
            2 if self.chip != Chip::NoFifo && self.stored(2) & 1 != 0 => {
                let is_long = self.chip == Chip::Fifo64 && self.stored(2) & 0x20 != 0;
                if is_long { 0xe1 } else { 0xc1 }
            }
            2 => 1,
            5 => {
                let data = u8::from(!self.incoming.is_empty());
                let empty = if self.transmitter_empty { 0x60 } else { 0 };
                data | empty | core::mem::take(&mut self.line_errors)
            }
            other => self.stored(other),
        }
    }

    fn write(&mut self, register: u8, value: u8) {
        let Some(register) = self.register(register) else {
            return;
        };
        self.writes += 1;
        let [low, high] = self.divisor.to_le_bytes();
        match register {
            0 if self.divisor_is_open() => self.divisor = u16::from_le_bytes([value, high]),
            1 if self.divisor_is_open() => self.divisor = u16::from_le_bytes([low, value]),
            0 => {
                if self.transmitter_empty {
                    self.waiting = 0;
                }
                self.waiting += 1;
                if self.waiting > self.chip.fifo_bytes() {
                    self.lost += 1;
                }
                self.sent.push(value);
                self.transmitter_empty = self.keeps_up;
            }
            2 if self.shows_enhanced() => self.enhanced = value,
            // It sleeps, and wakes, only if its extras are on.
            1 if self.chip == Chip::Enhanced32 && self.enhanced & 0x10 == 0 => {
                self.registers[1] = self.registers[1] & 0xf0 | value & 0x0f;
            }
            2 if self.chip == Chip::Fifo64 && !self.divisor_is_open() => {
                self.registers[2] = self.registers[2] & 0x20 | value & !0x20;
            }
            _ => {
                if let Some(slot) = self.registers.get_mut(register) {
                    *slot = value;
                }
            }
        }
    }

    fn owns(&self) -> Owned {
        Owned {
            ports: PortRange {
                first: self.base_port,
                count: 8,
            },
            ..Owned::default()
        }
    }
}

/// A line without a device: two queues.
#[derive(Clone, Debug, Default)]
pub struct Wire {
    /// What the other end sent, not read yet.
    pub arriving: VecDeque<u8>,
    /// What was sent to the other end.
    pub sent: Vec<u8>,
}

impl Transport for Wire {
    fn receive(&mut self, into: &mut [u8]) -> usize {
        let count = into.len().min(self.arriving.len());
        for (slot, byte) in into.iter_mut().zip(self.arriving.drain(..count)) {
            *slot = byte;
        }
        count
    }

    fn room(&mut self) -> usize {
        16
    }

    fn send(&mut self, from: &[u8]) {
        self.sent.extend_from_slice(from);
    }

    fn byte_time_ns(&self) -> u32 {
        0
    }
}

/// A transport that damages what comes and goes, each time the same bytes.
#[derive(Clone, Debug)]
pub struct Faulty<T> {
    /// What is around nothing but the line.
    pub inner: T,
    /// Bytes that were damaged.
    pub damaged: u32,
    one_in: u32,
    passed: u32,
}

impl<T: Transport> Faulty<T> {
    /// Damages one byte in so many; none if it is 0.
    pub const fn new(inner: T, one_in: u32) -> Self {
        Self {
            inner,
            damaged: 0,
            one_in,
            passed: 0,
        }
    }

    fn damage(&mut self, bytes: &mut [u8]) {
        for byte in bytes {
            self.passed += 1;
            if self.one_in != 0 && self.passed.is_multiple_of(self.one_in) {
                self.damaged += 1;
                *byte ^= 1 << (self.damaged % 8);
            }
        }
    }
}

impl<T: Transport> Transport for Faulty<T> {
    fn receive(&mut self, into: &mut [u8]) -> usize {
        let count = self.inner.receive(into);
        if let Some(bytes) = into.get_mut(..count) {
            self.damage(bytes);
        }
        count
    }

    fn room(&mut self) -> usize {
        self.inner.room()
    }

    fn send(&mut self, from: &[u8]) {
        let mut bytes = from.to_vec();
        self.damage(&mut bytes);
        self.inner.send(&bytes);
    }

    fn byte_time_ns(&self) -> u32 {
        self.inner.byte_time_ns()
    }
}

/// Bytes that went by together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Piece {
    /// Away from this end.
    pub is_sent: bool,
    /// What.
    pub bytes: Vec<u8>,
}

/// A transport that keeps all that goes by.
#[derive(Clone, Debug)]
pub struct Recorded<T> {
    /// What it is around.
    pub inner: T,
    /// In order.
    pub record: Vec<Piece>,
}

impl<T: Transport> Recorded<T> {
    /// With nothing in it.
    pub const fn new(inner: T) -> Self {
        Self {
            inner,
            record: Vec::new(),
        }
    }

    fn keep(&mut self, is_sent: bool, bytes: &[u8]) {
        if !bytes.is_empty() {
            self.record.push(Piece {
                is_sent,
                bytes: bytes.to_vec(),
            });
        }
    }
}

impl<T: Transport> Transport for Recorded<T> {
    fn receive(&mut self, into: &mut [u8]) -> usize {
        let count = self.inner.receive(into);
        self.keep(false, into.get(..count).unwrap_or_default());
        count
    }

    fn room(&mut self) -> usize {
        self.inner.room()
    }

    fn send(&mut self, from: &[u8]) {
        self.keep(true, from);
        self.inner.send(from);
    }

    fn byte_time_ns(&self) -> u32 {
        self.inner.byte_time_ns()
    }
}
