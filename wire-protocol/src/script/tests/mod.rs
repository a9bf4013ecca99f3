//! Programs on a machine made of a few bytes.

mod machine;
mod operations;
mod routines;

use super::{End, Machine, Outcome, Workspace, run};
use crate::bytecode::assemble::{AssembleError, Scratch};
use crate::bytecode::op::Op;
use crate::bytecode::{Assembler, Verified};
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
    let mut locals = std::vec![0; program.program().local_bytes()];
    run(
        &program,
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
