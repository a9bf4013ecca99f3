//! How the core that serves a halt spends the time in which nothing is under way: it sleeps where the line can call it, and
//! looks seldom where not.
//!
//! Called by [`super::serve`], in VMX-root.

use crate::command::Context;
use crate::line::Line;
use crate::port::{Calls, Cpu, HostTransport, Ports};

/// A call that takes longer to arrive is none.
const CALL_NS: u64 = 50_000;

/// Calls that have to arrive.
const TRIES: u32 = 3;

/// What is known of the line in this halt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Rest {
    /// Nothing yet.
    Untried,
    /// It calls this core by an NMI.
    Called,
    /// It does not.
    Uncalled,
}

impl Rest {
    /// Until something may have come.
    pub(super) fn rest<P: Ports>(
        &mut self,
        line: &mut Line<P::Transport>,
        context: &Context<'_, '_, P>,
    ) {
        if !line.is_idle() {
            return;
        }
        let device = line.device();
        match self {
            Self::Untried => *self = try_calls(device, context),
            Self::Called => sleep(device, context),
            Self::Uncalled => {
                let ticks = context.shared.clock.ticks_in_ns(device.patience_ns());
                context
                    .cpu
                    .pause_until(context.cpu.tsc().wrapping_add(ticks));
            }
        }
    }

    /// The halt is over.
    pub(super) fn end<P: Ports>(self, line: &mut Line<P::Transport>) {
        if self == Self::Called {
            line.device().lead_calls(None);
        }
    }
}

/// Lets the device call. What the machine's tables say of interrupts need not hold, in a virtual one least of all; and what
/// arrives once may be an NMI of the guest's. A core that is missing may stand between two accesses to the controller.
fn try_calls<P: Ports>(device: &mut P::Transport, context: &Context<'_, '_, P>) -> Rest {
    let apic_id = context.shared.apic_id(context.halt.owner());
    if context.halt.missing_mask() != 0 || !device.lead_calls(Some(apic_id)) {
        return Rest::Uncalled;
    }
    let is_called = (0..TRIES).all(|_| {
        let seen = context.cpu.root_nmis();
        device.set_calls(Calls::AtOnce);
        let arrives = arrives(seen, context);
        device.set_calls(Calls::Never);
        arrives
    });
    if is_called {
        (0..TRIES).for_each(|_| context.halt.expect_own_nmi());
        return Rest::Called;
    }
    device.lead_calls(None);
    Rest::Uncalled
}

/// Sleeps until the device calls, or somebody else does: another NMI is the guest's.
fn sleep<P: Ports>(device: &mut P::Transport, context: &Context<'_, '_, P>) {
    let seen = context.cpu.root_nmis();
    device.set_calls(Calls::OnData);
    context.cpu.sleep_unless(|| device.has_come());
    device.set_calls(Calls::Never);
    if device.has_come() && arrives(seen, context) {
        // It is no NMI of the guest's.
        context.halt.expect_own_nmi();
    }
}

/// Whether a call arrives.
fn arrives<P: Ports>(seen: u64, context: &Context<'_, '_, P>) -> bool {
    let start = context.cpu.tsc();
    let limit_ticks = context.shared.clock.ticks_in_ns(CALL_NS);
    while context.cpu.root_nmis() == seen {
        if context.cpu.tsc().wrapping_sub(start) >= limit_ticks {
            return false;
        }
        core::hint::spin_loop();
    }
    true
}
