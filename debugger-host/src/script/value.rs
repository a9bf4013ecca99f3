//! A script with its meaning: every value has a type, every name is resolved, every conversion is
//! spelled out. Made by [`super::check`], turned into operations by `emit`.

use super::problem::Position;
use super::types::{LONG, Type};
use crate::types::register::Part;
use wire_protocol::bytecode::op::Op;
use wire_protocol::bytecode::routine::{Pseudo, Routine, Show};
use wire_protocol::bytecode::update::Update;

/// A value and how it comes about.
#[derive(Clone, Debug, PartialEq)]
pub struct Value {
    /// Where it is written.
    pub at: Position,
    /// Its type.
    pub of: Type,
    /// It is written as a number, or worked out from such: messages are about what is written.
    pub is_literal: bool,
    /// How it comes about.
    pub kind: ValueKind,
}

/// How a value comes about. Integers stand on the stack extended to 64 bits as their type says,
/// numbers with a fraction as the bits of a `double`.
#[derive(Clone, Debug, PartialEq)]
pub enum ValueKind {
    /// Known before the script runs.
    Constant(u64),
    /// Address of these bytes among the constants.
    Text(Vec<u8>),
    /// What is in a variable or in memory, where it has that type.
    Read(Place, Type),
    /// Where a variable is.
    Address(Place),
    /// A register, or a part of one.
    Register(Part),
    /// `$name`
    Pseudo(Pseudo),
    /// An operation that takes one value.
    Unary(Op, Box<Value>),
    /// An operation that takes two.
    Binary(Op, Box<Value>, Box<Value>),
    /// `&&` or, if not, `||`; the second value is computed only if it matters.
    Logical(bool, Box<Value>, Box<Value>),
    /// `?:`: the second if the first is not zero, else the third; only that is computed.
    Conditional(Box<Value>, Box<Value>, Box<Value>),
    /// `try`: the first, or the second if something could not be done for it.
    Try(Box<Value>, Box<Value>),
    /// A function of the script.
    Call(usize, Vec<Value>),
    /// A function of the language.
    Routine(Routine, Vec<Value>),
    /// Within an update, what the target held, with its type.
    Old(Type),
}

/// Something with an address.
#[derive(Clone, Debug, PartialEq)]
pub struct Place {
    /// What it is a part of.
    pub base: Base,
    /// Where in it.
    pub offset: u32,
}

/// A variable or an address.
#[derive(Clone, Debug, PartialEq)]
pub enum Base {
    /// A variable of the main part or of the function, by number.
    Variable(usize),
    /// A global variable, by its place among the globals.
    Global(u16),
    /// A static variable, by number.
    Static(usize),
    /// What is at an address.
    Memory(Box<Value>),
}

/// What can be written to.
#[derive(Clone, Debug, PartialEq)]
pub enum Target {
    /// Something with an address.
    Place(Place),
    /// A register, or a part of one.
    Register(Part),
}

/// What is done.
#[derive(Clone, Debug, PartialEq)]
pub enum Action {
    /// Writes a value of that type; the leftmost target last.
    Write(Type, Vec<(Type, Target)>, Value),
    /// Writes to memory a value computed from what is there ([`ValueKind::Old`]).
    Rewrite(Type, Place, Value),
    /// Combines what is at a place with a value, as a whole if the place is a global.
    Update(Update, Place, Value),
    /// Copies that many bytes.
    Copy(Place, Value, u32),
    /// Runs a function for what it does.
    Evaluate(Value),
    /// `print` and its like.
    Show(Show, Value),
    /// `printf`: format, values, how they are recorded.
    Printf(Vec<u8>, Vec<Value>, u32),
    /// The first of the arms whose condition holds, or the last part.
    If(Vec<(Value, Vec<Line>)>, Vec<Line>),
    /// What the first condition that holds leads to, and all that follows.
    Switch(Vec<Case>),
    /// Everything that repeats.
    Loop {
        /// Looked at before each round.
        before: Option<Value>,
        /// The round.
        body: Vec<Line>,
        /// Where `continue` leads to.
        next: Vec<Line>,
        /// Looked at after each round.
        after: Option<Value>,
    },
    /// Leaves the innermost loop or `switch`.
    Break,
    /// Goes on with the next round of the innermost loop.
    Continue,
    /// Leaves the function, or ends the run.
    Return(Option<Value>),
}

