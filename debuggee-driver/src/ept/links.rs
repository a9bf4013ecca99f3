//! Entries of the guest's own page tables: those that lead to what events watch in a process.
//!
//! The pages that such entries stand on are watched for writes, as a monitor watches, but nobody is served: after a write the
//! entries are compared with what they were. Several entries on a page share what watching it takes, one page
//! object. Changed with every core halted; looked at by all cores while the guest runs.

use crate::guest::walk;
use crate::pool::list::FixedList;
use crate::pool::slab::{CAPACITY, Reserved};
use crate::port::PhysicalMemory;
use wire_protocol::address::{EventId, GuestPhysical};
use wire_protocol::event::PoolClass;

/// Entries that can be followed. A page of a process is reached through four or five.
pub const LINKS_MAX: usize = 4096;

/// Pages of tables that can be watched: one page object each.
const TABLES_MAX: usize = *CAPACITY.get(PoolClass::Monitor) as usize;

/// An entry that leads to what an event watches.
#[derive(Clone, Copy, Debug)]
struct Link {
    at: GuestPhysical,
    event: EventId,
    /// Where it led when it was looked at last: see [`walk::leads_to`].
    seen: u64,
}

/// A page that has such entries.
#[derive(Debug)]
struct Table {
    page: GuestPhysical,
    object: Reserved,
}

/// See the module. Both lists are in ascending order of address.
#[derive(Debug)]
pub struct Links {
    links: FixedList<Link, LINKS_MAX>,
    tables: FixedList<Table, TABLES_MAX>,
}

impl Default for Links {
    fn default() -> Self {
        Self::new()
    }
}

impl Links {
    /// None.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            links: FixedList::new(),
            tables: FixedList::new(),
        }
    }

    /// Whether no event follows anything.
    #[must_use]
    #[inline]
    pub const fn is_empty(&self) -> bool {
        self.links.is_empty()
    }

    /// Whether another entry finds room.
    #[must_use]
    pub const fn has_room(&self) -> bool {
        self.links.len() < LINKS_MAX
    }

    /// Whether the page is watched for the entries on it.
    #[must_use]
    pub fn has_table(&self, page: GuestPhysical) -> bool {
        self.tables.find(&page, |table| table.page).is_ok()
    }

    /// Whether a page that is watched for its entries lies in a range.
    #[must_use]
    pub fn has_table_in(&self, start: GuestPhysical, len_bytes: u64) -> bool {
        let place = self.tables.place_where_not(|table| table.page < start);
        let next = self.tables.get(place);
        next.is_some_and(|next| next.page.0 - start.0 < len_bytes)
    }

    /// Watches a page for its entries; not twice.
    pub fn add_table(&mut self, page: GuestPhysical, object: Reserved) {
        if let Err(place) = self.tables.find(&page, |table| table.page) {
            let inserted = self.tables.insert(place, Table { page, object });
            debug_assert!(inserted.is_ok(), "as many tables as page objects");
        }
    }

    /// Follows the entry at `at` for an event, as it is now. One that it follows already it does not follow twice.
    pub fn add(&mut self, mem: &impl PhysicalMemory, at: GuestPhysical, event: EventId) {
        if let Err(place) = self.links.find(&(at, event), |link| (link.at, link.event)) {
            let seen = walk::leads_to(mem.read_u64(at.0));
            let inserted = self.links.insert(place, Link { at, event, seen });
            debug_assert!(inserted.is_ok(), "there was room");
        }
    }

    /// Lets an event follow one entry less; `None` if it follows none. With the last entry on a page, the page and
    /// its object come back.
    pub fn take(&mut self, event: EventId) -> Option<Option<(GuestPhysical, Reserved)>> {
        let place = self.links.iter().position(|link| link.event == event)?;
        let page = self.links.remove(place)?.at.page();
        if self.on(page).next().is_some() {
            return Some(None);
        }
        let place = self.tables.find(&page, |table| table.page).ok();
        let table = place.and_then(|place| self.tables.remove(place));
        Some(table.map(|table| (table.page, table.object)))
    }

    /// Whether an entry on the page leads elsewhere than when it was looked at.
    #[must_use]
    pub fn is_changed(&self, mem: &impl PhysicalMemory, page: GuestPhysical) -> bool {
        self.on(page).any(|link| link.is_changed(mem))
    }

    /// An event that follows an entry which leads elsewhere than when it was looked at.
    #[must_use]
    pub fn first_changed(&self, mem: &impl PhysicalMemory) -> Option<EventId> {
        let mut links = self.links.iter();
        links
            .find(|link| link.is_changed(mem))
            .map(|link| link.event)
    }

    fn on(&self, page: GuestPhysical) -> impl Iterator<Item = &Link> {
        let place = self.links.place_where_not(|link| link.at < page);
        self.links
            .iter_from(place)
            .take_while(move |link| link.at.page() == page)
    }
}

impl Link {
    fn is_changed(&self, mem: &impl PhysicalMemory) -> bool {
        walk::leads_to(mem.read_u64(self.at.0)) != self.seen
    }
}
