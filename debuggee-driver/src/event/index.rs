//! Which events wait for an occasion: ordered arrays, so that a lookup does not grow with the
//! number of events.

use super::occasion::{Key, Kind, Occasion};
use crate::pool::slab::EVENTS_MAX;

/// Kind in the top byte, value below.
const KIND_SHIFT: u32 = 56;
/// Stands behind all values of a kind.
const ANY: u64 = (1 << KIND_SHIFT) - 1;

const fn packed(key: Key) -> u64 {
    let value = match key.value {
        Some(value) if value < ANY => value,
        _ => ANY,
    };
    (key.kind as u64) << KIND_SHIFT | value
}

/// Bits of the filter, a power of two. Costs false alarms if there are few, memory if many.
const FILTER_BITS: usize = 1 << 14;

/// The word and the bit of the filter that stand for a key.
const fn filter_bit(key: u64) -> (usize, u64) {
    const GOLDEN: u64 = 0x9e37_79b9_7f4a_7c15;
    let hash = key.wrapping_mul(GOLDEN) >> (64 - FILTER_BITS.ilog2());
    (hash as usize / 64, 1 << (hash % 64))
}

/// Places of events in the registry by what they wait for; those that wait for the same in the
/// order in which they were added, which is that of their numbers.
#[derive(Debug)]
pub struct Index {
    keys: [u64; EVENTS_MAX],
    places: [u16; EVENTS_MAX],
    len: usize,
    /// Per kind, where it begins, and where those begin that wait for any value.
    starts: [(u16, u16); Kind::COUNT + 1],
    /// A bit for each key, several keys to a bit: most values that nobody waits for are told
    /// without a search.
    filter: [u64; FILTER_BITS / 64],
}

impl Default for Index {
    fn default() -> Self {
        Self::new()
    }
}

