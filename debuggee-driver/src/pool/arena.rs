//! The block of physical memory that everything of the debugger is carved from.
//!
//! The platform gives it in chunks of 2 MiB, aligned to 2 MiB and not contiguous with each other,
//! so that hiding one from the guest is one entry of an EPT page directory. Filled at boot, and
//! used by [`super::Pools`] in VMX-root afterwards. Nothing is ever given back to the arena:
//! objects return to their pools.

use super::TableSource;
use crate::port::Hidden;
use wire_protocol::address::{Extent, GuestPhysical, PAGE_BYTES};

/// Bytes of a chunk, and its alignment.
pub const CHUNK_BYTES: u64 = 2 << 20;

/// Chunks an arena can hold: 512 MiB.
pub const MAX_CHUNKS: usize = 256;

/// Chunks lie below this physical address (16 TiB), so that a page frame number has 32 bits.
pub const CHUNK_LIMIT: u64 = PAGE_BYTES << 32;

/// No chunk has room for what was asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ArenaFull {
    /// Bytes asked for.
    pub wanted_bytes: u64,
    /// Bytes left, all chunks together; see [`Arena::left_bytes`].
    pub left_bytes: u64,
}

/// A chunk was not accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChunkRefused {
    /// Not aligned to [`CHUNK_BYTES`], at address 0, or not below [`CHUNK_LIMIT`].
    Misplaced,
    /// It is part of the arena already.
    Known,
    /// There are [`MAX_CHUNKS`] of them.
    TooMany,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Chunk {
    base: u64,
    used_bytes: u32,
}

/// The chunks, and how much of each is taken.
#[derive(Debug)]
pub struct Arena {
    chunks: [Chunk; MAX_CHUNKS],
    count: usize,
    growth_chunks: u32,
}

/// How full the arena was at a moment; see [`Arena::rewind`].
#[derive(Clone, Debug)]
pub struct ArenaMark {
    used_bytes: [u32; MAX_CHUNKS],
}

impl Default for Arena {
    fn default() -> Self {
        Self::new()
    }
}

