//! Halts among threads that stand for cores. Under Miri a look at what another one edits is found
//! as a data race or as a reference that should be the only one.

use super::*;
extern crate std;
use std::boxed::Box;
use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::SeqCst};
use std::thread;

const LIMIT: u64 = u64::MAX;
const CORES: u16 = 3;

/// Words that an edit changes one by one: whoever looked meanwhile would see them differ.
type Words = [u64; 4];
type Meeting = Rendezvous<Words, u64>;

fn rendezvous() -> Meeting {
    Rendezvous::new([0; 4], [0; limits::CORES])
}

/// The processor of each core, which sleeps until an NMI comes, like a real one: who is not woken does not go on.
#[derive(Default)]
struct Processors {
    nmis: [AtomicU64; CORES as usize + 1],
}

struct OnCore<'p> {
    processors: &'p Processors,
    core: CoreId,
    now: Cell<u64>,
    /// No core that runs is to be asked.
    is_quiet: bool,
}

impl Processors {
    /// That of a core, with a clock of which every look takes a tick.
    fn of(&self, core: u16) -> OnCore<'_> {
        OnCore {
            processors: self,
            core: CoreId(core),
            now: Cell::new(0),
            is_quiet: false,
        }
    }

    /// The same, and no core that runs is to be asked.
    fn quiet(&self, core: u16) -> OnCore<'_> {
        OnCore {
            is_quiet: true,
            ..self.of(core)
        }
    }

    fn nmis(&self, core: CoreId) -> &AtomicU64 {
        &self.nmis[usize::from(core.0)]
    }
}

impl Processor for OnCore<'_> {
    fn tsc(&self) -> u64 {
        self.now.set(self.now.get() + 1);
        self.now.get()
    }

    fn send_nmi(&self, core: CoreId) {
        assert!(!self.is_quiet, "no NMI is due");
        self.wake(core);
    }

    fn wake(&self, core: CoreId) {
        self.processors.nmis(core).fetch_add(1, SeqCst);
    }

    fn sleep_unless(&self, is_called: impl FnOnce() -> bool) {
        let nmis = self.processors.nmis(self.core);
        let seen = nmis.load(SeqCst);
        if !is_called() {
            while nmis.load(SeqCst) == seen {
                thread::yield_now();
            }
        }
    }
}

fn look(seat: &Seat<'_, Words, u64>) -> u64 {
    seat.read(|words| {
        assert_eq!(*words, [words[0]; 4], "somebody edits");
        words[0]
    })
}

fn edit(halt: &mut Halt<'_, Words, u64>) {
    let mut proof = halt.all_halted().unwrap();
    for word in proof.edit() {
        *word += 1;
    }
}

#[test]
fn a_core_has_one_seat_until_it_leaves() {
    let rendezvous = rendezvous();
    let seat = rendezvous.seat(CoreId(1)).unwrap();
    assert_eq!(rendezvous.presence(CoreId(1)), Presence::Running);
    assert!(rendezvous.seat(CoreId(1)).is_none());
    assert!(rendezvous.seat(CoreId(limits::CORES as u16)).is_none());
    seat.leave();
    assert_eq!(rendezvous.presence(CoreId(1)), Presence::Offline);
    assert!(rendezvous.seat(CoreId(1)).is_some());
}

#[test]
fn only_one_core_claims_a_halt() {
    let (rendezvous, processors) = (rendezvous(), Processors::default());
    let mut first = rendezvous.seat(CoreId(0)).unwrap();
    let mut second = rendezvous.seat(CoreId(1)).unwrap();
    let halt = first.claim().unwrap();
    assert!(second.claim().is_none());
    assert!(second.is_wanted());
    halt.release(&processors.of(0), LIMIT);
    assert!(!second.is_wanted());
    assert!(second.claim().is_some());
    assert!(!second.is_wanted());
}

