//! `?`, `print` and `.formats`: expressions and statements that are carried out at once.
//!
//! What the host can work out from what it knows costs the debuggee nothing; all else is compiled
//! and runs there, in the halted context of the operating core.

use super::program::{Kind, compile};
use super::{Action, Arguments, CommandError, Debugger, ParseError};
use crate::answer::{Address, Answer, Failure, Hex};
use crate::expression::{Expression, parser};
use crate::script::types::Type;
use crate::session::RunResult;

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
        Expression::Number { .. } | Expression::Register { .. } => true,
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

/// What a script left.
struct Outcome {
    value: Option<(u64, Type)>,
    /// It went on after this.
    failure: Option<Failure>,
}

/// Runs a text as what it can be: statements, or an expression with its value.
fn run(debugger: &mut Debugger, text: &str) -> Result<Outcome, CommandError> {
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
    debugger.take_printed();
    let RunResult { value, failure } = ran?;
    let mut warning = None;
    if let Some((failure, line)) = failure {
        let ends_the_run = failure.cause.ends_the_run();
        let failure = Failure::new(&failure, line);
        if ends_the_run {
            return Err(CommandError::ScriptEnded(failure));
        }
        warning = Some(failure);
    }
    Ok(Outcome {
        value: (result != Type::Void).then_some((value, result)),
        failure: warning,
    })
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
    fn run(&self, debugger: &mut Debugger) -> Result<Answer, CommandError> {
        let outcome = match &self.text {
            Text::Plain(expression, text) => {
                if compares(expression) {
                    warn(debugger, text);
                }
                Outcome {
                    value: Some((debugger.value(expression)?, Type::Untyped)),
                    failure: None,
                }
            }
            Text::Script(text) => run(debugger, text)?,
        };
        let failure = outcome.failure;
        let Some((number, of)) = outcome.value else {
            return Ok(Answer::Ran { failure });
        };
        let value = Address::new(number, &debugger.symbols);
        Ok(if self.in_every_form {
            every_form(value, failure)
        } else if matches!(of, Type::Float | Type::Double) {
            Answer::Float {
                bits: Hex(number),
                value: finite(f64::from_bits(number)),
                failure,
            }
        } else {
            Answer::Value { value, failure }
        })
    }
}

/// JSON has no infinity.
fn finite(value: f64) -> Option<f64> {
    value.is_finite().then_some(value)
}

fn every_form(value: Address, failure: Option<Failure>) -> Answer {
    let number = value.address.0;
    let characters = number.to_be_bytes().map(|byte| {
        if byte.is_ascii_graphic() || byte == b' ' {
            char::from(byte)
        } else {
            '.'
        }
    });
    Answer::Formats {
        value,
        signed: number.cast_signed().to_string(),
        unsigned: number.to_string(),
        octal: format!("{number:o}"),
        binary: format!("{number:b}"),
        characters: characters.iter().collect(),
        float: Some(f32::from_bits(number as u32)).filter(|value| value.is_finite()),
        double: finite(f64::from_bits(number)),
        failure,
    }
}
