//! One core under VMX: turning it on and running the guest; [`fill`] and [`leave`] are its beginning and end.
//!
//! Created by `boot` on the core it stands for; used by that core only.

mod fill;
mod leave;

use super::code::{self, CodePlace};
use super::instructions as ins;
use super::percore::{self, PerCore};
use super::phys::DirectMap;
use crate::port::{CodeCall, CodeEnd, Cpu, Gprs, LiveRegister, PhysicalMemory, gpr};
use crate::vmx::branch::{self, RawBranches};
use crate::vmx::capability::{self, ControlValues, RawCapabilities, Unsupported};
use crate::vmx::control::cr4;
use crate::vmx::{guest, ro};
use x86::msr;

/// Physical addresses and values that go into every core's VMCS.
#[derive(Clone, Copy, Debug)]
pub struct VmcsPlan {
    /// What the processor allows and we use.
    pub controls: ControlValues,
    /// EPT pointer of the hooked view.
    pub eptp: u64,
    /// The page with the EPT pointers that the guest can change to.
    pub eptp_list: u64,
    /// The MSR bitmap's page.
    pub msr_bitmap: u64,
    /// The two pages of the I/O bitmaps.
    pub io_bitmaps: u64,
    /// Root of the host's page tables.
    pub host_cr3: u64,
    /// This core's VMXON region.
    pub vmxon_region: u64,
    /// This core's VMCS.
    pub vmcs: u64,
    /// Linear address of this core's page with GDT and TSS.
    pub gdt: u64,
    /// Linear address of this core's IDT.
    pub idt: u64,
    /// This core's memory for machine code.
    pub code: CodePlace,
}

/// Which VM functions there are (A.11).
const IA32_VMX_VMFUNC: u32 = 0x491;

/// Between two ways to start the machine anew: longer than any takes.
const RESET_TICKS: u64 = 1 << 28;

/// A core in VMX operation.
pub struct VmxCpu {
    core: *mut PerCore,
    plan: VmcsPlan,
    memory: DirectMap,
    /// First field the processor refused, for the report of a failed entry.
    refused_field: u32,
}

/// An entry failed before it began.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotEntered;

/// Why a core could not be launched, as a number for the kernel log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LaunchError {
    /// VMXON failed.
    Vmxon,
    /// VMCLEAR or VMPTRLD failed.
    VmcsPointer,
    /// A field of the VMCS was refused.
    Field(u32),
    /// VMLAUNCH failed with this VM-instruction error.
    Entry(u32),
}

impl LaunchError {
    /// Nonzero, as the platform passes it through C.
    #[must_use]
    pub const fn code(self) -> u64 {
        match self {
            Self::Vmxon => 1,
            Self::VmcsPointer => 2,
            Self::Field(field) => 0x1_0000_0000 | field as u64,
            Self::Entry(error) => 0x2_0000_0000 | error as u64,
        }
    }
}

