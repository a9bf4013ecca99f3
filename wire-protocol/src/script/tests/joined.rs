//! Operations that share a word give what they give one after the other.

use super::{Bench, program, run_on, value};
use crate::bytecode::assemble::AssembleError;
use crate::bytecode::op::Op;
use crate::bytecode::update::{Update, Width};
use crate::bytecode::word::{Code, Word};
use crate::bytecode::{Assembler, Count, Decoded, Verified};
use crate::script::Machine as _;
use core::sync::atomic::Ordering;
use std::vec::Vec;

type Written = Result<(), AssembleError>;
/// Puts something on the stack.
type Operand = fn(&mut Assembler<'_>) -> Written;

const VALUES: [u64; 6] = [0, 1, 0x1234_5678_9abc, 1 << 31, 1 << 63, u64::MAX];
const NUMBERS: [u64; 5] = [0, 5, 63, 0x7fff, u64::MAX];

/// Fewer where every step is slow.
fn few<T>(values: &[T]) -> &[T] {
    let count = if cfg!(miri) { 1 } else { values.len() };
    values.get(..count).unwrap_or_default()
}

/// The codes of its words.
fn codes(bytes: &[u8]) -> Vec<Code> {
    let verified = Verified::new(bytes).unwrap();
    let mut memory = std::vec![0; verified.decoded_bytes().0];
    let decoded = Decoded::new(&verified, &mut memory).unwrap();
    let words = decoded.words().iter();
    words
        .filter_map(|word| Word(u64::from_le_bytes(*word)).code())
        .collect()
}

/// The value of a program whose words have `code` among them.
fn value_with(code: Option<Code>, bytes: &[u8]) -> u64 {
    let codes = codes(bytes);
    if let Some(code) = code {
        assert!(codes.contains(&code), "{code:?} in {codes:?}");
    }
    let outcome = run_on(&mut Bench::default(), bytes, 100_000);
    assert_eq!(outcome.first_fault, None);
    outcome.value().unwrap()
}

/// A variable in a register that holds a value.
fn variable(a: &mut Assembler<'_>, slot: usize, value: u64) -> Written {
    a.number(value)?;
    a.variable(Op::StoreLocal, slot)
}

fn binary(op: Op, left: u64, right: u64) -> u64 {
    value(|a| {
        a.number(left)?;
        a.number(right)?;
        a.op(op)
    })
}

#[test]
fn two_operations_in_a_word_are_both() {
    let firsts = [Op::Mul, Op::And, Op::Shl, Op::ShrU];
    let seconds = [Op::Add, Op::Or, Op::Xor, Op::Sub];
    for first in firsts {
        for second in seconds {
            for (&b, c) in few(&VALUES).iter().zip(VALUES.into_iter().rev()) {
                for &n in few(&NUMBERS) {
                    for first_is_left in [true, false] {
                        let bytes = program(|a| {
                            a.set_local_bytes(24)?;
                            a.set_local_registers(3)?;
                            variable(a, 0, b)?;
                            variable(a, 1, c)?;
                            let other = |a: &mut Assembler<'_>| a.variable(Op::LoadLocal, 1);
                            if !first_is_left {
                                other(a)?;
                            }
                            a.variable(Op::LoadLocal, 0)?;
                            a.number(n)?;
                            a.op(first)?;
                            if first_is_left {
                                other(a)?;
                            }
                            a.op(second)?;
                            a.variable(Op::StoreLocal, 2)?;
                            a.variable(Op::LoadLocal, 2)?;
                            a.op(Op::Return)
                        });
                        let result = binary(first, b, n);
                        let (left, right) = if first_is_left {
                            (result, c)
                        } else {
                            (c, result)
                        };
                        assert_eq!(value_with(None, &bytes), binary(second, left, right));
                        let is_joined = codes(&bytes).iter().any(|&code| {
                            (Code::MulNAdd as u8..=Code::ShrUNXor as u8).contains(&(code as u8))
                        });
                        let is_shift = matches!(first, Op::Shl | Op::ShrU);
                        let has_word = second != Op::Sub && !(is_shift && n > 63);
                        assert_eq!(is_joined, has_word, "{first:?} {second:?} {n:#x}");
                    }
                }
            }
        }
    }
}

#[test]
fn what_is_loaded_is_added() {
    let bytes = program(|a| {
        a.set_local_bytes(16)?;
        a.set_local_registers(1)?;
        variable(a, 0, 0x1_0000_0001)?;
        a.variable(Op::AddressLocal, 8)?;
        a.number(u64::MAX)?;
        a.op(Op::Store64)?;
        a.variable(Op::LoadLocal, 0)?;
        a.variable(Op::AddressLocal, 8)?;
        a.op(Op::Load64)?;
        a.op(Op::Add)?;
        a.op(Op::Return)
    });
    assert_eq!(value_with(Some(Code::LoadAdd64), &bytes), 0x1_0000_0000);
    let bytes = program(|a| {
        a.set_local_registers(1)?;
        a.set_local_bytes(8)?;
        variable(a, 0, 7)?;
        a.number(0x8888)?;
        a.op(Op::Load64)?;
        a.variable(Op::LoadLocal, 0)?;
        a.op(Op::Add)?;
        a.op(Op::Return)
    });
    let outcome = run_on(&mut Bench::default(), &bytes, 100);
    assert_eq!((outcome.value(), outcome.faults), (Some(7), 1));
}

/// How a loop is ended.
#[derive(Clone, Copy)]
struct Limit {
    below: Op,
    /// It is a variable.
    is_variable: bool,
    /// The one that counts is an `int`.
    is_int: bool,
    code: Option<Code>,
}

/// As the compiler writes a loop: its condition is at its end, and is where it begins. 1000 times the turns, at
/// most so many, and the last count.
fn turns(from: u64, step: u64, limit: u64, how: Limit, label_between: bool) -> u64 {
    let bytes = program(|a| {
        a.set_local_bytes(24)?;
        a.set_local_registers(3)?;
        variable(a, 0, from)?;
        variable(a, 1, limit)?;
        variable(a, 2, 0)?;
        let (body, condition, end) = (a.label()?, a.label()?, a.label()?);
        if label_between {
            a.jump(Op::Jump, condition)?;
        }
        a.place(body)?;
        a.variable(Op::LoadLocal, 2)?;
        a.number(1)?;
        a.op(Op::Add)?;
        a.op(Op::Dup)?;
        a.variable(Op::StoreLocal, 2)?;
        a.number(50)?;
        a.op(Op::Eq)?;
        a.jump(Op::JumpUnlessZero, end)?;
        a.variable(Op::LoadLocal, 0)?;
        a.number(step)?;
        a.op(Op::Add)?;
        if how.is_int {
            a.op(Op::SignExtend32)?;
        }
        a.variable(Op::StoreLocal, 0)?;
        if label_between {
            a.place(condition)?;
        }
        a.variable(Op::LoadLocal, 0)?;
        if how.is_variable {
            a.variable(Op::LoadLocal, 1)?;
        } else {
            a.number(limit)?;
        }
        a.op(how.below)?;
        a.jump(Op::JumpUnlessZero, body)?;
        a.place(end)?;
        a.variable(Op::LoadLocal, 2)?;
        a.number(1000)?;
        a.op(Op::Mul)?;
        a.variable(Op::LoadLocal, 0)?;
        a.op(Op::Add)?;
        a.op(Op::Return)
    });
    value_with(how.code, &bytes)
}

/// The same in Rust.
fn expected(from: u64, step: u64, limit: u64, how: Limit, label_between: bool) -> u64 {
    let is_below = |count: u64| match how.below {
        Op::LtU => count < limit,
        _ => count.cast_signed() < limit.cast_signed(),
    };
    let (mut count, mut turns) = (from, 0_u64);
    let mut goes_on = !label_between || is_below(count);
    while goes_on {
        turns += 1;
        if turns == 50 {
            break;
        }
        count = count.wrapping_add(step);
        if how.is_int {
            count = i64::from(count as i32).cast_unsigned();
        }
        goes_on = is_below(count);
    }
    (turns * 1000).wrapping_add(count)
}

#[test]
fn a_step_and_the_end_of_its_loop_are_both() {
    let how = |below, is_variable, is_int, code| Limit {
        below,
        is_variable,
        is_int,
        code: Some(code),
    };
    let ways = [
        how(Op::LtU, false, false, Code::StepLtUN),
        how(Op::LtS, false, false, Code::StepLtSN),
        how(Op::LtS, false, true, Code::Step32LtSN),
        how(Op::LtU, true, false, Code::StepLtU),
        how(Op::LtS, true, false, Code::StepLtS),
        how(Op::LtS, true, true, Code::Step32LtS),
    ];
    let starts = [0, 1 << 31, i32::MAX as u64 - 1, i64::MAX as u64, u64::MAX];
    for way in ways {
        for &from in few(&starts) {
            for &limit in few(&[3, 10, 0x7f_ffff, 0u64.wrapping_sub(2), 1 << 40]) {
                for &step in few(&[1, 7, 127, 128, u64::MAX, 0u64.wrapping_sub(128)]) {
                    for label_between in [false, true] {
                        let is_short = way.is_variable || limit != 1 << 40;
                        let is_step = i8::try_from(step.cast_signed()).is_ok();
                        let code = way.code.filter(|_| is_short && is_step);
                        let way = Limit { code, ..way };
                        assert_eq!(
                            turns(from, step, limit, way, label_between),
                            expected(from, step, limit, way, label_between),
                            "from {from:#x} by {step:#x} to {limit:#x} {:?}",
                            way.code
                        );
                    }
                }
            }
        }
    }
}

/// 20 if the jump on what `condition` leaves of a variable that is `of` leads on, else 10; with the word if it is there.
fn jumped(
    of: u64,
    condition: impl Fn(&mut Assembler<'_>) -> Written,
    jump: Op,
    code: Option<Code>,
) -> u64 {
    let bytes = program(|a| {
        a.set_local_bytes(8)?;
        a.set_local_registers(1)?;
        variable(a, 0, of)?;
        let there = a.label()?;
        a.variable(Op::LoadLocal, 0)?;
        condition(a)?;
        a.jump(jump, there)?;
        a.number(10)?;
        a.op(Op::Return)?;
        a.place(there)?;
        a.number(20)?;
        a.op(Op::Return)
    });
    value_with(code, &bytes)
}

#[test]
fn bits_are_compared_as_they_are_alone() {
    let relations = [
        (Op::Eq, Code::JumpAndEqN, Code::JumpAndNeN),
        (Op::Ne, Code::JumpAndNeN, Code::JumpAndEqN),
        (Op::LtU, Code::JumpAndLtUN, Code::JumpAndGeUN),
        (Op::GeU, Code::JumpAndGeUN, Code::JumpAndLtUN),
    ];
    for (relation, code, other) in relations {
        for (jump, code) in [(Op::JumpUnlessZero, code), (Op::JumpIfZero, other)] {
            for &mask in few(&[1, 0x3f, 0xffff, 0x1_0000, u64::MAX]) {
                for &number in few(&[0, 1, 4, 0xffff, 0x1_0000]) {
                    for &of in few(&VALUES) {
                        let condition = |a: &mut Assembler<'_>| {
                            a.number(mask)?;
                            a.op(Op::And)?;
                            a.number(number)?;
                            a.op(relation)
                        };
                        let holds = binary(relation, of & mask, number) != 0;
                        let jumps = holds == (jump == Op::JumpUnlessZero);
                        let fits = mask <= 0xffff && number <= 0xffff;
                        let value = jumped(of, condition, jump, Some(code).filter(|_| fits));
                        assert_eq!(value, if jumps { 20 } else { 10 });
                    }
                }
            }
        }
    }
    // A bit alone.
    for (jump, code) in [
        (Op::JumpUnlessZero, Code::JumpAndNeN),
        (Op::JumpIfZero, Code::JumpAndEqN),
    ] {
        for of in [2, 3] {
            let bit = |a: &mut Assembler<'_>| {
                a.number(1)?;
                a.op(Op::And)
            };
            let jumps = (of & 1 != 0) == (jump == Op::JumpUnlessZero);
            let value = jumped(of, bit, jump, Some(code));
            assert_eq!(value, if jumps { 20 } else { 10 });
        }
    }
}

