//! A range coder: a symbol that was given `width` of [`WHOLE`] takes log2(WHOLE / width) bits.

/// Bits of what all symbols have together.
const WHOLE_BITS: u32 = 15;
/// What all symbols have together.
pub(super) const WHOLE: u16 = 1 << WHOLE_BITS;

/// The range never becomes narrower, so that each symbol has some of it.
const NARROW: u64 = 1 << 32;
const WORD_BYTES: usize = 4;

/// Writes coded symbols.
pub(super) struct Encoder<'o> {
    low: u64,
    range: u64,
    out: &'o mut [u8],
    len: usize,
}

impl<'o> Encoder<'o> {
    pub(super) fn new(out: &'o mut [u8]) -> Self {
        Self {
            low: 0,
            range: u64::MAX,
            out,
            len: 0,
        }
    }

    /// Codes the symbol that has `width`, not 0, from `start`. Then [`Self::write_word`] is called if [`Self::has_word`].
    #[inline(always)]
    pub(super) fn push(&mut self, start: u16, width: u16) {
        let unit = self.range >> WHOLE_BITS;
        self.range = unit * u64::from(width);
        self.raise(unit * u64::from(start));
    }

    #[inline(always)]
    fn raise(&mut self, by: u64) {
        let (low, carries) = self.low.overflowing_add(by);
        self.low = low;
        if carries {
            carry(self.out.get_mut(..self.len).unwrap_or_default());
        }
    }

    /// Whether there is something to be written.
    #[inline(always)]
    pub(super) fn has_word(&self) -> bool {
        self.range < NARROW
    }

    /// Writes some bytes. How many are written by now; `None` if the buffer is full.
    #[inline(always)]
    pub(super) fn write_word(&mut self) -> Option<usize> {
        self.write(WORD_BYTES)?;
        self.low <<= 8 * WORD_BYTES;
        self.range <<= 8 * WORD_BYTES;
        Some(self.len)
    }

    #[inline(always)]
    fn write(&mut self, count: usize) -> Option<()> {
        let place = self.out.get_mut(self.len..)?.get_mut(..count)?;
        place.copy_from_slice(self.low.to_be_bytes().get(..count)?);
        self.len += count;
        Some(())
    }

    /// Writes what is left; the length, at least one, or `None` if the buffer is full.
    pub(super) fn finish(mut self) -> Option<usize> {
        // The decoder reads zeroes after the end: the shortest number in the range, or the first of those as short.
        for count in usize::from(self.len == 0)..=8 {
            let below = u64::MAX.checked_shr(8 * count as u32).unwrap_or(0);
            let up = self.low.wrapping_neg() & below;
            if up < self.range {
                self.raise(up);
                return self.write(count).map(|()| self.len);
            }
        }
        None
    }
}

/// Adds one to the number that is written: as many steps as bytes FF are at its end, which are gone then.
#[cold]
fn carry(written: &mut [u8]) {
    for byte in written.iter_mut().rev() {
        *byte = byte.wrapping_add(1);
        if *byte != 0 {
            break;
        }
    }
}

/// Reads coded symbols. Bytes that no encoder wrote decode to something.
pub(super) struct Decoder<'i> {
    /// How far into the range the number is.
    value: u64,
    range: u64,
    rest: core::slice::Iter<'i, u8>,
}

impl<'i> Decoder<'i> {
    pub(super) fn new(input: &'i [u8]) -> Self {
        let mut decoder = Self {
            value: 0,
            range: u64::MAX,
            rest: input.iter(),
        };
        decoder.read();
        decoder.read();
        decoder
    }

    fn read(&mut self) {
        for _ in 0..WORD_BYTES {
            let byte = self.rest.next().copied().unwrap_or(0);
            self.value = self.value << 8 | u64::from(byte);
        }
    }

    /// What the next symbol has, among others: below [`WHOLE`].
    pub(super) fn place(&self) -> u16 {
        let place = self.value / (self.range >> WHOLE_BITS);
        place.min(u64::from(WHOLE - 1)) as u16
    }

    /// Takes the symbol that has `width`, not 0, from `start`.
    pub(super) fn take(&mut self, start: u16, width: u16) {
        let unit = self.range >> WHOLE_BITS;
        self.value = self.value.wrapping_sub(unit * u64::from(start));
        self.range = unit * u64::from(width);
        if self.range < NARROW {
            self.read();
            self.range <<= 8 * WORD_BYTES;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn code(symbols: &[(u16, u16)], out: &mut [u8]) -> Option<usize> {
        let mut encoder = Encoder::new(out);
        for (start, width) in symbols {
            encoder.push(*start, *width);
            if encoder.has_word() {
                encoder.write_word()?;
            }
        }
        encoder.finish()
    }

    fn comes_back(symbols: &[(u16, u16)]) -> usize {
        let mut out = [0; 8192];
        let len = code(symbols, &mut out).unwrap();
        let mut decoder = Decoder::new(&out[..len]);
        for (start, width) in symbols {
            let place = decoder.place();
            assert!((*start..start + width).contains(&place), "{place}");
            decoder.take(*start, *width);
        }
        len
    }

    #[test]
    fn likely_symbols_take_little_room() {
        assert!(comes_back(&[(1, WHOLE - 2); 4096]) <= 2);
    }

    #[test]
    fn nothing_is_one_byte() {
        assert_eq!(comes_back(&[]), 1);
    }

    #[test]
    fn carries_go_through_bytes_that_are_written() {
        // The last of all symbols, until its number is all FF, and then what makes it too large for that.
        for count in 0..200 {
            let mut symbols = std::vec![(WHOLE - 1, 1); count];
            symbols.extend([(WHOLE / 2, 1), (WHOLE - 1, 1), (0, 1), (WHOLE - 2, 2)]);
            comes_back(&symbols);
        }
    }

    #[test]
    fn full_buffer_is_told() {
        assert_eq!(code(&[(5, 1); 100], &mut [0; 16]), None);
        assert_eq!(code(&[], &mut []), None);
    }

    proptest! {
        #![proptest_config(crate::proptest_config())]

        #[test]
        fn symbols_come_back(
            symbols in proptest::collection::vec(
                prop_oneof![Just(0), Just(WHOLE - 1), 0..WHOLE]
                    .prop_flat_map(|start| (Just(start), prop_oneof![Just(1), 1..=WHOLE - start])),
                0..if cfg!(miri) { 50 } else { 2000 },
            ),
        ) {
            comes_back(&symbols);
        }
    }
}
