//! Going on behind an instruction that was carried out for the guest. Called by the other files of
//! `exit`, in VMX-root.

use crate::exit::core::Core;
use crate::exit::due::Due;
use crate::port::{Cpu, Ports};
use crate::vmx::privilege::next_ip;
use crate::vmx::{guest, interruptibility, rflags, ro};

/// "BS" of the pending debug exceptions: a single step was completed.
pub(in crate::exit) const PENDING_SINGLE_STEP: u64 = 1 << 14;

/// Moves RIP behind the instruction that was carried out.
#[inline(always)]
pub(in crate::exit) fn advance<P: Ports>(core: &mut Core<'_, P>) {
    let length = core.cpu.vmread(ro::VMEXIT_INSTRUCTION_LEN);
    advance_by(core, length);
}

/// Moves RIP by the length of an instruction, with the side effects of retiring it.
#[inline(always)]
pub(in crate::exit) fn advance_by<P: Ports>(core: &mut Core<'_, P>, len_bytes: u64) {
    let cpu = &mut core.cpu;
    let rip = cpu.vmread(guest::RIP);
    cpu.vmwrite(guest::RIP, next_ip(cpu, rip, len_bytes));
    let blocking = cpu.vmread(guest::INTERRUPTIBILITY_STATE);
    let is_shadowed = blocking & interruptibility::SHADOW != 0;
    if is_shadowed | (cpu.vmread(guest::RFLAGS) & rflags::TF != 0) {
        retire(core);
    }
}

/// The side effects of retiring an instruction, where it has any.
#[cold]
#[inline(never)]
fn retire<P: Ports>(core: &mut Core<'_, P>) {
    core.due |= Due::RETIRED;
    let cpu = &mut core.cpu;
    if cpu.vmread(guest::RFLAGS) & rflags::TF != 0 {
        let pending = cpu.vmread(guest::PENDING_DBG_EXCEPTIONS);
        cpu.vmwrite(guest::PENDING_DBG_EXCEPTIONS, pending | PENDING_SINGLE_STEP);
    }
}
