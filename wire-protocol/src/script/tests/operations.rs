//! What operations do.

use super::machine::{Bench, PAGE};
use super::{End, program, run_on, value};
use crate::bytecode::op::Op;
use crate::bytecode::routine::Pseudo;
use crate::bytecode::tag::{self, Area};
use crate::bytecode::update::{Update, Width};
use crate::register::Register;
use crate::script::FaultKind;

fn binary(op: Op, a: u64, b: u64) -> u64 {
    value(|p| {
        p.number(a)?;
        p.number(b)?;
        p.op(op)
    })
}

fn unary(op: Op, a: u64) -> u64 {
    value(|p| {
        p.number(a)?;
        p.op(op)
    })
}

fn double(value: f64) -> u64 {
    value.to_bits()
}

const MINUS: u64 = u64::MAX;
const LOWEST: u64 = 1 << 63;

#[test]
fn arithmetic_wraps() {
    assert_eq!(binary(Op::Add, MINUS, 2), 1);
    assert_eq!(binary(Op::Sub, 1, 2), MINUS);
    assert_eq!(binary(Op::Mul, MINUS, MINUS), 1);
    assert_eq!(binary(Op::DivU, MINUS, 2), MINUS / 2);
    assert_eq!(binary(Op::DivS, MINUS - 6, 2), MINUS - 2);
    assert_eq!(binary(Op::DivS, LOWEST, MINUS), LOWEST);
    assert_eq!(binary(Op::RemU, 7, 4), 3);
    assert_eq!(binary(Op::RemS, MINUS - 6, 4), MINUS - 2);
    assert_eq!(unary(Op::Neg, 5), MINUS - 4);
    assert_eq!(unary(Op::Not, 5), MINUS - 5);
    assert_eq!((unary(Op::IsZero, 0), unary(Op::IsZero, 5)), (1, 0));
    assert_eq!((unary(Op::Bool, 0), unary(Op::Bool, 5)), (0, 1));
}

#[test]
fn shifts_by_sixty_four_or_more_give_zero() {
    for (op, at_63) in [(Op::Shl, LOWEST), (Op::ShrU, 1), (Op::ShrS, MINUS)] {
        assert_eq!(binary(op, MINUS, 63), at_63);
        assert_eq!(binary(op, MINUS, 64), 0);
        assert_eq!(binary(op, MINUS, MINUS), 0);
        assert_eq!(binary(op, 12, 0), 12);
    }
}

#[test]
fn comparisons_know_signs() {
    assert_eq!(binary(Op::LtU, 1, MINUS), 1);
    assert_eq!(binary(Op::LtS, 1, MINUS), 0);
    assert_eq!(binary(Op::GeS, 1, MINUS), 1);
    assert_eq!(binary(Op::LeU, 2, 2), 1);
    assert_eq!(binary(Op::GtU, 2, 2), 0);
    assert_eq!((binary(Op::Eq, 3, 3), binary(Op::Ne, 3, 3)), (1, 0));
}

#[test]
fn parts_of_values_are_taken_and_put() {
    assert_eq!(unary(Op::SignExtend8, 0x180), MINUS - 0x7f);
    assert_eq!(unary(Op::SignExtend16, 0x7fff), 0x7fff);
    assert_eq!(unary(Op::SignExtend32, 0x8000_0000), 0xffff_ffff_8000_0000);
    assert_eq!(unary(Op::ZeroExtend8, MINUS), 0xff);
    assert_eq!(unary(Op::ZeroExtend32, MINUS), 0xffff_ffff);
    let ah = value(|p| {
        p.number(0x1234_5678)?;
        p.bits(Op::GetBits, 8, 8)
    });
    assert_eq!(ah, 0x56);
    let put = value(|p| {
        p.number(MINUS)?;
        p.number(0x1a)?;
        p.bits(Op::PutBits, 60, 4)
    });
    assert_eq!(put, 0xafff_ffff_ffff_ffff);
}