impl Arena {
    /// An arena without memory.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            chunks: [Chunk {
                base: 0,
                used_bytes: 0,
            }; MAX_CHUNKS],
            count: 0,
            growth_chunks: 0,
        }
    }

    /// Adds the chunk at physical address `base`. At boot, or later by a replenisher.
    ///
    /// # Errors
    /// The chunk is unusable or there is no slot for it; nothing has changed.
    pub fn add_chunk(&mut self, base: u64) -> Result<(), ChunkRefused> {
        if base == 0 || !base.is_multiple_of(CHUNK_BYTES) || base >= CHUNK_LIMIT {
            return Err(ChunkRefused::Misplaced);
        }
        if self.contains(base) {
            return Err(ChunkRefused::Known);
        }
        let slot = self
            .chunks
            .get_mut(self.count)
            .ok_or(ChunkRefused::TooMany)?;
        *slot = Chunk {
            base,
            used_bytes: 0,
        };
        self.count += 1;
        self.growth_chunks = self.growth_chunks.saturating_sub(1);
        Ok(())
    }

    /// States how many chunks the platform can add later, while the guest runs. 0 (the default)
    /// means that the arena is all there will ever be.
    pub fn allow_growth(&mut self, chunks: u32) {
        let slots = MAX_CHUNKS.saturating_sub(self.count) as u32;
        self.growth_chunks = chunks.min(slots);
    }

    /// Chunks the platform may still add.
    #[must_use]
    pub const fn growth_chunks(&self) -> u32 {
        self.growth_chunks
    }

    /// Takes a block of `len_bytes` at a multiple of `align_bytes` (a power of two, at most a chunk),
    /// inside one chunk.
    ///
    /// # Errors
    /// No chunk has that much room (never for `len_bytes` above a chunk); nothing has changed.
    pub fn carve(
        &mut self,
        len_bytes: u32,
        align_bytes: u32,
    ) -> Result<Extent<GuestPhysical>, ArenaFull> {
        let left_bytes = self.left_bytes();
        self.live_mut()
            .iter_mut()
            .find_map(|chunk| chunk.carve(len_bytes, align_bytes))
            .ok_or(ArenaFull {
                wanted_bytes: u64::from(len_bytes),
                left_bytes,
            })
    }

    /// How many objects of this size and alignment [`Arena::carve`] would give, counted up to
    /// `most`.
    #[must_use]
    pub fn carvable_count(&self, len_bytes: u32, align_bytes: u32, most: u32) -> u32 {
        let mut count = 0;
        for chunk in self.live() {
            let mut trial = *chunk;
            while count < most && trial.carve(len_bytes, align_bytes).is_some() {
                count += 1;
            }
        }
        count
    }

    /// Bytes not taken, all chunks together. One object can use at most the rest of one chunk:
    /// whether a large one fits is for [`Arena::carve`] to say.
    #[must_use]
    pub fn left_bytes(&self) -> u64 {
        self.live()
            .iter()
            .map(|chunk| CHUNK_BYTES - u64::from(chunk.used_bytes))
            .sum()
    }

    /// Bytes taken, with what was skipped to align objects.
    #[must_use]
    pub fn carved_bytes(&self) -> u64 {
        self.live()
            .iter()
            .map(|chunk| u64::from(chunk.used_bytes))
            .sum()
    }

    /// All bytes, taken or not.
    #[must_use]
    pub const fn size_bytes(&self) -> u64 {
        self.count as u64 * CHUNK_BYTES
    }

    /// Whether the byte at `phys` belongs to the arena.
    #[must_use]
    pub fn contains(&self, phys: u64) -> bool {
        let base = phys & !(CHUNK_BYTES - 1);
        self.live().iter().any(|chunk| chunk.base == base)
    }

    /// Whether the byte at `phys` belongs to a block that was carved.
    #[must_use]
    pub fn is_carved(&self, phys: u64) -> bool {
        let base = phys & !(CHUNK_BYTES - 1);
        self.live()
            .iter()
            .any(|chunk| chunk.base == base && phys - base < u64::from(chunk.used_bytes))
    }

    /// Physical addresses of the chunks, in the order they were added.
    pub fn chunks(&self) -> impl Iterator<Item = u64> + Clone + '_ {
        self.live().iter().map(|chunk| chunk.base)
    }

    /// Remembers how full the arena is.
    #[must_use]
    pub fn mark(&self) -> ArenaMark {
        let mut used_bytes = [0; MAX_CHUNKS];
        for (slot, chunk) in used_bytes.iter_mut().zip(&self.chunks) {
            *slot = chunk.used_bytes;
        }
        ArenaMark { used_bytes }
    }

    /// Takes back everything carved since `mark`. Only for the pools, which know that none of it
    /// is in use.
    pub(super) fn rewind(&mut self, mark: &ArenaMark) {
        for (chunk, used_bytes) in self.chunks.iter_mut().zip(mark.used_bytes) {
            chunk.used_bytes = chunk.used_bytes.min(used_bytes);
        }
    }

    fn live(&self) -> &[Chunk] {
        self.chunks.get(..self.count).unwrap_or_default()
    }

    fn live_mut(&mut self) -> &mut [Chunk] {
        self.chunks.get_mut(..self.count).unwrap_or_default()
    }
}

impl Chunk {
    fn carve(&mut self, len_bytes: u32, align_bytes: u32) -> Option<Extent<GuestPhysical>> {
        if !align_bytes.is_power_of_two() || u64::from(align_bytes) > CHUNK_BYTES {
            return None;
        }
        let start = self.used_bytes.checked_next_multiple_of(align_bytes)?;
        let end = start.checked_add(len_bytes)?;
        if u64::from(end) > CHUNK_BYTES {
            return None;
        }
        self.used_bytes = end;
        let start = GuestPhysical(self.base + u64::from(start));
        Some(Extent::in_memory(start, len_bytes))
    }
}

impl Hidden for Arena {
    fn hides(&self, page: GuestPhysical) -> bool {
        self.contains(page.0)
    }
}

