//! What is installed: one record per event. Changed with every core halted; while the guest runs,
//! cores only look records up, count hits, and let events begin or cease to act.

use super::owner::Owner;
use super::programs::StoredPrograms;
use crate::pool::list::FixedList;
use crate::pool::slab::{EVENTS_MAX, Reserved};
use core::sync::atomic::{AtomicU8, AtomicU32, AtomicU64, Ordering};
use wire_protocol::address::{EventId, GuestPhysical};
use wire_protocol::event::{
    Actions, ConditionKind, EventChange, EventEntry, Lifetime, ProgramSizes, Settings, Standing,
    Trigger,
};

/// An installed event.
#[derive(Debug)]
pub struct Record {
    /// Its number.
    pub id: EventId,
    /// Its place in the registry.
    pub place: u16,
    /// What was asked for.
    pub settings: Settings,
    /// How big its programs are.
    pub sizes: ProgramSizes,
    /// The programs in the event object.
    pub programs: StoredPrograms,
    /// The event object; its page object, if it has one, is with the page.
    pub object: Reserved,
    /// Its safe buffer, if it has one.
    pub buffer: Option<Reserved>,
    /// Where its hook is, if its trigger has one, and if its address leads anywhere.
    pub hook: Option<GuestPhysical>,
    /// Whose memory it watches, if somebody can give it back.
    pub owner: Option<Owner>,
    /// Nothing but scripts decides about a hit before it takes effect: see [`is_plain`].
    pub is_plain: bool,
    /// [`ENABLED`] and [`STALE`].
    state: AtomicU8,
    /// A [`Standing`].
    standing: AtomicU8,
    hits: AtomicU64,
    /// Passes that a breakpoint is still to let by.
    passes_left: AtomicU32,
    /// What a script wants done with it in a halt: a number of [`wanted`].
    wanted: AtomicU8,
    /// The halt before which it reported a failure last.
    reported: AtomicU32,
    /// Hits at the last report, and at the one before.
    last_hits: AtomicU64,
    previous_hits: AtomicU64,
}

/// Bit of [`Record::state`]: the event is to act.
const ENABLED: u8 = 1;
/// Bit of [`Record::state`]: it cannot, see [`Standing::is_stale`].
const STALE: u8 = 2;

/// Values of [`Record::wanted`].
mod wanted {
    pub(super) const NOTHING: u8 = 0;
    /// What the event does to the guest follows whether it is enabled.
    pub(super) const FOLLOW: u8 = 1;
    pub(super) const CLEAR: u8 = 2;
}

/// What a new record is made of.
#[derive(Debug)]
pub struct NewRecord {
    /// See [`Record::settings`].
    pub settings: Settings,
    /// See [`Record::sizes`].
    pub sizes: ProgramSizes,
    /// See [`Record::programs`].
    pub programs: StoredPrograms,
    /// See [`Record::object`].
    pub object: Reserved,
    /// See [`Record::buffer`].
    pub buffer: Option<Reserved>,
    /// See [`Record::hook`].
    pub hook: Option<GuestPhysical>,
    /// See [`Record::owner`].
    pub owner: Option<Owner>,
}

/// Whether an event concerns everyone, has scripts but no machine code, and runs them before what is
/// watched takes effect, if not after as well.
const fn is_plain(new: &NewRecord) -> bool {
    let Settings {
        trigger,
        filter,
        actions,
        options,
        ..
    } = &new.settings;
    let asks_more = matches!(
        trigger,
        Trigger::Syscall { .. }
            | Trigger::Sysret { .. }
            | Trigger::CrWrite { .. }
            | Trigger::Mode { .. }
            | Trigger::Trace { .. }
    );
    let runs = match new.sizes.condition {
        ConditionKind::Always => actions.contains(Actions::SCRIPT),
        ConditionKind::Script => true,
        ConditionKind::Code => false,
    };
    runs && !asks_more
        && filter.pid.is_none()
        && filter.tid.is_none()
        && filter.core.is_none()
        && !actions.contains(Actions::CODE)
        && options.stage.has_pre()
}

impl Record {
    const fn new(id: EventId, place: u16, new: NewRecord) -> Self {
        let is_plain = is_plain(&new);
        let passes = match new.settings.breakpoint {
            Some(breakpoint) => breakpoint.first_pass.saturating_sub(1),
            None => 0,
        };
        Self {
            id,
            place,
            settings: new.settings,
            sizes: new.sizes,
            programs: new.programs,
            object: new.object,
            buffer: new.buffer,
            hook: new.hook,
            owner: new.owner,
            is_plain,
            state: AtomicU8::new(ENABLED),
            standing: AtomicU8::new(Standing::Active.to_wire()),
            hits: AtomicU64::new(0),
            passes_left: AtomicU32::new(passes),
            wanted: AtomicU8::new(wanted::NOTHING),
            reported: AtomicU32::new(0),
            last_hits: AtomicU64::new(0),
            previous_hits: AtomicU64::new(0),
        }
    }

