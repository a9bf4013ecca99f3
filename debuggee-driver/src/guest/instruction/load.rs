//! Plain loads: the form of MOV from memory to a general register that is by far the most frequent
//! instruction. Pure; carried out by `exit::emulate::load`.

use super::parts::{Encoding, Instruction, Map, Segment};

/// MOV to a register of 32 or 64 bits, from memory at a base register and a distance.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PlainLoad {
    /// Its length.
    pub len: u8,
    /// The register that is loaded.
    pub register: u8,
    /// The base register.
    pub base: u8,
    /// Bytes that are read.
    pub bytes: u8,
    /// What is added to the base.
    pub displacement: i32,
}

impl PlainLoad {
    /// What an instruction loads, if that is all it does.
    #[must_use]
    pub fn of(it: &Instruction) -> Option<Self> {
        const MOV: u8 = 0x8b;
        let is_plain = it.encoding == Encoding::Legacy
            && it.map == Map::One
            && it.opcode == MOV
            && it.segment == Segment::Flat
            && !(it.has_66 || it.repeats || it.short_address);
        let modrm = it.modrm?;
        let (mode, low) = (modrm >> 6, modrm & 7);
        let has_base = it.sib.is_none() && !(mode == 0 && low == 5);
        if !is_plain || !has_base || mode == 3 {
            return None;
        }
        Some(Self {
            len: it.len,
            register: modrm >> 3 & 7 | u8::from(it.extend_register) << 3,
            base: low | u8::from(it.extend_base) << 3,
            bytes: if it.wide { 8 } else { 4 },
            displacement: i32::try_from(it.displacement).ok()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::guest::instruction;

    fn of(code: &[u8]) -> Option<PlainLoad> {
        let mut bytes = [0; instruction::LENGTH_MAX];
        bytes[..code.len()].copy_from_slice(code);
        PlainLoad::of(&instruction::decode(&bytes).unwrap())
    }

    fn load(len: u8, register: u8, base: u8, bytes: u8, displacement: i32) -> Option<PlainLoad> {
        Some(PlainLoad {
            len,
            register,
            base,
            bytes,
            displacement,
        })
    }

    #[test]
    fn plain_loads_are_known_with_their_registers() {
        // mov rax, [rdi]; mov r9d, [r13 - 8]; mov ecx, [rdx + 12345678]
        assert_eq!(of(&[0x48, 0x8b, 0x07]), load(3, 0, 7, 8, 0));
        assert_eq!(of(&[0x45, 0x8b, 0x4d, 0xf8]), load(4, 9, 13, 4, -8));
        let far = [0x8b, 0x8a, 0x78, 0x56, 0x34, 0x12];
        assert_eq!(of(&far), load(6, 1, 2, 4, 0x1234_5678));
    }

    #[test]
    fn all_others_are_the_processors() {
        for code in [
            // 16 bits, of FS, short address, repeated, with SIB, from RIP, between registers, a store, bytes.
            &[0x66, 0x8b, 0x07][..],
            &[0x64, 0x48, 0x8b, 0x07],
            &[0x67, 0x48, 0x8b, 0x07],
            &[0xf3, 0x48, 0x8b, 0x07],
            &[0x48, 0x8b, 0x04, 0x24],
            &[0x48, 0x8b, 0x05, 0, 0, 0, 0],
            &[0x48, 0x8b, 0xc7],
            &[0x48, 0x89, 0x07],
            &[0x8a, 0x07],
            &[0x0f, 0x8b, 0, 0, 0, 0],
        ] {
            assert_eq!(of(code), None, "{code:x?}");
        }
    }
}