#[test]
fn floating_point_is_double_and_rounds_to_float() {
    assert_eq!(binary(Op::FAdd, double(1.5), double(2.25)), double(3.75));
    assert_eq!(
        binary(Op::FDiv, double(1.0), double(0.0)),
        double(f64::INFINITY)
    );
    assert_eq!(binary(Op::FLt, double(f64::NAN), double(1.0)), 0);
    assert_eq!(binary(Op::FNe, double(f64::NAN), double(f64::NAN)), 1);
    assert_eq!(unary(Op::FNeg, double(0.5)), double(-0.5));
    assert_eq!(unary(Op::FFromS, MINUS), double(-1.0));
    assert_eq!(unary(Op::FFromU, MINUS), double(1.844_674_407_370_955_2e19));
    assert_eq!(unary(Op::FToS, double(-2.9)), MINUS - 1);
    assert_eq!(unary(Op::FToU, double(-2.9)), 0);
    assert_eq!(unary(Op::FToU, double(f64::NAN)), 0);
    assert_eq!(unary(Op::FWiden, u64::from(1.5f32.to_bits())), double(1.5));
    assert_eq!(unary(Op::FNarrow, double(1.5)), u64::from(1.5f32.to_bits()));
    assert_eq!(unary(Op::FRound, double(0.1)), double(f64::from(0.1f32)));
}

#[test]
fn division_by_zero_gives_zero_and_is_noted() {
    for op in [Op::DivU, Op::DivS, Op::RemU, Op::RemS] {
        let bytes = program(|p| {
            p.number(5)?;
            p.number(0)?;
            p.op(op)?;
            p.op(Op::Return)
        });
        let outcome = run_on(&mut Bench::default(), &bytes, 100);
        assert_eq!(outcome.value(), Some(0));
        let fault = outcome.first_fault.unwrap();
        assert_eq!((fault.at, fault.kind), (2, FaultKind::DivisionByZero));
    }
}

#[test]
fn memory_that_is_not_there_reads_as_zero_and_is_noted() {
    let mut bench = Bench::holding(&[1, 2, 3, 4, 5, 6, 7, 8, 9]);
    let load = |address| {
        program(|p| {
            p.number(address)?;
            p.op(Op::Load64)?;
            p.op(Op::Return)
        })
    };
    let good = run_on(&mut bench, &load(PAGE + 1), 100);
    assert_eq!(
        (good.value(), good.faults),
        (Some(0x0908_0706_0504_0302), 0)
    );
    let bad = run_on(&mut bench, &load(0x1000), 100);
    assert_eq!((bad.value(), bad.faults), (Some(0), 1));
    assert_eq!(bad.first_fault.unwrap().kind, FaultKind::Read(0x1000));
    // Into the constants of a program that has none.
    let constant = tag::address(Area::Constants, 0);
    assert_eq!(run_on(&mut bench, &load(constant), 100).faults, 1);
}

#[test]
fn writes_report_and_stores_note() {
    let mut bench = Bench::default();
    let bytes = program(|p| {
        p.number(PAGE)?;
        p.number(0x1122_3344_5566_7788)?;
        p.op(Op::Put32)?;
        p.number(0x1000)?;
        p.number(1)?;
        p.op(Op::Put8)?;
        p.op(Op::Sub)?;
        p.number(0x1000)?;
        p.number(1)?;
        p.op(Op::Store16)?;
        p.number(8)?;
        p.number(0x99)?;
        p.op(Op::PutPhysical8)?;
        p.op(Op::Drop)?;
        p.op(Op::Return)
    });
    let outcome = run_on(&mut bench, &bytes, 100);
    assert_eq!((outcome.value(), outcome.faults), (Some(1), 1));
    assert_eq!(outcome.first_fault.unwrap().kind, FaultKind::Write(0x1000));
    assert_eq!(
        bench.memory[..9],
        [0x88, 0x77, 0x66, 0x55, 0, 0, 0, 0, 0x99]
    );
}