    /// Whether it is to act; it may be stale all the same.
    #[must_use]
    pub fn is_enabled(&self) -> bool {
        self.state.load(Ordering::Relaxed) & ENABLED != 0
    }

    /// Whether it acts: it is enabled, and not stale.
    #[must_use]
    #[inline]
    pub fn acts(&self) -> bool {
        self.state.load(Ordering::Relaxed) == ENABLED
    }

    /// How it stands to the code that it hooks.
    #[must_use]
    pub fn standing(&self) -> Standing {
        let number = self.standing.load(Ordering::Relaxed);
        Standing::from_wire(number).unwrap_or(Standing::Replaced)
    }

    /// It stands otherwise from now on. By the core that copies pages into their shadows.
    pub fn set_standing(&self, standing: Standing) {
        self.standing.store(standing.to_wire(), Ordering::Relaxed);
        self.set_bit(STALE, standing.is_stale());
    }

    fn set_bit(&self, bit: u8, is_set: bool) {
        if is_set {
            self.state.fetch_or(bit, Ordering::Relaxed);
        } else {
            self.state.fetch_and(!bit, Ordering::Relaxed);
        }
    }

    /// Lets the event act, or not, from now on. By any core, at any time; what the event does to
    /// the guest is taken back or done again only by `Installed::change`.
    pub fn set_enabled(&self, enabled: bool) {
        self.set_bit(ENABLED, enabled);
    }

    /// Counts a hit for which all that the event asks for holds; whether the event acts then. By any core, at any time.
    #[must_use]
    #[inline]
    pub fn counts_and_acts(&self) -> bool {
        self.count_hit();
        !self.lets_by()
    }

    /// Counts a hit. By any core, at any time.
    pub fn count_hit(&self) {
        self.hits.fetch_add(1, Ordering::Relaxed);
    }

    /// Whether it is a breakpoint that is gone when it has halted.
    #[must_use]
    pub fn halts_once(&self) -> bool {
        self.settings.lifetime() == Lifetime::UntilItHalts
    }

    /// Whether it is a breakpoint with a pass to let by. By any core, at any time.
    #[must_use]
    #[inline]
    pub fn skips_passes(&self) -> bool {
        self.passes_left.load(Ordering::Relaxed) != 0
    }

    /// Lets a pass by; false if there is none left to let by, and the event acts. By any core, at any time: of cores
    /// that come at once each takes another pass.
    #[must_use]
    #[inline]
    pub fn lets_by(&self) -> bool {
        let fewer = |left: u32| left.checked_sub(1);
        self.passes_left
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, fewer)
            .is_ok()
    }

    /// Remembers what a script wants done, besides what [`Self::set_enabled`] does at once. By any
    /// core, at any time; a clear outlasts all else.
    pub fn want(&self, change: EventChange) {
        let number = match change {
            EventChange::Enable | EventChange::Disable => wanted::FOLLOW,
            EventChange::Clear => wanted::CLEAR,
        };
        self.wanted.fetch_max(number, Ordering::Relaxed);
    }

    /// Whether [`Self::want`] remembers something that was not carried out yet.
    pub(super) fn is_wanted_otherwise(&self) -> bool {
        self.wanted.load(Ordering::Relaxed) != wanted::NOTHING
    }

    /// A breakpoint that has halted is set again, before anybody cleared it.
    pub(super) fn renew(&self) {
        if self.halts_once() {
            self.wanted.store(wanted::NOTHING, Ordering::Relaxed);
        }
    }

    /// Takes what [`Self::want`] remembered.
    pub(super) fn take_wanted(&self) -> Option<EventChange> {
        match self.wanted.swap(wanted::NOTHING, Ordering::Relaxed) {
            wanted::FOLLOW if self.is_enabled() => Some(EventChange::Enable),
            wanted::FOLLOW => Some(EventChange::Disable),
            wanted::CLEAR => Some(EventChange::Clear),
            _ => None,
        }
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
            enabled: self.is_enabled(),
            standing: self.standing(),
            hits: self.hits(),
        }
    }
}

/// All records. A record keeps its place as long as it lives.
#[derive(Debug)]
pub struct Registry {
    records: [Option<Record>; EVENTS_MAX],
    /// Places that were used and are free again; behind them those that were never used.
    freed: FixedList<u16, EVENTS_MAX>,
    never_used: u16,
    /// In ascending order of number.
    order: FixedList<(EventId, u16), EVENTS_MAX>,
    next_id: u32,
}

impl Default for Registry {
    fn default() -> Self {
        Self::new()
    }
}

