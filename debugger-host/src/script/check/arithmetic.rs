//! Operators on values: which type they compute in and which operation that is.

use super::super::problem::{Position, Problem};
use super::super::tree::{Binary as B, Unary};
use super::super::types::{INT, LONG, Type};
use super::super::value::{Value, ValueKind};
use super::convert::{not_a, wrapped};
use super::{Checked, Checker};
use wire_protocol::bytecode::op::Op;

impl Checker<'_> {
    /// `-x`, `~x`, `+x`, `!x`.
    pub(super) fn unary(&mut self, at: Position, sign: Unary, operand: Value) -> Checked<Value> {
        self.need_value(&operand)?;
        if sign == Unary::Not {
            let operand = self.condition(operand)?;
            let mut value = Value::unary(Op::IsZero, operand, INT);
            value.at = at;
            return Ok(value);
        }
        if operand.of.is_floating() {
            let of = operand.of.clone();
            return match sign {
                Unary::Negate => Ok(Value::unary(Op::FNeg, operand, of)),
                Unary::Plus => Ok(operand),
                _ => Err(not_a(at, "a whole number", &of)),
            };
        }
        if !operand.of.is_integer() {
            return Err(not_a(at, "a number", &operand.of));
        }
        let is_literal = operand.is_literal;
        let of = operand.of.promoted();
        let operand = self.convert(operand, &of)?;
        let mut value = match sign {
            Unary::Plus => operand,
            Unary::Negate => wrapped(Value::unary(Op::Neg, operand, of)),
            _ => wrapped(Value::unary(Op::Not, operand, of)),
        };
        value.at = at;
        value.is_literal = is_literal;
        Ok(value)
    }

    /// All operators with two operands but `&&` and `||`.
    pub(super) fn binary(
        &mut self,
        at: Position,
        sign: B,
        left: Value,
        right: Value,
    ) -> Checked<Value> {
        self.need_value(&left)?;
        self.need_value(&right)?;
        for operand in [&left, &right] {
            if !operand.of.is_scalar() {
                return Err(not_a(operand.at, "a number", &operand.of));
            }
        }
        let left_points = matches!(left.of, Type::Pointer(_));
        let right_points = matches!(right.of, Type::Pointer(_));
        if left_points || right_points {
            return self.on_pointers(at, sign, left, right);
        }
        if matches!(sign, B::ShiftLeft | B::ShiftRight) {
            return self.shift(at, sign, left, right);
        }
        let both_literal = left.is_literal && right.is_literal;
        let of = left.of.common(&right.of);
        if sign.compares() {
            self.look_at_comparison(at, sign, (&left, &right), &of);
        }
        let left = self.convert(left, &of)?;
        let right = self.convert(right, &of)?;
        if of.is_floating() {
            return fractional(at, sign, left, right, of);
        }
        let signed = of.is_signed();
        if matches!(sign, B::Divide | B::Remainder) && right.constant() == Some(0) {
            return Err(Problem::new(right.at, "division by zero"));
        }
        let op = whole(sign, signed);
        if sign.compares() {
            return Ok(Value::binary(at, op, left, right, INT));
        }
        let stays =
            matches!(sign, B::And | B::Or | B::Xor | B::Remainder) || sign == B::Divide && !signed;
        let value = Value::binary(at, op, left, right, of);
        let mut value = if stays { value } else { wrapped(value) };
        value.is_literal = both_literal && value.constant().is_some();
        Ok(value)
    }

    fn shift(&mut self, at: Position, sign: B, left: Value, right: Value) -> Checked<Value> {
        for operand in [&left, &right] {
            if !operand.of.is_integer() {
                return Err(not_a(operand.at, "a whole number", &operand.of));
            }
        }
        let is_literal = left.is_literal && right.is_literal;
        let of = left.of.promoted();
        let left = self.convert(left, &of)?;
        let op = match (sign, of.is_signed()) {
            (B::ShiftLeft, _) => Op::Shl,
            (_, true) => Op::ShrS,
            (_, false) => Op::ShrU,
        };
        let value = Value::binary(at, op, left, right, of);
        let mut value = if op == Op::Shl { wrapped(value) } else { value };
        value.is_literal = is_literal && value.constant().is_some();
        Ok(value)
    }

    fn on_pointers(&mut self, at: Position, sign: B, left: Value, right: Value) -> Checked<Value> {
        if left.of.is_floating() || right.of.is_floating() {
            return Err(not_a(at, "a whole number", &Type::Double));
        }
        if sign.compares() {
            self.look_at_texts(at, &left, &right);
            self.look_at_comparison(at, sign, (&left, &right), &Type::Untyped);
            let op = whole(sign, false);
            return Ok(Value::binary(at, op, left, right, INT));
        }
        let left_size = self.target_size(at, &left.of)?;
        let right_size = self.target_size(at, &right.of)?;
        match (sign, left_size, right_size) {
            (B::Add, Some(size), None) => {
                let of = left.of.clone();
                Ok(add(at, left, scaled(right, size), of))
            }
            (B::Add, None, Some(size)) => {
                let of = right.of.clone();
                Ok(add(at, scaled(left, size), right, of))
            }
            (B::Subtract, Some(size), None) => {
                let of = left.of.clone();
                Ok(Value::binary(at, Op::Sub, left, scaled(right, size), of))
            }
            (B::Subtract, Some(size), Some(_)) => {
                if left.of.to_string() != right.of.to_string() {
                    return Err(Problem::new(
                        at,
                        format!(
                            "the distance of `{}` and `{}` has no unit",
                            left.of, right.of
                        ),
                    )
                    .help("cast both to `long`"));
                }
                let bytes = Value::binary(at, Op::Sub, left, right, LONG);
                if size == 1 {
                    return Ok(bytes);
                }
                let unit = Value::new(at, LONG, ValueKind::Constant(u64::from(size)));
                Ok(Value::binary(at, Op::DivS, bytes, unit, LONG))
            }
            // Masks and the like: addresses are numbers, as everywhere in scripts.
            (B::Add | B::Subtract | B::ShiftLeft | B::ShiftRight, ..) => Err(Problem::new(
                at,
                "two addresses cannot be added, nor one shifted",
            )
            .help("cast them to `long`")),
            _ => {
                let left = left.retyped(Type::Untyped);
                let right = right.retyped(Type::Untyped);
                self.binary(at, sign, left, right)
            }
        }
    }

    /// Bytes of what a pointer points at; `None` if it is none.
    pub(super) fn target_size(&self, at: Position, of: &Type) -> Checked<Option<u32>> {
        match of {
            Type::Pointer(target) => match self.complete(target) {
                Type::Void => Ok(Some(1)),
                other => match other.size() {
                    Some(size) => Ok(Some(size)),
                    None => Err(Problem::new(
                        at,
                        format!("the members of `{other}` are not known"),
                    )),
                },
            },
            _ => Ok(None),
        }
    }

    /// `&&` and `||`.
    pub(super) fn logical(
        &mut self,
        at: Position,
        both: bool,
        left: Value,
        right: Value,
    ) -> Checked<Value> {
        let left = self.condition(left)?;
        let right = self.condition(right)?;
        if let Some(known) = left.constant() {
            if (known != 0) == both {
                let mut value = self.truth(right)?;
                value.at = at;
                return Ok(value.retyped(INT));
            }
            let value = ValueKind::Constant(u64::from(!both));
            return Ok(Value::new(at, INT, value));
        }
        let kind = ValueKind::Logical(both, Box::new(left), Box::new(right));
        Ok(Value::new(at, INT, kind))
    }
}

