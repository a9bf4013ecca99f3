//! Steps that scripts ask for (`event_trace_step` and its relatives): when one ends, the event whose script
//! asked runs once more, and goes on as long as it asks again.
//!
//! Called by `trap` after every instruction of a core that steps.

use crate::exit::core::Core;
use crate::exit::single::step;
use crate::exit::single::trace::{ExecutedInstruction, STACK_BYTES};
use crate::hit;
use crate::port::Ports;
use crate::published::AskedStep;
use wire_protocol::script::Tracing;

/// Instructions after which a step ends wherever it is: the routine may go on elsewhere, or never return.
const INSTRUCTIONS_MAX: u32 = 100_000;

/// Ends the core's step if the instruction was its last.
pub(in crate::exit) fn executed<P: Ports>(
    core: &mut Core<'_, P>,
    asked: &AskedStep,
    executed: &ExecutedInstruction,
) {
    let (rip, rsp) = asked.from;
    core.single.asked_steps = core.single.asked_steps.saturating_add(1);
    // It was asked for behind an instruction that is only now told, or the instruction repeats itself.
    let stands = (executed.rip, executed.rsp) == asked.from;
    let is_call =
        || step::instruction_at(core, rip).is_some_and(|instruction| instruction.is_call());
    let is_over = || !stands && is_over(asked.tracing, rsp, executed, is_call);
    if core.single.asked_steps < INSTRUCTIONS_MAX && !is_over() {
        return;
    }
    core.single.asked_steps = 0;
    core.shared.published.end_step(core.id);
    hit::again(&mut core.seat, &mut core.cpu, core.shared, asked.event);
}

/// Whether a step that began with the stack at `rsp` ends with this instruction.
fn is_over(
    tracing: Tracing,
    rsp: u64,
    executed: &ExecutedInstruction,
    began_with_call: impl Fn() -> bool,
) -> bool {
    let is_near = executed.rsp.abs_diff(rsp) < STACK_BYTES;
    let is_back = || is_near && executed.rsp >= rsp || !began_with_call();
    match tracing {
        Tracing::InstrumentationStepIn => true,
        // A handler may run on a stack above, from which nothing returned.
        Tracing::InstrumentationStep => is_back() && (executed.in_routine || !began_with_call()),
        Tracing::StepIn => executed.in_routine,
        Tracing::Step => executed.in_routine && is_back(),
        Tracing::StepOut => {
            executed.in_routine && executed.was_return && is_near && executed.rsp > rsp
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STACK: u64 = 0xffff_c900_0010_0000;

    fn after(rsp: u64) -> ExecutedInstruction {
        ExecutedInstruction {
            rip: 0x100,
            rsp,
            in_routine: true,
            was_return: false,
        }
    }

    fn endings(executed: &ExecutedInstruction, is_call: bool) -> [bool; 5] {
        Tracing::ALL.map(|tracing| is_over(tracing, STACK, executed, || is_call))
    }

    #[test]
    fn every_step_ends_where_it_should() {
        // PUSH.
        assert_eq!(
            endings(&after(STACK - 8), false),
            [true, true, false, true, true]
        );
        // CALL, and what is in the routine that was called.
        assert_eq!(
            endings(&after(STACK - 8), true),
            [false, true, false, false, true]
        );
        // Behind it again.
        let back = ExecutedInstruction {
            was_return: true,
            ..after(STACK)
        };
        assert_eq!(endings(&back, true), [true, true, false, true, true]);
        // The routine returned.
        let out = ExecutedInstruction {
            was_return: true,
            ..after(STACK + 8)
        };
        assert_eq!(endings(&out, false), [true; 5]);
        // A handler came in between.
        let handler = ExecutedInstruction {
            in_routine: false,
            ..after(STACK - 0x80)
        };
        assert_eq!(endings(&handler, false), [false, false, false, true, true]);
        // Another thread, whose stack is elsewhere, returns.
        let other = ExecutedInstruction {
            was_return: true,
            ..after(STACK + (1 << 30))
        };
        assert_eq!(endings(&other, true), [false, true, false, false, true]);
    }
}
