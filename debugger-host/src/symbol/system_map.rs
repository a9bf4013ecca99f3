//! Symbol lists in text form (`System.map`, `/proc/kallsyms`) and in an ELF symbol table.
//! Called when symbols are loaded.

use super::table::{Symbol, Table};
use object::read::elf::ElfFile64;
use object::{Object, ObjectSymbol, SymbolKind, SymbolScope};

/// Why a text file is no symbol list.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum TextError {
    /// A line that does not read `address kind name`.
    #[error(
        "line {line} is not `address kind name`; expected a kernel image, a System.map or a /proc/kallsyms dump"
    )]
    BadLine {
        /// Counted from 1.
        line: usize,
    },
    /// All addresses are zero: the dump was taken by an unprivileged user.
    #[error("all addresses are zero: the dump was taken without the privilege to see them")]
    AddressesHidden,
    /// Too few symbols, or `_text` is missing.
    #[error(
        "{symbols} symbols and no `_text` among them: a placeholder file? Give the kernel image itself"
    )]
    NoText {
        /// How many there were.
        symbols: usize,
    },
}

/// Reads `address kind name [module]` lines. Symbols of modules are left out: they are read
/// from the debuggee.
///
/// # Errors
/// When a line has another shape, or the kernel's `_text` is missing.
pub fn parse(bytes: &[u8]) -> Result<Table, TextError> {
    let text = String::from_utf8_lossy(bytes);
    let mut symbols = Vec::new();
    for (index, line) in text.lines().enumerate() {
        let line = line.trim();
        if line.is_empty() {
            continue;
        }
        let bad = TextError::BadLine { line: index + 1 };
        let mut fields = line.split_whitespace();
        let (Some(address), Some(kind), Some(name)) = (fields.next(), fields.next(), fields.next())
        else {
            return Err(bad);
        };
        let (Ok(address), [kind]) = (u64::from_str_radix(address, 16), kind.as_bytes()) else {
            return Err(bad);
        };
        if fields.next().is_none() {
            symbols.push(Symbol {
                address,
                kind: *kind,
                name: name.to_owned(),
            });
        }
    }
    if !symbols.is_empty() && symbols.iter().all(|s| s.address == 0) {
        return Err(TextError::AddressesHidden);
    }
    if !symbols.iter().any(|s| s.name == "_text") {
        return Err(TextError::NoText {
            symbols: symbols.len(),
        });
    }
    Ok(Table::new(symbols))
}

/// The symbol table of an ELF file, if it was not stripped and holds `_text`.
#[must_use]
pub fn from_elf_symbols(image: &[u8]) -> Option<Table> {
    let file = ElfFile64::<object::LittleEndian>::parse(image).ok()?;
    let symbols: Vec<Symbol> = file
        .symbols()
        .filter(|s| !matches!(s.kind(), SymbolKind::File | SymbolKind::Section))
        .filter_map(|s| {
            let name = s.name().ok().filter(|n| !n.is_empty())?;
            let kind = match s.kind() {
                SymbolKind::Text => b't',
                _ => b'd',
            };
            Some(Symbol {
                address: s.address(),
                kind: if s.scope() == SymbolScope::Compilation {
                    kind
                } else {
                    kind.to_ascii_uppercase()
                },
                name: name.to_owned(),
            })
        })
        .collect();
    symbols
        .iter()
        .any(|s| s.name == "_text")
        .then(|| Table::new(symbols))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dump_is_read_and_module_lines_are_left_out() {
        let table = parse(
            b"ffffffff81000000 T _text\nffffffff81000040 t foo\nffffffffc0001000 t bar\t[ext4]\n",
        )
        .expect("good");
        assert_eq!(table.len(), 2);
        assert_eq!(table.find("foo"), Some(0xffff_ffff_8100_0040));
    }

    #[test]
    fn hidden_addresses_are_explained() {
        assert_eq!(
            parse(b"0000000000000000 T _text\n0000000000000000 T x\n").err(),
            Some(TextError::AddressesHidden)
        );
    }

    #[test]
    fn a_stub_file_is_explained() {
        let stub = b"ffffffffffffffff B The real System.map is in the debug package\n";
        assert_eq!(parse(stub).err(), Some(TextError::NoText { symbols: 0 }));
    }

    #[test]
    fn other_text_names_its_line() {
        assert_eq!(
            parse(b"ffffffff81000000 T _text\nhello\n").err(),
            Some(TextError::BadLine { line: 2 })
        );
    }
}
