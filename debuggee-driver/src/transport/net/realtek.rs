//! Realtek's gigabit cards on PCI Express, polled, without interrupts.
//!
//! Sources: Realtek, "RTL8111B/RTL8168B Registers" datasheet, and for later chips the public description of their registers in
//! Linux, `drivers/net/ethernet/realtek/r8169_main.c`, and in iPXE, `src/drivers/net/realtek.h`.

use super::card::{
    BUFFER_BYTES, Buffers, Card, CardIo, FRAME_BYTES, Mac, Macs, RECEIVE_COUNT, SEND_COUNT,
    WINDOWS, mac_halves, mac_in,
};

/// Realtek, on the PCI bus.
pub const VENDOR: u16 = 0x10ec;
/// RTL8111 and RTL8168 of all revisions, under both of their identifiers.
pub const DEVICES: [u16; 2] = [0x8168, 0x8161];
/// The base address register of its window.
pub(super) const BARS: [Option<u8>; WINDOWS] = [Some(2), None];
/// As many bytes of it are used.
pub(super) const WINDOW_BYTES: [u32; WINDOWS] = [0x100, 0];

const MAC_LOW: u32 = 0x00;
const MAC_HIGH: u32 = 0x04;
const MULTICAST: u32 = 0x08;
const SEND_RING_LOW: u32 = 0x20;
const SEND_RING_HIGH: u32 = 0x24;
const COMMAND: u32 = 0x37;
const SEND_NOW: u32 = 0x38;
const INTERRUPT_MASK: u32 = 0x3c;
const INTERRUPT_STATUS: u32 = 0x3e;
const SEND_CONFIG: u32 = 0x40;
const RECEIVE_CONFIG: u32 = 0x44;
const LOCK: u32 = 0x50;
const PHY: u32 = 0x60;
const PHY_LATER: u32 = 0xb8;
const MCU: u32 = 0xd3;
const RECEIVE_LONGEST: u32 = 0xda;
const MODE: u32 = 0xe0;
const RECEIVE_RING_LOW: u32 = 0xe4;
const RECEIVE_RING_HIGH: u32 = 0xe8;
const SEND_LONGEST: u32 = 0xec;
const MISC: u32 = 0xf0;

const RESET: u8 = 1 << 4;
const RECEIVING: u8 = 1 << 3;
const SENDING: u8 = 1 << 2;
const UNLOCKED: u8 = 0xc0;
const NORMAL_QUEUE: u8 = 1 << 6;
/// Several reads and writes of memory at once; nothing of VLANs and checksums.
const MULTIPLE: u16 = 1 << 3;
/// Usual gaps between frames, and bursts of any length.
const SEND_MODE: u32 = 3 << 24 | 7 << 8;
/// Whole frames in bursts of any length, for its own address and broadcasts.
const RECEIVE_MODE: u32 = 7 << 13 | 7 << 8 | 1 << 3 | 1 << 1;
/// The longest frame that it sends, in units of 128 bytes.
const SEND_UNITS: u8 = 0x3f;
/// Firmware of its own has it, and what comes is held back.
const OUT_OF_BAND: u8 = 1 << 7;
const HELD_BACK: u32 = 1 << 19;
/// Where in the send configuration a chip tells its revision; from this one on the PHY is reached in another way.
const REVISION_SHIFT: u32 = 20;
const REVISION_BITS: u32 = 0x7c8;
const LATER: u32 = 0x4c0;

const PHY_FLAG: u32 = 1 << 31;
/// Of a PHY's control register (IEEE 802.3, 22.2.4.1), which is its first.
const PHY_POWER_DOWN: u32 = 1 << 11;
const PHY_NEGOTIATE: u32 = 1 << 12 | 1 << 9;
/// That register's place in later chips.
const PHY_LATER_CONTROL: u32 = 0xa400 << 15;

/// Of a descriptor's first word: it is the card's; the ring ends there; it begins and ends a frame.
const OWN: u64 = 1 << 31;
const RING_END: u64 = 1 << 30;
const WHOLE: u64 = 1 << 29 | 1 << 28;
const DAMAGED: u64 = 1 << 21;
const LENGTH: u64 = 0x3fff;

/// Shorter frames are filled up; the checksum at the end is counted in what comes.
const SHORTEST_BYTES: usize = 60;
const CHECKSUM_BYTES: usize = 4;

