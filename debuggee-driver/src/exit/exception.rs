//! Exceptions and NMIs that exit: breakpoints of hooks, SYSCALL and SYSRET while they are watched,
//! exceptions that events watch, and NMIs. All others are the guest's own.

use crate::event::{TriggerInstance, TriggerKind};
use crate::exit::core::{Core, Fault, Outcome};
use crate::exit::derived;
use crate::exit::due::Due;
use crate::exit::emulate::advance::PENDING_SINGLE_STEP;
use crate::exit::emulate::{nop, syscall};
use crate::exit::single::{passthrough, step};
use crate::exit::{nmi, watchers};
use crate::hit::{self, Nature, Verdict};
use crate::port::{Cpu, LiveRegister, Ports};
use crate::vmx::interruption::{self, Combined, Event, Kind};
use crate::vmx::privilege::linear_of_code;
use crate::vmx::{control_field, guest, interruptibility, reason, rflags, ro};

const DEBUG: u8 = 1;
const BREAKPOINT: Event = Event {
    vector: 3,
    kind: Kind::SoftwareException,
    error_code: None,
};
/// How the processor reports [`BREAKPOINT`], and nothing else with it.
const INT3: u32 = 1 << 31 | 6 << 8 | 3;
/// The instruction.
const INT3_BYTE: u8 = 0xcc;
const UNDEFINED_OPCODE: u8 = 6;
const DOUBLE_FAULT: u8 = 8;
const PAGE_FAULT: u8 = 14;
const MACHINE_CHECK: u8 = 18;

/// "BTF" of IA32_DEBUGCTL: single steps are from branch to branch.
const DEBUGCTL_BTF: u64 = 1 << 1;

/// "NMI unblocking due to IRET" of the interruption information (25.9.2).
const NMI_UNBLOCKING_BY_IRET: u32 = 1 << 12;

/// One match over what the exit reports.
pub fn handle<P: Ports>(core: &mut Core<'_, P>) -> Outcome {
    let info = core.cpu.vmread(ro::VMEXIT_INTERRUPTION_INFO) as u32;
    if info == INT3 {
        return on_breakpoint(core, BREAKPOINT);
    }
    let error_code = core.cpu.vmread(ro::VMEXIT_INTERRUPTION_ERR_CODE) as u32;
    let Some(event) = Event::decode(info, error_code) else {
        return Outcome::Stay;
    };
    if event.kind == Kind::Nmi {
        return nmi::on_exit(core);
    }
    if info & NMI_UNBLOCKING_BY_IRET != 0 && event.vector != DOUBLE_FAULT {
        core.due |= Due::NMI_BLOCKED;
        derived::settle_blocking(core);
    }
    match event.vector {
        vector if vector == BREAKPOINT.vector => on_breakpoint(core, event),
        UNDEFINED_OPCODE => match syscall::on_undefined_opcode(core) {
            // Those who watch the instruction were served: they must not be served again.
            Some(Outcome::Inject(event)) => deliver(core, event, Nature::TrapLike),
            Some(outcome) => outcome,
            None => on_guests_own(core, event),
        },
        _ => on_guests_own(core, event),
    }
}

