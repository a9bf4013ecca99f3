//! Who has stopped: what each core does, who claims the halt, what was committed.
//!
//! Plain atomics in memory that the guest cannot reach; there is no lock. The tokens of
//! [`super::rendezvous`] are the only users.
//!
//! All accesses are sequentially consistent: the proof needs one order of all of them, and a halt
//! is no hot path.

use core::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, AtomicU64, Ordering::SeqCst};
use wire_protocol::address::CoreId;
use wire_protocol::limits;

/// What a core is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Presence {
    /// Not under the hypervisor.
    Offline = 0,
    /// In its guest, or in VMX-root on the guest's behalf.
    Running = 1,
    /// Waits for a start-up IPI: it executes nothing, and looks at nothing before it is back.
    WaitForSipi = 2,
    /// Sleeps in VMX-root and touches nothing.
    Held = 3,
    /// Met a fault in VMX-root: it touches nothing, answers nothing, and never comes back.
    Lost = 4,
}

impl Presence {
    const fn from_u8(value: u8) -> Self {
        match value {
            1 => Self::Running,
            2 => Self::WaitForSipi,
            3 => Self::Held,
            4 => Self::Lost,
            _ => Self::Offline,
        }
    }
}

/// How a halt came to the core that claims it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Claim {
    /// Nobody had it.
    Anew,
    /// It is that core's already, which went on alone in it.
    Again,
}

/// Values of `phase`.
const RUNNING: u32 = 0;
const HALTING: u32 = 1;
const RELEASING: u32 = 2;

struct Entry {
    presence: AtomicU8,
    has_died: AtomicBool,
    is_asleep: AtomicBool,
    nmis_expected: AtomicU32,
    checked_in_tsc: AtomicU64,
    generation_seen: AtomicU32,
}

/// See the module.
pub(super) struct Roster {
    phase: AtomicU32,
    /// Core number + 1 of the claimer; 0 if there is none.
    owner: AtomicU32,
    /// Counts changes of what is installed; each core acknowledges the newest one.
    generation: AtomicU32,
    entries: [Entry; limits::CORES],
}

impl Default for Roster {
    fn default() -> Self {
        Self {
            phase: AtomicU32::new(RUNNING),
            owner: AtomicU32::new(0),
            generation: AtomicU32::new(0),
            entries: [const {
                Entry {
                    presence: AtomicU8::new(Presence::Offline as u8),
                    has_died: AtomicBool::new(false),
                    is_asleep: AtomicBool::new(false),
                    nmis_expected: AtomicU32::new(0),
                    checked_in_tsc: AtomicU64::new(0),
                    generation_seen: AtomicU32::new(0),
                }
            }; limits::CORES],
        }
    }
}

impl Roster {
    fn entry(&self, core: CoreId) -> Option<&Entry> {
        self.entries.get(usize::from(core.0))
    }

    /// What `core` is doing.
    pub(super) fn presence(&self, core: CoreId) -> Presence {
        self.entry(core).map_or(Presence::Offline, |entry| {
            Presence::from_u8(entry.presence.load(SeqCst))
        })
    }

    /// `core` says what it does now.
    pub(super) fn set_presence(&self, core: CoreId, presence: Presence) {
        if let Some(entry) = self.entry(core) {
            entry.presence.store(presence as u8, SeqCst);
        }
    }

    /// The guest of `core` cannot go on.
    pub(super) fn die(&self, core: CoreId) {
        if let Some(entry) = self.entry(core) {
            entry.has_died.store(true, SeqCst);
        }
    }

    /// Whether `core` executes nothing any more.
    pub(super) fn has_died(&self, core: CoreId) -> bool {
        self.presence(core) == Presence::Lost
            || self
                .entry(core)
                .is_some_and(|entry| entry.has_died.load(SeqCst))
    }

    /// An offline core becomes one that executes nothing. False if it is none, or not offline.
    pub(super) fn enlist(&self, core: CoreId) -> bool {
        let (from, to) = (Presence::Offline as u8, Presence::WaitForSipi as u8);
        self.entry(core).is_some_and(|entry| {
            let taken = entry.presence.compare_exchange(from, to, SeqCst, SeqCst);
            taken.is_ok()
        })
    }

