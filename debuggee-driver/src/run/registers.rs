//! Registers as a program sees them: those of the core that runs it, or of a core that is held.

use crate::cores::branches::Branches;
use crate::cores::registers::RegisterFile;
use crate::port::{Cpu, gpr};
use crate::vmx::branch::Layout;
use crate::vmx::guest;
use wire_protocol::address::GuestVirtual;
use wire_protocol::branch::Branch;
use wire_protocol::register::Register;
use wire_protocol::script::BranchCall;

/// See the module.
pub trait Registers {
    /// A register's value.
    fn get(&mut self, register: Register) -> u64;
    /// Changes a register; false if it refuses the value.
    fn set(&mut self, register: Register, value: u64) -> bool;
    /// The time-stamp counter.
    fn tsc(&self) -> u64;
    /// Delivers an interrupt or exception when the guest goes on: kind and vector as the
    /// processor numbers them. False if that cannot be.
    fn inject(&mut self, kind: u64, vector: u64, error_code: Option<u64>) -> bool;
    /// Does what a script wants of the branches that the core records; only where the core runs it
    /// in VMX-root, after its guest left.
    fn call_branches(&mut self, _: &mut Branches, _: Layout, _: BranchCall) -> bool {
        false
    }
    /// A branch that it recorded.
    fn branch(&self, _: &Branches, _: Layout, _: usize) -> Option<Branch> {
        None
    }
}

impl<R: Registers> Registers for &mut R {
    fn get(&mut self, register: Register) -> u64 {
        (**self).get(register)
    }

    fn set(&mut self, register: Register, value: u64) -> bool {
        (**self).set(register, value)
    }

    fn tsc(&self) -> u64 {
        (**self).tsc()
    }

    fn inject(&mut self, kind: u64, vector: u64, error_code: Option<u64>) -> bool {
        (**self).inject(kind, vector, error_code)
    }

    fn call_branches(&mut self, branches: &mut Branches, layout: Layout, call: BranchCall) -> bool {
        (**self).call_branches(branches, layout, call)
    }

    fn branch(&self, branches: &Branches, layout: Layout, number: usize) -> Option<Branch> {
        (**self).branch(branches, layout, number)
    }
}

/// Those of the core that runs the program.
pub struct Live<'c, C> {
    /// That core.
    pub cpu: &'c mut C,
}

const FIRST_BEHIND_GENERAL: u8 = 16;

impl<C: Cpu> Registers for Live<'_, C> {
    fn get(&mut self, register: Register) -> u64 {
        let number = register as u8;
        if number < FIRST_BEHIND_GENERAL && usize::from(number) != gpr::RSP {
            let registers = self.cpu.registers();
            return registers.get(usize::from(number)).copied().unwrap_or(0);
        }
        RegisterFile::current(self.cpu, register)
    }

    fn set(&mut self, register: Register, value: u64) -> bool {
        let number = usize::from(register as u8);
        if number < usize::from(FIRST_BEHIND_GENERAL) && number != gpr::RSP {
            if let Some(slot) = self.cpu.registers_mut().get_mut(number) {
                *slot = value;
            }
            return true;
        }
        if register == Register::Rip {
            let is_canonical = GuestVirtual(value).is_canonical();
            if is_canonical {
                self.cpu.vmwrite(guest::RIP, value);
            }
            return is_canonical;
        }
        // Whether others take a value depends on what the rest holds.
        let mut file = RegisterFile::default();
        file.capture(self.cpu);
        let taken = file.set(register, value).is_ok();
        file.apply(self.cpu);
        taken
    }

    fn tsc(&self) -> u64 {
        self.cpu.tsc()
    }

    fn inject(&mut self, kind: u64, vector: u64, error_code: Option<u64>) -> bool {
        super::inject::inject(self.cpu, kind, vector, error_code)
    }

    fn call_branches(&mut self, branches: &mut Branches, layout: Layout, call: BranchCall) -> bool {
        branches.call(self.cpu, layout, call)
    }

    fn branch(&self, branches: &Branches, layout: Layout, number: usize) -> Option<Branch> {
        branches.branch(self.cpu, layout, number)
    }
}

/// Those of a held core, in the hands of the core that serves the halt.
pub struct Held<'c, C> {
    /// The held core's.
    pub file: &'c mut RegisterFile,
    /// The core that serves.
    pub cpu: &'c C,
}

impl<C: Cpu> Registers for Held<'_, C> {
    fn get(&mut self, register: Register) -> u64 {
        self.file.get(register)
    }

    fn set(&mut self, register: Register, value: u64) -> bool {
        self.file.set(register, value).is_ok()
    }

    fn tsc(&self) -> u64 {
        self.cpu.tsc()
    }

    /// Only a core itself can be given one, at a hit.
    fn inject(&mut self, _: u64, _: u64, _: Option<u64>) -> bool {
        false
    }
}
