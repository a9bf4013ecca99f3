//! What is installed: one record per event, in ascending order of number. Changed with every
//! core halted; while the guest runs, cores only look records up and count hits.

use super::programs::Stored;
use crate::pool::list::FixedList;
use crate::pool::slab::{EVENTS_MAX, Reserved};
use core::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use wire_protocol::address::{EventId, GuestPhysical};
use wire_protocol::event::{EventEntry, ProgramSizes, Settings};

/// An installed event.
#[derive(Debug)]
pub struct Record {
    /// Its number.
    pub id: EventId,
    /// What was asked for.
    pub settings: Settings,
    /// How big its programs are.
    pub sizes: ProgramSizes,
    /// Disabled events do nothing.
    pub enabled: bool,
    /// The event object; its page object, if it has one, is with the page.
    pub object: Reserved,
    /// The safe buffer, if it has one.
    pub buffer: Option<Reserved>,
    /// The programs in the event object.
    pub programs: Stored,
    /// Where its hook is, if its trigger has one.
    pub hook: Option<GuestPhysical>,
    hits: AtomicU64,
    /// The halt before which it reported a failure last.
    reported: AtomicU32,
    /// Hits at the last report, and at the one before.
    last_hits: AtomicU64,
    previous_hits: AtomicU64,
}

impl Record {
    /// A new, enabled event.
    #[must_use]
    pub const fn new(
        id: EventId,
        settings: Settings,
        sizes: ProgramSizes,
        objects: (Reserved, Option<Reserved>),
        programs: Stored,
        hook: Option<GuestPhysical>,
    ) -> Self {
        let (object, buffer) = objects;
        Self {
            id,
            settings,
            sizes,
            enabled: true,
            object,
            buffer,
            programs,
            hook,
            hits: AtomicU64::new(0),
            reported: AtomicU32::new(0),
            last_hits: AtomicU64::new(0),
            previous_hits: AtomicU64::new(0),
        }
    }

    /// Counts a hit. By any core, at any time.
    pub fn count_hit(&self) {
        self.hits.fetch_add(1, Ordering::Relaxed);
    }

    /// Whether a failure is the first one before the halt of this number. By any core.
    pub fn reports_first_of(&self, halt: u32) -> bool {
        self.reported.swap(halt, Ordering::Relaxed) != halt
    }

    /// Hits so far.
    #[must_use]
    pub fn hits(&self) -> u64 {
        self.hits.load(Ordering::Relaxed)
    }

    /// As `events` lists it.
    #[must_use]
    pub fn entry(&self) -> EventEntry {
        EventEntry {
            id: self.id,
            settings: self.settings,
            sizes: self.sizes,
            enabled: self.enabled,
            hits: self.hits(),
        }
    }
}

/// All records.
#[derive(Debug, Default)]
pub struct Registry {
    records: FixedList<Record, EVENTS_MAX>,
    next_id: u32,
}

impl Registry {
    /// No events.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            records: FixedList::new(),
            next_id: 0,
        }
    }

    /// Events installed, enabled or not.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.records.len()
    }

    /// Whether nothing is installed.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.records.is_empty()
    }

    /// The number that the next event gets.
    #[must_use]
    pub const fn next_id(&self) -> EventId {
        EventId(self.next_id)
    }

    /// The record of an event.
    #[must_use]
    pub fn get(&self, id: EventId) -> Option<&Record> {
        self.records.get(self.place(id).ok()?)
    }

    /// All events in ascending order of number.
    pub fn entries(&self) -> impl Iterator<Item = EventEntry> {
        self.records.iter().map(Record::entry)
    }

    /// Records in ascending order of number.
    pub fn records(&self) -> impl DoubleEndedIterator<Item = &Record> {
        self.records.iter()
    }

    /// Takes note of all hits so far, at the start of a halt, by the core that serves it.
    pub fn begin_report(&self) {
        for record in self.records.iter() {
            let last = record.last_hits.swap(record.hits(), Ordering::Relaxed);
            record.previous_hits.store(last, Ordering::Relaxed);
        }
    }

    /// Events that matched between the last two calls of [`Self::begin_report`], with their hits
    /// at the later one.
    pub fn hits_since_last_stop(&self) -> impl Iterator<Item = (EventId, u64)> {
        self.records.iter().filter_map(|record| {
            let last = record.last_hits.load(Ordering::Relaxed);
            let previous = record.previous_hits.load(Ordering::Relaxed);
            (last != previous).then_some((record.id, last))
        })
    }

    /// The event with the highest number, below `limit` if there is one.
    pub(super) fn newest_below(&self, limit: Option<EventId>) -> Option<EventId> {
        let place = match limit {
            Some(limit) => self.records.place_where_not(|record| record.id < limit),
            None => self.records.len(),
        };
        let record = self.records.get(place.checked_sub(1)?)?;
        Some(record.id)
    }

    /// Adds the event that has the number [`Self::next_id`]. There is a place for every event
    /// object.
    pub(super) fn push(&mut self, record: Record) {
        debug_assert!(record.id == self.next_id());
        let inserted = self.records.insert(self.records.len(), record);
        debug_assert!(inserted.is_ok(), "as many records as event objects");
        self.next_id = self.next_id.wrapping_add(1);
    }

    pub(super) fn remove(&mut self, id: EventId) -> Option<Record> {
        self.records.remove(self.place(id).ok()?)
    }

    pub(super) fn get_mut(&mut self, id: EventId) -> Option<&mut Record> {
        let place = self.place(id).ok()?;
        self.records.get_mut(place)
    }

    /// Takes numbers back that were given to events which are gone and which nobody heard of.
    pub(super) fn reuse_ids_from(&mut self, id: EventId) {
        self.next_id = id.0;
    }

    fn place(&self, id: EventId) -> Result<usize, usize> {
        self.records.find(&id, |record| record.id)
    }
}