    /// Cores that are not offline.
    pub(super) fn present(&self) -> impl Iterator<Item = CoreId> + '_ {
        (0..limits::CORES as u16)
            .map(CoreId)
            .filter(|core| self.presence(*core) != Presence::Offline)
    }

    /// Whether another core has claimed a halt and waits for `core`.
    pub(super) fn is_wanted(&self, core: CoreId) -> bool {
        self.phase.load(SeqCst) == HALTING && !self.is_claimed_by(core)
    }

    /// Out of line, since every exit asks whether there is a halt, and hardly ever is there one.
    #[cold]
    #[inline(never)]
    fn is_claimed_by(&self, core: CoreId) -> bool {
        self.owner.load(SeqCst) == u32::from(core.0) + 1
    }

    /// Claims the halt for `core`. `None`: another core has it.
    pub(super) fn claim(&self, core: CoreId) -> Option<Claim> {
        let owner = u32::from(core.0) + 1;
        match self.owner.compare_exchange(0, owner, SeqCst, SeqCst) {
            Ok(_) => {
                self.phase.store(HALTING, SeqCst);
                Some(Claim::Anew)
            }
            Err(held) => (held == owner).then_some(Claim::Again),
        }
    }

    /// The claimer gives the halt to `core`, which is held and goes on alone.
    pub(super) fn hand_over(&self, core: CoreId) {
        self.owner.store(u32::from(core.0) + 1, SeqCst);
    }

    /// Asks every core that is held to leave.
    pub(super) fn begin_release(&self) {
        self.phase.store(RELEASING, SeqCst);
    }

    /// The halt is over: the next core may claim one.
    pub(super) fn end_release(&self) {
        self.phase.store(RUNNING, SeqCst);
        self.owner.store(0, SeqCst);
    }

    /// An NMI is about to be sent to `core`.
    pub(super) fn expect_nmi(&self, core: CoreId) {
        if let Some(entry) = self.entry(core) {
            entry.nmis_expected.fetch_add(1, SeqCst);
        }
    }

    /// `arrived` NMIs reached `core`: how many of them were sent to it here. Each counts once.
    pub(super) fn take_expected_nmis(&self, core: CoreId, arrived: u32) -> u32 {
        let Some(entry) = self.entry(core) else {
            return 0;
        };
        let taken = entry
            .nmis_expected
            .fetch_update(SeqCst, SeqCst, |sent| Some(sent.saturating_sub(arrived)));
        taken.map_or(0, |sent| sent.min(arrived))
    }

    /// `core` says whether it sleeps from now on if it finds nothing to do.
    pub(super) fn set_asleep(&self, core: CoreId, is_asleep: bool) {
        if let Some(entry) = self.entry(core) {
            entry.is_asleep.store(is_asleep, SeqCst);
        }
    }

    /// Whether `core` has to be woken for what was changed. Answers yes once until it sleeps again.
    pub(super) fn take_asleep(&self, core: CoreId) -> bool {
        self.entry(core)
            .is_some_and(|entry| entry.is_asleep.swap(false, SeqCst))
    }

    /// `core` is about to be held.
    pub(super) fn check_in(&self, core: CoreId, tsc: u64) {
        if let Some(entry) = self.entry(core) {
            entry.checked_in_tsc.store(tsc, SeqCst);
        }
    }

    /// When `core` checked in last.
    pub(super) fn checked_in_tsc(&self, core: CoreId) -> u64 {
        self.entry(core)
            .map_or(0, |entry| entry.checked_in_tsc.load(SeqCst))
    }

    /// Something was committed: every core is behind.
    pub(super) fn commit(&self) {
        self.generation.fetch_add(1, SeqCst);
    }

    /// Whether something was committed that `core` has not acknowledged yet.
    pub(super) fn is_behind(&self, core: CoreId) -> bool {
        self.entry(core)
            .is_some_and(|entry| entry.generation_seen.load(SeqCst) != self.generation.load(SeqCst))
    }

    /// `core` has loaded everything committed so far.
    pub(super) fn acknowledge(&self, core: CoreId) {
        if let Some(entry) = self.entry(core) {
            // Only the claimer raises the generation, and it waits for this before it does so again.
            entry
                .generation_seen
                .store(self.generation.load(SeqCst), SeqCst);
        }
    }
}
