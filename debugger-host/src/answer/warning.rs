//! What a command met on its way that may not be meant.

use super::{Address, Hex, Problem};
use crate::script::problem::Explained;
use schemars::JsonSchema;
use serde::Serialize;

/// Something that was done and may not have been meant so.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Warning {
    /// A word was taken as a number, and there is a symbol of that name.
    NumberIsSymbol {
        /// The word.
        word: String,
        /// The number.
        value: Hex,
        /// The symbol.
        symbol: Hex,
    },
    /// A word was taken as a number, and a register or a flag has that name.
    NumberIsRegister {
        /// The word.
        word: String,
        /// The number.
        value: Hex,
    },
    /// A hook was set, by `force`, where no instruction starts.
    NoInstructionStart {
        /// Where.
        at: Address,
        /// Where the instruction starts that is there.
        start: Address,
    },
    /// A hook was set in data.
    HookInData {
        /// Where.
        at: Address,
    },
    /// What is set is not kept for a later session.
    NotKept {
        /// Why.
        problem: Problem,
    },
    /// A script is right, but perhaps not what was meant.
    Script {
        /// Where and why.
        problem: Explained,
    },
}

impl Warning {
    /// Whether it is about a hook that is to be added.
    #[must_use]
    pub const fn is_of_hook(&self) -> bool {
        matches!(
            self,
            Self::NoInstructionStart { .. } | Self::HookInData { .. }
        )
    }
}
