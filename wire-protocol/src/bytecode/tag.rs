//! Addresses of what belongs to a program: its variables and constants.
//!
//! They look like addresses and allow the same arithmetic, but no processor accepts them: bits 63
//! and 62 differ, which no canonical address has. So a pointer of a script to its own variables
//! can never be mistaken for one to the guest's memory, nor the other way round.
//!
//! Bits 48 to 63 say which area, bits 0 to 31 where in it; bits 32 to 47 are zero, so that
//! arithmetic that leaves an area on either side gives an address of nothing.

/// What a tagged address points into.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Area {
    /// The locals of the event on this core.
    Locals,
    /// The memory of all frames; the offset counts from its start, so that a caller's variable
    /// can be passed on.
    Frames,
    /// The globals.
    Globals,
    /// The constants of the program.
    Constants,
    /// Texts that only the host knows: see [`Marker`].
    Marker,
}

/// A text that is filled in where a record is shown, as the debuggee has no calendar.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Marker {
    /// `$date`
    Date,
    /// `$time`
    Time,
}

const TAG: u64 = 0xa5c0;
const AREAS: [Area; 5] = [
    Area::Locals,
    Area::Frames,
    Area::Globals,
    Area::Constants,
    Area::Marker,
];

/// The address of the byte at `offset` of an area.
#[must_use]
#[inline]
pub const fn address(area: Area, offset: u32) -> u64 {
    ((TAG | area as u64) << 48) | offset as u64
}

/// Whether no guest address can have this value and a program's own could.
#[must_use]
#[inline]
pub const fn is_tagged(address: u64) -> bool {
    address >> 62 == 0b10
}

/// Area and offset of a tagged address, `None` for any other.
#[must_use]
#[inline]
pub fn parse(address: u64) -> Option<(Area, u32)> {
    let area = (address >> 48).checked_sub(TAG)?;
    let area = *AREAS.get(usize::try_from(area).ok()?)?;
    let offset = u32::try_from(address & 0xffff_ffff_ffff).ok()?;
    Some((area, offset))
}

impl Marker {
    /// What its pseudo-register holds.
    #[must_use]
    pub const fn address(self) -> u64 {
        address(Area::Marker, self as u32)
    }

    /// The marker with that address.
    #[must_use]
    pub fn from_address(value: u64) -> Option<Self> {
        [Self::Date, Self::Time]
            .into_iter()
            .find(|marker| marker.address() == value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tagged_addresses_are_in_no_canonical_range() {
        for area in AREAS {
            for offset in [0, 1, u32::MAX] {
                let address = address(area, offset);
                assert!(is_tagged(address));
                assert_eq!(parse(address), Some((area, offset)));
                // Neither with 48 nor with 57 bits do all upper bits equal the sign.
                for bits in [48, 57] {
                    let extended = ((address << (64 - bits)) as i64 >> (64 - bits)) as u64;
                    assert_ne!(extended, address);
                }
            }
        }
    }

    #[test]
    fn leaving_an_area_gives_an_address_of_nothing() {
        assert_eq!(parse(address(Area::Globals, 0) - 1), None);
        assert_eq!(parse(address(Area::Globals, u32::MAX) + 1), None);
        assert_eq!(parse(0xffff_ffff_8100_0000), None);
        assert_eq!(parse(0), None);
    }
}
