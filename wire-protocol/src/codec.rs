//! How numbers stand in a message. Used by [`crate::packet`] alone, in every mode.
//!
//! * Numbers are LEB128: seven bits per byte, lowest first. Only the shortest form is accepted.
//! * Addresses are the difference to an address that both ends know, in zig-zag form, so that a
//!   near address is short whichever side it lies on.
//! * What is read back is always what was written: every value has one form only.

use nom::IResult;
use nom::error::{Error, ErrorKind};

/// Why something could not be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EncodeError {
    /// The buffer ends before the message does.
    Full,
    /// A list or a run of bytes is longer than [`crate::limits`] allows, or does not have the
    /// length that another field gives it.
    OverLimit,
}

/// Writes into memory given by the caller, and never past its end.
#[derive(Debug)]
pub struct Writer<'b> {
    buffer: &'b mut [u8],
    len: usize,
}

impl<'b> Writer<'b> {
    /// Starts at the first byte of `buffer`.
    pub fn new(buffer: &'b mut [u8]) -> Self {
        Self { buffer, len: 0 }
    }

    /// What has been written.
    #[must_use]
    pub fn written(&self) -> &[u8] {
        self.buffer.get(..self.len).unwrap_or_default()
    }

    /// What has been written, for as long as the buffer lives.
    #[must_use]
    pub fn into_written(self) -> &'b [u8] {
        let Self { buffer, len } = self;
        buffer.get(..len).unwrap_or_default()
    }

    /// The same, to change it.
    pub(crate) fn into_written_mut(self) -> &'b mut [u8] {
        let Self { buffer, len } = self;
        buffer.get_mut(..len).unwrap_or_default()
    }

    /// Bytes written.
    #[must_use]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Nothing has been written.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    pub(crate) fn bytes(&mut self, bytes: &[u8]) -> Result<(), EncodeError> {
        let end = self.len.checked_add(bytes.len()).ok_or(EncodeError::Full)?;
        let room = self
            .buffer
            .get_mut(self.len..end)
            .ok_or(EncodeError::Full)?;
        room.copy_from_slice(bytes);
        self.len = end;
        Ok(())
    }

    pub(crate) fn byte(&mut self, byte: u8) -> Result<(), EncodeError> {
        self.bytes(&[byte])
    }

    pub(crate) fn varint(&mut self, value: impl Into<u64>) -> Result<(), EncodeError> {
        let mut rest: u64 = value.into();
        while rest >= 0x80 {
            self.byte((rest & 0x7f) as u8 | 0x80)?;
            rest >>= 7;
        }
        self.byte((rest & 0x7f) as u8)
    }

    /// `value` as its distance from `from`.
    pub(crate) fn difference(&mut self, value: u64, from: u64) -> Result<(), EncodeError> {
        let distance = value.wrapping_sub(from) as i64;
        self.varint(((distance << 1) ^ (distance >> 63)) as u64)
    }

    /// A number of bytes, most often a whole number of pages, or else of cache lines.
    pub(crate) fn size(&mut self, value: u64) -> Result<(), EncodeError> {
        let (pages, rest) = (value >> 12, value & 0xfff);
        if rest == 0 {
            self.varint(pages << 1)
        } else {
            self.varint(swap_halves(rest) << 1 | 1)?;
            self.varint(pages)
        }
    }

    /// Its length, then the bytes.
    pub(crate) fn run(&mut self, bytes: &[u8], limit: usize) -> Result<(), EncodeError> {
        if bytes.len() > limit {
            return Err(EncodeError::OverLimit);
        }
        self.varint(bytes.len() as u64)?;
        self.bytes(bytes)
    }
}

/// What every parser here returns.
pub(crate) type Parsed<'a, T> = IResult<&'a [u8], T>;

/// What was parsed, as a part of something larger.
pub(crate) fn made<'a, T, R>(parsed: Parsed<'a, T>, make: impl FnOnce(T) -> R) -> Parsed<'a, R> {
    parsed.map(|(rest, value)| (rest, make(value)))
}

/// The value, if nothing stands behind it.
pub(crate) fn whole<T>(parsed: Parsed<'_, T>) -> Option<T> {
    match parsed {
        Ok(([], value)) => Some(value),
        Ok(_) | Err(_) => None,
    }
}

/// Not a value: the message is refused as malformed.
pub(crate) fn reject<T>(input: &[u8]) -> Parsed<'_, T> {
    Err(nom::Err::Error(Error::new(input, ErrorKind::Verify)))
}

pub(crate) fn byte(input: &[u8]) -> Parsed<'_, u8> {
    nom::number::complete::u8(input)
}

