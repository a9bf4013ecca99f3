//! Loaded modules, read from the debuggee's own list, and their symbols. Called by the symbol
//! commands, with the debuggee halted.

use super::table::{Symbol, Table};
use wire_protocol::packet::LinuxLayout;

/// More modules than this are not believed.
const MODULE_LIMIT: usize = 2048;
/// More symbols in one module than this are not believed.
const SYMBOL_LIMIT: u64 = 1 << 18;
/// Room for a module's name in its structure.
const NAME_BYTES: usize = 56;
/// Size of an ELF64 symbol.
const SYMBOL_BYTES: usize = 24;
/// Longest name of a symbol.
const SYMBOL_NAME_BYTES: u64 = 512;

/// Virtual memory of the debuggee.
pub trait Memory {
    /// Why memory cannot be read.
    type Error;
    /// Up to `len` bytes, at least one.
    ///
    /// # Errors
    /// When the first byte cannot be read.
    fn read(&mut self, address: u64, len: usize) -> Result<Vec<u8>, Self::Error>;
}

/// Why the list of modules, or a module's symbols, could not be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ModuleError<E> {
    /// The debuggee said nothing of its module list.
    #[error("this debuggee does not say where its lists of modules and processes are")]
    NoLayout,
    /// Memory ends within a structure.
    #[error("the module list ends in unmapped memory at {address:016x}")]
    Short {
        /// Where.
        address: u64,
    },
    /// Memory cannot be read.
    #[error("{0}")]
    Memory(E),
    /// Numbers that cannot be.
    #[error("module {name} claims {count} symbols; that is not believed")]
    TooManySymbols {
        /// Which module.
        name: String,
        /// How many.
        count: u64,
    },
}

/// A module of the debuggee's kernel.
#[derive(Clone, Debug)]
pub struct Module {
    /// Its name.
    pub name: String,
    /// First byte of its code.
    pub base: u64,
    /// Length.
    pub size: u64,
    /// Address of its `struct mod_kallsyms`.
    pub kallsyms: u64,
    /// Its symbols, once they have been read.
    pub table: Option<Table>,
}

/// So many bytes.
pub(super) fn exactly<M: Memory>(
    memory: &mut M,
    address: u64,
    len: usize,
) -> Result<Vec<u8>, ModuleError<M::Error>> {
    let bytes = memory.read(address, len).map_err(ModuleError::Memory)?;
    if bytes.len() < len {
        return Err(ModuleError::Short {
            address: address.wrapping_add(bytes.len() as u64),
        });
    }
    Ok(bytes)
}

/// A little-endian number.
pub(super) fn number(bytes: &[u8]) -> u64 {
    bytes
        .iter()
        .rev()
        .fold(0, |value, byte| value << 8 | u64::from(*byte))
}

/// What stands before the first zero.
pub(super) fn text(bytes: &[u8]) -> &[u8] {
    bytes.split(|byte| *byte == 0).next().unwrap_or_default()
}

/// Walks the list of modules. A list that runs in a circle ends where it meets itself.
///
/// # Errors
/// When memory of the list cannot be read.
pub fn list<M: Memory>(
    memory: &mut M,
    layout: &LinuxLayout,
) -> Result<Vec<Module>, ModuleError<M::Error>> {
    if layout.list_head == 0 {
        return Err(ModuleError::NoLayout);
    }
    let mut modules: Vec<Module> = Vec::new();
    let mut seen = std::collections::HashSet::from([layout.list_head]);
    let mut node = number(&exactly(memory, layout.list_head, 8)?);
    while seen.insert(node) && modules.len() < MODULE_LIMIT {
        let module = node.wrapping_sub(u64::from(layout.list));
        let at = |offset: u32| module.wrapping_add(u64::from(offset));
        // Node and name are neighbours in every kernel: one read gets both.
        let name_skip = u64::from(layout.name).wrapping_sub(u64::from(layout.list));
        let (next, name) = if (8..64).contains(&name_skip) {
            let bytes = exactly(memory, node, name_skip as usize + NAME_BYTES)?;
            (number(&bytes[..8]), bytes[name_skip as usize..].to_vec())
        } else {
            (
                number(&exactly(memory, node, 8)?),
                exactly(memory, at(layout.name), NAME_BYTES)?,
            )
        };
        modules.push(Module {
            name: String::from_utf8_lossy(text(&name)).into_owned(),
            base: number(&exactly(memory, at(layout.base), 8)?),
            size: number(&exactly(memory, at(layout.size), 4)?),
            kallsyms: number(&exactly(memory, at(layout.kallsyms), 8)?),
            table: None,
        });
        node = next;
    }
    modules.sort_by_key(|module| module.base);
    Ok(modules)
}

