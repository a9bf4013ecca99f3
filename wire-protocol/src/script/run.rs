//! One run of a program: its state, and what operations on variables, registers and calls do.

use super::{
    CALLS, Call, End, FRAMES_BYTES, Fault, FaultKind, Machine, Outcome, STACK_VALUES, Workspace,
};
use crate::bytecode::routine::Pseudo;
use crate::bytecode::tag::{self, Area, Marker};
use crate::bytecode::{Program, Verified};
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
    pub(super) program: &'r Program<'p>,
    pub(super) locals: &'r mut [u8],
    pub(super) stack: &'r mut [u64; STACK_VALUES],
    pub(super) frames: &'r mut [u8; FRAMES_BYTES],
    calls: &'r mut [Call; CALLS],
    /// For the record that is being made.
    pub(super) record: Option<&'r mut RecordMemory>,
    pub(super) machine: &'r mut M,
    /// Where the running function's frame begins and ends.
    pub(super) frame: (usize, usize),
    call_count: usize,
    /// The operation that runs, for faults and records.
    pub(super) at: u32,
    /// Budget, while an operation that may take more than one from it has it.
    pub(super) left: u64,
    pub(super) over: bool,
    faults: u32,
    first_fault: Option<Fault>,
}

impl<M> Run<'_, '_, M> {
    #[cold]
    pub(super) fn fault(&mut self, kind: FaultKind) {
        self.faults = self.faults.saturating_add(1);
        self.first_fault.get_or_insert(Fault { at: self.at, kind });
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
}

/// Runs a program. `locals` are those of its event on this core; variables beyond their end are
/// not there. `budget` is in operations.
pub fn run<M: Machine>(
    program: &Verified<'_>,
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
    let mut run = Run {
        program: program.program(),
        locals,
        stack,
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
    let end = run.interpret(budget);
    Outcome {
        end,
        left: run.left,
        faults: run.faults,
        first_fault: run.first_fault,
    }
}

impl<M: Machine> Run<'_, '_, M> {
    #[inline(always)]
    pub(super) fn load_local(&mut self, [slot]: [u8; 1], at: usize) -> u64 {
        match slot_of(self.locals, 8 * usize::from(slot)) {
            Some(&mut value) => u64::from_le_bytes(value),
            None => self.missing(Area::Locals, slot.into(), at),
        }
    }

    #[inline(always)]
    pub(super) fn store_local(&mut self, [slot]: [u8; 1], value: u64, at: usize) {
        match slot_of(self.locals, 8 * usize::from(slot)) {
            Some(place) => *place = value.to_le_bytes(),
            None => _ = self.missing(Area::Locals, slot.into(), at),
        }
    }

    /// The verifier has seen that the slot is within the frame.
    #[inline(always)]
    pub(super) fn load_frame(&mut self, [slot]: [u8; 1]) -> u64 {
        let place = slot_of(self.frames, self.frame.0 + 8 * usize::from(slot));
        place.map_or(0, |&mut value| u64::from_le_bytes(value))
    }

    #[inline(always)]
    pub(super) fn store_frame(&mut self, [slot]: [u8; 1], value: u64) {
        if let Some(place) = slot_of(self.frames, self.frame.0 + 8 * usize::from(slot)) {
            *place = value.to_le_bytes();
        }
    }

    #[inline(always)]
    pub(super) fn load_global(&mut self, slot: [u8; 2], at: usize) -> u64 {
        let slot = u16::from_le_bytes(slot);
        match self.machine.globals().get(usize::from(slot)) {
            Some(word) => word.load(Ordering::Relaxed),
            None => self.missing(Area::Globals, slot, at),
        }
    }

    #[inline(always)]
    pub(super) fn store_global(&mut self, slot: [u8; 2], value: u64, at: usize) {
        let slot = u16::from_le_bytes(slot);
        match self.machine.globals().get(usize::from(slot)) {
            Some(word) => word.store(value, Ordering::Relaxed),
            None => _ = self.missing(Area::Globals, slot, at),
        }
    }

    /// A variable beyond the memory that the run was given.
    #[cold]
    fn missing(&mut self, area: Area, slot: u16, at: usize) -> u64 {
        self.at = at as u32;
        self.fault(FaultKind::Read(tag::address(area, 8 * u32::from(slot))));
        0
    }

    #[inline(always)]
    pub(super) fn register(&mut self, [number]: [u8; 1]) -> u64 {
        match Register::from_wire(number) {
            Some(register) => self.machine.register(register),
            None => 0,
        }
    }

    pub(super) fn set_register(&mut self, [number]: [u8; 1], value: u64, at: usize) {
        let register = Register::from_wire(number);
        if !register.is_some_and(|it| self.machine.set_register(it, value)) {
            self.at = at as u32;
            self.fault(FaultKind::Register(value));
        }
    }

    pub(super) fn pseudo(&mut self, [number]: [u8; 1]) -> u64 {
        match Pseudo::from_byte(number) {
            Some(Pseudo::Date) => Marker::Date.address(),
            Some(Pseudo::Time) => Marker::Time.address(),
            Some(pseudo) => self.machine.pseudo(pseudo),
            None => 0,
        }
    }

    /// Makes a frame with the arguments that end at stack slot `depth`. Returns where the
    /// function starts, and the values on the stack without the arguments.
    pub(super) fn call(
        &mut self,
        [index]: [u8; 1],
        at: usize,
        depth: usize,
    ) -> Result<(usize, usize), End> {
        let broken = End::Broken { at: at as u32 };
        let function = self.program.function(index).ok_or(broken)?;
        let arguments = usize::from(function.arguments);
        let below = depth.checked_sub(arguments).ok_or(broken)?;
        let frame_bytes = usize::from(function.frame_bytes).next_multiple_of(8);
        let frame = (self.frame.1, self.frame.1 + frame_bytes);
        let fits = below + usize::from(function.depth) < STACK_VALUES;
        let room = self.frames.get_mut(frame.0..frame.1).filter(|_| fits);
        let slot = self.calls.get_mut(self.call_count);
        let (Some(room), Some(slot)) = (room, slot) else {
            return Err(End::StackOverflow { at: at as u32 });
        };
        *slot = Call {
            at: (at + 2) as u32,
            depth: below as u16,
            frame: (self.frame.0 as u16, self.frame.1 as u16),
        };
        let (slots, rest) = room.split_at_mut_checked(8 * arguments).ok_or(broken)?;
        for (index, slot) in slots.chunks_exact_mut(8).enumerate() {
            let value = self.stack.get((below + 1 + index) % STACK_VALUES);
            slot.copy_from_slice(&value.copied().unwrap_or(0).to_le_bytes());
        }
        rest.fill(0);
        self.call_count += 1;
        self.frame = frame;
        Ok((function.start as usize, below))
    }

    /// Where the caller goes on, and the values it has on the stack; `None` in the main part.
    pub(super) fn return_to(&mut self) -> Option<(usize, usize)> {
        self.call_count = self.call_count.checked_sub(1)?;
        let call = self.calls.get(self.call_count)?;
        self.frame = (usize::from(call.frame.0), usize::from(call.frame.1));
        Some((call.at as usize, usize::from(call.depth)))
    }
}

/// The address of what an operand says, counted from `base`.
#[inline(always)]
pub(super) fn address(area: Area, base: usize, offset: [u8; 2]) -> u64 {
    tag::address(area, base as u32 + u32::from(u16::from_le_bytes(offset)))
}

/// The eight bytes at `offset`.
#[inline(always)]
fn slot_of(memory: &mut [u8], offset: usize) -> Option<&mut [u8; 8]> {
    memory.get_mut(offset..)?.first_chunk_mut::<8>()
}
