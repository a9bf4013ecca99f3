//! What routines and prints do.

use super::machine::{Bench, PAGE, Value};
use super::{End, program, run_on};
use crate::branch::Branch;
use crate::bytecode::op::Op;
use crate::bytecode::routine::{Pseudo, Routine};
use crate::bytecode::tag::{self, Area, Marker};
use crate::script::{Ask, BranchCall, FaultKind};
use std::vec;
use std::vec::Vec;

const MINUS: u64 = u64::MAX;

fn routine(bench: &mut Bench, routine: Routine, arguments: &[u64]) -> u64 {
    let bytes = program(|p| {
        arguments
            .iter()
            .try_for_each(|&argument| p.number(argument))?;
        p.routine(routine)?;
        p.op(Op::Return)
    });
    run_on(bench, &bytes, 100_000).value().unwrap()
}

#[test]
fn texts_are_measured_and_compared() {
    let mut bench = Bench::holding(b"hello\0help\0\0w\0i\0\0\0");
    let mut call = |which, arguments: &[u64]| routine(&mut bench, which, arguments);
    assert_eq!(call(Routine::Strlen, &[PAGE]), 5);
    assert_eq!(call(Routine::Strcmp, &[PAGE, PAGE + 6]), MINUS);
    assert_eq!(call(Routine::Strcmp, &[PAGE + 6, PAGE]), 1);
    assert_eq!(call(Routine::Strncmp, &[PAGE, PAGE + 6, 3]), 0);
    assert_eq!(call(Routine::Wcslen, &[PAGE + 12]), 2);
    assert_eq!(call(Routine::Wcscmp, &[PAGE + 12, PAGE + 12]), 0);
    assert_eq!(call(Routine::Memcmp, &[PAGE, PAGE + 6, 3]), 0);
    assert_eq!(call(Routine::Memcmp, &[PAGE, PAGE + 6, 4]), MINUS);
    assert_eq!(call(Routine::CheckAddress, &[PAGE]), 1);
    assert_eq!(call(Routine::CheckAddress, &[PAGE - 1]), 0);
    assert_eq!(call(Routine::VirtualToPhysical, &[PAGE + 5]), 5);
    assert_eq!(call(Routine::PhysicalToVirtual, &[0x5000]), 0);
}

#[test]
fn what_cannot_be_read_is_never_equal_and_is_counted() {
    let mut bench = Bench::holding(b"\0\0\0\0");
    bench.memory[4000..].fill(b'a');
    let (gone, end) = (0x10, PAGE + 4090);
    for (which, rest) in [
        (Routine::Memcmp, Some(10)),
        (Routine::Strcmp, None),
        (Routine::Strncmp, Some(10)),
        (Routine::Wcscmp, None),
        (Routine::Wcsncmp, Some(10)),
    ] {
        for (left, right, expected) in [
            (gone, PAGE, MINUS),
            (PAGE, gone, 1),
            (gone, gone, MINUS),
            // Readable and equal up to where the memory ends.
            (end, end, MINUS),
        ] {
            let bytes = program(|p| {
                p.number(left)?;
                p.number(right)?;
                rest.map_or(Ok(()), |rest| p.number(rest))?;
                p.routine(which)?;
                p.op(Op::Return)
            });
            let outcome = run_on(&mut bench, &bytes, 1000);
            let found = (outcome.value(), outcome.faults);
            assert_eq!(found, (Some(expected), 1), "{which:?} {left:x} {right:x}");
        }
    }
    for which in [Routine::Memcmp, Routine::Strncmp, Routine::Wcsncmp] {
        assert_eq!(routine(&mut bench, which, &[gone, gone, 0]), 0, "{which:?}");
    }
}

