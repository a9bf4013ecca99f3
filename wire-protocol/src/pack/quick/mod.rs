//! Code made shorter where a byte of the line costs less than the model: with tables that were made beforehand.
//!
//! The debuggee packs in VMX-root for the network, the host unpacks; both walk through the same instructions. Of the 2590 pages of
//! the text of a running 6.1 kernel that are not one byte over and over the median is 2013 bytes, and nine in ten are at most 2192,
//! where the tables were counted in kernels of two other versions. A page takes 180,000 instructions, a hundredth of what the model
//! takes. Nothing is learned on the way and nothing is kept, so that a page is as short alone as among others.

mod range;
pub mod tables;
pub mod walk;

use range::{Decoder, Encoder};
use tables::{holder, share};
use walk::{Coder, walk};

/// Packing ends where what was packed is not shorter by one part in so many, and
const GAIN: usize = 16;
/// so many bytes: what may come before code, or between it, and becomes longer.
const PATIENCE_BYTES: usize = 256;

struct Packer<'c, 'o> {
    rest: core::slice::Iter<'c, u8>,
    len: usize,
    encoder: Encoder<'o>,
    /// The buffer is full, or nothing is gained.
    has_failed: bool,
}

impl Packer<'_, '_> {
    /// Whether what was packed so far has become shorter.
    #[inline(always)]
    fn write(&mut self) -> bool {
        let taken = self.len - self.rest.len();
        let enough = taken - taken / GAIN + PATIENCE_BYTES;
        let written = self.encoder.write_word();
        written.is_some_and(|written| written < enough)
    }
}

impl Coder for Packer<'_, '_> {
    #[inline(always)]
    fn next(&mut self, context: usize) -> Option<u8> {
        let byte = *self.rest.next()?;
        let (start, width) = share(context, byte);
        self.encoder.push(start, width);
        if self.encoder.has_word() && !self.write() {
            self.has_failed = true;
            return None;
        }
        Some(byte)
    }
}

/// Packs `content` into `out`. Returns the length, or `None` if it has no room there, or nothing that becomes shorter.
pub fn pack(content: &[u8], out: &mut [u8]) -> Option<usize> {
    let mut packer = Packer {
        rest: content.iter(),
        len: content.len(),
        encoder: Encoder::new(out),
        has_failed: false,
    };
    walk(&mut packer);
    if packer.has_failed {
        return None;
    }
    packer.encoder.finish()
}

struct Unpacker<'i, 'c> {
    decoder: Decoder<'i>,
    places: core::slice::IterMut<'c, u8>,
}

impl Coder for Unpacker<'_, '_> {
    fn next(&mut self, context: usize) -> Option<u8> {
        let place = self.places.next()?;
        let byte = holder(context, self.decoder.place());
        let (start, width) = share(context, byte);
        self.decoder.take(start, width);
        *place = byte;
        Some(byte)
    }
}

/// Unpacks into all of `content`. Bytes that [`pack`] did not make give some content, too.
pub fn unpack(packed: &[u8], content: &mut [u8]) {
    walk(&mut Unpacker {
        decoder: Decoder::new(packed),
        places: content.iter_mut(),
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::vec;
    use std::vec::Vec;

    fn packed(content: &[u8]) -> Option<Vec<u8>> {
        let mut out = vec![0x55; content.len().saturating_sub(1)];
        let len = pack(content, &mut out)?;
        out.truncate(len);
        Some(out)
    }

    fn unpacked(packed: &[u8], len: usize) -> Vec<u8> {
        let mut content = vec![0xaa; len];
        unpack(packed, &mut content);
        content
    }

    fn noise(len: usize) -> Vec<u8> {
        let mut state = 1_u64;
        let step = |_| {
            state = state.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(1);
            (state >> 56) as u8
        };
        (0..len).map(step).collect()
    }

    /// What compilers make of a short function.
    const CODE: [u8; 35] = [
        0x0f, 0x1f, 0x44, 0x00, 0x00, 0x55, 0x48, 0x89, 0xe5, 0x53, 0x48, 0x89, 0xfb, 0x48, 0x83,
        0xec, 0x08, 0x48, 0x8b, 0x47, 0x10, 0x48, 0x85, 0xc0, 0x74, 0x05, 0xe8, 0x34, 0x12, 0x00,
        0x00, 0x5b, 0x5d, 0xc3, 0xcc,
    ];

    #[test]
    fn short_code_is_halved_too() {
        let packed = packed(&CODE).unwrap();
        assert!(packed.len() * 2 < CODE.len(), "{packed:?}");
        assert_eq!(unpacked(&packed, CODE.len()), CODE);
    }

    #[test]
    fn code_cut_anywhere_comes_back() {
        // The interpreter is slow.
        let step = if cfg!(miri) { 9 } else { 1 };
        for from in (0..CODE.len()).step_by(step) {
            for to in (from..=CODE.len()).step_by(step) {
                let content = &CODE[from..to];
                if let Some(packed) = packed(content) {
                    assert_eq!(unpacked(&packed, content.len()), content);
                }
            }
        }
    }

    #[test]
    fn noise_is_given_up_soon() {
        let content = noise(16 << 10);
        assert_eq!(packed(&content), None);
        let mut out = vec![0; content.len() - 1];
        assert_eq!(pack(&content, &mut out), None);
        let touched = out.iter().rposition(|byte| *byte != 0).unwrap_or(0);
        assert!(touched < 4 << 10, "{touched}");
    }

    #[test]
    fn code_behind_a_little_noise_is_packed() {
        let content = [noise(128), CODE.repeat(64)].concat();
        let packed = packed(&content).unwrap();
        assert!(packed.len() < content.len() * 6 / 10, "{}", packed.len());
        assert_eq!(unpacked(&packed, content.len()), content);
    }

    #[test]
    fn too_little_room_is_told() {
        let len = packed(&CODE).unwrap().len();
        assert_eq!(pack(&CODE, &mut vec![0; len - 1]), None);
        assert_eq!(pack(&CODE, &mut vec![0; len]), Some(len));
        assert_eq!(pack(&CODE, &mut []), None);
    }

    #[test]
    fn cut_or_empty_input_gives_some_content() {
        let packed = packed(&CODE).unwrap();
        for to in 0..packed.len() {
            assert_eq!(unpacked(&packed[..to], CODE.len()).len(), CODE.len());
        }
        assert_eq!(unpacked(&[], 0), Vec::<u8>::new());
    }

    proptest! {
        #![proptest_config(proptest::test_runner::Config { cases: if cfg!(miri) { 2 } else { 256 }, ..crate::proptest_config() })]

        #[test]
        fn content_comes_back(
            parts in proptest::collection::vec(
                prop_oneof![
                    (any::<u8>(), 1_usize..200).prop_map(|(byte, times)| vec![byte; times]),
                    proptest::collection::vec(any::<u8>(), 0..40),
                    (0..CODE.len(), 0..CODE.len()).prop_map(|(a, b)| CODE[a.min(b)..a.max(b)].to_vec()),
                ],
                0..if cfg!(miri) { 3 } else { 60 },
            ),
        ) {
            let content = parts.concat();
            if let Some(packed) = packed(&content) {
                prop_assert!(packed.len() < content.len());
                prop_assert_eq!(unpacked(&packed, content.len()), content);
            }
        }

        #[test]
        fn any_bytes_unpack_to_something(
            bytes in proptest::collection::vec(any::<u8>(), 0..64),
            len in 0_usize..if cfg!(miri) { 20 } else { 3000 },
        ) {
            prop_assert_eq!(unpacked(&bytes, len).len(), len);
        }
    }
}
