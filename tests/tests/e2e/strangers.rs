//! Who is no debuggee at the other end of a line, over every kind of line: the user reads so within seconds.

use crate::hosts::said_until;
use std::io::{ErrorKind, Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};
use vm_lab::host;
use vm_lab::relay::Relay;
use wire_protocol::address::GuestVirtual;
use wire_protocol::codec::Writer;
use wire_protocol::limits::MESSAGE_BYTES;
use wire_protocol::link::{Incoming, Link, Role, Storage, Timing};
use wire_protocol::packet::{Message, PROTOCOL_VERSION, Reply};

/// Answers on a line that was opened, until it is closed.
type Talk = fn(UnixStream) -> std::io::Result<()>;

struct Stranger {
    name: &'static str,
    talk: Talk,
    /// What is read of it.
    words: &'static str,
}

const STRANGERS: [Stranger; 3] = [
    Stranger {
        name: "garbage",
        talk: garbage,
        words: " bytes came and no message among them, as if there were no debugger's driver at the other end; ",
    },
    Stranger {
        name: "other protocol",
        talk: web_server,
        words: " bytes came and no message among them, as if there were no debugger's driver at the other end; ",
    },
    Stranger {
        name: "older driver",
        talk: older_driver,
        words: "the driver speaks version 3 of the protocol, this program version 4; ",
    },
];

fn garbage(mut host: UnixStream) -> std::io::Result<()> {
    let mut state = 1_u32;
    loop {
        let bytes: Vec<u8> = std::iter::repeat_with(|| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 24) as u8
        })
        .take(64)
        .collect();
        host.write_all(&bytes)?;
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn web_server(mut host: UnixStream) -> std::io::Result<()> {
    let mut asked = [0; 512];
    while host.read(&mut asked)? > 0 {
        host.write_all(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")?;
    }
    Ok(())
}

/// A driver whose frames are those of now, and whose protocol is not.
fn older_driver(mut host: UnixStream) -> std::io::Result<()> {
    let timing = Timing {
        retry_us: 200_000,
        ack_delay_us: 1000,
        answer_us: 500_000,
        byte_time_ns: 1000,
    };
    host.set_read_timeout(Some(Duration::from_millis(2)))?;
    let mut memory = vec![0; Storage::BYTES];
    let storage = Storage::carve(&mut memory).expect("enough");
    let mut link = Link::new(Role::Responder, storage, timing);
    let started = Instant::now();
    let mut heard = [0; 512];
    loop {
        let now_us = started.elapsed().as_micros() as u64;
        let said: Vec<u8> = std::iter::from_fn(|| link.pull(now_us)).collect();
        host.write_all(&said)?;
        let len = match host.read(&mut heard) {
            Ok(0) => return Ok(()),
            Ok(len) => len,
            Err(error) if error.kind() == ErrorKind::WouldBlock => 0,
            Err(error) => return Err(error),
        };
        for &byte in &heard[..len] {
            if link.push(byte, now_us) != Some(Incoming::Message) {
                continue;
            }
            let id = link.message().get(1).copied().unwrap_or_default();
            link.release();
            let version = PROTOCOL_VERSION - 1;
            let reply = Reply::ForeignHello { version, body: &[] };
            let mut message = vec![0; MESSAGE_BYTES];
            let mut out = Writer::new(&mut message);
            let answer = Message::Reply { id, reply };
            answer.encode(GuestVirtual(0), &mut out).expect("it fits");
            link.send(out.written()).expect("there is room");
        }
    }
}

/// The stranger at a socket, as long as the test runs.
fn at_socket(folder: &Path, stranger: &Stranger) -> PathBuf {
    let path = folder.join(stranger.name);
    let listener = UnixListener::bind(&path).unwrap();
    let talk = stranger.talk;
    std::thread::spawn(move || {
        for host in listener.incoming().flatten() {
            // It ends when the host leaves.
            std::thread::spawn(move || talk(host));
        }
    });
    path
}

#[test]
fn strangers_are_named_over_every_kind_of_line() {
    let folder = tempfile::tempdir().unwrap();
    let program = &host::build().unwrap();
    println!("{:<16}{:<10}  what is read", "stranger", "line");
    for stranger in &STRANGERS {
        let socket = at_socket(folder.path(), stranger);
        let (_tcp, address) = Relay::tcp(&socket).unwrap();
        let (_terminal, device, _) = Relay::terminal(&socket).unwrap();
        let (address, device) = (address.to_string(), device.display().to_string());
        let places = [
            ("--socket", socket.to_str().unwrap()),
            ("--tcp", &address),
            ("--serial", &device),
        ];
        std::thread::scope(|scope| {
            let hosts = places.map(|(kind, place)| {
                let words = match (kind, stranger.name) {
                    // Other speeds were tried, too.
                    ("--serial", "garbage" | "other protocol") => "what comes is no message at ",
                    _ => stranger.words,
                };
                let mut command = Command::new(program);
                command.args(["connect", "--batch", kind, place]);
                (kind, scope.spawn(move || said_until(&mut command, words)))
            });
            for (kind, host) in hosts {
                let line = host.join().unwrap();
                println!("{:<16}{:<10}  {line}", stranger.name, &kind[2..]);
            }
        });
    }
}
