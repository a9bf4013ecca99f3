//! The monitor trap flag: the end of a step, of an instruction that was passed through, or one more
//! instruction of a traced core.

use crate::event::{TriggerInstance, TriggerKind};
use crate::exit::core::{Core, Outcome};
use crate::exit::single::asked;
use crate::exit::single::host;
use crate::exit::single::passthrough;
use crate::exit::single::state::{PassThrough, Step};
use crate::exit::single::step;
use crate::exit::single::trace::{ControlFlow, ExecutedInstruction, Trace};
use crate::exit::violation::access;
use crate::exit::watchers;
use crate::guest::instruction::{LENGTH_MAX, first_opcode_byte};
use crate::hit::Nature;
use crate::port::{Cpu, PhysicalMemory, Ports};
use crate::vmx::guest;
use crate::vmx::privilege::{is_64_bit_code, linear_of_code};
use wire_protocol::event::TraceKind;

/// Ends what is done, and serves traces.
pub fn handle<P: Ports>(core: &mut Core<'_, P>) -> Outcome {
    host::count(core);
    passthrough::on_trap(core);
    if core.single.step != Step::None {
        step::on_trap(core);
    }
    if core.shared.published.traces_any()
        && core.single.step == Step::None
        && core.single.pass_through == PassThrough::None
    {
        executed(core);
    }
    host::finish(core);
    Outcome::Stay
}

/// One more instruction was executed.
pub fn executed<P: Ports>(core: &mut Core<'_, P>) {
    if !core.shared.published.traces(core.id) {
        return;
    }
    let (rip, rsp) = (core.cpu.vmread(guest::RIP), core.cpu.vmread(guest::RSP));
    if core.shared.is_driver_code(rip) {
        // A detour's, and not the guest's.
        return;
    }
    if let Some(asked) = core.shared.published.asked_step(core.id)
        && core.single.trace.last.is_none()
    {
        core.single.trace.begin(asked.from);
    }
    let found = look(core, rsp);
    let kinds = core.single.trace.next(rip, rsp, found);
    let trigger = TriggerInstance {
        detail: kinds,
        ..TriggerInstance::new(TriggerKind::Trace, 0)
    };
    watchers::serve_before(core, &trigger, Nature::TrapLike);
    if let Some(asked) = core.shared.published.asked_step(core.id) {
        let executed = ExecutedInstruction {
            rip,
            rsp,
            in_routine: kinds & TriggerInstance::trace_detail(TraceKind::StepIn) != 0,
            was_return: found.was_return,
        };
        asked::executed(core, &asked, &executed);
    }
    // A stop may have moved it.
    if core.cpu.vmread(guest::RIP) != rip {
        core.single.trace.last = None;
    }
}

fn look<P: Ports>(core: &Core<'_, P>, rsp: u64) -> ControlFlow {
    /// RET, with and without operand.
    const RETURNS: [u8; 2] = [0xc2, 0xc3];
    /// IRET, of whatever size.
    const IRET: u8 = 0xcf;
    let word = |address| {
        let mut bytes = [0; 8];
        core.shared
            .memory
            .read(core.shared.translate(&core.cpu, address)?.0, &mut bytes);
        Some(u64::from_le_bytes(bytes))
    };
    let Some((last_rip, _)) = core.single.trace.last else {
        return ControlFlow::default();
    };
    let mut bytes = [0; LENGTH_MAX];
    let linear = linear_of_code(&core.cpu, last_rip);
    let code = access::bytes_at(&core.cpu, core.shared, linear, &mut bytes);
    let opcode = first_opcode_byte(code, is_64_bit_code(&core.cpu, last_rip));
    ControlFlow {
        // The frame starts with RIP, or with an error code before it.
        entered_handler: [rsp, rsp.wrapping_add(8)]
            .into_iter()
            .any(|at| at.is_multiple_of(8) && word(at) == Some(last_rip)),
        was_return: opcode.is_some_and(|opcode| RETURNS.contains(&opcode)),
        left_handler: opcode == Some(IRET),
    }
}

/// Begins or ends what comes after each instruction of a traced core.
pub fn apply<P: Ports>(core: &mut Core<'_, P>) {
    let is_on = core.shared.published.traces(core.id);
    if !is_on && core.single.trace.is_on {
        core.single.trace = Trace::NONE;
    }
    core.single.trace.is_on = is_on;
}
