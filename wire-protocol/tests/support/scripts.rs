//! Programs made of arbitrary bytes, and a machine that is as unhelpful as it may be. Used by the
//! property tests and by the fuzz target.
#![allow(dead_code, reason = "each user takes what it needs")]
#![allow(unreachable_pub, reason = "shared as a module")]

use std::fmt;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::atomic::{AtomicU64, Ordering};
use wire_protocol::branch::Branch;
use wire_protocol::bytecode::assemble::{AssembleError, LabelId, Scratch};
use wire_protocol::bytecode::decode::{Operand, decode};
use wire_protocol::bytecode::op::{Op, Shape};
use wire_protocol::bytecode::routine::{Pseudo, Routine, Show};
use wire_protocol::bytecode::tag::{self, Area};
use wire_protocol::bytecode::update::{Update, Width};
use wire_protocol::bytecode::{Assembler, BadProgram, Decoded, GLOBAL_BYTES, Program, Verified};
use wire_protocol::packet::Arguments;
use wire_protocol::print::{Clock, Site};
use wire_protocol::register::Register;
use wire_protocol::script::{Ask, End, Machine, Outcome, PIECE_BYTES, SLEEP_US, Workspace, run};

/// Operations of one run.
const BUDGET: u64 = 3000;

/// Some of its memory is there and some is not; what it was asked is remembered as a hash.
struct Strange<'p> {
    program: Verified<'p>,
    globals: &'p [AtomicU64],
    history: DefaultHasher,
    costly: u64,
}

impl Strange<'_> {
    /// An answer that depends on the question and on all before it.
    fn answer(&mut self, question: impl Hash) -> u64 {
        question.hash(&mut self.history);
        self.costly += 1;
        self.history.finish()
    }

    fn read(&mut self, address: u64, out: &mut [u8]) -> bool {
        assert!(!tag::is_tagged(address), "{address:#x} is not the guest's");
        assert!(address.checked_add(out.len() as u64).is_some());
        assert!(out.len() <= PIECE_BYTES, "{} bytes at once", out.len());
        for chunk in out.chunks_mut(8) {
            let answer = self.answer(address).to_le_bytes();
            chunk.copy_from_slice(&answer[..chunk.len()]);
            // Ends of texts.
            chunk[0] &= answer[1] >> 4;
        }
        !address.is_multiple_of(7)
    }

    fn write(&mut self, address: u64, bytes: &[u8]) -> bool {
        assert!(!tag::is_tagged(address), "{address:#x} is not the guest's");
        assert!(address.checked_add(bytes.len() as u64).is_some());
        assert!(bytes.len() <= PIECE_BYTES, "{} bytes at once", bytes.len());
        self.answer((address, bytes));
        !address.is_multiple_of(7)
    }
}

impl Machine for Strange<'_> {
    fn register(&mut self, register: Register) -> u64 {
        self.answer(register as u8)
    }
    fn set_register(&mut self, register: Register, value: u64) -> bool {
        self.answer((register as u8, value)).is_multiple_of(2)
    }
    fn pseudo(&mut self, pseudo: Pseudo) -> u64 {
        assert!(!matches!(pseudo, Pseudo::Date | Pseudo::Time));
        self.answer(pseudo as u8)
    }
    fn read_virtual(&mut self, address: u64, out: &mut [u8]) -> bool {
        self.read(address, out)
    }
    fn write_virtual(&mut self, address: u64, bytes: &[u8]) -> bool {
        self.write(address, bytes)
    }
    fn read_physical(&mut self, address: u64, out: &mut [u8]) -> bool {
        self.read(address, out)
    }
    fn write_physical(&mut self, address: u64, bytes: &[u8]) -> bool {
        self.write(address, bytes)
    }
    fn virtual_to_physical(&mut self, address: u64) -> Option<u64> {
        assert!(!tag::is_tagged(address), "{address:#x} is not the guest's");
        Some(self.answer(address))
    }
    fn physical_to_virtual(&mut self, address: u64) -> Option<u64> {
        assert!(!tag::is_tagged(address), "{address:#x} is not the guest's");
        self.answer(address);
        None
    }
    fn globals(&self) -> &[AtomicU64] {
        self.globals
    }
    fn record(&mut self, site: u32, arguments: Arguments<'_>) {
        let site = Site::of(self.program.program(), site).expect("a place that prints");
        let mut text = Text(&mut self.history, 0);
        let _ = site.write(arguments, Clock::default(), &mut text);
        self.costly += 1;
    }
    fn branch(&mut self, number: usize) -> Option<Branch> {
        let from = self.answer(number);
        (!from.is_multiple_of(4)).then_some(Branch {
            from,
            ..Branch::default()
        })
    }
    fn ask(&mut self, ask: Ask) -> bool {
        self.answer(format!("{ask:?}")).is_multiple_of(2)
    }
    fn tsc(&mut self) -> u64 {
        self.answer("tsc")
    }
    fn relax(&mut self) {
        self.answer("relax");
    }
    fn sleep_us(&mut self, microseconds: u32) {
        assert!(microseconds <= SLEEP_US);
        self.answer(microseconds);
    }
}

