//! Taking an instruction apart. SDM volume 2, "Instruction Format" 2 and "Opcode Map" A.

use super::form::{has_modrm, immediate_bytes};
use super::parts::{Encoding, Instruction, Map, OpcodePrefix, Segment};

/// No instruction is longer.
pub const LENGTH_MAX: usize = 15;

/// Reads bytes one after the other.
struct Bytes<'a> {
    bytes: &'a [u8],
    at: u8,
}

impl Bytes<'_> {
    fn peek(&self) -> Option<u8> {
        if usize::from(self.at) >= LENGTH_MAX {
            return None;
        }
        self.bytes.get(usize::from(self.at)).copied()
    }

    fn next(&mut self) -> Option<u8> {
        let byte = self.peek()?;
        self.at += 1;
        Some(byte)
    }

    /// A little-endian number, sign-extended.
    fn number(&mut self, len_bytes: u8) -> Option<i64> {
        let mut value = 0_u64;
        for place in 0..u32::from(len_bytes) {
            value |= u64::from(self.next()?) << (8 * place);
        }
        let unused = 64_u32.saturating_sub(8 * u32::from(len_bytes));
        Some(if len_bytes == 0 {
            0
        } else {
            ((value << unused) as i64) >> unused
        })
    }
}

/// Takes the instruction at the start of `bytes` apart. `None` if the bytes end too early or no
/// processor executes them in 64-bit mode; some encodings that are reserved pass.
#[must_use]
pub fn decode(bytes: &[u8]) -> Option<Instruction> {
    let mut bytes = Bytes { bytes, at: 0 };
    let mut it = Instruction {
        len: 0,
        map: Map::One,
        encoding: Encoding::Legacy,
        opcode: 0,
        prefix: OpcodePrefix::None,
        has_66: false,
        repeats: false,
        locked: false,
        short_address: false,
        segment: Segment::Flat,
        wide: false,
        vector_bytes: 16,
        modrm: None,
        extend_register: false,
        extend_base: false,
        extend_index: false,
        sib: None,
        displacement: 0,
        displacement_at: 0,
        displacement_bytes: 0,
        immediate_at: 0,
        immediate_bytes: 0,
    };
    read_opcode(&mut it, &mut bytes)?;
    if has_modrm(&it)? {
        read_modrm(&mut it, &mut bytes)?;
    }
    if it.map == Map::One && matches!(it.opcode, 0xa0..=0xa3) {
        it.displacement_at = bytes.at;
        it.displacement_bytes = if it.short_address { 4 } else { 8 };
        it.displacement = bytes.number(it.displacement_bytes)?;
    }
    it.immediate_at = bytes.at;
    it.immediate_bytes = immediate_bytes(&it);
    bytes.number(it.immediate_bytes)?;
    it.len = bytes.at;
    Some(it)
}

/// The opcode behind legacy prefixes, and in 64-bit code behind REX: its first byte.
#[must_use]
pub fn first_opcode_byte(bytes: &[u8], is_64_bit: bool) -> Option<u8> {
    let is_prefix = |byte: u8| {
        matches!(
            byte,
            0x66 | 0xf2 | 0xf3 | 0x67 | 0x64 | 0x65 | 0x26 | 0x2e | 0x36 | 0x3e | 0xf0
        ) || is_64_bit && matches!(byte, 0x40..=0x4f)
    };
    bytes
        .iter()
        .take(LENGTH_MAX)
        .copied()
        .find(|byte| !is_prefix(*byte))
}

