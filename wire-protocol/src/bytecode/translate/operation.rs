//! One operation.

use super::{Entry, Sink, Translator};
use crate::bytecode::decode::Operand;
use crate::bytecode::op::Op;
use crate::bytecode::routine::Pseudo;
use crate::bytecode::tag::{self, Area, Marker};
use crate::bytecode::update::Update;
use crate::bytecode::word::{Code, Word};

/// The code of an operation that takes two values, and whether it takes them the other way round.
const fn of_two(op: Op) -> Option<(Code, bool)> {
    Some(match op {
        Op::Add => (Code::Add, false),
        Op::Sub => (Code::Sub, false),
        Op::Mul => (Code::Mul, false),
        Op::DivU => (Code::DivU, false),
        Op::DivS => (Code::DivS, false),
        Op::RemU => (Code::RemU, false),
        Op::RemS => (Code::RemS, false),
        Op::And => (Code::And, false),
        Op::Or => (Code::Or, false),
        Op::Xor => (Code::Xor, false),
        Op::Shl => (Code::Shl, false),
        Op::ShrU => (Code::ShrU, false),
        Op::ShrS => (Code::ShrS, false),
        Op::Eq => (Code::Eq, false),
        Op::Ne => (Code::Ne, false),
        Op::LtU => (Code::LtU, false),
        Op::LeU => (Code::LeU, false),
        Op::GtU => (Code::LtU, true),
        Op::GeU => (Code::LeU, true),
        Op::LtS => (Code::LtS, false),
        Op::LeS => (Code::LeS, false),
        Op::GtS => (Code::LtS, true),
        Op::GeS => (Code::LeS, true),
        Op::FAdd => (Code::FAdd, false),
        Op::FSub => (Code::FSub, false),
        Op::FMul => (Code::FMul, false),
        Op::FDiv => (Code::FDiv, false),
        Op::FEq => (Code::FEq, false),
        Op::FNe => (Code::FNe, false),
        Op::FLt => (Code::FLt, false),
        Op::FLe => (Code::FLe, false),
        Op::FGt => (Code::FLt, true),
        Op::FGe => (Code::FLe, true),
        Op::Put8 => (Code::Put8, false),
        Op::Put16 => (Code::Put16, false),
        Op::Put32 => (Code::Put32, false),
        Op::Put64 => (Code::Put64, false),
        Op::PutPhysical8 => (Code::PutPhysical8, false),
        Op::PutPhysical16 => (Code::PutPhysical16, false),
        Op::PutPhysical32 => (Code::PutPhysical32, false),
        Op::PutPhysical64 => (Code::PutPhysical64, false),
        _ => return None,
    })
}

/// The code of an operation that takes one value and leaves one.
const fn of_one(op: Op) -> Option<Code> {
    Some(match op {
        Op::Neg => Code::Neg,
        Op::Not => Code::Not,
        Op::IsZero => Code::IsZero,
        Op::Bool => Code::Bool,
        Op::SignExtend8 => Code::SignExtend8,
        Op::SignExtend16 => Code::SignExtend16,
        Op::SignExtend32 => Code::SignExtend32,
        Op::ZeroExtend8 => Code::ZeroExtend8,
        Op::ZeroExtend16 => Code::ZeroExtend16,
        Op::ZeroExtend32 => Code::ZeroExtend32,
        Op::FNeg => Code::FNeg,
        Op::FFromU => Code::FFromU,
        Op::FFromS => Code::FFromS,
        Op::FToU => Code::FToU,
        Op::FToS => Code::FToS,
        Op::FWiden => Code::FWiden,
        Op::FNarrow => Code::FNarrow,
        Op::FRound => Code::FRound,
        Op::Load8 => Code::Load8,
        Op::Load16 => Code::Load16,
        Op::Load32 => Code::Load32,
        Op::Load64 => Code::Load64,
        Op::LoadPhysical8 => Code::LoadPhysical8,
        Op::LoadPhysical16 => Code::LoadPhysical16,
        Op::LoadPhysical32 => Code::LoadPhysical32,
        Op::LoadPhysical64 => Code::LoadPhysical64,
        _ => return None,
    })
}

const fn store(op: Op) -> Option<Code> {
    Some(match op {
        Op::Store8 => Code::Store8,
        Op::Store16 => Code::Store16,
        Op::Store32 => Code::Store32,
        Op::Store64 => Code::Store64,
        _ => return None,
    })
}