/// Reads what decides whether this core can carry the hypervisor.
///
/// # Safety
/// CPL 0.
#[must_use]
pub unsafe fn raw_capabilities() -> RawCapabilities {
    // SAFETY: at CPL 0 in 64-bit mode, by contract.
    let cr4 = unsafe { ins::cr4() };
    let cpuid_1_ecx = ins::cpuid(1, 0)[2];
    if cpuid_1_ecx & 1 << 5 == 0 {
        return RawCapabilities {
            cpuid_1_ecx,
            cr4,
            ..RawCapabilities::default()
        };
    }
    // SAFETY: a processor with VMX has these registers ("VMX Capability Reporting Facility", A).
    let read = |number| unsafe { msr::rdmsr(number) };
    let basic = read(msr::IA32_VMX_BASIC);
    let has_true_controls = basic & 1 << 55 != 0;
    let control = |plain, exact| read(if has_true_controls { exact } else { plain });
    let primary = control(
        msr::IA32_VMX_PROCBASED_CTLS,
        msr::IA32_VMX_TRUE_PROCBASED_CTLS,
    );
    let has_secondary = primary & 1 << 63 != 0;
    let secondary = if has_secondary {
        read(msr::IA32_VMX_PROCBASED_CTLS2)
    } else {
        0
    };
    let has_ept = secondary & 1 << 33 != 0;
    let has_vm_functions = secondary & 1 << (32 + 13) != 0;
    let mut branches = RawBranches {
        version: ins::cpuid(1, 0)[0],
        ..RawBranches::default()
    };
    if ins::cpuid(0, 0)[0] >= 7 {
        branches.features = ins::cpuid(7, 0)[3];
    }
    if branches.features & branch::HAS_ARCHITECTURAL != 0 {
        branches.architectural = ins::cpuid(branch::ARCHITECTURAL_LEAF, 0);
    }
    if cpuid_1_ecx & branch::HAS_PERF_CAPABILITIES != 0 {
        // SAFETY: CPUID announces it; at CPL 0 by contract.
        branches.perf_capabilities = unsafe { msr::rdmsr(branch::PERF_CAPABILITIES) };
    }
    RawCapabilities {
        cpuid_1_ecx,
        cr4,
        feature_control: read(msr::IA32_FEATURE_CONTROL),
        basic,
        pin: control(
            msr::IA32_VMX_PINBASED_CTLS,
            msr::IA32_VMX_TRUE_PINBASED_CTLS,
        ),
        primary,
        secondary,
        exit: control(msr::IA32_VMX_EXIT_CTLS, msr::IA32_VMX_TRUE_EXIT_CTLS),
        entry: control(msr::IA32_VMX_ENTRY_CTLS, msr::IA32_VMX_TRUE_ENTRY_CTLS),
        ept_vpid: if has_ept {
            read(msr::IA32_VMX_EPT_VPID_CAP)
        } else {
            0
        },
        misc: read(msr::IA32_VMX_MISC),
        cr4_fixed1: read(msr::IA32_VMX_CR4_FIXED1),
        branches,
        vm_functions: if has_vm_functions {
            read(IA32_VMX_VMFUNC)
        } else {
            0
        },
    }
}

/// Whether this core can carry the hypervisor.
///
/// # Errors
/// What is missing.
///
/// # Safety
/// CPL 0.
pub unsafe fn check() -> Result<ControlValues, Unsupported> {
    // SAFETY: at CPL 0 by contract, as it wants.
    capability::check(&unsafe { raw_capabilities() })
}

impl VmxCpu {
    /// Turns VMX on and fills the VMCS with this core as it stands; the guest will continue at the
    /// stack and address that the assembly stored in `core`.
    ///
    /// # Errors
    /// VMX is off again if it fails.
    ///
    /// # Safety
    /// On the core that `core` stands for, CPL 0, interrupts off, in a kernel context whose page
    /// tables map the arena and the driver; all addresses of `plan` are of this core's own, zeroed
    /// pages in the arena; the host's page tables are complete.
    pub unsafe fn start(
        core: *mut PerCore,
        plan: VmcsPlan,
        memory: DirectMap,
    ) -> Result<Self, LaunchError> {
        let mut cpu = Self {
            core,
            plan,
            memory,
            refused_field: 0,
        };
        // SAFETY: on this core at CPL 0 with regions of its own, by contract.
        unsafe { cpu.turn_on()? };
        // SAFETY: VMX is on with our VMCS current.
        unsafe { cpu.fill() };
        if cpu.refused_field != 0 {
            let error = LaunchError::Field(cpu.refused_field);
            // SAFETY: on the kernel's state, as nothing was launched, and the VMCS is of no use.
            unsafe { cpu.turn_off() };
            return Err(error);
        }
        Ok(cpu)
    }

