//! The operand of [`Op::Update`]: which operation changes what is at an address, and how much of
//! it there is.

use super::op::Op;

/// Bytes in memory that are a whole number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Width {
    /// 1, 2, 4 or 8.
    pub bytes: u8,
    /// Its highest bit is its sign.
    pub is_signed: bool,
}

/// Set in a width's byte if it is signed.
const SIGNED: u8 = 0x80;

impl Width {
    /// Its byte.
    #[must_use]
    pub const fn byte(self) -> u8 {
        self.bytes | if self.is_signed { SIGNED } else { 0 }
    }

    /// The width of that byte.
    #[must_use]
    pub const fn from_byte(byte: u8) -> Option<Self> {
        let bytes = byte & !SIGNED;
        match bytes {
            1 | 2 | 4 | 8 => Some(Self {
                bytes,
                is_signed: byte & SIGNED != 0,
            }),
            _ => None,
        }
    }

    /// The lowest bytes of a value as a value of 64 bits.
    #[must_use]
    pub const fn extended(self, value: u64) -> u64 {
        let unused = 64 - 8 * self.bytes as u32;
        let high = value << unused;
        if self.is_signed {
            ((high as i64) >> unused) as u64
        } else {
            high >> unused
        }
    }
}

/// See the module.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Update {
    /// An operation with two operands, of which the first is what is there.
    pub op: Op,
    /// What is there.
    pub width: Width,
}

impl Update {
    /// Operations that can be part of an update.
    pub const OPERATIONS: [Op; 13] = [
        Op::Add,
        Op::Sub,
        Op::Mul,
        Op::DivU,
        Op::DivS,
        Op::RemU,
        Op::RemS,
        Op::And,
        Op::Or,
        Op::Xor,
        Op::Shl,
        Op::ShrU,
        Op::ShrS,
    ];

    /// The update of these bytes.
    #[must_use]
    pub fn from_bytes([op, width]: [u8; 2]) -> Option<Self> {
        let op = Op::from_byte(op).filter(|op| Self::OPERATIONS.contains(op))?;
        let width = Width::from_byte(width)?;
        Some(Self { op, width })
    }

    /// Its bytes.
    #[must_use]
    pub const fn bytes(self) -> [u8; 2] {
        [self.op as u8, self.width.byte()]
    }

    /// By zero it gives 0, which is a fault.
    #[must_use]
    pub const fn divides(self) -> bool {
        matches!(self.op, Op::DivU | Op::DivS | Op::RemU | Op::RemS)
    }
}