/// What is printed becomes part of the history.
struct Text<'h>(&'h mut DefaultHasher, usize);

impl fmt::Write for Text<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        text.hash(self.0);
        self.1 += text.len();
        // A format of many wide fields is no reason to wait.
        if self.1 > 10_000 {
            Err(fmt::Error)
        } else {
            Ok(())
        }
    }
}

/// A workspace in which everything has been used: values that are not zero everywhere.
fn used_workspace() -> Box<Workspace> {
    let bytes = assemble(|a| {
        let deeper = a.declare(1)?;
        a.number(u64::MAX)?;
        a.call(deeper)?;
        a.op(Op::Return)?;
        a.begin(deeper)?;
        for _ in 0..100 {
            a.number(0x5555_5555_5555_5555)?;
        }
        a.call(deeper)?;
        a.op(Op::Return)
    })
    .expect("assembles");
    let mut workspace = Box::new(Workspace::new());
    let program = Verified::new(&bytes).expect("verifies");
    let mut machine = Strange {
        program,
        globals: &[],
        history: DefaultHasher::new(),
        costly: 0,
    };
    let mut memory = vec![0; program.decoded_bytes().0];
    let decoded = Decoded::new(&program, &mut memory).expect("as much as it needs");
    run(&decoded, &mut [], &mut workspace, &mut machine, BUDGET);
    workspace
}

fn assemble(
    write: impl FnOnce(&mut Assembler<'_>) -> Result<(), AssembleError>,
) -> Result<Vec<u8>, AssembleError> {
    let mut scratch = Scratch::default();
    let mut assembler = Assembler::new(scratch.memory());
    write(&mut assembler)?;
    let mut bytes = [0; 8192];
    Ok(assembler.finish(&mut bytes)?.to_vec())
}

/// What there is to see of a run.
#[derive(Debug, PartialEq)]
struct Seen {
    outcome: Outcome,
    history: u64,
    locals: Vec<u8>,
    globals: Vec<u64>,
}

fn watch(
    program: Verified<'_>,
    decoded: &Decoded<'_>,
    workspace: &mut Workspace,
    budget: u64,
) -> Seen {
    let globals: Vec<_> = (0..GLOBAL_BYTES / 8).map(|_| AtomicU64::new(0)).collect();
    let mut locals = vec![0; program.program().local_bytes()];
    let mut machine = Strange {
        program,
        globals: &globals,
        history: DefaultHasher::new(),
        costly: 0,
    };
    let outcome = run(decoded, &mut locals, workspace, &mut machine, budget);
    assert!(outcome.left <= budget);
    // One operation asks the machine for a register, for a piece of 64 bytes twice, for the 15
    // bytes of an instruction, or for 32 pieces of texts that are one character long each.
    let used = budget - outcome.left;
    assert!(
        machine.costly <= 64 * (used + 1),
        "{} for {used}",
        machine.costly
    );
    Seen {
        outcome,
        history: machine.history.finish(),
        locals,
        globals: globals
            .iter()
            .map(|it| it.load(Ordering::Relaxed))
            .collect(),
    }
}

/// Verifies a program and, if it is good, runs it: it must end as a program should, take the budget that it takes and
/// not one operation less, and must not depend on what others left in the workspace. That it stays within its code,
/// registers, variables and constants is asserted where it runs.
pub fn exercise(bytes: &[u8]) -> Result<Outcome, BadProgram> {
    let program = Verified::new(bytes)?;
    let (needed, kept) = program.decoded_bytes();
    let mut memory = vec![0xff; needed];
    assert_eq!(program.decode_into(&mut memory[..needed - 1]), None);
    assert_eq!(program.decode_into(&mut memory), Some(kept));
    let layout = program.program().layout();
    let decoded = Decoded::from_parts(bytes, layout, &memory[..kept]).expect("the same bytes");
    let seen = watch(program, &decoded, &mut Workspace::new(), BUDGET);
    assert_eq!(
        seen,
        watch(program, &decoded, &mut used_workspace(), BUDGET)
    );
    assert!(!matches!(seen.outcome.end, End::Broken { .. }), "{seen:?}");
    if let End::Finished { .. } = seen.outcome.end {
        // What it takes is enough, and anything less is not.
        let used = BUDGET - seen.outcome.left;
        let again = watch(program, &decoded, &mut Workspace::new(), used);
        assert_eq!(
            (again.outcome.end, again.outcome.left),
            (seen.outcome.end, 0)
        );
        let less = watch(program, &decoded, &mut Workspace::new(), used - 1);
        assert!(
            matches!(less.outcome.end, End::OverBudget { .. }),
            "{less:?} with {used} less one"
        );
    }
    Ok(seen.outcome)
}

/// Changes a label's depth, or sends a jump to another label.
pub fn misguide(bytes: &mut [u8], which: usize, to: u8) {
    let Ok(program) = Program::parse(bytes) else {
        return;
    };
    let (code, labels) = (program.code(), program.label_count());
    let code_at = bytes.len() - code.len();
    let table = code_at - program.constants().len() - 4 * labels;
    if labels == 0 {
        return;
    }
    if which.is_multiple_of(2) {
        bytes[table + 4 * (which / 2 % labels) + 3] = to % 8;
        return;
    }
    let target = program.label(usize::from(to) % labels).expect("a label").at;
    let mut jumps = Vec::new();
    let mut at = 0;
    while let Some(instruction) = decode(code, at) {
        if matches!(instruction.operand, Operand::Target(_)) {
            jumps.push(code_at + at + 1);
        }
        at = instruction.next;
    }
    if !jumps.is_empty() {
        let jump = jumps[which / 2 % jumps.len()];
        bytes[jump..jump + 3].copy_from_slice(&target.to_le_bytes()[..3]);
    }
}

/// Bytes that decide what a program does.
struct Choices<'c>(std::slice::Iter<'c, u8>);

