//! Leaving VMX operation: the guest goes on where it stands, without a hypervisor.
//!
//! Called by `boot`'s core loop after the driver's own call.

use super::super::instructions as ins;
use super::super::percore;
use super::VmxCpu;
use crate::port::Cpu;
use crate::vmx::branch::{GUEST_LBR_CTL, LBR_CTL, Layout};
use crate::vmx::control::{cr0, cr4};
use crate::vmx::guest;
use x86::msr;

impl VmxCpu {
    /// Leaves VMX operation and continues the guest where it stands.
    ///
    /// # Safety
    /// The guest is the kernel at CPL 0 in 64-bit mode, with the driver, the arena and its own
    /// descriptor tables mapped by its page tables.
    pub unsafe fn leave(mut self) -> ! {
        let frame = [
            self.vmread(guest::RIP),
            self.vmread(guest::CS_SELECTOR),
            self.vmread(guest::RFLAGS),
            self.vmread(guest::RSP),
            self.vmread(guest::SS_SELECTOR),
        ];
        let [es, ds, fs, gs, tr] = [
            guest::ES_SELECTOR,
            guest::DS_SELECTOR,
            guest::FS_SELECTOR,
            guest::GS_SELECTOR,
            guest::TR_SELECTOR,
        ]
        .map(|field| self.vmread(field) as u16);
        let gdt = ins::TableRegister {
            limit: self.vmread(guest::GDTR_LIMIT) as u16,
            base: self.vmread(guest::GDTR_BASE),
        };
        let idt = ins::TableRegister {
            limit: self.vmread(guest::IDTR_LIMIT) as u16,
            base: self.vmread(guest::IDTR_BASE),
        };
        let [cr0_guest, cr3_guest, cr4_guest, dr7_guest] =
            [guest::CR0, guest::CR3, guest::CR4, guest::DR7].map(|field| self.vmread(field));
        let msrs = [
            (msr::IA32_FS_BASE, guest::FS_BASE),
            (msr::IA32_GS_BASE, guest::GS_BASE),
            (msr::IA32_SYSENTER_CS, guest::IA32_SYSENTER_CS),
            (msr::IA32_SYSENTER_ESP, guest::IA32_SYSENTER_ESP),
            (msr::IA32_SYSENTER_EIP, guest::IA32_SYSENTER_EIP),
            (msr::IA32_DEBUGCTL, guest::IA32_DEBUGCTL_FULL),
            (msr::IA32_PAT, guest::IA32_PAT_FULL),
            (msr::IA32_EFER, guest::IA32_EFER_FULL),
        ]
        .map(|(number, field)| (number, self.vmread(field)));
        let branches = match self.plan.controls.branches {
            Ok(Layout::Architectural { .. }) => Some(self.vmread(GUEST_LBR_CTL)),
            _ => None,
        };
        // SAFETY: `core` is valid by contract of `start`, and only this core uses its frame, which no
        // reference leads to.
        unsafe { (*self.core).leave_frame = frame };
        self.invalidate_ept();
        // SAFETY: in VMX-root; `capability::check` saw that type 2 exists.
        unsafe { ins::invvpid_all() };
        // SAFETY: the VMCS is ours; its launch state and cached data are written back.
        let _ = unsafe { ins::vmclear(self.plan.vmcs) };
        // SAFETY: in VMX-root; all that is needed of the VMCS was read above.
        unsafe { ins::vmxoff() };
        // CR3 before CR4: CR4.PCIDE may only be set while the PCID is the guest's own.
        // SAFETY: the guest's page tables map all that runs from here on, by contract.
        unsafe { ins::set_cr3(cr3_guest & !(1 << 63)) };
        let cr4_guest = cr4_guest & !cr4::VMXE;
        // Translations of VPID 0 date from before the launch: changing CR4.PGE drops them all.
        // SAFETY: the guest ran with this value, and with PGE either way all pages stay mapped; VMX is off,
        // so VMXE may be clear.
        unsafe { ins::set_cr4(cr4_guest ^ cr4::PGE) };
        // SAFETY: the value that the guest ran with, without VMXE, which VMX being off allows.
        unsafe { ins::set_cr4(cr4_guest) };
        // SAFETY: the GDT that the guest ran with, mapped by its page tables, which are loaded.
        unsafe { ins::lgdt(gdt) };
        // SAFETY: the IDT that the guest ran with, mapped by its page tables, which are loaded.
        unsafe { ins::lidt(idt) };
        // LTR wants the descriptor "available", and Linux maps its GDT read-only.
        // SAFETY: the guest's CR0 but for WP, which only lets this core write the descriptor below.
        unsafe { ins::set_cr0(cr0_guest & !cr0::WP) };
        let descriptor = (gdt.base + u64::from(tr & !7)) as *mut u64;
        // SAFETY: TR selects a TSS in the guest's GDT, which is mapped by the page tables that are loaded.
        let available = unsafe { descriptor.read_volatile() } & !(1 << 41);
        // SAFETY: the same descriptor, which only this core uses; write protection is off.
        unsafe { descriptor.write_volatile(available) };
        // SAFETY: the descriptor is a TSS that was just made available, in memory that can be written.
        unsafe { ins::ltr(tr) };
        // SAFETY: the value that the guest ran with.
        unsafe { ins::set_cr0(cr0_guest) };
        // SAFETY: the guest's selectors, defined by its GDT.
        unsafe { ins::load_data_segments(es, ds, fs, gs) };
        for (number, value) in msrs {
            // SAFETY: the values that the guest had in these registers, which every 64-bit processor has.
            unsafe { msr::wrmsr(number, value) };
        }
        if let Some(value) = branches {
            // SAFETY: the value that the guest had in this register, which the processor announces.
            unsafe { msr::wrmsr(LBR_CTL, value) };
        }
        // SAFETY: the value that the guest had in it.
        unsafe { ins::set_dr7(dr7_guest) };
        let core = self.per_core();
        let (registers, frame) = (&raw const core.registers, core.leave_frame.as_ptr());
        // SAFETY: the guest's tables, control registers and segments are loaded, and the frame says where it
        // stands; `core` stays mapped.
        unsafe { percore::standstill_leave(registers, frame) }
    }
}
