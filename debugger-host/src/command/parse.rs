//! Arguments of commands. Called by the parsers of the command table.

use super::ParseError;
use super::text::{self, block};
use crate::expression::{Expression, count, parser};
use nom::bytes::complete::take_while;
use nom::error::{Error, ErrorKind};
use nom::{IResult, Parser};

/// What is left of a command line.
#[derive(Clone, Debug)]
pub struct Arguments<'a> {
    /// Name of the command, in lower case.
    pub name: &'a str,
    syntax: &'static str,
    rest: &'a str,
}

/// A word in which spaces may stand between parentheses.
fn argument(text: &str) -> IResult<&str, &str> {
    let mut depth = 0_usize;
    let end = text
        .char_indices()
        .find(|(_, c)| {
            match c {
                '(' => depth += 1,
                ')' => depth = depth.saturating_sub(1),
                _ => {}
            }
            depth == 0 && c.is_whitespace()
        })
        .map_or(text.len(), |(at, _)| at);
    match text.split_at(end) {
        ("", _) => Err(nom::Err::Error(Error::new(text, ErrorKind::TakeWhile1))),
        (found, rest) => Ok((rest, found)),
    }
}

/// Splits a line into the command's name and the rest.
#[must_use]
pub fn split(line: &str) -> (&str, &str) {
    let line = line.trim();
    // `?1+1` and `~1` need no space.
    if let Some(first) = line.chars().next()
        && matches!(first, '?' | '~')
    {
        return (&line[..1], line[1..].trim_start());
    }
    let end = line.find(char::is_whitespace).unwrap_or(line.len());
    let (name, rest) = line.split_at(end);
    (name, rest.trim_start())
}

impl<'a> Arguments<'a> {
    /// Arguments of the command `name`.
    #[must_use]
    pub const fn new(name: &'a str, syntax: &'static str, rest: &'a str) -> Self {
        Self { name, syntax, rest }
    }

    fn skip_space(&mut self) {
        let trimmed: IResult<&str, &str> = take_while(char::is_whitespace).parse(self.rest);
        if let Ok((rest, _)) = trimmed {
            self.rest = rest;
        }
    }

    /// Whether nothing is left.
    pub fn is_empty(&mut self) -> bool {
        self.skip_space();
        self.rest.is_empty()
    }

    /// The longest expression that comes next.
    ///
    /// # Errors
    /// When nothing or something else is there.
    pub fn expression(&mut self, argument: &'static str) -> Result<Expression, ParseError> {
        if self.is_empty() {
            return Err(self.missing(argument));
        }
        let (expression, rest) = parser::parse_prefix(self.rest)
            .map_err(|why| ParseError::Expression { argument, why })?;
        self.rest = rest;
        Ok(expression)
    }

    /// The longest expression that comes next, which must be a number: see
    /// [`count::number`].
    ///
    /// # Errors
    /// When nothing, or no number, is there.
    pub fn number(&mut self, argument: &'static str) -> Result<Expression, ParseError> {
        count::number(self.expression(argument)?)
            .map_err(|why| ParseError::Expression { argument, why })
    }

    /// That something is not there.
    #[must_use]
    pub const fn missing(&self, argument: &'static str) -> ParseError {
        let syntax = self.syntax;
        ParseError::Missing { argument, syntax }
    }

    /// An expression without spaces, except within parentheses.
    ///
    /// # Errors
    /// When nothing or something else is there.
    pub fn tight_expression(&mut self, what: &'static str) -> Result<Expression, ParseError> {
        self.skip_space();
        let Ok((rest, text)) = argument(self.rest) else {
            return Err(self.missing(what));
        };
        self.rest = rest;
        parser::parse(text).map_err(|why| ParseError::Expression {
            argument: what,
            why,
        })
    }

    /// Takes `keyword` (any case) if it comes next.
    pub fn keyword(&mut self, keyword: &str) -> bool {
        self.skip_space();
        match text::word(self.rest) {
            Some((found, rest)) if found.eq_ignore_ascii_case(keyword) => {
                self.rest = rest;
                true
            }
            _ => false,
        }
    }

    /// The next word, if there is one; a quoted one without its quotes.
    pub fn word(&mut self) -> Option<&'a str> {
        self.skip_space();
        let (found, rest) = text::word(self.rest)?;
        self.rest = rest;
        Some(found)
    }

    /// Letters, digits and signs of a name that come next, if any do.
    pub fn name(&mut self) -> Option<&'a str> {
        self.skip_space();
        let end = self
            .rest
            .find(|c: char| !(c.is_ascii_alphanumeric() || "_-.".contains(c)))
            .unwrap_or(self.rest.len());
        let (name, rest) = self.rest.split_at(end);
        self.rest = rest;
        (!name.is_empty()).then_some(name)
    }

    /// The next word, which must be there.
    ///
    /// # Errors
    /// When nothing is left.
    pub fn required_word(&mut self, argument: &'static str) -> Result<&'a str, ParseError> {
        self.word().ok_or(self.missing(argument))
    }

    /// What stands in braces, if a brace comes next.
    ///
    /// # Errors
    /// When it is not closed.
    pub fn block(&mut self) -> Result<Option<&'a str>, ParseError> {
        self.skip_space();
        if !self.rest.starts_with('{') {
            return Ok(None);
        }
        let (inside, rest) = block(self.rest).ok_or(ParseError::OpenBlock)?;
        self.rest = rest;
        Ok(Some(inside))
    }

    /// What stands in braces, which must come next.
    ///
    /// # Errors
    /// When something else does, or it is not closed.
    pub fn required_block(&mut self, argument: &'static str) -> Result<&'a str, ParseError> {
        self.block()?.ok_or(self.missing(argument))
    }

    /// A path, which must be there: a quoted word, or all that is left.
    ///
    /// # Errors
    /// When nothing is left, or more than a quoted word.
    pub fn path(&mut self, argument: &'static str) -> Result<&'a str, ParseError> {
        self.skip_space();
        if !self.rest.starts_with('"') {
            let path = Some(self.rest()).filter(|path| !path.is_empty());
            return path.ok_or(self.missing(argument));
        }
        let path = self.required_word(argument)?;
        self.end()?;
        Ok(path)
    }

    /// All that is left.
    pub fn rest(&mut self) -> &'a str {
        std::mem::take(&mut self.rest).trim()
    }

    /// Nothing may be left.
    ///
    /// # Errors
    /// When something is.
    pub fn end(&mut self) -> Result<(), ParseError> {
        if self.is_empty() {
            return Ok(());
        }
        Err(ParseError::Extra {
            rest: self.rest.to_owned(),
            syntax: self.syntax,
        })
    }
}
