//! The serial ports that the firmware's tables name: DBG2, for debuggers, and SPCR, for the console.
//!
//! The tables come from whoever made the machine: every length is checked, and what is not a UART of the 16550 kind is
//! passed over. "Debug Port Table 2", sections 2 and 3; "Serial Port Console Redirection Table".

use super::place::Place;
use nom::bytes::complete::{tag, take};
use nom::number::complete::{le_u8, le_u16, le_u32, le_u64};
use nom::{IResult, Parser};

/// Bytes of the header that every table begins with, its length at offset 4.
pub(super) const HEADER_BYTES: usize = 36;
const LENGTH_OFFSET: usize = 4;

/// Ports in a table at most: more are not looked at.
const PORTS_MAX: u32 = 32;

/// DBG2's type of serial ports; the other ones are FireWire, USB and networks.
const SERIAL: u16 = 0x8000;
/// Interfaces of the 16550 kind, in both tables: full, without the FIFO, and as the address says.
const KINDS: [u16; 3] = [0, 1, 0x12];

/// Spaces and access sizes of a generic address ("Generic Address Structure", ACPI 5.2.3.2).
const SYSTEM_MEMORY: u8 = 0;
const SYSTEM_IO: u8 = 1;
const DOUBLE_WORD: u8 = 3;

/// A port, and the frequency of its clock if the table knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FirmwarePort {
    /// Where.
    pub place: Place,
    /// 0 if it is not said.
    pub clock_hz: u32,
}

/// A generic address of 12 bytes, as a place.
fn place(input: &[u8]) -> IResult<&[u8], Option<Place>> {
    let (input, (space, width_bits, _, access, base)) =
        (le_u8, le_u8, le_u8, le_u8, le_u64).parse(input)?;
    let is_wide = access == DOUBLE_WORD || access == 0 && width_bits == 32;
    let stride = if is_wide { 4 } else { 1 };
    let place = match space {
        SYSTEM_MEMORY => Place::in_memory(base, stride),
        SYSTEM_IO => u16::try_from(base).ok().and_then(Place::at_port),
        _ => None,
    };
    Ok((input, place))
}

/// The table's bytes, as many as it says itself.
pub(super) fn whole<'t>(table: &'t [u8], signature: &[u8; 4]) -> Option<&'t [u8]> {
    let (rest, _) = tag::<_, _, ()>(&signature[..]).parse(table).ok()?;
    let (_, len_bytes) = le_u32::<_, ()>(rest).ok()?;
    debug_assert_eq!(signature.len(), LENGTH_OFFSET);
    let len_bytes = usize::try_from(len_bytes).ok()?;
    table
        .get(..len_bytes)
        .filter(|table| table.len() >= HEADER_BYTES)
}

/// The port of an SPCR table.
#[must_use]
pub fn spcr(table: &[u8]) -> Option<FirmwarePort> {
    /// From the interface's kind to the clock: what stands between is of no use here.
    const ADDRESS: usize = 40;
    const CLOCK: usize = 76;
    const WITH_CLOCK: u8 = 3;
    let table = whole(table, b"SPCR")?;
    let revision = *table.get(8)?;
    let kind = u16::from(*table.get(HEADER_BYTES)?);
    let (_, place) = place(table.get(ADDRESS..)?).ok()?;
    let clock = table
        .get(CLOCK..)
        .and_then(|rest| le_u32::<_, ()>(rest).ok());
    KINDS.contains(&kind).then_some(FirmwarePort {
        place: place?,
        clock_hz: clock
            .filter(|_| revision >= WITH_CLOCK)
            .map_or(0, |(_, clock_hz)| clock_hz),
    })
}

/// One port of a DBG2 table, as it begins; the rest of it is found by offsets.
struct Device {
    len_bytes: u16,
    address_count: u8,
    kind: (u16, u16),
    address_offset: u16,
}

fn device(input: &[u8]) -> IResult<&[u8], Device> {
    let (input, (_, len_bytes, address_count)) = (le_u8, le_u16, le_u8).parse(input)?;
    // Lengths and offsets of names and of the maker's own data.
    let (input, _) = take(8_usize).parse(input)?;
    let (input, (kind, _, address_offset)) = ((le_u16, le_u16), le_u16, le_u16).parse(input)?;
    let device = Device {
        len_bytes,
        address_count,
        kind,
        address_offset,
    };
    Ok((input, device))
}

