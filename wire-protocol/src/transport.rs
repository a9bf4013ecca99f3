//! Where bytes come from and go to: the driver's UART, another device, or one of these with
//! something around it that records what goes by, or damages it.

/// What a transport has that runs at a rate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rates {
    /// The rate that it is at.
    pub baud_hz: u32,
    /// What its UART makes rates of; the responder's alone counts.
    pub clock_hz: u32,
    /// It is not to leave this rate.
    pub is_fixed: bool,
}

/// Moves chunks of bytes, and knows nothing of what they mean. No call waits.
///
/// A line that is gone for good behaves like a quiet one: it gives nothing and takes nothing. A
/// transport that can tell says so on its own type.
pub trait Transport {
    /// The time, at each turn: for what is due besides the bytes that others send.
    fn turn(&mut self, _now_us: u64) {}

    /// How many bytes go in one datagram, where it moves those: what is sent at once goes in one.
    fn datagram_bytes(&self) -> Option<usize> {
        None
    }

    /// Bytes that have arrived, into the front of `into`; returns how many. 0 if there is none. Where it moves datagrams, what
    /// came in one, and no more.
    fn receive(&mut self, into: &mut [u8]) -> usize;

    /// How many bytes [`Self::send`] takes now.
    fn room(&mut self) -> usize;

    /// Takes bytes: at most as many as there was room for when last asked, or the rest is lost.
    fn send(&mut self, from: &[u8]);

    /// Time that a byte takes: 86,806 at 115,200 baud, 0 on a network.
    fn byte_time_ns(&self) -> u32;

    /// The rate that it runs at, if it does, and what it makes others of.
    fn rates(&self) -> Option<Rates> {
        None
    }

    /// All that was sent is on the line. Where there is no rate nobody asks.
    fn is_sent(&mut self) -> bool {
        true
    }

    /// Runs at this rate from now on, if it can. What was not sent yet is lost, or sent at a rate between.
    fn set_rate(&mut self, _baud_hz: u32) {}
}
