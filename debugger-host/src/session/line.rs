//! The thread that owns the link: bytes to messages and back, repetition, opening a lost line
//! again. Started by [`super::Session`]; the two speak through channels.
//!
//! A second, smaller thread does nothing but wait for bytes, so that neither direction ever
//! waits for the other.

use crate::transport::{Endpoint, Line};
use std::io::{ErrorKind, Read, Write};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use wire_protocol::link::{Incoming, Link, Role, SendError, Statistics, Storage, Timing};

/// First repetition of an unanswered frame, beyond the time it takes on the line.
const RETRY_US: u64 = 1_000_000;
/// An acknowledgement waits so long for a request that carries it.
const ACK_DELAY_US: u64 = 3_000;
/// Between attempts to open a lost line.
const REOPEN_EVERY: Duration = Duration::from_millis(300);

/// What the link thread is told.
enum Order {
    Bytes { opened: u32, bytes: Vec<u8> },
    Lost { opened: u32, why: String },
    Connect { nonce: u32 },
    Send(Vec<u8>),
    BreakIn,
    End,
}

/// What the link thread tells.
#[derive(Debug)]
pub(super) enum Event {
    /// The session that was asked for has begun.
    Connected,
    /// A whole message.
    Message(Vec<u8>),
    /// The driver at the other end knows of no session.
    Greeting,
    /// The request of this number could not be queued.
    Unsent { id: u8, why: SendError },
}

/// What is known about the line at any time.
#[derive(Clone, Debug, Default)]
pub(super) struct Health {
    /// Counts of the link.
    pub(super) statistics: Statistics,
    /// Why the line is not open, if it is not.
    pub(super) lost: Option<String>,
}

/// The front end's handle. Dropping it ends the thread.
pub(super) struct LinkThread {
    orders: Sender<Order>,
    events: Receiver<Event>,
    health: Arc<Mutex<Health>>,
    thread: Option<JoinHandle<()>>,
}

