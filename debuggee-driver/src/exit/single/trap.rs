//! The monitor trap flag: the end of a step, of an instruction that was passed through, or one more
//! instruction of a traced core.

use crate::event::{TriggerInstance, TriggerKind};
use crate::exit::core::{Core, Outcome};
use crate::exit::single::asked;
use crate::exit::single::asked::STACK_BYTES;
use crate::exit::single::passthrough;
use crate::exit::single::passthrough::PassThrough;
use crate::exit::single::step;
use crate::exit::single::step::Step;
use crate::exit::watchers;
use crate::hit::Nature;
use crate::port::{Cpu, PhysicalMemory, Ports};
use crate::shared::Shared;
use crate::vmx::{activity, guest, rflags};
use wire_protocol::event::TraceKind;

/// What a trace has to remember of a core from one instruction to the next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Trace {
    /// The trap flag is on for a trace.
    on: bool,
    /// RIP and RSP after the instruction before.
    last: Option<(u64, u64)>,
    /// RSP of what an interrupt or exception interrupted, until its handler returns.
    interrupted: Option<u64>,
    /// RSP of the routine whose return is waited for.
    routine: u64,
    /// Instructions since a handler was entered or left.
    since_handler: u32,
}

/// Instructions between two handlers, at least.
///
/// A traced core is so slow that the next interrupt waits already when the handler of one returns. If it came at
/// once, the core would run nothing but handlers.
const BETWEEN_HANDLERS: u32 = 10_000;

/// What a look at the guest's memory finds out about the instruction that was executed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct ControlFlow {
    /// An event was delivered instead: its frame leads back to where the core stood.
    entered_handler: bool,
    /// It was a near return.
    was_return: bool,
    /// It was a return from a handler.
    left_handler: bool,
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
        on: false,
        last: None,
        interrupted: None,
        routine: 0,
        since_handler: 0,
    };

    /// It has left nothing to be undone.
    #[inline]
    pub(in crate::exit) const fn is_off(&self) -> bool {
        !self.on
    }

    /// The instruction before ended here.
    const fn begin(&mut self, (rip, rsp): (u64, u64)) {
        self.last = Some((rip, rsp));
        self.routine = rsp;
    }

    /// One more instruction, after which RIP and RSP are these. Returns which kinds of traces
    /// follow it.
    fn next(&mut self, rip: u64, rsp: u64, found: ControlFlow) -> u64 {
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
        if let Some(interrupted) = self.interrupted {
            if rsp == interrupted {
                self.interrupted = None;
            }
            return instrument;
        }
        if found.entered_handler {
            self.interrupted = Some(last_rsp);
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

/// Ends what is done, and serves traces.
pub fn handle<P: Ports>(core: &mut Core<P::Cpu>, shared: &Shared<P>) -> Outcome {
    passthrough::on_trap(core, shared);
    if core.step != Step::None {
        step::on_trap(core, shared);
    }
    if shared.published.traces_any()
        && core.step == Step::None
        && core.pass_through == PassThrough::None
    {
        executed(core, shared);
    }
    Outcome::Stay
}

/// One more instruction was executed.
pub fn executed<P: Ports>(core: &mut Core<P::Cpu>, shared: &Shared<P>) {
    if !shared.published.traces(core.id) {
        return;
    }
    let (rip, rsp) = (core.cpu.vmread(guest::RIP), core.cpu.vmread(guest::RSP));
    if shared.is_driver_code(rip) {
        // A detour's, and not the guest's.
        return;
    }
    if let Some(asked) = shared.published.asked_step(core.id)
        && core.trace.last.is_none()
    {
        core.trace.begin(asked.from);
    }
    let found = look(core, shared, rsp);
    let kinds = core.trace.next(rip, rsp, found);
    let trigger = TriggerInstance {
        detail: kinds,
        ..TriggerInstance::new(TriggerKind::Trace, 0)
    };
    watchers::serve_before(core, shared, &trigger, Nature::TrapLike);
    if let Some(asked) = shared.published.asked_step(core.id) {
        let executed = ExecutedInstruction {
            rip,
            rsp,
            in_routine: kinds & TriggerInstance::trace_detail(TraceKind::StepIn) != 0,
            was_return: found.was_return,
        };
        asked::executed(core, shared, &asked, &executed);
    }
    // A stop may have moved it.
    if core.cpu.vmread(guest::RIP) != rip {
        core.trace.last = None;
    }
}

fn look<P: Ports>(core: &Core<P::Cpu>, shared: &Shared<P>, rsp: u64) -> ControlFlow {
    /// RET, with and without operand.
    const RETURNS: [u8; 2] = [0xc2, 0xc3];
    /// IRETQ, with its prefix.
    const IRETQ: [u8; 2] = [0x48, 0xcf];
    let word = |address| {
        let mut bytes = [0; 8];
        shared
            .memory
            .read(shared.translate(&core.cpu, address)?.0, &mut bytes);
        Some(u64::from_le_bytes(bytes))
    };
    let Some((last_rip, _)) = core.trace.last else {
        return ControlFlow::default();
    };
    let byte = |at| {
        let at = shared.translate(&core.cpu, at)?;
        Some(shared.read_byte(at))
    };
    let opcode = byte(last_rip);
    let [prefix, iret] = IRETQ.map(Some);
    ControlFlow {
        // The frame starts with RIP, or with an error code before it.
        entered_handler: [rsp, rsp.wrapping_add(8)]
            .into_iter()
            .any(|at| at.is_multiple_of(8) && word(at) == Some(last_rip)),
        was_return: opcode.is_some_and(|opcode| RETURNS.contains(&opcode)),
        left_handler: opcode == prefix && byte(last_rip.wrapping_add(1)) == iret,
    }
}

/// Turns the trap flag on for a traced core, and off for one that is traced no more.
pub fn before_entry<P: Ports>(core: &mut Core<P::Cpu>, shared: &Shared<P>) {
    let on = shared.published.traces(core.id);
    if !on && !core.trace.on {
        return;
    }
    let steps = core.step != Step::None || core.pass_through != PassThrough::None;
    step::set_trap(&mut core.cpu, on || steps);
    if !on {
        core.trace = Trace::NONE;
    } else if core.trace.since_handler < BETWEEN_HANDLERS {
        hold_interrupts_off(core, shared);
    }
    core.trace.on = on;
}

/// Holds interrupts off for one more instruction, unless the core waits for one.
fn hold_interrupts_off<P: Ports>(core: &mut Core<P::Cpu>, shared: &Shared<P>) {
    let is_single_stepped = core.cpu.vmread(guest::RFLAGS) & rflags::TF != 0;
    let is_active = core.cpu.vmread(guest::ACTIVITY_STATE) == activity::ACTIVE;
    if is_active && !is_single_stepped {
        step::hold_interrupts_off(core, shared);
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
