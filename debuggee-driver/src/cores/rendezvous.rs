//! The halt as tokens: who holds which may look at what.
//!
//! One value is read by every core while it runs and changed only while all stand still; each core
//! has another one for itself, which the claimer of a halt may use while that core is held. Both
//! live in the [`Rendezvous`], so only its own tokens open them:
//!
//! * [`Seat`], one per core, taken once: [`Seat::read`] borrows it, [`Seat::park`] and
//!   [`Seat::wait_for_sipi`] borrow it exclusively, so a core that is not counted as running cannot
//!   look;
//! * [`Halt`], from [`Seat::claim`], which keeps the seat borrowed until [`Halt::release`];
//! * [`AllHalted`], from [`Halt::all_halted`]: no guest instruction runs anywhere and nobody looks.
//!
//! One core claims the halt, asks the others to come, and waits for each to check in. A core that
//! is asked leaves its guest with the next VM exit (the claimer sends it an NMI) and sleeps in
//! [`Seat::park`] until the claimer lets go; another NMI wakes it, then and for each change that it has to load. The claimer can hand the halt to one core, itself or another one, which goes
//! on alone and claims it again.
//!
//! Called by `exit`, `halt` and `command`, in VMX-root, and by `boot`.

use super::roster::{Claim, Presence, Roster};
use core::cell::UnsafeCell;
use core::marker::PhantomData;
use wire_protocol::address::CoreId;
use wire_protocol::limits;

/// Shared by all cores: `T` is what all of them read, `L` what each has for itself.
pub struct Rendezvous<T, L> {
    roster: Roster,
    value: Common<T>,
    locals: [Own<L>; limits::CORES],
}

/// What all cores read.
struct Common<T>(UnsafeCell<T>);

// SAFETY: the tokens lend it to several cores at once only as `&T`, hence `T: Sync`, and to one at
// a time as `&mut T`, hence `T: Send`.
unsafe impl<T: Send + Sync> Sync for Common<T> {}

/// What one core has for itself.
struct Own<L>(UnsafeCell<L>);

// SAFETY: the tokens lend it to one core at a time, hence `L: Send`.
unsafe impl<L: Send> Sync for Own<L> {}

/// What a core in the rendezvous does with its processor.
pub trait Processor {
    /// The time-stamp counter.
    fn tsc(&self) -> u64;
    /// Sends an NMI to another core, which may run its guest.
    fn send_nmi(&self, core: CoreId);
    /// The same to one that sleeps, or is about to.
    fn wake(&self, core: CoreId);
    /// Executes nothing until the next NMI. Not at all if `is_called`, nor if an NMI came since that was asked.
    fn sleep_unless(&self, is_called: impl FnOnce() -> bool);
}

/// Turns of a wait between looks at the clock.
const SPINS_PER_LOOK: u32 = 64;

impl<T, L> Rendezvous<T, L> {
    /// No core is there yet.
    pub fn new(value: T, locals: [L; limits::CORES]) -> Self {
        Self {
            roster: Roster::default(),
            value: Common(UnsafeCell::new(value)),
            locals: locals.map(|local| Own(UnsafeCell::new(local))),
        }
    }

    /// Makes `core` one that runs, once no other core halts. `None`: it is one already, or there is
    /// no such core, so that a core never has two seats.
    pub fn seat(&self, core: CoreId) -> Option<Seat<'_, T, L>> {
        let local = self.locals.get(usize::from(core.0))?;
        if !self.roster.enlist(core) {
            return None;
        }
        let mut seat = Seat {
            rendezvous: self,
            core,
            local,
        };
        seat.wait_for_sipi(|| {});
        Some(seat)
    }

    /// Both values of a core, for code that it runs beside the one that has its seat.
    ///
    /// # Safety
    /// The seat of `core` is taken, and as long as what is returned is used, its holder neither
    /// parks, claims, waits nor uses what the core has for itself.
    #[allow(
        clippy::mut_from_ref,
        reason = "only one is there at a time, by contract"
    )]
    pub unsafe fn beside(&self, core: CoreId) -> Option<(&T, &mut L)> {
        let local = self.locals.get(usize::from(core.0))?;
        // SAFETY: the core counts as running by contract, so nobody edits.
        let value = unsafe { &*self.value.0.get() };
        // SAFETY: the core is not held by contract, so no claimer uses it, nor does the seat's holder.
        Some((value, unsafe { &mut *local.0.get() }))
    }

    /// What `core` is doing.
    #[must_use]
    pub fn presence(&self, core: CoreId) -> Presence {
        self.roster.presence(core)
    }

    /// Cores that are not offline.
    pub fn present(&self) -> impl Iterator<Item = CoreId> + use<'_, T, L> {
        self.roster.present()
    }

    /// Whether `core` executes nothing any more.
    #[must_use]
    pub fn has_died(&self, core: CoreId) -> bool {
        self.roster.has_died(core)
    }

    /// A core whose seat is out of reach is lost from now on: no halt waits for it.
    ///
    /// # Safety
    /// The holder of the core's seat never goes on.
    pub unsafe fn give_up(&self, core: CoreId) {
        self.roster.set_presence(core, Presence::Lost);
    }
}

