//! The verifier: looks at every operation once and keeps nothing but a few counters, so that the
//! driver can run it in VMX-root on bytes it has no reason to trust.

use super::decode::{self, Instruction, Operand};
use super::op::Op;
use super::program::{BadProgram, Function, Program, Reason};
use super::word::SCRATCH;
use super::{DEPTH, GLOBAL_BYTES, LOCAL_BYTES, REGISTER_VARIABLES};

/// A program that has been verified.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Verified<'a>(Program<'a>);

impl<'a> Verified<'a> {
    /// Verifies a program.
    ///
    /// # Errors
    /// What is wrong with it, and where.
    pub fn new(bytes: &'a [u8]) -> Result<Self, BadProgram> {
        let program = Program::parse(bytes)?;
        Pass::over(&program)?;
        Ok(Self(program))
    }

    /// A program that was verified before.
    pub(super) const fn trusted(program: Program<'a>) -> Self {
        Self(program)
    }

    /// Its parts.
    #[must_use]
    #[inline]
    pub fn program(&self) -> &Program<'a> {
        &self.0
    }
}

// Every variable in a register and every value on the stack has a register, and one is left.
const _: () = assert!(REGISTER_VARIABLES + DEPTH < SCRATCH as usize);

/// What is known at one place of the code.
struct Pass<'p, 'a> {
    program: &'p Program<'a>,
    /// The function that the place is in; the main part has no arguments and no frame.
    function: Function,
    /// Where it ends.
    end: usize,
    /// The function that begins there.
    following: u8,
    /// The next label.
    label: usize,
    /// Values on the stack; `None` where nothing runs on to.
    depth: Option<u8>,
}

impl<'p, 'a> Pass<'p, 'a> {
    fn over(program: &'p Program<'a>) -> Result<(), BadProgram> {
        // With a zero at the very end, every text in the constants has one.
        if program.constants().last().is_some_and(|&last| last != 0) {
            return Err(BadProgram::new(0, Reason::Constant));
        }
        let main = Function {
            depth: program.depth(),
            ..Function::default()
        };
        let mut pass = Pass {
            program,
            function: main,
            end: 0,
            following: 0,
            label: 0,
            depth: Some(0),
        };
        pass.end = pass.end_before(0)?;
        let code = program.code();
        let mut at = 0;
        while at < code.len() {
            if at == pass.end {
                pass.enter_next(at)?;
            }
            pass.reach(at)?;
            let instruction =
                decode::decode(code, at).ok_or(BadProgram::new(at, Reason::Operation))?;
            pass.step(at, &instruction)?;
            at = instruction.next;
            if at > pass.end {
                return Err(BadProgram::new(pass.end, Reason::Operation));
            }
        }
        pass.leave(at)?;
        if code.is_empty() || usize::from(pass.following) != program.function_count() {
            return Err(BadProgram::new(at, Reason::Tables));
        }
        if pass.label != program.label_count() {
            return Err(BadProgram::new(at, Reason::Label));
        }
        Ok(())
    }

    /// Where the code before function `index` ends.
    fn end_before(&self, index: u8) -> Result<usize, BadProgram> {
        let len = self.program.code().len();
        match self.program.function(index) {
            None => Ok(len),
            Some(function) => usize::try_from(function.start)
                .ok()
                .filter(|&start| start < len)
                .ok_or(BadProgram::new(0, Reason::Tables)),
        }
    }

    /// Nothing may run on past a function's end.
    fn leave(&self, at: usize) -> Result<(), BadProgram> {
        match self.depth {
            None => Ok(()),
            Some(_) => Err(BadProgram::new(at, Reason::End)),
        }
    }

    fn enter_next(&mut self, at: usize) -> Result<(), BadProgram> {
        self.leave(at)?;
        let bad = BadProgram::new(at, Reason::Tables);
        let function = self.program.function(self.following).ok_or(bad)?;
        self.following = self.following.checked_add(1).ok_or(bad)?;
        let end = self.end_before(self.following)?;
        if !function.is_sane() || end <= at {
            return Err(bad);
        }
        self.function = function;
        self.end = end;
        self.depth = Some(0);
        Ok(())
    }

