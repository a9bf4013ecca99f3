//! The bytes of x86-64 code one after the other, each with what is known of it: a context, made from the bytes of this instruction
//! before it and from the operation of the instruction before. It is a guess. A wrong one, or content that is no code, makes the
//! result longer and does no other harm: the next instruction is looked for behind.
//!
//! Used by packing, by unpacking, and by what makes the tables of them, each of which is a [`Coder`].

use super::super::instruction::shape;

/// Codes a byte of the content at a time.
pub trait Coder {
    /// The next byte, which stands in `context`, below [`CONTEXTS`]; `None` if there is none, or no room for it.
    fn next(&mut self, context: usize) -> Option<u8>;
}

/// Operations: opcodes, those after 0F from 0x100, and behind them those of groups of opcodes, which a field of ModR/M tells
/// apart ("Opcode Extensions for One-byte and Two-byte Opcodes", volume 2, appendix A).
const OPERATIONS: usize = 0x200 + 8 * GROUPS.len();
const GROUPS: [u16; 10] = [0x80, 0x81, 0x83, 0xc1, 0xf6, 0xf7, 0xff, 0x1ba, 0xc7, 0xd3];
/// Contexts of a byte by the byte before it, for each of three bytes behind the first.
const BYTES_BEHIND: usize = 3 * 0x100;

/// First byte of an instruction, by the operation before.
const START: usize = 0;
/// What is behind the prefix REX.W, by the operation before.
const AFTER_WIDE: usize = START + OPERATIONS;
/// What is behind another prefix, or behind 0F, by that.
const AFTER_PREFIX: usize = AFTER_WIDE + OPERATIONS;
/// ModR/M, by opcode and kind of REX.
const MOD_RM: usize = AFTER_PREFIX + 0x100;
/// SIB, by the kind of displacement, REX.X and REX.B, and whether it is an address that is loaded.
const SIB: usize = MOD_RM + 4 * 0x200;
/// A displacement of a byte, by base register and kind of operation.
const SHORT_DISPLACEMENT: usize = SIB + 0x20;
/// The first of four, by base register, or whether there is REX if there is no base.
const DISPLACEMENT: usize = SHORT_DISPLACEMENT + 8 * 0x10;
/// The others, with a base and without.
const DISPLACEMENT_BEHIND: usize = DISPLACEMENT + 0x12;
/// First byte of an immediate, by operation.
const IMMEDIATE: usize = DISPLACEMENT_BEHIND + 2 * BYTES_BEHIND;
/// The others, of a value and of a branch's target.
const IMMEDIATE_BEHIND: usize = IMMEDIATE + OPERATIONS;
/// Contexts that there are.
pub const CONTEXTS: usize = IMMEDIATE_BEHIND + 2 * BYTES_BEHIND;

/// Behind the opcode is ModR/M.
const HAS_MOD_RM: u32 = 1 << 4;
/// The immediate is a branch's target.
const IS_BRANCH: u32 = 1 << 5;
/// The immediate is as long as the operand, which a prefix or the field of ModR/M decides.
const VARIES: u32 = 1 << 6;
/// No opcode, but a prefix.
const IS_PREFIX: u32 = 1 << 7;
/// Bytes of the immediate.
const IMMEDIATE_BYTES: u32 = 0x0f;
/// Where the kind of displacement begins, which is below 8.
const DISPLACES_SHIFT: u32 = 8;
/// Where the first operation of a group begins, or 0 if the opcode is one operation.
const GROUP_SHIFT: u32 = 16;

/// What follows an opcode.
#[allow(clippy::indexing_slicing, reason = "at compile time")]
const fn form(opcode: u16) -> u32 {
    let (has_mod_rm, immediate) = shape(opcode, 0);
    let is_branch = matches!(opcode, 0xe8 | 0xe9 | 0x180..=0x18f);
    let mut form = immediate as u32;
    if has_mod_rm {
        form |= HAS_MOD_RM;
    }
    if is_branch {
        form |= IS_BRANCH;
    } else if immediate == 4 || matches!(opcode, 0xf6 | 0xf7) {
        form |= VARIES;
    }
    if matches!(opcode, 0x26 | 0x2e | 0x36 | 0x3e | 0x40..=0x4f | 0x64..=0x67 | 0xf0 | 0xf2 | 0xf3)
    {
        form |= IS_PREFIX;
    }
    let displaces: u32 = match opcode {
        0x8b => 0,
        0x89 => 1,
        0x8d => LOADS_ADDRESS,
        0x83 => 3,
        0x1b6 | 0x1b7 => 4,
        0xff => 5,
        0xc7 => 6,
        _ => 7,
    };
    form |= displaces << DISPLACES_SHIFT;
    let mut place = 0;
    while place < GROUPS.len() {
        if GROUPS[place] == opcode {
            form |= (0x200 + 8 * place as u32) << GROUP_SHIFT;
        }
        place += 1;
    }
    form
}

