//! Poly1305 (RFC 8439, section 2.5) by 64-bit multiplications: four for sixteen bytes, where the library's code without vector
//! registers takes twenty-five. VMX-root has none, and half of what sealing a datagram took was this. For [`super::aead`], and
//! for the digest in [`super::session`]'s nonces.
//!
//! The sum is below 2^130 and a little between blocks; no branch and no address depends on what is authenticated, or on the
//! key. A test holds it to the library's.

use super::noise::Tag;

const BLOCK_BYTES: usize = 16;
pub(super) const KEY_BYTES: usize = 32;

/// The half of a key that multiplies has these bits clear.
const CLAMP: u128 = 0x0fff_fffc_0fff_fffc_0fff_fffc_0fff_ffff;

/// A message that is authenticated under a key: once, or else as a universal hash whose results nobody sees.
pub(super) struct Poly1305 {
    factor: [u64; 2],
    /// The upper half of it, times five fourths: what is above 2^130 comes down again five times.
    folded: u64,
    sum: [u64; 3],
    pad: u128,
}

fn wide(a: u64, b: u64) -> u128 {
    u128::from(a) * u128::from(b)
}

/// Both halves, the lower one first.
#[allow(
    clippy::cast_possible_truncation,
    reason = "it is what is wanted of each half"
)]
const fn halves(number: u128) -> [u64; 2] {
    [number as u64, (number >> 64) as u64]
}

impl Poly1305 {
    pub(super) fn new(key: &[u8; KEY_BYTES]) -> Self {
        let (factor, pad) = key.split_at(BLOCK_BYTES);
        let [factor, pad] = [factor, pad].map(number);
        let factor = halves(factor & CLAMP);
        let [_, upper] = factor;
        Self {
            factor,
            folded: upper + (upper >> 2),
            sum: [0; 3],
            pad,
        }
    }

    /// Takes bytes in, with zeroes behind them up to a whole block. Those of a message come at once.
    pub(super) fn update_padded(&mut self, bytes: &[u8]) {
        let (blocks, rest) = bytes.as_chunks::<BLOCK_BYTES>();
        for block in blocks {
            self.block(u128::from_le_bytes(*block), 1);
        }
        if !rest.is_empty() {
            self.block(number(rest), 1);
        }
    }

    /// The tag of what was taken in and of these bytes behind it.
    pub(super) fn finish(mut self, bytes: &[u8]) -> Tag {
        let (blocks, rest) = bytes.as_chunks::<BLOCK_BYTES>();
        for block in blocks {
            self.block(u128::from_le_bytes(*block), 1);
        }
        if !rest.is_empty() {
            // A one behind the last byte, and no further.
            self.block(number(rest) | 1 << (8 * rest.len()), 0);
        }
        self.tag()
    }

    /// Adds a block and what is above it, and multiplies modulo 2^130 - 5.
    fn block(&mut self, block: u128, above: u64) {
        let [low, high] = halves(block);
        let [a, b, c] = self.sum;
        let [a, carry] = halves(u128::from(a) + u128::from(low));
        let [b, carry] = halves(u128::from(b) + u128::from(high) + u128::from(carry));
        // A few bits.
        let c = c + carry + above;

        let [lower, upper] = self.factor;
        let first = wide(a, lower) + wide(b, self.folded);
        let second = wide(a, upper) + wide(b, lower) + u128::from(c * self.folded);
        let third = c * lower;
        let [a, carry] = halves(first);
        let [b, carry] = halves(second + u128::from(carry));
        let c = third + carry;

        // Above 2^130, five times.
        let over = (c & !3) + (c >> 2);
        let [a, carry] = halves(u128::from(a) + u128::from(over));
        let [b, carry] = halves(u128::from(b) + u128::from(carry));
        self.sum = [a, b, (c & 3) + carry];
    }

