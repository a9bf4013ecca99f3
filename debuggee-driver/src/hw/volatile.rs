//! Copies of memory that other cores or devices may change meanwhile: the compiler must neither
//! read twice nor assume that what it read is still there.
//!
//! Used by [`super::phys`], in the kernel and in VMX-root. Each byte is accessed once. Words that
//! are aligned in a long copy are accessed as a whole, so another core's store to one is seen
//! whole or not at all.

const WORD_BYTES: usize = size_of::<u64>();

/// From so many bytes on it pays to begin at a multiple of a word.
const ALIGNED_FROM_BYTES: usize = 4 * WORD_BYTES;

/// A value at any address.
#[derive(Clone, Copy)]
#[repr(C, packed)]
struct Unaligned<T>(T);

/// Bytes in front of the first word that is aligned, if the copy is long enough to begin there.
#[inline(always)]
fn edge_bytes(address: usize, len_bytes: usize) -> usize {
    if len_bytes < ALIGNED_FROM_BYTES {
        return 0;
    }
    address.wrapping_neg() % WORD_BYTES
}

/// Reads as many values of a type as there is room for, and leaves the rest of the room.
macro_rules! read_all {
    ($value:ty, $from:ident, $out:ident) => {
        let (places, $out) = $out.as_chunks_mut();
        for place in places {
            // SAFETY: of the bytes that may be read, the next ones; any alignment will do.
            let value = unsafe { $from.cast::<Unaligned<$value>>().read_volatile() };
            *place = { value.0 }.to_ne_bytes();
            $from = $from.wrapping_add(size_of::<$value>());
        }
    };
}

/// Writes as many values of a type as there are bytes for, and leaves the other bytes.
macro_rules! write_all {
    ($value:ty, $to:ident, $bytes:ident) => {
        let (values, $bytes) = $bytes.as_chunks();
        for value in values {
            let value = Unaligned(<$value>::from_ne_bytes(*value));
            // SAFETY: of the bytes that may be written, the next ones; any alignment will do.
            unsafe { $to.cast::<Unaligned<$value>>().write_volatile(value) };
            $to = $to.wrapping_add(size_of::<$value>());
        }
    };
}

/// Copies memory out.
///
/// # Safety
/// `out.len()` bytes from `from` are mapped and may be read, and `out` is not among them.
#[inline]
#[allow(
    unused_assignments,
    unused_variables,
    reason = "the last values leave nothing"
)]
pub(super) unsafe fn read(mut from: *const u8, out: &mut [u8]) {
    let (edge, out) = out.split_at_mut(edge_bytes(from.addr(), out.len()));
    read_all!(u8, from, edge);
    read_all!(u64, from, out);
    read_all!(u32, from, out);
    read_all!(u16, from, out);
    read_all!(u8, from, out);
}

/// Copies bytes in.
///
/// # Safety
/// `bytes.len()` bytes from `to` are mapped and may be written, and `bytes` is not among them.
#[inline]
#[allow(
    unused_assignments,
    unused_variables,
    reason = "the last values leave nothing"
)]
pub(super) unsafe fn write(mut to: *mut u8, bytes: &[u8]) {
    let (edge, bytes) = bytes.split_at(edge_bytes(to.addr(), bytes.len()));
    write_all!(u8, to, edge);
    write_all!(u64, to, bytes);
    write_all!(u32, to, bytes);
    write_all!(u16, to, bytes);
    write_all!(u8, to, bytes);
}

#[cfg(test)]
mod tests {
    use super::*;
    extern crate std;
    use std::vec;
    use std::vec::Vec;

    /// Every start within a word and every length up to some words.
    fn ranges() -> impl Iterator<Item = (usize, usize)> {
        (0..2 * WORD_BYTES)
            .flat_map(|start| (0..=ALIGNED_FROM_BYTES + 9).map(move |len| (start, len)))
    }

    #[test]
    fn what_is_read_is_what_stands_there() {
        let memory: Vec<u8> = (0..=255).collect();
        for (start, len) in ranges() {
            let mut out = vec![0xee; len + 1];
            let from = memory[start..start + len].as_ptr();
            // SAFETY: bytes of `memory`, which is another object than `out`.
            unsafe { read(from, &mut out[..len]) };
            assert_eq!(out[..len], memory[start..start + len]);
            assert_eq!(out[len], 0xee);
        }
    }

    #[test]
    fn what_is_written_stands_there_and_nothing_else_changes() {
        let bytes: Vec<u8> = (1..=255).collect();
        for (start, len) in ranges() {
            let mut memory = [0; 80];
            let to = memory[start..start + len].as_mut_ptr();
            // SAFETY: bytes of `memory`, which is another object than `bytes`.
            unsafe { write(to, &bytes[..len]) };
            assert_eq!(memory[start..start + len], bytes[..len]);
            let outside = memory[..start].iter().chain(&memory[start + len..]);
            assert!(outside.copied().all(|byte| byte == 0));
        }
    }

    #[test]
    fn long_copies_begin_with_what_is_before_a_word() {
        assert_eq!(edge_bytes(0x1003, ALIGNED_FROM_BYTES), 5);
        assert_eq!(edge_bytes(0x1000, ALIGNED_FROM_BYTES), 0);
        assert_eq!(edge_bytes(0x1003, ALIGNED_FROM_BYTES - 1), 0);
    }
}
