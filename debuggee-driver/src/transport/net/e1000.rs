//! Intel's gigabit cards of the 8254x family and their successors on PCI Express, with legacy descriptors, polled, without
//! interrupts.
//!
//! Source: Intel, "PCI/PCI-X Family of Gigabit Ethernet Controllers Software Developer's Manual" (8254x): "Receive
//! Initialization" 14.4, "Transmit Initialization" 14.5, "Receive Descriptor Format" 3.2.3, "Legacy Transmit Descriptor
//! Format" 3.3.3, "Register Descriptions" 13. What is different in each of the others, `family` has.

use super::card::{
    BUFFER_BYTES, Buffers, Card, CardIo, FRAME_BYTES, Mac, Macs, NOBODY, RECEIVE_COUNT, SEND_COUNT,
    WINDOWS, comes, is_unicast, mac_halves, mac_in,
};
use family::Family;

pub mod family;

/// The base address register of its window.
pub(super) const BARS: [Option<u8>; WINDOWS] = [Some(0), None];
/// As many bytes of it every one of these cards has.
pub(super) const WINDOW_BYTES: [u32; WINDOWS] = [0x2_0000, 0];

const CTRL: u32 = 0x0000;
const STATUS: u32 = 0x0008;
const ICR: u32 = 0x00c0;
const IMC: u32 = 0x00d8;
const RCTL: u32 = 0x0100;
const TCTL: u32 = 0x0400;
const TIPG: u32 = 0x0410;
const RDBAL: u32 = 0x2800;
const RDBAH: u32 = 0x2804;
const RDLEN: u32 = 0x2808;
const RDH: u32 = 0x2810;
const RDT: u32 = 0x2818;
const TDBAL: u32 = 0x3800;
const TDBAH: u32 = 0x3804;
const TDLEN: u32 = 0x3808;
const TDH: u32 = 0x3810;
const TDT: u32 = 0x3818;
const MTA: u32 = 0x5200;
const RAL0: u32 = 0x5400;
const RAH0: u32 = 0x5404;

const CTRL_RST: u32 = 1 << 26;
const RCTL_EN: u32 = 1 << 1;
/// Broadcasts, too; buffers of 2,048 bytes.
const RCTL_BAM: u32 = 1 << 15;
/// Without the checksum at the end of each frame.
const RCTL_SECRC: u32 = 1 << 26;
const RECEIVING: u32 = RCTL_EN | RCTL_BAM | RCTL_SECRC;
const TCTL_EN: u32 = 1 << 1;
/// Short frames are made as long as they have to be.
const TCTL_PSP: u32 = 1 << 3;
/// Collision threshold 15, collision distance 64: full duplex.
const SENDING: u32 = TCTL_EN | TCTL_PSP | 0x0f << 4 | 0x40 << 12;
const RAH_VALID: u32 = 1 << 31;

/// Of a descriptor's second word: the card is done with it; it ends a frame.
const DONE: u64 = 1 << 32;
const END_OF_PACKET: u64 = 1 << 33;
/// Of what was received: wrong checksum of the frame, symbol, sequence, carrier extension or data errors. Those of
/// the checksums inside are for who reads them.
const DAMAGED: u64 = 0x97 << 40;
/// Of what is sent: the end of a packet, with a checksum at its end, and tell when it is sent.
const SEND: u64 = 0x0b << 24;
/// So many bytes that end no packet, and so are not sent.
const NO_END: u64 = 0x02 << 24 | 512;

const DESCRIPTOR_BYTES: usize = 16;
const _: () = assert!(FRAME_BYTES <= BUFFER_BYTES);
/// Where in the memory what is. Rings begin at multiples of 128 and are as long.
const RECEIVE_RING: usize = 0;
const SEND_RING: usize = RECEIVE_RING + RECEIVE_COUNT * DESCRIPTOR_BYTES;
const BUFFERS: Buffers = Buffers::at(4096);
/// Bytes of the memory that the card needs.
pub const MEMORY_BYTES: usize = BUFFERS.end();

