//! Length of an x86 instruction: what `disassemble_len` says, in VMX-root as on the host.
//!
//! Only lengths: bytes that are no instruction may get one, too, as long as their form is known.

/// Most bytes of an instruction.
pub const LONGEST: usize = 15;

/// How the processor reads code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CodeSize {
    /// Legacy and compatibility mode, with 32-bit operands and addresses.
    Bits32,
    /// 64-bit mode.
    Bits64,
}

/// What follows an opcode.
#[derive(Clone, Copy, Default)]
struct Form {
    modrm: bool,
    immediate: usize,
}

impl Form {
    const fn plain(immediate: usize) -> Option<Self> {
        Some(Self {
            modrm: false,
            immediate,
        })
    }

    const fn modrm(immediate: usize) -> Option<Self> {
        Some(Self {
            modrm: true,
            immediate,
        })
    }
}

/// What the prefixes say.
#[derive(Clone, Copy)]
struct Mode {
    long: bool,
    operand_size: bool,
    address_size: bool,
    wide: bool,
}

impl Mode {
    /// Bytes of an immediate that is as large as the operand, but at most four.
    fn z(self) -> usize {
        if self.operand_size && !self.wide {
            2
        } else {
            4
        }
    }

    /// Bytes of a near branch's displacement.
    fn branch(self) -> usize {
        if self.long { 4 } else { self.z() }
    }

    fn address(self) -> usize {
        match (self.long, self.address_size) {
            (true, false) => 8,
            (false, true) => 2,
            _ => 4,
        }
    }
}

/// Reads code from front to back.
struct Reader<'c> {
    code: &'c [u8],
    at: usize,
}

impl Reader<'_> {
    fn peek(&self) -> Option<u8> {
        self.code.get(self.at).copied()
    }

    fn next(&mut self) -> Option<u8> {
        let byte = self.peek()?;
        self.at += 1;
        Some(byte)
    }
}

/// Length of the instruction at the start of `code`; `None` if it goes on past the end of `code`,
/// past [`LONGEST`] bytes, or has no known form.
#[must_use]
pub fn length(code: &[u8], size: CodeSize) -> Option<u8> {
    let mut reader = Reader { code, at: 0 };
    let mut mode = Mode {
        long: size == CodeSize::Bits64,
        operand_size: false,
        address_size: false,
        wide: false,
    };
    let opcode = loop {
        match reader.next()? {
            0x66 => mode.operand_size = true,
            0x67 => mode.address_size = true,
            0xf0 | 0xf2 | 0xf3 | 0x26 | 0x2e | 0x36 | 0x3e | 0x64 | 0x65 => {}
            rex @ 0x40..=0x4f if mode.long => {
                // Only the last one counts, and only right before the opcode.
                mode.wide = rex & 8 != 0;
                if !is_prefix(reader.peek()?) {
                    break reader.next()?;
                }
                mode.wide = false;
            }
            opcode => break opcode,
        }
        if reader.at > LONGEST {
            return None;
        }
    };
    let form = form(opcode, mode, &mut reader)?;
    let len = reader.at + tail(form, mode, &reader)?;
    if len > LONGEST || len > code.len() {
        return None;
    }
    u8::try_from(len).ok()
}

fn is_prefix(byte: u8) -> bool {
    matches!(
        byte,
        0x66 | 0x67 | 0xf0 | 0xf2 | 0xf3 | 0x26 | 0x2e | 0x36 | 0x3e | 0x64 | 0x65 | 0x40..=0x4f
    )
}

/// Form of an opcode, after whose last byte the reader then stands.
fn form(opcode: u8, mode: Mode, reader: &mut Reader<'_>) -> Option<Form> {
    // In 32-bit code these are vector prefixes only before what would be a register operand.
    let vector = mode.long || reader.peek()? >= 0xc0;
    match opcode {
        0x0f => two_byte(mode, reader),
        0xc5 if vector => {
            reader.next()?;
            in_map(1, reader.next()?)
        }
        0xc4 if vector => {
            let map = reader.next()? & 0x1f;
            reader.next()?;
            in_map(map, reader.next()?)
        }
        0x62 if vector => {
            let map = reader.next()? & 7;
            reader.next()?;
            reader.next()?;
            in_map(map, reader.next()?)
        }
        0x8f if reader.peek()? & 0x1f >= 8 => {
            let map = reader.next()? & 0x1f;
            reader.next()?;
            in_map(map, reader.next()?)
        }
        _ => one_byte(opcode, mode, reader),
    }
}

fn one_byte(opcode: u8, mode: Mode, reader: &Reader<'_>) -> Option<Form> {
    match opcode {
        0x00..=0x3f => match opcode & 7 {
            0..=3 => Form::modrm(0),
            4 => Form::plain(1),
            5 => Form::plain(mode.z()),
            _ if mode.long => None,
            _ => Form::plain(0),
        },
        0x60 | 0x61 | 0xce | 0xd6 if mode.long => None,
        0x9a | 0xea if mode.long => None,
        0x82 | 0xd4 | 0xd5 if mode.long => None,
        0x9a | 0xea => Form::plain(mode.z() + 2),
        0x40..=0x61 | 0x6c..=0x6f | 0x90..=0x9f => Form::plain(0),
        0x68 | 0xa9 => Form::plain(mode.z()),
        0x69 | 0x81 | 0xc7 => Form::modrm(mode.z()),
        0x6a | 0x70..=0x7f | 0xa8 | 0xb0..=0xb7 | 0xcd | 0xd4 | 0xd5 | 0xe0..=0xe7 | 0xeb => {
            Form::plain(1)
        }
        0x6b | 0x80 | 0x82 | 0x83 | 0xc0 | 0xc1 | 0xc6 => Form::modrm(1),
        0xa0..=0xa3 => Form::plain(mode.address()),
        0xa4..=0xa7 | 0xaa..=0xaf => Form::plain(0),
        0xb8..=0xbf if mode.wide => Form::plain(8),
        0xb8..=0xbf => Form::plain(mode.z()),
        0xc2 | 0xca => Form::plain(2),
        0xc8 => Form::plain(3),
        0xe8 | 0xe9 => Form::plain(mode.branch()),
        // TEST alone of its group has an immediate.
        0xf6 | 0xf7 if reader.peek()? & 0x38 > 8 => Form::modrm(0),
        0xf6 => Form::modrm(1),
        0xf7 => Form::modrm(mode.z()),
        0x62 | 0x63 | 0x84..=0x8f | 0xc4 | 0xc5 | 0xd0..=0xd3 | 0xd8..=0xdf | 0xfe | 0xff => {
            Form::modrm(0)
        }
        _ => Form::plain(0),
    }
}

