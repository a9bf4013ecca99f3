//! What the kernel's memory should hold, according to its image. The session names it by
//! checksum, and memory that is as linked is confirmed instead of sent.
//!
//! A kernel that is loaded elsewhere than linked relocates itself; the boot image carries the
//! list of places behind the ELF file, and the same is done here. Code that the kernel patches
//! while it boots is not foreseen: there the debuggee sends what it has.

use object::LittleEndian;
use object::elf::{FileHeader64, PT_LOAD};
use object::read::elf::{FileHeader, ProgramHeader};

/// Smaller addresses are offsets into per-cpu areas.
const LOWEST_ADDRESS: u64 = 0xffff_ffff_8000_0000;

struct Segment {
    /// Where it was linked.
    address: u64,
    bytes: Vec<u8>,
}

/// Content of a kernel's memory.
pub struct Image {
    segments: Vec<Segment>,
    relocations: Relocations,
    slide: u64,
}

/// Link-time addresses of numbers that depend on where the kernel is.
#[derive(Debug, Default, PartialEq, Eq)]
struct Relocations {
    add_32: Vec<u64>,
    subtract_32: Vec<u64>,
    add_64: Vec<u64>,
}

impl Relocations {
    /// Reads the list at the end of an unpacked boot payload: 32-bit numbers, read backwards, in
    /// three parts that end with zero.
    fn at_end_of(payload: &[u8]) -> Self {
        let mut backwards = payload.rchunks_exact(4).map(|b| {
            let number = i32::from_le_bytes([b[0], b[1], b[2], b[3]]);
            i64::from(number).cast_unsigned()
        });
        let mut part = || -> Vec<u64> {
            let part: Vec<u64> = backwards
                .by_ref()
                .take_while(|address| *address != 0)
                .collect();
            part
        };
        let relocations = Self {
            add_32: part(),
            subtract_32: part(),
            add_64: part(),
        };
        let all = [
            &relocations.add_32,
            &relocations.subtract_32,
            &relocations.add_64,
        ];
        // A bare vmlinux has no list at its end: whatever stands there are no addresses.
        if all
            .into_iter()
            .flatten()
            .all(|address| *address >= LOWEST_ADDRESS)
        {
            relocations
        } else {
            Self::default()
        }
    }
}

impl Image {
    /// Reads the loadable parts of an unpacked kernel.
    #[must_use]
    pub fn read(payload: &[u8]) -> Option<Self> {
        let header = FileHeader64::<LittleEndian>::parse(payload).ok()?;
        let endian = header.endian().ok()?;
        let segments: Vec<Segment> = header
            .program_headers(endian, payload)
            .ok()?
            .iter()
            .filter(|h| h.p_type(endian) == PT_LOAD && h.p_vaddr(endian) >= LOWEST_ADDRESS)
            .filter_map(|h| {
                Some(Segment {
                    address: h.p_vaddr(endian),
                    bytes: h.data(endian, payload).ok()?.to_vec(),
                })
            })
            .collect();
        (!segments.is_empty()).then(|| Self {
            segments,
            relocations: Relocations::at_end_of(payload),
            slide: 0,
        })
    }

    /// The kernel runs `slide` bytes behind where it was linked.
    pub fn slide_to(&mut self, slide: u64) {
        let change = slide.wrapping_sub(self.slide);
        self.slide = slide;
        if change == 0 {
            return;
        }
        let Relocations {
            add_32,
            subtract_32,
            add_64,
        } = &self.relocations;
        for (addresses, len, change) in [
            (add_32, 4, change),
            (subtract_32, 4, change.wrapping_neg()),
            (add_64, 8, change),
        ] {
            for address in addresses {
                let Some(number) = within(&mut self.segments, *address, len) else {
                    continue;
                };
                let old = number
                    .iter()
                    .rev()
                    .fold(0_u64, |v, b| v << 8 | u64::from(*b));
                let new = old.wrapping_add(change).to_le_bytes();
                number.copy_from_slice(&new[..len]);
            }
        }
    }

    /// What should be at `address` now, if the image says so for all `len` bytes.
    #[must_use]
    pub fn expected(&self, address: u64, len: usize) -> Option<Vec<u8>> {
        let linked = address.wrapping_sub(self.slide);
        self.segments.iter().find_map(|segment| {
            let at = usize::try_from(linked.checked_sub(segment.address)?).ok()?;
            segment
                .bytes
                .get(at..at.checked_add(len)?)
                .map(<[u8]>::to_vec)
        })
    }
}

fn within(segments: &mut [Segment], address: u64, len: usize) -> Option<&mut [u8]> {
    segments.iter_mut().find_map(|segment| {
        let at = usize::try_from(address.checked_sub(segment.address)?).ok()?;
        segment.bytes.get_mut(at..at.checked_add(len)?)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: u64 = 0xffff_ffff_8100_0000;

    /// An ELF file with one loadable part of 64 bytes, and relocations behind it.
    fn payload() -> Vec<u8> {
        let mut file = vec![0; 64 + 56];
        file[..7].copy_from_slice(b"\x7fELF\x02\x01\x01");
        file[16] = 2;
        file[18] = 62;
        file[20] = 1;
        file[32] = 64; // program headers begin here
        file[52] = 64; // size of this header
        file[54] = 56; // size of a program header
        file[56] = 1; // number of them
        file[64] = 1; // loadable
        file[64 + 8] = 120; // at this byte of the file
        file[64 + 16..64 + 24].copy_from_slice(&TEXT.to_le_bytes());
        file[64 + 32] = 64;
        file[64 + 40] = 64;
        file.extend((0..64_u8).map(|n| if n < 16 { n } else { 0 }));
        for relocation in [0, TEXT + 8, 0, TEXT + 4, 0, TEXT] {
            file.extend_from_slice(&(relocation as u32).to_le_bytes());
        }
        file
    }

    #[test]
    fn the_image_is_what_was_linked_when_nothing_slides() {
        let image = Image::read(&payload()).expect("an image");
        assert_eq!(image.expected(TEXT + 1, 3), Some(vec![1, 2, 3]));
        assert_eq!(image.expected(TEXT + 60, 5), None);
        assert_eq!(image.expected(0x1000, 1), None);
    }

    #[test]
    fn numbers_that_depend_on_the_place_are_changed() {
        let mut image = Image::read(&payload()).expect("an image");
        image.slide_to(0x100_0000);
        let moved = image.expected(TEXT + 0x100_0000, 16).expect("there");
        assert_eq!(moved[..4], [0, 1, 2, 4]);
        assert_eq!(moved[4..8], [4, 5, 6, 6]);
        assert_eq!(moved[8..], [8, 9, 10, 12, 12, 13, 14, 15]);
        image.slide_to(0);
        assert_eq!(image.expected(TEXT, 4), Some(vec![0, 1, 2, 3]));
    }

    #[test]
    fn a_file_without_relocations_has_none() {
        assert_eq!(
            Relocations::at_end_of(&[1, 2, 3, 4, 0, 0, 0, 0, 9, 9, 9, 9]),
            Relocations::default()
        );
    }
}