/// Longest time until a reset is over.
const RESET_US: u32 = 10_000;

/// See the module.
pub struct E1000<I> {
    io: I,
    family: Family,
    macs: Macs,
    next_received: usize,
    next_sent: usize,
}

impl<I: CardIo> E1000<I> {
    /// The card behind these registers. It does nothing before it begins.
    pub const fn new(io: I, family: Family, macs: Macs) -> Self {
        Self {
            io,
            family,
            macs,
            next_received: 0,
            next_sent: 0,
        }
    }

    fn reset(&mut self) -> bool {
        self.io.set_register(IMC, u32::MAX);
        self.io.set_register(RCTL, 0);
        if self.family.wants_empty_rings() && self.has_own_rings() {
            self.empty_rings();
        }
        self.io.set_register(TCTL, TCTL_PSP);
        self.family.before_reset(&mut self.io);
        let control = self.io.register(CTRL);
        self.io.set_register(CTRL, control | CTRL_RST);
        self.io.wait_us(self.family.reset_us());
        let is_over = comes(&self.io, RESET_US, |io| io.register(CTRL) & CTRL_RST == 0);
        self.io.set_register(IMC, u32::MAX);
        self.io.register(ICR);
        is_over && self.io.register(STATUS) != NOBODY && self.family.after_reset(&mut self.io)
    }

    /// The card's rings are those of this driver, not what another one left: memory that is somebody else's by now.
    fn has_own_rings(&self) -> bool {
        self.io.register(TDLEN) != 0
            && self.io.register(TDBAL) == self.io.address(SEND_RING) as u32
            && self.io.register(TDBAH) == (self.io.address(SEND_RING) >> 32) as u32
    }

    /// Lets the card have what is in its rings, so that none is left: what it was to send, and one descriptor more, which ends
    /// no frame and leads to the ring itself; then the buffers for what it receives.
    fn empty_rings(&mut self) {
        family::read_singly(&mut self.io);
        let index = self.io.register(TDT) as usize % SEND_COUNT;
        let next = ((index + 1) % SEND_COUNT) as u32;
        // A ring without a place that is free would look empty with one more.
        let has_room = next != self.io.register(TDH);
        // Without it the card looks at none.
        self.io.set_register(TCTL, TCTL_EN | TCTL_PSP);
        if has_room {
            let ring = self.io.address(SEND_RING);
            self.io.set_word(send_descriptor(index), ring);
            self.io.set_word(send_descriptor(index) + 8, NO_END);
            self.io.set_register(TDT, next);
        }
        self.io.wait_us(family::SENDING_US);
        family::fetch_all(&mut self.io);
    }

    fn set_mac(&mut self, mac: Mac) {
        let [low, high] = mac_halves(mac);
        self.io.set_register(RAL0, low);
        self.io.set_register(RAH0, high | RAH_VALID);
    }

    fn place_rings(&mut self) {
        let rings = [
            (RDBAL, RDBAH, RDLEN, RDH, RECEIVE_RING, RECEIVE_COUNT),
            (TDBAL, TDBAH, TDLEN, TDH, SEND_RING, SEND_COUNT),
        ];
        for (low, high, len, head, at, count) in rings {
            let address = self.io.address(at);
            self.io.set_register(low, address as u32);
            self.io.set_register(high, (address >> 32) as u32);
            self.io.set_register(len, (count * DESCRIPTOR_BYTES) as u32);
            self.io.set_register(head, 0);
        }
        for index in 0..RECEIVE_COUNT {
            let buffer = self.io.address(BUFFERS.receive(index));
            self.io.set_word(receive_descriptor(index), buffer);
            self.io.set_word(receive_descriptor(index) + 8, 0);
        }
        for index in 0..SEND_COUNT {
            let buffer = self.io.address(BUFFERS.send(index));
            self.io.set_word(send_descriptor(index), buffer);
            self.io.set_word(send_descriptor(index) + 8, DONE);
        }
        self.next_received = 0;
        self.next_sent = 0;
    }

