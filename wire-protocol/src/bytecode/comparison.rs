//! Programs that do nothing but compare one value with a number, as most conditions do. What they
//! say is known without running them. Used by the driver when an event is added, and at its hits.

use super::decode::{Operand, decode};
use super::op::Op;
use super::program::Program;
use super::routine::Pseudo;
use crate::register::Register;

/// What is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compared {
    /// `$context`
    Context,
    /// A register.
    Register(Register),
}

/// How.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Relation {
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

/// See the module.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Comparison {
    /// As large as `bias` makes it.
    number: u64,
    /// Turns signed order into unsigned: the highest bit, if it is a signed comparison, else 0.
    bias: u64,
    /// What is compared with the number.
    pub what: Compared,
    relation: Relation,
}

impl Comparison {
    /// Operations of such a program, at most.
    pub const OPERATIONS: u64 = 5;

    /// What a program compares, if that is all it does.
    #[must_use]
    pub fn of(program: &Program<'_>) -> Option<Self> {
        let code = program.code();
        let value = decode(code, 0)?;
        let what = match value.operand {
            Operand::Pseudo(Pseudo::Context) => Compared::Context,
            Operand::Register(register) if value.op == Op::Register => Compared::Register(register),
            _ => return None,
        };
        let number = decode(code, value.next)?;
        let is_push = matches!(
            number.op,
            Op::PushU8 | Op::PushI8 | Op::PushU16 | Op::PushU32 | Op::PushI32 | Op::PushU64
        );
        let Operand::Number(pushed) = number.operand else {
            return None;
        };
        let compare = decode(code, number.next)?;
        let relation = match compare.op {
            Op::Eq => Relation::Equal,
            Op::Ne => Relation::NotEqual,
            Op::LtU | Op::LtS => Relation::Less,
            Op::LeU | Op::LeS => Relation::LessOrEqual,
            Op::GtU | Op::GtS => Relation::Greater,
            Op::GeU | Op::GeS => Relation::GreaterOrEqual,
            _ => return None,
        };
        let is_signed = matches!(compare.op, Op::LtS | Op::LeS | Op::GtS | Op::GeS);
        let bias = u64::from(is_signed) << 63;
        let end = decode(code, compare.next)?;
        let is_all = is_push && end.op == Op::Return;
        is_all.then_some(Self {
            number: pushed ^ bias,
            bias,
            what,
            relation,
        })
    }

    /// Whether it holds for this value.
    #[must_use]
    #[inline]
    pub const fn holds(&self, value: u64) -> bool {
        let value = value ^ self.bias;
        match self.relation {
            Relation::Equal => value == self.number,
            Relation::NotEqual => value != self.number,
            Relation::Less => value < self.number,
            Relation::LessOrEqual => value <= self.number,
            Relation::Greater => value > self.number,
            Relation::GreaterOrEqual => value >= self.number,
        }
    }
}
