//! The driver on a card that is made of values: what the public description says that registers and rings do.

extern crate std;
use super::*;
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::vec;
use std::vec::Vec;

const MEMORY_AT: u64 = 0x1_2345_6000;
const OWN: Mac = [0x52, 0x54, 0, 0x12, 0x34, 0x56];

/// A ring, as the card goes through it.
#[derive(Clone, Copy)]
struct Ring {
    at: usize,
    turn: Turn,
}

impl Ring {
    const NONE: Self = Self {
        at: 0,
        turn: Turn::FIRST,
    };

    const fn next(&mut self, count: usize) -> usize {
        let at = self.turn.at(self.at);
        self.turn = self.turn.next(count);
        at
    }
}

struct Model {
    registers: BTreeMap<u32, u32>,
    answer: u32,
    active: bool,
    mac: [u32; 2],
    memory: Vec<u8>,
    rings: [Ring; 4],
    sent: Vec<Vec<u8>>,
    sends: bool,
    /// It does not become active.
    fails: bool,
}

#[derive(Clone)]
struct Shared(Rc<RefCell<Model>>);

impl Model {
    fn word(&self, at: usize) -> u64 {
        u64::from_le_bytes(self.memory[at..at + 8].try_into().unwrap())
    }

    fn set_word(&mut self, at: usize, value: u64) {
        self.memory[at..at + 8].copy_from_slice(&value.to_le_bytes());
    }

    fn place(&self, at: usize) -> usize {
        usize::try_from(self.word(at).checked_sub(MEMORY_AT).unwrap()).unwrap()
    }

    fn command(&mut self, command: u32) {
        self.answer = 0;
        match command {
            RESET | QUIESCE => self.active = false,
            ACTIVATE if self.fails => self.answer = 1,
            ACTIVATE => {
                let low = self.registers[&SHARED_LOW];
                let high = self.registers[&SHARED_HIGH];
                let shared = u64::from(high) << 32 | u64::from(low);
                assert_eq!(shared, MEMORY_AT);
                assert_eq!(self.word(0), MAGIC);
                assert_eq!(self.memory[62..64], [1, 1], "one queue of each kind");
                assert_eq!(self.memory[108], 1, "no interrupts");
                let queues = self.place(40);
                let [sent, received] = [queues, queues + 256];
                for (queue, count) in [(sent, SEND_COUNT), (received, RECEIVE_COUNT)] {
                    let sizes = [56, 64].map(|at| self.word(queue + at));
                    assert_eq!(sizes, [count as u64; 2]);
                }
                let at = [
                    self.place(sent + 16),
                    self.place(sent + 32),
                    self.place(received + 16),
                    self.place(received + 32),
                ];
                assert!(at.iter().all(|at| at.is_multiple_of(512)));
                self.rings = at.map(|at| Ring { at, ..Ring::NONE });
                self.active = true;
            }
            UPDATE_RECEIVE_MODE => assert_eq!(self.memory[120], 5),
            GET_QUEUE_STATUS => {}
            other => panic!("command {other:#x}"),
        }
    }

    fn send(&mut self) {
        while self.sends && self.active {
            let turn = self.rings[0].turn;
            let at = turn.at(self.rings[0].at);
            let told = self.word(at + 8);
            if (told >> SEND_TURN & 1 != 0) != turn.bit {
                return;
            }
            self.rings[0].next(SEND_COUNT);
            assert_eq!(told & SEND, SEND, "a whole frame, to be told of");
            let (from, len) = (self.place(at), (told & LENGTH) as usize);
            self.sent.push(self.memory[from..from + len].to_vec());
            let bit = u64::from(self.rings[1].turn.bit);
            let done = self.rings[1].next(SEND_COUNT);
            self.set_word(done, turn.index as u64);
            self.set_word(done + 8, bit << DONE_TURN);
        }
    }

    /// A frame comes in; false if the card has no room for it.
    fn receive(&mut self, frame: &[u8], which: u64, told: u64) -> bool {
        if !self.active {
            return false;
        }
        let turn = self.rings[2].turn;
        let at = turn.at(self.rings[2].at);
        let room = self.word(at + 8);
        if (room >> RECEIVE_TURN & 1 != 0) != turn.bit {
            return false;
        }
        self.rings[2].next(RECEIVE_COUNT);
        assert!((room & LENGTH) as usize >= frame.len());
        let to = self.place(at);
        self.memory[to..to + frame.len()].copy_from_slice(frame);
        let bit = u64::from(self.rings[3].turn.bit);
        let done = self.rings[3].next(RECEIVE_COUNT);
        self.set_word(done, turn.index as u64 | which);
        self.set_word(done + 8, frame.len() as u64 | told | bit << DONE_TURN);
        true
    }
}

impl CardIo for Shared {
    fn register(&self, at: u32) -> u32 {
        let model = self.0.borrow();
        match at {
            COMMAND => model.answer,
            MAC_LOW => model.mac[0],
            MAC_HIGH => model.mac[1],
            _ => model.registers.get(&at).copied().unwrap_or_default(),
        }
    }