#[test]
fn locals_keep_their_values_and_frames_do_not() {
    let bytes = program(|p| {
        let function = p.declare(1)?;
        p.set_local_bytes(8)?;
        p.number(40)?;
        p.call(function)?;
        p.op(Op::Return)?;
        p.begin(function)?;
        p.set_frame_bytes(function, 16)?;
        // The argument, plus the local counted up, plus the frame's own variable counted up.
        p.variable(Op::LoadLocal, 0)?;
        p.number(1)?;
        p.op(Op::Add)?;
        p.op(Op::Dup)?;
        p.variable(Op::StoreLocal, 0)?;
        p.variable(Op::LoadFrame, 0)?;
        p.op(Op::Add)?;
        p.variable(Op::AddressFrame, 8)?;
        p.op(Op::Dup)?;
        p.op(Op::Load64)?;
        p.number(1)?;
        p.op(Op::Add)?;
        p.op(Op::Store64)?;
        p.variable(Op::LoadFrame, 1)?;
        p.op(Op::Add)?;
        p.op(Op::Return)
    });
    let verified = crate::bytecode::Verified::new(&bytes).unwrap();
    let mut memory = [0; 512];
    let decoded = crate::bytecode::Decoded::new(&verified, &mut memory).unwrap();
    let mut locals = [0; 8];
    let mut workspace = super::Workspace::new();
    for expected in [42, 43, 44] {
        let outcome = super::run(
            &decoded,
            &mut locals,
            &mut workspace,
            &mut Bench::default(),
            100,
        );
        assert_eq!((outcome.value(), outcome.faults), (Some(expected), 0));
    }
}

#[test]
fn factorial_calls_itself() {
    let bytes = program(|p| {
        let factorial = p.declare(1)?;
        p.number(20)?;
        p.call(factorial)?;
        p.op(Op::Return)?;
        p.begin(factorial)?;
        let more = p.label()?;
        p.variable(Op::LoadFrame, 0)?;
        p.jump(Op::JumpUnlessZero, more)?;
        p.number(1)?;
        p.op(Op::Return)?;
        p.place(more)?;
        p.variable(Op::LoadFrame, 0)?;
        p.op(Op::Dup)?;
        p.number(1)?;
        p.op(Op::Sub)?;
        p.call(factorial)?;
        p.op(Op::Mul)?;
        p.op(Op::Return)
    });
    let outcome = run_on(&mut Bench::default(), &bytes, 1000);
    assert_eq!(outcome.value(), Some(2_432_902_008_176_640_000));
}

#[test]
fn recursion_without_end_is_stopped() {
    for frame_bytes in [8, 4096] {
        let bytes = program(|p| {
            let function = p.declare(1)?;
            p.set_frame_bytes(function, frame_bytes)?;
            p.number(1)?;
            p.call(function)?;
            p.op(Op::Return)?;
            p.begin(function)?;
            p.variable(Op::LoadFrame, 0)?;
            p.call(function)?;
            p.op(Op::Return)
        });
        let outcome = run_on(&mut Bench::default(), &bytes, 10_000);
        assert!(
            matches!(outcome.end, End::StackOverflow { .. }),
            "{outcome:?}"
        );
    }
}

#[test]
fn loop_without_end_is_over_budget() {
    let bytes = program(|p| {
        let again = p.label()?;
        p.place(again)?;
        p.jump(Op::Jump, again)
    });
    let outcome = run_on(&mut Bench::default(), &bytes, 10_000);
    assert_eq!(outcome.end, End::OverBudget { at: 0 });
    assert_eq!(outcome.left, 0);
}

#[test]
fn globals_are_words_and_bytes() {
    let mut bench = Bench::default();
    let bytes = program(|p| {
        p.number(0x1111_1111_1111_1111)?;
        p.variable(Op::StoreGlobal, 1)?;
        // Two bytes on each side of the border between two words.
        p.variable(Op::AddressGlobal, 14)?;
        p.number(0x4433_2255)?;
        p.op(Op::Store32)?;
        p.variable(Op::AddressGlobal, 13)?;
        p.op(Op::Load32)?;
        p.op(Op::Return)
    });
    let outcome = run_on(&mut bench, &bytes, 100);
    assert_eq!((outcome.value(), outcome.faults), (Some(0x3322_5511), 0));
    assert_eq!(
        bench.globals[1].load(core::sync::atomic::Ordering::Relaxed),
        0x2255_1111_1111_1111
    );
    let end = program(|p| {
        p.variable(Op::AddressGlobal, 0xffff)?;
        p.op(Op::Load16)?;
        p.op(Op::Return)
    });
    assert_eq!(run_on(&mut bench, &end, 100).faults, 1);
}

