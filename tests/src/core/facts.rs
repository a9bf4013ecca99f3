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
        if bytes.len() != size_of::<Self>() {
            return None;
        }
        let mut bytes = bytes.iter().copied();
        let facts = Self::read(&mut || bytes.next().unwrap_or_default());
        facts.is_sound().then_some(facts)
    }

    /// Whether these can be facts, and not something that begins like them.
    fn is_sound(&self) -> bool {
        self.size_bytes == size_of::<Self>() as u64
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
