//! One VM exit: what happened, what the guest gets, how the core goes on.
//!
//! Called by `boot`'s core loop, in VMX-root, by every core for itself. [`handle`] is one match;
//! each reason has its own file. Handlers return an [`Outcome`]; RIP moves in one place.

mod access;
mod advance;
pub mod control_register;
pub mod counter;
pub mod cpuid;
pub mod debug_register;
pub mod detour;
mod entry;
pub mod ept_violation;
pub mod exception;
pub mod hypercall;
pub mod init;
pub mod interrupt;
pub mod io;
mod load;
mod miss;
pub mod mode;
pub mod msr;
pub mod native;
pub mod nmi;
mod simple;
pub mod step;
mod stepping;
pub mod syscall;
#[cfg(test)]
mod tests;
pub mod timer;
pub mod trap;
mod watchers;
pub mod xsetbv;

use crate::ept::entry::Mode;
use crate::ept::step_view::StepView;
use crate::event::{Kind as Watched, Occasion};
use crate::hit::{Comes, Verdict};
use crate::port::{Cpu, Ports};
use crate::shared::Shared;
use crate::vmx::interruption::{self, Event, Kind};
use crate::vmx::{control_field, guest, interruptibility, reason, ro};
use advance::{advance, advance_by};
pub use entry::before_entry;
use wire_protocol::address::CoreId;

/// One core's own state in VMX-root.
pub struct Core<C> {
    /// Its number.
    pub id: CoreId,
    /// Its processor.
    pub cpu: C,
    /// Whether it runs one instruction that touches watched pages right now.
    pub step: step::Step,
    /// That instruction was armed by the exit that is being handled.
    pub step_is_new: bool,
    /// The view it does so in.
    pub view: StepView,
    /// The only mode that can execute anything, while changes of mode are watched on it.
    pub alone: Option<Mode>,
    /// What it touches in doing so that events of the stage after wait for.
    pub touched: step::Touched,
    /// What it carries out natively right now.
    pub native: native::Native,
    /// What was carried out and is waited for by events of the stage after.
    pub carried_out: Option<Occasion>,
    /// What accesses to watched pages were decoded last.
    pub decoded: miss::Decoded,
    /// Interrupts are taken for one instruction, which nothing else can hold them off.
    pub takes_interrupts: bool,
    /// Interrupts that were taken from the guest.
    pub interrupts: interrupt::Taken,
    /// Where its trace stands.
    pub trace: trap::Trace,
    /// Instructions of the step that a script asked for.
    pub stepped: u32,
    /// What came while it was inside a detour.
    pub put_off: detour::PutOff,
    /// The guest is owed an NMI.
    pub nmi_pending: bool,
    /// Exits it took so far.
    pub exits: u64,
    /// NMIs in VMX-root that were looked at.
    pub root_nmis_seen: u64,
    /// Hidden ticks that the TSC offset accounts for.
    pub hidden_ticks: u64,
    /// What was committed when it was last made ready for entry.
    pub commits_seen: u64,
    /// When the preemption timer is to run out, by the time-stamp counter.
    pub next_look: u64,
}

impl<C> Core<C> {
    /// A core that is about to be launched.
    pub const fn new(id: CoreId, cpu: C, view: StepView) -> Self {
        Self {
            id,
            cpu,
            step: step::Step::None,
            step_is_new: false,
            view,
            alone: None,
            touched: step::Touched::NOTHING,
            native: native::Native::None,
            carried_out: None,
            decoded: miss::Decoded::ZEROES,
            takes_interrupts: false,
            interrupts: interrupt::Taken::NONE,
            trace: trap::Trace::NONE,
            stepped: 0,
            put_off: detour::PutOff::NOTHING,
            nmi_pending: false,
            exits: 0,
            root_nmis_seen: 0,
            hidden_ticks: 0,
            commits_seen: 0,
            next_look: 0,
        }
    }
}

/// How the guest goes on after an exit was handled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The instruction was carried out for the guest: go on behind it.
    Advance,
    /// The instruction was carried out for the guest, and RIP is where it goes on.
    Moved,
    /// Go on where the guest stands; an instruction that exited runs again.
    Stay,
    /// The guest gets an exception instead.
    Inject(Event),
    /// The hypervisor leaves this core.
    Leave,
    /// The guest cannot go on, or an entry failed.
    Dead(Fault),
}

