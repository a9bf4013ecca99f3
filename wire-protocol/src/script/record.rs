//! Records of what a script prints. The driver formats nothing: it keeps the place in the program
//! and the values, and whoever has the program makes the text later ([`crate::print`]).
//!
//! A text that a value points at is copied at the time. A marker, and an address where no text can
//! be read, are recorded as the numbers they are.

use super::Machine;
use super::run::{RecordMemory, Run};
use super::text::{Text, Width};
use crate::bytecode::decode::{Operand, decode};
use crate::bytecode::routine::ArgumentKind;
use crate::bytecode::tag::Marker;
use crate::limits::PRINT_ARGUMENTS;
use crate::packet::{Argument, Arguments};

/// Stands at the end of a text that was too long.
const CUT: &[u8] = b"...";

impl<M: Machine> Run<'_, '_, M> {
    /// How the values of the `printf` at that place of the code are recorded.
    pub(super) fn kinds(&self, site: u32) -> u32 {
        let instruction = decode(self.program.code(), site as usize);
        match instruction.map(|instruction| instruction.operand) {
            Some(Operand::Printf { kinds, .. }) => kinds,
            _ => 0,
        }
    }

    /// Makes a record of values that are printed at that place of the code.
    pub(super) fn print(&mut self, values: &[u64], kinds: u32, site: u32) {
        let Some(memory) = self.record.take() else {
            return;
        };
        let RecordMemory { texts, encoded } = &mut *memory;
        let mut rest = texts.as_mut_slice();
        let mut arguments = [Argument::Number(0); PRINT_ARGUMENTS];
        for (index, (argument, &value)) in arguments.iter_mut().zip(values).enumerate() {
            let width = match ArgumentKind::of(kinds, index) {
                Some(ArgumentKind::Text) => Width::Byte,
                Some(ArgumentKind::WideText) => Width::Wide,
                _ => {
                    *argument = Argument::Number(value);
                    continue;
                }
            };
            let len = self.copy_text(value, width, rest);
            let (text, after) = rest
                .split_at_mut_checked(len.unwrap_or(0))
                .unwrap_or_default();
            rest = after;
            *argument = match len {
                Some(_) => Argument::Bytes(text),
                None => Argument::Number(value),
            };
        }
        let known = arguments.get(..values.len()).unwrap_or_default();
        // There is room for the most that there can be.
        if let Ok(arguments) = Arguments::encode_into(known, encoded) {
            self.machine.record(site, arguments);
        }
        self.record = Some(memory);
    }

    /// Makes a record of values of the operation at that place of the code.
    pub(super) fn record(&mut self, values: &[Argument<'_>], site: u32) {
        let Some(memory) = self.record.take() else {
            return;
        };
        if let Ok(arguments) = Arguments::encode_into(values, &mut memory.encoded) {
            self.machine.record(site, arguments);
        }
        self.record = Some(memory);
    }

    /// Copies a text; its length, or `None` if there is no text.
    fn copy_text(&mut self, address: u64, width: Width, to: &mut [u8]) -> Option<usize> {
        if Marker::from_address(address).is_some() {
            return None;
        }
        let mut text = Text::new(address, width);
        let mut len = 0;
        loop {
            let Some((part, is_last)) = text.part(self) else {
                return (len > 0).then_some(len);
            };
            let room = to.get_mut(len..).unwrap_or_default();
            // Whole characters.
            let fitting = part.len().min(room.len() / width.bytes() * width.bytes());
            let (Some(room), Some(known)) = (room.get_mut(..fitting), part.get(..fitting)) else {
                return None;
            };
            room.copy_from_slice(known);
            len += fitting;
            if fitting < part.len() {
                return Some(cut(to, len, width));
            }
            if is_last {
                return Some(len);
            }
        }
    }
}

/// Ends a text that has no room; its length.
fn cut(to: &mut [u8], len: usize, width: Width) -> usize {
    let units = CUT.len().min(len / width.bytes());
    let place = to.get_mut(len - units * width.bytes()..len);
    let units = place.unwrap_or_default().chunks_exact_mut(width.bytes());
    for (unit, &byte) in units.zip(CUT) {
        for (to, from) in unit.iter_mut().zip([byte, 0]) {
            *to = from;
        }
    }
    len
}