/// A core that runs: the right to look at what all read, and at what is the core's own.
pub struct Seat<'r, T, L> {
    rendezvous: &'r Rendezvous<T, L>,
    core: CoreId,
    local: &'r Own<L>,
}

impl<T, L> Seat<'_, T, L> {
    /// Whose it is.
    #[inline]
    #[must_use]
    pub const fn core(&self) -> CoreId {
        self.core
    }

    /// Looks at what all cores read.
    #[inline]
    pub fn read<R>(&self, look: impl FnOnce(&T) -> R) -> R {
        look(self.value())
    }

    #[inline]
    fn value(&self) -> &T {
        // SAFETY: outside of `park` and `wait_for_sipi`, which borrow the seat exclusively, its core
        // counts as running: no other core has an `AllHalted`. One of this core's own keeps the
        // seat, or the halt that stands for it, borrowed exclusively.
        unsafe { &*self.rendezvous.value.0.get() }
    }

    /// What this core has for itself.
    #[inline]
    pub fn local(&mut self) -> &mut L {
        self.parts().1
    }

    /// What all cores read, and what this one has for itself.
    #[inline]
    pub fn parts(&mut self) -> (&T, &mut L) {
        // SAFETY: the core is not held, so no claimer uses it, and its only seat, or the halt that
        // stands for it, is borrowed exclusively.
        let local = unsafe { &mut *self.local.0.get() };
        (self.value(), local)
    }

    /// Whether another core has claimed a halt and waits for this one.
    #[inline]
    #[must_use]
    pub fn is_wanted(&self) -> bool {
        self.rendezvous.roster.is_wanted(self.core)
    }

    /// How many of the NMIs that reached this core were sent by a claimer. Each that was sent counts once.
    #[must_use]
    pub fn take_expected_nmis(&self, arrived: u32) -> u32 {
        self.rendezvous
            .roster
            .take_expected_nmis(self.core, arrived)
    }

    /// Whether something was committed that this core has not acknowledged yet.
    #[must_use]
    pub fn is_behind(&self) -> bool {
        self.rendezvous.roster.is_behind(self.core)
    }

    /// This core has loaded everything committed so far.
    pub fn acknowledge(&self) {
        self.rendezvous.roster.acknowledge(self.core);
    }

    /// Claims the halt. `None` if another core has it: then park, or go on if that one is just
    /// letting go. A core that goes on alone in a halt has it already, and claims it again.
    #[must_use]
    pub fn claim(&mut self) -> Option<Halt<'_, T, L>> {
        let claim = self.rendezvous.roster.claim(self.core)?;
        Some(Halt {
            seat: Seat { ..*self },
            claim,
            claimed: PhantomData,
        })
    }

    /// Checks in and sleeps until the claimer lets go. `acknowledge` is called whenever something
    /// was committed meanwhile, before the acknowledgement is given.
    pub fn park<C: Processor>(&mut self, processor: &mut C, mut acknowledge: impl FnMut(&mut C)) {
        let roster = &self.rendezvous.roster;
        let core = self.core;
        roster.check_in(core, processor.tsc());
        let mut absence = Absence::begin(roster, core, Presence::Held);
        loop {
            // Ends with the halt: the user's wish is the only bound, and the core has nothing else to do.
            while roster.is_wanted(core) {
                if roster.is_behind(core) {
                    acknowledge(processor);
                    roster.acknowledge(core);
                }
                // Who changes something looks at this afterwards, and this core looks at what was changed after it
                // said so: at least one sees the other.
                roster.set_asleep(core, true);
                processor.sleep_unless(|| !roster.is_wanted(core) || roster.is_behind(core));
                roster.set_asleep(core, false);
            }
            if absence.end() {
                return;
            }
        }
    }

    /// Lets the core wait for a start-up IPI in `enter`: no halt waits for it. When it is woken
    /// while another core halts, it is back only after that halt.
    pub fn wait_for_sipi<R>(&mut self, enter: impl FnOnce() -> R) -> R {
        let roster = &self.rendezvous.roster;
        let _absence = Absence::begin(roster, self.core, Presence::WaitForSipi);
        enter()
    }

    /// The same on a machine whose cores take turns in one thread: while another core keeps the halt to itself, this one
    /// goes on waiting after its turn.
    #[cfg(any(test, feature = "fake"))]
    pub fn wait_in_turn<R>(&mut self, enter: impl FnOnce() -> R) -> R {
        let roster = &self.rendezvous.roster;
        roster.set_presence(self.core, Presence::WaitForSipi);
        let entered = enter();
        if !roster.is_wanted(self.core) {
            roster.set_presence(self.core, Presence::Running);
        }
        entered
    }

    /// The core runs without the hypervisor from now on.
    pub fn leave(self) {
        let Self {
            rendezvous, core, ..
        } = self;
        rendezvous.roster.set_presence(core, Presence::Offline);
    }

    /// The guest of this core cannot go on. The core takes part in every halt to come.
    pub fn die(&self) {
        self.rendezvous.roster.die(self.core);
    }
}

