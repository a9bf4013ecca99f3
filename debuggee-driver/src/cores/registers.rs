//! A core's registers while it is held: taken when it checks in, put back when it is let go.
//!
//! The claimer reads and changes this copy; the core itself loads what changed. Pure but for the
//! [`Cpu`] that is passed in.

use crate::port::{Cpu, LiveRegister};
use crate::vmx::control::{self, cr0, cr4, efer};
use crate::vmx::{control_field, guest};
use wire_protocol::address::GuestVirtual;
use wire_protocol::refusal::Refusal;
use wire_protocol::register::{Register, RegisterSet};

/// All registers of a core, with a mark on those that were changed.
#[derive(Clone, Copy, Debug)]
pub struct RegisterFile {
    values: [u64; Register::COUNT],
    changed: u64,
}

impl Default for RegisterFile {
    fn default() -> Self {
        Self::NONE
    }
}

/// Where a register is while its core is in VMX-root.
enum Place {
    General(usize),
    Vmcs(u32),
    /// A control register of which the guest sees some bits from a shadow: field, mask, shadow,
    /// and the bit that VMX operation keeps set.
    Shadowed(u32, u32, u32, u64),
    Live(LiveRegister),
}

const fn place(register: Register) -> Place {
    use Register as R;
    match register {
        R::Rsp => Place::Vmcs(guest::RSP),
        R::Rip => Place::Vmcs(guest::RIP),
        R::Rflags => Place::Vmcs(guest::RFLAGS),
        R::Es => Place::Vmcs(guest::ES_SELECTOR),
        R::Cs => Place::Vmcs(guest::CS_SELECTOR),
        R::Ss => Place::Vmcs(guest::SS_SELECTOR),
        R::Ds => Place::Vmcs(guest::DS_SELECTOR),
        R::Fs => Place::Vmcs(guest::FS_SELECTOR),
        R::Gs => Place::Vmcs(guest::GS_SELECTOR),
        R::Cr0 => Place::Shadowed(
            guest::CR0,
            control_field::CR0_GUEST_HOST_MASK,
            control_field::CR0_READ_SHADOW,
            cr0::NE,
        ),
        R::Cr4 => Place::Shadowed(
            guest::CR4,
            control_field::CR4_GUEST_HOST_MASK,
            control_field::CR4_READ_SHADOW,
            cr4::VMXE,
        ),
        R::Cr3 => Place::Vmcs(guest::CR3),
        R::Cr2 => Place::Live(LiveRegister::Cr2),
        R::Cr8 => Place::Live(LiveRegister::Cr8),
        R::Dr0 => Place::Live(LiveRegister::Dr0),
        R::Dr1 => Place::Live(LiveRegister::Dr1),
        R::Dr2 => Place::Live(LiveRegister::Dr2),
        R::Dr3 => Place::Live(LiveRegister::Dr3),
        R::Dr6 => Place::Live(LiveRegister::Dr6),
        R::Dr7 => Place::Vmcs(guest::DR7),
        R::FsBase => Place::Vmcs(guest::FS_BASE),
        R::GsBase => Place::Vmcs(guest::GS_BASE),
        R::KernelGsBase => Place::Live(LiveRegister::KernelGsBase),
        R::Efer => Place::Vmcs(guest::IA32_EFER_FULL),
        R::GdtrBase => Place::Vmcs(guest::GDTR_BASE),
        R::GdtrLimit => Place::Vmcs(guest::GDTR_LIMIT),
        R::IdtrBase => Place::Vmcs(guest::IDTR_BASE),
        R::IdtrLimit => Place::Vmcs(guest::IDTR_LIMIT),
        R::Ldtr => Place::Vmcs(guest::LDTR_SELECTOR),
        R::Tr => Place::Vmcs(guest::TR_SELECTOR),
        general => Place::General(general as usize),
    }
}

/// RFLAGS bits a debugger may change: all but reserved ones, VM, VIF, VIP and RF
/// ("EFLAGS Register", 3.4.3).
pub const RFLAGS_WRITABLE: u64 = 0x0024_7fd5;

impl RegisterFile {
    /// Nothing was taken yet.
    pub const NONE: Self = Self {
        values: [0; Register::COUNT],
        changed: 0,
    };

    /// Takes all registers from the processor.
    pub fn capture(&mut self, cpu: &impl Cpu) {
        self.changed = 0;
        for register in Register::ALL {
            self.store(register, Self::current(cpu, register));
        }
    }

    /// Shows EFER as the guest sees it, where that is not what the processor has.
    pub fn show_efer(&mut self, efer: u64) {
        self.store(Register::Efer, efer);
    }

    /// What one register holds now.
    pub fn current(cpu: &impl Cpu, register: Register) -> u64 {
        match place(register) {
            Place::General(index) => cpu.registers().get(index).copied().unwrap_or(0),
            Place::Vmcs(field) => cpu.vmread(field),
            Place::Shadowed(field, mask, shadow, _) => {
                let mask = cpu.vmread(mask);
                cpu.vmread(field) & !mask | cpu.vmread(shadow) & mask
            }
            Place::Live(live) => cpu.live(live),
        }
    }

