//! The driver's end of the line: the device, the link over it, and memory for messages.
//!
//! Used in VMX-root by one core at a time: the one that polls while the guest runs, or the one
//! that serves a halt.

use crate::messages::Ring;
use crate::port::RegisterIo;
use crate::transport::uart16550::Uart;
use wire_protocol::address::{CoreId, GuestVirtual};
use wire_protocol::codec::Writer;
use wire_protocol::limits;
use wire_protocol::link::{Incoming, Link, Role, SendError, Storage, Timing};
use wire_protocol::packet::Notice;

/// Bytes taken from the device in one turn, so that a turn is bounded.
const TURN_BYTES: usize = 64;

/// Timing of the driver's end: it repeats a frame patiently, and leaves acknowledging to its replies.
/// An emulated debuggee's clock may run many times faster than the host's, hence the patience.
const RETRY_US: u64 = 600_000;
const ACK_DELAY_US: u64 = 50_000;
/// Start bit, eight data bits, stop bit.
const BITS_PER_BYTE: u64 = 10;

/// Memory for what is sent.
pub struct Buffers {
    /// A whole message.
    pub message: &'static mut [u8; limits::MESSAGE_BYTES],
    /// Lists and memory contents, while a reply is made of them.
    pub lists: &'static mut [u8],
}

/// See the module.
pub struct Line<D: RegisterIo> {
    uart: Uart<D>,
    link: Link<'static>,
    /// See [`Buffers`].
    pub buffers: Buffers,
    /// Context of addresses: the kernel base once the handshake is over, 0 before.
    pub base: GuestVirtual,
}

impl<D: RegisterIo> Line<D> {
    /// A line over a device that is set up.
    pub fn new(uart: Uart<D>, storage: Storage<'static>, buffers: Buffers, baud_hz: u32) -> Self {
        let byte_time_ns = (BITS_PER_BYTE * 1_000_000_000 / u64::from(baud_hz.max(1))) as u32;
        let timing = Timing {
            retry_us: RETRY_US,
            ack_delay_us: ACK_DELAY_US,
            byte_time_ns,
        };
        Self {
            uart,
            link: Link::new(Role::Responder, storage, timing),
            buffers,
            base: GuestVirtual(0),
        }
    }

    /// Moves bytes in both directions, as many as the device has and takes right now, until
    /// something came in.
    pub fn turn(&mut self, now_us: u64) -> Option<Incoming> {
        self.transmit(now_us);
        for _ in 0..TURN_BYTES {
            let byte = self.uart.receive()?;
            if let Some(incoming) = self.link.push(byte, now_us) {
                if incoming == Incoming::Connected {
                    self.base = GuestVirtual(0);
                }
                return Some(incoming);
            }
        }
        None
    }

    /// Gives the device what it takes; false once there is nothing left to send.
    pub fn transmit(&mut self, now_us: u64) -> bool {
        for _ in 0..self.uart.room() {
            let Some(byte) = self.link.pull(now_us) else {
                return false;
            };
            self.uart.send(byte);
        }
        true
    }

    /// Bytes of messages that are not acknowledged yet.
    pub fn queued_bytes(&self) -> usize {
        self.link.queued_bytes()
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

    /// Queues the first `len_bytes` of the message buffer, a reply.
    ///
    /// # Errors
    /// No host is there, or it lags behind: the message is dropped.
    pub fn send_reply(&mut self, len_bytes: usize) -> Result<(), SendError> {
        let message = self.buffers.message.get(..len_bytes).unwrap_or(&[]);
        self.link.send(message)
    }
}
