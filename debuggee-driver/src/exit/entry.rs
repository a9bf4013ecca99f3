//! What comes between the last thing that was done for an exit and the guest.
//!
//! Called by [`crate::exit::handle`] after every exit, and by `boot` before the first entry, in VMX-root.

use crate::exit::core::Core;
use crate::exit::inject::inject;
use crate::exit::single::{mode, passthrough, step, trap};
use crate::exit::{interrupt, nmi, timer};
use crate::halt::silent;
use crate::port::{Cpu, Ports};
use crate::shared::Shared;
use crate::vmx::interruption;

/// Last things before the guest runs: the timer, NMIs, a halt that waits for this core, what was
/// committed since the last entry.
///
/// The timer is set first. An NMI that arrives in VMX-root later than the look at the counter
/// sets it to zero, so the core comes right back instead of missing the halt.
#[inline(always)]
pub fn before_entry<P: Ports>(core: &mut Core<P::Cpu>, shared: &Shared<P>) {
    timer::rearm(core, shared);
    if is_anything_due(core, shared) {
        prepare_entry(core, shared);
    }
}

/// Whether [`prepare_entry`] would find anything to do.
#[inline(always)]
fn is_anything_due<P: Ports>(core: &Core<P::Cpu>, shared: &Shared<P>) -> bool {
    // A step that was begun for this very exit has nothing to follow.
    core.step != step::Step::None && !core.step_is_new
        || core.pass_through != passthrough::PassThrough::None
        || !core.trace.is_off()
        || core.nmi_pending
        || !core.interrupts.is_empty()
        || core.cpu.root_nmis() != core.root_nmis_seen
        || core.cpu.has_machine_check()
        || shared.changes.is_wanted()
        || shared.has_hidden_more_than(core.hidden_ticks)
        || shared.published.traces_any()
        || shared.commits() != core.commits_seen
        || core.seat.is_wanted()
}

#[cold]
#[inline(never)]
fn prepare_entry<P: Ports>(core: &mut Core<P::Cpu>, shared: &Shared<P>) {
    loop {
        silent::carry_out_wanted(&mut core.seat, &mut core.cpu, shared);
        timer::rearm(core, shared);
        nmi::look_at_root_nmis(core, shared);
        if !core.seat.is_wanted() {
            break;
        }
        crate::halt::park(&mut core.seat, &mut core.cpu, shared);
    }
    shared.apply_published(&core.seat, &mut core.cpu);
    core.commits_seen = shared.commits();
    mode::apply(core, shared);
    step::apply(core, shared);
    passthrough::before_entry(core, shared);
    trap::before_entry(core, shared);
    shared.hide_time(&mut core.cpu, &mut core.hidden_ticks);
    if core.cpu.take_machine_check() {
        inject(&mut core.cpu, interruption::MACHINE_CHECK);
    }
    nmi::deliver(core, shared);
    interrupt::deliver(core, shared);
}
