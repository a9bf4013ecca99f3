//! Letting the guest carry out one instruction by itself, with what makes it leave turned off.
//!
//! For instructions that are watched but that nobody has to emulate: the processor does what it
//! always does, faults included. The monitor trap flag brings the core back behind it, where the
//! events of the stage after are served. The same brings a core back at the first instruction of
//! a handler, behind the delivery of an event.

use crate::event::TriggerInstance;
use crate::exit::core::{Core, Outcome};
use crate::exit::due::Due;
use crate::exit::single::state::{Intercept, PassThrough};
use crate::exit::watchers;
use crate::hit::{Nature, Verdict};
use crate::port::{Cpu, Ports};
use crate::vmx::privilege::next_ip;
use crate::vmx::{guest, ro};

/// Serves the events that watch the instruction that exited, and lets the guest carry it out.
pub fn watched<P: Ports>(
    core: &mut Core<'_, P>,
    trigger: TriggerInstance,
    intercept: Intercept,
) -> Outcome {
    match watchers::serve_before(core, &trigger, Nature::FaultLike) {
        Verdict::Skip => return Outcome::Advance,
        Verdict::Retry => return Outcome::Stay,
        Verdict::Complete => {}
    }
    let rip = core.cpu.vmread(guest::RIP);
    core.single.pass_through = PassThrough::Instruction {
        rip,
        next: next_ip(&core.cpu, rip, core.cpu.vmread(ro::VMEXIT_INSTRUCTION_LEN)),
        trigger,
        intercept,
    };
    core.due |= Due::CONTROLS;
    Outcome::Stay
}

/// An event is about to be delivered: those that wait for the time after are served then.
pub fn deliver<P: Ports>(core: &mut Core<'_, P>, trigger: TriggerInstance) {
    if core.single.pass_through == PassThrough::None && watchers::is_after_awaited(core, &trigger) {
        core.single.pass_through = PassThrough::Delivery { trigger };
        core.due |= Due::CONTROLS;
    }
}

/// The monitor trap flag fired. A string instruction traps after each iteration and goes on.
pub fn on_trap<P: Ports>(core: &mut Core<'_, P>) {
    let now = core.cpu.vmread(guest::RIP);
    let done = match core.single.pass_through {
        PassThrough::None => return,
        PassThrough::Instruction { rip, .. } if rip == now => return,
        PassThrough::Instruction { next, trigger, .. } => (next == now).then_some(trigger),
        PassThrough::Delivery { trigger } => Some(trigger),
    };
    end(core);
    // An instruction that faulted has no time after it.
    if let Some(trigger) = done {
        watchers::serve_after(core, &trigger);
    }
}

/// Ends it, if there is something, and lets everything exit again.
pub fn end<P: Ports>(core: &mut Core<'_, P>) {
    if core.single.pass_through != PassThrough::None {
        core.single.pass_through = PassThrough::None;
        core.due |= Due::CONTROLS;
    }
}