/// Kind of the displacements of LEA.
const LOADS_ADDRESS: u32 = 2;

#[allow(clippy::indexing_slicing, reason = "at compile time")]
static FORMS: [u32; 0x200] = {
    let mut forms = [0; 0x200];
    let mut opcode = 0;
    while opcode < forms.len() {
        forms[opcode] = form(opcode as u16);
        opcode += 1;
    }
    forms
};

#[inline(always)]
fn form_of(opcode: usize) -> u32 {
    FORMS.get(opcode & 0x1ff).copied().unwrap_or_default()
}

/// Codes bytes until `coder` has no more. Each is asked for with a context below [`CONTEXTS`].
#[inline(always)]
pub fn walk(coder: &mut impl Coder) {
    let mut before = 0;
    while let Some(operation) = instruction(coder, before) {
        before = operation;
    }
}

/// An instruction; its operation.
#[inline(always)]
fn instruction(coder: &mut impl Coder, before: usize) -> Option<usize> {
    let (mut rex, mut is_short, mut mod_rm_by) = (0, false, MOD_RM);
    let mut byte = coder.next(START + before)?;
    let mut form = form_of(usize::from(byte));
    while form & IS_PREFIX != 0 {
        let mut context = AFTER_PREFIX + usize::from(byte);
        if byte >> 4 == 4 {
            rex = byte;
            mod_rm_by = match byte {
                0x48 => MOD_RM + 0x200,
                0x49.. => MOD_RM + 2 * 0x200,
                _ => MOD_RM + 3 * 0x200,
            };
            if byte == 0x48 {
                context = AFTER_WIDE + before;
            }
        }
        is_short |= byte == 0x66;
        byte = coder.next(context)?;
        form = form_of(usize::from(byte));
    }
    let mut opcode = usize::from(byte);
    if byte == 0x0f {
        opcode = 0x100 | usize::from(coder.next(AFTER_PREFIX + 0x0f)?);
        form = form_of(opcode);
    }
    let mut immediate = form & IMMEDIATE_BYTES;
    let mut operation = opcode;
    if form & HAS_MOD_RM != 0 {
        let mod_rm = coder.next(mod_rm_by + opcode)?;
        let extension = mod_rm >> 3 & 7;
        if form >> GROUP_SHIFT != 0 {
            operation = (form >> GROUP_SHIFT) as usize | usize::from(extension);
        }
        // TEST is the one among its group that has an immediate.
        if form & (VARIES | IMMEDIATE_BYTES) == VARIES && extension < 2 {
            immediate = if opcode == 0xf6 { 1 } else { 4 };
        }
        if mod_rm < 0xc0 {
            operands(coder, mod_rm, rex, form >> DISPLACES_SHIFT & 7)?;
        }
    }
    if immediate > 0 {
        if form & VARIES != 0 {
            if is_short && immediate == 4 {
                immediate = 2;
            } else if rex & 8 != 0 && opcode & !7 == 0xb8 {
                immediate = 8;
            }
        }
        let mut last = coder.next(IMMEDIATE + operation)?;
        let mut behind = match form & IS_BRANCH {
            0 => IMMEDIATE_BEHIND,
            _ => IMMEDIATE_BEHIND + BYTES_BEHIND,
        };
        let thirds = behind + 2 * 0x100;
        for _ in 1..immediate {
            last = coder.next(behind + usize::from(last))?;
            behind = (behind + 0x100).min(thirds);
        }
    }
    Some(operation)
}

