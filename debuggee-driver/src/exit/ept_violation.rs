//! Accesses that the EPT views forbid: data accesses to hooked pages, and any access to the
//! debugger's own memory.

use super::{Core, Fault, Outcome, step};
use crate::port::{Cpu, Ports};
use crate::shared::Shared;
use crate::vmx::interruption::GENERAL_PROTECTION;
use crate::vmx::{guest, interruptibility, reason, ro};
use wire_protocol::address::GuestPhysical;

/// Exit qualification ("Exit Qualification for EPT Violations", table 28-7).
const WRITE: u64 = 1 << 1;
const FETCH: u64 = 1 << 2;
const NMI_UNBLOCKING_BY_IRET: u64 = 1 << 12;

/// What is done about a violation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Decision {
    /// Step over it in the clean view; a write changes a hooked page.
    StepHooked { written: bool },
    /// Step over it in the clean view; what it writes is thrown away.
    StepHidden,
    /// The guest tried to run the debugger's memory.
    Fault,
    /// Nothing is mapped there, or an access that no view forbids.
    Unexpected,
}

const fn decide(qualification: u64, hooked: bool, hidden: bool) -> Decision {
    let fetch = qualification & FETCH != 0;
    let write = qualification & WRITE != 0;
    if hidden {
        if fetch {
            Decision::Fault
        } else {
            Decision::StepHidden
        }
    } else if hooked {
        Decision::StepHooked { written: write }
    } else {
        Decision::Unexpected
    }
}

/// Decides, and steps in the clean view.
pub fn handle<P: Ports>(core: &mut Core<P::Cpu>, shared: &Shared<P>) -> Outcome {
    let qualification = core.cpu.vmread(ro::EXIT_QUALIFICATION);
    let at = GuestPhysical(core.cpu.vmread(ro::GUEST_PHYSICAL_ADDR_FULL));
    if qualification & NMI_UNBLOCKING_BY_IRET != 0 {
        let blocking = core.cpu.vmread(guest::INTERRUPTIBILITY_STATE);
        core.cpu.vmwrite(
            guest::INTERRUPTIBILITY_STATE,
            blocking | interruptibility::NMI,
        );
    }
    let hooked = shared
        .installed
        .read(|installed| installed.is_hooked_page(at));
    match decide(qualification, hooked, shared.is_guarded(at)) {
        Decision::StepHooked { written } => {
            step::begin(core, shared, written.then_some(at.page()), false);
            Outcome::Stay
        }
        Decision::StepHidden => {
            step::begin(core, shared, None, true);
            Outcome::Stay
        }
        Decision::Fault => Outcome::Inject(GENERAL_PROTECTION),
        Decision::Unexpected if core.step == step::Step::None && shared.is_mapped(at) => {
            // The hook was cleared between the access and this look.
            Outcome::Stay
        }
        Decision::Unexpected => Outcome::Dead(Fault::of_exit(reason::EPT_VIOLATION, at.0)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_and_writes_of_a_hooked_page_are_stepped() {
        assert_eq!(
            decide(1, true, false),
            Decision::StepHooked { written: false }
        );
        assert_eq!(
            decide(WRITE, true, false),
            Decision::StepHooked { written: true }
        );
        assert_eq!(
            decide(WRITE | 1, true, false),
            Decision::StepHooked { written: true }
        );
    }

    #[test]
    fn the_debuggers_memory_cannot_be_run_or_changed() {
        assert_eq!(decide(WRITE, false, true), Decision::StepHidden);
        assert_eq!(decide(FETCH, false, true), Decision::Fault);
    }

    #[test]
    fn an_access_to_an_ordinary_page_is_unexpected() {
        for qualification in [1, WRITE, FETCH] {
            assert_eq!(decide(qualification, false, false), Decision::Unexpected);
        }
    }
}
