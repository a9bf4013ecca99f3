//! Pre-allocated objects: what an event needs is taken from here, never from the operating
//! system. Built once at load; used in VMX-root with every core halted.
//!
//! [`Pools`] owns the arena and all free lists. Rules it keeps:
//! * per class `reserved == free + in_use`;
//! * objects in use are tokens ([`Reserved`]) that cannot be copied;
//! * a failed request leaves every count as it was;
//! * per page object in use, two EPT table pages can be taken with [`Pools::take`], see
//!   [`budget::TABLES_PER_PAGE_OBJECT`].

pub mod arena;
pub mod budget;
pub mod list;
pub mod slab;
#[cfg(test)]
mod tests;

use arena::{Arena, ArenaMark, CHUNK_BYTES};
use budget::{ByClass, CLASS_COUNT, Design, has_tables};
use slab::{CAPACITY, Counts, Reserved, SlabMark, Slabs, Tables};
use wire_protocol::address::PAGE_BYTES;
use wire_protocol::event::{FreeCounts, PoolClass, PoolLine};
use wire_protocol::refusal::Refusal;

/// Where pages for EPT tables come from: the arena at boot, the pools later.
pub trait TableSource {
    /// Physical address of a page that nobody uses, content undefined.
    fn take(&mut self) -> Option<u64>;
}

/// What `prealloc` achieved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Carved {
    /// Objects that are ready now because of this request.
    pub ready: u32,
    /// Objects of this request that wait for the arena to grow while the guest runs.
    pub queued: u32,
    /// Free objects of the class now.
    pub free: u32,
    /// Arena bytes left.
    pub arena_left_bytes: u64,
}

/// State of the pools at a moment; see [`Pools::rewind`].
#[derive(Clone, Debug)]
pub struct PoolMark {
    arena: ArenaMark,
    slabs: SlabMark,
}

/// All pools, and the arena they are carved from.
#[derive(Debug)]
pub struct Pools {
    arena: Arena,
    design: Design,
    slabs: Slabs,
    tables: Tables,
    /// Objects promised by `prealloc` and not carved yet.
    queued: ByClass<u32>,
}

const _: () = assert!(size_of::<Pools>() < 128 * 1024);

impl Default for Pools {
    fn default() -> Self {
        Self::new()
    }
}

