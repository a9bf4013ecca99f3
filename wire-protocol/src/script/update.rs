//! What is changed where it stands: `x += 1` on memory, and on variables that other cores change,
//! too.

use super::memory::Space;
use super::run::Run;
use super::value::shift;
use super::{FaultKind, Machine};
use crate::bytecode::op::Op;
use crate::bytecode::tag::{self, Area};
use crate::bytecode::update::{Update, Width};
use core::sync::atomic::Ordering;

impl<M: Machine> Run<'_, '_, M> {
    /// [`Self::update`], the operation and its width being bytes.
    ///
    /// Out of line, so that the loop of operations keeps its registers.
    #[inline(never)]
    pub(super) fn update_coded(&mut self, coded: [u8; 2], address: u64, value: u64) {
        if let Some(update) = Update::from_bytes(coded) {
            self.update(update, address, value);
        }
    }

    /// Combines what is at an address with a value. Globals change as a whole: what other cores
    /// do comes before or after. Nothing else is used by several cores through scripts alone.
    fn update(&mut self, update: Update, address: u64, value: u64) {
        if value == 0 && update.divides() {
            self.fault(FaultKind::DivisionByZero);
        }
        if let Some((Area::Globals, offset)) = tag::parse(address)
            && self.update_word(update, offset, value).is_some()
        {
            return;
        }
        let mut bytes = [0; 8];
        let Some(part) = bytes.get_mut(..update.width.bytes.into()) else {
            return;
        };
        self.read(Space::Virtual, address, part);
        let old = update.width.extended(u64::from_le_bytes(bytes));
        let new = combined(update.op, old, value).to_le_bytes();
        let part = new.get(..update.width.bytes.into()).unwrap_or_default();
        self.write(Space::Virtual, address, part);
    }

    /// The same within one word of the globals; `None` if it is not within one.
    fn update_word(&mut self, update: Update, offset: u32, value: u64) -> Option<()> {
        let Width { bytes, .. } = update.width;
        let at = offset % 8;
        if at + u32::from(bytes) > 8 {
            return None;
        }
        let index = usize::try_from(offset / 8).ok()?;
        let mask = (u64::MAX >> (64 - 8 * u32::from(bytes))) << (8 * at);
        loop {
            let word = self.machine.globals().get(index)?;
            let old = word.load(Ordering::Acquire);
            let part = update.width.extended(old >> (8 * at));
            let new = combined(update.op, part, value) << (8 * at) & mask | old & !mask;
            let swapped = word.compare_exchange(old, new, Ordering::AcqRel, Ordering::Acquire);
            // Only another core's success makes this fail; the budget bounds how often.
            if swapped.is_ok() || !self.charge(1) {
                return Some(());
            }
        }
    }
}

/// What the operation alone would leave; 0 for a division by zero.
fn combined(op: Op, a: u64, b: u64) -> u64 {
    let (signed_a, signed_b) = (a as i64, b as i64);
    match op {
        Op::Add => a.wrapping_add(b),
        Op::Sub => a.wrapping_sub(b),
        Op::Mul => a.wrapping_mul(b),
        Op::And => a & b,
        Op::Or => a | b,
        Op::Xor => a ^ b,
        Op::Shl => shift(b, |b| a << b),
        Op::ShrU => shift(b, |b| a >> b),
        Op::ShrS => shift(b, |b| (signed_a >> b) as u64),
        _ if b == 0 => 0,
        Op::DivU => a.wrapping_div(b),
        Op::RemU => a.wrapping_rem(b),
        Op::DivS => signed_a.wrapping_div(signed_b) as u64,
        Op::RemS => signed_a.wrapping_rem(signed_b) as u64,
        _ => a,
    }
}
