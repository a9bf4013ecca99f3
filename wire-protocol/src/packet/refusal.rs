//! The wire form of a [`Refusal`]: one byte for which it is, then its numbers.

mod event;

use crate::address::{CoreId, EventId, GuestPhysical, GuestVirtual};
use crate::codec::{self, EncodeError, Parsed, Writer, byte, difference, narrow, one_of};
use crate::event::PoolClass;
use crate::refusal::Refusal;
use crate::register::Register;

pub(crate) fn write(refusal: &Refusal, base: u64, out: &mut Writer<'_>) -> Result<(), EncodeError> {
    match *refusal {
        Refusal::ProcessNotFound { pid } => {
            out.byte(0)?;
            out.varint(pid)
        }
        Refusal::PoolExhausted {
            class,
            reserved,
            object_bytes,
            arena_left_bytes,
        } => {
            out.byte(1)?;
            out.byte(class.to_wire())?;
            out.varint(reserved)?;
            out.varint(object_bytes)?;
            out.size(arena_left_bytes)
        }
        Refusal::ClearIncomplete { core, event } => {
            out.byte(2)?;
            out.varint(core.0)?;
            out.varint(event.0)
        }
        Refusal::CoreNotHeld { core } => {
            out.byte(3)?;
            out.varint(core.0)
        }
        Refusal::NotPresent { address } => {
            out.byte(4)?;
            out.difference(address.0, base)
        }
        Refusal::PhysicalOutOfRange { address, limit } => {
            out.byte(5)?;
            out.varint(address.0)?;
            out.size(limit.0)
        }
        Refusal::DebuggerMemory { address } => {
            out.byte(6)?;
            out.varint(address.0)
        }
        Refusal::TooManyHooksOnPage { limit } => {
            out.byte(7)?;
            out.varint(limit)
        }
        Refusal::CoreAway { core } => {
            out.byte(8)?;
            out.varint(core.0)
        }
        Refusal::NoSuchEvent { event } => {
            out.byte(9)?;
            out.varint(event.0)
        }
        Refusal::NoSuchCore { core, count } => {
            out.byte(10)?;
            out.varint(core.0)?;
            out.varint(count)
        }
        Refusal::ReadOnlyRegister { register } => {
            out.byte(11)?;
            out.byte(register as u8)
        }
        Refusal::BadRegisterValue { register, value } => {
            out.byte(12)?;
            out.byte(register as u8)?;
            out.varint(value)
        }
        Refusal::TooLong {
            limit_bytes,
            asked_bytes,
        } => {
            out.byte(13)?;
            out.size(limit_bytes)?;
            out.size(asked_bytes)
        }
        Refusal::NotHalted => out.byte(14),
        Refusal::ProtocolVersion { ours } => {
            out.byte(15)?;
            out.varint(ours)
        }
        Refusal::UnknownRequest { kind } => {
            out.byte(16)?;
            out.byte(kind)
        }
        Refusal::Malformed => out.byte(17),
        Refusal::ArenaTooSmall {
            class,
            asked,
            possible,
        } => {
            out.byte(18)?;
            out.byte(class.to_wire())?;
            out.varint(asked)?;
            out.varint(possible)
        }
        ref other => event::write(other, out),
    }
}

