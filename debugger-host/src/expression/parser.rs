//! Text to expression tree, with the precedence of C. Called by [`crate::command`].

use super::{Binary, Expression, Read, SyntaxError, Unary, number, register};
use nom::branch::alt;
use nom::bytes::complete::{tag, take_while, take_while1};
use nom::character::complete::{char, satisfy};
use nom::combinator::{recognize, value};
use nom::error::{ErrorKind, ParseError};
use nom::sequence::{pair, preceded};
use nom::{IResult, Parser};

/// Parentheses and signs within each other.
const DEPTH_LIMIT: usize = 64;

/// A failure carries its own explanation; the rest is backtracking.
#[derive(Debug)]
struct Failure(Option<SyntaxError>);

impl ParseError<&str> for Failure {
    fn from_error_kind(_: &str, _: ErrorKind) -> Self {
        Self(None)
    }
    fn append(_: &str, _: ErrorKind, other: Self) -> Self {
        other
    }
}

type Parsed<'a, T> = IResult<&'a str, T, Failure>;

fn fail<T>(error: SyntaxError) -> Parsed<'static, T> {
    Err(nom::Err::Failure(Failure(Some(error))))
}

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
    match binary(text, 0, 0) {
        Ok((rest, expression)) => Ok((expression, rest.trim_start())),
        Err(nom::Err::Failure(Failure(Some(error)))) => Err(error),
        Err(_) => match text.trim() {
            "" => Err(SyntaxError::MissingValue),
            rest => Err(SyntaxError::Unexpected {
                rest: rest.to_owned(),
            }),
        },
    }
}

fn space(text: &str) -> Parsed<'_, &str> {
    take_while(char::is_whitespace)(text)
}

/// Operators by precedence, the loosest first. Longer signs stand before their prefixes.
fn operator(text: &str, level: usize) -> Parsed<'_, Binary> {
    match level {
        0 => value(Binary::Or, char('|')).parse(text),
        1 => value(Binary::Xor, char('^')).parse(text),
        2 => value(Binary::And, char('&')).parse(text),
        3 => alt((
            value(Binary::ShiftLeft, tag("<<")),
            value(Binary::ShiftRight, tag(">>")),
        ))
        .parse(text),
        4 => alt((
            value(Binary::Add, char('+')),
            value(Binary::Subtract, char('-')),
        ))
        .parse(text),
        _ => alt((
            value(Binary::Multiply, char('*')),
            value(Binary::Divide, char('/')),
            value(Binary::Remainder, char('%')),
        ))
        .parse(text),
    }
}

fn binary(text: &str, level: usize, depth: usize) -> Parsed<'_, Expression> {
    if level > 5 {
        return unary(text, depth);
    }
    let (mut text, mut left) = binary(text, level + 1, depth)?;
    while let Ok((rest, sign)) = preceded(space, |t| operator(t, level)).parse(text) {
        let (rest, right) = match binary(rest, level + 1, depth) {
            Err(nom::Err::Error(_)) => return missing(rest),
            other => other?,
        };
        left = Expression::Binary(sign, Box::new(left), Box::new(right));
        text = rest;
    }
    Ok((text, left))
}

fn missing<T>(rest: &str) -> Parsed<'static, T> {
    match rest.trim() {
        "" => fail(SyntaxError::MissingValue),
        rest => fail(SyntaxError::Unexpected {
            rest: rest.to_owned(),
        }),
    }
}

