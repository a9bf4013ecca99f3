//! How cores leave the hypervisor: all of them, or none.
//!
//! A core that was asked to leave joins, and waits for a moment; it goes as soon as every core that is present
//! has joined. One that gives up withdraws, unless that has happened by then: from that moment on
//! nobody withdraws, so that no core stays alone. Called by `exit`, in VMX-root.

use core::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use wire_protocol::address::CoreId;

/// See the module.
#[derive(Debug, Default)]
pub struct Departure {
    /// Who waits to leave: bit *n* stands for core *n*.
    waiting: AtomicU64,
    has_begun: AtomicBool,
}

impl Departure {
    /// The core waits from now on.
    pub fn join(&self, core: CoreId) {
        self.waiting.fetch_or(bit(core), SeqCst);
    }

    /// Whether any core waits.
    pub fn any_waits(&self) -> bool {
        self.waiting.load(SeqCst) != 0
    }

    /// Whether all of these cores wait, so that each of them leaves.
    pub fn is_complete(&self, present: u64) -> bool {
        is_complete(self.waiting.load(SeqCst), present)
    }

    /// Once all wait: answers yes to one of them.
    pub fn is_first_to_go(&self) -> bool {
        !self.has_begun.swap(true, SeqCst)
    }

    /// The core waits no longer. False: all had come, so it leaves.
    pub fn withdraw(&self, core: CoreId, present: u64) -> bool {
        let without = |waiting| (!is_complete(waiting, present)).then_some(waiting & !bit(core));
        self.waiting.fetch_update(SeqCst, SeqCst, without).is_ok()
    }
}

const fn is_complete(waiting: u64, present: u64) -> bool {
    waiting & present == present
}

/// The core in a mask.
#[must_use]
pub const fn bit(core: CoreId) -> u64 {
    1 << (core.0 % 64)
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOTH: u64 = 0b11;

    #[test]
    fn nobody_leaves_before_all_wait() {
        let departure = Departure::default();
        departure.join(CoreId(0));
        assert!(!departure.is_complete(BOTH));
        assert!(departure.withdraw(CoreId(0), BOTH));
        departure.join(CoreId(1));
        assert!(!departure.is_complete(BOTH));
    }

    #[test]
    fn nobody_stays_once_all_wait() {
        let departure = Departure::default();
        departure.join(CoreId(0));
        departure.join(CoreId(1));
        assert!(departure.is_complete(BOTH));
        assert!(!departure.withdraw(CoreId(0), BOTH));
        assert!(departure.is_first_to_go() && !departure.is_first_to_go());
        // Core 0 is away.
        assert!(departure.is_complete(0b10));
        assert!(!departure.withdraw(CoreId(1), 0b10));
    }
}
