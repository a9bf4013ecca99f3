//! Turns a verified program into [`Word`]s, in one pass without memory but for what the words are
//! put into. Called when a program is added, and to find the place of a word in its program.
//!
//! What an operation pushes is not copied if it is a variable or a number: it is used from where
//! it is. All else has a register of its own, which follows from its depth on the stack: so has,
//! wherever two ways meet, every value.

mod jump;
mod operation;

use super::decode::{Operand, decode};
use super::op::Op;
use super::program::{Function, Program};
use super::word::{Code, JOINED_CODE_BYTES, Leads, SCRATCH, Word};
use super::{DEPTH, Verified};

/// Where a value on the stack is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Entry {
    /// In its own register.
    Home,
    /// In a variable's.
    Variable(u8),
    /// Nowhere yet.
    Number(u64),
}

/// What takes the words.
pub(super) trait Sink {
    /// The next word, and the place in the code that it comes from. False: no more are wanted.
    fn word(&mut self, word: Word, at: u32) -> bool;
    /// The next label stands before the next word.
    fn label(&mut self);
    /// The next function starts with the next word.
    fn function(&mut self);
}

/// A word that what follows may still change.
#[derive(Clone, Copy, Debug)]
struct Pending {
    word: Word,
    at: u32,
}

/// See the module. That the program is verified is what makes the words good; memory is safe either
/// way.
pub(super) struct Translator<'p, 'a, S> {
    program: &'p Program<'a>,
    sink: S,
    /// What is wanted has been given.
    is_done: bool,
    /// The last word, and the one before.
    pending: Option<Pending>,
    earlier: Option<Pending>,
    /// The last word before the last label, if a jump behind that label may yet be joined to it: then
    /// nothing has been given to the sink since.
    above_label: Option<Pending>,
    /// The code is short enough for [`Leads::ToLabelJoined`](super::word::Leads).
    is_short: bool,
    entries: [Entry; DEPTH],
    /// Values on the stack; `None` where nothing runs on to.
    depth: Option<usize>,
    /// Variables in registers: those of the function.
    variables: u8,
    /// Bytes of its variables, those that are in registers first.
    frame_bytes: u32,
    is_function: bool,
    /// The operation that is being translated.
    at: u32,
}

/// Gives the words of a program to a sink.
pub(super) fn translate<S: Sink>(program: &Verified<'_>, sink: S) -> S {
    let program = program.program();
    let mut translator = Translator {
        program,
        sink,
        is_done: false,
        pending: None,
        earlier: None,
        above_label: None,
        is_short: program.code().len() <= JOINED_CODE_BYTES,
        entries: [Entry::Home; DEPTH],
        depth: Some(0),
        variables: program.registers(),
        frame_bytes: 0,
        is_function: false,
        at: 0,
    };
    translator.all();
    translator.sink
}

impl<S: Sink> Translator<'_, '_, S> {
    fn all(&mut self) {
        let code = self.program.code();
        let (mut label, mut function, mut at) = (0, 0_u8, 0);
        while let Some(instruction) = decode(code, at) {
            if self.is_done {
                return;
            }
            self.at = at as u32;
            if let Some(next) = self.program.function(function)
                && next.start == self.at
            {
                self.enter(&next);
                function = function.wrapping_add(1);
            }
            if let Some(next) = self.program.label(label)
                && next.at == self.at
            {
                self.reach(usize::from(next.depth));
                label += 1;
            }
            if self.depth.is_some() {
                self.operation(instruction.op, instruction.operand);
            }
            at = instruction.next;
        }
        self.settle();
    }

    fn enter(&mut self, function: &Function) {
        self.settle();
        self.sink.function();
        self.variables = function.registers;
        self.frame_bytes = u32::from(function.frame_bytes);
        self.is_function = true;
        self.depth = Some(0);
        let memory_bytes = self.frame_bytes.saturating_sub(self.register_bytes());
        let word = Word::of(Code::Enter, function.arguments, function.registers, 0);
        self.push_word(word.with(memory_bytes.cast_signed()));
    }

    /// Bytes of the variables that are in registers.
    fn register_bytes(&self) -> u32 {
        8 * u32::from(self.variables)
    }

    /// A label: each value is in its own register, whichever way it is reached.
    fn reach(&mut self, depth: usize) {
        if self.depth.is_some() {
            self.bring_home(0);
        }
        let last = self.pending.filter(|last| jump::is_step(last.word));
        if last.is_some() {
            self.take_back();
        }
        self.settle();
        match last {
            Some(_) => self.above_label = last,
            None => self.sink.label(),
        }
        self.depth = Some(depth);
        for entry in self.entries.iter_mut().take(depth) {
            *entry = Entry::Home;
        }
    }

    /// Nothing can change the last words any more.
    fn settle(&mut self) {
        self.settle_label();
        let (earlier, last) = (self.earlier.take(), self.pending.take());
        earlier.into_iter().chain(last).for_each(|it| self.sink(it));
    }

