//! The language's own functions.

use super::memory::Space;
use super::run::Run;
use super::text::{Width, ordering};
use super::{Ask, BACK_OFF, BranchCall, Machine, PIECE_BYTES, SLEEP_COST, SLEEP_US, Tracing};
use crate::branch::BRANCHES_MAX;
use crate::bytecode::routine::Routine;
use crate::bytecode::tag;
use crate::instruction::{self, CodeSize};
use crate::packet::Argument;
use core::cmp::Ordering;

impl<M: Machine> Run<'_, '_, M> {
    /// Does what the routine does. Arguments that it does not have are 0.
    pub(super) fn routine(&mut self, routine: Routine, [a, b, c]: [u64; 3]) -> u64 {
        match routine {
            Routine::Memcpy => self.copy(Space::Virtual, a, b, c),
            Routine::MemcpyPhysical => self.copy(Space::Physical, a, b, c),
            Routine::Memcmp => self.compare(a, b, c),
            Routine::Strlen => self.text_length(a, Width::Byte),
            Routine::Strcmp => self.text_compare(a, b, u64::MAX, Width::Byte),
            Routine::Strncmp => self.text_compare(a, b, c, Width::Byte),
            Routine::Wcslen => self.text_length(a, Width::Wide),
            Routine::Wcscmp => self.text_compare(a, b, u64::MAX, Width::Wide),
            Routine::Wcsncmp => self.text_compare(a, b, c, Width::Wide),
            Routine::CheckAddress => u64::from(self.try_read(Space::Virtual, a, &mut [0])),
            Routine::VirtualToPhysical => self.physical_of(a),
            Routine::PhysicalToVirtual => self.virtual_of(a),
            Routine::InstructionLength64 => self.instruction_length(a, CodeSize::Bits64),
            Routine::InstructionLength32 => self.instruction_length(a, CodeSize::Bits32),
            Routine::Pause => self.ask(Ask::Pause),
            Routine::Flush => self.ask(Ask::Flush),
            Routine::EventEnable => self.ask(Ask::Enable(a)),
            Routine::EventDisable => self.ask(Ask::Disable(a)),
            Routine::EventClear => self.ask(Ask::Clear(a)),
            Routine::EventShortCircuit => self.ask(Ask::ShortCircuit(a != 0)),
            Routine::EventInject => self.ask(inject(a, b, None)),
            Routine::EventInjectErrorCode => self.ask(inject(a, b, Some(c))),
            Routine::TraceStep => self.ask(Ask::Trace(Tracing::Step)),
            Routine::TraceStepIn => self.ask(Ask::Trace(Tracing::StepIn)),
            Routine::TraceStepOut => self.ask(Ask::Trace(Tracing::StepOut)),
            Routine::TraceInstrumentationStep => self.ask(Ask::Trace(Tracing::InstrumentationStep)),
            Routine::TraceInstrumentationStepIn => {
                self.ask(Ask::Trace(Tracing::InstrumentationStepIn))
            }
            Routine::SpinlockLock => self.lock(a, BACK_OFF),
            Routine::SpinlockLockCustomWait => self.lock(a, b),
            Routine::SpinlockUnlock => self.unlock(a),
            Routine::InterlockedIncrement => self.add(a, 1).map_or(0, |old| old.wrapping_add(1)),
            Routine::InterlockedDecrement => {
                self.add(a, u64::MAX).map_or(0, |old| old.wrapping_sub(1))
            }
            Routine::InterlockedExchange => self.exchange(a, |_| Some(b)).unwrap_or(0),
            Routine::InterlockedExchangeAdd => self.add(a, b).unwrap_or(0),
            Routine::InterlockedCompareExchange => {
                self.exchange(a, |old| (old == c).then_some(b)).unwrap_or(0)
            }
            Routine::Rdtsc | Routine::Rdtscp => self.machine.tsc(),
            Routine::Microsleep => self.sleep(a),
            Routine::LbrSave => self.ask(Ask::Branches(BranchCall::Save)),
            Routine::LbrPrint | Routine::LbrDump => self.print_branches(),
            Routine::LbrCheck => self.ask(Ask::Branches(BranchCall::Check)),
            Routine::LbrRestore => self.ask(Ask::Branches(BranchCall::Restore)),
            Routine::LbrRestoreByFilter => self.ask(Ask::Branches(BranchCall::RestoreBy(a))),
        }
    }

