//! The thread that owns the link: bytes to messages and back, repetition, opening the line, and a lost one again. Started
//! by [`super::Session`]; the two speak through channels.
//!
//! A second, smaller thread does nothing but wait for bytes, so that neither direction ever
//! waits for the other.

use super::incoming::{Event, Health};
use crate::recording::{Entry, Moment, Recorder};
use crate::transport::{Line, Port, Transport, is_final};
use std::io::{ErrorKind, Read, Write};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use wire_protocol::link::{Incoming, Link, Role, Storage, Timing};

/// Of a line of bytes: the debuggee may be in the middle of a long frame.
const SERIAL: Timing = Timing {
    retry_us: 1_000_000,
    ack_delay_us: 3_000,
    answer_us: 500_000,
    byte_time_ns: 0,
};
/// Between attempts to open the line.
const OPEN_EVERY: Duration = Duration::from_millis(300);
/// A loss that lasts longer is told before it is over.
const TELL_LOSS_AFTER: Duration = Duration::from_secs(1);

/// Between two looks whether the thread has ended.
const END_SLICE: Duration = Duration::from_millis(1);

/// What the link thread is told.
enum Order {
    Bytes { opened: u32, bytes: Vec<u8> },
    Lost { opened: u32, why: String },
    Connect { nonce: u32, takes_over: bool },
    Send(Vec<u8>),
    BreakIn,
    End,
}

/// The front end's handle. Dropping it ends the thread.
pub(super) struct LinkThread {
    orders: Sender<Order>,
    events: Receiver<Event>,
    health: Arc<Mutex<Health>>,
    /// The thread asks the operating system to open the line, which may take its time.
    is_opening: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
    recorder: Option<Recorder>,
}

impl Drop for LinkThread {
    fn drop(&mut self) {
        let _ = self.orders.send(Order::End);
        if let Some(thread) = self.thread.take() {
            // What is opened for nobody ends by itself, and nobody waits for that.
            while !thread.is_finished() && !self.is_opening.load(Ordering::Relaxed) {
                std::thread::sleep(END_SLICE);
            }
        }
    }
}

impl LinkThread {
    /// Starts the thread, which opens the line as soon as that can be done. What goes over it is recorded, if that is
    /// wanted.
    pub(super) fn start(
        transport: Box<dyn Transport>,
        recorder: Option<Recorder>,
    ) -> std::io::Result<Self> {
        let (orders, inbox) = channel();
        let (outbox, events) = channel();
        let health = Arc::new(Mutex::new(Health::default()));
        let is_opening = Arc::new(AtomicBool::new(false));
        let mut worker = Worker {
            transport,
            orders: orders.clone(),
            outbox,
            health: Arc::clone(&health),
            is_opening: Arc::clone(&is_opening),
            started: Instant::now(),
            writer: None,
            port: None,
            unsent: Vec::new(),
            opened: 0,
            opened_at: Instant::now(),
            wanted: Arc::new(AtomicU32::new(0)),
            ended: Arc::new(AtomicBool::new(false)),
            lost: None,
            has_failed: false,
            next_attempt: Instant::now(),
            recorder: recorder.clone().map(|it| (it.begin_line(), it)),
        };
        let thread = std::thread::Builder::new()
            .name("link".into())
            .spawn(move || {
                worker.run(&inbox);
                worker.ended.store(true, Ordering::Relaxed);
            })?;
        Ok(Self {
            orders,
            events,
            health,
            is_opening,
            thread: Some(thread),
            recorder,
        })
    }

    /// Records what the session does, before it is done.
    fn note(&self, entry: impl FnOnce() -> Entry) {
        if let Some(recorder) = &self.recorder {
            recorder.act(entry());
        }
    }

    /// Begins a new session; with `takes_over` also where another host has one.
    pub(super) fn connect(&self, nonce: u32, takes_over: bool) {
        self.note(|| Entry::Connect { nonce });
        let _ = self.orders.send(Order::Connect { nonce, takes_over });
    }

    pub(super) fn send(&self, message: Vec<u8>) {
        self.note(|| Entry::Request(message.clone()));
        let _ = self.orders.send(Order::Send(message));
    }

    pub(super) fn break_in(&self) {
        self.note(|| Entry::BreakIn);
        let _ = self.orders.send(Order::BreakIn);
    }

    /// The next event; `None` if there is none in time.
    pub(super) fn next(&self, limit: Duration) -> Option<Event> {
        let event = self.events.recv_timeout(limit).ok()?;
        if let Some(recorder) = &self.recorder
            && !matches!(
                event,
                Event::NotOpen { .. } | Event::Open | Event::Rate(_) | Event::Dropped(_)
            )
        {
            recorder.took();
        }
        Some(event)
    }