impl TableSource for Arena {
    fn take(&mut self) -> Option<u64> {
        let page_bytes = PAGE_BYTES as u32;
        self.carve(page_bytes, page_bytes)
            .ok()
            .map(|block| block.start().0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn arena(chunks: u64) -> Arena {
        let mut arena = Arena::new();
        for index in 0..chunks {
            // Every second chunk, so that no two touch.
            arena.add_chunk((2 * index + 1) * CHUNK_BYTES).unwrap();
        }
        arena
    }

    #[test]
    fn blocks_are_aligned_and_follow_each_other() {
        let mut arena = arena(1);
        assert_eq!(arena.carve(100, 64).unwrap().start().0, CHUNK_BYTES);
        assert_eq!(arena.carve(100, 64).unwrap().start().0, CHUNK_BYTES + 128);
        assert_eq!(arena.carve(1, 4096).unwrap().start().0, CHUNK_BYTES + 4096);
        assert_eq!(arena.carved_bytes(), 4097);
        assert_eq!(arena.left_bytes() + arena.carved_bytes(), CHUNK_BYTES);
    }

    #[test]
    fn no_block_crosses_a_chunk() {
        let mut arena = arena(2);
        let most = CHUNK_BYTES as u32 - 4096;
        assert_eq!(arena.carve(most, 4096).unwrap().start().0, CHUNK_BYTES);
        assert_eq!(arena.carve(8192, 4096).unwrap().start().0, 3 * CHUNK_BYTES);
        // The tail of the first chunk is not lost.
        assert_eq!(
            arena.carve(4096, 4096).unwrap().start().0,
            CHUNK_BYTES + u64::from(most)
        );
    }

    #[test]
    fn carve_fails_with_numbers_when_no_chunk_has_room() {
        let mut arena = arena(2);
        let more_than_a_chunk = CHUNK_BYTES as u32 + 1;
        assert_eq!(
            arena.carve(more_than_a_chunk, 1),
            Err(ArenaFull {
                wanted_bytes: CHUNK_BYTES + 1,
                left_bytes: 2 * CHUNK_BYTES
            })
        );
        assert!(arena.carve(16, 3).is_err());
        assert_eq!(arena.carved_bytes(), 0);
    }

    #[test]
    fn carvable_count_is_what_carve_gives() {
        let mut arena = arena(2);
        arena.carve(5000, 64).unwrap();
        let expected = arena.carvable_count(12288, 4096, u32::MAX);
        let mut count = 0;
        while arena.carve(12288, 4096).is_ok() {
            count += 1;
        }
        assert_eq!(count, expected);
        assert!(count > 300);
        assert_eq!(arena.carvable_count(12288, 4096, 7), 0);
    }

    #[test]
    fn chunks_hide_their_pages_and_no_others() {
        let arena = arena(2);
        assert!(arena.hides(GuestPhysical(CHUNK_BYTES)));
        assert!(arena.hides(GuestPhysical(2 * CHUNK_BYTES - 1)));
        assert!(!arena.hides(GuestPhysical(2 * CHUNK_BYTES)));
        assert!(!arena.hides(GuestPhysical(CHUNK_BYTES - 1)));
    }

    #[test]
    fn bad_chunks_are_refused() {
        let mut arena = arena(1);
        assert_eq!(arena.add_chunk(CHUNK_BYTES), Err(ChunkRefused::Known));
        assert_eq!(arena.add_chunk(4096), Err(ChunkRefused::Misplaced));
        assert_eq!(arena.add_chunk(0), Err(ChunkRefused::Misplaced));
        for index in 1..MAX_CHUNKS as u64 {
            arena.add_chunk((index + 9) * CHUNK_BYTES).unwrap();
        }
        assert_eq!(
            arena.add_chunk(9000 * CHUNK_BYTES),
            Err(ChunkRefused::TooMany)
        );
    }

    #[test]
    fn rewind_restores_the_fill_levels() {
        let mut arena = arena(2);
        arena.carve(100, 64).unwrap();
        let mark = arena.mark();
        arena.carve(CHUNK_BYTES as u32, 4096).unwrap();
        arena.carve(4096, 4096).unwrap();
        arena.rewind(&mark);
        assert_eq!(arena.carved_bytes(), 100);
    }
}
