//! What comes between the last thing that was done for an exit and the guest.
//!
//! Called by [`crate::exit::handle`] after every exit, and by `boot` before the first entry, in VMX-root.

use crate::exit::core::Core;
use crate::exit::due::Due;
use crate::exit::inject::inject;
use crate::exit::single::state::{PassThrough, Step};
use crate::exit::single::{mode, step, trap};
use crate::exit::{derived, interrupt, nmi, timer};
use crate::halt::silent;
use crate::port::{Cpu, Ports};
use crate::vmx::interruption;

/// Last things before the guest runs: the timer, NMIs, a halt that waits for this core, what was
/// committed since the last entry.
///
/// The timer is set first. An NMI that arrives in VMX-root later than the look at the counter
/// sets it to zero, so the core comes right back instead of missing the halt.
#[inline(always)]
pub fn before_entry<P: Ports>(core: &mut Core<'_, P>) {
    timer::rearm(core);
    if !core.due.is_empty() || is_anything_wanted(core) {
        prepare_entry(core);
    }
}

/// Whether anything but what the handlers of the exit have noted is to be done. It is seldom so: what lies side by side
/// is looked at together.
#[inline(always)]
fn is_anything_wanted<P: Ports>(core: &Core<'_, P>) -> bool {
    let shared = core.shared;
    core.arrivals.is_any_due()
        || (core.cpu.root_nmis() != core.arrivals.root_nmis_seen) | core.cpu.has_machine_check()
        || shared.changes.is_wanted()
        || shared.clock.has_hidden_more_than(core.time.hidden_ticks)
        || shared.published.traces_any()
        || shared.commits() != core.commits_seen
        || core.seat.is_wanted()
}

/// Whether the core does something that what happened meanwhile may have ended. A step that was begun for this very
/// exit has nothing to follow.
fn is_anything_under_way<P: Ports>(core: &Core<'_, P>) -> bool {
    core.single.step != Step::None && !core.due.contains(Due::NEW_STEP)
        || core.single.pass_through != PassThrough::None
        || core.single.trace.is_on
}

#[cold]
#[inline(never)]
fn prepare_entry<P: Ports>(core: &mut Core<'_, P>) {
    if is_anything_under_way(core) || is_anything_wanted(core) {
        look_around(core);
    }
    derived::load(core);
}

fn look_around<P: Ports>(core: &mut Core<'_, P>) {
    loop {
        silent::carry_out_wanted(&mut core.seat, &mut core.cpu, core.shared);
        timer::rearm(core);
        nmi::look_at_root_nmis(core);
        if !core.seat.is_wanted() {
            break;
        }
        crate::halt::park(&mut core.seat, &mut core.cpu, core.shared);
    }
    core.shared.apply_published(&core.seat, &mut core.cpu);
    core.commits_seen = core.shared.commits();
    core.due |= Due::CONTROLS;
    mode::apply(core);
    step::apply(core);
    trap::apply(core);
    core.shared
        .clock
        .apply(&mut core.cpu, &mut core.time.hidden_ticks);
    if core.cpu.take_machine_check() {
        inject(&mut core.cpu, interruption::MACHINE_CHECK);
    }
    nmi::deliver(core);
    interrupt::deliver(core);
}
