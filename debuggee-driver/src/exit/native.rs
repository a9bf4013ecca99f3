//! Letting the guest carry out one instruction by itself, with what makes it leave turned off.
//!
//! For instructions that are watched but that nobody has to emulate: the processor does what it
//! always does, faults included. The monitor trap flag brings the core back behind it, where the
//! events of the stage after are served. The same brings a core back at the first instruction of
//! a handler, behind the delivery of an event.

use super::{Core, Outcome, step, watchers};
use crate::event::Occasion;
use crate::hit::{Comes, Verdict};
use crate::port::{Cpu, Ports};
use crate::shared::Shared;
use crate::vmx::{control_field, guest, ro};

/// What is turned off for one instruction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Off {
    /// These primary processor-based controls.
    Primary(u32),
    /// The MSR bitmap, but for the registers that are the hypervisor's own.
    Msrs,
}

/// Whether a core carries something out natively.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Native {
    /// It does not.
    None,
    /// One instruction.
    Instruction {
        /// Where it stands.
        rip: u64,
        /// Where the next one stands.
        next: u64,
        /// What it is.
        occasion: Occasion,
        /// What is turned off.
        off: Off,
    },
    /// The delivery of an exception or an interrupt.
    Delivery {
        /// Which.
        occasion: Occasion,
    },
}

/// Serves the events that watch the instruction that exited, and lets the guest carry it out.
pub fn watched<P: Ports>(
    core: &mut Core<P::Cpu>,
    shared: &Shared<P>,
    occasion: Occasion,
    off: Off,
) -> Outcome {
    match watchers::serve_before(core, shared, &occasion, Comes::Again) {
        Verdict::Skipped => return Outcome::Advance,
        Verdict::Stays => return Outcome::Stay,
        Verdict::Goes => {}
    }
    let rip = core.cpu.vmread(guest::RIP);
    core.native = Native::Instruction {
        rip,
        next: rip.wrapping_add(core.cpu.vmread(ro::VMEXIT_INSTRUCTION_LEN)),
        occasion,
        off,
    };
    step::hold_interrupts_off(core, shared);
    step::set_trap(&mut core.cpu, true);
    Outcome::Stay
}

/// An event is about to be delivered: those that wait for the time after are served then.
pub fn deliver<P: Ports>(core: &mut Core<P::Cpu>, shared: &Shared<P>, occasion: Occasion) {
    if core.native == Native::None && watchers::is_after_awaited(core, shared, &occasion) {
        core.native = Native::Delivery { occasion };
        step::set_trap(&mut core.cpu, true);
    }
}

/// Turns off for this entry what the instruction must not meet; whatever was loaded meanwhile.
pub fn before_entry<P: Ports>(core: &mut Core<P::Cpu>, shared: &Shared<P>) {
    let Native::Instruction { rip, off, .. } = core.native else {
        return;
    };
    // An interrupt between iterations of a string instruction, or after an exit before it ran, would
    // end it here, and what is left of it would be hit again.
    if core.cpu.vmread(guest::RIP) == rip {
        step::hold_interrupts_off(core, shared);
    }
    match off {
        Off::Primary(bits) => {
            let field = control_field::PRIMARY_PROCBASED_EXEC_CONTROLS;
            let now = core.cpu.vmread(field);
            core.cpu.vmwrite(field, now & !u64::from(bits));
        }
        Off::Msrs => core.cpu.vmwrite(
            control_field::MSR_BITMAPS_ADDR_FULL,
            shared.fixed.bitmaps.own_msr,
        ),
    }
}

/// The monitor trap flag fired. A string instruction traps after each iteration and goes on.
pub fn on_trap<P: Ports>(core: &mut Core<P::Cpu>, shared: &Shared<P>) {
    let now = core.cpu.vmread(guest::RIP);
    let done = match core.native {
        Native::None => return,
        Native::Instruction { rip, .. } if rip == now => return,
        Native::Instruction { next, occasion, .. } => (next == now).then_some(occasion),
        Native::Delivery { occasion } => Some(occasion),
    };
    end(core, shared);
    // An instruction that faulted has no time after it.
    if let Some(occasion) = done {
        watchers::serve_after(core, shared, &occasion);
    }
}

/// Ends it, if there is something, and turns everything on again.
pub fn end<P: Ports>(core: &mut Core<P::Cpu>, shared: &Shared<P>) {
    if core.native == Native::None {
        return;
    }
    core.native = Native::None;
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
