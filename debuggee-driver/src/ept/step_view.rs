//! A core's own view, in which it carries out one instruction that touches watched pages.
//!
//! It is the hooked view with single pages opened: each page that the instruction touches, as soon as the
//! events that watch it were served. All other pages are watched as ever, so an instruction
//! that touches several of them is seen at each one. Used in VMX-root by the core it belongs to.
//!
//! Tables are shared with the hooked view; those on the way to an opened page are copied
//! first, and the copies are kept for the next step. A commit may change what was copied, so
//! the view begins anew after each.

use super::entry::{ENTRIES, Entry, Level, Permissions};
use super::view::Views;
use super::watch::Watches;
use crate::port::PhysicalMemory;
use wire_protocol::address::GuestPhysical;

/// Tables below the root that a view can copy: stretches of 2 MiB in which pages are open, and what leads there.
pub const TABLES: usize = 15;

/// Pages of one core: the root and the tables below.
pub const PAGES: usize = 1 + TABLES;

/// Pages that one instruction may open.
pub const OPEN_MAX: usize = 24;

/// How a page is open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Opening {
    /// What may be done in addition to what is not watched.
    pub granted: Permissions,
    /// The page itself is seen, not its shadow.
    pub original: bool,
}

/// A page that is open.
#[derive(Clone, Copy, Debug)]
struct Open {
    page: GuestPhysical,
    how: Opening,
    /// Where its leaf stands, and what stood there.
    entry_phys: u64,
    closed: Entry,
}

/// How many pages are remembered that were open.
const PREPARED: usize = 4;

/// A page that was open since the last commit, and the leaf that it had: it has the same one when
/// it is opened in the same way again.
#[derive(Clone, Copy, Debug)]
struct Prepared {
    page: GuestPhysical,
    how: Opening,
    entry_phys: u64,
    closed: Entry,
    leaf: Entry,
}

/// What a page that is opened is made of. `generation` numbers the last commit.
#[derive(Clone, Copy, Debug)]
pub struct Sources<'a> {
    /// The shared views.
    pub views: &'a Views,
    /// What is watched.
    pub watches: &'a Watches,
    /// Number of the last commit.
    pub generation: u64,
}

impl Sources<'_> {
    /// The leaf that a page has while it is open.
    fn leaf(&self, mem: &impl PhysicalMemory, page: GuestPhysical, how: Opening) -> Entry {
        let closed = self.views.hooked.leaf_4k(mem, page.0);
        if !closed.is_watched() {
            // The debugger's own memory, which the clean view replaces, or nobody watches it any more.
            return self.views.clean.leaf_4k(mem, page.0);
        }
        if !how.original {
            return closed.with_permissions(closed.permissions() | how.granted);
        }
        let seen = self.watches.unhooked(closed, page);
        let mut permissions = seen.permissions();
        if self.watches.is_shadowed(page) {
            // A write has to be noticed, as the shadow follows it.
            permissions -= Permissions::WRITE;
        }
        permissions |= how.granted | closed.permissions() & Permissions::EXECUTE;
        if permissions.contains(Permissions::WRITE) {
            permissions |= Permissions::READ;
        }
        seen.with_permissions(permissions)
    }
}

/// See the module.
#[derive(Debug)]
pub struct StepView {
    pages: [u64; PAGES],
    /// Tables of `pages`, after the root, that are in use.
    used: usize,
    /// The page table that was written last, and the 2 MiB that it maps.
    last: Option<(u64, u64)>,
    /// The commit whose tables were copied.
    generation: Option<u64>,
    open: [Option<Open>; OPEN_MAX],
    /// Those of the commit whose tables were copied.
    prepared: [Option<Prepared>; PREPARED],
    /// The place of the next one.
    next_prepared: usize,
}

impl StepView {
    /// A view made of pages that nobody else uses, the first of which is the root.
    #[must_use]
    pub const fn new(pages: [u64; PAGES]) -> Self {
        Self {
            pages,
            used: 0,
            last: None,
            generation: None,
            open: [None; OPEN_MAX],
            prepared: [None; PREPARED],
            next_prepared: 0,
        }
    }

