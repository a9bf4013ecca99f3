//! Bytes that nobody else may know, and what is derived from them. For all of [`super`].

use blake2::Blake2sMac256;
use blake2::digest::{KeyInit, Mac};
use core::fmt;
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

/// Bytes of each key.
pub(super) const SECRET_BYTES: usize = 32;

/// Random bits that were never used before: from the processor (RDRAND), or from a generator that the operating system
/// seeded.
pub type Random = [u8; SECRET_BYTES];

/// A key. It is overwritten when it goes, and compared in the same time whatever it is.
#[derive(Clone)]
pub(super) struct Secret(pub(super) Zeroizing<[u8; SECRET_BYTES]>);

impl Secret {
    pub(super) fn new(bytes: [u8; SECRET_BYTES]) -> Self {
        Self(Zeroizing::new(bytes))
    }

    /// Keyed BLAKE2s of these pieces, joined.
    pub(super) fn mac(&self, pieces: &[&[u8]]) -> [u8; SECRET_BYTES] {
        let mut mac = Blake2sMac256::new((&*self.0).into());
        for piece in pieces {
            mac.update(piece);
        }
        mac.finalize().into_bytes().into()
    }

    /// Another key, which tells nothing of this one. The purpose is as long as it is, so that no two are confused.
    pub(super) fn derive(&self, purpose: &[u8; 16]) -> Self {
        Self::new(self.mac(&[purpose]))
    }
}

impl PartialEq for Secret {
    fn eq(&self, other: &Self) -> bool {
        self.0.ct_eq(&*other.0).into()
    }
}

impl Eq for Secret {}

/// Not even in a message of a test.
impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret")
    }
}
