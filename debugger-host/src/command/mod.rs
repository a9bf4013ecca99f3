//! What users can type. One table ([`table::COMMANDS`]) has each command's names, syntax, help
//! text and parser; the parser gives an [`Action`], which runs against the [`Debugger`]. Help,
//! completion and the documentation come from the same table.

mod backup;
mod branch;
mod connection;
mod context;
mod debugger;
mod dispatch;
mod error;
pub mod event;
mod kept;
mod lockup;
mod looked_at;
mod meant;
pub mod memory;
mod memory_file;
mod news;
mod occasion;
mod output;
pub mod parse;
pub mod problem;
mod program;
pub mod register;
pub mod run;
pub mod script;
mod session_file;
mod status;
mod step;
pub mod symbol;
pub mod system;
mod table;
mod task;
mod text;
mod value;
mod walk;

pub use debugger::{Continuation, Debugger, Listener};
pub use dispatch::run_line;
pub use error::{CommandError, ParseError};
pub use parse::Arguments;
pub use table::COMMANDS;
pub use text::{commands_of, open_braces};

use crate::answer::Answer;
use event::AddEvent;

/// A command of the table.
pub struct Command {
    /// Name, then aliases; all in lower case.
    pub names: &'static [&'static str],
    /// How it is written.
    pub syntax: &'static str,
    /// One line.
    pub summary: &'static str,
    /// What else there is to know.
    pub details: &'static str,
    /// Lines that can be typed.
    pub examples: &'static [&'static str],
    /// Kinds of its answers, as JSON names them; `*` for any.
    pub answers: &'static [&'static str],
    /// Reads its arguments.
    pub parse: fn(Arguments<'_>) -> Result<Box<dyn Action>, ParseError>,
}

/// A command with its arguments, ready to run.
pub trait Action {
    /// Runs it.
    ///
    /// # Errors
    /// Why it was not done.
    fn run(&self, debugger: &mut Debugger) -> Result<Answer, CommandError>;

    /// Commands that add an event can share a message with their neighbours in a script.
    fn as_event(&self) -> Option<&AddEvent> {
        None
    }
}

/// The command before others that asks for their JSON form.
pub const JSON: &str = ".json";

/// Every command, in the order of the help.
pub fn commands() -> impl Iterator<Item = &'static Command> {
    COMMANDS.iter().copied()
}

/// The table's entry for `name`.
#[must_use]
pub fn find(name: &str) -> Option<&'static Command> {
    COMMANDS
        .iter()
        .copied()
        .find(|command| command.names.iter().any(|n| n.eq_ignore_ascii_case(name)))
}

/// Reads one line. An empty line, or a comment (`//`, `#`), is no command.
///
/// # Errors
/// What is wrong with it.
pub fn parse_line(line: &str) -> Result<Option<Box<dyn Action>>, ParseError> {
    let line = &text::without_comments(line)?;
    if line.is_empty() {
        return Ok(None);
    }
    let (name, rest) = parse::split(line);
    let command = find(name).ok_or_else(|| ParseError::UnknownCommand {
        name: name.to_owned(),
        similar: meant::meant(name)
            .or_else(|| looks_like_a_script(name).then(|| format!("? {line}"))),
    })?;
    let name = name.to_ascii_lowercase();
    (command.parse)(Arguments::new(&name, command.syntax, rest)).map(Some)
}

/// Whether the first word of a line belongs into a script: a call, a register, a number, an assignment.
fn looks_like_a_script(word: &str) -> bool {
    word.contains(['(', '='])
        || word.starts_with(|first: char| "@$".contains(first) || first.is_ascii_digit())
}

#[cfg(test)]
mod tests;
