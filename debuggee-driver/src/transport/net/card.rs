//! Network cards, polled: what their drivers offer, and what they stand on.
//!
//! In VMX-root, by the core that has the line; pure but for what is passed in.

/// An Ethernet frame of the usual length, without the checksum at its end.
pub const FRAME_BYTES: usize = 1514;

/// An Ethernet address.
pub type Mac = [u8; 6];

/// An address is one that a single card can have: no group's, and not that of none.
#[must_use]
pub const fn is_unicast(mac: Mac) -> bool {
    let [first, ..] = mac;
    first & 1 == 0 && !matches!(mac, [0, 0, 0, 0, 0, 0])
}

/// Addresses of a card.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Macs {
    /// What it had when it was taken. It has that again when it is put at rest.
    pub own: Mac,
    /// What it is driven with.
    pub used: Mac,
}

impl Macs {
    /// Of a card that keeps its own, or is given another.
    #[must_use]
    pub fn new(own: Mac, other: Option<Mac>) -> Self {
        Self {
            own,
            used: other.unwrap_or(own),
        }
    }
}

/// Bytes of a device's configuration space on PCI.
pub type Config = [u8; 256];

/// A card that one driver of this folder knows. No call waits, but [`Card::begin`] and [`Card::end`] for a reset: some
/// microseconds, and some hundredths of a second where the card's manual wants that.
pub trait Card {
    /// Resets it and sets it up anew: what it had received or was to send is lost. False if it does not answer.
    fn begin(&mut self) -> bool;
    /// Puts it at rest, so that another driver finds it as at its start: it has its own address, and reads and writes no memory
    /// any more.
    fn end(&mut self);
    /// It is still as [`Card::begin`] left it. To find out, it may have to be asked.
    fn is_in_order(&mut self) -> bool;
    /// Its address on the network.
    fn mac(&self) -> Mac;
    /// Takes the frame that came first, and says how long it is. Damaged and longer ones are thrown away.
    fn receive(&mut self, into: &mut [u8; FRAME_BYTES]) -> Option<usize>;
    /// [`Card::send`] takes a frame now.
    fn can_send(&self) -> bool;
    /// Sends a frame of [`FRAME_BYTES`] at most; a longer one is thrown away.
    fn send(&mut self, frame: &[u8]);
}

/// A card's registers, and the memory that it reads and writes by itself. VMX-root safe.
///
/// Registers are in two windows at most: those of the second begin at [`SECOND_WINDOW`]. Where there is none all bits are set.
/// Aligned copies of two, four and eight bytes are done at once, as the card sees them.
pub trait CardIo {
    /// Reads the register of four bytes at this distance from the first.
    fn register(&self, at: u32) -> u32;
    /// Writes one, after all that was written to the memory before.
    fn set_register(&mut self, at: u32, value: u32);
    /// Reads one of two bytes.
    fn register_u16(&self, at: u32) -> u16;
    /// Writes one, likewise.
    fn set_register_u16(&mut self, at: u32, value: u16);
    /// Reads one of a single byte.
    fn register_u8(&self, at: u32) -> u8;
    /// Writes one, likewise.
    fn set_register_u8(&mut self, at: u32, value: u8);
    /// Lets so much time pass, without a look at the card.
    fn wait_us(&self, time_us: u32);
    /// Address of the memory, as the card has to name it.
    fn memory_address(&self) -> u64;
    /// Its physical address, for a card that no IOMMU stands before.
    fn physical_address(&self) -> u64;
    /// Address of a place in it.
    fn address(&self, at: usize) -> u64 {
        self.memory_address().wrapping_add(at as u64)
    }
    /// Reads eight bytes of the memory, at a multiple of eight; 0 beyond its end.
    fn word(&self, at: usize) -> u64;
    /// Writes eight bytes, likewise; beyond its end nothing.
    fn set_word(&mut self, at: usize, value: u64);
    /// Copies bytes out of the memory; zeros where they are not all in it.
    fn read(&self, at: usize, out: &mut [u8]);
    /// Copies bytes in, if there is room for all.
    fn write(&mut self, at: usize, bytes: &[u8]);
}

/// Buffers that a card has for what it receives, and for what it sends, and how long each is.
pub(super) const RECEIVE_COUNT: usize = 64;
pub(super) const SEND_COUNT: usize = 32;
pub(super) const BUFFER_BYTES: usize = 2048;

/// Where in a card's memory its buffers are: from a place behind its rings on, those for what it receives first.
#[derive(Clone, Copy)]
pub(super) struct Buffers {
    at: usize,
}

impl Buffers {
    pub(super) const fn at(at: usize) -> Self {
        Self { at }
    }

    pub(super) const fn receive(self, index: usize) -> usize {
        self.at + index * BUFFER_BYTES
    }

    pub(super) const fn send(self, index: usize) -> usize {
        self.receive(RECEIVE_COUNT + index)
    }

    /// Where the memory ends that a card needs.
    pub(super) const fn end(self) -> usize {
        self.send(SEND_COUNT)
    }
}

/// The address that a card has in two registers, its first byte lowest.
pub(super) fn mac_in(io: &impl CardIo, [low, high]: [u32; 2]) -> Mac {
    let [a, b, c, d] = io.register(low).to_le_bytes();
    let [e, f, ..] = io.register(high).to_le_bytes();
    [a, b, c, d, e, f]
}

/// What those two have for an address.
pub(super) const fn mac_halves([a, b, c, d, e, f]: Mac) -> [u32; 2] {
    [
        u32::from_le_bytes([a, b, c, d]),
        u32::from_le_bytes([e, f, 0, 0]),
    ]
}

/// Between two looks at a register that is to change.
const LOOK_EVERY_US: u32 = 10;

/// Looks at a card until something is as it has to be, so long at most; whether it is.
pub(super) fn comes<I: CardIo>(io: &I, within_us: u32, is_there: impl Fn(&I) -> bool) -> bool {
    (0..within_us.div_ceil(LOOK_EVERY_US)).any(|_| {
        is_there(io) || {
            io.wait_us(LOOK_EVERY_US);
            false
        }
    }) || is_there(io)
}

/// Where the registers of the second window begin.
pub const SECOND_WINDOW: u32 = 1 << 24;
/// Windows of registers that a card has at most.
pub const WINDOWS: usize = 2;

/// What a register reads as that is not there.
pub(super) const NOBODY: u32 = u32::MAX;
