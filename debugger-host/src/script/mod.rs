//! The script language: from text to a program that the driver runs.
//!
//! [`compile`] is all that commands need. Inside, text goes through [`lexer`] and [`mod@include`]
//! (words), [`parser`] (a tree as it is written), [`check`] (names resolved, types worked out:
//! [`value`]) and `emit` (operations of [`wire_protocol::bytecode`]). Nothing here talks to a
//! debuggee: what has to be known about it, an [`Environment`] says.

pub mod check;
mod emit;
pub mod include;
pub mod lexer;
pub mod lines;
pub mod parser;
pub mod problem;
pub mod reference;
pub mod room;
pub mod token;
pub mod tool;
pub mod tree;
pub mod trial;
pub mod types;
pub mod value;

#[cfg(test)]
mod tests;

use check::Checker;
use lines::Lines;
use problem::{Explained, Problem, Sources};
use std::io;
use types::Type;
use value::Meaning;

/// What a script can name and only the caller knows.
pub trait Environment {
    /// Address of `name` or `module!name`.
    fn symbol(&mut self, name: &str) -> Option<u64>;

    /// A symbol whose name is close to this one.
    fn similar(&mut self, name: &str) -> Option<String> {
        let _ = name;
        None
    }

    /// Makes sure that there is a global variable of that name, which comes without its `.`, and
    /// says where it is: bytes from the start of all globals, a multiple of 8.
    ///
    /// # Errors
    /// Why there is no room, or why it cannot have that length.
    fn global(&mut self, name: &str, len_bytes: u32) -> Result<u16, String>;

    /// Reads a file that a script includes.
    ///
    /// # Errors
    /// It cannot be read, or is no text.
    fn file(&self, path: &str) -> io::Result<String> {
        std::fs::read_to_string(path)
    }
}

/// A script that can run.
#[derive(Clone, Debug, PartialEq)]
pub struct Compiled {
    /// The program.
    pub bytes: Vec<u8>,
    /// Bytes of its locals, on each core.
    pub local_bytes: usize,
    /// Global variables that it uses, without their `.`, and their lengths.
    pub globals: Vec<(String, u32)>,
    /// Which line each operation comes from.
    pub lines: Lines,
    /// What may not be meant.
    pub warnings: Vec<Explained>,
    /// Type of the value that the run gives; [`Type::Void`] for statements.
    pub result: Type,
}

/// Compiles statements. `name` stands in messages, and included files are looked for beside it;
/// `arguments` are `$arg0`, `$arg1` …
///
/// # Errors
/// The first thing that is wrong, with line and column.
pub fn compile(
    text: &str,
    name: &str,
    arguments: &[String],
    environment: &mut dyn Environment,
) -> Result<Compiled, Explained> {
    compiled(text, name, arguments, environment, |checker, tokens| {
        let meaning = checker.script(&parser::script(tokens)?)?;
        Ok((meaning, Type::Void))
    })
}

/// Compiles a lone expression: the run's value is that of the expression. A number with a
/// fraction comes as the bits of a `double`, as [`Compiled::result`] says.
///
/// # Errors
/// The first thing that is wrong, with line and column.
pub fn compile_expression(
    text: &str,
    name: &str,
    arguments: &[String],
    environment: &mut dyn Environment,
) -> Result<Compiled, Explained> {
    compiled(text, name, arguments, environment, |checker, tokens| {
        checker.only_expression(&parser::only_expression(tokens)?)
    })
}

/// Compiles a condition: a lone expression, or statements that `return` its value.
///
/// # Errors
/// The first thing that is wrong, with line and column.
pub fn compile_condition(
    text: &str,
    name: &str,
    arguments: &[String],
    environment: &mut dyn Environment,
) -> Result<Compiled, Explained> {
    compiled(text, name, arguments, environment, |checker, tokens| {
        if parser::has_statements(tokens) {
            let meaning = checker.script(&parser::script(tokens)?)?;
            return Ok((meaning, Type::Void));
        }
        checker.condition_alone(&parser::only_expression(tokens)?)
    })
}

type Work = Result<(Meaning, Type), Problem>;

fn compiled(
    text: &str,
    name: &str,
    arguments: &[String],
    environment: &mut dyn Environment,
    work: impl FnOnce(&mut Checker<'_>, &[token::Token]) -> Work,
) -> Result<Compiled, Explained> {
    let mut sources = Sources::default();
    let loader = |path: &str| environment.file(path);
    let tokens = match include::words(&mut sources, name, text, &loader) {
        Ok(tokens) => tokens,
        Err(problem) => return Err(sources.explain(problem)),
    };
    let mut checker = Checker::new(environment, arguments);
    let emitted = work(&mut checker, &tokens).and_then(|(meaning, result)| {
        let emitted = emit::program(&meaning)?;
        Ok((emitted, meaning.globals, result))
    });
    let (emitted, globals, result) = match emitted {
        Ok(all) => all,
        Err(problem) => return Err(sources.explain(problem)),
    };
    let warnings = checker.into_warnings().into_iter();
    let warnings = warnings.map(|problem| sources.explain(problem)).collect();
    let mut lines = emitted.lines;
    lines.name_files(sources);
    Ok(Compiled {
        bytes: emitted.bytes,
        local_bytes: emitted.local_bytes,
        globals,
        lines,
        warnings,
        result,
    })
}