/// The same comparison with a number on its right, where [`of_two`] has it the other way round.
const fn with_number(op: Op) -> Option<Code> {
    Some(match op {
        Op::GtU => Code::GtUN,
        Op::GeU => Code::GeUN,
        Op::GtS => Code::GtSN,
        Op::GeS => Code::GeSN,
        _ => return None,
    })
}

/// A number that a word can hold.
fn short(number: u64) -> Option<i32> {
    i32::try_from(number.cast_signed()).ok()
}

impl<S: Sink> Translator<'_, '_, S> {
    pub(super) fn operation(&mut self, op: Op, operand: Operand) {
        if let Some((code, is_mirrored)) = of_two(op) {
            return self.two(op, code, is_mirrored);
        }
        if let Some(code) = of_one(op) {
            return self.one(code);
        }
        if let Some(code) = store(op) {
            return self.store(code);
        }
        match (op, operand) {
            (Op::Drop, _) => self.drop_values(1),
            (Op::Dup, _) => self.again(0),
            (Op::Swap, _) => self.swap(),
            (Op::Over, _) => self.again(1),
            (Op::Tuck, _) => {
                self.swap();
                self.again(1);
            }
            (Op::Register, Operand::Register(register)) => {
                let a = self.result();
                self.push_word(Word::of(Code::Register, a, register as u8, 0));
            }
            (Op::SetRegister, Operand::Register(register)) => {
                let (entry, home) = self.pop();
                let a = self.register_of(entry, home);
                self.push_word(Word::of(Code::SetRegister, a, register as u8, 0));
            }
            (Op::Pseudo, Operand::Pseudo(Pseudo::Date)) => {
                self.push(Entry::Number(Marker::Date.address()));
            }
            (Op::Pseudo, Operand::Pseudo(Pseudo::Time)) => {
                self.push(Entry::Number(Marker::Time.address()));
            }
            (Op::Pseudo, Operand::Pseudo(pseudo)) => {
                let a = self.result();
                self.push_word(Word::of(Code::Pseudo, a, pseudo as u8, 0));
            }
            (Op::GetBits, Operand::Bits { low, count }) => {
                let (entry, home) = self.pop();
                let b = self.register_of(entry, home);
                let a = self.result();
                self.push_word(Word::of(Code::GetBits, a, b, 0).with(bits(low, count)));
            }
            (Op::PutBits, Operand::Bits { low, count }) => {
                let (b, c) = self.pop_two();
                let a = self.result();
                self.push_word(Word::of(Code::PutBits, a, b, c).with(bits(low, count)));
            }
            (Op::Jump, Operand::Target(target)) => self.jump(target, None),
            (Op::JumpIfZero, Operand::Target(target)) => self.jump(target, Some(false)),
            (Op::JumpUnlessZero, Operand::Target(target)) => self.jump(target, Some(true)),
            (Op::Call, operand) => self.call(operand),
            (Op::Return | Op::Exit, _) => self.end(op),
            (Op::Do, Operand::Routine(routine)) => {
                let a = self.last(routine.arguments());
                self.push(Entry::Home);
                self.push_word(Word::of(Code::Do, a, routine as u8, a));
            }
            (Op::Faults, _) => {
                let a = self.result();
                self.push_word(Word::of(Code::Faults, a, 0, 0));
            }
            (Op::Forgive, _) => {
                let (entry, home) = self.pop();
                let b = self.register_of(entry, home);
                let a = self.result();
                self.push_word(Word::of(Code::Forgive, a, b, 0));
            }
            (Op::Show, _) => {
                let a = self.last(1);
                self.push_word(Word::of(Code::Show, a, 0, 0).with(self.at.cast_signed()));
            }
            (Op::Printf | Op::PrintfText, Operand::Printf { count, .. }) => {
                let a = self.last(count);
                self.push_word(Word::of(Code::Print, a, count, 0).with(self.at.cast_signed()));
            }
            (Op::Update, Operand::Update(update)) => self.update(update),
            (op, Operand::Number(number)) => self.variable(op, number),
            _ => {}
        }
    }

    /// The registers of the two values on the top, which are taken away.
    fn pop_two(&mut self) -> (u8, u8) {
        let (right, right_home) = self.pop();
        let (left, left_home) = self.pop();
        let left = self.register_of(left, left_home);
        (left, self.register_of(right, right_home))
    }

