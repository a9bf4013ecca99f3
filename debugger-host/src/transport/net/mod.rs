//! UDP from a debuggee that has a network card of its own: listens at a port for whoever calls with the key, and follows it
//! wherever its datagrams come from. Called by the link thread through [`Transport`].

mod key;
mod last_clock;

use super::{Line, PATIENCE, Transport};
use crate::dropped::DropNews;
pub use key::{NetKey, NetKeyError, new_key};
use last_clock::LastClock;
use std::collections::VecDeque;
use std::io::{Error, ErrorKind, Read, Result, Write};
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::num::ParseIntError;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use wire_protocol::secure::{
    Cause, DATAGRAM_BYTES, Dropped, Heard, Listener, OlderClock, ROOM_BYTES, Random,
};

/// See [`super::Endpoint::Net`].
pub(super) struct Net {
    pub(super) address: SocketAddr,
    pub(super) key: NetKey,
    /// Once the port is this program's.
    port: Option<Arc<Port>>,
}

/// The socket, which both directions use.
struct Port {
    socket: UdpSocket,
    state: Mutex<State>,
}

struct State {
    listener: Listener,
    clock: LastClock,
    /// Where the debuggee is.
    peer: Option<SocketAddr>,
    /// When it was heard last.
    heard: Option<Instant>,
    /// Nobody is there any more who would hear a debuggee that calls now.
    has_left: bool,
    /// What was dropped and is not told yet.
    news: VecDeque<DropNews>,
    /// The last of it, for whoever waits.
    last: Option<DropNews>,
}

/// `PORT`, at every address of this machine that IPv4 knows, or `ADDRESS:PORT`.
///
/// # Errors
/// When it is neither.
pub fn listen_address(text: &str) -> std::result::Result<SocketAddr, String> {
    let port = text
        .parse()
        .map(|port| (Ipv4Addr::UNSPECIFIED, port).into());
    let address = port.or_else(|_: ParseIntError| text.parse());
    let address = address.ok().filter(|it: &SocketAddr| it.port() != 0);
    address
        .ok_or_else(|| "PORT or ADDRESS:PORT is wanted, as in 50000 or 192.0.2.1:50000".to_owned())
}

/// Fewer that do not authenticate are damage, as networks do now and then.
const FORGED_TOLD: u64 = 100;

/// A wait for a datagram takes no longer, so that the port is free soon after it is closed.
const LOOK: Duration = Duration::from_millis(20);
/// A debuggee says something at least once a second.
const SILENT: Duration = Duration::from_secs(6);
/// Between attempts to get the port.
const BIND_EVERY: Duration = Duration::from_millis(5);

/// What the operating system draws.
fn random() -> Result<Random> {
    let mut random = Random::default();
    getrandom::fill(&mut random).map_err(|why| Error::other(format!("no random bits: {why}")))?;
    Ok(random)
}

impl Net {
    pub(super) const fn new(address: SocketAddr, key: NetKey) -> Self {
        Self {
            address,
            key,
            port: None,
        }
    }

    /// Whoever read the line before, in this program, may have it for a moment yet.
    fn socket(&self) -> Result<UdpSocket> {
        let started = Instant::now();
        loop {
            match UdpSocket::bind(self.address) {
                Err(why) if why.kind() == ErrorKind::AddrInUse => {
                    if started.elapsed() >= PATIENCE {
                        return Err(Error::new(why.kind(), "another program has that port"));
                    }
                    std::thread::sleep(BIND_EVERY);
                }
                bound => return bound,
            }
        }
    }

    fn bind(&self) -> Result<Port> {
        let key = self.key.key()?;
        let clock = LastClock::of(key)?;
        let socket = self.socket()?;
        socket.set_read_timeout(Some(LOOK))?;
        let older = match self.key.accepts_older_clock {
            true => OlderClock::Accepted,
            false => OlderClock::Refused,
        };
        let listener = Listener::new(key.clone(), clock.read_us()?, older);
        Ok(Port {
            socket,
            state: Mutex::new(State {
                listener,
                clock,
                peer: None,
                heard: None,
                has_left: false,
                news: VecDeque::new(),
                last: None,
            }),
        })
    }
}

impl Transport for Net {
    fn open(&mut self) -> Result<Line> {
        let port = match &self.port {
            Some(port) => Arc::clone(port),
            None => Arc::clone(self.port.insert(Arc::new(self.bind()?))),
        };
        let started = Instant::now();
        let mut bytes = [0; ROOM_BYTES];
        while started.elapsed() < PATIENCE && !port.state().is_there() {
            match port.receive(&mut bytes) {
                Err(why) if !is_nothing(&why) && why.kind() != ErrorKind::NotConnected => {
                    return Err(why);
                }
                // What bytes for the link came so early come again.
                _ => {}
            }
        }
        let state = port.state();
        if state.is_silent() {
            return Err(silence());
        }
        if !state.listener.is_connected() {
            let last = state.last.as_ref();
            let dropped = last.map_or_else(String::new, |news| format!("; {news}"));
            let why = format!("no debuggee with this key has called yet{dropped}");
            return Err(Error::new(ErrorKind::NotConnected, why));
        }
        drop(state);
        let reader = Reader(Arc::clone(&port));
        Ok(Line::without_rate(reader, Writer(port)))
    }

    fn datagram_bytes(&self) -> Option<usize> {
        Some(ROOM_BYTES)
    }

    fn dropped(&self) -> Dropped {
        let port = self.port.as_ref();
        port.map_or_else(Dropped::default, |port| port.state().listener.dropped())
    }

    fn news(&mut self) -> Option<DropNews> {
        self.port.as_ref()?.state().news.pop_front()
    }
}

