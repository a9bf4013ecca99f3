//! The driver on a card that is made of values: what the manual says that registers and rings do.

extern crate std;
use super::*;
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::vec;
use std::vec::Vec;

const EECD: u32 = 0x10;
const CTRL_EXT: u32 = 0x18;
const MDIC: u32 = 0x20;
const TXDCTL: u32 = 0x3828;
const TARC0: u32 = 0x3840;

const MEMORY_AT: u64 = 0x1_2345_6000;
const OWN: Mac = [0x52, 0x54, 0, 0x12, 0x34, 0x56];

/// The card: its registers, the memory, and what it sent.
struct Model {
    registers: BTreeMap<u32, u32>,
    memory: Vec<u8>,
    sent: Vec<Vec<u8>>,
    /// It sends when it is told to; else what it was given waits.
    sends: bool,
    /// It never comes back from a reset.
    hangs: bool,
    /// What the card sets in registers behind a reset.
    after_reset: Vec<(u32, u32)>,
    /// Its PHY sleeps.
    phy_sleeps: bool,
}

#[derive(Clone)]
struct Shared(Rc<RefCell<Model>>);

impl Model {
    fn register(&self, at: u32) -> u32 {
        self.registers.get(&at).copied().unwrap_or_default()
    }

    fn word(&self, at: usize) -> u64 {
        u64::from_le_bytes(self.memory[at..at + 8].try_into().unwrap())
    }

    fn set_word(&mut self, at: usize, value: u64) {
        self.memory[at..at + 8].copy_from_slice(&value.to_le_bytes());
    }

    /// Where in the memory a ring is.
    fn ring(&self, low: u32, high: u32) -> usize {
        let address = u64::from(self.register(high)) << 32 | u64::from(self.register(low));
        usize::try_from(address.checked_sub(MEMORY_AT).unwrap()).unwrap()
    }

    fn written(&mut self, at: u32, value: u32) {
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

    fn send(&mut self) {
        let ring = self.ring(TDBAL, TDBAH);
        let count = self.register(TDLEN) / 16;
        while self.sends && self.register(TCTL) & TCTL_EN != 0 {
            let head = self.register(TDH);
            if head == self.register(TDT) {
                return;
            }
            let descriptor = ring + 16 * head as usize;
            let buffer = (self.word(descriptor) - MEMORY_AT) as usize;
            let told = self.word(descriptor + 8);
            assert_eq!(told & 0xff << 24, SEND, "a whole frame, to be told of");
            let len = usize::from(told as u16);
            self.sent.push(self.memory[buffer..buffer + len].to_vec());
            self.set_word(descriptor + 8, told | DONE);
            self.registers.insert(TDH, (head + 1) % count);
        }
    }

    /// A frame comes in; false if the card has no room for it.
    fn receive(&mut self, frame: &[u8], told: u64) -> bool {
        let (head, tail) = (self.register(RDH), self.register(RDT));
        if self.register(RCTL) & RCTL_EN == 0 || head == tail {
            return false;
        }
        let descriptor = self.ring(RDBAL, RDBAH) + 16 * head as usize;
        let buffer = (self.word(descriptor) - MEMORY_AT) as usize;
        self.memory[buffer..buffer + frame.len()].copy_from_slice(frame);
        self.set_word(descriptor + 8, told | frame.len() as u64);
        let count = self.register(RDLEN) / 16;
        self.registers.insert(RDH, (head + 1) % count);
        true
    }
}

impl CardIo for Shared {
    fn register(&self, at: u32) -> u32 {
        self.0.borrow().register(at)
    }