/// A part of a `switch`.
#[derive(Clone, Debug, PartialEq)]
pub struct Case {
    /// What leads to it, looked at in order.
    pub conditions: Vec<Value>,
    /// Nothing else does.
    pub is_default: bool,
    /// What is done.
    pub body: Vec<Line>,
}

/// An action and where it is written.
#[derive(Clone, Debug, PartialEq)]
pub struct Line {
    /// Where it begins.
    pub at: Position,
    /// What is done.
    pub action: Action,
}

/// A variable of the main part or of a function.
#[derive(Clone, Debug, PartialEq)]
pub struct Slot {
    /// Its name, for messages.
    pub name: String,
    /// Its type.
    pub of: Type,
}

/// A function, or the main part.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Unit {
    /// Its name.
    pub name: String,
    /// Its parameters are the first of its variables.
    pub parameters: usize,
    /// Its variables.
    pub slots: Vec<Slot>,
    /// What it does.
    pub lines: Vec<Line>,
}

/// A whole script.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Meaning {
    /// What runs.
    pub main: Unit,
    /// What it calls.
    pub functions: Vec<Unit>,
    /// Types of its static variables.
    pub statics: Vec<Type>,
    /// Global variables it uses: name and length.
    pub globals: Vec<(String, u32)>,
}

impl Value {
    /// A value that is no literal.
    #[must_use]
    pub fn new(at: Position, of: Type, kind: ValueKind) -> Self {
        Self {
            at,
            of,
            is_literal: false,
            kind,
        }
    }

    /// The value without the extensions around it that keep at least so many bytes: who stores no
    /// more of it needs none of them.
    #[must_use]
    pub fn unextended(&self, stored_bytes: u32) -> &Self {
        let ValueKind::Unary(op, inner) = &self.kind else {
            return self;
        };
        let kept_bytes = match op {
            Op::SignExtend8 | Op::ZeroExtend8 => 1,
            Op::SignExtend16 | Op::ZeroExtend16 => 2,
            Op::SignExtend32 | Op::ZeroExtend32 => 4,
            _ => return self,
        };
        if kept_bytes < stored_bytes {
            return self;
        }
        inner.unextended(stored_bytes)
    }

    /// A number that is written in the script: signed if it can be, as in C.
    #[must_use]
    pub fn number(at: Position, value: u64) -> Self {
        let of = if i64::try_from(value).is_ok() {
            LONG
        } else {
            Type::Untyped
        };
        Self {
            at,
            of,
            is_literal: true,
            kind: ValueKind::Constant(value),
        }
    }

    /// Its value, if it is known before the script runs.
    #[must_use]
    pub fn constant(&self) -> Option<u64> {
        match self.kind {
            ValueKind::Constant(value) => Some(value),
            _ => None,
        }
    }

    /// The same as another type that has the same representation.
    #[must_use]
    pub fn retyped(mut self, of: Type) -> Self {
        self.of = of;
        self.is_literal = false;
        self
    }

    /// The result of an operation with one operand, computed now if possible.
    #[must_use]
    pub fn unary(op: Op, operand: Self, of: Type) -> Self {
        let at = operand.at;
        let kind = match operand.constant().and_then(|value| fold_unary(op, value)) {
            Some(value) => ValueKind::Constant(value),
            None => ValueKind::Unary(op, Box::new(operand)),
        };
        Self::new(at, of, kind)
    }