/// Why a core stands still for good.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fault {
    /// Exit reason + 512, to tell it from exception vectors and VM-instruction errors.
    pub code: u16,
    /// Exit qualification or guest-physical address.
    pub detail: u64,
}

impl Fault {
    /// A fault named by its exit reason.
    #[must_use]
    pub const fn of_exit(reason: u16, detail: u64) -> Self {
        Self {
            code: reason + 512,
            detail,
        }
    }
}

/// What the core loop does next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flow {
    /// Enter the guest.
    Enter,
    /// Leave VMX operation and go on without a hypervisor.
    Leave,
    /// Stand still and report.
    Dead(Fault),
}

/// Handles the exit that `core` just took and makes it ready for the next entry.
pub fn handle<P: Ports>(core: &mut Core<P::Cpu>, shared: &Shared<P>) -> Flow {
    core.exits = core.exits.wrapping_add(1);
    core.step_is_new = false;
    let reason = core.cpu.vmread(ro::EXIT_REASON) as u16;
    // The most frequent exit that nobody asked for.
    if reason == reason::CPUID && is_alone(core, shared) && cpuid::is_nobodys(core, shared) {
        cpuid::emulate(core);
        advance(&mut core.cpu);
    } else if let Some(end) = handle_any(core, shared, reason) {
        return end;
    }
    before_entry(core, shared);
    Flow::Enter
}

/// Handles an exit for any reason. `Some`: the guest is not entered any more.
#[inline(always)]
fn handle_any<P: Ports>(core: &mut Core<P::Cpu>, shared: &Shared<P>, reason: u16) -> Option<Flow> {
    redeliver(&mut core.cpu);
    if detour::may_concern(reason) {
        match detour::handle(core, shared, reason) {
            None => {}
            Some(Err(flow)) => return Some(flow),
            Some(Ok(outcome)) => {
                if outcome == Outcome::Advance {
                    advance(&mut core.cpu);
                }
                return None;
            }
        }
    }
    // An instruction that exited while another core halts everything runs again after the halt:
    // its hit is neither lost nor counted twice, and the registers show the moment before it.
    if !(repeats(reason) && shared.rendezvous.is_wanted(core.id)) {
        let outcome = dispatch(core, shared, reason);
        match outcome {
            Outcome::Advance => {
                advance(&mut core.cpu);
                after_instruction(core, shared);
            }
            Outcome::Moved => after_instruction(core, shared),
            Outcome::Stay => {}
            Outcome::Inject(event)
                if reason == reason::EXCEPTION_OR_NMI || event == interruption::MACHINE_CHECK =>
            {
                inject(&mut core.cpu, event);
            }
            Outcome::Inject(event) => raise(core, shared, event),
            Outcome::Leave => {
                interrupt::give_up(core);
                shared.published.give_up(core.id, &mut core.cpu);
                advance(&mut core.cpu);
                return Some(Flow::Leave);
            }
            Outcome::Dead(fault) => return Some(Flow::Dead(fault)),
        }
    }
    None
}

/// Whether an instruction that is carried out for the guest has no other effect than its own: no
/// step ends with it, no trace counts it, and no other core halts.
#[inline]
fn is_alone<P: Ports>(core: &Core<P::Cpu>, shared: &Shared<P>) -> bool {
    core.step == step::Step::None
        && !shared.published.traces_any()
        && !shared.rendezvous.is_wanted(core.id)
}

/// An instruction was carried out for the guest: what comes after it, if anything does.
#[inline(always)]
fn after_instruction<P: Ports>(core: &mut Core<P::Cpu>, shared: &Shared<P>) {
    if core.step != step::Step::None || core.carried_out.is_some() || shared.published.traces_any()
    {
        serve_after_instruction(core, shared);
    }
}

#[inline(never)]
fn serve_after_instruction<P: Ports>(core: &mut Core<P::Cpu>, shared: &Shared<P>) {
    step::complete(core, shared);
    if let Some(occasion) = core.carried_out.take() {
        watchers::serve_after(core, shared, &occasion);
    }
    trap::executed(core, shared);
}