const DESCRIPTOR_BYTES: usize = 16;
const _: () = assert!(FRAME_BYTES + CHECKSUM_BYTES <= BUFFER_BYTES);
/// Where in the memory what is. Rings begin at multiples of 256.
const RECEIVE_RING: usize = 0;
const SEND_RING: usize = RECEIVE_RING + RECEIVE_COUNT * DESCRIPTOR_BYTES;
const BUFFERS: Buffers = Buffers::at(4096);
/// Bytes of the memory that the card needs.
pub const MEMORY_BYTES: usize = BUFFERS.end();

/// Looks at a register that is to change: each takes about a microsecond.
const LOOKS: u32 = 10_000;

/// See the module.
pub struct Realtek<I> {
    io: I,
    macs: Macs,
    next_received: usize,
    next_sent: usize,
}

impl<I: CardIo> Realtek<I> {
    /// The card behind these registers. It does nothing before it begins.
    pub const fn new(io: I, macs: Macs) -> Self {
        Self {
            io,
            macs,
            next_received: 0,
            next_sent: 0,
        }
    }

    fn reset(&mut self) -> bool {
        self.io.set_register_u16(INTERRUPT_MASK, 0);
        self.io.set_register(RECEIVE_CONFIG, 0);
        self.io.set_register_u8(COMMAND, RESET);
        let is_over = (0..LOOKS).any(|_| self.io.register_u8(COMMAND) & RESET == 0);
        self.io.set_register_u16(INTERRUPT_MASK, 0);
        self.io.set_register_u16(INTERRUPT_STATUS, u16::MAX);
        is_over
    }

    fn is_later(&self) -> bool {
        let revision = self.io.register(SEND_CONFIG) >> REVISION_SHIFT & REVISION_BITS;
        revision >= LATER
    }

    /// Later chips may be their own firmware's, and hold back what comes until a driver is there.
    fn take_over(&mut self) {
        let mcu = self.io.register_u8(MCU);
        self.io.set_register_u8(MCU, mcu & !OUT_OF_BAND);
        let misc = self.io.register(MISC);
        self.io.set_register(MISC, misc & !HELD_BACK);
    }

    /// A driver that leaves a card may have put its PHY to sleep.
    fn wake_phy(&mut self, is_later: bool) {
        let (at, control) = match is_later {
            true => (PHY_LATER, PHY_LATER_CONTROL),
            false => (PHY, 0),
        };
        self.io.set_register(at, control);
        if !(0..LOOKS).any(|_| self.io.register(at) & PHY_FLAG != 0) {
            return;
        }
        let told = self.io.register(at) & 0xffff;
        if told & PHY_POWER_DOWN != 0 {
            let value = told & !PHY_POWER_DOWN | PHY_NEGOTIATE;
            self.io.set_register(at, PHY_FLAG | control | value);
            let _ = (0..LOOKS).any(|_| self.io.register(at) & PHY_FLAG == 0);
        }
    }

    fn place_rings(&mut self) {
        for index in 0..RECEIVE_COUNT {
            let buffer = self.io.address(BUFFERS.receive(index));
            self.io.set_word(receive_descriptor(index) + 8, buffer);
            self.give(index);
        }
        for index in 0..SEND_COUNT {
            let buffer = self.io.address(BUFFERS.send(index));
            self.io.set_word(send_descriptor(index) + 8, buffer);
            self.io
                .set_word(send_descriptor(index), end_of(index, SEND_COUNT));
        }
        for (low, high, ring) in [
            (SEND_RING_LOW, SEND_RING_HIGH, SEND_RING),
            (RECEIVE_RING_LOW, RECEIVE_RING_HIGH, RECEIVE_RING),
        ] {
            let address = self.io.address(ring);
            // The low half is the one that counts when it is written.
            self.io.set_register(high, (address >> 32) as u32);
            self.io.set_register(low, address as u32);
        }
        self.next_received = 0;
        self.next_sent = 0;
    }

    /// A buffer is the card's from now on.
    fn give(&mut self, index: usize) {
        let told = OWN | BUFFER_BYTES as u64 | end_of(index, RECEIVE_COUNT);
        self.io.set_word(receive_descriptor(index), told);
    }

