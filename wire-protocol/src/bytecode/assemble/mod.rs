//! Writes programs. Used by the host's compiler and by tests, into memory they lend.
//!
//! ```
//! use wire_protocol::bytecode::{Assembler, Verified, assemble::Scratch, op::Op};
//! use wire_protocol::register::Register;
//!
//! // printf("%llx %llx\n", @rip, poi(@rsp));
//! let mut scratch = Scratch::default();
//! let mut program = Assembler::new(scratch.memory());
//! program.register(Register::Rip)?;
//! program.register(Register::Rsp)?;
//! program.op(Op::Load64)?;
//! program.printf(b"%llx %llx\n", 2, 0)?;
//! program.op(Op::Exit)?;
//! let mut bytes = [0; 40];
//! let bytes = program.finish(&mut bytes)?;
//! assert_eq!(bytes.len(), 26);
//! assert!(Verified::new(bytes).is_ok());
//! # Ok::<(), wire_protocol::bytecode::assemble::AssembleError>(())
//! ```
//!
//! The main part comes first, then the functions in the order in which they were declared. The
//! depth of the stack is followed as the code is written; a label takes it from the first jump to
//! it or from the code before it, and is expected to be reached with the same from elsewhere.

use super::op::{Op, SHORT_NUMBER, Shape, short_register};
use super::program::Function;
use super::routine::{Pseudo, Routine, Show};
use super::update::Update;
use super::{CONSTANT_BYTES, DEPTH, PRINT_ARGUMENTS};
use crate::codec::{EncodeError, Writer};
use crate::register::Register;

mod finish;
mod flow;

/// Why a program cannot be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AssembleError {
    /// More code, or a longer program, than the memory holds.
    CodeFull,
    /// More constants than [`CONSTANT_BYTES`] or the memory.
    ConstantsFull,
    /// More labels than the memory.
    LabelsFull,
    /// More functions than [`super::FUNCTIONS`] or the memory.
    FunctionsFull,
    /// More locals than [`super::LOCAL_BYTES`], or a frame larger than [`super::FRAME_BYTES`].
    VariablesFull,
    /// More arguments than [`super::ARGUMENTS`], or more values printed than [`PRINT_ARGUMENTS`].
    TooManyArguments,
    /// An expression needs more than [`DEPTH`] values.
    TooDeep,
    /// Code offset of an operation that takes more values than there are.
    Underflow(u32),
    /// Code offset where two ways meet with different depths.
    Join(u32),
    /// An operation with a slot or an operand that it cannot have.
    Operand,
    /// A label is used and was not placed, or a function was declared and not begun, or begun out
    /// of order.
    Missing,
}

impl From<EncodeError> for AssembleError {
    fn from(_: EncodeError) -> Self {
        Self::CodeFull
    }
}

/// A place in the code, perhaps not yet known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LabelId(u32);

/// A function, perhaps not yet written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FunctionId(u8);

/// What is known of a label.
#[derive(Clone, Copy, Debug, Default)]
pub struct LabelState {
    at: Option<u32>,
    depth: Option<u8>,
    used: bool,
}

/// What an assembler writes into before all is joined.
#[derive(Debug)]
pub struct Memory<'b> {
    /// For the code.
    pub code: &'b mut [u8],
    /// For the constants.
    pub constants: &'b mut [u8],
    /// One per label.
    pub labels: &'b mut [LabelState],
    /// One per function.
    pub functions: &'b mut [Function],
}

/// Memory for a small program, such as those of tests.
#[derive(Debug)]
pub struct Scratch {
    code: [u8; 2048],
    constants: [u8; 1024],
    labels: [LabelState; 64],
    functions: [Function; 16],
}

impl Default for Scratch {
    fn default() -> Self {
        Self {
            code: [0; 2048],
            constants: [0; 1024],
            labels: [LabelState::default(); 64],
            functions: [Function::default(); 16],
        }
    }
}

impl Scratch {
    /// All of it.
    pub fn memory(&mut self) -> Memory<'_> {
        Memory {
            code: &mut self.code,
            constants: &mut self.constants,
            labels: &mut self.labels,
            functions: &mut self.functions,
        }
    }
}

/// Writes one program.
#[derive(Debug)]
pub struct Assembler<'b> {
    code: Writer<'b>,
    constants: Writer<'b>,
    labels: &'b mut [LabelState],
    label_count: usize,
    functions: &'b mut [Function],
    function_count: usize,
    begun: usize,
    local_bytes: usize,
    main_depth: u8,
    main_registers: u8,
    /// Values on the stack here; `None` where nothing runs on to.
    depth: Option<u8>,
}