#[test]
fn text_that_ends_with_its_page_is_read_whole() {
    let mut bench = Bench::default();
    bench.memory[4000..4095].fill(b'a');
    assert_eq!(routine(&mut bench, Routine::Strlen, &[PAGE + 4000]), 95);
    bench.memory[4095] = b'a';
    let bytes = program(|p| {
        p.number(PAGE + 4000)?;
        p.routine(Routine::Strlen)?;
        p.op(Op::Return)
    });
    let outcome = run_on(&mut bench, &bytes, 1000);
    assert_eq!((outcome.value(), outcome.faults), (Some(96), 1));
}

#[test]
fn copies_go_in_pieces_and_cost_by_length() {
    let mut bench = Bench::default();
    for (index, byte) in bench.memory.iter_mut().enumerate() {
        *byte = index as u8;
    }
    let bytes = program(|p| {
        p.number(PAGE + 2048)?;
        p.number(PAGE)?;
        p.number(1000)?;
        p.routine(Routine::Memcpy)?;
        p.op(Op::Return)
    });
    let outcome = run_on(&mut bench, &bytes, 1000);
    assert_eq!(outcome.faults, 0);
    // Two of the numbers take two words each.
    assert_eq!(1000 - outcome.left, 7 + 16);
    assert_eq!(bench.memory[2048..3048], bench.memory[..1000]);
    assert!(bench.longest <= crate::script::PIECE_BYTES);
}

#[test]
fn atomic_routines_work_on_variables_only() {
    let mut bench = Bench::default();
    let global = tag::address(Area::Globals, 8);
    let mut call = |which, arguments: &[u64]| routine(&mut bench, which, arguments);
    assert_eq!(call(Routine::InterlockedIncrement, &[global]), 1);
    assert_eq!(call(Routine::InterlockedDecrement, &[global]), 0);
    assert_eq!(call(Routine::InterlockedExchange, &[global, 7]), 0);
    assert_eq!(call(Routine::InterlockedExchangeAdd, &[global, 3]), 7);
    assert_eq!(
        call(Routine::InterlockedCompareExchange, &[global, 1, 9]),
        10
    );
    assert_eq!(
        call(Routine::InterlockedCompareExchange, &[global, 1, 10]),
        10
    );
    assert_eq!(call(Routine::SpinlockUnlock, &[global]), 0);
    assert_eq!(call(Routine::SpinlockLock, &[global]), 0);
    assert_eq!(call(Routine::InterlockedIncrement, &[global]), 2);
    assert_eq!(call(Routine::InterlockedIncrement, &[PAGE]), 0);
    assert_eq!(call(Routine::InterlockedIncrement, &[global + 4]), 0);
}

#[test]
fn lock_that_nobody_frees_is_over_budget() {
    let mut bench = Bench::default();
    let bytes = program(|p| {
        p.variable(Op::AddressGlobal, 0)?;
        p.op(Op::Dup)?;
        p.routine(Routine::SpinlockLock)?;
        p.op(Op::Drop)?;
        p.routine(Routine::SpinlockLock)?;
        p.op(Op::Return)
    });
    let outcome = run_on(&mut bench, &bytes, 2000);
    assert!(matches!(outcome.end, End::OverBudget { .. }));
    assert!(bench.relaxed > 1000 && bench.relaxed < 2000);
}

#[test]
fn sleep_is_bounded() {
    let mut bench = Bench::default();
    assert_eq!(routine(&mut bench, Routine::Microsleep, &[50]), 0);
    assert_eq!(bench.slept_us, 50);
    let bytes = program(|p| {
        p.number(MINUS)?;
        p.routine(Routine::Microsleep)?;
        p.op(Op::Return)
    });
    let outcome = run_on(&mut bench, &bytes, 100_000);
    assert!(matches!(outcome.end, End::OverBudget { .. }));
    assert_eq!(bench.slept_us, 50);
}

