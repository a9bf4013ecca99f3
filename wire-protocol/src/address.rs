//! Newtypes for the numbers that must not be mixed up, and [`Extent`], consecutive bytes of one
//! address space. Used by every crate, in every mode.

use core::fmt;

macro_rules! hex_newtype {
    ($(#[$doc:meta])* $name:ident($inner:ty)) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub $inner);

        impl fmt::LowerHex for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::LowerHex::fmt(&self.0, f)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::LowerHex::fmt(&self.0, f)
            }
        }
    };
}

hex_newtype! {
    /// An address as the guest's page tables see it.
    GuestVirtual(u64)
}
hex_newtype! {
    /// An address as the guest's memory bus sees it; equal to the machine's own, since the
    /// hypervisor maps memory one to one.
    GuestPhysical(u64)
}
hex_newtype! {
    /// A logical processor, numbered from 0 in the order of the operating system.
    CoreId(u16)
}
hex_newtype! {
    /// An installed event. Numbers count up from 0 and are not used again in a session of the driver.
    EventId(u32)
}

/// Bytes in a page of the smallest size.
pub const PAGE_BYTES: u64 = 4096;

impl GuestVirtual {
    /// Bits 63:47 all equal, so that a processor with 48-bit linear addresses accepts it.
    #[must_use]
    pub const fn is_canonical(self) -> bool {
        let top = (self.0 as i64) >> 47;
        top == 0 || top == -1
    }
}

impl GuestPhysical {
    /// The address of the page that holds this one.
    #[must_use]
    pub const fn page(self) -> Self {
        Self(self.0 & !(PAGE_BYTES - 1))
    }

    /// Byte offset within its page.
    #[must_use]
    pub const fn offset(self) -> usize {
        (self.0 & (PAGE_BYTES - 1)) as usize
    }
}

/// A byte's address in one of the address spaces.
pub trait Address: Copy + Ord {
    /// The address of that number.
    fn from_number(number: u64) -> Self;

    /// Its number.
    fn number(self) -> u64;
}

impl Address for GuestVirtual {
    fn from_number(number: u64) -> Self {
        Self(number)
    }

    fn number(self) -> u64 {
        self.0
    }
}

impl Address for GuestPhysical {
    fn from_number(number: u64) -> Self {
        Self(number)
    }

    fn number(self) -> u64 {
        self.0
    }
}

/// Consecutive bytes of one address space. It never runs past the last address: whoever has one
/// need not check that again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Extent<A> {
    start: A,
    len_bytes: u64,
}

impl Extent<GuestPhysical> {
    /// No byte.
    pub const EMPTY: Self = Self {
        start: GuestPhysical(0),
        len_bytes: 0,
    };

    /// Part of memory, of which no byte lies above [`PHYSICAL_BITS`]; nothing has to be checked.
    #[must_use]
    #[inline]
    pub const fn in_memory(start: GuestPhysical, len_bytes: u32) -> Self {
        Self {
            start: GuestPhysical(start.0 & ((1 << PHYSICAL_BITS) - 1)),
            len_bytes: len_bytes as u64,
        }
    }
}

/// No physical address has more bits ("Paging", MAXPHYADDR, 4.1.4).
const PHYSICAL_BITS: u32 = 52;

impl<A: Address> Extent<A> {
    /// `len_bytes` bytes from `start` on; `None` if the last of them would have no address.
    #[must_use]
    pub fn new(start: A, len_bytes: u64) -> Option<Self> {
        match len_bytes.checked_sub(1) {
            Some(to_last) if start.number().checked_add(to_last).is_none() => None,
            _ => Some(Self { start, len_bytes }),
        }
    }

    /// First byte, or where it would be.
    #[must_use]
    pub const fn start(&self) -> A {
        self.start
    }

    /// How many bytes.
    #[must_use]
    pub const fn len_bytes(&self) -> u64 {
        self.len_bytes
    }

    /// There is no byte.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.len_bytes == 0
    }

    /// Last byte, if there is one.
    #[must_use]
    pub fn last(&self) -> Option<A> {
        let to_last = self.len_bytes.checked_sub(1)?;
        // Cannot wrap: see `new`.
        Some(A::from_number(self.start.number().wrapping_add(to_last)))
    }

    /// The byte at `address` is one of them.
    #[must_use]
    pub fn contains(&self, address: A) -> bool {
        address.number().wrapping_sub(self.start.number()) < self.len_bytes
    }

    /// Every byte of `other` is one of them.
    #[must_use]
    pub fn contains_all(&self, other: &Self) -> bool {
        other
            .last()
            .is_none_or(|last| self.contains(other.start) && self.contains(last))
    }

    /// Both have a byte in common.
    #[must_use]
    pub fn overlaps(&self, other: &Self) -> bool {
        let meets = |one: &Self, two: &Self| !one.is_empty() && two.contains(one.start);
        meets(self, other) || meets(other, self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn extent(start: u64, len_bytes: u64) -> Extent<GuestPhysical> {
        Extent::new(GuestPhysical(start), len_bytes).unwrap()
    }

    #[test]
    fn an_extent_may_end_with_the_last_address_and_not_behind_it() {
        let top = GuestVirtual(u64::MAX - 0xf);
        let whole = Extent::new(top, 0x10).unwrap();
        assert_eq!(whole.last(), Some(GuestVirtual(u64::MAX)));
        assert!(whole.contains(GuestVirtual(u64::MAX)));
        assert!(!whole.contains(GuestVirtual(0)));
        assert_eq!(Extent::new(top, 0x11), None);
        assert_eq!(
            Extent::new(GuestVirtual(0), u64::MAX).unwrap().last(),
            Some(GuestVirtual(u64::MAX - 1))
        );
        assert!(Extent::new(GuestVirtual(u64::MAX), 0).unwrap().is_empty());
    }

    #[test]
    fn both_ends_belong_to_it_and_their_neighbours_do_not() {
        let four = extent(0x1000, 4);
        let contained = [0xfff, 0x1000, 0x1003, 0x1004].map(|at| four.contains(GuestPhysical(at)));
        assert_eq!(contained, [false, true, true, false]);
    }

    #[test]
    fn extents_that_touch_do_not_overlap() {
        let four = extent(0x1000, 4);
        for (other, overlaps, inside) in [
            (extent(0xffc, 4), false, false),
            (extent(0xffc, 5), true, false),
            (extent(0x1003, 1), true, true),
            (extent(0x1003, 2), true, false),
            (extent(0x1004, 4), false, false),
            (extent(0, 0x10000), true, false),
            (extent(0x1000, 4), true, true),
        ] {
            assert_eq!(four.overlaps(&other), overlaps, "{other:?}");
            assert_eq!(other.overlaps(&four), overlaps, "{other:?}");
            assert_eq!(four.contains_all(&other), inside, "{other:?}");
        }
    }

    #[test]
    fn no_byte_overlaps_with_nothing_and_is_everywhere() {
        let none = extent(0x1002, 0);
        assert_eq!(none.last(), None);
        assert!(!none.contains(none.start()));
        assert!(!none.overlaps(&extent(0x1000, 4)));
        assert!(extent(0x1000, 4).contains_all(&none));
    }
}
