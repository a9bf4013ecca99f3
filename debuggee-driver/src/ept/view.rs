//! Building the views, at boot: memory mapped one to one with the largest leaves that its
//! memory types allow, and the debugger's own chunks replaced by a page that holds nothing.

use super::entry::{ENTRIES, Entry, Level, MemoryType, Permissions};
use super::mtrr::RawMtrrs;
use super::table::{NotEditable, View};
use crate::pool::TableSource;
use crate::pool::arena::{CHUNK_BYTES, MAX_CHUNKS};
use crate::port::PhysicalMemory;
use wire_protocol::address::{GuestPhysical, PAGE_BYTES};

/// Highest limit of a map: what four levels of tables reach.
pub const MAP_LIMIT_MAX: u64 = 1 << 48;

/// Hidden 2 MiB chunks in ascending order.
#[derive(Clone, Debug)]
pub struct HiddenChunks {
    bases: [u64; MAX_CHUNKS],
    count: usize,
}

impl HiddenChunks {
    /// From the chunks of an arena. More than [`MAX_CHUNKS`] there cannot be.
    #[must_use]
    pub fn new(chunks: impl Iterator<Item = u64>) -> Self {
        let mut bases = [u64::MAX; MAX_CHUNKS];
        let mut count = 0;
        for (slot, base) in bases.iter_mut().zip(chunks) {
            *slot = base;
            count += 1;
        }
        bases.sort_unstable();
        Self { bases, count }
    }

    fn any_in(&self, start: u64, len_bytes: u64) -> bool {
        let bases = self.bases.get(..self.count).unwrap_or_default();
        let at = bases.partition_point(|base| base.saturating_add(CHUNK_BYTES) <= start);
        bases
            .get(at)
            .is_some_and(|base| *base < start.saturating_add(len_bytes))
    }
}

/// What the views shall map.
#[derive(Clone, Copy, Debug)]
pub struct MapRequest<'a> {
    /// One past the highest address mapped, in bytes; rounded up to a page, at most
    /// [`MAP_LIMIT_MAX`].
    pub limit: u64,
    /// Memory types.
    pub mtrrs: &'a RawMtrrs,
    /// Bit 17 of `IA32_VMX_EPT_VPID_CAP`: leaves of 1 GiB.
    pub has_1gib_leaves: bool,
    /// The debugger's own memory.
    pub hidden: &'a HiddenChunks,
    /// Physical address of a page of zeroes, seen in place of hidden memory in the hooked view.
    pub zero_page: u64,
    /// Physical address of a page that takes the guest's writes to hidden memory, in the clean
    /// view.
    pub sink_page: u64,
    /// The guest can change views by itself: there is a trampoline view.
    pub has_view_switching: bool,
}

/// The source had no page for a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TablesExhausted {
    /// Pages that all tables of all views take.
    pub needed: u64,
}

/// All views.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Views {
    /// What the guest runs in: hooked pages lead to their shadows.
    pub hooked: View,
    /// What single instructions run in that have to see or change a hooked page.
    pub clean: View,
    /// What detours run in: all memory as it is, the debugger's own too, and none of it can be
    /// executed until the driver's code is let in.
    pub trampoline: Option<View>,
    /// One past the highest address mapped, in bytes.
    pub limit: u64,
}

impl Views {
    /// No views: nothing is mapped, and nothing can be hooked.
    pub const NONE: Self = Self {
        hooked: View::new(0, 0),
        clean: View::new(0, 0),
        trampoline: None,
        limit: 0,
    };

    /// Builds them.
    ///
    /// # Errors
    /// Not enough table pages; the pages taken are lost to their source.
    pub fn build(
        request: &MapRequest<'_>,
        mem: &mut impl PhysicalMemory,
        tables: &mut impl TableSource,
    ) -> Result<Self, TablesExhausted> {
        let exhausted = TablesExhausted {
            needed: request.tables_needed(),
        };
        let read_write = Permissions::READ | Permissions::WRITE;
        let hooked = request.build(mem, tables, request.zero_page, Permissions::READ);
        let clean = request.build(mem, tables, request.sink_page, read_write);
        let trampoline = if request.has_view_switching {
            Some(request.build_inner(mem, tables).ok_or(exhausted)?)
        } else {
            None
        };
        Ok(Self {
            hooked: hooked.ok_or(exhausted)?,
            clean: clean.ok_or(exhausted)?,
            trampoline,
            limit: request.limit(),
        })
    }

    /// Lets a page look as if no device answered there: reads give what is in `ones_page`, and writes go to the sink. For good;
    /// at boot, before any hook.
    ///
    /// # Errors
    /// The page is not mapped, or there is no page for a table.
    pub fn make_absent(
        &self,
        mem: &mut impl PhysicalMemory,
        tables: &mut impl TableSource,
        page: GuestPhysical,
        [ones_page, sink_page]: [u64; 2],
    ) -> Result<(), NotEditable> {
        let read_write = Permissions::READ | Permissions::WRITE;
        for (view, permissions, seen) in [
            (&self.hooked, Permissions::READ, ones_page),
            (&self.clean, read_write, sink_page),
        ] {
            view.protect(mem, page.0, permissions, tables)?;
            let leaf = view.walk(mem, page.0);
            let rights_and_type = leaf.entry.0 & (PAGE_BYTES - 1);
            view.set_leaf(mem, leaf.entry_phys, Entry(rights_and_type | seen));
        }
        Ok(())
    }
}

