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
//! bits 40 to 63. Words that join an operation and a jump say themselves where its place is.

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
        /// What a word does. `n` in the names' second halves is the word's number; a `32` extends the lowest half
        /// of the result with its sign.
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

    /// `a = b * n + c`: two operations of which the first's result is nobody else's
    MulNAdd, MulNOr, MulNXor, AndNAdd, AndNOr, AndNXor,
    /// The same with amounts of shifts below 64
    ShlNAdd, ShlNOr, ShlNXor, ShrUNAdd, ShrUNOr, ShrUNXor,

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
    /// `a = c +` what is at `b + n`
    LoadAdd64,
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
    /// Goes on at bits 16 to 31 if those bits of `a` that are set in bits 32 to 47 equal the number in bits 48
    /// to 63
    JumpAndEqN, JumpAndNeN, JumpAndLtUN, JumpAndGeUN,
    /// `a = b + c`, and goes on at `n`
    AddJump,
    /// `a = a + n`, and goes on at bits 16 to 31
    AddNJump,
    /// Adds the signed number `c` to `a`; goes on at `n` if `a < b`
    StepLtU, StepLtS,
    /// The same, extended
    Step32LtS,
    /// Adds the signed number in bits 32 to 39 to `a`; goes on at bits 16 to 31 if `a` is below the number in
    /// bits 40 to 63
    StepLtUN, StepLtSN,
    /// The same, extended
    Step32LtSN,
    /// Goes on at `n`, where the registers from `a` on are the first ones; `b` gets the result
    Call,
    /// First word of a function with `a` arguments, `b` variables in registers and `n` bytes of memory
    Enter,
    /// `a` is the result
    Return,
    /// Ends the run
    Exit,
    /// `c =` the routine with the number `b`, called with the registers from `a` on
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
    /// To a label: bits 16 to 31 are the place.
    ToLabelJoined,
    ToFunction,
}

/// Code up to this length has places that fit [`Leads::ToLabelJoined`]: a byte becomes four words at most.
pub(super) const JOINED_CODE_BYTES: usize = 0x4000;

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

    /// A word with a register, a place of at most 16 bits and a number.
    pub(super) const fn joined(code: Code, a: u8, place: u32, number: i32) -> Self {
        let place = (place as u64 & 0xffff) << 16;
        Self(code as u64 | (a as u64) << 8 | place).with(number)
    }

    /// The number can be compared within a jump.
    pub(super) fn is_short(number: u64) -> bool {
        SHORT.contains(&number.cast_signed())
    }

    /// Its code; `None` for what is no word.
    pub(crate) fn code(self) -> Option<Code> {
        Code::ALL.get(self.0 as usize & 0xff).copied()
    }

    /// Enters a function that has no variables but its arguments, and no memory: nothing is to be done.
    pub(super) fn enters_at_once(self) -> bool {
        self.byte() == code::Enter && self.b() <= self.a() && self.place() == 0
    }

    /// It goes on elsewhere, whatever there is.
    pub(super) fn is_unconditional(self) -> bool {
        self.byte() == code::Jump
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

    /// The place of an operation and a jump in one.
    #[inline(always)]
    pub(crate) const fn joined_place(self) -> usize {
        (self.0 >> 16) as usize & 0xffff
    }

    /// What is added before the comparison with [`Self::short_number`].
    #[inline(always)]
    pub(crate) const fn step(self) -> u64 {
        (self.0 >> 32) as i8 as u64
    }

    /// The bits of which the comparison is with [`Self::masked_number`].
    #[inline(always)]
    pub(crate) const fn mask(self) -> u64 {
        self.0 >> 32 & 0xffff
    }

    /// See [`Self::mask`].
    #[inline(always)]
    pub(crate) const fn masked_number(self) -> u64 {
        self.0 >> 48
    }

    /// The same with another register for the result.
    pub(super) fn giving(self, register: u8) -> Self {
        match self.code() {
            Some(Code::Call) => Self(self.0 & !0xff_0000 | u64::from(register) << 16),
            Some(Code::Do) => Self(self.0 & !0xff00_0000 | u64::from(register) << 24),
            _ => self.with_a(register),
        }
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
                | Code::JumpLeS
                | Code::AddJump
                | Code::StepLtU
                | Code::StepLtS
                | Code::Step32LtS,
            ) => Leads::ToLabel,
            Some(
                Code::JumpEqN
                | Code::JumpNeN
                | Code::JumpLtUN
                | Code::JumpGeUN
                | Code::JumpLtSN
                | Code::JumpGeSN,
            ) => Leads::ToLabelComparing,
            Some(
                Code::JumpAndEqN
                | Code::JumpAndNeN
                | Code::JumpAndLtUN
                | Code::JumpAndGeUN
                | Code::AddNJump
                | Code::StepLtUN
                | Code::StepLtSN
                | Code::Step32LtSN,
            ) => Leads::ToLabelJoined,
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
            Leads::ToLabelJoined => {
                let rest = self.0 & !(0xffff << 16);
                Self(rest | (u64::from(place) & 0xffff) << 16)
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

    /// This one and then the other in one: the first's result is what the second takes from either side.
    pub(super) const fn then(self, second: Self) -> Option<Self> {
        Some(match (self, second) {
            (Self::MulN, Self::Add) => Self::MulNAdd,
            (Self::MulN, Self::Or) => Self::MulNOr,
            (Self::MulN, Self::Xor) => Self::MulNXor,
            (Self::AndN, Self::Add) => Self::AndNAdd,
            (Self::AndN, Self::Or) => Self::AndNOr,
            (Self::AndN, Self::Xor) => Self::AndNXor,
            (Self::ShlN, Self::Add) => Self::ShlNAdd,
            (Self::ShlN, Self::Or) => Self::ShlNOr,
            (Self::ShlN, Self::Xor) => Self::ShlNXor,
            (Self::ShrUN, Self::Add) => Self::ShrUNAdd,
            (Self::ShrUN, Self::Or) => Self::ShrUNOr,
            (Self::ShrUN, Self::Xor) => Self::ShrUNXor,
            (Self::Load64, Self::Add) => Self::LoadAdd64,
            _ => return None,
        })
    }

    /// A result is what it is there for: another register can get it as well, see [`Word::giving`].
    pub(super) const fn gives(self) -> bool {
        let this = self as u8;
        this <= Self::LoadAdd64 as u8
            || matches!(
                self,
                Self::Call
                    | Self::Do
                    | Self::LoadLocal
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