/// Reads a module's symbols, which carry their final addresses.
///
/// # Errors
/// When memory cannot be read, or the numbers in it cannot be.
pub fn symbols<M: Memory>(
    memory: &mut M,
    layout: &LinuxLayout,
    module: &Module,
) -> Result<Table, ModuleError<M::Error>> {
    if module.kallsyms == 0 {
        return Ok(Table::default());
    }
    let at = |offset: u32| module.kallsyms.wrapping_add(u64::from(offset));
    let array = number(&exactly(memory, at(layout.kallsyms_symtab), 8)?);
    let count = number(&exactly(memory, at(layout.kallsyms_count), 4)?);
    let strings_at = number(&exactly(memory, at(layout.kallsyms_strtab), 8)?);
    if count > SYMBOL_LIMIT {
        return Err(ModuleError::TooManySymbols {
            name: module.name.clone(),
            count,
        });
    }
    let entries = exactly(memory, array, count as usize * SYMBOL_BYTES)?;
    let entries: Vec<&[u8]> = entries.chunks_exact(SYMBOL_BYTES).collect();
    let last_name = entries.iter().map(|e| number(&e[..4])).max().unwrap_or(0);
    if last_name > SYMBOL_LIMIT * SYMBOL_NAME_BYTES {
        return Err(ModuleError::TooManySymbols {
            name: module.name.clone(),
            count,
        });
    }
    let strings = memory
        .read(strings_at, (last_name + SYMBOL_NAME_BYTES) as usize)
        .map_err(ModuleError::Memory)?;
    let symbols = entries.iter().filter_map(|entry| {
        let name = strings.get(number(&entry[..4]) as usize..)?;
        let end = name.iter().position(|b| *b == 0)?;
        let (info, section) = (entry[4], number(&entry[6..8]));
        if end == 0 || section == 0 {
            return None;
        }
        let kind = if info & 0xf == 2 { b't' } else { b'd' };
        Some(Symbol {
            address: number(&entry[8..16]),
            kind: if info >> 4 == 0 {
                kind
            } else {
                kind.to_ascii_uppercase()
            },
            name: String::from_utf8_lossy(&name[..end]).into_owned(),
        })
    });
    Ok(Table::new(symbols.collect()))
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub(in super::super) struct Flat {
        pub(in super::super) base: u64,
        pub(in super::super) bytes: Vec<u8>,
    }

    impl Memory for Flat {
        type Error = u64;
        fn read(&mut self, address: u64, len: usize) -> Result<Vec<u8>, u64> {
            let at = address.checked_sub(self.base).ok_or(address)? as usize;
            let rest = self
                .bytes
                .get(at..)
                .filter(|r| !r.is_empty())
                .ok_or(address)?;
            Ok(rest[..len.min(rest.len())].to_vec())
        }
    }

    const BASE: u64 = 0xffff_ffff_c000_0000;
    fn layout() -> LinuxLayout {
        LinuxLayout {
            list_head: BASE,
            list: 8,
            name: 24,
            base: 0x60,
            size: 0x68,
            kallsyms: 0x70,
            kallsyms_symtab: 0,
            kallsyms_count: 8,
            kallsyms_strtab: 16,
            ..LinuxLayout::default()
        }
    }

    fn put(memory: &mut Flat, at: u64, value: u64) {
        let at = (at - BASE) as usize;
        memory.bytes[at..at + 8].copy_from_slice(&value.to_le_bytes());
    }

    fn two_modules() -> Flat {
        let mut memory = Flat {
            base: BASE,
            bytes: vec![0; 0x2000],
        };
        put(&mut memory, BASE, BASE + 0x108);
        for (module, next, name) in [(0x100, BASE + 0x208, b"ext4"), (0x200, BASE, b"jbd2")] {
            put(&mut memory, BASE + module + 8, next);
            memory.bytes[module as usize + 24..module as usize + 28].copy_from_slice(name);
            put(&mut memory, BASE + module + 0x60, BASE + 0x10_0000 - module);
            put(&mut memory, BASE + module + 0x68, 0x4000);
        }
        memory
    }

    #[test]
    fn modules_are_listed_by_address() {
        let modules = list(&mut two_modules(), &layout()).expect("readable");
        let names: Vec<_> = modules.iter().map(|m| m.name.as_str()).collect();
        assert_eq!(names, ["jbd2", "ext4"]);
        assert_eq!(modules[0].size, 0x4000);
    }

    #[test]
    fn a_circle_that_misses_the_head_ends() {
        let mut memory = two_modules();
        put(&mut memory, BASE + 0x208, BASE + 0x108);
        assert_eq!(list(&mut memory, &layout()).expect("readable").len(), 2);
    }

    #[test]
    fn a_list_into_nowhere_is_an_error() {
        let mut memory = two_modules();
        put(&mut memory, BASE + 0x208, 0x1234);
        assert_eq!(
            list(&mut memory, &layout()).err(),
            Some(ModuleError::Memory(0x1234))
        );
    }

    #[test]
    fn symbols_of_a_module_carry_their_addresses() {
        let mut memory = two_modules();
        let mut module = list(&mut memory, &layout()).expect("readable").remove(0);
        module.kallsyms = BASE + 0x400;
        put(&mut memory, BASE + 0x400, BASE + 0x500);
        put(&mut memory, BASE + 0x408, 2);
        put(&mut memory, BASE + 0x410, BASE + 0x600);
        // Symbol 0 is empty; symbol 1 is a global function named at 1.
        put(&mut memory, BASE + 0x518, 1 | 0x12 << 32 | 1 << 48);
        put(&mut memory, BASE + 0x520, 0xffff_ffff_c010_0040);
        memory.bytes[0x601..0x60a].copy_from_slice(b"ext4_read");
        let table = symbols(&mut memory, &layout(), &module).expect("readable");
        assert_eq!(table.find("ext4_read"), Some(0xffff_ffff_c010_0040));
    }

    #[test]
    fn an_absurd_symbol_count_is_not_believed() {
        let mut memory = two_modules();
        let mut module = list(&mut memory, &layout()).expect("readable").remove(0);
        module.kallsyms = BASE + 0x400;
        put(&mut memory, BASE + 0x408, 0xffff_ffff);
        assert!(matches!(
            symbols(&mut memory, &layout(), &module),
            Err(ModuleError::TooManySymbols { .. })
        ));
    }
}
