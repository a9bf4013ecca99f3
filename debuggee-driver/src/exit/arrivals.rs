//! What arrived for the guest and waits until it can have it, as data.
//!
//! Changed by `interrupt`, `nmi` and `detour`, in VMX-root, by the core it stands for.

use crate::port::Cpu;
use crate::vmx::interruption::NMI;
use crate::vmx::{reason, ro};

/// Interrupts that were taken and not given back yet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TakenInterrupts {
    /// One bit per vector.
    vectors: [u64; 4],
    /// Whether any bit is set, to be looked at before each entry.
    any: bool,
}

impl TakenInterrupts {
    /// Nothing.
    pub const NONE: Self = Self {
        vectors: [0; 4],
        any: false,
    };

    /// Adds a vector.
    pub fn add(&mut self, vector: u8) {
        if let Some(word) = self.vectors.get_mut(usize::from(vector / 64)) {
            *word |= 1 << (vector % 64);
            self.any = true;
        }
    }

    /// Nothing waits.
    #[must_use]
    #[inline]
    pub const fn is_empty(&self) -> bool {
        !self.any
    }

    /// The highest vector, which the interrupt controller would deliver first.
    pub(super) fn highest(&self) -> Option<u8> {
        let mut words = (0_u8..4).zip(self.vectors).rev();
        let (index, word) = words.find(|(_, word)| *word != 0)?;
        Some(index * 64 + word.ilog2() as u8)
    }

    /// Takes the highest vector.
    pub(super) fn take(&mut self) -> Option<u8> {
        let vector = self.highest()?;
        let word = self.vectors.get_mut(usize::from(vector / 64))?;
        *word &= !(1 << (vector % 64));
        self.any = self.vectors.iter().any(|word| *word != 0);
        Some(vector)
    }
}

/// What came while the core was inside a detour.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Deferred {
    pub(super) nmis: u32,
    pub(super) timer: bool,
    pub(super) interrupts: TakenInterrupts,
}

impl Deferred {
    /// Nothing did.
    pub const NOTHING: Self = Self {
        nmis: 0,
        timer: false,
        interrupts: TakenInterrupts::NONE,
    };

    /// Notes what can be deferred; false if `reason` cannot.
    pub(super) fn add(&mut self, cpu: &mut impl Cpu, reason: u16) -> bool {
        let vector = cpu.vmread(ro::VMEXIT_INTERRUPTION_INFO) as u8;
        match reason {
            reason::EXCEPTION_OR_NMI if vector == NMI.vector => {
                cpu.end_nmi_blocking();
                self.nmis = self.nmis.saturating_add(1);
            }
            reason::PREEMPTION_TIMER => self.timer = true,
            reason::EXTERNAL_INTERRUPT => self.interrupts.add(vector),
            _ => return false,
        }
        true
    }
}

/// All of it.
#[derive(Debug)]
pub struct Arrivals {
    /// Interrupts that were taken from the guest.
    pub interrupts: TakenInterrupts,
    /// The guest is owed an NMI.
    pub nmi_pending: bool,
    /// NMIs in VMX-root that were looked at.
    pub root_nmis_seen: u64,
    /// What came while it was inside a detour.
    pub deferred: Deferred,
    /// The core is to exit as soon as its guest can take an interrupt.
    pub wants_interrupt_window: bool,
    /// The same for an NMI.
    pub wants_nmi_window: bool,
}

impl Arrivals {
    /// Whether the guest is to have something as soon as it can.
    #[must_use]
    #[inline]
    pub const fn is_any_due(&self) -> bool {
        self.nmi_pending | !self.interrupts.is_empty()
    }

    /// Nothing.
    pub const NONE: Self = Self {
        interrupts: TakenInterrupts::NONE,
        nmi_pending: false,
        root_nmis_seen: 0,
        deferred: Deferred::NOTHING,
        wants_interrupt_window: false,
        wants_nmi_window: false,
    };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_highest_vector_is_given_back_first() {
        let mut taken = TakenInterrupts::default();
        assert_eq!(taken.take(), None);
        for vector in [0x20, 0xec, 0x41, 0xec] {
            taken.add(vector);
        }
        assert_eq!(taken.take(), Some(0xec));
        assert_eq!(taken.take(), Some(0x41));
        assert!(!taken.is_empty());
        assert_eq!(taken.take(), Some(0x20));
        assert!(taken.is_empty());
    }
}
