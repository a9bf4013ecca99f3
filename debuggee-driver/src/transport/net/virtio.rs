//! The network card of virtual machines under KVM and in most clouds, by its modern interface on PCI, with split queues, polled,
//! without interrupts.
//!
//! Source: OASIS, "Virtual I/O Device (VIRTIO) Version 1.2": "Device Initialization" 3.1, "Virtio Over PCI Bus" 4.1, "Split
//! Virtqueues" 2.7, "Network Device" 5.1, "Reserved Feature Bits" 6.

use super::card::{
    BUFFER_BYTES, Buffers, Card, CardIo, FRAME_BYTES, Mac, RECEIVE_COUNT, SEND_COUNT,
};
use places::Places;
use queue::Queue;

pub mod places;
mod queue;

/// Who gives the identifiers of these cards away.
pub const VENDOR: u16 = 0x1af4;
/// A network card, and one that would work with drivers from before version 1, too ("PCI Device Discovery" 4.1.2).
pub const DEVICES: [u16; 2] = [0x1041, 0x1000];

/// Of "Common configuration structure layout" 4.1.4.3.
const FEATURE_SELECT: u32 = 0x00;
const FEATURES: u32 = 0x04;
const DRIVER_FEATURE_SELECT: u32 = 0x08;
const DRIVER_FEATURES: u32 = 0x0c;
const CONFIG_VECTOR: u32 = 0x10;
const STATUS: u32 = 0x14;
const QUEUE_SELECT: u32 = 0x16;
const QUEUE_SIZE: u32 = 0x18;
const QUEUE_VECTOR: u32 = 0x1a;
const QUEUE_ENABLE: u32 = 0x1c;
const QUEUE_NOTIFY: u32 = 0x1e;
const QUEUE_DESCRIPTORS: u32 = 0x20;
const QUEUE_DRIVER: u32 = 0x28;
const QUEUE_DEVICE: u32 = 0x30;

/// "Device Status Field" 2.1.
const ACKNOWLEDGE: u8 = 1;
const DRIVER: u8 = 2;
const DRIVER_OK: u8 = 4;
const FEATURES_OK: u8 = 8;
const NEEDS_RESET: u8 = 64;

/// There is an address in the card's configuration.
const FEATURE_MAC: u64 = 1 << 5;
const FEATURE_VERSION_1: u64 = 1 << 32;
/// What the card is told are addresses of the bus, as an IOMMU has them, and memory is ordered as for any card. Without the
/// first the card reaches physical memory, whatever IOMMU there is.
const FEATURE_PLATFORM: u64 = 1 << 33;
const FEATURE_ORDER: u64 = 1 << 36;
const WANTED: u64 = FEATURE_MAC | FEATURE_VERSION_1 | FEATURE_PLATFORM | FEATURE_ORDER;

/// Tells that a queue has no interrupt.
const NO_VECTOR: u16 = 0xffff;
/// Looks for the end of a reset, each of which takes about a microsecond.
const RESET_LOOKS: u32 = 100_000;

/// In front of each frame: nothing that is left to the card or by it ("Packet Transmission" 5.1.6.2).
const HEADER_BYTES: usize = 12;
const _: () = assert!(HEADER_BYTES + FRAME_BYTES <= BUFFER_BYTES);
/// Where in the memory what is.
const RECEIVE_QUEUE: usize = 0;
const SEND_QUEUE: usize = RECEIVE_QUEUE + queue::bytes(RECEIVE_COUNT);
const BUFFERS_AT: usize = 4096;
const BUFFERS: Buffers = Buffers::at(BUFFERS_AT);
const _: () = assert!(SEND_QUEUE + queue::bytes(SEND_COUNT) <= BUFFERS_AT);
/// Bytes of the memory that the card needs.
pub const MEMORY_BYTES: usize = BUFFERS.end();

/// The card has that many buffers back before it is told.
const RETURNED_AT_ONCE: usize = 16;

/// Numbers of the queues ("Virtqueues" 5.1.2).
const RECEIVING: u16 = 0;
const SENDING: u16 = 1;

