//! A machine for tests: a page of memory at [`PAGE`], the same one physically at 0.

use crate::branch::Branch;
use crate::bytecode::GLOBAL_BYTES;
use crate::bytecode::routine::Pseudo;
use crate::packet::{Argument, Arguments};
use crate::register::Register;
use crate::script::{Ask, Machine};
use core::sync::atomic::AtomicU64;
use std::vec::Vec;

pub(super) const PAGE: u64 = 0xffff_8000_0000_0000;

/// One value of a record.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Value {
    Number(u64),
    Text(Vec<u8>),
}

pub(super) struct Bench {
    pub(super) registers: [u64; 45],
    pub(super) memory: Vec<u8>,
    pub(super) globals: Vec<AtomicU64>,
    pub(super) records: Vec<(u32, Vec<Value>)>,
    /// What the core recorded, the newest first.
    pub(super) branches: Vec<Branch>,
    pub(super) asked: Vec<Ask>,
    pub(super) relaxed: u64,
    pub(super) slept_us: u64,
    pub(super) longest: usize,
}

impl Default for Bench {
    fn default() -> Self {
        // Fewer where every step is slow.
        let words = if cfg!(miri) { 16 } else { GLOBAL_BYTES / 8 };
        Self {
            branches: Vec::new(),
            registers: [0; 45],
            memory: std::vec![0; 4096],
            globals: (0..words).map(|_| AtomicU64::new(0)).collect(),
            records: Vec::new(),
            asked: Vec::new(),
            relaxed: 0,
            slept_us: 0,
            longest: 0,
        }
    }
}

impl Bench {
    pub(super) fn holding(bytes: &[u8]) -> Self {
        let mut bench = Self::default();
        bench.memory[..bytes.len()].copy_from_slice(bytes);
        bench
    }
}

impl Machine for Bench {
    fn register(&mut self, register: Register) -> u64 {
        self.registers[register as usize]
    }

    fn set_register(&mut self, register: Register, value: u64) -> bool {
        self.registers[register as usize] = value;
        register != Register::Cr3
    }

    fn pseudo(&mut self, pseudo: Pseudo) -> u64 {
        0x100 + pseudo as u64
    }

    fn read_virtual(&mut self, address: u64, out: &mut [u8]) -> bool {
        self.read_physical(address.wrapping_sub(PAGE), out)
    }

    fn write_virtual(&mut self, address: u64, bytes: &[u8]) -> bool {
        self.write_physical(address.wrapping_sub(PAGE), bytes)
    }

    fn read_physical(&mut self, address: u64, out: &mut [u8]) -> bool {
        self.longest = self.longest.max(out.len());
        let Ok(from) = usize::try_from(address) else {
            return false;
        };
        let range = from..from.saturating_add(out.len());
        match self.memory.get(range) {
            Some(bytes) => out.copy_from_slice(bytes),
            None => return false,
        }
        true
    }

    fn write_physical(&mut self, address: u64, bytes: &[u8]) -> bool {
        self.longest = self.longest.max(bytes.len());
        let Ok(from) = usize::try_from(address) else {
            return false;
        };
        let range = from..from.saturating_add(bytes.len());
        match self.memory.get_mut(range) {
            Some(place) => place.copy_from_slice(bytes),
            None => return false,
        }
        true
    }

    fn virtual_to_physical(&mut self, address: u64) -> Option<u64> {
        address.checked_sub(PAGE).filter(|&offset| offset < 4096)
    }

    fn physical_to_virtual(&mut self, address: u64) -> Option<u64> {
        (address < 4096).then_some(PAGE + address)
    }

    fn globals(&self) -> &[AtomicU64] {
        &self.globals
    }

    fn record(&mut self, site: u32, arguments: Arguments<'_>) {
        let values = arguments.iter().map(|argument| match argument {
            Argument::Number(number) => Value::Number(number),
            Argument::Bytes(bytes) => Value::Text(bytes.to_vec()),
        });
        self.records.push((site, values.collect()));
    }

    fn branch(&mut self, number: usize) -> Option<Branch> {
        self.branches.get(number).copied()
    }

    fn ask(&mut self, ask: Ask) -> bool {
        self.asked.push(ask);
        ask != Ask::Enable(404)
    }

    fn tsc(&mut self) -> u64 {
        0x7777
    }

    fn relax(&mut self) {
        self.relaxed += 1;
    }

    fn sleep_us(&mut self, microseconds: u32) {
        self.slept_us += u64::from(microseconds);
    }
}
