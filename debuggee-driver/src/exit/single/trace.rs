//! Where a trace stands, as data: what it remembers of a core from one instruction to the next, and what it makes of
//! each.
//!
//! Used by [`super::trap`] and [`super::asked`], in VMX-root, by the core it stands for.

use crate::event::TriggerInstance;
use wire_protocol::event::TraceKind;

/// Stacks are farther apart than this.
pub(super) const STACK_BYTES: u64 = 1 << 20;

/// What a trace has to remember of a core from one instruction to the next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Trace {
    /// The core is traced, or steps for a script.
    pub(in crate::exit) is_on: bool,
    /// RIP and RSP after the instruction before.
    pub(super) last: Option<(u64, u64)>,
    /// RSP of what an interrupt or exception interrupted, until its handler returns; and how many handlers have been
    /// entered since and not left. One that is left with another RSP has returned as well: to a handler of a signal, or to
    /// another thread.
    interrupted: Option<(u64, u32)>,
    /// RSP of the routine whose return is waited for.
    routine: u64,
    /// Instructions since a handler was entered or left.
    since_handler: u32,
}

/// Instructions between two handlers, at least.
///
/// A traced core is so slow that the next interrupt waits already when the handler of one returns. If it came at
/// once, the core would run nothing but handlers.
pub(in crate::exit) const BETWEEN_HANDLERS: u32 = 10_000;

/// What a look at the guest's memory finds out about the instruction that was executed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct ControlFlow {
    /// An event was delivered instead: its frame leads back to where the core stood.
    pub(super) entered_handler: bool,
    /// It was a near return.
    pub(super) was_return: bool,
    /// It was a return from a handler.
    pub(super) left_handler: bool,
}

/// The instruction that was executed, as steps see it.
#[derive(Clone, Copy, Debug)]
pub(in crate::exit) struct ExecutedInstruction {
    /// RIP behind it.
    pub(in crate::exit) rip: u64,
    /// RSP behind it.
    pub(in crate::exit) rsp: u64,
    /// It was none of a handler that came in between.
    pub(in crate::exit) in_routine: bool,
    /// It was a near return.
    pub(in crate::exit) was_return: bool,
}

impl Trace {
    /// No trace.
    pub const NONE: Self = Self {
        is_on: false,
        last: None,
        interrupted: None,
        routine: 0,
        since_handler: 0,
    };

    /// Instructions since a handler was entered or left.
    pub(in crate::exit) const fn since_handler(&self) -> u32 {
        self.since_handler
    }

    /// The instruction before ended here.
    pub(super) const fn begin(&mut self, (rip, rsp): (u64, u64)) {
        self.last = Some((rip, rsp));
        self.routine = rsp;
    }

    /// One more instruction, after which RIP and RSP are these. Returns which kinds of traces
    /// follow it.
    pub(super) fn next(&mut self, rip: u64, rsp: u64, found: ControlFlow) -> u64 {
        self.since_handler = if found.entered_handler || found.left_handler {
            0
        } else {
            self.since_handler.saturating_add(1)
        };
        let last = self.last.replace((rip, rsp));
        let instrument = TriggerInstance::trace_detail(TraceKind::Instrument);
        let Some((_, last_rsp)) = last else {
            self.routine = rsp;
            return instrument;
        };
        if let Some((interrupted, depth)) = self.interrupted {
            let depth = if found.entered_handler {
                depth.saturating_add(1)
            } else {
                depth.saturating_sub(u32::from(found.left_handler))
            };
            let is_back = rsp == interrupted || depth == 0;
            self.interrupted = (!is_back).then_some((interrupted, depth));
            return instrument;
        }
        if found.entered_handler {
            self.interrupted = Some((last_rsp, 1));
            return instrument;
        }
        let mut kinds = instrument | TriggerInstance::trace_detail(TraceKind::StepIn);
        if rsp.abs_diff(self.routine) > STACK_BYTES {
            self.routine = rsp;
        } else if found.was_return && rsp > self.routine {
            self.routine = rsp;
            kinds |= TriggerInstance::trace_detail(TraceKind::StepOut);
        }
        kinds
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLAIN: ControlFlow = ControlFlow {
        entered_handler: false,
        was_return: false,
        left_handler: false,
    };
    const HANDLER: ControlFlow = ControlFlow {
        entered_handler: true,
        ..PLAIN
    };
    const RETURN: ControlFlow = ControlFlow {
        was_return: true,
        ..PLAIN
    };
    const IRET: ControlFlow = ControlFlow {
        left_handler: true,
        ..PLAIN
    };

    #[test]
    fn each_handler_is_followed_by_instructions_that_are_none() {
        let mut trace = Trace::NONE;
        for found in [PLAIN, HANDLER, PLAIN, IRET] {
            trace.next(0, 0, found);
        }
        assert_eq!(trace.since_handler, 0);
        trace.next(0, 0, PLAIN);
        assert_eq!(trace.since_handler, 1);
    }

    #[test]
    fn handlers_are_no_part_of_a_step_in_and_returns_end_a_step_out() {
        let mut trace = Trace::NONE;
        let [step_in, step_out, all] =
            [TraceKind::StepIn, TraceKind::StepOut, TraceKind::Instrument]
                .map(TriggerInstance::trace_detail);
        let stack = 0xffff_c900_0010_0000;
        for (rip, rsp, found, kinds) in [
            (0x100, stack, PLAIN, all),
            (0x101, stack - 8, PLAIN, all | step_in),
            // Called routine, and back: it is not the one that was current.
            (0x200, stack - 16, PLAIN, all | step_in),
            (0x106, stack - 8, RETURN, all | step_in),
            // Interrupt, its handler's own return, and IRET.
            (0x900, stack - 0x100, HANDLER, all),
            (0x901, stack - 0xf8, RETURN, all),
            (0x106, stack - 8, IRET, all),
            (0x107, stack, PLAIN, all | step_in),
            // The routine returns.
            (0x50, stack + 8, RETURN, all | step_in | step_out),
            (0x51, stack + 8, PLAIN, all | step_in),
            // An exception, an interrupt in its handler, and the handler of a signal, on a stack of its own.
            (0x900, stack - 0x100, HANDLER, all),
            (0x980, stack - 0x200, HANDLER, all),
            (0x901, stack - 0x100, IRET, all),
            (0x70, stack - 0x4000, IRET, all),
            (0x71, stack - 0x4000, PLAIN, all | step_in),
            // Another stack.
            (0x60, stack - (1 << 30), PLAIN, all | step_in),
            (
                0x61,
                stack - (1 << 30) + 8,
                RETURN,
                all | step_in | step_out,
            ),
        ] {
            assert_eq!(trace.next(rip, rsp, found), kinds, "{rip:x}");
        }
    }
}
