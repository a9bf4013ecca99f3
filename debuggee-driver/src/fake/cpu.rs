//! A processor of fields and registers, which executes nothing.

extern crate std;

use crate::port::{CodeCall, CodeEnd, Cpu, Gprs, LiveRegister, gpr};
use crate::vmx::branch::LBR_DEPTH;
use crate::vmx::guest;
use std::boxed::Box;
use std::cell::Cell;
use std::collections::BTreeMap;
use std::vec::Vec;

/// Where its timer's interrupts go.
pub const TIMER_VECTOR: u8 = 0xec;

/// One value of a processor's state.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Place {
    /// A field of its VMCS.
    Field(u32),
    /// A general register of the guest's.
    Register(u8),
    /// A register that is live, by its place in [`LIVE`].
    Live(u8),
    /// A model-specific register.
    Msr(u32),
}

/// Registers that are live.
pub const LIVE: [LiveRegister; 13] = [
    LiveRegister::Cr2,
    LiveRegister::Cr8,
    LiveRegister::Dr0,
    LiveRegister::Dr1,
    LiveRegister::Dr2,
    LiveRegister::Dr3,
    LiveRegister::Dr6,
    LiveRegister::KernelGsBase,
    LiveRegister::TscDeadline,
    LiveRegister::ApicBase,
    LiveRegister::Star,
    LiveRegister::Lstar,
    LiveRegister::Fmask,
];

/// All that a guest, or the processor at an exit, can change: what is not there is 0.
pub type State = BTreeMap<Place, u64>;

/// See the module.
#[derive(Default)]
pub struct FakeCpu {
    fields: BTreeMap<u32, u64>,
    registers: Gprs,
    live: Vec<(LiveRegister, u64)>,
    /// Its model-specific registers.
    pub msrs: BTreeMap<u32, u64>,
    /// NMIs that came while it did not run its guest.
    pub root_nmis: u64,
    /// Its time-stamp counter, but for the looks at it.
    pub tsc: u64,
    /// What it draws, again and again.
    pub random: Option<u64>,
    /// By how much a look at the counter moves it on, and how far that has come.
    pub ticks_per_look: u64,
    ticks: Cell<u64>,
    /// Interrupts that were told to be done.
    pub ended: u32,
    /// Interrupts that were raised.
    pub raised: Vec<u8>,
    /// How often the machine was to be started anew.
    pub resets: u32,
    /// Who is told that an NMI is sent to the core with this local APIC id, if anybody.
    pub sends_nmi: Option<Box<dyn Fn(u32) + Send>>,
    /// Who is told of a look at the counter, if anybody.
    pub looks_at_time: Option<Box<dyn Fn() + Send>>,
    /// Who runs machine code, if anybody does.
    pub runs_code: Option<RunsCode>,
}

/// Runs machine code, at most so many instructions of it, with the guest's general registers, RSP among them.
pub type RunsCode = Box<dyn FnMut(&[u8], &CodeCall, u64, &mut Gprs) -> CodeEnd + Send>;

impl FakeCpu {
    /// What it holds now.
    #[must_use]
    pub fn state(&self) -> State {
        let fields = self
            .fields
            .iter()
            .map(|(at, value)| (Place::Field(*at), *value));
        let registers = (0..).zip(self.registers);
        let registers = registers.map(|(at, value)| (Place::Register(at), value));
        let live = (0..).zip(LIVE);
        let live = live.map(|(at, register)| (Place::Live(at), self.live(register)));
        let msrs = self
            .msrs
            .iter()
            .map(|(at, value)| (Place::Msr(*at), *value));
        fields.chain(registers).chain(live).chain(msrs).collect()
    }

    /// The guest, or an exit, changes a value. False if there is no such place.
    pub fn change(&mut self, place: Place, value: u64) -> bool {
        match place {
            Place::Field(at) => {
                self.fields.insert(at, value);
            }
            Place::Register(at) => match self.registers.get_mut(usize::from(at)) {
                Some(register) => *register = value,
                None => return false,
            },
            Place::Live(at) => match LIVE.get(usize::from(at)) {
                Some(register) => self.set_live(*register, value),
                None => return false,
            },
            Place::Msr(at) => {
                self.msrs.insert(at, value);
            }
        }
        true
    }
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
        if let Some(look) = &self.looks_at_time {
            look();
        }
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
    /// Where nobody runs it, machine code is one byte: CCh faults, any other is what it returns.
    fn run_code(&mut self, code: &[u8], call: &CodeCall, instructions: u64) -> CodeEnd {
        if let Some(run) = &mut self.runs_code {
            let unused = self.registers[gpr::RSP];
            let mut registers = self.registers;
            registers[gpr::RSP] = self.fields.get(&guest::RSP).copied().unwrap_or(0);
            let end = run(code, call, instructions, &mut registers);
            self.fields.insert(guest::RSP, registers[gpr::RSP]);
            self.registers = registers;
            self.registers[gpr::RSP] = unused;
            return end;
        }
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
    /// Its cores stay awake.
    fn wake(&self, _: u32) {}
    fn sleep_unless(&self, is_called: impl FnOnce() -> bool) {
        if !is_called() {
            core::hint::spin_loop();
        }
    }
    fn pause_until(&self, _: u64) {
        core::hint::spin_loop();
    }
    fn reset_machine(&mut self) {
        self.resets += 1;
    }
    fn send_nmi(&self, apic_id: u32) {
        if let Some(send) = &self.sends_nmi {
            send(apic_id);
        }
    }
}
