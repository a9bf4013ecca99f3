//! The VMX preemption timer: one core polls the line while the guest runs.
//!
//! It counts whatever the guest does with its interrupts, so a break-in reaches a guest that
//! hangs with interrupts off.

use super::{Core, Outcome};
use crate::halt;
use crate::port::{Cpu, Ports};
use crate::shared::Shared;
use crate::vmx::guest;
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
    Outcome::Stay
}

/// Sets the timer for the next look.
pub fn rearm<P: Ports>(core: &mut Core<P::Cpu>, shared: &Shared<P>) {
    let ticks = if shared.polls(core.id) {
        shared.poll_ticks
    } else {
        shared.poll_ticks.saturating_mul(IDLE_FACTOR)
    };
    core.cpu.vmwrite(
        guest::VMX_PREEMPTION_TIMER_VALUE,
        (ticks >> shared.preemption_timer_shift).min(u64::from(u32::MAX)),
    );
}