pub(crate) fn parse(base: u64, input: &[u8]) -> Parsed<'_, Refusal> {
    let (rest, number) = byte(input)?;
    match number {
        0 => narrow(rest).map(|(rest, pid)| (rest, Refusal::ProcessNotFound { pid })),
        1 => parse_pool_exhausted(rest),
        2 => {
            let (rest, core) = parse_core(rest)?;
            let (rest, event) = parse_event(rest)?;
            Ok((rest, Refusal::ClearIncomplete { core, event }))
        }
        3 => parse_core(rest).map(|(rest, core)| (rest, Refusal::CoreNotHeld { core })),
        4 => {
            let (rest, address) = difference(base)(rest)?;
            let address = GuestVirtual(address);
            Ok((rest, Refusal::NotPresent { address }))
        }
        5 => {
            let (rest, address) = codec::varint(rest)?;
            let address = GuestPhysical(address);
            let (rest, limit) = codec::size(rest)?;
            let limit = GuestPhysical(limit);
            Ok((rest, Refusal::PhysicalOutOfRange { address, limit }))
        }
        6 => {
            let (rest, address) = codec::varint(rest)?;
            let address = GuestPhysical(address);
            Ok((rest, Refusal::DebuggerMemory { address }))
        }
        7 => narrow(rest).map(|(rest, limit)| (rest, Refusal::TooManyHooksOnPage { limit })),
        8 => parse_core(rest).map(|(rest, core)| (rest, Refusal::CoreAway { core })),
        9 => parse_event(rest).map(|(rest, event)| (rest, Refusal::NoSuchEvent { event })),
        10 => {
            let (rest, core) = parse_core(rest)?;
            let (rest, count) = narrow(rest)?;
            Ok((rest, Refusal::NoSuchCore { core, count }))
        }
        11 => {
            let (rest, register) = one_of(Register::from_wire, rest)?;
            Ok((rest, Refusal::ReadOnlyRegister { register }))
        }
        12 => {
            let (rest, register) = one_of(Register::from_wire, rest)?;
            let (rest, value) = codec::varint(rest)?;
            Ok((rest, Refusal::BadRegisterValue { register, value }))
        }
        13 => {
            let (rest, limit_bytes) = codec::size(rest)?;
            let (rest, asked_bytes) = codec::size(rest)?;
            Ok((
                rest,
                Refusal::TooLong {
                    limit_bytes,
                    asked_bytes,
                },
            ))
        }
        14 => Ok((rest, Refusal::NotHalted)),
        15 => narrow(rest).map(|(rest, ours)| (rest, Refusal::ProtocolVersion { ours })),
        16 => byte(rest).map(|(rest, kind)| (rest, Refusal::UnknownRequest { kind })),
        17 => Ok((rest, Refusal::Malformed)),
        18 => parse_arena_too_small(rest),
        _ => event::parse(number, rest),
    }
}

fn parse_pool_exhausted(input: &[u8]) -> Parsed<'_, Refusal> {
    let (rest, class) = one_of(PoolClass::from_wire, input)?;
    let (rest, reserved) = narrow(rest)?;
    let (rest, object_bytes) = narrow(rest)?;
    let (rest, arena_left_bytes) = codec::size(rest)?;
    Ok((
        rest,
        Refusal::PoolExhausted {
            class,
            reserved,
            object_bytes,
            arena_left_bytes,
        },
    ))
}

fn parse_arena_too_small(input: &[u8]) -> Parsed<'_, Refusal> {
    let (rest, class) = one_of(PoolClass::from_wire, input)?;
    let (rest, asked) = narrow(rest)?;
    let (rest, possible) = narrow(rest)?;
    Ok((
        rest,
        Refusal::ArenaTooSmall {
            class,
            asked,
            possible,
        },
    ))
}

fn parse_core(input: &[u8]) -> Parsed<'_, CoreId> {
    narrow(input).map(|(rest, core)| (rest, CoreId(core)))
}

fn parse_event(input: &[u8]) -> Parsed<'_, EventId> {
    narrow(input).map(|(rest, event)| (rest, EventId(event)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::packet::Reply;
    use crate::packet::kind::REFUSED;
    use crate::packet::testing::{BASE, reply_body, reply_is_malformed};

    #[test]
    fn refusal_is_its_number_and_its_numbers() {
        let address = GuestVirtual(BASE.0 + 1);
        let refusal = Refusal::NotPresent { address };
        assert_eq!(reply_body(Reply::Refused(refusal)), [4, 2]);
        let refusal = Refusal::PoolExhausted {
            class: PoolClass::EptHook,
            reserved: 100,
            object_bytes: 0x200,
            arena_left_bytes: 0x4000,
        };
        assert_eq!(reply_body(Reply::Refused(refusal)), [1, 4, 100, 0x80, 4, 8]);
    }

    #[test]
    fn unknown_refusal_is_rejected() {
        reply_is_malformed(REFUSED, &[31]);
    }

    #[test]
    fn refusal_that_is_cut_is_rejected() {
        reply_is_malformed(REFUSED, &[]);
        reply_is_malformed(REFUSED, &[10, 1]);
    }

    #[test]
    fn refusal_of_an_unknown_register_is_rejected() {
        reply_is_malformed(REFUSED, &[11, 45]);
    }

    #[test]
    fn refusal_of_an_unknown_class_is_rejected() {
        reply_is_malformed(REFUSED, &[18, 8, 1, 1]);
    }
}
