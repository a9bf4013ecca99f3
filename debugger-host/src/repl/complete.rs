//! Completion of commands and symbols at the prompt. Called by [`super::interactive`].

use crate::command::COMMANDS;
use crate::symbol::table::Table;
use rustyline::completion::Completer;
use rustyline::highlight::Highlighter;
use rustyline::hint::Hinter;
use rustyline::validate::{ValidationContext, ValidationResult, Validator};
use rustyline::{Context, Helper, Result};

/// More names than this are not offered.
const OFFERS: usize = 200;

/// Knows all names.
pub(super) struct Names {
    pub(super) kernel: Option<Table>,
}

impl Completer for Names {
    type Candidate = String;

    fn complete(
        &self,
        line: &str,
        position: usize,
        _: &Context<'_>,
    ) -> Result<(usize, Vec<String>)> {
        let before = &line[..position];
        let start = before
            .rfind(|c: char| !(c.is_ascii_alphanumeric() || "_.!".contains(c)))
            .map_or(0, |at| at + 1);
        let word = &before[start..];
        if before[..start].trim().is_empty() {
            let names = COMMANDS.iter().flat_map(|c| c.names);
            let fitting = names.filter(|name| name.starts_with(&word.to_ascii_lowercase()));
            return Ok((start, fitting.map(|name| (*name).to_owned()).collect()));
        }
        let (module, prefix) = word.split_at(word.find('!').map_or(0, |at| at + 1));
        if prefix.is_empty() {
            return Ok((start, Vec::new()));
        }
        let names = self
            .kernel
            .iter()
            .flat_map(|table| table.starting_with(prefix));
        Ok((
            start,
            names
                .take(OFFERS)
                .map(|name| format!("{module}{name}"))
                .collect(),
        ))
    }
}

impl Validator for Names {
    fn validate(&self, context: &mut ValidationContext<'_>) -> Result<ValidationResult> {
        Ok(if crate::command::open_braces(context.input()) > 0 {
            ValidationResult::Incomplete
        } else {
            ValidationResult::Valid(None)
        })
    }
}

impl Hinter for Names {
    type Hint = String;
}
impl Highlighter for Names {}
impl Helper for Names {}
