//! Walking, splitting and merging the tables of one view. Physical addresses in, no pointers;
//! called with every core halted (and at boot), never fails half-way: what a split needs is taken
//! before anything is written.
//!
//! A page walker of another core never sees a half-made table: a table is filled first and then
//! linked by one 64-bit store. A table that was merged away may still be in a core's caches until
//! that core invalidates them, which every core does before it resumes.

use super::entry::{ENTRIES, Entry, Level, Permissions, eptp};
use crate::pool::TableSource;
use crate::port::PhysicalMemory;

/// Where a walk ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Leaf {
    /// Physical address of the entry.
    pub entry_phys: u64,
    /// The entry: a leaf, or absent.
    pub entry: Entry,
    /// The level it stands at.
    pub level: Level,
    /// It stands in a table that other addresses share, so it must not be edited.
    pub is_shared: bool,
}

/// What it takes to have a leaf of a size for an address. Made by [`View::plan_split`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SplitPlan {
    leaf: Leaf,
    gpa: u64,
    unit: Level,
}

impl SplitPlan {
    /// Table pages that will become part of the view: 0, 1 (a page table) or 2 (a page directory
    /// too).
    #[must_use]
    pub const fn tables_needed(&self) -> u32 {
        self.needs_directory() as u32 + self.needs_table() as u32
    }

    const fn needs_directory(&self) -> bool {
        matches!(self.leaf.level, Level::Page1G | Level::Root)
    }

    const fn needs_table(&self) -> bool {
        matches!(self.unit, Level::Page4K) && !matches!(self.leaf.level, Level::Page4K)
    }

    /// What is mapped there now.
    #[must_use]
    pub const fn leaf(&self) -> Leaf {
        self.leaf
    }

    /// Takes those pages. `None` if the source runs dry; what was taken until then is lost to it,
    /// so ask for it with [`Self::tables_needed`] first.
    #[must_use]
    pub fn take_tables(self, source: &mut impl TableSource) -> Option<Split> {
        let directory = if self.needs_directory() {
            Some(source.take()?)
        } else {
            None
        };
        let table = if self.needs_table() {
            Some(source.take()?)
        } else {
            None
        };
        Some(Split {
            plan: self,
            directory,
            table,
        })
    }
}

/// A split that has all it needs, for [`View::split`].
#[must_use = "it holds table pages"]
#[derive(Debug)]
pub struct Split {
    plan: SplitPlan,
    directory: Option<u64>,
    table: Option<u64>,
}

/// One view: a root table and what hangs below it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct View {
    root: u64,
    hidden_table: u64,
}

impl View {
    /// A view whose root table stands at physical address `root`; `hidden_table` is the page table
    /// that hidden chunks share.
    pub(super) const fn new(root: u64, hidden_table: u64) -> Self {
        Self { root, hidden_table }
    }

    /// The view whose root table is at `root`, to look at.
    #[cfg(any(test, feature = "fake"))]
    pub(crate) const fn at(root: u64) -> Self {
        Self::new(root, 0)
    }

    /// Physical address of the root table.
    #[must_use]
    pub const fn root(&self) -> u64 {
        self.root
    }

    /// What goes into the VMCS.
    #[must_use]
    pub const fn eptp(&self) -> u64 {
        eptp(self.root)
    }

    /// The entry that decides about `gpa`.
    #[must_use]
    pub fn walk(&self, mem: &impl PhysicalMemory, gpa: u64) -> Leaf {
        self.walk_to(mem, gpa, Level::Page4K)
    }

    /// The entry that decides about the page of `gpa`, as a 4 KiB leaf.
    #[must_use]
    pub fn leaf_4k(&self, mem: &impl PhysicalMemory, gpa: u64) -> Entry {
        let Leaf {
            mut entry,
            mut level,
            ..
        } = self.walk(mem, gpa);
        while let Some(below) = level.below() {
            let index = (gpa >> below.shift()) % ENTRIES;
            entry = entry.part(level, index);
            level = below;
        }
        entry
    }

    /// Like [`Self::walk`], but not below the tables of `last`.
    fn walk_to(&self, mem: &impl PhysicalMemory, gpa: u64, last: Level) -> Leaf {
        let mut table = self.root;
        let mut level = Level::Root;
        let mut is_shared = false;
        loop {
            let entry_phys = table + level.entry_offset(gpa);
            let entry = Entry(mem.read_u64(entry_phys));
            match level.below() {
                Some(below) if level > last && entry.is_table(level) => {
                    is_shared |= entry.is_shared();
                    table = entry.address();
                    level = below;
                }
                _ => {
                    return Leaf {
                        entry_phys,
                        entry,
                        level,
                        is_shared,
                    };
                }
            }
        }
    }

    /// What it takes to have a leaf of the size of `unit` (or a smaller one, if there are) for `gpa`;
    /// reads only. `None` where not everything is allowed that is not watched: where nothing is
    /// mapped, in the debugger's own memory, and in pages that [`Self::protect`] was applied to.
    #[must_use]
    pub fn plan_split(
        &self,
        mem: &impl PhysicalMemory,
        gpa: u64,
        unit: Level,
    ) -> Option<SplitPlan> {
        let leaf = self.walk(mem, gpa);
        let whole = leaf.entry.unwatched().permissions() == Permissions::all();
        (whole && !leaf.is_shared).then_some(SplitPlan { leaf, gpa, unit })
    }

