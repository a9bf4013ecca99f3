//! A host of another version at the core, which no host program of this version can be: what it says and hears is
//! recorded here.

use debugger_host::recording::{Entry, Moment, Recorder, Recording, Start};
use std::io::{ErrorKind, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant};
use wire_protocol::address::GuestVirtual;
use wire_protocol::codec::Writer;
use wire_protocol::link::{Incoming, Link, Role, Storage, Timing};
use wire_protocol::packet::{Features, PROTOCOL_VERSION, Request};

/// Name of its recording.
pub(crate) const NAME: &str = "foreign";

const PATIENCE: Duration = Duration::from_secs(30);

struct Foreigner<'f> {
    stream: UnixStream,
    link: Link<'f>,
    started: Instant,
    recorder: Recorder,
    line: u32,
}

impl Foreigner<'_> {
    /// Goes on until something comes that is recorded.
    fn hear(&mut self) {
        while self.started.elapsed() < PATIENCE {
            let now_us = self.started.elapsed().as_micros() as u64;
            let mut bytes = [0; 4096];
            let count = self.link.pull_into(&mut bytes, now_us);
            self.stream.write_all(&bytes[..count]).unwrap();
            let mut byte = [0];
            match self.stream.read(&mut byte) {
                Ok(1) => {}
                Ok(_) => panic!("the core is gone"),
                Err(error) => {
                    let is_late = [ErrorKind::WouldBlock, ErrorKind::TimedOut];
                    assert!(is_late.contains(&error.kind()), "{error}");
                    continue;
                }
            }
            let entry = match self.link.push(byte[0], now_us) {
                Some(Incoming::Message) => {
                    let message = self.link.message().to_vec();
                    self.link.release();
                    Entry::Message(message)
                }
                Some(Incoming::Connected) => Entry::Connected,
                _ => continue,
            };
            self.recorder.event(self.line, Moment::now(), entry);
            return;
        }
        panic!("the core says nothing");
    }

    fn ask(&mut self, id: u8, request: Request<'_>) {
        let mut bytes = [0; 64];
        let mut out = Writer::new(&mut bytes);
        request.encode(id, GuestVirtual(0), &mut out).unwrap();
        self.link.send(out.written()).unwrap();
        self.recorder.act(Entry::Request(out.written().to_vec()));
        self.hear();
    }
}

/// It is refused while the guest runs, and comes back in the words of this version.
pub(crate) fn record(socket: &Path, file: &Path) -> Recording {
    let start = Start {
        protocol: PROTOCOL_VERSION,
        program: "a host of another version".to_owned(),
        endpoint: None,
        symbols: None,
    };
    let recorder = Recorder::create(file, start).unwrap();
    let stream = UnixStream::connect(socket).unwrap();
    stream
        .set_read_timeout(Some(Duration::from_millis(1)))
        .unwrap();
    let mut memory = vec![0; Storage::BYTES];
    let timing = Timing {
        retry_us: 1_000_000,
        ack_delay_us: 3_000,
        answer_us: 500_000,
        byte_time_ns: 0,
    };
    let storage = Storage::carve(&mut memory).unwrap();
    let mut host = Foreigner {
        stream,
        link: Link::new(Role::Initiator, storage, timing),
        started: Instant::now(),
        line: recorder.begin_line(),
        recorder,
    };
    host.link.connect(1);
    host.recorder.act(Entry::Connect { nonce: 1 });
    host.hear();
    let (version, body) = (PROTOCOL_VERSION + 1, &[1][..]);
    host.ask(0, Request::ForeignHello { version, body });
    let features = Features::all();
    host.ask(1, Request::Hello { features });
    host.recorder.finish();
    Recording::open(file).unwrap()
}
