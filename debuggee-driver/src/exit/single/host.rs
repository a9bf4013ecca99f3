//! Steps that the host asks for: one core goes on an instruction at a time, alone but where it follows a thread that is not
//! frozen, and halts again behind the last.
//!
//! What counts as one is what the monitor trap flag makes one ("Monitor Trap Flag", 26.5.2): an instruction, an iteration of a
//! repeated one, the delivery of what comes in its place. An instruction that is carried out for the guest is one, too.
//!
//! Called by [`super::trap`] and behind every instruction that was carried out, by `timer`, in VMX-root, by the core that
//! steps.

use crate::exit::core::Core;
use crate::exit::violation::access;
use crate::guest::instruction::{self, LENGTH_MAX};
use crate::halt::{self, Stopped, walk};
use crate::port::{Cpu, Ports};
use crate::vmx::{activity, guest};
use wire_protocol::packet::{StepDetail, StepEnd, StopCause};

/// One more instruction ended, before anybody else is told.
pub(in crate::exit) fn count<P: Ports>(core: &mut Core<'_, P>) {
    if !core.shared.published.steps_for_host(core.id) {
        return;
    }
    let rip = core.cpu.vmread(guest::RIP);
    if core.shared.is_driver_code(rip) {
        // A detour's, and not the guest's.
        return;
    }
    core.single.ends_steps = None;
    let now = core.cpu.tsc();
    let detail = core.shared.steps.try_with(|steps| {
        // What a thread's instruction was is found out when everybody was told.
        if steps.walker().is_some() {
            return None;
        }
        steps.count(now);
        steps.recorded()
    });
    if let Some(Some(detail)) = detail {
        core.single.ends_steps = note(core, rip, detail);
    }
}

/// Notes where the core stands. Returns why there are to be no more steps, if what was noted so far cannot be told.
fn note<P: Ports>(core: &Core<'_, P>, rip: u64, detail: StepDetail) -> Option<StopCause> {
    let mut bytes = [0; LENGTH_MAX];
    let code = match detail {
        StepDetail::Addresses => &[][..],
        StepDetail::Code | StepDetail::Registers => {
            let code = access::code_at(&core.cpu, core.shared, rip, &mut bytes);
            let len = instruction::decode(code).map_or(code.len(), |it| usize::from(it.len));
            code.get(..len).unwrap_or(code)
        }
    };
    walk::record(&core.seat, &core.cpu, core.shared, (rip, code), detail)
}

/// Everybody else was told of the instruction: halts if it was the last one.
pub(in crate::exit) fn finish<P: Ports>(core: &mut Core<'_, P>) {
    if !core.shared.published.steps_for_host(core.id) {
        return;
    }
    let walks = walk::with_steps(core.shared, |steps| steps.walker().is_some());
    if walks == Some(true) {
        if !core.shared.is_driver_code(core.cpu.vmread(guest::RIP)) {
            walk::executed(&mut core.seat, &mut core.cpu, core.shared);
        }
        return;
    }
    let told = core
        .shared
        .steps
        .try_with(|steps| (steps.is_done(), steps.has_begun()));
    let (is_done, has_begun) = told.unwrap_or_default();
    let end = StepEnd::Count;
    let counted = is_done.then_some(StopCause::Stepped { end });
    // What was left of steps that an event has ended is not about these.
    let ended = core.single.ends_steps.filter(|_| has_begun);
    if let Some(cause) = counted.or(ended) {
        stop(core, cause);
    }
}

/// The timer ran out: one instruction may have waited for too long.
pub(in crate::exit) fn look<P: Ports>(core: &mut Core<'_, P>) {
    let is_away_alone = || core.shared.steps.try_with(|steps| steps.is_away_alone());
    if !core.shared.published.steps_for_host(core.id) && is_away_alone() != Some(true) {
        return;
    }
    let now = core.cpu.tsc();
    let waited = core
        .shared
        .steps
        .try_with(|steps| steps.waited_ticks(now))
        .unwrap_or(0);
    if waited > core.shared.clock.timeout_ticks() {
        let is_active = core.cpu.vmread(guest::ACTIVITY_STATE) == activity::ACTIVE;
        let end = if is_active {
            StepEnd::Stuck
        } else {
            StepEnd::Asleep
        };
        stop(core, StopCause::Stepped { end });
    }
}

/// The core waits for a start-up IPI, and executes nothing until that comes: there are no steps of it, however often they are
/// asked for in the halts that this leads to.
pub(in crate::exit) fn sleep<P: Ports>(core: &mut Core<'_, P>) {
    let end = StepEnd::Asleep;
    // Every turn is a halt, which the user ends.
    while core.shared.published.steps_for_host(core.id) {
        stop(core, StopCause::Stepped { end });
    }
}

fn stop<P: Ports>(core: &mut Core<'_, P>, cause: StopCause) {
    core.single.ends_steps = None;
    // The halt is this core's: nobody else can have it.
    let _: Stopped = halt::stop(&mut core.seat, &mut core.cpu, core.shared, cause, None);
}
