//! Going on behind an instruction that was carried out for the guest. Called by the other files of
//! `exit`, in VMX-root.

use crate::port::Cpu;
use crate::vmx::{guest, interruptibility, rflags, ro};

/// "BS" of the pending debug exceptions: a single step was completed.
const PENDING_SINGLE_STEP: u64 = 1 << 14;

/// Moves RIP behind the instruction that was carried out.
#[inline]
pub(in crate::exit) fn advance(cpu: &mut impl Cpu) {
    let length = cpu.vmread(ro::VMEXIT_INSTRUCTION_LEN);
    advance_by(cpu, length);
}

/// Moves RIP by the length of an instruction, with the side effects of retiring it.
#[inline]
pub(in crate::exit) fn advance_by(cpu: &mut impl Cpu, len_bytes: u64) {
    let rip = cpu.vmread(guest::RIP);
    cpu.vmwrite(guest::RIP, rip.wrapping_add(len_bytes));
    let blocking = cpu.vmread(guest::INTERRUPTIBILITY_STATE);
    let shadow = interruptibility::SHADOW;
    let is_shadowed = blocking & shadow != 0;
    if is_shadowed | (cpu.vmread(guest::RFLAGS) & rflags::TF != 0) {
        retire(cpu);
    }
}

/// The side effects of retiring an instruction, where it has any.
#[cold]
fn retire(cpu: &mut impl Cpu) {
    let blocking = cpu.vmread(guest::INTERRUPTIBILITY_STATE);
    let shadow = interruptibility::SHADOW;
    cpu.vmwrite(guest::INTERRUPTIBILITY_STATE, blocking & !shadow);
    if cpu.vmread(guest::RFLAGS) & rflags::TF != 0 {
        let pending = cpu.vmread(guest::PENDING_DBG_EXCEPTIONS);
        cpu.vmwrite(guest::PENDING_DBG_EXCEPTIONS, pending | PENDING_SINGLE_STEP);
    }
}