    /// Loads what was changed into the processor.
    pub fn apply(&mut self, cpu: &mut impl Cpu) {
        for register in Register::ALL {
            if self.changed & 1 << register as u8 == 0 {
                continue;
            }
            let value = self.get(register);
            match place(register) {
                Place::General(index) => {
                    if let Some(slot) = cpu.registers_mut().get_mut(index) {
                        *slot = value;
                    }
                }
                Place::Vmcs(field) => cpu.vmwrite(field, value),
                Place::Shadowed(field, _, shadow, kept) => {
                    let real = cpu.vmread(field);
                    cpu.vmwrite(field, value & !kept | real & kept);
                    cpu.vmwrite(shadow, value);
                }
                Place::Live(live) => cpu.set_live(live, value),
            }
        }
        self.changed = 0;
    }

    /// Registers, but for RIP, that differ from `other`.
    #[must_use]
    pub fn differences(&self, other: &Self) -> RegisterSet {
        Register::ALL
            .into_iter()
            .filter(|register| *register != Register::Rip)
            .filter(|register| self.get(*register) != other.get(*register))
            .fold(RegisterSet::EMPTY, RegisterSet::with)
    }

    /// The value of one register.
    #[must_use]
    pub fn get(&self, register: Register) -> u64 {
        self.values.get(register as usize).copied().unwrap_or(0)
    }

    fn store(&mut self, register: Register, value: u64) {
        if let Some(slot) = self.values.get_mut(register as usize) {
            *slot = value;
        }
    }

    /// Changes one register, if the processor would take the value.
    ///
    /// # Errors
    /// Read-only registers, and values with which the core could not go on.
    pub fn set(&mut self, register: Register, value: u64) -> Result<(), Refusal> {
        use Register as R;
        let canonical = GuestVirtual(value).is_canonical();
        let acceptable = match register {
            R::Es
            | R::Cs
            | R::Ss
            | R::Ds
            | R::Fs
            | R::Gs
            | R::Ldtr
            | R::Tr
            | R::Efer
            | R::GdtrBase
            | R::GdtrLimit
            | R::IdtrBase
            | R::IdtrLimit => {
                return Err(Refusal::ReadOnlyRegister { register });
            }
            R::Rip | R::FsBase | R::GsBase | R::KernelGsBase => canonical,
            R::Rflags => (value ^ self.get(R::Rflags)) & !RFLAGS_WRITABLE == 0,
            R::Cr0 => self.cr0_is_acceptable(value),
            // Bits that only a fresh address space or processor mode may change stay as they are.
            R::Cr4 => (value ^ self.get(R::Cr4)) & !CR4_WRITABLE == 0,
            R::Cr3 => value >> 46 == 0,
            R::Cr8 => value < 16,
            R::Dr6 | R::Dr7 => value >> 32 == 0,
            _ => true,
        };
        if !acceptable {
            return Err(Refusal::BadRegisterValue { register, value });
        }
        self.store(register, value);
        self.changed |= 1 << register as u8;
        Ok(())
    }

    fn cr0_is_acceptable(&self, value: u64) -> bool {
        let now = self.get(Register::Cr0);
        let long_mode = self.get(Register::Efer) & efer::LMA != 0;
        (value ^ now) & !CR0_WRITABLE == 0
            && control::write_cr0(
                value,
                self.get(Register::Efer),
                self.get(Register::Cr4),
                long_mode,
            )
            .is_ok()
    }
}

/// CR0 bits a debugger may change: MP, EM, TS, WP, AM.
const CR0_WRITABLE: u64 = 1 << 1 | 1 << 2 | 1 << 3 | cr0::WP | 1 << 18;

/// CR4 bits a debugger may change: TSD, DE, PCE, SMEP, SMAP.
const CR4_WRITABLE: u64 = 1 << 2 | 1 << 3 | 1 << 8 | 1 << 20 | 1 << 21;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_changed_register_reads_back() {
        let mut file = RegisterFile::default();
        file.set(Register::Rax, 0x55).unwrap();
        assert_eq!(file.get(Register::Rax), 0x55);
    }

    #[test]
    fn registers_that_describe_the_machine_are_read_only() {
        let mut file = RegisterFile::default();
        for register in [
            Register::Cs,
            Register::Tr,
            Register::Efer,
            Register::GdtrBase,
        ] {
            assert_eq!(
                file.set(register, 1),
                Err(Refusal::ReadOnlyRegister { register })
            );
        }
    }

    #[test]
    fn values_the_processor_would_choke_on_are_refused() {
        let mut file = RegisterFile::default();
        for (register, value) in [
            (Register::Rip, 0x8000_0000_0000_0000),
            (Register::Rflags, 1 << 17),
            (Register::Cr8, 16),
            (Register::Dr7, 1 << 32),
            (Register::Cr3, 1 << 60),
            (Register::Cr4, 1 << 13),
            (Register::Cr0, cr0::PG),
        ] {
            assert_eq!(
                file.set(register, value),
                Err(Refusal::BadRegisterValue { register, value })
            );
            assert_eq!(file.get(register), 0);
        }
    }
}
