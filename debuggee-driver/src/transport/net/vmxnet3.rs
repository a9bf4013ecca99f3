//! VMware's own network card for virtual machines, in its first revision, polled, without interrupts.
//!
//! Source: the public description of registers and shared structures in Linux, `drivers/net/vmxnet3/vmxnet3_defs.h` and
//! `upt1_defs.h`; names in parentheses are those of there.

use super::card::{
    BUFFER_BYTES, Buffers, Card, CardIo, FRAME_BYTES, Mac, Macs, NOBODY, RECEIVE_COUNT,
    SECOND_WINDOW, SEND_COUNT, mac_halves, mac_in,
};

/// VMware, on the PCI bus.
pub const VENDOR: u16 = 0x15ad;
/// The card.
pub const DEVICES: [u16; 1] = [0x07b0];
/// The base address registers of its windows.
pub(super) const BARS: [Option<u8>; 2] = [Some(0), Some(1)];
/// As many bytes of them are used.
pub(super) const WINDOW_BYTES: [u32; 2] = [0x804, 0x34];

/// In the first window.
const INTERRUPT_MASK: u32 = 0x000;
const SEND_PRODUCER: u32 = 0x600;
const RECEIVE_PRODUCER: u32 = 0x800;
/// In the second.
const REVISION: u32 = SECOND_WINDOW;
const UPT_REVISION: u32 = SECOND_WINDOW + 0x08;
const SHARED_LOW: u32 = SECOND_WINDOW + 0x10;
const SHARED_HIGH: u32 = SECOND_WINDOW + 0x18;
const COMMAND: u32 = SECOND_WINDOW + 0x20;
const MAC_LOW: u32 = SECOND_WINDOW + 0x28;
const MAC_HIGH: u32 = SECOND_WINDOW + 0x30;

/// What the card is told to do (`VMXNET3_CMD_...`).
const ACTIVATE: u32 = 0xcafe_0000;
const QUIESCE: u32 = 0xcafe_0001;
const RESET: u32 = 0xcafe_0002;
const UPDATE_RECEIVE_MODE: u32 = 0xcafe_0003;
const GET_QUEUE_STATUS: u32 = 0xf00d_0000;

const FIRST_REVISION: u32 = 1;
/// Begins what is shared (`VMXNET3_REV1_MAGIC`).
const MAGIC: u64 = 0xbabe_fee1;
/// A system of 64 bits, of the kind that takes a frame in one buffer (`Vmxnet3_GOSInfo`).
const SYSTEM: u64 = 2 | 1 << 2;
const VERSION: u64 = 0x0001_0000;
const MTU: u64 = 1500;
const INTERRUPTS_OFF: u64 = 1;
/// Frames for its own address, and broadcasts.
const RECEIVE_MODE: u64 = 1 | 4;

const DESCRIPTOR_BYTES: usize = 16;
const _: () = assert!(FRAME_BYTES <= BUFFER_BYTES);
/// Where in the memory what is: what is shared (`Vmxnet3_DriverShared`), what it says of the queues (`Vmxnet3_TxQueueDesc`,
/// `Vmxnet3_RxQueueDesc`), and rings, which begin at multiples of 512.
const SHARED: usize = 0;
const SHARED_BYTES: usize = 720;
const QUEUES: usize = 1024;
const QUEUE_BYTES: usize = 256;
const SEND_QUEUE: usize = QUEUES;
const RECEIVE_QUEUE: usize = QUEUES + QUEUE_BYTES;
const SEND_RING: usize = 1536;
const SENT_RING: usize = SEND_RING + SEND_COUNT * DESCRIPTOR_BYTES;
const RECEIVE_RING: usize = SENT_RING + SEND_COUNT * DESCRIPTOR_BYTES;
const RECEIVED_RING: usize = RECEIVE_RING + RECEIVE_COUNT * DESCRIPTOR_BYTES;
const RINGS_END: usize = RECEIVED_RING + RECEIVE_COUNT * DESCRIPTOR_BYTES;
const BUFFERS_AT: usize = 8192;
const BUFFERS: Buffers = Buffers::at(BUFFERS_AT);
const _: () = assert!(SHARED_BYTES <= QUEUES && RINGS_END <= BUFFERS_AT);
/// Bytes of the memory that the card needs.
pub const MEMORY_BYTES: usize = BUFFERS.end();

/// Where in a queue's description its state is, whose first byte is set when the card stopped it.
const QUEUE_STATE: usize = 80;
const STOPPED: u64 = 0xff;

