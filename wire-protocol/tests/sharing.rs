//! Globals that several cores use at once: a thread stands for a core.

#[path = "support/variables.rs"]
mod variables;

use std::sync::atomic::{AtomicU64, Ordering};
use variables::Core;
use wire_protocol::bytecode::assemble::{AssembleError, Scratch};
use wire_protocol::bytecode::op::Op;
use wire_protocol::bytecode::routine::{Pseudo, Routine};
use wire_protocol::bytecode::update::{Update, Width};
use wire_protocol::bytecode::{Assembler, Decoded, Verified};
use wire_protocol::script::{Workspace, run};

const CORES: u64 = 4;
const TURNS: u64 = 50_000;

/// Runs a program on every core, over and over; what the globals are afterwards.
fn run_everywhere(write: impl FnOnce(&mut Assembler<'_>) -> Result<(), AssembleError>) -> Vec<u64> {
    let mut scratch = Scratch::default();
    let mut assembler = Assembler::new(scratch.memory());
    write(&mut assembler).expect("assembles");
    let mut bytes = [0; 1024];
    let program = Verified::new(assembler.finish(&mut bytes).expect("fits")).expect("verifies");
    let mut memory = [0; 1024];
    let program = Decoded::new(&program, &mut memory).expect("fits");
    let globals: Vec<_> = (0..4).map(|_| AtomicU64::new(0)).collect();
    std::thread::scope(|scope| {
        for number in 0..CORES {
            let (program, globals) = (&program, &globals);
            scope.spawn(move || {
                let mut workspace = Workspace::new();
                for _ in 0..TURNS {
                    let mut core = Core(number, globals);
                    let outcome = run(program, &mut [], &mut workspace, &mut core, u64::MAX);
                    assert_eq!((outcome.value(), outcome.faults), (Some(0), 0));
                }
            });
        }
    });
    globals
        .iter()
        .map(|it| it.load(Ordering::Relaxed))
        .collect()
}

/// Adds one to the global at this slot with two operations, between which others may come.
fn increment(a: &mut Assembler<'_>, slot: usize) -> Result<(), AssembleError> {
    a.variable(Op::LoadGlobal, slot)?;
    a.number(1)?;
    a.op(Op::Add)?;
    a.variable(Op::StoreGlobal, slot)
}

#[test]
fn atomic_routines_lose_nothing() {
    let globals = run_everywhere(|a| {
        for (slot, routine) in [
            (0, Routine::InterlockedIncrement),
            (1, Routine::InterlockedDecrement),
        ] {
            a.variable(Op::AddressGlobal, 8 * slot)?;
            a.routine(routine)?;
            a.op(Op::Drop)?;
        }
        a.variable(Op::AddressGlobal, 16)?;
        a.number(3)?;
        a.routine(Routine::InterlockedExchangeAdd)?;
        a.op(Op::Drop)?;
        a.op(Op::Exit)
    });
    let all = CORES * TURNS;
    assert_eq!(globals, [all, all.wrapping_neg(), 3 * all, 0]);
}

#[test]
fn updates_lose_nothing() {
    // Parts of a word, next to each other, and a whole word.
    let places = [
        (0, Op::Add, 4, 3),
        (4, Op::Add, 2, 5),
        (6, Op::Sub, 1, 1),
        (8, Op::Add, 8, 7),
        (16, Op::Sub, 8, 2),
        (24, Op::Mul, 4, 3),
        (28, Op::Xor, 4, 0x11),
    ];
    let globals = run_everywhere(|a| {
        for (offset, op, bytes, value) in places {
            a.variable(Op::AddressGlobal, offset)?;
            a.number(value)?;
            a.update(Update {
                op,
                width: Width {
                    bytes,
                    is_signed: true,
                },
            })?;
        }
        a.op(Op::Exit)
    });
    let all = CORES * TURNS;
    let low = |value: u64, bytes: u32| value & (u64::MAX >> (64 - 8 * bytes));
    let parts = low(3 * all, 4) | low(5 * all, 2) << 32 | low(all.wrapping_neg(), 1) << 48;
    assert_eq!(globals, [parts, 7 * all, (2 * all).wrapping_neg(), 0]);
}

#[test]
fn lock_keeps_others_out() {
    let globals = run_everywhere(|a| {
        a.variable(Op::AddressGlobal, 24)?;
        a.number(16)?;
        a.routine(Routine::SpinlockLockCustomWait)?;
        a.op(Op::Drop)?;
        increment(a, 0)?;
        a.variable(Op::AddressGlobal, 24)?;
        a.routine(Routine::SpinlockUnlock)?;
        a.op(Op::Drop)?;
        a.op(Op::Exit)
    });
    assert_eq!(globals, [CORES * TURNS, 0, 0, 0]);
}

#[test]
fn bytes_of_one_word_do_not_disturb_each_other() {
    // Each core counts in a byte of its own.
    let globals = run_everywhere(|a| {
        a.variable(Op::AddressGlobal, 2)?;
        a.pseudo(Pseudo::Core)?;
        a.op(Op::Add)?;
        a.op(Op::Dup)?;
        a.op(Op::Load8)?;
        a.number(1)?;
        a.op(Op::Add)?;
        a.op(Op::Store8)?;
        a.op(Op::Exit)
    });
    let count = (TURNS % 0x100) * 0x0101_0101;
    assert_eq!(globals, [count << 16, 0, 0, 0]);
}
