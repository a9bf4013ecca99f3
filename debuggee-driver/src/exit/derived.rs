//! What the processor is told about the next entry, computed just before it from what the core is about to do:
//! the EPT pointer, the monitor trap flag and all other controls that change from entry to entry, and
//! the interrupt shadow. Nothing else writes them, and they are written only when they differ.
//!
//! Called by [`super::entry`] and for a core that goes on inside a detour, in VMX-root.

use super::core::Core;
use super::due::Due;
use super::single::state::{Intercept, Pace, PassThrough, Reasons, Single, Step};
use super::single::trace::BETWEEN_HANDLERS;
use crate::event::controls::PRIMARY_OF_EVENTS;
use crate::port::{Cpu, Ports};
use crate::published;
use crate::shared::Shared;
use crate::vmx::interruption::VALID;
use crate::vmx::{activity, control_field, guest, interruptibility, primary, rflags};

/// Loads all of it.
pub(super) fn load<P: Ports>(core: &mut Core<'_, P>) {
    if core.due.contains(Due::CONTROLS) {
        let is_inside = load_view(core);
        load_controls(core, is_inside);
    }
    load_blocking(core);
    let lasts = match core.single.pace() {
        Pace::Free => Due::empty(),
        Pace::OneInstruction(_) => Due::CONTROLS,
    };
    core.due = lasts;
}

/// The EPT pointer of the view that the core runs in when nothing else is going on.
fn resting_view<P: Ports>(single: &Single, shared: &Shared<P>) -> u64 {
    match (single.executable_mode, &shared.fixed.mode_views) {
        (Some(mode), Some(views)) => views.only_for(mode),
        _ => shared.fixed.eptp_hooked,
    }
}

/// Returns whether the core is inside a detour: there it got without an exit, and stays until it comes out.
fn load_view<P: Ports>(core: &mut Core<'_, P>) -> bool {
    let now = core.cpu.vmread(control_field::EPTP_FULL);
    let trampoline = core
        .shared
        .fixed
        .trampoline
        .map(|trampoline| trampoline.eptp);
    let inside = trampoline.filter(|eptp| {
        let goes_inside = core.due.contains(Due::GOES_INSIDE);
        (goes_inside || *eptp == now) && !core.due.contains(Due::COMES_OUT)
    });
    let wanted = match (inside, core.single.step) {
        (Some(eptp), _) => eptp,
        (None, Step::None) => resting_view(&core.single, core.shared),
        (None, Step::Active { blind: true, .. }) => core.shared.fixed.eptp_clean,
        (None, Step::Active { .. }) => core.single.view.eptp(),
    };
    if wanted != now {
        core.cpu.vmwrite(control_field::EPTP_FULL, wanted);
    }
    inside.is_some()
}

/// The primary controls that change from entry to entry, all others being 0. `events` are those that
/// installed events ask for.
fn controls(events: u32, single: &Single, windows: u64, is_inside: bool) -> u64 {
    let mut wanted = u64::from(events & PRIMARY_OF_EVENTS);
    if let PassThrough::Instruction {
        intercept: Intercept::Primary(bits),
        ..
    } = single.pass_through
    {
        wanted &= !u64::from(bits);
    }
    if single.pace() != Pace::Free && !is_inside {
        wanted |= primary::MONITOR_TRAP_FLAG;
    }
    // A window would open before the instruction that is to run, and never let it.
    if !single.is_busy() {
        wanted |= windows;
    }
    wanted
}

fn load_controls<P: Ports>(core: &mut Core<'_, P>, is_inside: bool) {
    const OTHERS: u64 = !(PRIMARY_OF_EVENTS as u64
        | primary::MONITOR_TRAP_FLAG
        | primary::INTERRUPT_WINDOW
        | primary::NMI_WINDOW);
    let mut windows = 0;
    for (is_wanted, window) in [
        (
            core.arrivals.wants_interrupt_window,
            primary::INTERRUPT_WINDOW,
        ),
        (core.arrivals.wants_nmi_window, primary::NMI_WINDOW),
    ] {
        windows |= if is_wanted { window } else { 0 };
    }
    let now = core
        .cpu
        .vmread(control_field::PRIMARY_PROCBASED_EXEC_CONTROLS);
    let events = core.shared.published.primary();
    let wanted = now & OTHERS | controls(events, &core.single, windows, is_inside);
    if wanted != now {
        core.cpu
            .vmwrite(control_field::PRIMARY_PROCBASED_EXEC_CONTROLS, wanted);
    }
    let own_msrs = matches!(
        core.single.pass_through,
        PassThrough::Instruction {
            intercept: Intercept::Msrs,
            ..
        }
    );
    if own_msrs != core.loaded.own_msrs {
        core.loaded.own_msrs = own_msrs;
        let bitmaps = &core.shared.fixed.bitmaps;
        let bitmap = if own_msrs {
            bitmaps.own_msr
        } else {
            bitmaps.msr
        };
        core.cpu
            .vmwrite(control_field::MSR_BITMAPS_ADDR_FULL, bitmap);
    }
}

/// How firmly interrupts are held off for the next instruction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Hold {
    /// Not at all.
    None,
    /// Unless that takes more than the shadow of STI.
    Loose,
    /// Whatever it takes: one that came first would end what the instruction is watched for, and it
    /// would be hit again.
    Firm,
}

