//! Recordings that are whole, cut and changed.

use super::input::{Change, Input};
use super::reader::{Ending, Recording, RecordingError};
use super::writer::Output;
use super::{Counts, Entry, Moment, NotOpen, NotOpenCause, Packet, Recorder, Start, form};
use crate::transport::Endpoint;
use std::io::Write;
use std::sync::{Arc, Mutex};
use wire_protocol::link::{RateState, SendError, Statistics};
use wire_protocol::packet::PROTOCOL_VERSION;
use wire_protocol::secure::Dropped;

/// A file in memory, of so many bytes at most.
#[derive(Clone)]
struct Disk {
    bytes: Arc<Mutex<Vec<u8>>>,
    room: usize,
}

impl Write for Disk {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let mut file = self.bytes.lock().expect("unpoisoned");
        let fits = bytes.len().min(self.room - file.len());
        file.extend(&bytes[..fits]);
        match fits {
            0 => Err(std::io::Error::other("no space left")),
            _ => Ok(fits),
        }
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl Output for Disk {
    fn cut(&mut self, len: u64) {
        self.bytes
            .lock()
            .expect("unpoisoned")
            .truncate(len as usize);
    }
}

fn start() -> Start {
    Start {
        protocol: PROTOCOL_VERSION,
        program: "standstill 0".to_owned(),
        endpoint: Some(Endpoint::Socket {
            path: "/tmp/line".into(),
        }),
        symbols: Some("vmlinuz".to_owned()),
    }
}

/// One of each kind.
fn entries() -> Vec<Entry> {
    vec![
        Entry::Connect { nonce: 0x1234_5678 },
        Entry::Connected,
        Entry::Command("r rax".to_owned()),
        Entry::Request(vec![0x11, 4]),
        Entry::Message(vec![0x11, 4, 0]),
        Entry::CommandEnd,
        Entry::BreakIn,
        Entry::Greeting,
        Entry::OtherHost { seconds: None },
        Entry::OtherHost { seconds: Some(7) },
        Entry::Unsent {
            id: 3,
            why: SendError::QueueFull {
                wanted_bytes: 40,
                free_bytes: 8,
            },
        },
        Entry::Lost {
            why: "pulled".to_owned(),
        },
        Entry::Reopened { untold: None },
        Entry::Reopened {
            untold: Some("pulled".to_owned()),
        },
        Entry::Open(Endpoint::Tcp {
            address: "localhost:1".to_owned(),
        }),
        Entry::NotOpen(NotOpen {
            cause: NotOpenCause::TimeOut(60),
            why: "nobody there".to_owned(),
        }),
        Entry::Input(Input::Exit {
            core: 1,
            changes: vec![Change {
                kind: 0,
                number: 0x4402,
                value: 10,
            }],
        }),
        Entry::Input(Input::Unheard {
            message: vec![0x84],
        }),
        Entry::Input(Input::page(0x1000, &[0x90, 0, 7, 0, 0])),
        Entry::Input(Input::page(0x2000, &[0; 4096])),
        Entry::Input(Input::line(0x1fc0, &[7, 0, 0x90, 0])),
        Entry::Input(Input::Facts(vec![8, 0, 0, 0, 0, 0, 0, 0])),
        Entry::Counts(Box::new(Counts {
            statistics: Statistics {
                sent_bytes: 7,
                sessions: 1,
                ..Statistics::default()
            },
            lost: Some("pulled".to_owned()),
            rate: RateState::default(),
            dropped: Dropped::from_counts([0, 1, 2, 3, 4, 5, 6, 1 << 40]),
        })),
        Entry::Counts(Box::new(Counts {
            rate: RateState {
                baud_hz: 57_600,
                failed_hz: 115_200,
            },
            ..Counts::default()
        })),
    ]
}

fn recorded(room: usize) -> (Vec<u8>, Option<String>) {
    let disk = Disk {
        bytes: Arc::default(),
        room,
    };
    let recorder = Recorder::over(Box::new(disk.clone()), start()).expect("room for the start");
    let line = recorder.begin_line();
    for (number, entry) in entries().into_iter().enumerate() {
        if number % 2 == 0 {
            recorder.act(entry);
        } else {
            recorder.event(line, Moment(1000 + number as u64), entry);
            recorder.took();
        }
    }
    // A line that is no longer used.
    recorder.event(line - 1, Moment(0), Entry::Greeting);
    let failure = recorder.take_failure();
    recorder.finish();
    let bytes = disk.bytes.lock().expect("unpoisoned").clone();
    (bytes, failure)
}

#[test]
fn what_was_written_is_read() {
    let (bytes, failure) = recorded(usize::MAX);
    assert_eq!(failure, None);
    let recording = Recording::read(&bytes).expect("it is whole");
    assert_eq!(recording.start, start());
    assert_eq!(recording.ending, Ending::Closed);
    let read: Vec<Entry> = recording.packets.iter().map(|p| p.entry.clone()).collect();
    let mut written = vec![Entry::Start(start())];
    written.extend(entries());
    written.push(Entry::End);
    assert_eq!(read, written);
    let [second, third] = &recording.packets[2..4] else {
        panic!("there are more");
    };
    assert_eq!(
        (second.number, second.at, second.taken),
        (2, Moment(1001), 0)
    );
    assert_eq!((third.number, third.taken), (3, 1));
}

/// What can be read of these bytes is what was written, as far as it goes.
fn assert_true_prefix(bytes: &[u8], whole: &Recording, what: &str) -> usize {
    match Recording::read(bytes) {
        Ok(part) => {
            let count = part.packets.len();
            assert!(count <= whole.packets.len(), "{what}");
            assert_eq!(part.packets, whole.packets[..count], "{what}");
            let is_damaged = matches!(part.ending, Ending::Damaged(_));
            assert!(
                count == whole.packets.len() || is_damaged || part.ending == Ending::Open,
                "{what}"
            );
            count
        }
        Err(error) => {
            let line = error.to_string();
            assert!(!line.contains('\n') && line.len() > 10, "{what}: {line}");
            0
        }
    }
}

#[test]
fn a_recording_cut_at_any_byte_is_its_beginning() {
    let (bytes, _) = recorded(usize::MAX);
    let whole = Recording::read(&bytes).expect("it is whole");
    let mut counts = Vec::new();
    for len in 0..bytes.len() {
        let count = assert_true_prefix(&bytes[..len], &whole, &format!("cut at {len}"));
        counts.push(count);
        if let Ok(part) = Recording::read(&bytes[..len]) {
            assert_ne!(part.ending, Ending::Closed, "cut at {len}");
        }
    }
    assert!(counts.is_sorted(), "more bytes are not less: {counts:?}");
    assert_eq!(counts.last(), Some(&(whole.packets.len() - 1)));
}

#[test]
fn a_recording_with_any_byte_changed_says_nothing_else() {
    let (bytes, _) = recorded(usize::MAX);
    let whole = Recording::read(&bytes).expect("it is whole");
    for at in 0..bytes.len() {
        for change in [0x01, 0x80, 0xff] {
            let mut bytes = bytes.clone();
            bytes[at] ^= change;
            assert_true_prefix(
                &bytes,
                &whole,
                &format!("byte {at} changed by {change:02x}"),
            );
        }
    }
}

#[test]
fn a_disk_that_is_full_ends_the_recording_with_a_whole_packet() {
    let (bytes, _) = recorded(usize::MAX);
    let whole = Recording::read(&bytes).expect("it is whole");
    let mut failures = 0;
    for room in (bytes.len() / 2..bytes.len()).step_by(7) {
        let (bytes, failure) = recorded(room);
        let part = Recording::read(&bytes).expect("its beginning is whole");
        assert_eq!(part.ending, Ending::Open, "room for {room}");
        let count = part.packets.len();
        assert!(count < whole.packets.len());
        let entries = |of: &Recording| -> Vec<Entry> {
            of.packets[..count]
                .iter()
                .map(|p| p.entry.clone())
                .collect()
        };
        assert_eq!(entries(&part), entries(&whole));
        failures += usize::from(failure.as_deref() == Some("no space left"));
    }
    assert!(failures > 3);
}

#[test]
fn another_protocol_is_refused_in_one_line() {
    let start = Start {
        protocol: PROTOCOL_VERSION - 1,
        ..start()
    };
    let disk = Disk {
        bytes: Arc::default(),
        room: usize::MAX,
    };
    let recorder = Recorder::over(Box::new(disk.clone()), start).expect("room");
    recorder.finish();
    let bytes = disk.bytes.lock().expect("unpoisoned").clone();
    let error = Recording::read(&bytes).expect_err("it is of another version");
    assert!(matches!(error, RecordingError::Foreign { .. }));
    assert_eq!(
        error.to_string(),
        format!(
            "it was recorded by standstill 0, with version {} of the protocol (form 1); this \
             program reads version {PROTOCOL_VERSION} (form 1): use the program of that release",
            PROTOCOL_VERSION - 1
        )
    );
}

#[test]
fn other_files_are_no_recordings() {
    for bytes in [&b""[..], b"\n", b"#!/bin/sh\necho\n", &[0; 64]] {
        let error = Recording::read(bytes).expect_err("it is none").to_string();
        assert!(
            error.starts_with("it is no recording of this program (not pcapng)"),
            "{error}"
        );
    }
}

#[test]
fn kinds_have_their_names() {
    let mut all = vec![Entry::Start(start()), Entry::End];
    all.extend(entries());
    all.push(Entry::Request(Vec::new()));
    for entry in all {
        let name = form::name(&entry);
        assert!(format!("{entry:?}").starts_with(name), "{name}: {entry:?}");
        let packet = Packet {
            number: 1,
            at: Moment(5),
            taken: 2,
            entry,
        };
        if !matches!(packet.entry, Entry::Start(_)) {
            assert_eq!(
                form::read(Moment(5), &form::write(&packet)).as_ref(),
                Ok(&packet)
            );
        }
        assert!(form::read(Moment(6), &form::write(&packet)).is_err());
    }
}

/// What the document says of packets, and the dissector.
#[test]
fn kinds_are_those_of_the_document_and_of_the_dissector() {
    let document = include_str!("../../../docs/recording.md");
    let dissector = include_str!("../../wireshark/standstill.lua");
    for (number, name) in form::KINDS {
        assert!(
            document.contains(&format!("\n| {number} | {name} |")),
            "{name} in the document"
        );
        assert!(
            dissector.contains(&format!("\n    [{number}] = \"{name}\",\n")),
            "{name} in the dissector"
        );
    }
    let table = document.split("| kind | packet |").nth(1);
    let rows = table.expect("a table of kinds").lines().skip(2);
    let rows = rows.take_while(|line| line.starts_with('|'));
    assert_eq!(rows.count(), form::KINDS.len());
    assert!(document.contains(&format!("form **{}**", super::FORM)));
    assert!(document.contains(&format!("link type {}", super::LINK_TYPE)));
}
