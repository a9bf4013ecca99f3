//! Scripts of commands: compiled for events, or run at once by `?` and its family. Called by
//! [`super::event`] and [`super::value`].

use super::{CommandError, Debugger};
use crate::answer::Warning;
use crate::expression::eval::Context;
use crate::script::{self, Compiled, Environment};

/// What a text is.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// Statements.
    Script,
    /// An expression, or statements that return a value.
    Condition,
    /// An expression.
    Expression,
}

impl Environment for Debugger {
    fn symbol(&mut self, name: &str) -> Option<u64> {
        Context::symbol(self, name)
    }

    fn similar(&mut self, name: &str) -> Option<String> {
        self.symbols.similar(name)
    }

    fn global(&mut self, name: &str, len_bytes: u32) -> Result<u16, String> {
        self.session
            .global(name, len_bytes)
            .map_err(|error| error.to_string())
    }
}

/// Compiles a text. `name` stands in messages about it.
///
/// # Errors
/// What is wrong with it, and where.
pub(super) fn compile(
    debugger: &mut Debugger,
    kind: Kind,
    text: &str,
    name: &str,
) -> Result<Compiled, CommandError> {
    let arguments = debugger.script_arguments.clone();
    let compiled = match kind {
        Kind::Script => script::compile(text, name, &arguments, debugger),
        Kind::Condition => script::compile_condition(text, name, &arguments, debugger),
        Kind::Expression => script::compile_expression(text, name, &arguments, debugger),
    }?;
    let warnings = compiled.warnings.iter().cloned();
    debugger
        .warnings
        .extend(warnings.map(|problem| Warning::Script { problem }));
    Ok(compiled)
}
