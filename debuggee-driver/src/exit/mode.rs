//! Changes between user mode and the kernel. A core that watches them runs in a view in which only the mode
//! that it is in can execute anything; the first fetch of the other one is the change.
//!
//! Called by [`super::ept_violation`] on a fetch, by [`super::entry`] before the guest is entered, and by
//! whoever brings a core back from another view.

use super::{Core, Outcome, hypercall, step::Step, watchers};
use crate::ept::entry::Mode;
use crate::event::{Kind, Occasion};
use crate::hit::{Comes, Verdict};
use crate::port::{Cpu, Ports};
use crate::shared::Shared;
use crate::vmx::{control_field, guest};
use wire_protocol::event::Modes;

/// The EPT pointer of the view that the core runs in when nothing else is going on.
pub fn home<P: Ports>(core: &Core<P::Cpu>, shared: &Shared<P>) -> u64 {
    match (core.alone, &shared.fixed.mode_views) {
        (Some(mode), Some(views)) => views.only_for(mode),
        _ => shared.fixed.eptp_hooked,
    }
}

/// Before the guest is entered after a commit: begins or ends the watch. One that goes on stays as it is, so that a
/// change that is under way is still seen.
pub fn settle<P: Ports>(core: &mut Core<P::Cpu>, shared: &Shared<P>) {
    if shared.published.watches_mode(core.id) != core.alone.is_some() {
        follow(core, shared);
    }
}

/// Serves those who wait for a change of mode, if this fetch is one, and lets it happen. `None`: it is something
/// else.
pub fn on_fetch<P: Ports>(core: &mut Core<P::Cpu>, shared: &Shared<P>) -> Option<Outcome> {
    let is_home = core.step == Step::None;
    let reached = reached(core.alone.filter(|_| is_home), now(&core.cpu))?;
    let rip = core.cpu.vmread(guest::RIP);
    let change = occasion(reached);
    let verdict = watchers::serve_before(core, shared, &change, Comes::Again);
    // It comes up again only if another core halted first.
    if verdict != Verdict::Stays || core.cpu.vmread(guest::RIP) != rip {
        follow(core, shared);
    }
    Some(Outcome::Stay)
}

/// Lets only the mode that the core is in execute anything, or both if nobody waits.
fn follow<P: Ports>(core: &mut Core<P::Cpu>, shared: &Shared<P>) {
    let is_watched = shared.published.watches_mode(core.id);
    core.alone = is_watched.then(|| now(&core.cpu));
    if core.step == Step::None {
        let view = home(core, shared);
        core.cpu.vmwrite(control_field::EPTP_FULL, view);
    }
    if let Some(inner) = &shared.fixed.inner {
        let [ordinary, watched] = inner.lists;
        let list = if is_watched { watched } else { ordinary };
        core.cpu.vmwrite(control_field::EPTP_LIST_ADDR_FULL, list);
    }
}

fn now(cpu: &impl Cpu) -> Mode {
    if hypercall::is_kernel(cpu) {
        Mode::Kernel
    } else {
        Mode::User
    }
}

/// The mode that a core has come to, in which it may not execute anything yet.
fn reached(alone: Option<Mode>, now: Mode) -> Option<Mode> {
    alone.filter(|alone| *alone != now).map(|_| now)
}

/// `$context` is the privilege level.
const fn occasion(reached: Mode) -> Occasion {
    let (level, to) = match reached {
        Mode::User => (3, Modes::USER),
        Mode::Kernel => (0, Modes::KERNEL),
    };
    Occasion {
        detail: Occasion::mode_detail(to),
        ..Occasion::new(Kind::Mode, level)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use wire_protocol::event::Trigger;

    #[test]
    fn only_the_mode_that_was_not_allowed_is_reached() {
        for mode in [Mode::User, Mode::Kernel] {
            assert_eq!(reached(None, mode), None);
            assert_eq!(reached(Some(mode), mode), None);
        }
        assert_eq!(reached(Some(Mode::User), Mode::Kernel), Some(Mode::Kernel));
        assert_eq!(reached(Some(Mode::Kernel), Mode::User), Some(Mode::User));
    }

    #[test]
    fn a_change_concerns_those_who_wait_for_the_mode_reached() {
        let (user, kernel) = (occasion(Mode::User), occasion(Mode::Kernel));
        assert_eq!((user.context, kernel.context), (3, 0));
        let concerns = |change: &Occasion, to| change.concerns(&Trigger::Mode { to });
        assert!(concerns(&user, Modes::USER) && concerns(&user, Modes::all()));
        assert!(concerns(&kernel, Modes::KERNEL) && !concerns(&kernel, Modes::USER));
        assert!(!concerns(&user, Modes::KERNEL));
    }
}
