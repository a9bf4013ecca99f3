//! What is due before a core's next entry, noted by the handlers of its exit, and what it was told before.
//!
//! Most exits leave nothing: one look at [`Due`] says so.

use crate::vmx::interruptibility;
use bitflags::bitflags;

bitflags! {
    /// See the module. All but [`Self::CONTROLS`] last until the next entry only.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct Due: u16 {
        /// View and controls follow from what the core does, which has changed or lasts one instruction only.
        const CONTROLS = 1;
        /// A step was begun by the exit that is being handled.
        const NEW_STEP = 1 << 1;
        /// The core goes inside a detour: to the trampoline view.
        const GOES_INSIDE = 1 << 2;
        /// It comes out of that view.
        const COMES_OUT = 1 << 3;
        /// An instruction was carried out for the guest, which ends what held interrupts off.
        const RETIRED = 1 << 4;
        /// An NMI comes, which STI does not hold off.
        const STI_ENDED = 1 << 5;
        /// IRET exited after it had unblocked NMIs, and will do so again.
        const NMI_BLOCKED = 1 << 6;
        /// The NMI whose delivery blocked others is delivered once more.
        const NMI_UNBLOCKED = 1 << 7;
        /// INIT: nothing is blocked.
        const RESET = 1 << 8;
        /// Interrupts are taken from now on, or not any more.
        const INTERRUPTS = 1 << 9;
    }
}

impl Due {
    /// What changes the guest's interruptibility state.
    pub const BLOCKING: Self = Self::RETIRED
        .union(Self::STI_ENDED)
        .union(Self::NMI_BLOCKED)
        .union(Self::NMI_UNBLOCKED)
        .union(Self::RESET);

    /// What the guest's interruptibility state becomes by it.
    #[must_use]
    pub fn blocking(self, now: u64) -> u64 {
        let mut blocking = now;
        for (change, clears, sets) in [
            (Self::RESET, u64::MAX, 0),
            (Self::RETIRED, interruptibility::SHADOW, 0),
            (Self::STI_ENDED, interruptibility::STI, 0),
            (Self::NMI_UNBLOCKED, interruptibility::NMI, 0),
            (Self::NMI_BLOCKED, 0, interruptibility::NMI),
        ] {
            if self.contains(change) {
                blocking = blocking & !clears | sets;
            }
        }
        blocking
    }
}

/// What the core was told that nothing else changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Loaded {
    /// The MSR bitmap that knows the hypervisor's own registers only.
    pub(super) own_msrs: bool,
    /// Interrupts are taken: for one instruction, which nothing else can hold them off, or while the core does little but
    /// leave its guest.
    pub(super) takes_interrupts: bool,
}

impl Loaded {
    /// As a core is launched.
    pub const NOTHING: Self = Self {
        own_msrs: false,
        takes_interrupts: false,
    };
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vmx::interruptibility::{MOV_SS, NMI, STI};

    #[test]
    fn each_change_concerns_its_own_bits() {
        let all = STI | MOV_SS | NMI;
        for (due, becomes) in [
            (Due::empty(), all),
            (Due::CONTROLS, all),
            (Due::RETIRED, NMI),
            (Due::STI_ENDED, MOV_SS | NMI),
            (Due::NMI_UNBLOCKED, STI | MOV_SS),
            (Due::RESET, 0),
        ] {
            assert_eq!(due.blocking(all), becomes, "{due:?}");
        }
        assert_eq!(Due::NMI_BLOCKED.blocking(STI), STI | NMI);
    }
}
