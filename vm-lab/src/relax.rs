//! Turns accesses through a global offset table into direct ones, in a relocatable x86-64 object.
//!
//! Called by `driver`. The Rust target calls `memcpy` and its kin through the table, a final link would relax that, but
//! a kernel module is never finally linked and the kernel's module loader has no table. Pure: bytes in, bytes out.

use object::LittleEndian as Le;
use object::elf::{
    FileHeader64, R_X86_64_GOTPCREL, R_X86_64_GOTPCRELX, R_X86_64_PC32, R_X86_64_PLT32,
    R_X86_64_REX_GOTPCRELX, Rela64, RelocationType,
};
use object::read::elf::{FileHeader, SectionHeader};
use std::mem::size_of;

/// Why an object could not be relaxed.
#[derive(Debug, PartialEq, Eq)]
pub enum RelaxError {
    /// Not a well-formed relocatable object.
    Malformed(object::read::Error),
    /// A relocation lies outside its section.
    OutOfSection {
        /// Offset of the relocated field in its section.
        offset: u64,
    },
    /// An instruction that has no direct form.
    Instruction {
        /// Its first two bytes before the relocated field.
        opcode: [u8; 2],
        /// Offset of the relocated field in its section.
        offset: u64,
    },
}

impl std::fmt::Display for RelaxError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Malformed(error) => write!(f, "malformed object: {error}"),
            Self::OutOfSection { offset } => {
                write!(f, "relocation at {offset:#x} is outside its section")
            }
            Self::Instruction { opcode, offset } => {
                let [first, second] = opcode;
                write!(f, "cannot relax {first:02x} {second:02x} at {offset:#x}")
            }
        }
    }
}

impl std::error::Error for RelaxError {}

impl From<object::read::Error> for RelaxError {
    fn from(error: object::read::Error) -> Self {
        Self::Malformed(error)
    }
}

/// Bytes to store at an offset of the object.
#[derive(Debug)]
struct Edit {
    at: usize,
    bytes: Vec<u8>,
}

/// Relaxes every such access in `object`; returns how many there were.
///
/// # Errors
/// When the object is malformed or an instruction has no direct form. Nothing was changed then.
pub fn relax(object: &mut [u8]) -> Result<usize, RelaxError> {
    let (count, edits) = plan(object)?;
    for edit in edits {
        let place = edit.at..edit.at + edit.bytes.len();
        if let Some(bytes) = object.get_mut(place) {
            bytes.copy_from_slice(&edit.bytes);
        }
    }
    Ok(count)
}

fn plan(object: &[u8]) -> Result<(usize, Vec<Edit>), RelaxError> {
    let header = FileHeader64::<Le>::parse(object)?;
    let endian = header.endian()?;
    let sections = header.sections(endian, object)?;
    let mut count = 0;
    let mut edits = Vec::new();
    for section in sections.iter() {
        let Some((entries, _)) = section.rela(endian, object)? else {
            continue;
        };
        let target = sections.section(section.info_link(endian))?;
        let code = target.data(endian, object)?;
        let code_at = target.sh_offset(endian) as usize;
        let entries_at = section.sh_offset(endian) as usize;
        for (index, entry) in entries.iter().enumerate() {
            let kind = entry.r_type(endian, false);
            if !matches!(
                kind,
                R_X86_64_GOTPCREL | R_X86_64_GOTPCRELX | R_X86_64_REX_GOTPCRELX
            ) {
                continue;
            }
            let offset = entry.r_offset.get(endian);
            let direct = direct_form(code, offset)?;
            edits.push(Edit {
                at: code_at + direct.at,
                bytes: direct.bytes,
            });
            // The entry's first two words: offset, then symbol and kind.
            let symbol = u64::from(entry.r_sym(endian, false));
            let mut words = direct.field_offset.to_le_bytes().to_vec();
            words.extend((symbol << 32 | u64::from(direct.kind.0)).to_le_bytes());
            edits.push(Edit {
                at: entries_at + index * size_of::<Rela64<Le>>(),
                bytes: words,
            });
            count += 1;
        }
    }
    Ok((count, edits))
}

#[derive(Debug, PartialEq, Eq)]
struct Direct {
    at: usize,
    bytes: Vec<u8>,
    field_offset: u64,
    kind: RelocationType,
}

