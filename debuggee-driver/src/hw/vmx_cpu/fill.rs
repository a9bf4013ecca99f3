//! Filling a VMCS: controls, the guest as this core stands, the host.
//!
//! Called once per core, at the launch, by `VmxCpu::start`.

use super::super::instructions as ins;
use super::super::percore;
use super::VmxCpu;
use crate::port::Cpu;
use crate::vmx::branch::{GUEST_LBR_CTL, LBR_CTL, Layout};
use crate::vmx::capability::EPTP_SWITCHING;
use crate::vmx::control::{cr0, cr4};
use crate::vmx::segment::{self, Segment};
use crate::vmx::{activity, control_field, guest, host};
use wire_protocol::address::PAGE_BYTES;
use x86::msr;

/// Any number but 0, which is the host's.
const VPID: u64 = 1;

impl VmxCpu {
    /// # Safety
    /// VMX-root with our VMCS current, on the kernel's state.
    pub(super) unsafe fn fill(&mut self) {
        self.fill_controls();
        // SAFETY: the core is on the kernel's state, which becomes the guest's, by contract.
        unsafe { self.fill_guest() };
        // SAFETY: our VMCS is current, by contract, and the kernel's CR0 and CR4 are loaded.
        unsafe { self.fill_host() };
    }

    fn fill_controls(&mut self) {
        let plan = self.plan;
        for (field, value) in [
            (
                control_field::PINBASED_EXEC_CONTROLS,
                u64::from(plan.controls.pin),
            ),
            (
                control_field::PRIMARY_PROCBASED_EXEC_CONTROLS,
                u64::from(plan.controls.primary),
            ),
            (
                control_field::SECONDARY_PROCBASED_EXEC_CONTROLS,
                u64::from(plan.controls.secondary),
            ),
            (
                control_field::VMEXIT_CONTROLS,
                u64::from(plan.controls.exit),
            ),
            (
                control_field::VMENTRY_CONTROLS,
                u64::from(plan.controls.entry),
            ),
            (control_field::EPTP_FULL, plan.eptp),
            (control_field::MSR_BITMAPS_ADDR_FULL, plan.msr_bitmap),
            (control_field::IO_BITMAP_A_ADDR_FULL, plan.io_bitmaps),
            (
                control_field::IO_BITMAP_B_ADDR_FULL,
                plan.io_bitmaps + PAGE_BYTES,
            ),
            (control_field::EXCEPTION_BITMAP, 0),
            (control_field::TSC_OFFSET_FULL, 0),
            (control_field::CR0_GUEST_HOST_MASK, cr0::NE),
            (control_field::CR4_GUEST_HOST_MASK, cr4::VMXE),
        ] {
            self.vmwrite(field, value);
        }
        if plan.controls.view_switching {
            self.vmwrite(control_field::VM_FUNCTION_CONTROLS_FULL, EPTP_SWITCHING);
            self.vmwrite(control_field::EPTP_LIST_ADDR_FULL, plan.eptp_list);
        }
        if plan.controls.secondary & 1 << 5 != 0 {
            self.vmwrite(control_field::VPID, VPID);
        }
        if plan.controls.secondary & 1 << 20 != 0 {
            self.vmwrite(control_field::XSS_EXITING_BITMAP_FULL, 0);
        }
    }

    /// # Safety
    /// As [`Self::fill`].
    unsafe fn fill_guest(&mut self) {
        // SAFETY: on the kernel's state by contract, hence at CPL 0 in 64-bit mode, as all four want.
        let (cr0_now, cr3_now, cr4_now, dr7_now) = (
            unsafe { ins::cr0() },
            unsafe { ins::cr3() },
            unsafe { ins::cr4() },
            unsafe { ins::dr7() },
        );
        // SAFETY: these registers exist on every 64-bit processor.
        let read = |number| unsafe { msr::rdmsr(number) };
        let (rsp, rip) = (self.per_core().guest_rsp, self.per_core().guest_rip);
        for (field, value) in [
            (guest::CR0, cr0_now),
            (control_field::CR0_READ_SHADOW, cr0_now),
            (guest::CR3, cr3_now),
            (guest::CR4, cr4_now),
            (control_field::CR4_READ_SHADOW, cr4_now & !cr4::VMXE),
            (guest::DR7, dr7_now),
            (guest::RSP, rsp),
            (guest::RIP, rip),
            (guest::RFLAGS, 2),
            (guest::LINK_PTR_FULL, !0),
            (guest::IA32_DEBUGCTL_FULL, read(msr::IA32_DEBUGCTL)),
            (guest::IA32_PAT_FULL, read(msr::IA32_PAT)),
            (guest::IA32_EFER_FULL, read(msr::IA32_EFER)),
            (guest::IA32_SYSENTER_CS, read(msr::IA32_SYSENTER_CS)),
            (guest::IA32_SYSENTER_ESP, read(msr::IA32_SYSENTER_ESP)),
            (guest::IA32_SYSENTER_EIP, read(msr::IA32_SYSENTER_EIP)),
            (guest::INTERRUPTIBILITY_STATE, 0),
            (guest::ACTIVITY_STATE, activity::ACTIVE),
            (guest::PENDING_DBG_EXCEPTIONS, 0),
        ] {
            self.vmwrite(field, value);
        }
        if let Ok(Layout::Architectural { .. }) = self.plan.controls.branches {
            self.vmwrite(GUEST_LBR_CTL, self.read_msr(LBR_CTL));
        }
        // SAFETY: on the kernel's state by contract, hence at CPL 0, as both want.
        let (gdtr, idtr) = (unsafe { ins::sgdt() }, unsafe { ins::sidt() });
        self.vmwrite(guest::GDTR_BASE, gdtr.base);
        self.vmwrite(guest::GDTR_LIMIT, u64::from(gdtr.limit));
        self.vmwrite(guest::IDTR_BASE, idtr.base);
        self.vmwrite(guest::IDTR_LIMIT, u64::from(idtr.limit));
        // SAFETY: `gdtr` was just stored, so it is the base of the loaded GDT.
        let segments = unsafe { segments(gdtr.base) };
        for (index, segment) in (0u32..).zip(segments) {
            self.vmwrite(guest::ES_SELECTOR + 2 * index, u64::from(segment.selector));
            self.vmwrite(guest::ES_BASE + 2 * index, segment.base);
            self.vmwrite(guest::ES_LIMIT + 2 * index, u64::from(segment.limit));
            self.vmwrite(
                guest::ES_ACCESS_RIGHTS + 2 * index,
                u64::from(segment.access_rights),
            );
        }
    }