    /// A record of each branch, the oldest first: number, from, to, what else is known.
    #[cold]
    #[inline(never)]
    fn print_branches(&mut self) -> u64 {
        if self.ask(Ask::Branches(BranchCall::Check)) == 0 {
            return 0;
        }
        let site = self.site();
        let count = (0..BRANCHES_MAX).take_while(|number| self.machine.branch(*number).is_some());
        for number in (0..count.count()).rev() {
            let Some(branch) = self.machine.branch(number) else {
                break;
            };
            if !self.charge(1) {
                break;
            }
            let notes = u64::from(branch.notes.to_bits());
            let values = [number as u64, branch.from, branch.to, notes];
            self.record(&values.map(Argument::Number), site);
        }
        1
    }

    fn ask(&mut self, ask: Ask) -> u64 {
        u64::from(self.machine.ask(ask))
    }

    /// What belongs to the program has no physical address.
    fn physical_of(&mut self, address: u64) -> u64 {
        if tag::is_tagged(address) {
            return 0;
        }
        self.machine.virtual_to_physical(address).unwrap_or(0)
    }

    fn virtual_of(&mut self, address: u64) -> u64 {
        if tag::is_tagged(address) {
            return 0;
        }
        self.machine.physical_to_virtual(address).unwrap_or(0)
    }

    fn add(&mut self, address: u64, addend: u64) -> Option<u64> {
        self.exchange(address, |old| Some(old.wrapping_add(addend)))
    }

    /// The sizes of the pieces of `count` bytes; each has been charged for. Ends early when the
    /// budget does.
    fn next_piece(&mut self, rest: u64) -> Option<usize> {
        if rest == 0 || !self.charge(1) {
            return None;
        }
        Some(usize::try_from(rest).map_or(PIECE_BYTES, |rest| rest.min(PIECE_BYTES)))
    }

    fn copy(&mut self, space: Space, to: u64, from: u64, count: u64) -> u64 {
        let mut done = 0u64;
        let mut piece = [0; PIECE_BYTES];
        while let Some(len) = self.next_piece(count - done) {
            let Some(part) = piece.get_mut(..len) else {
                break;
            };
            let moved = self.read(space, from.wrapping_add(done), part)
                && self.write(space, to.wrapping_add(done), part);
            if !moved {
                break;
            }
            done += len as u64;
        }
        0
    }

    fn compare(&mut self, a: u64, b: u64, count: u64) -> u64 {
        let mut done = 0u64;
        let (mut left, mut right) = ([0; PIECE_BYTES], [0; PIECE_BYTES]);
        while let Some(len) = self.next_piece(count - done) {
            let (Some(left), Some(right)) = (left.get_mut(..len), right.get_mut(..len)) else {
                break;
            };
            // What cannot be read is never equal.
            if !self.read(Space::Virtual, a.wrapping_add(done), left) {
                return ordering(Ordering::Less);
            }
            if !self.read(Space::Virtual, b.wrapping_add(done), right) {
                return ordering(Ordering::Greater);
            }
            if left != right {
                return ordering(left.cmp(&right));
            }
            done += len as u64;
        }
        0
    }

    /// Waits twice as long after each try that fails, up to `longest` turns.
    fn lock(&mut self, address: u64, longest: u64) -> u64 {
        let mut wait = 1;
        loop {
            let old = self.exchange(address, |old| (old == 0).then_some(1));
            // Of what is no variable a fault has been noted.
            if old.is_none_or(|old| old == 0) {
                return 0;
            }
            for _ in 0..wait {
                if !self.charge(1) {
                    return 0;
                }
                self.machine.relax();
            }
            wait = (2 * wait).clamp(1, longest.clamp(1, BACK_OFF));
        }
    }

    fn unlock(&mut self, address: u64) -> u64 {
        self.exchange(address, |_| Some(0));
        0
    }

    fn sleep(&mut self, microseconds: u64) -> u64 {
        let time = microseconds.min(u64::from(SLEEP_US));
        if self.charge(time * SLEEP_COST) {
            self.machine.sleep_us(time as u32);
        }
        0
    }

    /// Reads as much of the instruction as there is.
    fn instruction_length(&mut self, address: u64, size: CodeSize) -> u64 {
        let mut code = [0; instruction::LONGEST];
        let mut len = 0;
        for (index, byte) in code.iter_mut().enumerate() {
            let mut one = [0];
            let place = address.wrapping_add(index as u64);
            if !self.try_read(Space::Virtual, place, &mut one) {
                break;
            }
            [*byte] = one;
            len = index + 1;
        }
        let known = code.get(..len).unwrap_or_default();
        instruction::length(known, size).map_or(0, u64::from)
    }
}

fn inject(kind: u64, vector: u64, error_code: Option<u64>) -> Ask {
    Ask::Inject {
        kind,
        vector,
        error_code,
    }
}
