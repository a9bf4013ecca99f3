//! Jumps that compare, made of a comparison and a jump.

use crate::bytecode::word::{Code, Word};

/// The word that goes on at `label` if what `compare` gives is not zero, or if it is.
pub(super) fn fused(compare: Word, label: u32, unless_zero: bool) -> Option<Word> {
    let (a, b) = (compare.b(), compare.c());
    let with_registers = |code: Code, a: u8, b: u8| {
        let word = Word::of(code, a, b, 0);
        Some(word.with(label.cast_signed()))
    };
    let with_number = |code: Code, number: u64| {
        Word::is_short(number).then(|| Word::comparing(code, a, label, number.cast_signed()))
    };
    let number = compare.n();
    // `x <= n` is `x < n + 1`, if there is such a number.
    let next = number.wrapping_add(1);
    let has_next_unsigned = number != u64::MAX;
    match (compare.code()?, unless_zero) {
        (Code::Eq, true) | (Code::Ne, false) => with_registers(Code::JumpEq, a, b),
        (Code::Ne, true) | (Code::Eq, false) => with_registers(Code::JumpNe, a, b),
        (Code::LtU, true) => with_registers(Code::JumpLtU, a, b),
        (Code::LtU, false) => with_registers(Code::JumpLeU, b, a),
        (Code::LeU, true) => with_registers(Code::JumpLeU, a, b),
        (Code::LeU, false) => with_registers(Code::JumpLtU, b, a),
        (Code::LtS, true) => with_registers(Code::JumpLtS, a, b),
        (Code::LtS, false) => with_registers(Code::JumpLeS, b, a),
        (Code::LeS, true) => with_registers(Code::JumpLeS, a, b),
        (Code::LeS, false) => with_registers(Code::JumpLtS, b, a),
        (Code::EqN, true) | (Code::NeN, false) => with_number(Code::JumpEqN, number),
        (Code::NeN, true) | (Code::EqN, false) => with_number(Code::JumpNeN, number),
        (Code::LtUN, true) | (Code::GeUN, false) => with_number(Code::JumpLtUN, number),
        (Code::GeUN, true) | (Code::LtUN, false) => with_number(Code::JumpGeUN, number),
        (Code::LtSN, true) | (Code::GeSN, false) => with_number(Code::JumpLtSN, number),
        (Code::GeSN, true) | (Code::LtSN, false) => with_number(Code::JumpGeSN, number),
        (Code::LeUN, true) | (Code::GtUN, false) if has_next_unsigned => {
            with_number(Code::JumpLtUN, next)
        }
        (Code::GtUN, true) | (Code::LeUN, false) if has_next_unsigned => {
            with_number(Code::JumpGeUN, next)
        }
        (Code::LeSN, true) | (Code::GtSN, false) => with_number(Code::JumpLtSN, next),
        (Code::GtSN, true) | (Code::LeSN, false) => with_number(Code::JumpGeSN, next),
        _ => None,
    }
}

/// An operation and the jump after it in one word. Registers from `variables` on hold what one
/// operation takes: what the jump took is nobody else's.
pub(super) fn joined(before: Word, jump: Word, variables: u8) -> Option<Word> {
    let (first, second) = (before.code()?, jump.code()?);
    match first {
        Code::AndN if before.a() == jump.a() && before.a() >= variables => {
            masked(before, jump, second)
        }
        _ if is_step(before) => stepped(before, jump, second),
        Code::Add if second == Code::Jump => {
            let word = Word::of(Code::AddJump, before.a(), before.b(), before.c());
            Some(word.with(jump.n() as i32))
        }
        _ => None,
    }
}

/// A comparison of some bits.
fn masked(before: Word, jump: Word, second: Code) -> Option<Word> {
    let (place, number) = match second {
        Code::JumpZero | Code::JumpNotZero => (jump.place(), 0),
        _ => (jump.short_place(), jump.short_number()),
    };
    let code = match second {
        Code::JumpZero | Code::JumpEqN => Code::JumpAndEqN,
        Code::JumpNotZero | Code::JumpNeN => Code::JumpAndNeN,
        Code::JumpLtUN => Code::JumpAndLtUN,
        Code::JumpGeUN => Code::JumpAndGeUN,
        _ => return None,
    };
    let mask = u16::try_from(before.n()).ok()?;
    let number = u16::try_from(number).ok()?;
    let bits = u32::from(mask) | u32::from(number) << 16;
    let place = u32::try_from(place).ok()?;
    Some(Word::joined(code, before.b(), place, bits.cast_signed()))
}

/// It adds a number to a register.
pub(super) fn is_step(word: Word) -> bool {
    matches!(word.code(), Some(Code::AddN | Code::AddN32)) && word.a() == word.b()
}

/// A register that a number is added to.
fn stepped(before: Word, jump: Word, second: Code) -> Option<Word> {
    let (first, a) = (before.code()?, before.a());
    if (first, second) == (Code::AddN, Code::Jump) {
        let place = u32::try_from(jump.place()).ok()?;
        return Some(Word::joined(Code::AddNJump, a, place, before.n() as i32));
    }
    let step = i8::try_from(before.n().cast_signed()).ok()?;
    let code = match (first, second) {
        (Code::AddN, Code::JumpLtU) => Code::StepLtU,
        (Code::AddN, Code::JumpLtS) => Code::StepLtS,
        (Code::AddN32, Code::JumpLtS) => Code::Step32LtS,
        (Code::AddN, Code::JumpLtUN) => Code::StepLtUN,
        (Code::AddN, Code::JumpLtSN) => Code::StepLtSN,
        (Code::AddN32, Code::JumpLtSN) => Code::Step32LtSN,
        _ => return None,
    };
    if a != jump.a() {
        return None;
    }
    if matches!(second, Code::JumpLtU | Code::JumpLtS) {
        // The other side may be the variable itself, after the step: it is read after it, too.
        let word = Word::of(code, a, jump.b(), step.cast_unsigned());
        return Some(word.with(jump.n() as i32));
    }
    let place = u32::try_from(jump.short_place()).ok()?;
    let low = u32::from(step.cast_unsigned());
    let number = (jump.short_number() as u32) << 8;
    Some(Word::joined(code, a, place, (low | number).cast_signed()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_that_is_the_largest_has_none_after_it() {
        let most = Word::of(Code::LeUN, 0, 1, 0).with(-1);
        assert_eq!(fused(most, 7, true), None);
        let below = Word::of(Code::LeUN, 0, 1, 0).with(-2);
        let jump = fused(below, 7, true).unwrap();
        assert_eq!((jump.short_number(), jump.short_place()), (u64::MAX, 7));
        let far = Word::of(Code::LeSN, 0, 1, 0).with(0x7f_ffff);
        assert_eq!(fused(far, 7, true), None);
    }
}
