//! One core's own memory: what the assembly reaches through FS, its descriptor tables, its stack.
//!
//! Built by `boot` in the arena, one per core; used by that core alone once it runs, in VMX-root.

use crate::port::Gprs;
use core::arch::{asm, global_asm};
use core::mem::offset_of;
use core::sync::atomic::{AtomicU64, Ordering};

/// Bytes of a core's VMX-root stack.
pub const STACK_BYTES: u32 = 64 * 1024;

/// Selectors in the host's GDT.
pub const HOST_CS: u16 = 0x10;
/// See [`HOST_CS`].
pub const HOST_SS: u16 = 0x18;
/// See [`HOST_CS`].
pub const HOST_TR: u16 = 0x40;

/// What the assembly knows of a core. FS base points here in VMX-root.
#[repr(C)]
pub struct PerCore {
    /// Address of this structure.
    pub self_address: u64,
    /// NMIs taken in VMX-root so far.
    pub root_nmis: AtomicU64,
    /// Machine checks taken in VMX-root and not yet given to the guest.
    pub machine_checks: AtomicU64,
    /// First address above the stack.
    pub stack_top: u64,
    /// Where the guest continues after the launch.
    pub guest_rsp: u64,
    /// See [`Self::guest_rsp`].
    pub guest_rip: u64,
    /// The guest's general registers while the core is in VMX-root (slot 4, RSP, is in the VMCS).
    pub registers: Gprs,
    /// IRET frame for leaving: RIP, CS, RFLAGS, RSP, SS.
    pub leave_frame: [u64; 5],
    /// The hypervisor this core belongs to (`boot` knows its type).
    pub hypervisor: u64,
    /// The core's number.
    pub number: u64,
    /// Machine code of the user's runs.
    pub code_active: u64,
    /// The stack pointer to go back to.
    pub code_rsp: u64,
    /// Instructions that it may still run.
    pub code_left: u64,
    /// The exception that ended it; 256: no instruction was left; [`CODE_RETURNED`]: it returned.
    pub code_vector: u64,
    /// Where that was.
    pub code_rip: u64,
    /// RCX, RDX and R8 at its start.
    pub code_arguments: [u64; 3],
    /// The stack pointer to go back to from what runs apart; 0 if nothing does.
    pub apart_rsp: u64,
}

/// See [`PerCore::code_vector`].
pub const CODE_RETURNED: u64 = 512;

impl PerCore {
    /// Address of the hypervisor this core belongs to, and the core's number.
    #[must_use]
    pub const fn origin(&self) -> (u64, u16) {
        (self.hypervisor, self.number as u16)
    }

    /// Takes the machine checks that arrived in VMX-root: at most one is given to the guest.
    pub fn take_machine_check(&self) -> bool {
        self.has_machine_check() && self.machine_checks.swap(0, Ordering::Relaxed) != 0
    }

    /// Whether one arrived.
    #[inline]
    pub fn has_machine_check(&self) -> bool {
        self.machine_checks.load(Ordering::Relaxed) != 0
    }
}

global_asm!(
    include_str!("vmx_entry.S"),
    include_str!("code.S"),
    include_str!("apart.S"),
    GUEST_RSP = const offset_of!(PerCore, guest_rsp),
    GUEST_RIP = const offset_of!(PerCore, guest_rip),
    STACK_TOP = const offset_of!(PerCore, stack_top),
    ROOT_NMIS = const offset_of!(PerCore, root_nmis),
    MACHINE_CHECKS = const offset_of!(PerCore, machine_checks),
    SELF = const offset_of!(PerCore, self_address),
    CODE_ACTIVE = const offset_of!(PerCore, code_active),
    CODE_RSP = const offset_of!(PerCore, code_rsp),
    CODE_LEFT = const offset_of!(PerCore, code_left),
    CODE_VECTOR = const offset_of!(PerCore, code_vector),
    CODE_RIP = const offset_of!(PerCore, code_rip),
    CODE_ARGUMENTS = const offset_of!(PerCore, code_arguments),
    APART_RSP = const offset_of!(PerCore, apart_rsp),
);

