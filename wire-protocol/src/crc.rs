//! CRC-32 (ISO-HDLC, that of Ethernet and zip): the checksum of frames, and of memory that the
//! host expects. Table-driven, pure, used in every mode.

use crc::{CRC_32_ISO_HDLC, Crc, Digest, Table};

/// Sixteen bytes at once.
static TABLE: Crc<u32, Table<16>> = Crc::<u32, Table<16>>::new(&CRC_32_ISO_HDLC);

/// A checksum over bytes that come in pieces.
#[derive(Clone)]
pub struct Crc32(Digest<'static, u32, Table<16>>);

impl Crc32 {
    /// Of no byte yet.
    #[must_use]
    pub fn new() -> Self {
        Self(TABLE.digest())
    }

    /// Takes in more bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    /// The checksum of all bytes taken in.
    #[must_use]
    pub fn finish(self) -> u32 {
        self.0.finalize()
    }
}

impl Default for Crc32 {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Of the digits from 1 to 9.
    const CHECK: u32 = 0xcbf4_3926;

    #[test]
    fn check_value_of_the_catalogue_comes_out() {
        let mut crc = Crc32::new();
        crc.update(b"123456789");
        assert_eq!(crc.finish(), CHECK);
    }

    #[test]
    fn pieces_give_the_same_as_the_whole() {
        let mut crc = Crc32::default();
        crc.update(b"1234");
        crc.update(b"");
        crc.update(b"56789");
        assert_eq!(crc.finish(), CHECK);
    }
}
