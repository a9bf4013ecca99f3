//! Where the interrupt of a PC's own UART goes in, by the firmware's tables, and how it becomes an NMI. Pure; the tables are
//! asked by the platform at load, entries by `hw` in a halt.
//!
//! "Multiple APIC Description Table", ACPI 5.2.12; "DMA Remapping Reporting Structure", VT-d 8.1; Intel 82093AA data sheet,
//! "I/O redirection table registers", 3.2.4. The tables come from whoever made the machine: every length is checked.

use super::firmware::{HEADER_BYTES, whole};
use nom::bytes::complete::take;
use nom::number::complete::{le_u8, le_u16, le_u32};
use nom::{IResult, Parser};

/// Interrupts of a PC's four UARTs on its first bus, by their first ports.
const ISA_INTERRUPTS: [(u16, u8); 4] = [(0x3f8, 4), (0x2f8, 3), (0x3e8, 4), (0x2e8, 3)];

/// A pin of an I/O APIC.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InterruptPin {
    /// Physical address of the controller's registers.
    pub controller: u64,
    /// Which of its pins.
    pub number: u8,
}

/// Kinds of the entries of interest, and how long they are.
const IO_APIC: u8 = 1;
const OVERRIDE: u8 = 2;
const FIRST_ENTRY: usize = HEADER_BYTES + 8;
/// Entries at most: more are not looked at.
const ENTRIES_MAX: u32 = 1024;

/// Polarity and trigger of an override that are not those of the bus.
const ACTIVE_LOW: u16 = 0b0011;
const LEVEL: u16 = 0b1100;

/// DMAR's flag: the machine can remap interrupts, and then takes no other ones.
const REMAPS: u8 = 1;
const DMAR_FLAGS: usize = HEADER_BYTES + 1;

fn entry(input: &[u8]) -> IResult<&[u8], (u8, &[u8])> {
    let (input, (kind, len_bytes)) = (le_u8, le_u8).parse(input)?;
    let (input, body) = take(len_bytes.saturating_sub(2)).parse(input)?;
    Ok((input, (kind, body)))
}

fn entries(madt: &[u8]) -> impl Iterator<Item = (u8, &[u8])> {
    let mut rest = whole(madt, b"APIC")
        .and_then(|table| table.get(FIRST_ENTRY..))
        .unwrap_or_default();
    (0..ENTRIES_MAX).map_while(move |_| {
        let (next, found) = entry(rest).ok()?;
        rest = next;
        Some(found)
    })
}

/// Number of the interrupt on the machine and its flags, where the bus has another one.
fn overridden(body: &[u8], interrupt: u8) -> Option<(u32, u16)> {
    let (_, (bus, source, number, flags)) =
        (le_u8::<_, ()>, le_u8, le_u32, le_u16).parse(body).ok()?;
    (bus == 0 && source == interrupt).then_some((number, flags))
}

/// Address of a controller and the first interrupt that it takes.
fn controller(body: &[u8]) -> Option<(u32, u32)> {
    let (_, (_, address, first)) = (le_u16::<_, ()>, le_u32, le_u32).parse(body).ok()?;
    Some((address, first))
}

/// The pin of the UART at these ports, if it is one of a PC's own and calls by an edge, in a machine that does not remap
/// interrupts.
#[must_use]
pub fn pin_of(first_port: u16, madt: &[u8], dmar: &[u8]) -> Option<InterruptPin> {
    let flags = whole(dmar, b"DMAR").and_then(|table| table.get(DMAR_FLAGS));
    if flags.is_some_and(|flags| flags & REMAPS != 0) {
        return None;
    }
    let (_, interrupt) = ISA_INTERRUPTS
        .into_iter()
        .find(|(port, _)| *port == first_port)?;
    let (number, flags) = entries(madt)
        .filter(|(kind, _)| *kind == OVERRIDE)
        .find_map(|(_, body)| overridden(body, interrupt))
        .unwrap_or((u32::from(interrupt), 0));
    if flags & ACTIVE_LOW == ACTIVE_LOW || flags & LEVEL == LEVEL {
        return None;
    }
    let (address, first) = entries(madt)
        .filter(|(kind, _)| *kind == IO_APIC)
        .filter_map(|(_, body)| controller(body))
        .filter(|(_, first)| *first <= number)
        .max_by_key(|(_, first)| *first)?;
    Some(InterruptPin {
        controller: u64::from(address),
        number: u8::try_from(number - first).ok()?,
    })
}

/// Index of a controller's version, which says in bits 16 to 23 what its last pin is.
pub const VERSION: u32 = 1;
/// Index of the low half of a pin's entry; the high half is the next.
pub const FIRST_HALF: u32 = 0x10;

/// In the low half: nothing comes of the pin.
pub const MASKED: u32 = 1 << 16;
/// Delivery mode NMI, to the core with the local APIC id in the highest byte of the other half.
const NMI: u32 = 0b100 << 8;

