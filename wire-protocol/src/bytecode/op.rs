//! The operations, each with its operand and its effect on the stack. One byte per operation;
//! numbers below 64 and the registers from RAX to DR0 are one byte with their operand.

use crate::register::Register;

/// Shape of what follows an operation's byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// Nothing.
    None,
    /// One byte, a number.
    U8,
    /// One byte, sign-extended.
    I8,
    /// Two bytes, a number.
    U16,
    /// Four bytes, a number.
    U32,
    /// Four bytes, sign-extended.
    I32,
    /// Eight bytes, a number.
    U64,
    /// Two bytes: lowest bit, number of bits (1 to 63).
    Bits,
    /// One byte: number of a [`Register`].
    Register,
    /// One byte: a [`super::routine::Pseudo`].
    Pseudo,
    /// One byte: a [`super::routine::Routine`].
    Routine,
    /// One byte: a [`super::routine::Show`].
    Show,
    /// Two bytes: an operation, and what is at the address ([`super::update::Update`]).
    Update,
    /// Three bytes: a place in the code that is a label.
    Target,
    /// One byte: index of a function.
    Function,
    /// Three bytes: number of values (at most [`super::PRINT_ARGUMENTS`]), format's place in the constants.
    Printf,
    /// Seven bytes: the same, then two bits for each value, first value lowest, that say how it
    /// is recorded ([`super::routine::ArgumentKind`]).
    PrintfText,
}

impl Shape {
    /// Bytes after the operation's own.
    #[must_use]
    pub const fn len(self) -> usize {
        match self {
            Self::None => 0,
            Self::U8
            | Self::I8
            | Self::Register
            | Self::Pseudo
            | Self::Routine
            | Self::Show
            | Self::Function => 1,
            Self::U16 | Self::Bits | Self::Update => 2,
            Self::Target | Self::Printf => 3,
            Self::U32 | Self::I32 => 4,
            Self::PrintfText => 7,
            Self::U64 => 8,
        }
    }

    /// The operation's byte is all there is.
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.len() == 0
    }
}