    /// # Safety
    /// As [`Self::start`].
    unsafe fn turn_on(&mut self) -> Result<(), LaunchError> {
        // SAFETY: VMX exists, so does the register; it is written only while unlocked.
        let feature_control = unsafe { msr::rdmsr(msr::IA32_FEATURE_CONTROL) };
        if let Some(value) = capability::feature_control_to_write(feature_control) {
            // SAFETY: the register exists, and `feature_control_to_write` gives a value only while it is not
            // locked.
            unsafe { msr::wrmsr(msr::IA32_FEATURE_CONTROL, value) };
        }
        // SAFETY: at CPL 0 in 64-bit mode, by contract of `start`.
        let cr4_now = unsafe { ins::cr4() };
        // SAFETY: VMXE is a bit this processor has; the kernel does not look at it.
        unsafe { ins::set_cr4(cr4_now | cr4::VMXE) };
        // SAFETY: `check` saw that the processor has VMX, and so this register.
        let revision = unsafe { msr::rdmsr(msr::IA32_VMX_BASIC) } & 0x7fff_ffff;
        self.memory.write_u64(self.plan.vmxon_region, revision);
        self.memory.write_u64(self.plan.vmcs, revision);
        // SAFETY: CR4.VMXE was just set; the region is a page of this core's own with the revision written
        // above.
        if unsafe { ins::vmxon(self.plan.vmxon_region) }.is_err() {
            // SAFETY: the value that CR4 had; VMX is off, so VMXE may be cleared.
            unsafe { ins::set_cr4(cr4_now) };
            return Err(LaunchError::Vmxon);
        }
        // SAFETY: in VMX operation since VMXON; the region is a page of this core's own with the revision.
        let cleared = unsafe { ins::vmclear(self.plan.vmcs) };
        // SAFETY: as for `vmclear`, which has just made it a VMCS.
        let loaded = unsafe { ins::vmptrld(self.plan.vmcs) };
        if cleared.is_err() || loaded.is_err() {
            // SAFETY: on the kernel's state, as nothing was launched, and there is no VMCS.
            unsafe { self.turn_off() };
            return Err(LaunchError::VmcsPointer);
        }
        self.invalidate_ept();
        // SAFETY: VMX-root; `capability::check` saw that type 2 exists.
        unsafe { ins::invvpid_all() };
        Ok(())
    }

    /// # Safety
    /// The core runs on the kernel's state, in VMX-root, and needs no VMCS any more.
    unsafe fn turn_off(&mut self) {
        // SAFETY: in VMX-root, and no VMCS is needed any more, by contract.
        unsafe { ins::vmxoff() };
        // SAFETY: on the kernel's state by contract, hence at CPL 0 in 64-bit mode.
        let cr4_now = unsafe { ins::cr4() };
        // SAFETY: VMX is off, so VMXE may be cleared.
        unsafe { ins::set_cr4(cr4_now & !cr4::VMXE) };
    }

    /// Runs the guest for the first time, until its first VM exit.
    ///
    /// # Errors
    /// The entry failed before it began: see [`Self::entry_error`].
    pub fn launch(&mut self) -> Result<(), NotEntered> {
        self.enter(0)
    }

    /// Runs the guest until its next VM exit.
    ///
    /// # Errors
    /// As [`Self::launch`].
    #[inline(always)]
    pub fn run(&mut self) -> Result<(), NotEntered> {
        self.enter(1)
    }

    #[inline(always)]
    fn enter(&mut self, launched: u64) -> Result<(), NotEntered> {
        // SAFETY: `core` is valid by contract of `start`; its address is taken, nothing is read.
        let registers = unsafe { &raw mut (*self.core).registers };
        // SAFETY: the VMCS is current and complete; the assembly keeps all that Rust relies on.
        let failed = unsafe { percore::run_guest(registers, launched) };
        if failed == 0 { Ok(()) } else { Err(NotEntered) }
    }

    /// Why the last entry failed: the VM-instruction error.
    pub fn entry_error(&self) -> LaunchError {
        LaunchError::Entry(self.vmread(ro::VM_INSTRUCTION_ERROR) as u32)
    }

    /// Turns VMX off after a launch that failed.
    ///
    /// # Safety
    /// The core still runs on the kernel's state: it has not taken a VM exit yet.
    pub unsafe fn abandon(&mut self) {
        // SAFETY: the kernel's state is loaded and no VM exit happened, by contract.
        unsafe { self.turn_off() };
    }

    #[cold]
    fn note_refused(&mut self, field: u32) {
        if self.refused_field == 0 {
            self.refused_field = field;
        }
    }

    fn per_core(&self) -> &PerCore {
        // SAFETY: valid by contract of `start`; the assembly changes it only while `run` runs.
        unsafe { &*self.core }
    }
}

/// Reads a register that every processor with VMX has, that this one announces, or that the guest just used.
fn read_msr(number: u32) -> u64 {
    // SAFETY: the callers name registers that every processor with VMX has, that this one announces, or that the
    // guest has just used; in VMX-root, hence at CPL 0.
    unsafe { msr::rdmsr(number) }
}

