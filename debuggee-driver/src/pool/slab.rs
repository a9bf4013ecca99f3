//! Free lists of pre-allocated objects. One slab per class, all slabs in one array, so that the
//! whole bookkeeping is one flat piece of memory. Called by [`super::Pools`] only.
//!
//! An object in use is held as a [`Reserved`]: a token that cannot be copied and is consumed by
//! giving it back, so giving an object back twice does not compile.

use super::budget::{ByClass, CLASS_COUNT, TABLES_PER_PAGE_OBJECT, has_tables};
use wire_protocol::address::PAGE_BYTES;
use wire_protocol::event::PoolClass;

/// Objects a class can have at most, in the order of [`PoolClass::ALL`].
pub const CAPACITY: ByClass<u16> = ByClass([2048, 256, 1024, 256, 2048, 256, 1024, 64]);

/// Events there can be: one object each, so that a list of this size never runs full.
pub const EVENTS_MAX: usize = (*CAPACITY.get(PoolClass::RegularEvent)
    + *CAPACITY.get(PoolClass::BigEvent)
    + *CAPACITY.get(PoolClass::ThreadInterception)) as usize;

const INTERCEPTIONS_MAX: usize = *CAPACITY.get(PoolClass::ThreadInterception) as usize;

const FIRST: ByClass<usize> = firsts();
const TOTAL: usize = total(false);
const TABLE_TOTAL: usize = total(true) * TABLES_PER_PAGE_OBJECT as usize;

const fn firsts() -> ByClass<usize> {
    let mut firsts = ByClass([0; CLASS_COUNT]);
    let mut classes = PoolClass::ALL.as_slice();
    let mut next = 0;
    while let [class, rest @ ..] = classes {
        *firsts.get_mut(*class) = next;
        next += *CAPACITY.get(*class) as usize;
        classes = rest;
    }
    firsts
}

const fn total(only_with_tables: bool) -> usize {
    let mut classes = PoolClass::ALL.as_slice();
    let mut sum = 0;
    while let [class, rest @ ..] = classes {
        if !only_with_tables || has_tables(*class) {
            sum += *CAPACITY.get(*class) as usize;
        }
        classes = rest;
    }
    sum
}

/// An object taken from its pool: keep it in the record of an event, or release it.
#[must_use = "an object that is dropped is lost to its pool"]
#[derive(Debug, PartialEq, Eq)]
pub struct Reserved {
    class: PoolClass,
    index: u16,
}

impl Reserved {
    /// Its class.
    #[must_use]
    pub const fn class(&self) -> PoolClass {
        self.class
    }

    /// Its number in the class, below the class's count of reserved objects.
    #[must_use]
    pub const fn index(&self) -> u16 {
        self.index
    }
}

/// Counts of one class. `reserved == free + in_use` at any time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Objects carved so far.
    pub reserved: u16,
    /// Objects waiting.
    pub free: u16,
    /// Objects handed out as [`Reserved`].
    pub in_use: u16,
}

/// Counts of all classes at a moment; see [`Slabs::rewind`].
#[derive(Clone, Copy, Debug)]
pub(super) struct SlabMark {
    reserved: ByClass<u16>,
}

/// All free lists.
#[derive(Debug)]
pub(super) struct Slabs {
    /// Physical address of each object, by class and number.
    objects: [u64; TOTAL],
    /// Numbers of the free objects of each class, a stack that starts at the class's place.
    free: [u16; TOTAL],
    counts: ByClass<Counts>,
    /// Interceptions in two parts, of which both are out.
    divided: [bool; INTERCEPTIONS_MAX],
}

impl Slabs {
    pub(super) const fn new() -> Self {
        Self {
            objects: [0; TOTAL],
            free: [0; TOTAL],
            counts: ByClass(
                [Counts {
                    reserved: 0,
                    free: 0,
                    in_use: 0,
                }; CLASS_COUNT],
            ),
            divided: [false; INTERCEPTIONS_MAX],
        }
    }

    /// Divides the object of an interception into its page and its record, each of which is given back by itself.
    pub(super) fn divide(&mut self, object: Reserved) -> (Reserved, Reserved) {
        let Reserved { class, index } = object;
        debug_assert!(class == PoolClass::ThreadInterception, "no other has parts");
        if let Some(divided) = self.divided.get_mut(usize::from(index)) {
            *divided = true;
        }
        (Reserved { class, index }, Reserved { class, index })
    }

    /// Whether it is the first of two parts that comes back.
    fn is_half(&mut self, object: &Reserved) -> bool {
        let divided = self.divided.get_mut(usize::from(object.index));
        let divided = divided.filter(|_| object.class == PoolClass::ThreadInterception);
        divided.is_some_and(core::mem::take)
    }

    pub(super) fn counts(&self, class: PoolClass) -> Counts {
        *self.counts.get(class)
    }

