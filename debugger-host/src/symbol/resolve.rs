//! Kernel and modules together: names to addresses and back. Called by expressions and by
//! everything that prints an address.

use super::bpf::{BPF, Programs};
use super::modules::Module;
use super::table::{Symbol, Table};
use crate::types::near::nearest;
use std::fmt;
use wildmatch::WildMatch;

/// How the kernel itself is called.
pub const KERNEL: &str = "vmlinux";

/// Further than this from a symbol, an address is not said to belong to it.
const FAR: u64 = 0x10_0000;

/// An address by its name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// Module.
    pub module: String,
    /// Symbol; `None` if only the module is known.
    pub name: Option<String>,
    /// Bytes behind it.
    pub offset: u64,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.module)?;
        if let Some(name) = &self.name {
            write!(f, "!{name}")?;
        }
        if self.offset != 0 {
            write!(f, "+{:x}", self.offset)?;
        }
        Ok(())
    }
}

/// All symbols that are known now.
#[derive(Default)]
pub struct Symbols {
    kernel: Option<Table>,
    modules: Vec<Module>,
    programs: Programs,
}

/// `nt!` is the kernel whatever it is called.
fn is_kernel(module: &str) -> bool {
    ["nt", KERNEL, "kernel"]
        .iter()
        .any(|k| module.eq_ignore_ascii_case(k))
}

fn split(name: &str) -> (Option<&str>, &str) {
    match name.split_once('!') {
        Some((module, name)) => (Some(module), name),
        None => (None, name),
    }
}

impl Symbols {
    /// Uses `table` for the kernel.
    pub fn set_kernel(&mut self, table: Table) {
        self.kernel = Some(table);
    }

    /// The kernel's own symbols.
    #[must_use]
    pub const fn kernel(&self) -> Option<&Table> {
        self.kernel.as_ref()
    }

    /// The debuggee's `_text` stands at `base`.
    pub fn place_kernel(&mut self, base: u64) {
        if let Some(kernel) = &mut self.kernel {
            kernel.place_text_at(base);
        }
    }

    /// Replaces the list of modules; symbols of modules that stayed where they were are kept.
    pub fn set_modules(&mut self, mut modules: Vec<Module>) {
        for module in &mut modules {
            module.table = self
                .modules
                .iter_mut()
                .find(|old| {
                    old.name == module.name && old.base == module.base && old.size == module.size
                })
                .and_then(|old| old.table.take());
        }
        self.modules = modules;
    }

    /// Replaces the list of BPF programs.
    pub fn set_programs(&mut self, programs: Programs) {
        self.programs = programs;
    }

    /// Modules, by address.
    #[must_use]
    pub fn modules(&self) -> &[Module] {
        &self.modules
    }

    /// Keeps the symbols of a module.
    pub fn set_module_table(&mut self, name: &str, table: Table) {
        if let Some(module) = self.modules.iter_mut().find(|m| m.name == name) {
            module.table = Some(table);
        }
    }

    /// The module that holds `address`.
    #[must_use]
    pub fn module_at(&self, address: u64) -> Option<&Module> {
        self.modules.iter().find(|m| {
            address
                .checked_sub(m.base)
                .is_some_and(|offset| offset < m.size)
        })
    }

    /// Address of `name` or `module!name`. A bare name is looked for in the kernel, then in the
    /// modules whose symbols have been read.
    #[must_use]
    pub fn find(&self, name: &str) -> Option<u64> {
        let (module, name) = split(name);
        let of_kernel = || self.kernel.as_ref()?.find(name);
        match module {
            Some(module) if is_kernel(module) => of_kernel(),
            Some(module) if module.eq_ignore_ascii_case(BPF) => self.programs.table.find(name),
            Some(module) => self
                .modules
                .iter()
                .find(|m| m.name.eq_ignore_ascii_case(module))?
                .table
                .as_ref()?
                .find(name),
            None => of_kernel()
                .or_else(|| {
                    self.modules
                        .iter()
                        .find_map(|m| m.table.as_ref()?.find(name))
                })
                .or_else(|| self.programs.table.find(name)),
        }
    }

    /// Name of an address.
    #[must_use]
    pub fn place(&self, address: u64) -> Option<Place> {
        if self.programs.hold(address)
            && let Some((symbol, offset)) = self.programs.table.nearest(address)
        {
            return Some(Place {
                module: BPF.into(),
                name: Some(symbol.name.clone()),
                offset,
            });
        }
        if let Some(module) = self.module_at(address) {
            let found = module.table.as_ref().and_then(|t| t.nearest(address));
            return Some(match found {
                Some((symbol, offset)) => Place {
                    module: module.name.clone(),
                    name: Some(symbol.name.clone()),
                    offset,
                },
                None => Place {
                    module: module.name.clone(),
                    name: None,
                    offset: address - module.base,
                },
            });
        }
        let kernel = self.kernel.as_ref()?;
        let (symbol, offset) = kernel
            .nearest(address)
            .filter(|(_, offset)| *offset < FAR)?;
        let is_behind_the_end = kernel.find("_end").is_some_and(|end| address >= end);
        (!is_behind_the_end).then(|| Place {
            module: KERNEL.into(),
            name: Some(symbol.name.clone()),
            offset,
        })
    }

    /// How far an address is behind the start of the function or the datum that it belongs to, and whether it is a
    /// datum.
    #[must_use]
    pub fn offset_in(&self, address: u64) -> Option<(u64, bool)> {
        let table = match self.module_at(address) {
            _ if self.programs.hold(address) => Some(&self.programs.table),
            Some(module) => module.table.as_ref(),
            None => self.kernel.as_ref(),
        };
        let (symbol, offset) = table?
            .nearest(address)
            .filter(|(_, offset)| *offset < FAR)?;
        let is_data = matches!(symbol.kind.to_ascii_lowercase(), b'd' | b'b' | b'r');
        Some((offset, is_data))
    }

