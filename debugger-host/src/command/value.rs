//! `?`, `print` and `.formats`: expressions and statements that are carried out at once.
//!
//! What the host can work out from what it knows costs the debuggee nothing; all else is compiled
//! and runs there, in the halted context of the operating core.

use super::program::{Kind, compile};
use super::{Action, Arguments, CommandError, Debugger, ParseError};
use crate::expression::{Expression, parser};
use crate::render;
use crate::script::types::Type;
use crate::session::Ran;

type Parsed = Result<Box<dyn Action>, ParseError>;

enum Text {
    /// The host's own evaluator can do it; as it is typed, too.
    Plain(Expression, String),
    /// For the script engine.
    Script(String),
}

struct Evaluate {
    text: Text,
    /// Show the value in every form.
    in_every_form: bool,
}

fn parse(mut arguments: Arguments<'_>, in_every_form: bool) -> Parsed {
    if arguments.is_empty() {
        arguments.required_word("the expression")?;
    }
    let whole = arguments.rest();
    let text = match parser::parse(whole) {
        // `++` and `--` are two signs to the evaluator, and statements to scripts.
        Ok(expression)
            if is_plain(&expression) && !["++", "--"].iter().any(|it| whole.contains(it)) =>
        {
            Text::Plain(expression, whole.to_owned())
        }
        _ => Text::Script(whole.to_owned()),
    };
    Ok(Box::new(Evaluate {
        text,
        in_every_form,
    }))
}

pub(super) fn print(arguments: Arguments<'_>) -> Parsed {
    parse(arguments, false)
}

pub(super) fn formats(arguments: Arguments<'_>) -> Parsed {
    parse(arguments, true)
}

/// Whether the host knows all that the expression names.
fn is_plain(expression: &Expression) -> bool {
    match expression {
        Expression::Number { .. } | Expression::Register(_) => true,
        Expression::Pseudo(name) => matches!(name.as_str(), "ip" | "core"),
        Expression::Symbol(name) => !name.starts_with('.'),
        Expression::Memory(_, operand) | Expression::Unary(_, operand) => is_plain(operand),
        Expression::Binary(_, left, right) => is_plain(left) && is_plain(right),
    }
}

fn compares(expression: &Expression) -> bool {
    match expression {
        Expression::Binary(sign, left, right) => {
            sign.compares() || compares(left) || compares(right)
        }
        Expression::Memory(_, operand) | Expression::Unary(_, operand) => compares(operand),
        _ => false,
    }
}

/// Shows what the compiler has to say about an expression that can do without it.
fn warn(debugger: &mut Debugger, text: &str) {
    // What the compiler refuses, the evaluator refuses in its own words.
    let _ = compile(debugger, Kind::Expression, text, "?");
}

/// Runs a text as what it can be: statements, or an expression with its value.
fn run(debugger: &mut Debugger, text: &str) -> Result<Option<(u64, Type)>, CommandError> {
    let text = text.trim();
    let is_block = text.starts_with('{') && text.ends_with('}');
    let compiled = if is_block {
        let inside = text.trim_start_matches('{');
        compile(debugger, Kind::Script, inside.trim_end_matches('}'), "?")?
    } else if text.ends_with([';', '}']) {
        compile(debugger, Kind::Script, text, "?")?
    } else {
        match compile(debugger, Kind::Expression, text, "?") {
            Ok(compiled) => compiled,
            // The last `;` may be left out.
            Err(first) => compile(debugger, Kind::Script, &format!("{text};"), "?")
                .map_err(|second| further(first, second))?,
        }
    };
    let result = compiled.result.clone();
    let ran = debugger.session.run_script(compiled.into());
    debugger.show_news();
    let Ran { value, failure } = ran?;
    if let Some((failure, line)) = failure {
        let why = render::failure(&failure, line.as_deref());
        if failure.cause.ends_the_run() {
            return Err(CommandError::ScriptEnded { why });
        }
        debugger.out.line(format!("warning: {why}"));
    }
    Ok((result != Type::Void).then_some((value, result)))
}

/// The problem that was met later in the text.
fn further(first: CommandError, second: CommandError) -> CommandError {
    let place = |error: &CommandError| match error {
        CommandError::Program(problem) => (problem.line, problem.column),
        _ => (0, 0),
    };
    if place(&second) > place(&first) {
        second
    } else {
        first
    }
}

impl Action for Evaluate {
    fn run(&self, debugger: &mut Debugger) -> Result<(), CommandError> {
        let (value, of) = match &self.text {
            Text::Plain(expression, text) => {
                if compares(expression) {
                    warn(debugger, text);
                }
                (debugger.value(expression)?, Type::Untyped)
            }
            Text::Script(text) => match run(debugger, text)? {
                Some(result) => result,
                None => return Ok(()),
            },
        };
        if self.in_every_form {
            let text = render::formats(value, &debugger.symbols);
            debugger.out.line(text);
            return Ok(());
        }
        if matches!(of, Type::Float | Type::Double) {
            debugger.out.line(f64::from_bits(value));
            return Ok(());
        }
        let name = debugger
            .symbols
            .place(value)
            .map_or_else(String::new, |place| format!(" ({place})"));
        debugger.out.line(format!("{value:x} = 0n{value}{name}"));
        Ok(())
    }
}