fn two_byte(mode: Mode, reader: &mut Reader<'_>) -> Option<Form> {
    let opcode = reader.next()?;
    match opcode {
        0x38 => {
            reader.next()?;
            Form::modrm(0)
        }
        0x3a => {
            reader.next()?;
            Form::modrm(1)
        }
        0x0f => Form::modrm(1),
        0x04 | 0x0a | 0x0c | 0x24..=0x27 | 0x36 | 0x39 | 0x3b..=0x3f => None,
        0x05..=0x09 | 0x0b | 0x0e | 0x30..=0x37 | 0xa0..=0xa2 | 0xa8..=0xaa | 0xc8..=0xcf => {
            Form::plain(0)
        }
        0x80..=0x8f => Form::plain(mode.branch()),
        _ => in_map(1, opcode),
    }
}

/// Opcodes of the maps that vector instructions share with `0f`, `0f 38` and `0f 3a`.
fn in_map(map: u8, opcode: u8) -> Option<Form> {
    match (map, opcode) {
        (1, 0x77) => Form::plain(0),
        (1, 0x70..=0x73 | 0xa4 | 0xac | 0xba | 0xc2 | 0xc4..=0xc6) | (3 | 8, _) => Form::modrm(1),
        (10, _) => Form::modrm(4),
        (1 | 2 | 5 | 6 | 9, _) => Form::modrm(0),
        _ => None,
    }
}

/// Bytes after the opcode.
fn tail(form: Form, mode: Mode, reader: &Reader<'_>) -> Option<usize> {
    if !form.modrm {
        return Some(form.immediate);
    }
    let modrm = reader.peek()?;
    let opcode = reader.code.get(..reader.at).unwrap_or_default();
    let [.., escape, last] = opcode else {
        return Some(1 + operand_len(modrm, mode, reader)? + form.immediate);
    };
    // MOV to and from control and debug registers takes every operand for a register.
    let moves_system = *escape == 0x0f && (0x20..=0x23).contains(last);
    let operand = if moves_system {
        0
    } else {
        operand_len(modrm, mode, reader)?
    };
    Some(1 + operand + form.immediate)
}

/// Bytes of SIB and displacement.
fn operand_len(modrm: u8, mode: Mode, reader: &Reader<'_>) -> Option<usize> {
    let (kind, base) = (modrm >> 6, modrm & 7);
    if kind == 3 {
        return Some(0);
    }
    if !mode.long && mode.address_size {
        return Some(match (kind, base) {
            (0, 6) | (2, _) => 2,
            (0, _) => 0,
            _ => 1,
        });
    }
    let (sib, base) = if base == 4 {
        (1, reader.code.get(reader.at + 1)? & 7)
    } else {
        (0, base)
    };
    Some(match (kind, base) {
        (0, 5) | (2, _) => sib + 4,
        (0, _) => sib,
        _ => sib + 1,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn length64(code: &[u8]) -> Option<u8> {
        length(code, CodeSize::Bits64)
    }

    #[test]
    fn common_instructions_have_their_lengths() {
        let code: &[&[u8]] = &[
            &[0x90],
            &[0x55],
            &[0x48, 0x89, 0xe5],
            &[0x48, 0x83, 0xec, 0x20],
            &[0xe8, 1, 2, 3, 4],
            &[0x0f, 0x84, 1, 2, 3, 4],
            &[0x48, 0xb8, 1, 2, 3, 4, 5, 6, 7, 8],
            &[0x66, 0xb8, 1, 2],
            &[0x48, 0x8b, 0x05, 1, 2, 3, 4],
            &[0x8b, 0x44, 0x24, 8],
            &[0xf6, 0xc1, 1],
            &[0xf7, 0xd8],
            &[0x0f, 0x1f, 0x84, 0, 0, 0, 0, 0],
            &[0xc5, 0xf8, 0x77],
            &[0xf3, 0x0f, 0x1e, 0xfa],
            &[0x0f, 0x22, 0x1c],
            &[0x65, 0x48, 0x8b, 0x04, 0x25, 0x28, 0, 0, 0],
        ];
        for instruction in code {
            assert_eq!(
                length64(instruction),
                Some(instruction.len() as u8),
                "{instruction:x?}"
            );
            let cut = &instruction[..instruction.len() - 1];
            assert_eq!(length64(cut), None, "{cut:x?}");
        }
    }

    #[test]
    fn no_instruction_is_longer_than_fifteen_bytes() {
        assert_eq!(length64(&[0x66; 20]), None);
        let mut longest = [0x66; 15];
        longest[14] = 0x90;
        assert_eq!(length64(&longest), Some(15));
        assert_eq!(length64(&[]), None);
    }
}
