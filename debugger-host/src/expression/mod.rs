//! Expressions: every number that a user types is one. Called by all commands.
//!
//! [`parser`] turns text into a tree ([`Expression`]) with the grammar of [`crate::script`];
//! [`eval`] computes its value, asking a [`eval::Context`] for registers, symbols and memory. Numbers are hexadecimal unless a prefix
//! says otherwise.

pub mod eval;
pub mod number;
pub mod parser;
pub mod register;

pub use crate::script::tree::{Binary, Unary};

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
    /// Something follows that is no part of it.
    #[error("`{rest}` cannot stand here")]
    Unexpected {
        /// From there to the end.
        rest: String,
    },
    /// What the parser of scripts says.
    #[error("{0}")]
    Wrong(String),
    /// Part of the language, but not of commands: their values are worked out on the host.
    #[error("{what} can be used in scripts only, as in `? {{ … }}`")]
    ScriptOnly {
        /// What it is.
        what: &'static str,
    },
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
    /// One operand; neither `*` nor `&`.
    Unary(Unary, Box<Self>),
    /// Two operands.
    Binary(Binary, Box<Self>, Box<Self>),
}
