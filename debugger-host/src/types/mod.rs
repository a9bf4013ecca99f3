//! What commands and scripts have in common: how numbers and registers are written. Called by
//! [`crate::expression`], [`crate::script`] and [`crate::assembler`].

pub mod msr;
pub mod near;
pub mod number;
pub mod register;
pub mod vector;

/// The name that a variant of the code's has for users: `NoSuchEvent` is `no-such-event`.
#[must_use]
pub fn kebab(name: &str) -> String {
    let mut text = String::new();
    for c in name.chars() {
        if c.is_ascii_uppercase() && !text.is_empty() {
            text.push('-');
        }
        text.push(c.to_ascii_lowercase());
    }
    text
}

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
    /// A register where a number is wanted.
    #[error("a number is wanted, and `{name}` is a register; its value is `@{name}`")]
    BareRegister {
        /// As typed, in lower case.
        name: String,
    },
    /// A name where a number is wanted.
    #[error("`{word}` is no number (numbers are hexadecimal, `0n10` is decimal)")]
    NoNumber {
        /// As typed.
        word: String,
    },
    /// A truth value where a number is wanted.
    #[error("a number is wanted, not whether something is true")]
    Truth,
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
