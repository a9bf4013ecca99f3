//! What a core does for one instruction, as data: why it comes back behind it, and what is done then.
//!
//! Changed by the handlers of `exit`, in VMX-root, by the core it stands for; what the processor is told
//! follows from it: see [`crate::exit::derived`].

use crate::ept::entry::Mode;
use crate::ept::step_view::StepView;
use crate::event::TriggerInstance;
use crate::exit::single::trace::Trace;
use bitflags::bitflags;
use wire_protocol::packet::StopCause;

bitflags! {
    /// Why a core runs one instruction and comes back.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct Reasons: u8 {
        /// It touches watched pages, which are open for it.
        const STEP = 1;
        /// It is watched, and carried out by the guest itself.
        const PASS_THROUGH = 1 << 1;
        /// An event is delivered first, whose time after is waited for.
        const DELIVERY = 1 << 2;
        /// The core is traced, or steps for a script or for the host.
        const TRACE = 1 << 3;
        /// The core is in the stub of detours, and something was deferred until it is out.
        const STUB = 1 << 4;
    }
}

/// What a core does next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pace {
    /// It runs until something makes it exit.
    Free,
    /// It comes back behind one instruction, or at the first one of a handler.
    OneInstruction(Reasons),
}

/// Whether a core is stepping.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// It runs in its resting view.
    None,
    /// It runs one instruction in its own view.
    Active {
        /// Where the instruction stands.
        rip: u64,
        /// The instruction touches the debugger's memory: what it writes there is thrown away.
        discards: bool,
        /// The instruction touches more watched pages than the view can open: it runs in the
        /// clean view, and what else it touches goes unseen.
        blind: bool,
    },
}

/// What makes an instruction exit, and does not while the guest carries it out by itself.
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
        /// What does not make it exit.
        intercept: Intercept,
    },
    /// The delivery of an exception or an interrupt.
    Delivery {
        /// Which.
        trigger: TriggerInstance,
    },
}

/// Who touched memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Accessor {
    /// The instruction.
    Instruction,
    /// The delivery of an event.
    Delivery,
}

/// Accesses of one instruction whose events of the stage after are served.
const TOUCHED_MAX: usize = 8;

/// What the instruction touches, for the time after it, or the event whose delivery comes first. Never moved
/// as a whole, which would cost more than a step.
#[derive(Debug)]
pub struct Touched {
    accesses: [Option<(TriggerInstance, Accessor)>; TOUCHED_MAX],
    /// The first so many are the instruction's.
    count: usize,
}

impl Touched {
    /// Nothing that anyone waits for.
    pub const NOTHING: Self = Self {
        accesses: [None; TOUCHED_MAX],
        count: 0,
    };

    pub(super) fn add(&mut self, trigger: TriggerInstance, by: Accessor) {
        if let Some(slot) = self.accesses.get_mut(self.count) {
            *slot = Some((trigger, by));
            self.count += 1;
        }
    }

    pub(super) const fn count(&self) -> usize {
        self.count
    }

    /// Forgets them all, but [`Self::get`] still finds them until others come.
    pub(super) const fn clear(&mut self) {
        self.count = 0;
    }

    pub(super) fn get(&self, index: usize) -> Option<(TriggerInstance, Accessor)> {
        self.accesses.get(index).copied().flatten()
    }
}

/// All of it.
#[derive(Debug)]
pub struct Single {
    /// Whether it runs one instruction that touches watched pages right now.
    pub step: Step,
    /// The view it does so in.
    pub view: StepView,
    /// What it touches in doing so that events of the stage after wait for.
    pub touched: Touched,
    /// What it carries out by itself right now, with nothing intercepted.
    pub pass_through: PassThrough,
    /// Where its trace stands.
    pub trace: Trace,
    /// Instructions of the step that a script asked for.
    pub asked_steps: u32,
    /// Why the steps that the host asked for end with this one, whatever their number.
    pub ends_steps: Option<StopCause>,
    /// It is in the stub of detours, and is wanted as soon as it is out.
    pub is_wanted_behind_stub: bool,
    /// The only mode that can execute anything, while changes of mode are watched on it.
    pub executable_mode: Option<Mode>,
}

impl Single {
    /// Nothing; steps will be in `view`.
    pub const fn new(view: StepView) -> Self {
        Self {
            step: Step::None,
            view,
            touched: Touched::NOTHING,
            pass_through: PassThrough::None,
            trace: Trace::NONE,
            asked_steps: 0,
            ends_steps: None,
            is_wanted_behind_stub: false,
            executable_mode: None,
        }
    }

    /// What the core does next.
    #[must_use]
    pub fn pace(&self) -> Pace {
        let mut reasons = Reasons::empty();
        reasons.set(Reasons::STEP, self.step != Step::None);
        match self.pass_through {
            PassThrough::None => {}
            PassThrough::Instruction { .. } => reasons |= Reasons::PASS_THROUGH,
            PassThrough::Delivery { .. } => reasons |= Reasons::DELIVERY,
        }
        reasons.set(Reasons::TRACE, self.trace.is_on);
        reasons.set(Reasons::STUB, self.is_wanted_behind_stub);
        if reasons.is_empty() {
            Pace::Free
        } else {
            Pace::OneInstruction(reasons)
        }
    }

    /// Whether an instruction is under way that must not be interrupted by what could as well come behind it.
    #[inline]
    #[must_use]
    pub fn is_busy(&self) -> bool {
        self.step != Step::None || self.pass_through != PassThrough::None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ept::step_view::PAGES;
    use crate::event::TriggerKind;

    #[test]
    fn every_reason_makes_it_one_instruction() {
        let trigger = TriggerInstance::new(TriggerKind::Exception, 3);
        let mut single = Single::new(StepView::new([0; PAGES]));
        assert_eq!(single.pace(), Pace::Free);
        single.trace.is_on = true;
        assert_eq!(single.pace(), Pace::OneInstruction(Reasons::TRACE));
        assert!(!single.is_busy());
        single.pass_through = PassThrough::Delivery { trigger };
        let both = Reasons::TRACE | Reasons::DELIVERY;
        assert_eq!(single.pace(), Pace::OneInstruction(both));
        single.trace.is_on = false;
        single.pass_through = PassThrough::None;
        single.is_wanted_behind_stub = true;
        assert_eq!(single.pace(), Pace::OneInstruction(Reasons::STUB));
        single.step = Step::Active {
            rip: 0,
            discards: false,
            blind: false,
        };
        let both = Reasons::STEP | Reasons::STUB;
        assert_eq!(single.pace(), Pace::OneInstruction(both));
        assert!(single.is_busy());
    }
}
