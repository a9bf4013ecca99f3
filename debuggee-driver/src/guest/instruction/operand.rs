//! Which memory an instruction touches: how many bytes, from where, and whether what it writes is
//! read first.
//!
//! Exact for general, string, x87, MMX and SSE instructions. AVX and AVX-512 instructions other than plain
//! loads and stores count as touching a whole vector, and XSAVE and XRSTOR as touching [`STATE_BYTES`]: never less
//! than they do. A scatter or gather counts as one vector at each place that makes the processor exit.

use super::parts::{Encoding, Instruction, Map, OpcodePrefix, Segment};
use crate::port::{Gprs, gpr};

/// What XSAVE and its relatives count as.
pub const STATE_BYTES: u16 = 4096;

/// The registers that addresses are made of.
#[derive(Clone, Copy, Debug)]
pub struct Registers<'a> {
    /// All but RSP.
    pub general: &'a Gprs,
    /// RSP.
    pub rsp: u64,
    /// Address of the instruction.
    pub rip: u64,
    /// Base of FS.
    pub fs_base: u64,
    /// Base of GS.
    pub gs_base: u64,
}

impl Registers<'_> {
    fn general(&self, number: usize) -> u64 {
        if number == gpr::RSP {
            return self.rsp;
        }
        self.general.get(number).copied().unwrap_or(0)
    }
}

const RSI: usize = 6;
const RDI: usize = 7;

impl Instruction {
    /// Linear address of the operand that ModRM or a fixed address names. `None` if there is none, and for
    /// EVEX with a short displacement, whose unit depends on the instruction.
    #[must_use]
    pub fn effective_address(&self, registers: &Registers<'_>) -> Option<u64> {
        let is_fixed = self.map == Map::One && matches!(self.opcode, 0xa0..=0xa3);
        if !is_fixed && !self.has_memory_form() {
            return None;
        }
        if self.encoding == Encoding::Evex && self.displacement_bytes == 1 {
            return None;
        }
        let mut offset = self.displacement as u64;
        if self.is_rip_relative() {
            offset = offset.wrapping_add(registers.rip.wrapping_add(u64::from(self.len)));
        } else if !is_fixed {
            offset = offset.wrapping_add(self.base_and_index(registers));
        }
        if self.short_address {
            offset &= u64::from(u32::MAX);
        }
        let base = match self.segment {
            Segment::Flat => 0,
            Segment::Fs => registers.fs_base,
            Segment::Gs => registers.gs_base,
        };
        Some(base.wrapping_add(offset))
    }

    fn base_and_index(&self, registers: &Registers<'_>) -> u64 {
        let extended = |number: u8, extend: bool| usize::from(number) | usize::from(extend) << 3;
        let (mode, low) = self.modrm.map_or((3, 0), |modrm| (modrm >> 6, modrm & 7));
        let Some(sib) = self.sib else {
            return registers.general(extended(low, self.extend_base));
        };
        let base = if sib & 7 == 5 && mode == 0 {
            0
        } else {
            registers.general(extended(sib & 7, self.extend_base))
        };
        // POP takes its value off the stack before it computes where the value goes.
        let is_pop = self.map == Map::One && self.opcode == 0x8f;
        let base = if is_pop && extended(sib & 7, self.extend_base) == gpr::RSP {
            base.wrapping_add(u64::from(self.stack_bytes()))
        } else {
            base
        };
        let index = match extended(sib >> 3 & 7, self.extend_index) {
            gpr::RSP => 0,
            number => registers.general(number),
        };
        base.wrapping_add(index << (sib >> 6))
    }

    /// Where the access begins that touches `linear`: that address itself, unless the instruction has an
    /// operand that begins before it and reaches it.
    #[must_use]
    pub fn start_of_access(&self, registers: &Registers<'_>, linear: u64) -> u64 {
        let len_bytes = u64::from(self.memory_bytes());
        let string = |register| self.is_string().then(|| registers.general(register));
        let rsp = registers.rsp;
        [
            self.effective_address(registers),
            string(RSI),
            string(RDI),
            Some(rsp),
            Some(rsp.wrapping_sub(len_bytes)),
        ]
        .into_iter()
        .flatten()
        .find(|start| linear.wrapping_sub(*start) < len_bytes)
        .unwrap_or(linear)
    }

