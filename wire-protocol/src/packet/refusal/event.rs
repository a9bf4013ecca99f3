//! Refusals of events: numbers 19 and up.

use crate::address::{EventId, GuestPhysical};
use crate::codec::{self, EncodeError, Parsed, Writer, byte, narrow, one_of, reject};
use crate::refusal::{DetourObstacle, EventOption, ProcessorFeature, ProgramPart, Refusal};

/// What [`super`] writes itself does not come here.
pub(super) fn write(refusal: &Refusal, out: &mut Writer<'_>) -> Result<(), EncodeError> {
    let mut limit = |number, limit_bytes: u32, asked_bytes: u32| {
        out.byte(number)?;
        out.varint(limit_bytes)?;
        out.varint(asked_bytes)
    };
    match *refusal {
        Refusal::ConditionTooBig {
            limit_bytes,
            asked_bytes,
        } => limit(19, limit_bytes, asked_bytes),
        Refusal::ActionTooBig {
            limit_bytes,
            asked_bytes,
        } => limit(20, limit_bytes, asked_bytes),
        Refusal::BufferOverMessage {
            limit_bytes,
            asked_bytes,
        } => limit(21, limit_bytes, asked_bytes),
        Refusal::BufferTooBig {
            limit_bytes,
            asked_bytes,
        } => limit(22, limit_bytes, asked_bytes),
        Refusal::NoBigEvent {
            part,
            regular_bytes,
            asked_bytes,
            reserved,
            object_bytes,
            arena_left_bytes,
        } => {
            out.byte(23)?;
            out.byte(part as u8)?;
            out.varint(regular_bytes)?;
            out.varint(asked_bytes)?;
            out.varint(reserved)?;
            out.varint(object_bytes)?;
            out.size(arena_left_bytes)
        }
        Refusal::BadProgram { part, at, reason } => {
            out.byte(24)?;
            out.byte(part as u8)?;
            out.varint(at)?;
            out.byte(reason)
        }
        Refusal::OptionDoesNotFit { option } => out.bytes(&[25, option as u8]),
        Refusal::ValueOutOfRange { value, least, most } => {
            out.byte(26)?;
            out.varint(value)?;
            out.varint(least)?;
            out.varint(most)
        }
        Refusal::OwnPort { port } => {
            out.byte(27)?;
            out.varint(port)
        }
        Refusal::OwnMsr { msr } => {
            out.byte(28)?;
            out.varint(msr)
        }
        Refusal::NoFeature { feature } => out.bytes(&[29, feature as u8]),
        Refusal::UnknownTrigger => out.byte(30),
        Refusal::GlobalLength {
            has_bytes,
            asked_bytes,
        } => limit(40, has_bytes, asked_bytes),
        Refusal::GlobalsFull {
            free_bytes,
            free_names,
            asked_bytes,
        } => {
            limit(41, free_bytes, asked_bytes)?;
            out.varint(free_names)
        }
        Refusal::NoDetour { obstacle } => out.bytes(&[51, obstacle as u8]),
        Refusal::PageTaken { event } => {
            out.byte(52)?;
            out.varint(event.0)
        }
        Refusal::NotRam { address } => {
            out.byte(50)?;
            out.varint(address.0)
        }
        _ => Err(EncodeError::OverLimit),
    }
}

