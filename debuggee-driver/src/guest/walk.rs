//! The guest's own page tables: from a virtual to a physical address. Pure reads.
//!
//! SDM "4-Level Paging and 5-Level Paging" 4.5. The guest is in 64-bit mode with XD enabled, as
//! every 64-bit kernel has it.

use crate::port::PhysicalMemory;
use wire_protocol::address::{GuestPhysical, GuestVirtual};
use wire_protocol::refusal::Refusal;

const PRESENT: u64 = 1;
const WRITE: u64 = 1 << 1;
const USER: u64 = 1 << 2;
const LARGE: u64 = 1 << 7;
const NO_EXECUTE: u64 = 1 << 63;
/// Bits 51:12.
const ADDRESS: u64 = 0x000f_ffff_ffff_f000;
const CR4_LA57: u64 = 1 << 12;

/// Where a virtual address leads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Translation {
    /// The physical address.
    pub address: GuestPhysical,
    /// Size of the page: 4 KiB, 2 MiB or 1 GiB.
    pub page_bytes: u64,
    /// The tables allow writes.
    pub writable: bool,
    /// The tables allow access in user mode.
    pub user: bool,
    /// The tables allow instruction fetches.
    pub executable: bool,
}

/// Nothing is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotPresent {
    /// The address that does not translate.
    pub address: GuestVirtual,
}

impl From<NotPresent> for Refusal {
    fn from(not_present: NotPresent) -> Self {
        Self::NotPresent {
            address: not_present.address,
        }
    }
}

/// Walks the tables whose root is in `cr3`; of `cr4`, bit LA57 is looked at (five levels of
/// tables). An address that is not canonical, and one whose tables or page lie beyond the limit
/// of `mem`, is not present.
///
/// # Errors
/// [`NotPresent`]
#[inline]
pub fn translate(
    mem: &impl PhysicalMemory,
    cr3: u64,
    cr4: u64,
    address: GuestVirtual,
) -> Result<Translation, NotPresent> {
    // Bits of a virtual address that the tables translate.
    let found = if cr4 & CR4_LA57 == 0 {
        walk::<48>(mem, cr3, address.0)
    } else {
        walk::<57>(mem, cr3, address.0)
    };
    found.ok_or(NotPresent { address })
}

/// Levels of tables at most.
const LEVELS_MAX: usize = 5;

/// Where the entries stand that lead to an address, from the root on, up to the page or to one that leads nowhere.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Path {
    entries: [u64; LEVELS_MAX],
    len: usize,
    /// See [`Self::behind`].
    behind: Option<u64>,
}

impl Path {
    /// Their physical addresses.
    #[must_use]
    pub fn entries(&self) -> &[u64] {
        self.entries.get(..self.len).unwrap_or_default()
    }

    /// The first address behind all that the last entry leads to, or to nothing: up to there it is the last one of every
    /// path. `None` where addresses of this form end, and if there is no entry.
    #[must_use]
    pub fn behind(&self) -> Option<GuestVirtual> {
        self.behind.map(GuestVirtual)
    }
}

/// Whether all bits above the `width` that tables translate are as the highest of these.
const fn is_canonical(va: u64, width: u32) -> bool {
    let top = (va as i64) >> (width - 1);
    top == 0 || top == -1
}

/// The way that [`translate`] takes. An address that is not canonical has none.
#[must_use]
pub fn path(mem: &impl PhysicalMemory, cr3: u64, cr4: u64, address: GuestVirtual) -> Path {
    let mut path = Path::default();
    let mut table = cr3 & ADDRESS;
    let width = if cr4 & CR4_LA57 == 0 { 48 } else { 57 };
    if !is_canonical(address.0, width) {
        return path;
    }
    let mut shift = width;
    for slot in &mut path.entries {
        shift -= 9;
        let at = table + ((address.0 >> shift) & 0x1ff) * 8;
        if at > mem.limit().saturating_sub(8) {
            break;
        }
        *slot = at;
        path.len += 1;
        let last = address.0 | ((1 << shift) - 1);
        path.behind = last.checked_add(1).filter(|&va| is_canonical(va, width));
        let entry = mem.read_u64(at);
        let is_large = shift <= 30 && entry & LARGE != 0;
        if entry & PRESENT == 0 || is_large || shift == 12 {
            break;
        }
        table = entry & ADDRESS;
    }
    path
}