/// How a stretch of memory is mapped.
enum Shape {
    Absent,
    Hidden,
    Leaf(MemoryType),
    Table(Level),
}

impl MapRequest<'_> {
    /// Table pages that all views take, exactly.
    #[must_use]
    pub fn tables_needed(&self) -> u64 {
        // Per view, one for the table that hidden chunks share.
        let outer = 2 * (1 + self.count(Level::Root, 0) + 1);
        if !self.has_view_switching {
            return outer;
        }
        let nothing = HiddenChunks::new(core::iter::empty());
        outer + 1 + self.without_hidden(&nothing).count(Level::Root, 0)
    }

    fn without_hidden<'n>(&self, nothing: &'n HiddenChunks) -> MapRequest<'n>
    where
        Self: 'n,
    {
        MapRequest {
            hidden: nothing,
            mtrrs: self.mtrrs,
            ..*self
        }
    }

    fn build_inner(
        &self,
        mem: &mut impl PhysicalMemory,
        tables: &mut impl TableSource,
    ) -> Option<View> {
        let nothing = HiddenChunks::new(core::iter::empty());
        let read_write = Permissions::READ | Permissions::WRITE;
        let request = self.without_hidden(&nothing);
        let root = request.fill(mem, tables, 0, read_write, Level::Root, 0)?;
        Some(View::new(root, 0))
    }

    fn limit(&self) -> u64 {
        self.limit
            .checked_next_multiple_of(PAGE_BYTES)
            .map_or(MAP_LIMIT_MAX, |limit| limit.min(MAP_LIMIT_MAX))
    }

    /// How the entry at `level` for the memory at `gpa` looks.
    fn shape(&self, level: Level, gpa: u64) -> Shape {
        if gpa >= self.limit() {
            return Shape::Absent;
        }
        if level == Level::Page2M && self.hidden.any_in(gpa, level.bytes()) {
            return Shape::Hidden;
        }
        let Some(below) = level.below() else {
            let memory_type = self.mtrrs.type_of(gpa, level.bytes());
            return Shape::Leaf(memory_type.unwrap_or(MemoryType::Uncacheable));
        };
        let can_be_leaf = match level {
            Level::Root => false,
            Level::Page1G => self.has_1gib_leaves && !self.hidden.any_in(gpa, level.bytes()),
            Level::Page2M | Level::Page4K => true,
        };
        if can_be_leaf
            && gpa + level.bytes() <= self.limit()
            && let Some(memory_type) = self.mtrrs.type_of(gpa, level.bytes())
        {
            return Shape::Leaf(memory_type);
        }
        Shape::Table(below)
    }

    /// Tables below the table of `level` that starts at `gpa`.
    fn count(&self, level: Level, gpa: u64) -> u64 {
        let entries = (0..ENTRIES).map(|index| gpa + index * level.bytes());
        entries
            .map(|gpa| match self.shape(level, gpa) {
                Shape::Table(below) => 1 + self.count(below, gpa),
                _ => 0,
            })
            .sum()
    }

    fn build(
        &self,
        mem: &mut impl PhysicalMemory,
        tables: &mut impl TableSource,
        hidden_page: u64,
        hidden_permissions: Permissions,
    ) -> Option<View> {
        let hidden_table = tables.take()?;
        let nothing = Entry::leaf(
            hidden_page,
            Level::Page4K,
            MemoryType::WriteBack,
            hidden_permissions,
        );
        for index in 0..ENTRIES {
            mem.write_u64(hidden_table + index * 8, nothing.0);
        }
        let all = Permissions::all();
        let root = self.fill(mem, tables, hidden_table, all, Level::Root, 0)?;
        Some(View::new(root, hidden_table))
    }

    /// Makes the table of `level` that starts at `gpa`, with all below it. The recursion is as
    /// deep as there are levels.
    fn fill(
        &self,
        mem: &mut impl PhysicalMemory,
        tables: &mut impl TableSource,
        hidden_table: u64,
        permissions: Permissions,
        level: Level,
        gpa: u64,
    ) -> Option<u64> {
        let table = tables.take()?;
        for index in 0..ENTRIES {
            let gpa = gpa + index * level.bytes();
            let entry = match self.shape(level, gpa) {
                Shape::Absent => Entry::ABSENT,
                Shape::Hidden => Entry::shared_table(hidden_table),
                Shape::Leaf(memory_type) => Entry::leaf(gpa, level, memory_type, permissions),
                Shape::Table(below) => {
                    let table = self.fill(mem, tables, hidden_table, permissions, below, gpa)?;
                    Entry::table(table)
                }
            };
            mem.write_u64(table + index * 8, entry.0);
        }
        Some(table)
    }
}