    fn two(&mut self, op: Op, code: Code, is_mirrored: bool) {
        let (right, right_home) = self.pop();
        let (left, left_home) = self.pop();
        if let Entry::Number(number) = right
            && let Some(word) = self.with_number(op, code, (left, left_home), number)
        {
            return self.give(word);
        }
        if let (Entry::Number(number), Some(mirrored)) = (left, code.mirrored())
            && !matches!(right, Entry::Number(_))
            && let Some(short) = short(number)
            && let Some(code) = mirrored.with_number()
        {
            let b = self.register_of(right, right_home);
            return self.give(Word::of(code, 0, b, 0).with(short));
        }
        if let Some(word) = self.joined(code, (left, left_home), (right, right_home)) {
            let at = self.take_back().map_or(self.at, |before| before.at);
            let a = self.result();
            return self.push_word_of(word.with_a(a), at);
        }
        let left = self.register_of(left, left_home);
        let right = self.register_of(right, right_home);
        let (b, c) = if is_mirrored {
            (right, left)
        } else {
            (left, right)
        };
        self.give(Word::of(code, 0, b, c));
    }

    /// The last word and this operation in one, if one of its sides is what that word gives.
    fn joined(&self, code: Code, left: (Entry, u8), right: (Entry, u8)) -> Option<Word> {
        let first = self.pending?.word;
        let code = first.code()?.then(code)?;
        let given = (Entry::Home, first.a());
        let other = if right == given {
            left
        } else if left == given {
            right
        } else {
            return None;
        };
        let c = match other {
            (Entry::Home, home) => home,
            (Entry::Variable(register), _) => register,
            (Entry::Number(_), _) => return None,
        };
        Some(Word::of(code, 0, first.b(), c).with(first.n() as i32))
    }

    /// The word gives the next value.
    fn give(&mut self, word: Word) {
        let a = self.result();
        self.push_word(word.with_a(a));
    }

    /// With a number on its right, if there is a word for that.
    fn with_number(
        &mut self,
        op: Op,
        code: Code,
        (left, home): (Entry, u8),
        number: u64,
    ) -> Option<Word> {
        let (code, number) = match op {
            Op::Sub => (Code::AddN, number.wrapping_neg()),
            Op::Shl | Op::ShrU | Op::ShrS if number >= 64 => return None,
            Op::DivU | Op::DivS | Op::RemU | Op::RemS if number == 0 => return None,
            Op::GtU | Op::GeU | Op::GtS | Op::GeS => (with_number(op)?, number),
            _ => (code.with_number()?, number),
        };
        let number = short(number)?;
        let b = self.register_of(left, home);
        Some(Word::of(code, 0, b, 0).with(number))
    }

    fn one(&mut self, code: Code) {
        let (entry, home) = self.pop();
        if code == Code::SignExtend32
            && entry == Entry::Home
            && let Some(word) = self.taken_back(home, |code| code.extended().is_some())
        {
            let code = word.code().and_then(Code::extended).unwrap_or(Code::Move);
            let word = Word::of(code, 0, word.b(), word.c()).with(word.n() as i32);
            return self.give(word);
        }
        let is_load = matches!(
            code,
            Code::Load8 | Code::Load16 | Code::Load32 | Code::Load64
        );
        let (b, offset) = if is_load {
            self.with_offset(entry, home)
        } else {
            (self.register_of(entry, home), 0)
        };
        self.give(Word::of(code, 0, b, 0).with(offset));
    }

    /// Register and number of an address that was just computed as their sum.
    fn with_offset(&mut self, entry: Entry, home: u8) -> (u8, i32) {
        if entry == Entry::Home
            && let Some(word) = self.taken_back(home, |code| code == Code::AddN)
        {
            return (word.b(), word.n() as i32);
        }
        (self.register_of(entry, home), 0)
    }

    fn store(&mut self, code: Code) {
        let (a, b) = self.pop_two();
        self.push_word(Word::of(code, a, b, 0));
    }

