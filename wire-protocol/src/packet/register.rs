//! Reading and writing registers. Requests are made by the host and answered by the driver while
//! the debuggee is halted.

use crate::address::CoreId;
use crate::codec::{self, EncodeError, Parsed, Writer, narrow, one_of, reject, take};
use crate::register::{Register, RegisterSet};

/// Values of registers, still encoded: one nibble per value with its length in bytes, low nibble
/// first, then the values themselves, cut to the shortest length that sign-extends to the whole.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RegisterValues<'a> {
    lengths: &'a [u8],
    values: &'a [u8],
    count: u8,
}

impl<'a> RegisterValues<'a> {
    /// Encodes values into `scratch`, which they keep.
    ///
    /// # Errors
    /// The scratch memory is too small, or there are more values than registers.
    pub fn encode_into(
        values: impl IntoIterator<Item = u64, IntoIter: Clone>,
        scratch: &'a mut [u8],
    ) -> Result<Self, EncodeError> {
        let values = values.into_iter();
        let count = values.clone().take(Register::COUNT + 1).count();
        if count > Register::COUNT {
            return Err(EncodeError::OverLimit);
        }
        let (lengths, rest) = scratch
            .split_at_mut_checked(count.div_ceil(2))
            .ok_or(EncodeError::Full)?;
        lengths.fill(0);
        let mut out = Writer::new(rest);
        for (index, value) in values.take(count).enumerate() {
            let len = short_len(value);
            if let Some(pair) = lengths.get_mut(index / 2) {
                *pair |= len << (4 * (index % 2));
            }
            out.bytes(
                value
                    .to_le_bytes()
                    .get(..usize::from(len))
                    .unwrap_or_default(),
            )?;
        }
        Ok(Self {
            lengths,
            values: out.into_written(),
            count: u8::try_from(count).map_err(|_| EncodeError::OverLimit)?,
        })
    }

    /// The values, in ascending order of register number.
    pub fn iter(&self) -> impl Iterator<Item = u64> + Clone + use<'a> {
        let Self {
            lengths, values, ..
        } = *self;
        let mut at = 0;
        (0..usize::from(self.count)).map_while(move |index| {
            let len = length_at(lengths, index)?;
            let bytes = values.get(at..at + len)?;
            at += len;
            Some(extend(bytes))
        })
    }

    /// Number of values.
    #[must_use]
    pub fn len(&self) -> usize {
        usize::from(self.count)
    }

    /// There is no value.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    fn parse(count: usize, input: &'a [u8]) -> Parsed<'a, Self> {
        let (values_at, lengths) = take(count.div_ceil(2))(input)?;
        let mut rest = values_at;
        for index in 0..count {
            let len = length_at(lengths, index).unwrap_or_default();
            let (after, bytes) = take(len)(rest)?;
            if usize::from(short_len(extend(bytes))) != len {
                return reject(input);
            }
            rest = after;
        }
        let unused_nibble = count % 2 == 1 && length_at(lengths, count) != Some(0);
        if unused_nibble {
            return reject(input);
        }
        let (rest, values) = take(values_at.len() - rest.len())(values_at)?;
        let Ok(count) = u8::try_from(count) else {
            return reject(input);
        };
        Ok((
            rest,
            Self {
                lengths,
                values,
                count,
            },
        ))
    }
}

/// Bytes that sign-extend to `value`: 0 for 0, at most 8.
fn short_len(value: u64) -> u8 {
    if value == 0 {
        return 0;
    }
    let same_bits = (value ^ (value as i64 >> 63) as u64).leading_zeros();
    ((65 - same_bits).div_ceil(8) & 0xf) as u8
}

fn extend(bytes: &[u8]) -> u64 {
    let negative = bytes.last().is_some_and(|top| top & 0x80 != 0);
    let mut value = if negative { [0xff; 8] } else { [0; 8] };
    for (to, from) in value.iter_mut().zip(bytes) {
        *to = *from;
    }
    u64::from_le_bytes(value)
}

/// `None` past the end, or for a length that no value has; then the parser's `take` decides.
fn length_at(lengths: &[u8], index: usize) -> Option<usize> {
    let pair = *lengths.get(index / 2)?;
    Some(usize::from(if index.is_multiple_of(2) {
        pair & 0xf
    } else {
        pair >> 4
    }))
}

pub(crate) fn write_read(
    core: CoreId,
    set: RegisterSet,
    out: &mut Writer<'_>,
) -> Result<(), EncodeError> {
    if !set.is_known() {
        return Err(EncodeError::OverLimit);
    }
    out.varint(core.0)?;
    out.varint(set.0)
}

pub(crate) fn parse_read(input: &[u8]) -> Parsed<'_, (CoreId, RegisterSet)> {
    let (rest, core) = narrow(input)?;
    let (rest, set) = parse_set(rest)?;
    let core = CoreId(core);
    Ok((rest, (core, set)))
}

pub(crate) fn write_write(
    core: CoreId,
    register: Register,
    value: u64,
    out: &mut Writer<'_>,
) -> Result<(), EncodeError> {
    out.varint(core.0)?;
    out.byte(register as u8)?;
    let len = short_len(value);
    out.bytes(
        value
            .to_le_bytes()
            .get(..usize::from(len))
            .unwrap_or_default(),
    )
}

/// The value takes the rest of the message.
pub(crate) fn parse_write(input: &[u8]) -> Parsed<'_, (CoreId, Register, u64)> {
    let (rest, core) = narrow(input)?;
    let (rest, register) = one_of(Register::from_wire, rest)?;
    let value = extend(rest);
    if usize::from(short_len(value)) != rest.len() {
        return reject(input);
    }
    let (rest, _) = take(rest.len())(rest)?;
    Ok((rest, (CoreId(core), register, value)))
}

pub(crate) fn write_values(
    set: RegisterSet,
    values: &RegisterValues<'_>,
    out: &mut Writer<'_>,
) -> Result<(), EncodeError> {
    if !set.is_known() || values.len() != set.len() {
        return Err(EncodeError::OverLimit);
    }
    out.varint(set.0)?;
    out.bytes(values.lengths)?;
    out.bytes(values.values)
}

pub(crate) fn parse_values(input: &[u8]) -> Parsed<'_, (RegisterSet, RegisterValues<'_>)> {
    let (rest, set) = parse_set(input)?;
    let (rest, values) = RegisterValues::parse(set.len(), rest)?;
    Ok((rest, (set, values)))
}

fn parse_set(input: &[u8]) -> Parsed<'_, RegisterSet> {
    let (rest, bits) = codec::varint(input)?;
    let set = RegisterSet(bits);
    if set.is_known() {
        Ok((rest, set))
    } else {
        reject(input)
    }
}

#[cfg(test)]
mod tests;
