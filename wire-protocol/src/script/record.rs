//! Records of what a script prints. The driver formats nothing: it keeps the place in the program
//! and the values, and whoever has the program makes the text later (`print`).
//!
//! A record's values stand one after the other. A number is LEB128. A text is a head, LEB128 of
//! `4 × n + kind`, and then, except for a marker, `n` bytes as they stood in memory.

use super::run::Run;
use super::text::{Text, Width};
use super::{Machine, STACK_VALUES};
use crate::bytecode::routine::ArgumentKind;
use crate::bytecode::tag::Marker;
use crate::codec::Writer;

/// Most bytes of one record's values.
pub const RECORD_BYTES: usize = 1024;

/// A number in a record, at most.
const NUMBER_BYTES: usize = 10;

/// What became of a text, in the lowest two bits of its head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TextEnd {
    /// It is whole.
    Whole = 0,
    /// There was no room for more of it.
    Cut = 1,
    /// More of it could not be read.
    Unreadable = 2,
    /// It is a [`Marker`], whose number stands in the place of the length.
    Marker = 3,
}

impl<M: Machine> Run<'_, '_, M> {
    /// Makes a record of the `count` values that end at stack slot `top`.
    pub(super) fn print(&mut self, count: u8, kinds: u32, top: usize) {
        let Some(memory) = self.record.take() else {
            return;
        };
        let mut out = Writer::new(memory);
        for index in 0..usize::from(count) {
            let slot = (top + 1 + index).wrapping_sub(usize::from(count)) % STACK_VALUES;
            let value = self.stack.get(slot).copied().unwrap_or_default();
            let room = RECORD_BYTES
                .saturating_sub(out.len() + NUMBER_BYTES * (usize::from(count) - index));
            // There is always room for a number and a head: it is kept free for each.
            let written = match ArgumentKind::of(kinds, index) {
                Some(ArgumentKind::Text) => self.text(value, Width::Byte, room, &mut out),
                Some(ArgumentKind::WideText) => self.text(value, Width::Wide, room, &mut out),
                _ => out.varint(value).ok(),
            };
            if written.is_none() {
                break;
            }
        }
        self.machine.record(self.at, out.written());
        self.record = Some(memory);
    }

    fn text(
        &mut self,
        address: u64,
        width: Width,
        room: usize,
        out: &mut Writer<'_>,
    ) -> Option<()> {
        if let Some(marker) = Marker::from_address(address) {
            let head = 4 * marker as u64 + TextEnd::Marker as u64;
            return out.varint(head).ok();
        }
        let unit = match width {
            Width::Byte => 1,
            Width::Wide => 2,
        };
        let mut copy = [0; RECORD_BYTES];
        let mut len = 0;
        let mut text = Text::new(address, width);
        let end = loop {
            match text.next(self) {
                None => break TextEnd::Unreadable,
                Some(0) => break TextEnd::Whole,
                Some(_) if len + unit > room => break TextEnd::Cut,
                Some(value) => {
                    let place = copy.get_mut(len..len + unit)?;
                    place.copy_from_slice(value.to_le_bytes().get(..unit)?);
                    len += unit;
                }
            }
        };
        out.varint(4 * len as u64 + end as u64).ok()?;
        out.bytes(copy.get(..len)?).ok()
    }
}
