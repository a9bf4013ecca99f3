//! Last-branch records of held cores.

use super::{Context, register, too_long};
use crate::cores::roster::Presence;
use crate::port::Ports;
use wire_protocol::address::CoreId;
use wire_protocol::branch::BranchOrder;
use wire_protocol::packet::{Branches, Reply};
use wire_protocol::refusal::{BranchObstacle, Refusal};

/// Says what is to become of the recording on every core that is held; each does it when it is let go,
/// before its guest runs again.
///
/// # Errors
/// There are no records, a core is missing, or the guest records branches itself.
pub fn change<'s, P: Ports>(
    context: &mut Context<'_, '_, P>,
    order: BranchOrder,
    filter: u16,
) -> Result<Reply<'s>, Refusal> {
    let refuse = |obstacle| Err(Refusal::NoBranches { obstacle });
    let shared = context.shared;
    let layout = match shared.fixed.branches {
        Ok(layout) => layout,
        Err(obstacle) => return refuse(obstacle),
    };
    if order == BranchOrder::Filter && !layout.can_filter(filter) {
        return refuse(BranchObstacle::Filter);
    }
    if let Err(core) = context.halt.all_halted() {
        return Err(Refusal::CoreNotHeld { core });
    }
    let held = || {
        let all = (0..shared.facts.core_count).map(CoreId);
        all.filter(|core| context.halt.presence(*core) == Presence::Held)
    };
    let is_guests = |core| shared.with_branches(core, |branches| branches.is_guests());
    if order == BranchOrder::Enable && held().any(|core| is_guests(core) == Some(true)) {
        return refuse(BranchObstacle::Guest);
    }
    for core in held() {
        shared.with_branches(core, |branches| branches.order(order, filter));
    }
    Ok(Reply::Done)
}

/// What a core recorded before the halt, or a script of it kept.
///
/// # Errors
/// There are no records, or as [`register::file()`].
pub fn read<'s, P: Ports>(
    context: &mut Context<'_, '_, P>,
    core: CoreId,
    scratch: &'s mut [u8],
) -> Result<Reply<'s>, Refusal> {
    let shared = context.shared;
    if let Err(obstacle) = shared.fixed.branches {
        return Err(Refusal::NoBranches { obstacle });
    }
    register::file(context, core)?;
    let (base, room) = (shared.facts.kernel_base, scratch.len());
    let read = shared.with_branches(core, |branches| {
        let (is_on, kept) = branches.kept();
        Branches::encode_into(kept, base, scratch)
            .map(|branches| Reply::Branches { is_on, branches })
            .map_err(|_| too_long(room))
    });
    read.ok_or(Refusal::CoreAway { core })?
}
