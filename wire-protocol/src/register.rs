//! Registers that can be named, and sets of them. Used by both ends, by programs and by messages.

use crate::closed::closed_set;

closed_set! {
    /// A register that can be named on the wire. General registers stand in
    /// instruction-encoding order.
    #[allow(missing_docs, reason = "the names are the processor's")]
    pub enum Register {
        Rax,
        Rcx,
        Rdx,
        Rbx,
        Rsp,
        Rbp,
        Rsi,
        Rdi,
        R8,
        R9,
        R10,
        R11,
        R12,
        R13,
        R14,
        R15,
        Rip,
        Rflags,
        Es,
        Cs,
        Ss,
        Ds,
        Fs,
        Gs,
        Cr0,
        Cr2,
        Cr3,
        Cr4,
        Cr8,
        Dr0,
        Dr1,
        Dr2,
        Dr3,
        Dr6,
        Dr7,
        FsBase,
        GsBase,
        KernelGsBase,
        Efer,
        GdtrBase,
        GdtrLimit,
        IdtrBase,
        IdtrLimit,
        Ldtr,
        Tr,
    }
}

/// A set of registers, one bit each, bit number = [`Register::to_wire`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RegisterSet(pub u64);

impl RegisterSet {
    /// No register.
    pub const EMPTY: Self = Self(0);
    /// Every register.
    pub const ALL: Self = Self((1 << Register::COUNT) - 1);

    /// General registers, flags and selectors.
    pub const GENERAL: Self = Self((1 << (Register::Gs as u8 + 1)) - 1);

    /// This set and one register more.
    #[must_use]
    pub const fn with(self, register: Register) -> Self {
        Self(self.0 | 1 << register.to_wire())
    }

    /// The register is in the set.
    #[must_use]
    pub const fn contains(self, register: Register) -> bool {
        self.0 & (1 << register.to_wire()) != 0
    }

    /// Registers in the set.
    #[must_use]
    pub const fn len(self) -> usize {
        self.0.count_ones() as usize
    }

    /// No register is in the set.
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// The registers in the set, in ascending order of number.
    pub fn iter(self) -> impl Iterator<Item = Register> + Clone {
        Register::ALL
            .into_iter()
            .filter(move |&register| self.contains(register))
    }

    pub(crate) const fn is_known(self) -> bool {
        self.0 & !Self::ALL.0 == 0
    }
}
