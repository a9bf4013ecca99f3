//! What stands for memory on the line: "is it still what I think it is?" is asked by digest. Made
//! by the host for what it expects, by the driver in VMX-root for what is there.
//!
//! A digest that anybody can compute would let code that knows the original be changed so that it
//! has the same: it would be shown unchanged. So it is keyed. The driver draws the key anew for every
//! session, in VMX-root from the processor's own source, keeps it in memory that the guest does not
//! see, and tells the host over a port that the guest does not see; nor does the guest ever see a
//! digest. SipHash-2-4 with 128 bits of output is made for
//! that: without the key nothing is known about its output. It needs neither tables nor vector
//! registers, which VMX-root does not have.

use core::fmt;
use siphasher::sip128::SipHasher24;

/// The key of one session.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub struct DigestKey(pub [u8; Self::BYTES]);

impl DigestKey {
    /// Its length.
    pub const BYTES: usize = 16;

    /// The digest of these bytes, under this key.
    #[must_use]
    pub fn digest(&self, bytes: &[u8]) -> Digest {
        Digest(SipHasher24::new_with_key(&self.0).hash(bytes).as_u128())
    }
}

/// A key is nobody's business, not even in a message of a test.
impl fmt::Debug for DigestKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("DigestKey")
    }
}

/// The digest of some bytes, under the key of a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Digest(pub u128);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crc::Crc32;

    /// The key of the reference implementation's test vectors.
    fn key() -> DigestKey {
        let mut key = DigestKey::default();
        for (byte, number) in key.0.iter_mut().zip(0..) {
            *byte = number;
        }
        key
    }

    #[test]
    fn test_vectors_of_the_reference_come_out() {
        // SipHash, reference implementation, `vectors_sip128`: the first, and those of 1 and 15 bytes.
        for (len, expected) in [
            (
                0,
                [
                    0xa3, 0x81, 0x7f, 0x04, 0xba, 0x25, 0xa8, 0xe6, 0x6d, 0xf6, 0x72, 0x14, 0xc7,
                    0x55, 0x02, 0x93,
                ],
            ),
            (
                1,
                [
                    0xda, 0x87, 0xc1, 0xd8, 0x6b, 0x99, 0xaf, 0x44, 0x34, 0x76, 0x59, 0x11, 0x9b,
                    0x22, 0xfc, 0x45,
                ],
            ),
            (
                15,
                [
                    0x54, 0x93, 0xe9, 0x99, 0x33, 0xb0, 0xa8, 0x11, 0x7e, 0x08, 0xec, 0x0f, 0x97,
                    0xcf, 0xc3, 0xd9,
                ],
            ),
        ] {
            let bytes: std::vec::Vec<u8> = (0..len).collect();
            assert_eq!(key().digest(&bytes).0.to_le_bytes(), expected, "{len}");
        }
    }

    #[test]
    fn bytes_of_the_same_crc_have_other_digests() {
        // These five bytes, the polynomial's, leave every CRC-32 (ISO-HDLC) as it is.
        let original = [0x90; 16];
        let mut patched = original;
        for (byte, change) in patched.iter_mut().zip([0x41, 0x06, 0x71, 0xdb, 0x01]) {
            *byte ^= change;
        }
        let crc = |bytes: &[u8]| {
            let mut crc = Crc32::new();
            crc.update(bytes);
            crc.finish()
        };
        assert_eq!(crc(&original), crc(&patched));
        assert_ne!(key().digest(&original), key().digest(&patched));
    }

    #[test]
    fn another_key_is_another_digest() {
        assert_ne!(key().digest(&[1]), DigestKey::default().digest(&[1]));
    }
}
