//! A core that is inside a detour: in the driver's code, as a guest, in the trampoline view.
//!
//! No exit belongs to a hit. One that comes meanwhile (an NMI, the timer) finds registers and tables
//! that are not the guest's, so nothing is done about it but to note it: the stub sees the note as
//! soon as it is out, and calls. A stub that needs VMX-root calls as well. Either
//! call brings the guest's own state back from the stub's frame; what was deferred happens then.

use crate::cores::registers::RegisterFile;
use crate::exit::arrivals::Deferred;
use crate::exit::core::{Core, Fault, Outcome};
use crate::exit::due::Due;
use crate::exit::emulate::advance::advance;
use crate::exit::interrupt;
use crate::exit::raise::raise;
use crate::exit::single::{host, trap};
use crate::exit::{hypercall, nmi, timer};
use crate::hit;
use crate::hit::detour::{FRAME_WORDS, READ_REGISTER, StubRequest, WRITE_REGISTER};
use crate::port::{Cpu, PhysicalMemory, Ports, gpr};
use crate::run;
use crate::shared::TrampolineView;
use crate::vmx::interruption::UNDEFINED_OPCODE;
use crate::vmx::privilege::{is_kernel, linear_of_code};
use crate::vmx::{control_field, guest, reason, ro};
use wire_protocol::address::{EventId, PAGE_BYTES};
use wire_protocol::event::{Actions, Trigger};
use wire_protocol::register::Register;

const WORD: u64 = size_of::<u64>() as u64;
/// Where the parts of the frame behind the general registers are, in words.
const RIP: usize = 16;
const RFLAGS: usize = 18;
const RSP: usize = 19;
/// The guest's CR3 while the core is inside.
const R13: usize = 13;
const VMFUNC: [u8; 3] = [0x0f, 0x01, 0xd4];

/// Whether an exit for this reason can come from inside a detour, or is its call. Not if no detour was ever there to
/// lead anyone in.
#[inline(always)]
pub fn may_concern<P: Ports>(core: &Core<'_, P>, reason: u16) -> bool {
    comes_from_inside(reason) && core.seat.read(|it| it.detours().were_any())
}

const fn comes_from_inside(reason: u16) -> bool {
    matches!(
        reason,
        reason::EXCEPTION_OR_NMI
            | reason::EXTERNAL_INTERRUPT
            | reason::NMI_WINDOW
            | reason::VMCALL
            | reason::VMFUNC
            | reason::RDTSC
            | reason::MONITOR_TRAP_FLAG
            | reason::EPT_VIOLATION
            | reason::PREEMPTION_TIMER
    )
}

/// What became of an exit that may be of a core inside a detour.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DetourExit {
    /// It is none, and is handled as everywhere.
    NotInDetour,
    /// The core goes on inside or in the stub; all else waits until it is out.
    GoesOn,
    /// It was dealt with.
    Handled(Outcome),
    /// The core cannot go on.
    Dead(Fault),
}

/// Deals with an exit of a core that is inside or in the stub.
pub fn handle<P: Ports>(core: &mut Core<'_, P>, reason: u16) -> DetourExit {
    let Some(trampoline) = core.shared.fixed.trampoline else {
        return DetourExit::NotInDetour;
    };
    let is_inside = core.cpu.vmread(control_field::EPTP_FULL) == trampoline.eptp;
    if !is_inside && !matches!(reason, reason::VMCALL | reason::VMFUNC) {
        return stay_in_stub(core, trampoline, reason);
    }
    handle_call(core, trampoline, is_inside, reason)
}

