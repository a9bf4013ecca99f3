//! Exceptions and NMIs that exit: breakpoints of hooks, and NMIs. All others are the guest's own.

use super::{Core, Outcome, ept_violation, nmi, step};
use crate::event::Watched;
use crate::halt::Stopped;
use crate::port::{Cpu, Ports};
use crate::shared::Shared;
use crate::vmx::interruption::{Event, Kind};
use crate::vmx::{guest, ro};

const BREAKPOINT: u8 = 3;

/// One match over what the exit reports.
pub fn handle<P: Ports>(core: &mut Core<P::Cpu>, shared: &Shared<P>) -> Outcome {
    let info = core.cpu.vmread(ro::VMEXIT_INTERRUPTION_INFO) as u32;
    let error_code = core.cpu.vmread(ro::VMEXIT_INTERRUPTION_ERR_CODE) as u32;
    match Event::decode(info, error_code) {
        Some(event) if event.kind == Kind::Nmi => nmi::on_exit(core, shared),
        Some(event) if event.vector == BREAKPOINT => on_breakpoint(core, shared, event),
        Some(event) => Outcome::Inject(event),
        None => Outcome::Stay,
    }
}

/// INT3 ran: in a shadow page it stands for a hook, anywhere else it is the guest's.
fn on_breakpoint<P: Ports>(core: &mut Core<P::Cpu>, shared: &Shared<P>, event: Event) -> Outcome {
    let rip = core.cpu.vmread(guest::RIP);
    let Some(at) = shared.translate(&core.cpu, rip) else {
        return Outcome::Inject(event);
    };
    if core.view.how(at.page()).is_some_and(|how| how.original) {
        // The step sees the page itself, which has no hooks.
        return Outcome::Inject(event);
    }
    if shared.rendezvous.is_wanted(core.id) {
        return Outcome::Stay;
    }
    if !shared.is_hooked(at) {
        // A hook that was cleared after this core had fetched its INT3 is no breakpoint of the
        // guest's: the instruction runs again, from the page without the hook.
        return if shared.read_byte(at) == 0xcc {
            Outcome::Inject(event)
        } else {
            Outcome::Stay
        };
    }
    let stopped = ept_violation::stop_at_hits(core, shared, Watched::Execute(at));
    if stopped == Stopped::OtherCoreHalts || core.cpu.vmread(guest::RIP) != rip {
        return Outcome::Stay;
    }
    step::begin_at_hook(core, shared, at);
    Outcome::Stay
}
