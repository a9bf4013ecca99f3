//! One operation with its operand, from bytes. For the verifier, the assembler and listings; the
//! interpreter reads operands itself.

use super::PRINT_ARGUMENTS;
use super::op::{Op, SHORT_NUMBER, SHORT_REGISTER, Shape};
use super::routine::{ArgumentKind, Pseudo, Routine, Show};
use super::update::Update;
use crate::register::Register;

/// What an operation works on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operand {
    /// Nothing but the stack.
    None,
    /// A number: what is pushed, or an offset or slot.
    Number(u64),
    /// A place in the code.
    Target(u32),
    /// Index of a function.
    Function(u8),
    /// A register.
    Register(Register),
    /// A pseudo-register.
    Pseudo(Pseudo),
    /// A function of the language.
    Routine(Routine),
    /// A way to show a value.
    Show(Show),
    /// A part of a value.
    Bits {
        /// Its lowest bit.
        low: u8,
        /// Its number of bits, 1 to 63.
        count: u8,
    },
    /// How something is changed where it stands.
    Update(Update),
    /// What `printf` needs to know.
    Printf {
        /// Number of values.
        count: u8,
        /// Where the format stands in the constants.
        format: u16,
        /// How the values are recorded, two bits each.
        kinds: u32,
    },
}

/// One operation of a program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Instruction {
    /// The operation.
    pub op: Op,
    /// What it works on.
    pub operand: Operand,
    /// Where the next one begins.
    pub next: usize,
}

fn number(bytes: &[u8]) -> u64 {
    let mut value = [0; 8];
    for (to, from) in value.iter_mut().zip(bytes) {
        *to = *from;
    }
    u64::from_le_bytes(value)
}

fn printf(count: u8, format: u64, kinds: u32) -> Option<Operand> {
    let count_of = usize::from(count);
    let unused = 2 * u32::from(count);
    let fits = count_of <= PRINT_ARGUMENTS
        && kinds.checked_shr(unused).unwrap_or(0) == 0
        && (0..count_of).all(|index| ArgumentKind::of(kinds, index).is_some());
    fits.then_some(Operand::Printf {
        count,
        format: format as u16,
        kinds,
    })
}

/// The operation at `at`; `None` if there is none or its operand is no good.
#[must_use]
pub fn decode(code: &[u8], at: usize) -> Option<Instruction> {
    let byte = *code.get(at)?;
    let after = at.checked_add(1)?;
    if byte >= SHORT_NUMBER {
        return Some(Instruction {
            op: Op::PushU8,
            operand: Operand::Number(u64::from(byte - SHORT_NUMBER)),
            next: after,
        });
    }
    if byte >= SHORT_REGISTER {
        return Some(Instruction {
            op: Op::Register,
            operand: Operand::Register(Register::from_wire(byte - SHORT_REGISTER)?),
            next: after,
        });
    }
    let op = Op::from_byte(byte)?;
    let next = after.checked_add(op.shape().len())?;
    let bytes = code.get(after..next)?;
    let first = bytes.first().copied().unwrap_or_default();
    let operand = match op.shape() {
        Shape::None => Operand::None,
        Shape::U8 | Shape::U16 | Shape::U32 | Shape::U64 => Operand::Number(number(bytes)),
        Shape::I8 => Operand::Number(i64::from(first as i8) as u64),
        Shape::I32 => Operand::Number(i64::from(number(bytes) as i32) as u64),
        Shape::Bits => {
            let count = bytes.get(1).copied().unwrap_or_default();
            let fits = (1..64).contains(&count) && u16::from(first) + u16::from(count) <= 64;
            fits.then_some(Operand::Bits { low: first, count })?
        }
        Shape::Register => Operand::Register(Register::from_wire(first)?),
        Shape::Pseudo => Operand::Pseudo(Pseudo::from_byte(first)?),
        Shape::Routine => Operand::Routine(Routine::from_byte(first)?),
        Shape::Show => Operand::Show(Show::from_byte(first)?),
        Shape::Update => Operand::Update(Update::from_bytes(*bytes.first_chunk()?)?),
        Shape::Target => Operand::Target(number(bytes) as u32),
        Shape::Function => Operand::Function(first),
        Shape::Printf => printf(first, number(bytes.get(1..)?), 0)?,
        Shape::PrintfText => printf(
            first,
            number(bytes.get(1..3)?),
            number(bytes.get(3..)?) as u32,
        )?,
    };
    Some(Instruction { op, operand, next })
}

impl Instruction {
    /// Values it takes and leaves; `arguments` are those of the function if it calls one.
    #[must_use]
    pub fn effect(&self, arguments: u8) -> (u8, u8) {
        let (takes, leaves) = self.op.effect();
        let more = match self.operand {
            Operand::Function(_) => arguments,
            Operand::Routine(routine) => routine.arguments(),
            Operand::Printf { count, .. } => count,
            _ => 0,
        };
        (takes.saturating_add(more), leaves)
    }
}