#[inline(always)]
fn dispatch<P: Ports>(core: &mut Core<P::Cpu>, shared: &Shared<P>, reason: u16) -> Outcome {
    match reason {
        reason::EXCEPTION_OR_NMI => exception::handle(core, shared),
        reason::INIT => init::on_init(core, shared),
        reason::SIPI => init::on_sipi(core, shared),
        reason::EXTERNAL_INTERRUPT => interrupt::on_exit(core, shared),
        reason::INTERRUPT_WINDOW => interrupt::on_window(core),
        reason::NMI_WINDOW => nmi::on_window(core),
        reason::CPUID => cpuid::handle(core, shared),
        reason::INVD => {
            // INVD would throw away the hypervisor's own dirty lines; the guest loses nothing by
            // having its data written back first ("Changes to Instruction Behavior", 26.1.2).
            core.cpu.write_back_caches();
            Outcome::Advance
        }
        reason::VMCALL => hypercall::handle(core, shared),
        reason::GETSEC
        | reason::VMCLEAR..=reason::VMXON
        | reason::INVEPT
        | reason::INVVPID
        | reason::VMFUNC => Outcome::Inject(interruption::UNDEFINED_OPCODE),
        reason::CR_ACCESS => control_register::handle(core, shared),
        reason::MOV_DR => debug_register::handle(core, shared),
        reason::IO => io::handle(core, shared),
        reason::RDPMC => counter::on_pmc(core, shared),
        reason::RDTSC => counter::on_tsc(core, shared, counter::RDTSC),
        reason::RDTSCP => counter::on_tsc(core, shared, counter::RDTSCP),
        reason::RDMSR => msr::on_read(core, shared),
        reason::WRMSR => msr::on_write(core, shared),
        reason::MONITOR_TRAP_FLAG => trap::handle(core, shared),
        reason::EPT_VIOLATION => ept_violation::handle(core, shared),
        reason::PREEMPTION_TIMER => timer::handle(core, shared),
        reason::XSETBV => xsetbv::handle(core, shared),
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

/// The event that the processor was delivering when it exited is delivered at the next entry
/// ("Information for VM Exits During Event Delivery", 28.2.4).
fn redeliver(cpu: &mut impl Cpu) {
    const VALID: u32 = 1 << 31;
    let info = cpu.vmread(ro::IDT_VECTORING_INFO) as u32;
    if info & VALID != 0 {
        redeliver_event(cpu, info);
    }
}

#[cold]
fn redeliver_event(cpu: &mut impl Cpu, info: u32) {
    let error_code = cpu.vmread(ro::IDT_VECTORING_ERR_CODE) as u32;
    if let Some(event) = Event::decode(info, error_code) {
        inject(cpu, event);
        if event.kind == Kind::Nmi {
            let blocking = cpu.vmread(guest::INTERRUPTIBILITY_STATE);
            cpu.vmwrite(
                guest::INTERRUPTIBILITY_STATE,
                blocking & !interruptibility::NMI,
            );
        }
    }
}

/// An instruction raises an exception because the hypervisor says so: whoever watches it is
/// served as if the processor had raised it.
fn raise<P: Ports>(core: &mut Core<P::Cpu>, shared: &Shared<P>, event: Event) {
    let occasion = Occasion::new(Watched::Exception, u64::from(event.vector));
    match watchers::serve_before(core, shared, &occasion, Comes::Again) {
        Verdict::Goes => {
            native::deliver(core, shared, occasion);
            inject(&mut core.cpu, event);
        }
        Verdict::Skipped => advance(&mut core.cpu),
        Verdict::Stays => {}
    }
}

/// Delivers an event at the next entry.
fn inject(cpu: &mut impl Cpu, event: Event) {
    cpu.vmwrite(
        control_field::VMENTRY_INTERRUPTION_INFO_FIELD,
        u64::from(event.encode()),
    );
    if let Some(code) = event.error_code {
        cpu.vmwrite(control_field::VMENTRY_EXCEPTION_ERR_CODE, u64::from(code));
    }
    if event.needs_instruction_length() {
        let length = cpu.vmread(ro::VMEXIT_INSTRUCTION_LEN);
        cpu.vmwrite(control_field::VMENTRY_INSTRUCTION_LEN, length);
    }
}
