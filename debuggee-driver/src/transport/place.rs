//! Where a UART's registers are. Pure.

use wire_protocol::address::PAGE_BYTES;

/// Registers of a UART.
pub const REGISTERS: u16 = 8;

/// See the module. Made by its functions, which see to it that all registers are there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// One register a port.
    Ports {
        /// The first.
        first: u16,
    },
    /// In memory, all in one page.
    Memory {
        /// Physical address of the first.
        base: u64,
        /// Bytes from one to the next: 1, or 4 with accesses of that size.
        stride: u8,
    },
}

impl Place {
    /// At these ports; none if not all are there.
    #[must_use]
    pub const fn at_port(first: u16) -> Option<Self> {
        if first == 0 || first > u16::MAX - (REGISTERS - 1) {
            return None;
        }
        Some(Self::Ports { first })
    }

    /// At this physical address; none if that is not possible.
    #[must_use]
    pub const fn in_memory(base: u64, stride: u8) -> Option<Self> {
        let len_bytes = REGISTERS as u64 * stride as u64;
        let is_possible = matches!(stride, 1 | 4)
            && base != 0
            && base.is_multiple_of(stride as u64)
            && base % PAGE_BYTES <= PAGE_BYTES - len_bytes;
        if is_possible {
            Some(Self::Memory { base, stride })
        } else {
            None
        }
    }

    /// From the first register to the end of the last, in ports or bytes.
    #[must_use]
    pub const fn extent(self) -> u16 {
        match self {
            Self::Ports { .. } => REGISTERS,
            Self::Memory { stride, .. } => REGISTERS * stride as u16,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_registers_are_there() {
        assert!(Place::at_port(0xfff8).is_some());
        assert_eq!(Place::at_port(0xfff9), None);
        assert_eq!(Place::at_port(0), None);
        assert!(Place::in_memory(0xfe00_0ff8, 1).is_some());
        assert_eq!(Place::in_memory(0xfe00_0ff9, 1), None);
        assert!(Place::in_memory(0xfe00_0fe0, 4).is_some());
        for (base, stride) in [(0xfe00_0fe4, 4), (0xfe00_0002, 4), (0xfe00_0000, 2), (0, 1)] {
            assert_eq!(Place::in_memory(base, stride), None, "{base:x} {stride}");
        }
        let extents = [Place::at_port(8), Place::in_memory(0x1000, 4)];
        assert_eq!(extents.map(|place| place.unwrap().extent()), [8, 32]);
    }
}
