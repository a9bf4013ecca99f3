//! Expressions: every number that a user types is one. Called by all commands.
//!
//! [`parser`] turns text into a tree ([`Expression`]) with the grammar of [`crate::script`];
//! [`eval`] computes its value, asking a [`eval::Context`] for registers, symbols and memory. Numbers are hexadecimal unless a prefix
//! says otherwise.

pub mod count;
pub mod eval;
pub mod parser;

pub use crate::script::tree::{Binary, Unary};
pub use crate::types::SyntaxError;

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
    /// A register, a part of one or a flag.
    Register {
        /// In lower case, without `@`.
        name: String,
        /// It was typed without `@`.
        is_bare: bool,
    },
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