    /// What goes into the VMCS.
    #[must_use]
    pub const fn eptp(&self) -> u64 {
        let [root, ..] = self.pages;
        super::entry::eptp(root)
    }

    /// How a page is open, if it is.
    #[must_use]
    #[inline(always)]
    pub fn how(&self, page: GuestPhysical) -> Option<Opening> {
        // Most cores have none open.
        let [Some(_), ..] = self.open else {
            return None;
        };
        self.find_open(page)
    }

    #[inline(never)]
    fn find_open(&self, page: GuestPhysical) -> Option<Opening> {
        let found = self.opened().find(|(open, _)| *open == page);
        found.map(|(_, how)| how)
    }

    /// Pages that are open, and how.
    pub fn opened(&self) -> impl Iterator<Item = (GuestPhysical, Opening)> {
        // Used places come first.
        let open = self.open.iter().map_while(Option::as_ref);
        open.map(|open| (open.page, open.how))
    }

    /// Opens a page, or opens it further. False if an instruction needs more pages or tables than there
    /// are.
    #[must_use]
    #[inline]
    pub fn open(
        &mut self,
        mem: &mut impl PhysicalMemory,
        sources: &Sources<'_>,
        page: GuestPhysical,
        how: Opening,
    ) -> bool {
        self.reopen(mem, sources.generation, page, how) || self.open_anew(mem, sources, page, how)
    }

    #[inline(never)]
    fn open_anew(
        &mut self,
        mem: &mut impl PhysicalMemory,
        sources: &Sources<'_>,
        page: GuestPhysical,
        how: Opening,
    ) -> bool {
        // Used places come first.
        let matches = |open: &Option<Open>| open.is_none_or(|open| open.page == page);
        let Some(place) = self.open.iter().position(matches) else {
            return false;
        };
        let before = self.open.get(place).copied().flatten();
        let how = before.map_or(how, |before| Opening {
            granted: before.how.granted | how.granted,
            original: before.how.original || how.original,
        });
        let is_current = self.generation == Some(sources.generation);
        let leaf = sources.leaf(mem, page, how);
        let written = is_current.then(|| self.write(mem, page, leaf)).flatten();
        if let (Some((entry_phys, closed)), None) = (written, before) {
            self.remember(Prepared {
                page,
                how,
                entry_phys,
                closed,
                leaf,
            });
        }
        let (entry_phys, found) = written.unwrap_or((0, Entry::ABSENT));
        let open = Open {
            page,
            how,
            entry_phys,
            closed: before.map_or(found, |before| before.closed),
        };
        if let Some(slot) = self.open.get_mut(place) {
            *slot = Some(open);
        }
        written.is_some() || self.begin_anew(mem, sources)
    }

    /// Opens the first page of an instruction as it was open before, if nothing was committed since. False: it
    /// was not, and nothing was done.
    #[must_use]
    #[inline]
    pub fn reopen(
        &mut self,
        mem: &mut impl PhysicalMemory,
        generation: u64,
        page: GuestPhysical,
        how: Opening,
    ) -> bool {
        if self.generation != Some(generation) {
            return false;
        }
        let [first @ None, ..] = &mut self.open else {
            return false;
        };
        let same = |known: &&Prepared| known.page == page && known.how == how;
        let Some(known) = self.prepared.iter().flatten().find(same) else {
            return false;
        };
        mem.write_u64(known.entry_phys, known.leaf.0);
        *first = Some(Open {
            page,
            how,
            entry_phys: known.entry_phys,
            closed: known.closed,
        });
        true
    }

    fn remember(&mut self, page: Prepared) {
        if let Some(slot) = self.prepared.get_mut(self.next_prepared % PREPARED) {
            *slot = Some(page);
        }
        self.next_prepared = (self.next_prepared + 1) % PREPARED;
    }

