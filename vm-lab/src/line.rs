//! The debug line: joins the emulator's second serial port to whichever host program is connected.
//!
//! Called by `machine`. One thread owns both ends and waits in `poll`, so no latency is added. One host at a time: a new
//! connection replaces the old one. What the debuggee sends while nobody listens is dropped, as on a real cable. Bytes
//! are counted as they arrive, before any injected damage. What the emulator says of its UART's rate goes no further; with
//! a [`Cable`] it decides what each end sees of the other's bytes.

use crate::delay::Delay;
use crate::faults::{Damage, Faults};
use crate::rates::{Direction, Ends, Reader, Said};
use anyhow::Result;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::sockopt::set_tcp_quickack;
use rustix::termios::tcgetattr;
use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::os::fd::OwnedFd;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Bytes that crossed the line.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LineCount {
    /// Sent by the host.
    pub to_debuggee: u64,
    /// Sent by the debuggee, whether or not a host was there to receive.
    pub to_host: u64,
}

/// A line whose ends run at rates: the debuggee's UART at the one that it was programmed with, the host at that of the
/// pseudo-terminal which it has open.
#[derive(Debug)]
pub struct Cable {
    /// The other end of the pseudo-terminal; see [`crate::relay::Relay::terminal`].
    pub terminal: OwnedFd,
    /// The highest rate at which bytes get through whole.
    pub highest_hz: u32,
}

/// A byte whose end was not sent within this is the last for now.
const REST: Duration = Duration::from_millis(5);

/// Stop reading from one side while this much waits for the other.
const WAITING_MAX: usize = 64 * 1024;

#[derive(Debug, Default)]
struct Control {
    to_debuggee: AtomicU64,
    to_host: AtomicU64,
    orders: Mutex<Orders>,
    obeyed: Condvar,
}

#[derive(Debug, Default)]
struct Orders {
    /// Set when the faults are to change.
    faults: Option<Option<Faults>>,
    /// Set when there is to be one, or another one.
    cable: Option<Cable>,
    cut_until: Option<Instant>,
    hang_up: bool,
    stop: bool,
    /// Given and not yet carried out.
    pending: bool,
    /// The relay is gone and obeys nothing any more.
    ended: bool,
}

/// The relay of one machine; dropping it closes the line.
#[derive(Debug)]
pub struct Line {
    control: Arc<Control>,
    wake: UnixStream,
    thread: Option<JoinHandle<()>>,
}

impl Line {
    /// Starts relaying between `debuggee` and connections to a Unix socket at `path`.
    ///
    /// # Errors
    /// When the socket can't be made.
    pub fn start(debuggee: TcpStream, path: &Path, faults: Option<Faults>) -> Result<Self> {
        let listener = UnixListener::bind(path)?;
        listener.set_nonblocking(true)?;
        debuggee.set_nonblocking(true)?;
        let (wake, woken) = UnixStream::pair()?;
        woken.set_nonblocking(true)?;
        let control = Arc::new(Control::default());
        let mut relay = Relay {
            debuggee,
            listener,
            woken,
            host: None,
            control: Arc::clone(&control),
            damage: None,
            late: None,
            reader: Reader::default(),
            cable: None,
            debuggee_hz: None,
            directions: (Direction::new(0), Direction::new(1)),
            passed_at: Instant::now(),
            cut_until: None,
            for_debuggee: Vec::new(),
            for_host: Vec::new(),
        };
        relay.set_faults(faults);
        let thread = std::thread::spawn(move || relay.run());
        Ok(Self {
            control,
            wake,
            thread: Some(thread),
        })
    }

    /// Bytes so far, exact.
    #[must_use]
    pub fn count(&self) -> LineCount {
        LineCount {
            to_debuggee: self.control.to_debuggee.load(Ordering::SeqCst),
            to_host: self.control.to_host.load(Ordering::SeqCst),
        }
    }

    /// Damages the line from now on, or no longer.
    pub fn set_faults(&self, faults: Option<Faults>) {
        self.order(|orders| orders.faults = Some(faults));
    }

    /// Has rates from now on.
    pub fn set_cable(&self, cable: Cable) {
        self.order(|orders| orders.cable = Some(cable));
    }

    /// Loses everything in both directions for `time`; the host's connection stays.
    pub fn cut(&self, time: Duration) {
        self.order(|orders| orders.cut_until = Some(Instant::now() + time));
    }

    /// Closes the host's connection.
    pub fn hang_up(&self) {
        self.order(|orders| orders.hang_up = true);
    }

