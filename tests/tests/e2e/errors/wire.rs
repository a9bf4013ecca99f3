//! The line to the driver without the host program, for messages that it does not send.

use std::io::{ErrorKind, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant};
use wire_protocol::address::{CoreId, GuestVirtual};
use wire_protocol::codec::Writer;
use wire_protocol::event::{EventSpec, Trigger};
use wire_protocol::limits;
use wire_protocol::link::{Incoming, Link, Role, Storage, Timing};
use wire_protocol::packet::{
    EventSpecs, Features, MemoryAt, Message, Notice, PROTOCOL_VERSION, Reply, Request,
};
use wire_protocol::refusal::Refusal;
use wire_protocol::register::RegisterSet;

/// Longest wait for an answer.
const PATIENCE: Duration = Duration::from_secs(60);
/// Of the request that no driver knows.
const UNKNOWN: u8 = 0x7e;

/// A session over the line.
pub(super) struct Line {
    link: Link<'static>,
    stream: UnixStream,
    started: Instant,
    base: GuestVirtual,
    id: u8,
}

/// What came.
enum Came {
    Reply(Result<(), Refusal>),
    Stop,
    Connected,
}

impl Line {
    /// Begins a session; nothing is said in it yet.
    #[track_caller]
    pub(super) fn open(socket: &Path) -> Self {
        let stream = UnixStream::connect(socket).expect("the lab listens");
        let wait = Some(Duration::from_millis(5));
        stream.set_read_timeout(wait).expect("supported");
        let memory = Box::leak(vec![0; Storage::BYTES].into_boxed_slice());
        let storage = Storage::carve(memory).expect("enough");
        let timing = Timing {
            retry_us: 1_000_000,
            ack_delay_us: 3_000,
            answer_us: 500_000,
            byte_time_ns: 0,
        };
        let mut line = Self {
            link: Link::new(Role::Initiator, storage, timing),
            stream,
            started: Instant::now(),
            base: GuestVirtual(0),
            id: 0,
        };
        line.link.connect(0x0bad_cafe);
        line.wait(|came| matches!(came, Came::Connected));
        line
    }

    /// Passes bytes on in both directions until what is waited for came.
    #[track_caller]
    fn wait(&mut self, mut is_it: impl FnMut(&Came) -> bool) -> Came {
        let mut bytes = [0; 4096];
        let deadline = Instant::now() + PATIENCE;
        while Instant::now() < deadline {
            let now_us = self.started.elapsed().as_micros() as u64;
            loop {
                let count = self.link.pull_into(&mut bytes, now_us);
                if count == 0 {
                    break;
                }
                self.stream.write_all(&bytes[..count]).expect("a line");
            }
            let count = match self.stream.read(&mut bytes) {
                Ok(count) => count,
                Err(error)
                    if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) =>
                {
                    0
                }
                Err(error) => panic!("the line: {error}"),
            };
            for byte in &bytes[..count] {
                let came = match self.link.push(*byte, now_us) {
                    Some(Incoming::Connected) => Came::Connected,
                    Some(Incoming::Message) => match self.take() {
                        Some(came) => came,
                        None => continue,
                    },
                    _ => continue,
                };
                if is_it(&came) {
                    return came;
                }
            }
        }
        panic!("nothing came in {PATIENCE:?}");
    }

    fn take(&mut self) -> Option<Came> {
        let message = self.link.message().to_vec();
        self.link.release();
        match Message::decode(&message, self.base).expect("a message") {
            Message::Notice(Notice::Stopped(_)) => Some(Came::Stop),
            Message::Notice(_) => None,
            Message::Reply { reply, .. } => Some(Came::Reply(match reply {
                Reply::Refused(refusal) => Err(refusal),
                Reply::Hello(hello) => {
                    self.base = hello.kernel_base;
                    Ok(())
                }
                Reply::EventsAdded { results, .. } => {
                    results.iter().find_map(Result::err).map_or(Ok(()), Err)
                }
                _ => Ok(()),
            })),
        }
    }

    #[track_caller]
    fn send(&mut self, message: &[u8]) -> Result<(), Refusal> {
        self.link.send(message).expect("room");
        match self.wait(|came| matches!(came, Came::Reply(_))) {
            Came::Reply(answer) => answer,
            Came::Stop | Came::Connected => unreachable!("waited for a reply"),
        }
    }

    #[track_caller]
    fn encoded(&mut self, request: &Request<'_>) -> Vec<u8> {
        self.id = self.id.wrapping_add(1);
        let mut buffer = vec![0; limits::MESSAGE_BYTES];
        let mut out = Writer::new(&mut buffer);
        request.encode(self.id, self.base, &mut out).expect("fits");
        out.written().to_vec()
    }

    #[track_caller]
    fn ask(&mut self, request: &Request<'_>) -> Result<(), Refusal> {
        let message = self.encoded(request);
        self.send(&message)
    }

    #[track_caller]
    fn add(&mut self, spec: EventSpec<'_>) -> Result<(), Refusal> {
        let mut scratch = [0; 4096];
        let events = EventSpecs::encode_into([spec], self.base, &mut scratch).expect("fits");
        self.ask(&Request::AddEvents {
            core: CoreId(0),
            all_or_nothing: false,
            events,
        })
    }

    fn read(&mut self, len_bytes: usize) -> Result<(), Refusal> {
        let (core, address) = (CoreId(0), self.base);
        self.ask(&Request::ReadMemory {
            at: MemoryAt::Virtual { core, address },
            len_bytes: len_bytes as u32,
            expected: None,
        })
    }

    fn registers(&mut self) -> Result<(), Refusal> {
        let (core, set) = (CoreId(0), RegisterSet::ALL);
        self.ask(&Request::ReadRegisters { core, set })
    }
}

