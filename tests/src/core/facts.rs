//! What a platform told the driver at its load, found in the memory of the machine that runs it.

#[allow(dead_code, reason = "what only the platform needs")]
#[path = "../../../debuggee-driver/platform/linux/src/facts.rs"]
mod platform;

use platform::Raw as _;
pub(super) use platform::RawFacts;
use wire_protocol::limits;

impl RawFacts {
    /// From its bytes.
    pub(super) fn from_bytes(bytes: &[u8]) -> Option<Self> {
        if !Self::is_size(bytes.len()) {
            return None;
        }
        let len = bytes.len() as u64;
        let mut bytes = bytes.iter().copied();
        let facts = Self::read(&mut || bytes.next().unwrap_or_default());
        (facts.is_sound() && facts.size_bytes == len).then_some(facts)
    }

    /// Recordings of drivers that did not tell of lists of tasks have these fields less, at the end.
    const LATER_BYTES: usize = 10 * size_of::<u64>();

    /// Whether facts can have this size.
    const fn is_size(bytes: usize) -> bool {
        bytes == size_of::<Self>() || bytes == size_of::<Self>() - Self::LATER_BYTES
    }

    /// Whether these can be facts, and not something that begins like them.
    fn is_sound(&self) -> bool {
        Self::is_size(self.size_bytes as usize)
            && (1..=self.chunks.len() as u64).contains(&self.chunk_count)
            && (1..=limits::CORES as u64).contains(&self.core_count)
            && self.banner_bytes <= limits::BANNER_BYTES as u64
            && self.token != 0
    }

    /// Chunks of the arena.
    pub(super) fn chunks(&self) -> &[u64] {
        &self.chunks[..self.chunk_count as usize]
    }
}