    pub(super) fn health(&self) -> Health {
        let health = self
            .health
            .lock()
            .map_or_else(|e| e.into_inner().clone(), |h| h.clone());
        self.note(|| Entry::Counts(Box::new(health.clone())));
        health
    }
}

/// An event as recordings have it; they begin with an open line.
fn entry(event: &Event) -> Option<Entry> {
    Some(match event {
        Event::Lost { why } => Entry::Lost { why: why.clone() },
        Event::OpenAgain { untold } => Entry::Reopened {
            untold: untold.clone(),
        },
        Event::Connected => Entry::Connected,
        Event::Message { bytes, .. } => Entry::Message(bytes.clone()),
        Event::Greeting => Entry::Greeting,
        Event::OtherHost { seconds } => Entry::OtherHost { seconds: *seconds },
        Event::Unsent { id, why } => Entry::Unsent { id: *id, why: *why },
        // What is recorded is what came in frames, at whatever rate.
        Event::NotOpen { .. }
        | Event::Open
        | Event::Missing { .. }
        | Event::Rate(_)
        | Event::Dropped(_) => return None,
    })
}

struct Worker {
    transport: Box<dyn Transport>,
    orders: Sender<Order>,
    outbox: Sender<Event>,
    health: Arc<Mutex<Health>>,
    is_opening: Arc<AtomicBool>,
    started: Instant,
    writer: Option<Box<dyn Write + Send>>,
    port: Option<Box<dyn Port>>,
    /// Bytes that the line did not take yet.
    unsent: Vec<u8>,
    /// Counts how often the line was opened: what an old reader says does not count.
    opened: u32,
    opened_at: Instant,
    wanted: Arc<AtomicU32>,
    ended: Arc<AtomicBool>,
    lost: Option<Loss>,
    /// The line could not be opened at the first attempt.
    has_failed: bool,
    next_attempt: Instant,
    /// With the number of this line.
    recorder: Option<(u32, Recorder)>,
}

/// Of a line that was open.
struct Loss {
    why: String,
    at: Instant,
    /// It had been open for a while.
    was_steady: bool,
    is_told: bool,
}

