//! Running what may panic: on a stack of its own, which the panic handler leaves for good. What was under way there never goes
//! on, and nothing of it is touched again.
//!
//! In VMX-root, by the core that has the line: there is one such stack.

use super::instructions as ins;
use super::percore::{self, HOST_SS};
use core::ffi::c_void;

/// Bytes of the stack.
pub const STACK_BYTES: u32 = 192 * 1024;

/// The work, and what it results in.
struct Job<W, R> {
    work: Option<W>,
    result: Option<R>,
}

/// Does `work`, and gives its result; nothing if it panicked. What it owned and borrowed then must not be used any more, but
/// for what the caller knows to be as it was.
///
/// # Safety
/// In VMX-root. `stack_top` ends a stack of [`STACK_BYTES`] that nobody uses now.
pub unsafe fn run<R>(stack_top: u64, work: impl FnOnce() -> R) -> Option<R> {
    let mut job = Job {
        work: Some(work),
        result: None,
    };
    // SAFETY: the stack is free by contract, and `enter` takes such a job, which lives until this returns.
    unsafe { percore::standstill_run_apart((&raw mut job).cast(), stack_top, enter_of(&job)) };
    job.result
}

const fn enter_of<W: FnOnce() -> R, R>(_: &Job<W, R>) -> unsafe extern "C" fn(*mut c_void) {
    enter::<W, R>
}

/// # Safety
/// `job` points to a [`Job`] of these types that nobody else uses.
unsafe extern "C" fn enter<W: FnOnce() -> R, R>(job: *mut c_void) {
    // SAFETY: such a job by contract.
    let job = unsafe { &mut *job.cast::<Job<W, R>>() };
    job.result = job.work.take().map(|work| work());
}

/// For the panic handler: leaves the stack for good if it is the one that the code runs on, and comes back if not.
pub fn leave() {
    // No kernel has that one in ES, and only in VMX-root FS leads to what is asked next.
    if ins::es() != HOST_SS {
        return;
    }
    // SAFETY: in VMX-root, as ES says.
    if unsafe { percore::is_apart() } {
        // SAFETY: on the stack that `run` went to: nothing else runs between there and here.
        unsafe { percore::standstill_leave_apart() }
    }
}