fn hold<P: Ports>(core: &Core<'_, P>) -> Hold {
    let Pace::OneInstruction(reasons) = core.single.pace() else {
        return Hold::None;
    };
    let passes = match core.single.pass_through {
        // Between iterations of a string instruction as well.
        PassThrough::Instruction { rip, .. } => core.cpu.vmread(guest::RIP) == rip,
        _ => false,
    };
    if passes || reasons.contains(Reasons::STEP) {
        return Hold::Firm;
    }
    let is_paced = reasons.contains(Reasons::TRACE)
        && core.single.trace.since_handler() < BETWEEN_HANDLERS
        && core.cpu.vmread(guest::ACTIVITY_STATE) == activity::ACTIVE;
    if is_paced { Hold::Loose } else { Hold::None }
}

/// Whether the interrupt shadow will hold interrupts off for the next instruction, if the guest takes them.
pub(super) fn holds_interrupts_off<P: Ports>(core: &Core<'_, P>) -> bool {
    hold(core) != Hold::None && core.cpu.vmread(guest::RFLAGS) & rflags::TF == 0
}

/// What the handlers of this exit did to the interruptibility state takes effect: for scripts that look at it before
/// the next entry does.
pub(super) fn settle_blocking<P: Ports>(core: &mut Core<'_, P>) {
    if core.due.intersects(Due::BLOCKING) {
        let now = core.cpu.vmread(guest::INTERRUPTIBILITY_STATE);
        let settled = core.due.blocking(now);
        set_blocking(core, now, settled);
    }
}

fn set_blocking<P: Ports>(core: &mut Core<'_, P>, now: u64, wanted: u64) {
    core.due.remove(Due::BLOCKING);
    if wanted != now {
        core.cpu.vmwrite(guest::INTERRUPTIBILITY_STATE, wanted);
    }
}

/// Interrupts are held off by the state that STI leaves for one instruction, not by clearing
/// RFLAGS.IF: an instruction that stores or changes the flags (PUSHF, STI, CLI, POPF) works as it
/// should. With RFLAGS.TF set that state is not allowed at an entry ("Checks on Guest
/// Non-Register State", 27.3.1.5): interrupts are then taken, and given back behind the instruction. They are taken from a
/// core that does little but leave its guest, too.
fn load_blocking<P: Ports>(core: &mut Core<'_, P>) {
    let hold = hold(core);
    let due = Due::BLOCKING.union(Due::INTERRUPTS);
    if hold == Hold::None && !core.due.intersects(due) && !core.loaded.takes_interrupts {
        return;
    }
    let now = core.cpu.vmread(guest::INTERRUPTIBILITY_STATE);
    let mut wanted = core.due.blocking(now);
    let rflags = core.cpu.vmread(guest::RFLAGS);
    let entry = core
        .cpu
        .vmread(control_field::VMENTRY_INTERRUPTION_INFO_FIELD);
    let can_come = hold != Hold::None
        && rflags & rflags::IF != 0
        && wanted & interruptibility::SHADOW == 0
        && entry & VALID == 0;
    let is_single_stepped = rflags & rflags::TF != 0;
    if can_come && !is_single_stepped {
        wanted |= interruptibility::STI;
    }
    set_blocking(core, now, wanted);
    let is_wanted = core.respite.is_on() || can_come && is_single_stepped && hold == Hold::Firm;
    let takes = is_wanted && core.shared.fixed.can_take_interrupts;
    if takes {
        published::take_interrupts(&mut core.cpu, true);
    } else if core.loaded.takes_interrupts {
        core.shared.published.load_interrupts(&mut core.cpu);
    }
    core.loaded.takes_interrupts = takes;
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ept::step_view::{PAGES, StepView};
    use crate::event::{TriggerInstance, TriggerKind};
    use x86::vmx::vmcs::control::PrimaryControls;

    const RDTSC: u32 = PrimaryControls::RDTSC_EXITING.bits();
    const IO: u32 = PrimaryControls::USE_IO_BITMAPS.bits();
    const TRAP: u64 = primary::MONITOR_TRAP_FLAG;
    const WINDOWS: u64 = primary::INTERRUPT_WINDOW | primary::NMI_WINDOW;

    fn single() -> Single {
        Single::new(StepView::new([0; PAGES]))
    }

    fn passing(bits: u32) -> Single {
        let mut single = single();
        single.pass_through = PassThrough::Instruction {
            rip: 0,
            next: 2,
            trigger: TriggerInstance::new(TriggerKind::Tsc, 0),
            intercept: Intercept::Primary(bits),
        };
        single
    }

    #[test]
    fn a_core_that_runs_on_is_told_what_events_ask_for() {
        assert_eq!(controls(0, &single(), 0, false), 0);
        // And nothing that no event can ask for.
        assert_eq!(controls(RDTSC | 1, &single(), 0, false), u64::from(RDTSC));
        assert_eq!(controls(0, &single(), WINDOWS, false), WINDOWS);
    }

    #[test]
    fn an_instruction_that_is_passed_through_meets_nothing_and_comes_back() {
        let told = controls(RDTSC | IO, &passing(RDTSC), 0, false);
        assert_eq!(told, u64::from(IO) | TRAP);
    }

    #[test]
    fn windows_open_behind_the_instruction() {
        assert_eq!(controls(0, &passing(RDTSC), WINDOWS, false), TRAP);
        let mut traced = single();
        traced.trace.is_on = true;
        assert_eq!(controls(0, &traced, WINDOWS, false), TRAP | WINDOWS);
    }

    #[test]
    fn nothing_is_run_by_single_instructions_inside_a_detour() {
        let mut traced = single();
        traced.trace.is_on = true;
        assert_eq!(controls(0, &traced, 0, true), 0);
    }
}