fn unary(text: &str, depth: usize) -> Parsed<'_, Expression> {
    if depth > DEPTH_LIMIT {
        return fail(SyntaxError::TooDeep { limit: DEPTH_LIMIT });
    }
    let (text, _) = space(text)?;
    let sign: Parsed<'_, char> = satisfy(|c| "-~+!*&".contains(c)).parse(text);
    let Ok((rest, sign)) = sign else {
        return primary(text, depth);
    };
    let (rest, operand) = match unary(rest, depth + 1) {
        Err(nom::Err::Error(_)) => return missing(rest),
        other => other?,
    };
    let operand = Box::new(operand);
    let expression = match sign {
        '-' => Expression::Unary(Unary::Negate, operand),
        '~' => Expression::Unary(Unary::Complement, operand),
        '!' => Expression::Unary(Unary::Not, operand),
        '*' => Expression::Memory(QWORD, operand),
        '+' => Expression::Unary(Unary::Plus, operand),
        _ => {
            return fail(SyntaxError::Unexpected {
                rest: text.to_owned(),
            });
        }
    };
    Ok((rest, expression))
}

const QWORD: Read = Read {
    bytes: 8,
    physical: false,
    skip: 0,
};

/// `poi` and its family, by name.
fn memory_function(name: &str) -> Option<Read> {
    let (name, physical) = match name.strip_suffix("_pa") {
        Some(name) => (name, true),
        None => (name, false),
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

fn parenthesised(text: &str, depth: usize) -> Parsed<'_, Expression> {
    let (text, _) = char('(').parse(text)?;
    let (text, inner) = match binary(text, 0, depth + 1) {
        Err(nom::Err::Error(_)) => return missing(text),
        other => other?,
    };
    let closed: Parsed<'_, char> = preceded(space, char(')')).parse(text);
    match closed {
        Ok((rest, _)) => Ok((rest, inner)),
        Err(_) if text.trim().is_empty() => fail(SyntaxError::MissingParenthesis),
        Err(_) => missing(text),
    }
}

fn primary(text: &str, depth: usize) -> Parsed<'_, Expression> {
    if text.starts_with('(') {
        return parenthesised(text, depth);
    }
    let is_part = |c: char| c.is_ascii_alphanumeric() || "_.`$".contains(c);
    let name = || take_while1::<_, &str, Failure>(is_part);
    if let Ok((rest, register)) = preceded(char('@'), name()).parse(text) {
        return Ok((rest, Expression::Register(register.to_ascii_lowercase())));
    }
    if let Ok((rest, pseudo)) = preceded(char::<&str, Failure>('$'), name()).parse(text) {
        return Ok((rest, Expression::Pseudo(pseudo.to_ascii_lowercase())));
    }
    let escaped = recognize(pair(char::<&str, Failure>('\\'), name()));
    if let Ok((rest, token)) = alt((escaped, recognize((name(), char('!'), name())))).parse(text) {
        if token.contains('!') {
            return Ok((rest, Expression::Symbol(token.to_owned())));
        }
        return match number::parse(token) {
            Ok(value) => Ok((rest, Expression::Number { value, word: None })),
            Err(error) => fail(error),
        };
    }
    let (rest, token) = name().parse(text)?;
    if let Some(read) = memory_function(&token.to_ascii_lowercase())
        && let Ok((after, _)) = space(rest)
        && after.starts_with('(')
    {
        let (rest, address) = parenthesised(after, depth)?;
        return Ok((rest, Expression::Memory(read, Box::new(address))));
    }
    word(rest, token)
}

/// A word is a number if it can be one, else a register, else a symbol.
fn word<'a>(rest: &'a str, token: &str) -> Parsed<'a, Expression> {
    let begins_with_letter = token.starts_with(|c: char| c.is_ascii_alphabetic());
    match number::parse(token) {
        Ok(value) => {
            let word = begins_with_letter.then(|| token.to_owned());
            Ok((rest, Expression::Number { value, word }))
        }
        Err(error @ SyntaxError::TooBig { .. }) if !token.contains('_') => fail(error),
        Err(_) if register::part(&token.to_ascii_lowercase()).is_some() => {
            Ok((rest, Expression::Register(token.to_ascii_lowercase())))
        }
        Err(error) if token.starts_with(|c: char| c.is_ascii_digit()) => fail(error),
        Err(_) => Ok((rest, Expression::Symbol(token.to_owned()))),
    }
}
