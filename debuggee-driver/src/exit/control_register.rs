//! Writes to CR0 and CR4 that touch the bits VMX operation owns.
//!
//! A core that comes back from INIT sets CR0.NE itself; a guest that tries CR4.VMXE was told by
//! CPUID that there is no VMX.

use super::Outcome;
use crate::port::{Cpu, gpr};
use crate::vmx::control::{self, cr4};
use crate::vmx::interruption::GENERAL_PROTECTION;
use crate::vmx::{control_field, guest, ro};
use x86::vmx::vmcs::control::EntryControls;

/// An exit qualification for a control-register access ("Exit Qualification for Control-Register
/// Accesses", table 28-3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Access {
    /// MOV to a control register: its number, and the number of the general register.
    MoveTo(u8, usize),
    /// Anything else: it cannot touch the bits that are ours, so it does not exit.
    Other,
}

const fn decode(qualification: u64) -> Access {
    if qualification >> 4 & 3 == 0 {
        Access::MoveTo(
            (qualification & 0xf) as u8,
            (qualification >> 8 & 0xf) as usize,
        )
    } else {
        Access::Other
    }
}

/// Carries out the write or faults it.
pub fn handle(cpu: &mut impl Cpu) -> Outcome {
    let Access::MoveTo(number, source) = decode(cpu.vmread(ro::EXIT_QUALIFICATION)) else {
        return Outcome::Inject(GENERAL_PROTECTION);
    };
    let value = if source == gpr::RSP {
        cpu.vmread(guest::RSP)
    } else {
        cpu.registers().get(source).copied().unwrap_or(0)
    };
    match number {
        0 => write_cr0(cpu, value),
        4 => write_cr4(cpu, value),
        _ => Outcome::Inject(GENERAL_PROTECTION),
    }
}

const CS_LONG_MODE: u64 = 1 << 13;

fn write_cr0(cpu: &mut impl Cpu, value: u64) -> Outcome {
    let efer = cpu.vmread(guest::IA32_EFER_FULL);
    let in_64bit_code =
        efer & control::efer::LMA != 0 && cpu.vmread(guest::CS_ACCESS_RIGHTS) & CS_LONG_MODE != 0;
    let Ok(write) = control::write_cr0(value, efer, cpu.vmread(guest::CR4), in_64bit_code) else {
        return Outcome::Inject(GENERAL_PROTECTION);
    };
    cpu.vmwrite(guest::CR0, write.real);
    cpu.vmwrite(control_field::CR0_READ_SHADOW, write.shadow);
    cpu.vmwrite(guest::IA32_EFER_FULL, write.efer);
    let long_mode = u64::from(EntryControls::IA32E_MODE_GUEST.bits());
    let entry = cpu.vmread(control_field::VMENTRY_CONTROLS);
    cpu.vmwrite(
        control_field::VMENTRY_CONTROLS,
        if write.long_mode {
            entry | long_mode
        } else {
            entry & !long_mode
        },
    );
    Outcome::Advance
}

fn write_cr4(cpu: &mut impl Cpu, value: u64) -> Outcome {
    if value & cr4::VMXE != 0 {
        return Outcome::Inject(GENERAL_PROTECTION);
    }
    cpu.vmwrite(guest::CR4, value | cr4::VMXE);
    cpu.vmwrite(control_field::CR4_READ_SHADOW, value);
    Outcome::Advance
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_move_names_both_registers() {
        assert_eq!(decode(0x300), Access::MoveTo(0, 3));
        assert_eq!(decode(0xc04), Access::MoveTo(4, 12));
    }

    #[test]
    fn clts_and_lmsw_are_not_moves() {
        assert_eq!(decode(0x20), Access::Other);
        assert_eq!(decode(0x30), Access::Other);
    }
}
