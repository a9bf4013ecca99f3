//! The driver's end of the line: the device, the link over it, and memory for messages.
//!
//! Used in VMX-root by one core at a time: the one that polls while the guest runs, or the one
//! that serves a halt.

use crate::messages::Ring;
use crate::port::HostTransport;
use wire_protocol::address::{CoreId, GuestVirtual};
use wire_protocol::codec::Writer;
use wire_protocol::limits;
use wire_protocol::link::{Incoming, Link, Role, SendError, Storage, Timing};
use wire_protocol::packet::{NetworkCounts, Notice};
use wire_protocol::transport::Transport;

/// Bytes taken from the transport at once, so that a turn is bounded.
const CHUNK_BYTES: usize = 64;
/// Bytes given to it at once: a datagram, where it moves those, and then as many are taken at once, too.
const SENT_BYTES: usize = 1400;

/// Timing of the driver's end: it repeats a frame patiently, and leaves acknowledging to its replies.
/// An emulated debuggee's clock may run many times faster than the host's, hence the patience.
const RETRY_US: u64 = 600_000;
const ACK_DELAY_US: u64 = 50_000;
/// A host that is asked three times whether it is there has so long for each answer.
const ANSWER_US: u64 = 500_000;
/// The slowest line sends what a transmitter holds within this; one that does not is not waited for.
const SENT_US: u64 = 1_000_000;

/// Memory for what is sent.
pub struct Buffers {
    /// A whole message.
    pub message: &'static mut [u8; limits::MESSAGE_BYTES],
    /// Lists and memory contents, while a reply is made of them.
    pub lists: &'static mut [u8],
}

/// See the module.
pub struct Line<T: Transport> {
    transport: T,
    link: Link<'static>,
    arrived: Chunk,
    /// What leaves right now, or a datagram that comes.
    passing: [u8; SENT_BYTES],
    /// How many bytes go in a datagram, on the way that the transport goes now.
    datagram_bytes: Option<usize>,
    /// Since when the rate is to be another one.
    rate_due_us: Option<u64>,
    /// See [`Buffers`].
    pub buffers: Buffers,
    /// Context of addresses: the kernel base once the handshake is over, 0 before.
    pub base: GuestVirtual,
}

/// Bytes that came together. What stands behind a message waits until that was dealt with.
struct Chunk {
    bytes: [u8; CHUNK_BYTES],
    at: usize,
    len: usize,
}

impl Chunk {
    const EMPTY: Self = Self {
        bytes: [0; CHUNK_BYTES],
        at: 0,
        len: 0,
    };

    /// Asks the transport for more once all bytes are used.
    fn refill(&mut self, transport: &mut impl Transport) {
        if self.at >= self.len {
            self.len = transport.receive(&mut self.bytes);
            self.at = 0;
        }
    }

    fn next(&mut self) -> Option<u8> {
        let arrived = self.bytes.get(..self.len)?;
        let byte = *arrived.get(self.at)?;
        self.at += 1;
        Some(byte)
    }
}

fn timing_of(transport: &impl Transport) -> Timing {
    match transport.datagram_bytes() {
        Some(_) => Timing::NETWORK,
        None => Timing {
            retry_us: RETRY_US,
            ack_delay_us: ACK_DELAY_US,
            answer_us: ANSWER_US,
            byte_time_ns: transport.byte_time_ns(),
        },
    }
}

impl<T: Transport> Line<T> {
    /// A line over a transport that is set up.
    pub fn new(transport: T, storage: Storage<'static>, buffers: Buffers) -> Self {
        let datagram_bytes = transport.datagram_bytes();
        let mut link = Link::new(Role::Responder, storage, timing_of(&transport));
        if let Some(room_bytes) = datagram_bytes {
            link.use_datagrams(room_bytes.min(SENT_BYTES));
        }
        if let Some(rates) = transport.rates() {
            link.use_rates(rates);
        }
        Self {
            transport,
            arrived: Chunk::EMPTY,
            passing: [0; SENT_BYTES],
            datagram_bytes,
            rate_due_us: None,
            link,
            buffers,
            base: GuestVirtual(0),
        }
    }

    /// Moves bytes in both directions, as many as the transport has and takes right now, until
    /// something came in.
    pub fn turn(&mut self, now_us: u64) -> Option<Incoming> {
        self.transport.turn(now_us);
        self.follow_transport();
        self.transmit(now_us);
        let incoming = self.take(now_us);
        if incoming == Some(Incoming::Connected) {
            self.base = GuestVirtual(0);
        }
        incoming
    }

    /// Bytes up to and with the first that brings something about, or one datagram.
    fn take(&mut self, now_us: u64) -> Option<Incoming> {
        if self.datagram_bytes.is_some() {
            let count = self.transport.receive(&mut self.passing);
            let datagram = self.passing.get(..count).filter(|it| !it.is_empty())?;
            return self.link.take(datagram, now_us);
        }
        self.arrived.refill(&mut self.transport);
        while let Some(byte) = self.arrived.next() {
            let incoming = self.link.push(byte, now_us);
            if incoming.is_some() {
                return incoming;
            }
        }
        None
    }

