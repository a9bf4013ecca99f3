//! What users can type. One table ([`table::COMMANDS`]) has each command's names, syntax, help
//! text and parser; the parser gives an [`Action`], which runs against the [`Debugger`]. Help,
//! completion and the documentation come from the same table.

mod debugger;
mod dispatch;
pub mod event;
pub mod memory;
mod news;
mod output;
pub mod parse;
mod program;
pub mod register;
pub mod run;
pub mod script;
pub mod symbol;
pub mod system;
mod table;
mod text;
mod value;

pub use debugger::{Continuation, Debugger, Listener};
pub use dispatch::run_line;
pub use parse::{Arguments, ParseError};
pub use table::COMMANDS;
pub use text::open_braces;

use crate::answer::{Answer, Failure};
use crate::expression::eval::EvalError;
use crate::session::SessionError;
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

/// Why a command failed. One line each.
#[derive(Debug, thiserror::Error)]
pub enum CommandError {
    /// It could not be read.
    #[error(transparent)]
    Parse(#[from] ParseError),
    /// An argument has no value.
    #[error(transparent)]
    Value(#[from] EvalError),
    /// The session could not do it.
    #[error(transparent)]
    Session(#[from] SessionError),
    /// The module list could not be read.
    #[error(transparent)]
    Modules(#[from] crate::symbol::modules::ModuleError<SessionError>),
    /// No symbols are loaded.
    #[error(
        "no kernel symbols are loaded; start with --symbols FILE (the debuggee's kernel image)"
    )]
    NoSymbols,
    /// A pattern without a match.
    #[error("no symbol matches `{pattern}`")]
    NoMatch {
        /// As typed.
        pattern: String,
    },
    /// No module of that name.
    #[error("no module `{name}` is loaded; `lm` lists them")]
    NoModule {
        /// As typed.
        name: String,
    },
    /// No symbol near an address.
    #[error("no symbol is near {address:016x}")]
    NoPlace {
        /// The address.
        address: u64,
    },
    /// A value that does not fit.
    #[error("{what} is {value:x}, more than {limit:x}")]
    TooBig {
        /// What it is.
        what: &'static str,
        /// Its value.
        value: u64,
        /// The most it can be.
        limit: u64,
    },
    /// A value out of its range.
    #[error("{what} is {value:x}, not between {least:x} and {most:x}")]
    OutOfRange {
        /// What it is.
        what: &'static str,
        /// Its value.
        value: u64,
        /// The least it can be.
        least: u64,
        /// The most it can be.
        most: u64,
    },
    /// An output that cannot be used.
    #[error(transparent)]
    Sink(#[from] crate::sink::SinkError),
    /// A text that is no script.
    #[error(transparent)]
    Program(#[from] crate::script::problem::Explained),
    /// A script did not run to its end, or not as meant.
    #[error("{0}")]
    ScriptEnded(Failure),
    /// A text that is no machine code.
    #[error("{option}: {why}")]
    Assembly {
        /// The option it belongs to.
        option: &'static str,
        /// What is wrong, and where.
        why: crate::assembler::AssemblyError,
    },
    /// A register that cannot be named.
    #[error("no register `{name}`; `.help r` lists them")]
    NoRegister {
        /// As typed.
        name: String,
    },
    /// No virtual address leads to a physical one in a way that is known here.
    #[error("physical address {physical:x} is not in the kernel's direct map, nor in its image")]
    NoVirtual {
        /// The address.
        physical: u64,
    },
    /// A script could not be read.
    #[error("cannot read the script {path}: {why}")]
    Script {
        /// Which file.
        path: String,
        /// What the system says.
        why: String,
    },
    /// A script failed at a line.
    #[error("{path}, line {line}: the script ends here")]
    ScriptFailed {
        /// Which file.
        path: String,
        /// Counted from 1.
        line: usize,
    },
    /// Scripts that call scripts without end.
    #[error("scripts call each other more than {limit} deep")]
    ScriptDepth {
        /// The limit.
        limit: usize,
    },
    /// An event was sent with others, and there is no result for it.
    #[error("the debuggee gave no result for it")]
    NoResult {},
    /// Part of several events failed; said line by line before.
    #[error("{failed} of {count} commands failed")]
    Partly {
        /// How many failed.
        failed: usize,
        /// Of how many.
        count: usize,
    },
}

/// The command before others that asks for their JSON form.
pub const JSON: &str = ".json";

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
        similar: similar(name).or_else(|| looks_like_a_script(name).then(|| format!("? {line}"))),
    })?;
    let name = name.to_ascii_lowercase();
    (command.parse)(Arguments::new(&name, command.syntax, rest)).map(Some)
}

/// Whether the first word of a line belongs into a script: a call, a register, a number, an assignment.
fn looks_like_a_script(word: &str) -> bool {
    word.contains(['(', '='])
        || word.starts_with(|first: char| "@$".contains(first) || first.is_ascii_digit())
}

fn similar(name: &str) -> Option<String> {
    let name = name.to_ascii_lowercase();
    COMMANDS
        .iter()
        .flat_map(|command| command.names)
        .map(|candidate| (strsim::damerau_levenshtein(candidate, &name), *candidate))
        .filter(|(distance, candidate)| *distance <= 2 && *distance < candidate.len())
        .min()
        .map(|(_, candidate)| candidate.to_owned())
}

#[cfg(test)]
mod tests;
