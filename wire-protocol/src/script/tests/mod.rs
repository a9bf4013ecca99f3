//! Programs on a machine made of a few bytes.

mod joined;
mod machine;
mod operations;
mod routines;

use super::{End, Machine, Outcome, Workspace, run};
use crate::bytecode::assemble::{AssembleError, Scratch};
use crate::bytecode::op::Op;
use crate::bytecode::routine::Pseudo;
use crate::bytecode::{Assembler, Compared, Comparison, Decoded, Verified};
use crate::register::Register;
use machine::Bench;
use std::vec::Vec;

/// Assembles a program.
fn program(write: impl FnOnce(&mut Assembler<'_>) -> Result<(), AssembleError>) -> Vec<u8> {
    let mut scratch = Scratch::default();
    let mut assembler = Assembler::new(scratch.memory());
    write(&mut assembler).unwrap();
    let mut bytes = [0; 4096];
    assembler.finish(&mut bytes).unwrap().to_vec()
}

/// Runs a program with memory for its locals.
fn run_on(machine: &mut impl Machine, bytes: &[u8], budget: u64) -> Outcome {
    let program = Verified::new(bytes).unwrap();
    let mut memory = std::vec![0; program.decoded_bytes().0];
    let decoded = Decoded::new(&program, &mut memory).unwrap();
    let mut locals = std::vec![0; program.program().local_bytes()];
    run(
        &decoded,
        &mut locals,
        &mut Workspace::new(),
        machine,
        budget,
    )
}

/// The value of an expression, without faults.
fn value(write: impl FnOnce(&mut Assembler<'_>) -> Result<(), AssembleError>) -> u64 {
    let bytes = program(|a| {
        write(a)?;
        a.op(Op::Return)
    });
    let outcome = run_on(&mut Bench::default(), &bytes, 1000);
    assert_eq!(outcome.first_fault, None);
    outcome.value().unwrap()
}

#[test]
fn a_comparison_holds_where_its_program_does() {
    let unsigned = [Op::Eq, Op::Ne, Op::LtU, Op::LeU, Op::GtU, Op::GeU];
    let signed = [Op::LtS, Op::LeS, Op::GtS, Op::GeS];
    let relations = unsigned.into_iter().chain(signed);
    let numbers = [
        0,
        17,
        0x80,
        0x1_0000,
        u64::from(u32::MAX),
        i64::MAX as u64,
        1 << 63,
        u64::MAX,
    ];
    // Fewer where every step is slow.
    let numbers = numbers.get(..if cfg!(miri) { 1 } else { numbers.len() });
    for relation in relations {
        for &number in numbers.unwrap_or_default() {
            let bytes = program(|a| {
                a.register(Register::Rdi)?;
                a.number(number)?;
                a.op(relation)?;
                a.op(Op::Return)
            });
            let verified = Verified::new(&bytes).unwrap();
            let found = Comparison::of(verified.program()).unwrap();
            assert_eq!(found.what, Compared::Register(Register::Rdi));
            for value in [number.wrapping_sub(1), number, number.wrapping_add(1)] {
                let mut bench = Bench::default();
                bench.registers[Register::Rdi as usize] = value;
                let outcome = run_on(&mut bench, &bytes, Comparison::OPERATIONS);
                let ran = outcome.value().unwrap();
                assert_eq!(
                    u64::from(found.holds(value)),
                    ran,
                    "{relation:?} {number:x}"
                );
            }
        }
    }
}

#[test]
fn programs_that_do_more_are_no_comparisons() {
    type Write = fn(&mut Assembler<'_>) -> Result<(), AssembleError>;
    let context = program(|a| {
        a.pseudo(Pseudo::Context)?;
        a.number(17)?;
        a.op(Op::Eq)?;
        a.op(Op::Return)
    });
    let found = Comparison::of(Verified::new(&context).unwrap().program());
    assert_eq!(found.map(|it| it.what), Some(Compared::Context));
    let others: [Write; 5] = [
        |a| {
            a.pseudo(Pseudo::Pid)?;
            a.number(1)?;
            a.op(Op::Eq)
        },
        |a| {
            a.register(Register::Rax)?;
            a.register(Register::Rbx)?;
            a.op(Op::Eq)
        },
        |a| {
            a.register(Register::Rax)?;
            a.number(1)?;
            a.op(Op::Sub)
        },
        |a| {
            a.register(Register::Rax)?;
            a.number(1)?;
            a.op(Op::Eq)?;
            a.op(Op::IsZero)
        },
        |a| {
            a.number(1)?;
            a.number(1)?;
            a.op(Op::Eq)
        },
    ];
    for write in others {
        let bytes = program(|a| {
            write(a)?;
            a.op(Op::Return)
        });
        assert_eq!(
            Comparison::of(Verified::new(&bytes).unwrap().program()),
            None
        );
    }
}
