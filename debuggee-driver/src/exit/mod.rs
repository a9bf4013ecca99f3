//! One VM exit: what happened, what the guest gets, how the core goes on.
//!
//! Called by `boot`'s core loop, in VMX-root, by every core for itself. [`handle`] is one match;
//! each reason has its own file. Handlers return an [`Outcome`]; `Outcome::Advance` moves RIP past the
//! instruction, in `emulate::advance`.

pub mod arrivals;
pub mod control_register;
pub mod core;
pub mod counter;
pub mod cpuid;
pub mod death;
pub mod debug_register;
pub mod derived;
pub mod detour;
pub mod due;
mod emulate;
mod entry;
pub mod exception;
pub mod hypercall;
pub mod init;
mod inject;
pub mod interrupt;
pub mod io;
pub mod msr;
pub mod nmi;
mod occasion;
mod raise;
pub mod respite;
pub mod retry;
pub mod single;
#[cfg(test)]
mod tests;
pub mod timer;
pub mod violation;
mod watchers;
pub mod xsetbv;

pub use self::core::{Core, Fault, Flow, Outcome};
pub use self::death::Death;
use crate::port::{Cpu, Ports};
use crate::vmx::{interruption, reason, ro};
use detour::DetourExit;
use emulate::advance::advance;
pub use entry::before_entry;
use inject::{inject, redeliver};
use raise::raise;
use single::state::Step;
use single::{host, step, trap};
use violation::handle as ept_violation;

/// Handles the exit that `core` just took and makes it ready for the next entry.
#[inline(always)]
pub fn handle<P: Ports>(core: &mut Core<'_, P>) -> Flow {
    core.exits = core.exits.wrapping_add(1);
    let reason = core.cpu.vmread(ro::EXIT_REASON) as u16;
    // The most frequent exit that nobody asked for.
    if reason == reason::CPUID && is_alone(core) && cpuid::is_nobodys(core) {
        cpuid::emulate(core);
        advance(core);
    } else {
        match handle_any(core, reason) {
            Next::Prepare => {}
            Next::Inside => {
                derived::load(core);
                return Flow::Enter;
            }
            Next::End(flow) => return flow,
        }
    }
    before_entry(core);
    Flow::Enter
}

/// What comes after an exit was handled.
enum Next {
    /// The core is made ready for its entry.
    Prepare,
    /// It goes on inside a detour, and nothing else is looked at.
    Inside,
    /// The guest is not entered any more.
    End(Flow),
}

/// Handles an exit for any reason.
#[inline(always)]
fn handle_any<P: Ports>(core: &mut Core<'_, P>, reason: u16) -> Next {
    redeliver(core);
    if detour::may_concern(core, reason) {
        match detour::handle(core, reason) {
            DetourExit::NotInDetour => {}
            DetourExit::GoesOn => return Next::Inside,
            DetourExit::Dead(fault) => return Next::End(Flow::Dead(fault)),
            DetourExit::Handled(outcome) => {
                if outcome == Outcome::Advance {
                    advance(core);
                }
                return Next::Prepare;
            }
        }
    }
    // An instruction that exited while another core halts everything runs again after the halt:
    // its hit is neither lost nor counted twice, and the registers show the moment before it.
    if !(core.seat.is_wanted() && repeats(reason)) {
        let outcome = dispatch(core, reason);
        match outcome {
            Outcome::Advance => {
                advance(core);
                after_instruction(core);
            }
            Outcome::Moved => after_instruction(core),
            Outcome::Stay => {}
            Outcome::Inject(event)
                if reason == reason::EXCEPTION_OR_NMI || event == interruption::MACHINE_CHECK =>
            {
                inject(&mut core.cpu, event);
            }
            Outcome::Inject(event) => raise(core, event),
            Outcome::Leave => {
                interrupt::give_up(core);
                core.shared.published.give_up(core.id, &mut core.cpu);
                advance(core);
                return Next::End(Flow::Leave);
            }
            Outcome::Dead(fault) => return Next::End(Flow::Dead(fault)),
        }
    }
    Next::Prepare
}