impl Drop for Net {
    /// The debuggee need not find out by itself that nobody listens any more.
    fn drop(&mut self) {
        let Some(port) = &self.port else { return };
        let mut out = [0; DATAGRAM_BYTES];
        let mut state = port.state();
        state.has_left = true;
        if let (Some(peer), Ok(random)) = (state.peer, random()) {
            let len = state.listener.bye(&random, &mut out);
            port.send(out.get(..len).unwrap_or_default(), peer);
        }
    }
}

impl Port {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A datagram that cannot be sent is a lost one.
    fn send(&self, datagram: &[u8], to: SocketAddr) {
        if !datagram.is_empty() {
            let _ = self.socket.send_to(datagram, to);
        }
    }

    /// Waits a little for one datagram, and deals with it. How many bytes it had for the link.
    fn receive(&self, into: &mut [u8]) -> Result<usize> {
        // One byte more than any has, so that a longer one is not taken for its beginning.
        let mut datagram = [0; DATAGRAM_BYTES + 1];
        let (len, from) = match self.socket.recv_from(&mut datagram) {
            Ok(received) => received,
            // What was sent before reached nobody, or this one was too long: neither says anything of the socket.
            Err(why) if is_of_one_datagram(&why) => return Ok(0),
            Err(why) => {
                let is_silent = is_nothing(&why) && self.state().is_silent();
                return Err(if is_silent { silence() } else { why });
            }
        };
        let random = random()?;
        let mut out = [0; DATAGRAM_BYTES];
        let mut state = self.state();
        let state = &mut *state;
        if state.has_left {
            return Err(ErrorKind::NotConnected.into());
        }
        let datagram = datagram.get_mut(..len).unwrap_or_default();
        match state.listener.take(datagram, &random, &mut out) {
            Heard::Dropped(cause) => {
                state.dropped(cause, from);
                Ok(0)
            }
            Heard::Call {
                answer_bytes,
                clock_us,
            } => {
                state.clock.keep(clock_us)?;
                self.send(out.get(..answer_bytes).unwrap_or_default(), from);
                Ok(0)
            }
            Heard::Debuggee {
                bytes,
                answer_bytes,
                is_newest,
                begins,
            } => {
                state.heard = Some(Instant::now());
                if is_newest {
                    state.peer = Some(from);
                }
                if let Some(clock_us) = begins {
                    state.clock.keep(clock_us)?;
                }
                self.send(out.get(..answer_bytes).unwrap_or_default(), from);
                let count = bytes.len().min(into.len());
                into[..count].copy_from_slice(&bytes[..count]);
                Ok(count)
            }
        }
    }
}

/// Nothing has come.
fn is_nothing(why: &Error) -> bool {
    matches!(
        why.kind(),
        ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted
    )
}

/// The error is that of one datagram, as Windows tells them.
fn is_of_one_datagram(why: &Error) -> bool {
    const TOO_LONG: i32 = 10040;
    let is_too_long = cfg!(windows) && why.raw_os_error() == Some(TOO_LONG);
    is_too_long
        || matches!(
            why.kind(),
            ErrorKind::ConnectionReset | ErrorKind::ConnectionRefused
        )
}

/// Whatever the reason is, the user should know where else to look.
fn silence() -> Error {
    let why = format!(
        "nothing has come from the debuggee for {} s; one that has a serial port besides (com=) is reached there meanwhile",
        SILENT.as_secs()
    );
    Error::new(ErrorKind::NotConnected, why)
}

impl State {
    /// There is a session, and nothing comes in it.
    fn is_silent(&self) -> bool {
        let heard = self.heard.filter(|_| self.listener.is_connected());
        heard.is_some_and(|heard| heard.elapsed() >= SILENT)
    }

    fn is_there(&self) -> bool {
        self.listener.is_connected() && !self.is_silent()
    }

    /// While a debuggee is waited for everything is told that may be the reason; in a session what it is not the network's
    /// own way to do, and not for each datagram.
    fn dropped(&mut self, cause: Cause, from: SocketAddr) {
        let count = self.listener.dropped().of(cause);
        let news = DropNews { cause, from, count };
        if !is_power_of_ten(count) {
            return;
        }
        self.last = Some(news);
        let is_told = match cause {
            Cause::WrongKey | Cause::OlderClock => true,
            Cause::Forged => count >= FORGED_TOLD,
            Cause::Foreign
            | Cause::Truncated
            | Cause::Reflected
            | Cause::Replayed
            | Cause::UnknownSession => false,
        };
        if is_told && self.listener.is_connected() {
            self.news.push_back(news);
        }
    }
}

fn is_power_of_ten(count: u64) -> bool {
    let digits = count.checked_ilog10();
    digits.is_some_and(|digits| 10_u64.pow(digits) == count)
}

/// From the debuggee.
struct Reader(Arc<Port>);

impl Read for Reader {
    fn read(&mut self, bytes: &mut [u8]) -> Result<usize> {
        match self.0.receive(bytes)? {
            // Nothing for the link; none at all would be the end of the line.
            0 => Err(ErrorKind::WouldBlock.into()),
            count => Ok(count),
        }
    }
}

/// To the debuggee: what is written at once goes in one datagram.
struct Writer(Arc<Port>);

impl Write for Writer {
    fn write(&mut self, bytes: &[u8]) -> Result<usize> {
        let random = random()?;
        let mut out = [0; DATAGRAM_BYTES];
        let mut state = self.0.state();
        let len = state.listener.seal(bytes, &random, &mut out);
        if let Some(peer) = state.peer {
            self.0.send(out.get(..len).unwrap_or_default(), peer);
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> Result<()> {
        Ok(())
    }
}