pub(super) fn other_version(line: &mut Line) -> Result<(), Refusal> {
    line.ask(&Request::ForeignHello {
        version: PROTOCOL_VERSION + 1,
        body: &[],
    })
}

pub(super) fn greets(line: &mut Line) -> Result<(), Refusal> {
    line.ask(&Request::Hello {
        features: Features::empty(),
    })
}

pub(super) fn unknown(line: &mut Line) -> Result<(), Refusal> {
    line.send(&[UNKNOWN, 0])
}

pub(super) fn known(line: &mut Line) -> Result<(), Refusal> {
    line.ask(&Request::Pools)
}

pub(super) fn malformed(line: &mut Line) -> Result<(), Refusal> {
    let mut message = line.encoded(&Request::Pools);
    message.push(0);
    line.send(&message)
}

fn run(line: &mut Line, program: &[u8]) -> Result<(), Refusal> {
    line.ask(&Request::RunScript {
        core: CoreId(0),
        program,
    })
}

pub(super) fn bad_program(line: &mut Line) -> Result<(), Refusal> {
    run(line, &[0xff; 16])
}

pub(super) fn good_program(line: &mut Line) -> Result<(), Refusal> {
    let mut names = debugger_host::script::trial::Names::default();
    let compiled = debugger_host::script::compile_expression("1 + 1", "?", &[], &mut names);
    run(line, &compiled.expect("a script").bytes)
}

pub(super) fn too_long(line: &mut Line) -> Result<(), Refusal> {
    line.read(limits::MEMORY_BYTES + 1)
}

pub(super) fn just_right(line: &mut Line) -> Result<(), Refusal> {
    line.read(limits::MEMORY_BYTES)
}

pub(super) fn vector_below(line: &mut Line) -> Result<(), Refusal> {
    line.add(EventSpec::new(Trigger::Interrupt { vector: 0x1f }))
}

pub(super) fn vector(line: &mut Line) -> Result<(), Refusal> {
    line.add(EventSpec::new(Trigger::Interrupt { vector: 0x20 }))
}

/// `sc` has no meaning with a hook.
pub(super) fn option(line: &mut Line) -> Result<(), Refusal> {
    let address = line.base;
    let mut spec = EventSpec::new(Trigger::EptHook { address });
    spec.settings.options.short_circuit = true;
    line.add(spec)
}

pub(super) fn no_option(line: &mut Line) -> Result<(), Refusal> {
    let address = line.base;
    line.add(EventSpec::new(Trigger::EptHook { address }))
}

pub(super) fn running(line: &mut Line) -> Result<(), Refusal> {
    line.ask(&Request::Go)?;
    line.registers()
}

pub(super) fn paused(line: &mut Line) -> Result<(), Refusal> {
    line.link.break_in();
    line.wait(|came| matches!(came, Came::Stop));
    line.registers()
}
