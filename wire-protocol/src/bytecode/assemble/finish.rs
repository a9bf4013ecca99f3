//! Joins the parts of a program.

use super::{AssembleError, Assembler, Done, LabelState};
use crate::bytecode::decode::{Operand, decode};
use crate::bytecode::program::{FUNCTION_ENTRY, Function};
use crate::bytecode::{PROGRAM_BYTES, VERSION};
use crate::codec::Writer;

impl Assembler<'_> {
    /// Joins the parts into `out` and returns the program.
    ///
    /// # Errors
    /// Something used is missing; the program is too long.
    pub fn finish(self, out: &mut [u8]) -> Result<&[u8], AssembleError> {
        if self.begun != self.function_count {
            return Err(AssembleError::Missing);
        }
        let Self {
            code,
            constants,
            labels,
            ..
        } = self;
        let labels = labels
            .get_mut(..self.label_count)
            .ok_or(AssembleError::Missing)?;
        let code = code.into_written_mut();
        resolve(code, labels)?;
        labels.sort_unstable_by_key(|label| (label.used, label.at));
        let mut last = None;
        let distinct = |label: &&LabelState| {
            let fresh = label.used && label.at != last;
            last = label.at.filter(|_| label.used);
            fresh
        };
        let count = labels.iter().filter(distinct).count();
        let constants = constants.written();
        let closed = constants.last().is_none_or(|&last| last == 0);

        let mut out = Writer::new(out);
        out.byte(VERSION)?;
        out.varint(self.main_depth)?;
        out.varint(self.main_registers)?;
        out.varint(self.local_bytes as u64)?;
        out.varint(self.function_count as u64)?;
        out.varint(count as u64)?;
        out.varint(constants.len() as u64 + u64::from(!closed))?;
        for function in self.functions.iter().take(self.function_count) {
            out.bytes(&entry(function))?;
        }
        let mut last = None;
        for label in labels.iter().filter(|label| label.used) {
            if label.at == last {
                continue;
            }
            last = label.at;
            let [low, middle, high, _] = label.at.unwrap_or_default().to_le_bytes();
            out.bytes(&[low, middle, high, label.depth.unwrap_or_default()])?;
        }
        out.bytes(constants)?;
        if !closed {
            out.byte(0)?;
        }
        out.bytes(code)?;
        if out.len() > PROGRAM_BYTES {
            return Err(AssembleError::CodeFull);
        }
        Ok(out.into_written())
    }
}

fn entry(function: &Function) -> [u8; FUNCTION_ENTRY] {
    let [s0, s1, s2, _] = function.start.to_le_bytes();
    let [f0, f1] = function.frame_bytes.to_le_bytes();
    let Function {
        arguments,
        depth,
        registers,
        ..
    } = *function;
    [s0, s1, s2, arguments, f0, f1, depth, registers]
}

/// Puts places where jumps have numbers of labels.
fn resolve(code: &mut [u8], labels: &[LabelState]) -> Done {
    let mut at = 0;
    while let Some(instruction) = decode(code, at) {
        if let Operand::Target(number) = instruction.operand {
            let label = labels.get(number as usize);
            let place = label.and_then(|label| label.at);
            let place = place.ok_or(AssembleError::Missing)?.to_le_bytes();
            let operand = code.get_mut(at + 1..instruction.next);
            for (to, from) in operand.unwrap_or_default().iter_mut().zip(place) {
                *to = from;
            }
        }
        at = instruction.next;
    }
    Ok(())
}