    fn is_sent(&self, index: usize) -> bool {
        self.io.word(send_descriptor(index % SEND_COUNT) + 8) & DONE != 0
    }
}

/// The address that a card has now; the one in its own memory where nobody has taken it out of there.
pub(super) fn mac(io: &mut impl CardIo, family: Family) -> Mac {
    let mac = mac_in(io, [RAL0, RAH0]);
    match is_unicast(mac) {
        true => mac,
        false => family.stored_mac(io).unwrap_or(mac),
    }
}

const fn receive_descriptor(index: usize) -> usize {
    RECEIVE_RING + index * DESCRIPTOR_BYTES
}

const fn send_descriptor(index: usize) -> usize {
    SEND_RING + index * DESCRIPTOR_BYTES
}

impl<I: CardIo> Card for E1000<I> {
    fn begin(&mut self) -> bool {
        if !self.reset() {
            return false;
        }
        self.family.take(&mut self.io);
        self.set_mac(self.macs.used);
        for register in 0..self.family.multicast_registers() {
            self.io.set_register(MTA + 4 * register, 0);
        }
        let control = self.io.register(CTRL);
        self.io.set_register(CTRL, control | self.family.link());
        self.family.wake_phy(&mut self.io);
        self.place_rings();
        self.io.set_register(TIPG, self.family.gaps());
        self.io.set_register(TDT, 0);
        self.io.set_register(TCTL, SENDING);
        self.io.set_register(RCTL, RECEIVING);
        // All but one, since a ring whose head and tail are the same is empty.
        self.io.set_register(RDT, RECEIVE_COUNT as u32 - 1);
        true
    }

    fn end(&mut self) {
        self.reset();
        self.family.give_back(&mut self.io);
        self.set_mac(self.macs.own);
    }

    fn is_in_order(&mut self) -> bool {
        let is_on = |at, bit| {
            let value = self.io.register(at);
            value != NOBODY && value & bit != 0
        };
        let is_at = |low, ring| self.io.register(low) == self.io.address(ring) as u32;
        // Other bits may read as something else than what was written, by the chip.
        is_on(RCTL, RCTL_EN)
            && is_on(TCTL, TCTL_EN)
            && is_at(RDBAL, RECEIVE_RING)
            && is_at(TDBAL, SEND_RING)
    }

    fn mac(&self) -> Mac {
        self.macs.used
    }

    fn receive(&mut self, into: &mut [u8; FRAME_BYTES]) -> Option<usize> {
        // As many as the ring has: then each was looked at once.
        for _ in 0..RECEIVE_COUNT {
            let index = self.next_received;
            let told = self.io.word(receive_descriptor(index) + 8);
            if told & DONE == 0 {
                return None;
            }
            let len = usize::from(told as u16);
            let is_whole = told & END_OF_PACKET != 0 && told & DAMAGED == 0;
            let taken = into.get_mut(..len).filter(|_| is_whole);
            let is_taken = taken.is_some();
            if let Some(taken) = taken {
                self.io.read(BUFFERS.receive(index), taken);
            }
            self.io.set_word(receive_descriptor(index) + 8, 0);
            self.io.set_register(RDT, index as u32);
            self.next_received = (index + 1) % RECEIVE_COUNT;
            if is_taken {
                return Some(len);
            }
        }
        None
    }

    fn can_send(&self) -> bool {
        // The one behind it stays free: a ring that is full would look empty.
        self.is_sent(self.next_sent) && self.is_sent(self.next_sent + 1)
    }

    fn send(&mut self, frame: &[u8]) {
        if frame.len() > FRAME_BYTES || !self.can_send() {
            return;
        }
        let index = self.next_sent;
        self.io.write(BUFFERS.send(index), frame);
        self.io
            .set_word(send_descriptor(index) + 8, frame.len() as u64 | SEND);
        self.next_sent = (index + 1) % SEND_COUNT;
        self.io.set_register(TDT, self.next_sent as u32);
    }
}

#[cfg(test)]
mod tests;