    /// Whether an address is in code that the kernel throws away when it has started, before any module is loaded.
    #[must_use]
    pub fn is_discarded(&self, address: u64) -> bool {
        let at = |name| self.kernel.as_ref()?.find(name);
        let bounds = at("_sinittext").zip(at("_einittext"));
        bounds.is_some_and(|(start, end)| (start..end).contains(&address))
    }

    /// Symbols whose names match `pattern` (`*` and `?`), with their addresses, by address.
    #[must_use]
    pub fn matching(&self, pattern: &str) -> Vec<(String, u64, &Symbol)> {
        let (module, name) = split(pattern);
        let module = module.unwrap_or(KERNEL);
        let name = WildMatch::new_case_insensitive(name);
        let of_module = WildMatch::new_case_insensitive(module);
        let kernel = self
            .kernel
            .iter()
            .filter(|_| is_kernel(module) || of_module.matches(KERNEL))
            .map(|table| (KERNEL, table));
        let modules = self
            .modules
            .iter()
            .filter(|m| of_module.matches(&m.name))
            .filter_map(|m| Some((m.name.as_str(), m.table.as_ref()?)));
        let programs = Some((BPF, &self.programs.table)).filter(|_| of_module.matches(BPF));
        kernel
            .chain(modules)
            .chain(programs)
            .flat_map(|(module, table)| {
                table
                    .iter()
                    .filter(|s| name.matches(&s.name))
                    .map(|s| (module.to_owned(), table.address_of(s), s))
                    .collect::<Vec<_>>()
            })
            .collect()
    }

    /// A known name close to `name`, for messages.
    #[must_use]
    pub fn similar(&self, name: &str) -> Option<String> {
        let (module, name) = split(name);
        let kernel = self.kernel.as_ref()?;
        let found = nearest(name, kernel.iter().map(|symbol| symbol.name.as_str()))?;
        Some(match module {
            Some(module) => format!("{module}!{found}"),
            None => found.to_owned(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn symbols() -> Symbols {
        let kernel = [
            (0xffff_ffff_8100_0000, "_text"),
            (0xffff_ffff_8100_0000, "_stext"),
            (0xffff_ffff_8100_1000, "do_sys_open"),
            (0xffff_ffff_8100_1100, "do_sys_openat2"),
            (0xffff_ffff_8180_0000, "_sinittext"),
            (0xffff_ffff_8180_0000, "start_kernel"),
            (0xffff_ffff_8180_2000, "_einittext"),
            (0xffff_ffff_8200_0000, "_end"),
        ];
        let table = |list: &[(u64, &str)]| {
            Table::new(
                list.iter()
                    .map(|(address, name)| Symbol {
                        address: *address,
                        kind: b'T',
                        name: (*name).to_owned(),
                    })
                    .collect(),
            )
        };
        let mut symbols = Symbols::default();
        symbols.set_kernel(table(&kernel));
        symbols.place_kernel(0xffff_ffff_9100_0000);
        symbols.set_modules(vec![Module {
            name: "ext4".into(),
            base: 0xffff_ffff_c000_0000,
            size: 0x1000,
            kallsyms: 0,
            table: None,
        }]);
        symbols
    }

    #[test]
    fn the_kernel_has_several_names() {
        let symbols = symbols();
        for name in [
            "do_sys_openat2",
            "vmlinux!do_sys_openat2",
            "nt!do_sys_openat2",
        ] {
            assert_eq!(symbols.find(name), Some(0xffff_ffff_9100_1100), "{name}");
        }
        assert_eq!(symbols.find("ext4!do_sys_openat2"), None);
    }

    #[test]
    fn places_are_named_with_their_offsets() {
        let symbols = symbols();
        let place = |address| symbols.place(address).map(|p| p.to_string());
        assert_eq!(
            place(0xffff_ffff_9100_1104).as_deref(),
            Some("vmlinux!do_sys_openat2+4")
        );
        assert_eq!(place(0xffff_ffff_c000_0010).as_deref(), Some("ext4+10"));
        assert_eq!(place(0xffff_ffff_9200_0010), None);
        assert_eq!(place(0x40_0000), None);
    }

    #[test]
    fn code_of_the_start_is_thrown_away() {
        let symbols = symbols();
        let start = symbols.find("start_kernel").unwrap_or_default();
        for (address, is_discarded) in [
            (start - 1, false),
            (start, true),
            (start + 0x1fff, true),
            (start + 0x2000, false),
        ] {
            assert_eq!(symbols.is_discarded(address), is_discarded, "{address:x}");
        }
    }

    #[test]
    fn patterns_default_to_the_kernel() {
        let symbols = symbols();
        let names = |pattern| -> Vec<String> {
            symbols
                .matching(pattern)
                .into_iter()
                .map(|(_, _, s)| s.name.clone())
                .collect()
        };
        assert_eq!(names("do_sys_*"), ["do_sys_open", "do_sys_openat2"]);
        assert_eq!(names("nt!*openat?"), ["do_sys_openat2"]);
        assert!(names("ext4!*").is_empty());
    }

    #[test]
    fn a_misspelt_name_has_a_suggestion() {
        assert_eq!(
            symbols().similar("nt!do_sys_openat").as_deref(),
            Some("nt!do_sys_openat2")
        );
    }
}
