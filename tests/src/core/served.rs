//! A core whose host is a program at the other end of a socket, as a driver's is at the other end of a serial line.

use super::ending::{End, Ending};
use super::guest::{Guest, Image};
use super::line::{Heard, Host, HostEnd, go, link};
use super::machine;
use super::memory::GuestMemory;
use super::recording::{Exits, Log, Noted};
use debugger_host::recording::input::Input;
use std::cell::RefCell;
use std::collections::VecDeque;
use std::io::{ErrorKind, Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::rc::Rc;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use wire_protocol::link::{Incoming, Link, Role};

/// A look at the line takes no longer when nothing is there.
const LOOK: Duration = Duration::from_millis(1);

/// An acknowledgement waits so long for a reply that carries it.
const ACK_DELAY_US: u64 = 3_000;

/// Whoever closed the line may come back within this.
const COMES_BACK: Duration = Duration::from_millis(500);

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
        work(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
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
    listener: UnixListener,
    stream: UnixStream,
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
    fn new(listener: UnixListener, log: Log, orders: Orders) -> std::io::Result<Self> {
        let (stream, _) = listener.accept()?;
        stream.set_read_timeout(Some(LOOK))?;
        listener.set_nonblocking(true)?;
        Ok(Self {
            listener,
            stream,
            link: link(Role::Responder, ACK_DELAY_US),
            started: Instant::now(),
            log,
            waiting: VecDeque::new(),
            sessions: 0,
            is_idle: false,
            is_closed: false,
            orders,
        })
    }

    /// Waits a moment for the next host.
    fn reopen(&mut self) {
        let since = Instant::now();
        while since.elapsed() < COMES_BACK {
            match self.listener.accept() {
                Ok((stream, _)) => {
                    self.is_closed = stream.set_nonblocking(false).is_err()
                        || stream.set_read_timeout(Some(LOOK)).is_err();
                    self.stream = stream;
                    return;
                }
                Err(_) => std::thread::sleep(LOOK),
            }
        }
        self.is_closed = true;
    }

    fn write(&mut self, now_us: u64) {
        while let Some(message) = self.waiting.front() {
            match self.link.send(message) {
                Ok(()) => self.waiting.pop_front(),
                Err(_) => break,
            };
        }
        let mut bytes = [0; 4096];
        loop {
            let count = self.link.pull_into(&mut bytes, now_us);
            if count == 0 {
                return;
            }
            // That nobody is there, the next look finds out.
            let _ = self.stream.write_all(&bytes[..count]);
        }
    }
}

impl Served {
    fn now_us(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_micros()).unwrap_or(u64::MAX)
    }

    /// The core is gone: what it said last still comes to the host, until that goes.
    fn outlast(&mut self) {
        let mut byte = [0];
        let mut is_silent = false;
        loop {
            let now_us = self.now_us();
            is_silent |= self.waiting.is_empty() && self.link.is_idle();
            if !is_silent {
                self.write(now_us);
            }
            match self.stream.read(&mut byte) {
                Ok(0) => return,
                // Nobody is there any more who would agree to a session.
                Ok(_) if is_silent => {}
                Ok(_) => {
                    self.link.push(byte[0], now_us);
                    self.link.release();
                }
                Err(error) => match error.kind() {
                    ErrorKind::WouldBlock | ErrorKind::TimedOut => {}
                    _ => return,
                },
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
        // A byte at a time: what stands behind a message is for a later look.
        let mut byte = [0];
        loop {
            let is_read = match self.stream.read(&mut byte) {
                Ok(count) => count > 0,
                Err(error) => match error.kind() {
                    ErrorKind::WouldBlock | ErrorKind::TimedOut => return,
                    _ => false,
                },
            };
            if !is_read {
                self.reopen();
            }
            if self.is_closed {
                // A core that stands still would do so for ever.
                end.send(&go());
            }
            if !is_read {
                return;
            }
            let Some(incoming) = self.link.push(byte[0], now_us) else {
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
    fn page(&mut self, at: u64) -> Vec<u8> {
        let bytes = self.memory.page(at);
        self.log.took(Input::page(at, &bytes));
        bytes
    }
}

/// Runs a machine until its host closes the line. On a stack of [`super::STACK_BYTES`].
///
/// # Errors
/// The line cannot be used.
pub fn serve(listener: UnixListener, orders: Orders) -> std::io::Result<Vec<Noted>> {
    let log = Log::default();
    let served = Rc::new(RefCell::new(Served::new(
        listener,
        log.clone(),
        orders.clone(),
    )?));
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
    while !served.borrow().is_closed {
        if end.has_left {
            served.borrow_mut().outlast();
            break;
        }
        end.look(&mut machine);
        // What the core says is on its way at once, before the guest does anything more: else what goes together would
        // depend on time.
        let queued = machine.shared.line.try_with(|line| line.queued_bytes());
        if queued != Some(0) || !served.borrow().is_idle || is_over {
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
    Ok(log.notes())
}
