//! A script's meaning to the operations of the bytecode. Called by [`super::compile`].

mod action;
mod place;
mod value;

use super::lines::Lines;
use super::problem::{Position, Problem};
use super::types::Type;
use super::value::{Meaning, Slot, Unit};
use wire_protocol::bytecode::assemble::{
    AssembleError, Assembler, FunctionId, LabelId, LabelState, Memory,
};
use wire_protocol::bytecode::program::Function;
use wire_protocol::bytecode::{
    CONSTANT_BYTES, FRAME_BYTES, FUNCTIONS, LOCAL_BYTES, PRINT_ARGUMENTS, PROGRAM_BYTES,
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
        in_function: false,
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

/// Where a variable is kept.
struct Home {
    offset: usize,
    of: Type,
}

/// A loop that is being written.
struct Round {
    leave: LabelId,
    next: LabelId,
    is_left: bool,
}

struct Emitter<'b> {
    assembler: Assembler<'b>,
    functions: Vec<FunctionId>,
    /// Of the variables of the part that is being written.
    homes: Vec<Home>,
    in_function: bool,
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
        let local_bytes = self.arranged(&meaning.main, LOCAL_BYTES)?;
        self.assembler
            .set_local_bytes(local_bytes)
            .and_then(|()| self.unit(&meaning.main))
            .map_err(|why| self.refused(why))?;
        self.in_function = true;
        for (index, unit) in meaning.functions.iter().enumerate() {
            let frame_bytes = self.arranged(unit, FRAME_BYTES)?;
            self.function(index, unit, frame_bytes)
                .map_err(|why| self.refused(why))?;
        }
        Ok(local_bytes)
    }

    fn refused(&self, why: AssembleError) -> Problem {
        refused(why, self.at)
    }

    fn function(&mut self, index: usize, unit: &Unit, frame_bytes: usize) -> Done {
        let id = *self.functions.get(index).ok_or(AssembleError::Missing)?;
        self.assembler.begin(id)?;
        self.assembler.set_frame_bytes(id, frame_bytes)?;
        self.unit(unit)
    }

    fn unit(&mut self, unit: &Unit) -> Done {
        self.actions(&unit.lines)?;
        if self.assembler.depth().is_some() {
            self.leave()?;
        }
        Ok(())
    }

    /// Gives each variable its place; returns the bytes of all.
    fn arranged(&mut self, unit: &Unit, limit: usize) -> Result<usize, Problem> {
        let mut end = 0_usize;
        let mut offsets = vec![0; unit.slots.len()];
        // Parameters come first. Simple variables stand before others, as the operations for
        // the first slots are the shortest.
        let is_simple = |slot: &Slot| slot.of.is_scalar();
        for simple in [true, false] {
            for (slot, offset) in unit.slots.iter().zip(&mut offsets) {
                if is_simple(slot) == simple {
                    let size = slot.of.size().unwrap_or(0).max(1).next_multiple_of(8);
                    *offset = end;
                    end = end.saturating_add(size as usize);
                }
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
        let homes = unit.slots.iter().zip(offsets);
        self.homes = homes
            .map(|(slot, offset)| Home {
                offset,
                of: slot.of.clone(),
            })
            .collect();
        Ok(end)
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