    /// Gives an order and waits until it is carried out, so what follows finds the line changed.
    fn order(&self, change: impl FnOnce(&mut Orders)) {
        let lock = &self.control.orders;
        let mut orders = lock.lock().unwrap_or_else(PoisonError::into_inner);
        change(&mut orders);
        orders.pending = true;
        let _ = (&self.wake).write_all(&[0]);
        let waiting = |orders: &mut Orders| orders.pending && !orders.ended;
        drop(self.control.obeyed.wait_while(orders, waiting));
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        self.order(|orders| orders.stop = true);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

struct Relay {
    debuggee: TcpStream,
    listener: UnixListener,
    woken: UnixStream,
    host: Option<UnixStream>,
    control: Arc<Control>,
    /// Towards the debuggee, towards the host.
    damage: Option<(Damage, Damage)>,
    /// The same, where bytes come late.
    late: Option<(Delay, Delay)>,
    reader: Reader,
    cable: Option<Cable>,
    /// What the emulator said last.
    debuggee_hz: Option<u32>,
    /// Towards the debuggee, towards the host.
    directions: (Direction, Direction),
    passed_at: Instant,
    cut_until: Option<Instant>,
    for_debuggee: Vec<u8>,
    for_host: Vec<u8>,
}

impl Relay {
    fn run(&mut self) {
        self.relay();
        let mut orders = self
            .control
            .orders
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        orders.ended = true;
        self.control.obeyed.notify_all();
    }

    fn relay(&mut self) {
        loop {
            let Ok((debuggee, host)) = self.wait() else {
                return;
            };
            if self.obey() {
                return;
            }
            if debuggee.intersects(PollFlags::IN | PollFlags::HUP | PollFlags::ERR)
                && !self.take_from_debuggee()
            {
                return;
            }
            if host.intersects(PollFlags::IN | PollFlags::HUP | PollFlags::ERR)
                && !self.take_from_host()
            {
                self.host = None;
            }
            self.rest();
            self.let_come();
            self.accept();
            self.flush();
        }
    }

    /// Blocks until something can be done; returns what the two ends are ready for.
    fn wait(&self) -> rustix::io::Result<(PollFlags, PollFlags)> {
        let interest = |other: &[u8], own: &[u8]| {
            let mut flags = PollFlags::empty();
            if other.len() < WAITING_MAX {
                flags |= PollFlags::IN;
            }
            if !own.is_empty() {
                flags |= PollFlags::OUT;
            }
            flags
        };
        let mut fds = vec![
            PollFd::new(&self.debuggee, interest(&self.for_host, &self.for_debuggee)),
            PollFd::new(&self.woken, PollFlags::IN),
            PollFd::new(&self.listener, PollFlags::IN),
        ];
        if let Some(host) = &self.host {
            fds.push(PollFd::new(
                host,
                interest(&self.for_debuggee, &self.for_host),
            ));
        }
        let is_waiting = self.directions.0.is_waiting() || self.directions.1.is_waiting();
        let rest = is_waiting.then_some(REST);
        let limit = rest.into_iter().chain(self.next_late()).min();
        let limit: Option<Timespec> = limit.and_then(|it| it.try_into().ok());
        match poll(&mut fds, limit.as_ref()) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error),
        }
        let host = fds.get(3).map_or(PollFlags::empty(), PollFd::revents);
        Ok((fds[0].revents(), host))
    }

    /// Carries out what the owner asked for; true to stop.
    fn obey(&mut self) -> bool {
        let _ = self.woken.read(&mut [0; 64]);
        let control = Arc::clone(&self.control);
        let mut orders = control
            .orders
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if let Some(faults) = orders.faults.take() {
            self.set_faults(faults);
        }
        if let Some(cable) = orders.cable.take() {
            self.cable = Some(cable);
        }
        if let Some(until) = orders.cut_until.take() {
            self.cut_until = Some(until);
        }
        if std::mem::take(&mut orders.hang_up) {
            self.host = None;
        }
        orders.pending = false;
        control.obeyed.notify_all();
        orders.stop
    }

    fn set_faults(&mut self, faults: Option<Faults>) {
        self.damage = faults.map(|faults| (Damage::new(faults, 0), Damage::new(faults, 1)));
        if let Some((to_debuggee, to_host)) = self.late.take() {
            to_debuggee.end(&mut self.for_debuggee);
            to_host.end(&mut self.for_host);
        }
        let late = faults.filter(|faults| !faults.delay.is_zero());
        self.late = late.map(|faults| (Delay::new(faults, 0), Delay::new(faults, 1)));
    }

    /// Time until something comes that is late.
    fn next_late(&self) -> Option<Duration> {
        let (to_debuggee, to_host) = self.late.as_ref()?;
        let next = to_debuggee.next().into_iter().chain(to_host.next()).min()?;
        Some(next.saturating_duration_since(Instant::now()))
    }

    /// What was late and is due goes on.
    fn let_come(&mut self) {
        if let Some((to_debuggee, to_host)) = &mut self.late {
            let now = Instant::now();
            to_debuggee.take(now, &mut self.for_debuggee);
            to_host.take(now, &mut self.for_host);
        }
    }

    fn is_cut(&self) -> bool {
        self.cut_until.is_some_and(|until| Instant::now() < until)
    }

