//! Reading and writing variables, memory and registers.

use super::super::check::extension;
use super::super::types::Type;
use super::super::value::{Base, Place, Target, Value};
use super::{Done, Emitter};
use crate::types::register::Part;
use wire_protocol::bytecode::assemble::AssembleError;
use wire_protocol::bytecode::op::Op;

/// The largest slot that has operations of its own.
const SLOTS: usize = 256;

impl Emitter<'_> {
    /// The address of a place.
    pub(super) fn address(&mut self, place: &Place) -> Done {
        let offset = place.offset as usize;
        match &place.base {
            Base::Variable(number) => {
                let home = self.homes.get(*number).ok_or(AssembleError::Missing)?;
                if home.in_register {
                    self.in_memory.insert((self.unit, *number));
                }
                let op = if self.in_function() {
                    Op::AddressFrame
                } else {
                    Op::AddressLocal
                };
                self.assembler.variable(op, home.offset + offset)
            }
            Base::Global(start) => {
                let offset = usize::from(*start) + offset;
                self.assembler.variable(Op::AddressGlobal, offset)
            }
            Base::Static(number) => {
                let home = *self.statics.get(*number).ok_or(AssembleError::Missing)?;
                self.assembler.variable(Op::AddressLocal, home + offset)
            }
            Base::Memory(address) => {
                self.value(address)?;
                if offset != 0 {
                    self.assembler.number(offset as u64)?;
                    self.assembler.op(Op::Add)?;
                }
                Ok(())
            }
        }
    }

    /// It is a variable in a register, which holds a value as the stack does.
    fn is_register(&self, place: &Place) -> bool {
        match &place.base {
            Base::Variable(number) => self.homes.get(*number).is_some_and(|home| home.in_register),
            _ => false,
        }
    }

    /// Operation and slot of a place that has them: to load and to store.
    fn slot(&self, place: &Place, of: &Type) -> Option<(Op, Op, usize)> {
        let offset = place.offset as usize;
        match &place.base {
            Base::Variable(number) => {
                let home = self.homes.get(*number)?;
                if home.in_register && !is_alike(&home.of, of) {
                    return None;
                }
                // A simple variable has a slot for itself, whatever its size.
                let is_whole = home.of.is_scalar() && offset == 0;
                let at = home.offset + offset;
                let fits = is_whole || of.size() == Some(8) && at.is_multiple_of(8);
                let (load, store) = if self.in_function() {
                    (Op::LoadFrame, Op::StoreFrame)
                } else {
                    (Op::LoadLocal, Op::StoreLocal)
                };
                (fits && at / 8 < SLOTS).then_some((load, store, at / 8))
            }
            Base::Global(start) => {
                let at = usize::from(*start) + offset;
                let fits = of.size() == Some(8) && at.is_multiple_of(8);
                fits.then_some((Op::LoadGlobal, Op::StoreGlobal, at / 8))
            }
            Base::Static(number) => {
                let at = self.statics.get(*number)? + offset;
                let fits = of.size() == Some(8) && at.is_multiple_of(8) && at / 8 < SLOTS;
                fits.then_some((Op::LoadLocal, Op::StoreLocal, at / 8))
            }
            Base::Memory(_) => None,
        }
    }

    /// What a place holds.
    pub(super) fn read(&mut self, place: &Place, of: &Type) -> Done {
        if let Some((load, _, slot)) = self.slot(place, of) {
            self.assembler.variable(load, slot)?;
            if self.is_register(place) {
                return Ok(());
            }
            return self.extended(of);
        }
        self.address(place)?;
        self.load(of)
    }

    /// What is at the address on the stack.
    pub(super) fn load(&mut self, of: &Type) -> Done {
        self.assembler.op(match of.size() {
            Some(1) => Op::Load8,
            Some(2) => Op::Load16,
            Some(4) => Op::Load32,
            _ => Op::Load64,
        })?;
        if of.is_signed() || *of == Type::Float {
            self.extended(of)?;
        }
        Ok(())
    }

    /// Makes the lowest bytes on the stack a value of that type.
    fn extended(&mut self, of: &Type) -> Done {
        match (of, extension(of)) {
            (Type::Float, _) => self.assembler.op(Op::FWiden),
            (_, Some(op)) => self.assembler.op(op),
            _ => Ok(()),
        }
    }

    /// Writes one value to targets, the last of them first. Each target but the last gets what
    /// its neighbour has become.
    pub(super) fn write(&mut self, of: &Type, targets: &[(Type, Target)], value: &Value) -> Done {
        if let [(to, target)] = targets {
            return self.write_one(to, target, value);
        }
        self.value(value)?;
        let mut from = of;
        for (index, (to, target)) in targets.iter().enumerate().rev() {
            if from != to {
                match to {
                    Type::Bool => self.assembler.op(Op::Bool)?,
                    Type::Float => self.assembler.op(Op::FRound)?,
                    to => {
                        if let Some(op) = extension(to) {
                            self.assembler.op(op)?;
                        }
                    }
                }
            }
            from = to;
            if index > 0 {
                self.assembler.op(Op::Dup)?;
            }
            self.store_top(to, target)?;
        }
        Ok(())
    }

    fn write_one(&mut self, of: &Type, target: &Target, value: &Value) -> Done {
        match target {
            Target::Place(place) => {
                if let Some((_, store, slot)) = self.slot(place, of) {
                    if self.is_register(place) {
                        self.value(value)?;
                    } else {
                        self.value(shortened(of, value))?;
                        self.narrowed(of)?;
                    }
                    return self.assembler.variable(store, slot);
                }
                self.address(place)?;
                self.value(shortened(of, value))?;
                self.store(of)
            }
            Target::Register(part) if is_whole(*part) => {
                self.value(value)?;
                self.set(*part)
            }
            Target::Register(part) => {
                self.assembler.register(part.register)?;
                self.value(value)?;
                self.put_bits(*part)?;
                self.assembler.set_register(part.register)
            }
        }
    }

    fn store_top(&mut self, of: &Type, target: &Target) -> Done {
        match target {
            Target::Place(place) => {
                if let Some((_, store, slot)) = self.slot(place, of) {
                    if !self.is_register(place) {
                        self.narrowed(of)?;
                    }
                    return self.assembler.variable(store, slot);
                }
                self.address(place)?;
                self.assembler.op(Op::Swap)?;
                self.store(of)
            }
            Target::Register(part) if is_whole(*part) => self.set(*part),
            Target::Register(part) => {
                self.assembler.register(part.register)?;
                self.assembler.op(Op::Swap)?;
                self.put_bits(*part)?;
                self.assembler.set_register(part.register)
            }
        }
    }

    fn narrowed(&mut self, of: &Type) -> Done {
        if *of == Type::Float {
            self.assembler.op(Op::FNarrow)?;
        }
        Ok(())
    }

    /// Puts the value on the stack where the address beneath it says.
    pub(super) fn store(&mut self, of: &Type) -> Done {
        self.narrowed(of)?;
        self.assembler.op(match of.size() {
            Some(1) => Op::Store8,
            Some(2) => Op::Store16,
            Some(4) => Op::Store32,
            _ => Op::Store64,
        })
    }

    /// A register or a part of one.
    pub(super) fn register(&mut self, part: Part) -> Done {
        self.assembler.register(part.register)?;
        match (part.shift, part.bits) {
            (0, 64) => Ok(()),
            (0, 32) => self.assembler.op(Op::ZeroExtend32),
            (0, 16) => self.assembler.op(Op::ZeroExtend16),
            (0, 8) => self.assembler.op(Op::ZeroExtend8),
            (shift, bits) => self.assembler.bits(Op::GetBits, shift as u8, bits as u8),
        }
    }

    /// Writes a register of which nothing remains. As on the processor, 32 bits clear the rest.
    fn set(&mut self, part: Part) -> Done {
        if part.bits == 32 {
            self.assembler.op(Op::ZeroExtend32)?;
        }
        self.assembler.set_register(part.register)
    }

    fn put_bits(&mut self, part: Part) -> Done {
        let (shift, bits) = (part.shift as u8, part.bits as u8);
        self.assembler.bits(Op::PutBits, shift, bits)
    }
}

/// Values of both types are the same in a register.
fn is_alike(a: &Type, b: &Type) -> bool {
    a == b || a.size() == Some(8) && b.size() == Some(8) && a.is_floating() == b.is_floating()
}

fn is_whole(part: Part) -> bool {
    part.shift == 0 && part.bits >= 32
}

/// The value without an extension that storing it undoes.
fn shortened<'v>(of: &Type, value: &'v Value) -> &'v Value {
    match (of, of.size()) {
        (Type::Integer { .. }, Some(size)) => value.unextended(size),
        _ => value,
    }
}
