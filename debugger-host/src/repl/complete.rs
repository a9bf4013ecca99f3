//! What the line editor asks at the prompt: how words go on, and whether a line does. Called by
//! [`super::keyboard`].

use crate::command::{COMMANDS, commands_of, open_braces};
use crate::symbol::table::Table;
use rustyline::completion::Completer;
use rustyline::highlight::Highlighter;
use rustyline::hint::Hinter;
use rustyline::validate::{ValidationContext, ValidationResult, Validator};
use rustyline::{Context, Helper, Result};
use std::cell::RefCell;

/// More names than this are not offered.
const OFFERS: usize = 200;

/// Knows all names.
pub(super) struct Names {
    kernel: Option<Table>,
    /// The text as it is now.
    typed: RefCell<String>,
}

impl Names {
    /// The commands' names and those of the kernel.
    pub(super) fn new(kernel: Option<Table>) -> Self {
        Self {
            kernel,
            typed: RefCell::default(),
        }
    }

    /// What was typed last, if no Enter came behind it.
    #[cfg(unix)]
    pub(super) fn typed(&self) -> String {
        self.typed.borrow().clone()
    }
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
        // Several commands may have been pasted; the last one may go on.
        let last = commands_of(context.input()).pop();
        Ok(if last.is_some_and(|last| open_braces(&last.text) > 0) {
            ValidationResult::Incomplete
        } else {
            ValidationResult::Valid(None)
        })
    }
}

impl Hinter for Names {
    type Hint = String;

    fn hint(&self, line: &str, _: usize, _: &Context<'_>) -> Option<String> {
        line.clone_into(&mut self.typed.borrow_mut());
        None
    }
}
impl Highlighter for Names {}
impl Helper for Names {}
