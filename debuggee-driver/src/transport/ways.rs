//! The ways to the host that a debuggee has: a serial line, a network, or both. With both the network is used as long as a host
//! answers there, and else the serial line.
//!
//! In VMX-root, by the core that has the line; pure but for what is passed in.

use crate::port::{HostTransport, Owned};
use wire_protocol::link::Rates;
use wire_protocol::transport::Transport;

/// A way that can tell whether a host is at its other end.
pub trait Answered {
    /// One is.
    fn is_answered(&self) -> bool;
}

/// See the module.
pub enum Ways<S, N> {
    /// A serial line alone.
    Serial(S),
    /// A network alone.
    Network(N),
    /// Both.
    Both {
        /// For when nobody answers on the network.
        serial: S,
        /// The better way.
        network: N,
    },
}

/// The one that is used now.
enum Used<S, N> {
    Serial(S),
    Network(N),
}

impl<S: HostTransport, N: HostTransport + Answered> Ways<S, N> {
    fn used(&self) -> Used<&S, &N> {
        match self {
            Self::Serial(serial) => Used::Serial(serial),
            Self::Network(network) => Used::Network(network),
            Self::Both { serial, network } => match network.is_answered() {
                true => Used::Network(network),
                false => Used::Serial(serial),
            },
        }
    }

    fn used_mut(&mut self) -> Used<&mut S, &mut N> {
        match self {
            Self::Serial(serial) => Used::Serial(serial),
            Self::Network(network) => Used::Network(network),
            Self::Both { serial, network } => match network.is_answered() {
                true => Used::Network(network),
                false => Used::Serial(serial),
            },
        }
    }

    fn both(&mut self) -> (Option<&mut S>, Option<&mut N>) {
        match self {
            Self::Serial(serial) => (Some(serial), None),
            Self::Network(network) => (None, Some(network)),
            Self::Both { serial, network } => (Some(serial), Some(network)),
        }
    }
}

/// The same of whichever way is used.
macro_rules! of_used {
    ($used:expr, $way:ident => $value:expr) => {
        match $used {
            Used::Serial($way) => $value,
            Used::Network($way) => $value,
        }
    };
}

impl<S: HostTransport, N: HostTransport + Answered> Transport for Ways<S, N> {
    fn turn(&mut self, now_us: u64) {
        let (serial, network) = self.both();
        if let Some(serial) = serial {
            serial.turn(now_us);
        }
        if let Some(network) = network {
            network.turn(now_us);
        }
    }

    fn datagram_bytes(&self) -> Option<usize> {
        of_used!(self.used(), way => way.datagram_bytes())
    }

    fn receive(&mut self, into: &mut [u8]) -> usize {
        of_used!(self.used_mut(), way => way.receive(into))
    }

    fn room(&mut self) -> usize {
        of_used!(self.used_mut(), way => way.room())
    }

    fn send(&mut self, from: &[u8]) {
        of_used!(self.used_mut(), way => way.send(from));
    }

    fn byte_time_ns(&self) -> u32 {
        of_used!(self.used(), way => way.byte_time_ns())
    }

    fn rates(&self) -> Option<Rates> {
        of_used!(self.used(), way => way.rates())
    }

    fn is_sent(&mut self) -> bool {
        of_used!(self.used_mut(), way => way.is_sent())
    }

    fn set_rate(&mut self, baud_hz: u32) {
        of_used!(self.used_mut(), way => way.set_rate(baud_hz));
    }
}

impl<S: HostTransport, N: HostTransport + Answered> HostTransport for Ways<S, N> {
    fn owns(&self) -> Owned {
        match self {
            Self::Serial(serial) => serial.owns(),
            Self::Network(network) => network.owns(),
            Self::Both { serial, network } => serial.owns().and(network.owns()),
        }
    }

    fn begin(&mut self) {
        let (serial, network) = self.both();
        if let Some(serial) = serial {
            serial.begin();
        }
        if let Some(network) = network {
            network.begin();
        }
    }

    fn mend(&mut self) {
        let (serial, network) = self.both();
        if let Some(serial) = serial {
            serial.mend();
        }
        if let Some(network) = network {
            network.mend();
        }
    }
}