    /// Follows the commits since pages were opened. False if there are too few tables.
    #[must_use]
    pub fn follow(&mut self, mem: &mut impl PhysicalMemory, sources: &Sources<'_>) -> bool {
        self.generation == Some(sources.generation) || self.begin_anew(mem, sources)
    }

    /// Closes all pages, and tells which they were and how they were open. The processor may remember them: the
    /// caller invalidates what it derived from this view before it is used again.
    #[inline]
    pub fn close(
        &mut self,
        mem: &mut impl PhysicalMemory,
        mut on_closed: impl FnMut(GuestPhysical, Opening),
    ) {
        for place in &mut self.open {
            let Some(open) = place.take() else {
                break;
            };
            if open.entry_phys != 0 {
                mem.write_u64(open.entry_phys, open.closed.0);
            }
            on_closed(open.page, open.how);
        }
    }

    /// Forgets the copies and opens what is open again.
    fn begin_anew(&mut self, mem: &mut impl PhysicalMemory, sources: &Sources<'_>) -> bool {
        let [root, ..] = self.pages;
        let hooked = sources.views.hooked.root();
        for index in 0..ENTRIES {
            let entry = mem.read_u64(hooked + index * 8);
            mem.write_u64(root + index * 8, entry);
        }
        self.used = 0;
        self.last = None;
        self.prepared = [None; PREPARED];
        self.generation = Some(sources.generation);
        let mut all_open = true;
        for place in 0..OPEN_MAX {
            let Some(open) = self.open.get(place).copied().flatten() else {
                break;
            };
            let leaf = sources.leaf(mem, open.page, open.how);
            let written = self.write(mem, open.page, leaf);
            all_open &= written.is_some();
            let (entry_phys, closed) = written.unwrap_or((0, Entry::ABSENT));
            if let Some(slot) = self.open.get_mut(place) {
                *slot = Some(Open {
                    entry_phys,
                    closed,
                    ..open
                });
            }
        }
        all_open
    }

    /// Writes the leaf of a page, in copies of the tables that lead there. Returns where it
    /// stands and what stood there; `None` if there are too few tables.
    fn write(
        &mut self,
        mem: &mut impl PhysicalMemory,
        page: GuestPhysical,
        leaf: Entry,
    ) -> Option<(u64, Entry)> {
        let stretch = page.0 & !(Level::Page2M.bytes() - 1);
        let table = match self.last {
            Some((last, table)) if last == stretch => table,
            _ => self.page_table(mem, page)?,
        };
        self.last = Some((stretch, table));
        let entry_phys = table + Level::Page4K.entry_offset(page.0);
        let before = Entry(mem.read_u64(entry_phys));
        mem.write_u64(entry_phys, leaf.0);
        Some((entry_phys, before))
    }

    /// The copy of the page table for a page.
    fn page_table(&mut self, mem: &mut impl PhysicalMemory, page: GuestPhysical) -> Option<u64> {
        let [mut table, ..] = self.pages;
        let mut level = Level::Root;
        while let Some(below) = level.below() {
            let link = table + level.entry_offset(page.0);
            let entry = Entry(mem.read_u64(link));
            table = if entry.is_table(level) && self.is_copy(entry.address()) {
                entry.address()
            } else {
                self.copy(mem, link, entry, level)?
            };
            level = below;
        }
        Some(table)
    }

    fn is_copy(&self, table: u64) -> bool {
        let copies = self.pages.get(1..=self.used).unwrap_or_default();
        copies.contains(&table)
    }

    /// Puts a copy of what an entry leads to in its place.
    fn copy(
        &mut self,
        mem: &mut impl PhysicalMemory,
        link: u64,
        entry: Entry,
        level: Level,
    ) -> Option<u64> {
        let copy = self.pages.get(self.used + 1).copied()?;
        self.used += 1;
        for index in 0..ENTRIES {
            let part = if entry.is_table(level) {
                mem.read_u64(entry.address() + index * 8)
            } else {
                entry.part(level, index).0
            };
            mem.write_u64(copy + index * 8, part);
        }
        mem.write_u64(link, Entry::table(copy).0);
        Some(copy)
    }
}