/// The first port of a DBG2 table that can be used.
#[must_use]
pub fn dbg2(table: &[u8]) -> Option<FirmwarePort> {
    let table = whole(table, b"DBG2")?;
    let (_, (offset, count)) = (le_u32::<_, ()>, le_u32)
        .parse(table.get(HEADER_BYTES..)?)
        .ok()?;
    let mut rest = table.get(usize::try_from(offset).ok()?..)?;
    for _ in 0..count.min(PORTS_MAX) {
        let (_, device) = device(rest).ok()?;
        let (this, next) = rest.split_at_checked(usize::from(device.len_bytes))?;
        if let Some(place) = usable(this, &device) {
            return Some(FirmwarePort { place, clock_hz: 0 });
        }
        if this.is_empty() {
            return None;
        }
        rest = next;
    }
    None
}

fn usable(bytes: &[u8], device: &Device) -> Option<Place> {
    let (port, kind) = device.kind;
    if port != SERIAL || !KINDS.contains(&kind) || device.address_count == 0 {
        return None;
    }
    let (_, place) = place(bytes.get(usize::from(device.address_offset)..)?).ok()?;
    place
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;
    use crate::ept::model::config;
    use proptest::prelude::*;
    use std::vec;
    use std::vec::Vec;

    /// A table of these bytes behind its header.
    fn table(signature: &[u8; 4], revision: u8, body: &[u8]) -> Vec<u8> {
        let mut table = vec![0; HEADER_BYTES];
        table[..4].copy_from_slice(signature);
        table[4..8].copy_from_slice(&((HEADER_BYTES + body.len()) as u32).to_le_bytes());
        table[8] = revision;
        table.extend(body);
        table
    }

    fn address(space: u8, width_bits: u8, access: u8, base: u64) -> Vec<u8> {
        let mut bytes = vec![space, width_bits, 0, access];
        bytes.extend(base.to_le_bytes());
        bytes
    }

    fn spcr_of(kind: u8, revision: u8, address: &[u8], clock_hz: u32) -> Vec<u8> {
        let mut body = vec![kind, 0, 0, 0];
        body.extend(address);
        body.resize(76 - HEADER_BYTES, 0xaa);
        body.extend(clock_hz.to_le_bytes());
        table(b"SPCR", revision, &body)
    }

    /// A device whose address stands behind eight bytes of something else.
    fn device_of(port: u16, kind: u16, address: &[u8]) -> Vec<u8> {
        let mut bytes = vec![0];
        bytes.extend((22 + 8 + address.len() as u16).to_le_bytes());
        bytes.push(1);
        bytes.extend([0; 8]);
        for word in [port, kind, 0, 22 + 8, 0] {
            bytes.extend(word.to_le_bytes());
        }
        bytes.extend([0xaa; 8]);
        bytes.extend(address);
        bytes
    }

    fn dbg2_of(devices: &[Vec<u8>]) -> Vec<u8> {
        let mut body = Vec::new();
        // They need not begin at once.
        body.extend((HEADER_BYTES as u32 + 12).to_le_bytes());
        body.extend((devices.len() as u32).to_le_bytes());
        body.extend([0; 4]);
        body.extend(devices.concat());
        table(b"DBG2", 0, &body)
    }

    fn com2() -> Place {
        Place::at_port(0x2f8).unwrap()
    }

    #[test]
    fn spcr_names_its_port() {
        let port = address(SYSTEM_IO, 8, 1, 0x2f8);
        let expected = FirmwarePort {
            place: com2(),
            clock_hz: 0,
        };
        assert_eq!(spcr(&spcr_of(0, 2, &port, 7)), Some(expected));
        let with_clock = FirmwarePort {
            place: Place::in_memory(0xfe03_4000, 4).unwrap(),
            clock_hz: 48_000_000,
        };
        let memory = address(SYSTEM_MEMORY, 32, 3, 0xfe03_4000);
        assert_eq!(
            spcr(&spcr_of(0x12, 4, &memory, 48_000_000)),
            Some(with_clock)
        );
        // One that ends before the clock.
        let mut short = spcr_of(1, 4, &port, 0);
        short.truncate(60);
        short[4] = 60;
        assert_eq!(spcr(&short), Some(expected));
    }

    #[test]
    fn dbg2_names_the_first_port_that_can_be_used() {
        let port = address(SYSTEM_IO, 8, 1, 0x2f8);
        let memory = address(SYSTEM_MEMORY, 8, 1, 0xd000_1000);
        let devices = [
            // USB, an ARM port, one behind PCI configuration.
            device_of(0x8002, 0, &memory),
            device_of(SERIAL, 3, &memory),
            device_of(SERIAL, 0, &address(2, 8, 1, 0x10)),
            device_of(SERIAL, 0x12, &memory),
            device_of(SERIAL, 0, &port),
        ];
        let place = |devices: &[Vec<u8>]| dbg2(&dbg2_of(devices)).map(|port| port.place);
        assert_eq!(place(&devices), Place::in_memory(0xd000_1000, 1));
        assert_eq!(place(&devices[4..]), Some(com2()));
        assert_eq!(place(&devices[..3]), None);
        assert_eq!(place(&[]), None);
    }

    #[test]
    fn other_tables_and_other_ports_are_none() {
        let port = address(SYSTEM_IO, 8, 1, 0x2f8);
        assert_eq!(spcr(&spcr_of(3, 2, &port, 0)), None);
        assert_eq!(dbg2(&spcr_of(0, 2, &port, 0)), None);
        assert_eq!(spcr(&dbg2_of(&[device_of(SERIAL, 0, &port)])), None);
        let beyond = address(SYSTEM_IO, 8, 1, 0x1_0000);
        assert_eq!(spcr(&spcr_of(0, 2, &beyond, 0)), None);
        let nowhere = address(SYSTEM_IO, 8, 1, 0);
        assert_eq!(spcr(&spcr_of(0, 2, &nowhere, 0)), None);
    }

    #[test]
    fn tables_that_are_cut_or_lie_about_lengths_are_none_or_the_same() {
        let port = address(SYSTEM_IO, 8, 1, 0x2f8);
        let devices = [device_of(0x8002, 0, &port), device_of(SERIAL, 0, &port)];
        let (console, debug) = (spcr_of(0, 2, &port, 0), dbg2_of(&devices));
        for len_bytes in 0..console.len() {
            assert_eq!(spcr(&console[..len_bytes]), None);
        }
        for len_bytes in 0..debug.len() {
            assert_eq!(dbg2(&debug[..len_bytes]), None);
        }
        let first = HEADER_BYTES + 12;
        // A device without a length would be read for ever.
        let mut stuck = debug.clone();
        stuck[first + 1..first + 3].fill(0);
        assert_eq!(dbg2(&stuck), None);
        let mut endless = debug.clone();
        endless[HEADER_BYTES + 4..HEADER_BYTES + 8].fill(0xff);
        assert_eq!(dbg2(&endless).map(|port| port.place), Some(com2()));
    }

    proptest! {
        #![proptest_config(config())]
        #[test]
        fn any_bytes_are_a_port_or_none(
            mut bytes: Vec<u8>,
            changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4),
        ) {
            let _ = (spcr(&bytes), dbg2(&bytes));
            bytes.truncate(64);
            let _ = (spcr(&table(b"SPCR", 4, &bytes)), dbg2(&table(b"DBG2", 0, &bytes)));
            let port = address(SYSTEM_MEMORY, 32, 3, 0xfe00_0000);
            let mut debug = dbg2_of(&[device_of(SERIAL, 0, &port), device_of(SERIAL, 1, &port)]);
            let mut console = spcr_of(0, 4, &port, 1);
            for (index, value) in changes {
                let at = index.index(debug.len());
                debug[at] = value;
                let at = index.index(console.len());
                console[at] = value;
            }
            let _ = (spcr(&console), dbg2(&debug));
        }
    }
}