impl Drop for LinkThread {
    fn drop(&mut self) {
        let _ = self.orders.send(Order::End);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl LinkThread {
    /// Opens the line and starts the thread.
    pub(super) fn start(endpoint: Endpoint) -> std::io::Result<Self> {
        let line = endpoint.open()?;
        let (orders, inbox) = channel();
        let (outbox, events) = channel();
        let health = Arc::new(Mutex::new(Health::default()));
        let mut worker = Worker {
            endpoint,
            orders: orders.clone(),
            outbox,
            health: Arc::clone(&health),
            started: Instant::now(),
            writer: None,
            unsent: Vec::new(),
            opened: 0,
            wanted: Arc::new(AtomicU32::new(0)),
            ended: Arc::new(AtomicBool::new(false)),
            lost: None,
        };
        let thread = std::thread::Builder::new()
            .name("link".into())
            .spawn(move || {
                worker.adopt(line);
                worker.run(&inbox);
                worker.ended.store(true, Ordering::Relaxed);
            })?;
        Ok(Self {
            orders,
            events,
            health,
            thread: Some(thread),
        })
    }

    pub(super) fn connect(&self, nonce: u32) {
        let _ = self.orders.send(Order::Connect { nonce });
    }

    pub(super) fn send(&self, message: Vec<u8>) {
        let _ = self.orders.send(Order::Send(message));
    }

    pub(super) fn break_in(&self) {
        let _ = self.orders.send(Order::BreakIn);
    }

    /// The next event; `None` if there is none in time.
    pub(super) fn next(&self, limit: Duration) -> Option<Event> {
        self.events.recv_timeout(limit).ok()
    }

    pub(super) fn health(&self) -> Health {
        self.health
            .lock()
            .map_or_else(|e| e.into_inner().clone(), |h| h.clone())
    }
}

struct Worker {
    endpoint: Endpoint,
    orders: Sender<Order>,
    outbox: Sender<Event>,
    health: Arc<Mutex<Health>>,
    started: Instant,
    writer: Option<Box<dyn Write + Send>>,
    /// Bytes that the line did not take yet.
    unsent: Vec<u8>,
    /// Counts how often the line was opened: what an old reader says does not count.
    opened: u32,
    wanted: Arc<AtomicU32>,
    ended: Arc<AtomicBool>,
    lost: Option<String>,
}

impl Worker {
    fn now_us(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_micros()).unwrap_or(u64::MAX)
    }

    /// Starts to use a line that was just opened.
    fn adopt(&mut self, line: Line) {
        self.opened += 1;
        self.wanted.store(self.opened, Ordering::Relaxed);
        self.writer = Some(line.writer);
        self.lost = None;
        let (opened, wanted) = (self.opened, Arc::clone(&self.wanted));
        let (orders, ended) = (self.orders.clone(), Arc::clone(&self.ended));
        let spawned = std::thread::Builder::new()
            .name("line reader".into())
            .spawn(move || read_line(line.reader, opened, &wanted, &ended, &orders));
        if let Err(error) = spawned {
            self.lose(error.to_string());
        }
    }

    fn lose(&mut self, why: String) {
        self.writer = None;
        self.unsent.clear();
        self.wanted.store(0, Ordering::Relaxed);
        self.lost = Some(why);
    }

    fn run(&mut self, inbox: &Receiver<Order>) {
        let mut memory = vec![0; Storage::BYTES + wire_protocol::limits::MESSAGE_BYTES];
        let Some(storage) = Storage::carve(&mut memory) else {
            return;
        };
        let timing = Timing {
            retry_us: RETRY_US,
            ack_delay_us: ACK_DELAY_US,
            byte_time_ns: self.endpoint.byte_time_ns(),
        };
        let mut link = Link::new(Role::Initiator, storage, timing);
        loop {
            self.write_out(&mut link);
            self.report(&link);
            let limit = match (&self.writer, link.next_deadline_us()) {
                (None, _) => REOPEN_EVERY,
                (Some(_), _) if !self.unsent.is_empty() => Duration::from_millis(1),
                (Some(_), Some(at)) => {
                    Duration::from_micros(at.saturating_sub(self.now_us()).max(500))
                }
                (Some(_), None) => Duration::from_secs(1),
            };
            match inbox.recv_timeout(limit) {
                Ok(order) => {
                    if !self.carry_out(order, &mut link) {
                        return;
                    }
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return,
            }
            if self.writer.is_none()
                && let Ok(line) = self.endpoint.open()
            {
                self.adopt(line);
            }
        }
    }

    /// False when the front end is gone.
    fn carry_out(&mut self, order: Order, link: &mut Link<'_>) -> bool {
        match order {
            Order::Bytes { opened, bytes } if opened == self.opened => {
                for byte in bytes {
                    let event = match link.push(byte, self.now_us()) {
                        Some(Incoming::Message) => {
                            let message = link.message().to_vec();
                            link.release();
                            Event::Message(message)
                        }
                        Some(Incoming::Connected) => Event::Connected,
                        // Without a session it tells nothing that is not known.
                        Some(Incoming::BreakIn) if link.is_connected() => Event::Greeting,
                        Some(Incoming::BreakIn) | None => continue,
                    };
                    self.report(link);
                    if self.outbox.send(event).is_err() {
                        return false;
                    }
                }
            }
            Order::Lost { opened, why } if opened == self.opened => self.lose(why),
            Order::Bytes { .. } | Order::Lost { .. } => {}
            Order::Connect { nonce } => link.connect(nonce),
            Order::Send(message) => {
                if let Err(why) = link.send(&message) {
                    let id = message.get(1).copied().unwrap_or_default();
                    let _ = self.outbox.send(Event::Unsent { id, why });
                }
            }
            Order::BreakIn => link.break_in(),
            Order::End => {
                self.say_goodbye(link);
                return false;
            }
        }
        true
    }

    /// The last reply is acknowledged, or the debuggee would repeat it to nobody.
    fn say_goodbye(&mut self, link: &mut Link<'_>) {
        for _ in 0..10 {
            self.write_out(link);
            if link.is_idle() || self.writer.is_none() {
                return;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Gives the line what it takes now.
    fn write_out(&mut self, link: &mut Link<'_>) {
        while let Some(writer) = self.writer.as_mut() {
            if self.unsent.is_empty() {
                let now = u64::try_from(self.started.elapsed().as_micros()).unwrap_or(u64::MAX);
                let mut bytes = [0; 4096];
                let count = link.pull_into(&mut bytes, now);
                self.unsent.extend_from_slice(&bytes[..count]);
            }
            if self.unsent.is_empty() {
                return;
            }
            match writer.write(&self.unsent) {
                Ok(count) => {
                    self.unsent.drain(..count);
                }
                Err(error) if is_passing(&error) => return,
                Err(error) => self.lose(error.to_string()),
            }
        }
    }

    fn report(&self, link: &Link<'_>) {
        if let Ok(mut health) = self.health.lock() {
            health.statistics = link.statistics();
            health.lost.clone_from(&self.lost);
        }
    }
}

/// Not yet, but the line is good.
fn is_passing(error: &std::io::Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::TimedOut | ErrorKind::WouldBlock | ErrorKind::Interrupted
    )
}

fn read_line(
    mut reader: Box<dyn Read + Send>,
    opened: u32,
    wanted: &AtomicU32,
    ended: &AtomicBool,
    orders: &Sender<Order>,
) {
    let mut bytes = vec![0; 16 * 1024];
    while wanted.load(Ordering::Relaxed) == opened && !ended.load(Ordering::Relaxed) {
        let order = match reader.read(&mut bytes) {
            Ok(0) => Order::Lost {
                opened,
                why: "the other end has closed it".into(),
            },
            Ok(count) => Order::Bytes {
                opened,
                bytes: bytes[..count].to_vec(),
            },
            Err(error) if is_passing(&error) => continue,
            Err(error) => Order::Lost {
                opened,
                why: error.to_string(),
            },
        };
        let is_last = matches!(order, Order::Lost { .. });
        if orders.send(order).is_err() || is_last {
            return;
        }
    }
}
