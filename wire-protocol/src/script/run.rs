//! One run of a program: its state, and what operations on variables, registers and calls do.

use super::{
    CALLS, Call, End, FRAMES_BYTES, Fault, FaultKind, Machine, Outcome, STACK_VALUES, Workspace,
};
use crate::bytecode::routine::Pseudo;
use crate::bytecode::tag::{self, Area, Marker};
use crate::bytecode::word::WORD_BYTES;
use crate::bytecode::{Decoded, Program};
use crate::limits::PRINT_ARGUMENTS;
use crate::register::Register;
use core::sync::atomic::Ordering;

/// Texts of one record, together. What is longer ends with three dots.
pub const TEXT_BYTES: usize = 1024;

/// Values of one record, encoded: its texts, their lengths, and its numbers.
pub(super) const ENCODED_BYTES: usize = TEXT_BYTES + 10 * PRINT_ARGUMENTS;

/// Memory for the record that is being made.
#[derive(Debug)]
pub(super) struct RecordMemory {
    pub(super) texts: [u8; TEXT_BYTES],
    pub(super) encoded: [u8; ENCODED_BYTES],
}

impl RecordMemory {
    pub(super) const fn new() -> Self {
        Self {
            texts: [0; TEXT_BYTES],
            encoded: [0; ENCODED_BYTES],
        }
    }
}

/// Everything of a run that is not in the loop's own variables.
pub(super) struct Run<'r, 'p, M> {
    decoded: &'r Decoded<'p>,
    pub(super) program: &'r Program<'p>,
    pub(super) words: &'p [[u8; WORD_BYTES]],
    pub(super) locals: &'r mut [u8],
    /// Bytes of locals that are registers during the run, and have no address.
    pub(super) register_bytes: usize,
    pub(super) frames: &'r mut [u8; FRAMES_BYTES],
    calls: &'r mut [Call; CALLS],
    /// For the record that is being made.
    pub(super) record: Option<&'r mut RecordMemory>,
    pub(super) machine: &'r mut M,
    /// Where the running function's frame begins and ends.
    pub(super) frame: (usize, usize),
    call_count: usize,
    /// The word behind the one that runs, for faults and records.
    pub(super) at: usize,
    /// Budget, while an operation that may take more than one from it has it.
    pub(super) left: u64,
    pub(super) over: bool,
    faults: u32,
    /// Of the first one, and the word behind the one it is of.
    first_fault: Option<(usize, FaultKind)>,
}

impl<M> Run<'_, '_, M> {
    #[cold]
    pub(super) fn fault(&mut self, kind: FaultKind) {
        self.faults = self.faults.saturating_add(1);
        self.first_fault.get_or_insert((self.at, kind));
    }

    /// How many there were.
    pub(super) fn faults(&self) -> u64 {
        self.faults.into()
    }

    /// Those after the first so many are as if they had not been; whether there were any.
    pub(super) fn forgive(&mut self, known: u64) -> bool {
        let more = self.faults() > known;
        if more {
            self.faults = known as u32;
        }
        if known == 0 {
            self.first_fault = None;
        }
        more
    }

    /// Takes from the budget; false if that was too much.
    pub(super) fn charge(&mut self, cost: u64) -> bool {
        match self.left.checked_sub(cost) {
            Some(left) => {
                self.left = left;
                true
            }
            None => {
                self.left = 0;
                self.over = true;
                false
            }
        }
    }

    /// The place in the code of the word before this one.
    fn place_before(&self, next: usize) -> u32 {
        self.decoded.place_of(next.saturating_sub(1))
    }

    /// The place in the code of the operation that runs.
    pub(super) fn site(&self) -> u32 {
        self.place_before(self.at)
    }

