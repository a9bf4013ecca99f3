//! What is between the core and its host here: the host's end of the link in the same program, so that whoever plays the
//! host deals with messages.

use debuggee_driver::port::{HostTransport, Owned};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use wire_protocol::address::GuestVirtual;
use wire_protocol::codec::Writer;
use wire_protocol::link::{Incoming, Link, Role, Storage, Timing};
use wire_protocol::packet::Request;
use wire_protocol::transport::Transport;

/// The core sees no more of the line at once.
const ROOM_BYTES: usize = 64;

/// What the core says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Heard {
    /// It agreed to a session.
    Connected,
    /// A message.
    Message(Vec<u8>),
}

/// Who plays the host.
pub trait Host: Send + 'static {
    /// The core looks at its line: the time to say something.
    fn look(&mut self, end: &mut HostEnd);
    /// The core said something.
    fn hear(&mut self, heard: Heard);
    /// How long the core is to wait until it looks again.
    fn rest(&self) -> Option<Duration> {
        None
    }
}

/// The host, which several threads deal with.
pub(super) fn lock<H>(host: &Mutex<H>) -> MutexGuard<'_, H> {
    host.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The host's end of the link.
pub struct HostEnd {
    link: Link<'static>,
    now_us: u64,
}

/// A link that lives as long as the program; a machine's core does so, too.
pub(super) fn link(role: Role, timing: Timing) -> Link<'static> {
    let memory = Box::leak(vec![0; Storage::BYTES].into_boxed_slice());
    let storage = Storage::carve(memory).expect("as much as is asked for");
    Link::new(role, storage, timing)
}

/// Of a line that loses nothing.
pub(super) const fn reliable(ack_delay_us: u64) -> Timing {
    Timing {
        retry_us: 1_000_000,
        ack_delay_us,
        answer_us: 500_000,
        byte_time_ns: 0,
    }
}

/// What lets a core go.
pub(super) fn go() -> Vec<u8> {
    let mut bytes = [0; 16];
    let mut out = Writer::new(&mut bytes);
    let written = Request::Go.encode(0, GuestVirtual(0), &mut out);
    written.map_or_else(|_| Vec::new(), |()| out.written().to_vec())
}

impl HostEnd {
    /// Proposes a session.
    pub fn connect(&mut self, nonce: u32) {
        self.link.connect(nonce);
    }

    /// Asks for a halt.
    pub fn break_in(&mut self) {
        self.link.break_in();
    }

    /// Sends a message. False if there is no session, or no room.
    pub fn send(&mut self, message: &[u8]) -> bool {
        self.link.send(message).is_ok()
    }

    /// Whether the core has taken all that was said.
    pub fn is_idle(&self) -> bool {
        self.link.is_idle()
    }
}

/// See the module.
pub struct InnerLine<H> {
    end: HostEnd,
    host: Arc<Mutex<H>>,
}

impl<H> InnerLine<H> {
    pub(super) fn new(host: Arc<Mutex<H>>) -> Self {
        // Nothing is won by waiting where nothing is lost.
        let link = link(Role::Initiator, reliable(0));
        Self {
            end: HostEnd { link, now_us: 0 },
            host,
        }
    }
}

impl<H: Host> Transport for InnerLine<H> {
    fn receive(&mut self, into: &mut [u8]) -> usize {
        self.end.now_us += 1;
        let mut host = lock(&self.host);
        host.look(&mut self.end);
        let rest = host.rest();
        drop(host);
        if let Some(rest) = rest {
            std::thread::sleep(rest);
        }
        self.end.link.pull_into(into, self.end.now_us)
    }

    fn room(&mut self) -> usize {
        ROOM_BYTES
    }

    fn send(&mut self, from: &[u8]) {
        let link = &mut self.end.link;
        for byte in from {
            let heard = match link.push(*byte, self.end.now_us) {
                Some(Incoming::Message) => {
                    let message = link.message().to_vec();
                    link.release();
                    Heard::Message(message)
                }
                Some(Incoming::Connected) => Heard::Connected,
                Some(Incoming::BreakIn | Incoming::Busy | Incoming::TakenOver) | None => continue,
            };
            lock(&self.host).hear(heard);
        }
    }

    fn byte_time_ns(&self) -> u32 {
        0
    }
}

impl<H: Host> HostTransport for InnerLine<H> {
    fn owns(&self) -> Owned {
        Owned::default()
    }

    fn begin(&mut self) {}

    fn mend(&mut self) {}
}
