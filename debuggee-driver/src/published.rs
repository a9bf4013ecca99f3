//! What every core must load for the installed events: published by the core that changes them,
//! loaded by each core into its own VMCS before its guest runs again.

use crate::event::Controls;
use crate::port::Cpu;
use crate::vmx::control::{cr0, cr4, efer};
use crate::vmx::{control_field, guest};
use core::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering::SeqCst};
use wire_protocol::address::{CoreId, EventId};
use wire_protocol::limits;
use wire_protocol::script::Tracing;
use x86::vmx::vmcs::control::{ExitControls, PinbasedControls};

const INTERRUPT_EXITING: u64 = PinbasedControls::EXTERNAL_INTERRUPT_EXITING.bits() as u64;
const ACKNOWLEDGE: u64 = ExitControls::ACK_INTERRUPT_ON_EXIT.bits() as u64;

/// [`Controls`] in memory that all cores share, and what loading them took from a core's guest.
#[derive(Debug, Default)]
pub struct Published {
    exception_bitmap: AtomicU32,
    primary: AtomicU32,
    takes_interrupts: AtomicBool,
    cr0_mask: AtomicU64,
    cr4_mask: AtomicU64,
    hides_sce: AtomicBool,
    traced_cores: AtomicU64,
    /// Cores that step for a script, one bit each.
    stepping_cores: AtomicU64,
    /// The core that steps for the host, as one bit.
    host_steps: AtomicU64,
    /// How many of the above make cores leave after every instruction: events as one, and each core that steps.
    trace_reasons: AtomicU32,
    steps: Steps,
    mode_cores: AtomicU64,
    /// Cores whose EFER.SCE is hidden, one bit each.
    hidden_sce: AtomicU64,
    /// What their guests believe it to be.
    guest_sce: AtomicU64,
}

/// A step that a script asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AskedStep {
    /// Whose script it was.
    pub event: EventId,
    /// How far.
    pub tracing: Tracing,
    /// RIP and RSP then.
    pub from: (u64, u64),
}

/// The step of each core, used by that core alone.
#[derive(Debug)]
struct Steps([[AtomicU64; 4]; limits::CORES]);

impl Default for Steps {
    fn default() -> Self {
        Self([const { [const { AtomicU64::new(0) }; 4] }; limits::CORES])
    }
}

fn bit(core: CoreId) -> u64 {
    1_u64.checked_shl(u32::from(core.0)).unwrap_or(0)
}

impl Published {
    /// Makes controls known.
    pub fn publish(&self, controls: &Controls) {
        self.exception_bitmap
            .store(controls.exception_bitmap, SeqCst);
        self.primary.store(controls.primary, SeqCst);
        self.takes_interrupts
            .store(controls.takes_interrupts, SeqCst);
        self.cr0_mask.store(controls.cr0_mask, SeqCst);
        self.cr4_mask.store(controls.cr4_mask, SeqCst);
        self.hides_sce.store(controls.hides_sce, SeqCst);
        let before = self.traced_cores.swap(controls.traced_cores, SeqCst);
        self.count_reason(before != 0, controls.traced_cores != 0);
        self.mode_cores.store(controls.mode_cores, SeqCst);
    }

    /// Loads what is published into this core.
    pub fn load(&self, core: CoreId, cpu: &mut impl Cpu) {
        let bitmap = self.exception_bitmap.load(SeqCst);
        cpu.vmwrite(control_field::EXCEPTION_BITMAP, u64::from(bitmap));
        self.load_interrupts(cpu);
        own_bits(
            cpu,
            guest::CR0,
            control_field::CR0_GUEST_HOST_MASK,
            control_field::CR0_READ_SHADOW,
            self.cr0_mask.load(SeqCst) | cr0::NE,
        );
        own_bits(
            cpu,
            guest::CR4,
            control_field::CR4_GUEST_HOST_MASK,
            control_field::CR4_READ_SHADOW,
            self.cr4_mask.load(SeqCst) | cr4::VMXE,
        );
        self.load_efer(core, cpu);
    }

    /// The primary controls that events ask for, with which each core's others are put together before it enters.
    #[must_use]
    pub fn primary(&self) -> u32 {
        self.primary.load(SeqCst)
    }

    /// Loads whether interrupts leave the guest.
    pub fn load_interrupts(&self, cpu: &mut impl Cpu) {
        take_interrupts(cpu, self.takes_interrupts.load(SeqCst));
    }

    fn load_efer(&self, core: CoreId, cpu: &mut impl Cpu) {
        let is_hidden = self.hides_sce(core);
        let hides = self.hides_sce.load(SeqCst);
        if hides == is_hidden {
            return;
        }
        let visible = self.efer(core, cpu);
        if hides {
            self.hidden_sce.fetch_or(bit(core), SeqCst);
        } else {
            self.hidden_sce.fetch_and(!bit(core), SeqCst);
        }
        self.set_efer(core, cpu, visible);
    }

    /// Whether SYSCALL and SYSRET leave the guest of this core as invalid instructions.
    #[must_use]
    pub fn hides_sce(&self, core: CoreId) -> bool {
        self.hidden_sce.load(SeqCst) & bit(core) != 0
    }

    /// EFER as the guest of this core sees it.
    #[must_use]
    pub fn efer(&self, core: CoreId, cpu: &impl Cpu) -> u64 {
        let real = cpu.vmread(guest::IA32_EFER_FULL);
        if self.hides_sce(core) && self.guest_sce.load(SeqCst) & bit(core) != 0 {
            real | efer::SCE
        } else {
            real
        }
    }