    /// Of words as the loop has them, the places in the code.
    fn outcome(&self, end: End) -> Outcome {
        let place = |next: u32| self.place_before(next as usize);
        Outcome {
            end: match end {
                End::Finished { value } => End::Finished { value },
                End::OverBudget { at } => End::OverBudget { at: place(at) },
                End::StackOverflow { at } => End::StackOverflow { at: place(at) },
                End::Broken { at } => End::Broken { at: place(at) },
            },
            left: self.left,
            faults: self.faults,
            first_fault: self.first_fault.map(|(at, kind)| Fault {
                at: self.place_before(at),
                kind,
            }),
        }
    }
}

/// Runs a program. `locals` are those of its event on this core; variables beyond their end are
/// not there. `budget` is in operations.
#[inline]
pub fn run<M: Machine>(
    program: &Decoded<'_>,
    locals: &mut [u8],
    workspace: &mut Workspace,
    machine: &mut M,
    budget: u64,
) -> Outcome {
    let Workspace {
        stack,
        frames,
        calls,
        record,
    } = workspace;
    let registers = usize::from(program.program().registers());
    let mut run = Run {
        decoded: program,
        program: program.program(),
        words: program.words(),
        locals,
        register_bytes: 8 * registers,
        frames,
        calls,
        record: Some(record),
        machine,
        frame: (0, 0),
        call_count: 0,
        at: 0,
        left: 0,
        over: false,
        faults: 0,
        first_fault: None,
    };
    if registers == 0 {
        let end = run.interpret(stack, budget);
        return run.outcome(end);
    }
    run.with_variables(stack, registers, budget)
}

impl<M: Machine> Run<'_, '_, M> {
    /// The variables that are registers are those of earlier runs, and of later ones.
    fn with_variables(
        &mut self,
        stack: &mut [u64; STACK_VALUES],
        count: usize,
        budget: u64,
    ) -> Outcome {
        let (saved, _) = self.locals.as_chunks::<8>();
        let known = saved.len();
        let variables = stack.iter_mut().take(count);
        let saved = saved.iter().copied().chain(core::iter::repeat([0; 8]));
        for (register, saved) in variables.zip(saved) {
            *register = u64::from_le_bytes(saved);
        }
        if known < count {
            self.missing(Area::Locals, known, 0);
        }
        let end = self.interpret(stack, budget);
        let (saved, _) = self.locals.as_chunks_mut::<8>();
        for (register, saved) in stack.iter().take(count).zip(saved) {
            *saved = register.to_le_bytes();
        }
        self.outcome(end)
    }

    #[inline(always)]
    pub(super) fn load_local(&mut self, slot: usize, at: usize) -> u64 {
        match slot_of(self.locals, 8 * slot) {
            Some(&mut value) => u64::from_le_bytes(value),
            None => self.missing(Area::Locals, slot, at),
        }
    }

    #[inline(always)]
    pub(super) fn store_local(&mut self, slot: usize, value: u64, at: usize) {
        match slot_of(self.locals, 8 * slot) {
            Some(place) => *place = value.to_le_bytes(),
            None => _ = self.missing(Area::Locals, slot, at),
        }
    }

    /// The verifier has seen that the slot is within the frame.
    #[inline(always)]
    pub(super) fn load_frame(&mut self, slot: usize) -> u64 {
        let place = slot_of(self.frames, self.frame.0 + 8 * slot);
        debug_assert!(place.is_some() && self.frame.0 + 8 * slot < self.frame.1);
        place.map_or(0, |&mut value| u64::from_le_bytes(value))
    }

    #[inline(always)]
    pub(super) fn store_frame(&mut self, slot: usize, value: u64) {
        debug_assert!(self.frame.0 + 8 * slot < self.frame.1);
        if let Some(place) = slot_of(self.frames, self.frame.0 + 8 * slot) {
            *place = value.to_le_bytes();
        }
    }

    #[inline(always)]
    pub(super) fn load_global(&mut self, slot: usize, at: usize) -> u64 {
        match self.machine.globals().get(slot) {
            Some(word) => word.load(Ordering::Relaxed),
            None => self.missing(Area::Globals, slot, at),
        }
    }

