//! Instructions of one core or one thread, for the host: whether they can be executed, and what is told of them.

use super::{Context, register, run};
use crate::port::Ports;
use wire_protocol::event::PoolClass;
use wire_protocol::limits;
use wire_protocol::packet::{RegisterValues, Reply, StepOrder, Stepped, Steps, StopTask};
use wire_protocol::refusal::Refusal;
use wire_protocol::register::RegisterSet;

/// Whether the core can go on alone.
///
/// # Errors
/// No such core; it is not held or executes nothing any more; or another one is not held. Steps of a thread need an
/// interception, which there may be none of.
pub fn check<P: Ports>(context: &mut Context<'_, '_, P>, order: StepOrder) -> Result<(), Refusal> {
    let StepOrder { core, .. } = order;
    register::file(context, core)?;
    if context.halt.has_died(core) {
        return Err(Refusal::CoreDied { core });
    }
    let mut proof = context
        .halt
        .all_halted()
        .map_err(|core| Refusal::CoreNotHeld { core })?;
    if order.walk.is_some() {
        let pools = proof.edit().pools_mut();
        let interception = pools.reserve(PoolClass::ThreadInterception)?;
        pools.release(interception);
    }
    Ok(())
}

/// The answer to a request for steps: the halt, what changed since the one before, and what of the trace is left. The task only if
/// it is not the one that the host knows.
pub fn answer<'s, P: Ports>(
    context: &mut Context<'_, '_, P>,
    (count, set): (u32, RegisterSet),
    known: Option<StopTask>,
    steps: Steps<'s>,
    scratch: &'s mut [u8],
) -> Reply<'s> {
    let core = context.halt.owner();
    let (code, scratch) = scratch.split_at_mut(scratch.len().min(limits::STOP_CODE_BYTES));
    let (for_values, for_hits) =
        scratch.split_at_mut(scratch.len().min(crate::steps::VALUES_BYTES));
    let values = match register::file(context, core) {
        Ok(file) => {
            let values = set.iter().map(|register| file.get(register));
            RegisterValues::encode_into(values, for_values)
        }
        Err(_) => Ok(RegisterValues::default()),
    };
    let mut stop = run::stop(context, code, for_hits);
    stop.task = stop.task.filter(|task| Some(*task) != known);
    // What does not fit, the encoder refuses.
    let values = values.unwrap_or_default();
    Reply::Stepped(Stepped {
        stop,
        count,
        set,
        values,
        steps,
    })
}
