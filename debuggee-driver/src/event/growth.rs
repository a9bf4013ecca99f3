//! More memory for the arena, given by the operating system while the guest runs, taken over in
//! VMX-root at the next halt with every core held. The caller flushes, as after any change of the
//! views.

use super::installed::Installed;
use crate::pool::arena::ChunkRefused;
use crate::port::PhysicalMemory;

/// Why a chunk was not taken over; it stays the operating system's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GrowthRefused {
    /// The arena does not want it.
    Chunk(ChunkRefused),
    /// A view does not map it by one large leaf: there is a hook in it, or it is no plain RAM.
    NotPlain,
}

impl Installed {
    /// Hides the 2 MiB chunk at physical address `base` from the guest, adds it to the arena and
    /// carves what waits for memory. Returns how many objects became ready.
    ///
    /// # Errors
    /// The chunk is unusable; nothing has changed.
    pub fn grow(&mut self, mem: &mut impl PhysicalMemory, base: u64) -> Result<u32, GrowthRefused> {
        let views = *self.views();
        let both = [views.hooked, views.clean];
        if !both.iter().all(|view| view.can_hide_chunk(mem, base)) {
            return Err(GrowthRefused::NotPlain);
        }
        let arena = self.pools_mut().arena_mut();
        arena.add_chunk(base).map_err(GrowthRefused::Chunk)?;
        for view in both {
            // The new chunk itself has room for the tables.
            let hidden = view.hide_chunk(mem, base, arena);
            debug_assert!(hidden.is_ok(), "checked above");
        }
        Ok(self.pools_mut().replenish())
    }
}
