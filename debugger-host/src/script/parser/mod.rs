//! Words to trees. Called by [`super::compile`]; `expression`, `statement` and
//! `declaration` each know one part of the grammar.

mod declaration;
mod expression;
pub mod foreign;
mod statement;

use super::problem::{Position, Problem};
use super::token::{Kind, Token};
use super::tree::{Expression, NewType, Script};
use super::types;
use std::collections::HashSet;

/// Statements, parentheses and signs within each other.
const NESTING_LIMIT: usize = 64;

/// A parser's result.
type Parsed<T> = Result<T, Problem>;

/// Parses a script.
///
/// # Errors
/// At the first word that cannot stand where it stands.
pub fn script(tokens: &[Token]) -> Parsed<Script> {
    let mut parser = Parser::new(tokens);
    let mut script = Script::default();
    while !parser.at_end() {
        if let Some(function) = parser.function()? {
            script.functions.extend(function);
        } else {
            script.body.push(parser.statement()?);
        }
    }
    script.types = parser.types;
    Ok(script)
}

/// Parses one expression and nothing else.
///
/// # Errors
/// At the first word that cannot stand where it stands.
pub fn only_expression(tokens: &[Token]) -> Parsed<Expression> {
    let mut parser = Parser::new(tokens);
    let expression = parser.expression()?;
    parser.accept(";");
    if parser.at_end() {
        Ok(expression)
    } else {
        Err(parser.unexpected("an operator or the end"))
    }
}

/// Parses the longest expression that the words begin with; the number of its words comes back.
///
/// # Errors
/// When they do not begin with an expression.
pub fn first_expression(tokens: &[Token]) -> Parsed<(Expression, usize)> {
    let mut parser = Parser::new(tokens);
    let expression = parser.conditional_value()?;
    Ok((expression, parser.next))
}

/// The words are statements, not a lone expression: a `;` or `{` is among them, or the first is
/// one that begins a statement.
#[must_use]
pub fn has_statements(tokens: &[Token]) -> bool {
    let words = tokens
        .iter()
        .rev()
        .skip_while(|token| matches!(token.kind, Kind::End | Kind::Sign(";")));
    words
        .into_iter()
        .any(|token| matches!(token.kind, Kind::Sign(";" | "{")))
        || matches!(tokens.first().map(|token| &token.kind), Some(Kind::Word(word)) if word == "return")
}

struct Parser<'a> {
    tokens: &'a [Token],
    next: usize,
    nesting: usize,
    type_names: HashSet<String>,
    types: Vec<NewType>,
}

const NOTHING: Token = Token {
    at: Position {
        file: 0,
        line: 1,
        column: 1,
    },
    kind: Kind::End,
};

impl<'a> Parser<'a> {
    fn new(tokens: &'a [Token]) -> Self {
        Self {
            tokens,
            next: 0,
            nesting: 0,
            type_names: types::STANDARD
                .iter()
                .map(|(name, _)| (*name).to_owned())
                .collect(),
            types: Vec::new(),
        }
    }

    fn ahead(&self, by: usize) -> &'a Token {
        self.tokens
            .get(self.next + by)
            .or(self.tokens.last())
            .unwrap_or(&NOTHING)
    }

    fn peek(&self) -> &'a Kind {
        &self.ahead(0).kind
    }

    fn at(&self) -> Position {
        self.ahead(0).at
    }

    fn at_end(&self) -> bool {
        *self.peek() == Kind::End
    }

    fn step(&mut self) {
        if !self.at_end() {
            self.next += 1;
        }
    }

    fn is_sign(&self, sign: &str) -> bool {
        matches!(self.peek(), Kind::Sign(found) if *found == sign)
    }

    fn accept(&mut self, sign: &str) -> bool {
        let found = self.is_sign(sign);
        if found {
            self.step();
        }
        found
    }

    fn expect(&mut self, sign: &str) -> Parsed<Position> {
        let at = self.at();
        if self.accept(sign) {
            Ok(at)
        } else {
            Err(self.unexpected(&format!("`{sign}`")))
        }
    }

    fn is_word(&self, word: &str) -> bool {
        matches!(self.peek(), Kind::Word(found) if found == word)
    }

    fn accept_word(&mut self, word: &str) -> bool {
        let found = self.is_word(word);
        if found {
            self.step();
        }
        found
    }

    fn name(&mut self, what: &str) -> Parsed<(Position, String)> {
        let at = self.at();
        match self.peek() {
            Kind::Word(name) if is_keyword(name) => Err(Problem::new(
                at,
                format!("`{name}` is a word of the language and cannot be {what}"),
            )
            .help("choose another name")),
            Kind::Word(name) if name.contains('`') => {
                Err(Problem::new(at, format!("`{name}` cannot be {what}")))
            }
            Kind::Word(name) => {
                self.step();
                Ok((at, name.clone()))
            }
            _ => Err(self.unexpected(what)),
        }
    }

    fn unexpected(&self, wanted: &str) -> Problem {
        let found = self.peek().describe();
        let problem = Problem::new(self.at(), format!("{wanted} is expected here, not {found}"));
        match self.peek() {
            Kind::Word(word) => problem.advised(foreign::advice(word)),
            _ => problem,
        }
    }

    /// Runs `inner` one level deeper.
    fn nested<T>(&mut self, inner: impl FnOnce(&mut Self) -> Parsed<T>) -> Parsed<T> {
        if self.nesting >= NESTING_LIMIT {
            return Err(Problem::new(
                self.at(),
                format!("nested more than {NESTING_LIMIT} levels deep"),
            )
            .help("put a part of it into a variable or a function"));
        }
        self.nesting += 1;
        let result = inner(self);
        self.nesting -= 1;
        result
    }
}

/// Words that cannot be names.
const KEYWORDS: [&str; 26] = [
    "if", "else", "elsif", "for", "while", "do", "break", "continue", "return", "struct",
    "typedef", "sizeof", "void", "bool", "char", "short", "int", "long", "float", "double",
    "signed", "unsigned", "switch", "goto", "const", "try",
];

/// The word has a meaning of its own.
#[must_use]
pub fn is_keyword(word: &str) -> bool {
    KEYWORDS.contains(&word)
}
