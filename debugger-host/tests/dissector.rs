//! The Wireshark dissector, run by tshark on recordings that have every kind of message.
#![cfg(unix)]
#![allow(missing_docs, reason = "a test")]
#![allow(
    unexpected_cfgs,
    reason = "features of the wire crate, whose tests have the module, too"
)]

#[path = "../../wire-protocol/tests/support/mod.rs"]
mod support;

use debugger_host::recording::describe::{self, Bases};
use debugger_host::recording::input::{Change, Input};
use debugger_host::recording::{
    Counts, Entry, Moment, NotOpen, NotOpenCause, Recorder, Recording, Start,
};
use debugger_host::transport::Endpoint;
use proptest::strategy::{Strategy, ValueTree};
use proptest::test_runner::TestRunner;
use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;
use support::values;
use wire_protocol::address::GuestVirtual;
use wire_protocol::codec::{EncodeError, Writer};
use wire_protocol::limits::MESSAGE_BYTES;
use wire_protocol::link::{RateState, SendError};
use wire_protocol::packet::{Message, Notice, PROTOCOL_VERSION};

/// Of the kernel.
const BASE: GuestVirtual = GuestVirtual(0xffff_ffff_8100_0000);
/// Packets that are not what the format says.
const WRONG: &str = "standstill.malformed || standstill.unknown || _ws.malformed || _ws.lua.error";
/// Random messages of each of the three forms.
const CASES: u8 = 250;