/// The direct form of the instruction whose 32-bit field is at `offset` of `code`.
fn direct_form(code: &[u8], offset: u64) -> Result<Direct, RelaxError> {
    let outside = RelaxError::OutOfSection { offset };
    let Ok(field) = usize::try_from(offset) else {
        return Err(outside);
    };
    let inside = field >= 2 && field.checked_add(4).is_some_and(|end| end <= code.len());
    if !inside {
        return Err(outside);
    }
    let at = field - 2;
    let opcode = [code[at], code[at + 1]];
    let direct = |at, bytes: &[u8], field_offset, kind| Direct {
        at,
        bytes: bytes.to_vec(),
        field_offset,
        kind,
    };
    match opcode {
        // call *name(%rip) -> addr32 call name
        [0xff, 0x15] => Ok(direct(at, &[0x67, 0xe8], offset, R_X86_64_PLT32)),
        // jmp *name(%rip) -> jmp name; nop
        [0xff, 0x25] => Ok(direct(
            at,
            &[0xe9, 0, 0, 0, 0, 0x90],
            offset - 1,
            R_X86_64_PLT32,
        )),
        // mov name(%rip), register -> lea name(%rip), register
        [0x8b, modrm] if modrm & 0xc7 == 5 => Ok(direct(at, &[0x8d], offset, R_X86_64_PC32)),
        _ => Err(RelaxError::Instruction { opcode, offset }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Command;

    #[test]
    fn call_and_move_keep_their_field() {
        let call = direct_form(&[0xff, 0x15, 0, 0, 0, 0], 2).unwrap();
        assert_eq!(
            (call.bytes, call.field_offset, call.kind),
            (vec![0x67, 0xe8], 2, R_X86_64_PLT32)
        );
        let load = direct_form(&[0x48, 0x8b, 0x3d, 0, 0, 0, 0], 3).unwrap();
        assert_eq!(
            (load.at, load.bytes, load.kind),
            (1, vec![0x8d], R_X86_64_PC32)
        );
    }

    #[test]
    fn jump_moves_its_field_back_by_one() {
        let jump = direct_form(&[0xff, 0x25, 9, 9, 9, 9], 2).unwrap();
        assert_eq!(jump.bytes, [0xe9, 0, 0, 0, 0, 0x90]);
        assert_eq!(jump.field_offset, 1);
    }

    #[test]
    fn other_instruction_is_refused() {
        let told = direct_form(&[0x03, 0x05, 0, 0, 0, 0], 2).unwrap_err();
        assert_eq!(
            told,
            RelaxError::Instruction {
                opcode: [0x03, 0x05],
                offset: 2
            }
        );
    }

    #[test]
    fn field_outside_the_section_is_refused() {
        for offset in [0, 1, 3, 7, u64::MAX] {
            let told = direct_form(&[0xff, 0x15, 0, 0, 0, 0], offset).unwrap_err();
            assert_eq!(told, RelaxError::OutOfSection { offset });
        }
    }

    #[test]
    fn garbage_is_refused() {
        assert!(matches!(
            relax(&mut [0; 100]),
            Err(RelaxError::Malformed(_))
        ));
        assert!(matches!(relax(&mut []), Err(RelaxError::Malformed(_))));
    }

    fn assembled(text: &str) -> Vec<u8> {
        let dir = tempfile::tempdir().unwrap();
        let source = dir.path().join("a.s");
        let object = dir.path().join("a.o");
        std::fs::write(&source, text).unwrap();
        let mut assemble = Command::new("as");
        assemble.arg(&source).arg("-o").arg(&object);
        assert!(assemble.status().unwrap().success());
        std::fs::read(&object).unwrap()
    }

    #[test]
    fn assembled_object_has_no_table_access_left() {
        let mut bytes = assembled(
            "call *memcpy@GOTPCREL(%rip)\njmp *memset@GOTPCREL(%rip)\nmov name@GOTPCREL(%rip), %rdi\n",
        );
        assert_eq!(relax(&mut bytes), Ok(3));
        assert_eq!(relax(&mut bytes), Ok(0));
    }

    #[test]
    fn truncated_object_never_panics() {
        let bytes = assembled("call *memcpy@GOTPCREL(%rip)\n");
        for end in 0..bytes.len() {
            let _ = relax(&mut bytes[..end].to_vec());
        }
    }
}
