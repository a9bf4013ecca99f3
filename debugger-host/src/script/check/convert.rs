//! Conversions between types, each an operation of its own.

use super::super::problem::{Position, Problem};
use super::super::types::{INT, Type};
use super::super::value::{Value, ValueKind};
use super::{Checked, Checker};
use wire_protocol::bytecode::op::Op;

/// The operation that makes a value of 64 bits one of that integer type; `None` for 8 bytes.
pub(in crate::script) fn extension(of: &Type) -> Option<Op> {
    Some(match of {
        Type::Bool => Op::ZeroExtend8,
        Type::Integer { bytes, signed } => match (bytes, signed) {
            (1, true) => Op::SignExtend8,
            (1, false) => Op::ZeroExtend8,
            (2, true) => Op::SignExtend16,
            (2, false) => Op::ZeroExtend16,
            (4, true) => Op::SignExtend32,
            (4, false) => Op::ZeroExtend32,
            _ => return None,
        },
        _ => return None,
    })
}

/// The value cut to its own type, after arithmetic that may have left it.
pub(super) fn wrapped(value: Value) -> Value {
    match extension(&value.of) {
        Some(op) => {
            let of = value.of.clone();
            Value::unary(op, value, of)
        }
        None => value,
    }
}

/// All values of integer type `from` are values of `to` with the same 64 bits.
fn holds(to: &Type, from: &Type) -> bool {
    match (to, from) {
        (Type::Integer { bytes: 8, .. } | Type::Untyped, _) => true,
        (_, Type::Bool) => true,
        (
            Type::Integer { bytes, signed },
            Type::Integer {
                bytes: inner,
                signed: inner_signed,
            },
        ) => {
            if signed == inner_signed {
                bytes >= inner
            } else {
                *signed && bytes > inner
            }
        }
        _ => false,
    }
}

/// An integer or pointer as a number with a fraction.
fn floated(value: Value, to: &Type) -> Value {
    let op = if value.of.is_signed() {
        Op::FFromS
    } else {
        Op::FFromU
    };
    let value = Value::unary(op, value, Type::Double);
    rounded(value, to)
}

fn rounded(value: Value, to: &Type) -> Value {
    if *to == Type::Float {
        Value::unary(Op::FRound, value, Type::Float)
    } else {
        value.retyped(to.clone())
    }
}

impl Checker<'_> {
    /// A value as another type.
    pub(super) fn convert(&mut self, value: Value, to: &Type) -> Checked<Value> {
        self.need_value(&value)?;
        if value.of == *to {
            return Ok(value);
        }
        if !value.of.is_scalar() || !to.is_scalar() {
            return Err(Problem::new(
                value.at,
                format!("`{}` cannot become `{to}`", value.of),
            ));
        }
        if matches!((&value.of, to), (Type::Pointer(_), to) if to.is_floating())
            || matches!((&value.of, to), (from, Type::Pointer(_)) if from.is_floating())
        {
            return Err(Problem::new(
                value.at,
                format!("`{}` cannot become `{to}`: one is an address", value.of),
            ));
        }
        Ok(match (value.of.is_floating(), to) {
            (_, Type::Bool) => self.truth(value)?.retyped(Type::Bool),
            (true, to) if to.is_floating() => {
                if value.of == Type::Double {
                    rounded(value, to)
                } else {
                    value.retyped(to.clone())
                }
            }
            (false, to) if to.is_floating() => floated(value, to),
            (true, to) => {
                let unsigned = matches!(
                    to,
                    Type::Untyped
                        | Type::Integer {
                            bytes: 8,
                            signed: false
                        }
                );
                let op = if unsigned { Op::FToU } else { Op::FToS };
                wrapped(Value::unary(op, value, to.clone()))
            }
            (false, to) if holds(to, &value.of) || !to.is_integer() => value.retyped(to.clone()),
            (false, to) => wrapped(value.retyped(to.clone())),
        })
    }

    /// The same for a value that is put somewhere: numbers that do not fit are pointed out.
    pub(super) fn convert_to_store(&mut self, value: Value, to: &Type) -> Checked<Value> {
        let (at, before, is_literal) = (value.at, value.constant(), value.is_literal);
        let (was_fraction, from) = (value.of.is_floating(), value.of.clone());
        let stored = self.convert(value, to)?;
        if let (Some(before), Some(after)) = (before, stored.constant())
            && is_literal
            && *to != Type::Bool
            && !to.is_floating()
            && before != after
            && !in_width(before, to)
        {
            self.warn(Problem::new(
                at,
                format!("{before:x} does not fit in `{to}`; it becomes {after:x}"),
            ));
        }
        if was_fraction && !to.is_floating() {
            self.warn(
                Problem::new(at, format!("the fraction is lost, as `{to}` has none"))
                    .help("declare the variable `double`, or write a cast"),
            );
        }
        if let (Type::Pointer(from), Type::Pointer(target)) = (&from, to) {
            let free = |of: &Type| matches!(of, Type::Void | Type::Untyped);
            let same_struct = from.to_string() == target.to_string();
            if from != target && !same_struct && !free(from) && !free(target) {
                self.warn(
                    Problem::new(
                        at,
                        format!("a pointer to `{from}` becomes one to `{target}`"),
                    )
                    .help("write a cast if that is meant"),
                );
            }
        }
        Ok(stored)
    }

    /// 1 if the value is not zero, else 0.
    pub(super) fn truth(&mut self, value: Value) -> Checked<Value> {
        let value = self.condition(value)?;
        if is_truth(&value) {
            return Ok(value);
        }
        Ok(Value::unary(Op::Bool, value, INT))
    }

    /// A value of which only matters whether it is zero.
    pub(super) fn condition(&mut self, value: Value) -> Checked<Value> {
        self.need_value(&value)?;
        if value.of.is_floating() {
            let at = value.at;
            let zero = Value::new(at, Type::Double, ValueKind::Constant(0));
            return Ok(Value::binary(at, Op::FNe, value, zero, INT));
        }
        Ok(value)
    }
}

/// Some number of that type has these lowest bits, and all others are copies of its sign.
fn in_width(number: u64, of: &Type) -> bool {
    let bits = 8 * of.size().unwrap_or(8);
    if bits >= 64 {
        return true;
    }
    let signed = number as i64;
    let limit = 1_i64 << (bits - 1);
    (-limit..limit).contains(&signed) || number >> bits == 0
}

/// The value is 0 or 1 whatever happens.
pub(in crate::script) fn is_truth(value: &Value) -> bool {
    match &value.kind {
        ValueKind::Constant(value) => *value < 2,
        ValueKind::Logical(..) => true,
        ValueKind::Register(part) => part.bits == 1,
        ValueKind::Unary(op, _) => matches!(op, Op::IsZero | Op::Bool),
        ValueKind::Binary(op, ..) => {
            (Op::Eq as u8..=Op::GeS as u8).contains(&(*op as u8))
                || (Op::FEq as u8..=Op::FGe as u8).contains(&(*op as u8))
        }
        _ => false,
    }
}

/// What messages call a value that should have been something else.
pub(super) fn not_a(at: Position, what: &str, of: &Type) -> Problem {
    Problem::new(at, format!("{what} is needed here, not `{of}`"))
}
