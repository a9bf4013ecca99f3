//! Where in an x86-64 instruction the next byte stands. A guess, made from the bytes before it alone; a wrong one
//! makes the result longer and does no other harm.
//!
//! Used by `model` and, for what belongs to an opcode, by `quick::walk`, at both ends.

/// What the next byte is taken for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Step {
    /// A prefix, or the first byte of the opcode.
    #[default]
    Start,
    /// The byte of a two-byte opcode after 0F.
    SecondOpcode,
    ModRm,
    Sib,
    Displacement,
    Immediate,
}

/// Steps times the number of bytes that may be left of one: displacements and immediates have up to eight.
pub(super) const PLACES: usize = 6 * 9;

/// An instruction, as far as its bytes are known.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Instruction {
    step: Step,
    /// Bytes left of the displacement or immediate.
    left: u8,
    /// Bytes of the immediate that follows the operands.
    immediate: u8,
    rex: u8,
    /// The opcode; those after 0F from 0x100.
    opcode: u16,
    mod_rm: u8,
    sib: u8,
    /// Opcode of the instruction before.
    before: u16,
}

impl Instruction {
    /// What the next byte is, as a number below [`PLACES`].
    pub(super) fn place(&self) -> u32 {
        self.step as u32 * 9 + u32::from(self.left.min(8))
    }

    /// What distinguishes one opcode from another.
    pub(super) fn operation(&self) -> u32 {
        u32::from(self.opcode) | u32::from(self.rex) << 9
    }

    /// The bytes that say where the operands are.
    pub(super) fn operands(&self) -> u32 {
        u32::from(self.mod_rm) | u32::from(self.sib) << 8
    }

    /// Opcode of the instruction before.
    pub(super) fn before(&self) -> u32 {
        u32::from(self.before)
    }

    /// Takes the next byte.
    pub(super) fn push(&mut self, byte: u8) {
        match self.step {
            Step::Start => match byte {
                0x26 | 0x2e | 0x36 | 0x3e | 0x64..=0x67 | 0xf0 | 0xf2 | 0xf3 => {}
                0x40..=0x4f => self.rex = byte,
                0x0f => self.step = Step::SecondOpcode,
                _ => self.operate(u16::from(byte)),
            },
            Step::SecondOpcode => self.operate(0x100 | u16::from(byte)),
            Step::ModRm => {
                self.mod_rm = byte;
                // TEST is the one among its group that has an immediate.
                if byte >> 3 & 7 < 2 {
                    match self.opcode {
                        0xf6 => self.immediate = 1,
                        0xf7 => self.immediate = 4,
                        _ => {}
                    }
                }
                if byte >> 6 != 3 && byte & 7 == 4 {
                    self.step = Step::Sib;
                } else {
                    self.displace(byte & 7);
                }
            }
            Step::Sib => {
                self.sib = byte;
                self.displace(byte & 7);
            }
            Step::Displacement if self.left > 1 => self.left -= 1,
            Step::Displacement => self.follow(),
            Step::Immediate if self.left > 1 => self.left -= 1,
            Step::Immediate => self.end(),
        }
    }

    fn operate(&mut self, opcode: u16) {
        self.opcode = opcode;
        let (has_mod_rm, immediate) = shape(opcode, self.rex);
        self.immediate = immediate;
        if has_mod_rm {
            self.step = Step::ModRm;
        } else {
            self.follow();
        }
    }

    fn displace(&mut self, base: u8) {
        let bytes = match self.mod_rm >> 6 {
            0 if base == 5 => 4,
            1 => 1,
            2 => 4,
            _ => 0,
        };
        if bytes == 0 {
            self.follow();
        } else {
            (self.step, self.left) = (Step::Displacement, bytes);
        }
    }

    fn follow(&mut self) {
        if self.immediate == 0 {
            self.end();
        } else {
            (self.step, self.left) = (Step::Immediate, self.immediate);
        }
    }

    fn end(&mut self) {
        *self = Self {
            before: self.opcode,
            ..Self::default()
        };
    }
}

/// Whether a ModR/M byte follows the opcode, and how many immediate bytes there are
/// ("Opcode Map", volume 2, appendix A).
pub(super) const fn shape(opcode: u16, rex: u8) -> (bool, u8) {
    match opcode {
        0x00..=0x3f => match opcode & 7 {
            0..=3 => (true, 0),
            4 => (false, 1),
            5 => (false, 4),
            _ => (false, 0),
        },
        0x69 | 0x81 | 0xc7 => (true, 4),
        0x6b | 0x80 | 0x82 | 0x83 | 0xc0 | 0xc1 | 0xc6 => (true, 1),
        0x63 | 0x84..=0x8f | 0xd0..=0xd3 | 0xd8..=0xdf | 0xf6 | 0xf7 | 0xfe | 0xff => (true, 0),
        0x68 | 0xa9 | 0xe8 | 0xe9 | 0x180..=0x18f => (false, 4),
        0x6a | 0x70..=0x7f | 0xa8 | 0xb0..=0xb7 | 0xcd | 0xe0..=0xe7 | 0xeb => (false, 1),
        0xa0..=0xa3 => (false, 8),
        0xb8..=0xbf if rex & 8 != 0 => (false, 8),
        0xb8..=0xbf => (false, 4),
        0xc2 => (false, 2),
        0x105..=0x109 | 0x10b | 0x130..=0x137 | 0x177 => (false, 0),
        0x1a0..=0x1a2 | 0x1a8..=0x1aa | 0x1c8..=0x1cf => (false, 0),
        0x170..=0x173 | 0x1a4 | 0x1ac | 0x1ba | 0x1c2 | 0x1c4..=0x1c6 => (true, 1),
        0x100..=0x1ff => (true, 0),
        _ => (false, 0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Lengths of the instructions in `code`.
    fn lengths(code: &[u8]) -> std::vec::Vec<usize> {
        let mut instruction = Instruction::default();
        let mut lengths = std::vec::Vec::new();
        let mut len = 0;
        for &byte in code {
            instruction.push(byte);
            len += 1;
            if instruction.place() == 0 && !matches!(byte, 0x40..=0x4f | 0x65 | 0x66) {
                lengths.push(len);
                len = 0;
            }
        }
        lengths
    }

    #[test]
    fn instructions_of_a_function_are_told_apart() {
        let code = [
            0x0f, 0x1f, 0x44, 0x00, 0x00, // nop [rax + rax]
            0x41, 0x57, // push r15
            0x48, 0x89, 0xe5, // mov rbp, rsp
            0x48, 0x83, 0xec, 0x28, // sub rsp, 40
            0x65, 0x48, 0x8b, 0x04, 0x25, 0x28, 0, 0, 0, // mov rax, gs:[40]
            0xe8, 1, 2, 3, 4, // call
            0x48, 0xb8, 1, 2, 3, 4, 5, 6, 7, 8, // mov rax, imm64
            0xf7, 0x47, 0x10, 1, 0, 0, 0, // test dword [rdi + 16], 1
            0x0f, 0x84, 1, 2, 3, 4,    // jz
            0xc3, // ret
        ];
        assert_eq!(lengths(&code), [5, 2, 3, 4, 9, 5, 10, 7, 6, 1]);
    }

    #[test]
    fn places_stay_below_their_number() {
        let mut instruction = Instruction::default();
        for index in 0..if cfg!(miri) { 1000 } else { 100_000_u32 } {
            instruction.push((index.wrapping_mul(0x9e37_79b1) >> 24) as u8);
            assert!(instruction.place() < PLACES as u32);
        }
    }
}
