//! One core as VMX-root knows it, and how it goes on after an exit.
//!
//! Made by `boot`, handed through every handler of `exit`, in VMX-root, by the core it stands for.

use super::single::{passthrough, step, trap};
use super::violation::unwatched;
use super::{detour, interrupt};
use crate::ept::entry::Mode;
use crate::ept::step_view::StepView;
use crate::event::TriggerInstance;
use crate::shared::Seat;
use crate::vmx::interruption::Event;
use wire_protocol::address::CoreId;

/// One core's own state in VMX-root.
pub struct Core<'m, C> {
    /// Its number.
    pub id: CoreId,
    /// What lets it look at what is installed.
    pub seat: Seat<'m>,
    /// Its processor.
    pub cpu: C,
    /// Whether it runs one instruction that touches watched pages right now.
    pub step: step::Step,
    /// That instruction was armed by the exit that is being handled.
    pub step_is_new: bool,
    /// The view it does so in.
    pub view: StepView,
    /// The only mode that can execute anything, while changes of mode are watched on it.
    pub executable_mode: Option<Mode>,
    /// What it touches in doing so that events of the stage after wait for.
    pub touched: step::Touched,
    /// What it carries out by itself right now, with nothing intercepted.
    pub pass_through: passthrough::PassThrough,
    /// What was carried out and is waited for by events of the stage after.
    pub carried_out: Option<TriggerInstance>,
    /// What accesses to watched pages were decoded last.
    pub decoded: unwatched::Decoded,
    /// Interrupts are taken for one instruction, which nothing else can hold them off.
    pub takes_interrupts: bool,
    /// Interrupts that were taken from the guest.
    pub interrupts: interrupt::TakenInterrupts,
    /// Where its trace stands.
    pub trace: trap::Trace,
    /// Instructions of the step that a script asked for.
    pub stepped: u32,
    /// What came while it was inside a detour.
    pub deferred: detour::Deferred,
    /// It waits for a start-up IPI from its next entry on.
    pub waits_for_sipi: bool,
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

impl<'m, C> Core<'m, C> {
    /// A core that is about to be launched.
    pub const fn new(seat: Seat<'m>, cpu: C, view: StepView) -> Self {
        Self {
            id: seat.core(),
            seat,
            cpu,
            step: step::Step::None,
            step_is_new: false,
            view,
            executable_mode: None,
            touched: step::Touched::NOTHING,
            pass_through: passthrough::PassThrough::None,
            carried_out: None,
            decoded: unwatched::Decoded::ZEROES,
            takes_interrupts: false,
            interrupts: interrupt::TakenInterrupts::NONE,
            trace: trap::Trace::NONE,
            stepped: 0,
            deferred: detour::Deferred::NOTHING,
            waits_for_sipi: false,
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