pub(crate) fn take(count: usize) -> impl Fn(&[u8]) -> Parsed<'_, &[u8]> {
    // Not nom's own, which leaves the compiler a path to a panic.
    move |input| match input.split_at_checked(count) {
        Some((taken, rest)) => Ok((rest, taken)),
        None => Err(nom::Err::Error(Error::new(input, ErrorKind::Eof))),
    }
}

/// A number in its shortest form.
pub(crate) fn varint(input: &[u8]) -> Parsed<'_, u64> {
    let mut rest = input;
    let mut value = 0u64;
    let mut shift = 0;
    loop {
        let (after, next) = byte(rest)?;
        rest = after;
        let bits = u64::from(next & 0x7f);
        let too_big = shift == 63 && bits > 1;
        let too_long = shift > 0 && next == 0;
        if too_big || too_long {
            return reject(input);
        }
        value |= bits << shift;
        if next & 0x80 == 0 {
            return Ok((rest, value));
        }
        shift += 7;
        if shift > 63 {
            return reject(input);
        }
    }
}

/// A number in its shortest form that fits a narrower type.
pub(crate) fn narrow<T: TryFrom<u64>>(input: &[u8]) -> Parsed<'_, T> {
    let (rest, value) = varint(input)?;
    match T::try_from(value) {
        Ok(value) => Ok((rest, value)),
        Err(_) => reject(input),
    }
}

/// Counterpart of [`Writer::difference`].
pub(crate) fn difference(from: u64) -> impl Fn(&[u8]) -> Parsed<'_, u64> {
    move |input| {
        let (rest, zigzag) = varint(input)?;
        let distance = (zigzag >> 1) ^ (zigzag & 1).wrapping_neg();
        Ok((rest, from.wrapping_add(distance)))
    }
}

/// Twelve bits with both halves swapped: below 64 if the lower one was zero. More stays more.
fn swap_halves(bits: u64) -> u64 {
    if bits > 0xfff {
        return bits;
    }
    bits >> 6 | (bits & 0x3f) << 6
}

/// Counterpart of [`Writer::size`].
pub(crate) fn size(input: &[u8]) -> Parsed<'_, u64> {
    let (rest, first) = varint(input)?;
    let (rest, pages, bytes) = if first & 1 == 0 {
        (rest, first >> 1, 0)
    } else {
        let (rest, pages) = varint(rest)?;
        if first == 1 {
            return reject(input);
        }
        (rest, pages, first >> 1)
    };
    let bytes = swap_halves(bytes);
    if bytes > 0xfff || pages >> 52 != 0 {
        return reject(input);
    }
    Ok((rest, pages << 12 | bytes))
}

/// Counterpart of [`Writer::run`].
pub(crate) fn run(limit: usize) -> impl Fn(&[u8]) -> Parsed<'_, &[u8]> {
    move |input| {
        let (rest, len) = narrow::<usize>(input)?;
        if len > limit {
            return reject(input);
        }
        take(len)(rest)
    }
}

/// One byte, 0 or 1.
pub(crate) fn boolean(input: &[u8]) -> Parsed<'_, bool> {
    match byte(input)? {
        (rest, 0) => Ok((rest, false)),
        (rest, 1) => Ok((rest, true)),
        _ => reject(input),
    }
}

/// Eight bytes, lowest first.
pub(crate) fn fixed_u64(input: &[u8]) -> Parsed<'_, u64> {
    nom::number::complete::le_u64(input)
}

/// Four bytes, lowest first.
pub(crate) fn fixed_u32(input: &[u8]) -> Parsed<'_, u32> {
    nom::number::complete::le_u32(input)
}

/// Two bytes, lowest first.
pub(crate) fn fixed_u16(input: &[u8]) -> Parsed<'_, u16> {
    nom::number::complete::le_u16(input)
}

/// An item that is there when `present` says so.
pub(crate) fn when<'a, T>(
    present: bool,
    parse: impl Fn(&'a [u8]) -> Parsed<'a, T>,
    input: &'a [u8],
) -> Parsed<'a, Option<T>> {
    if present {
        parse(input).map(|(rest, value)| (rest, Some(value)))
    } else {
        Ok((input, None))
    }
}

/// One byte that stands for a value of a closed set.
pub(crate) fn one_of<T>(from: impl Fn(u8) -> Option<T>, input: &[u8]) -> Parsed<'_, T> {
    let (rest, number) = byte(input)?;
    match from(number) {
        Some(value) => Ok((rest, value)),
        None => reject(input),
    }
}

#[cfg(test)]
mod tests;