pub(super) fn parse(number: u8, input: &[u8]) -> Parsed<'_, Refusal> {
    match number {
        19..=22 => {
            let (rest, limit_bytes) = narrow(input)?;
            let (rest, asked_bytes) = narrow(rest)?;
            let refusal = match number {
                19 => Refusal::ConditionTooBig {
                    limit_bytes,
                    asked_bytes,
                },
                20 => Refusal::ActionTooBig {
                    limit_bytes,
                    asked_bytes,
                },
                21 => Refusal::BufferOverMessage {
                    limit_bytes,
                    asked_bytes,
                },
                _ => Refusal::BufferTooBig {
                    limit_bytes,
                    asked_bytes,
                },
            };
            Ok((rest, refusal))
        }
        40 => {
            let (rest, has_bytes) = narrow(input)?;
            let (rest, asked_bytes) = narrow(rest)?;
            let refusal = Refusal::GlobalLength {
                has_bytes,
                asked_bytes,
            };
            Ok((rest, refusal))
        }
        41 => {
            let (rest, free_bytes) = narrow(input)?;
            let (rest, asked_bytes) = narrow(rest)?;
            let (rest, free_names) = narrow(rest)?;
            let refusal = Refusal::GlobalsFull {
                free_bytes,
                free_names,
                asked_bytes,
            };
            Ok((rest, refusal))
        }
        23 => parse_no_big_event(input),
        24 => {
            let (rest, part) = parse_part(input)?;
            let (rest, at) = narrow(rest)?;
            let (rest, reason) = byte(rest)?;
            Ok((rest, Refusal::BadProgram { part, at, reason }))
        }
        25 => {
            let (rest, option) = one_of(nth(&EventOption::ALL), input)?;
            Ok((rest, Refusal::OptionDoesNotFit { option }))
        }
        26 => {
            let (rest, value) = codec::varint(input)?;
            let (rest, least) = codec::varint(rest)?;
            let (rest, most) = codec::varint(rest)?;
            Ok((rest, Refusal::ValueOutOfRange { value, least, most }))
        }
        27 => narrow(input).map(|(rest, port)| (rest, Refusal::OwnPort { port })),
        28 => narrow(input).map(|(rest, msr)| (rest, Refusal::OwnMsr { msr })),
        29 => {
            let (rest, feature) = one_of(nth(&ProcessorFeature::ALL), input)?;
            Ok((rest, Refusal::NoFeature { feature }))
        }
        30 => Ok((input, Refusal::UnknownTrigger)),
        50 => {
            let (rest, address) = codec::varint(input)?;
            let address = GuestPhysical(address);
            Ok((rest, Refusal::NotRam { address }))
        }
        51 => {
            let (rest, obstacle) = one_of(nth(&DetourObstacle::ALL), input)?;
            Ok((rest, Refusal::NoDetour { obstacle }))
        }
        52 => {
            let (rest, event) = narrow(input)?;
            let event = EventId(event);
            Ok((rest, Refusal::PageTaken { event }))
        }
        _ => reject(input),
    }
}

fn parse_no_big_event(input: &[u8]) -> Parsed<'_, Refusal> {
    let (rest, part) = parse_part(input)?;
    let (rest, regular_bytes) = narrow(rest)?;
    let (rest, asked_bytes) = narrow(rest)?;
    let (rest, reserved) = narrow(rest)?;
    let (rest, object_bytes) = narrow(rest)?;
    let (rest, arena_left_bytes) = codec::size(rest)?;
    Ok((
        rest,
        Refusal::NoBigEvent {
            part,
            regular_bytes,
            asked_bytes,
            reserved,
            object_bytes,
            arena_left_bytes,
        },
    ))
}

fn parse_part(input: &[u8]) -> Parsed<'_, ProgramPart> {
    one_of(nth(&ProgramPart::ALL), input)
}

/// The value whose place in `all` is its wire number.
fn nth<T: Copy>(all: &[T]) -> impl Fn(u8) -> Option<T> {
    move |number| all.get(usize::from(number)).copied()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::packet::Reply;
    use crate::packet::kind::REFUSED;
    use crate::packet::testing::{reply_body, reply_is_malformed};

    #[test]
    fn closed_sets_stand_in_the_order_of_their_numbers() {
        for (number, option) in EventOption::ALL.into_iter().enumerate() {
            assert_eq!(option as usize, number);
        }
        for (number, feature) in ProcessorFeature::ALL.into_iter().enumerate() {
            assert_eq!(feature as usize, number);
        }
        for (number, obstacle) in DetourObstacle::ALL.into_iter().enumerate() {
            assert_eq!(obstacle as usize, number);
        }
        for (number, part) in ProgramPart::ALL.into_iter().enumerate() {
            assert_eq!(part as usize, number);
        }
    }

    #[test]
    fn refusal_of_an_option_names_it() {
        let option = EventOption::Stage;
        let refusal = Refusal::OptionDoesNotFit { option };
        assert_eq!(reply_body(Reply::Refused(refusal)), [25, 4]);
        reply_is_malformed(REFUSED, &[25, 9]);
        reply_is_malformed(REFUSED, &[29, 5]);
        reply_is_malformed(REFUSED, &[24, 2, 0, 0]);
    }
}