impl Registry {
    /// No events.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            records: [const { None }; EVENTS_MAX],
            freed: FixedList::new(),
            never_used: 0,
            order: FixedList::new(),
            next_id: 0,
        }
    }

    /// Events installed, enabled or not.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.order.len()
    }

    /// Whether nothing is installed.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.order.is_empty()
    }

    /// The number that the next event gets.
    #[must_use]
    pub const fn next_id(&self) -> EventId {
        EventId(self.next_id)
    }

    /// The record of an event.
    #[must_use]
    pub fn get(&self, id: EventId) -> Option<&Record> {
        self.at(self.place(id)?)
    }

    /// The record of an event, to be changed.
    pub(super) fn get_mut(&mut self, id: EventId) -> Option<&mut Record> {
        let place = self.place(id)?;
        self.records.get_mut(usize::from(place))?.as_mut()
    }

    /// The record at a place.
    #[must_use]
    pub fn at(&self, place: u16) -> Option<&Record> {
        self.records.get(usize::from(place))?.as_ref()
    }

    /// The record of an event that was seen at this place before.
    #[must_use]
    pub fn seen_at(&self, place: u16, id: EventId) -> Option<&Record> {
        self.at(place).filter(|record| record.id == id)
    }

    /// All events in ascending order of number.
    pub fn entries(&self) -> impl Iterator<Item = EventEntry> {
        let listed = |record: &&Record| !record.settings.is_interception();
        self.records().filter(listed).map(Record::entry)
    }

    /// Records in ascending order of number.
    pub fn records(&self) -> impl DoubleEndedIterator<Item = &Record> {
        self.order.iter().filter_map(|(_, place)| self.at(*place))
    }

    /// Takes note of all hits so far, at the start of a halt, by the core that serves it.
    pub fn begin_report(&self) {
        for record in self.records() {
            let last = record.last_hits.swap(record.hits(), Ordering::Relaxed);
            record.previous_hits.store(last, Ordering::Relaxed);
        }
    }

    /// Events that matched between the last two calls of [`Self::begin_report`], with their hits
    /// at the later one.
    pub fn hits_since_last_stop(&self) -> impl Iterator<Item = (EventId, u64)> {
        let listed = |record: &&Record| !record.settings.is_interception();
        self.records().filter(listed).filter_map(|record| {
            let last = record.last_hits.load(Ordering::Relaxed);
            let previous = record.previous_hits.load(Ordering::Relaxed);
            (last != previous).then_some((record.id, last))
        })
    }

    /// The event with the highest number, below `limit` if there is one.
    pub(super) fn newest_below(&self, limit: Option<EventId>) -> Option<EventId> {
        let place = match limit {
            Some(limit) => self.order.place_where_not(|(id, _)| *id < limit),
            None => self.order.len(),
        };
        let (id, _) = self.order.get(place.checked_sub(1)?)?;
        Some(*id)
    }

    /// Adds the event that gets the number [`Self::next_id`], and returns its place. There is one
    /// for every event object.
    pub(super) fn push(&mut self, new: NewRecord) -> u16 {
        let id = self.next_id();
        let last_freed = self.freed.len().checked_sub(1);
        let place = match last_freed.and_then(|last| self.freed.remove(last)) {
            Some(place) => place,
            None => {
                let place = self.never_used;
                self.never_used += 1;
                place
            }
        };
        let slot = self.records.get_mut(usize::from(place));
        debug_assert!(slot.is_some(), "as many records as event objects");
        if let Some(slot) = slot {
            *slot = Some(Record::new(id, place, new));
            let inserted = self.order.insert(self.order.len(), (id, place));
            debug_assert!(inserted.is_ok(), "as many as records");
            self.next_id = self.next_id.wrapping_add(1);
        }
        place
    }

    /// Takes a record out; its place may be given to another one.
    pub(super) fn remove(&mut self, id: EventId) -> Option<(u16, Record)> {
        let (_, place) = self.order.remove(self.order_of(id)?)?;
        let record = self.records.get_mut(usize::from(place))?.take()?;
        let inserted = self.freed.insert(self.freed.len(), place);
        debug_assert!(inserted.is_ok(), "as many as places");
        Some((place, record))
    }

    /// Takes numbers back that were given to events which are gone and which nobody heard of.
    pub(super) fn reuse_ids_from(&mut self, id: EventId) {
        self.next_id = id.0;
    }

    /// Takes the number of the newest event back, which is gone and which nobody heard of.
    pub(super) const fn reuse_id(&mut self, id: EventId) {
        if id.0.wrapping_add(1) == self.next_id {
            self.next_id = id.0;
        }
    }

    /// Where the record of an event is.
    #[must_use]
    pub fn place(&self, id: EventId) -> Option<u16> {
        let (_, place) = self.order.get(self.order_of(id)?)?;
        Some(*place)
    }

    fn order_of(&self, id: EventId) -> Option<usize> {
        // Numbers without gaps, which is most often so, need no search.
        let (oldest, _) = self.order.get(0)?;
        let place = id.0.checked_sub(oldest.0)? as usize;
        match self.order.get(place) {
            Some((found, _)) if *found == id => Some(place),
            _ => self.order.find(&id, |(id, _)| *id).ok(),
        }
    }
}
