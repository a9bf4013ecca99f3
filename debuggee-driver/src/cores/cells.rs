//! Memory shared by cores whose exclusive use is proven by the state of the halt, not by a lock.
//!
//! Three shapes: [`HaltCell`] is read by running cores and changed only when all are halted;
//! [`PerCore`] belongs to one core, or to the claimer while that core is held; [`Exclusive`] is
//! used by whoever takes its flag.

use crate::cores::rendezvous::{AllHalted, Halt};
use core::cell::UnsafeCell;
use core::sync::atomic::{AtomicBool, Ordering};
use wire_protocol::address::CoreId;
use wire_protocol::limits;

/// Read while cores run, changed while all are halted.
pub struct HaltCell<T>(UnsafeCell<T>);

// SAFETY: shared references only come out in `read`, exclusive ones only with `AllHalted`, and a
// core inside `read` has not checked in, so the two never coexist.
unsafe impl<T: Send + Sync> Sync for HaltCell<T> {}

impl<T> HaltCell<T> {
    /// Wraps a value.
    pub const fn new(value: T) -> Self {
        Self(UnsafeCell::new(value))
    }

    /// Looks at the value. `look` must not park the core.
    pub fn read<R>(&self, look: impl FnOnce(&T) -> R) -> R {
        // SAFETY: the caller runs, so no `AllHalted` exists on another core; on this core the
        // claimer's exclusive reference is not alive, as it borrows the proof.
        look(unsafe { &*self.0.get() })
    }

    /// The value, to change it. The proof stays borrowed as long as the reference lives.
    #[allow(
        clippy::mut_from_ref,
        reason = "the proof is what is borrowed exclusively"
    )]
    pub fn edit<'p>(&'p self, _proof: &'p mut AllHalted<'_>) -> &'p mut T {
        // SAFETY: the proof says every other core is held or executes nothing, and it is unique.
        unsafe { &mut *self.0.get() }
    }
}

/// One value per core.
pub struct PerCoreCells<T>([UnsafeCell<T>; limits::CORES]);

// SAFETY: a value is used by its own core while that core is not held, and by the claimer while it is.
unsafe impl<T: Send> Sync for PerCoreCells<T> {}

impl<T: Default> Default for PerCoreCells<T> {
    fn default() -> Self {
        Self([(); limits::CORES].map(|()| UnsafeCell::new(T::default())))
    }
}

impl<T> PerCoreCells<T> {
    /// A core's own value, before it checks in or after it was let go.
    pub fn with_mine<R>(&self, core: CoreId, mut use_it: impl FnMut(&mut T) -> R) -> Option<R> {
        let cell = self.0.get(usize::from(core.0))?;
        // SAFETY: called by `core` itself while it is not held, so the claimer does not look.
        Some(use_it(unsafe { &mut *cell.get() }))
    }

    /// The value of a core that is held; `None` if it is not.
    pub fn of_held<'h>(&'h self, halt: &'h mut Halt<'_>, core: CoreId) -> Option<&'h mut T> {
        if !halt.holds(core) {
            return None;
        }
        let cell = self.0.get(usize::from(core.0))?;
        // SAFETY: a held core does not touch its value, and the halt is borrowed exclusively.
        Some(unsafe { &mut *cell.get() })
    }
}

/// Used by one core at a time; nobody waits for it.
pub struct Exclusive<T> {
    taken: AtomicBool,
    value: UnsafeCell<T>,
}

// SAFETY: `try_with` lets one core in at a time.
unsafe impl<T: Send> Sync for Exclusive<T> {}

impl<T> Exclusive<T> {
    /// Wraps a value.
    pub const fn new(value: T) -> Self {
        Self {
            taken: AtomicBool::new(false),
            value: UnsafeCell::new(value),
        }
    }

    /// Uses the value unless another core does right now.
    pub fn try_with<R>(&self, use_it: impl FnOnce(&mut T) -> R) -> Option<R> {
        if self.taken.swap(true, Ordering::Acquire) {
            return None;
        }
        // SAFETY: the flag was free and is ours now.
        let result = use_it(unsafe { &mut *self.value.get() });
        self.taken.store(false, Ordering::Release);
        Some(result)
    }
}
