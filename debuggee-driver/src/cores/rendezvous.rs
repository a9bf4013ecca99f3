//! Who has stopped. The only place that issues [`AllHalted`], the proof that no guest instruction
//! runs anywhere.
//!
//! One core claims the halt, asks the others to come, and waits for each to check in. A core that
//! is asked leaves its guest with the next VM exit (the claimer sends it an NMI) and spins in
//! [`Rendezvous::park`] until the claimer lets go. Everything is atomics in memory that the guest
//! cannot reach; there is no lock.
//!
//! All accesses are sequentially consistent: the proof needs one order of all of them, and a halt
//! is no hot path.

use core::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, AtomicU64, Ordering::SeqCst};
use wire_protocol::address::CoreId;
use wire_protocol::limits;

/// What a core is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Seat {
    /// Not under the hypervisor.
    Offline = 0,
    /// In its guest, or in VMX-root on the guest's behalf.
    Running = 1,
    /// Waits for a start-up IPI: it executes nothing, and checks in as soon as it is woken.
    WaitForSipi = 2,
    /// Spins in VMX-root and touches nothing but its seat.
    Held = 3,
}

impl Seat {
    const fn from_u8(value: u8) -> Self {
        match value {
            1 => Self::Running,
            2 => Self::WaitForSipi,
            3 => Self::Held,
            _ => Self::Offline,
        }
    }
}

/// Values of `phase`.
const RUNNING: u32 = 0;
const HALTING: u32 = 1;
const RELEASING: u32 = 2;

struct SeatCells {
    state: AtomicU8,
    nmi_expected: AtomicBool,
    checked_in_tsc: AtomicU64,
    generation_seen: AtomicU32,
}

/// Shared by all cores.
pub struct Rendezvous {
    phase: AtomicU32,
    /// Core number + 1 of the claimer; 0 if there is none.
    owner: AtomicU32,
    /// Counts changes of what is installed; each core acknowledges the newest one.
    generation: AtomicU32,
    seats: [SeatCells; limits::CORES],
}

impl Default for Rendezvous {
    fn default() -> Self {
        Self {
            phase: AtomicU32::new(RUNNING),
            owner: AtomicU32::new(0),
            generation: AtomicU32::new(0),
            seats: [const {
                SeatCells {
                    state: AtomicU8::new(Seat::Offline as u8),
                    nmi_expected: AtomicBool::new(false),
                    checked_in_tsc: AtomicU64::new(0),
                    generation_seen: AtomicU32::new(0),
                }
            }; limits::CORES],
        }
    }
}

/// Turns of a wait between looks at the clock.
const SPINS_PER_LOOK: u32 = 64;

impl Rendezvous {
    fn cells(&self, core: CoreId) -> Option<&SeatCells> {
        self.seats.get(usize::from(core.0))
    }

    /// What `core` is doing.
    #[must_use]
    pub fn seat(&self, core: CoreId) -> Seat {
        self.cells(core).map_or(Seat::Offline, |cells| {
            Seat::from_u8(cells.state.load(SeqCst))
        })
    }

    /// A core says what it does now. A core that becomes `Running` must ask
    /// [`Self::is_wanted`] before it does anything else.
    pub fn set_seat(&self, core: CoreId, seat: Seat) {
        if let Some(cells) = self.cells(core) {
            cells.state.store(seat as u8, SeqCst);
        }
    }

