//! The VMX preemption timer: one core polls the line while the guest runs.
//!
//! It counts whatever the guest does with its interrupts, so a break-in reaches a guest that
//! hangs with interrupts off.

use crate::exit::core::{Core, Outcome};
use crate::exit::due::Due;
use crate::exit::respite::LOOK_MS;
use crate::exit::single::host;
use crate::halt;
use crate::port::{Cpu, Ports};
use crate::vmx::guest;
use wire_protocol::packet::StopCause;

/// The timer ran out: poll, and halt if the host asks for it.
pub fn handle<P: Ports>(core: &mut Core<'_, P>) -> Outcome {
    if core.shared.poll.is_by(core.id) && halt::poll(&core.cpu, core.shared) {
        // Another core that halts at the same moment makes this one unnecessary: the host hears of
        // that one.
        halt::stop(
            &mut core.seat,
            &mut core.cpu,
            core.shared,
            StopCause::BreakIn,
            None,
        );
    }
    host::look(core);
    let now = core.cpu.tsc();
    let period = u64::from(core.shared.facts.tsc_khz) * LOOK_MS;
    let is_traced = core.single.trace.is_on;
    if core.respite.look((now, core.exits), period, is_traced) {
        core.due |= Due::INTERRUPTS;
    }
    let mut ticks = core.shared.poll.ticks_to_next_look(core.id);
    if core.respite.is_on() {
        // When it leaves its guest no more, it has what was kept for it.
        ticks = ticks.min(period);
    }
    core.time.next_look = now.wrapping_add(ticks);
    Outcome::Stay
}

/// Sets the timer for what is left until the next look. Exits for other reasons do not put it off: a
/// guest that leaves all the time could not be broken into.
#[inline(always)]
pub fn rearm<P: Ports>(core: &mut Core<'_, P>) {
    // A look that is overdue lies beyond any interval, too.
    let mut ticks = core.time.next_look.wrapping_sub(core.cpu.tsc());
    if ticks > core.shared.poll.interval_ticks() {
        ticks = at_most(core, ticks);
    }
    core.cpu.vmwrite(
        guest::VMX_PREEMPTION_TIMER_VALUE,
        ticks >> core.shared.fixed.preemption_timer_shift,
    );
}

/// Until the next look of a core that does not poll; it may have become the one that does. None is left if the look is
/// overdue.
#[inline(never)]
fn at_most<P: Ports>(core: &Core<'_, P>, ticks: u64) -> u64 {
    if ticks.cast_signed() < 0 {
        return 0;
    }
    ticks
        .min(core.shared.poll.ticks_to_next_look(core.id))
        .min(u64::from(u32::MAX))
}
