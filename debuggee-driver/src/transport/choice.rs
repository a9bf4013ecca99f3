//! Which UART the line is on: as the loader says, or as the firmware's tables do. Pure; asked by the platform at load, before
//! it takes the port from its system.

use super::firmware::{self, FirmwarePort};
use super::interrupt::{self, InterruptPin};
use super::place::Place;
use core::fmt;

/// The ports of a PC's own UARTs.
const COM_PORTS: [u16; 4] = [0x3f8, 0x2f8, 0x3e8, 0x2e8];
/// The one that is taken if none is named: the first is usually the console.
const COM_DEFAULT: u64 = 2;

/// What the loader said; 0 for what it did not say.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Wish<'t> {
    /// Number of a PC's own UART.
    pub com: u64,
    /// First I/O port.
    pub io: u64,
    /// Physical address of the first register.
    pub mmio: u64,
    /// Bytes from one register to the next in memory.
    pub stride: u64,
    /// Whether the firmware's tables say it.
    pub acpi: bool,
    /// The table DBG2; empty if there is none.
    pub dbg2: &'t [u8],
    /// The table SPCR; empty if there is none.
    pub spcr: &'t [u8],
    /// The table MADT; empty if there is none.
    pub madt: &'t [u8],
    /// The table DMAR; empty if there is none.
    pub dmar: &'t [u8],
}

/// A UART to use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Choice {
    /// Where.
    pub place: Place,
    /// Frequency of its clock; 0 if nobody said.
    pub clock_hz: u32,
    /// Where its interrupt goes in, if that is known.
    pub interrupt: Option<InterruptPin>,
    com: Option<u64>,
}

/// Why there is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoChoice {
    /// More than one was named.
    Several,
    /// No number of a UART.
    Com(u64),
    /// Not all ports are there.
    Io(u64),
    /// No distance of registers.
    Stride(u64),
    /// Not all registers can be there.
    Memory(u64),
    /// No table names one.
    Firmware,
}

impl fmt::Display for NoChoice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Several => f.write_str("com, io, mmio and acpi each name a port; give one of them"),
            Self::Com(com) => write!(f, "com={com}: the serial ports are 1 to 4"),
            Self::Io(io) => write!(f, "io={io:#x}: a UART's eight ports are not all there"),
            Self::Stride(stride) => write!(f, "stride={stride}: registers are 1 or 4 bytes apart"),
            Self::Memory(mmio) => write!(
                f,
                "mmio={mmio:#x}: a UART's registers are in one page, from a multiple of stride on"
            ),
            Self::Firmware => f.write_str(
                "acpi=1: the firmware's tables DBG2 and SPCR name no 16550; say com=N, io=PORT or mmio=ADDRESS",
            ),
        }
    }
}

impl fmt::Display for Choice {
    /// For the log.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.com, self.place) {
            (Some(com), Place::Ports { first }) => write!(f, "com{com} (I/O port {first:#x})"),
            (_, Place::Ports { first }) => write!(f, "the UART at I/O port {first:#x}"),
            (_, Place::Memory { base, .. }) => write!(f, "the UART at address {base:#x}"),
        }
    }
}