fn read_opcode(it: &mut Instruction, bytes: &mut Bytes<'_>) -> Option<()> {
    let mut rex = 0;
    loop {
        let byte = bytes.next()?;
        match byte {
            0x66 => {
                it.has_66 = true;
                if it.prefix == OpcodePrefix::None {
                    it.prefix = OpcodePrefix::P66;
                }
            }
            0xf2 | 0xf3 => {
                it.repeats = true;
                it.prefix = if byte == 0xf2 {
                    OpcodePrefix::PF2
                } else {
                    OpcodePrefix::PF3
                };
            }
            0x67 => it.short_address = true,
            0x64 => it.segment = Segment::Fs,
            0x65 => it.segment = Segment::Gs,
            0xf0 => it.locked = true,
            0x26 | 0x2e | 0x36 | 0x3e => {}
            0x40..=0x4f => {
                // Counts only right before the opcode.
                rex = byte;
                continue;
            }
            0xc4 | 0xc5 if rex == 0 => return read_vex(it, bytes, byte),
            0x62 if rex == 0 => return read_evex(it, bytes),
            _ => {
                it.opcode = byte;
                break;
            }
        }
        rex = 0;
    }
    it.wide = rex & 8 != 0;
    it.extend_register = rex & 4 != 0;
    it.extend_index = rex & 2 != 0;
    it.extend_base = rex & 1 != 0;
    if it.opcode == 0x0f {
        it.opcode = bytes.next()?;
        it.map = match it.opcode {
            0x38 => Map::Three38,
            0x3a => Map::Three3a,
            _ => Map::Two,
        };
        if it.map != Map::Two {
            it.opcode = bytes.next()?;
        }
    }
    Some(())
}

/// 66, F2, F3 and LOCK in front of VEX or EVEX are refused by the processor.
const fn prefix_of(field: u8) -> OpcodePrefix {
    match field & 3 {
        0 => OpcodePrefix::None,
        1 => OpcodePrefix::P66,
        2 => OpcodePrefix::PF3,
        _ => OpcodePrefix::PF2,
    }
}

fn read_vex(it: &mut Instruction, bytes: &mut Bytes<'_>, first: u8) -> Option<()> {
    if it.has_66 || it.repeats || it.locked {
        return None;
    }
    it.encoding = Encoding::Vex;
    let second = bytes.next()?;
    let last = if first == 0xc5 {
        it.map = Map::Two;
        second
    } else {
        it.extend_index = second & 0x40 == 0;
        it.extend_base = second & 0x20 == 0;
        it.map = map_of(second & 0x1f)?;
        let third = bytes.next()?;
        it.wide = third & 0x80 != 0;
        third
    };
    it.prefix = prefix_of(last);
    it.vector_bytes = if last & 4 == 0 { 16 } else { 32 };
    it.opcode = bytes.next()?;
    Some(())
}

fn read_evex(it: &mut Instruction, bytes: &mut Bytes<'_>) -> Option<()> {
    if it.has_66 || it.repeats || it.locked {
        return None;
    }
    it.encoding = Encoding::Evex;
    let (first, second, third) = (bytes.next()?, bytes.next()?, bytes.next()?);
    if first & 8 != 0 || second & 4 == 0 {
        return None;
    }
    it.extend_index = first & 0x40 == 0;
    it.extend_base = first & 0x20 == 0;
    it.map = map_of(first & 7)?;
    it.wide = second & 0x80 != 0;
    it.prefix = prefix_of(second);
    it.vector_bytes = match third >> 5 & 3 {
        0 => 16,
        1 => 32,
        _ => 64,
    };
    it.opcode = bytes.next()?;
    Some(())
}

const fn map_of(number: u8) -> Option<Map> {
    match number {
        1 => Some(Map::Two),
        2 => Some(Map::Three38),
        3 => Some(Map::Three3a),
        5 | 6 => Some(Map::Other),
        _ => None,
    }
}

fn read_modrm(it: &mut Instruction, bytes: &mut Bytes<'_>) -> Option<()> {
    let modrm = bytes.next()?;
    it.modrm = Some(modrm);
    let (mode, low) = (modrm >> 6, modrm & 7);
    // MOV to and from control and debug registers take no notice of "mod".
    let only_registers =
        it.map == Map::Two && it.encoding == Encoding::Legacy && matches!(it.opcode, 0x20..=0x23);
    if mode == 3 || only_registers {
        it.modrm = Some(modrm | 0xc0);
        return Some(());
    }
    let mut base = low;
    if low == 4 {
        let sib = bytes.next()?;
        it.sib = Some(sib);
        base = sib & 7;
    }
    it.displacement_bytes = match mode {
        1 => 1,
        2 => 4,
        _ if base == 5 => 4,
        _ => 0,
    };
    it.displacement_at = bytes.at;
    it.displacement = bytes.number(it.displacement_bytes)?;
    Some(())
}
