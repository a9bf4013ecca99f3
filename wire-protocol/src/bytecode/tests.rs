//! What the assembler writes, and what the verifier refuses.

use super::assemble::{AssembleError, Scratch};
use super::op::Op;
use super::routine::Routine;
use super::{Assembler, BadProgram, Decoded, Program, Reason, VERSION, Verified};
use crate::register::Register;
use std::vec::Vec;

/// Assembles, and says what the verifier thinks.
fn assemble(
    write: impl FnOnce(&mut Assembler<'_>) -> Result<(), AssembleError>,
) -> Result<Vec<u8>, AssembleError> {
    let mut scratch = Scratch::default();
    let mut assembler = Assembler::new(scratch.memory());
    write(&mut assembler)?;
    let mut bytes = [0; 4096];
    Ok(assembler.finish(&mut bytes)?.to_vec())
}

#[test]
fn two_values_are_printed_in_few_bytes() {
    let program = assemble(|a| {
        a.register(Register::Rip)?;
        a.register(Register::Rsp)?;
        a.op(Op::Load64)?;
        a.printf(b"%llx %llx\n", 2, 0)?;
        a.op(Op::Exit)
    })
    .unwrap();
    assert!(program.len() <= 40, "{} bytes", program.len());
    assert!(Verified::new(&program).is_ok());
}

/// A loop, a function that calls itself, and a jump over code.
fn recursion() -> Vec<u8> {
    assemble(|a| {
        let factorial = a.declare(1)?;
        let (again, out) = (a.label()?, a.label()?);
        a.set_local_bytes(8)?;
        a.place(again)?;
        a.variable(Op::LoadLocal, 0)?;
        a.number(10)?;
        a.op(Op::LtU)?;
        a.jump(Op::JumpIfZero, out)?;
        a.variable(Op::LoadLocal, 0)?;
        a.number(1)?;
        a.op(Op::Add)?;
        a.variable(Op::StoreLocal, 0)?;
        a.jump(Op::Jump, again)?;
        a.place(out)?;
        a.number(5)?;
        a.call(factorial)?;
        a.op(Op::Return)?;
        a.begin(factorial)?;
        let more = a.label()?;
        a.variable(Op::LoadFrame, 0)?;
        a.jump(Op::JumpUnlessZero, more)?;
        a.number(1)?;
        a.op(Op::Return)?;
        a.place(more)?;
        a.variable(Op::LoadFrame, 0)?;
        a.op(Op::Dup)?;
        a.number(1)?;
        a.op(Op::Sub)?;
        a.call(factorial)?;
        a.op(Op::Mul)?;
        a.op(Op::Return)
    })
    .unwrap()
}

#[test]
fn loops_and_functions_pass() {
    let program = recursion();
    let verified = Verified::new(&program).unwrap();
    assert_eq!(verified.program().label_count(), 3);
    assert_eq!(verified.program().function_count(), 1);
    let (needed, kept) = verified.decoded_bytes();
    let mut memory = std::vec![0; needed];
    let decoded = Decoded::new(&verified, &mut memory).unwrap();
    assert_eq!(decoded.words().len() * 8, kept);
}

#[test]
fn numbers_take_their_shortest_form() {
    for (number, len) in [
        (0, 1),
        (63, 1),
        (64, 2),
        (0xff, 2),
        (0x100, 3),
        (0xffff, 3),
        (0x10000, 5),
        (u64::MAX, 2),
        (0xffff_ffff_8100_0000, 5),
        (0x1_0000_0000, 9),
    ] {
        let program = assemble(|a| {
            a.number(number)?;
            a.op(Op::Return)
        })
        .unwrap();
        let parsed = Program::parse(&program).unwrap();
        assert_eq!(parsed.code().len(), len + 1, "{number:#x}");
        let decoded = super::decode::decode(parsed.code(), 0).unwrap();
        assert_eq!(decoded.operand, super::decode::Operand::Number(number));
    }
}

#[test]
fn same_text_is_kept_once() {
    let program = assemble(|a| {
        a.constant_address(b"abc\0")?;
        a.constant_address(b"abc\0")?;
        a.op(Op::Sub)?;
        a.printf(b"bc", 1, 0)?;
        a.op(Op::Exit)
    })
    .unwrap();
    assert_eq!(Program::parse(&program).unwrap().constants(), b"abc\0");
}

#[test]
fn assembler_refuses_what_cannot_be() {
    let underflow = assemble(|a| a.op(Op::Add));
    assert_eq!(underflow, Err(AssembleError::Underflow(0)));
    let join = assemble(|a| {
        let label = a.label()?;
        a.number(1)?;
        a.jump(Op::JumpIfZero, label)?;
        a.number(2)?;
        a.place(label)
    });
    assert_eq!(join, Err(AssembleError::Join(6)));
    let missing = assemble(|a| {
        let label = a.label()?;
        a.jump(Op::Jump, label)
    });
    assert_eq!(missing, Err(AssembleError::Missing));
    let undefined = assemble(|a| a.declare(0).map(drop));
    assert_eq!(undefined, Err(AssembleError::Missing));
    let deep = assemble(|a| (0..200).try_for_each(|_| a.number(1)));
    assert_eq!(deep, Err(AssembleError::TooDeep));
    let slot = assemble(|a| a.variable(Op::LoadLocal, 256));
    assert_eq!(slot, Err(AssembleError::Operand));
}

/// A program without tables: depth 2, no locals, constants "a\0".
fn raw(code: &[u8]) -> Vec<u8> {
    let mut program = std::vec![VERSION, 2, 0, 0, 0, 0, 2, b'a', 0];
    program.extend_from_slice(code);
    program
}

fn refused(code: &[u8]) -> (u32, Reason) {
    let program = raw(code);
    let BadProgram { at, reason } = Verified::new(&program).unwrap_err();
    (at, reason)
}

const EXIT: u8 = Op::Exit as u8;
const ONE: u8 = 0xc1;

#[test]
fn verifier_refuses_each_way_to_be_bad() {
    assert!(Verified::new(&raw(&[ONE, Op::Return as u8])).is_ok());
    assert_eq!(refused(&[]), (0, Reason::End));
    assert_eq!(refused(&[ONE]), (1, Reason::End));
    assert_eq!(refused(&[0x9f, EXIT]), (0, Reason::Operation));
    assert_eq!(refused(&[Op::PushU32 as u8, 1]), (0, Reason::Operation));
    assert_eq!(refused(&[Op::Register as u8, 45]), (0, Reason::Operation));
    assert_eq!(refused(&[ONE, Op::Add as u8]), (1, Reason::Underflow));
    assert_eq!(refused(&[ONE, ONE, ONE, EXIT]), (2, Reason::Depth));
    assert_eq!(refused(&[Op::Jump as u8, 0, 0, 0]), (0, Reason::Target));
    assert_eq!(refused(&[Op::Call as u8, 0, EXIT]), (0, Reason::Function));
    assert_eq!(
        refused(&[Op::LoadLocal as u8, 0, EXIT]),
        (0, Reason::Variable)
    );
    assert_eq!(
        refused(&[Op::AddressConstant as u8, 2, 0, EXIT]),
        (0, Reason::Constant)
    );
    assert_eq!(
        refused(&[Op::Printf as u8, 0, 2, 0, EXIT]),
        (0, Reason::Constant)
    );
    // Operations and lengths that an update cannot have.
    for [op, width] in [[Op::Eq as u8, 8], [Op::Add as u8, 3], [0xff, 8]] {
        let update = [ONE, ONE, Op::Update as u8, op, width, EXIT];
        assert_eq!(refused(&update), (2, Reason::Operation));
    }
    // Wait for more arguments than there are values.
    let memcpy = [ONE, Op::Do as u8, Routine::Memcpy as u8, EXIT];
    assert_eq!(refused(&memcpy), (1, Reason::Underflow));
}

#[test]
fn verifier_refuses_bad_headers_and_tables() {
    let reason = |bytes: &[u8]| Verified::new(bytes).unwrap_err().reason;
    assert_eq!(reason(&[]), Reason::Version);
    assert_eq!(
        reason(&[VERSION + 1, 0, 0, 0, 0, 0, 0, EXIT]),
        Reason::Version
    );
    assert_eq!(reason(&[VERSION, 0, 0, 0, 0, 0]), Reason::Header);
    assert_eq!(reason(&[VERSION, 0, 0, 0, 1, 0, 0, EXIT]), Reason::Header);
    assert_eq!(reason(&std::vec![VERSION; 80 * 1024 + 1]), Reason::TooLong);
    // A constant without a zero after it.
    assert_eq!(
        reason(&[VERSION, 0, 0, 0, 0, 0, 1, b'a', EXIT]),
        Reason::Constant
    );
    // A label inside an operation, and one past the end.
    let label = |at, depth| {
        let label = [at, 0, 0, depth];
        let mut program = std::vec![VERSION, 1, 0, 0, 0, 1, 0];
        program.extend(label);
        program.extend([Op::PushU8 as u8, EXIT, Op::Return as u8]);
        program
    };
    assert!(Verified::new(&label(0, 0)).is_ok());
    assert_eq!(reason(&label(1, 0)), Reason::Label);
    assert_eq!(reason(&label(3, 0)), Reason::Label);
    assert_eq!(reason(&label(2, 0)), Reason::Join);
    // A function that starts nowhere, and one whose frame is too small for its arguments.
    let function = |start, arguments, frame| {
        let mut program = std::vec![VERSION, 0, 0, 0, 1, 0, 0];
        program.extend([start, 0, 0, arguments, frame, 0, 0, arguments]);
        program.extend([EXIT, EXIT]);
        program
    };
    assert!(Verified::new(&function(1, 1, 8)).is_ok());
    assert_eq!(reason(&function(2, 1, 8)), Reason::Tables);
    assert_eq!(reason(&function(0, 1, 8)), Reason::End);
    assert_eq!(reason(&function(1, 1, 7)), Reason::Tables);
}

#[test]
fn jump_into_another_function_is_refused() {
    let mut program = recursion();
    let layout = Program::parse(&program).unwrap().layout();
    let code_at = layout.code_at as usize;
    // The last jump of the main part leads to its first label; send it to the function's.
    let label = Program::parse(&program).unwrap().label(2).unwrap();
    let jump = (0..)
        .find(|&at| program[code_at + at] == Op::Jump as u8)
        .unwrap();
    program[code_at + jump + 1] = label.at as u8;
    let refused = Verified::new(&program).unwrap_err();
    assert_eq!(refused.reason, Reason::Target);
}