/// Whether an instruction that is carried out for the guest has no other effect than its own: no
/// step ends with it, no trace counts it, and no other core halts.
#[inline(always)]
fn is_alone<P: Ports>(core: &Core<'_, P>) -> bool {
    core.single.step == Step::None && !core.shared.published.traces_any() && !core.seat.is_wanted()
}

/// An instruction was carried out for the guest: what comes after it, if anything does.
#[inline(always)]
fn after_instruction<P: Ports>(core: &mut Core<'_, P>) {
    if core.single.step != Step::None
        || core.carried_out.is_some()
        || core.shared.published.traces_any()
    {
        serve_after_instruction(core);
    }
}

#[inline(never)]
fn serve_after_instruction<P: Ports>(core: &mut Core<'_, P>) {
    derived::settle_blocking(core);
    host::count(core);
    step::complete(core);
    if let Some(trigger) = core.carried_out.take() {
        watchers::serve_after(core, &trigger);
    }
    trap::executed(core);
    host::finish(core);
}

#[inline(always)]
fn dispatch<P: Ports>(core: &mut Core<'_, P>, reason: u16) -> Outcome {
    match reason {
        reason::EXCEPTION_OR_NMI => exception::handle(core),
        reason::INIT => init::on_init(core),
        reason::SIPI => init::on_sipi(core),
        reason::EXTERNAL_INTERRUPT => interrupt::on_exit(core),
        reason::INTERRUPT_WINDOW => interrupt::on_window(core),
        reason::NMI_WINDOW => nmi::on_window(core),
        reason::CPUID => cpuid::handle(core),
        reason::INVD => {
            // INVD would throw away the hypervisor's own dirty lines; the guest loses nothing by
            // having its data written back first ("Changes to Instruction Behavior", 26.1.2).
            core.cpu.write_back_caches();
            Outcome::Advance
        }
        reason::VMCALL => hypercall::handle(core),
        reason::GETSEC
        | reason::VMCLEAR..=reason::VMXON
        | reason::INVEPT
        | reason::INVVPID
        | reason::VMFUNC => Outcome::Inject(interruption::UNDEFINED_OPCODE),
        reason::CR_ACCESS => control_register::handle(core),
        reason::MOV_DR => debug_register::handle(core),
        reason::IO => io::handle(core),
        reason::RDPMC => counter::on_pmc(core),
        reason::RDTSC => counter::on_tsc(core, counter::RDTSC),
        reason::RDTSCP => counter::on_tsc(core, counter::RDTSCP),
        reason::RDMSR => msr::on_read(core),
        reason::WRMSR => msr::on_write(core),
        reason::MONITOR_TRAP_FLAG => trap::handle(core),
        reason::EPT_VIOLATION => ept_violation::handle(core),
        reason::PREEMPTION_TIMER => timer::handle(core),
        reason::XSETBV => xsetbv::handle(core),
        reason::ENTRY_FAILED_MACHINE_CHECK => Outcome::Inject(interruption::MACHINE_CHECK),
        other => Outcome::Dead(Fault::of_exit(
            other & 0xff,
            core.cpu.vmread(ro::EXIT_QUALIFICATION),
        )),
    }
}

/// Exits that happen again if the guest is entered without handling them.
const fn repeats(reason: u16) -> bool {
    matches!(
        reason,
        reason::CPUID
            | reason::GETSEC
            | reason::INVD
            | reason::RDPMC
            | reason::RDTSC
            | reason::RDTSCP
            | reason::VMCALL
            ..=reason::WRMSR
                | reason::EPT_VIOLATION
                | reason::INVEPT
                | reason::INVVPID
                | reason::XSETBV
                | reason::VMFUNC
    )
}
