//! Expressions: every number that a user types is one. Called by all commands.
//!
//! [`parser`] turns text into a tree ([`Expression`]), [`eval`] computes its value, asking a
//! [`eval::Context`] for registers, symbols and memory. Numbers are hexadecimal unless a prefix
//! says otherwise.

pub mod eval;
pub mod number;
pub mod parser;
pub mod register;

/// Why text is no expression.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SyntaxError {
    /// A digit that its base does not have, or no digit at all.
    #[error("`{token}` is not a number in base {base}")]
    BadNumber {
        /// As typed.
        token: String,
        /// 2, 8, 10 or 16.
        base: u32,
    },
    /// More than 64 bits.
    #[error("`{token}` does not fit in 64 bits")]
    TooBig {
        /// As typed.
        token: String,
    },
    /// Nothing where a value must be.
    #[error("a value is missing at the end")]
    MissingValue,
    /// Something that can't stand where it stands.
    #[error("`{rest}` cannot stand here")]
    Unexpected {
        /// From there to the end.
        rest: String,
    },
    /// Parentheses, or signs, nested too deeply.
    #[error("nested more than {limit} levels deep")]
    TooDeep {
        /// The limit.
        limit: usize,
    },
    /// A parenthesis that is not closed.
    #[error("a `)` is missing")]
    MissingParenthesis,
}

/// Operators with two operands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "named after their signs")]
pub enum Binary {
    Or,
    Xor,
    And,
    ShiftLeft,
    ShiftRight,
    Add,
    Subtract,
    Multiply,
    Divide,
    Remainder,
}

/// Operators with one operand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unary {
    /// `-x`
    Negate,
    /// `~x`
    Complement,
    /// `+x`
    Plus,
    /// `!x`: 1 for zero, else 0.
    Not,
}

/// What a memory function reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Read {
    /// 1, 2, 4 or 8.
    pub bytes: usize,
    /// Physical instead of virtual memory.
    pub physical: bool,
    /// First byte, counted from the address given.
    pub skip: u64,
}

/// An expression as a tree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Expression {
    /// A number; `word` if it could be a name as well.
    Number {
        /// Its value.
        value: u64,
        /// As typed, when it consists of letters and digits only and begins with a letter.
        word: Option<String>,
    },
    /// `@rax`, or a bare name that is a register.
    Register(String),
    /// `$ip`, without the sign.
    Pseudo(String),
    /// `name` or `module!name`.
    Symbol(String),
    /// `poi(x)` and its family, and `*x`.
    Memory(Read, Box<Self>),
    /// One operand.
    Unary(Unary, Box<Self>),
    /// Two operands.
    Binary(Binary, Box<Self>, Box<Self>),
}
