//! Ways to reach the debuggee: a serial device, a Unix socket, TCP, a Windows named pipe of either end, a network. Each is one file
//! behind [`Transport`]. Opened, and opened again after a loss, by the link thread of [`crate::session`].

mod net;
#[cfg(windows)]
mod overlapped;
mod pipe;
mod pipe_server;
mod serial;
mod socket;
mod tcp;

use crate::dropped::DropNews;
pub use net::{NetKey, NetKeyError, listen_address, new_key};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::io::{Error, ErrorKind, Read, Result, Write};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;
use wire_protocol::link::Rates;
use wire_protocol::secure::Dropped;

/// No read and no write waits longer: the threads look this often whether they are wanted.
const PATIENCE: Duration = Duration::from_millis(200);

/// Where the debuggee is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Endpoint {
    /// A serial device.
    Serial {
        /// Its name.
        device: String,
        /// Symbols a second at first; 8 data bits, no parity, one stop bit.
        baud: u32,
        /// And as long as the line is open, though it may carry more.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        baud_fixed: bool,
    },
    /// A Unix socket, as emulators offer for their serial ports.
    Socket {
        /// Its path.
        path: PathBuf,
    },
    /// A TCP server: an emulator, or one that has serial ports.
    Tcp {
        /// `HOST:PORT`
        address: String,
    },
    /// A Windows named pipe that another program serves.
    Pipe {
        /// Its name, with or without `\\.\pipe\`.
        name: String,
    },
    /// A Windows named pipe that this program serves.
    PipeServer {
        /// Its name, with or without `\\.\pipe\`.
        name: String,
    },
    /// A debuggee on the network, which calls.
    Net {
        /// Where it is listened for, by UDP.
        address: SocketAddr,
        /// The key that it has, too.
        key: NetKey,
    },
}

/// Both directions of an open line. Reading and writing happen on different threads.
pub struct Line {
    /// From the debuggee. It may time out every now and then, which means nothing.
    pub reader: Box<dyn Read + Send>,
    /// To the debuggee. It may time out, too.
    pub writer: Box<dyn Write + Send>,
    /// What its rate is changed by, if it has one.
    pub port: Option<Box<dyn Port>>,
}

impl Line {
    /// A line without a rate.
    fn without_rate(
        reader: impl Read + Send + 'static,
        writer: impl Write + Send + 'static,
    ) -> Self {
        Self {
            reader: Box::new(reader),
            writer: Box::new(writer),
            port: None,
        }
    }
}

/// An open line that runs at a rate.
pub trait Port: Send {
    /// Runs at this rate from now on, once all that was written has left.
    ///
    /// # Errors
    /// What the operating system says; the rate is the one before.
    fn set_baud(&mut self, baud: u32) -> Result<()>;
}

/// One way to reach the debuggee.
pub trait Transport: Send {
    /// Tries to open the line, and does not wait until it can be: whoever calls tries again.
    ///
    /// # Errors
    /// What the operating system says. Whether trying again makes sense, [`is_final`] knows.
    fn open(&mut self) -> Result<Line>;

    /// The rate at which it is opened, if it has one.
    fn rates(&self) -> Option<Rates> {
        None
    }

    /// How many bytes go in one datagram, where it moves those: what is written at once goes in one.
    fn datagram_bytes(&self) -> Option<usize> {
        None
    }

    /// Datagrams that changed nothing, by the reason.
    fn dropped(&self) -> Dropped {
        Dropped::default()
    }

    /// What a user should know of them, and was not told.
    fn news(&mut self) -> Option<DropNews> {
        None
    }
}

impl Endpoint {
    /// As recordings have it.
    #[must_use]
    pub(crate) fn to_json(&self) -> String {
        serde_json::to_string(self).unwrap_or_else(|_| {
            // A path that is no Unicode has no form there.
            let path = PathBuf::from(self.to_string());
            serde_json::to_string(&Self::Socket { path }).unwrap_or_default()
        })
    }

    /// The way there.
    #[must_use]
    pub fn transport(&self) -> Box<dyn Transport> {
        match self.clone() {
            Self::Serial {
                device,
                baud,
                baud_fixed,
            } => Box::new(serial::Serial {
                device,
                baud,
                baud_fixed,
            }),
            Self::Socket { path } => Box::new(socket::Socket { path }),
            Self::Tcp { address } => Box::new(tcp::Tcp { address }),
            Self::Pipe { name } => Box::new(pipe::Pipe { name }),
            Self::PipeServer { name } => Box::new(pipe_server::PipeServer::new(name)),
            Self::Net { address, key } => Box::new(net::Net::new(address, key)),
        }
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Serial { device, baud, .. } => write!(f, "serial line {device} at {baud} baud"),
            Self::Socket { path } => write!(f, "socket {}", path.display()),
            Self::Tcp { address } => write!(f, "tcp {address}"),
            Self::Pipe { name } => write!(f, "pipe {name}"),
            Self::PipeServer { name } => write!(f, "pipe {name}, served here"),
            Self::Net { address, key } => write!(f, "network port {address}, key {}", key.id),
        }
    }
}

/// Whether an error says that what was asked for can never be opened; else the other end may only not be there yet.
#[must_use]
pub fn is_final(error: &Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::InvalidInput
            | ErrorKind::IsADirectory
            | ErrorKind::NotADirectory
            | ErrorKind::PermissionDenied
            | ErrorKind::Unsupported
    )
}

/// What was asked for makes no sense.
fn senseless(why: impl Into<String>) -> Error {
    Error::new(ErrorKind::InvalidInput, why.into())
}
