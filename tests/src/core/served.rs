//! A core whose host is a program at the other end of a socket, as a driver's is at the other end of a serial line, or on
//! the network.

use super::ending::{End, Ending};
use super::guest::{Guest, Image};
use super::line::{Heard, Host, HostEnd, go, link, lock, reliable};
use super::machine;
use super::memory::{GuestMemory, Piece};
use super::recording::{Exits, Log, Noted};
use super::way::{Looked, Network, Socket, Way};
use debugger_host::recording::input::Input;
use debugger_host::transport::NetKey;
use std::collections::VecDeque;
use std::os::unix::net::UnixListener;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex};
use std::time::Instant;
use wire_protocol::link::{Incoming, Link, Role, Timing};

/// An acknowledgement waits so long for a reply that carries it.
const ACK_DELAY_US: u64 = 3_000;

/// What is to happen to a debuggee, as with bad lines and machines that end. All copies are one.
#[derive(Clone, Default)]
pub struct Orders(Arc<Mutex<Order>>);

#[derive(Default)]
struct Order {
    /// The next message that begins with this byte gets lost.
    lost: Option<u8>,
    ending: Option<Ending>,
}

impl Orders {
    fn with<R>(&self, work: impl FnOnce(&mut Order) -> R) -> R {
        work(&mut lock(&self.0))
    }

    /// The next message that begins with this byte, the number of its kind, gets lost.
    pub fn lose(&self, kind: u8) {
        self.with(|order| order.lost = Some(kind));
    }

    /// The machine ends so when its guest runs.
    pub fn end(&self, ending: Ending) {
        self.with(|order| order.ending = Some(ending));
    }

    /// Whether this message gets lost.
    fn takes(&self, message: &[u8]) -> bool {
        self.with(|order| {
            let is_taken = order.lost.is_some() && message.first() == order.lost.as_ref();
            if is_taken {
                order.lost = None;
            }
            is_taken
        })
    }
}

/// The line to the program.
struct Served {
    way: Box<dyn Way>,
    link: Link<'static>,
    started: Instant,
    log: Log,
    /// What the link had no room for yet.
    waiting: VecDeque<Vec<u8>>,
    sessions: u32,
    is_idle: bool,
    /// The host is gone.
    is_closed: bool,
    orders: Orders,
}

impl Served {
    fn new(way: Box<dyn Way>, log: Log, orders: Orders) -> Self {
        let datagram_bytes = way.datagram_bytes();
        let timing = match datagram_bytes {
            Some(_) => Timing::NETWORK,
            None => reliable(ACK_DELAY_US),
        };
        let mut link = link(Role::Responder, timing);
        if let Some(room_bytes) = datagram_bytes {
            link.use_datagrams(room_bytes);
        }
        Self {
            way,
            link,
            started: Instant::now(),
            log,
            waiting: VecDeque::new(),
            sessions: 0,
            is_idle: false,
            is_closed: false,
            orders,
        }
    }

    fn write(&mut self, now_us: u64) {
        while let Some(message) = self.waiting.front() {
            match self.link.send(message) {
                Ok(()) => self.waiting.pop_front(),
                Err(_) => break,
            };
        }
        let mut bytes = [0; 4096];
        while self.way.is_open() {
            let count = self.link.pull_into(&mut bytes, now_us);
            if count == 0 {
                return;
            }
            self.way.send(&bytes[..count], now_us);
        }
    }
}

impl Served {
    fn now_us(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_micros()).unwrap_or(u64::MAX)
    }

    /// The core is gone: what it said last still comes to the host, until that goes.
    fn outlast(&mut self) {
        let mut is_silent = false;
        loop {
            let now_us = self.now_us();
            is_silent |= self.waiting.is_empty() && self.link.is_idle();
            if !is_silent {
                self.write(now_us);
            }
            match self.way.look(now_us) {
                Looked::Gone => return,
                // Nobody is there any more who would agree to a session.
                Looked::Byte(_) | Looked::Datagram(_) if is_silent => {}
                Looked::Byte(byte) => {
                    self.link.push(byte, now_us);
                    self.link.release();
                }
                Looked::Datagram(datagram) => {
                    self.link.take(&datagram, now_us);
                    self.link.release();
                }
                Looked::Nothing => {}
            }
        }
    }
}