type Done = Result<(), AssembleError>;

impl<'b> Assembler<'b> {
    /// Starts with the main part.
    #[must_use]
    pub fn new(memory: Memory<'b>) -> Self {
        Self {
            code: Writer::new(memory.code),
            constants: Writer::new(memory.constants),
            labels: memory.labels,
            label_count: 0,
            functions: memory.functions,
            function_count: 0,
            begun: 0,
            local_bytes: 0,
            main_depth: 0,
            main_registers: 0,
            depth: Some(0),
        }
    }

    /// Offset in the code of what comes next.
    #[must_use]
    pub fn here(&self) -> u32 {
        self.code.len() as u32
    }

    /// Values on the stack here; `None` where nothing runs on to.
    #[must_use]
    pub fn depth(&self) -> Option<u8> {
        self.depth
    }

    /// Notes what an operation takes and leaves.
    fn follow(&mut self, takes: u8, leaves: u8) -> Done {
        let underflow = AssembleError::Underflow(self.here());
        let after = self.depth.unwrap_or(0).checked_sub(takes);
        let after = after.ok_or(underflow)?.saturating_add(leaves);
        if usize::from(after) > DEPTH {
            return Err(AssembleError::TooDeep);
        }
        let deepest = match self.begun.checked_sub(1) {
            None => Some(&mut self.main_depth),
            Some(index) => self.functions.get_mut(index).map(|entry| &mut entry.depth),
        };
        if let Some(deepest) = deepest {
            *deepest = after.max(*deepest);
        }
        self.depth = Some(after);
        Ok(())
    }

    fn write(&mut self, op: Op, operand: &[u8]) -> Done {
        if operand.len() != op.shape().len() {
            return Err(AssembleError::Operand);
        }
        self.code.byte(op as u8)?;
        self.code.bytes(operand)?;
        if op.leaves() {
            self.depth = None;
        }
        Ok(())
    }

    fn simple(&mut self, op: Op, operand: &[u8]) -> Done {
        let (takes, leaves) = op.effect();
        self.follow(takes, leaves)?;
        self.write(op, operand)
    }

    /// An operation without operand.
    ///
    /// # Errors
    /// The operation has one, or there is no room.
    pub fn op(&mut self, op: Op) -> Done {
        self.simple(op, &[])
    }

    /// Pushes a number in its shortest form.
    ///
    /// # Errors
    /// There is no room, as with all that follow.
    pub fn number(&mut self, value: u64) -> Done {
        let bytes = value.to_le_bytes();
        let [b0, b1, b2, b3, ..] = bytes;
        let signed = value as i64;
        if value < 64 {
            self.follow(0, 1)?;
            return Ok(self.code.byte(SHORT_NUMBER | b0)?);
        }
        if value <= 0xff {
            self.simple(Op::PushU8, &[b0])
        } else if i8::try_from(signed).is_ok() {
            self.simple(Op::PushI8, &[b0])
        } else if value <= 0xffff {
            self.simple(Op::PushU16, &[b0, b1])
        } else if value <= 0xffff_ffff {
            self.simple(Op::PushU32, &[b0, b1, b2, b3])
        } else if i32::try_from(signed).is_ok() {
            self.simple(Op::PushI32, &[b0, b1, b2, b3])
        } else {
            self.simple(Op::PushU64, &bytes)
        }
    }

    /// Pushes a register.
    ///
    /// # Errors
    /// See [`Self::number`].
    pub fn register(&mut self, register: Register) -> Done {
        match short_register(register) {
            Some(byte) => {
                self.follow(0, 1)?;
                Ok(self.code.byte(byte)?)
            }
            None => self.simple(Op::Register, &[register as u8]),
        }
    }

    /// Takes a value into a register.
    ///
    /// # Errors
    /// See [`Self::number`].
    pub fn set_register(&mut self, register: Register) -> Done {
        self.simple(Op::SetRegister, &[register as u8])
    }

    /// Pushes a pseudo-register.
    ///
    /// # Errors
    /// See [`Self::number`].
    pub fn pseudo(&mut self, pseudo: Pseudo) -> Done {
        self.simple(Op::Pseudo, &[pseudo as u8])
    }