/// See the module.
pub struct Virtio<I> {
    io: I,
    places: Places,
    mac: Mac,
    /// No IOMMU is between the card and memory, as it says.
    is_direct: bool,
    receiving: Queue,
    sending: Queue,
    /// Buffers that are not the card's, one bit each.
    free: u32,
    /// Buffers that the card has back and was not told of.
    returned: usize,
    /// Where each queue is told that there is something new.
    notify: [u32; 2],
}

const _: () = assert!(SEND_COUNT == u32::BITS as usize);

/// The address that a card has.
pub(super) fn mac(io: &impl CardIo, places: Places) -> Mac {
    core::array::from_fn(|at| io.register_u8(places.device + at as u32))
}

impl<I: CardIo> Virtio<I> {
    /// The card behind these registers. It does nothing before it begins.
    pub fn new(io: I, places: Places) -> Self {
        Self {
            mac: mac(&io, places),
            io,
            places,
            is_direct: false,
            receiving: Queue::new(RECEIVE_QUEUE, RECEIVE_COUNT),
            sending: Queue::new(SEND_QUEUE, SEND_COUNT),
            free: u32::MAX,
            returned: 0,
            notify: [0; 2],
        }
    }

    fn status(&self) -> u8 {
        self.io.register_u8(self.places.common + STATUS)
    }

    fn set_status(&mut self, status: u8) {
        self.io.set_register_u8(self.places.common + STATUS, status);
    }

    fn set_long(&mut self, at: u32, value: u64) {
        let at = self.places.common + at;
        self.io.set_register(at, value as u32);
        self.io.set_register(at + 4, (value >> 32) as u32);
    }

    fn reset(&mut self) -> bool {
        self.set_status(0);
        (0..RESET_LOOKS).any(|_| self.status() == 0)
    }

    /// Agrees on what both can.
    fn negotiate(&mut self) -> bool {
        let common = self.places.common;
        let mut offered = 0;
        for half in [0, 1] {
            self.io.set_register(common + FEATURE_SELECT, half);
            offered |= u64::from(self.io.register(common + FEATURES)) << (32 * half);
        }
        let taken = offered & WANTED;
        if taken & FEATURE_VERSION_1 == 0 || taken & FEATURE_MAC == 0 {
            return false;
        }
        self.is_direct = taken & FEATURE_PLATFORM == 0;
        for half in [0, 1] {
            self.io.set_register(common + DRIVER_FEATURE_SELECT, half);
            self.io
                .set_register(common + DRIVER_FEATURES, (taken >> (32 * half)) as u32);
        }
        self.set_status(ACKNOWLEDGE | DRIVER | FEATURES_OK);
        self.status() & FEATURES_OK != 0
    }

    /// Where a place of the memory is, as the card has to name it.
    fn address(&self, at: usize) -> u64 {
        match self.is_direct {
            true => self.io.physical_address().wrapping_add(at as u64),
            false => self.io.address(at),
        }
    }

    /// Gives the card a queue; false if it has none of that number, or only a shorter one.
    fn place(&mut self, number: u16, at: usize, count: usize) -> bool {
        let common = self.places.common;
        self.io.set_register_u16(common + QUEUE_SELECT, number);
        if usize::from(self.io.register_u16(common + QUEUE_SIZE)) < count {
            return false;
        }
        let [descriptors, driver, device] = queue::parts(at, count).map(|part| self.address(part));
        self.io.set_register_u16(common + QUEUE_SIZE, count as u16);
        self.io.set_register_u16(common + QUEUE_VECTOR, NO_VECTOR);
        self.set_long(QUEUE_DESCRIPTORS, descriptors);
        self.set_long(QUEUE_DRIVER, driver);
        self.set_long(QUEUE_DEVICE, device);
        let notify = self
            .places
            .notify_at(self.io.register_u16(common + QUEUE_NOTIFY));
        if let Some(slot) = self.notify.get_mut(usize::from(number)) {
            *slot = notify;
        }
        self.io.set_register_u16(common + QUEUE_ENABLE, 1);
        true
    }

    fn tell(&mut self, number: u16) {
        if let Some(at) = self.notify.get(usize::from(number)) {
            self.io.set_register_u16(*at, number);
        }
    }

