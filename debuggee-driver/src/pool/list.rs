//! An ordered list in a fixed place: what has to be found quickly by all cores and is changed
//! only while they are halted. Inserting and removing move the elements behind; finding is a
//! binary search.

/// At most `N` elements, kept in the order in which the owner inserts them.
#[derive(Debug)]
pub struct FixedList<T, const N: usize> {
    /// The first `len` are `Some`.
    slots: [Option<T>; N],
    len: usize,
}

impl<T, const N: usize> Default for FixedList<T, N> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T, const N: usize> FixedList<T, N> {
    /// An empty list.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            slots: [const { None }; N],
            len: 0,
        }
    }

    /// Elements in it.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.len
    }

    /// Whether there is none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The element at `place`.
    #[must_use]
    pub fn get(&self, place: usize) -> Option<&T> {
        self.slots.get(place)?.as_ref()
    }

    /// The element at `place`, to be changed; its order must stay.
    #[must_use]
    pub fn get_mut(&mut self, place: usize) -> Option<&mut T> {
        self.slots.get_mut(place)?.as_mut()
    }

    /// All elements in order.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = &T> {
        self.live().iter().filter_map(Option::as_ref)
    }

    /// All elements in order, to be changed; their order must stay.
    pub fn iter_mut(&mut self) -> impl DoubleEndedIterator<Item = &mut T> {
        let live = self.slots.get_mut(..self.len).unwrap_or_default();
        live.iter_mut().filter_map(Option::as_mut)
    }

    /// The elements from `place` on.
    pub fn iter_from(&self, place: usize) -> impl Iterator<Item = &T> {
        let tail = self.live().get(place..).unwrap_or_default();
        tail.iter().filter_map(Option::as_ref)
    }

    /// Place of the first element for which `is_before` is false; it must be true for all
    /// before and false for all behind.
    #[must_use]
    pub fn place_where_not(&self, is_before: impl Fn(&T) -> bool) -> usize {
        self.live()
            .partition_point(|slot| slot.as_ref().is_some_and(&is_before))
    }

    /// The place of the element with this key, or the place where it would be inserted.
    ///
    /// # Errors
    /// No element has the key.
    pub fn find<K: Ord>(&self, key: &K, key_of: impl Fn(&T) -> K) -> Result<usize, usize> {
        let place = self.place_where_not(|element| key_of(element) < *key);
        match self.get(place) {
            Some(element) if key_of(element) == *key => Ok(place),
            _ => Err(place),
        }
    }

    /// Inserts before the element at `place`.
    ///
    /// # Errors
    /// The list is full (or shorter than `place`); the element comes back.
    pub fn insert(&mut self, place: usize, element: T) -> Result<(), T> {
        let Some(tail) = self.slots.get_mut(place..=self.len) else {
            return Err(element);
        };
        tail.rotate_right(1);
        if let Some(slot) = tail.first_mut() {
            *slot = Some(element);
        }
        self.len += 1;
        Ok(())
    }

    /// Takes the element at `place` out.
    pub fn remove(&mut self, place: usize) -> Option<T> {
        let tail = self.slots.get_mut(place..self.len)?;
        let element = tail.first_mut()?.take();
        tail.rotate_left(1);
        self.len -= 1;
        element
    }

    fn live(&self) -> &[Option<T>] {
        self.slots.get(..self.len).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;
    use std::vec::Vec;

    fn list(elements: &[u32]) -> FixedList<u32, 4> {
        let mut list = FixedList::new();
        for element in elements {
            let place = list.find(element, |element| *element).unwrap_err();
            list.insert(place, *element).unwrap();
        }
        list
    }

    fn content(list: &FixedList<u32, 4>) -> Vec<u32> {
        list.iter().copied().collect()
    }

    #[test]
    fn elements_stay_in_order() {
        let list = list(&[5, 1, 9, 3]);
        assert_eq!(content(&list), [1, 3, 5, 9]);
        assert_eq!(list.find(&5, |element| *element), Ok(2));
        assert_eq!(list.find(&6, |element| *element), Err(3));
        assert_eq!(list.iter_from(2).count(), 2);
    }

    #[test]
    fn a_full_list_gives_the_element_back() {
        let mut list = list(&[5, 1, 9, 3]);
        assert_eq!(list.insert(0, 0), Err(0));
        assert_eq!(content(&list), [1, 3, 5, 9]);
    }

    #[test]
    fn removing_closes_the_gap() {
        let mut list = list(&[5, 1, 9]);
        assert_eq!(list.remove(1), Some(5));
        assert_eq!(list.remove(2), None);
        assert_eq!(content(&list), [1, 9]);
        assert_eq!(list.get(2), None);
    }
}