/// A core that does not count as running, and looks at nothing until [`Self::end`] says that it does.
struct Absence<'r> {
    roster: &'r Roster,
    core: CoreId,
    presence: Presence,
    has_ended: bool,
}

impl<'r> Absence<'r> {
    fn begin(roster: &'r Roster, core: CoreId, presence: Presence) -> Self {
        roster.set_presence(core, presence);
        Self {
            roster,
            core,
            presence,
            has_ended: false,
        }
    }

    /// Back among those that run, unless another core halts. Who claims a halt looks at every core
    /// after it told that it does; this core looks for a halt after it told that it runs: at least
    /// one sees the other.
    fn end(&mut self) -> bool {
        self.roster.set_presence(self.core, Presence::Running);
        self.has_ended = !self.roster.is_wanted(self.core);
        if !self.has_ended {
            self.roster.set_presence(self.core, self.presence);
        }
        self.has_ended
    }
}

impl Drop for Absence<'_> {
    fn drop(&mut self) {
        while !self.has_ended {
            // Before the claimer may take this core for one that runs: it would wait for it.
            while self.roster.is_wanted(self.core) {
                core::hint::spin_loop();
            }
            self.end();
        }
    }
}

/// A claimed halt, held by the claimer until it lets go.
pub struct Halt<'s, T, L> {
    /// Stands for the claimer's own, which is borrowed.
    seat: Seat<'s, T, L>,
    claim: Claim,
    claimed: PhantomData<&'s mut ()>,
}

/// Proof that every core but the one that holds it is held or executes nothing.
pub struct AllHalted<'h, T> {
    value: &'h Common<T>,
    halt: PhantomData<&'h mut ()>,
}

impl<T> AllHalted<'_, T> {
    /// What all cores read, to change it. The proof stays borrowed as long as the reference lives.
    pub fn edit(&mut self) -> &mut T {
        // SAFETY: every other core is held or executes nothing until the halt is released, and none
        // of them looks meanwhile; this core's halt, the only one, is borrowed exclusively.
        unsafe { &mut *self.value.0.get() }
    }
}