    /// Gives the guest of this core another EFER.
    pub fn set_efer(&self, core: CoreId, cpu: &mut impl Cpu, value: u64) {
        if value & efer::SCE != 0 {
            self.guest_sce.fetch_or(bit(core), SeqCst);
        } else {
            self.guest_sce.fetch_and(!bit(core), SeqCst);
        }
        let real = if self.hides_sce(core) {
            value & !efer::SCE
        } else {
            value
        };
        cpu.vmwrite(guest::IA32_EFER_FULL, real);
    }

    /// The hypervisor leaves this core, whatever is installed: its guest gets the EFER that it sees.
    pub fn give_up(&self, core: CoreId, cpu: &mut impl Cpu) {
        let visible = self.efer(core, cpu);
        self.hidden_sce.fetch_and(!bit(core), SeqCst);
        cpu.vmwrite(guest::IA32_EFER_FULL, visible);
    }

    /// Whether any core does what [`Self::traces`] says.
    #[must_use]
    #[inline]
    pub fn traces_any(&self) -> bool {
        self.trace_reasons.load(SeqCst) != 0
    }

    /// Whether this core leaves its guest at every change of mode.
    #[must_use]
    #[inline]
    pub fn watches_mode(&self, core: CoreId) -> bool {
        self.mode_cores.load(SeqCst) & bit(core) != 0
    }

    /// Whether this core leaves its guest after every instruction.
    #[must_use]
    pub fn traces(&self, core: CoreId) -> bool {
        let cores = self.traced_cores.load(SeqCst)
            | self.stepping_cores.load(SeqCst)
            | self.host_steps.load(SeqCst);
        cores & bit(core) != 0
    }

    /// This core, and no other one, goes on one instruction at a time: see [`crate::steps`].
    pub fn begin_host_steps(&self, core: CoreId) {
        let before = self.host_steps.swap(bit(core), SeqCst);
        self.count_reason(before != 0, true);
    }

    /// No core does.
    pub fn end_host_steps(&self) {
        let before = self.host_steps.swap(0, SeqCst);
        self.count_reason(before != 0, false);
    }

    /// Whether this core does.
    #[must_use]
    pub fn steps_for_host(&self, core: CoreId) -> bool {
        self.host_steps.load(SeqCst) & bit(core) != 0
    }

    /// This core is to step; what it was to do before is forgotten.
    pub fn step(&self, core: CoreId, asked: &AskedStep) {
        let Some(step) = self.steps.0.get(usize::from(core.0)) else {
            return;
        };
        let (rip, rsp) = asked.from;
        let tracing = asked.tracing as u64;
        for (slot, value) in step.iter().zip([asked.event.0.into(), tracing, rip, rsp]) {
            slot.store(value, SeqCst);
        }
        let before = self.stepping_cores.fetch_or(bit(core), SeqCst);
        self.count_reason(before & bit(core) != 0, true);
    }

    /// What this core steps for.
    #[must_use]
    pub fn asked_step(&self, core: CoreId) -> Option<AskedStep> {
        if self.stepping_cores.load(SeqCst) & bit(core) == 0 {
            return None;
        }
        let step = self.steps.0.get(usize::from(core.0))?;
        let [event, tracing, rip, rsp] = step.each_ref().map(|slot| slot.load(SeqCst));
        Some(AskedStep {
            event: EventId(event as u32),
            tracing: *Tracing::ALL.get(tracing as usize)?,
            from: (rip, rsp),
        })
    }

    /// This core steps no more.
    pub fn end_step(&self, core: CoreId) {
        let before = self.stepping_cores.fetch_and(!bit(core), SeqCst);
        self.count_reason(before & bit(core) != 0, false);
    }

    /// Something that makes cores leave after every instruction began or ended, if it differs from before.
    fn count_reason(&self, before: bool, now: bool) {
        match (before, now) {
            (false, true) => _ = self.trace_reasons.fetch_add(1, SeqCst),
            (true, false) => _ = self.trace_reasons.fetch_sub(1, SeqCst),
            (true, true) | (false, false) => {}
        }
    }
}

/// Makes interrupts leave the guest of this core, or lets them in.
pub fn take_interrupts(cpu: &mut impl Cpu, on: bool) {
    for (field, control) in [
        (control_field::PINBASED_EXEC_CONTROLS, INTERRUPT_EXITING),
        (control_field::VMEXIT_CONTROLS, ACKNOWLEDGE),
    ] {
        set_bits(cpu, field, control, if on { control } else { 0 });
    }
}

/// Gives the bits of `mask` in a field the value they have in `bits`.
fn set_bits(cpu: &mut impl Cpu, field: u32, mask: u64, bits: u64) {
    let now = cpu.vmread(field);
    let wanted = now & !mask | bits & mask;
    if wanted != now {
        cpu.vmwrite(field, wanted);
    }
}

/// Takes the bits of `mask` of a control register over, and gives all others back; what the guest
/// reads stays the same ("Guest/Host Masks and Read Shadows for CR0 and CR4", 25.6.6).
fn own_bits(cpu: &mut impl Cpu, register: u32, mask_field: u32, shadow: u32, mask: u64) {
    let owned = cpu.vmread(mask_field);
    if owned == mask {
        return;
    }
    let visible = cpu.vmread(register) & !owned | cpu.vmread(shadow) & owned;
    cpu.vmwrite(shadow, visible);
    cpu.vmwrite(mask_field, mask);
}