    fn set_register(&mut self, at: u32, value: u32) {
        let mut model = self.0.borrow_mut();
        match at {
            COMMAND => model.command(value),
            MAC_LOW => model.mac[0] = value,
            MAC_HIGH => model.mac[1] = value,
            SEND_PRODUCER => model.send(),
            REVISION | UPT_REVISION => assert_eq!(value, 1),
            _ => {
                model.registers.insert(at, value);
            }
        }
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

fn card() -> (Vmxnet3<Shared>, Shared) {
    let [a, b, c, d, e, f] = OWN;
    let model = Model {
        registers: BTreeMap::from([(REVISION, 0x1f), (UPT_REVISION, 1)]),
        answer: 0,
        active: false,
        mac: [
            u32::from_le_bytes([a, b, c, d]),
            u32::from_le_bytes([e, f, 0, 0]),
        ],
        memory: vec![0xee; MEMORY_BYTES],
        rings: [Ring::NONE; 4],
        sent: Vec::new(),
        sends: true,
        fails: false,
    };
    let model = Shared(Rc::new(RefCell::new(model)));
    (Vmxnet3::new(model.clone(), None), model)
}

fn received(card: &mut Vmxnet3<Shared>) -> Option<Vec<u8>> {
    let mut frame = [0; FRAME_BYTES];
    let len = card.receive(&mut frame)?;
    Some(frame[..len].to_vec())
}

#[test]
fn it_begins_with_its_own_address_or_the_one_that_it_is_given() {
    let (mut own, model) = card();
    assert!(own.begin() && own.is_in_order());
    assert_eq!(own.mac(), OWN);
    assert_eq!(model.0.borrow().mac, [0x1200_5452, 0x5634]);
    assert_eq!(model.register(INTERRUPT_MASK), 1);
    assert_eq!(model.register(RECEIVE_PRODUCER), RECEIVE_COUNT as u32 - 1);
    let mut given = Vmxnet3::new(model.clone(), Some([2, 0, 0, 0, 0, 1]));
    assert!(given.begin());
    assert_eq!(model.0.borrow().mac, [2, 0x100]);
}

#[test]
fn a_card_that_cannot_be_used_is_told() {
    let changes: [fn(&mut Model); 3] = [
        |model| model.fails = true,
        |model| model.registers.extend([(REVISION, 2)]),
        |model| model.registers.extend([(UPT_REVISION, NOBODY)]),
    ];
    for change in changes {
        let (mut card, model) = card();
        change(&mut model.0.borrow_mut());
        assert!(!card.begin());
    }
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
        assert!(model.0.borrow_mut().receive(&frame, WHOLE, 0));
        assert_eq!(received(&mut card).unwrap(), frame);
        assert_eq!(received(&mut card), None);
    }
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
        assert_eq!(usize::from(count), SEND_COUNT - 1);
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
        while model.0.borrow_mut().receive(&[count; 60], WHOLE, 0) {
            count += 1;
        }
        assert_eq!(usize::from(count), RECEIVE_COUNT - 1);
        for expected in 0..count {
            assert_eq!(received(&mut card).unwrap()[0], expected);
        }
    }
}

#[test]
fn damaged_cut_and_longer_frames_are_thrown_away() {
    let (mut card, model) = card();
    assert!(card.begin());
    for (len, which, told) in [
        (60, WHOLE, DAMAGED),
        (60, 1 << 14, 0),
        (FRAME_BYTES + 1, WHOLE, 0),
        (61, WHOLE, 0),
    ] {
        let frame = vec![1; len];
        assert!(model.0.borrow_mut().receive(&frame, which, told));
    }
    assert_eq!(received(&mut card).unwrap().len(), 61);
    assert_eq!(received(&mut card), None);
    card.send(&[0; FRAME_BYTES + 1]);
    assert!(model.0.borrow().sent.is_empty());
}

#[test]
fn a_card_at_rest_takes_other_rings() {
    let (mut card, model) = card();
    assert!(card.begin());
    card.end();
    assert!(!model.0.borrow().active);
    assert!(!model.0.borrow_mut().receive(&[1; 60], WHOLE, 0));
    assert!(card.begin());
    assert!(model.0.borrow_mut().receive(&[1; 60], WHOLE, 0));
}

#[test]
fn a_card_that_somebody_changed_is_not_in_order() {
    let changes: [fn(&mut Model); 3] = [
        |model| model.memory[SEND_QUEUE + QUEUE_STATE] = 1,
        |model| model.memory[RECEIVE_QUEUE + QUEUE_STATE] = 1,
        |model| model.mac[0] = 0,
    ];
    for change in changes {
        let (mut card, model) = card();
        assert!(card.begin());
        change(&mut model.0.borrow_mut());
        assert!(!card.is_in_order());
        assert!(card.begin() && card.is_in_order());
    }
}
