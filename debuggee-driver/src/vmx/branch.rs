//! Last-branch records: whether this processor has them, where, and what they say ("Last Branch,
//! Interrupt, and Exception Recording", volume 3, 18.9, and "Last Branch Records", 19). Pure.
//!
//! Whether there are any is said by CPUID, and by registers that CPUID announces; no other register is
//! touched to find out.
//!
//! *Legacy* records are switched by a bit of IA32_DEBUGCTL, which each VM exit saves to the VMCS and
//! clears, and each entry loads: what runs in VMX-root is in no record, and the records stay as the guest
//! left them. *Architectural* ones are switched by IA32_LBR_CTL, which exits and entries treat like that
//! only where two controls ask for it; where a processor lacks those, nothing is recorded.

use wire_protocol::branch::{Branch, BranchKind, Notes, filter};
use wire_protocol::refusal::BranchObstacle;

/// IA32_PERF_CAPABILITIES, which CPUID announces (PDCM).
pub const PERF_CAPABILITIES: u32 = 0x345;
/// IA32_LBR_CTL.
pub const LBR_CTL: u32 = 0x14ce;
/// The VMCS field with the guest's IA32_LBR_CTL (appendix B.2.2).
pub const GUEST_LBR_CTL: u32 = 0x2816;
/// IA32_LBR_DEPTH: a write clears all records.
pub const LBR_DEPTH: u32 = 0x14cf;
/// MSR_LBR_SELECT: which branches legacy records leave out.
pub const LBR_SELECT: u32 = 0x1c8;
/// MSR_LASTBRANCH_TOS: the newest legacy record.
const LBR_TOS: u32 = 0x1c9;

/// "LBR" of IA32_DEBUGCTL, and "LBREn" of IA32_LBR_CTL.
pub const RECORDING: u64 = 1;

/// PDCM of ECX of CPUID leaf 1.
pub const HAS_PERF_CAPABILITIES: u32 = 1 << 15;
/// "Architectural LBRs" of EDX of CPUID leaf 7.
pub const HAS_ARCHITECTURAL: u32 = 1 << 19;
/// The leaf that describes architectural records.
pub const ARCHITECTURAL_LEAF: u32 = 0x1c;

/// "Clear IA32_LBR_CTL" of the VM-exit controls (table 25-14).
pub const CLEAR_ON_EXIT: u32 = 1 << 26;
/// "Load guest IA32_LBR_CTL" of the VM-entry controls (table 25-17).
pub const LOAD_ON_ENTRY: u32 = 1 << 21;

/// What decides, as read; 0 where the processor does not announce it.
#[derive(Clone, Copy, Debug, Default)]
pub struct RawBranches {
    /// EAX of CPUID leaf 1.
    pub version: u32,
    /// EDX of CPUID leaf 7.
    pub features: u32,
    /// EAX, EBX, ECX and EDX of [`ARCHITECTURAL_LEAF`].
    pub architectural: [u32; 4],
    /// [`PERF_CAPABILITIES`]
    pub perf_capabilities: u64,
}

/// How legacy records are written ("IA32_PERF_CAPABILITIES", bits 5:0).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// Linear addresses and nothing else.
    Plain,
    /// The top bits of the source say what else there is: so many of them.
    Flags(u8),
    /// A third register says it.
    Information,
}

/// Where the records are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layout {
    /// Those of a model.
    Legacy {
        /// How many, a power of two.
        depth: u8,
        /// How they are written.
        format: Format,
    },
    /// Those that CPUID describes.
    Architectural {
        /// How many at most.
        depth: u8,
        /// EBX of [`ARCHITECTURAL_LEAF`]: which can be left out.
        filters: u32,
        /// ECX of [`ARCHITECTURAL_LEAF`]: what is noted of each.
        notes: u32,
    },
}

