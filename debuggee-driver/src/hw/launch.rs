//! Where plain memory becomes Rust values, and where a core goes to a stack of its own. The assembly calls back to
//! `boot::entries`.
//!
//! Used by `boot` alone.

use super::instructions as ins;
use super::io::Registers;
use super::network::NetworkLine;
use super::percore::{self, PerCore};
use super::phys::DirectMap;
use super::vmx_cpu::VmxCpu;
use crate::ept::mtrr::{RawMtrrs, VARIABLE_MAX};
use crate::port::Ports;
use crate::transport::uart16550::Uart;
use crate::transport::ways::Ways;
use core::sync::atomic::AtomicU64;
use wire_protocol::address::{Extent, GuestPhysical};
use x86::msr;

/// The real hardware.
pub struct Hardware;

impl Ports for Hardware {
    type Cpu = VmxCpu;
    type Memory = DirectMap;
    type Transport = Ways<Uart<Registers>, NetworkLine>;
    type ClockRegisters = Registers;
}

/// A block of the arena as bytes.
///
/// # Safety
/// The block was carved for this and nothing else refers to it.
#[must_use]
pub unsafe fn bytes(memory: &DirectMap, block: &Extent<GuestPhysical>) -> &'static mut [u8] {
    let start = memory.address_of(block.start().0) as *mut u8;
    // SAFETY: mapped for good, and exclusive by contract; the arena was zeroed.
    unsafe { core::slice::from_raw_parts_mut(start, block.len_bytes() as usize) }
}

/// A block of the arena as words that several cores use.
///
/// # Safety
/// As [`bytes`]; the block starts at a multiple of eight.
#[must_use]
pub unsafe fn words(memory: &DirectMap, block: &Extent<GuestPhysical>) -> &'static [AtomicU64] {
    let start = memory.address_of(block.start().0) as *const AtomicU64;
    // SAFETY: mapped for good, aligned and nobody else's by contract; the arena was zeroed.
    unsafe { core::slice::from_raw_parts(start, block.len_bytes() as usize / size_of::<u64>()) }
}

/// Puts a value into a block of the arena.
///
/// # Safety
/// As [`bytes`]; the block is large enough and aligned for `T`.
pub unsafe fn place<T>(
    memory: &DirectMap,
    block: &Extent<GuestPhysical>,
    value: T,
) -> &'static mut T {
    let at = memory.address_of(block.start().0) as *mut T;
    // SAFETY: the block is mapped for good, large enough, aligned and nobody else's, by contract.
    unsafe { at.write(value) };
    // SAFETY: just written, and exclusive by contract.
    unsafe { &mut *at }
}

/// Memory type registers of the core that boots the driver.
///
/// # Safety
/// CPL 0 on a processor with MTRRs, which every one with VMX has.
#[must_use]
pub unsafe fn read_mtrrs() -> RawMtrrs {
    // SAFETY: the registers exist by contract, and as far as the capability register says.
    let read = |number| unsafe { msr::rdmsr(number) };
    let cap = read(msr::IA32_MTRRCAP);
    let has_fixed = cap & 1 << 8 != 0;
    let fixed = [
        msr::IA32_MTRR_FIX64K_00000,
        msr::IA32_MTRR_FIX16K_80000,
        msr::IA32_MTRR_FIX16K_A0000,
        msr::IA32_MTRR_FIX4K_C0000,
        msr::IA32_MTRR_FIX4K_C8000,
        msr::IA32_MTRR_FIX4K_D0000,
        msr::IA32_MTRR_FIX4K_D8000,
        msr::IA32_MTRR_FIX4K_E0000,
        msr::IA32_MTRR_FIX4K_E8000,
        msr::IA32_MTRR_FIX4K_F0000,
        msr::IA32_MTRR_FIX4K_F8000,
    ]
    .map(|number| if has_fixed { read(number) } else { 0 });
    let mut variable = [(0, 0); VARIABLE_MAX];
    let count = (cap & 0xff) as usize;
    for (pair, slot) in (0u32..).zip(variable.iter_mut().take(count)) {
        *slot = (
            read(msr::IA32_MTRR_PHYSBASE0 + 2 * pair),
            read(msr::IA32_MTRR_PHYSMASK0 + 2 * pair),
        );
    }
    RawMtrrs {
        cap,
        def_type: read(msr::IA32_MTRR_DEF_TYPE),
        fixed,
        variable,
        physical_address_bits: ins::cpuid(0x8000_0008, 0)[0] & 0xff,
    }
}

/// Whether the processor's own paging has 1 GiB pages.
#[must_use]
pub fn has_1gib_pages() -> bool {
    ins::cpuid(0x8000_0001, 0)[3] & 1 << 26 != 0
}

/// This core's local APIC id, in x2APIC width if there is one.
#[must_use]
pub fn apic_id() -> u32 {
    let has_leaf_b = ins::cpuid(0, 0)[0] >= 0xb && ins::cpuid(0xb, 0)[1] != 0;
    if has_leaf_b {
        ins::cpuid(0xb, 0)[3]
    } else {
        ins::cpuid(1, 0)[1] >> 24
    }
}

/// The time-stamp counter.
#[must_use]
pub fn tsc() -> u64 {
    // SAFETY: in the kernel or in VMX-root, hence at CPL 0, where CR4.TSD does not matter.
    unsafe { x86::time::rdtsc() }
}

/// Enters the hypervisor on this core; 0 once it runs as a guest.
///
/// # Safety
/// As `VmxCpu::start`, for the core that `core` describes.
pub unsafe fn enter(core: *mut PerCore) -> u64 {
    // SAFETY: on the core that `core` stands for, with interrupts off in the kernel's context, by contract.
    unsafe { percore::standstill_enter(core) }
}

/// Calls the hypervisor below this core.
///
/// # Safety
/// CPL 0 in the driver's image, on a core that runs as a guest.
pub unsafe fn hypercall(token: u64, number: u64, argument: u64) -> u64 {
    let answer;
    // SAFETY: from the driver's image at CPL 0 as a guest, by contract: the hypervisor carries it out,
    // changes RAX at most, and returns behind it.
    unsafe {
        core::arch::asm!(
            "vmcall",
            inout("rax") crate::exit::hypercall::MAGIC => answer,
            inout("rcx") number => _,
            in("rdx") argument,
            in("rsi") token,
        );
    }
    answer
}

/// Runs `function` on a stack of its own.
///
/// # Safety
/// `stack_top` ends a stack that nobody else uses; `function` takes `argument`.
pub unsafe fn on_stack(
    argument: *mut core::ffi::c_void,
    stack_top: u64,
    function: unsafe extern "C" fn(*mut core::ffi::c_void) -> u64,
) -> u64 {
    // SAFETY: the stack is nobody else's and the function takes the argument, by contract.
    unsafe { percore::standstill_call_on_stack(argument, stack_top & !0xf, function) }
}
