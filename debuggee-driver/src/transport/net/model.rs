//! Cards that are made of values, for the tests of their drivers: what is the same in each, whatever its registers and rings are,
//! and what every driver has to do with its own.

extern crate std;
use super::card::{Card, CardIo, FRAME_BYTES, Mac, Macs};
use std::cell::{RefCell, RefMut};
use std::rc::Rc;
use std::vec;
use std::vec::Vec;

/// Where a card's memory is, as the card has to name it.
pub(super) const MEMORY_AT: u64 = 0x1_2345_6000;
/// Where it is for whoever no IOMMU stands before.
pub(super) const PHYSICAL_AT: u64 = 0x4567_8000;
/// The address that is in a card, and one that it is given.
pub(super) const OWN_MAC: Mac = [0x52, 0x54, 0, 0x12, 0x34, 0x56];
pub(super) const OTHER_MAC: Mac = [2, 0, 0, 0, 0, 1];
/// Of a card that keeps its own.
pub(super) const OWN_MACS: Macs = Macs {
    own: OWN_MAC,
    used: OWN_MAC,
};
/// Of one that does not.
pub(super) const OTHER_MACS: Macs = Macs {
    own: OWN_MAC,
    used: OTHER_MAC,
};

/// What one kind of card does by itself. It panics where a driver does what none may.
pub(super) trait Model {
    /// What it has in common with others.
    fn body(&mut self) -> &mut Body;
    /// Sends what it was given.
    fn send(&mut self);
    /// A whole frame comes in; false if the card has no room for it.
    fn receive(&mut self, frame: &[u8]) -> bool;
    fn register(&self, at: u32) -> u32;
    fn set_register(&mut self, at: u32, value: u32);

    /// Time passes.
    fn wait_us(&mut self, _: u32) {}

    fn register_u16(&self, at: u32) -> u16 {
        panic!("two bytes at {at:#x}");
    }

    fn set_register_u16(&mut self, at: u32, _: u16) {
        panic!("two bytes at {at:#x}");
    }

    fn register_u8(&self, at: u32) -> u8 {
        panic!("one byte at {at:#x}");
    }

    fn set_register_u8(&mut self, at: u32, _: u8) {
        panic!("one byte at {at:#x}");
    }
}

/// What every card has.
pub(super) struct Body {
    pub(super) memory: Memory,
    /// The frames that it sent.
    pub(super) sent: Vec<Vec<u8>>,
    /// It sends when it is told to; else what it was given waits.
    pub(super) sends: bool,
}

impl Body {
    /// Memory that a driver has yet to write, and a card that sends.
    pub(super) fn new(memory_bytes: usize) -> Self {
        Self {
            memory: Memory {
                bytes: vec![0xee; memory_bytes],
                at: MEMORY_AT,
            },
            sent: Vec::new(),
            sends: true,
        }
    }

    /// Sends a frame that is in the memory.
    pub(super) fn send(&mut self, at: usize, len: usize) {
        self.sent.push(self.memory.bytes(at, len).to_vec());
    }
}

/// The memory that a card reads and writes by itself.
pub(super) struct Memory {
    bytes: Vec<u8>,
    /// Where the card finds it.
    pub(super) at: u64,
}

impl Memory {
    pub(super) fn bytes(&self, at: usize, len: usize) -> &[u8] {
        &self.bytes[at..at + len]
    }

    pub(super) fn write(&mut self, at: usize, bytes: &[u8]) {
        self.bytes[at..at + bytes.len()].copy_from_slice(bytes);
    }

    pub(super) fn half(&self, at: usize) -> u16 {
        u16::from_le_bytes(self.bytes(at, 2).try_into().unwrap())
    }

    pub(super) fn word(&self, at: usize) -> u64 {
        u64::from_le_bytes(self.bytes(at, 8).try_into().unwrap())
    }

    pub(super) fn set_word(&mut self, at: usize, value: u64) {
        self.write(at, &value.to_le_bytes());
    }

    /// The place in the memory whose address is in a word of it.
    pub(super) fn named(&self, at: usize) -> usize {
        self.place(self.word(at))
    }

    /// The place of what a card was told to be at an address.
    pub(super) fn place(&self, address: u64) -> usize {
        usize::try_from(address.checked_sub(self.at).unwrap()).unwrap()
    }
}

/// The place in the memory of what a card was told to be at an address.
pub(super) fn place(address: u64) -> usize {
    usize::try_from(address.checked_sub(MEMORY_AT).unwrap()).unwrap()
}

/// A card that its driver and its test both have.
pub(super) struct Shared<M>(Rc<RefCell<M>>);

