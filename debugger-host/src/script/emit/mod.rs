//! A script's meaning to the operations of the bytecode. Called by [`super::compile`].

mod action;
mod place;
mod value;

use super::lines::Lines;
use super::problem::{Position, Problem};
use super::types::Type;
use super::value::{Meaning, Unit};
use std::collections::HashSet;
use wire_protocol::bytecode::assemble::{
    AssembleError, Assembler, FunctionId, LabelId, LabelState, Memory,
};
use wire_protocol::bytecode::op::Op;
use wire_protocol::bytecode::program::Function;
use wire_protocol::bytecode::{
    CONSTANT_BYTES, FRAME_BYTES, FUNCTIONS, LOCAL_BYTES, PRINT_ARGUMENTS, PROGRAM_BYTES,
    REGISTER_VARIABLES,
};

/// Labels of one program: each costs four bytes of it.
const LABELS: usize = PROGRAM_BYTES / 4;

/// A program and what the host has to know about it.
pub(super) struct Emitted {
    /// The program.
    pub(super) bytes: Vec<u8>,
    /// Bytes of its locals.
    pub(super) local_bytes: usize,
    /// Which line each operation comes from.
    pub(super) lines: Lines,
}

/// Writes the program of a script.
///
/// # Errors
/// When it is larger than the bytecode allows.
pub(super) fn program(meaning: &Meaning) -> Result<Emitted, Problem> {
    // A variable whose address is wanted is in memory. Which are, the first writing finds.
    let mut in_memory = HashSet::new();
    loop {
        let known = in_memory.len();
        let emitted = written(meaning, &mut in_memory)?;
        if in_memory.len() == known {
            return Ok(emitted);
        }
    }
}

/// Writes it with these variables in memory, and adds others that should have been.
fn written(meaning: &Meaning, in_memory: &mut InMemory) -> Result<Emitted, Problem> {
    let mut code = vec![0; PROGRAM_BYTES];
    let mut constants = vec![0; CONSTANT_BYTES];
    let mut labels = vec![LabelState::default(); LABELS];
    let mut functions = vec![Function::default(); FUNCTIONS];
    let memory = Memory {
        code: &mut code,
        constants: &mut constants,
        labels: &mut labels,
        functions: &mut functions,
    };
    let mut emitter = Emitter {
        assembler: Assembler::new(memory),
        functions: Vec::new(),
        homes: Vec::new(),
        statics: Vec::new(),
        in_memory,
        unit: 0,
        loops: Vec::new(),
        lines: Lines::default(),
        at: Position::default(),
    };
    let local_bytes = emitter.all(meaning)?;
    let Emitter {
        assembler,
        lines,
        at,
        ..
    } = emitter;
    let mut out = vec![0; PROGRAM_BYTES];
    let len = assembler
        .finish(&mut out)
        .map_err(|why| refused(why, at))?
        .len();
    out.truncate(len);
    Ok(Emitted {
        bytes: out,
        local_bytes,
        lines,
    })
}

/// Variables whose address is wanted: the unit's number, 0 being the main part, and their own.
type InMemory = HashSet<(usize, usize)>;

/// Where a variable is kept.
struct Home {
    offset: usize,
    of: Type,
    in_register: bool,
}

/// Where the variables of a unit are.
struct Arranged {
    bytes: usize,
    registers: usize,
}

/// A loop or a `switch` that is being written.
struct Round {
    leave: LabelId,
    /// Where `continue` leads to; `None` for a `switch`.
    next: Option<LabelId>,
    is_left: bool,
}

struct Emitter<'b> {
    assembler: Assembler<'b>,
    functions: Vec<FunctionId>,
    /// Of the variables of the part that is being written.
    homes: Vec<Home>,
    /// Places of static variables among the locals.
    statics: Vec<usize>,
    in_memory: &'b mut InMemory,
    /// Number of the part that is being written; 0 is the main part.
    unit: usize,
    loops: Vec<Round>,
    lines: Lines,
    /// What is being written.
    at: Position,
}

type Done = Result<(), AssembleError>;