    /// While its settings are not locked.
    fn set_mac(&mut self, mac: Mac) {
        let [low, high] = mac_halves(mac);
        self.io.set_register(MAC_HIGH, high);
        self.io.set_register(MAC_LOW, low);
    }
}

/// The address that a card has now.
pub(super) fn mac(io: &impl CardIo) -> Mac {
    mac_in(io, [MAC_LOW, MAC_HIGH])
}

/// The last descriptor of a ring says so.
const fn end_of(index: usize, count: usize) -> u64 {
    if index + 1 == count { RING_END } else { 0 }
}

const fn receive_descriptor(index: usize) -> usize {
    RECEIVE_RING + index * DESCRIPTOR_BYTES
}

const fn send_descriptor(index: usize) -> usize {
    SEND_RING + index * DESCRIPTOR_BYTES
}

impl<I: CardIo> Card for Realtek<I> {
    fn begin(&mut self) -> bool {
        if !self.reset() {
            return false;
        }
        let is_later = self.is_later();
        if is_later {
            self.take_over();
        }
        self.io.set_register_u8(LOCK, UNLOCKED);
        self.set_mac(self.macs.used);
        self.io.set_register_u16(MODE, MULTIPLE);
        self.io
            .set_register_u16(RECEIVE_LONGEST, BUFFER_BYTES as u16 - 1);
        self.io.set_register_u8(SEND_LONGEST, SEND_UNITS);
        self.place_rings();
        self.io.set_register_u8(LOCK, 0);
        self.io.set_register_u8(COMMAND, RECEIVING | SENDING);
        self.io.set_register(SEND_CONFIG, SEND_MODE);
        for half in [MULTICAST, MULTICAST + 4] {
            self.io.set_register(half, 0);
        }
        self.io.set_register(RECEIVE_CONFIG, RECEIVE_MODE);
        self.wake_phy(is_later);
        true
    }

    fn end(&mut self) {
        self.reset();
        self.io.set_register_u8(LOCK, UNLOCKED);
        self.set_mac(self.macs.own);
        self.io.set_register_u8(LOCK, 0);
    }

    fn is_in_order(&mut self) -> bool {
        let command = self.io.register_u8(COMMAND);
        let is_at = |low, ring| self.io.register(low) == self.io.address(ring) as u32;
        command & (RESET | RECEIVING | SENDING) == RECEIVING | SENDING
            && is_at(SEND_RING_LOW, SEND_RING)
            && is_at(RECEIVE_RING_LOW, RECEIVE_RING)
    }

    fn mac(&self) -> Mac {
        self.macs.used
    }

    fn receive(&mut self, into: &mut [u8; FRAME_BYTES]) -> Option<usize> {
        // As many as the ring has: then each was looked at once.
        for _ in 0..RECEIVE_COUNT {
            let index = self.next_received;
            let told = self.io.word(receive_descriptor(index));
            if told & OWN != 0 {
                return None;
            }
            let is_whole = told & WHOLE == WHOLE && told & DAMAGED == 0;
            let len = ((told & LENGTH) as usize).checked_sub(CHECKSUM_BYTES);
            let taken = len.filter(|_| is_whole).and_then(|len| into.get_mut(..len));
            let taken_bytes = taken.map(|taken| {
                self.io.read(BUFFERS.receive(index), taken);
                taken.len()
            });
            self.give(index);
            self.next_received = (index + 1) % RECEIVE_COUNT;
            if taken_bytes.is_some() {
                return taken_bytes;
            }
        }
        None
    }

    fn can_send(&self) -> bool {
        self.io.word(send_descriptor(self.next_sent)) & OWN == 0
    }

    fn send(&mut self, frame: &[u8]) {
        if frame.len() > FRAME_BYTES || !self.can_send() {
            return;
        }
        let index = self.next_sent;
        let at = BUFFERS.send(index);
        self.io.write(at, &[0; SHORTEST_BYTES]);
        self.io.write(at, frame);
        let len = frame.len().max(SHORTEST_BYTES) as u64;
        let told = OWN | WHOLE | len | end_of(index, SEND_COUNT);
        self.io.set_word(send_descriptor(index), told);
        self.next_sent = (index + 1) % SEND_COUNT;
        self.io.set_register_u8(SEND_NOW, NORMAL_QUEUE);
    }
}

#[cfg(test)]
mod tests;