    /// Whether what is written to memory is read by the same access.
    #[must_use]
    pub fn reads_what_it_writes(&self) -> bool {
        if !self.has_memory_form() {
            return false;
        }
        if self.encoding != Encoding::Legacy {
            // CMPccXADD
            return self.encoding == Encoding::Vex
                && self.map == Map::Three38
                && matches!(self.opcode, 0xe0..=0xef);
        }
        match self.map {
            Map::One => match self.opcode {
                0x00..=0x37 => self.opcode & 6 == 0,
                0x80..=0x83 => self.reg() != 7,
                0x86 | 0x87 | 0xc0 | 0xc1 | 0xd0..=0xd3 => true,
                0xf6 | 0xf7 => matches!(self.reg(), 2 | 3),
                0xfe | 0xff => self.reg() < 2,
                _ => false,
            },
            Map::Two => match self.opcode {
                0xa4 | 0xa5 | 0xab..=0xad | 0xb0 | 0xb1 | 0xb3 | 0xbb | 0xc0 | 0xc1 => true,
                0xba => self.reg() > 4,
                0xc7 => self.reg() == 1,
                // RSTORSSP and CLRSSBSY
                0x01 => self.reg() == 5,
                0xae => self.reg() == 6 && self.prefix == OpcodePrefix::PF3,
                _ => false,
            },
            Map::Three38 => self.opcode == 0xfc,
            _ => false,
        }
    }

    /// Bytes of one access to memory: of the operand that ModRM names, of one element of a string, or of what goes
    /// to or comes from the stack.
    #[must_use]
    pub fn memory_bytes(&self) -> u16 {
        match (self.encoding, self.map) {
            (Encoding::Legacy, Map::One) => self.one_byte_map(),
            (Encoding::Legacy, Map::Two) => self.two_byte_map(),
            (Encoding::Legacy, Map::Three38) => self.map_38(),
            (Encoding::Legacy, _) => self.map_3a(),
            (_, Map::Two) => match self.simd_two() {
                // What fills an SSE register fills a vector here; what does not is a scalar.
                16 => self.vector_bytes,
                8 if self.is_half_vector() => self.vector_bytes / 2,
                other => other,
            },
            _ => self.vector_bytes,
        }
    }

    /// Conversions and duplications that read half of what they write.
    const fn is_half_vector(&self) -> bool {
        matches!(self.prefix, OpcodePrefix::None | OpcodePrefix::PF3)
            && matches!(self.opcode, 0x5a | 0xe6 | 0x78..=0x7b)
            || matches!(self.prefix, OpcodePrefix::PF2) && self.opcode == 0x12
            || matches!(self.opcode, 0x78..=0x7b | 0xe6)
    }

    /// 2, 4 or 8, by prefixes.
    const fn operand_bytes(&self) -> u16 {
        if self.wide {
            8
        } else if self.has_66 {
            2
        } else {
            4
        }
    }

    const fn stack_bytes(&self) -> u16 {
        if self.has_66 && !self.wide { 2 } else { 8 }
    }

    const fn general_bytes(&self) -> u16 {
        if self.wide { 8 } else { 4 }
    }

    fn one_byte_map(&self) -> u16 {
        let operand = self.operand_bytes();
        let stack = self.stack_bytes();
        match self.opcode {
            0x00..=0x3f if self.opcode & 1 == 0 => 1,
            0x00..=0x3f => operand,
            0x63 => operand.min(4),
            0x6c | 0x6e => 1,
            0x6d | 0x6f => operand.min(4),
            0x8c | 0x8e => 2,
            0x8d => 0,
            0x80 | 0x82 | 0x84 | 0x86 | 0x88 | 0x8a | 0xa0 | 0xa2 | 0xa4 | 0xa6 => 1,
            0xaa | 0xac | 0xae | 0xc0 | 0xc6 | 0xd0 | 0xd2 | 0xd7 | 0xf6 | 0xfe => 1,
            0x69 | 0x6b | 0x81 | 0x83 | 0x85 | 0x87 | 0x89 | 0x8b | 0xa1 | 0xa3 | 0xa5 => operand,
            0xa7 | 0xab | 0xad | 0xaf | 0xc1 | 0xc7 | 0xd1 | 0xd3 | 0xf7 => operand,
            0xff => match self.reg() {
                0 | 1 => operand,
                3 | 5 => operand + 2,
                2 | 4 => 8,
                _ => stack,
            },
            0xd8..=0xdf => self.x87(),
            0xca | 0xcb | 0xcf => operand,
            0x50..=0x5f | 0x68 | 0x6a | 0x8f | 0x9c | 0x9d | 0xc8 | 0xc9 => stack,
            // Near calls and returns, if it touches memory at all.
            _ => 8,
        }
    }

    fn x87(&self) -> u16 {
        let environment = if self.has_66 && !self.wide { 14 } else { 28 };
        let state = if self.has_66 && !self.wide { 94 } else { 108 };
        match (self.opcode, self.reg()) {
            (0xd9, 4 | 6) => environment,
            (0xd9, 5 | 7) => 2,
            (0xdb, 5 | 7) | (0xdf, 4 | 6) => 10,
            (0xdd, 4 | 6) => state,
            (0xdd, 7) => 2,
            (0xdc | 0xdd, _) | (0xdf, 5 | 7) => 8,
            (0xde | 0xdf, _) => 2,
            _ => 4,
        }
    }

