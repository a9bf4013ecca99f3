//! Last-branch records, as the debuggee has read them: what its processor noted of a branch, in one
//! form for all processors.

use crate::closed::closed_set;
use core::fmt;

/// Records that are used at most.
pub const BRANCHES_MAX: usize = 32;

/// A mask that says which branches are not recorded. The bits are those of MSR_LBR_SELECT ("LBR
/// Stack and Last Branch Record Filtering", volume 3, 18.9.2).
pub mod filter {
    /// Not in kernel mode.
    pub const KERNEL: u16 = 1;
    /// Not in user mode.
    pub const USER: u16 = 1 << 1;
    /// No conditional branches.
    pub const CONDITIONAL: u16 = 1 << 2;
    /// No direct calls.
    pub const DIRECT_CALL: u16 = 1 << 3;
    /// No indirect calls.
    pub const INDIRECT_CALL: u16 = 1 << 4;
    /// No returns.
    pub const RETURN: u16 = 1 << 5;
    /// No indirect jumps.
    pub const INDIRECT_JUMP: u16 = 1 << 6;
    /// No direct jumps.
    pub const DIRECT_JUMP: u16 = 1 << 7;
    /// None of the others: far branches, interrupts, exceptions.
    pub const OTHER: u16 = 1 << 8;
    /// A return takes away what its call left.
    pub const CALL_STACK: u16 = 1 << 9;
    /// All of them.
    pub const ALL: u16 = CALL_STACK * 2 - 1;

    /// What each is called, and what its word sets.
    pub const NAMES: [(&str, u16); 11] = [
        ("kernel", KERNEL),
        ("user", USER),
        ("jcc", CONDITIONAL),
        ("rel_call", DIRECT_CALL),
        ("ind_call", INDIRECT_CALL),
        ("return", RETURN),
        ("ind_jmp", INDIRECT_JUMP),
        ("rel_jmp", DIRECT_JUMP),
        ("far", OTHER),
        ("other_branches", OTHER),
        (
            "call_stack",
            CALL_STACK | CONDITIONAL | INDIRECT_JUMP | DIRECT_JUMP | OTHER,
        ),
    ];
}

closed_set! {
    /// What is to become of the recording, on all cores.
    pub enum BranchOrder {
        /// It begins.
        Enable,
        /// It ends.
        Disable,
        /// What was recorded is forgotten.
        Flush,
        /// Only some branches are recorded from now on.
        Filter,
    }
}

closed_set! {
    /// Kind of a branch, in the order in which architectural records number them.
    pub enum BranchKind {
        /// A conditional branch that was taken.
        Conditional,
        /// A jump through a register or memory.
        IndirectJump,
        /// A jump.
        DirectJump,
        /// A call through a register or memory.
        IndirectCall,
        /// A call.
        DirectCall,
        /// A return.
        Return,
        /// Anything else: far branches, interrupts, exceptions.
        Other,
    }
}

impl BranchKind {
    /// For people.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Conditional => "conditional",
            Self::IndirectJump => "indirect jump",
            Self::DirectJump => "jump",
            Self::IndirectCall => "indirect call",
            Self::DirectCall => "call",
            Self::Return => "return",
            Self::Other => "other",
        }
    }
}

/// What the processor noted of a branch. What it does not say is none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Notes {
    /// Its kind.
    pub kind: Option<BranchKind>,
    /// It went another way than foretold.
    pub mispredicted: Option<bool>,
    /// Cycles since the branch before.
    pub cycles: Option<u16>,
}

const HAS_KIND: u32 = 1 << 16;
const HAS_OUTCOME: u32 = 1 << 17;
const MISPREDICTED: u32 = 1 << 18;
const HAS_CYCLES: u32 = 1 << 19;
const KIND_SHIFT: u32 = 20;

impl Notes {
    /// As one number.
    #[must_use]
    pub fn to_bits(self) -> u32 {
        let kind = |kind: BranchKind| HAS_KIND | u32::from(kind.to_wire()) << KIND_SHIFT;
        let outcome = |is_wrong| HAS_OUTCOME | if is_wrong { MISPREDICTED } else { 0 };
        self.kind.map_or(0, kind)
            | self.mispredicted.map_or(0, outcome)
            | self
                .cycles
                .map_or(0, |cycles| HAS_CYCLES | u32::from(cycles))
    }

    /// From that number; bits without a meaning are left out.
    #[must_use]
    pub fn from_bits(bits: u32) -> Self {
        let has = |bit| bits & bit != 0;
        let [.., high, low] = bits.to_be_bytes();
        let [kind, ..] = (bits >> KIND_SHIFT).to_le_bytes();
        Self {
            kind: has(HAS_KIND).then(|| BranchKind::from_wire(kind)).flatten(),
            mispredicted: has(HAS_OUTCOME).then(|| has(MISPREDICTED)),
            cycles: has(HAS_CYCLES).then(|| u16::from_be_bytes([high, low])),
        }
    }
}

impl fmt::Display for Notes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(kind) = self.kind {
            write!(f, " {}", kind.name())?;
        }
        if self.mispredicted == Some(true) {
            write!(f, " mispredicted")?;
        }
        match self.cycles {
            Some(cycles) => write!(f, " {cycles} cycles"),
            None => Ok(()),
        }
    }
}

/// A branch that was taken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Branch {
    /// Address of the instruction.
    pub from: u64,
    /// Where it led.
    pub to: u64,
    /// What else is known.
    pub notes: Notes,
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::string::ToString;

    #[test]
    fn notes_are_their_number() {
        for kind in BranchKind::ALL.map(Some).into_iter().chain([None]) {
            for mispredicted in [None, Some(false), Some(true)] {
                for cycles in [None, Some(0), Some(0xabcd)] {
                    let notes = Notes {
                        kind,
                        mispredicted,
                        cycles,
                    };
                    assert_eq!(Notes::from_bits(notes.to_bits()), notes);
                }
            }
        }
        assert_eq!(Notes::from_bits(0x0f0_0000), Notes::default());
    }

    #[test]
    fn notes_are_told_as_far_as_they_go() {
        assert_eq!(Notes::default().to_string(), "");
        let notes = Notes {
            kind: Some(BranchKind::Return),
            mispredicted: Some(true),
            cycles: Some(12),
        };
        assert_eq!(notes.to_string(), " return mispredicted 12 cycles");
    }
}