impl Worker {
    fn now_us(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_micros()).unwrap_or(u64::MAX)
    }

    /// Tells the front end, and records it before. False when it is gone.
    fn tell(&self, event: Event) -> bool {
        if let Some((line, recorder)) = &self.recorder
            && let Some(entry) = entry(&event)
        {
            let at = match event {
                Event::Message { at, .. } => at,
                _ => Moment::now(),
            };
            recorder.event(*line, at, entry);
        }
        self.outbox.send(event).is_ok()
    }

    /// Starts to use a line that was just opened.
    fn adopt(&mut self, line: Line) {
        self.opened += 1;
        self.wanted.store(self.opened, Ordering::Relaxed);
        self.writer = Some(line.writer);
        self.port = line.port;
        self.opened_at = Instant::now();
        let event = match self.lost.take() {
            None => Some(Event::Open),
            Some(loss) if loss.is_told => Some(Event::OpenAgain { untold: None }),
            // A line that is taken and closed over and over is told of once.
            Some(loss) => loss.was_steady.then_some(Event::OpenAgain {
                untold: Some(loss.why),
            }),
        };
        if let Some(event) = event {
            self.tell(event);
        }
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
        self.port = None;
        self.unsent.clear();
        self.wanted.store(0, Ordering::Relaxed);
        self.lost = Some(Loss {
            why,
            at: Instant::now(),
            was_steady: self.opened_at.elapsed() >= TELL_LOSS_AFTER,
            is_told: false,
        });
    }

    /// Tries to open a line that is not open, if it is time to. False when it can never be opened.
    fn open(&mut self) -> bool {
        if Instant::now() < self.next_attempt {
            return true;
        }
        self.is_opening.store(true, Ordering::Relaxed);
        let opened = self.transport.open();
        self.is_opening.store(false, Ordering::Relaxed);
        self.next_attempt = Instant::now() + OPEN_EVERY;
        let error = match opened {
            Ok(line) => {
                self.adopt(line);
                return true;
            }
            Err(error) => error,
        };
        match &mut self.lost {
            Some(loss) if !loss.is_told && loss.at.elapsed() >= TELL_LOSS_AFTER => {
                loss.is_told = true;
                let why = loss.why.clone();
                self.tell(Event::Lost { why });
                true
            }
            Some(_) => true,
            None => {
                // A device that just came may be forbidden for a moment.
                let is_final = !self.has_failed && is_final(&error);
                self.has_failed = true;
                let why = error.to_string();
                self.tell(Event::NotOpen { why, is_final });
                !is_final
            }
        }
    }

    fn run(&mut self, inbox: &Receiver<Order>) {
        let mut memory = vec![0; Storage::BYTES + wire_protocol::limits::MESSAGE_BYTES];
        let Some(storage) = Storage::carve(&mut memory) else {
            return;
        };
        let datagram_bytes = self.transport.datagram_bytes();
        let timing = match datagram_bytes {
            Some(_) => Timing::NETWORK,
            None => SERIAL,
        };
        let mut link = Link::new(Role::Initiator, storage, timing);
        if let Some(rates) = self.transport.rates() {
            link.use_rates(rates);
        }
        if let Some(room_bytes) = datagram_bytes {
            link.use_datagrams(room_bytes);
        }
        let mut opened = self.opened;
        loop {
            if self.writer.is_none() && !self.open() {
                return;
            }
            if opened != self.opened {
                opened = self.opened;
                // It is opened at the rate that it began at, and the other end may be at another one.
                let baud_hz = link.rate_state().baud_hz;
                if let Some(port) = &mut self.port {
                    let _ = port.set_baud(baud_hz);
                }
            }
            self.write_out(&mut link);
            while let Some(news) = link.take_rate_news() {
                self.tell(Event::Rate(news));
            }
            while let Some(news) = self.transport.news() {
                self.tell(Event::Dropped(news));
            }
            self.report(&link);
            let limit = match (&self.writer, link.next_deadline_us()) {
                (None, _) => self.next_attempt.saturating_duration_since(Instant::now()),
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
        }
    }

    /// False when the front end is gone.
    fn carry_out(&mut self, order: Order, link: &mut Link<'_>) -> bool {
        match order {
            Order::Bytes { opened, bytes } if opened == self.opened => {
                if self.transport.datagram_bytes().is_some() {
                    let incoming = link.take(&bytes, self.now_us());
                    return incoming.is_none_or(|it| self.hear(it, link));
                }
                for byte in bytes {
                    let incoming = link.push(byte, self.now_us());
                    if incoming.is_some_and(|it| !self.hear(it, link)) {
                        return false;
                    }
                }
            }
            Order::Lost { opened, why } if opened == self.opened => self.lose(why),
            Order::Bytes { .. } | Order::Lost { .. } => {}
            Order::Connect { nonce, takes_over } => match takes_over {
                true => link.take_over(nonce),
                false => link.connect(nonce),
            },
            Order::Send(message) => {
                if let Err(why) = link.send(&message) {
                    let id = message.get(1).copied().unwrap_or_default();
                    self.tell(Event::Unsent { id, why });
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

    /// Tells the front end what came. False when it is gone.
    fn hear(&self, incoming: Incoming, link: &mut Link<'_>) -> bool {
        let event = match incoming {
            Incoming::Message => {
                let bytes = link.message().to_vec();
                link.release();
                let at = Moment::now();
                Event::Message { bytes, at }
            }
            Incoming::Connected => Event::Connected,
            Incoming::Busy => Event::OtherHost {
                seconds: Some(link.busy_s()),
            },
            Incoming::TakenOver => Event::OtherHost { seconds: None },
            // Without a session it tells nothing that is not known.
            Incoming::BreakIn if link.is_connected() => Event::Greeting,
            Incoming::BreakIn => return true,
        };
        self.report(link);
        self.tell(event)
    }

    /// The last reply is acknowledged, or the debuggee would repeat it to nobody; and it hears that the next host need not
    /// wait.
    fn say_goodbye(&mut self, link: &mut Link<'_>) {
        link.leave();
        link.leave_rate();
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
                match link.wanted_rate() {
                    Some(baud_hz) => self.change_rate(link, baud_hz),
                    None => return,
                }
                continue;
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

    /// Changes the rate, or stays at the one before where the device does not take it.
    fn change_rate(&mut self, link: &mut Link<'_>, baud_hz: u32) {
        let before_hz = link.rate_state().baud_hz;
        let is_taken = self
            .port
            .as_mut()
            .is_some_and(|port| port.set_baud(baud_hz).is_ok());
        let now_hz = if is_taken { baud_hz } else { before_hz };
        link.rate_is(now_hz, self.now_us());
    }

    fn report(&self, link: &Link<'_>) {
        if let Ok(mut health) = self.health.lock() {
            health.rate = link.rate_state();
            health.statistics = link.statistics();
            health.dropped = self.transport.dropped();
            health.lost = self.lost.as_ref().map(|loss| loss.why.clone());
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
    let mut has_heard = false;
    while wanted.load(Ordering::Relaxed) == opened && !ended.load(Ordering::Relaxed) {
        let order = match reader.read(&mut bytes) {
            Ok(0) => Order::Lost {
                opened,
                why: if has_heard {
                    "the other end has closed it".into()
                } else {
                    "the other end closes it unheard: another host program may have it".into()
                },
            },
            Ok(count) => {
                has_heard = true;
                Order::Bytes {
                    opened,
                    bytes: bytes[..count].to_vec(),
                }
            }
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