impl Emitter<'_> {
    /// Writes everything; returns the bytes of locals.
    fn all(&mut self, meaning: &Meaning) -> Result<usize, Problem> {
        for unit in &meaning.functions {
            let declared = self.assembler.declare(unit.parameters);
            let id = declared.map_err(|why| self.refused(why))?;
            self.functions.push(id);
        }
        let mut locals = self.arranged(&meaning.main, LOCAL_BYTES)?;
        for of in &meaning.statics {
            self.statics.push(locals.bytes);
            let size = of.size().unwrap_or(0).max(1).next_multiple_of(8);
            locals.bytes = locals.bytes.saturating_add(size as usize);
        }
        self.assembler
            .set_local_registers(locals.registers)
            .and_then(|()| self.assembler.set_local_bytes(locals.bytes))
            .and_then(|()| self.unit(&meaning.main))
            .map_err(|why| self.refused(why))?;
        for (index, unit) in meaning.functions.iter().enumerate() {
            self.unit = index + 1;
            let frame = self.arranged(unit, FRAME_BYTES)?;
            self.function(index, unit, &frame)
                .map_err(|why| self.refused(why))?;
        }
        Ok(locals.bytes)
    }

    fn in_function(&self) -> bool {
        self.unit > 0
    }

    fn refused(&self, why: AssembleError) -> Problem {
        refused(why, self.at)
    }

    fn function(&mut self, index: usize, unit: &Unit, frame: &Arranged) -> Done {
        let id = *self.functions.get(index).ok_or(AssembleError::Missing)?;
        self.assembler.set_frame_registers(id, frame.registers)?;
        self.assembler.set_frame_bytes(id, frame.bytes)?;
        self.assembler.begin(id)?;
        self.parameters_to_memory(unit)?;
        self.unit(unit)
    }

    /// Arguments come in registers.
    fn parameters_to_memory(&mut self, unit: &Unit) -> Done {
        for number in 0..unit.parameters {
            let home = self.homes.get(number).ok_or(AssembleError::Missing)?;
            if home.in_register {
                continue;
            }
            let (offset, of) = (home.offset, home.of.clone());
            self.assembler.variable(Op::AddressFrame, offset)?;
            self.assembler.variable(Op::LoadFrame, number)?;
            self.store(&of)?;
        }
        Ok(())
    }

    fn unit(&mut self, unit: &Unit) -> Done {
        self.actions(&unit.lines)?;
        if self.assembler.depth().is_some() {
            self.leave()?;
        }
        Ok(())
    }

    /// Gives each variable its place. Parameters come first, each in a register, from where one that
    /// has an address goes to its place. Then come variables in registers, then simple ones in
    /// memory, as the operations for the first slots are the shortest.
    fn arranged(&mut self, unit: &Unit, limit: usize) -> Result<Arranged, Problem> {
        let mut registers = unit.parameters;
        let mut homes = Vec::new();
        for (number, slot) in unit.slots.iter().enumerate() {
            let is_parameter = number < unit.parameters;
            let in_register = slot.of.is_scalar()
                && !self.in_memory.contains(&(self.unit, number))
                && (is_parameter || registers < REGISTER_VARIABLES);
            let mut home = Home {
                offset: 8 * number,
                of: slot.of.clone(),
                in_register,
            };
            if in_register && !is_parameter {
                home.offset = 8 * registers;
                registers += 1;
            }
            homes.push(home);
        }
        let mut end = 8 * registers;
        for simple in [true, false] {
            let in_memory = homes.iter_mut().filter(|home| !home.in_register);
            for home in in_memory.filter(|home| home.of.is_scalar() == simple) {
                let size = home.of.size().unwrap_or(0).max(1).next_multiple_of(8);
                home.offset = end;
                end = end.saturating_add(size as usize);
            }
        }
        if end > limit {
            let whose = if unit.name.is_empty() {
                "the main part".to_owned()
            } else {
                format!("`{}`", unit.name)
            };
            let largest = unit.slots.iter().max_by_key(|slot| slot.of.size());
            let largest = largest.map_or("", |slot| slot.name.as_str());
            return Err(Problem::new(
                unit.lines
                    .first()
                    .map_or_else(Position::default, |line| line.at),
                format!("the variables of {whose} need {end:x} bytes, and there are {limit:x}"),
            )
            .help(format!("make `{largest}` smaller, or global")));
        }
        self.homes = homes;
        Ok(Arranged {
            bytes: end,
            registers,
        })
    }
}

fn refused(why: AssembleError, at: Position) -> Problem {
    let what = match why {
        AssembleError::CodeFull | AssembleError::LabelsFull => {
            format!("the script becomes longer than {PROGRAM_BYTES:x} bytes, the longest program")
        }
        AssembleError::ConstantsFull => {
            format!("strings and initial values need more than {CONSTANT_BYTES:x} bytes")
        }
        AssembleError::FunctionsFull => format!("more than {FUNCTIONS:x} functions"),
        AssembleError::VariablesFull => "the variables need too much memory".into(),
        AssembleError::TooManyArguments => format!(
            "a function has more than {:x} parameters, or a `printf` more than {PRINT_ARGUMENTS:x} values",
            wire_protocol::bytecode::ARGUMENTS
        ),
        AssembleError::TooDeep => "this expression is nested too deeply".into(),
        other => format!("the compiler made a program that is no good ({other:?})"),
    };
    let help = match why {
        AssembleError::TooDeep => "put a part of it into a variable",
        _ => "split the script into two events",
    };
    Problem::new(at, what).help(help)
}
