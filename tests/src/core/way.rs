//! The ways from a core to its host program: a socket, as emulators offer for a serial line, or the network. For
//! [`super::served`].

use debugger_host::transport::NetKey;
use std::io::{Error, ErrorKind, Read, Result, Write};
use std::net::UdpSocket;
use std::os::unix::net::{UnixListener, UnixStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use wire_protocol::secure::{Caller, DATAGRAM_BYTES, ROOM_BYTES, Random, Taken, Timing};

/// A look at the line takes no longer when nothing is there.
const LOOK: Duration = Duration::from_millis(1);

/// Whoever closed the line may come back within this.
const COMES_BACK: Duration = Duration::from_millis(500);

/// What a look brought.
pub(super) enum Looked {
    Byte(u8),
    /// What came in one.
    Datagram(Vec<u8>),
    Nothing,
    /// The host is gone.
    Gone,
}

/// See the module.
pub(super) trait Way: Send {
    /// The next byte or datagram: what stands behind a message is for a later look.
    fn look(&mut self, now_us: u64) -> Looked;
    /// Waits a moment for the next host. False if none comes.
    fn next_host(&mut self) -> bool;
    /// Whether anything that is sent now can arrive.
    fn is_open(&self) -> bool;
    /// Bytes that came out of the link together.
    fn send(&mut self, bytes: &[u8], now_us: u64);
    /// How many go at once, if that counts.
    fn datagram_bytes(&self) -> Option<usize> {
        None
    }
}

/// A socket at which host programs come and go.
pub(super) struct Socket {
    listener: UnixListener,
    stream: UnixStream,
}

impl Socket {
    /// Waits for the first host.
    pub(super) fn accept(listener: UnixListener) -> Result<Self> {
        let (stream, _) = listener.accept()?;
        stream.set_read_timeout(Some(LOOK))?;
        listener.set_nonblocking(true)?;
        Ok(Self { listener, stream })
    }
}

impl Way for Socket {
    fn look(&mut self, _: u64) -> Looked {
        let mut byte = [0];
        match self.stream.read(&mut byte) {
            Ok(1) => Looked::Byte(byte[0]),
            Err(why) if matches!(why.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                Looked::Nothing
            }
            _ => Looked::Gone,
        }
    }

    fn next_host(&mut self) -> bool {
        let since = Instant::now();
        while since.elapsed() < COMES_BACK {
            match self.listener.accept() {
                Ok((stream, _)) => {
                    let is_good = stream.set_nonblocking(false).is_ok()
                        && stream.set_read_timeout(Some(LOOK)).is_ok();
                    self.stream = stream;
                    return is_good;
                }
                Err(_) => std::thread::sleep(LOOK),
            }
        }
        false
    }

    fn is_open(&self) -> bool {
        true
    }

    fn send(&mut self, bytes: &[u8], _: u64) {
        // That nobody is there, the next look finds out.
        let _ = self.stream.write_all(bytes);
    }
}

/// How patient a core on the network is: a person waits for nothing here.
const TIMING: Timing = Timing {
    call_us: 20_000,
    ..Timing::USUAL
};

/// The network, as a driver has it with a card of its own.
pub(super) struct Network {
    socket: UdpSocket,
    caller: Caller,
    /// Whoever started the core wants it to end.
    ends: Arc<AtomicBool>,
}

impl Network {
    /// To the host at `HOST:PORT`.
    pub(super) fn new(host: &str, key: &NetKey, ends: Arc<AtomicBool>) -> Result<Self> {
        let socket = UdpSocket::bind("0.0.0.0:0")?;
        socket.connect(host)?;
        socket.set_read_timeout(Some(LOOK))?;
        Ok(Self {
            socket,
            caller: Caller::new(key.key()?.clone(), TIMING),
            ends,
        })
    }

    /// Nobody listens yet, or any more: whatever is sent is lost.
    fn put(&self, datagram: &[u8]) {
        if !datagram.is_empty() {
            let _ = self.socket.send(datagram);
        }
    }

    /// What the link gets of the next datagram, if anything.
    fn exchange(&mut self, now_us: u64) -> Result<Option<Vec<u8>>> {
        let mut datagram = [0; DATAGRAM_BYTES + 1];
        loop {
            let len = self
                .caller
                .poll(now_us, clock_us(), &random()?, &mut datagram);
            if len == 0 {
                break;
            }
            self.put(&datagram[..len]);
        }
        let len = self.socket.recv(&mut datagram)?;
        Ok(match self.caller.take(&mut datagram[..len], now_us) {
            Taken::Bytes(bytes) => Some(bytes.to_vec()),
            _ => None,
        })
    }
}

fn random() -> Result<Random> {
    let mut random = Random::default();
    getrandom::fill(&mut random).map_err(Error::other)?;
    Ok(random)
}

/// Microseconds since 1970.
fn clock_us() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    let since = since.unwrap_or_default().as_micros();
    u64::try_from(since).unwrap_or(u64::MAX)
}

impl Way for Network {
    fn look(&mut self, now_us: u64) -> Looked {
        if self.ends.load(Ordering::Relaxed) {
            return Looked::Gone;
        }
        // That nobody listens, and that nothing came, are the same.
        let came = self.exchange(now_us).ok().flatten();
        came.map_or(Looked::Nothing, Looked::Datagram)
    }

    fn next_host(&mut self) -> bool {
        false
    }

    fn is_open(&self) -> bool {
        self.caller.is_connected()
    }

    fn send(&mut self, bytes: &[u8], now_us: u64) {
        let mut datagram = [0; DATAGRAM_BYTES];
        if let Ok(random) = random() {
            let len = self.caller.seal(bytes, now_us, &random, &mut datagram);
            self.put(&datagram[..len]);
        }
    }

    fn datagram_bytes(&self) -> Option<usize> {
        Some(ROOM_BYTES)
    }
}
