//! Writes to CR0 and CR4 that touch bits that VMX operation owns or that events watch.
//!
//! A core that comes back from INIT sets CR0.NE itself; a guest that tries CR4.VMXE was told by
//! CPUID that there is no VMX.

use crate::event::{TriggerInstance, TriggerKind};
use crate::exit::core::{Core, Outcome};
use crate::exit::watchers::watched;
use crate::port::{Cpu, Ports, gpr};
use crate::vmx::control::{self, cr0, cr4};
use crate::vmx::interruption::GENERAL_PROTECTION;
use crate::vmx::privilege::is_in_64_bit_mode;
use crate::vmx::{control_field, guest, ro};
use x86::vmx::vmcs::control::EntryControls;

/// An exit qualification for a control-register access ("Exit Qualification for Control-Register
/// Accesses", table 28-3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Access {
    /// MOV to a control register: its number, and the number of the general register.
    MoveTo(u8, usize),
    /// CLTS.
    ClearTs,
    /// LMSW, with its operand.
    LoadStatusWord(u16),
    /// MOV from a control register, which never exits.
    MoveFrom,
}

const fn decode(qualification: u64) -> Access {
    match qualification >> 4 & 3 {
        0 => Access::MoveTo(
            (qualification & 0xf) as u8,
            (qualification >> 8 & 0xf) as usize,
        ),
        2 => Access::ClearTs,
        3 => Access::LoadStatusWord((qualification >> 16) as u16),
        _ => Access::MoveFrom,
    }
}

/// What CR0 becomes by LMSW, which can set PE but not clear it.
const fn after_lmsw(visible: u64, operand: u16) -> u64 {
    const STATUS_WORD: u64 = 0xe;
    visible & !STATUS_WORD | operand as u64 & (STATUS_WORD | cr0::PE)
}

/// A control register as the guest reads it.
fn visible(cpu: &impl Cpu, register: u32, mask: u32, shadow: u32) -> u64 {
    let owned = cpu.vmread(mask);
    cpu.vmread(register) & !owned | cpu.vmread(shadow) & owned
}

fn visible_cr0(cpu: &impl Cpu) -> u64 {
    visible(
        cpu,
        guest::CR0,
        control_field::CR0_GUEST_HOST_MASK,
        control_field::CR0_READ_SHADOW,
    )
}

fn visible_cr4(cpu: &impl Cpu) -> u64 {
    visible(
        cpu,
        guest::CR4,
        control_field::CR4_GUEST_HOST_MASK,
        control_field::CR4_READ_SHADOW,
    )
}

/// Serves the events that watch the bits that change, and carries out the write or faults it.
pub fn handle<P: Ports>(core: &mut Core<'_, P>) -> Outcome {
    match decode(core.cpu.vmread(ro::EXIT_QUALIFICATION)) {
        Access::MoveTo(number, source) => {
            let value = if source == gpr::RSP {
                core.cpu.vmread(guest::RSP)
            } else {
                core.cpu.registers().get(source).copied().unwrap_or(0)
            };
            match number {
                0 => on_cr0(core, value),
                4 => on_cr4(core, value),
                _ => Outcome::Inject(GENERAL_PROTECTION),
            }
        }
        Access::ClearTs => {
            let value = visible_cr0(&core.cpu) & !cr0::TS;
            on_cr0(core, value)
        }
        Access::LoadStatusWord(operand) => {
            let value = after_lmsw(visible_cr0(&core.cpu), operand);
            on_cr0(core, value)
        }
        Access::MoveFrom => Outcome::Inject(GENERAL_PROTECTION),
    }
}

fn on_cr0<P: Ports>(core: &mut Core<'_, P>, value: u64) -> Outcome {
    let trigger = TriggerInstance {
        context: value,
        detail: value ^ visible_cr0(&core.cpu),
        ..TriggerInstance::new(TriggerKind::Cr0Write, 0)
    };
    watched(core, trigger, |core| write_cr0(&mut core.cpu, value))
}

fn on_cr4<P: Ports>(core: &mut Core<'_, P>, value: u64) -> Outcome {
    let trigger = TriggerInstance {
        context: value,
        detail: value ^ visible_cr4(&core.cpu),
        ..TriggerInstance::new(TriggerKind::Cr4Write, 0)
    };
    let allowed = core.shared.fixed.cr4_allowed;
    watched(core, trigger, |core| {
        write_cr4(&mut core.cpu, value, allowed)
    })
}

fn write_cr0(cpu: &mut impl Cpu, value: u64) -> Outcome {
    let efer = cpu.vmread(guest::IA32_EFER_FULL);
    let in_64bit_code = efer & control::efer::LMA != 0 && is_in_64_bit_mode(cpu);
    let Ok(write) = control::write_cr0(value, efer, cpu.vmread(guest::CR4), in_64bit_code) else {
        return Outcome::Inject(GENERAL_PROTECTION);
    };
    let paging_changes = (cpu.vmread(guest::CR0) ^ write.real) & cr0::PG != 0;
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
    if paging_changes {
        cpu.invalidate_translations();
    }
    Outcome::Advance
}

fn write_cr4(cpu: &mut impl Cpu, value: u64, allowed: u64) -> Outcome {
    let long_mode = cpu.vmread(guest::IA32_EFER_FULL) & control::efer::LMA != 0;
    let now = visible_cr4(cpu);
    if !control::cr4_is_valid(value, now, allowed, long_mode, cpu.vmread(guest::CR3)) {
        return Outcome::Inject(GENERAL_PROTECTION);
    }
    cpu.vmwrite(guest::CR4, value | cr4::VMXE);
    cpu.vmwrite(control_field::CR4_READ_SHADOW, value);
    if value != now {
        // More than the processor would drop for some bits, never less.
        cpu.invalidate_translations();
    }
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
        assert_eq!(decode(0x20), Access::ClearTs);
        assert_eq!(decode(0x000b_0030), Access::LoadStatusWord(0xb));
    }

    #[test]
    fn lmsw_cannot_leave_protected_mode() {
        assert_eq!(after_lmsw(0x8000_0031, 0), 0x8000_0031);
        assert_eq!(after_lmsw(0x8000_0039, 3), 0x8000_0033);
        assert_eq!(after_lmsw(0x10, 0xf), 0x1f);
    }
}