/// Models whose records are at the places that [`Layout::registers`] names: 16, and 32 ("LBR Stack Size and TOS
/// Pointer Range", table 18-4).
const MODELS_16: [u8; 19] = [
    0x1a, 0x1e, 0x1f, 0x25, 0x2a, 0x2c, 0x2d, 0x2e, 0x2f, 0x3a, 0x3c, 0x3d, 0x3e, 0x3f, 0x45, 0x46,
    0x47, 0x4f, 0x56,
];
const MODELS_32: [u8; 13] = [
    0x4e, 0x5e, 0x55, 0x66, 0x6a, 0x6c, 0x7d, 0x7e, 0x8c, 0x8d, 0x8e, 0x9e, 0xa7,
];

/// Bits of EBX of [`ARCHITECTURAL_LEAF`].
const FILTERS_BY_MODE: u32 = 1;
const FILTERS_BY_KIND: u32 = 1 << 1;
const HAS_CALL_STACK: u32 = 1 << 2;

impl Layout {
    /// Whether there are records, and where.
    ///
    /// # Errors
    /// What stands in the way.
    pub fn of(raw: &RawBranches, exit: u64, entry: u64) -> Result<Self, BranchObstacle> {
        if raw.features & HAS_ARCHITECTURAL != 0 {
            return Self::architectural(raw.architectural, exit, entry);
        }
        let format = match raw.perf_capabilities & 0x3f {
            // 32 bits, or nothing is announced.
            0 | 0x3f => return Err(BranchObstacle::Processor),
            1 | 2 => Format::Plain,
            3 => Format::Flags(1),
            4 => Format::Flags(3),
            5 | 7 => Format::Information,
            _ => return Err(BranchObstacle::Model),
        };
        let (family, model) = family_and_model(raw.version);
        let depth = if family != 6 {
            return Err(BranchObstacle::Model);
        } else if MODELS_32.contains(&model) {
            32
        } else if MODELS_16.contains(&model) {
            16
        } else {
            return Err(BranchObstacle::Model);
        };
        Ok(Self::Legacy { depth, format })
    }

    fn architectural(leaf: [u32; 4], exit: u64, entry: u64) -> Result<Self, BranchObstacle> {
        let [depths, filters, notes, _] = leaf;
        let can = |capability: u64, control: u32| (capability >> 32) as u32 & control != 0;
        if !can(exit, CLEAR_ON_EXIT) || !can(entry, LOAD_ON_ENTRY) {
            return Err(BranchObstacle::Exits);
        }
        // Bit N: 8 (N + 1) of them; as many as there is room for.
        let depth = match depths & 0xf {
            0 => return Err(BranchObstacle::Processor),
            some => 8 * (32 - some.leading_zeros()) as u8,
        };
        Ok(Self::Architectural {
            depth,
            filters,
            notes,
        })
    }

    /// What the register that switches the recording holds, so that it records all that `filter` does not
    /// leave out. `before` is what it held. And what [`LBR_SELECT`] holds, if there is one.
    #[must_use]
    pub fn switched_on(self, before: u64, filter: u16) -> (u64, Option<u64>) {
        match self {
            Self::Legacy { .. } => (before | RECORDING, Some(u64::from(filter))),
            Self::Architectural { filters, .. } => {
                // "IA32_LBR_CTL": modes and kinds that are recorded.
                const KINDS: [(u16, u32); 7] = [
                    (filter::CONDITIONAL, 16),
                    (filter::DIRECT_JUMP, 17),
                    (filter::INDIRECT_JUMP, 18),
                    (filter::DIRECT_CALL, 19),
                    (filter::INDIRECT_CALL, 20),
                    (filter::RETURN, 21),
                    (filter::OTHER, 22),
                ];
                let mut value = RECORDING;
                // Without the ability, both bits are to be set, and so are all kinds.
                if filter & filter::KERNEL == 0 || filters & FILTERS_BY_MODE == 0 {
                    value |= 1 << 1;
                }
                if filter & filter::USER == 0 || filters & FILTERS_BY_MODE == 0 {
                    value |= 1 << 2;
                }
                if filter & filter::CALL_STACK != 0 {
                    value |= 1 << 3;
                }
                for (kind, bit) in KINDS {
                    if filter & kind == 0 || filters & FILTERS_BY_KIND == 0 {
                        value |= 1 << bit;
                    }
                }
                (value, None)
            }
        }
    }