impl Pools {
    /// Pools without an arena. Constant, so that it can be copied to its place from a `static`
    /// and never stands on a stack.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            arena: Arena::new(),
            design: Design::DEFAULT,
            slabs: Slabs::new(),
            tables: Tables::new(),
            queued: ByClass([0; CLASS_COUNT]),
        }
    }

    /// Takes over what is left of `arena` and reserves the design level of every class. Once, at
    /// load.
    ///
    /// # Errors
    /// [`Refusal::ArenaTooSmall`] when the levels do not fit.
    pub fn init(&mut self, arena: Arena, design: Design) -> Result<(), Refusal> {
        self.arena = arena;
        self.design = design;
        for class in PoolClass::ALL {
            let asked = *design.levels.get(class);
            let possible = self.carve_up_to(class, asked);
            if possible < asked {
                return Err(Refusal::ArenaTooSmall {
                    class,
                    asked,
                    possible,
                    room: u32::from(*CAPACITY.get(class)),
                });
            }
        }
        Ok(())
    }

    /// The arena, to look at.
    #[must_use]
    pub const fn arena(&self) -> &Arena {
        &self.arena
    }

    /// The arena, to carve more from it or to add chunks.
    #[must_use]
    pub const fn arena_mut(&mut self) -> &mut Arena {
        &mut self.arena
    }

    /// The constants in force.
    #[must_use]
    pub const fn design(&self) -> &Design {
        &self.design
    }

    /// Takes a free object, or carves one if the arena keeps the part that is for `prealloc`
    /// only.
    ///
    /// # Errors
    /// [`Refusal::PoolExhausted`]; nothing has changed.
    pub fn reserve(&mut self, class: PoolClass) -> Result<Reserved, Refusal> {
        if let Some(object) = self.slabs.take(class) {
            return Ok(object);
        }
        if self.may_carve_by_itself(class)
            && self.carve_one(class)
            && let Some(object) = self.slabs.take(class)
        {
            return Ok(object);
        }
        Err(self.exhausted(class, 1))
    }

    /// The refusal that says, in numbers, that the class has not as many objects to give as were
    /// `needed`.
    #[must_use]
    pub fn exhausted(&self, class: PoolClass, needed: u32) -> Refusal {
        let counts = self.slabs.counts(class);
        let sizes = &self.design.sizes;
        let (object_bytes, align_bytes) = (sizes.object_bytes(class), sizes.align_bytes(class));
        let room = u32::from(self.slabs.room(class));
        let is_refilled = self.below_level(class) > 0
            && self.missing_chunks() <= u64::from(self.arena.growth_chunks());
        Refusal::PoolExhausted {
            class,
            reserved: u32::from(counts.reserved),
            in_use: u32::from(counts.in_use),
            needed,
            most: u32::from(*CAPACITY.get(class)),
            object_bytes,
            arena_left_bytes: self.arena.left_bytes(),
            possible: self
                .arena
                .carvable_count(object_bytes, align_bytes, needed.min(room)),
            refill_ms: if is_refilled {
                self.design.replenish_ms
            } else {
                0
            },
        }
    }

    /// Gives an object back to its pool.
    pub fn release(&mut self, object: Reserved) {
        self.slabs.give(object);
    }

    /// Physical address of an object's first byte. Of a page object, this is the page that the
    /// guest will see.
    #[must_use]
    pub fn phys(&self, object: &Reserved) -> u64 {
        self.slabs.phys(object)
    }

    /// Physical address of the record of an event, in its object.
    #[must_use]
    pub fn record_at(&self, object: &Reserved) -> u64 {
        let record_at = match object.class() {
            PoolClass::ThreadInterception => u64::from(budget::INTERCEPTION_RECORD_AT),
            _ => 0,
        };
        self.slabs.phys(object) + record_at
    }

    /// Divides the object of an interception into its page and its record, each of which is released by itself.
    pub fn divide(&mut self, interception: Reserved) -> (Reserved, Reserved) {
        self.slabs.divide(interception)
    }

    /// Counts of a class.
    #[must_use]
    pub fn counts(&self, class: PoolClass) -> Counts {
        self.slabs.counts(class)
    }

    /// EPT table pages that are in no view.
    #[must_use]
    pub const fn spare_tables(&self) -> u16 {
        self.tables.count()
    }

    /// Gives an EPT table page back after a merge.
    pub fn give_table(&mut self, phys: u64) {
        self.tables.give(phys);
    }

    /// Carves `count` objects now, to the last byte of the arena if need be. What the arena cannot
    /// give is queued, if it can grow by that much while the guest runs.
    ///
    /// # Errors
    /// [`Refusal::ArenaTooSmall`] when neither is possible, or the class cannot have that many
    /// objects at all; nothing has changed.
    pub fn prealloc(&mut self, class: PoolClass, count: u32) -> Result<Carved, Refusal> {
        let sizes = &self.design.sizes;
        let promised = *self.queued.get(class);
        let room = u32::from(self.slabs.room(class)).saturating_sub(promised);
        let possible = self.arena.carvable_count(
            sizes.object_bytes(class),
            sizes.align_bytes(class),
            count.min(room),
        );
        let queued = count - possible;
        if queued > 0 && (count > room || !self.can_queue(class, queued)) {
            return Err(Refusal::ArenaTooSmall {
                class,
                asked: count,
                possible,
                room,
            });
        }
        let ready = self.carve_up_to(class, possible);
        *self.queued.get_mut(class) += queued;
        Ok(Carved {
            ready,
            queued,
            free: u32::from(self.slabs.counts(class).free),
            arena_left_bytes: self.arena.left_bytes(),
        })
    }

    /// Objects of a class that wait for the arena to grow.
    #[must_use]
    pub const fn queued(&self, class: PoolClass) -> u32 {
        *self.queued.get(class)
    }

    /// Carves what is queued, then fills every class up to its design level as far as automatic
    /// carving may go. Returns how many objects became ready. To be called after chunks were
    /// added, and at any halt.
    pub fn replenish(&mut self) -> u32 {
        let mut ready = 0;
        for class in PoolClass::ALL {
            let carved = self.carve_up_to(class, *self.queued.get(class));
            *self.queued.get_mut(class) -= carved;
            ready += carved;
        }
        for class in PoolClass::ALL {
            for _ in 0..self.below_level(class) {
                if !self.may_carve_by_itself(class) || !self.carve_one(class) {
                    break;
                }
                ready += 1;
            }
        }
        ready
    }

    /// Whether [`Self::replenish`] would carve something now.
    #[must_use]
    pub fn can_replenish(&self) -> bool {
        PoolClass::ALL.into_iter().any(|class| {
            let sizes = &self.design.sizes;
            let (bytes, align) = (sizes.object_bytes(class), sizes.align_bytes(class));
            *self.queued.get(class) > 0 && self.arena.carvable_count(bytes, align, 1) > 0
                || self.below_level(class) > 0 && self.may_carve_by_itself(class)
        })
    }

    /// Chunks that a replenisher should add to the arena before the next [`Self::replenish`]. At
    /// most what [`Arena::allow_growth`] allowed.
    #[must_use]
    pub fn wanted_chunks(&self) -> u32 {
        u32::try_from(self.missing_chunks())
            .unwrap_or(u32::MAX)
            .min(self.arena.growth_chunks())
    }

    /// Chunks that what is queued and what is below its level take.
    fn missing_chunks(&self) -> u64 {
        let mut chunks = 0_u64;
        let mut levels_missing = false;
        for class in PoolClass::ALL {
            let below = self.below_level(class);
            levels_missing |= below > 0;
            let wanted = self.queued.get(class).saturating_add(below);
            chunks += self.chunks_for(class, wanted.min(u32::from(self.slabs.room(class))));
        }
        if levels_missing {
            let kept = self.design.prealloc_only_bytes;
            let short_bytes = kept.saturating_sub(self.arena.left_bytes());
            chunks = chunks.saturating_add(short_bytes.div_ceil(CHUNK_BYTES));
        }
        chunks
    }

    /// One line per class, for `pools`.
    #[must_use]
    pub fn lines(&self) -> [PoolLine; CLASS_COUNT] {
        PoolClass::ALL.map(|class| {
            let counts = self.slabs.counts(class);
            PoolLine {
                class,
                object_bytes: self.design.sizes.object_bytes(class),
                reserved: u32::from(counts.reserved),
                in_use: u32::from(counts.in_use),
            }
        })
    }

    /// What is left, for the prompt, of the classes of which more or fewer objects are in use
    /// than `before`.
    #[must_use]
    pub fn free_counts(&self, before: &ByClass<Counts>) -> FreeCounts {
        PoolClass::ALL
            .into_iter()
            .filter(|class| before.get(*class).in_use != self.counts(*class).in_use)
            .fold(FreeCounts::default(), |free, class| {
                free.with(class, u32::from(self.counts(class).free))
            })
    }

    /// The counts of all classes.
    #[must_use]
    pub fn all_counts(&self) -> ByClass<Counts> {
        ByClass(PoolClass::ALL.map(|class| self.counts(class)))
    }

    /// Remembers the state before a transaction.
    #[must_use]
    pub fn mark(&self) -> PoolMark {
        PoolMark {
            arena: self.arena.mark(),
            slabs: self.slabs.mark(),
        }
    }

    /// Undoes all carving since `mark`. Every object reserved and every table taken since must be
    /// back.
    pub fn rewind(&mut self, mark: &PoolMark) {
        self.slabs.rewind(&mark.slabs);
        self.arena.rewind(&mark.arena);
        let Self { arena, tables, .. } = self;
        tables.keep(|phys| arena.is_carved(phys));
    }

    fn below_level(&self, class: PoolClass) -> u32 {
        let free = u32::from(self.slabs.counts(class).free);
        let below = self.design.levels.get(class).saturating_sub(free);
        below.min(u32::from(self.slabs.room(class)))
    }

    /// Chunks that give `count` objects of the class; more than there can be if none does.
    fn chunks_for(&self, class: PoolClass, count: u32) -> u64 {
        if count == 0 {
            return 0;
        }
        let object_bytes = u64::from(self.design.sizes.object_bytes(class));
        match CHUNK_BYTES.checked_div(object_bytes) {
            Some(per_chunk) if per_chunk > 0 => u64::from(count).div_ceil(per_chunk),
            _ => u64::from(u32::MAX),
        }
    }

    fn can_queue(&self, class: PoolClass, count: u32) -> bool {
        let mut chunks = 0;
        for each in PoolClass::ALL {
            let mut queued = *self.queued.get(each);
            if each == class {
                queued = queued.saturating_add(count);
            }
            chunks += self.chunks_for(each, queued);
        }
        chunks <= u64::from(self.arena.growth_chunks())
    }

    fn may_carve_by_itself(&self, class: PoolClass) -> bool {
        let sizes = &self.design.sizes;
        // What may be skipped to align the object counts as taken.
        let most_bytes =
            u64::from(sizes.object_bytes(class)) + u64::from(sizes.align_bytes(class)) - 1;
        let after_bytes = self.arena.left_bytes().checked_sub(most_bytes);
        after_bytes.is_some_and(|bytes| bytes >= self.design.prealloc_only_bytes)
    }

    fn carve_up_to(&mut self, class: PoolClass, count: u32) -> u32 {
        let mut carved = 0;
        while carved < count && self.carve_one(class) {
            carved += 1;
        }
        carved
    }

    /// Adds one object to the class, without regard to the part kept for `prealloc`.
    fn carve_one(&mut self, class: PoolClass) -> bool {
        let sizes = &self.design.sizes;
        if self.slabs.room(class) == 0 {
            return false;
        }
        let carved = self
            .arena
            .carve(sizes.object_bytes(class), sizes.align_bytes(class));
        let Ok(block) = carved else {
            return false;
        };
        if has_tables(class) {
            // First the page for the guest, then the tables.
            for number in 1..=u64::from(budget::TABLES_PER_PAGE_OBJECT) {
                self.tables.give(block.start().0 + number * PAGE_BYTES);
            }
        }
        self.slabs.add(class, block.start().0)
    }
}

impl TableSource for Pools {
    fn take(&mut self) -> Option<u64> {
        self.tables.take()
    }
}
