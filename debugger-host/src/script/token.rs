//! The words of the script language. Made by [`super::lexer`], read by [`super::parser`].

use super::problem::Position;

/// A word and where it stands.
#[derive(Clone, Debug, PartialEq)]
pub struct Token {
    /// Its first character.
    pub at: Position,
    /// What it is.
    pub kind: Kind,
}

/// What a word is.
#[derive(Clone, Debug, PartialEq)]
pub enum Kind {
    /// Begins with a digit.
    Number(u64),
    /// `11.5`, `.5`, `11.`
    Float(f64),
    /// `"…"`, escapes resolved, without the zero at the end.
    Text(Vec<u8>),
    /// `L"…"`, likewise, as UTF-16 in little-endian order.
    Wide(Vec<u8>),
    /// Begins with a letter: keyword, variable, function, register or hexadecimal number.
    Word(String),
    /// `.name`: a global variable, or a member of what stands before it.
    Dotted(String),
    /// `@name`, in lower case.
    Register(String),
    /// `$name`, in lower case.
    Pseudo(String),
    /// `module!name`.
    Symbol(String),
    /// Everything else.
    Sign(&'static str),
    /// Nothing follows.
    End,
}

/// Signs, longer ones before their prefixes.
pub const SIGNS: [&str; 46] = [
    "<<=", ">>=", "&&", "||", "<<", ">>", "<=", ">=", "==", "!=", "+=", "-=", "*=", "/=", "%=",
    "&=", "^=", "|=", "++", "--", "->", "+", "-", "*", "/", "%", "&", "|", "^", "~", "!", "<", ">",
    "=", "(", ")", "[", "]", "{", "}", ",", ";", ".", "#", "?", ":",
];

impl Kind {
    /// As an error message names it.
    #[must_use]
    pub fn describe(&self) -> String {
        match self {
            Self::Number(value) => format!("number `{value:x}`"),
            Self::Float(value) => format!("number `{value}`"),
            Self::Text(_) | Self::Wide(_) => "a string".into(),
            Self::Word(word) => format!("`{word}`"),
            Self::Dotted(name) => format!("`.{name}`"),
            Self::Register(name) => format!("`@{name}`"),
            Self::Pseudo(name) => format!("`${name}`"),
            Self::Symbol(name) => format!("`{name}`"),
            Self::Sign(sign) => format!("`{sign}`"),
            Self::End => "the end".into(),
        }
    }
}