    /// Objects that can still be added to the class.
    pub(super) fn room(&self, class: PoolClass) -> u16 {
        CAPACITY
            .get(class)
            .saturating_sub(self.counts(class).reserved)
    }

    /// Adds a new, free object at `phys`. False if the class has no room for it.
    pub(super) fn add(&mut self, class: PoolClass, phys: u64) -> bool {
        let (objects, free, counts) = self.parts(class);
        let number = counts.reserved;
        let (Some(object), Some(top)) = (
            objects.get_mut(usize::from(number)),
            free.get_mut(usize::from(counts.free)),
        ) else {
            return false;
        };
        *object = phys;
        *top = number;
        counts.reserved += 1;
        counts.free += 1;
        true
    }

    pub(super) fn take(&mut self, class: PoolClass) -> Option<Reserved> {
        let (_, free, counts) = self.parts(class);
        let below_top = counts.free.checked_sub(1)?;
        let index = *free.get(usize::from(below_top))?;
        counts.free = below_top;
        counts.in_use += 1;
        Some(Reserved { class, index })
    }

    pub(super) fn give(&mut self, object: Reserved) {
        if self.is_half(&object) {
            return;
        }
        let (_, free, counts) = self.parts(object.class);
        // A token exists only for an object that left the stack, so there is room for it.
        debug_assert!(counts.in_use > 0 && object.index < counts.reserved);
        if let Some(top) = free.get_mut(usize::from(counts.free)) {
            *top = object.index;
            counts.free += 1;
            counts.in_use = counts.in_use.saturating_sub(1);
        }
    }

    pub(super) fn phys(&self, object: &Reserved) -> u64 {
        let at = FIRST.get(object.class) + usize::from(object.index);
        self.objects.get(at).copied().unwrap_or(0)
    }

    pub(super) fn mark(&self) -> SlabMark {
        SlabMark {
            reserved: ByClass(self.counts.0.map(|counts| counts.reserved)),
        }
    }

    /// Forgets the objects added since `mark`. All of them must be free.
    pub(super) fn rewind(&mut self, mark: &SlabMark) {
        for class in PoolClass::ALL {
            let reserved = *mark.reserved.get(class);
            let (_, free, counts) = self.parts(class);
            if counts.reserved <= reserved {
                continue;
            }
            let kept = keep(free, counts.free, |index| index < reserved);
            debug_assert_eq!(counts.free - kept, counts.reserved - reserved);
            counts.free = kept;
            counts.reserved = kept + counts.in_use;
        }
    }

    fn parts(&mut self, class: PoolClass) -> (&mut [u64], &mut [u16], &mut Counts) {
        let first = *FIRST.get(class);
        let range = first..first + usize::from(*CAPACITY.get(class));
        (
            self.objects.get_mut(range.clone()).unwrap_or_default(),
            self.free.get_mut(range).unwrap_or_default(),
            self.counts.get_mut(class),
        )
    }
}

/// Drops the elements of the stack's first `len` that are not wanted, in place; returns how many
/// are left.
fn keep<T: Copy>(stack: &mut [T], len: u16, wanted: impl Fn(T) -> bool) -> u16 {
    let mut kept = 0;
    for at in 0..usize::from(len) {
        let Some(value) = stack.get(at).copied().filter(|value| wanted(*value)) else {
            continue;
        };
        if let Some(slot) = stack.get_mut(usize::from(kept)) {
            *slot = value;
            kept += 1;
        }
    }
    kept
}

/// EPT table pages that came with page objects and are not part of a view now.
#[derive(Debug)]
pub(super) struct Tables {
    /// Page frame numbers, a stack.
    frames: [u32; TABLE_TOTAL],
    len: u16,
}

impl Tables {
    pub(super) const fn new() -> Self {
        Self {
            frames: [0; TABLE_TOTAL],
            len: 0,
        }
    }

    pub(super) const fn count(&self) -> u16 {
        self.len
    }

    pub(super) fn take(&mut self) -> Option<u64> {
        let below_top = self.len.checked_sub(1)?;
        let frame = *self.frames.get(usize::from(below_top))?;
        self.len = below_top;
        Some(u64::from(frame) * PAGE_BYTES)
    }

    /// Gives a table page (back). Its address is below [`super::arena::CHUNK_LIMIT`].
    pub(super) fn give(&mut self, phys: u64) {
        let top = self.frames.get_mut(usize::from(self.len));
        // The stack has room for the tables of all objects there can be.
        debug_assert!(top.is_some());
        if let (Some(top), Ok(frame)) = (top, u32::try_from(phys / PAGE_BYTES)) {
            *top = frame;
            self.len += 1;
        }
    }

    /// Forgets tables that are not wanted.
    pub(super) fn keep(&mut self, wanted: impl Fn(u64) -> bool) {
        self.len = keep(&mut self.frames, self.len, |frame| {
            wanted(u64::from(frame) * PAGE_BYTES)
        });
    }
}
