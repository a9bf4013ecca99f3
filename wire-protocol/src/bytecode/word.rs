//! Words: what a program becomes before it runs. Each is one operation on registers, ready to be
//! carried out.
//!
//! | bits | what |
//! |---|---|
//! | 0 to 7 | the [`Code`] |
//! | 8 to 15 | `a`, a register: most often the one that gets the result |
//! | 16 to 23 | `b`, a register or a small number |
//! | 24 to 31 | `c`, the same |
//! | 32 to 63 | `n`, a signed number |
//!
//! A jump that compares with a number has the place it leads to in bits 16 to 39 and the number in
//! bits 40 to 63.

/// Bytes of a word.
pub(crate) const WORD_BYTES: usize = 8;

/// Registers of a word: those of a function's variables first, then those of its stack.
pub(crate) const REGISTERS: usize = 256;

/// The register that nothing is kept in from one operation to the next.
pub(crate) const SCRATCH: u8 = 255;

/// A word. See the module.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Word(pub(crate) u64);

macro_rules! codes {
    ($($(#[$doc:meta])* $name:ident,)*) => {
        /// What a word does. `n` in the names' second halves is the word's number; a `32` at the end
        /// extends the lowest half of the result with its sign.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[repr(u8)]
        pub(crate) enum Code {
            $($(#[$doc])* $name,)*
        }

        /// Their bytes, for a `match` that needs no other check.
        #[allow(non_upper_case_globals, missing_docs, reason = "named as the codes")]
        pub(crate) mod code {
            $(pub(crate) const $name: u8 = super::Code::$name as u8;)*
        }

        impl Code {
            const ALL: &'static [Self] = &[$(Self::$name,)*];
        }
    };
}

codes! {
    /// `a = b`
    Move,
    /// `a = n`
    Const,
    /// `a =` the word that follows
    Wide,

    /// `a = b + c`
    Add, Sub, Mul, And, Or, Xor, Shl, ShrU, ShrS,
    /// By zero it gives 0 and a fault is noted.
    DivU, DivS, RemU, RemS,
    /// `a = b + c`, extended
    Add32, Sub32, Mul32,
    /// `a = b == c`: 1 or 0
    Eq, Ne, LtU, LeU, LtS, LeS,
    /// The bits of `double`s
    FAdd, FSub, FMul, FDiv, FEq, FNe, FLt, FLe,

    /// `a = b + n`
    AddN, MulN, AndN, OrN, XorN,
    /// `n` is below 64.
    ShlN, ShrUN, ShrSN,
    /// `n` is not 0.
    DivUN, DivSN, RemUN, RemSN,
    /// `a = b + n`, extended
    AddN32,
    /// `a = b == n`: 1 or 0
    EqN, NeN, LtUN, LeUN, GtUN, GeUN, LtSN, LeSN, GtSN, GeSN,

    /// `a = -b`
    Neg, Not, IsZero, Bool,
    /// `a = b`, extended
    SignExtend8, SignExtend16, SignExtend32, ZeroExtend8, ZeroExtend16, ZeroExtend32,
    /// `double`s from and to whole numbers and `float`s
    FNeg, FFromU, FFromS, FToU, FToS, FWiden, FNarrow, FRound,
    /// `a =` bits of `b`: bits 0 to 7 of `n` say the lowest of them, 8 to 15 how many
    GetBits,
    /// `a = b` with `c` in place of the bits that `n` says
    PutBits,

    /// `a =` what is at `b + n`
    Load8, Load16, Load32, Load64,
    /// The same with a physical address
    LoadPhysical8, LoadPhysical16, LoadPhysical32, LoadPhysical64,
    /// At `a + n` is `b` from now on
    Store8, Store16, Store32, Store64,
    /// `a =` whether `c` could be written to `b`
    Put8, Put16, Put32, Put64,
    /// The same with a physical address
    PutPhysical8, PutPhysical16, PutPhysical32, PutPhysical64,
    /// `a =` the local in slot `n`
    LoadLocal,
    /// The local in slot `n` is `a` from now on
    StoreLocal,
    /// The same with slots of the frame's memory
    LoadFrame, StoreFrame,
    /// The same with globals
    LoadGlobal, StoreGlobal,
    /// `a =` the address `n` bytes into the frame's memory
    AddressFrame,
    /// What is at `a` is combined with `b`: `c` is its width, `n` the operation
    Update,
    /// Adds the number in bits 40 to 63 to the global whose slot is in bits 16 to 39, as a whole
    AddGlobal,

    /// `a =` the register of the machine with the number `b`
    Register,
    /// The register with the number `b` is `a` from now on
    SetRegister,
    /// `a =` the pseudo-register with the number `b`
    Pseudo,

    /// Goes on at `n`
    Jump,
    /// Goes on at `n` if `a` is 0
    JumpZero,
    /// Goes on at `n` unless `a` is 0
    JumpNotZero,
    /// Goes on at `n` if `a == b`
    JumpEq, JumpNe, JumpLtU, JumpLeU, JumpLtS, JumpLeS,
    /// Goes on at bits 16 to 39 if `a` equals the number in bits 40 to 63
    JumpEqN, JumpNeN, JumpLtUN, JumpGeUN, JumpLtSN, JumpGeSN,
    /// Goes on at `n`, where the registers from `a` on are the first ones
    Call,
    /// First word of a function with `a` arguments, `b` variables in registers and `n` bytes of memory
    Enter,
    /// `a` is the result
    Return,
    /// Ends the run
    Exit,
    /// `a =` the routine with the number `b`, called with the registers from `a` on
    Do,
    /// `a =` how many faults there were
    Faults,
    /// `a =` whether there were more than `b`, which they are again
    Forgive,
    /// Records `a`; `n` is the place in the program
    Show,
    /// Records `b` values from `a` on; `n` is the place in the program
    Print,
}

/// Where a word may lead.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Leads {
    Nowhere,
    /// To a label: `n` is the place.
    ToLabel,
    /// To a label: bits 16 to 39 are the place.
    ToLabelComparing,
    ToFunction,
}

/// The largest number that is compared within a jump, and the smallest.
const SHORT: core::ops::Range<i64> = -(1 << 23)..1 << 23;

impl Word {
    /// A word with three registers.
    pub(super) const fn of(code: Code, a: u8, b: u8, c: u8) -> Self {
        Self(code as u64 | (a as u64) << 8 | (b as u64) << 16 | (c as u64) << 24)
    }

    /// The same with a number.
    pub(super) const fn with(self, number: i32) -> Self {
        Self(self.0 & 0xffff_ffff | (number as u32 as u64) << 32)
    }

    /// A word with a register, a place and a number between that fit [`Self::is_short`].
    pub(super) const fn comparing(code: Code, a: u8, place: u32, number: i64) -> Self {
        let place = (place as u64 & 0xff_ffff) << 16;
        Self(code as u64 | (a as u64) << 8 | place | (number as u64) << 40)
    }

    /// The number can be compared within a jump.
    pub(super) fn is_short(number: u64) -> bool {
        SHORT.contains(&number.cast_signed())
    }

    /// Its code; `None` for what is no word.
    pub(super) fn code(self) -> Option<Code> {
        Code::ALL.get(self.0 as usize & 0xff).copied()
    }

    /// The next word is its number.
    pub(super) fn is_wide(self) -> bool {
        self.byte() == code::Wide
    }

    /// Its code's byte.
    #[inline(always)]
    pub(crate) const fn byte(self) -> u8 {
        self.0 as u8
    }

    /// See the module.
    #[inline(always)]
    pub(crate) const fn a(self) -> u8 {
        (self.0 >> 8) as u8
    }

    /// See the module.
    #[inline(always)]
    pub(crate) const fn b(self) -> u8 {
        (self.0 >> 16) as u8
    }

    /// See the module.
    #[inline(always)]
    pub(crate) const fn c(self) -> u8 {
        (self.0 >> 24) as u8
    }

    /// See the module.
    #[inline(always)]
    pub(crate) const fn n(self) -> u64 {
        ((self.0 as i64) >> 32) as u64
    }

    /// The number as what is not negative.
    #[inline(always)]
    pub(crate) const fn place(self) -> usize {
        (self.0 >> 32) as usize
    }

    /// The place of a jump that compares with a number.
    #[inline(always)]
    pub(crate) const fn short_place(self) -> usize {
        (self.0 >> 16) as usize & 0xff_ffff
    }

    /// The number of such a jump.
    #[inline(always)]
    pub(crate) const fn short_number(self) -> u64 {
        ((self.0 as i64) >> 40) as u64
    }

    /// The same with another first register.
    pub(super) const fn with_a(self, a: u8) -> Self {
        Self(self.0 & !0xff00 | (a as u64) << 8)
    }

    /// Where it may lead.
    pub(super) fn leads(self) -> Leads {
        match self.code() {
            Some(
                Code::Jump
                | Code::JumpZero
                | Code::JumpNotZero
                | Code::JumpEq
                | Code::JumpNe
                | Code::JumpLtU
                | Code::JumpLeU
                | Code::JumpLtS
                | Code::JumpLeS,
            ) => Leads::ToLabel,
            Some(
                Code::JumpEqN
                | Code::JumpNeN
                | Code::JumpLtUN
                | Code::JumpGeUN
                | Code::JumpLtSN
                | Code::JumpGeSN,
            ) => Leads::ToLabelComparing,
            Some(Code::Call) => Leads::ToFunction,
            _ => Leads::Nowhere,
        }
    }

    /// The same with another place to lead to.
    pub(super) fn leading_to(self, place: u32) -> Self {
        match self.leads() {
            Leads::Nowhere => self,
            Leads::ToLabel | Leads::ToFunction => self.with(place.cast_signed()),
            Leads::ToLabelComparing => {
                let rest = self.0 & !(0xff_ffff << 16);
                Self(rest | (u64::from(place) & 0xff_ffff) << 16)
            }
        }
    }
}

impl Code {
    /// The same with a number in place of `c`, if there is one.
    pub(super) const fn with_number(self) -> Option<Self> {
        Some(match self {
            Self::Add => Self::AddN,
            Self::Mul => Self::MulN,
            Self::And => Self::AndN,
            Self::Or => Self::OrN,
            Self::Xor => Self::XorN,
            Self::Shl => Self::ShlN,
            Self::ShrU => Self::ShrUN,
            Self::ShrS => Self::ShrSN,
            Self::DivU => Self::DivUN,
            Self::DivS => Self::DivSN,
            Self::RemU => Self::RemUN,
            Self::RemS => Self::RemSN,
            Self::Eq => Self::EqN,
            Self::Ne => Self::NeN,
            Self::LtU => Self::LtUN,
            Self::LeU => Self::LeUN,
            Self::LtS => Self::LtSN,
            Self::LeS => Self::LeSN,
            _ => return None,
        })
    }

    /// The one that gives the same with its operands the other way round, if there is one.
    pub(super) const fn mirrored(self) -> Option<Self> {
        Some(match self {
            Self::Add | Self::Mul | Self::And | Self::Or | Self::Xor | Self::Eq | Self::Ne => self,
            _ => return None,
        })
    }

    /// The one that extends the result of this one.
    pub(super) const fn extended(self) -> Option<Self> {
        Some(match self {
            Self::Add => Self::Add32,
            Self::Sub => Self::Sub32,
            Self::Mul => Self::Mul32,
            Self::AddN => Self::AddN32,
            _ => return None,
        })
    }

    /// `a` gets a result and does nothing else: another register can get it as well.
    pub(super) const fn gives(self) -> bool {
        let this = self as u8;
        this <= Self::LoadPhysical64 as u8
            || matches!(
                self,
                Self::LoadLocal
                    | Self::LoadFrame
                    | Self::LoadGlobal
                    | Self::AddressFrame
                    | Self::Register
                    | Self::Pseudo
                    | Self::Put8
                    | Self::Put16
                    | Self::Put32
                    | Self::Put64
                    | Self::PutPhysical8
                    | Self::PutPhysical16
                    | Self::PutPhysical32
                    | Self::PutPhysical64
            )
    }
}
