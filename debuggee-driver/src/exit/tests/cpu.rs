//! A processor of fields and registers, which executes nothing.

extern crate std;

use crate::port::{CodeCall, CodeEnd, Cpu, Gprs, LiveRegister};
use crate::vmx::branch::LBR_DEPTH;
use std::cell::Cell;
use std::collections::BTreeMap;
use std::vec::Vec;

/// Where its timer's interrupts go.
pub(super) const TIMER_VECTOR: u8 = 0xec;

#[derive(Default)]
pub(super) struct FakeCpu {
    fields: BTreeMap<u32, u64>,
    registers: Gprs,
    live: Vec<(LiveRegister, u64)>,
    pub(super) msrs: BTreeMap<u32, u64>,
    pub(super) root_nmis: u64,
    pub(super) tsc: u64,
    /// What it draws, again and again.
    pub(super) random: Option<u64>,
    /// By how much a look at the counter moves it on, and how far that has come.
    pub(super) ticks_per_look: u64,
    ticks: Cell<u64>,
    /// Interrupts that were told to be done, and those that were raised.
    pub(super) ended: u32,
    pub(super) raised: Vec<u8>,
}

impl Cpu for FakeCpu {
    fn vmread(&self, field: u32) -> u64 {
        self.fields.get(&field).copied().unwrap_or(0)
    }
    fn vmwrite(&mut self, field: u32, value: u64) {
        self.fields.insert(field, value);
    }
    fn registers(&self) -> &Gprs {
        &self.registers
    }
    fn registers_mut(&mut self) -> &mut Gprs {
        &mut self.registers
    }
    fn cpuid(&self, _: u32, _: u32) -> [u32; 4] {
        [0; 4]
    }
    fn read_msr(&self, number: u32) -> u64 {
        self.msrs.get(&number).copied().unwrap_or(0)
    }
    fn write_msr(&mut self, number: u32, value: u64) {
        if number == LBR_DEPTH {
            self.msrs
                .retain(|number, _| *number < 0x1200 || *number == LBR_DEPTH);
        }
        self.msrs.insert(number, value);
    }
    fn live(&self, register: LiveRegister) -> u64 {
        let found = self.live.iter().find(|(other, _)| *other == register);
        found.map_or(0, |(_, value)| *value)
    }
    fn set_live(&mut self, register: LiveRegister, value: u64) {
        self.live.retain(|(other, _)| *other != register);
        self.live.push((register, value));
    }
    fn set_xcr0(&mut self, _: u64) {}
    fn write_back_caches(&mut self) {}
    fn invalidate_ept(&mut self) {}
    fn invalidate_view(&mut self, _: u64) {}
    fn invalidate_translations(&mut self) {}
    fn end_of_interrupt(&mut self) {
        self.ended += 1;
    }
    fn raise_interrupt(&mut self, vector: u8) {
        self.raised.push(vector);
    }
    fn end_nmi_blocking(&mut self) {}
    fn tsc(&self) -> u64 {
        let ticks = self.ticks.get();
        self.ticks.set(ticks + self.ticks_per_look);
        self.tsc + ticks
    }
    fn random(&self) -> Option<u64> {
        self.random
    }
    fn root_nmis(&self) -> u64 {
        self.root_nmis
    }
    fn has_machine_check(&self) -> bool {
        false
    }
    fn take_machine_check(&mut self) -> bool {
        false
    }
    /// Machine code here is one byte: CCh faults, any other is what it returns.
    fn run_code(&mut self, code: &[u8], _: &CodeCall, _: u64) -> CodeEnd {
        match code {
            [0xcc] => CodeEnd::Exception { vector: 3, at: 0 },
            [value] => CodeEnd::Returned {
                value: u64::from(*value),
            },
            _ => CodeEnd::TooLong,
        }
    }
    fn timer_vector(&self) -> u8 {
        TIMER_VECTOR
    }
    fn send_nmi(&self, _: u32) {}
}