/// INT3 ran: in a shadow page it stands for a hook, anywhere else it is the guest's.
fn on_breakpoint<P: Ports>(core: &mut Core<'_, P>, event: Event) -> Outcome {
    let rip = core.cpu.vmread(guest::RIP);
    let linear = linear_of_code(&core.cpu, rip);
    let Some(at) = core.shared.translate(&core.cpu, linear) else {
        return on_guests_own(core, event);
    };
    if core
        .single
        .view
        .how(at.page())
        .is_some_and(|how| how.original)
    {
        // The step sees the page itself, which has no hooks.
        return on_unhooked_breakpoint(core, event, linear);
    }
    if core.seat.is_wanted() {
        return Outcome::Stay;
    }
    let trigger = TriggerInstance {
        context: linear,
        ..TriggerInstance::new(TriggerKind::Execute, at.0)
    };
    let is_entry = syscall::is_entry(core, rip);
    let only_entry = is_entry
        && core.shared.read_byte(at) != INT3_BYTE
        && !core.seat.read(|installed| installed.may_concern(&trigger));
    // The event that is found first is a hook; without one there may be hooks all the same.
    let verdict = match hit::fire_only(&mut core.seat, &mut core.cpu, core.shared, &trigger) {
        Some(verdict) => verdict,
        None if only_entry => Verdict::Complete,
        None if core.seat.read(|it| it.watches().is_hooked(at)) => {
            watchers::serve_before(core, &trigger, Nature::FaultLike)
        }
        None => return on_unhooked_breakpoint(core, event, linear),
    };
    if verdict == Verdict::Retry {
        return Outcome::Stay;
    }
    if is_entry && let Some(outcome) = syscall::on_entry(core) {
        return outcome;
    }
    if nop::carry_out(core, at, rip) {
        return Outcome::Moved;
    }
    step::begin_at_hook(core, at);
    Outcome::Stay
}

/// INT3 ran where no hook stands or none is seen: it is the guest's, with prefixes or without.
///
/// Unless there is another byte in its place. With prefixes, that is an instruction in whose middle a hook stands: the
/// processor took the hook for its opcode, so it runs from the page without hooks. Without, a hook was cleared
/// after this core had fetched it, or the guest's code has just been changed: what stands there now runs.
#[cold]
#[inline(never)]
fn on_unhooked_breakpoint<P: Ports>(core: &mut Core<'_, P>, event: Event, linear: u64) -> Outcome {
    let prefix_bytes = core
        .cpu
        .vmread(ro::VMEXIT_INSTRUCTION_LEN)
        .saturating_sub(1);
    let last = core
        .shared
        .translate(&core.cpu, linear.wrapping_add(prefix_bytes));
    let Some(last) = last.filter(|at| core.shared.read_byte(*at) != INT3_BYTE) else {
        return on_guests_own(core, event);
    };
    if prefix_bytes != 0 && core.seat.read(|it| it.watches().is_hooked(last)) {
        step::begin_at_hook(core, last);
        return Outcome::Stay;
    }
    if core.retries.may_try(linear, core.exits) {
        return Outcome::Stay;
    }
    on_guests_own(core, event)
}

/// Serves the events that watch the exception, then lets the guest have it.
fn on_guests_own<P: Ports>(core: &mut Core<'_, P>, event: Event) -> Outcome {
    let nature = if is_fault_like(&event) {
        Nature::FaultLike
    } else {
        Nature::TrapLike
    };
    if nature == Nature::FaultLike && core.seat.is_wanted() {
        return Outcome::Stay;
    }
    deliver(core, event, nature)
}

/// The same, however the exception came about.
fn deliver<P: Ports>(core: &mut Core<'_, P>, event: Event, nature: Nature) -> Outcome {
    let qualification = core.cpu.vmread(ro::EXIT_QUALIFICATION);
    let cr2 = core.cpu.live(LiveRegister::Cr2);
    if event.vector == PAGE_FAULT {
        core.cpu.set_live(LiveRegister::Cr2, qualification);
    }
    let trigger = TriggerInstance::new(TriggerKind::Exception, u64::from(event.vector));
    match watchers::serve_before(core, &trigger, nature) {
        Verdict::Complete => {}
        Verdict::Skip => {
            if event.vector == PAGE_FAULT {
                core.cpu.set_live(LiveRegister::Cr2, cr2);
            }
            return skipped(core, &event);
        }
        Verdict::Retry => return Outcome::Stay,
    }
    let first = Event::decode(
        core.cpu.vmread(ro::IDT_VECTORING_INFO) as u32,
        core.cpu.vmread(ro::IDT_VECTORING_ERR_CODE) as u32,
    );
    match interruption::combine(first, event) {
        Combined::TripleFault => Outcome::Dead(Fault::of_exit(reason::TRIPLE_FAULT, 0)),
        Combined::DoubleFault => on_double_fault(core),
        Combined::Second => {
            if event.vector == DEBUG {
                set_debug_status(&mut core.cpu, qualification);
                keep_single_step_due(&mut core.cpu);
            }
            give_back(core, first);
            passthrough::deliver(core, trigger);
            Outcome::Inject(event)
        }
    }
}

