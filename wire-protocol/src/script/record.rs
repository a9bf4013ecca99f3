//! Records of what a script prints. The driver formats nothing: it keeps the place in the program
//! and the values, and whoever has the program makes the text later ([`crate::print`]).
//!
//! A text that a value points at is copied at the time. A marker, and an address where no text can
//! be read, are recorded as the numbers they are.

use super::run::{RecordMemory, Run};
use super::text::{Text, Width};
use super::{Machine, STACK_VALUES};
use crate::bytecode::routine::ArgumentKind;
use crate::bytecode::tag::Marker;
use crate::limits::PRINT_ARGUMENTS;
use crate::packet::{Argument, Arguments};

/// Stands at the end of a text that was too long.
const CUT: &[u8] = b"...";

impl<M: Machine> Run<'_, '_, M> {
    /// Makes a record of the `count` values that end at stack slot `top`.
    pub(super) fn print(&mut self, count: u8, kinds: u32, top: usize) {
        let Some(memory) = self.record.take() else {
            return;
        };
        let RecordMemory { texts, encoded } = &mut *memory;
        let mut rest = texts.as_mut_slice();
        let count = usize::from(count).min(PRINT_ARGUMENTS);
        let mut arguments = [Argument::Number(0); PRINT_ARGUMENTS];
        for (index, argument) in arguments.iter_mut().enumerate().take(count) {
            let slot = (top + 1 + index).wrapping_sub(count) % STACK_VALUES;
            let value = self.stack.get(slot).copied().unwrap_or_default();
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
        let known = arguments.get(..count).unwrap_or_default();
        // There is room for the most that there can be.
        if let Ok(arguments) = Arguments::encode_into(known, encoded) {
            self.machine.record(self.at, arguments);
        }
        self.record = Some(memory);
    }

    /// Makes a record of values.
    pub(super) fn record(&mut self, values: &[Argument<'_>]) {
        let Some(memory) = self.record.take() else {
            return;
        };
        if let Ok(arguments) = Arguments::encode_into(values, &mut memory.encoded) {
            self.machine.record(self.at, arguments);
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
            let Some(unit) = text.next(self) else {
                return (len > 0).then_some(len);
            };
            if unit == 0 {
                return Some(len);
            }
            let bytes = unit.to_le_bytes();
            let bytes = bytes.get(..width.bytes())?;
            let Some(place) = to.get_mut(len..len + bytes.len()) else {
                return Some(cut(to, len, width));
            };
            place.copy_from_slice(bytes);
            len += bytes.len();
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