    /// Adding a number to a whole global is a word of its own.
    fn update(&mut self, update: Update) {
        let len = self.len();
        let address = self.entry(len.wrapping_sub(2));
        let value = self.entry(len.wrapping_sub(1));
        if let (Entry::Number(address), Entry::Number(value)) = (address, value)
            && let Some((Area::Globals, offset)) = tag::parse(address)
            && offset.is_multiple_of(8)
            && update.width.bytes == 8
        {
            let addend = match update.op {
                Op::Add => Some(value),
                Op::Sub => Some(value.wrapping_neg()),
                _ => None,
            };
            if let Some(addend) = addend.filter(|addend| Word::is_short(*addend)) {
                self.drop_values(2);
                let addend = addend.cast_signed();
                return self.push_word(Word::comparing(Code::AddGlobal, 0, offset / 8, addend));
            }
        }
        let (a, b) = self.pop_two();
        let word = Word::of(Code::Update, a, b, update.width.byte());
        self.push_word(word.with(update.op as i32));
    }

    fn variable(&mut self, op: Op, value: u64) {
        let offset = value as u32;
        let number = i32::try_from(value).unwrap_or(i32::MAX);
        let in_registers = i32::from(self.variables);
        let is_register = number < in_registers;
        match op {
            Op::PushU8 | Op::PushI8 | Op::PushU16 | Op::PushU32 | Op::PushI32 | Op::PushU64 => {
                return self.push(Entry::Number(value));
            }
            Op::LoadLocal if is_register && !self.is_function => {
                return self.push(Entry::Variable(number as u8));
            }
            Op::LoadFrame if is_register => return self.push(Entry::Variable(number as u8)),
            Op::StoreLocal if is_register && !self.is_function => {
                return self.assign(number as u8);
            }
            Op::StoreFrame if is_register => return self.assign(number as u8),
            _ => {}
        }
        let in_memory = number.wrapping_sub(in_registers);
        match op {
            Op::LoadLocal => self.give(Word::of(Code::LoadLocal, 0, 0, 0).with(number)),
            Op::LoadFrame => self.give(Word::of(Code::LoadFrame, 0, 0, 0).with(in_memory)),
            Op::LoadGlobal => self.give(Word::of(Code::LoadGlobal, 0, 0, 0).with(number)),
            Op::StoreLocal => self.keep(Code::StoreLocal, number),
            Op::StoreFrame => self.keep(Code::StoreFrame, in_memory),
            Op::StoreGlobal => self.store_global(number),
            Op::AddressLocal => self.push(Entry::Number(tag::address(Area::Locals, offset))),
            Op::AddressGlobal => self.push(Entry::Number(tag::address(Area::Globals, offset))),
            Op::AddressConstant => self.push(Entry::Number(tag::address(Area::Constants, offset))),
            Op::AddressFrame => {
                let offset = offset.saturating_sub(self.register_bytes());
                let word = Word::of(Code::AddressFrame, 0, 0, 0);
                self.give(word.with(offset.cast_signed()));
            }
            _ => {}
        }
    }

    /// The top goes to a global. If it is that global and a number, a word of its own does both.
    fn store_global(&mut self, slot: i32) {
        let Some((addend, at)) = self.added_to(slot) else {
            return self.keep(Code::StoreGlobal, slot);
        };
        self.take_back();
        self.take_back();
        self.drop_values(1);
        let word = Word::comparing(Code::AddGlobal, 0, slot.cast_unsigned(), addend);
        self.push_word_of(word, at);
    }

    /// What the last two words add to a global, and the place of the first, if the top is just that.
    fn added_to(&self, slot: i32) -> Option<(i64, u32)> {
        let top = self.len().saturating_sub(1);
        let (entry, home) = (self.entry(top), self.home(top));
        let (load, add) = (self.earlier?, self.pending?.word);
        let is_sum = entry == Entry::Home
            && load.word == Word::of(Code::LoadGlobal, home, 0, 0).with(slot)
            && add.code() == Some(Code::AddN)
            && (add.a(), add.b()) == (home, home)
            && Word::is_short(add.n());
        is_sum.then(|| (add.n().cast_signed(), load.at))
    }

    /// The top goes to a variable in memory.
    fn keep(&mut self, code: Code, slot: i32) {
        let (entry, home) = self.pop();
        let a = self.register_of(entry, home);
        self.push_word(Word::of(code, a, 0, 0).with(slot));
    }
}

/// Bits as a word's number has them.
fn bits(low: u8, count: u8) -> i32 {
    i32::from(low) | i32::from(count) << 8
}
