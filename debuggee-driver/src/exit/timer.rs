//! The VMX preemption timer: one core polls the line while the guest runs.
//!
//! It counts whatever the guest does with its interrupts, so a break-in reaches a guest that
//! hangs with interrupts off.

use super::{Core, Outcome};
use crate::halt;
use crate::port::{Cpu, Ports};
use crate::shared::Shared;
use crate::vmx::guest;
use wire_protocol::address::CoreId;
use wire_protocol::packet::StopCause;

/// Cores that do not poll look this many times less often whether they should.
const IDLE_FACTOR: u64 = 64;

/// The timer ran out: poll, and halt if the host asks for it.
pub fn handle<P: Ports>(core: &mut Core<P::Cpu>, shared: &Shared<P>) -> Outcome {
    if shared.polls(core.id) && halt::poll(&core.cpu, shared) {
        // Another core that halts at the same moment makes this one unnecessary: the host hears of
        // that one.
        halt::stop(core.id, &mut core.cpu, shared, StopCause::BreakIn, None);
    }
    core.next_look = core.cpu.tsc().wrapping_add(interval(core.id, shared));
    Outcome::Stay
}

fn interval<P: Ports>(core: CoreId, shared: &Shared<P>) -> u64 {
    if shared.polls(core) {
        shared.poll_ticks
    } else {
        shared.poll_ticks.saturating_mul(IDLE_FACTOR)
    }
}

/// Sets the timer for what is left until the next look. Exits for other reasons do not put it off: a
/// guest that leaves all the time could not be broken into.
pub fn rearm<P: Ports>(core: &mut Core<P::Cpu>, shared: &Shared<P>) {
    let left = core.next_look.saturating_sub(core.cpu.tsc());
    // This core may have become the one that polls.
    let ticks = left.min(interval(core.id, shared));
    core.cpu.vmwrite(
        guest::VMX_PREEMPTION_TIMER_VALUE,
        (ticks >> shared.preemption_timer_shift).min(u64::from(u32::MAX)),
    );
}
