//! `x += 1` and its like as one operation on what is there: of globals nothing gets lost.

use super::super::types::Type;
use super::super::value::{Base, Place, Value, ValueKind};
use wire_protocol::bytecode::op::Op;
use wire_protocol::bytecode::update::{Update, Width};

/// What a compound assignment comes to.
pub(super) enum Found {
    /// It leaves everything as it is.
    Nothing,
    /// It combines what is there with this value.
    Update(Update, Box<Value>),
    /// It does something else with what is there: fractions, `bool`, a sign that changes.
    Other(Box<Value>),
}

/// What it comes to that `value`, computed from `old`, is put in the place of `old`.
pub(super) fn of(value: Value, old: &Value) -> Found {
    let Some(width) = width(&old.of) else {
        return Found::Other(Box::new(value));
    };
    // Storing cuts what an extension leaves.
    let inner = value.unextended(width.bytes.into());
    if inner.kind == old.kind {
        return Found::Nothing;
    }
    let ValueKind::Binary(op, left, right) = &inner.kind else {
        return Found::Other(Box::new(value));
    };
    let is_cut_later = matches!(
        op,
        Op::Add | Op::Sub | Op::Mul | Op::And | Op::Or | Op::Xor | Op::Shl
    );
    let left = if is_cut_later {
        left.unextended(width.bytes.into())
    } else {
        left
    };
    if left.kind != old.kind || !Update::OPERATIONS.contains(op) {
        return Found::Other(Box::new(value));
    }
    Found::Update(Update { op: *op, width }, right.clone())
}

/// It is one of the globals, or a part of one.
pub(super) fn is_global(place: &Place) -> bool {
    match &place.base {
        Base::Global(_) => true,
        Base::Variable(_) | Base::Static(_) => false,
        Base::Memory(address) => is_in_globals(address),
    }
}

fn is_in_globals(address: &Value) -> bool {
    match &address.kind {
        ValueKind::Address(place) => is_global(place),
        ValueKind::Binary(Op::Add | Op::Sub, left, right) => {
            is_in_globals(left) || is_in_globals(right)
        }
        _ => false,
    }
}

/// The whole numbers in memory that have this type.
fn width(of: &Type) -> Option<Width> {
    let is_number = matches!(of, Type::Untyped | Type::Integer { .. } | Type::Pointer(_));
    let bytes = u8::try_from(of.size()?).ok().filter(|_| is_number)?;
    Some(Width {
        bytes,
        is_signed: of.is_signed(),
    })
}