    fn settle_label(&mut self) {
        if let Some(above) = self.above_label.take() {
            self.sink(above);
            self.sink.label();
        }
    }

    fn sink(&mut self, Pending { word, at }: Pending) {
        if !self.is_done {
            self.is_done = !self.sink.word(word, at);
        }
    }

    /// The next word, of the operation that is being translated.
    fn push_word(&mut self, word: Word) {
        self.push_word_of(word, self.at);
    }

    /// The next word, of the operation at a place.
    fn push_word_of(&mut self, word: Word, at: u32) {
        let before = self.pending.replace(Pending { word, at });
        if let Some(settled) = core::mem::replace(&mut self.earlier, before) {
            self.settle_label();
            self.sink(settled);
        }
    }

    /// Takes the last word back.
    fn take_back(&mut self) -> Option<Pending> {
        core::mem::replace(&mut self.pending, self.earlier.take())
    }

    fn push_wide(&mut self, a: u8, number: u64) {
        self.push_word(Word::of(Code::Wide, a, 0, 0));
        self.push_word(Word(number));
        // It must not be taken for an operation.
        self.settle();
    }

    /// The register of the value at that depth.
    fn home(&self, index: usize) -> u8 {
        // The verifier keeps the sum below `SCRATCH`.
        u8::try_from(usize::from(self.variables) + index).unwrap_or(SCRATCH)
    }

    fn len(&self) -> usize {
        self.depth.unwrap_or(0)
    }

    fn entry(&self, index: usize) -> Entry {
        self.entries.get(index).copied().unwrap_or(Entry::Home)
    }

    fn set_entry(&mut self, index: usize, entry: Entry) {
        if let Some(place) = self.entries.get_mut(index) {
            *place = entry;
        }
    }

    fn push(&mut self, entry: Entry) {
        let len = self.len();
        self.set_entry(len, entry);
        self.depth = Some(len + 1);
    }

    fn drop_values(&mut self, count: usize) {
        self.depth = Some(self.len().saturating_sub(count));
    }

    /// Takes the top away; what it was, and its register if it is there.
    fn pop(&mut self) -> (Entry, u8) {
        self.drop_values(1);
        let index = self.len();
        (self.entry(index), self.home(index))
    }

    /// The register in which a value is, `home` being its own.
    fn register_of(&mut self, entry: Entry, home: u8) -> u8 {
        match entry {
            Entry::Home => home,
            Entry::Variable(register) => register,
            Entry::Number(number) => {
                self.constant(home, number);
                home
            }
        }
    }

    fn constant(&mut self, register: u8, number: u64) {
        match i32::try_from(number.cast_signed()) {
            Ok(short) => self.push_word(Word::of(Code::Const, register, 0, 0).with(short)),
            Err(_) => self.push_wide(register, number),
        }
    }

    /// Puts the value at that depth into its own register.
    fn bring(&mut self, index: usize) {
        let home = self.home(index);
        match self.entry(index) {
            Entry::Home => {}
            Entry::Variable(from) => self.push_word(Word::of(Code::Move, home, from, 0)),
            Entry::Number(number) => self.constant(home, number),
        }
        self.set_entry(index, Entry::Home);
    }

    /// The same for all from that depth on.
    fn bring_home(&mut self, from: usize) {
        for index in from..self.len() {
            self.bring(index);
        }
    }

    /// The variable changes: values that are its old one are kept.
    fn keep_old(&mut self, variable: u8) -> bool {
        let mut any = false;
        for index in 0..self.len() {
            if self.entry(index) == Entry::Variable(variable) {
                self.bring(index);
                any = true;
            }
        }
        any
    }

    /// The register of the next value, which a word gives.
    fn result(&mut self) -> u8 {
        let index = self.len();
        self.push(Entry::Home);
        self.home(index)
    }

    /// Takes the last word back if it gives what `register` holds.
    fn taken_back(&mut self, register: u8, wanted: impl FnOnce(Code) -> bool) -> Option<Word> {
        let word = self.pending?.word;
        let fits = word.a() == register && wanted(word.code()?);
        fits.then(|| self.take_back())?;
        Some(word)
    }

    /// The top becomes the variable.
    fn assign(&mut self, variable: u8) {
        let (entry, home) = self.pop();
        let kept = self.keep_old(variable);
        match entry {
            Entry::Variable(from) if from == variable => {}
            Entry::Variable(from) => self.push_word(Word::of(Code::Move, variable, from, 0)),
            Entry::Number(number) => self.constant(variable, number),
            Entry::Home => {
                let at = self.pending.map_or(self.at, |pending| pending.at);
                match self.taken_back(home, |code| code.gives() && !kept) {
                    Some(word) => self.push_word_of(word.giving(variable), at),
                    None => self.push_word(Word::of(Code::Move, variable, home, 0)),
                }
            }
        }
    }

