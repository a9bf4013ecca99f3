//! The wire form of a [`Refusal`]: one byte for which it is, then its numbers. Both tables share
//! the numbers.

mod event;

use crate::codec::{EncodeError, Parsed, Writer, byte};
use crate::packet::form::forms;
use crate::refusal::Refusal;

pub(crate) fn write(refusal: &Refusal, base: u64, out: &mut Writer<'_>) -> Result<(), EncodeError> {
    table::write(refusal, base, out)
}

pub(crate) fn parse(base: u64, input: &[u8]) -> Parsed<'_, Refusal> {
    let (rest, number) = byte(input)?;
    table::parse(number, base, rest)
}

/// What stands in for an answer that can't be written, whatever the reason: it has no fields.
pub(crate) const ANSWER_LOST: u8 = 31;

/// Both tables.
#[cfg(test)]
pub(crate) fn rows() -> impl Iterator<Item = (u8, &'static str)> + Clone {
    table::ROWS.iter().chain(event::ROWS).copied()
}

mod table {
    use super::{event, forms};
    use crate::refusal::Refusal;

    forms! {
        Refusal {
            0 ProcessNotFound { pid: number };
            1 PoolExhausted {
                class: one,
                reserved: number,
                in_use: number,
                needed: number,
                most: number,
                object_bytes: number,
                arena_left_bytes: size,
                possible: number,
                refill_ms: number,
            };
            3 CoreNotHeld { core: core };
            4 NotPresent { address: address };
            5 PhysicalOutOfRange { address: physical, limit: page };
            6 DebuggerMemory { address: physical };
            8 CoreAway { core: core };
            9 NoSuchEvent { event: event };
            10 NoSuchCore { core: core, count: number };
            11 ReadOnlyRegister { register: one };
            12 BadRegisterValue { register: one, value: number };
            13 TooLong { limit_bytes: size, asked_bytes: size };
            14 NotHalted {};
            15 ProtocolVersion { ours: number };
            16 UnknownRequest { kind: byte };
            17 Malformed {};
            18 ArenaTooSmall { class: one, asked: number, possible: number, room: number };
            26 ValueOutOfRange { value: number, least: number, most: number };
            31 AnswerLost {};
            32 NotWholePages { address: physical, len_bytes: number };
            38 CoreDied { core: core };
            39 NoBranches { obstacle: one };
            40 GlobalLength { has_bytes: number, asked_bytes: number };
            41 GlobalsFull { free_bytes: number, asked_bytes: number, free_names: number };
        }
        or Event by event
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::address::GuestVirtual;
    use crate::event::PoolClass;
    use crate::packet::Reply;
    use crate::packet::kind::ReplyKind;
    use crate::packet::testing::{BASE, reply_body, reply_is_malformed};

    #[test]
    fn refusal_is_its_number_and_its_numbers() {
        let address = GuestVirtual(BASE.0 + 1);
        let refusal = Refusal::NotPresent { address };
        assert_eq!(reply_body(Reply::Refused(refusal)), [4, 2]);
        let refusal = Refusal::PoolExhausted {
            class: PoolClass::EptHook,
            reserved: 100,
            in_use: 99,
            needed: 2,
            most: 0x80,
            object_bytes: 0x200,
            arena_left_bytes: 0x4000,
            possible: 3,
            refill_ms: 5,
        };
        let numbers = [1, 4, 100, 99, 2, 0x80, 1, 0x80, 4, 8, 3, 5];
        assert_eq!(reply_body(Reply::Refused(refusal)), numbers);
    }

    #[test]
    fn unknown_refusal_is_rejected() {
        reply_is_malformed(ReplyKind::Refused, &[30]);
        reply_is_malformed(ReplyKind::Refused, &[u8::MAX]);
    }

    #[test]
    fn refusal_that_is_cut_is_rejected() {
        reply_is_malformed(ReplyKind::Refused, &[]);
        reply_is_malformed(ReplyKind::Refused, &[10, 1]);
    }

    #[test]
    fn refusal_of_an_unknown_register_is_rejected() {
        reply_is_malformed(ReplyKind::Refused, &[11, 45]);
    }

    #[test]
    fn refusal_of_an_unknown_class_is_rejected() {
        reply_is_malformed(ReplyKind::Refused, &[18, 8, 1, 1, 1]);
    }

    #[test]
    fn both_tables_share_the_numbers() {
        let distinct: std::collections::BTreeSet<u8> = rows().map(|(number, _)| number).collect();
        assert_eq!(distinct.len(), rows().count());
    }
}
