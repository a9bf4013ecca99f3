//! Help in answers.

use schemars::JsonSchema;
use serde::Serialize;

/// A command in the list of all.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CommandName {
    /// Its name, then aliases.
    pub names: Vec<String>,
    /// What it does.
    pub summary: String,
}

/// A row of the command table.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CommandHelp {
    /// Its name, then aliases.
    pub names: Vec<String>,
    /// How it is written.
    pub syntax: String,
    /// What it does.
    pub summary: String,
    /// What else there is to know.
    pub details: String,
    /// Lines that can be typed.
    pub examples: Vec<String>,
}

/// An option of event commands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct OptionHelp {
    /// The word.
    pub name: String,
    /// How it is written.
    pub syntax: String,
    /// What it does.
    pub summary: String,
}
