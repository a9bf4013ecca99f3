//! Which events wait for a trigger: ordered arrays, so that a lookup does not grow with the
//! number of events.

use super::trigger::{Key, TriggerInstance, TriggerKind};
use crate::pool::slab::EVENTS_MAX;

/// TriggerKind in the top byte, value below.
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

/// Slots of the table, a power of two. Costs time if there are few, memory if many.
const SLOTS: usize = 1 << 13;

/// Of a slot: no other event waits for the same key.
const ALONE: u16 = 1 << 15;
const _: () = assert!(EVENTS_MAX < ALONE as usize);

/// The slot where the search for a key starts.
const fn slot_of(key: u64) -> usize {
    const GOLDEN: u64 = 0x9e37_79b9_7f4a_7c15;
    (key.wrapping_mul(GOLDEN) >> (64 - SLOTS.ilog2())) as usize
}

/// Places of events in the registry by what they wait for; those that wait for the same in the
/// order in which they were added, which is that of their numbers.
#[derive(Debug)]
pub struct Index {
    keys: [u64; EVENTS_MAX],
    places: [u16; EVENTS_MAX],
    len: usize,
    /// Per kind, where it begins, and where those begin that wait for any value.
    starts: [(u16, u16); TriggerKind::COUNT + 1],
    /// How many events of each kind are served after what they wait for.
    after: [u16; TriggerKind::COUNT],
    /// Where each key begins, plus one, and with it [`ALONE`]: in its slot, or the next that is free behind it.
    slots: [u16; SLOTS],
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
            starts: [(0, 0); TriggerKind::COUNT + 1],
            after: [0; TriggerKind::COUNT],
            slots: [0; SLOTS],
        }
    }

    /// Adds an event, newer than all that are in. There is room for every event that can be.
    pub fn add(&mut self, key: Key, place: u16) {
        let packed = packed(key);
        let at = self.live().partition_point(|other| *other <= packed);
        self.insert(at, packed, place);
    }

    fn insert(&mut self, at: usize, packed: u64, place: u16) {
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

    /// Adds an event that may be older than some that wait for the same: it goes behind those that `is_older` names.
    pub fn add_in_order(&mut self, key: Key, place: u16, is_older: impl Fn(u16) -> bool) {
        let packed = packed(key);
        let from = self.live().partition_point(|other| *other < packed);
        let places = self.places.get(from..self.len).unwrap_or_default();
        let same = self.live().iter().skip(from).zip(places);
        let older = same.take_while(|(other, place)| **other == packed && is_older(**place));
        let at = from + older.count();
        self.insert(at, packed, place);
    }

    /// Notes that an event of this kind is served afterwards, or is no more.
    pub fn count_after(&mut self, kind: TriggerKind, begins: bool) {
        if let Some(count) = self.after.get_mut(kind as usize) {
            *count = if begins {
                count.saturating_add(1)
            } else {
                count.saturating_sub(1)
            };
        }
    }

    /// Whether an event of this kind may be served afterwards.
    #[must_use]
    #[inline]
    pub fn has_after(&self, kind: TriggerKind) -> bool {
        self.after
            .get(kind as usize)
            .is_some_and(|count| *count != 0)
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

    /// Whether an event waits for anything of this kind.
    #[must_use]
    #[inline]
    pub fn has(&self, kind: TriggerKind) -> bool {
        let (from, _, to) = self.bounds(kind);
        from != to
    }

    /// Whether an event may wait for this value of a kind, or for any; it seldom says so of what nobody waits for.
    #[must_use]
    #[inline]
    pub fn may_be_awaited(&self, kind: TriggerKind, value: u64) -> bool {
        let (from, any, to) = self.bounds(kind);
        if from == to || any != to {
            return from != to;
        }
        let key = Key {
            kind,
            value: Some(value),
        };
        let slot = self.slots.get(slot_of(packed(key)));
        slot.is_some_and(|slot| *slot != 0)
    }

    /// Places of the events that wait for this trigger by its value, and of those that wait for
    /// any of its kind.
    #[must_use]
    pub fn matching(&self, trigger: &TriggerInstance) -> (&[u16], &[u16]) {
        let (from, any, to) = self.bounds(trigger.kind);
        let anys = self.places.get(any..to).unwrap_or_default();
        if from == any {
            return (&[], anys);
        }
        let Some((start, _)) = self.first_of(trigger.kind, trigger.value) else {
            return (&[], anys);
        };
        let keys = self.keys.get(start..any).unwrap_or_default();
        let count = match keys {
            [first, second, ..] if first == second => {
                keys.iter().take_while(|key| *key == first).count()
            }
            _ => 1,
        };
        let values = self.places.get(start..start + count);
        (values.unwrap_or_default(), anys)
    }

    /// The place of the only event that waits for this value of a kind, or of the only one of a kind if it waits for any.
    #[must_use]
    #[inline]
    pub fn only(&self, kind: TriggerKind, value: u64) -> Option<u16> {
        let (from, any, to) = self.bounds(kind);
        if any != to {
            let is_alone = to - from == 1;
            return self.places.get(any).copied().filter(|_| is_alone);
        }
        if from == to {
            return None;
        }
        let (start, is_alone) = self.first_of(kind, value)?;
        self.places.get(start).copied().filter(|_| is_alone)
    }

    /// The first place of a value of a kind, and whether it is the only one.
    #[inline]
    fn first_of(&self, kind: TriggerKind, value: u64) -> Option<(usize, bool)> {
        let value = Some(value);
        let wanted = packed(Key { kind, value });
        let start = slot_of(wanted);
        // There are more slots than events, so that a free one ends the search.
        for slot in start..start + SLOTS {
            let found = *self.slots.get(slot % SLOTS)?;
            let place = usize::from(found & !ALONE).checked_sub(1)?;
            if self.keys.get(place) == Some(&wanted) {
                return Some((place, found & ALONE != 0));
            }
        }
        None
    }

    fn live(&self) -> &[u64] {
        self.keys.get(..self.len).unwrap_or_default()
    }

    fn bounds(&self, kind: TriggerKind) -> (usize, usize, usize) {
        let starts = self.starts.get(kind as usize..kind as usize + 2);
        match starts {
            Some([(from, any), (to, _)]) => {
                (usize::from(*from), usize::from(*any), usize::from(*to))
            }
            _ => (0, 0, 0),
        }
    }

    fn derive(&mut self) {
        self.slots = [0; SLOTS];
        let mut before = None;
        for (place, key) in self.keys.iter().take(self.len).enumerate() {
            if before.replace(*key) == Some(*key) {
                continue;
            }
            let (before, from) = self.slots.split_at_mut(slot_of(*key));
            let free = from.iter_mut().chain(before).find(|slot| **slot == 0);
            let is_alone = place + 1 == self.len || self.keys.get(place + 1) != Some(key);
            if let Some(free) = free {
                let flag = if is_alone { ALONE } else { 0 };
                *free = (place as u16 + 1) | flag;
            }
        }
        let live = self.keys.get(..self.len).unwrap_or_default();
        for kind in TriggerKind::ALL {
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

    fn key(kind: TriggerKind, value: Option<u64>) -> Key {
        Key { kind, value }
    }

    #[test]
    fn a_value_matches_its_own_events_and_those_for_any() {
        let mut index = Box::new(Index::new());
        index.add(key(TriggerKind::Cpuid, None), 0);
        index.add(key(TriggerKind::Cpuid, Some(7)), 2);
        index.add(key(TriggerKind::Cpuid, Some(7)), 1);
        index.add(key(TriggerKind::Cpuid, Some(8)), 3);
        index.add(key(TriggerKind::MsrRead, Some(7)), 4);
        let seven = TriggerInstance::new(TriggerKind::Cpuid, 7);
        assert_eq!(index.matching(&seven), (&[2, 1][..], &[0][..]));
        index.remove(key(TriggerKind::Cpuid, None), 0);
        index.remove(key(TriggerKind::Cpuid, Some(7)), 9);
        let nine = TriggerInstance::new(TriggerKind::Cpuid, 9);
        assert_eq!(index.matching(&nine), (&[][..], &[][..]));
        let write = TriggerInstance::new(TriggerKind::MsrWrite, 7);
        let is = |what: &TriggerInstance| index.may_be_awaited(what.kind, what.value);
        assert!(is(&seven) && !is(&write));
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
                let key = key(TriggerKind::ALL[kind], value);
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
                for kind in &TriggerKind::ALL[..4] {
                    let places = |value| -> Vec<u16> {
                        let same = model.iter().filter(|(key, _)| key.kind == *kind && key.value == value);
                        same.map(|(_, place)| *place).collect()
                    };
                    for value in 0..4 {
                        let found = index.matching(&TriggerInstance::new(*kind, value));
                        prop_assert_eq!(found.0, places(Some(value)));
                        prop_assert_eq!(found.1, places(None));
                        let any_found = !found.0.is_empty() || !found.1.is_empty();
                        prop_assert!(index.may_be_awaited(*kind, value) || !any_found);
                        let of_kind = model.iter().filter(|(key, _)| key.kind == *kind).count();
                        let only = match found {
                            ([place], []) => Some(*place),
                            ([], [place]) if of_kind == 1 => Some(*place),
                            _ => None,
                        };
                        prop_assert_eq!(index.only(*kind, value), only);
                    }
                }
            }
        }
    }
}