    /// Whether the processor can leave out just these.
    #[must_use]
    pub const fn can_filter(self, filter: u16) -> bool {
        let modes = filter & (filter::KERNEL | filter::USER) != 0;
        let stack = filter & filter::CALL_STACK != 0;
        let kinds = filter & !(filter::KERNEL | filter::USER | filter::CALL_STACK) != 0;
        if filter & !filter::ALL != 0 {
            return false;
        }
        match self {
            // Since Haswell.
            Self::Legacy { format, .. } => {
                !stack || matches!(format, Format::Flags(3) | Format::Information)
            }
            Self::Architectural { filters, .. } => {
                (!modes || filters & FILTERS_BY_MODE != 0)
                    && (!kinds || filters & FILTERS_BY_KIND != 0)
                    && (!stack || filters & HAS_CALL_STACK != 0)
            }
        }
    }

    /// How many records there are at most.
    #[must_use]
    pub const fn depth(self) -> u8 {
        match self {
            Self::Legacy { depth, .. } | Self::Architectural { depth, .. } => depth,
        }
    }

    /// The registers of a record, counted as the processor does: source, target, and what else there is.
    #[must_use]
    pub const fn registers(self, number: u8) -> (u32, u32, Option<u32>) {
        let number = number as u32;
        match self {
            Self::Legacy { format, .. } => {
                let more = match format {
                    Format::Information => Some(0xdc0 + number),
                    Format::Plain | Format::Flags(_) => None,
                };
                (0x680 + number, 0x6c0 + number, more)
            }
            Self::Architectural { .. } => (0x1500 + number, 0x1600 + number, Some(0x1200 + number)),
        }
    }

    /// The register that says where the newest record is; none if that is always 0.
    #[must_use]
    pub const fn newest(self) -> Option<u32> {
        match self {
            Self::Legacy { .. } => Some(LBR_TOS),
            Self::Architectural { .. } => None,
        }
    }

    /// What the registers of a record say; none if nothing was recorded there.
    #[must_use]
    pub fn decode(self, from: u64, to: u64, more: u64) -> Option<Branch> {
        if from == 0 && to == 0 {
            return None;
        }
        let bit = |number: u32| more >> number & 1 != 0;
        let (from, notes) = match self {
            Self::Legacy { format, .. } => match format {
                Format::Plain => (from, Notes::default()),
                Format::Flags(count) => {
                    let notes = Notes {
                        mispredicted: Some(from >> 63 != 0),
                        ..Notes::default()
                    };
                    (((from << count) as i64 >> count) as u64, notes)
                }
                Format::Information => {
                    let notes = Notes {
                        kind: None,
                        mispredicted: Some(bit(63)),
                        cycles: Some(more as u16),
                    };
                    (from, notes)
                }
            },
            Self::Architectural { notes, .. } => {
                let has = |bit: u32| notes & bit != 0;
                let notes = Notes {
                    kind: has(4).then(|| kind(more >> 56 & 0xf)).flatten(),
                    mispredicted: has(1).then(|| bit(63)),
                    cycles: (has(2) && bit(60)).then_some(more as u16),
                };
                (from, notes)
            }
        };
        Some(Branch { from, to, notes })
    }
}

/// "BR_TYPE" of IA32_LBR_x_INFO.
fn kind(number: u64) -> Option<BranchKind> {
    match number {
        0..=5 => BranchKind::from_wire(number as u8),
        8.. => Some(BranchKind::Other),
        _ => None,
    }
}

/// "DisplayFamily" and "DisplayModel" of EAX of CPUID leaf 1.
const fn family_and_model(version: u32) -> (u32, u8) {
    let family = version >> 8 & 0xf;
    let model = version >> 4 & 0xf | (version >> 16 & 0xf) << 4;
    (family, model as u8)
}

#[cfg(test)]
#[path = "branch_tests.rs"]
mod tests;
