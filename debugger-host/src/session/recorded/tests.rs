//! Recordings that no session made, and sessions that do anything.

use super::{Event, Recorded};
use crate::recording::{Ending, Entry, Moment, Packet, Recording, Start};
use crate::transport::Endpoint;
use proptest::prelude::*;
use std::time::Duration;

const COMMANDS: [&str; 3] = ["g", "r", "pause"];

/// A message that often is one: kinds and numbers are few.
fn message() -> impl Strategy<Value = Vec<u8>> {
    let kind = prop::sample::select(vec![
        0x00_u8, 0x01, 0x02, 0x10, 0x11, 0x20, 0x30, 0x31, 0x51, 0x80, 0x84, 0x9f,
    ]);
    let body = prop::collection::vec(0_u8..4, 0..6);
    (kind, 0_u8..4, body, any::<bool>()).prop_map(|(kind, id, body, is_short)| match is_short {
        true => vec![kind, id],
        false => [&[kind, id][..], &body].concat(),
    })
}

fn entry() -> impl Strategy<Value = Entry> {
    let endpoint = Endpoint::Tcp {
        address: "localhost:1".to_owned(),
    };
    prop_oneof![
        4 => message().prop_map(Entry::Request),
        4 => message().prop_map(Entry::Message),
        1 => any::<u32>().prop_map(|nonce| Entry::Connect { nonce }),
        1 => Just(Entry::Connected),
        1 => Just(Entry::BreakIn),
        1 => Just(Entry::Greeting),
        1 => Just(Entry::Open(endpoint)),
        1 => Just(Entry::Counts(Box::default())),
        2 => prop::sample::select(&COMMANDS[..]).prop_map(|line| Entry::Command(line.to_owned())),
        2 => Just(Entry::CommandEnd),
    ]
}

#[derive(Clone, Debug)]
enum Deed {
    Open,
    Connect,
    Send(Vec<u8>),
    BreakIn,
    Next,
    Health,
    Begin(&'static str),
    End,
    Wait,
}

fn deed() -> impl Strategy<Value = Deed> {
    prop_oneof![
        Just(Deed::Open),
        Just(Deed::Connect),
        message().prop_map(Deed::Send),
        Just(Deed::BreakIn),
        Just(Deed::Next),
        Just(Deed::Next),
        Just(Deed::Health),
        prop::sample::select(&COMMANDS[..]).prop_map(Deed::Begin),
        Just(Deed::End),
        Just(Deed::Wait),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn whatever_is_asked_of_whatever_recording_is_answered(
        entries in prop::collection::vec((entry(), 0_u32..12), 0..40),
        deeds in prop::collection::vec(deed(), 0..60),
    ) {
        let packet = |(number, (entry, taken)): (usize, (Entry, u32))| Packet {
            number: number as u32,
            at: Moment(number as u64),
            taken,
            entry,
        };
        let recording = Recording {
            start: Start {
                protocol: 0,
                program: String::new(),
                endpoint: None,
                symbols: None,
            },
            packets: entries.into_iter().enumerate().map(packet).collect(),
            ending: Ending::Closed,
        };
        let recorded = Recorded::new(&recording);
        for deed in deeds {
            match deed {
                Deed::Open => drop(recorded.open()),
                Deed::Connect => recorded.connect(),
                Deed::Send(message) => {
                    recorded.send(&message);
                    // Somebody waits for it: an answer is there, or that there is none.
                    let mut is_answered = false;
                    while let Some(event) = recorded.next(Duration::ZERO) {
                        is_answered |= match event {
                            Event::Message { bytes, .. } => {
                                bytes[0] < 0x80 && bytes.get(1) == message.get(1)
                            }
                            Event::Missing { id, .. } => id == message.get(1).copied(),
                            Event::Unsent { id, .. } => Some(&id) == message.get(1),
                            _ => false,
                        };
                    }
                    prop_assert!(is_answered, "{message:x?}");
                }
                Deed::BreakIn => recorded.break_in(),
                Deed::Next => drop(recorded.next(Duration::ZERO)),
                Deed::Health => drop(recorded.health()),
                Deed::Begin(line) => recorded.begin_command(line),
                Deed::End => recorded.end_command(),
                Deed::Wait => drop(recorded.why_no_halt()),
            }
        }
    }
}