#[test]
fn registers_and_pseudo_registers_are_the_machines() {
    let mut bench = Bench::default();
    bench.registers[Register::Rip as usize] = 0x1234;
    let bytes = program(|p| {
        p.register(Register::Rip)?;
        p.set_register(Register::GsBase)?;
        p.number(1)?;
        p.set_register(Register::Cr3)?;
        p.register(Register::GsBase)?;
        p.pseudo(Pseudo::Pid)?;
        p.op(Op::Add)?;
        p.op(Op::Return)
    });
    let outcome = run_on(&mut bench, &bytes, 100);
    assert_eq!((outcome.value(), outcome.faults), (Some(0x1334), 1));
    assert_eq!(outcome.first_fault.unwrap().kind, FaultKind::Register(1));
}

/// What an update leaves of a number at a place.
fn updated(update: Update, place: u64, old: u64, value: u64) -> u64 {
    let bytes = program(|p| {
        p.set_local_bytes(8)?;
        p.number(place)?;
        p.number(old)?;
        p.op(Op::Store64)?;
        p.number(place)?;
        p.number(value)?;
        p.update(update)?;
        p.number(place)?;
        p.op(Op::Load64)?;
        p.op(Op::Return)
    });
    let outcome = run_on(&mut Bench::default(), &bytes, 100);
    assert_eq!(outcome.faults, 0, "{update:?} {place:x}");
    outcome.value().unwrap()
}

#[test]
fn updates_are_their_operations_wherever_they_are_done() {
    let old = 0x8182_8384_f5f6_f7f8;
    let places = [
        tag::address(Area::Globals, 8),
        tag::address(Area::Locals, 0),
        PAGE + 40,
    ];
    // Fewer where every step is slow.
    let stride = if cfg!(miri) { 5 } else { 1 };
    for op in Update::OPERATIONS.into_iter().step_by(stride) {
        for (bytes, is_signed) in [(1, true), (2, false), (4, true), (4, false), (8, true)] {
            let width = Width { bytes, is_signed };
            let mask = u64::MAX >> (64 - 8 * u32::from(bytes));
            for value in [1, 3, 9, MINUS] {
                let new = binary(op, width.extended(old), value);
                let expected = old & !mask | new & mask;
                for place in places {
                    let found = updated(Update { op, width }, place, old, value);
                    assert_eq!(found, expected, "{op:?} {width:?} {value:x} {place:x}");
                }
            }
        }
    }
}

#[test]
fn what_an_update_cannot_do_is_noted() {
    let fault = |op, bytes, place, value| {
        let update = Update {
            op,
            width: Width {
                bytes,
                is_signed: false,
            },
        };
        let bytes = program(|p| {
            p.number(place)?;
            p.number(value)?;
            p.update(update)?;
            p.op(Op::Exit)
        });
        let outcome = run_on(&mut Bench::default(), &bytes, 100);
        outcome.first_fault.map(|fault| fault.kind)
    };
    let global = tag::address(Area::Globals, 0);
    let beyond = tag::address(Area::Globals, 8 * crate::bytecode::GLOBAL_BYTES as u32);
    let division = Some(FaultKind::DivisionByZero);
    assert_eq!(fault(Op::DivS, 8, global, 0), division);
    assert_eq!(fault(Op::RemU, 1, PAGE, 0), division);
    assert_eq!(fault(Op::Add, 8, 0x10, 1), Some(FaultKind::Read(0x10)));
    assert_eq!(fault(Op::Add, 8, beyond, 1), Some(FaultKind::Read(beyond)));
    // Across two words: not as a whole, but done.
    assert_eq!(fault(Op::Add, 8, global + 4, 1), None);
}
