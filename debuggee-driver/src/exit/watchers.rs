//! Those who watch what made the core exit: every handler serves them through here, in VMX-root.

use crate::event::{Moment, TriggerInstance};
use crate::exit::core::{Core, Outcome};
use crate::hit::{self, Nature, Verdict};
use crate::port::Ports;

/// Serves the events that watch what made the core exit, and carries it out unless one of them
/// says otherwise.
pub(super) fn watched<P: Ports>(
    core: &mut Core<'_, P>,
    trigger: TriggerInstance,
    carry_out: impl FnOnce(&mut Core<'_, P>) -> Outcome,
) -> Outcome {
    match serve_before(core, &trigger, Nature::FaultLike) {
        Verdict::Skip => Outcome::Advance,
        Verdict::Retry => Outcome::Stay,
        Verdict::Complete => {
            let outcome = carry_out(core);
            if matches!(outcome, Outcome::Advance | Outcome::Moved)
                && core
                    .seat
                    .read(|installed| installed.has_after(trigger.kind))
            {
                core.carried_out = Some(trigger);
            }
            outcome
        }
    }
}

/// Serves the events that wait for `trigger` before it takes effect.
#[inline]
pub(super) fn serve_before<P: Ports>(
    core: &mut Core<'_, P>,
    trigger: &TriggerInstance,
    nature: Nature,
) -> Verdict {
    let before = Moment::Pre;
    hit::fire(
        &mut core.seat,
        &mut core.cpu,
        core.shared,
        trigger,
        before,
        nature,
    )
}

/// Serves those that wait until it has taken effect.
#[inline]
pub(super) fn serve_after<P: Ports>(core: &mut Core<'_, P>, trigger: &TriggerInstance) {
    let (after, nature) = (Moment::Post, Nature::TrapLike);
    hit::fire(
        &mut core.seat,
        &mut core.cpu,
        core.shared,
        trigger,
        after,
        nature,
    );
}

/// Whether there are any that wait until it has taken effect on this core.
pub(super) fn is_after_awaited<P: Ports>(core: &Core<'_, P>, trigger: &TriggerInstance) -> bool {
    let facts = core.shared.dispatch_facts(core.id);
    core.seat.read(|installed| {
        installed.has_after(trigger.kind)
            && installed.may_concern(trigger)
            && installed
                .find(trigger, Moment::Post, None, &facts)
                .is_some()
    })
}