/// What of an entry says where it leads; 0 if nowhere. Permissions, and what the processor notes in it, do not.
#[must_use]
pub const fn leads_to(entry: u64) -> u64 {
    if entry & PRESENT == 0 {
        0
    } else {
        entry & (ADDRESS | LARGE | PRESENT)
    }
}

#[inline(always)]
fn walk<const WIDTH: u32>(mem: &impl PhysicalMemory, cr3: u64, va: u64) -> Option<Translation> {
    if !is_canonical(va, WIDTH) {
        return None;
    }
    let mut table = cr3 & ADDRESS;
    let mut granted = WRITE | USER;
    let mut denied = 0;
    let mut shift = WIDTH;
    // Four or five turns: 48, 39, 30, 21 end at 12.
    while shift > 12 {
        shift -= 9;
        let at = table + ((va >> shift) & 0x1ff) * 8;
        if at.checked_add(8)? > mem.limit() {
            return None;
        }
        let entry = mem.read_u64(at);
        if entry & PRESENT == 0 {
            return None;
        }
        granted &= entry;
        denied |= entry & NO_EXECUTE;
        let is_leaf = shift == 12 || (shift <= 30 && entry & LARGE != 0);
        if is_leaf {
            let page_bytes = 1_u64 << shift;
            let offset = va & (page_bytes - 1);
            let address = (entry & ADDRESS & !(page_bytes - 1)) | offset;
            return (address < mem.limit()).then_some(Translation {
                address: GuestPhysical(address),
                page_bytes,
                writable: granted & WRITE != 0,
                user: granted & USER != 0,
                executable: denied == 0,
            });
        }
        table = entry & ADDRESS;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ept::model::config;
    use crate::fake::FlatMemory;
    use crate::fake::tables::{self as model, GuestTables};
    use proptest::prelude::*;

    const RW: u64 = model::PRESENT | model::WRITE;
    const ROOT: u64 = 0x10_0000;

    fn memory() -> FlatMemory {
        FlatMemory::new(1 << 32)
    }

    fn address(mem: &FlatMemory, va: u64) -> Option<u64> {
        let found = translate(mem, ROOT, 0, GuestVirtual(va)).ok();
        found.map(|translation| translation.address.0)
    }

    #[test]
    fn pages_of_all_sizes_translate() {
        let mut mem = memory();
        let mut tables = GuestTables::new(ROOT, 4);
        for (va, pa, shift) in [
            (0xffff_8880_0000_1000, 0x5000, 12),
            (0xffff_8880_0020_0000, 0x60_0000, 21),
            (0xffff_8880_4000_0000, 0x8000_0000, 30),
        ] {
            tables.map(&mut mem, va, pa, shift, RW);
            let found = translate(&mem, ROOT | 0xfff, 0, GuestVirtual(va + 0x123)).unwrap();
            assert_eq!(found.address.0, pa + 0x123);
            assert_eq!(found.page_bytes, 1 << shift);
        }
    }

    #[test]
    fn the_path_has_every_entry_up_to_the_page_or_the_hole() {
        let mut mem = memory();
        let mut tables = GuestTables::new(ROOT, 4);
        tables.map(&mut mem, 0x1000, 0x5000, 12, RW);
        tables.map(&mut mem, 0x4000_0000, 0x20_0000, 21, RW);
        let entries = |va| {
            let path = path(&mem, ROOT, 0, GuestVirtual(va));
            (path.entries().len(), path.entries().last().copied())
        };
        assert_eq!(entries(0x1008), (4, Some(ROOT + 3 * 4096 + 8)));
        let page = mem.read_u64(ROOT + 3 * 4096 + 8);
        assert_eq!(leads_to(page | model::USER | 0x60), leads_to(page));
        assert_eq!(entries(0x4000_1000).0, 3);
        // Beside them: no page, no table.
        assert_eq!(entries(0x2000), (4, Some(ROOT + 3 * 4096 + 16)));
        assert_eq!(entries(1 << 39), (1, Some(ROOT + 8)));
        assert_eq!(leads_to(mem.read_u64(ROOT + 8)), 0);
        assert_eq!(path(&mem, 1 << 40, 0, GuestVirtual(0)).entries(), []);
        let behind = |va| {
            path(&mem, ROOT, 0, GuestVirtual(va))
                .behind()
                .map(|at| at.0)
        };
        assert_eq!(behind(0x1008), Some(0x2000));
        assert_eq!(behind(0x4000_1000), Some(0x4020_0000));
        assert_eq!(behind(0x4020_0000), Some(0x4040_0000));
        assert_eq!(behind(0x8000_0000), Some(0xc000_0000));
        assert_eq!(behind((1 << 39) + 5), Some(2 << 39));
        // The lower half ends, and so does the upper one.
        for va in [(1 << 47) - 1, 1 << 47, u64::MAX] {
            assert_eq!(behind(va), None);
        }
    }

    #[test]
    fn permissions_of_all_levels_are_joined() {
        let mut mem = memory();
        let mut tables = GuestTables::new(ROOT, 4);
        tables.map(&mut mem, 0x1000, 0x5000, 12, RW | model::USER);
        tables.map(
            &mut mem,
            0x2000,
            0x6000,
            12,
            model::PRESENT | model::NO_EXECUTE,
        );
        let first = translate(&mem, ROOT, 0, GuestVirtual(0x1000)).unwrap();
        assert!(first.writable && first.user && first.executable);
        let second = translate(&mem, ROOT, 0, GuestVirtual(0x2000)).unwrap();
        assert!(!second.writable && !second.user && !second.executable);
        // Taken away at the top, a permission is gone below.
        mem.write_u64(ROOT, mem.read_u64(ROOT) & !model::WRITE | model::NO_EXECUTE);
        let first = translate(&mem, ROOT, 0, GuestVirtual(0x1000)).unwrap();
        assert!(!first.writable && first.user && !first.executable);
    }

    #[test]
    fn a_missing_entry_is_reported_with_its_address() {
        let mem = memory();
        let missing = GuestVirtual(0x7000);
        assert_eq!(
            translate(&mem, ROOT, 0, missing),
            Err(NotPresent { address: missing })
        );
    }

    #[test]
    fn addresses_that_are_not_canonical_are_not_present() {
        let mut mem = memory();
        let mut tables = GuestTables::new(ROOT, 4);
        tables.map(&mut mem, 0x1000, 0x5000, 12, RW);
        assert_eq!(address(&mem, 0x1000), Some(0x5000));
        assert_eq!(address(&mem, 0x1000 | 1 << 48), None);
        assert_eq!(address(&mem, 0x1000 | 1 << 63), None);
    }

    #[test]
    fn five_levels_are_walked_when_cr4_says_so() {
        let mut mem = memory();
        let mut tables = GuestTables::new(ROOT, 5);
        let va = 0x0055_5555_5555_5000;
        tables.map(&mut mem, va, 0x5000, 12, RW);
        let found = translate(&mem, ROOT, CR4_LA57, GuestVirtual(va + 8)).unwrap();
        assert_eq!(found.address.0, 0x5008);
        assert_eq!(address(&mem, va), None);
    }

    #[test]
    fn what_lies_beyond_the_limit_is_not_present() {
        let mut mem = FlatMemory::new(0x20_0000);
        let mut tables = GuestTables::new(ROOT, 4);
        tables.map(&mut mem, 0x1000, 0x20_0000, 12, RW);
        assert_eq!(address(&mem, 0x1000), None);
        mem.write_u64(ROOT, 0x4000_0000 | RW);
        assert_eq!(address(&mem, 0x1000), None);
        assert!(translate(&mem, 0x7000_0000, 0, GuestVirtual(0)).is_err());
    }

    #[test]
    fn a_table_that_points_to_itself_ends_the_walk() {
        let mut mem = memory();
        mem.write_u64(ROOT, ROOT | RW);
        assert_eq!(address(&mem, 0x123), Some(ROOT + 0x123));
    }

    proptest! {
        #![proptest_config(config())]

        #[test]
        fn garbage_never_panics(words in prop::collection::vec(any::<u64>(), 512), va: u64, cr4: u64) {
            let mut mem = FlatMemory::new(0x2000);
            for (index, word) in words.into_iter().enumerate() {
                mem.write_u64(0x1000 + index as u64 * 8, word & 0x8000_0000_0000_1fff);
            }
            let _ = translate(&mem, 0x1000, cr4, GuestVirtual(va));
        }
    }
}
