//! The wire form of a [`Trigger`]: a number, and then its parameters. Addresses are the distance
//! to the one before, optional parameters one more than their value, 0 for none.

use crate::address::GuestVirtual;
use crate::codec::{self, EncodeError, Parsed, Writer, byte, difference, reject};
use crate::event::{Access, ControlRegister, Modes, Space, SyscallBy, TraceKind, Trigger};

/// Numbers are below this.
pub(super) const NUMBERS: u8 = 0x20;

const PHYSICAL: u8 = 0x08;
const CR4: u8 = 4;

pub(super) fn number(trigger: &Trigger) -> u8 {
    match trigger {
        Trigger::EptHook { .. } => 0,
        Trigger::EptHook2 { .. } => 1,
        Trigger::Monitor { .. } => 2,
        Trigger::Syscall { by, .. } => 3 + *by as u8,
        Trigger::Sysret { by } => 5 + *by as u8,
        Trigger::Cpuid { .. } => 7,
        Trigger::MsrRead { .. } => 8,
        Trigger::MsrWrite { .. } => 9,
        Trigger::IoIn { .. } => 10,
        Trigger::IoOut { .. } => 11,
        Trigger::Exception { .. } => 12,
        Trigger::Interrupt { .. } => 13,
        Trigger::Tsc => 14,
        Trigger::Pmc => 15,
        Trigger::Vmcall => 16,
        Trigger::Dr => 17,
        Trigger::CrWrite { .. } => 18,
        Trigger::Xsetbv { .. } => 19,
        Trigger::Mode { .. } => 20,
        Trigger::Trace { .. } => 21,
        Trigger::SyscallEntry { .. } => 22,
    }
}

pub(super) fn write(
    trigger: &Trigger,
    out: &mut Writer<'_>,
    previous: &mut u64,
) -> Result<(), EncodeError> {
    match *trigger {
        Trigger::EptHook { address } | Trigger::EptHook2 { address } => {
            write_address(address.0, out, previous)
        }
        Trigger::Monitor { access, .. } if access.is_empty() => Err(EncodeError::OverLimit),
        Trigger::Mode { to } if to.is_empty() => Err(EncodeError::OverLimit),
        Trigger::Monitor {
            space,
            access,
            from,
            len_bytes,
        } => {
            let physical = match space {
                Space::Virtual => 0,
                Space::Physical => PHYSICAL,
            };
            out.byte(access.bits() | physical)?;
            match space {
                Space::Virtual => write_address(from, out, previous)?,
                Space::Physical => out.varint(from)?,
            }
            out.varint(len_bytes)
        }
        Trigger::Syscall { number, .. } | Trigger::SyscallEntry { number } => {
            write_optional(number, out)
        }
        Trigger::Cpuid { leaf } => write_optional(leaf, out),
        Trigger::MsrRead { msr } | Trigger::MsrWrite { msr } => write_optional(msr, out),
        Trigger::Xsetbv { xcr } => write_optional(xcr, out),
        Trigger::IoIn { port } | Trigger::IoOut { port } => write_optional(port, out),
        Trigger::Exception { vector } => write_optional(vector, out),
        Trigger::Interrupt { vector } => out.byte(vector),
        Trigger::CrWrite { register, mask } => {
            out.byte(match register {
                ControlRegister::Cr0 => 0,
                ControlRegister::Cr4 => CR4,
            })?;
            // Most often all bits.
            out.varint(!mask)
        }
        Trigger::Mode { to } => out.byte(to.bits()),
        Trigger::Trace { kind } => out.byte(match kind {
            TraceKind::StepIn => 0,
            TraceKind::StepOut => 1,
            TraceKind::Instrument => 2,
        }),
        Trigger::Sysret { .. } | Trigger::Tsc | Trigger::Pmc | Trigger::Vmcall | Trigger::Dr => {
            Ok(())
        }
    }
}

