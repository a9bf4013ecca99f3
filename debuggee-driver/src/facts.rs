//! What the platform found out at load and nothing changes afterwards.

use crate::guest::layout::GuestLayout;
use wire_protocol::address::{Extent, GuestPhysical, GuestVirtual};
use wire_protocol::limits;
use wire_protocol::packet::Constants;

/// See the module.
#[derive(Clone, Copy)]
pub struct Facts {
    /// Drawn at load.
    pub session: u64,
    /// What the driver's calls have to know; drawn at load, too.
    pub token: u64,
    /// Cores the system may have, numbered from 0.
    pub core_count: u16,
    /// Ticks of the TSC in a millisecond.
    pub tsc_khz: u32,
    /// Where the kernel image starts.
    pub kernel_base: GuestVirtual,
    /// The driver's own image.
    pub driver_image: Extent<GuestVirtual>,
    /// Code of the kernel's entry.
    pub entry_code: Extent<GuestVirtual>,
    /// Where things stand in the kernel's structures.
    pub layout: GuestLayout,
    /// Design constants that the host shows.
    pub constants: Constants,
    /// The kernel's version line, UTF-8, `banner_bytes` long.
    pub banner: [u8; limits::BANNER_BYTES],
    /// See [`Self::banner`].
    pub banner_bytes: usize,
    /// RAM, ascending; empty ones are unused.
    pub ram: [Extent<GuestPhysical>; limits::RAM_RANGES],
}

impl Facts {
    /// The kernel's version line.
    #[must_use]
    pub fn banner(&self) -> &str {
        let bytes = self.banner.get(..self.banner_bytes).unwrap_or(&[]);
        core::str::from_utf8(bytes).unwrap_or("")
    }

    /// RAM, ascending.
    pub fn ram(&self) -> impl Iterator<Item = Extent<GuestPhysical>> + '_ {
        self.ram.iter().copied().filter(|range| !range.is_empty())
    }
}