#[test]
fn debugger_is_asked() {
    let mut bench = Bench::default();
    assert_eq!(routine(&mut bench, Routine::EventEnable, &[404]), 0);
    assert_eq!(routine(&mut bench, Routine::EventShortCircuit, &[1]), 1);
    routine(&mut bench, Routine::EventInject, &[3, 14]);
    routine(&mut bench, Routine::EventInjectErrorCode, &[3, 14, 2]);
    routine(&mut bench, Routine::Pause, &[]);
    let inject = |error_code| Ask::Inject {
        kind: 3,
        vector: 14,
        error_code,
    };
    assert_eq!(
        bench.asked,
        [
            Ask::Enable(404),
            Ask::ShortCircuit(true),
            inject(None),
            inject(Some(2)),
            Ask::Pause
        ]
    );
}

#[test]
fn branches_are_printed_from_the_oldest_on() {
    let branch = |from| Branch {
        from,
        to: from + 0x10,
        ..Branch::default()
    };
    let mut bench = Bench {
        branches: vec![branch(3), branch(2), branch(1)],
        ..Bench::default()
    };
    assert_eq!(routine(&mut bench, Routine::LbrPrint, &[]), 1);
    let numbers = |values: [u64; 4]| -> Vec<Value> { values.map(Value::Number).into() };
    let printed: Vec<_> = bench.records.drain(..).map(|(_, values)| values).collect();
    assert_eq!(
        printed,
        [[2, 1, 0x11, 0], [1, 2, 0x12, 0], [0, 3, 0x13, 0]].map(numbers)
    );
    assert_eq!(routine(&mut bench, Routine::LbrRestoreByFilter, &[0x21]), 1);
    assert_eq!(
        bench.asked,
        [BranchCall::Check, BranchCall::RestoreBy(0x21)].map(Ask::Branches)
    );
}

#[test]
fn instructions_are_measured_where_they_stand() {
    let mut bench = Bench::holding(&[0x48, 0x89, 0xe5, 0x90]);
    assert_eq!(
        routine(&mut bench, Routine::InstructionLength64, &[PAGE]),
        3
    );
    assert_eq!(
        routine(&mut bench, Routine::InstructionLength32, &[PAGE]),
        1
    );
    bench.memory[4095] = 0x90;
    assert_eq!(
        routine(&mut bench, Routine::InstructionLength64, &[PAGE + 4095]),
        1
    );
    assert_eq!(routine(&mut bench, Routine::InstructionLength64, &[0]), 0);
}

#[test]
fn print_makes_records() {
    let mut bench = Bench::holding(b"name\0w\0i\0\0\0");
    let bytes = program(|p| {
        p.number(0x80)?;
        p.number(PAGE)?;
        p.number(PAGE + 5)?;
        p.pseudo(Pseudo::Time)?;
        p.number(0x10)?;
        p.printf(b"%x %s %ws %s %s", 5, 0b01_01_10_01_00)?;
        p.op(Op::Exit)
    });
    let outcome = run_on(&mut bench, &bytes, 100);
    assert_eq!(outcome.first_fault.unwrap().kind, FaultKind::Read(0x10));
    let expected = [
        Value::Number(0x80),
        Value::Text(b"name".to_vec()),
        Value::Text(b"w\0i\0".to_vec()),
        Value::Number(Marker::Time.address()),
        Value::Number(0x10),
    ];
    assert_eq!(bench.records.len(), 1);
    assert_eq!(bench.records[0].1, expected);
}

#[test]
fn long_text_is_cut() {
    let mut bench = Bench::default();
    bench.memory.fill(b'x');
    let bytes = program(|p| {
        p.number(PAGE)?;
        p.number(PAGE)?;
        p.number(MINUS)?;
        p.printf(b"%s %s %llx", 3, 0b01_01)?;
        p.op(Op::Exit)
    });
    run_on(&mut bench, &bytes, 1000);
    let (_, record) = &bench.records[0];
    let Value::Text(text) = &record[0] else {
        panic!("{record:?}");
    };
    assert_eq!(text.len(), crate::script::TEXT_BYTES);
    assert!(text.ends_with(b"xxx..."));
    assert_eq!(record[1..], [Value::Text([].into()), Value::Number(MINUS)]);
}