    /// `GetBits` or `PutBits`.
    ///
    /// # Errors
    /// The bits are not within 64, or are none or all of them.
    pub fn bits(&mut self, op: Op, low: u8, count: u8) -> Done {
        let fits = (1..64).contains(&count) && u16::from(low) + u16::from(count) <= 64;
        if !fits || op.shape() != Shape::Bits {
            return Err(AssembleError::Operand);
        }
        self.simple(op, &[low, count])
    }

    /// Combines what is at an address with a value, which lies above it on the stack.
    ///
    /// # Errors
    /// The operation is none of [`Update::OPERATIONS`].
    pub fn update(&mut self, update: Update) -> Done {
        if !Update::OPERATIONS.contains(&update.op) {
            return Err(AssembleError::Operand);
        }
        self.simple(Op::Update, &update.bytes())
    }

    /// One of the operations with a slot (`LoadLocal`, …: 8 × slot is the offset in bytes) or an
    /// offset (`AddressLocal`, …).
    ///
    /// # Errors
    /// The number does not fit the operation's operand; the operation has none.
    pub fn variable(&mut self, op: Op, number: usize) -> Done {
        let bytes = number.to_le_bytes();
        let [low, high, ..] = bytes;
        let is_variable = (Op::LoadLocal as u8..=Op::AddressConstant as u8).contains(&(op as u8));
        match op.shape() {
            Shape::U8 if is_variable && number <= 0xff => self.simple(op, &[low]),
            Shape::U16 if is_variable && number <= 0xffff => self.simple(op, &[low, high]),
            _ => Err(AssembleError::Operand),
        }
    }

    /// Puts bytes among the constants, each run only once, and returns their offset. Texts are
    /// given with their zero.
    ///
    /// # Errors
    /// There is no room.
    pub fn constant(&mut self, bytes: &[u8]) -> Result<usize, AssembleError> {
        let written = self.constants.written();
        let same = |window: &[u8]| window == bytes;
        if let Some(offset) = written.windows(bytes.len().max(1)).position(same) {
            return Ok(offset);
        }
        let offset = written.len();
        // One byte is kept for the zero at the very end.
        if offset + bytes.len() >= CONSTANT_BYTES {
            return Err(AssembleError::ConstantsFull);
        }
        match self.constants.bytes(bytes) {
            Ok(()) => Ok(offset),
            Err(_) => Err(AssembleError::ConstantsFull),
        }
    }

    /// Pushes the address of such bytes.
    ///
    /// # Errors
    /// There is no room.
    pub fn constant_address(&mut self, bytes: &[u8]) -> Done {
        let offset = self.constant(bytes)?;
        self.variable(Op::AddressConstant, offset)
    }

    /// `printf` with `count` values; `format` comes without a zero, `kinds` has two bits per
    /// value ([`super::routine::ArgumentKind`]), first value lowest.
    ///
    /// # Errors
    /// Too many values; there is no room.
    pub fn printf(&mut self, format: &[u8], count: u8, kinds: u32) -> Done {
        if usize::from(count) > PRINT_ARGUMENTS {
            return Err(AssembleError::TooManyArguments);
        }
        let offset = self.text(format)?;
        let [low, high, ..] = offset.to_le_bytes();
        self.follow(count, 0)?;
        if kinds == 0 {
            return self.write(Op::Printf, &[count, low, high]);
        }
        let [k0, k1, k2, k3] = kinds.to_le_bytes();
        self.write(Op::PrintfText, &[count, low, high, k0, k1, k2, k3])
    }

    fn text(&mut self, text: &[u8]) -> Result<usize, AssembleError> {
        let written = self.constants.written();
        let found = written
            .windows(text.len() + 1)
            .position(|window| window.split_last() == Some((&0, text)));
        if let Some(offset) = found {
            return Ok(offset);
        }
        let offset = written.len();
        if offset + text.len() + 1 >= CONSTANT_BYTES {
            return Err(AssembleError::ConstantsFull);
        }
        let written = self.constants.bytes(text).and(self.constants.byte(0));
        written.map_err(|_| AssembleError::ConstantsFull)?;
        Ok(offset)
    }

    /// `print`, `formats` or `test_statement`.
    ///
    /// # Errors
    /// See [`Self::number`].
    pub fn show(&mut self, show: Show) -> Done {
        self.simple(Op::Show, &[show as u8])
    }

    /// One of the language's own functions; its arguments are on the stack, first one lowest.
    ///
    /// # Errors
    /// See [`Self::number`].
    pub fn routine(&mut self, routine: Routine) -> Done {
        self.follow(routine.arguments(), 1)?;
        self.write(Op::Do, &[routine as u8])
    }
}