    /// Carries out a split and returns the leaf, which still maps what it mapped before.
    pub fn split(&self, mem: &mut impl PhysicalMemory, split: Split) -> Leaf {
        let SplitPlan { leaf, gpa, .. } = split.plan;
        let mut leaf = leaf;
        let mut links = [(leaf.entry_phys, Entry::ABSENT); 2];
        for ((parent, link), table) in links.iter_mut().zip([split.directory, split.table]) {
            let (Some(table), Some(below)) = (table, leaf.level.below()) else {
                continue;
            };
            for index in 0..ENTRIES {
                mem.write_u64(table + index * 8, leaf.entry.part(leaf.level, index).0);
            }
            (*parent, *link) = (leaf.entry_phys, Entry::split_table(table));
            let entry_phys = table + below.entry_offset(gpa);
            leaf = Leaf {
                entry_phys,
                entry: Entry(mem.read_u64(entry_phys)),
                level: below,
                is_shared: false,
            };
        }
        // The lower link first: it is written into a table that nobody walks yet.
        for (parent, link) in links.into_iter().rev() {
            if link.is_present() {
                mem.write_u64(parent, link.0);
            }
        }
        leaf
    }

    /// Replaces the table below the entry of `level` for `gpa` by the leaf it was split from, if
    /// it was, and if its entries are parts of that leaf again. Returns the table page.
    #[must_use]
    pub fn merge(&self, mem: &mut impl PhysicalMemory, gpa: u64, level: Level) -> Option<u64> {
        let below = level.below()?;
        let at = self.walk_to(mem, gpa, level);
        if at.level != level || !at.entry.is_table(level) || !at.entry.is_split() {
            return None;
        }
        let table = at.entry.address();
        let whole = Entry::whole(Entry(mem.read_u64(table)), level)?;
        let is_whole = (0..ENTRIES).all(|index| {
            let entry = Entry(mem.read_u64(table + index * 8));
            entry == whole.part(level, index) && !entry.is_table(below)
        });
        if !is_whole {
            return None;
        }
        mem.write_u64(at.entry_phys, whole.0);
        Some(table)
    }

    /// Writes a leaf that a walk or a split returned.
    pub fn set_leaf(&self, mem: &mut impl PhysicalMemory, entry_phys: u64, entry: Entry) {
        mem.write_u64(entry_phys, entry.0);
    }

    /// Gives the 4 KiB page of `gpa` other permissions, for good. At boot, before any hook.
    ///
    /// # Errors
    /// [`Self::plan_split`] has no plan, or `source` has no table page; the view has not changed.
    pub fn protect(
        &self,
        mem: &mut impl PhysicalMemory,
        gpa: u64,
        permissions: Permissions,
        source: &mut impl TableSource,
    ) -> Result<(), NotEditable> {
        let plan = self
            .plan_split(mem, gpa, Level::Page4K)
            .ok_or(NotEditable)?;
        let split = plan.take_tables(source).ok_or(NotEditable)?;
        let leaf = self.split(mem, split);
        self.set_leaf(
            mem,
            leaf.entry_phys,
            leaf.entry.with_permissions(permissions),
        );
        Ok(())
    }

    /// Lets the 4 KiB page of `gpa` be what `entry` says, for good. At boot, before any hook; what
    /// is allowed there now does not matter.
    ///
    /// # Errors
    /// `source` has no table page; the view has not changed.
    pub fn replace(
        &self,
        mem: &mut impl PhysicalMemory,
        gpa: u64,
        entry: Entry,
        source: &mut impl TableSource,
    ) -> Result<(), NotEditable> {
        let plan = SplitPlan {
            leaf: self.walk(mem, gpa),
            gpa,
            unit: Level::Page4K,
        };
        let split = plan.take_tables(source).ok_or(NotEditable)?;
        let leaf = self.split(mem, split);
        self.set_leaf(mem, leaf.entry_phys, entry);
        Ok(())
    }

    /// Whether [`Self::hide_chunk`] can work on the chunk at `base`.
    #[must_use]
    pub fn can_hide_chunk(&self, mem: &impl PhysicalMemory, base: u64) -> bool {
        let at = self.walk_to(mem, base, Level::Page2M);
        at.entry.permissions() == Permissions::all() && !at.entry.is_table(at.level)
    }

    /// Hides the 2 MiB chunk at `base` from the guest, as the chunks known at boot are.
    ///
    /// # Errors
    /// It is not mapped by one large leaf (there is a hook in it, say), or `source` has no table
    /// page; the view has not changed.
    pub fn hide_chunk(
        &self,
        mem: &mut impl PhysicalMemory,
        base: u64,
        source: &mut impl TableSource,
    ) -> Result<(), NotEditable> {
        if !self.can_hide_chunk(mem, base) {
            return Err(NotEditable);
        }
        let mut at = self.walk_to(mem, base, Level::Page2M);
        if at.level == Level::Page1G {
            let directory = source.take().ok_or(NotEditable)?;
            for index in 0..ENTRIES {
                mem.write_u64(directory + index * 8, at.entry.part(at.level, index).0);
            }
            mem.write_u64(at.entry_phys, Entry::table(directory).0);
            at = self.walk_to(mem, base, Level::Page2M);
        }
        let hidden = Entry::shared_table(self.hidden_table);
        mem.write_u64(at.entry_phys, hidden.0);
        Ok(())
    }
}

/// An entry could not be given a table or a permission.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotEditable;
