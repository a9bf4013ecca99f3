//! Tables that say once how the fields of each value of an enum stand in a message: what one row
//! says is written and read. A value or a field without its row does not compile.

use crate::address::{CoreId, EventId, GuestPhysical, GuestVirtual};
use crate::closed::Closed;
use crate::codec::{self, EncodeError, Parsed, Writer, difference, narrow, one_of};

/// Makes `write` and `parse` of a table. A row is `NUMBER Value { field: form, ... };`, where a
/// form is one of the modules here. A number that stands there twice is an unreachable arm, which
/// is denied. `or Value by module` leads on to another table, whose numbers are others.
macro_rules! forms {
    (
        $type:ident {
            $($number:literal $value:ident { $($field:ident: $form:ident),* $(,)? };)*
        }
        $(or $rest:ident by $module:ident)?
    ) => {
        pub(super) fn write(
            value: &$type,
            base: u64,
            out: &mut $crate::codec::Writer<'_>,
        ) -> Result<(), $crate::codec::EncodeError> {
            match *value {
                $($type::$value { $($field),* } => {
                    out.byte($number)?;
                    $($crate::packet::form::$form::write($field, base, out)?;)*
                    Ok(())
                })*
                $($type::$rest(ref rest) => $module::write(rest, base, out),)?
            }
        }

        #[deny(unreachable_patterns)]
        pub(super) fn parse(
            number: u8,
            base: u64,
            input: &[u8],
        ) -> $crate::codec::Parsed<'_, $type> {
            match number {
                $($number => {
                    let rest = input;
                    $(let (rest, $field) = $crate::packet::form::$form::parse(base, rest)?;)*
                    Ok((rest, $type::$value { $($field),* }))
                })*
                $(number => {
                    let (rest, value) = $module::parse(number, base, input)?;
                    return Ok((rest, $type::$rest(value)));
                })?
                #[allow(unreachable_patterns, reason = "where another table follows")]
                _ => $crate::codec::reject(input),
            }
        }

        /// The rows: number and value.
        #[cfg(test)]
        pub(super) const ROWS: &[(u8, &str)] = &[$(($number, stringify!($value)),)*];
    };
}

pub(super) use forms;

/// Declares a form: how a type is written, and how it is read back.
macro_rules! form {
    ($(#[$doc:meta])* $name:ident: $type:ty, $write:expr, $parse:expr) => {
        $(#[$doc])*
        pub(super) mod $name {
            use super::*;

            pub(in crate::packet) fn write(
                value: $type,
                base: u64,
                out: &mut Writer<'_>,
            ) -> Result<(), EncodeError> {
                let write: fn($type, u64, &mut Writer<'_>) -> Result<(), EncodeError> = $write;
                write(value, base, out)
            }

            pub(in crate::packet) fn parse(base: u64, input: &[u8]) -> Parsed<'_, $type> {
                let parse: fn(u64, &[u8]) -> Parsed<'_, $type> = $parse;
                parse(base, input)
            }
        }
    };
}

form! {
    /// One byte.
    byte: u8, |value, _, out| out.byte(value), |_, input| codec::byte(input)
}
form! {
    /// A number of bytes.
    size: u64, |value, _, out| out.size(value), |_, input| codec::size(input)
}
form! {
    /// A core's number.
    core: CoreId,
    |core, _, out| out.varint(core.0),
    |_, input| narrow(input).map(|(rest, number)| (rest, CoreId(number)))
}
form! {
    /// An event's number.
    event: EventId,
    |event, _, out| out.varint(event.0),
    |_, input| narrow(input).map(|(rest, number)| (rest, EventId(number)))
}
form! {
    /// A virtual address, as the difference to the kernel base.
    address: GuestVirtual,
    |address, base, out| out.difference(address.0, base),
    |base, input| difference(base)(input).map(|(rest, number)| (rest, GuestVirtual(number)))
}
form! {
    /// A physical address.
    physical: GuestPhysical,
    |address, _, out| out.varint(address.0),
    |_, input| codec::varint(input).map(|(rest, number)| (rest, GuestPhysical(number)))
}
form! {
    /// A physical address that most often is a whole number of pages.
    page: GuestPhysical,
    |address, _, out| out.size(address.0),
    |_, input| codec::size(input).map(|(rest, number)| (rest, GuestPhysical(number)))
}

/// A number of any width.
pub(super) mod number {
    use super::*;

    pub(in crate::packet) fn write(
        value: impl Into<u64>,
        _: u64,
        out: &mut Writer<'_>,
    ) -> Result<(), EncodeError> {
        out.varint(value)
    }

    pub(in crate::packet) fn parse<T: TryFrom<u64>>(_: u64, input: &[u8]) -> Parsed<'_, T> {
        narrow(input)
    }
}

/// A value of a closed set.
pub(super) mod one {
    use super::*;

    pub(in crate::packet) fn write(
        value: impl Closed,
        _: u64,
        out: &mut Writer<'_>,
    ) -> Result<(), EncodeError> {
        out.byte(value.number())
    }

    pub(in crate::packet) fn parse<T: Closed>(_: u64, input: &[u8]) -> Parsed<'_, T> {
        one_of(T::of_number, input)
    }
}
