//! Comparisons that may not be meant: those that say the same whatever happens, and those of a
//! signed register with what looks like an address.

use super::super::problem::{Position, Problem};
use super::super::tree::Binary as B;
use super::super::types::Type;
use super::super::value::{Value, ValueKind};
use super::Checker;
use crate::types::register::spelling;
use wire_protocol::bytecode::op::Op;
use wire_protocol::bytecode::routine::Pseudo;

/// The least and the greatest value that something can have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Range {
    least: i128,
    greatest: i128,
}

/// Literals that look like addresses and are less than none of the kernel's, as a register is
/// signed.
const MISTAKEN: std::ops::RangeInclusive<u64> = 0x8000_0000..=0x7fff_ffff_ffff_ffff;

impl Checker<'_> {
    /// Warns of a comparison. `of` is the type in which it is made, the operands come as they
    /// were before they became that.
    pub(super) fn look_at_comparison(
        &mut self,
        at: Position,
        sign: B,
        (left, right): (&Value, &Value),
        of: &Type,
    ) {
        let is_order = !matches!(sign, B::Equal | B::NotEqual);
        if is_order && of.is_signed() {
            for (register, literal) in [(left, right), (right, left)] {
                self.look_at_register(at, register, literal);
            }
        }
        if left.constant().is_some() && right.constant().is_some() {
            return;
        }
        let (Some(left_range), Some(right_range)) = (range(left, of), range(right, of)) else {
            return;
        };
        let Some(holds) = always(sign, left_range, right_range) else {
            return;
        };
        // The side that is known is not the one to tell about.
        let (value, range, side) = if left.constant().is_some() {
            (right, right_range, "right")
        } else {
            (left, left_range, "left")
        };
        let verdict = if holds { "always" } else { "never" };
        let what = format!(
            "this comparison {verdict} holds: its {side} side is between {} and {}",
            shown(range.least),
            shown(range.greatest)
        );
        let problem = Problem::new(at, what);
        self.warn(match signed(value) {
            Some(of) => problem.help(format!("if it can be negative, write `({of})` before it")),
            None => problem,
        });
    }

    /// Warns of a comparison of a text's address.
    pub(super) fn look_at_texts(&mut self, at: Position, left: &Value, right: &Value) {
        let text = [left, right]
            .into_iter()
            .find(|value| matches!(value.kind, ValueKind::Text(_)));
        let Some(text) = text else {
            return;
        };
        let function = if text.of == Type::text() {
            "strcmp"
        } else {
            "wcscmp"
        };
        self.warn(
            Problem::new(at, "this compares addresses, not what is written there")
                .help(format!("write `{function}(…, \"…\") == 0` for the texts")),
        );
    }

    fn look_at_register(&mut self, at: Position, register: &Value, literal: &Value) {
        let number = literal.constant().filter(|_| literal.is_literal);
        if let (Some(name), Some(number)) = (register_name(register), number)
            && MISTAKEN.contains(&number)
        {
            self.warn(
                Problem::new(
                    at,
                    format!(
                        "`{name}` is signed here, so that a kernel address is less than {number:x}"
                    ),
                )
                .help(format!(
                    "to compare addresses write `(unsigned long) {name}`"
                )),
            );
        }
    }
}

/// A whole register, with or without something added to it.
fn register_name(value: &Value) -> Option<String> {
    match &value.kind {
        ValueKind::Register(part) if part.bits == 64 => {
            Some(format!("@{}", spelling(part.register)))
        }
        ValueKind::Pseudo(Pseudo::Ip) => Some("$ip".to_owned()),
        ValueKind::Binary(Op::Add | Op::Sub, left, right) if right.constant().is_some() => {
            register_name(left)
        }
        _ => None,
    }
}

/// The signed type that could be meant by a value that cannot be negative.
fn signed(value: &Value) -> Option<&'static str> {
    let range = own_range(value)?;
    match range.greatest {
        _ if range.least < 0 || value.constant().is_some() => None,
        0xff => Some("char"),
        0xffff => Some("short"),
        0xffff_ffff => Some("int"),
        0xffff_ffff_ffff_ffff => Some("long"),
        _ => None,
    }
}

fn shown(number: i128) -> String {
    if number < 0 {
        format!("-{:x}", -number)
    } else {
        format!("{number:x}")
    }
}

/// What a value can be as the type in which it is compared.
fn range(value: &Value, of: &Type) -> Option<Range> {
    let own = own_range(value)?;
    let whole = type_range(of)?;
    if whole.least <= own.least && own.greatest <= whole.greatest {
        return Some(own);
    }
    // A negative number becomes a great one.
    let modulus = whole.greatest - whole.least + 1;
    let moved = Range {
        least: own.least + modulus,
        greatest: own.greatest + modulus,
    };
    let fits = whole.least <= moved.least && moved.greatest <= whole.greatest;
    Some(if fits { moved } else { whole })
}

/// What a value can be as the type that it has.
fn own_range(value: &Value) -> Option<Range> {
    let of = type_range(&value.of)?;
    let up_to = |bits: u32| {
        Some(Range {
            least: 0,
            greatest: (1 << bits) - 1,
        })
    };
    match &value.kind {
        ValueKind::Constant(number) => {
            let number = if value.of.is_signed() {
                i128::from(*number as i64)
            } else {
                i128::from(*number)
            };
            Some(Range {
                least: number,
                greatest: number,
            })
        }
        ValueKind::Register(part) if part.bits < 64 => up_to(part.bits),
        ValueKind::Unary(Op::Load8 | Op::LoadPhysical8, _) => up_to(8),
        ValueKind::Unary(Op::Load16 | Op::LoadPhysical16, _) => up_to(16),
        ValueKind::Unary(Op::Load32 | Op::LoadPhysical32, _) => up_to(32),
        _ if super::is_truth(value) => up_to(1),
        _ => Some(of),
    }
}

fn type_range(of: &Type) -> Option<Range> {
    let (bits, signed) = match of {
        Type::Bool => (1, false),
        Type::Untyped | Type::Pointer(_) => (64, false),
        Type::Integer { bytes, signed } => (8 * u32::from(*bytes), *signed),
        _ => return None,
    };
    let count = 1_i128 << bits;
    Some(if signed {
        Range {
            least: -count / 2,
            greatest: count / 2 - 1,
        }
    } else {
        Range {
            least: 0,
            greatest: count - 1,
        }
    })
}

/// Whether a comparison of anything in these ranges holds, if that is the same for all of it.
fn always(sign: B, left: Range, right: Range) -> Option<bool> {
    let below = left.greatest < right.least;
    let above = left.least > right.greatest;
    let not_above = left.greatest <= right.least;
    let not_below = left.least >= right.greatest;
    let (holds, fails) = match sign {
        B::Equal => (false, below || above),
        B::NotEqual => (below || above, false),
        B::Less => (below, not_below),
        B::LessEqual => (not_above, above),
        B::Greater => (above, not_above),
        B::GreaterEqual => (not_below, below),
        _ => (false, false),
    };
    (holds || fails).then_some(holds)
}
