//! What follows an opcode: ModRM or not, and how many bytes of immediate operand.
//! SDM volume 2, "Opcode Map" A.

use super::parts::{Encoding, Instruction, Map, OpcodePrefix};

/// Whether ModRM follows the opcode; `None` where there is no such instruction.
pub(super) fn has_modrm(it: &Instruction) -> Option<bool> {
    match (it.map, it.encoding) {
        (Map::One, _) => one_byte_has_modrm(it.opcode),
        (Map::Two, Encoding::Vex) => Some(it.opcode != 0x77),
        (Map::Two, Encoding::Legacy) => Some(!matches!(
            it.opcode,
            0x05..=0x09 | 0x0b | 0x0e | 0x30..=0x37 | 0x77 | 0x80..=0x8f
                | 0xa0..=0xa2 | 0xa8..=0xaa | 0xc8..=0xcf
        )),
        _ => Some(true),
    }
}

const fn one_byte_has_modrm(opcode: u8) -> Option<bool> {
    match opcode {
        0x06 | 0x07 | 0x0e | 0x16 | 0x17 | 0x1e | 0x1f | 0x27 | 0x2f | 0x37 | 0x3f => None,
        0x60..=0x62 | 0x82 | 0x9a | 0xc4 | 0xc5 | 0xce | 0xd4..=0xd6 | 0xea => None,
        0x00..=0x3f => Some(opcode & 7 < 4),
        0x63 | 0x69 | 0x6b | 0x80..=0x8f | 0xc0 | 0xc1 | 0xc6 | 0xc7 => Some(true),
        0xd0..=0xd3 | 0xd8..=0xdf | 0xf6 | 0xf7 | 0xfe | 0xff => Some(true),
        _ => Some(false),
    }
}

/// Bytes of the immediate operand.
pub(super) fn immediate_bytes(it: &Instruction) -> u8 {
    let by_operand_size = if it.has_66 && !it.wide { 2 } else { 4 };
    match it.map {
        Map::One => match it.opcode {
            0x00..=0x3f if it.opcode & 7 == 4 => 1,
            0x00..=0x3f if it.opcode & 7 == 5 => by_operand_size,
            0x68 | 0x69 | 0x81 | 0xa9 | 0xc7 => by_operand_size,
            0x6a | 0x6b | 0x70..=0x80 | 0x83 | 0xa8 | 0xb0..=0xb7 => 1,
            0xc0 | 0xc1 | 0xc6 | 0xcd | 0xe0..=0xe7 | 0xeb => 1,
            0xb8..=0xbf if it.wide => 8,
            0xb8..=0xbf => by_operand_size,
            0xc2 | 0xca => 2,
            0xc8 => 3,
            // Near branches take no notice of the operand size in 64-bit mode.
            0xe8 | 0xe9 => 4,
            0xf6 if it.reg() < 2 => 1,
            0xf7 if it.reg() < 2 => by_operand_size,
            _ => 0,
        },
        Map::Two => match it.opcode {
            0x80..=0x8f if it.encoding == Encoding::Legacy => 4,
            0x0f | 0xa4 | 0xac | 0xba if it.encoding == Encoding::Legacy => 1,
            // EXTRQ and INSERTQ.
            0x78 if it.encoding == Encoding::Legacy && it.prefix != OpcodePrefix::None => 2,
            0x70..=0x73 | 0xc2 | 0xc4..=0xc6 => 1,
            _ => 0,
        },
        Map::Three3a => 1,
        Map::Three38 | Map::Other => 0,
    }
}