    /// Takes the labels at `at`, or finds that one has been passed over.
    fn reach(&mut self, at: usize) -> Result<(), BadProgram> {
        let Some(label) = self.program.label(self.label) else {
            return Ok(());
        };
        let place = usize::try_from(label.at).unwrap_or(usize::MAX);
        if place > at {
            return Ok(());
        }
        if place < at {
            return Err(BadProgram::new(place, Reason::Label));
        }
        if self.depth.is_some_and(|depth| depth != label.depth) {
            return Err(BadProgram::new(at, Reason::Join));
        }
        if label.depth > self.function.depth {
            return Err(BadProgram::new(at, Reason::Depth));
        }
        self.depth = Some(label.depth);
        self.label += 1;
        Ok(())
    }

    fn step(&mut self, at: usize, instruction: &Instruction) -> Result<(), BadProgram> {
        let bad = |reason| BadProgram::new(at, reason);
        let callee = match instruction.operand {
            Operand::Function(index) => self.program.function(index),
            _ => None,
        };
        if matches!(instruction.operand, Operand::Function(_)) && callee.is_none() {
            return Err(bad(Reason::Function));
        }
        let (takes, leaves) = instruction.effect(callee.map_or(0, |callee| callee.arguments));
        // Code that is never reached is looked at as if the stack were empty there.
        let before = self.depth.unwrap_or(0);
        let after = before.checked_sub(takes).ok_or(bad(Reason::Underflow))?;
        let after = after.checked_add(leaves).ok_or(bad(Reason::Depth))?;
        if after > self.function.depth {
            return Err(bad(Reason::Depth));
        }
        self.operand(instruction).map_err(bad)?;
        if let Operand::Target(target) = instruction.operand {
            self.target(target, after).map_err(bad)?;
        }
        self.depth = (!instruction.op.leaves()).then_some(after);
        Ok(())
    }

    /// A jump must lead to a label of this function that is as deep as the jump.
    fn target(&self, target: u32, depth: u8) -> Result<(), Reason> {
        let place = usize::try_from(target).map_err(|_| Reason::Target)?;
        let start = usize::try_from(self.function.start).map_err(|_| Reason::Target)?;
        if place < start || place >= self.end {
            return Err(Reason::Target);
        }
        let label = self.program.label_at(target).ok_or(Reason::Target)?;
        if label.depth == depth {
            Ok(())
        } else {
            Err(Reason::Join)
        }
    }

    /// What an operation names must exist.
    fn operand(&self, instruction: &Instruction) -> Result<(), Reason> {
        let inside = |fits: bool| if fits { Ok(()) } else { Err(Reason::Variable) };
        let locals = self.program.local_bytes().min(LOCAL_BYTES) as u64;
        let frame = u64::from(self.function.frame_bytes);
        // Those in registers have no address, and the main part's are not there for others.
        let main_registers = u64::from(self.program.registers());
        let first_local = if self.function.start == 0 {
            0
        } else {
            main_registers
        };
        let frame_registers = u64::from(self.function.registers);
        match (instruction.op, instruction.operand) {
            (Op::LoadLocal | Op::StoreLocal, Operand::Number(slot)) => {
                inside(first_local <= slot && 8 * slot + 8 <= locals)
            }
            (Op::LoadFrame | Op::StoreFrame, Operand::Number(slot)) => {
                inside(8 * slot + 8 <= frame)
            }
            (Op::LoadGlobal | Op::StoreGlobal, Operand::Number(slot)) => {
                inside(8 * slot + 8 <= GLOBAL_BYTES as u64)
            }
            (Op::AddressLocal, Operand::Number(offset)) => {
                inside(8 * main_registers <= offset && offset < locals)
            }
            (Op::AddressFrame, Operand::Number(offset)) => {
                inside(8 * frame_registers <= offset && offset < frame)
            }
            (Op::AddressConstant, Operand::Number(offset)) => self.constant(offset),
            (_, Operand::Printf { format, .. }) => self.constant(u64::from(format)),
            _ => Ok(()),
        }
    }

    fn constant(&self, offset: u64) -> Result<(), Reason> {
        if offset < self.program.constants().len() as u64 {
            Ok(())
        } else {
            Err(Reason::Constant)
        }
    }
}