#[inline(never)]
fn handle_call<P: Ports>(
    core: &mut Core<'_, P>,
    trampoline: TrampolineView,
    is_inside: bool,
    reason: u16,
) -> DetourExit {
    let is_ours = core.shared.is_driver_code(core.cpu.vmread(guest::RIP)) && is_kernel(&core.cpu);
    let registers = core.cpu.registers();
    let (rax, rcx) = (registers[gpr::RAX], registers[gpr::RCX]);
    if is_inside && !is_ours {
        return take_out(core, reason);
    }
    if !is_inside && reason == reason::VMCALL {
        let is_call = is_ours && rax == hypercall::MAGIC && rcx == hypercall::FINISH_DETOUR;
        return if is_call {
            DetourExit::Handled(come_out(core, trampoline))
        } else {
            DetourExit::NotInDetour
        };
    }
    // The last detour was cleared after this core had come through it.
    let changes = rax == 0 && rcx == u64::from(!is_inside);
    let may_change = || core.seat.read(|installed| installed.detours().were_any());
    let is_coming_in = || is_ours && changes && may_change();
    if !(is_inside || is_coming_in()) {
        return DetourExit::NotInDetour;
    }
    if core.arrivals.deferred.add(&mut core.cpu, reason) {
        return defer(core, trampoline);
    }
    match reason {
        reason::NMI_WINDOW => {
            nmi::on_window(core);
        }
        reason::MONITOR_TRAP_FLAG => {
            core.single.is_wanted_behind_stub = false;
            core.due |= Due::CONTROLS;
        }
        reason::RDTSC => {
            let ticks = core.cpu.tsc().wrapping_sub(core.time.hidden_ticks);
            let registers = core.cpu.registers_mut();
            registers[gpr::RAX] = ticks & 0xffff_ffff;
            registers[gpr::RDX] = ticks >> 32;
            advance(core);
        }
        reason::VMFUNC if changes => {
            core.due |= if is_inside {
                Due::CONTROLS | Due::COMES_OUT
            } else {
                Due::CONTROLS | Due::GOES_INSIDE
            };
            advance(core);
        }
        reason::VMCALL => {
            if let Some(outcome) = call(core, trampoline) {
                return DetourExit::Handled(outcome);
            }
        }
        other => {
            let detail = core.cpu.vmread(ro::EXIT_QUALIFICATION);
            return DetourExit::Dead(Fault::of_exit(other, detail));
        }
    }
    defer(core, trampoline)
}

/// Lets the core go on, and call as soon as it is out.
fn defer<P: Ports>(core: &mut Core<'_, P>, trampoline: TrampolineView) -> DetourExit {
    set_deferred(core, trampoline, true);
    silence_timer(core);
    DetourExit::GoesOn
}

/// Out of the way until the core is out.
fn silence_timer<P: Ports>(core: &mut Core<'_, P>) {
    core.cpu
        .vmwrite(guest::VMX_PREEMPTION_TIMER_VALUE, u64::from(u32::MAX));
}

/// Before the core is inside and after it was, it goes on, instruction by instruction, until the guest's own
/// state is back or it is inside.
fn stay_in_stub<P: Ports>(
    core: &mut Core<'_, P>,
    trampoline: TrampolineView,
    reason: u16,
) -> DetourExit {
    let is_in_stub = trampoline.is_in_stub(core.cpu.vmread(guest::RIP));
    let is_trap =
        reason == reason::MONITOR_TRAP_FLAG && core.arrivals.deferred != Deferred::NOTHING;
    if is_in_stub && (is_trap || core.arrivals.deferred.add(&mut core.cpu, reason)) {
        core.single.is_wanted_behind_stub = true;
        core.due |= Due::CONTROLS;
        silence_timer(core);
        return DetourExit::GoesOn;
    }
    if is_trap {
        core.single.is_wanted_behind_stub = false;
        core.due |= Due::CONTROLS;
        serve_deferred(core);
    }
    DetourExit::NotInDetour
}

/// Takes a core out of the trampoline view that is there by a VMFUNC of the guest's own: nothing of the guest
/// can be executed there. The instruction faults as it does without a hypervisor.
fn take_out<P: Ports>(core: &mut Core<'_, P>, reason: u16) -> DetourExit {
    core.due |= Due::CONTROLS | Due::COMES_OUT;
    if reason != reason::EPT_VIOLATION {
        return DetourExit::NotInDetour;
    }
    let rip = core.cpu.vmread(guest::RIP);
    let start = rip.wrapping_sub(VMFUNC.len() as u64);
    let is_fault = (start..rip).zip(VMFUNC).all(|(at, byte)| {
        let physical = core
            .shared
            .translate(&core.cpu, linear_of_code(&core.cpu, at));
        physical.is_some_and(|at| core.shared.read_byte(at) == byte)
    });
    if is_fault {
        core.cpu.vmwrite(guest::RIP, start);
        // While another core halts all, it is to happen again afterwards.
        if !core.seat.is_wanted() {
            raise(core, UNDEFINED_OPCODE);
        }
    }
    DetourExit::Handled(Outcome::Stay)
}

fn set_deferred<P: Ports>(core: &Core<'_, P>, trampoline: TrampolineView, deferred: bool) {
    let at = trampoline.deferred + u64::from(core.id.0);
    core.shared.memory.clone().write(at, &[u8::from(deferred)]);
}

/// A call from inside. `None`: it was answered, and the core goes on inside.
fn call<P: Ports>(core: &mut Core<'_, P>, trampoline: TrampolineView) -> Option<Outcome> {
    let registers = *core.cpu.registers();
    let register = Register::ALL.get(registers[gpr::RDX] as usize).copied();
    let answer = match (registers[gpr::RCX], register) {
        (READ_REGISTER, Some(Register::Efer)) => core.shared.published.efer(core.id, &core.cpu),
        (READ_REGISTER, Some(register)) => RegisterFile::current(&core.cpu, register),
        (WRITE_REGISTER, Some(register)) => {
            let mut file = RegisterFile::default();
            file.capture(&core.cpu);
            let taken = file.set(register, registers[gpr::RSI]).is_ok();
            file.apply(&mut core.cpu);
            u64::from(taken)
        }
        _ => return Some(come_out(core, trampoline)),
    };
    core.cpu.registers_mut()[gpr::RAX] = answer;
    advance(core);
    None
}