/// Writes a register of the guest's that VMX-root does not use.
fn write_msr(number: u32, value: u64) {
    // SAFETY: VMX-root uses no register that the callers name, and the value was checked as the guest's own
    // write, or is one that the processor announces.
    unsafe { msr::wrmsr(number, value) }
}

impl Cpu for VmxCpu {
    fn vmread(&self, field: u32) -> u64 {
        // SAFETY: VMX-root with our VMCS current, as long as this value lives.
        unsafe { ins::vmread(field) }
    }

    fn vmwrite(&mut self, field: u32, value: u64) {
        // SAFETY: in VMX-root with our VMCS current, as long as this value lives.
        if unsafe { ins::vmwrite(field, value) }.is_err() {
            self.note_refused(field);
        }
    }

    fn registers(&self) -> &Gprs {
        &self.per_core().registers
    }

    fn registers_mut(&mut self) -> &mut Gprs {
        // SAFETY: valid by contract of `start`, and borrowed from `self` exclusively.
        unsafe { &mut (*self.core).registers }
    }

    fn cpuid(&self, leaf: u32, subleaf: u32) -> [u32; 4] {
        ins::cpuid(leaf, subleaf)
    }

    fn read_msr(&self, number: u32) -> u64 {
        read_msr(number)
    }

    fn write_msr(&mut self, number: u32, value: u64) {
        write_msr(number, value);
    }

    fn live(&self, register: LiveRegister) -> u64 {
        let read: unsafe fn() -> u64 = match register {
            LiveRegister::Cr2 => ins::cr2,
            LiveRegister::Cr8 => ins::cr8,
            LiveRegister::Dr0 => ins::dr0,
            LiveRegister::Dr1 => ins::dr1,
            LiveRegister::Dr2 => ins::dr2,
            LiveRegister::Dr3 => ins::dr3,
            LiveRegister::Dr6 => ins::dr6,
            LiveRegister::KernelGsBase => return read_msr(msr::IA32_KERNEL_GSBASE),
            LiveRegister::TscDeadline => return read_msr(msr::IA32_TSC_DEADLINE),
            LiveRegister::ApicBase => return read_msr(msr::IA32_APIC_BASE),
            LiveRegister::Star => return read_msr(msr::IA32_STAR),
            LiveRegister::Lstar => return read_msr(msr::IA32_LSTAR),
            LiveRegister::Fmask => return read_msr(msr::IA32_FMASK),
        };
        // SAFETY: in VMX-root, hence at CPL 0 in 64-bit mode, as all of them want.
        unsafe { read() }
    }

    fn set_live(&mut self, register: LiveRegister, value: u64) {
        let write: unsafe fn(u64) = match register {
            LiveRegister::Cr2 => ins::set_cr2,
            LiveRegister::Cr8 => ins::set_cr8,
            LiveRegister::Dr0 => ins::set_dr0,
            LiveRegister::Dr1 => ins::set_dr1,
            LiveRegister::Dr2 => ins::set_dr2,
            LiveRegister::Dr3 => ins::set_dr3,
            LiveRegister::Dr6 => ins::set_dr6,
            LiveRegister::KernelGsBase => return write_msr(msr::IA32_KERNEL_GSBASE, value),
            LiveRegister::TscDeadline => return write_msr(msr::IA32_TSC_DEADLINE, value),
            // The guest's own to place; nobody here writes it.
            LiveRegister::ApicBase
            | LiveRegister::Star
            | LiveRegister::Lstar
            | LiveRegister::Fmask => return,
        };
        // SAFETY: VMX-root uses none of these registers; the value was checked by the caller.
        unsafe { write(value) }
    }

    fn set_xcr0(&mut self, value: u64) {
        // SAFETY: the caller checked the value; host CR4.OSXSAVE is the kernel's, and a guest
        // that executes XSETBV has it set as well.
        unsafe { ins::xsetbv(0, value) }
    }

    fn write_back_caches(&mut self) {
        // SAFETY: in VMX-root, hence at CPL 0.
        unsafe { ins::wbinvd() }
    }

