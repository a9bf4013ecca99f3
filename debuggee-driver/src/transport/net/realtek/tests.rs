//! The driver on a card that is made of values: what the datasheet says that registers and rings do.

extern crate std;
use super::*;
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::vec;
use std::vec::Vec;

const MEMORY_AT: u64 = 0x1_2345_6000;
const OWN_MAC: Mac = [0x52, 0x54, 0, 0x12, 0x34, 0x56];

struct Model {
    /// By their first bytes.
    bytes: BTreeMap<u32, u8>,
    memory: Vec<u8>,
    heads: [usize; 2],
    sent: Vec<Vec<u8>>,
    /// It sends when it is told to; else what it was given waits.
    sends: bool,
    /// It never comes back from a reset.
    hangs: bool,
    phy_sleeps: bool,
    revision: u32,
}

#[derive(Clone)]
struct Shared(Rc<RefCell<Model>>);

impl Model {
    fn get(&self, at: u32, len: u32) -> u64 {
        (0..len).rev().fold(0, |value, byte| {
            value << 8 | u64::from(self.bytes.get(&(at + byte)).copied().unwrap_or_default())
        })
    }

    fn set(&mut self, at: u32, value: u64, len: u32) {
        self.bytes
            .extend((0..len).map(|byte| (at + byte, (value >> (8 * byte)) as u8)));
    }

    fn word(&self, at: usize) -> u64 {
        u64::from_le_bytes(self.memory[at..at + 8].try_into().unwrap())
    }

    fn set_word(&mut self, at: usize, value: u64) {
        self.memory[at..at + 8].copy_from_slice(&value.to_le_bytes());
    }

    fn reset(&mut self) {
        let mac = self.get(MAC_LOW, 6);
        self.bytes.clear();
        self.set(MAC_LOW, mac, 6);
        self.set(COMMAND, if self.hangs { u64::from(RESET) } else { 0 }, 1);
        self.set(SEND_CONFIG, u64::from(self.revision) << REVISION_SHIFT, 4);
        self.set(MCU, u64::from(OUT_OF_BAND), 1);
        self.set(MISC, u64::from(HELD_BACK), 4);
        self.heads = [0; 2];
    }

    /// The PHY's control register is read or written; the flag says when that is done.
    fn phy(&mut self, at: u32, value: u32) {
        let is_write = value & PHY_FLAG != 0;
        if is_write {
            self.phy_sleeps = value & PHY_POWER_DOWN != 0;
        }
        let control = 0x1140 | u32::from(self.phy_sleeps) << 11;
        let flag = if is_write { 0 } else { PHY_FLAG };
        self.set(at, u64::from(value & 0x7fff_0000 | control | flag), 4);
    }

    /// A ring's next descriptor that is the card's.
    fn next(&mut self, ring: usize, low: u32) -> Option<(usize, u64)> {
        let at = (self.get(low, 8) - MEMORY_AT) as usize + 16 * self.heads[ring];
        let told = self.word(at);
        if told & OWN == 0 {
            return None;
        }
        self.heads[ring] = match told & RING_END {
            0 => self.heads[ring] + 1,
            _ => 0,
        };
        Some((at, told))
    }

    fn send(&mut self) {
        while self.sends
            && let Some((at, told)) = self.next(0, SEND_RING_LOW)
        {
            assert_eq!(told & WHOLE, WHOLE);
            let (from, len) = ((self.word(at + 8) - MEMORY_AT) as usize, told & 0xffff);
            self.sent
                .push(self.memory[from..from + len as usize].to_vec());
            self.set_word(at, told & !OWN);
        }
    }

    /// A frame comes in; false if the card has no room for it.
    fn receive(&mut self, frame: &[u8], flags: u64) -> bool {
        if self.get(COMMAND, 1) as u8 & RECEIVING == 0 {
            return false;
        }
        let Some((at, told)) = self.next(1, RECEIVE_RING_LOW) else {
            return false;
        };
        let len = frame.len() as u64 + 4;
        assert!(told & LENGTH >= len);
        let to = (self.word(at + 8) - MEMORY_AT) as usize;
        self.memory[to..to + frame.len()].copy_from_slice(frame);
        self.set_word(at, told & RING_END | flags | len);
        true
    }
}