impl<T, L> Halt<'_, T, L> {
    const fn roster(&self) -> &Roster {
        &self.seat.rendezvous.roster
    }

    /// Asks every running core to come and waits until each has checked in or `limit_ticks` are
    /// over. Returns the tick of the last check-in.
    pub fn gather(&mut self, processor: &impl Processor, limit_ticks: u64) -> u64 {
        let roster = self.roster();
        let start = processor.tsc();
        for core in self.others() {
            if roster.presence(core) == Presence::Running {
                roster.expect_nmi(core);
                processor.send_nmi(core);
            }
        }
        while self.first_missing().is_some() && processor.tsc().wrapping_sub(start) < limit_ticks {
            for _ in 0..SPINS_PER_LOOK {
                core::hint::spin_loop();
            }
        }
        let now = processor.tsc();
        self.others()
            .filter(|core| roster.presence(*core) == Presence::Held)
            .map(|core| roster.checked_in_tsc(core))
            .fold(start, u64::max)
            .min(now)
    }

    fn others(&self) -> impl Iterator<Item = CoreId> + use<'_, T, L> {
        let owner = self.owner();
        let present = self.roster().present();
        present.filter(move |core| *core != owner)
    }

    /// One of the NMIs that reached the claimer was sent on its behalf.
    pub fn expect_own_nmi(&self) {
        self.roster().expect_nmi(self.owner());
    }

    /// Lets a core that sleeps see what was changed for it.
    fn wake(&self, core: CoreId, processor: &impl Processor) {
        if self.roster().take_asleep(core) {
            self.roster().expect_nmi(core);
            processor.wake(core);
        }
    }

    fn first_missing(&self) -> Option<CoreId> {
        self.others()
            .find(|core| self.roster().presence(*core) == Presence::Running)
    }

    /// The core that claimed.
    #[must_use]
    pub const fn owner(&self) -> CoreId {
        self.seat.core
    }

    /// Bit N set: core N did not check in.
    #[must_use]
    pub fn missing_mask(&self) -> u64 {
        self.others()
            .filter(|core| self.roster().presence(*core) == Presence::Running)
            .fold(0, |mask, core| mask | 1 << core.0)
    }

    /// Whether `core` stands still: it is the claimer, or it checked in.
    #[must_use]
    pub fn holds(&self, core: CoreId) -> bool {
        self.presence(core) == Presence::Held
    }

    /// What `core` is doing.
    #[must_use]
    pub fn presence(&self, core: CoreId) -> Presence {
        if core == self.owner() {
            Presence::Held
        } else {
            self.roster().presence(core)
        }
    }

    /// Whether `core` executes nothing any more.
    #[must_use]
    pub fn has_died(&self, core: CoreId) -> bool {
        self.roster().has_died(core)
    }

    /// Bit N set: core N executes nothing any more.
    #[must_use]
    pub fn dead_mask(&self) -> u64 {
        let present = self.roster().present();
        let dead = present.filter(|core| self.has_died(*core));
        dead.fold(0, |mask, core| mask | 1 << core.0)
    }

    /// Looks at what all cores read.
    pub fn read<R>(&self, look: impl FnOnce(&T) -> R) -> R {
        self.seat.read(look)
    }

    /// What all cores read, and what the claimer has for itself.
    pub fn parts(&mut self) -> (&T, &mut L) {
        self.seat.parts()
    }

    /// What a core that is held has for itself; `None` if it is not held.
    pub fn local_of(&mut self, core: CoreId) -> Option<&mut L> {
        if core == self.owner() {
            return Some(self.seat.local());
        }
        if !self.holds(core) {
            return None;
        }
        let local = self.seat.rendezvous.locals.get(usize::from(core.0))?;
        // SAFETY: a held core does not touch it before this halt, which is borrowed exclusively, is
        // released.
        Some(unsafe { &mut *local.0.get() })
    }

    /// The proof that editing is safe.
    ///
    /// # Errors
    /// The first core that did not check in.
    pub fn all_halted(&mut self) -> Result<AllHalted<'_, T>, CoreId> {
        match self.first_missing() {
            Some(core) => Err(core),
            None => Ok(AllHalted {
                value: &self.seat.rendezvous.value,
                halt: PhantomData,
            }),
        }
    }

    /// Makes every held core load what was committed, and waits for each; the claimer has done so
    /// itself before. A core that waits for a start-up IPI loads it before its next instruction.
    ///
    /// # Errors
    /// The first core that did not acknowledge within `limit_ticks`.
    pub fn commit_everywhere(
        &mut self,
        processor: &impl Processor,
        limit_ticks: u64,
    ) -> Result<(), CoreId> {
        let roster = self.roster();
        roster.commit();
        roster.acknowledge(self.owner());
        self.others().for_each(|core| self.wake(core, processor));
        let start = processor.tsc();
        loop {
            let lagging = self
                .others()
                .find(|core| roster.presence(*core) == Presence::Held && roster.is_behind(*core));
            let Some(core) = lagging else { return Ok(()) };
            if processor.tsc().wrapping_sub(start) >= limit_ticks {
                return Err(core);
            }
            core::hint::spin_loop();
        }
    }

    /// Lets `core` alone go on, which is held or the claimer itself: the halt is that core's from now on, and all
    /// others stay held. A claimer that gave it away parks next.
    pub fn hand_over(self, core: CoreId, processor: &impl Processor) {
        self.roster().hand_over(core);
        self.wake(core, processor);
    }

    /// Ends what the halt was claimed for: lets every core go, unless the claimer goes on alone in it.
    pub fn put_back(self, processor: &impl Processor, limit_ticks: u64) {
        match self.claim {
            Claim::Anew => self.release(processor, limit_ticks),
            Claim::Again => {}
        }
    }

    /// Lets every core go. Returns once each has left, so that the next claim finds none of them
    /// still counted as held.
    pub fn release(self, processor: &impl Processor, limit_ticks: u64) {
        let roster = self.roster();
        roster.begin_release();
        self.others().for_each(|core| self.wake(core, processor));
        let start = processor.tsc();
        while self
            .others()
            .any(|core| roster.presence(core) == Presence::Held)
            && processor.tsc().wrapping_sub(start) < limit_ticks
        {
            core::hint::spin_loop();
        }
        roster.end_release();
    }
}

#[cfg(test)]
mod tests;
