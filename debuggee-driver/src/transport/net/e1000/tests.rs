//! The driver on a card that is made of values: what the manual says that registers and rings do.

extern crate std;
use super::*;
use crate::transport::net::model::{
    Body, Model, OTHER_MACS, OWN_MAC, OWN_MACS, Shared, changes_are_found, frames_go_round,
    full_rings_lose_nothing, one_is_taken, place,
};
use std::collections::BTreeMap;
use std::vec;
use std::vec::Vec;

const EECD: u32 = 0x10;
const EERD: u32 = 0x14;
const CTRL_EXT: u32 = 0x18;
const MDIC: u32 = 0x20;
const TXDCTL: u32 = 0x3828;
const TARC0: u32 = 0x3840;
const RXDCTL: u32 = 0x2828;
const EXTCNF_CTRL: u32 = 0x0f00;
const PHY_OWNED: u32 = 1 << 5;

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
    family: Family,
    /// Looks until its firmware lets the PHY go.
    firmware_has_phy: u32,
    /// It is not to be looked at for so long.
    untouchable_us: u32,
    /// It has buffers that it did not fetch.
    is_unfetched: bool,
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
            if told == NO_END {
                assert_eq!(buffer, SEND_RING);
            } else {
                assert_eq!(told & 0xff << 24, SEND, "a whole frame, to be told of");
                self.body.send(buffer, usize::from(told as u16));
                self.body.memory.set_word(descriptor + 8, told | DONE);
            }
            self.registers.insert(TDH, (head + 1) % count);
        }
    }

    fn receive(&mut self, frame: &[u8]) -> bool {
        self.receive_as(frame, DONE | END_OF_PACKET)
    }

    fn register(&self, at: u32) -> u32 {
        assert_eq!(self.untouchable_us, 0, "looked at too early");
        self.registers.get(&at).copied().unwrap_or_default()
    }

    /// What it has in its rings it fetches meanwhile.
    fn wait_us(&mut self, time_us: u32) {
        self.untouchable_us = self.untouchable_us.saturating_sub(time_us);
        if self.untouchable_us > 0 {
            return;
        }
        if time_us >= 200 && self.register(TCTL) & TCTL_EN != 0 {
            self.body.sends = true;
            self.send();
        }
        let fetches = self.register(RXDCTL) & 0x0100_3fff == 0x0100_011f;
        if time_us >= 100 && fetches && self.register(RCTL) & RCTL_EN != 0 {
            self.is_unfetched = false;
        }
    }

    fn set_register(&mut self, at: u32, value: u32) {
        assert_eq!(self.untouchable_us, 0, "written to too early");
        let is_shared = self.family != Family::Pci;
        match at {
            CTRL if value & CTRL_RST != 0 => {
                let owner = self.register(EXTCNF_CTRL) & PHY_OWNED;
                assert!(!is_shared || owner != 0 || self.firmware_has_phy > 0);
                let is_full = self.register(TDH) != self.register(TDT) || self.is_unfetched;
                self.hangs |= self.family == Family::ChipSet219 && is_full;
                self.is_unfetched = false;
                self.untouchable_us = match self.family {
                    Family::Pci | Family::Express => 1,
                    Family::ChipSet | Family::ChipSet219 => 20_000,
                };
                self.registers.clear();
                self.registers
                    .insert(CTRL, if self.hangs { CTRL_RST } else { 0 });
                self.registers.insert(STATUS, 2);
                let [low, high] = mac_halves(OWN_MAC);
                self.registers.extend([(RAL0, low), (RAH0, high)]);
                self.registers.extend(self.after_reset.iter().copied());
            }
            EXTCNF_CTRL if value & PHY_OWNED != 0 && self.firmware_has_phy > 0 => {
                self.firmware_has_phy -= 1;
            }
            MDIC => {
                let owner = self.register(EXTCNF_CTRL) & PHY_OWNED;
                assert!(!is_shared || owner != 0, "the PHY is the firmware's");
                // Reads and writes of the control register, which is the first.
                if value >> 26 & 3 == 1 {
                    self.phy_sleeps = value & 1 << 11 != 0;
                }
                let control = 0x1140 | u32::from(self.phy_sleeps) << 11;
                self.registers
                    .insert(at, value & !0xffff | control | 1 << 28);
            }
            // Words of its own memory.
            EERD => {
                let word = &OWN_MAC[(value >> 8) as usize * 2..][..2];
                let word = u32::from(word[0]) << 16 | u32::from(word[1]) << 24;
                let is_done = u32::from(self.family == Family::Pci && value & 1 != 0) << 4;
                self.registers.insert(at, word | is_done);
            }
            IMC => {}
            TDT => {
                self.registers.insert(at, value);
                self.send();
            }
            RDT => {
                self.registers.insert(at, value);
                self.is_unfetched = true;
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
        family,
        firmware_has_phy: 0,
        untouchable_us: 0,
        is_unfetched: false,
    };
    let model = Shared::new(model);
    (E1000::new(model.clone(), family, OWN_MACS), model)
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
    let mut given = E1000::new(model.clone(), Family::Pci, OTHER_MACS);
    assert!(given.begin());
    assert_eq!([registers(RAL0), registers(RAH0)], [2, 0x8000_0100]);
    given.end();
    assert_eq!(mac(&mut model.clone(), Family::Pci), OWN_MAC);
}

#[test]
fn an_address_that_nobody_has_taken_out_of_the_cards_memory_is_read_there() {
    for (family, found) in [(Family::Pci, OWN_MAC), (Family::Express, [0; 6])] {
        let (_, mut model) = of(family, &[]);
        model.set_register(RAL0, 0);
        model.set_register(RAH0, 0);
        assert_eq!(mac(&mut model, family), found, "{family:?}");
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
        assert_eq!(model.register(EXTCNF_CTRL) & PHY_OWNED, 0);
        // And again, with something in its rings.
        for frames in [0, 1, SEND_COUNT - 1] {
            model.inside().body.sends = false;
            for _ in 0..frames {
                card.send(&[8; 60]);
            }
            assert!(card.begin() && card.is_in_order(), "{family:?}: {frames}");
            model.inside().body.sends = true;
        }
        card.end();
        assert_eq!(model.register(CTRL_EXT), 0, "{family:?} has no driver");
    }
}

/// What another driver left there leads to memory that is somebody else's by now.
#[test]
fn rings_of_nobody_knows_whom_are_not_fetched() {
    let (mut card, model) = of(Family::ChipSet219, &[(STATUS, 1 << 9)]);
    assert!(card.begin());
    model.inside().body.sends = false;
    card.send(&[7; 60]);
    model.inside().set_register(TDBAL, 0x1000);
    // The card may not come back, but it reads nothing.
    assert!(!card.begin());
    assert!(model.inside().body.sent.is_empty());
}

#[test]
fn a_phy_is_taken_from_its_firmware_only_when_that_lets_it_go() {
    for family in [Family::Express, Family::ChipSet, Family::ChipSet219] {
        let (mut card, model) = of(family, &[(STATUS, 1 << 9), (EECD, 1 << 9)]);
        model.inside().firmware_has_phy = 20;
        assert!(card.begin());
        assert!(!model.inside().phy_sleeps, "{family:?}");
        assert_eq!(model.register(EXTCNF_CTRL) & PHY_OWNED, 0);
        // One that does not keeps it, and nobody asks for it any more.
        let (mut card, model) = of(family, &[(STATUS, 1 << 9), (EECD, 1 << 9)]);
        model.inside().firmware_has_phy = u32::MAX;
        assert!(card.begin());
        assert!(model.inside().phy_sleeps, "{family:?}");
        assert_eq!(model.register(EXTCNF_CTRL) & PHY_OWNED, 0);
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
