//! Where the assembly of `hw` calls: a core's own loop, an exception in VMX-root, and a hit of a detour in guest mode.

use super::core_loop::{core_main, report_fault};
use super::detours::detour_hit;
use crate::hit::detour::Frame;
use crate::hw::instructions;
use crate::hw::percore::PerCore;

/// Called by the stub of detours, on a core that is inside one.
///
/// # Safety
/// `frame` is on the core's own stack; `hypervisor` is what `hw::detour::Data` says.
#[unsafe(no_mangle)]
unsafe extern "C" fn standstill_detour_hit(
    frame: *mut Frame,
    core: u64,
    cr3: u64,
    hypervisor: u64,
    number: u64,
) -> u64 {
    // SAFETY: the stub made the frame on this core's own stack, by contract, and waits until this returns.
    let frame = unsafe { &mut *frame };
    // SAFETY: on the core that came in, with the hypervisor that the stub's data name, by contract.
    unsafe { detour_hit(frame, core as u16, number, cr3, hypervisor) }
}

/// Called by the assembly on the new stack.
///
/// # Safety
/// `core` was made by `boot` for the core that runs this.
#[unsafe(no_mangle)]
unsafe extern "C" fn standstill_core_main(core: *mut PerCore) -> u64 {
    // SAFETY: the assembly passes on the `core` that `enter` got, on the stack of that core.
    unsafe { core_main(core) }
}

/// An exception in VMX-root that no rule expects. The core reports it and stands still: nothing
/// that could be done is safer.
///
/// # Safety
/// Called by the assembly with a pointer to vector, maybe error code, RIP.
#[unsafe(no_mangle)]
unsafe extern "C" fn standstill_root_fault(frame: *const u64, core: *const PerCore) -> ! {
    // SAFETY: the stub pushed the vector on the stack that `frame` points to.
    let vector = unsafe { frame.read() } as u16;
    // Vectors whose frame starts with an error code ("Error Code", 6.13).
    let has_code = matches!(vector, 8 | 10..=14 | 17 | 21);
    let above = if has_code { 2 } else { 1 };
    // SAFETY: the processor pushed more words than that.
    let rip_slot = unsafe { frame.add(above) };
    // SAFETY: within what the processor pushed.
    let rip = unsafe { rip_slot.read() };
    // SAFETY: in an exception of VMX-root, hence at CPL 0 in 64-bit mode.
    let detail = unsafe { instructions::cr2() };
    // SAFETY: `core` came from FS, which points to a core of `boot`'s.
    unsafe { report_fault(&*core, vector, rip, detail) }
}
