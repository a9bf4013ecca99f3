//! Ways to reach the debuggee: a serial line, a Unix socket, a Windows named pipe. Opened, and
//! opened again after a loss, by the link thread of [`crate::session`].

mod pipe;
mod serial;
mod socket;

use std::fmt;
use std::io::{Read, Write};
use std::path::PathBuf;

/// Where the debuggee is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Endpoint {
    /// A serial device.
    Serial {
        /// Its name.
        device: String,
        /// Symbols a second; 8 data bits, no parity, one stop bit.
        baud: u32,
    },
    /// A Unix socket, as emulators offer for their serial ports.
    Socket {
        /// Its path.
        path: PathBuf,
    },
    /// A Windows named pipe.
    Pipe {
        /// Its name, with or without `\\.\pipe\`.
        name: String,
    },
}

/// Both directions of an open line. Reading and writing happen on different threads.
pub struct Line {
    /// From the debuggee. It may time out every now and then, which means nothing.
    pub reader: Box<dyn Read + Send>,
    /// To the debuggee.
    pub writer: Box<dyn Write + Send>,
}

impl Endpoint {
    /// Opens the line.
    ///
    /// # Errors
    /// What the operating system says.
    pub fn open(&self) -> std::io::Result<Line> {
        match self {
            Self::Serial { device, baud } => serial::open(device, *baud),
            Self::Socket { path } => socket::open(path),
            Self::Pipe { name } => pipe::open(name),
        }
    }

    /// Time that one byte takes on the line; 0 where it does not matter.
    #[must_use]
    pub const fn byte_time_ns(&self) -> u32 {
        match self {
            // Start bit, eight data bits, stop bit.
            Self::Serial { baud, .. } if *baud > 0 => (10_000_000_000_u64 / *baud as u64) as u32,
            _ => 0,
        }
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Serial { device, baud } => write!(f, "serial line {device} at {baud} baud"),
            Self::Socket { path } => write!(f, "socket {}", path.display()),
            Self::Pipe { name } => write!(f, "pipe {name}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_byte_takes_ten_bits_of_a_serial_line() {
        let endpoint = Endpoint::Serial {
            device: String::new(),
            baud: 115_200,
        };
        assert_eq!(endpoint.byte_time_ns(), 86_805);
    }
}
