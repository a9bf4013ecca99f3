//! Text to expression tree. Called by [`crate::command`]; words and precedence are those of
//! scripts.

use super::{Expression, Read, SyntaxError, Unary};
use crate::script::lexer::{self, Beginning};
use crate::script::parser;
use crate::script::tree::{Expression as Tree, ExpressionKind as Kind};
use crate::types::{number, register};

/// Parses all of `text`.
///
/// # Errors
/// What is wrong, and with which part.
pub fn parse(text: &str) -> Result<Expression, SyntaxError> {
    let (expression, rest) = parse_prefix(text)?;
    if rest.is_empty() {
        Ok(expression)
    } else {
        Err(SyntaxError::Unexpected {
            rest: rest.to_owned(),
        })
    }
}

/// Parses the longest expression that `text` begins with; returns the rest, without leading
/// spaces.
///
/// # Errors
/// When `text` does not begin with an expression.
pub fn parse_prefix(text: &str) -> Result<(Expression, &str), SyntaxError> {
    let Beginning {
        tokens,
        starts,
        failure,
    } = lexer::beginning(text);
    let start = |index: usize| {
        let start = starts.get(index).copied();
        text.get(start.unwrap_or(text.len())..).unwrap_or_default()
    };
    match parser::first_expression(&tokens) {
        Ok((tree, count)) => Ok((converted(&tree)?, start(count))),
        Err(problem) => {
            // A word that is none is the end to the parser.
            let at_end = tokens.last().is_some_and(|end| end.at == problem.at);
            let problem = failure.filter(|_| at_end).unwrap_or(problem);
            Err(SyntaxError::Wrong(problem.what))
        }
    }
}

/// What commands can do with a tree.
fn converted(tree: &Tree) -> Result<Expression, SyntaxError> {
    let one = |tree: &Tree| converted(tree).map(Box::new);
    let script_only = |what| Err(SyntaxError::ScriptOnly { what });
    match &tree.kind {
        Kind::Number(value) => Ok(Expression::Number {
            value: *value,
            word: None,
        }),
        Kind::Name(word) => name(word),
        Kind::Symbol(name) => Ok(Expression::Symbol(name.clone())),
        Kind::Register(name) => Ok(Expression::Register {
            name: name.clone(),
            is_bare: false,
        }),
        Kind::Pseudo(name) => Ok(Expression::Pseudo(name.clone())),
        Kind::Unary(Unary::Target, address) => Ok(Expression::Memory(QWORD, one(address)?)),
        Kind::Unary(Unary::Address, _) => script_only("the address of a variable"),
        Kind::Unary(sign, operand) => Ok(Expression::Unary(*sign, one(operand)?)),
        Kind::Binary(sign, left, right) => Ok(Expression::Binary(*sign, one(left)?, one(right)?)),
        Kind::Call(name, arguments) => match (memory_function(name), &arguments[..]) {
            (Some(read), [address]) => Ok(Expression::Memory(read, one(address)?)),
            _ => script_only("a function that does more than read memory"),
        },
        Kind::Global(_) => script_only("a global variable"),
        Kind::Float(_) => script_only("a number with a fraction"),
        Kind::Text(_) | Kind::Wide(_) => script_only("a string"),
        Kind::Cast(..) | Kind::SizeOfType(_) | Kind::SizeOf(_) => script_only("a type"),
        Kind::Conditional(..) => script_only("`?:`"),
        Kind::Try(..) => script_only("`try`"),
        Kind::Index(..) => script_only("an element of an array"),
        Kind::Member(..) | Kind::Arrow(..) => script_only("a member of a struct"),
    }
}

const QWORD: Read = Read {
    bytes: 8,
    physical: false,
    skip: 0,
};

/// `poi` and its family, by name.
fn memory_function(name: &str) -> Option<Read> {
    let name = name.to_ascii_lowercase();
    let (name, physical) = match name.strip_suffix("_pa") {
        Some(name) => (name, true),
        None => (name.as_str(), false),
    };
    let (bytes, skip) = match name {
        "poi" | "dq" => (8, 0),
        "dd" => (4, 0),
        "dw" | "low" => (2, 0),
        "hi" => (2, 2),
        "db" => (1, 0),
        _ => return None,
    };
    Some(Read {
        bytes,
        physical,
        skip,
    })
}

/// A word is a number if it can be one, else a register, else a symbol.
fn name(token: &str) -> Result<Expression, SyntaxError> {
    let begins_with_letter = token.starts_with(|c: char| c.is_ascii_alphabetic());
    match number::parse(token) {
        Ok(value) => {
            let word = begins_with_letter.then(|| token.to_owned());
            Ok(Expression::Number { value, word })
        }
        Err(error @ SyntaxError::TooBig { .. }) if !token.contains('_') => Err(error),
        Err(error) if token.starts_with('\\') => Err(error),
        Err(_) if register::part(&token.to_ascii_lowercase()).is_some() => {
            Ok(Expression::Register {
                name: token.to_ascii_lowercase(),
                is_bare: true,
            })
        }
        Err(_) => Ok(Expression::Symbol(token.to_owned())),
    }
}
