//! Running machine code of the user's in VMX-root.
//!
//! It runs on a stack of its own with the trap flag set: #DB counts its instructions, and any
//! exception ends it (`code.S`). It cannot touch what the guest left in the vector registers: with
//! CR0.TS set, the first instruction that would, faults.

use super::instructions as ins;
use super::percore::{self, CODE_RETURNED, PerCore};
use super::phys::DirectMap;
use crate::port::{CodeCall, CodeEnd, PhysicalMemory};

const CR0_TS: u64 = 1 << 3;

/// Where the code of every core is executed; nothing else of the host is in this half.
const WINDOWS: u64 = 0x1000_0000_0000;
/// Distance between two cores' windows.
const WINDOW_STRIDE: u64 = 1 << 21;

/// A core's memory for machine code.
#[derive(Clone, Copy, Debug, Default)]
pub struct CodePlace {
    /// Physical address of the pages that the code is copied to.
    pub physical: u64,
    /// Their length.
    pub len_bytes: u32,
    /// Linear address at which they can be executed, and not written.
    pub linear: u64,
    /// Linear address of the end of the code's stack.
    pub stack_top: u64,
}

/// Linear address of a core's window.
#[must_use]
pub const fn window(core: u64) -> u64 {
    WINDOWS + core * WINDOW_STRIDE
}

/// Copies code to its place and runs it.
///
/// # Safety
/// In VMX-root on the core that `core` stands for, whose descriptor tables are the host's; `place`
/// is that core's own.
pub unsafe fn run(
    core: *mut PerCore,
    memory: &mut DirectMap,
    place: &CodePlace,
    code: &[u8],
    call: &CodeCall,
    instructions: u64,
) -> CodeEnd {
    if code.len() > place.len_bytes as usize {
        return CodeEnd::TooLong;
    }
    memory.write(place.physical, code);
    // SAFETY: `core` is valid by contract; its address is taken, nothing is read.
    let registers = unsafe { &raw mut (*core).registers } as u64;
    let arguments = match *call {
        CodeCall::Condition { context } => [registers, context, 0],
        CodeCall::Action { buffer, context } => [buffer, registers, context],
    };
    // SAFETY: `core` is valid and this core's own by contract; no reference leads to this part of it.
    unsafe { (*core).code_arguments = arguments };
    // SAFETY: as for the arguments.
    unsafe { (*core).code_left = instructions.max(1) };
    // SAFETY: as for the arguments.
    unsafe { (*core).code_vector = CODE_RETURNED };
    // The guest's own, which exceptions change.
    // SAFETY: in VMX-root by contract, hence at CPL 0.
    let (cr0, cr2, dr6) = unsafe { live() };
    // SAFETY: the value that CR0 has, with TS, which makes vector instructions fault and nothing else.
    unsafe { ins::set_cr0(cr0 | CR0_TS) };
    // SAFETY: the place is this core's and holds the code; what it does is its user's wish, and it
    // ends by the count or by an exception.
    let value = unsafe { percore::standstill_run_code(core, place.linear, place.stack_top) };
    // SAFETY: the value that CR0 had.
    unsafe { ins::set_cr0(cr0) };
    // SAFETY: any value will do, and this is the one that the guest has.
    unsafe { ins::set_cr2(cr2) };
    // SAFETY: the value that the register had.
    unsafe { ins::set_dr6(dr6) };
    // SAFETY: `core` is valid and this core's own by contract; the code has ended.
    let (vector, rip) = unsafe { ended(core) };
    let at = u32::try_from(rip.wrapping_sub(place.linear)).unwrap_or(u32::MAX);
    match vector {
        CODE_RETURNED => CodeEnd::Returned { value },
        256 => CodeEnd::OverBudget { at },
        vector => CodeEnd::Exception {
            vector: vector as u8,
            at,
        },
    }
}

/// # Safety
/// CPL 0.
unsafe fn live() -> (u64, u64, u64) {
    // SAFETY: at CPL 0 by contract, as it wants.
    let cr0 = unsafe { ins::cr0() };
    // SAFETY: at CPL 0 by contract, as it wants.
    let cr2 = unsafe { ins::cr2() };
    // SAFETY: at CPL 0 by contract, as it wants.
    let dr6 = unsafe { ins::dr6() };
    (cr0, cr2, dr6)
}

/// # Safety
/// `core` is valid and used by this core only.
unsafe fn ended(core: *const PerCore) -> (u64, u64) {
    // SAFETY: `core` is valid and nobody else's by contract.
    let vector = unsafe { (*core).code_vector };
    // SAFETY: `core` is valid and nobody else's by contract.
    let rip = unsafe { (*core).code_rip };
    (vector, rip)
}