    fn two_byte_map(&self) -> u16 {
        let operand = self.operand_bytes();
        match self.opcode {
            0x00 | 0x02 | 0x03 => 2,
            0x01 if self.mode() == Some(3) => 8,
            0x01 => match self.reg() {
                0..=3 => 10,
                4 | 6 => 2,
                5 => 8,
                _ => 0,
            },
            0x0d | 0x18..=0x1f => 0,
            0x40..=0x4f | 0xa3 | 0xa4 | 0xa5 | 0xab | 0xac | 0xad | 0xaf | 0xb1 | 0xb3 => operand,
            0xb8 | 0xba..=0xbd | 0xc1 => operand,
            0xb2 | 0xb4 | 0xb5 => operand + 2,
            0x90..=0x9f | 0xb0 | 0xb6 | 0xbe | 0xc0 => 1,
            0xb7 | 0xbf => 2,
            0x78 | 0x79 => 8,
            0xa0 | 0xa1 | 0xa8 | 0xa9 => self.stack_bytes(),
            0xae => match self.reg() {
                0 | 1 => 512,
                2 | 3 => 4,
                4 if self.prefix == OpcodePrefix::PF3 => self.general_bytes(),
                4..=6 if self.prefix == OpcodePrefix::None => STATE_BYTES,
                6 if self.prefix == OpcodePrefix::P66 || self.mode() == Some(3) => 1,
                4..=6 => 8,
                _ => 1,
            },
            0xc3 => self.general_bytes(),
            0xc7 => match self.reg() {
                1 if self.wide => 16,
                3..=5 => STATE_BYTES,
                _ => 8,
            },
            _ => self.simd_two(),
        }
    }

    /// Vector instructions of the map after 0F, as SSE has them.
    fn simd_two(&self) -> u16 {
        use OpcodePrefix::{None, P66, PF2, PF3};
        let is_mmx = self.encoding == Encoding::Legacy && self.prefix == None;
        let scalar_or_vector = match self.prefix {
            None | P66 => 16,
            PF3 => 4,
            PF2 => 8,
        };
        match (self.opcode, self.prefix) {
            (0x10 | 0x11 | 0x51..=0x53 | 0x58 | 0x59 | 0x5c..=0x5f | 0xc2, _) => scalar_or_vector,
            (0x5a, None) => 8,
            (0x5a, _) => scalar_or_vector,
            (0x12, PF3) | (0x16, PF3) => 16,
            (0x12 | 0x13 | 0x16 | 0x17, _) => 8,
            (0x2a, PF3 | PF2) => self.general_bytes(),
            (0x2a, _) => 8,
            (0x2c | 0x2d, None | PF2) => 8,
            (0x2c | 0x2d, PF3) => 4,
            (0x2e | 0x2f, None) => 4,
            (0x2e | 0x2f, _) => 8,
            (0x60..=0x62, None) => 4,
            (0x6e, _) | (0x7e, None | P66) => self.general_bytes(),
            (0x7e, _) | (0xd6, _) => 8,
            (0x78..=0x7b, _) if self.encoding == Encoding::Evex => self.vector_bytes,
            (0x90..=0x93, _) if self.encoding == Encoding::Vex => 8,
            (0xc4, _) => 2,
            (0xe6, PF3) => 8,
            (0xae, _) => 4,
            (0x63..=0x6b | 0x6f | 0x70 | 0x74..=0x76 | 0x7f | 0xd1..=0xfe, None) if is_mmx => 8,
            _ => 16,
        }
    }

    fn map_38(&self) -> u16 {
        let is_mmx = self.prefix == OpcodePrefix::None;
        match self.opcode {
            0x00..=0x0b | 0x1c..=0x1e if is_mmx => 8,
            0x20 | 0x23 | 0x25 | 0x30 | 0x33 | 0x35 => 8,
            0x21 | 0x24 | 0x31 | 0x34 => 4,
            0x22 | 0x32 => 2,
            0xf0 if self.prefix == OpcodePrefix::PF2 => 1,
            0xf0 | 0xf1 => self.operand_bytes(),
            0xf5 | 0xf6 | 0xf9 | 0xfc => self.general_bytes(),
            0xf8 => 64,
            // Key handles.
            0xd8 if self.reg() < 2 => 48,
            0xd8 => 64,
            0xdc | 0xdd if self.prefix == OpcodePrefix::PF3 => 48,
            0xde | 0xdf if self.prefix == OpcodePrefix::PF3 => 64,
            _ => 16,
        }
    }

    fn map_3a(&self) -> u16 {
        match self.opcode {
            0x0f if self.prefix == OpcodePrefix::None => 8,
            0x0a | 0x17 | 0x21 => 4,
            0x0b => 8,
            0x14 | 0x20 => 1,
            0x15 => 2,
            0x16 | 0x22 => self.general_bytes(),
            _ => 16,
        }
    }
}
