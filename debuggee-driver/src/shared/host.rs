//! What was agreed with the host in the last handshake. Kept in the arena, where the guest does not
//! see it. Written by the core that has the line, read by the one that serves a halt.

use core::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering::SeqCst};
use wire_protocol::digest::DigestKey;
use wire_protocol::packet::Features;

/// See the module. Without a session nothing can be done and nothing is known.
#[derive(Debug, Default)]
pub(super) struct HostSession {
    features: AtomicU32,
    has_begun: AtomicBool,
    has_key: AtomicBool,
    key: [AtomicU64; DigestKey::BYTES / 8],
}

impl HostSession {
    /// Forgets the session before.
    pub(super) fn begin(&self, features: Features, key: Option<DigestKey>) {
        self.has_key.store(false, SeqCst);
        self.features.store(features.bits(), SeqCst);
        self.has_begun.store(true, SeqCst);
        let Some(key) = key else {
            return;
        };
        let words = key.0.as_chunks().0.iter().copied().map(u64::from_le_bytes);
        for (slot, word) in self.key.iter().zip(words) {
            slot.store(word, SeqCst);
        }
        self.has_key.store(true, SeqCst);
    }

    /// There was one.
    pub(super) fn has_begun(&self) -> bool {
        self.has_begun.load(SeqCst)
    }

    /// What the host can do.
    pub(super) fn features(&self) -> Features {
        Features::from_bits_retain(self.features.load(SeqCst))
    }

    /// The key of its digests.
    pub(super) fn digest_key(&self) -> Option<DigestKey> {
        if !self.has_key.load(SeqCst) {
            return None;
        }
        let mut key = DigestKey::default();
        for (bytes, word) in key.0.chunks_exact_mut(8).zip(&self.key) {
            bytes.copy_from_slice(&word.load(SeqCst).to_le_bytes());
        }
        Some(key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_has_its_own_key_or_none() {
        let host = HostSession::default();
        assert!(!host.has_begun());
        assert_eq!(host.digest_key(), None);
        let key = DigestKey([1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16]);
        host.begin(Features::all(), Some(key));
        assert_eq!(host.digest_key(), Some(key));
        host.begin(Features::empty(), None);
        assert_eq!(host.digest_key(), None);
        assert_eq!(host.features(), Features::empty());
        assert!(host.has_begun());
    }
}