fn encoded(write: impl Fn(&mut Writer<'_>) -> Result<(), EncodeError>) -> Vec<u8> {
    let mut memory = vec![0; MESSAGE_BYTES];
    let mut out = Writer::new(&mut memory);
    write(&mut out).expect("it is a message");
    out.written().to_vec()
}

fn drawn<T>(of: impl Strategy<Value = T>, runner: &mut TestRunner) -> T {
    of.new_tree(runner).expect("a value").current()
}

fn recorder(file: &Path) -> Recorder {
    let start = Start {
        protocol: PROTOCOL_VERSION,
        program: "standstill 0".to_owned(),
        endpoint: None,
        symbols: None,
    };
    Recorder::create(file, start).expect("a new file")
}

/// A recording of requests with a reply each, and notices between them.
fn record(file: &Path) {
    let recorder = recorder(file);
    let line = recorder.begin_line();
    let note = |entry| recorder.event(line, Moment::now(), entry);
    let mut runner = TestRunner::deterministic();
    let base = BASE;
    for id in 0..CASES {
        let request = drawn(values::request(base), &mut runner);
        note(Entry::Request(encoded(|out| request.encode(id, base, out))));
        let notice = drawn(values::notice(base), &mut runner);
        note(Entry::Message(encoded(|out| notice.encode(base, out))));
        let reply = Message::Reply {
            id,
            reply: drawn(values::reply(base), &mut runner),
        };
        note(Entry::Message(encoded(|out| reply.encode(base, out))));
    }
    for entry in [
        Entry::Connect { nonce: 7 },
        Entry::Connected,
        Entry::BreakIn,
        Entry::Greeting,
        Entry::OtherHost { seconds: Some(7) },
        Entry::Command("r rax".to_owned()),
        Entry::CommandEnd,
        Entry::Reopened { untold: None },
        Entry::Open(Endpoint::Tcp {
            address: "localhost:1".to_owned(),
        }),
        Entry::NotOpen(NotOpen {
            cause: NotOpenCause::Never,
            why: "a directory".to_owned(),
        }),
        Entry::Lost {
            why: "pulled".to_owned(),
        },
        Entry::Reopened {
            untold: Some("a cable".to_owned()),
        },
        Entry::Unsent {
            id: 3,
            why: SendError::NotConnected,
        },
        Entry::Counts(Box::default()),
        Entry::Counts(Box::new(Counts {
            lost: Some("pulled".to_owned()),
            rate: RateState {
                baud_hz: 115_200,
                failed_hz: 0,
            },
            ..Counts::default()
        })),
    ] {
        note(entry);
    }
    for (_, input) in inputs() {
        note(Entry::Input(input));
    }
    recorder.finish();
}

/// What a core took in, of each kind, with what the dissector calls it.
fn inputs() -> [(&'static str, Input); 6] {
    let change = |kind, number| Change {
        kind,
        number,
        value: 0x1234,
    };
    let changes = vec![
        change(0, 0x4402),
        change(1, 15),
        change(2, 0),
        change(3, 0xc000_0080),
    ];
    let stopped = encoded(|out| Notice::Goodbye.encode(BASE, out));
    [
        ("Exit", Input::Exit { core: 1, changes }),
        ("Page", Input::page(0x1000, &[0x90])),
        ("Unheard", Input::Unheard { message: stopped }),
        (
            "Fault",
            Input::Fault {
                core: 0,
                vector: 13,
                rip: 1,
                detail: 2,
            },
        ),
        ("Line", Input::line(0x40, &[1])),
        ("Facts", Input::Facts(vec![1, 2, 3])),
    ]
}

fn tshark(file: &Path, arguments: &[&str]) -> Vec<String> {
    let program = std::env::var("STANDSTILL_TSHARK");
    let program = program.expect("STANDSTILL_TSHARK names a program that runs tshark");
    let script = concat!(
        "lua_script:",
        env!("CARGO_MANIFEST_DIR"),
        "/wireshark/standstill.lua"
    );
    let output = Command::new(program)
        .args(["-X", script, "-r"])
        .arg(file)
        .args(arguments)
        .output()
        .expect("tshark starts");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(
        output.status.success() && !said.contains("Lua"),
        "tshark: {said}"
    );
    let text = String::from_utf8(output.stdout).expect("text");
    text.lines().map(str::to_owned).collect()
}

/// The dissector reads every packet of a file, and calls messages what they are. Their names.
fn names_of_messages(file: &Path, mut bases: Bases) -> BTreeSet<String> {
    let recording = Recording::open(file).expect("it is whole");
    let fields = [
        "-T",
        "fields",
        "-e",
        "standstill.name",
        "-e",
        "standstill.id",
    ];
    let lines = tshark(file, &fields);
    assert_eq!(lines.len(), recording.packets.len());
    let mut names = BTreeSet::new();
    for (packet, line) in recording.packets.iter().zip(&lines) {
        let (name, id) = line.split_once('\t').expect("two columns");
        let words = describe::packet(packet, bases);
        bases.pass(&packet.entry);
        if matches!(packet.entry, Entry::Request(_) | Entry::Message(_)) {
            // Of another version of the protocol, `Hello` is `Hello` to the dissector.
            assert_eq!(name, words.kind.trim_start_matches("Foreign"), "{packet:?}");
            names.insert(name.to_owned());
            if let Some(of) = words.id {
                assert_eq!(id, of.to_string(), "{packet:?}");
            }
        }
    }
    assert_eq!(tshark(file, &["-Y", WRONG]), [""; 0]);
    names
}

#[test]
#[ignore = "it needs tshark; `cargo lab soak dissector` brings it and runs this"]
fn tshark_reads_every_message() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("recording");
    record(&file);
    let bases = Bases {
        sent: BASE,
        received: BASE,
    };
    let names = names_of_messages(&file, bases);
    assert!(names.len() > 35, "kinds are missing: {names:?}");
    let seen = tshark(
        &file,
        &[
            "-Y",
            "standstill.input",
            "-T",
            "fields",
            "-e",
            "standstill.input",
        ],
    );
    assert_eq!(seen, inputs().map(|(name, _)| name));
    let exit = tshark(
        &file,
        &["-Y", "standstill.input == \"Exit\"", "-O", "standstill"],
    );
    for value in [
        "core: 0x1",
        "VMCS field 0x4402: 0x1234",
        "r15: 0x1234",
        "cr2: 0x1234",
        "MSR 0xc0000080: 0x1234",
    ] {
        assert!(
            exit.iter().any(|line| line.ends_with(value)),
            "{value}: {exit:?}"
        );
    }
}

/// Lists are shown item by item, and no part of a message as bytes alone that has parts of its own.
#[test]
#[ignore = "it needs tshark; `cargo lab soak dissector` brings it and runs this"]
fn tshark_shows_the_items_of_lists() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/replay");
    let shown = |name: &str, message: &str| {
        let filter = format!("standstill.name == \"{message}\"");
        let file = folder.join(format!("{name}.pcapng"));
        tshark(&file, &["-Y", &filter, "-O", "standstill"])
    };
    for (name, message, value) in [
        ("events", "AddEvents", "trigger: EptHook"),
        ("events", "AddEvents", "event[0]"),
        ("events", "EventsAdded", "event: 0x0"),
        ("events", "EventsAdded", "free of RegularEvent: 0x3"),
        ("events", "Events", "standing: Active"),
        ("events", "Messages", "record[0]"),
        ("halt", "Cores", "state: waits-for-sipi"),
        ("halt", "Registers", "rbx: 0x5"),
        ("halt", "Refused", "refusal: NotPresent"),
        ("halt", "Stopped", "cause: break-in"),
        ("pools", "Pools", "class: EptHook"),
        ("scripts", "GlobalsDefined", "offset: 0x0"),
        ("scripts", "ScriptRan", "cause: Division"),
    ] {
        let lines = shown(name, message);
        let field = format!("Field: {value}");
        let is_there = lines.iter().any(|line| line.trim().starts_with(&field));
        assert!(is_there, "{message}, {value}: {}", lines.join("\n"));
    }
}