    fn set_register(&mut self, at: u32, value: u32) {
        self.0.borrow_mut().written(at, value);
    }

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

fn card() -> (E1000<Shared>, Shared) {
    of(Family::Pci, &[])
}

fn of(family: Family, after_reset: &[(u32, u32)]) -> (E1000<Shared>, Shared) {
    let [a, b, c, d, e, f] = OWN;
    let model = Model {
        registers: BTreeMap::from([
            (RAL0, u32::from_le_bytes([a, b, c, d])),
            (RAH0, u32::from_le_bytes([e, f, 0, 0x80])),
        ]),
        memory: vec![0; MEMORY_BYTES],
        sent: Vec::new(),
        sends: true,
        hangs: false,
        after_reset: after_reset.to_vec(),
        phy_sleeps: true,
    };
    let model = Shared(Rc::new(RefCell::new(model)));
    (E1000::new(model.clone(), family, None), model)
}

fn received(card: &mut E1000<Shared>) -> Option<Vec<u8>> {
    let mut frame = [0; FRAME_BYTES];
    let len = card.receive(&mut frame)?;
    Some(frame[..len].to_vec())
}

#[test]
fn it_begins_with_its_own_address_or_the_one_that_it_is_given() {
    let (mut own, model) = card();
    assert!(own.begin() && own.is_in_order());
    assert_eq!(own.mac(), OWN);
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
        assert!(model.0.borrow_mut().receive(&frame, DONE | END_OF_PACKET));
        assert_eq!(received(&mut card).unwrap(), frame);
        assert_eq!(received(&mut card), None);
    }
}

#[test]
fn a_full_ring_takes_nothing_and_loses_nothing() {
    let (mut card, model) = card();
    assert!(card.begin());
    model.0.borrow_mut().sends = false;
    let mut count: u8 = 0;
    while card.can_send() {
        card.send(&[count; 60]);
        count += 1;
    }
    assert_eq!(usize::from(count), SEND_COUNT - 1);
    card.send(&[0xff; 60]);
    model.0.borrow_mut().sends = true;
    model.0.borrow_mut().send();
    let sent: Vec<u8> = model.0.borrow().sent.iter().map(|it| it[0]).collect();
    assert_eq!(sent, (0..count).collect::<Vec<u8>>());
    assert!(card.can_send());

    let mut count: u8 = 0;
    while model
        .0
        .borrow_mut()
        .receive(&[count; 60], DONE | END_OF_PACKET)
    {
        count += 1;
    }
    assert_eq!(usize::from(count), RECEIVE_COUNT - 1);
    for expected in 0..count {
        assert_eq!(received(&mut card).unwrap()[0], expected);
    }
    assert!(model.0.borrow_mut().receive(&[7; 60], DONE | END_OF_PACKET));
    assert_eq!(received(&mut card).unwrap()[0], 7);
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
        assert!(model.0.borrow_mut().receive(&vec![1; len], told));
    }
    assert_eq!(received(&mut card).unwrap().len(), 61);
    assert_eq!(received(&mut card), None);
    card.send(&[0; FRAME_BYTES + 1]);
    assert!(model.0.borrow().sent.is_empty());
}

#[test]
fn a_card_at_rest_has_no_rings() {
    let (mut card, model) = card();
    assert!(card.begin());
    card.end();
    for at in [RCTL, TDBAL, RDBAL] {
        assert_eq!(model.register(at), 0);
    }
    assert!(!model.0.borrow_mut().receive(&[1; 60], DONE | END_OF_PACKET));
    assert!(!card.is_in_order());
}

#[test]
fn a_card_that_somebody_changed_is_not_in_order() {
    for at in [RCTL, TCTL, RDBAL, TDBAL] {
        let (mut card, mut model) = card();
        assert!(card.begin());
        model.set_register(at, 0);
        assert!(!card.is_in_order());
        assert!(card.begin() && card.is_in_order());
    }
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
        assert!(!model.0.borrow().phy_sleeps, "{family:?}");
        let table = MTA..MTA + 4 * 128;
        let cleared = model.0.borrow().registers.range(table).count();
        assert_eq!(cleared, multicasts, "{family:?}");
        card.send(&[7; 60]);
        assert_eq!(model.0.borrow_mut().sent.pop().unwrap(), [7; 60]);
        // And again, with something in its rings.
        assert!(card.begin() && card.is_in_order());
    }
}

#[test]
fn a_card_that_does_not_set_itself_up_is_told() {
    for family in [Family::Express, Family::ChipSet, Family::ChipSet219] {
        let (mut card, _) = of(family, &[(STATUS, 0)]);
        assert!(!card.begin(), "{family:?}");
    }
}
