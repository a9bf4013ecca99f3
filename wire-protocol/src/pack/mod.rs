//! Memory contents made shorter for the line.
//!
//! The debuggee packs in VMX-root while it is halted, the host unpacks; both run the same model. Kernel code is the
//! usual content, and one page of it is short: general compressors have hardly learned anything by its end. Of 53 pages
//! of the text of a running 6.1 kernel the median is 3280 bytes as an LZ4 block, 2580 as deflate, 2480 as LZMA, and 2120
//! here, since the model knows how x86-64 instructions are built. A page takes twenty million instructions: some
//! milliseconds, where a serial line needs 170 for the bytes that are saved. Where a byte of the line costs less than that,
//! [`quick`] packs.

mod coder;
mod instruction;
mod model;
pub mod quick;

use coder::{Decoder, Encoder};
use model::Model;

/// Working memory of both directions; what is in it does not matter.
pub const WORK_BYTES: usize = model::TABLE_BYTES;

/// How content was packed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Packing {
    /// By the model, for slow lines.
    Model,
    /// It is one byte over and over, and packed to that.
    Repeated,
    /// By tables, where a byte of the line costs less than the model.
    Quick,
}

impl Packing {
    /// Working memory that unpacking takes.
    #[must_use]
    pub const fn work_bytes(self) -> usize {
        match self {
            Self::Model => WORK_BYTES,
            Self::Repeated | Self::Quick => 0,
        }
    }

    /// Unpacks into all of `content`. Bytes that were never packed give some content, too, but for [`Self::Repeated`]. False if
    /// that is not one byte, or `work` is shorter than [`Self::work_bytes`].
    #[must_use]
    pub fn unpack(self, packed: &[u8], work: &mut [u8], content: &mut [u8]) -> bool {
        match (self, packed) {
            (Self::Model, _) => return unpack(packed, work, content),
            (Self::Repeated, [byte]) => content.fill(*byte),
            (Self::Repeated, _) => return false,
            (Self::Quick, _) => quick::unpack(packed, content),
        }
        true
    }
}

/// The byte that `content` is, if it is several and all of them are the same.
#[must_use]
pub fn repeated(content: &[u8]) -> Option<&[u8]> {
    let (first, behind) = content.split_first_chunk::<1>()?;
    // Each is like the one before it.
    (!behind.is_empty() && behind == content.get(..behind.len())?).then_some(first)
}

/// Packs `content` into `out`. Returns the length, or `None` if it did not become shorter than `out`, or `work` is
/// shorter than [`WORK_BYTES`].
pub fn pack(content: &[u8], work: &mut [u8], out: &mut [u8]) -> Option<usize> {
    let mut model = Model::new(work)?;
    let mut encoder = Encoder::new(out);
    for (index, byte) in content.iter().enumerate() {
        model.begin_byte(content.get(..index)?);
        for shift in (0..8).rev() {
            let bit = byte >> shift & 1 != 0;
            if !encoder.push(bit, model.predict()) {
                return None;
            }
            model.update(bit);
        }
    }
    encoder.finish()
}