/// The entry that leads a pin to a core as an NMI, by the entry that it has: low half and high half. `None` if somebody uses
/// it, the controller has no such pin, or the core cannot be named.
#[must_use]
pub fn entry_to_core(version: u32, pin: u8, low: u32, apic_id: u32) -> Option<(u32, u32)> {
    let last = version >> 16 & 0xff;
    if u32::from(pin) > last || low & MASKED == 0 || apic_id >= 0xff {
        return None;
    }
    Some((NMI, apic_id << 24))
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;
    use crate::ept::model::config;
    use proptest::prelude::*;
    use std::vec;
    use std::vec::Vec;

    fn table(signature: &[u8; 4], body: &[u8]) -> Vec<u8> {
        let mut table = vec![0; HEADER_BYTES];
        table[..4].copy_from_slice(signature);
        table[4..8].copy_from_slice(&((HEADER_BYTES + body.len()) as u32).to_le_bytes());
        table.extend(body);
        table
    }

    fn madt(entries: &[Vec<u8>]) -> Vec<u8> {
        let mut body = vec![0; 8];
        body.extend(entries.concat());
        table(b"APIC", &body)
    }

    fn io_apic(address: u32, first: u32) -> Vec<u8> {
        let mut entry = vec![IO_APIC, 12, 7, 0];
        entry.extend(address.to_le_bytes());
        entry.extend(first.to_le_bytes());
        entry
    }

    fn overrides(source: u8, number: u32, flags: u16) -> Vec<u8> {
        let mut entry = vec![OVERRIDE, 10, 0, source];
        entry.extend(number.to_le_bytes());
        entry.extend(flags.to_le_bytes());
        entry
    }

    const FIRST: u32 = 0xfec0_0000;

    fn pin(number: u8) -> Option<InterruptPin> {
        Some(InterruptPin {
            controller: u64::from(FIRST),
            number,
        })
    }

    #[test]
    fn the_pin_is_where_the_table_leads_the_interrupt() {
        let core = vec![0, 8, 0, 0, 1, 0, 0, 0];
        let plain = madt(&[core.clone(), io_apic(FIRST, 0), io_apic(0xfec1_0000, 24)]);
        assert_eq!(pin_of(0x3f8, &plain, &[]), pin(4));
        assert_eq!(pin_of(0x2e8, &plain, &[]), pin(3));
        assert_eq!(pin_of(0xe010, &plain, &[]), None, "no UART of a PC's own");
        let moved = madt(&[overrides(4, 30, 0b0101), io_apic(0xfec1_0000, 24), core]);
        let expected = InterruptPin {
            controller: 0xfec1_0000,
            number: 6,
        };
        assert_eq!(pin_of(0x3f8, &moved, &[]), Some(expected));
        for flags in [0b1101, 0b0111, 0b1111] {
            let level = madt(&[overrides(3, 3, flags), io_apic(FIRST, 0)]);
            assert_eq!(pin_of(0x2f8, &level, &[]), None, "{flags:#b}");
        }
        assert_eq!(pin_of(0x2f8, &madt(&[]), &[]), None);
    }

    #[test]
    fn a_machine_that_remaps_interrupts_takes_no_other_ones() {
        let plain = madt(&[io_apic(FIRST, 0)]);
        let dmar = |flags| table(b"DMAR", &[38, flags]);
        assert_eq!(pin_of(0x2f8, &plain, &dmar(0b01)), None);
        assert_eq!(pin_of(0x2f8, &plain, &dmar(0b10)), pin(3));
    }

    #[test]
    fn a_pin_that_somebody_uses_is_left_alone() {
        let version = 0x0017_0020;
        assert_eq!(
            entry_to_core(version, 3, MASKED | 0x33, 2),
            Some((0x400, 2 << 24))
        );
        assert_eq!(entry_to_core(version, 3, 0x33, 2), None);
        assert_eq!(entry_to_core(version, 24, MASKED, 2), None);
        assert_eq!(entry_to_core(version, 23, MASKED, 0xff), None);
    }

    proptest! {
        #![proptest_config(config())]
        #[test]
        fn any_bytes_are_a_pin_or_none(
            bytes: Vec<u8>,
            changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4),
        ) {
            let _ = (pin_of(0x3f8, &bytes, &bytes), pin_of(0x3f8, &table(b"APIC", &bytes), &table(b"DMAR", &bytes)));
            let mut changed = madt(&[overrides(4, 30, 0), io_apic(FIRST, 0), io_apic(0xfec1_0000, 24)]);
            for (index, value) in changes {
                let at = index.index(changed.len());
                changed[at] = value;
            }
            let _ = pin_of(0x3f8, &changed, &[]);
        }
    }
}