    /// Fills both queues: the card gets all buffers for what it receives, and none for what it sends.
    fn fill(&mut self) {
        self.receiving = Queue::new(RECEIVE_QUEUE, RECEIVE_COUNT);
        self.sending = Queue::new(SEND_QUEUE, SEND_COUNT);
        self.receiving.clear(&mut self.io);
        self.sending.clear(&mut self.io);
        for index in 0..RECEIVE_COUNT {
            let buffer = self.address(BUFFERS.receive(index));
            self.receiving.describe(
                &mut self.io,
                index,
                buffer,
                BUFFER_BYTES,
                queue::CARD_WRITES,
            );
            self.receiving.give(&mut self.io, index);
        }
        self.free = u32::MAX;
        self.returned = 0;
    }

    fn give_back(&mut self, index: usize) {
        self.receiving.give(&mut self.io, index);
        self.returned += 1;
        if self.returned == RETURNED_AT_ONCE {
            self.returned = 0;
            self.tell(RECEIVING);
        }
    }
}

impl<I: CardIo> Card for Virtio<I> {
    fn begin(&mut self) -> bool {
        if !self.reset() {
            return false;
        }
        self.set_status(ACKNOWLEDGE);
        self.set_status(ACKNOWLEDGE | DRIVER);
        self.io
            .set_register_u16(self.places.common + CONFIG_VECTOR, NO_VECTOR);
        if !self.negotiate() {
            return false;
        }
        self.fill();
        if !self.place(RECEIVING, RECEIVE_QUEUE, RECEIVE_COUNT)
            || !self.place(SENDING, SEND_QUEUE, SEND_COUNT)
        {
            return false;
        }
        self.set_status(ACKNOWLEDGE | DRIVER | FEATURES_OK | DRIVER_OK);
        self.tell(RECEIVING);
        true
    }

    fn end(&mut self) {
        self.reset();
    }

    fn is_in_order(&mut self) -> bool {
        let status = self.status();
        if status & (DRIVER_OK | NEEDS_RESET) != DRIVER_OK {
            return false;
        }
        let common = self.places.common;
        [(RECEIVING, RECEIVE_QUEUE), (SENDING, SEND_QUEUE)]
            .into_iter()
            .all(|(number, queue)| {
                self.io.set_register_u16(common + QUEUE_SELECT, number);
                let at = self.address(queue) as u32;
                self.io.register(common + QUEUE_DESCRIPTORS) == at
                    && self.io.register_u16(common + QUEUE_ENABLE) == 1
            })
    }

    fn mac(&self) -> Mac {
        self.mac
    }

    fn receive(&mut self, into: &mut [u8; FRAME_BYTES]) -> Option<usize> {
        // As many as the queue has: then each was looked at once.
        for _ in 0..RECEIVE_COUNT {
            let (index, len) = self.receiving.used(&self.io)?;
            let frame = len.checked_sub(HEADER_BYTES);
            let taken = frame.and_then(|len| into.get_mut(..len));
            let taken_bytes = taken.map(|taken| {
                self.io.read(BUFFERS.receive(index) + HEADER_BYTES, taken);
                taken.len()
            });
            self.give_back(index);
            if taken_bytes.is_some() {
                return taken_bytes;
            }
        }
        None
    }

    fn can_send(&self) -> bool {
        self.free != 0 || self.sending.has_used(&self.io)
    }

    fn send(&mut self, frame: &[u8]) {
        for _ in 0..SEND_COUNT {
            let Some((index, _)) = self.sending.used(&self.io) else {
                break;
            };
            self.free |= 1 << index;
        }
        let index = self.free.trailing_zeros() as usize;
        if frame.len() > FRAME_BYTES || index >= SEND_COUNT {
            return;
        }
        self.free &= !(1 << index);
        let at = BUFFERS.send(index);
        self.io.write(at, &[0; HEADER_BYTES]);
        self.io.write(at + HEADER_BYTES, frame);
        let buffer = self.address(at);
        let len = HEADER_BYTES + frame.len();
        self.sending
            .describe(&mut self.io, index, buffer, len, queue::CARD_READS);
        self.sending.give(&mut self.io, index);
        self.tell(SENDING);
    }
}

#[cfg(test)]
mod tests;
