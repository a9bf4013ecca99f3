//! A socket with the link over it, for whoever stands between a host and a debuggee.

use super::line::{link, reliable};
use std::io::{self, ErrorKind, Read, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::time::Instant;
use wire_protocol::link::{Incoming, Link, Role};

/// An acknowledgement waits so long for a reply that carries it.
const ACK_DELAY_US: u64 = 3_000;

/// What came in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Came {
    /// A session began.
    Connected,
    /// The host wants a halt.
    BreakIn,
    /// A message.
    Message(Vec<u8>),
}

/// See the module.
pub(super) struct Wire {
    stream: UnixStream,
    pub(super) link: Link<'static>,
    started: Instant,
    /// What did not go out yet.
    rest: Vec<u8>,
}

impl Wire {
    pub(super) fn new(stream: UnixStream, role: Role) -> io::Result<Self> {
        stream.set_nonblocking(true)?;
        Ok(Self {
            stream,
            link: link(role, reliable(ACK_DELAY_US)),
            started: Instant::now(),
            rest: Vec::new(),
        })
    }

    /// Hangs up.
    pub(super) fn hang_up(&self) -> io::Result<()> {
        self.stream.shutdown(Shutdown::Both)
    }

    /// The other end has come again; the session goes on.
    pub(super) fn reopen(&mut self, stream: UnixStream) -> io::Result<()> {
        stream.set_nonblocking(true)?;
        self.stream = stream;
        self.rest.clear();
        Ok(())
    }

    /// Sends what is to be sent and gives what came in. `None` at the other end's end.
    pub(super) fn turn(&mut self) -> io::Result<Option<Vec<Came>>> {
        let now_us = u64::try_from(self.started.elapsed().as_micros()).unwrap_or(u64::MAX);
        let mut came = Vec::new();
        let mut bytes = [0; 4096];
        loop {
            match self.stream.read(&mut bytes) {
                Ok(0) => return Ok(None),
                Ok(count) => came.extend(bytes[..count].iter().filter_map(|byte| {
                    Some(match self.link.push(*byte, now_us)? {
                        Incoming::Message => {
                            let message = self.link.message().to_vec();
                            self.link.release();
                            Came::Message(message)
                        }
                        Incoming::Connected => Came::Connected,
                        Incoming::BreakIn => Came::BreakIn,
                        Incoming::Busy | Incoming::TakenOver => return None,
                    })
                })),
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) => return Err(error),
            }
        }
        loop {
            if self.rest.is_empty() {
                let count = self.link.pull_into(&mut bytes, now_us);
                self.rest.extend(&bytes[..count]);
            }
            if self.rest.is_empty() {
                return Ok(Some(came));
            }
            match self.stream.write(&self.rest) {
                Ok(count) => drop(self.rest.drain(..count)),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(Some(came)),
                Err(error) => return Err(error),
            }
        }
    }
}