    /// The transport may go another way from one turn to the next.
    fn follow_transport(&mut self) {
        let datagram_bytes = self.transport.datagram_bytes();
        if datagram_bytes == self.datagram_bytes {
            return;
        }
        self.datagram_bytes = datagram_bytes;
        self.arrived = Chunk::EMPTY;
        let room_bytes = datagram_bytes.map(|room_bytes| room_bytes.min(SENT_BYTES));
        self.link.go_by(timing_of(&self.transport), room_bytes);
    }

    /// Gives the transport what it takes; false once there is nothing left to send.
    pub fn transmit(&mut self, now_us: u64) -> bool {
        self.change_rate(now_us);
        let room = self.transport.room().min(SENT_BYTES);
        let taken = self.passing.get_mut(..room).unwrap_or_default();
        let count = self.link.pull_into(taken, now_us);
        self.transport.send(taken.get(..count).unwrap_or_default());
        // A datagram ends with its frame.
        count == room || count > 0 && self.datagram_bytes.is_some()
    }

    /// Changes the rate if that is due, once the transmitter is empty; it is not waited for here.
    fn change_rate(&mut self, now_us: u64) {
        let Some(baud_hz) = self.link.wanted_rate() else {
            return;
        };
        let due_us = *self.rate_due_us.get_or_insert(now_us);
        if self.transport.is_sent() || now_us.saturating_sub(due_us) >= SENT_US {
            self.rate_due_us = None;
            self.transport.set_rate(baud_hz);
            let rates = self.transport.rates();
            let baud_hz = rates.map_or(0, |rates| rates.baud_hz);
            self.link.rate_is(baud_hz, now_us);
        }
    }

    /// Bytes of messages that are not acknowledged yet.
    pub fn queued_bytes(&self) -> usize {
        self.link.queued_bytes()
    }

    /// Whether a host has shaken hands. Before, nothing is sent to it, and it wants nothing.
    pub const fn is_in_session(&self) -> bool {
        self.base.0 != 0
    }

    /// Tells a host that may be waiting that there is a driver, which knows of no session.
    pub fn greet(&mut self) {
        self.link.break_in();
    }

    /// The message that [`Incoming::Message`] announced, with the memory for its answer.
    pub fn received(&mut self) -> (&[u8], &mut Buffers) {
        (self.link.message(), &mut self.buffers)
    }

    /// The message was dealt with.
    pub fn release(&mut self) {
        self.link.release();
    }

    /// Queues the oldest records of a core, as many as one batch holds; false if there are none or
    /// nobody takes them.
    pub fn send_messages(&mut self, core: CoreId, ring: &Ring<'_>) -> bool {
        let Self {
            link,
            buffers: Buffers { message, lists },
            base,
            ..
        } = self;
        ring.send_batch(core, lists, |messages| {
            let mut out = Writer::new(&mut message[..]);
            Notice::Messages(messages).encode(*base, &mut out).is_ok()
                && link.send(out.written()).is_ok()
        })
    }

    /// Queues a notice. What it says may stand in the memory for lists. False if nobody is there
    /// or lags behind: then it is dropped. (That it can't be written, the limits rule out.)
    pub fn send_notice(&mut self, make: impl for<'l> FnOnce(&'l mut [u8]) -> Notice<'l>) -> bool {
        let Buffers { message, lists } = &mut self.buffers;
        let mut out = Writer::new(&mut message[..]);
        make(lists).encode(self.base, &mut out).is_ok() && self.link.send(out.written()).is_ok()
    }

    /// Queues a notice that stands elsewhere. False as with [`Self::send_notice`].
    pub fn send_made(&mut self, notice: Notice<'_>) -> bool {
        let mut out = Writer::new(&mut self.buffers.message[..]);
        notice.encode(self.base, &mut out).is_ok() && self.link.send(out.written()).is_ok()
    }

    /// Queues the first `len_bytes` of the message buffer, a reply.
    ///
    /// # Errors
    /// No host is there, or it lags behind: the message is dropped.
    pub fn send_reply(&mut self, len_bytes: usize) -> Result<(), SendError> {
        let message = self.buffers.message.get(..len_bytes).unwrap_or(&[]);
        self.link.send(message)
    }
}

impl<T: HostTransport> Line<T> {
    /// The device is the driver's alone from now on.
    pub fn begin(&mut self) {
        self.transport.begin();
    }

    /// Looks whether the device is still as it was set up.
    pub fn mend(&mut self) {
        self.transport.mend();
    }

