//! A machine of variables only, to run scripts that ask for nothing else. Also used by the benchmark.

use std::sync::atomic::AtomicU64;
use wire_protocol::bytecode::routine::Pseudo;
use wire_protocol::packet::Arguments;
use wire_protocol::register::Register;
use wire_protocol::script::{Ask, Machine};

/// A core that has nothing but its number and the globals.
pub(crate) struct Core<'g>(pub(crate) u64, pub(crate) &'g [AtomicU64]);

impl Machine for Core<'_> {
    fn register(&mut self, _: Register) -> u64 {
        0
    }
    fn set_register(&mut self, _: Register, _: u64) -> bool {
        false
    }
    fn pseudo(&mut self, _: Pseudo) -> u64 {
        self.0
    }
    fn read_virtual(&mut self, _: u64, _: &mut [u8]) -> bool {
        false
    }
    fn write_virtual(&mut self, _: u64, _: &[u8]) -> bool {
        false
    }
    fn read_physical(&mut self, _: u64, _: &mut [u8]) -> bool {
        false
    }
    fn write_physical(&mut self, _: u64, _: &[u8]) -> bool {
        false
    }
    fn virtual_to_physical(&mut self, _: u64) -> Option<u64> {
        None
    }
    fn physical_to_virtual(&mut self, _: u64) -> Option<u64> {
        None
    }
    fn globals(&self) -> &[AtomicU64] {
        self.1
    }
    fn record(&mut self, _: u32, _: Arguments<'_>) {}
    fn branch(&mut self, _: usize) -> Option<wire_protocol::branch::Branch> {
        None
    }
    fn ask(&mut self, _: Ask) -> bool {
        false
    }
    fn tsc(&mut self) -> u64 {
        0
    }
    fn relax(&mut self) {
        std::thread::yield_now();
    }
    fn sleep_us(&mut self, _: u32) {}
}
