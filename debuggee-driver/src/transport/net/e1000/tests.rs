//! The driver on a card that is made of values: what the manual says that registers and rings do.

extern crate std;
use super::*;
use crate::transport::net::model::{
    Body, Model, OWN_MAC, Shared, changes_are_found, frames_go_round, full_rings_lose_nothing,
    one_is_taken, place,
};
use std::collections::BTreeMap;
use std::vec;
use std::vec::Vec;

const EECD: u32 = 0x10;
const CTRL_EXT: u32 = 0x18;
const MDIC: u32 = 0x20;
const TXDCTL: u32 = 0x3828;
const TARC0: u32 = 0x3840;

/// The card: its registers, the memory, and what it sent.
struct Chip {
    registers: BTreeMap<u32, u32>,
    body: Body,
    /// It never comes back from a reset.
    hangs: bool,
    /// What the card sets in registers behind a reset.
    after_reset: Vec<(u32, u32)>,
    /// Its PHY sleeps.
    phy_sleeps: bool,
}

impl Chip {
    /// Where in the memory a ring is.
    fn ring(&self, low: u32, high: u32) -> usize {
        place(u64::from(self.register(high)) << 32 | u64::from(self.register(low)))
    }

    /// A frame comes in; false if the card has no room for it.
    fn receive_as(&mut self, frame: &[u8], told: u64) -> bool {
        let (head, tail) = (self.register(RDH), self.register(RDT));
        if self.register(RCTL) & RCTL_EN == 0 || head == tail {
            return false;
        }
        let descriptor = self.ring(RDBAL, RDBAH) + 16 * head as usize;
        let buffer = self.body.memory.named(descriptor);
        self.body.memory.write(buffer, frame);
        self.body
            .memory
            .set_word(descriptor + 8, told | frame.len() as u64);
        let count = self.register(RDLEN) / 16;
        self.registers.insert(RDH, (head + 1) % count);
        true
    }
}

impl Model for Chip {
    fn body(&mut self) -> &mut Body {
        &mut self.body
    }

    fn send(&mut self) {
        let ring = self.ring(TDBAL, TDBAH);
        let count = self.register(TDLEN) / 16;
        while self.body.sends && self.register(TCTL) & TCTL_EN != 0 {
            let head = self.register(TDH);
            if head == self.register(TDT) {
                return;
            }
            let descriptor = ring + 16 * head as usize;
            let buffer = self.body.memory.named(descriptor);
            let told = self.body.memory.word(descriptor + 8);
            assert_eq!(told & 0xff << 24, SEND, "a whole frame, to be told of");
            let len = usize::from(told as u16);
            self.body.send(buffer, len);
            self.body.memory.set_word(descriptor + 8, told | DONE);
            self.registers.insert(TDH, (head + 1) % count);
        }
    }

    fn receive(&mut self, frame: &[u8]) -> bool {
        self.receive_as(frame, DONE | END_OF_PACKET)
    }

    fn register(&self, at: u32) -> u32 {
        self.registers.get(&at).copied().unwrap_or_default()
    }

    fn set_register(&mut self, at: u32, value: u32) {
        match at {
            CTRL if value & CTRL_RST != 0 => {
                self.registers.clear();
                self.registers
                    .insert(CTRL, if self.hangs { CTRL_RST } else { 0 });
                self.registers.insert(STATUS, 2);
                self.registers.extend(self.after_reset.iter().copied());
            }
            MDIC => {
                // Reads and writes of the control register, which is the first.
                if value >> 26 & 3 == 1 {
                    self.phy_sleeps = value & 1 << 11 != 0;
                }
                let control = 0x1140 | u32::from(self.phy_sleeps) << 11;
                self.registers
                    .insert(at, value & !0xffff | control | 1 << 28);
            }
            IMC => {}
            TDT => {
                self.registers.insert(at, value);
                self.send();
            }
            _ => {
                self.registers.insert(at, value);
            }
        }
    }
}

fn card() -> (E1000<Shared<Chip>>, Shared<Chip>) {
    of(Family::Pci, &[])
}

fn of(family: Family, after_reset: &[(u32, u32)]) -> (E1000<Shared<Chip>>, Shared<Chip>) {
    let [low, high] = mac_halves(OWN_MAC);
    let model = Chip {
        registers: BTreeMap::from([(RAL0, low), (RAH0, high | RAH_VALID)]),
        body: Body::new(MEMORY_BYTES),
        hangs: false,
        after_reset: after_reset.to_vec(),
        phy_sleeps: true,
    };
    let model = Shared::new(model);
    (E1000::new(model.clone(), family, None), model)
}

