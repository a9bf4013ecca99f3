//! What became of a session file.

use super::Problem;
use schemars::JsonSchema;
use serde::Serialize;

/// A command of a session file that failed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NotSet {
    /// The command.
    pub command: String,
    /// Why it failed.
    pub problem: Problem,
}
