//! External interrupts, taken from the guest while an event watches one, and given back.
//!
//! The exit acknowledges the interrupt, so it must not get lost: it waits here until the guest
//! can take it.

use crate::event::{TriggerInstance, TriggerKind};
use crate::exit::core::{Core, Outcome};
use crate::exit::single::passthrough;
use crate::exit::single::passthrough::PassThrough;
use crate::exit::single::step::Step;
use crate::exit::watchers;
use crate::hit::{Nature, Verdict};
use crate::port::{Cpu, Ports};
use crate::shared::Shared;
use crate::vmx::interruption::{Event, Kind, VALID};
use crate::vmx::{control_field, guest, interruptibility, primary, rflags, ro};

/// Interrupts that were taken and not given back yet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TakenInterrupts {
    /// One bit per vector.
    vectors: [u64; 4],
    /// Whether any bit is set, to be looked at before each entry.
    any: bool,
}

impl TakenInterrupts {
    /// Nothing.
    pub const NONE: Self = Self {
        vectors: [0; 4],
        any: false,
    };

    /// Adds a vector.
    pub fn add(&mut self, vector: u8) {
        if let Some(word) = self.vectors.get_mut(usize::from(vector / 64)) {
            *word |= 1 << (vector % 64);
            self.any = true;
        }
    }

    /// Nothing waits.
    #[must_use]
    #[inline]
    pub const fn is_empty(&self) -> bool {
        !self.any
    }

    /// Takes the highest vector, which the interrupt controller would deliver first.
    pub(super) fn take(&mut self) -> Option<u8> {
        let (index, word) = (0_u8..4)
            .zip(self.vectors.iter_mut())
            .rev()
            .find(|(_, word)| **word != 0)?;
        let bit = word.ilog2() as u8;
        *word &= !(1 << bit);
        self.any = self.vectors.iter().any(|word| *word != 0);
        Some(index * 64 + bit)
    }
}

/// An interrupt reached this core in its guest.
pub fn on_exit<P: Ports>(core: &mut Core<P::Cpu>, shared: &Shared<P>) -> Outcome {
    let vector = core.cpu.vmread(ro::VMEXIT_INTERRUPTION_INFO) as u8;
    arrived(core, shared, vector);
    Outcome::Stay
}

/// Serves the events that watch an interrupt that was taken from the guest.
pub(super) fn arrived<P: Ports>(core: &mut Core<P::Cpu>, shared: &Shared<P>, vector: u8) {
    let trigger = TriggerInstance::new(TriggerKind::Interrupt, u64::from(vector));
    let verdict = watchers::serve_before(core, shared, &trigger, Nature::TrapLike);
    if verdict == Verdict::Skip {
        // Nobody else tells the controller that it is done.
        core.cpu.end_of_interrupt();
    } else {
        core.interrupts.add(vector);
    }
}

/// The guest can take an interrupt now: [`deliver`] gives it one.
pub fn on_window<C: Cpu>(core: &mut Core<C>) -> Outcome {
    set_window(&mut core.cpu, false);
    Outcome::Stay
}

/// Gives the guest an interrupt that waits, or asks for the moment when it can take it.
///
/// As with an NMI, an instruction that is being stepped comes first.
pub fn deliver<P: Ports>(core: &mut Core<P::Cpu>, shared: &Shared<P>) {
    if core.interrupts.is_empty()
        || core.step != Step::None
        || core.pass_through != PassThrough::None
    {
        return;
    }
    let cpu = &core.cpu;
    let shadow = interruptibility::SHADOW;
    let blocked = cpu.vmread(guest::INTERRUPTIBILITY_STATE) & shadow != 0
        || cpu.vmread(guest::RFLAGS) & rflags::IF == 0;
    // A single step of the guest's that is due would be lost ("Delivery of Pending Debug
    // Exceptions after VM Entry", 27.7.3).
    let busy = cpu.vmread(control_field::VMENTRY_INTERRUPTION_INFO_FIELD) & VALID != 0
        || cpu.vmread(guest::PENDING_DBG_EXCEPTIONS) != 0;
    if !blocked
        && !busy
        && let Some(vector) = core.interrupts.take()
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
            shared,
            TriggerInstance::new(TriggerKind::Interrupt, u64::from(vector)),
        );
    }
    let waits = !core.interrupts.is_empty();
    set_window(&mut core.cpu, waits);
}

/// The hypervisor leaves this core: what still waits goes back to the interrupt controller.
pub fn give_up<C: Cpu>(core: &mut Core<C>) {
    let mut taken = core::mem::replace(&mut core.interrupts, TakenInterrupts::NONE);
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

fn set_window(cpu: &mut impl Cpu, on: bool) {
    let field = control_field::PRIMARY_PROCBASED_EXEC_CONTROLS;
    let now = cpu.vmread(field);
    let wanted = if on {
        now | primary::INTERRUPT_WINDOW
    } else {
        now & !primary::INTERRUPT_WINDOW
    };
    if wanted != now {
        cpu.vmwrite(field, wanted);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_highest_vector_is_given_back_first() {
        let mut taken = TakenInterrupts::default();
        assert_eq!(taken.take(), None);
        for vector in [0x20, 0xec, 0x41, 0xec] {
            taken.add(vector);
        }
        assert_eq!(taken.take(), Some(0xec));
        assert_eq!(taken.take(), Some(0x41));
        assert!(!taken.is_empty());
        assert_eq!(taken.take(), Some(0x20));
        assert!(taken.is_empty());
    }
}