/// What is behind a ModR/M byte that means memory.
#[inline(always)]
fn operands(coder: &mut impl Coder, mod_rm: u8, rex: u8, displaces: u32) -> Option<()> {
    let mode = mod_rm >> 6;
    let mut base = mod_rm & 7;
    let mut is_stacked = 0;
    if base == 4 {
        let is_loaded = u8::from(displaces == LOADS_ADDRESS);
        let context = SIB + usize::from(mode | (rex & 3) << 2 | is_loaded << 4);
        base = coder.next(context)? & 7;
        is_stacked = 8;
    }
    let is_absolute = mode == 0 && base == 5;
    let base = usize::from(base | is_stacked);
    if mode == 1 {
        coder.next(SHORT_DISPLACEMENT + (base << 3 | displaces as usize))?;
    } else if mode == 2 || is_absolute {
        let (first, behind) = match is_absolute {
            true => (0x10 | usize::from(rex != 0), DISPLACEMENT_BEHIND),
            false => (base, DISPLACEMENT_BEHIND + BYTES_BEHIND),
        };
        let first = coder.next(DISPLACEMENT + first)?;
        let second = coder.next(behind + usize::from(first))?;
        let third = coder.next(behind + 0x100 + usize::from(second))?;
        coder.next(behind + 2 * 0x100 + usize::from(third))?;
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::vec::Vec;

    /// Notes the contexts of the bytes that it has.
    struct Contexts<'c> {
        rest: core::slice::Iter<'c, u8>,
        seen: Vec<usize>,
    }

    impl Coder for Contexts<'_> {
        fn next(&mut self, context: usize) -> Option<u8> {
            let byte = self.rest.next()?;
            self.seen.push(context);
            Some(*byte)
        }
    }

    fn contexts(code: &[u8]) -> Vec<usize> {
        let mut coder = Contexts {
            rest: code.iter(),
            seen: Vec::new(),
        };
        walk(&mut coder);
        coder.seen
    }

    #[test]
    fn each_instruction_begins_by_the_one_before() {
        let code = [
            0x0f, 0x1f, 0x44, 0x00, 0x00, // nop [rax + rax]
            0x41, 0x57, // push r15
            0x48, 0x89, 0xe5, // mov rbp, rsp
            0x48, 0x83, 0xec, 0x28, // sub rsp, 40
            0x65, 0x48, 0x8b, 0x04, 0x25, 0x28, 0, 0, 0, // mov rax, gs:[40]
            0xe8, 1, 2, 3, 4, // call
            0x48, 0xb8, 1, 2, 3, 4, 5, 6, 7, 8, // mov rax, imm64
            0x66, 0x81, 0x7f, 0x10, 1, 2, // cmp word [rdi + 16], 0x201
            0xf7, 0x47, 0x10, 1, 0, 0, 0, // test dword [rdi + 16], 1
            0x0f, 0x84, 1, 2, 3, 4,    // jz
            0xc3, // ret
        ];
        let seen = contexts(&code);
        assert_eq!(seen.len(), code.len());
        let starts = seen.iter().copied().enumerate();
        let starts = starts.filter(|(_, context)| *context < AFTER_WIDE);
        let (at, operations): (Vec<usize>, Vec<usize>) = starts.unzip();
        assert_eq!(at, [0, 5, 7, 10, 14, 23, 28, 38, 44, 51, 57]);
        let sub = 0x200 + 8 * 2 + 5;
        let cmp = 0x200 + 8 + 7;
        let test = 0x200 + 8 * 5;
        let expected = [
            0, 0x11f, 0x57, 0x89, sub, 0x8b, 0xe8, 0xb8, cmp, test, 0x184,
        ];
        assert_eq!(operations, expected);
    }

    #[test]
    fn contexts_stay_below_their_number() {
        let mut state = 1_u32;
        let step = |_| {
            state = state.wrapping_mul(0x19_660d).wrapping_add(0x3c6e_f35f);
            (state >> 24) as u8
        };
        let noise: Vec<u8> = (0..if cfg!(miri) { 1000 } else { 1_000_000 })
            .map(step)
            .collect();
        let seen = contexts(&noise);
        assert_eq!(seen.len(), noise.len());
        assert!(seen.iter().all(|context| *context < CONTEXTS));
    }
}
