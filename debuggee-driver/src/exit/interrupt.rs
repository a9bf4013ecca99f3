//! External interrupts, taken from the guest while an event watches one or they would leave it no time, and given back.
//!
//! The exit acknowledges the interrupt, so it must not get lost: it waits here until the guest
//! can take it.

use crate::event::{TriggerInstance, TriggerKind};
use crate::exit::arrivals::TakenInterrupts;
use crate::exit::core::{Core, Outcome};
use crate::exit::derived;
use crate::exit::due::Due;
use crate::exit::single::passthrough;
use crate::exit::watchers;
use crate::hit::{Nature, Verdict};
use crate::port::{Cpu, Ports};
use crate::vmx::interruption::{Event, Kind, VALID};
use crate::vmx::{activity, control_field, guest, interruptibility, rflags, ro};

/// An interrupt reached this core in its guest.
pub fn on_exit<P: Ports>(core: &mut Core<'_, P>) -> Outcome {
    let vector = core.cpu.vmread(ro::VMEXIT_INTERRUPTION_INFO) as u8;
    arrived(core, vector);
    Outcome::Stay
}

/// Serves the events that watch an interrupt that was taken from the guest.
pub(super) fn arrived<P: Ports>(core: &mut Core<'_, P>, vector: u8) {
    let trigger = TriggerInstance::new(TriggerKind::Interrupt, u64::from(vector));
    let verdict = watchers::serve_before(core, &trigger, Nature::TrapLike);
    if verdict == Verdict::Skip {
        // Nobody else tells the controller that it is done.
        core.cpu.end_of_interrupt();
    } else {
        core.arrivals.interrupts.add(vector);
    }
}

/// The guest can take an interrupt now: [`deliver`] gives it one.
pub fn on_window<P: Ports>(core: &mut Core<'_, P>) -> Outcome {
    core.arrivals.wants_interrupt_window = false;
    core.respite.lets_in(core.exits);
    core.due |= Due::CONTROLS;
    Outcome::Stay
}

/// Gives the guest an interrupt that waits, or asks for the moment when it can take it.
///
/// As with an NMI, an instruction that is being stepped comes first.
pub fn deliver<P: Ports>(core: &mut Core<'_, P>) {
    let Some(vector) = core.arrivals.interrupts.highest() else {
        return;
    };
    if core.single.is_busy() {
        return;
    }
    let timer = core.respite.is_on().then(|| core.cpu.timer_vector());
    let is_active = core.cpu.vmread(guest::ACTIVITY_STATE) == activity::ACTIVE;
    // What the controller would let through while the timer's is in service comes through here.
    if is_active && timer.is_some_and(|timer| vector <= timer) && core.respite.keeps(core.exits) {
        core.arrivals.wants_interrupt_window = core.respite.is_in_handler();
        return;
    }
    let cpu = &core.cpu;
    let blocking = core.due.blocking(cpu.vmread(guest::INTERRUPTIBILITY_STATE));
    let blocked = blocking & interruptibility::SHADOW != 0
        || derived::holds_interrupts_off(core)
        || cpu.vmread(guest::RFLAGS) & rflags::IF == 0;
    // A single step of the guest's that is due would be lost ("Delivery of Pending Debug
    // Exceptions after VM Entry", 27.7.3).
    let busy = cpu.vmread(control_field::VMENTRY_INTERRUPTION_INFO_FIELD) & VALID != 0
        || cpu.vmread(guest::PENDING_DBG_EXCEPTIONS) != 0;
    if !blocked
        && !busy
        && let Some(vector) = core.arrivals.interrupts.take()
    {
        let event = Event {
            vector,
            kind: Kind::ExternalInterrupt,
            error_code: None,
        };
        core.cpu.vmwrite(
            control_field::VMENTRY_INTERRUPTION_INFO_FIELD,
            u64::from(event.encode()),
        );
        passthrough::deliver(
            core,
            TriggerInstance::new(TriggerKind::Interrupt, u64::from(vector)),
        );
        if timer == Some(vector) {
            core.respite.given(core.exits);
        }
    }
    core.arrivals.wants_interrupt_window =
        !core.arrivals.interrupts.is_empty() || core.respite.is_in_handler();
}

/// The hypervisor leaves this core: what still waits goes back to the interrupt controller.
pub fn give_up<P: Ports>(core: &mut Core<'_, P>) {
    let mut taken = core::mem::replace(&mut core.arrivals.interrupts, TakenInterrupts::NONE);
    let waiting = taken;
    // All are in service; each ends the one that is highest then.
    while taken.take().is_some() {
        core.cpu.end_of_interrupt();
    }
    taken = waiting;
    while let Some(vector) = taken.take() {
        core.cpu.raise_interrupt(vector);
    }
}