    /// False if the emulator is gone.
    fn take_from_debuggee(&mut self) -> bool {
        let mut chunk = [0; 16 * 1024];
        let Some(count) = received((&self.debuggee).read(&mut chunk)) else {
            return false;
        };
        // The emulator sends byte by byte and waits for each to be acknowledged: without this every
        // reply would take the 40 ms of a delayed acknowledgement.
        let _ = set_tcp_quickack(&self.debuggee, true);
        let mut bytes = Vec::new();
        for byte in &chunk[..count] {
            match self.reader.take(*byte) {
                Some(Said::Byte(byte)) => bytes.push(byte),
                Some(Said::Rate(rate)) => {
                    self.give_to_host(&std::mem::take(&mut bytes));
                    self.debuggee_hz = Some(rate);
                }
                None => {}
            }
        }
        self.give_to_host(&bytes);
        true
    }

    fn give_to_host(&mut self, bytes: &[u8]) {
        self.control
            .to_host
            .fetch_add(bytes.len() as u64, Ordering::SeqCst);
        if bytes.is_empty() || self.is_cut() || self.host.is_none() {
            return;
        }
        let damage = self.damage.as_mut().map(|(_, damage)| damage);
        let damaged = damaged(damage, bytes);
        let (sent, read) = (self.debuggee_hz, self.host_hz());
        match self.ends(sent, read) {
            Some(ends) => (self.directions.1).pass(ends, &damaged, &mut self.for_host),
            None => match &mut self.late {
                Some((_, late)) => late.put(&damaged, Instant::now()),
                None => self.for_host.extend(damaged),
            },
        }
        self.passed_at = Instant::now();
    }

    /// The rate that the host has set at its end.
    fn host_hz(&self) -> Option<u32> {
        let settings = tcgetattr(&self.cable.as_ref()?.terminal).ok()?;
        Some(settings.output_speed()).filter(|rate| *rate != 0)
    }

    /// Without a cable, or before both ends have a rate, all is let through.
    fn ends(&self, sent_hz: Option<u32>, read_hz: Option<u32>) -> Option<Ends> {
        Some(Ends {
            sent_hz: sent_hz?,
            read_hz: read_hz?,
            highest_hz: self.cable.as_ref()?.highest_hz,
        })
    }

    /// What began and was not ended has ended.
    fn rest(&mut self) {
        if self.passed_at.elapsed() >= REST {
            self.directions.0.rest(&mut self.for_debuggee);
            self.directions.1.rest(&mut self.for_host);
        }
    }

    /// False if the host hung up.
    fn take_from_host(&mut self) -> bool {
        let mut chunk = [0; 16 * 1024];
        let Some(mut host) = self.host.as_ref() else {
            return false;
        };
        let Some(count) = received(host.read(&mut chunk)) else {
            return false;
        };
        self.control
            .to_debuggee
            .fetch_add(count as u64, Ordering::SeqCst);
        if self.is_cut() {
            return true;
        }
        let damage = self.damage.as_mut().map(|(damage, _)| damage);
        let damaged = damaged(damage, &chunk[..count]);
        let (sent, read) = (self.host_hz(), self.debuggee_hz);
        match self.ends(sent, read) {
            Some(ends) => (self.directions.0).pass(ends, &damaged, &mut self.for_debuggee),
            None => match &mut self.late {
                Some((late, _)) => late.put(&damaged, Instant::now()),
                None => self.for_debuggee.extend(damaged),
            },
        }
        self.passed_at = Instant::now();
        true
    }

    /// One host at a time has the line, as it would a serial port; another one is hung up on.
    fn accept(&mut self) {
        if let Ok((host, _)) = self.listener.accept()
            && self.host.is_none()
            && host.set_nonblocking(true).is_ok()
        {
            self.for_host.clear();
            self.host = Some(host);
        }
    }

    fn flush(&mut self) {
        send(&self.debuggee, &mut self.for_debuggee);
        match &self.host {
            Some(host) => send(host, &mut self.for_host),
            None => self.for_host.clear(),
        }
    }
}

/// What becomes of bytes on a bad line.
fn damaged(damage: Option<&mut Damage>, bytes: &[u8]) -> Vec<u8> {
    let mut output = Vec::new();
    match damage {
        Some(damage) => damage.apply(bytes, &mut output),
        None => output.extend(bytes),
    }
    output
}

/// How many bytes arrived; `None` at the end of the connection.
fn received(result: std::io::Result<usize>) -> Option<usize> {
    match result {
        Ok(0) => None,
        Ok(count) => Some(count),
        Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => {
            Some(0)
        }
        Err(_) => None,
    }
}

/// Sends what the other side takes now; a broken connection shows at the next read.
fn send(mut to: impl Write, waiting: &mut Vec<u8>) {
    while !waiting.is_empty() {
        match to.write(waiting) {
            Ok(count) if count > 0 => drop(waiting.drain(..count)),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            _ => return,
        }
    }
}

#[cfg(test)]
#[path = "line_tests.rs"]
mod tests;
