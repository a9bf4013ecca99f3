//! The ways to the host that a debuggee has: a serial line, a network, or both. With both the network is used as long as a host
//! answers there, and else the serial line.
//!
//! In VMX-root, by the core that has the line; pure but for what is passed in.

use crate::port::{Calls, HostTransport, Owned};
use wire_protocol::link::Rates;
use wire_protocol::packet::NetworkCounts;
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

/// The same of each way there is.
macro_rules! of_each {
    ($ways:expr, $way:ident => $work:expr) => {
        match $ways {
            Ways::Serial($way) => $work,
            Ways::Network($way) => $work,
            Ways::Both { serial, network } => {
                let $way = serial;
                $work;
                let $way = network;
                $work;
            }
        }
    };
}

impl<S: HostTransport, N: HostTransport + Answered> Transport for Ways<S, N> {
    fn turn(&mut self, now_us: u64) {
        of_each!(self, way => way.turn(now_us));
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
        of_each!(self, way => way.begin());
    }

    fn mend(&mut self) {
        of_each!(self, way => way.mend());
    }

    fn network(&self) -> Option<NetworkCounts> {
        match self {
            Self::Serial(_) => None,
            Self::Network(network) | Self::Both { network, .. } => network.network(),
        }
    }

    fn lead_calls(&mut self, apic_id: Option<u32>) -> bool {
        match self {
            Self::Serial(serial) => serial.lead_calls(apic_id),
            Self::Network(_) | Self::Both { .. } => false,
        }
    }

    fn set_calls(&mut self, calls: Calls) {
        if let Self::Serial(serial) = self {
            serial.set_calls(calls);
        }
    }

    fn has_come(&mut self) -> bool {
        match self {
            Self::Serial(serial) => serial.has_come(),
            Self::Network(_) | Self::Both { .. } => true,
        }
    }

    fn patience_ns(&self) -> u64 {
        match self {
            Self::Serial(serial) => serial.patience_ns(),
            Self::Network(_) | Self::Both { .. } => 0,
        }
    }

    fn stir(&mut self, bits: u64) {
        of_each!(self, way => way.stir(bits));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A way that notes what it was given.
    #[derive(Default)]
    struct Noted {
        is_answered: bool,
        datagram_bytes: Option<usize>,
        turns: u32,
        begun: u32,
        mended: u32,
        sent_bytes: usize,
    }

    impl Transport for Noted {
        fn turn(&mut self, _: u64) {
            self.turns += 1;
        }

        fn datagram_bytes(&self) -> Option<usize> {
            self.datagram_bytes
        }

        fn receive(&mut self, _: &mut [u8]) -> usize {
            0
        }

        fn room(&mut self) -> usize {
            8
        }

        fn send(&mut self, from: &[u8]) {
            self.sent_bytes += from.len();
        }

        fn byte_time_ns(&self) -> u32 {
            0
        }
    }

    impl Answered for Noted {
        fn is_answered(&self) -> bool {
            self.is_answered
        }
    }

    impl HostTransport for Noted {
        fn owns(&self) -> Owned {
            Owned::default()
        }

        fn begin(&mut self) {
            self.begun += 1;
        }

        fn mend(&mut self) {
            self.mended += 1;
        }
    }

    #[test]
    fn bytes_go_over_the_network_while_it_is_answered_and_both_are_looked_after() {
        let network = Noted {
            datagram_bytes: Some(1000),
            ..Noted::default()
        };
        let mut ways = Ways::Both {
            serial: Noted::default(),
            network,
        };
        for is_answered in [false, true, false] {
            if let Ways::Both { network, .. } = &mut ways {
                network.is_answered = is_answered;
            }
            ways.turn(1);
            ways.mend();
            ways.begin();
            ways.send(&[0; 3]);
            assert_eq!(ways.datagram_bytes().is_some(), is_answered);
        }
        let Ways::Both { serial, network } = ways else {
            return;
        };
        assert_eq!([serial.sent_bytes, network.sent_bytes], [6, 3]);
        for way in [serial, network] {
            assert_eq!([way.turns, way.begun, way.mended], [3; 3]);
        }
    }
}