impl Host for Served {
    fn look(&mut self, end: &mut HostEnd) {
        let now_us = self.now_us();
        self.write(now_us);
        self.is_idle = end.is_idle();
        if !self.is_idle {
            return;
        }
        loop {
            let incoming = match self.way.look(now_us) {
                Looked::Byte(byte) => self.link.push(byte, now_us),
                Looked::Datagram(datagram) => self.link.take(&datagram, now_us),
                Looked::Nothing => return,
                Looked::Gone => {
                    self.is_closed = !self.way.next_host();
                    if self.is_closed {
                        // A core that stands still would do so for ever.
                        end.send(&go());
                    }
                    return;
                }
            };
            let Some(incoming) = incoming else {
                continue;
            };
            match incoming {
                Incoming::Message => {
                    end.send(self.link.message());
                    self.link.release();
                }
                Incoming::BreakIn => end.break_in(),
                // What only hosts hear.
                Incoming::Busy | Incoming::TakenOver => {}
                Incoming::Connected => {
                    // What the last host did not hear is not for this one.
                    self.waiting.clear();
                    self.sessions += 1;
                    end.connect(self.sessions);
                }
            }
            self.log.heard();
            self.is_idle = false;
            return;
        }
    }

    fn hear(&mut self, heard: Heard) {
        if let Heard::Message(message) = heard {
            self.log.said(&message);
            if !self.orders.takes(&message) {
                self.waiting.push_back(message);
            }
        }
    }
}

/// Pages that are written down as they are asked for.
struct NotedPages<M> {
    memory: M,
    log: Log,
}

impl<M: GuestMemory> GuestMemory for NotedPages<M> {
    fn first(&mut self, line: u64) -> Piece {
        let piece = self.memory.first(line);
        self.log.took(Input::page(piece.at, &piece.bytes));
        piece
    }
}

/// Runs a machine until its host closes the line. On a stack of [`super::STACK_BYTES`].
///
/// # Errors
/// The line cannot be used.
pub fn serve(listener: UnixListener, orders: Orders) -> std::io::Result<Vec<Noted>> {
    Ok(run(Box::new(Socket::accept(listener)?), &orders))
}

/// Runs a machine that calls its host at `HOST:PORT`, until whoever started it wants it to end. On a stack of
/// [`super::STACK_BYTES`].
///
/// # Errors
/// There is no such host, or no key.
pub fn serve_net(host: &str, key: &NetKey, ends: Arc<AtomicBool>) -> std::io::Result<Vec<Noted>> {
    let network = Network::new(host, key, ends)?;
    Ok(run(Box::new(network), &Orders::default()))
}

fn run(way: Box<dyn Way>, orders: &Orders) -> Vec<Noted> {
    let log = Log::default();
    let served = Served::new(way, log.clone(), orders.clone());
    let served = Arc::new(Mutex::new(served));
    let memory = NotedPages {
        memory: Image::new(),
        log: log.clone(),
    };
    let mut machine = machine(&served, memory);
    let cores: Vec<_> = machine
        .cores
        .iter()
        .map(|core| (core.id, &core.cpu))
        .collect();
    let exits = Exits::new(log.clone(), &cores);
    machine.observer = Some(Box::new(exits));
    let mut guest = Guest::default();
    let mut end = End::default();
    let mut is_over = false;
    while !lock(&served).is_closed {
        if end.has_left {
            lock(&served).outlast();
            break;
        }
        end.look(&mut machine);
        // What the core says is on its way at once, before the guest does anything more: else what goes together would
        // depend on time.
        let queued = machine.shared.line.try_with(|line| line.queued_bytes());
        if queued != Some(0) || !lock(&served).is_idle || is_over {
            continue;
        }
        match orders.with(|order| order.ending.take()) {
            Some(ending) => {
                is_over = true;
                end.begin(ending, &mut machine, &log);
            }
            None => guest.go_on(&mut machine),
        }
    }
    log.notes()
}
