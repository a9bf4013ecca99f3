//! VMX facts: fields, controls, capabilities and the rules of the guest state. Pure.
//!
//! Citations name the section title and number of the Intel SDM, order number 325462-088US.

pub mod branch;
pub mod capability;
pub mod control;
pub mod interruption;
pub mod msr;
pub mod privilege;
pub mod reset;
pub mod segment;
pub mod syscall;

pub use x86::vmx::vmcs::{control as control_field, guest, host, ro};

/// Basic exit reasons ("VMX Basic Exit Reasons", appendix C).
#[allow(missing_docs, reason = "the names are the manual's")]
pub mod reason {
    pub const EXCEPTION_OR_NMI: u16 = 0;
    pub const EXTERNAL_INTERRUPT: u16 = 1;
    pub const TRIPLE_FAULT: u16 = 2;
    pub const INIT: u16 = 3;
    pub const SIPI: u16 = 4;
    pub const INTERRUPT_WINDOW: u16 = 7;
    pub const NMI_WINDOW: u16 = 8;
    pub const CPUID: u16 = 10;
    pub const GETSEC: u16 = 11;
    pub const INVD: u16 = 13;
    pub const RDPMC: u16 = 15;
    pub const RDTSC: u16 = 16;
    pub const VMCALL: u16 = 18;
    pub const VMCLEAR: u16 = 19;
    pub const VMXON: u16 = 27;
    pub const CR_ACCESS: u16 = 28;
    pub const MOV_DR: u16 = 29;
    pub const IO: u16 = 30;
    pub const RDMSR: u16 = 31;
    pub const WRMSR: u16 = 32;
    pub const MONITOR_TRAP_FLAG: u16 = 37;
    pub const ENTRY_FAILED_MACHINE_CHECK: u16 = 41;
    pub const EPT_VIOLATION: u16 = 48;
    pub const INVEPT: u16 = 50;
    pub const RDTSCP: u16 = 51;
    pub const PREEMPTION_TIMER: u16 = 52;
    pub const INVVPID: u16 = 53;
    pub const XSETBV: u16 = 55;
    pub const VMFUNC: u16 = 59;
}

/// Guest activity states ("Guest Non-Register State", 25.4.2).
#[allow(missing_docs, reason = "the names are the manual's")]
pub mod activity {
    pub const ACTIVE: u64 = 0;
    pub const WAIT_FOR_SIPI: u64 = 3;
}

/// Bits of the guest interruptibility state (25.4.2, table 25-3).
#[allow(missing_docs, reason = "the names are the manual's")]
pub mod interruptibility {
    pub const STI: u64 = 1 << 0;
    pub const MOV_SS: u64 = 1 << 1;
    pub const NMI: u64 = 1 << 3;
    /// What holds interrupts off until the next instruction has run.
    pub const SHADOW: u64 = STI | MOV_SS;
}

/// Bits of RFLAGS ("EFLAGS Register", 3.4.3 of volume 1).
#[allow(missing_docs, reason = "the names are the manual's")]
pub mod rflags {
    pub const FIXED: u64 = 1 << 1;
    pub const TF: u64 = 1 << 8;
    pub const IF: u64 = 1 << 9;
    pub const DF: u64 = 1 << 10;
    pub const RF: u64 = 1 << 16;
}

/// Primary processor-based controls that change from entry to entry (25.6.2, table 25-6).
#[allow(missing_docs, reason = "the names are the manual's")]
pub mod primary {
    use x86::vmx::vmcs::control::PrimaryControls;
    pub const INTERRUPT_WINDOW: u64 = PrimaryControls::INTERRUPT_WINDOW_EXITING.bits() as u64;
    pub const NMI_WINDOW: u64 = PrimaryControls::NMI_WINDOW_EXITING.bits() as u64;
    pub const MONITOR_TRAP_FLAG: u64 = PrimaryControls::MONITOR_TRAP_FLAG.bits() as u64;
}

/// IA32_TSC_DEADLINE: compared with the counter itself, not with what the guest reads of it
/// ("TSC-Deadline Mode", 11.5.4.1), so it is moved by the hidden time.
pub const TSC_DEADLINE: u32 = 0x6e0;