#[test]
fn bits_that_a_variable_keeps_are_kept() {
    let bytes = program(|a| {
        a.set_local_bytes(16)?;
        a.set_local_registers(2)?;
        variable(a, 0, 0x1234)?;
        let there = a.label()?;
        a.variable(Op::LoadLocal, 0)?;
        a.number(0xff)?;
        a.op(Op::And)?;
        a.op(Op::Dup)?;
        a.variable(Op::StoreLocal, 1)?;
        a.number(0x34)?;
        a.op(Op::Eq)?;
        a.jump(Op::JumpUnlessZero, there)?;
        a.op(Op::Exit)?;
        a.place(there)?;
        a.variable(Op::LoadLocal, 1)?;
        a.op(Op::Return)
    });
    assert_eq!(value_with(None, &bytes), 0x34);
}

#[test]
fn a_sum_and_a_jump_are_both() {
    let sums: [(Operand, Code); 2] = [
        (|a| a.variable(Op::LoadLocal, 1), Code::AddJump),
        (|a| a.number(0x1234_5678), Code::AddNJump),
    ];
    for (addend, code) in sums {
        let bytes = program(|a| {
            a.set_local_bytes(16)?;
            a.set_local_registers(2)?;
            variable(a, 0, 1)?;
            variable(a, 1, 0x1234_5678)?;
            let end = a.label()?;
            a.variable(Op::LoadLocal, 0)?;
            addend(a)?;
            a.op(Op::Add)?;
            a.variable(Op::StoreLocal, 0)?;
            a.jump(Op::Jump, end)?;
            a.place(end)?;
            a.variable(Op::LoadLocal, 0)?;
            a.op(Op::Return)
        });
        assert_eq!(value_with(Some(code), &bytes), 0x1234_5679);
    }
}

