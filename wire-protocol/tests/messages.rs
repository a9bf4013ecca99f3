//! What is decoded is what was encoded, and nothing else can be decoded.
#![allow(clippy::unwrap_used, missing_docs)]

mod support;

use proptest::prelude::*;
use proptest::test_runner::Config;
use support::values;
use wire_protocol::address::{EventId, GuestVirtual};
use wire_protocol::codec::{EncodeError, Writer};
use wire_protocol::event::{
    Actions, Breakpoint, EventEntry, Filter, Options, ProgramSizes, Settings, Standing, Trigger,
};
use wire_protocol::limits::MESSAGE_BYTES;
use wire_protocol::packet::{Message, MessageError, Reply, Request, RequestError, events_digest};

fn config() -> Config {
    Config {
        cases: if cfg!(miri) { 8 } else { 1000 },
        failure_persistence: None,
        ..Config::default()
    }
}

type Encoded = Result<Vec<u8>, EncodeError>;

fn encode(write: impl Fn(&mut Writer<'_>) -> Result<(), EncodeError>) -> Encoded {
    let mut memory = vec![0; MESSAGE_BYTES];
    let mut out = Writer::new(&mut memory);
    write(&mut out)?;
    let message = out.written().to_vec();
    for len in 0..message.len() {
        let short = write(&mut Writer::new(memory.get_mut(..len).unwrap()));
        assert_eq!(short, Err(EncodeError::Full), "in {len} bytes");
    }
    Ok(message)
}

/// A request that decodes says the same when it is written again.
fn request_is_canonical(bytes: &[u8], base: GuestVirtual) {
    if let Ok((id, request)) = Request::decode(bytes, base) {
        let again = encode(|out| request.encode(id, base, out)).unwrap();
        assert_eq!(again, bytes, "{request:?}");
    }
}

fn message_is_canonical(bytes: &[u8], base: GuestVirtual) {
    if let Ok(message) = Message::decode(bytes, base) {
        let again = encode(|out| message.encode(base, out)).unwrap();
        assert_eq!(again, bytes, "{message:?}");
    }
}

/// A good message with one byte changed, which is more often nearly good than noise is.
fn damaged(message: &[u8], at: prop::sample::Index, xor: u8) -> Vec<u8> {
    let mut message = message.to_vec();
    let at = at.index(message.len());
    message[at] ^= xor;
    message
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn requests_come_back_as_they_were(
        (base, request) in values::base().prop_flat_map(|base| (Just(base), values::request(base))),
        id: u8,
        at: prop::sample::Index,
        xor: u8,
    ) {
        let bytes = encode(|out| request.encode(id, base, out)).unwrap();
        prop_assert_eq!(Request::decode(&bytes, base), Ok((id, request)));
        request_is_canonical(&damaged(&bytes, at, xor), base);
        for len in 0..bytes.len() {
            request_is_canonical(&bytes[..len], base);
        }
    }

    #[test]
    fn replies_come_back_as_they_were(
        (base, reply) in values::base().prop_flat_map(|base| (Just(base), values::reply(base))),
        id: u8,
        at: prop::sample::Index,
        xor: u8,
    ) {
        let message = Message::Reply { id, reply };
        let bytes = encode(|out| message.encode(base, out)).unwrap();
        prop_assert_eq!(Message::decode(&bytes, base), Ok(message));
        message_is_canonical(&damaged(&bytes, at, xor), base);
        for len in 0..bytes.len() {
            message_is_canonical(&bytes[..len], base);
        }
    }

    #[test]
    fn notices_come_back_as_they_were(
        (base, notice) in values::base().prop_flat_map(|base| (Just(base), values::notice(base))),
        at: prop::sample::Index,
        xor: u8,
    ) {
        let message = Message::Notice(notice);
        let bytes = encode(|out| message.encode(base, out)).unwrap();
        prop_assert_eq!(Message::decode(&bytes, base), Ok(message));
        message_is_canonical(&damaged(&bytes, at, xor), base);
    }

    #[test]
    fn any_bytes_are_a_value_or_an_error(
        kind in prop_oneof![0u8..0x60, 0x80u8..0x84, any::<u8>()],
        body in prop::collection::vec(prop_oneof![0u8..4, any::<u8>()], 0..60),
        base in values::base(),
    ) {
        let bytes: Vec<u8> = [kind].into_iter().chain(body).collect();
        request_is_canonical(&bytes, base);
        message_is_canonical(&bytes, base);
    }

    #[test]
    fn any_bytes_have_an_answer_if_they_are_no_request(
        bytes in prop::collection::vec(any::<u8>(), 0..4),
        base in values::base(),
    ) {
        if let Err(error) = Request::decode(&bytes, base) {
            let (id, refusal) = error.answer();
            let asked = bytes.get(1).copied().unwrap_or_default();
            prop_assert_eq!(id, asked, "an answer has the number of what it answers");
            let reply = Reply::Refused(refusal);
            let message = encode(|out| reply.encode(id, base, out)).unwrap();
            prop_assert_eq!(Message::decode(&message, base), Ok(Message::Reply { id, reply }));
        }
    }

    #[test]
    fn digest_does_not_see_hits(entry in values::entry(), hits: u64) {
        let other = EventEntry { hits, ..entry };
        prop_assert_eq!(events_digest([entry]), events_digest([other]));
    }
}

const BASE: GuestVirtual = GuestVirtual(0);

#[test]
fn unknown_requests_are_told_from_malformed_ones() {
    assert_eq!(Request::decode(&[], BASE), Err(RequestError::Truncated));
    assert_eq!(Request::decode(&[0x10], BASE), Err(RequestError::Truncated));
    let unknown = RequestError::Unknown { kind: 0x7f, id: 9 };
    assert_eq!(Request::decode(&[0x7f, 9, 1, 2], BASE), Err(unknown));
    let malformed = RequestError::Malformed { kind: 0x10, id: 9 };
    assert_eq!(Request::decode(&[0x10, 9, 1], BASE), Err(malformed));
}

#[test]
fn unknown_messages_are_told_from_malformed_ones() {
    assert_eq!(Message::decode(&[], BASE), Err(MessageError::Truncated));
    let unknown = MessageError::UnknownReply { kind: 0x7f, id: 9 };
    assert_eq!(Message::decode(&[0x7f, 9], BASE), Err(unknown));
    let malformed = MessageError::MalformedReply { kind: 0x01, id: 9 };
    assert_eq!(Message::decode(&[0x01, 9, 0], BASE), Err(malformed));
    let unknown = MessageError::UnknownNotice { kind: 0xff };
    assert_eq!(Message::decode(&[0xff], BASE), Err(unknown));
    let malformed = MessageError::MalformedNotice { kind: 0x80 };
    assert_eq!(Message::decode(&[0x80], BASE), Err(malformed));
}

#[test]
fn digest_sees_every_change_of_the_settings() {
    let address = GuestVirtual(0xffff_ffff_8145_6789);
    let entry = EventEntry {
        id: EventId(3),
        settings: Settings::new(Trigger::EptHook { address }),
        sizes: ProgramSizes::default(),
        enabled: true,
        standing: Standing::Active,
        hits: 7,
    };
    let next = GuestVirtual(address.0 + 1);
    let pid = Some(1);
    let options = Options {
        buffer_bytes: 1,
        ..Options::DEFAULT
    };
    let scripted = Settings {
        actions: Actions::SCRIPT,
        ..entry.settings
    };
    let sizes = ProgramSizes {
        script_bytes: 9,
        crc: 1,
        ..ProgramSizes::default()
    };
    let changes = [
        EventEntry {
            id: EventId(4),
            ..entry
        },
        EventEntry {
            enabled: false,
            ..entry
        },
        EventEntry {
            settings: Settings {
                trigger: Trigger::EptHook { address: next },
                ..entry.settings
            },
            ..entry
        },
        EventEntry {
            settings: Settings {
                filter: Filter {
                    pid,
                    ..Filter::default()
                },
                ..entry.settings
            },
            ..entry
        },
        EventEntry {
            settings: Settings {
                breakpoint: Some(Breakpoint::DEFAULT),
                ..entry.settings
            },
            ..entry
        },
        EventEntry {
            settings: Settings {
                actions: Actions::empty(),
                ..entry.settings
            },
            ..entry
        },
        EventEntry {
            settings: Settings {
                options,
                ..entry.settings
            },
            ..entry
        },
        EventEntry {
            settings: scripted,
            sizes,
            ..entry
        },
        EventEntry {
            settings: scripted,
            sizes: ProgramSizes { crc: 2, ..sizes },
            ..entry
        },
    ];
    let mut digests = vec![
        events_digest([]),
        events_digest([entry]),
        events_digest([entry, entry]),
    ];
    digests.extend(changes.map(|entry| events_digest([entry])));
    let count = digests.len();
    digests.sort_unstable();
    digests.dedup();
    assert_eq!(digests.len(), count);
}