impl Choices<'_> {
    fn next(&mut self) -> u8 {
        self.0.next().copied().unwrap_or(0)
    }

    fn below(&mut self, limit: usize) -> usize {
        usize::from(self.next()) % limit
    }

    fn number(&mut self) -> u64 {
        let len = self.below(9);
        (0..len).fold(0, |number, _| number << 8 | u64::from(self.next()))
    }
}

const LOCAL_BYTES: usize = 64;
const FRAME_BYTES: usize = 64;
/// Of the eight variables of each part.
const REGISTERS: usize = 4;
const ARGUMENTS: [usize; 3] = [0, 1, 2];

/// A program that verifies, whatever the bytes.
pub fn generate(choices: &[u8]) -> Result<Vec<u8>, AssembleError> {
    let mut choices = Choices(choices.iter());
    assemble(|a| {
        a.set_local_bytes(LOCAL_BYTES)?;
        a.set_local_registers(REGISTERS)?;
        let mut functions = Vec::new();
        for arguments in ARGUMENTS {
            functions.push((a.declare(arguments)?, arguments));
        }
        let own = choices.below(60);
        body(a, &mut choices, &functions, own, false)?;
        for &(function, _) in &functions {
            a.set_frame_registers(function, REGISTERS)?;
            a.set_frame_bytes(function, FRAME_BYTES)?;
            a.begin(function)?;
            let own = choices.below(30);
            body(a, &mut choices, &functions, own, true)?;
        }
        Ok(())
    })
}

type Functions = [(wire_protocol::bytecode::assemble::FunctionId, usize)];

/// A label, and the values on the stack there as soon as that is known.
struct Label {
    id: LabelId,
    depth: Option<u8>,
    placed: bool,
}

impl Label {
    fn place(&mut self, a: &mut Assembler<'_>) -> Result<(), AssembleError> {
        let depth = self.depth.unwrap_or(a.depth().unwrap_or(0));
        to_depth(a, depth)?;
        self.depth = Some(depth);
        self.placed = true;
        a.place(self.id)
    }

    fn jump(&mut self, a: &mut Assembler<'_>, op: Op) -> Result<(), AssembleError> {
        let depth = self.depth.unwrap_or(a.depth().unwrap_or(0));
        to_depth(a, depth)?;
        self.depth = Some(depth);
        a.number(u64::from(a.here() % 3))?;
        a.jump(op, self.id)
    }
}

fn body(
    a: &mut Assembler<'_>,
    choices: &mut Choices<'_>,
    functions: &Functions,
    len: usize,
    has_frame: bool,
) -> Result<(), AssembleError> {
    let mut labels = Vec::new();
    for _ in 0..4 {
        labels.push(Label {
            id: a.label()?,
            depth: None,
            placed: false,
        });
    }
    for _ in 0..len {
        statement(a, choices, functions, has_frame, &mut labels)?;
    }
    for label in labels.iter_mut().filter(|label| !label.placed) {
        label.place(a)?;
    }
    want(a, choices, 1)?;
    a.op(Op::Return)
}

