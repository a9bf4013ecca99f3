//! The host's own page tables: all physical memory, and the driver's image. Nothing the guest does
//! to its tables changes them.
//!
//! Built once by `boot`; pure but for the memory that is passed in.

use crate::pool::TableSource;
use crate::port::PhysicalMemory;

/// Page-table entry bits ("4-Level Paging", 4.5.4).
const PRESENT: u64 = 1;
const WRITABLE: u64 = 1 << 1;
/// PWT and PCD: strong uncacheable by the PAT that every kernel keeps there.
const UNCACHED: u64 = 1 << 3 | 1 << 4;
const LARGE: u64 = 1 << 7;
const NO_EXECUTE: u64 = 1 << 63;
const ADDRESS: u64 = 0x000f_ffff_ffff_f000;
const ENTRIES: u64 = 512;

const PAGE_SHIFT: u32 = 12;
const TWO_MIB_SHIFT: u32 = 21;
const ONE_GIB_SHIFT: u32 = 30;
const ROOT_SHIFT: u32 = 39;

/// No page left for a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TablesExhausted;

/// One page of the driver's image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct ImagePage {
    /// Linear address, page-aligned.
    pub linear: u64,
    /// Physical address.
    pub physical: u64,
    /// What is in it: one of the constants of this type, or 0 for what can change.
    pub kind: u64,
}

impl ImagePage {
    /// [`Self::kind`] of code.
    pub const CODE: u64 = 1;
    /// [`Self::kind`] of constants and jump tables.
    pub const READ_ONLY: u64 = 2;
    /// [`Self::kind`] of a device's registers: no page of the image, but mapped like one.
    pub const DEVICE: u64 = 3;
}

/// The tables under construction, then their root.
pub struct HostPages<'m, M, S> {
    memory: &'m mut M,
    tables: &'m mut S,
    root: u64,
}

impl<'m, M: PhysicalMemory, S: TableSource> HostPages<'m, M, S> {
    /// Empty tables.
    ///
    /// # Errors
    /// No page for the root.
    pub fn new(memory: &'m mut M, tables: &'m mut S) -> Result<Self, TablesExhausted> {
        let mut pages = Self {
            memory,
            tables,
            root: 0,
        };
        pages.root = pages.take_zeroed()?;
        Ok(pages)
    }

    /// Physical address of the root.
    pub const fn root(&self) -> u64 {
        self.root
    }

    fn take_zeroed(&mut self) -> Result<u64, TablesExhausted> {
        let page = self.tables.take().ok_or(TablesExhausted)?;
        for index in 0..ENTRIES {
            self.memory.write_u64(page + index * 8, 0);
        }
        Ok(page)
    }

    /// Maps `limit` bytes of physical memory from 0 on at `base` (a multiple of the leaf), for
    /// data, with leaves of 1 GiB or 2 MiB.
    ///
    /// # Errors
    /// No page for a table.
    pub fn map_physical(
        &mut self,
        base: u64,
        limit: u64,
        one_gib_leaves: bool,
    ) -> Result<(), TablesExhausted> {
        let shift = if one_gib_leaves {
            ONE_GIB_SHIFT
        } else {
            TWO_MIB_SHIFT
        };
        for index in 0..limit.div_ceil(1 << shift) {
            let physical = index << shift;
            let entry = physical | PRESENT | WRITABLE | LARGE | NO_EXECUTE;
            self.set(base.wrapping_add(physical), shift, entry)?;
        }
        Ok(())
    }

    /// Maps one page of the driver's image: its code and its constants. What can change there is the
    /// kernel's, and VMX-root has no use for it: all that it changes itself lies in the arena.
    ///
    /// # Errors
    /// No page for a table.
    pub fn map_image(&mut self, page: &ImagePage) -> Result<(), TablesExhausted> {
        let rights = match page.kind {
            ImagePage::CODE => 0,
            ImagePage::READ_ONLY => NO_EXECUTE,
            ImagePage::DEVICE => NO_EXECUTE | WRITABLE | UNCACHED,
            _ => return Ok(()),
        };
        self.set(
            page.linear,
            PAGE_SHIFT,
            page.physical & ADDRESS | PRESENT | rights,
        )
    }

    fn set(&mut self, linear: u64, leaf_shift: u32, entry: u64) -> Result<(), TablesExhausted> {
        let mut table = self.root;
        let mut shift = ROOT_SHIFT;
        while shift > leaf_shift {
            let at = table + (linear >> shift & (ENTRIES - 1)) * 8;
            let found = self.memory.read_u64(at);
            table = if found & PRESENT != 0 {
                found & ADDRESS
            } else {
                let made = self.take_zeroed()?;
                self.memory.write_u64(at, made | PRESENT | WRITABLE);
                made
            };
            shift -= 9;
        }
        let at = table + (linear >> leaf_shift & (ENTRIES - 1)) * 8;
        self.memory.write_u64(at, entry);
        Ok(())
    }
}

/// Table pages that [`HostPages`] takes at most for physical memory up to `limit` and an image of
/// `image_pages` pages in one stretch.
#[must_use]
pub const fn tables_needed(limit: u64, image_pages: u64, one_gib_leaves: bool) -> u64 {
    let gib = limit.div_ceil(1 << ONE_GIB_SHIFT);
    let directories = if one_gib_leaves { 0 } else { gib };
    // One more of each kind where a stretch crosses a boundary.
    1 + gib.div_ceil(ENTRIES) + 1 + directories + 4 + image_pages.div_ceil(ENTRIES) + 1
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fake::FlatMemory;

    struct Next(u64);

    impl TableSource for Next {
        fn take(&mut self) -> Option<u64> {
            self.0 += 0x1000;
            Some(self.0)
        }
    }

    /// The entry that decides about a linear address.
    fn leaf(memory: &FlatMemory, root: u64, linear: u64) -> u64 {
        let mut entry = root | PRESENT;
        for shift in [39, 30, 21, 12] {
            if entry & PRESENT == 0 {
                return entry;
            }
            entry = memory.read_u64((entry & ADDRESS) + (linear >> shift & (ENTRIES - 1)) * 8);
        }
        entry
    }

    #[test]
    fn root_has_code_and_constants_of_the_image_and_nothing_that_changes() {
        const LINEAR: u64 = 0xffff_ffff_c000_0000;
        let mut memory = FlatMemory::new(64 * 0x1000);
        let mut tables = Next(0);
        let mut pages = HostPages::new(&mut memory, &mut tables).unwrap();
        for kind in 0..4 {
            let page = ImagePage {
                linear: LINEAR + kind * 0x1000,
                physical: 0x8000 + kind * 0x1000,
                kind,
            };
            pages.map_image(&page).unwrap();
        }
        let root = pages.root();
        let found = [0, 1, 2].map(|page| leaf(&memory, root, LINEAR + page * 0x1000));
        assert_eq!(found, [0, 0x9000 | PRESENT, 0xa000 | PRESENT | NO_EXECUTE]);
        let device = leaf(&memory, root, LINEAR + 3 * 0x1000);
        assert_eq!(device, 0xb000 | PRESENT | WRITABLE | 0x18 | NO_EXECUTE);
    }
}
