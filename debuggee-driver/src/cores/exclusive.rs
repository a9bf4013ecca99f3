//! Memory that whoever takes its flag uses, one core at a time; nobody waits for it.

use core::cell::UnsafeCell;
use core::sync::atomic::{AtomicBool, Ordering};

/// See the module.
pub struct Exclusive<T> {
    taken: AtomicBool,
    value: UnsafeCell<T>,
}

// SAFETY: `try_with` gives the value to the one core that found the flag free, until it frees it.
unsafe impl<T: Send> Sync for Exclusive<T> {}

impl<T> Exclusive<T> {
    /// Wraps a value.
    pub const fn new(value: T) -> Self {
        Self {
            taken: AtomicBool::new(false),
            value: UnsafeCell::new(value),
        }
    }

    /// Uses the value unless another core, or a caller on this one, does right now.
    pub fn try_with<R>(&self, change: impl FnOnce(&mut T) -> R) -> Option<R> {
        if self.taken.swap(true, Ordering::Acquire) {
            return None;
        }
        // SAFETY: the flag was free and is ours until it is freed below, so this is the only reference.
        let result = change(unsafe { &mut *self.value.get() });
        self.taken.store(false, Ordering::Release);
        Some(result)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    extern crate std;
    use std::thread;

    #[test]
    fn a_caller_inside_finds_it_taken() {
        let cell = Exclusive::new(1);
        let inner = cell.try_with(|value| {
            *value += 1;
            cell.try_with(|value| *value += 10)
        });
        assert_eq!(inner, Some(None));
        assert_eq!(cell.try_with(|value| *value), Some(2));
    }

    #[test]
    fn threads_get_in_one_at_a_time() {
        const ROUNDS: u32 = if cfg!(miri) { 50 } else { 10_000 };
        let cell = Exclusive::new(0);
        thread::scope(|scope| {
            for _ in 0..2 {
                scope.spawn(|| {
                    for _ in 0..ROUNDS {
                        while cell.try_with(|value| *value += 1).is_none() {
                            thread::yield_now();
                        }
                    }
                });
            }
        });
        assert_eq!(cell.try_with(|value| *value), Some(2 * ROUNDS));
    }
}
