//! External interrupts, taken from the guest while an event watches one, and given back.
//!
//! The exit acknowledges the interrupt, so it must not get lost: it waits here until the guest
//! can take it.

use super::native::{self, Native};
use super::step::Step;
use super::{Core, Outcome, watchers};
use crate::event::{Kind as Watched, Occasion};
use crate::hit::{Comes, Verdict};
use crate::port::{Cpu, Ports};
use crate::shared::Shared;
use crate::vmx::interruption::{Event, Kind};
use crate::vmx::{control_field, guest, interruptibility, ro};
use x86::vmx::vmcs::control::PrimaryControls;

const WINDOW: u64 = PrimaryControls::INTERRUPT_WINDOW_EXITING.bits() as u64;
const RFLAGS_IF: u64 = 1 << 9;
const VALID: u64 = 1 << 31;

/// Interrupts that were taken and not given back yet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Taken {
    /// One bit per vector.
    vectors: [u64; 4],
    /// Whether any bit is set, to be looked at before each entry.
    any: bool,
}

impl Taken {
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
    let occasion = Occasion::new(Watched::Interrupt, u64::from(vector));
    let verdict = watchers::serve_before(core, shared, &occasion, Comes::Once);
    if verdict == Verdict::Skipped {
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
    if core.interrupts.is_empty() || core.step != Step::None || core.native != Native::None {
        return;
    }
    let cpu = &core.cpu;
    let shadow = interruptibility::STI | interruptibility::MOV_SS;
    let blocked = cpu.vmread(guest::INTERRUPTIBILITY_STATE) & shadow != 0
        || cpu.vmread(guest::RFLAGS) & RFLAGS_IF == 0;
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
        native::deliver(
            core,
            shared,
            Occasion::new(Watched::Interrupt, u64::from(vector)),
        );
    }
    let waits = !core.interrupts.is_empty();
    set_window(&mut core.cpu, waits);
}

/// The hypervisor leaves this core: what still waits goes back to the interrupt controller.
pub fn give_up<C: Cpu>(core: &mut Core<C>) {
    let mut taken = core::mem::replace(&mut core.interrupts, Taken::NONE);
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
    let wanted = if on { now | WINDOW } else { now & !WINDOW };
    if wanted != now {
        cpu.vmwrite(field, wanted);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_highest_vector_is_given_back_first() {
        let mut taken = Taken::default();
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