pub(super) fn parse<'a>(number: u8, input: &'a [u8], previous: &mut u64) -> Parsed<'a, Trigger> {
    let by = |first| {
        if number == first {
            SyscallBy::Bytes
        } else {
            SyscallBy::Range
        }
    };
    match number {
        0 => address(input, previous).map(|(rest, at)| {
            let address = GuestVirtual(at);
            (rest, Trigger::EptHook { address })
        }),
        1 => address(input, previous).map(|(rest, at)| {
            let address = GuestVirtual(at);
            (rest, Trigger::EptHook2 { address })
        }),
        2 => monitor(input, previous),
        3 | 4 => optional(input).map(|(rest, number)| {
            let by = by(3);
            (rest, Trigger::Syscall { number, by })
        }),
        5 | 6 => Ok((input, Trigger::Sysret { by: by(5) })),
        7 => optional(input).map(|(rest, leaf)| (rest, Trigger::Cpuid { leaf })),
        8 => optional(input).map(|(rest, msr)| (rest, Trigger::MsrRead { msr })),
        9 => optional(input).map(|(rest, msr)| (rest, Trigger::MsrWrite { msr })),
        10 => optional(input).map(|(rest, port)| (rest, Trigger::IoIn { port })),
        11 => optional(input).map(|(rest, port)| (rest, Trigger::IoOut { port })),
        12 => optional(input).map(|(rest, vector)| (rest, Trigger::Exception { vector })),
        13 => byte(input).map(|(rest, vector)| (rest, Trigger::Interrupt { vector })),
        14 => Ok((input, Trigger::Tsc)),
        15 => Ok((input, Trigger::Pmc)),
        16 => Ok((input, Trigger::Vmcall)),
        17 => Ok((input, Trigger::Dr)),
        18 => {
            let (rest, register) = match byte(input)? {
                (rest, 0) => (rest, ControlRegister::Cr0),
                (rest, CR4) => (rest, ControlRegister::Cr4),
                _ => return reject(input),
            };
            let (rest, mask) = codec::varint(rest)?;
            let mask = !mask;
            Ok((rest, Trigger::CrWrite { register, mask }))
        }
        19 => optional(input).map(|(rest, xcr)| (rest, Trigger::Xsetbv { xcr })),
        20 => match byte(input).map(|(rest, bits)| (rest, Modes::from_bits(bits)))? {
            (rest, Some(to)) if !to.is_empty() => Ok((rest, Trigger::Mode { to })),
            _ => reject(input),
        },
        21 => {
            let (rest, kind) = match byte(input)? {
                (rest, 0) => (rest, TraceKind::StepIn),
                (rest, 1) => (rest, TraceKind::StepOut),
                (rest, 2) => (rest, TraceKind::Instrument),
                _ => return reject(input),
            };
            Ok((rest, Trigger::Trace { kind }))
        }
        22 => optional(input).map(|(rest, number)| (rest, Trigger::SyscallEntry { number })),
        _ => reject(input),
    }
}

fn monitor<'a>(input: &'a [u8], previous: &mut u64) -> Parsed<'a, Trigger> {
    let (rest, bits) = byte(input)?;
    let access = match Access::from_bits(bits & !PHYSICAL) {
        Some(access) if !access.is_empty() => access,
        _ => return reject(input),
    };
    let (rest, space, from) = if bits & PHYSICAL == 0 {
        let (rest, from) = address(rest, previous)?;
        (rest, Space::Virtual, from)
    } else {
        let (rest, from) = codec::varint(rest)?;
        (rest, Space::Physical, from)
    };
    let (rest, len_bytes) = codec::varint(rest)?;
    Ok((
        rest,
        Trigger::Monitor {
            space,
            access,
            from,
            len_bytes,
        },
    ))
}

fn write_address(
    address: u64,
    out: &mut Writer<'_>,
    previous: &mut u64,
) -> Result<(), EncodeError> {
    out.difference(address, *previous)?;
    *previous = address;
    Ok(())
}

fn address<'a>(input: &'a [u8], previous: &mut u64) -> Parsed<'a, u64> {
    let (rest, address) = difference(*previous)(input)?;
    *previous = address;
    Ok((rest, address))
}

fn write_optional(value: Option<impl Into<u64>>, out: &mut Writer<'_>) -> Result<(), EncodeError> {
    out.varint(value.map_or(0, |value| value.into().saturating_add(1)))
}

fn optional<T: TryFrom<u64>>(input: &[u8]) -> Parsed<'_, Option<T>> {
    let (rest, number) = codec::varint(input)?;
    match number.checked_sub(1).map(T::try_from) {
        None => Ok((rest, None)),
        Some(Ok(value)) => Ok((rest, Some(value))),
        Some(Err(_)) => reject(input),
    }
}
