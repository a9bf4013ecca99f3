//! Accesses that the EPT views forbid: those to watched pages, and any to the debugger's own memory.

use crate::ept::entry::Permissions;
use crate::ept::monitor::Touch;
use crate::ept::step_view::Opening;
use crate::event::TriggerInstance;
use crate::exit::core::{Core, Fault, Outcome};
use crate::exit::derived;
use crate::exit::due::Due;
use crate::exit::emulate::advance::advance_by;
use crate::exit::single::state::Accessor;
use crate::exit::single::{mode, step};
use crate::exit::violation::access::{self, Violation};
use crate::exit::violation::unwatched;
use crate::exit::watchers;
use crate::guest::instruction::Instruction;
use crate::hit::{Nature, Verdict};
use crate::port::{Cpu, Ports};
use crate::shared::Seat;
use crate::vmx::interruption::GENERAL_PROTECTION;
use crate::vmx::{reason, ro};
use wire_protocol::event::Access;

/// Exit qualification ("Exit Qualification for EPT Violations", table 28-7).
const NMI_UNBLOCKING_BY_IRET: u64 = 1 << 12;

/// What is done about a violation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Decision {
    /// The page is watched: whoever watches what is touched is served, then the page is opened.
    Serve,
    /// Step over it; what it writes is thrown away.
    StepHidden,
    /// The guest tried to run the debugger's memory.
    Fault,
    /// Nothing is mapped there, or an access that no view forbids.
    Unexpected,
}

const fn decide(access: Access, watched: bool, hidden: bool) -> Decision {
    if watched {
        Decision::Serve
    } else if hidden && access.contains(Access::EXECUTE) {
        Decision::Fault
    } else if hidden {
        Decision::StepHidden
    } else {
        Decision::Unexpected
    }
}

/// Decides, serves events, and lets the instruction run with the page open.
pub fn handle<P: Ports>(core: &mut Core<'_, P>) -> Outcome {
    let qualification = core.cpu.vmread(ro::EXIT_QUALIFICATION);
    if qualification & NMI_UNBLOCKING_BY_IRET != 0 {
        core.due |= Due::NMI_BLOCKED;
        derived::settle_blocking(core);
    }
    let violation = Violation::read(&core.cpu, qualification);
    let is_fetch = violation.access.contains(Access::EXECUTE);
    if is_fetch && let Some(outcome) = mode::on_fetch(core) {
        return outcome;
    }
    if let Some(outcome) = unwatched::pass(core, &violation) {
        return outcome;
    }
    let at = violation.at;
    let (watched, hidden) = core.seat.read(|installed| {
        let watched = core.shared.is_watched(installed, at);
        (watched, !watched && core.shared.is_guarded(installed, at))
    });
    match decide(violation.access, watched, hidden) {
        Decision::Serve => serve(core, &violation),
        Decision::StepHidden => {
            step::open_hidden(core, at);
            Outcome::Stay
        }
        Decision::Fault => Outcome::Inject(GENERAL_PROTECTION),
        Decision::Unexpected
            if is_fetch && core.single.executable_mode.is_some() && core.shared.is_mapped(at) =>
        {
            // The kernel runs a page that is user mode's: no change of mode, but the view cannot tell.
            step::begin_at_hook(core, at);
            Outcome::Stay
        }
        Decision::Unexpected
            if core.single.view.how(at.page()).is_none() && core.shared.is_mapped(at) =>
        {
            // What watched the page was cleared between the access and this look.
            Outcome::Stay
        }
        Decision::Unexpected => Outcome::Dead(Fault::of_exit(reason::EPT_VIOLATION, at.0)),
    }
}

fn serve<P: Ports>(core: &mut Core<'_, P>, violation: &Violation) -> Outcome {
    let page = violation.at.page();
    let mut access = violation.access;
    if is_any_met(&core.seat, &violation.most()) {
        let instruction = violation.instruction(core);
        let (touch, earlier) = violation.touches(core, instruction.as_ref());
        access |= touch.access;
        if is_any_met(&core.seat, &touch)
            && let Some(outcome) = hit(core, violation, instruction, touch, earlier)
        {
            return outcome;
        }
    }
    let granted = access::granted_for(access);
    let how = Opening {
        granted,
        original: granted != Permissions::EXECUTE,
    };
    if core
        .single
        .view
        .how(page)
        .is_some_and(|before| before.granted.contains(granted) && before.original >= how.original)
    {
        // It is open already, and yet the processor may not.
        return Outcome::Dead(Fault::of_exit(reason::EPT_VIOLATION, violation.at.0));
    }
    step::open(core, page, how);
    Outcome::Stay
}

fn is_any_met(seat: &Seat<'_>, touch: &Touch) -> bool {
    seat.read(|installed| installed.watches().monitors().is_any_met(touch))
}

/// Serves the events that watch what is touched. `None` lets the access happen.
fn hit<P: Ports>(
    core: &mut Core<'_, P>,
    violation: &Violation,
    instruction: Option<Instruction>,
    mut touch: Touch,
    mut earlier: Option<Touch>,
) -> Option<Outcome> {
    let how = core.single.view.how(violation.at.page());
    let was_read = how.is_some_and(|how| how.granted.contains(Permissions::READ));
    if was_read && touch.access.contains(Access::READ | Access::WRITE) {
        // The same instruction has read these bytes before, and was seen to.
        touch.access = Access::WRITE;
        let access = Access::READ;
        earlier = earlier.or(Some(Touch { access, ..touch }));
    }
    let context = violation.linear.unwrap_or(violation.at.0);
    let trigger = TriggerInstance::memory(touch, earlier, context);
    match watchers::serve_before(core, &trigger, Nature::FaultLike) {
        Verdict::Retry => return Some(Outcome::Stay),
        Verdict::Skip => {
            // What the processor does by itself cannot be skipped.
            if let Some(it) = instruction {
                step::end(core);
                advance_by(core, u64::from(it.len));
                return Some(Outcome::Moved);
            }
        }
        Verdict::Complete => {}
    }
    let by = if violation.in_delivery {
        Accessor::Delivery
    } else {
        Accessor::Instruction
    };
    step::note(core, trigger, by);
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whatever_is_done_with_a_watched_page_is_looked_at() {
        for access in [Access::READ, Access::WRITE, Access::EXECUTE] {
            assert_eq!(decide(access, true, false), Decision::Serve);
        }
    }

    #[test]
    fn the_debuggers_memory_cannot_be_run_or_changed() {
        assert_eq!(decide(Access::WRITE, false, true), Decision::StepHidden);
        assert_eq!(decide(Access::EXECUTE, false, true), Decision::Fault);
    }

    #[test]
    fn an_access_to_an_ordinary_page_is_unexpected() {
        for access in [Access::READ, Access::WRITE, Access::EXECUTE] {
            assert_eq!(decide(access, false, false), Decision::Unexpected);
        }
    }
}