/// Brings the guest's own state back, and does what was deferred or asked for.
fn come_out<P: Ports>(core: &mut Core<'_, P>, trampoline: TrampolineView) -> Outcome {
    let wish = core.cpu.registers()[gpr::RDX];
    let is_inside = core.cpu.vmread(control_field::EPTP_FULL) == trampoline.eptp;
    let frame = core.cpu.vmread(guest::RSP);
    let base = core.shared.linear(0);
    let mut words = [0; FRAME_WORDS];
    let mut is_complete = true;
    for (at, word) in (frame..).step_by(WORD as usize).zip(&mut words) {
        let physical = if is_inside {
            Some(at.wrapping_sub(base))
        } else {
            core.shared.translate(&core.cpu, at).map(|at| at.0)
        };
        is_complete &= physical.is_some();
        *word = physical.map_or(0, |at| core.shared.memory.read_u64(at));
    }
    set_deferred(core, trampoline, false);
    if !is_complete {
        // Its stack is gone from its tables; the stub itself may know better.
        return Outcome::Advance;
    }
    let cr3 = core.cpu.registers()[R13];
    for (register, word) in core.cpu.registers_mut().iter_mut().zip(words) {
        *register = word;
    }
    if is_inside {
        core.cpu.vmwrite(guest::CR3, cr3);
        core.cpu.invalidate_translations();
    }
    core.single.is_wanted_behind_stub = false;
    core.due |= Due::CONTROLS | Due::COMES_OUT;
    core.cpu.vmwrite(guest::RIP, words[RIP]);
    core.cpu.vmwrite(guest::RFLAGS, words[RFLAGS]);
    core.cpu.vmwrite(guest::RSP, words[RSP]);
    match StubRequest::decode(wish) {
        StubRequest::Nothing => {}
        StubRequest::Halt(event) => {
            hit::stop_once(&mut core.seat, &mut core.cpu, core.shared, event, None);
            go_on(core, event);
        }
        StubRequest::Serve(event) => {
            serve(core, event);
            go_on(core, event);
        }
    }
    // The instruction at the detour is done, unless it is yet to be in its place.
    host::count(core);
    trap::executed(core);
    host::finish(core);
    serve_deferred(core);
    Outcome::Stay
}

/// Runs all that the event has, machine code too.
fn serve<P: Ports>(core: &mut Core<'_, P>, event: EventId) {
    let found = core.seat.read(|installed| {
        let place = installed.registry().place(event)?;
        let record = installed.registry().seen_at(place, event)?;
        Some((place, record.settings))
    });
    let Some((place, settings)) = found else {
        return;
    };
    let Trigger::EptHook2 { address } = settings.trigger else {
        return;
    };
    let event_at = (event, place);
    let ran = run::programs(
        &mut core.seat,
        &mut core.cpu,
        core.shared,
        event_at,
        address.0,
        false,
    );
    if ran.pauses || ran.holds && settings.actions.contains(Actions::BREAK) {
        hit::stop_once(&mut core.seat, &mut core.cpu, core.shared, event, None);
    }
}

/// From the instruction that has the detour to behind it, if the guest still stands there and the
/// detour is still there.
fn go_on<P: Ports>(core: &mut Core<'_, P>, event: EventId) {
    let rip = core.cpu.vmread(guest::RIP);
    let goes_on = core.seat.read(|installed| {
        let record = installed.registry().get(event)?;
        let place = installed.detours().of(event)?;
        (record.is_enabled() && place.at.0 == rip).then_some(place.goes_on)
    });
    if let Some(goes_on) = goes_on {
        core.cpu.vmwrite(guest::RIP, goes_on);
    }
}

/// Does what was deferred.
fn serve_deferred<P: Ports>(core: &mut Core<'_, P>) {
    let deferred = core::mem::replace(&mut core.arrivals.deferred, Deferred::NOTHING);
    for _ in 0..deferred.nmis {
        nmi::arrived(core, 1);
    }
    let mut interrupts = deferred.interrupts;
    while let Some(vector) = interrupts.take() {
        interrupt::arrived(core, vector);
    }
    if deferred.timer {
        timer::handle(core);
    }
}

const _: () = assert!(FRAME_WORDS * 8 < PAGE_BYTES as usize && FRAME_WORDS > RSP);