    /// Cores that are not offline.
    pub fn present(&self) -> impl Iterator<Item = CoreId> + '_ {
        (0..limits::CORES as u16)
            .map(CoreId)
            .filter(|core| self.seat(*core) != Seat::Offline)
    }

    /// Whether another core has claimed a halt and waits for `core`.
    #[must_use]
    pub fn is_wanted(&self, core: CoreId) -> bool {
        self.phase.load(SeqCst) == HALTING && self.owner.load(SeqCst) != u32::from(core.0) + 1
    }

    /// Claims the halt for `core`. `None` if another core has it: then park, or go on if that one
    /// is just letting go.
    #[must_use]
    pub fn claim(&self, core: CoreId) -> Option<Halt<'_>> {
        self.owner
            .compare_exchange(0, u32::from(core.0) + 1, SeqCst, SeqCst)
            .ok()?;
        self.phase.store(HALTING, SeqCst);
        Some(Halt {
            rendezvous: self,
            owner: core,
        })
    }

    /// Whether the NMI that reached `core` is the one a claimer sent. Answers yes once per NMI sent.
    #[must_use]
    pub fn take_expected_nmi(&self, core: CoreId) -> bool {
        self.cells(core)
            .is_some_and(|cells| cells.nmi_expected.swap(false, SeqCst))
    }

    /// Checks in and waits until the claimer lets go. `acknowledge` is called whenever something
    /// was committed meanwhile, before the acknowledgement is given.
    pub fn park(&self, core: CoreId, tsc: u64, mut acknowledge: impl FnMut()) {
        let Some(cells) = self.cells(core) else {
            return;
        };
        cells.checked_in_tsc.store(tsc, SeqCst);
        cells.state.store(Seat::Held as u8, SeqCst);
        // Ends with the halt: the user's wish is the only bound, and the core has nothing else to do.
        while self.phase.load(SeqCst) == HALTING {
            if self.take_generation(core) {
                acknowledge();
                self.acknowledge(core);
            }
            core::hint::spin_loop();
        }
        cells.state.store(Seat::Running as u8, SeqCst);
    }

    /// Whether something was committed that `core` has not taken over yet.
    #[must_use]
    pub fn take_generation(&self, core: CoreId) -> bool {
        self.cells(core)
            .is_some_and(|cells| cells.generation_seen.load(SeqCst) != self.generation.load(SeqCst))
    }

    /// `core` has taken over everything committed so far.
    pub fn acknowledge(&self, core: CoreId) {
        if let Some(cells) = self.cells(core) {
            // Only the claimer raises the generation, and it waits for this before it does so again.
            cells
                .generation_seen
                .store(self.generation.load(SeqCst), SeqCst);
        }
    }
}

/// A claimed halt, held by the claimer until it lets go.
pub struct Halt<'r> {
    rendezvous: &'r Rendezvous,
    owner: CoreId,
}

/// Proof that every core but the one that holds it is held or executes nothing.
pub struct AllHalted<'h> {
    _halt: core::marker::PhantomData<&'h mut ()>,
}

