//! Registers of a held core.

use super::{Context, too_long};
use crate::cores::registers::RegisterFile;
use crate::port::Ports;
use wire_protocol::address::CoreId;
use wire_protocol::packet::{RegisterValues, Reply};
use wire_protocol::refusal::Refusal;
use wire_protocol::register::{Register, RegisterSet};

/// The register file of a core that is held.
///
/// # Errors
/// No such core, or it did not check in, or it is lost.
pub(super) fn file<'c, P: Ports>(
    context: &'c mut Context<'_, '_, P>,
    core: CoreId,
) -> Result<&'c mut RegisterFile, Refusal> {
    let count = context.shared.facts.core_count;
    if core.0 >= count {
        return Err(Refusal::NoSuchCore { core, count });
    }
    let away = if context.halt.has_died(core) {
        Refusal::CoreDied { core }
    } else {
        Refusal::CoreAway { core }
    };
    Ok(&mut context.halt.local_of(core).ok_or(away)?.file)
}

/// Values of a set of registers.
///
/// # Errors
/// As [`file()`].
pub fn read<'s, P: Ports>(
    context: &mut Context<'_, '_, P>,
    core: CoreId,
    set: RegisterSet,
    scratch: &'s mut [u8],
) -> Result<Reply<'s>, Refusal> {
    let file = file(context, core)?;
    let room = scratch.len();
    let values =
        RegisterValues::encode_into(set.iter().map(|register| file.get(register)), scratch)
            .map_err(|_| too_long(room))?;
    Ok(Reply::Registers { set, values })
}

/// Changes a register; the core loads it when it is let go.
///
/// # Errors
/// As [`file()`], and values the processor would not take.
pub fn write<'s, P: Ports>(
    context: &mut Context<'_, '_, P>,
    core: CoreId,
    register: Register,
    value: u64,
) -> Result<Reply<'s>, Refusal> {
    file(context, core)?.set(register, value)?;
    Ok(Reply::Done)
}