#[test]
fn a_core_that_goes_on_alone_claims_its_halt_again_and_all_others_stay_held() {
    let (rendezvous, processors) = (rendezvous(), Processors::default());
    let mut first = rendezvous.seat(CoreId(0)).unwrap();
    let mut second = rendezvous.seat(CoreId(1)).unwrap();
    let mut third = rendezvous.seat(CoreId(2)).unwrap();
    thread::scope(|scope| {
        let mut halt = first.claim().unwrap();
        scope.spawn(|| third.park(&mut processors.of(2), |_| {}));
        let stepped = scope.spawn(|| {
            second.park(&mut processors.of(1), |_| {});
            // It goes on alone, and may look.
            assert!(!second.is_wanted());
            let seen = look(&second);
            let mut silent = second.claim().unwrap();
            silent.gather(&processors.of(1), LIMIT);
            assert_eq!(silent.presence(CoreId(2)), Presence::Held);
            edit(&mut silent);
            silent.put_back(&processors.of(1), LIMIT);
            let mut halt = second.claim().unwrap();
            halt.gather(&processors.of(0), LIMIT);
            assert!(halt.holds(CoreId(0)) && halt.holds(CoreId(2)));
            edit(&mut halt);
            halt.release(&processors.of(0), LIMIT);
            seen
        });
        halt.gather(&processors.of(0), LIMIT);
        edit(&mut halt);
        // To itself: it goes on, and the others do not.
        halt.hand_over(CoreId(0), &processors.of(0));
        assert!(!first.is_wanted());
        let halt = first.claim().unwrap();
        assert!(halt.holds(CoreId(1)) && halt.holds(CoreId(2)));
        halt.hand_over(CoreId(1), &processors.of(0));
        first.park(&mut processors.of(0), |_| {});
        assert_eq!(stepped.join().unwrap(), 1);
    });
    assert_eq!(look(&first), 3);
}

#[test]
fn no_proof_is_given_while_a_core_is_missing() {
    let (rendezvous, processors) = (rendezvous(), Processors::default());
    let mut first = rendezvous.seat(CoreId(0)).unwrap();
    let mut fourth = rendezvous.seat(CoreId(3)).unwrap();
    let mut halt = first.claim().unwrap();
    halt.gather(&processors.of(0), 10);
    let asked = [0, 1, 2, 3].map(|core| processors.nmis(CoreId(core)).load(SeqCst));
    assert_eq!(asked, [0, 0, 0, 1]);
    assert_eq!(halt.all_halted().err(), Some(CoreId(3)));
    assert_eq!(halt.missing_mask(), 8);
    assert!(halt.local_of(CoreId(3)).is_none());
    // A core that is missing may look: nobody edits.
    assert_eq!(look(&fourth), 0);
    thread::scope(|scope| {
        scope.spawn(|| fourth.park(&mut processors.of(3), |_| {}));
        halt.gather(&processors.of(0), LIMIT);
        assert!(halt.all_halted().is_ok());
        assert!(halt.holds(CoreId(3)));
        halt.release(&processors.of(0), LIMIT);
    });
}

#[test]
fn the_claimer_uses_what_a_held_core_has() {
    let (rendezvous, processors) = (rendezvous(), Processors::default());
    let mut first = rendezvous.seat(CoreId(0)).unwrap();
    let mut second = rendezvous.seat(CoreId(1)).unwrap();
    *first.local() = 1;
    let mut halt = first.claim().unwrap();
    thread::scope(|scope| {
        let held = scope.spawn(|| {
            *second.local() = 2;
            second.park(&mut processors.of(1), |_| {});
            *second.local()
        });
        halt.gather(&processors.of(0), LIMIT);
        let of_second = halt.local_of(CoreId(1)).unwrap();
        assert_eq!(*of_second, 2);
        *of_second = 20;
        *halt.local_of(CoreId(0)).unwrap() += 9;
        let (words, own) = halt.parts();
        assert_eq!((words[0], *own), (0, 10));
        halt.release(&processors.of(0), LIMIT);
        assert_eq!(held.join().unwrap(), 20);
    });
    assert_eq!(*first.local(), 10);
}

#[test]
fn a_core_that_waits_for_sipi_counts_as_still_and_gets_no_nmi() {
    let (rendezvous, processors) = (rendezvous(), Processors::default());
    let mut first = rendezvous.seat(CoreId(0)).unwrap();
    let mut second = rendezvous.seat(CoreId(1)).unwrap();
    second.wait_for_sipi(|| {
        let mut halt = first.claim().unwrap();
        halt.gather(&processors.quiet(0), LIMIT);
        assert_eq!(halt.presence(CoreId(1)), Presence::WaitForSipi);
        assert!(!halt.holds(CoreId(1)));
        edit(&mut halt);
        halt.release(&processors.of(0), LIMIT);
    });
    assert_eq!(look(&second), 1);
}