impl<M: Model> Shared<M> {
    pub(super) fn new(model: M) -> Self {
        Self(Rc::new(RefCell::new(model)))
    }

    /// What the driver has no sight of.
    pub(super) fn inside(&self) -> RefMut<'_, M> {
        self.0.borrow_mut()
    }
}

impl<M> Clone for Shared<M> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<M: Model> CardIo for Shared<M> {
    fn register(&self, at: u32) -> u32 {
        self.inside().register(at)
    }

    fn set_register(&mut self, at: u32, value: u32) {
        self.inside().set_register(at, value);
    }

    fn register_u16(&self, at: u32) -> u16 {
        self.inside().register_u16(at)
    }

    fn set_register_u16(&mut self, at: u32, value: u16) {
        self.inside().set_register_u16(at, value);
    }

    fn register_u8(&self, at: u32) -> u8 {
        self.inside().register_u8(at)
    }

    fn set_register_u8(&mut self, at: u32, value: u8) {
        self.inside().set_register_u8(at, value);
    }

    fn wait_us(&self, time_us: u32) {
        self.inside().wait_us(time_us);
    }

    fn memory_address(&self) -> u64 {
        MEMORY_AT
    }

    fn physical_address(&self) -> u64 {
        PHYSICAL_AT
    }

    fn word(&self, at: usize) -> u64 {
        self.inside().body().memory.word(at)
    }

    fn set_word(&mut self, at: usize, value: u64) {
        self.inside().body().memory.set_word(at, value);
    }

    fn read(&self, at: usize, out: &mut [u8]) {
        out.copy_from_slice(self.inside().body().memory.bytes(at, out.len()));
    }

    fn write(&mut self, at: usize, bytes: &[u8]) {
        self.inside().body().memory.write(at, bytes);
    }
}

/// The frame that a driver takes next.
fn received(card: &mut impl Card) -> Option<Vec<u8>> {
    let mut frame = [0; FRAME_BYTES];
    let len = card.receive(&mut frame)?;
    Some(frame[..len].to_vec())
}

/// Frames go out and come in as they are, one after the other.
pub(super) fn frames_go_round<M: Model>(card: &mut impl Card, model: &Shared<M>, rounds: usize) {
    for round in 0..rounds {
        let frame = vec![round as u8; 60 + round % 1400];
        assert!(card.can_send());
        card.send(&frame);
        assert_eq!(model.inside().body().sent.pop().unwrap(), frame);
        assert!(model.inside().receive(&frame));
        assert_eq!(received(card).unwrap(), frame);
        assert_eq!(received(card), None);
    }
}

/// A card that has no more room, for `send` frames that wait and `receive` that came, has them all, in their order, and no other.
pub(super) fn full_rings_lose_nothing<M: Model>(
    card: &mut impl Card,
    model: &Shared<M>,
    send: usize,
    receive: usize,
) {
    for _ in 0..3 {
        model.inside().body().sends = false;
        let mut count: u8 = 0;
        while card.can_send() {
            card.send(&[count; 60]);
            count += 1;
        }
        assert_eq!(usize::from(count), send);
        card.send(&[0xff; 60]);
        model.inside().body().sends = true;
        model.inside().send();
        let sent = core::mem::take(&mut model.inside().body().sent);
        let sent: Vec<u8> = sent.iter().map(|it| it[0]).collect();
        assert_eq!(sent, (0..count).collect::<Vec<u8>>());
        assert!(card.can_send());

        let mut count: u8 = 0;
        while model.inside().receive(&[count; 60]) {
            count += 1;
        }
        assert_eq!(usize::from(count), receive);
        for expected in 0..count {
            assert_eq!(received(card).unwrap()[0], expected);
        }
    }
}

/// Of all that came, one frame of this length is taken; and none is sent that is longer than a frame may be.
pub(super) fn one_is_taken<M: Model>(card: &mut impl Card, model: &Shared<M>, len: usize) {
    assert_eq!(received(card).unwrap().len(), len);
    assert_eq!(received(card), None);
    card.send(&[0; FRAME_BYTES + 1]);
    assert!(model.inside().body().sent.is_empty());
}

/// Whatever is changed in a card that has begun, its driver finds that out, and begins anew.
pub(super) fn changes_are_found<C: Card, M: Model>(
    made: fn() -> (C, Shared<M>),
    changes: &[fn(&mut M)],
) {
    for change in changes {
        let (mut card, model) = made();
        assert!(card.begin());
        change(&mut model.inside());
        assert!(!card.is_in_order());
        assert!(card.begin() && card.is_in_order());
    }
}