/// Chooses the UART.
///
/// # Errors
/// What was said names none.
pub fn choose(wish: &Wish<'_>) -> Result<Choice, NoChoice> {
    let named = [wish.com, wish.io, wish.mmio, u64::from(wish.acpi)];
    if named.into_iter().filter(|value| *value != 0).count() > 1 {
        return Err(NoChoice::Several);
    }
    let unnamed = |place| Choice {
        place,
        clock_hz: 0,
        interrupt: match place {
            Place::Ports { first } => interrupt::pin_of(first, wish.madt, wish.dmar),
            Place::Memory { .. } => None,
        },
        com: None,
    };
    if wish.acpi {
        let port = firmware::dbg2(wish.dbg2).or_else(|| firmware::spcr(wish.spcr));
        let FirmwarePort { place, clock_hz } = port.ok_or(NoChoice::Firmware)?;
        Ok(Choice {
            clock_hz,
            ..unnamed(place)
        })
    } else if wish.mmio != 0 {
        let stride = u8::try_from(wish.stride.max(1)).unwrap_or(0);
        if !matches!(stride, 1 | 4) {
            return Err(NoChoice::Stride(wish.stride));
        }
        let place = Place::in_memory(wish.mmio, stride);
        place.map(unnamed).ok_or(NoChoice::Memory(wish.mmio))
    } else if wish.io != 0 {
        let place = u16::try_from(wish.io).ok().and_then(Place::at_port);
        place.map(unnamed).ok_or(NoChoice::Io(wish.io))
    } else {
        let com = if wish.com == 0 { COM_DEFAULT } else { wish.com };
        let index = usize::try_from(com - 1).unwrap_or(usize::MAX);
        let port = COM_PORTS.get(index).copied();
        let place = port.and_then(Place::at_port).ok_or(NoChoice::Com(com))?;
        Ok(Choice {
            com: Some(com),
            ..unnamed(place)
        })
    }
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;
    use std::string::ToString;

    fn said(wish: Wish<'_>) -> (Option<Place>, std::string::String) {
        match choose(&wish) {
            Ok(choice) => (Some(choice.place), choice.to_string()),
            Err(error) => (None, error.to_string()),
        }
    }

    #[test]
    fn the_second_port_is_taken_unless_another_is_named() {
        let none = Wish::default();
        let (place, name) = said(none);
        assert_eq!(place, Place::at_port(0x2f8));
        assert_eq!(name, "com2 (I/O port 0x2f8)");
        let ports = [1, 2, 3, 4].map(|com| said(Wish { com, ..none }).0);
        assert_eq!(ports, COM_PORTS.map(Place::at_port));
        let wish = Wish { io: 0xe010, ..none };
        let expected = (Place::at_port(0xe010), "the UART at I/O port 0xe010");
        assert_eq!(said(wish), (expected.0, expected.1.to_string()));
        for stride in [0, 1, 4] {
            let (place, name) = said(Wish {
                mmio: 0xfe03_0000,
                stride,
                ..none
            });
            assert_eq!(place, Place::in_memory(0xfe03_0000, stride.max(1) as u8));
            assert_eq!(name, "the UART at address 0xfe030000");
        }
    }

    #[test]
    fn what_names_no_port_is_refused_in_a_line() {
        let none = Wish::default();
        let several = "com, io, mmio and acpi each name a port; give one of them";
        let (com, io, mmio) = (9, 0xfff9, 0x1002);
        for (wish, line) in [
            (Wish { com: 2, io, ..none }, several),
            (Wish { com, ..none }, "com=9: the serial ports are 1 to 4"),
            (
                Wish { io, ..none },
                "io=0xfff9: a UART's eight ports are not all there",
            ),
            (
                Wish {
                    mmio,
                    stride: 4,
                    ..none
                },
                "mmio=0x1002: a UART's registers are in one page, from a multiple of stride on",
            ),
            (
                Wish {
                    mmio,
                    stride: 257,
                    ..none
                },
                "stride=257: registers are 1 or 4 bytes apart",
            ),
            (
                Wish {
                    acpi: true,
                    dbg2: b"DBG2",
                    ..none
                },
                "acpi=1: the firmware's tables DBG2 and SPCR name no 16550; say com=N, io=PORT or \
                 mmio=ADDRESS",
            ),
        ] {
            assert_eq!(said(wish), (None, line.to_string()));
        }
    }

    #[test]
    fn the_firmwares_table_for_debuggers_comes_first() {
        // As in the specification: header, kind, generic address, the rest not said.
        let mut spcr = [0; 80];
        spcr[..4].copy_from_slice(b"SPCR");
        (spcr[4], spcr[8], spcr[40], spcr[41], spcr[43]) = (80, 2, 1, 8, 1);
        spcr[44..46].copy_from_slice(&[0xf8, 0x03]);
        let wish = Wish {
            acpi: true,
            spcr: &spcr,
            ..Wish::default()
        };
        assert_eq!(said(wish).0, Place::at_port(0x3f8));
        let mut dbg2 = [0; 44 + 22 + 12];
        dbg2[..4].copy_from_slice(b"DBG2");
        (dbg2[4], dbg2[36], dbg2[40]) = (44 + 22 + 12, 44, 1);
        (dbg2[45], dbg2[47], dbg2[57], dbg2[62]) = (22 + 12, 1, 0x80, 22);
        (dbg2[66], dbg2[67], dbg2[69], dbg2[70], dbg2[71]) = (1, 8, 1, 0xf8, 0x02);
        let wish = Wish {
            dbg2: &dbg2,
            ..wish
        };
        assert_eq!(said(wish).0, Place::at_port(0x2f8));
    }
}