/// Two exceptions become one: whoever watches it is served, then the guest has it.
fn on_double_fault<P: Ports>(core: &mut Core<'_, P>) -> Outcome {
    // The first of them is not delivered any more, whatever becomes of the double fault.
    let info = control_field::VMENTRY_INTERRUPTION_INFO_FIELD;
    core.cpu.vmwrite(info, 0);
    let trigger = TriggerInstance::new(TriggerKind::Exception, u64::from(DOUBLE_FAULT));
    match watchers::serve_before(core, &trigger, Nature::TrapLike) {
        Verdict::Complete => {
            passthrough::deliver(core, trigger);
            Outcome::Inject(interruption::DOUBLE_FAULT)
        }
        Verdict::Skip | Verdict::Retry => Outcome::Stay,
    }
}

/// An exception that keeps a first event from being delivered: an interrupt or an NMI is
/// delivered later; what an instruction raised, it raises again.
fn give_back<P: Ports>(core: &mut Core<'_, P>, first: Option<Event>) {
    match first {
        Some(first) if first.kind == Kind::ExternalInterrupt => {
            core.arrivals.interrupts.add(first.vector)
        }
        Some(first) if first.kind == Kind::Nmi => core.arrivals.nmi_pending = true,
        _ => {}
    }
}

/// A fault comes up again if its instruction does; a trap does not.
const fn is_fault_like(event: &Event) -> bool {
    match event.kind {
        Kind::HardwareException => !matches!(event.vector, DEBUG | DOUBLE_FAULT | MACHINE_CHECK),
        Kind::SoftwareException => true,
        _ => false,
    }
}

/// The guest does not get the exception: behind INT3, INTO and INT1 it goes on, everywhere else it
/// stands where it stands.
fn skipped<P: Ports>(core: &mut Core<'_, P>, event: &Event) -> Outcome {
    if event.needs_instruction_length() {
        return Outcome::Advance;
    }
    if event.vector == DEBUG {
        // What was due is over, and with it what the instruction before held off.
        core.due |= Due::STI_ENDED;
    }
    Outcome::Stay
}

/// An exit for a debug exception forgets that a single step is due, and no entry is allowed without one while the
/// guest steps behind STI or MOV SS ("Checks on Guest Non-Register State", 27.3.1.5).
fn keep_single_step_due(cpu: &mut impl Cpu) {
    let is_stepping = cpu.vmread(guest::RFLAGS) & rflags::TF != 0
        && cpu.vmread(guest::IA32_DEBUGCTL_FULL) & DEBUGCTL_BTF == 0;
    let blocking = cpu.vmread(guest::INTERRUPTIBILITY_STATE);
    if is_stepping && blocking & interruptibility::SHADOW != 0 {
        let pending = cpu.vmread(guest::PENDING_DBG_EXCEPTIONS);
        cpu.vmwrite(guest::PENDING_DBG_EXCEPTIONS, pending | PENDING_SINGLE_STEP);
    }
}

/// What the processor does to DR6 and DR7 when it delivers a debug exception: an exit leaves
/// them alone ("Exit Qualification for Debug Exceptions", table 28-1).
fn set_debug_status(cpu: &mut impl Cpu, qualification: u64) {
    const CONDITIONS: u64 = 0xf;
    const REPORTED: u64 = CONDITIONS | 1 << 13 | 1 << 14;
    const GENERAL_DETECT: u64 = 1 << 13;
    let dr6 = cpu.live(LiveRegister::Dr6) & !CONDITIONS | qualification & REPORTED;
    cpu.set_live(LiveRegister::Dr6, dr6);
    let dr7 = cpu.vmread(guest::DR7);
    cpu.vmwrite(guest::DR7, dr7 & !GENERAL_DETECT);
}
