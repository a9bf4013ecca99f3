//! Newtypes for the numbers that must not be mixed up. Used by every crate, in every mode.

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