impl CardIo for Shared {
    fn register(&self, at: u32) -> u32 {
        self.0.borrow().get(at, 4) as u32
    }

    fn set_register(&mut self, at: u32, value: u32) {
        let mut model = self.0.borrow_mut();
        let is_locked = model.get(LOCK, 1) as u8 != UNLOCKED;
        match at {
            MAC_LOW | MAC_HIGH => assert!(!is_locked),
            PHY | PHY_LATER => return model.phy(at, value),
            _ => {}
        }
        model.set(at, u64::from(value), 4);
    }

    fn register_u16(&self, at: u32) -> u16 {
        self.0.borrow().get(at, 2) as u16
    }

    fn set_register_u16(&mut self, at: u32, value: u16) {
        assert!(at != INTERRUPT_MASK || value == 0);
        self.0.borrow_mut().set(at, u64::from(value), 2);
    }

    fn register_u8(&self, at: u32) -> u8 {
        self.0.borrow().get(at, 1) as u8
    }

    fn set_register_u8(&mut self, at: u32, value: u8) {
        let mut model = self.0.borrow_mut();
        match at {
            COMMAND if value & RESET != 0 => model.reset(),
            SEND_NOW => model.send(),
            _ => model.set(at, u64::from(value), 1),
        }
    }

    fn memory_address(&self) -> u64 {
        MEMORY_AT
    }

    fn word(&self, at: usize) -> u64 {
        self.0.borrow().word(at)
    }

    fn set_word(&mut self, at: usize, value: u64) {
        self.0.borrow_mut().set_word(at, value);
    }

    fn read(&self, at: usize, out: &mut [u8]) {
        out.copy_from_slice(&self.0.borrow().memory[at..at + out.len()]);
    }

    fn write(&mut self, at: usize, bytes: &[u8]) {
        self.0.borrow_mut().memory[at..at + bytes.len()].copy_from_slice(bytes);
    }
}

fn card() -> (Realtek<Shared>, Shared) {
    of(0x3c0)
}

/// A card of a revision.
fn of(revision: u32) -> (Realtek<Shared>, Shared) {
    let mut model = Model {
        bytes: BTreeMap::new(),
        memory: vec![0xee; MEMORY_BYTES],
        heads: [0; 2],
        sent: Vec::new(),
        sends: true,
        hangs: false,
        phy_sleeps: true,
        revision,
    };
    let mac = OWN_MAC.iter().rev();
    let mac = mac.fold(0, |value, byte| value << 8 | u64::from(*byte));
    model.set(MAC_LOW, mac, 6);
    let model = Shared(Rc::new(RefCell::new(model)));
    (Realtek::new(model.clone(), None), model)
}

fn received(card: &mut Realtek<Shared>) -> Option<Vec<u8>> {
    let mut frame = [0; FRAME_BYTES];
    let len = card.receive(&mut frame)?;
    Some(frame[..len].to_vec())
}

#[test]
fn it_begins_with_its_own_address_or_the_one_that_it_is_given() {
    let (mut own, model) = card();
    assert!(own.begin() && own.is_in_order());
    assert_eq!(own.mac(), OWN_MAC);
    assert_eq!(model.register(MAC_LOW), 0x1200_5452);
    let mut given = Realtek::new(model.clone(), Some([2, 0, 0, 0, 0, 1]));
    assert!(given.begin());
    assert_eq!(model.0.borrow().get(MAC_LOW, 6), 0x0100_0000_0002);
}