unsafe extern "C" {
    /// Enters the hypervisor; 0 once the core runs as a guest.
    pub(super) fn standstill_enter(core: *mut PerCore) -> u64;
    /// Runs the guest until its next VM exit. Called by [`run_guest`] alone, as it keeps fewer registers than
    /// a function must.
    fn standstill_vm_run(registers: *mut Gprs, launched: u64) -> u64;
    /// Continues the guest without a hypervisor.
    pub(super) fn standstill_leave(registers: *const Gprs, frame: *const u64) -> !;
    /// Executes nothing until so many NMIs are not all that were taken in VMX-root. VMX-root, where FS leads to the
    /// core's own memory.
    pub(super) fn standstill_sleep(seen_nmis: u64);
    /// Calls a function on another stack.
    pub(super) fn standstill_call_on_stack(
        argument: *mut core::ffi::c_void,
        stack_top: u64,
        function: unsafe extern "C" fn(*mut core::ffi::c_void) -> u64,
    ) -> u64;
    /// Runs machine code of the user's; what it leaves in RAX.
    pub(super) fn standstill_run_code(core: *mut PerCore, entry: u64, stack_top: u64) -> u64;
    /// Calls a function on another stack, which may be left; 0, or 1 if it was.
    pub(super) fn standstill_run_apart(
        argument: *mut core::ffi::c_void,
        stack_top: u64,
        function: unsafe extern "C" fn(*mut core::ffi::c_void),
    ) -> u64;
    /// Leaves that stack.
    pub(super) fn standstill_leave_apart() -> !;
    fn standstill_debug();
    fn standstill_vm_exit();
    fn standstill_nmi();
    fn standstill_machine_check();
    fn standstill_fault_table();
}

/// Runs the guest until its next VM exit. Returns 0 after one, with the guest's registers stored, or 1 if the entry
/// failed.
///
/// # Safety
/// VMX-root with a complete VMCS current, whose host state is this core's own.
#[inline(always)]
pub(super) unsafe fn run_guest(registers: *mut Gprs, launched: u64) -> u64 {
    let failed: u64;
    // SAFETY: a complete VMCS is current by contract; the routine keeps RBX, RBP and RSP, and all else is
    // said to be changed.
    unsafe {
        asm!(
            "call {}", sym standstill_vm_run,
            inout("rdi") registers => _, inout("rsi") launched => _, lateout("rax") failed,
            lateout("r12") _, lateout("r13") _, lateout("r14") _, lateout("r15") _,
            clobber_abi("C"),
        );
    }
    failed
}

/// Whether this core runs on the stack that [`standstill_run_apart`] went to.
///
/// # Safety
/// VMX-root, where FS leads to the core's own memory.
pub(super) unsafe fn is_apart() -> bool {
    let rsp: u64;
    // SAFETY: a field of the core's own memory, to which FS leads, by contract.
    unsafe {
        asm!("mov {}, fs:[{}]", out(reg) rsp, const offset_of!(PerCore, apart_rsp), options(nostack, readonly));
    }
    rsp != 0
}

/// Host RIP of the VMCS.
#[must_use]
pub fn vm_exit_address() -> u64 {
    standstill_vm_exit as *const () as u64
}

/// Fills a page with the host's GDT and TSS: code, data and task-state segment.
/// The TSS stands at offset 0x200; its interrupt stacks are filled in by `boot`.
#[must_use]
pub fn gdt_page(page_address: u64) -> [u64; 10] {
    let tss = page_address + TSS_OFFSET;
    let code = 0x00af_9b00_0000_ffff;
    let data = 0x00cf_9300_0000_ffff;
    let tss_low = 0x67 | (tss & 0x00ff_ffff) << 16 | 0x8b << 40 | (tss >> 24 & 0xff) << 56;
    // One quadword per selector, in steps of 8.
    [0, 0, code, data, 0, 0, 0, 0, tss_low, tss >> 32]
}

/// Offset of the TSS in the page of [`gdt_page`].
pub const TSS_OFFSET: u64 = 0x200;

/// Offset of the first interrupt stack in the TSS ("64-Bit TSS", 7.7).
pub const FIRST_STACK_OFFSET: u64 = 0x24;

/// Stacks of exceptions, of NMIs and of machine checks: the code of a user may have spoilt RSP.
pub const INTERRUPT_STACK_BYTES: [u32; 3] = [16 * 1024, 4096, 4096];

/// Stack of the user's machine code.
pub const CODE_STACK_BYTES: u32 = 16 * 1024;

/// The gate of one exception vector in the host's IDT, as two quadwords
/// ("64-Bit IDT Gate Descriptors", 6.14.1).
#[must_use]
pub fn idt_gate(vector: u8) -> [u64; 2] {
    let stack = match vector {
        2 => 2,
        18 => 3,
        _ => 1,
    };
    let handler = match vector {
        1 => standstill_debug as *const () as u64,
        2 => standstill_nmi as *const () as u64,
        18 => standstill_machine_check as *const () as u64,
        _ => standstill_fault_table as *const () as u64 + 16 * u64::from(vector.min(31)),
    };
    [
        (handler & 0xffff)
            | u64::from(HOST_CS) << 16
            | (0x8e00 | stack) << 32
            | (handler >> 16 & 0xffff) << 48,
        handler >> 32,
    ]
}