/// Adds, and leaves out a zero.
pub(super) fn add(at: Position, left: Value, right: Value, of: Type) -> Value {
    match (left.constant(), right.constant()) {
        (_, Some(0)) => left.retyped(of),
        (Some(0), _) => right.retyped(of),
        _ => Value::binary(at, Op::Add, left, right, of),
    }
}

/// A number of elements as a number of bytes.
pub(super) fn scaled(value: Value, size: u32) -> Value {
    if size == 1 {
        return value;
    }
    let at = value.at;
    let unit = Value::new(at, Type::Untyped, ValueKind::Constant(u64::from(size)));
    Value::binary(at, Op::Mul, value, unit, Type::Untyped)
}

/// The operation of an operator on whole numbers.
pub(crate) fn whole(sign: B, signed: bool) -> Op {
    match (sign, signed) {
        (B::Or | B::LogicalOr, _) => Op::Or,
        (B::Xor, _) => Op::Xor,
        (B::And | B::LogicalAnd, _) => Op::And,
        (B::Equal, _) => Op::Eq,
        (B::NotEqual, _) => Op::Ne,
        (B::Less, false) => Op::LtU,
        (B::Less, true) => Op::LtS,
        (B::LessEqual, false) => Op::LeU,
        (B::LessEqual, true) => Op::LeS,
        (B::Greater, false) => Op::GtU,
        (B::Greater, true) => Op::GtS,
        (B::GreaterEqual, false) => Op::GeU,
        (B::GreaterEqual, true) => Op::GeS,
        (B::ShiftLeft, _) => Op::Shl,
        (B::ShiftRight, false) => Op::ShrU,
        (B::ShiftRight, true) => Op::ShrS,
        (B::Add, _) => Op::Add,
        (B::Subtract, _) => Op::Sub,
        (B::Multiply, _) => Op::Mul,
        (B::Divide, false) => Op::DivU,
        (B::Divide, true) => Op::DivS,
        (B::Remainder, false) => Op::RemU,
        (B::Remainder, true) => Op::RemS,
    }
}

fn fractional(at: Position, sign: B, left: Value, right: Value, of: Type) -> Checked<Value> {
    let op = match sign {
        B::Add => Op::FAdd,
        B::Subtract => Op::FSub,
        B::Multiply => Op::FMul,
        B::Divide => Op::FDiv,
        B::Equal => Op::FEq,
        B::NotEqual => Op::FNe,
        B::Less => Op::FLt,
        B::LessEqual => Op::FLe,
        B::Greater => Op::FGt,
        B::GreaterEqual => Op::FGe,
        _ => {
            return Err(Problem::new(at, format!("`{of}` has no such operator"))
                .help("cast it to a whole number"));
        }
    };
    if sign.compares() {
        return Ok(Value::binary(at, op, left, right, INT));
    }
    let value = Value::binary(at, op, left, right, of.clone());
    Ok(if of == Type::Float {
        Value::unary(Op::FRound, value, of)
    } else {
        value
    })
}