impl Index {
    /// No events.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            keys: [0; EVENTS_MAX],
            places: [0; EVENTS_MAX],
            len: 0,
            starts: [(0, 0); Kind::COUNT + 1],
            filter: [0; FILTER_BITS / 64],
        }
    }

    /// Adds an event, newer than all that are in. There is room for every event that can be.
    pub fn add(&mut self, key: Key, place: u16) {
        let packed = packed(key);
        let at = self.live().partition_point(|other| *other <= packed);
        let end = self.len;
        if let (Some(keys), Some(places)) =
            (self.keys.get_mut(at..=end), self.places.get_mut(at..=end))
        {
            keys.rotate_right(1);
            places.rotate_right(1);
            if let (Some(key), Some(slot)) = (keys.first_mut(), places.first_mut()) {
                (*key, *slot) = (packed, place);
            }
            self.len += 1;
            self.derive();
        }
    }

    /// Removes an event.
    pub fn remove(&mut self, key: Key, place: u16) {
        let packed = packed(key);
        let from = self.live().partition_point(|other| *other < packed);
        let len = self.len;
        let same = self.places.get(from..len).unwrap_or_default();
        let Some(offset) = same.iter().position(|other| *other == place) else {
            return;
        };
        let at = from + offset;
        if let (Some(keys), Some(places)) =
            (self.keys.get_mut(at..len), self.places.get_mut(at..len))
        {
            keys.rotate_left(1);
            places.rotate_left(1);
            self.len -= 1;
            self.derive();
        }
    }

    /// Whether an event may wait for this: false if none does, and most often only then.
    #[must_use]
    #[inline]
    pub fn may_match(&self, occasion: &Occasion) -> bool {
        let (from, any, to) = self.bounds(occasion.kind);
        if from == to {
            return false;
        }
        let (word, bit) = filter_bit(packed(Key {
            kind: occasion.kind,
            value: Some(occasion.value),
        }));
        any != to || self.filter.get(word).is_some_and(|word| word & bit != 0)
    }

    /// Places of the events that wait for this occasion by its value, and of those that wait for
    /// any of its kind.
    #[must_use]
    pub fn matching(&self, occasion: &Occasion) -> (&[u16], &[u16]) {
        let (from, any, to) = self.bounds(occasion.kind);
        let anys = self.places.get(any..to).unwrap_or_default();
        let keys = self.keys.get(from..any).unwrap_or_default();
        if keys.is_empty() {
            return (&[], anys);
        }
        let wanted = packed(Key {
            kind: occasion.kind,
            value: Some(occasion.value),
        });
        let start = keys.partition_point(|key| *key < wanted);
        let tail = keys.get(start..).unwrap_or_default();
        let count = tail.iter().take_while(|key| **key == wanted).count();
        let values = self.places.get(from + start..from + start + count);
        (values.unwrap_or_default(), anys)
    }

    fn live(&self) -> &[u64] {
        self.keys.get(..self.len).unwrap_or_default()
    }

    fn bounds(&self, kind: Kind) -> (usize, usize, usize) {
        let starts = self.starts.get(kind as usize..kind as usize + 2);
        match starts {
            Some([(from, any), (to, _)]) => {
                (usize::from(*from), usize::from(*any), usize::from(*to))
            }
            _ => (0, 0, 0),
        }
    }

    fn derive(&mut self) {
        self.filter = [0; FILTER_BITS / 64];
        for key in self.keys.iter().take(self.len) {
            let (word, bit) = filter_bit(*key);
            if let Some(word) = self.filter.get_mut(word) {
                *word |= bit;
            }
        }
        let live = self.keys.get(..self.len).unwrap_or_default();
        for kind in Kind::ALL {
            let key = |value| packed(Key { kind, value });
            let from = live.partition_point(|other| *other < key(Some(0)));
            let any = live.partition_point(|other| *other < key(None));
            if let Some(start) = self.starts.get_mut(kind as usize) {
                *start = (from as u16, any as u16);
            }
        }
        if let Some(end) = self.starts.last_mut() {
            *end = (live.len() as u16, live.len() as u16);
        }
    }
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;
    use proptest::prelude::*;
    use std::boxed::Box;
    use std::vec::Vec;

    fn key(kind: Kind, value: Option<u64>) -> Key {
        Key { kind, value }
    }

    #[test]
    fn a_value_matches_its_own_events_and_those_for_any() {
        let mut index = Box::new(Index::new());
        index.add(key(Kind::Cpuid, None), 0);
        index.add(key(Kind::Cpuid, Some(7)), 2);
        index.add(key(Kind::Cpuid, Some(7)), 1);
        index.add(key(Kind::Cpuid, Some(8)), 3);
        index.add(key(Kind::MsrRead, Some(7)), 4);
        let seven = Occasion::new(Kind::Cpuid, 7);
        assert_eq!(index.matching(&seven), (&[2, 1][..], &[0][..]));
        index.remove(key(Kind::Cpuid, None), 0);
        index.remove(key(Kind::Cpuid, Some(7)), 9);
        let nine = Occasion::new(Kind::Cpuid, 9);
        assert_eq!(index.matching(&nine), (&[][..], &[][..]));
        let write = Occasion::new(Kind::MsrWrite, 7);
        assert!(index.may_match(&seven) && !index.may_match(&write));
    }

    proptest! {
        #![proptest_config(crate::ept::model::config())]
        #[test]
        fn the_index_finds_what_a_plain_search_finds(
            steps in proptest::collection::vec((0..3usize, proptest::option::of(0..4u64), any::<bool>()), 1..60)
        ) {
            let mut index = Box::new(Index::new());
            let mut model: Vec<(Key, u16)> = Vec::new();
            for (place, (kind, value, adds)) in steps.into_iter().enumerate() {
                let key = key(Kind::ALL[kind], value);
                match model.iter().position(|(other, _)| *other == key) {
                    Some(at) if !adds => {
                        let (key, place) = model.remove(at);
                        index.remove(key, place);
                    }
                    _ => {
                        index.add(key, place as u16);
                        model.push((key, place as u16));
                    }
                }
                for kind in &Kind::ALL[..4] {
                    let places = |value| -> Vec<u16> {
                        let same = model.iter().filter(|(key, _)| key.kind == *kind && key.value == value);
                        same.map(|(_, place)| *place).collect()
                    };
                    for value in 0..4 {
                        let found = index.matching(&Occasion::new(*kind, value));
                        prop_assert_eq!(found.0, places(Some(value)));
                        prop_assert_eq!(found.1, places(None));
                        let any_found = !found.0.is_empty() || !found.1.is_empty();
                        prop_assert!(index.may_match(&Occasion::new(*kind, value)) || !any_found);
                    }
                }
            }
        }
    }
}