    /// The result of an operation with two operands, computed now if possible.
    #[must_use]
    pub fn binary(at: Position, op: Op, left: Self, right: Self, of: Type) -> Self {
        let folded = match (left.constant(), right.constant()) {
            (Some(left), Some(right)) => fold_binary(op, left, right),
            _ => None,
        };
        let kind = match folded {
            Some(value) => ValueKind::Constant(value),
            None => ValueKind::Binary(op, Box::new(left), Box::new(right)),
        };
        Self::new(at, of, kind)
    }
}

fn float(value: u64) -> f64 {
    f64::from_bits(value)
}

/// What the interpreter would make of it; `None` is left to the interpreter.
pub(crate) fn fold_unary(op: Op, value: u64) -> Option<u64> {
    Some(match op {
        Op::Neg => value.wrapping_neg(),
        Op::Not => !value,
        Op::IsZero => u64::from(value == 0),
        Op::Bool => u64::from(value != 0),
        Op::SignExtend8 => i64::from(value as i8) as u64,
        Op::SignExtend16 => i64::from(value as i16) as u64,
        Op::SignExtend32 => i64::from(value as i32) as u64,
        Op::ZeroExtend8 => u64::from(value as u8),
        Op::ZeroExtend16 => u64::from(value as u16),
        Op::ZeroExtend32 => u64::from(value as u32),
        Op::FNeg => (-float(value)).to_bits(),
        Op::FFromU => (value as f64).to_bits(),
        Op::FFromS => (value as i64 as f64).to_bits(),
        Op::FToU => float(value) as u64,
        Op::FToS => float(value) as i64 as u64,
        Op::FRound => f64::from(float(value) as f32).to_bits(),
        Op::FNarrow => u64::from((float(value) as f32).to_bits()),
        Op::FWiden => f64::from(f32::from_bits(value as u32)).to_bits(),
        _ => return None,
    })
}

/// The same with two operands; a division by zero is left to the interpreter, too.
pub(crate) fn fold_binary(op: Op, left: u64, right: u64) -> Option<u64> {
    let (signed_left, signed_right) = (left as i64, right as i64);
    let by = u32::try_from(right).ok().filter(|by| *by < 64);
    let truth = |holds: bool| u64::from(holds);
    Some(match op {
        Op::Add => left.wrapping_add(right),
        Op::Sub => left.wrapping_sub(right),
        Op::Mul => left.wrapping_mul(right),
        Op::DivU => left.checked_div(right)?,
        Op::RemU => left.checked_rem(right)?,
        Op::DivS if right != 0 => signed_left.wrapping_div(signed_right) as u64,
        Op::RemS if right != 0 => signed_left.wrapping_rem(signed_right) as u64,
        Op::And => left & right,
        Op::Or => left | right,
        Op::Xor => left ^ right,
        Op::Shl => by.map_or(0, |by| left << by),
        Op::ShrU => by.map_or(0, |by| left >> by),
        Op::ShrS => by.map_or(0, |by| (signed_left >> by) as u64),
        Op::Eq => truth(left == right),
        Op::Ne => truth(left != right),
        Op::LtU => truth(left < right),
        Op::LeU => truth(left <= right),
        Op::GtU => truth(left > right),
        Op::GeU => truth(left >= right),
        Op::LtS => truth(signed_left < signed_right),
        Op::LeS => truth(signed_left <= signed_right),
        Op::GtS => truth(signed_left > signed_right),
        Op::GeS => truth(signed_left >= signed_right),
        Op::FAdd => (float(left) + float(right)).to_bits(),
        Op::FSub => (float(left) - float(right)).to_bits(),
        Op::FMul => (float(left) * float(right)).to_bits(),
        Op::FDiv => (float(left) / float(right)).to_bits(),
        Op::FEq => truth(float(left) == float(right)),
        Op::FNe => truth(float(left) != float(right)),
        Op::FLt => truth(float(left) < float(right)),
        Op::FLe => truth(float(left) <= float(right)),
        Op::FGt => truth(float(left) > float(right)),
        Op::FGe => truth(float(left) >= float(right)),
        _ => return None,
    })
}
