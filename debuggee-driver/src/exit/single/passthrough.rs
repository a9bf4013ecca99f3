//! Letting the guest carry out one instruction by itself, with what makes it leave turned off.
//!
//! For instructions that are watched but that nobody has to emulate: the processor does what it
//! always does, faults included. The monitor trap flag brings the core back behind it, where the
//! events of the stage after are served. The same brings a core back at the first instruction of
//! a handler, behind the delivery of an event.

use crate::event::TriggerInstance;
use crate::exit::core::{Core, Outcome};
use crate::exit::single::step;
use crate::exit::watchers;
use crate::hit::{Nature, Verdict};
use crate::port::{Cpu, Ports};
use crate::shared::Shared;
use crate::vmx::{control_field, guest, ro};

/// What is turned off for one instruction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Intercept {
    /// These primary processor-based controls.
    Primary(u32),
    /// The MSR bitmap, but for the registers that are the hypervisor's own.
    Msrs,
}

/// Whether a core carries something out by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PassThrough {
    /// It does not.
    None,
    /// One instruction.
    Instruction {
        /// Where it stands.
        rip: u64,
        /// Where the next one stands.
        next: u64,
        /// What it is.
        trigger: TriggerInstance,
        /// What is turned off.
        off: Intercept,
    },
    /// The delivery of an exception or an interrupt.
    Delivery {
        /// Which.
        trigger: TriggerInstance,
    },
}

/// Serves the events that watch the instruction that exited, and lets the guest carry it out.
pub fn watched<P: Ports>(
    core: &mut Core<P::Cpu>,
    shared: &Shared<P>,
    trigger: TriggerInstance,
    off: Intercept,
) -> Outcome {
    match watchers::serve_before(core, shared, &trigger, Nature::FaultLike) {
        Verdict::Skip => return Outcome::Advance,
        Verdict::Retry => return Outcome::Stay,
        Verdict::Complete => {}
    }
    let rip = core.cpu.vmread(guest::RIP);
    core.pass_through = PassThrough::Instruction {
        rip,
        next: rip.wrapping_add(core.cpu.vmread(ro::VMEXIT_INSTRUCTION_LEN)),
        trigger,
        off,
    };
    step::hold_interrupts_off(core, shared);
    step::set_trap(&mut core.cpu, true);
    Outcome::Stay
}

/// An event is about to be delivered: those that wait for the time after are served then.
pub fn deliver<P: Ports>(core: &mut Core<P::Cpu>, shared: &Shared<P>, trigger: TriggerInstance) {
    if core.pass_through == PassThrough::None && watchers::is_after_awaited(core, shared, &trigger)
    {
        core.pass_through = PassThrough::Delivery { trigger };
        step::set_trap(&mut core.cpu, true);
    }
}

/// Turns off for this entry what the instruction must not meet; whatever was loaded meanwhile.
pub fn before_entry<P: Ports>(core: &mut Core<P::Cpu>, shared: &Shared<P>) {
    let PassThrough::Instruction { rip, off, .. } = core.pass_through else {
        return;
    };
    // An interrupt between iterations of a string instruction, or after an exit before it ran, would
    // end it here, and what is left of it would be hit again.
    if core.cpu.vmread(guest::RIP) == rip {
        step::hold_interrupts_off(core, shared);
    }
    match off {
        Intercept::Primary(bits) => {
            let field = control_field::PRIMARY_PROCBASED_EXEC_CONTROLS;
            let now = core.cpu.vmread(field);
            core.cpu.vmwrite(field, now & !u64::from(bits));
        }
        Intercept::Msrs => core.cpu.vmwrite(
            control_field::MSR_BITMAPS_ADDR_FULL,
            shared.fixed.bitmaps.own_msr,
        ),
    }
}

/// The monitor trap flag fired. A string instruction traps after each iteration and goes on.
pub fn on_trap<P: Ports>(core: &mut Core<P::Cpu>, shared: &Shared<P>) {
    let now = core.cpu.vmread(guest::RIP);
    let done = match core.pass_through {
        PassThrough::None => return,
        PassThrough::Instruction { rip, .. } if rip == now => return,
        PassThrough::Instruction { next, trigger, .. } => (next == now).then_some(trigger),
        PassThrough::Delivery { trigger } => Some(trigger),
    };
    end(core, shared);
    // An instruction that faulted has no time after it.
    if let Some(trigger) = done {
        watchers::serve_after(core, shared, &trigger);
    }
}

/// Ends it, if there is something, and turns everything on again.
pub fn end<P: Ports>(core: &mut Core<P::Cpu>, shared: &Shared<P>) {
    if core.pass_through == PassThrough::None {
        return;
    }
    core.pass_through = PassThrough::None;
    if core.step == step::Step::None {
        step::set_trap(&mut core.cpu, false);
        step::let_interrupts_in(core, shared);
    }
    shared.published.load(core.id, &mut core.cpu);
    core.cpu.vmwrite(
        control_field::MSR_BITMAPS_ADDR_FULL,
        shared.fixed.bitmaps.msr,
    );
}
