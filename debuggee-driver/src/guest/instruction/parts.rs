//! The parts of an instruction. SDM volume 2, "Instruction Format" 2 and "Opcode Map" A.

/// Which table of opcodes an instruction is from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Map {
    /// One byte.
    One,
    /// After 0F.
    Two,
    /// After 0F 38.
    Three38,
    /// After 0F 3A.
    Three3a,
    /// One of EVEX's further maps.
    Other,
}

/// How the opcode is introduced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encoding {
    /// Legacy prefixes and REX.
    Legacy,
    /// VEX, with 128 or 256 bits.
    Vex,
    /// EVEX, with 128, 256 or 512 bits.
    Evex,
}

/// The prefix that is part of the opcode of vector instructions, in the order of VEX's field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names are the prefixes")]
pub enum OpcodePrefix {
    None,
    P66,
    PF3,
    PF2,
}

/// Segment whose base counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names are the processor's")]
pub enum Segment {
    Flat,
    Fs,
    Gs,
}

/// One instruction, taken apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Instruction {
    /// Bytes in all.
    pub len: u8,
    /// Table of the opcode.
    pub map: Map,
    /// See [`Encoding`].
    pub encoding: Encoding,
    /// The opcode byte.
    pub opcode: u8,
    /// See [`OpcodePrefix`]; in legacy encoding, the last such prefix that decides.
    pub prefix: OpcodePrefix,
    /// Operand-size prefix 66.
    pub has_66: bool,
    /// F2 or F3 stands in front (legacy encoding).
    pub repeats: bool,
    /// LOCK.
    pub locked: bool,
    /// Address-size prefix 67.
    pub short_address: bool,
    /// See [`Segment`].
    pub segment: Segment,
    /// REX.W, or the field of that name.
    pub wide: bool,
    /// Length of the vector registers in bytes (VEX and EVEX).
    pub vector_bytes: u16,
    /// The ModRM byte.
    pub modrm: Option<u8>,
    /// Bit 3 of the number of the register that ModRM names (legacy encoding).
    pub extend_register: bool,
    /// Bit 3 of the number of the base register.
    pub extend_base: bool,
    /// Bit 3 of the number of the index register.
    pub extend_index: bool,
    /// The SIB byte.
    pub sib: Option<u8>,
    /// Displacement, or the address of a MOV to or from a fixed address.
    pub displacement: i64,
    /// Where the displacement starts.
    pub displacement_at: u8,
    /// Its bytes.
    pub displacement_bytes: u8,
    /// Where the immediate operand starts, which for jumps and calls is the distance.
    pub immediate_at: u8,
    /// Its bytes.
    pub immediate_bytes: u8,
}

impl Instruction {
    /// Field "mod" of ModRM.
    #[must_use]
    pub fn mode(&self) -> Option<u8> {
        Some(self.modrm? >> 6)
    }

    /// Field "reg" of ModRM; 0 without one.
    #[must_use]
    pub fn reg(&self) -> u8 {
        self.modrm.map_or(0, |modrm| modrm >> 3 & 7)
    }

    /// Whether ModRM names memory.
    #[must_use]
    pub fn has_memory_form(&self) -> bool {
        self.mode().is_some_and(|mode| mode != 3)
    }

    /// Whether the address is relative to the next instruction.
    #[must_use]
    pub fn is_rip_relative(&self) -> bool {
        self.modrm.is_some_and(|modrm| modrm & 0xc7 == 5)
    }

    /// Whether one iteration leaves RIP where it is: a string instruction with a repeat prefix.
    #[must_use]
    pub fn is_repeated_string(&self) -> bool {
        self.repeats && self.is_string()
    }

    /// Whether it may lead elsewhere than to the instruction behind it.
    #[must_use]
    pub fn is_branch(&self) -> bool {
        if self.encoding != Encoding::Legacy {
            return false;
        }
        match self.map {
            Map::One => match self.opcode {
                0x70..=0x7f | 0xc2 | 0xc3 | 0xca..=0xcf | 0xe0..=0xe3 | 0xe8..=0xeb => true,
                0xf1 => true,
                0xff => matches!(self.reg(), 2..=5),
                _ => false,
            },
            Map::Two => matches!(self.opcode, 0x05 | 0x07 | 0x34 | 0x35 | 0x80..=0x8f),
            _ => false,
        }
    }

    /// CALL, near or far.
    #[must_use]
    pub fn is_call(&self) -> bool {
        self.encoding == Encoding::Legacy
            && self.map == Map::One
            && (self.opcode == 0xe8 || self.opcode == 0xff && matches!(self.reg(), 2 | 3))
    }

    /// RET, near or far, IRET, SYSRET or SYSEXIT.
    #[must_use]
    pub fn is_return(&self) -> bool {
        self.encoding == Encoding::Legacy
            && match self.map {
                Map::One => matches!(self.opcode, 0xc2 | 0xc3 | 0xca | 0xcb | 0xcf),
                Map::Two => matches!(self.opcode, 0x07 | 0x35),
                _ => false,
            }
    }

    /// IRET, SYSRET or SYSEXIT: where the stack was before says nothing about where it is behind it.
    #[must_use]
    pub fn leaves_mode(&self) -> bool {
        self.is_return() && (self.map == Map::Two || self.opcode == 0xcf)
    }

    /// Whether it is this opcode of a map, with legacy prefixes that change nothing about that.
    const fn is_legacy(&self, map: Map, opcode: u8) -> bool {
        matches!(self.encoding, Encoding::Legacy)
            && self.map as u8 == map as u8
            && self.opcode == opcode
            && !self.locked
    }

    /// UD2.
    #[must_use]
    pub const fn is_ud2(&self) -> bool {
        self.is_legacy(Map::Two, 0x0b)
    }

    /// SYSCALL.
    #[must_use]
    pub const fn is_syscall(&self) -> bool {
        self.is_legacy(Map::Two, 0x05)
    }

    /// SYSRET.
    #[must_use]
    pub const fn is_sysret(&self) -> bool {
        self.is_legacy(Map::Two, 0x07)
    }

    /// INS, OUTS, MOVS, CMPS, STOS, LODS, SCAS.
    #[must_use]
    pub fn is_string(&self) -> bool {
        self.map == Map::One
            && self.encoding == Encoding::Legacy
            && matches!(self.opcode, 0x6c..=0x6f | 0xa4..=0xa7 | 0xaa..=0xaf)
    }
}