    fn tag(self) -> Tag {
        let [a, b, c] = self.sum;
        let low = u128::from(b) << 64 | u128::from(a);
        // It is below twice the modulus, which is taken away if adding five reaches 2^130.
        let (reduced, carries) = low.overflowing_add(5);
        let reaches = (c + u64::from(carries)) >> 2;
        let mask = u128::from(reaches).wrapping_neg();
        let low = low & !mask | reduced & mask;
        low.wrapping_add(self.pad).to_le_bytes()
    }
}

/// Sixteen bytes at most, the lowest first.
fn number(bytes: &[u8]) -> u128 {
    let mut block = [0; BLOCK_BYTES];
    for (place, byte) in block.iter_mut().zip(bytes) {
        *place = *byte;
    }
    u128::from_le_bytes(block)
}

#[cfg(test)]
mod tests {
    use super::*;
    use poly1305::universal_hash::{KeyInit, UniversalHash};
    use proptest::prelude::*;
    use std::vec::Vec;

    fn of_library(key: [u8; KEY_BYTES], padded: &[u8], bytes: &[u8]) -> Tag {
        let mut library = poly1305::Poly1305::new(&key.into());
        library.update_padded(padded);
        library.compute_unpadded(bytes).into()
    }

    fn tag(key: [u8; KEY_BYTES], padded: &[u8], bytes: &[u8]) -> Tag {
        let mut own = Poly1305::new(&key);
        own.update_padded(padded);
        own.finish(bytes)
    }

    /// Bytes that carry as far as can be, and others.
    fn bytes(most: usize) -> impl Strategy<Value = Vec<u8>> {
        let byte = prop_oneof![Just(0u8), Just(0xff), Just(0xfb), any::<u8>()];
        prop_oneof![
            proptest::collection::vec(byte, 0..most),
            proptest::collection::vec(Just(0xff), 0..most),
        ]
    }

    #[test]
    fn the_example_of_the_rfc_comes_out() {
        let key = [
            0x85, 0xd6, 0xbe, 0x78, 0x57, 0x55, 0x6d, 0x33, 0x7f, 0x44, 0x52, 0xfe, 0x42, 0xd5,
            0x06, 0xa8, 0x01, 0x03, 0x80, 0x8a, 0xfb, 0x0d, 0xb2, 0xfd, 0x4a, 0xbf, 0xf6, 0xaf,
            0x41, 0x49, 0xf5, 0x1b,
        ];
        let message = b"Cryptographic Forum Research Group";
        let expected = [
            0xa8, 0x06, 0x1d, 0xc1, 0x30, 0x51, 0x36, 0xc6, 0xc2, 0x2b, 0x8b, 0xaf, 0x0c, 0x01,
            0x27, 0xa9,
        ];
        assert_eq!(tag(key, &[], message), expected);
    }

    /// RFC 8439, appendix A.3, vectors 7 to 11: sums at and just above the modulus.
    #[test]
    fn sums_around_the_modulus_come_out() {
        let key = |factor: u8| {
            let mut key = [0; KEY_BYTES];
            key[0] = factor;
            key
        };
        let all = [0xff; 16];
        let with = |first: u8, rest: u8| {
            let mut block = [rest; 16];
            block[0] = first;
            block
        };
        for (factor, message, first) in [
            (1, [all, with(0xf0, 0xff), with(0x11, 0)].concat(), 5),
            (1, [all, with(0xfb, 0xfe), [1; 16]].concat(), 0),
            (2, with(0xfd, 0xff).to_vec(), 0xfa),
        ] {
            let tag = tag(key(factor), &[], &message);
            assert_eq!(tag, of_library(key(factor), &[], &message));
            assert_eq!(tag[0], first);
        }
    }

    proptest! {
        #![proptest_config(crate::proptest_config())]

        #[test]
        fn tags_are_those_of_the_library(
            key in proptest::array::uniform32(prop_oneof![Just(0xffu8), any::<u8>()]),
            padded in bytes(40),
            message in bytes(200),
        ) {
            prop_assert_eq!(tag(key, &padded, &message), of_library(key, &padded, &message));
        }
    }
}
