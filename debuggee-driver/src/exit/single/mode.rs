//! Changes between user mode and the kernel. A core that watches them runs in a view in which only the mode
//! that it is in can execute anything; the first fetch of the other one is the change.
//!
//! Called by [`crate::exit::violation::handle`] on a fetch, by [`crate::exit::entry`] before the guest is entered, and by
//! whoever brings a core back from another view.

use crate::ept::entry::Mode;
use crate::event::{TriggerInstance, TriggerKind};
use crate::exit::core::{Core, Outcome};
use crate::exit::due::Due;
use crate::exit::single::state::Step;
use crate::exit::watchers;
use crate::hit::{Nature, Verdict};
use crate::port::{Cpu, Ports};
use crate::vmx::privilege::is_kernel;
use crate::vmx::{control_field, guest};
use wire_protocol::event::Modes;

/// Before the guest is entered after a commit: begins or ends the watch. One that goes on stays as it is, so that a
/// change that is under way is still seen.
pub fn apply<P: Ports>(core: &mut Core<'_, P>) {
    if core.shared.published.watches_mode(core.id) != core.single.executable_mode.is_some() {
        follow(core);
    }
}

/// Serves those who wait for a change of mode, if this fetch is one, and lets it happen. `None`: it is something
/// else.
pub fn on_fetch<P: Ports>(core: &mut Core<'_, P>) -> Option<Outcome> {
    let is_home = core.single.step == Step::None;
    let reached = reached(
        core.single.executable_mode.filter(|_| is_home),
        now(&core.cpu),
    )?;
    let rip = core.cpu.vmread(guest::RIP);
    let change = trigger(reached);
    let verdict = watchers::serve_before(core, &change, Nature::FaultLike);
    // It comes up again only if another core halted first.
    if verdict != Verdict::Retry || core.cpu.vmread(guest::RIP) != rip {
        follow(core);
    }
    Some(Outcome::Stay)
}

/// Lets only the mode that the core is in execute anything, or both if nobody waits.
fn follow<P: Ports>(core: &mut Core<'_, P>) {
    let is_watched = core.shared.published.watches_mode(core.id);
    core.single.executable_mode = is_watched.then(|| now(&core.cpu));
    core.due |= Due::CONTROLS;
    if let Some(trampoline) = &core.shared.fixed.trampoline {
        let [ordinary, watched] = trampoline.lists;
        let list = if is_watched { watched } else { ordinary };
        core.cpu.vmwrite(control_field::EPTP_LIST_ADDR_FULL, list);
    }
}

fn now(cpu: &impl Cpu) -> Mode {
    if is_kernel(cpu) {
        Mode::Kernel
    } else {
        Mode::User
    }
}

/// The mode that a core has come to, in which it may not execute anything yet.
fn reached(executable_mode: Option<Mode>, now: Mode) -> Option<Mode> {
    executable_mode
        .filter(|executable| *executable != now)
        .map(|_| now)
}

/// `$context` is the privilege level.
const fn trigger(reached: Mode) -> TriggerInstance {
    let (level, to) = match reached {
        Mode::User => (3, Modes::USER),
        Mode::Kernel => (0, Modes::KERNEL),
    };
    TriggerInstance {
        detail: TriggerInstance::mode_detail(to),
        ..TriggerInstance::new(TriggerKind::Mode, level)
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
        let (user, kernel) = (trigger(Mode::User), trigger(Mode::Kernel));
        assert_eq!((user.context, kernel.context), (3, 0));
        let concerns = |change: &TriggerInstance, to| change.concerns(&Trigger::Mode { to });
        assert!(concerns(&user, Modes::USER) && concerns(&user, Modes::all()));
        assert!(concerns(&kernel, Modes::KERNEL) && !concerns(&kernel, Modes::USER));
        assert!(!concerns(&user, Modes::KERNEL));
    }
}