/// Of a descriptor's second word. Whose turn it is, by a bit that goes over with each round of the ring.
const SEND_TURN: u32 = 14;
const RECEIVE_TURN: u32 = 31;
const DONE_TURN: u32 = 63;
/// It ends a frame, and is to be told of when it is sent.
const SEND: u64 = 1 << 44 | 1 << 45;
/// Of the first word of what was received: it begins and ends a frame.
const WHOLE: u64 = 1 << 14 | 1 << 15;
/// Of the second: damaged.
const DAMAGED: u64 = 1 << 14;
const LENGTH: u64 = 0x3fff;

/// The card has that many buffers back before it is told.
const RETURNED_AT_ONCE: usize = 16;

/// A place in a ring.
#[derive(Clone, Copy)]
struct Turn {
    index: usize,
    /// The bit whose value says that a descriptor is of this round.
    bit: bool,
}

impl Turn {
    const FIRST: Self = Self {
        index: 0,
        bit: true,
    };

    const fn next(self, count: usize) -> Self {
        match self.index + 1 == count {
            true => Self {
                index: 0,
                bit: !self.bit,
            },
            false => Self {
                index: self.index + 1,
                bit: self.bit,
            },
        }
    }

    const fn at(self, ring: usize) -> usize {
        ring + self.index * DESCRIPTOR_BYTES
    }
}

/// The address that a card has now.
pub(super) fn mac(io: &impl CardIo) -> Mac {
    mac_in(io, [MAC_LOW, MAC_HIGH])
}

/// See the module.
pub struct Vmxnet3<I> {
    io: I,
    macs: Macs,
    send: Turn,
    sent: Turn,
    /// Frames that the card was given and is not done with.
    under_way: usize,
    give: Turn,
    received: Turn,
    /// Buffers that the card has back and was not told of.
    returned: usize,
}

impl<I: CardIo> Vmxnet3<I> {
    /// The card behind these registers. It does nothing before it begins.
    pub const fn new(io: I, macs: Macs) -> Self {
        Self {
            io,
            macs,
            send: Turn::FIRST,
            sent: Turn::FIRST,
            under_way: 0,
            give: Turn::FIRST,
            received: Turn::FIRST,
            returned: 0,
        }
    }

    /// Says what to do, and takes the answer.
    fn command(&mut self, command: u32) -> u32 {
        self.io.set_register(COMMAND, command);
        self.io.register(COMMAND)
    }

    /// It forgets all that it was given.
    fn stop(&mut self) {
        self.command(QUIESCE);
        self.command(RESET);
    }

    fn set_mac(&mut self, mac: Mac) {
        let [low, high] = mac_halves(mac);
        self.io.set_register(MAC_LOW, low);
        self.io.set_register(MAC_HIGH, high);
    }

    fn describe(&mut self) {
        for at in (SHARED..RINGS_END).step_by(8) {
            self.io.set_word(at, 0);
        }
        let queues = (2 * QUEUE_BYTES) as u64;
        let revision = u64::from(FIRST_REVISION);
        for (at, value) in [
            (0, MAGIC),
            (8, VERSION | SYSTEM << 32),
            (16, revision | revision << 32),
            (40, self.io.address(QUEUES)),
            (48, queues << 32),
            // One buffer for a frame, one queue of each kind.
            (56, MTU | 1 << 32 | 1 << 48 | 1 << 56),
            // One interrupt, which masks itself, and is off.
            (80, 1 | 1 << 8),
            (104, INTERRUPTS_OFF << 32),
            (120, RECEIVE_MODE),
        ] {
            self.io.set_word(SHARED + at, value);
        }
        for (at, value) in [
            (16, self.io.address(SEND_RING)),
            (32, self.io.address(SENT_RING)),
            (56, SEND_COUNT as u64),
            (64, SEND_COUNT as u64),
        ] {
            self.io.set_word(SEND_QUEUE + at, value);
        }
        for (at, value) in [
            (16, self.io.address(RECEIVE_RING)),
            (32, self.io.address(RECEIVED_RING)),
            (56, RECEIVE_COUNT as u64),
            (64, RECEIVE_COUNT as u64),
        ] {
            self.io.set_word(RECEIVE_QUEUE + at, value);
        }
    }

    /// The next buffer is the card's from now on.
    fn give_next(&mut self) {
        let at = self.give.at(RECEIVE_RING);
        let buffer = self.io.address(BUFFERS.receive(self.give.index));
        self.io.set_word(at, buffer);
        let told = BUFFER_BYTES as u64 | u64::from(self.give.bit) << RECEIVE_TURN;
        self.io.set_word(at + 8, told);
        self.give = self.give.next(RECEIVE_COUNT);
    }