impl Halt<'_> {
    /// Asks every running core to come and waits until each has checked in or `limit_ticks` are
    /// over. Returns the tick of the last check-in.
    pub fn gather(
        &mut self,
        mut send_nmi: impl FnMut(CoreId),
        mut tsc: impl FnMut() -> u64,
        limit_ticks: u64,
    ) -> u64 {
        let start = tsc();
        for core in self.others() {
            if self.rendezvous.seat(core) == Seat::Running {
                if let Some(cells) = self.rendezvous.cells(core) {
                    cells.nmi_expected.store(true, SeqCst);
                }
                send_nmi(core);
            }
        }
        while self.first_missing().is_some() && tsc().wrapping_sub(start) < limit_ticks {
            for _ in 0..SPINS_PER_LOOK {
                core::hint::spin_loop();
            }
        }
        let now = tsc();
        self.others()
            .filter(|core| self.rendezvous.seat(*core) == Seat::Held)
            .filter_map(|core| Some(self.rendezvous.cells(core)?.checked_in_tsc.load(SeqCst)))
            .fold(start, u64::max)
            .min(now)
    }

    fn others(&self) -> impl Iterator<Item = CoreId> + use<'_> {
        let owner = self.owner;
        self.rendezvous.present().filter(move |core| *core != owner)
    }

    fn first_missing(&self) -> Option<CoreId> {
        self.others()
            .find(|core| self.rendezvous.seat(*core) == Seat::Running)
    }

    /// The core that claimed.
    #[must_use]
    pub const fn owner(&self) -> CoreId {
        self.owner
    }

    /// Bit N set: core N did not check in.
    #[must_use]
    pub fn missing_mask(&self) -> u64 {
        self.others()
            .filter(|core| self.rendezvous.seat(*core) == Seat::Running)
            .fold(0, |mask, core| mask | 1 << core.0)
    }

    /// Whether `core` stands still: it is the claimer, or it checked in.
    #[must_use]
    pub fn holds(&self, core: CoreId) -> bool {
        core == self.owner || self.rendezvous.seat(core) == Seat::Held
    }

    /// What `core` is doing.
    #[must_use]
    pub fn seat(&self, core: CoreId) -> Seat {
        if core == self.owner {
            Seat::Held
        } else {
            self.rendezvous.seat(core)
        }
    }

    /// The proof that editing is safe.
    ///
    /// # Errors
    /// The first core that did not check in.
    pub fn all_halted(&mut self) -> Result<AllHalted<'_>, CoreId> {
        match self.first_missing() {
            Some(core) => Err(core),
            None => Ok(AllHalted {
                _halt: core::marker::PhantomData,
            }),
        }
    }

    /// Makes every held core take over what was committed, and waits for each; the claimer has
    /// done so itself before. A core that waits for a start-up IPI takes it over before its next
    /// instruction.
    ///
    /// # Errors
    /// The first core that did not acknowledge within `limit_ticks`.
    pub fn commit_everywhere(
        &mut self,
        mut tsc: impl FnMut() -> u64,
        limit_ticks: u64,
    ) -> Result<(), CoreId> {
        self.rendezvous.generation.fetch_add(1, SeqCst);
        self.rendezvous.acknowledge(self.owner);
        let start = tsc();
        loop {
            let lagging = self.others().find(|core| {
                self.rendezvous.seat(*core) == Seat::Held && self.rendezvous.take_generation(*core)
            });
            let Some(core) = lagging else { return Ok(()) };
            if tsc().wrapping_sub(start) >= limit_ticks {
                return Err(core);
            }
            core::hint::spin_loop();
        }
    }

    /// Lets every core go. Returns once each has left, so that the next claim finds none of them
    /// still counted as held.
    pub fn release(self, mut tsc: impl FnMut() -> u64, limit_ticks: u64) {
        self.rendezvous.phase.store(RELEASING, SeqCst);
        let start = tsc();
        while self
            .others()
            .any(|core| self.rendezvous.seat(core) == Seat::Held)
            && tsc().wrapping_sub(start) < limit_ticks
        {
            core::hint::spin_loop();
        }
        self.rendezvous.phase.store(RUNNING, SeqCst);
        self.rendezvous.owner.store(0, SeqCst);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    extern crate std;
    use std::sync::Arc;
    use std::sync::atomic::AtomicUsize;
    use std::thread;
    use std::time::Instant;

    const LIMIT: u64 = 20_000_000_000;

    fn clock() -> impl FnMut() -> u64 {
        let start = Instant::now();
        move || {
            thread::yield_now();
            start.elapsed().as_nanos() as u64
        }
    }

    #[test]
    fn only_one_core_claims_a_halt() {
        let rendezvous = Rendezvous::default();
        rendezvous.set_seat(CoreId(0), Seat::Running);
        rendezvous.set_seat(CoreId(1), Seat::Running);
        let halt = rendezvous.claim(CoreId(0)).unwrap();
        assert!(rendezvous.claim(CoreId(1)).is_none());
        assert!(rendezvous.is_wanted(CoreId(1)));
        assert!(!rendezvous.is_wanted(CoreId(0)));
        halt.release(clock(), LIMIT);
        assert!(rendezvous.claim(CoreId(1)).is_some());
    }

    #[test]
    fn no_proof_is_given_while_a_core_is_missing() {
        let rendezvous = Rendezvous::default();
        rendezvous.set_seat(CoreId(0), Seat::Running);
        rendezvous.set_seat(CoreId(3), Seat::Running);
        let mut halt = rendezvous.claim(CoreId(0)).unwrap();
        let mut asked = std::vec::Vec::new();
        let mut now = 0;
        halt.gather(
            |core| asked.push(core),
            || {
                now += 1;
                now
            },
            10,
        );
        assert_eq!(asked, [CoreId(3)]);
        assert_eq!(halt.all_halted().err(), Some(CoreId(3)));
        assert_eq!(halt.missing_mask(), 8);
        rendezvous.set_seat(CoreId(3), Seat::Held);
        assert!(halt.all_halted().is_ok());
        assert!(halt.holds(CoreId(3)));
    }

    #[test]
    fn a_core_that_waits_for_sipi_counts_as_still_and_gets_no_nmi() {
        let rendezvous = Rendezvous::default();
        rendezvous.set_seat(CoreId(0), Seat::Running);
        rendezvous.set_seat(CoreId(1), Seat::WaitForSipi);
        let mut halt = rendezvous.claim(CoreId(0)).unwrap();
        halt.gather(|_| panic!("no NMI is due"), clock(), LIMIT);
        assert!(halt.all_halted().is_ok());
    }

    #[test]
    fn an_nmi_is_expected_once() {
        let rendezvous = Rendezvous::default();
        rendezvous.set_seat(CoreId(0), Seat::Running);
        rendezvous.set_seat(CoreId(1), Seat::Running);
        let mut halt = rendezvous.claim(CoreId(0)).unwrap();
        halt.gather(|_| {}, clock(), 1);
        assert!(rendezvous.take_expected_nmi(CoreId(1)));
        assert!(!rendezvous.take_expected_nmi(CoreId(1)));
    }

    #[test]
    fn a_commit_returns_only_after_every_held_core_acknowledged() {
        let rendezvous = Rendezvous::default();
        rendezvous.set_seat(CoreId(0), Seat::Running);
        rendezvous.set_seat(CoreId(1), Seat::Held);
        let mut halt = rendezvous.claim(CoreId(0)).unwrap();
        let mut now = 0;
        let result = halt.commit_everywhere(
            || {
                now += 1;
                now
            },
            10,
        );
        assert_eq!(result, Err(CoreId(1)));
        rendezvous.acknowledge(CoreId(1));
        assert!(!rendezvous.take_generation(CoreId(1)));
    }

    /// Three threads fight for the halt; whoever has the proof must be alone.
    #[test]
    fn holders_of_the_proof_are_alone() {
        const CORES: u16 = 3;
        // Parked threads spin: on a machine with fewer cores each round costs time slices.
        let rounds = if cfg!(miri) { 2 } else { 20 };
        let rendezvous = Arc::new(Rendezvous::default());
        let inside = Arc::new(AtomicUsize::new(0));
        let done = Arc::new(AtomicUsize::new(0));
        for core in 0..CORES {
            rendezvous.set_seat(CoreId(core), Seat::Running);
        }
        let threads: std::vec::Vec<_> = (0..CORES)
            .map(|core| {
                let (rendezvous, inside, done) = (rendezvous.clone(), inside.clone(), done.clone());
                thread::spawn(move || {
                    let me = CoreId(core);
                    let mut finished = 0;
                    while done.load(SeqCst) < usize::from(CORES) {
                        if rendezvous.is_wanted(me) {
                            rendezvous.park(me, 0, || {});
                        } else if finished < rounds {
                            if let Some(mut halt) = rendezvous.claim(me) {
                                halt.gather(|_| {}, clock(), LIMIT);
                                let proof = halt.all_halted();
                                assert!(proof.is_ok());
                                assert_eq!(inside.fetch_add(1, SeqCst), 0);
                                assert_eq!(inside.fetch_sub(1, SeqCst), 1);
                                halt.commit_everywhere(clock(), LIMIT).unwrap();
                                halt.release(clock(), LIMIT);
                                finished += 1;
                                if finished == rounds {
                                    done.fetch_add(1, SeqCst);
                                }
                            }
                        } else {
                            thread::yield_now();
                        }
                    }
                    rendezvous.set_seat(me, Seat::Offline);
                })
            })
            .collect();
        for thread in threads {
            thread.join().unwrap();
        }
    }
}