#[test]
fn a_core_that_is_woken_during_a_halt_looks_only_after_it() {
    let (rendezvous, processors) = (rendezvous(), Processors::default());
    let mut first = rendezvous.seat(CoreId(0)).unwrap();
    let mut second = rendezvous.seat(CoreId(1)).unwrap();
    let (waits, is_woken) = (AtomicBool::new(false), AtomicBool::new(false));
    thread::scope(|scope| {
        let woken = scope.spawn(|| {
            second.wait_for_sipi(|| {
                waits.store(true, SeqCst);
                while !is_woken.load(SeqCst) {
                    core::hint::spin_loop();
                }
            });
            look(&second)
        });
        while !waits.load(SeqCst) {
            core::hint::spin_loop();
        }
        let mut halt = first.claim().unwrap();
        is_woken.store(true, SeqCst);
        for _ in 0..20 {
            edit(&mut halt);
            thread::yield_now();
            assert_eq!(halt.presence(CoreId(1)), Presence::WaitForSipi);
        }
        halt.release(&processors.of(0), LIMIT);
        assert_eq!(woken.join().unwrap(), 20);
    });
    assert_eq!(rendezvous.presence(CoreId(1)), Presence::Running);
}

#[test]
fn a_core_that_comes_during_a_halt_has_its_seat_after_it() {
    let (rendezvous, processors) = (rendezvous(), Processors::default());
    let mut first = rendezvous.seat(CoreId(0)).unwrap();
    let mut halt = first.claim().unwrap();
    thread::scope(|scope| {
        let comes = scope.spawn(|| look(&rendezvous.seat(CoreId(1)).unwrap()));
        for _ in 0..20 {
            edit(&mut halt);
            thread::yield_now();
        }
        halt.release(&processors.of(0), LIMIT);
        assert_eq!(comes.join().unwrap(), 20);
    });
}

/// A core that left `park` or `wait_for_sipi` by a panic could look during a halt, otherwise.
#[test]
fn a_panic_ends_an_absence_like_a_return() {
    let (rendezvous, processors) = (rendezvous(), Processors::default());
    let mut first = rendezvous.seat(CoreId(0)).unwrap();
    let mut second = rendezvous.seat(CoreId(1)).unwrap();
    let mut halt = first.claim().unwrap();
    thread::scope(|scope| {
        let panicked = scope.spawn(|| {
            let wakes = || second.wait_for_sipi(|| resume_unwind(Box::new(())));
            assert!(catch_unwind(AssertUnwindSafe(wakes)).is_err());
            look(&second)
        });
        halt.gather(&processors.of(0), LIMIT);
        edit(&mut halt);
        halt.release(&processors.of(0), LIMIT);
        assert_eq!(panicked.join().unwrap(), 1);
    });
    assert_eq!(rendezvous.presence(CoreId(1)), Presence::Running);
}

#[test]
fn nobody_waits_for_a_core_that_is_lost() {
    let (rendezvous, processors) = (rendezvous(), Processors::default());
    let mut first = rendezvous.seat(CoreId(0)).unwrap();
    let second = rendezvous.seat(CoreId(1)).unwrap();
    // SAFETY: what has the seat does not use it from here on.
    unsafe { rendezvous.give_up(second.core()) };
    let mut halt = first.claim().unwrap();
    let processor = processors.quiet(0);
    halt.gather(&processor, LIMIT);
    edit(&mut halt);
    assert!(halt.commit_everywhere(&processor, LIMIT).is_ok());
    assert!(halt.local_of(CoreId(1)).is_none(), "nothing is known of it");
    assert_eq!((halt.missing_mask(), halt.dead_mask()), (0, 0b10));
    let before = processor.tsc();
    halt.release(&processor, LIMIT);
    assert!(processor.tsc() - before < 10, "it does not leave");
}

