//! One list of symbols, ordered by address and by name. Built by every reader in this module,
//! asked by [`super::resolve`].

/// Addresses below this are no kernel addresses: per-cpu offsets and absolute numbers.
const LOWEST_KERNEL_ADDRESS: u64 = 0xffff_8000_0000_0000;

/// One symbol, as linked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Symbol {
    /// Address, without slide.
    pub address: u64,
    /// Kind letter as `nm` prints it.
    pub kind: u8,
    /// Name.
    pub name: String,
}

impl Symbol {
    /// Per-cpu offsets and absolute numbers do not move with the kernel.
    #[must_use]
    pub const fn slides(&self) -> bool {
        self.address >= LOWEST_KERNEL_ADDRESS
    }

    /// Code or data that a person would name an address after.
    const fn is_place(&self) -> bool {
        self.slides() && !matches!(self.kind, b'U' | b'A' | b'a' | b'N')
    }

    /// Lower is a better name for an address that has several.
    fn rank(&self) -> bool {
        matches!(
            self.name.as_str(),
            "_text"
                | "_stext"
                | "_etext"
                | "_sdata"
                | "_edata"
                | "_end"
                | "_sinittext"
                | "_einittext"
        ) || self.name.starts_with("__pfx_")
            || self.name.starts_with("__start_")
            || self.name.starts_with("__stop_")
            || self.name.ends_with("_start")
            || self.name.ends_with("_end")
    }
}

/// Symbols of one image.
#[derive(Clone, Debug, Default)]
pub struct Table {
    /// By address; at one address, the best name first.
    symbols: Vec<Symbol>,
    /// Indices into `symbols`, by name.
    by_name: Vec<u32>,
    /// Added to every address that slides.
    slide: u64,
}

impl Table {
    /// Sorts `symbols`.
    #[must_use]
    pub fn new(mut symbols: Vec<Symbol>) -> Self {
        symbols.sort_by(|a, b| {
            a.address
                .cmp(&b.address)
                .then_with(|| a.rank().cmp(&b.rank()))
        });
        symbols.dedup();
        let mut by_name: Vec<u32> = (0..symbols.len())
            .filter_map(|i| u32::try_from(i).ok())
            .collect();
        by_name.sort_by(|a, b| symbols[*a as usize].name.cmp(&symbols[*b as usize].name));
        Self {
            symbols,
            by_name,
            slide: 0,
        }
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.symbols.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.symbols.is_empty()
    }

    /// Where the debuggee's kernel really is: `_text` stands at `base`.
    pub fn place_text_at(&mut self, base: u64) {
        if let Some(text) = self.link_address("_text") {
            self.slide = base.wrapping_sub(text);
        }
    }

    /// What is added to link-time addresses.
    #[must_use]
    pub const fn slide(&self) -> u64 {
        self.slide
    }

    fn link_address(&self, name: &str) -> Option<u64> {
        self.named(name).next().map(|symbol| symbol.address)
    }

    fn named<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a Symbol> {
        let start = self
            .by_name
            .partition_point(|i| self.symbols[*i as usize].name.as_str() < name);
        self.by_name[start..]
            .iter()
            .map(|i| &self.symbols[*i as usize])
            .take_while(move |symbol| symbol.name == name)
    }

    /// Where a symbol is now.
    #[must_use]
    pub fn address_of(&self, symbol: &Symbol) -> u64 {
        if symbol.slides() {
            symbol.address.wrapping_add(self.slide)
        } else {
            symbol.address
        }
    }

    /// Address of `name`. Several symbols may share a name: a global one wins over static ones,
    /// then the lowest address.
    #[must_use]
    pub fn find(&self, name: &str) -> Option<u64> {
        self.named(name)
            .min_by_key(|symbol| (symbol.kind.is_ascii_lowercase(), symbol.address))
            .map(|symbol| self.address_of(symbol))
    }

    /// The symbol at or below `address`, and how far below.
    #[must_use]
    pub fn nearest(&self, address: u64) -> Option<(&Symbol, u64)> {
        let linked = address.wrapping_sub(self.slide);
        let after = self.symbols.partition_point(|s| s.address <= linked);
        let mut best: Option<&Symbol> = None;
        for symbol in self.symbols[..after].iter().rev() {
            if !symbol.is_place() {
                continue;
            }
            match best {
                Some(found) if found.address != symbol.address => break,
                _ => best = Some(symbol),
            }
        }
        best.map(|symbol| (symbol, linked - symbol.address))
    }

    /// The next symbol above `address`.
    #[must_use]
    pub fn following(&self, address: u64) -> Option<&Symbol> {
        let linked = address.wrapping_sub(self.slide);
        let after = self.symbols.partition_point(|s| s.address <= linked);
        self.symbols[after..].iter().find(|s| s.is_place())
    }

    /// All, by address.
    pub fn iter(&self) -> impl Iterator<Item = &Symbol> {
        self.symbols.iter()
    }

    /// Names that begin with `prefix`, for completion.
    pub fn starting_with<'a>(&'a self, prefix: &'a str) -> impl Iterator<Item = &'a str> {
        let start = self
            .by_name
            .partition_point(|i| self.symbols[*i as usize].name.as_str() < prefix);
        self.by_name[start..]
            .iter()
            .map(|i| self.symbols[*i as usize].name.as_str())
            .take_while(move |name| name.starts_with(prefix))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn symbol(address: u64, kind: u8, name: &str) -> Symbol {
        Symbol {
            address,
            kind,
            name: name.into(),
        }
    }

    fn sample() -> Table {
        Table::new(vec![
            symbol(0xffff_ffff_8100_0000, b'T', "_stext"),
            symbol(0xffff_ffff_8100_0000, b'T', "_text"),
            symbol(0xffff_ffff_8100_0000, b'T', "startup_64"),
            symbol(0xffff_ffff_8100_1000, b'T', "vfs_read"),
            symbol(0xffff_ffff_8100_0800, b't', "helper"),
            symbol(0xffff_ffff_8100_2000, b'T', "helper"),
            symbol(0x1f440, b'A', "cpu_number"),
        ])
    }

    #[test]
    fn slide_moves_code_but_not_per_cpu_offsets() {
        let mut table = sample();
        table.place_text_at(0xffff_ffff_9300_0000);
        assert_eq!(table.find("vfs_read"), Some(0xffff_ffff_9300_1000));
        assert_eq!(table.find("cpu_number"), Some(0x1f440));
    }

    #[test]
    fn nearest_prefers_a_function_over_a_section_marker() {
        let table = sample();
        let (found, offset) = table.nearest(0xffff_ffff_8100_0004).expect("a symbol");
        assert_eq!((found.name.as_str(), offset), ("startup_64", 4));
    }

    #[test]
    fn nothing_is_nearest_below_the_first_symbol() {
        assert!(sample().nearest(0x7fff_0000_0000).is_none());
    }

    #[test]
    fn a_global_symbol_wins_over_a_static_one_of_the_same_name() {
        assert_eq!(sample().find("helper"), Some(0xffff_ffff_8100_2000));
    }

    #[test]
    fn completion_lists_names_in_order() {
        let table = sample();
        let names: Vec<_> = table.starting_with("_").collect();
        assert_eq!(names, ["_stext", "_text"]);
    }
}