    /// A jump, on a condition if `unless_zero` says on which.
    fn jump(&mut self, target: u32, unless_zero: Option<bool>) {
        let label = self.label_number(target);
        let Some(unless_zero) = unless_zero else {
            self.bring_home(0);
            self.push_jump(Word::of(Code::Jump, 0, 0, 0).with(label.cast_signed()));
            self.depth = None;
            return;
        };
        let (entry, home) = self.pop();
        if let Entry::Number(number) = entry {
            self.bring_home(0);
            if (number != 0) == unless_zero {
                self.push_jump(Word::of(Code::Jump, 0, 0, 0).with(label.cast_signed()));
            }
            return;
        }
        let fused = |word| jump::fused(word, label, unless_zero);
        let compare = match (entry, self.pending) {
            (Entry::Home, Some(Pending { word, .. })) if word.a() == home => fused(word),
            _ => None,
        };
        if let Some(word) = compare {
            self.take_back();
            self.bring_home(0);
            self.push_jump(word);
            return;
        }
        self.bring_home(0);
        let register = self.register_of(entry, home);
        let code = if unless_zero {
            Code::JumpNotZero
        } else {
            Code::JumpZero
        };
        let word = Word::of(code, register, 0, 0);
        self.push_jump(word.with(label.cast_signed()));
    }

    /// A jump, in one word with what is before it if there is one for both.
    fn push_jump(&mut self, jump: Word) {
        self.step_to(jump);
        let before = self.pending.map(|pending| pending.word);
        let joined = before.and_then(|before| jump::joined(before, jump, self.variables));
        match joined.filter(|word| self.is_short || word.leads() == Leads::ToLabel) {
            Some(word) => {
                let at = self.take_back().map_or(self.at, |before| before.at);
                self.push_word_of(word, at);
            }
            None => self.push_word(jump),
        }
    }

    /// A jump right behind a label, where the end of a loop comes from a step: that step jumps as well, past the
    /// label. Where it does not, the jump itself finds what the step found.
    fn step_to(&mut self, jump: Word) {
        let (Some(above), None) = (self.above_label, self.pending) else {
            return;
        };
        let stepped = jump::joined(above.word, jump, self.variables);
        if let Some(word) = stepped.filter(|_| self.is_short && !jump.is_unconditional()) {
            self.above_label = Some(Pending { word, ..above });
            self.settle_label();
        }
    }

    fn label_number(&self, target: u32) -> u32 {
        self.program
            .label_index(target)
            .and_then(|index| u32::try_from(index).ok())
            .unwrap_or(u32::MAX)
    }

    /// Values change places; those that have registers move.
    fn swap(&mut self) {
        let Some(first) = self.len().checked_sub(2) else {
            return;
        };
        let second = first + 1;
        let (low, high) = (self.home(first), self.home(second));
        let (a, b) = (self.entry(first), self.entry(second));
        let moved = |to, from| Word::of(Code::Move, to, from, 0);
        match (a, b) {
            (Entry::Home, Entry::Home) => {
                self.push_word(moved(SCRATCH, low));
                self.push_word(moved(low, high));
                self.push_word(moved(high, SCRATCH));
            }
            (Entry::Home, _) => self.push_word(moved(high, low)),
            (_, Entry::Home) => self.push_word(moved(low, high)),
            _ => {}
        }
        self.set_entry(first, b);
        self.set_entry(second, a);
    }

    /// Another value like the one at that many below the top.
    fn again(&mut self, below: usize) {
        let Some(index) = self.len().checked_sub(1 + below) else {
            return;
        };
        let (entry, from) = (self.entry(index), self.home(index));
        if entry == Entry::Home {
            let to = self.result();
            self.push_word(Word::of(Code::Move, to, from, 0));
        } else {
            self.push(entry);
        }
    }

    /// Brings the last values home; the register of the first of them.
    fn last(&mut self, count: u8) -> u8 {
        let first = self.len().saturating_sub(usize::from(count));
        self.bring_home(first);
        self.depth = Some(first);
        self.home(first)
    }

    /// What ends a function or the run.
    fn end(&mut self, op: Op) {
        if op == Op::Return {
            let (entry, home) = self.pop();
            let register = self.register_of(entry, home);
            self.push_word(Word::of(Code::Return, register, 0, 0));
        } else {
            self.push_word(Word::of(Code::Exit, 0, 0, 0));
        }
        self.depth = None;
    }

    fn call(&mut self, operand: Operand) {
        let Operand::Function(index) = operand else {
            return;
        };
        let function = self.program.function(index).unwrap_or_default();
        let first = self.last(function.arguments);
        self.push(Entry::Home);
        let word = Word::of(Code::Call, first, first, 0);
        self.push_word(word.with(i32::from(index)));
    }
}