#[test]
fn results_of_calls_go_where_they_are_wanted() {
    // f(a, b) { return a - b; }, and x = f(f(9, 2), x) with x being 3.
    let bytes = program(|a| {
        a.set_local_bytes(16)?;
        a.set_local_registers(2)?;
        let function = a.declare(2)?;
        a.set_frame_bytes(function, 16)?;
        a.set_frame_registers(function, 2)?;
        variable(a, 0, 3)?;
        a.number(9)?;
        a.number(2)?;
        a.call(function)?;
        a.variable(Op::LoadLocal, 0)?;
        a.call(function)?;
        a.variable(Op::StoreLocal, 0)?;
        a.variable(Op::LoadLocal, 0)?;
        a.op(Op::Return)?;
        a.begin(function)?;
        a.variable(Op::LoadFrame, 0)?;
        a.variable(Op::LoadFrame, 1)?;
        a.op(Op::Sub)?;
        a.op(Op::Return)
    });
    assert_eq!(value_with(None, &bytes), 4);
    let moves = codes(&bytes).into_iter().filter(|&code| code == Code::Move);
    assert_eq!(moves.count(), 1, "the variable as an argument, no result");
}

/// A program that may do nothing but count, run and, if it does nothing else, carried out.
fn counts(write: impl FnOnce(&mut Assembler<'_>) -> Written) -> (u64, Option<u64>) {
    let bytes = program(|a| {
        write(a)?;
        a.op(Op::Exit)
    });
    let mut bench = Bench::default();
    bench.globals()[2].store(40, Ordering::Relaxed);
    let outcome = run_on(&mut bench, &bytes, Count::OPERATIONS.max(100));
    assert_eq!(outcome.faults, 0);
    let ran = bench.globals()[2].load(Ordering::Relaxed);
    let added = Count::of(&Verified::new(&bytes).unwrap()).map(|count| {
        bench.globals()[2].store(40, Ordering::Relaxed);
        count.add(bench.globals());
        bench.globals()[2].load(Ordering::Relaxed)
    });
    (ran, added)
}

#[test]
fn what_only_counts_need_not_be_run() {
    let sum = |number: u64, op: Op| {
        move |a: &mut Assembler<'_>| {
            a.variable(Op::LoadGlobal, 2)?;
            a.number(number)?;
            a.op(op)?;
            a.variable(Op::StoreGlobal, 2)
        }
    };
    assert_eq!(counts(sum(1, Op::Add)), (41, Some(41)));
    assert_eq!(counts(sum(1, Op::Sub)), (39, Some(39)));
    assert_eq!(
        counts(sum(0x7f_ffff, Op::Add)),
        (0x80_0027, Some(0x80_0027))
    );
    let far = counts(sum(0x80_0000, Op::Add));
    assert_eq!(far, (0x80_0028, None));
    assert_eq!(counts(sum(2, Op::Mul)), (80, None));
    let update = |a: &mut Assembler<'_>| {
        a.variable(Op::AddressGlobal, 16)?;
        a.number(5)?;
        a.update(Update {
            op: Op::Add,
            width: Width {
                bytes: 8,
                is_signed: false,
            },
        })
    };
    assert_eq!(counts(update), (45, Some(45)));
    // It does more, or another global is meant.
    let twice = |a: &mut Assembler<'_>| {
        update(a)?;
        update(a)
    };
    assert_eq!(counts(twice), (50, None));
    let other = |a: &mut Assembler<'_>| {
        a.variable(Op::LoadGlobal, 1)?;
        a.number(3)?;
        a.op(Op::Add)?;
        a.variable(Op::StoreGlobal, 2)
    };
    assert_eq!(counts(other), (3, None));
}
