//! Addresses with their names, and instructions with all their parts. Made by [`crate::disasm`]
//! and [`crate::symbol`].

use super::{Bytes, Hex};
use crate::symbol::resolve::{Place, Symbols};
use schemars::JsonSchema;
use serde::Serialize;

/// An address, and what is there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Address {
    /// The address.
    pub address: Hex,
    /// Its name; null when none is known.
    pub symbol: Option<Name>,
}

impl Address {
    /// An address with its name.
    #[must_use]
    pub fn new(address: u64, symbols: &Symbols) -> Self {
        Self {
            address: Hex(address),
            symbol: symbols.place(address).map(Into::into),
        }
    }
}

/// A name of an address.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Name {
    /// The module; `vmlinux` is the kernel.
    pub module: String,
    /// The symbol; null if only the module is known.
    pub name: Option<String>,
    /// Bytes behind it.
    pub offset: Hex,
}

impl From<Place> for Name {
    fn from(place: Place) -> Self {
        Self {
            module: place.module,
            name: place.name,
            offset: Hex(place.offset),
        }
    }
}

/// One instruction.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Instruction {
    /// Where it is.
    pub at: Address,
    /// Its bytes.
    pub bytes: Bytes,
    /// As people read it; `???` if it is none. All that it says stands in the other fields.
    pub text: String,
    /// False if these bytes are no instruction, or it goes on behind them.
    pub is_valid: bool,
    /// `lock`, `rep` and `repne`, and other prefixes that are not part of an operand.
    pub prefixes: Vec<String>,
    /// What it does, without prefixes.
    pub mnemonic: String,
    /// What it works on, in the order of Intel's manuals.
    pub operands: Vec<Operand>,
    /// The mask register of an AVX-512 instruction.
    pub mask: Option<String>,
    /// Elements that the mask leaves out become zero.
    pub zeroes_masked: bool,
}

/// One operand of an instruction.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Operand {
    /// A register.
    Register {
        /// Its name.
        register: String,
    },
    /// A number, extended to the size of the operation.
    Immediate {
        /// The number.
        value: Hex,
    },
    /// Memory.
    Memory {
        /// Bytes that are read or written; 0 if that depends or none are.
        size_bytes: u32,
        /// The segment register, if it is not the default.
        segment: Option<String>,
        /// The base register.
        base: Option<String>,
        /// The index register.
        index: Option<String>,
        /// What the index is multiplied with.
        scale: u8,
        /// What is added, as two's complement.
        displacement: Hex,
        /// One element is used for all.
        is_broadcast: bool,
        /// The address, if it depends on no other register than rip.
        target: Option<Address>,
    },
    /// Where a branch goes.
    Branch {
        /// The address.
        target: Address,
    },
    /// Where a far branch goes.
    FarBranch {
        /// Code segment.
        selector: u16,
        /// Offset in it.
        offset: Hex,
    },
}