#[test]
fn each_revision_is_taken_over_in_its_way() {
    for (revision, is_later) in [(0x380, false), (0x481, false), (0x4c0, true), (0x541, true)] {
        let (mut card, model) = of(revision);
        assert!(card.begin(), "{revision:x}");
        assert!(!model.0.borrow().phy_sleeps, "{revision:x}");
        let is_held_back = model.register(MISC) & HELD_BACK != 0;
        assert_eq!(is_held_back, !is_later, "{revision:x}");
        let is_firmwares = model.register_u8(MCU) & OUT_OF_BAND != 0;
        assert_eq!(is_firmwares, !is_later, "{revision:x}");
    }
}

#[test]
fn a_card_that_does_not_come_back_is_told() {
    let (mut card, model) = card();
    model.0.borrow_mut().hangs = true;
    assert!(!card.begin());
    assert!(!card.is_in_order());
}

#[test]
fn frames_come_out_in_their_order_however_often_the_rings_go_round() {
    let (mut card, model) = card();
    assert!(card.begin());
    for round in 0..5 * RECEIVE_COUNT {
        let frame = vec![round as u8; 60 + round % 1400];
        assert!(card.can_send());
        card.send(&frame);
        assert_eq!(model.0.borrow_mut().sent.pop().unwrap(), frame);
        assert!(model.0.borrow_mut().receive(&frame, WHOLE));
        assert_eq!(received(&mut card).unwrap(), frame);
        assert_eq!(received(&mut card), None);
    }
    card.send(&[7; 42]);
    let sent = model.0.borrow_mut().sent.pop().unwrap();
    assert_eq!((&sent[..42], &sent[42..]), (&[7; 42][..], &[0; 18][..]));
}

#[test]
fn a_full_ring_takes_nothing_and_loses_nothing() {
    let (mut card, model) = card();
    assert!(card.begin());
    for _ in 0..3 {
        model.0.borrow_mut().sends = false;
        let mut count: u8 = 0;
        while card.can_send() {
            card.send(&[count; 60]);
            count += 1;
        }
        assert_eq!(usize::from(count), SEND_COUNT);
        card.send(&[0xff; 60]);
        model.0.borrow_mut().sends = true;
        model.0.borrow_mut().send();
        let sent: Vec<u8> = model
            .0
            .borrow_mut()
            .sent
            .drain(..)
            .map(|it| it[0])
            .collect();
        assert_eq!(sent, (0..count).collect::<Vec<u8>>());
        assert!(card.can_send());

        let mut count: u8 = 0;
        while model.0.borrow_mut().receive(&[count; 60], WHOLE) {
            count += 1;
        }
        assert_eq!(usize::from(count), RECEIVE_COUNT);
        for expected in 0..count {
            assert_eq!(received(&mut card).unwrap()[0], expected);
        }
    }
}

#[test]
fn damaged_cut_and_longer_frames_are_thrown_away() {
    let (mut card, model) = card();
    assert!(card.begin());
    for (len, flags) in [
        (60, WHOLE | DAMAGED),
        (60, 1 << 29),
        (FRAME_BYTES + 1, WHOLE),
        (61, WHOLE),
    ] {
        assert!(model.0.borrow_mut().receive(&vec![1; len], flags));
    }
    assert_eq!(received(&mut card).unwrap().len(), 61);
    assert_eq!(received(&mut card), None);
    card.send(&[0; FRAME_BYTES + 1]);
    assert!(model.0.borrow().sent.is_empty());
}

#[test]
fn a_card_that_somebody_changed_or_that_is_at_rest_is_not_in_order() {
    let changes: [fn(&mut Realtek<Shared>, &mut Shared); 4] = [
        |_, model| model.set_register(SEND_RING_LOW, 0),
        |_, model| model.set_register(RECEIVE_RING_LOW, 0),
        |_, model| model.set_register_u8(COMMAND, SENDING),
        |card, _| card.end(),
    ];
    for change in changes {
        let (mut card, mut model) = card();
        assert!(card.begin());
        change(&mut card, &mut model);
        assert!(!card.is_in_order());
        assert!(card.begin() && card.is_in_order());
    }
}