#[test]
#[ignore = "it needs tshark; `cargo lab soak dissector` brings it and runs this"]
fn tshark_reads_the_recordings_of_whole_sessions() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/replay");
    let files = std::fs::read_dir(folder).expect("it is there");
    let files = files.map(|file| file.expect("readable").path());
    let recordings = files.filter(|file| file.extension().is_some_and(|it| it == "pcapng"));
    let names = recordings.map(|file| names_of_messages(&file, Bases::default()));
    let names: BTreeSet<String> = names.flatten().collect();
    assert!(names.len() > 30, "kinds are missing: {names:?}");
}

/// With what the driver's core took in of real machines.
#[test]
#[ignore = "it needs tshark; `cargo lab soak dissector` brings it and runs this"]
fn tshark_reads_the_recordings_of_the_lab() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/replay/lab");
    let files = std::fs::read_dir(folder).expect("it is there");
    let files = files.map(|file| file.expect("readable").path());
    let packed: Vec<_> = files
        .filter(|file| file.extension().is_some_and(|it| it == "gz"))
        .collect();
    assert!(packed.len() > 5, "{packed:?}");
    for file in packed {
        assert_eq!(tshark(&file, &["-Y", WRONG]), [""; 0], "{}", file.display());
    }
}

#[test]
#[ignore = "it needs tshark; `cargo lab soak dissector` brings it and runs this"]
fn tshark_tells_what_is_no_message() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("recording");
    let recorder = recorder(&file);
    for bytes in [
        // Memory without a length, a request that nobody knows, `Go` with something behind it.
        Entry::Request(vec![0x30, 0, 0]),
        Entry::Request(vec![0x7f, 1]),
        Entry::Request(vec![0x10, 2, 0]),
        Entry::Request(vec![0x10, 3]),
        // `Physical` without its address, a notice that nobody knows.
        Entry::Message(vec![0x32, 0, 12]),
        Entry::Message(vec![0x9f]),
    ] {
        recorder.act(bytes);
    }
    recorder.finish();
    let fields = ["-Y", WRONG, "-T", "fields", "-e", "standstill.number"];
    assert_eq!(tshark(&file, &fields), ["1", "2", "3", "5", "6"]);
}
