//! Last-branch records as values. Made by [`crate::command`].

use super::Address;
use schemars::JsonSchema;
use serde::Serialize;

/// What one core recorded.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CoreBranches {
    /// The core.
    pub core: u16,
    /// Branches are to be recorded.
    pub is_on: bool,
    /// What it recorded, the newest first.
    pub branches: Vec<Branch>,
}

/// A branch that was taken.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Branch {
    /// Address of the instruction.
    pub from: Address,
    /// Where it led.
    pub to: Address,
    /// Its kind; null where the processor does not say.
    pub what: Option<String>,
    /// It went another way than foretold; null where the processor does not say.
    pub is_mispredicted: Option<bool>,
    /// Cycles since the branch before; null where the processor does not say.
    pub cycles: Option<u16>,
}
