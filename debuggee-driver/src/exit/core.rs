//! One core as VMX-root knows it, and how it goes on after an exit.
//!
//! Made by `boot`, handed through every handler of `exit`, in VMX-root, by the core it stands for.

use super::arrivals::Arrivals;
use super::due::{Due, Loaded};
use super::respite::Respite;
use super::retry::Retries;
use super::single::state::Single;
use super::violation::decoded::Decoded;
use crate::ept::step_view::StepView;
use crate::event::TriggerInstance;
use crate::port::Ports;
use crate::shared::{Seat, Shared};
use crate::vmx::interruption::Event;
use wire_protocol::address::CoreId;

/// One core's own state in VMX-root.
pub struct Core<'m, P: Ports> {
    /// Its number.
    pub id: CoreId,
    /// What lets it look at what is installed.
    pub seat: Seat<'m>,
    /// Its processor.
    pub cpu: P::Cpu,
    /// What it shares with all cores.
    pub shared: &'m Shared<P>,
    /// What it does for one instruction.
    pub single: Single,
    /// What arrived for its guest.
    pub arrivals: Arrivals,
    /// What is due before its next entry.
    pub due: Due,
    /// What its processor was told.
    pub loaded: Loaded,
    /// What was carried out and is waited for by events of the stage after.
    pub carried_out: Option<TriggerInstance>,
    /// What accesses to watched pages were decoded last.
    pub decoded: Decoded,
    /// Whether it does little but leave its guest, and what becomes of its interrupts then.
    pub respite: Respite,
    /// What it was let run again without knowing why.
    pub retries: Retries,
    /// How its time runs.
    pub time: Time,
    /// It waits for a start-up IPI from its next entry on.
    pub waits_for_sipi: bool,
    /// Exits it took so far.
    pub exits: u64,
    /// What was committed when it was last made ready for entry.
    pub commits_seen: u64,
}

/// How a core's time runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Time {
    /// Hidden ticks that the TSC offset accounts for.
    pub hidden_ticks: u64,
    /// When the preemption timer is to run out, by the time-stamp counter.
    pub next_look: u64,
}

impl<'m, P: Ports> Core<'m, P> {
    /// A core that is about to be launched.
    pub const fn new(seat: Seat<'m>, cpu: P::Cpu, shared: &'m Shared<P>, view: StepView) -> Self {
        Self {
            id: seat.core(),
            seat,
            cpu,
            shared,
            single: Single::new(view),
            arrivals: Arrivals::NONE,
            due: Due::empty(),
            loaded: Loaded::NOTHING,
            carried_out: None,
            decoded: Decoded::ZEROES,
            respite: Respite::NONE,
            retries: Retries::NONE,
            time: Time {
                hidden_ticks: 0,
                next_look: 0,
            },
            waits_for_sipi: false,
            exits: 0,
            commits_seen: 0,
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

/// Why the guest of a core cannot go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fault {
    /// Exit reason, or VM-instruction error + 256.
    pub reason: u16,
    /// Exit qualification or guest-physical address.
    pub detail: u64,
}

impl Fault {
    /// The entry failed with this VM-instruction error.
    #[must_use]
    pub const fn of_entry(error: u64) -> Self {
        Self {
            reason: 256 + error as u16,
            detail: error,
        }
    }

    /// The guest left for this reason and cannot be entered again.
    #[must_use]
    pub const fn of_exit(reason: u16, detail: u64) -> Self {
        Self { reason, detail }
    }
}

/// What the core loop does next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flow {
    /// Enter the guest.
    Enter,
    /// Leave VMX operation and go on without a hypervisor.
    Leave,
    /// Stay in VMX-root for good: the guest cannot go on.
    Dead(Fault),
}