    #[inline(always)]
    pub(super) fn store_global(&mut self, slot: usize, value: u64, at: usize) {
        match self.machine.globals().get(slot) {
            Some(word) => word.store(value, Ordering::Relaxed),
            None => _ = self.missing(Area::Globals, slot, at),
        }
    }

    /// Adds to a global as a whole: what other cores do comes before or after.
    #[inline(always)]
    pub(super) fn add_global(&mut self, slot: usize, addend: u64, at: usize) {
        match self.machine.globals().get(slot) {
            Some(word) => _ = word.fetch_add(addend, Ordering::AcqRel),
            None => {
                self.missing(Area::Globals, slot, at);
                self.fault(FaultKind::Write(tag::address(
                    Area::Globals,
                    8 * slot as u32,
                )));
            }
        }
    }

    /// A variable beyond the memory that the run was given.
    #[cold]
    fn missing(&mut self, area: Area, slot: usize, at: usize) -> u64 {
        // The verifier has seen that there is such a slot, where all variables are.
        debug_assert!(
            area != Area::Locals || self.locals.len() < self.program.local_bytes(),
            "slot {slot}"
        );
        self.at = at;
        self.fault(FaultKind::Read(tag::address(area, 8 * slot as u32)));
        0
    }

    #[inline(always)]
    pub(super) fn register(&mut self, number: u8) -> u64 {
        match Register::from_wire(number) {
            Some(register) => self.machine.register(register),
            None => 0,
        }
    }

    pub(super) fn set_register(&mut self, number: u8, value: u64, at: usize) {
        let register = Register::from_wire(number);
        if !register.is_some_and(|it| self.machine.set_register(it, value)) {
            self.at = at;
            self.fault(FaultKind::Register(value));
        }
    }

    pub(super) fn pseudo(&mut self, number: u8) -> u64 {
        match Pseudo::from_byte(number) {
            Some(Pseudo::Date) => Marker::Date.address(),
            Some(Pseudo::Time) => Marker::Time.address(),
            Some(pseudo) => self.machine.pseudo(pseudo),
            None => 0,
        }
    }

    /// Keeps what the caller needs to go on; false if there are too many calls.
    #[inline(always)]
    pub(super) fn enter(&mut self, call: Call) -> bool {
        let Some(slot) = self.calls.get_mut(self.call_count) else {
            return false;
        };
        *slot = call;
        self.call_count += 1;
        self.frame = (self.frame.1, self.frame.1);
        true
    }

    /// Memory for variables of the function that has been entered; false if there is none.
    pub(super) fn make_frame(&mut self, len_bytes: usize) -> bool {
        let end = self.frame.0 + len_bytes.next_multiple_of(8);
        let Some(room) = self.frames.get_mut(self.frame.0..end) else {
            return false;
        };
        room.fill(0);
        self.frame.1 = end;
        true
    }

    /// The word behind the call that led here.
    pub(super) fn caller(&self) -> usize {
        let call = self.call_count.checked_sub(1);
        let call = call.and_then(|index| self.calls.get(index));
        call.map_or(0, |call| call.next as usize)
    }

    /// What the caller needs to go on; `None` in the main part.
    #[inline(always)]
    pub(super) fn leave(&mut self) -> Option<Call> {
        self.call_count = self.call_count.checked_sub(1)?;
        let call = *self.calls.get(self.call_count)?;
        self.frame = (usize::from(call.frame.0), usize::from(call.frame.1));
        Some(call)
    }
}

/// The address of a place in an area, counted from `base`.
#[inline(always)]
pub(super) fn address(area: Area, base: usize, offset: usize) -> u64 {
    tag::address(area, (base + offset) as u32)
}

/// The eight bytes at `offset`.
#[inline(always)]
fn slot_of(memory: &mut [u8], offset: usize) -> Option<&mut [u8; 8]> {
    memory.get_mut(offset..)?.first_chunk_mut::<8>()
}
