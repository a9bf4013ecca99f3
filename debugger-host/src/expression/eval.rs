//! Value of an expression tree. Called by every command that takes an address or a value; operators
//! do what they do in scripts.

use super::{Binary, Expression, Read, Unary};
use crate::script::check::whole;
use crate::script::value::{fold_binary, fold_unary};
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
    /// A word that was taken as a number is a symbol too.
    fn ambiguous(&mut self, word: &str, value: u64, symbol: u64);
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
    /// The session could not give a register or memory; its own words.
    #[error("{0}")]
    Unreadable(String),
}

fn hint(similar: Option<&String>) -> String {
    similar.map_or_else(String::new, |name| format!("; is `{name}` meant?"))
}

impl Expression {
    /// Computes the value, modulo 2^64.
    ///
    /// # Errors
    /// When a name is unknown, memory cannot be read, or a divisor is zero.
    pub fn evaluate(&self, context: &mut dyn Context) -> Result<u64, EvalError> {
        Ok(match self {
            Self::Number { value, word } => {
                if let Some(word) = word
                    && let Some(symbol) = context.symbol(word)
                {
                    context.ambiguous(word, *value, symbol);
                }
                *value
            }
            Self::Register(name) => context.register(name)?,
            Self::Pseudo(name) => context.pseudo(name)?,
            Self::Symbol(name) => context
                .symbol(name)
                .ok_or_else(|| EvalError::UnknownSymbol {
                    name: name.clone(),
                    similar: None,
                })?,
            Self::Memory(read, address) => {
                let address = address.evaluate(context)?.wrapping_add(read.skip);
                context.memory(*read, address)?
            }
            Self::Unary(sign, operand) => {
                let operand = operand.evaluate(context)?;
                let op = match sign {
                    Unary::Negate => Op::Neg,
                    Unary::Complement => Op::Not,
                    Unary::Not => Op::IsZero,
                    _ => return Ok(operand),
                };
                fold_unary(op, operand).unwrap_or(operand)
            }
            Self::Binary(Binary::LogicalAnd, left, right) => {
                let holds = left.evaluate(context)? != 0 && right.evaluate(context)? != 0;
                u64::from(holds)
            }
            Self::Binary(Binary::LogicalOr, left, right) => {
                let holds = left.evaluate(context)? != 0 || right.evaluate(context)? != 0;
                u64::from(holds)
            }
            Self::Binary(sign, left, right) => {
                let left = left.evaluate(context)?;
                let right = right.evaluate(context)?;
                fold_binary(whole(*sign, false), left, right).ok_or(EvalError::DivisionByZero)?
            }
        })
    }
}

#[cfg(test)]
#[path = "eval_tests.rs"]
mod tests;
