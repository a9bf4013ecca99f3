//! Lists of any length without an allocator: kept as they stand on the wire, checked once by the
//! parser, and read by an iterator that cannot fail any more.

use crate::address::GuestVirtual;
use crate::codec::{EncodeError, Parsed, Writer, narrow, reject, take};
use core::fmt;
use core::marker::PhantomData;

/// One element of a [`List`], which may borrow from the message. `previous` is the last address
/// of the list, at first the base of the message.
pub trait Item<'a>: Copy {
    /// Elements of one list.
    const LIMIT: usize;

    #[doc(hidden)]
    fn parse(input: &'a [u8], previous: &mut u64) -> nom::IResult<&'a [u8], Self>;

    #[doc(hidden)]
    fn write(&self, out: &mut Writer<'_>, previous: &mut u64) -> Result<(), EncodeError>;
}

/// Elements, still encoded.
pub struct List<'a, T> {
    count: u16,
    base: u64,
    encoded: &'a [u8],
    item: PhantomData<T>,
}

impl<'a, T: Item<'a>> List<'a, T> {
    /// No element.
    pub const EMPTY: Self = Self {
        count: 0,
        base: 0,
        encoded: &[],
        item: PhantomData,
    };

    /// Encodes elements into `scratch`, which the list keeps. With the `base` of the message that
    /// will carry it the list is exactly as long as it will be there.
    ///
    /// # Errors
    /// The scratch memory is too small, or there are more than [`Item::LIMIT`] elements.
    pub fn encode_into(
        items: impl IntoIterator<Item = T>,
        base: GuestVirtual,
        scratch: &'a mut [u8],
    ) -> Result<Self, EncodeError> {
        let mut out = Writer::new(scratch);
        let mut previous = base.0;
        let mut count = 0u16;
        for item in items {
            if usize::from(count) >= T::LIMIT {
                return Err(EncodeError::OverLimit);
            }
            item.write(&mut out, &mut previous)?;
            count += 1;
        }
        Ok(Self {
            count,
            base: base.0,
            encoded: out.into_written(),
            item: PhantomData,
        })
    }

    /// The elements.
    #[must_use]
    pub fn iter(&self) -> Iter<'a, T> {
        Iter {
            left: self.count,
            previous: self.base,
            rest: self.encoded,
            item: PhantomData,
        }
    }

    /// Number of elements.
    #[must_use]
    pub fn len(&self) -> usize {
        usize::from(self.count)
    }

    /// There is no element.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    pub(crate) fn write(&self, base: u64, out: &mut Writer<'_>) -> Result<(), EncodeError> {
        out.varint(self.count)?;
        self.write_items(base, out)
    }

    pub(crate) fn write_items(&self, base: u64, out: &mut Writer<'_>) -> Result<(), EncodeError> {
        let mut previous = base;
        self.iter()
            .try_for_each(|item| item.write(out, &mut previous))
    }

    pub(crate) fn parse(base: u64) -> impl Fn(&'a [u8]) -> Parsed<'a, Self> {
        move |input| {
            let (rest, count) = narrow(input)?;
            Self::parse_items(count, base, rest)
        }
    }

    pub(crate) fn parse_items(count: u16, base: u64, input: &'a [u8]) -> Parsed<'a, Self> {
        if usize::from(count) > T::LIMIT {
            return reject(input);
        }
        let mut previous = base;
        let mut rest = input;
        for _ in 0..count {
            (rest, _) = T::parse(rest, &mut previous)?;
        }
        let (rest, encoded) = take(input.len() - rest.len())(input)?;
        Ok((
            rest,
            Self {
                count,
                base,
                encoded,
                item: PhantomData,
            },
        ))
    }
}

impl<T> Clone for List<'_, T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for List<'_, T> {}

impl<'a, T: Item<'a>> Default for List<'a, T> {
    fn default() -> Self {
        Self::EMPTY
    }
}

impl<'a, T: Item<'a> + PartialEq> PartialEq for List<'a, T> {
    fn eq(&self, other: &Self) -> bool {
        self.count == other.count && self.iter().eq(other.iter())
    }
}

impl<'a, T: Item<'a> + fmt::Debug> fmt::Debug for List<'a, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

impl<'a, T: Item<'a>> IntoIterator for List<'a, T> {
    type Item = T;
    type IntoIter = Iter<'a, T>;

    fn into_iter(self) -> Iter<'a, T> {
        self.iter()
    }
}

/// Reads the elements of a [`List`].
#[derive(Clone, Debug)]
pub struct Iter<'a, T> {
    left: u16,
    previous: u64,
    rest: &'a [u8],
    item: PhantomData<T>,
}

impl<'a, T: Item<'a>> Iterator for Iter<'a, T> {
    type Item = T;

    fn next(&mut self) -> Option<T> {
        self.left = self.left.checked_sub(1)?;
        let (rest, item) = T::parse(self.rest, &mut self.previous).ok()?;
        self.rest = rest;
        Some(item)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (0, Some(usize::from(self.left)))
    }
}