    fn tell_receiver(&mut self) {
        self.returned = 0;
        let index = self.give.index as u32;
        self.io.set_register(RECEIVE_PRODUCER, index);
    }

    /// The second word of a ring's next descriptor, if the card wrote it in this round.
    fn done(&self, turn: Turn, ring: usize) -> Option<u64> {
        let told = self.io.word(turn.at(ring) + 8);
        (told >> DONE_TURN != 0).eq(&turn.bit).then_some(told)
    }
}

impl<I: CardIo> Card for Vmxnet3<I> {
    fn begin(&mut self) -> bool {
        self.stop();
        for revisions in [REVISION, UPT_REVISION] {
            let known = self.io.register(revisions);
            if known == NOBODY || known & FIRST_REVISION == 0 {
                return false;
            }
            self.io.set_register(revisions, FIRST_REVISION);
        }
        self.describe();
        (self.send, self.sent, self.under_way) = (Turn::FIRST, Turn::FIRST, 0);
        (self.give, self.received) = (Turn::FIRST, Turn::FIRST);
        // All but one, since a ring whose ends are the same is empty.
        for _ in 1..RECEIVE_COUNT {
            self.give_next();
        }
        let shared = self.io.address(SHARED);
        self.io.set_register(SHARED_LOW, shared as u32);
        self.io.set_register(SHARED_HIGH, (shared >> 32) as u32);
        if self.command(ACTIVATE) != 0 {
            return false;
        }
        self.io.set_register(INTERRUPT_MASK, 1);
        self.set_mac(self.macs.used);
        self.command(UPDATE_RECEIVE_MODE);
        self.tell_receiver();
        true
    }

    fn end(&mut self) {
        self.stop();
        self.set_mac(self.macs.own);
    }

    fn is_in_order(&mut self) -> bool {
        self.command(GET_QUEUE_STATUS);
        let is_running = |queue| self.io.word(queue + QUEUE_STATE) & STOPPED == 0;
        let [low, _] = mac_halves(self.macs.used);
        is_running(SEND_QUEUE) && is_running(RECEIVE_QUEUE) && self.io.register(MAC_LOW) == low
    }

    fn mac(&self) -> Mac {
        self.macs.used
    }

    fn receive(&mut self, into: &mut [u8; FRAME_BYTES]) -> Option<usize> {
        // As many as the ring has: then each was looked at once.
        for _ in 0..RECEIVE_COUNT {
            let told = self.done(self.received, RECEIVED_RING)?;
            let which = self.io.word(self.received.at(RECEIVED_RING));
            self.received = self.received.next(RECEIVE_COUNT);
            let is_whole = which & WHOLE == WHOLE && told & DAMAGED == 0;
            // None but a card that is out of order says another number.
            let index = which as usize % RECEIVE_COUNT;
            let len = (told & LENGTH) as usize;
            let taken = into.get_mut(..len).filter(|_| is_whole);
            let is_taken = taken.is_some();
            if let Some(taken) = taken {
                self.io.read(BUFFERS.receive(index), taken);
            }
            self.give_next();
            self.returned += 1;
            if self.returned == RETURNED_AT_ONCE {
                self.tell_receiver();
            }
            if is_taken {
                return Some(len);
            }
        }
        None
    }

    fn can_send(&self) -> bool {
        // The one behind it stays free: a ring that is full would look empty.
        self.under_way < SEND_COUNT - 1 || self.done(self.sent, SENT_RING).is_some()
    }

    fn send(&mut self, frame: &[u8]) {
        while self.under_way > 0 && self.done(self.sent, SENT_RING).is_some() {
            self.sent = self.sent.next(SEND_COUNT);
            self.under_way -= 1;
        }
        if frame.len() > FRAME_BYTES || self.under_way >= SEND_COUNT - 1 {
            return;
        }
        let at = self.send.at(SEND_RING);
        let buffer = BUFFERS.send(self.send.index);
        self.io.write(buffer, frame);
        self.io.set_word(at, self.io.address(buffer));
        let told = frame.len() as u64 | u64::from(self.send.bit) << SEND_TURN | SEND;
        self.io.set_word(at + 8, told);
        self.send = self.send.next(SEND_COUNT);
        self.under_way += 1;
        self.io.set_register(SEND_PRODUCER, self.send.index as u32);
    }
}

#[cfg(test)]
mod tests;
