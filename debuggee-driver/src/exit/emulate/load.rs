//! Loads that need no step: the plain form of MOV from memory to a general register, by far the most frequent
//! instruction that reads a page of which other bytes are watched.
//!
//! The processor has found the address, and that the guest may read it; what is left is to read. Whatever else could be due
//! at the same instruction sends it back to the processor: an access that is not aligned, a data
//! breakpoint, a single step. Called by `miss`, in VMX-root.

use crate::exit::core::Core;
use crate::exit::violation::access::Violation;
use crate::guest::instruction::load::PlainLoad;
use crate::port::{Cpu, PhysicalMemory, Ports, gpr};
use crate::vmx::{guest, rflags};
use wire_protocol::event::Access;

/// Breakpoints that are on.
const DR7_ENABLED: u64 = 0xff;

/// Carries it out. Returns its length; `None`: the processor has to, and nothing was done.
#[inline]
pub(in crate::exit) fn carry_out<P: Ports>(
    load: &PlainLoad,
    core: &mut Core<'_, P>,
    violation: &Violation,
) -> Option<u64> {
    let cpu = &mut core.cpu;
    let base = *cpu.registers().get(usize::from(load.base))?;
    let address = base.wrapping_add(load.displacement as u64);
    let is_whole = violation.linear == Some(address)
        && address & u64::from(load.bytes - 1) == 0
        && violation.access == Access::READ;
    let rflags = cpu.vmread(guest::RFLAGS);
    // In the stack pointer's place stands nothing.
    let is_free = usize::from(load.register) != gpr::RSP
        && usize::from(load.base) != gpr::RSP
        && rflags & rflags::TF == 0
        && cpu.vmread(guest::DR7) & DR7_ENABLED == 0;
    if !is_whole || !is_free {
        return None;
    }
    let word = core.shared.memory.read_u64(violation.at.0 & !7);
    let value = if load.bytes == 8 {
        word
    } else {
        word >> (8 * (address & 4)) & u64::from(u32::MAX)
    };
    *cpu.registers_mut().get_mut(usize::from(load.register))? = value;
    // The exit was like a fault and has set it; the instruction's end clears it.
    if rflags & rflags::RF != 0 {
        cpu.vmwrite(guest::RFLAGS, rflags & !rflags::RF);
    }
    Some(u64::from(load.len))
}
