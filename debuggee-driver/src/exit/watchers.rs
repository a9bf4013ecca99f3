//! Those who watch what made the core exit: every handler serves them through here, in VMX-root.

use super::{Core, Outcome};
use crate::event::{Moment, Occasion};
use crate::hit::{self, Comes, Verdict};
use crate::port::Ports;
use crate::shared::Shared;

/// Serves the events that watch what made the core exit, and carries it out unless one of them
/// says otherwise.
pub(super) fn watched<P: Ports>(
    core: &mut Core<P::Cpu>,
    shared: &Shared<P>,
    occasion: Occasion,
    carry_out: impl FnOnce(&mut Core<P::Cpu>) -> Outcome,
) -> Outcome {
    match serve_before(core, shared, &occasion, Comes::Again) {
        Verdict::Skipped => Outcome::Advance,
        Verdict::Stays => Outcome::Stay,
        Verdict::Goes => {
            let outcome = carry_out(core);
            if matches!(outcome, Outcome::Advance | Outcome::Moved)
                && shared
                    .installed
                    .read(|installed| installed.has_after(occasion.kind))
            {
                core.carried_out = Some(occasion);
            }
            outcome
        }
    }
}

/// Serves the events that wait for `occasion` before it takes effect.
#[inline]
pub(super) fn serve_before<P: Ports>(
    core: &mut Core<P::Cpu>,
    shared: &Shared<P>,
    occasion: &Occasion,
    comes: Comes,
) -> Verdict {
    let before = Moment::Pre;
    hit::fire(core.id, &mut core.cpu, shared, occasion, before, comes)
}

/// Serves those that wait until it has taken effect.
#[inline]
pub(super) fn serve_after<P: Ports>(
    core: &mut Core<P::Cpu>,
    shared: &Shared<P>,
    occasion: &Occasion,
) {
    let (after, comes) = (Moment::Post, Comes::Once);
    hit::fire(core.id, &mut core.cpu, shared, occasion, after, comes);
}

/// Whether there are any that wait until it has taken effect on this core.
pub(super) fn is_after_awaited<P: Ports>(
    core: &Core<P::Cpu>,
    shared: &Shared<P>,
    occasion: &Occasion,
) -> bool {
    let facts = shared.dispatch_facts(core.id);
    shared.installed.read(|installed| {
        installed.has_after(occasion.kind)
            && installed.may_concern(occasion)
            && installed
                .find(occasion, Moment::Post, None, &facts)
                .is_some()
    })
}