    /// # Safety
    /// As [`Self::fill`].
    unsafe fn fill_host(&mut self) {
        let plan = self.plan;
        // SAFETY: on the kernel's state by contract, hence at CPL 0 in 64-bit mode, as both want.
        let (cr0_now, cr4_now) = (unsafe { ins::cr0() }, unsafe { ins::cr4() });
        // SAFETY: these registers exist on every 64-bit processor.
        let read = |number| unsafe { msr::rdmsr(number) };
        for (field, value) in [
            (host::CR0, cr0_now),
            (host::CR3, plan.host_cr3),
            (host::CR4, cr4_now | cr4::VMXE),
            (host::CS_SELECTOR, u64::from(percore::HOST_CS)),
            (host::SS_SELECTOR, u64::from(percore::HOST_SS)),
            (host::TR_SELECTOR, u64::from(percore::HOST_TR)),
            (host::DS_SELECTOR, 0),
            // By which VMX-root is told from the kernel.
            (host::ES_SELECTOR, u64::from(percore::HOST_SS)),
            (host::FS_SELECTOR, 0),
            (host::GS_SELECTOR, 0),
            (host::FS_BASE, self.core as u64),
            (host::GS_BASE, 0),
            (host::TR_BASE, plan.gdt + percore::TSS_OFFSET),
            (host::GDTR_BASE, plan.gdt),
            (host::IDTR_BASE, plan.idt),
            (host::IA32_SYSENTER_CS, 0),
            (host::IA32_SYSENTER_ESP, 0),
            (host::IA32_SYSENTER_EIP, 0),
            (host::IA32_PAT_FULL, read(msr::IA32_PAT)),
            (host::IA32_EFER_FULL, read(msr::IA32_EFER)),
            (host::RIP, percore::vm_exit_address()),
        ] {
            self.vmwrite(field, value);
        }
    }
}

/// The eight segment registers in VMCS order: ES, CS, SS, DS, FS, GS, LDTR, TR.
///
/// # Safety
/// CPL 0; `gdt` is the base of the loaded GDT.
unsafe fn segments(gdt: u64) -> [Segment; 8] {
    // SAFETY: at CPL 0 by contract, as both want.
    let (ldtr, tr) = (unsafe { ins::sldt() }, unsafe { ins::str() });
    let selectors = [
        x86::segmentation::es().bits(),
        x86::segmentation::cs().bits(),
        x86::segmentation::ss().bits(),
        x86::segmentation::ds().bits(),
        x86::segmentation::fs().bits(),
        x86::segmentation::gs().bits(),
        ldtr,
        tr,
    ];
    // SAFETY: both registers exist on every 64-bit processor.
    let (fs_base, gs_base) = (unsafe { msr::rdmsr(msr::IA32_FS_BASE) }, unsafe {
        msr::rdmsr(msr::IA32_GS_BASE)
    });
    let system_base = |selector: u16| {
        if selector & !7 == 0 {
            return 0;
        }
        let descriptor = (gdt + u64::from(selector & !7)) as *const [u64; 2];
        // SAFETY: a system descriptor of the loaded GDT takes 16 bytes.
        segment::system_base(unsafe { descriptor.read_unaligned() })
    };
    let bases = [
        0,
        0,
        0,
        0,
        fs_base,
        gs_base,
        system_base(ldtr),
        system_base(tr),
    ];
    let mut all = [Segment::default(); 8];
    for ((slot, selector), base) in all.iter_mut().zip(selectors).zip(bases) {
        let is_null = selector & !3 == 0;
        // SAFETY: at CPL 0 by contract, as both want; they take any selector.
        let (limit, rights) = (unsafe { ins::segment_limit(selector) }, unsafe {
            ins::segment_rights(selector)
        });
        *slot = Segment {
            selector,
            base,
            limit: if is_null { 0 } else { limit },
            access_rights: segment::access_rights(if is_null { None } else { rights }),
        };
    }
    all
}