    /// Nothing is on its way to the host, and nothing becomes due with time.
    pub fn is_idle(&self) -> bool {
        self.link.is_idle() && self.link.next_deadline_us().is_none()
    }

    /// What calls the core that serves a halt; see [`HostTransport`].
    pub const fn device(&mut self) -> &mut T {
        &mut self.transport
    }

    /// How it stands with the network, if there is one.
    pub fn network(&self) -> Option<NetworkCounts> {
        self.transport.network()
    }

    /// Takes random bits of the operating system.
    pub fn stir(&mut self, bits: u64) {
        self.transport.stir(bits);
    }
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;
    use crate::fake::{Faulty, Recorded, Wire};
    use std::boxed::Box;
    use std::vec;
    use std::vec::Vec;
    use wire_protocol::packet::{Reply, Request};

    type Decorated = Recorded<Faulty<Wire>>;

    fn line(transport: Decorated) -> Line<Decorated> {
        let forever = |len_bytes: usize| Box::leak(vec![0; len_bytes].into_boxed_slice());
        let buffers = Buffers {
            message: forever(limits::MESSAGE_BYTES).first_chunk_mut().unwrap(),
            lists: forever(64),
        };
        let storage = Storage::carve(forever(Storage::BYTES)).unwrap();
        Line::new(transport, storage, buffers)
    }

    fn host() -> Link<'static> {
        let memory = Box::leak(vec![0; Storage::BYTES].into_boxed_slice());
        let timing = Timing {
            retry_us: 10_000,
            ack_delay_us: 1000,
            answer_us: ANSWER_US,
            byte_time_ns: 0,
        };
        Link::new(Role::Initiator, Storage::carve(memory).unwrap(), timing)
    }

    /// Asks `count` times and gives the answers; the line works on in between.
    fn ask(line: &mut Line<Decorated>, host: &mut Link<'_>, count: u8) -> Vec<Vec<u8>> {
        host.connect(7);
        let (mut asked, mut answers) = (0, Vec::new());
        for now_us in (0..60_000_000).step_by(1000) {
            if answers.len() == usize::from(count) {
                break;
            }
            if asked == answers.len() && asked < usize::from(count) {
                let mut buffer = [0; 16];
                let mut out = Writer::new(&mut buffer);
                let id = asked as u8;
                Request::Pools
                    .encode(id, GuestVirtual(0), &mut out)
                    .unwrap();
                host.send(out.written()).unwrap();
                asked += 1;
            }
            while let Some(byte) = host.pull(now_us) {
                line.transport.inner.inner.arriving.push_back(byte);
            }
            if line.turn(now_us) == Some(Incoming::Message) {
                let (message, buffers) = line.received();
                let (id, request) = Request::decode(message, GuestVirtual(0)).unwrap();
                assert_eq!(request, Request::Pools);
                let len_bytes = Reply::Done.encode_or_refuse(id, GuestVirtual(0), buffers.message);
                line.release();
                line.send_reply(len_bytes).unwrap();
            }
            line.transmit(now_us);
            for byte in line.transport.inner.inner.sent.drain(..) {
                if host.push(byte, now_us) == Some(Incoming::Message) {
                    answers.push(host.message().to_vec());
                    host.release();
                }
            }
        }
        answers
    }

    #[test]
    fn whatever_stands_around_the_transport_every_request_is_answered_once() {
        for one_in in [0, 40] {
            let wire = Wire::default();
            let mut line = line(Recorded::new(Faulty::new(wire, one_in)));
            let count = if cfg!(miri) { 2 } else { 12 };
            let answers = ask(&mut line, &mut host(), count);
            let expected: Vec<Vec<u8>> = (0..count).map(|id| vec![0x01, id]).collect();
            assert_eq!(answers, expected, "one byte in {one_in} is damaged");
            let Recorded { inner, record } = &line.transport;
            assert_eq!(inner.damaged > 0, one_in > 0);
            // Both directions went by, in pieces that say which way.
            assert!(record.iter().any(|piece| piece.is_sent));
            assert!(record.iter().any(|piece| !piece.is_sent));
        }
    }

    #[test]
    fn what_came_behind_a_message_waits_for_it() {
        let mut line = line(Recorded::new(Faulty::new(Wire::default(), 0)));
        let mut host = host();
        assert_eq!(ask(&mut line, &mut host, 1).len(), 1);
        host.send(&[0x51, 1]).unwrap();
        let now_us = 100_000_000;
        while let Some(byte) = host.pull(now_us) {
            line.transport.inner.inner.arriving.push_back(byte);
        }
        line.transport
            .inner
            .inner
            .arriving
            .extend(wire_protocol::frame::BREAK_IN);
        assert_eq!(line.turn(now_us), Some(Incoming::Message));
        assert_eq!(line.received().0, [0x51, 1]);
        line.release();
        assert_eq!(line.turn(now_us), Some(Incoming::BreakIn));
    }
}
