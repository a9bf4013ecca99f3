//! Which events wait for a value, such as a CPUID leaf: an ordered list, so that a lookup does
//! not grow with the number of events.

use crate::pool::list::FixedList;
use crate::pool::slab::EVENTS_MAX;
use wire_protocol::address::EventId;

/// What an event waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Key {
    /// This value.
    Value(u32),
    /// Any value.
    Any,
}

impl From<Option<u32>> for Key {
    fn from(value: Option<u32>) -> Self {
        value.map_or(Self::Any, Self::Value)
    }
}

/// Events by key, of events with the same key the oldest first.
#[derive(Debug, Default)]
pub struct Index {
    entries: FixedList<(Key, EventId), EVENTS_MAX>,
}

impl Index {
    /// No events.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            entries: FixedList::new(),
        }
    }

    /// Adds an event. There is room for every event that can be.
    pub fn add(&mut self, key: Key, event: EventId) {
        if let Err(place) = self.entries.find(&(key, event), |entry| *entry) {
            let inserted = self.entries.insert(place, (key, event));
            debug_assert!(inserted.is_ok(), "as many entries as events");
        }
    }

    /// Removes an event.
    pub fn remove(&mut self, key: Key, event: EventId) {
        if let Ok(place) = self.entries.find(&(key, event), |entry| *entry) {
            self.entries.remove(place);
        }
    }

    /// Events that wait for `value`, and then those that wait for any.
    pub fn matching(&self, value: u32) -> impl Iterator<Item = EventId> {
        self.with_key(Key::Value(value))
            .chain(self.with_key(Key::Any))
    }

    /// Whether nothing is waited for.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    fn with_key(&self, key: Key) -> impl Iterator<Item = EventId> {
        let place = self.entries.place_where_not(|entry| entry.0 < key);
        self.entries
            .iter_from(place)
            .take_while(move |entry| entry.0 == key)
            .map(|entry| entry.1)
    }
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;
    use std::boxed::Box;
    use std::vec::Vec;

    #[test]
    fn a_value_matches_its_own_events_and_those_for_any() {
        let mut index = Box::new(Index::new());
        index.add(Key::Any, EventId(0));
        index.add(Key::Value(7), EventId(2));
        index.add(Key::Value(7), EventId(1));
        index.add(Key::Value(8), EventId(3));
        let sevens: Vec<u32> = index.matching(7).map(|event| event.0).collect();
        assert_eq!(sevens, [1, 2, 0]);
        index.remove(Key::Any, EventId(0));
        index.remove(Key::Value(7), EventId(9));
        let nines = index.matching(9).count();
        assert_eq!(nines, 0);
        assert!(!index.is_empty());
    }
}