macro_rules! operations {
    ($($(#[$doc:meta])* $name:ident $shape:ident $takes:literal $leaves:literal;)*) => {
        /// An operation. In the comments the right-most value is the top of the stack.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[repr(u8)]
        pub enum Op {
            $($(#[$doc])* $name,)*
        }

        impl Op {
            /// All operations, in the order of their bytes.
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];

            /// What follows its byte.
            #[must_use]
            pub const fn shape(self) -> Shape {
                match self {
                    $(Self::$name => Shape::$shape,)*
                }
            }

            /// Values it takes from the stack and values it leaves there. `Call`, `Do`, `Printf`
            /// and `PrintfText` take those of their operand as well.
            #[must_use]
            pub const fn effect(self) -> (u8, u8) {
                match self {
                    $(Self::$name => ($takes, $leaves),)*
                }
            }
        }
    };
}

operations! {
    /// `a →`
    Drop None 1 0;
    /// `a → a a`
    Dup None 1 2;
    /// `a b → b a`
    Swap None 2 2;
    /// `a b → a b a`
    Over None 2 3;
    /// `a b → b a b`
    Tuck None 2 3;

    /// `→ n`
    PushU8 U8 0 1;
    /// `→ n`
    PushI8 I8 0 1;
    /// `→ n`
    PushU16 U16 0 1;
    /// `→ n`
    PushU32 U32 0 1;
    /// `→ n`
    PushI32 I32 0 1;
    /// `→ n`
    PushU64 U64 0 1;

    /// `a b → a + b`, modulo 2⁶⁴ as all arithmetic
    Add None 2 1;
    /// `a b → a - b`
    Sub None 2 1;
    /// `a b → a * b`
    Mul None 2 1;
    /// `a b → a / b`; by zero gives 0 and a fault is noted
    DivU None 2 1;
    /// `a b → a / b`, signed, towards zero; by zero gives 0 and a fault is noted
    DivS None 2 1;
    /// `a b → a % b`; by zero gives 0 and a fault is noted
    RemU None 2 1;
    /// `a b → a % b`, signed, sign of `a`; by zero gives 0 and a fault is noted
    RemS None 2 1;
    /// `a b → a & b`
    And None 2 1;
    /// `a b → a | b`
    Or None 2 1;
    /// `a b → a ^ b`
    Xor None 2 1;
    /// `a b → a << b`; 0 if `b` is 64 or more
    Shl None 2 1;
    /// `a b → a >> b`; 0 if `b` is 64 or more
    ShrU None 2 1;
    /// `a b → a >> b`, sign filled in; 0 if `b` is 64 or more
    ShrS None 2 1;
    /// `a → -a`
    Neg None 1 1;
    /// `a → ~a`
    Not None 1 1;
    /// `a → a == 0`, which is `!a`
    IsZero None 1 1;
    /// `a → a != 0`
    Bool None 1 1;

    /// `a b → a == b`: 1 or 0, as all comparisons
    Eq None 2 1;
    /// `a b → a != b`
    Ne None 2 1;
    /// `a b → a < b`
    LtU None 2 1;
    /// `a b → a <= b`
    LeU None 2 1;
    /// `a b → a > b`
    GtU None 2 1;
    /// `a b → a >= b`
    GeU None 2 1;
    /// `a b → a < b`, signed
    LtS None 2 1;
    /// `a b → a <= b`, signed
    LeS None 2 1;
    /// `a b → a > b`, signed
    GtS None 2 1;
    /// `a b → a >= b`, signed
    GeS None 2 1;

    /// `a → a`, bits above the lowest 8 are copies of bit 7
    SignExtend8 None 1 1;
    /// `a → a`, bits above the lowest 16 are copies of bit 15
    SignExtend16 None 1 1;
    /// `a → a`, bits above the lowest 32 are copies of bit 31
    SignExtend32 None 1 1;
    /// `a → a & ff`
    ZeroExtend8 None 1 1;
    /// `a → a & ffff`
    ZeroExtend16 None 1 1;
    /// `a → a & ffffffff`
    ZeroExtend32 None 1 1;
    /// `a → bits of a`: flags, `@ah`
    GetBits Bits 1 1;
    /// `a b → a with b's lowest bits in place of its own`: flags, parts of registers
    PutBits Bits 2 1;

    /// `a b → a + b`. Floating-point values are the bits of a `double`, also where the script
    /// says `float`: the same operation and then `FRound` gives what `float` arithmetic gives.
    FAdd None 2 1;
    /// `a b → a - b`
    FSub None 2 1;
    /// `a b → a * b`
    FMul None 2 1;
    /// `a b → a / b`
    FDiv None 2 1;
    /// `a → -a`
    FNeg None 1 1;
    /// `a b → a == b`
    FEq None 2 1;
    /// `a b → a != b`
    FNe None 2 1;
    /// `a b → a < b`
    FLt None 2 1;
    /// `a b → a <= b`
    FLe None 2 1;
    /// `a b → a > b`
    FGt None 2 1;
    /// `a b → a >= b`
    FGe None 2 1;
    /// `a → double`, from an unsigned number
    FFromU None 1 1;
    /// `a → double`, from a signed number
    FFromS None 1 1;
    /// `double → a`, unsigned, towards zero, saturating, 0 for what is no number
    FToU None 1 1;
    /// `double → a`, signed, towards zero, saturating, 0 for what is no number
    FToS None 1 1;
    /// `bits of a float → double`: after a `Load32` of a `float`
    FWiden None 1 1;
    /// `double → bits of a float`: before a `Store32` of a `float`
    FNarrow None 1 1;
    /// `double → double` that a `float` can hold
    FRound None 1 1;

    /// `address → value`, virtual or tagged; what is not there reads as 0 and a fault is noted
    Load8 None 1 1;
    /// `address → value`
    Load16 None 1 1;
    /// `address → value`
    Load32 None 1 1;
    /// `address → value`, also `poi`
    Load64 None 1 1;
    /// `address value →`; where nothing is, nothing is written and a fault is noted
    Store8 None 2 0;
    /// `address value →`
    Store16 None 2 0;
    /// `address value →`
    Store32 None 2 0;
    /// `address value →`
    Store64 None 2 0;
    /// `address value → done`: 1, or 0 if it could not be written, which is no fault. `eb`
    Put8 None 2 1;
    /// `address value → done`
    Put16 None 2 1;
    /// `address value → done`, `ed`
    Put32 None 2 1;
    /// `address value → done`, `eq`
    Put64 None 2 1;
    /// `address → value`, physical, as `LoadN`
    LoadPhysical8 None 1 1;
    /// `address → value`
    LoadPhysical16 None 1 1;
    /// `address → value`
    LoadPhysical32 None 1 1;
    /// `address → value`
    LoadPhysical64 None 1 1;
    /// `address value → done`, physical, as `PutN`
    PutPhysical8 None 2 1;
    /// `address value → done`
    PutPhysical16 None 2 1;
    /// `address value → done`
    PutPhysical32 None 2 1;
    /// `address value → done`
    PutPhysical64 None 2 1;

    /// `→ value` of the 8 bytes at 8 × operand in the locals
    LoadLocal U8 0 1;
    /// `value →` to the locals
    StoreLocal U8 1 0;
    /// `→ value` of the 8 bytes at 8 × operand in the frame
    LoadFrame U8 0 1;
    /// `value →` to the frame
    StoreFrame U8 1 0;
    /// `→ value` of the 8 bytes at 8 × operand in the globals
    LoadGlobal U16 0 1;
    /// `value →` to the globals
    StoreGlobal U16 1 0;
    /// `→ address` of a byte of the locals
    AddressLocal U16 0 1;
    /// `→ address` of a byte of the frame
    AddressFrame U16 0 1;
    /// `→ address` of a byte of the globals
    AddressGlobal U16 0 1;
    /// `→ address` of a byte of the constants
    AddressConstant U16 0 1;

    /// `→ value` of a register
    Register Register 0 1;
    /// `value →` to a register; one that refuses the value keeps its own and a fault is noted
    SetRegister Register 1 0;
    /// `→ value` of a pseudo-register
    Pseudo Pseudo 0 1;

    /// Goes on at a label; the stack stays as it is
    Jump Target 0 0;
    /// `a →`, goes on at a label if `a` is 0
    JumpIfZero Target 1 0;
    /// `a →`, goes on at a label unless `a` is 0
    JumpUnlessZero Target 1 0;
    /// `arguments → value`: runs a function of the program
    Call Function 0 1;
    /// `value →`, ends the function with it; in the main part ends the run with it
    Return None 1 0;
    /// Ends the run with value 0, from anywhere
    Exit None 0 0;
    /// `arguments → value`: one of the language's own functions
    Do Routine 0 1;

    /// `value →`, records it to be shown
    Show Show 1 0;
    /// `values →`, records them to be printed
    Printf Printf 0 0;
    /// `values →`, records them to be printed, with the text that some point at
    PrintfText PrintfText 0 0;

    /// `→ n`: how many faults there were, for `Forgive`
    Faults None 0 1;
    /// `n → any`: whether there were any since `Faults` gave `n`; they are as if they had not been
    Forgive None 1 1;

    /// `address value →`: combines what is at the address with the value. Of globals nothing that
    /// other cores do comes between; else as a load and a store, with their faults
    Update Update 2 0;
}

impl Op {
    /// The operation with that byte.
    #[must_use]
    #[inline]
    pub fn from_byte(byte: u8) -> Option<Self> {
        Self::ALL.get(usize::from(byte)).copied()
    }

    /// Nothing runs on from here.
    #[must_use]
    pub const fn leaves(self) -> bool {
        matches!(self, Self::Jump | Self::Return | Self::Exit)
    }
}

/// First of the bytes that are a register: the register with the lowest five bits as its number.
pub const SHORT_REGISTER: u8 = 0xa0;

/// First of the bytes that are a number: their lowest six bits.
pub const SHORT_NUMBER: u8 = 0xc0;

/// The byte that pushes this register, for the first 32.
#[must_use]
pub const fn short_register(register: Register) -> Option<u8> {
    let number = register as u8;
    if number < 32 {
        Some(SHORT_REGISTER | number)
    } else {
        None
    }
}

const _: () = assert!(Op::ALL.len() <= SHORT_REGISTER as usize);