    fn invalidate_ept(&mut self) {
        // SAFETY: VMX-root; `capability::check` saw that type 2 exists.
        unsafe { ins::invept_all() }
    }

    fn invalidate_view(&mut self, eptp: u64) {
        // SAFETY: VMX-root; `capability::check` saw that type 1 exists.
        unsafe { ins::invept_one(eptp) }
    }

    fn invalidate_translations(&mut self) {
        // SAFETY: VMX-root; `capability::check` saw that type 2 exists.
        unsafe { ins::invvpid_all() }
    }

    fn end_of_interrupt(&mut self) {
        let apic_base = self.live(LiveRegister::ApicBase);
        super::apic::end_of_interrupt(&self.memory, apic_base);
    }

    fn raise_interrupt(&mut self, vector: u8) {
        let apic_base = self.live(LiveRegister::ApicBase);
        super::apic::send_to_self(&self.memory, apic_base, vector);
    }

    fn end_nmi_blocking(&mut self) {
        // SAFETY: in VMX-root, hence at CPL 0, on a stack of `percore::STACK_BYTES` that is far from full.
        unsafe { ins::end_nmi_blocking() }
    }

    fn tsc(&self) -> u64 {
        // SAFETY: in VMX-root, hence at CPL 0, where CR4.TSD does not matter.
        unsafe { x86::time::rdtsc() }
    }

    fn random(&self) -> Option<u64> {
        if !ins::has_rdrand() {
            return None;
        }
        // SAFETY: the processor has the instruction.
        unsafe { ins::rdrand() }
    }

    fn root_nmis(&self) -> u64 {
        self.per_core()
            .root_nmis
            .load(core::sync::atomic::Ordering::SeqCst)
    }

    #[inline]
    fn has_machine_check(&self) -> bool {
        self.per_core().has_machine_check()
    }

    fn take_machine_check(&mut self) -> bool {
        self.per_core().take_machine_check()
    }

    fn run_code(&mut self, code: &[u8], call: &CodeCall, instructions: u64) -> CodeEnd {
        let stack_pointer = self.vmread(guest::RSP);
        self.registers_mut()[gpr::RSP] = stack_pointer;
        let Self { core, memory, .. } = self;
        // SAFETY: VMX-root, where the host's tables are loaded; the place is this core's own.
        let end = unsafe { code::run(*core, memory, &self.plan.code, code, call, instructions) };
        let changed = self.registers()[gpr::RSP];
        if changed != stack_pointer {
            self.vmwrite(guest::RSP, changed);
        }
        end
    }

    fn timer_vector(&self) -> u8 {
        super::apic::timer_vector(&self.memory, self.live(LiveRegister::ApicBase))
    }

    fn wake(&self, apic_id: u32) {
        self.send_nmi(apic_id);
    }

    fn sleep_unless(&self, is_called: impl FnOnce() -> bool) {
        let seen = self.root_nmis();
        if !is_called() {
            // SAFETY: in VMX-root with FS at the core's own memory, its own IDT loaded and interrupts off.
            unsafe { percore::standstill_sleep(seen) }
        }
    }

    fn reset_machine(&mut self) {
        const RESET_CONTROL: u16 = 0xcf9;
        const KEYBOARD_COMMAND: u16 = 0x64;
        for (port, value) in [
            // Hard reset, as the button.
            (RESET_CONTROL, 0x02),
            (RESET_CONTROL, 0x06),
            (KEYBOARD_COMMAND, 0xfe),
        ] {
            // SAFETY: what comes of it is what the host asked for: nothing that runs here goes on.
            unsafe { x86::io::outb(port, value) };
            self.pause_until(self.tsc().wrapping_add(RESET_TICKS));
        }
    }

    fn pause_until(&self, tsc: u64) {
        let has_tpause = ins::has_tpause();
        // Not there yet, as the difference is a negative number.
        while self.tsc().wrapping_sub(tsc) > i64::MAX as u64 {
            if has_tpause {
                // SAFETY: the processor has the instruction.
                unsafe { ins::tpause(tsc) };
            } else {
                core::hint::spin_loop();
            }
        }
    }

    fn send_nmi(&self, apic_id: u32) {
        super::apic::send_nmi(&self.memory, self.live(LiveRegister::ApicBase), apic_id);
    }
}