/// Drops or pushes until there are so many values.
fn to_depth(a: &mut Assembler<'_>, depth: u8) -> Result<(), AssembleError> {
    while a.depth().unwrap_or(0) > depth {
        a.op(Op::Drop)?;
    }
    while a.depth().unwrap_or(0) < depth {
        a.number(1)?;
    }
    Ok(())
}

/// Pushes until there are at least so many values.
fn want(a: &mut Assembler<'_>, choices: &mut Choices<'_>, count: u8) -> Result<(), AssembleError> {
    while a.depth().unwrap_or(0) < count {
        operand(a, choices)?;
    }
    Ok(())
}

/// A number, or an address of something.
fn operand(a: &mut Assembler<'_>, choices: &mut Choices<'_>) -> Result<(), AssembleError> {
    let areas = [
        Area::Locals,
        Area::Frames,
        Area::Globals,
        Area::Constants,
        Area::Marker,
    ];
    match choices.below(4) {
        0 => {
            let area = areas[choices.below(areas.len())];
            a.number(tag::address(area, u32::from(choices.next())))
        }
        1 => a.constant_address(b"some text\0"),
        _ => a.number(choices.number()),
    }
}

fn statement(
    a: &mut Assembler<'_>,
    choices: &mut Choices<'_>,
    functions: &Functions,
    has_frame: bool,
    labels: &mut [Label],
) -> Result<(), AssembleError> {
    if a.depth().unwrap_or(0) > 40 {
        to_depth(a, 3)?;
    }
    match choices.below(9) {
        0 => operand(a, choices),
        1 | 2 => {
            let op = Op::ALL[choices.below(Op::ALL.len())];
            if op == Op::Update {
                want(a, choices, 2)?;
                return a.update(Update {
                    op: Update::OPERATIONS[choices.below(Update::OPERATIONS.len())],
                    width: Width {
                        bytes: 1 << choices.below(4),
                        is_signed: choices.below(2) == 1,
                    },
                });
            }
            if op.shape() != Shape::None {
                return variable(a, choices, op, has_frame);
            }
            want(a, choices, op.effect().0)?;
            a.op(op)
        }
        3 => {
            let register = Register::ALL[choices.below(Register::ALL.len())];
            a.register(register)?;
            a.set_register(register)?;
            a.pseudo(Pseudo::ALL[choices.below(Pseudo::ALL.len())])
        }
        4 => {
            let routine = Routine::ALL[choices.below(Routine::ALL.len())];
            for _ in 0..routine.arguments() {
                operand(a, choices)?;
            }
            a.routine(routine)
        }
        5 => match labels.iter_mut().find(|label| !label.placed) {
            Some(label) => label.place(a),
            None => Ok(()),
        },
        6 => {
            let op = [Op::JumpIfZero, Op::JumpUnlessZero][choices.below(2)];
            labels[choices.below(labels.len())].jump(a, op)
        }
        7 => {
            let (function, arguments) = functions[choices.below(functions.len())];
            want(a, choices, arguments as u8)?;
            a.call(function)
        }
        _ => {
            want(a, choices, 3)?;
            let kinds = choices.next() & 0b10_10_10;
            let formats: [&[u8]; 3] = [b"%s %ws %f", b"%d %lx", b"%5.3s %p %c"];
            a.printf(formats[choices.below(3)], 3, u32::from(kinds))?;
            want(a, choices, 2)?;
            a.show([Show::Print, Show::Formats, Show::Test][choices.below(3)])?;
            a.bits(Op::GetBits, choices.next() & 31, 1 + (choices.next() & 31))
        }
    }
}

/// An operation on a variable, if it is one.
fn variable(
    a: &mut Assembler<'_>,
    choices: &mut Choices<'_>,
    op: Op,
    has_frame: bool,
) -> Result<(), AssembleError> {
    let number = match op {
        // The main part's variables in registers are not there for functions.
        Op::LoadLocal | Op::StoreLocal if has_frame => REGISTERS + choices.below(4),
        Op::LoadLocal | Op::StoreLocal => choices.below(LOCAL_BYTES / 8),
        Op::LoadFrame | Op::StoreFrame if has_frame => choices.below(FRAME_BYTES / 8),
        Op::AddressLocal => 8 * REGISTERS + choices.below(32),
        Op::AddressFrame if has_frame => 8 * REGISTERS + choices.below(32),
        Op::LoadGlobal | Op::StoreGlobal | Op::AddressGlobal => choices.below(256),
        _ => return operand(a, choices),
    };
    want(a, choices, op.effect().0)?;
    a.variable(op, number)
}
