//! A binary arithmetic coder: a bit that was predicted with probability p takes log2(1/p) bits.
//!
//! Used by `pack`, at both ends, with the same predictions.

/// Writes coded bits.
pub(super) struct Encoder<'o> {
    low: u32,
    high: u32,
    out: &'o mut [u8],
    len: usize,
}

/// Where the range from `low` to `high` is divided; `one` is the probability of a one in 4096ths, neither 0 nor 4096.
fn middle(low: u32, high: u32, one: u32) -> u32 {
    let range = u64::from(high - low);
    low + ((range * u64::from(one)) >> 12) as u32
}

/// Whether the first byte can no longer change.
fn is_settled(low: u32, high: u32) -> bool {
    (low ^ high) >> 24 == 0
}

impl<'o> Encoder<'o> {
    pub(super) fn new(out: &'o mut [u8]) -> Self {
        Self {
            low: 0,
            high: u32::MAX,
            out,
            len: 0,
        }
    }

    /// Codes a bit; false if the buffer is full.
    pub(super) fn push(&mut self, bit: bool, one: u32) -> bool {
        let middle = middle(self.low, self.high, one);
        if bit {
            self.high = middle;
        } else {
            self.low = middle + 1;
        }
        while is_settled(self.low, self.high) {
            if !self.write((self.high >> 24) as u8) {
                return false;
            }
            self.low <<= 8;
            self.high = self.high << 8 | 0xff;
        }
        true
    }

    fn write(&mut self, byte: u8) -> bool {
        let slot = self.out.get_mut(self.len);
        self.len += 1;
        slot.map(|slot| *slot = byte).is_some()
    }

    /// Writes what is left; the length, at least one, or `None` if the buffer is full.
    pub(super) fn finish(mut self) -> Option<usize> {
        // The decoder reads zeroes after the end. The shortest number in the range: one byte above `low`, or all of it.
        if self.low == 0 && self.len > 0 {
            return Some(self.len);
        }
        let byte = (self.low >> 24) + 1;
        if byte <= self.high >> 24 {
            return self.write(byte as u8).then_some(self.len);
        }
        let written = self.low.to_be_bytes().map(|byte| self.write(byte));
        written.iter().all(|ok| *ok).then_some(self.len)
    }
}

/// Reads coded bits. Bytes that no encoder wrote decode to something.
pub(super) struct Decoder<'i> {
    low: u32,
    high: u32,
    value: u32,
    rest: core::slice::Iter<'i, u8>,
}

impl<'i> Decoder<'i> {
    pub(super) fn new(input: &'i [u8]) -> Self {
        let mut decoder = Self {
            low: 0,
            high: u32::MAX,
            value: 0,
            rest: input.iter(),
        };
        for _ in 0..4 {
            decoder.read();
        }
        decoder
    }

    fn read(&mut self) {
        let byte = self.rest.next().copied().unwrap_or(0);
        self.value = self.value << 8 | u32::from(byte);
    }

    /// The next bit.
    pub(super) fn pull(&mut self, one: u32) -> bool {
        let middle = middle(self.low, self.high, one);
        let bit = self.value <= middle;
        if bit {
            self.high = middle;
        } else {
            self.low = middle + 1;
        }
        while is_settled(self.low, self.high) {
            self.read();
            self.low <<= 8;
            self.high = self.high << 8 | 0xff;
        }
        bit
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn code(bits: &[(bool, u32)], out: &mut [u8]) -> Option<usize> {
        let mut encoder = Encoder::new(out);
        let fits = bits.iter().all(|(bit, one)| encoder.push(*bit, *one));
        fits.then(|| encoder.finish()).flatten()
    }

    #[test]
    fn likely_bits_take_little_room() {
        let bits = [(true, 4095); 4096];
        assert!(code(&bits, &mut [0; 8]).is_some_and(|len| len <= 2));
    }

    #[test]
    fn full_buffer_is_told() {
        assert_eq!(code(&[(true, 1); 100], &mut [0; 16]), None);
    }

    proptest! {
        #![proptest_config(crate::proptest_config())]

        #[test]
        fn bits_come_back(bits in proptest::collection::vec((any::<bool>(), 1_u32..4096), 0..if cfg!(miri) { 50 } else { 2000 })) {
            let mut out = [0; 8192];
            let len = code(&bits, &mut out).unwrap();
            let mut decoder = Decoder::new(&out[..len]);
            for (bit, one) in bits {
                prop_assert_eq!(decoder.pull(one), bit);
            }
        }
    }
}