/// Unpacks into all of `content`. Bytes that [`pack`] did not make give some content, too. False if `work` is shorter
/// than [`WORK_BYTES`].
#[must_use]
pub fn unpack(packed: &[u8], work: &mut [u8], content: &mut [u8]) -> bool {
    let Some(mut model) = Model::new(work) else {
        return false;
    };
    let mut decoder = Decoder::new(packed);
    for index in 0..content.len() {
        let (before, rest) = content.split_at_mut(index);
        model.begin_byte(before);
        let mut byte = 0;
        for _ in 0..8 {
            let bit = decoder.pull(model.predict());
            model.update(bit);
            byte = byte << 1 | u8::from(bit);
        }
        if let Some(place) = rest.first_mut() {
            *place = byte;
        }
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::vec;
    use std::vec::Vec;

    fn packed(content: &[u8]) -> Option<Vec<u8>> {
        let mut out = vec![0; content.len().saturating_sub(1)];
        let len = pack(content, &mut vec![0x55; WORK_BYTES], &mut out)?;
        out.truncate(len);
        Some(out)
    }

    fn unpacked(packed: &[u8], len: usize) -> Vec<u8> {
        let mut content = vec![0xaa; len];
        assert!(unpack(packed, &mut vec![0x33; WORK_BYTES], &mut content));
        content
    }

    /// The interpreter is slow.
    const LEN: usize = if cfg!(miri) { 48 } else { 1024 };

    fn noise(len: usize) -> Vec<u8> {
        let mut state = 1_u64;
        let step = |_| {
            state = state.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(1);
            (state >> 56) as u8
        };
        (0..len).map(step).collect()
    }

    #[test]
    fn zeroes_and_ones_almost_vanish() {
        for content in [[0; LEN], [0xff; LEN]] {
            let packed = packed(&content).unwrap();
            assert!((1..16).contains(&packed.len()), "{}", packed.len());
            assert_eq!(unpacked(&packed, LEN), content);
        }
    }

    #[test]
    fn noise_does_not_become_shorter() {
        assert_eq!(packed(&noise(LEN)), None);
    }

    #[test]
    fn too_little_memory_is_told() {
        let mut work = vec![0; WORK_BYTES - 1];
        assert_eq!(pack(&[0; 64], &mut work, &mut [0; 64]), None);
        assert!(!unpack(&[0; 4], &mut work, &mut [0; 64]));
    }

    #[test]
    fn nothing_packs_to_something_and_back() {
        assert_eq!(
            unpacked(&packed(&[]).unwrap_or_default(), 0),
            Vec::<u8>::new()
        );
    }

    /// Pages of the code of this very program.
    #[cfg(all(target_arch = "x86_64", target_os = "linux", not(miri)))]
    fn code_pages() -> Vec<Vec<u8>> {
        let file = std::fs::read(std::env::current_exe().unwrap()).unwrap();
        let word = |at: usize| u64::from_le_bytes(file[at..at + 8].try_into().unwrap()) as usize;
        let half = |at: usize| usize::from(u16::from_le_bytes([file[at], file[at + 1]]));
        // Program headers: number, place; then flags, offset and size of each.
        let segments = (0..half(56)).map(|index| word(32) + index * half(54));
        let code = segments
            .filter(|at| file[*at] == 1 && file[at + 4] & 1 != 0)
            .map(|at| &file[word(at + 8)..word(at + 8) + word(at + 32)])
            .max_by_key(|code| code.len())
            .unwrap();
        let pages: Vec<_> = code.chunks_exact(4096).collect();
        let step = pages.len() / 16;
        pages
            .iter()
            .step_by(step)
            .map(|page| page.to_vec())
            .collect()
    }

    #[test]
    #[cfg(all(target_arch = "x86_64", target_os = "linux", not(miri)))]
    fn page_of_code_is_halved() {
        let mut lengths: Vec<_> = code_pages()
            .iter()
            .map(|page| {
                let packed = packed(page).unwrap();
                assert_eq!(&unpacked(&packed, page.len()), page);
                packed.len()
            })
            .collect();
        lengths.sort_unstable();
        let median = lengths[lengths.len() / 2];
        assert!(median < 2200, "{lengths:?}");
    }

    proptest! {
        #![proptest_config(proptest::test_runner::Config { cases: if cfg!(miri) { 1 } else { 64 }, ..crate::proptest_config() })]

        #[test]
        fn content_comes_back(
            parts in proptest::collection::vec((any::<u8>(), 1_usize..5, proptest::collection::vec(any::<u8>(), 0..12)), 0..if cfg!(miri) { 3 } else { 24 })
        ) {
            let content: Vec<u8> = parts
                .iter()
                .flat_map(|(byte, times, rest)| [vec![*byte; *times], rest.repeat(*times)].concat())
                .collect();
            if let Some(packed) = packed(&content) {
                prop_assert!(packed.len() < content.len());
                prop_assert_eq!(unpacked(&packed, content.len()), content);
            }
        }

        #[test]
        fn any_bytes_unpack_to_something(bytes in proptest::collection::vec(any::<u8>(), 0..64), len in 0_usize..if cfg!(miri) { 20 } else { 300 }) {
            prop_assert_eq!(unpacked(&bytes, len).len(), len);
        }
    }
}
