//! Value of an expression tree. Called by every command that takes an address or a value; operators
//! do what they do in scripts.

use super::{Binary, Expression, Read, Unary};
use crate::script::check::whole;
use crate::script::value::{fold_binary, fold_unary};
use crate::types::register;
use wire_protocol::bytecode::op::Op;

/// Where values come from. Commands give the halted debuggee, tests give a made-up one.
pub trait Context {
    /// Value of a register, part of one, or a flag; `name` is in lower case, without `@`.
    ///
    /// # Errors
    /// When there is no such register, or it cannot be read now.
    fn register(&mut self, name: &str) -> Result<u64, EvalError>;
    /// Value of `$name`.
    ///
    /// # Errors
    /// When there is no such pseudo-register, or it cannot be read now.
    fn pseudo(&mut self, name: &str) -> Result<u64, EvalError>;
    /// Address of `name` or `module!name`, if it is known.
    fn symbol(&mut self, name: &str) -> Option<u64>;
    /// Little-endian value in memory.
    ///
    /// # Errors
    /// When the memory is not there, or cannot be read now.
    fn memory(&mut self, read: Read, address: u64) -> Result<u64, EvalError>;
    /// A word that was taken as a number is something else, too.
    fn ambiguous(&mut self, word: &str, value: u64, other: Other);
}

/// What a word can mean that was taken as a number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Other {
    /// The symbol at this address.
    Symbol(u64),
    /// A register or a flag.
    Register,
}

/// Why an expression has no value.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EvalError {
    /// No such name among the loaded symbols.
    #[error("no symbol `{name}`{}", hint(.similar.as_ref()))]
    UnknownSymbol {
        /// As typed.
        name: String,
        /// A name that is close to it.
        similar: Option<String>,
    },
    /// No such register.
    #[error("no register `{name}`")]
    UnknownRegister {
        /// As typed.
        name: String,
    },
    /// No such pseudo-register.
    #[error("no pseudo-register `${name}`")]
    UnknownPseudo {
        /// Without the sign.
        name: String,
    },
    /// Division by zero.
    #[error("division by zero")]
    DivisionByZero,
    /// Memory ends before the value does.
    #[error("memory at {address:016x} ends after {bytes} bytes")]
    Short {
        /// First byte.
        address: u64,
        /// Bytes that are there.
        bytes: usize,
    },
    /// The session could not give a register or memory; its own words.
    #[error("{0}")]
    Unreadable(String),
}

fn hint(similar: Option<&String>) -> String {
    similar.map_or_else(String::new, |name| format!("; is `{name}` meant?"))
}

/// A value with its type, by the rules of scripts.
#[derive(Clone, Copy)]
struct Typed {
    value: u64,
    of: Kind,
}

/// What a value's bits mean.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// 32 bits, signed: what a comparison gives.
    Int,
    /// 64 bits, signed: registers and small literals.
    Long,
    /// 64 bits, unsigned: all else.
    Unsigned,
}

impl Kind {
    /// What arithmetic makes of both.
    fn common(self, other: Self) -> Self {
        match (self, other) {
            (Self::Unsigned, _) | (_, Self::Unsigned) => Self::Unsigned,
            (Self::Long, _) | (_, Self::Long) => Self::Long,
            _ => Self::Int,
        }
    }

    /// These bits as a value of this kind.
    fn wrapped(self, value: u64) -> Typed {
        let value = match self {
            Self::Int => fold_unary(Op::SignExtend32, value).unwrap_or(value),
            _ => value,
        };
        Typed { value, of: self }
    }
}

const fn truth(holds: bool) -> Typed {
    Typed {
        value: holds as u64,
        of: Kind::Int,
    }
}

const fn unsigned(value: u64) -> Typed {
    Typed {
        value,
        of: Kind::Unsigned,
    }
}

const fn signed(value: u64) -> Typed {
    Typed {
        value,
        of: Kind::Long,
    }
}

impl Expression {
    /// Computes the value, modulo 2^64.
    ///
    /// # Errors
    /// When a name is unknown, memory cannot be read, or a divisor is zero.
    pub fn evaluate(&self, context: &mut dyn Context) -> Result<u64, EvalError> {
        self.typed(context).map(|typed| typed.value)
    }

    fn typed(&self, context: &mut dyn Context) -> Result<Typed, EvalError> {
        Ok(match self {
            Self::Number { value, word } => {
                if let Some(word) = word {
                    if let Some(symbol) = context.symbol(word) {
                        context.ambiguous(word, *value, Other::Symbol(symbol));
                    } else if register::part(&word.to_ascii_lowercase()).is_some() {
                        context.ambiguous(word, *value, Other::Register);
                    }
                }
                match i64::try_from(*value) {
                    Ok(_) => signed(*value),
                    Err(_) => unsigned(*value),
                }
            }
            Self::Register { name, .. } => signed(context.register(name)?),
            Self::Pseudo(name) if name == "ip" => signed(context.pseudo(name)?),
            Self::Pseudo(name) => unsigned(context.pseudo(name)?),
            Self::Symbol(name) => {
                let address = context.symbol(name);
                unsigned(address.ok_or_else(|| EvalError::UnknownSymbol {
                    name: name.clone(),
                    similar: None,
                })?)
            }
            Self::Memory(read, address) => {
                let address = address.evaluate(context)?.wrapping_add(read.skip);
                unsigned(context.memory(*read, address)?)
            }
            Self::Unary(sign, operand) => {
                let operand = operand.typed(context)?;
                let op = match sign {
                    Unary::Negate => Op::Neg,
                    Unary::Complement => Op::Not,
                    Unary::Not => return Ok(truth(operand.value == 0)),
                    _ => return Ok(operand),
                };
                let value = fold_unary(op, operand.value).unwrap_or(operand.value);
                operand.of.wrapped(value)
            }
            Self::Binary(Binary::LogicalAnd, left, right) => {
                truth(left.evaluate(context)? != 0 && right.evaluate(context)? != 0)
            }
            Self::Binary(Binary::LogicalOr, left, right) => {
                truth(left.evaluate(context)? != 0 || right.evaluate(context)? != 0)
            }
            Self::Binary(sign, left, right) => {
                let (left, right) = (left.typed(context)?, right.typed(context)?);
                let of = match sign {
                    Binary::ShiftLeft | Binary::ShiftRight => left.of,
                    _ => left.of.common(right.of),
                };
                let op = whole(*sign, of != Kind::Unsigned);
                let value = fold_binary(op, left.value, right.value);
                let value = value.ok_or(EvalError::DivisionByZero)?;
                if sign.compares() {
                    truth(value != 0)
                } else {
                    of.wrapped(value)
                }
            }
        })
    }
}

#[cfg(test)]
#[path = "eval_tests.rs"]
mod tests;