#[test]
fn a_core_that_died_takes_part_in_halts() {
    let (rendezvous, processors) = (rendezvous(), Processors::default());
    let mut first = rendezvous.seat(CoreId(0)).unwrap();
    let mut second = rendezvous.seat(CoreId(1)).unwrap();
    second.die();
    assert!(rendezvous.has_died(CoreId(1)) && !rendezvous.has_died(CoreId(0)));
    thread::scope(|scope| {
        let mut halt = first.claim().unwrap();
        let parked = scope.spawn(|| second.park(&mut processors.of(1), |_| {}));
        halt.gather(&processors.of(0), LIMIT);
        edit(&mut halt);
        assert!(halt.commit_everywhere(&processors.of(0), LIMIT).is_ok());
        assert_eq!(halt.dead_mask(), 0b10);
        assert!(halt.local_of(CoreId(1)).is_some());
        halt.release(&processors.of(0), LIMIT);
        parked.join().unwrap();
    });
}

#[test]
fn code_beside_a_seat_looks_and_has_what_is_its_own() {
    let rendezvous = rendezvous();
    let mut seat = rendezvous.seat(CoreId(0)).unwrap();
    // SAFETY: the seat only looks, until both values were used.
    let (words, local) = unsafe { rendezvous.beside(CoreId(0)) }.unwrap();
    *local += look(&seat) + words[0] + 1;
    assert_eq!(*seat.local(), 1);
}

#[test]
fn an_nmi_is_expected_once() {
    let (rendezvous, processors) = (rendezvous(), Processors::default());
    let mut first = rendezvous.seat(CoreId(0)).unwrap();
    let second = rendezvous.seat(CoreId(1)).unwrap();
    let mut halt = first.claim().unwrap();
    halt.gather(&processors.of(0), 1);
    assert_eq!(second.take_expected_nmis(3), 1, "two are the guest's");
    assert_eq!(second.take_expected_nmis(1), 0);
}

#[test]
fn a_commit_returns_only_after_every_held_core_acknowledged() {
    let (rendezvous, processors) = (rendezvous(), Processors::default());
    let mut first = rendezvous.seat(CoreId(0)).unwrap();
    let mut second = rendezvous.seat(CoreId(1)).unwrap();
    let loads = AtomicUsize::new(0);
    let may_load = AtomicBool::new(false);
    let mut halt = first.claim().unwrap();
    thread::scope(|scope| {
        scope.spawn(|| {
            second.park(&mut processors.of(1), |_| {
                while !may_load.load(SeqCst) {
                    core::hint::spin_loop();
                }
                loads.fetch_add(1, SeqCst);
            });
            assert!(!second.is_behind());
        });
        halt.gather(&processors.of(0), LIMIT);
        assert_eq!(
            halt.commit_everywhere(&processors.of(0), 10),
            Err(CoreId(1))
        );
        assert_eq!(loads.load(SeqCst), 0);
        may_load.store(true, SeqCst);
        halt.commit_everywhere(&processors.of(0), LIMIT).unwrap();
        assert!(loads.load(SeqCst) > 0);
        halt.release(&processors.of(0), LIMIT);
    });
}

/// Threads fight for the halt, look, wait for start-up IPIs; whoever edits must be alone.
#[test]
fn who_edits_is_alone() {
    // Parked threads wait: on a machine with fewer cores each round costs time slices.
    let rounds = if cfg!(miri) { 2 } else { 20 };
    let (rendezvous, processors) = (rendezvous(), Processors::default());
    let done = AtomicUsize::new(0);
    let seats = [0, 1, 2].map(|core| rendezvous.seat(CoreId(core)).unwrap());
    assert_eq!(seats.len(), usize::from(CORES));
    thread::scope(|scope| {
        for mut seat in seats {
            let (done, processors) = (&done, &processors);
            scope.spawn(move || {
                let mut processor = processors.of(seat.core().0);
                let mut finished = 0;
                while done.load(SeqCst) < usize::from(CORES) {
                    look(&seat);
                    if seat.is_wanted() {
                        seat.park(&mut processor, |_| {});
                    } else if finished < rounds {
                        if let Some(mut halt) = seat.claim() {
                            halt.gather(&processor, LIMIT);
                            edit(&mut halt);
                            halt.commit_everywhere(&processor, LIMIT).unwrap();
                            halt.release(&processor, LIMIT);
                            finished += 1;
                            if finished == rounds {
                                done.fetch_add(1, SeqCst);
                            }
                        }
                    } else {
                        seat.wait_for_sipi(thread::yield_now);
                    }
                }
                seat.leave();
            });
        }
    });
    let mut seat = rendezvous.seat(CoreId(0)).unwrap();
    assert_eq!(look(&seat), u64::from(CORES) * rounds);
    assert!(seat.claim().is_some());
}
