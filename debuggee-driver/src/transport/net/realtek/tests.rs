//! The driver on a card that is made of values: what the datasheet says that registers and rings do.

extern crate std;
use super::*;
use crate::transport::net::model::{
    Body, Model, OTHER_MACS, OWN_MAC, OWN_MACS, Shared, changes_are_found, frames_go_round,
    full_rings_lose_nothing, one_is_taken, place,
};
use std::collections::BTreeMap;
use std::vec;

struct Chip {
    /// By their first bytes.
    bytes: BTreeMap<u32, u8>,
    body: Body,
    heads: [usize; 2],
    /// It never comes back from a reset.
    hangs: bool,
    phy_sleeps: bool,
    revision: u32,
}

impl Chip {
    fn get(&self, at: u32, len: u32) -> u64 {
        (0..len).rev().fold(0, |value, byte| {
            value << 8 | u64::from(self.bytes.get(&(at + byte)).copied().unwrap_or_default())
        })
    }

    fn set(&mut self, at: u32, value: u64, len: u32) {
        self.bytes
            .extend((0..len).map(|byte| (at + byte, (value >> (8 * byte)) as u8)));
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
        let at = place(self.get(low, 8)) + 16 * self.heads[ring];
        let told = self.body.memory.word(at);
        if told & OWN == 0 {
            return None;
        }
        self.heads[ring] = match told & RING_END {
            0 => self.heads[ring] + 1,
            _ => 0,
        };
        Some((at, told))
    }

    /// A frame comes in; false if the card has no room for it.
    fn receive_as(&mut self, frame: &[u8], flags: u64) -> bool {
        if self.get(COMMAND, 1) as u8 & RECEIVING == 0 {
            return false;
        }
        let Some((at, told)) = self.next(1, RECEIVE_RING_LOW) else {
            return false;
        };
        let len = frame.len() as u64 + 4;
        assert!(told & LENGTH >= len);
        let to = self.body.memory.named(at + 8);
        self.body.memory.write(to, frame);
        self.body.memory.set_word(at, told & RING_END | flags | len);
        true
    }
}

impl Model for Chip {
    fn body(&mut self) -> &mut Body {
        &mut self.body
    }

    fn send(&mut self) {
        while self.body.sends
            && let Some((at, told)) = self.next(0, SEND_RING_LOW)
        {
            assert_eq!(told & WHOLE, WHOLE);
            let (from, len) = (self.body.memory.named(at + 8), told & 0xffff);
            self.body.send(from, len as usize);
            self.body.memory.set_word(at, told & !OWN);
        }
    }

    fn receive(&mut self, frame: &[u8]) -> bool {
        self.receive_as(frame, WHOLE)
    }

    fn register(&self, at: u32) -> u32 {
        self.get(at, 4) as u32
    }

    fn set_register(&mut self, at: u32, value: u32) {
        let is_locked = self.get(LOCK, 1) as u8 != UNLOCKED;
        match at {
            MAC_LOW | MAC_HIGH => assert!(!is_locked),
            PHY | PHY_LATER => return self.phy(at, value),
            _ => {}
        }
        self.set(at, u64::from(value), 4);
    }

    fn register_u16(&self, at: u32) -> u16 {
        self.get(at, 2) as u16
    }

    fn set_register_u16(&mut self, at: u32, value: u16) {
        assert!(at != INTERRUPT_MASK || value == 0);
        self.set(at, u64::from(value), 2);
    }

    fn register_u8(&self, at: u32) -> u8 {
        self.get(at, 1) as u8
    }

    fn set_register_u8(&mut self, at: u32, value: u8) {
        match at {
            COMMAND if value & RESET != 0 => self.reset(),
            SEND_NOW => self.send(),
            _ => self.set(at, u64::from(value), 1),
        }
    }
}

fn card() -> (Realtek<Shared<Chip>>, Shared<Chip>) {
    of(0x3c0)
}

/// A card of a revision.
fn of(revision: u32) -> (Realtek<Shared<Chip>>, Shared<Chip>) {
    let mut model = Chip {
        bytes: BTreeMap::new(),
        body: Body::new(MEMORY_BYTES),
        heads: [0; 2],
        hangs: false,
        phy_sleeps: true,
        revision,
    };
    let mac = OWN_MAC.iter().rev();
    let mac = mac.fold(0, |value, byte| value << 8 | u64::from(*byte));
    model.set(MAC_LOW, mac, 6);
    let model = Shared::new(model);
    (Realtek::new(model.clone(), OWN_MACS), model)
}

#[test]
fn it_begins_with_its_own_address_or_the_one_that_it_is_given() {
    let (mut own, model) = card();
    assert!(own.begin() && own.is_in_order());
    assert_eq!(own.mac(), OWN_MAC);
    assert_eq!(model.register(MAC_LOW), 0x1200_5452);
    let mut given = Realtek::new(model.clone(), OTHER_MACS);
    assert!(given.begin());
    assert_eq!(model.inside().get(MAC_LOW, 6), 0x0100_0000_0002);
    given.end();
    assert_eq!(mac(&model), OWN_MAC);
    assert_eq!(model.register_u8(LOCK), 0);
}

#[test]
fn each_revision_is_taken_over_in_its_way() {
    for (revision, is_later) in [(0x380, false), (0x481, false), (0x4c0, true), (0x541, true)] {
        let (mut card, model) = of(revision);
        assert!(card.begin(), "{revision:x}");
        assert!(!model.inside().phy_sleeps, "{revision:x}");
        let is_held_back = model.register(MISC) & HELD_BACK != 0;
        assert_eq!(is_held_back, !is_later, "{revision:x}");
        let is_firmwares = model.register_u8(MCU) & OUT_OF_BAND != 0;
        assert_eq!(is_firmwares, !is_later, "{revision:x}");
    }
}

#[test]
fn a_card_that_does_not_come_back_is_told() {
    let (mut card, model) = card();
    model.inside().hangs = true;
    assert!(!card.begin());
    assert!(!card.is_in_order());
}

#[test]
fn frames_come_out_in_their_order_however_often_the_rings_go_round() {
    let (mut card, model) = card();
    assert!(card.begin());
    frames_go_round(&mut card, &model, 5 * RECEIVE_COUNT);
    card.send(&[7; 42]);
    let sent = model.inside().body.sent.pop().unwrap();
    assert_eq!((&sent[..42], &sent[42..]), (&[7; 42][..], &[0; 18][..]));
}

#[test]
fn a_full_ring_takes_nothing_and_loses_nothing() {
    let (mut card, model) = card();
    assert!(card.begin());
    full_rings_lose_nothing(&mut card, &model, SEND_COUNT, RECEIVE_COUNT);
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
        assert!(model.inside().receive_as(&vec![1; len], flags));
    }
    one_is_taken(&mut card, &model, 61);
}

#[test]
fn a_card_that_somebody_changed_is_not_in_order() {
    let changes: [fn(&mut Chip); 3] = [
        |model| model.set_register(SEND_RING_LOW, 0),
        |model| model.set_register(RECEIVE_RING_LOW, 0),
        |model| model.set_register_u8(COMMAND, SENDING),
    ];
    changes_are_found(card, &changes);
}

#[test]
fn a_card_at_rest_is_not_in_order_until_it_begins() {
    let (mut card, _) = card();
    assert!(card.begin());
    card.end();
    assert!(!card.is_in_order());
    assert!(card.begin() && card.is_in_order());
}