#[test]
fn it_begins_with_its_own_address_or_the_one_that_it_is_given() {
    let (mut own, model) = card();
    assert!(own.begin() && own.is_in_order());
    assert_eq!(own.mac(), OWN_MAC);
    let registers = |at| model.register(at);
    assert_eq!(
        [registers(RAL0), registers(RAH0)],
        [0x1200_5452, 0x8000_5634]
    );
    assert_eq!(registers(RDT), RECEIVE_COUNT as u32 - 1);
    let mut given = E1000::new(model.clone(), Family::Pci, Some([2, 0, 0, 0, 0, 1]));
    assert!(given.begin());
    assert_eq!([registers(RAL0), registers(RAH0)], [2, 0x8000_0100]);
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
}

#[test]
fn a_full_ring_takes_nothing_and_loses_nothing() {
    let (mut card, model) = card();
    assert!(card.begin());
    full_rings_lose_nothing(&mut card, &model, SEND_COUNT - 1, RECEIVE_COUNT - 1);
}

#[test]
fn damaged_cut_and_longer_frames_are_thrown_away() {
    let (mut card, model) = card();
    assert!(card.begin());
    for (len, told) in [
        (60, DONE | END_OF_PACKET | 1 << 40),
        (60, DONE),
        (FRAME_BYTES + 1, DONE | END_OF_PACKET),
        (61, DONE | END_OF_PACKET),
    ] {
        assert!(model.inside().receive_as(&vec![1; len], told));
    }
    one_is_taken(&mut card, &model, 61);
}

#[test]
fn a_card_at_rest_has_no_rings() {
    let (mut card, model) = card();
    assert!(card.begin());
    card.end();
    for at in [RCTL, TDBAL, RDBAL] {
        assert_eq!(model.register(at), 0);
    }
    assert!(!model.inside().receive(&[1; 60]));
    assert!(!card.is_in_order());
}

#[test]
fn a_card_that_somebody_changed_is_not_in_order() {
    let changes: [fn(&mut Chip); 4] = [
        |model| model.set_register(RCTL, 0),
        |model| model.set_register(TCTL, 0),
        |model| model.set_register(RDBAL, 0),
        |model| model.set_register(TDBAL, 0),
    ];
    changes_are_found(card, &changes);
}

/// What each family sets behind a reset, and what it then has to have.
#[test]
fn each_family_is_waited_for_and_set_up_in_its_way() {
    let cases: [(Family, (u32, u32), u32, usize); 4] = [
        (Family::Pci, (STATUS, 2), 0, 128),
        (Family::Express, (EECD, 1 << 9), 1 << 26, 128),
        (Family::ChipSet, (STATUS, 1 << 9 | 1 << 10), 0x0d80_0000, 32),
        (Family::ChipSet219, (STATUS, 1 << 9), 0x0d80_0000, 32),
    ];
    for (family, after_reset, arbitration, multicasts) in cases {
        let (mut card, model) = of(family, &[after_reset]);
        assert!(card.begin() && card.is_in_order(), "{family:?}");
        let is_new = family != Family::Pci;
        assert_eq!(model.register(TARC0), arbitration, "{family:?}");
        assert_eq!(model.register(TXDCTL), u32::from(is_new) << 22);
        assert_eq!(model.register(CTRL_EXT), u32::from(is_new) << 28);
        assert_eq!(model.register(STATUS) & 0x600, 0);
        assert!(!model.inside().phy_sleeps, "{family:?}");
        let table = MTA..MTA + 4 * 128;
        let cleared = model.inside().registers.range(table).count();
        assert_eq!(cleared, multicasts, "{family:?}");
        card.send(&[7; 60]);
        assert_eq!(model.inside().body.sent.pop().unwrap(), [7; 60]);
        // And again, with something in its rings.
        assert!(card.begin() && card.is_in_order());
    }
}

#[test]
fn a_card_that_does_not_set_itself_up_is_told() {
    // The chip set's part need not say that it has.
    for (family, is_there) in [
        (Family::Express, false),
        (Family::ChipSet, true),
        (Family::ChipSet219, true),
    ] {
        let (mut card, _) = of(family, &[(STATUS, 0)]);
        assert_eq!(card.begin(), is_there, "{family:?}");
    }
}
