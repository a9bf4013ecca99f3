//! The driver on a card that is made of values: what the public description says that registers and rings do.

extern crate std;
use super::*;
use crate::transport::net::model::{
    Body, Model, OTHER_MACS, OWN_MAC, OWN_MACS, Shared, changes_are_found, frames_go_round,
    full_rings_lose_nothing, one_is_taken, place,
};
use std::collections::BTreeMap;
use std::vec;

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

struct Chip {
    registers: BTreeMap<u32, u32>,
    answer: u32,
    active: bool,
    mac: [u32; 2],
    body: Body,
    rings: [Ring; 4],
    /// It does not become active.
    fails: bool,
}

impl Chip {
    fn command(&mut self, command: u32) {
        self.answer = 0;
        match command {
            RESET | QUIESCE => self.active = false,
            ACTIVATE if self.fails => self.answer = 1,
            ACTIVATE => {
                let low = self.registers[&SHARED_LOW];
                let high = self.registers[&SHARED_HIGH];
                let shared = u64::from(high) << 32 | u64::from(low);
                assert_eq!(place(shared), 0);
                assert_eq!(self.body.memory.word(0), MAGIC);
                assert_eq!(
                    self.body.memory.bytes(62, 2),
                    [1, 1],
                    "one queue of each kind"
                );
                assert_eq!(self.body.memory.bytes(108, 1), [1], "no interrupts");
                let queues = self.body.memory.named(40);
                let [sent, received] = [queues, queues + 256];
                for (queue, count) in [(sent, SEND_COUNT), (received, RECEIVE_COUNT)] {
                    let sizes = [56, 64].map(|at| self.body.memory.word(queue + at));
                    assert_eq!(sizes, [count as u64; 2]);
                }
                let at = [
                    self.body.memory.named(sent + 16),
                    self.body.memory.named(sent + 32),
                    self.body.memory.named(received + 16),
                    self.body.memory.named(received + 32),
                ];
                assert!(at.iter().all(|at| at.is_multiple_of(512)));
                self.rings = at.map(|at| Ring { at, ..Ring::NONE });
                self.active = true;
            }
            UPDATE_RECEIVE_MODE => assert_eq!(self.body.memory.bytes(120, 1), [5]),
            GET_QUEUE_STATUS => {}
            other => panic!("command {other:#x}"),
        }
    }

    /// A frame comes in; false if the card has no room for it.
    fn receive_as(&mut self, frame: &[u8], which: u64, told: u64) -> bool {
        if !self.active {
            return false;
        }
        let turn = self.rings[2].turn;
        let at = turn.at(self.rings[2].at);
        let room = self.body.memory.word(at + 8);
        if (room >> RECEIVE_TURN & 1 != 0) != turn.bit {
            return false;
        }
        self.rings[2].next(RECEIVE_COUNT);
        assert!((room & LENGTH) as usize >= frame.len());
        let to = self.body.memory.named(at);
        self.body.memory.write(to, frame);
        let bit = u64::from(self.rings[3].turn.bit);
        let done = self.rings[3].next(RECEIVE_COUNT);
        self.body.memory.set_word(done, turn.index as u64 | which);
        self.body
            .memory
            .set_word(done + 8, frame.len() as u64 | told | bit << DONE_TURN);
        true
    }
}

impl Model for Chip {
    fn body(&mut self) -> &mut Body {
        &mut self.body
    }

    fn send(&mut self) {
        while self.body.sends && self.active {
            let turn = self.rings[0].turn;
            let at = turn.at(self.rings[0].at);
            let told = self.body.memory.word(at + 8);
            if (told >> SEND_TURN & 1 != 0) != turn.bit {
                return;
            }
            self.rings[0].next(SEND_COUNT);
            assert_eq!(told & SEND, SEND, "a whole frame, to be told of");
            let (from, len) = (self.body.memory.named(at), (told & LENGTH) as usize);
            self.body.send(from, len);
            let bit = u64::from(self.rings[1].turn.bit);
            let done = self.rings[1].next(SEND_COUNT);
            self.body.memory.set_word(done, turn.index as u64);
            self.body.memory.set_word(done + 8, bit << DONE_TURN);
        }
    }

    fn receive(&mut self, frame: &[u8]) -> bool {
        self.receive_as(frame, WHOLE, 0)
    }

    fn register(&self, at: u32) -> u32 {
        match at {
            COMMAND => self.answer,
            MAC_LOW => self.mac[0],
            MAC_HIGH => self.mac[1],
            _ => self.registers.get(&at).copied().unwrap_or_default(),
        }
    }

    fn set_register(&mut self, at: u32, value: u32) {
        match at {
            COMMAND => self.command(value),
            MAC_LOW => self.mac[0] = value,
            MAC_HIGH => self.mac[1] = value,
            SEND_PRODUCER => self.send(),
            REVISION | UPT_REVISION => assert_eq!(value, 1),
            _ => {
                self.registers.insert(at, value);
            }
        }
    }
}

fn card() -> (Vmxnet3<Shared<Chip>>, Shared<Chip>) {
    let model = Chip {
        registers: BTreeMap::from([(REVISION, 0x1f), (UPT_REVISION, 1)]),
        answer: 0,
        active: false,
        mac: mac_halves(OWN_MAC),
        body: Body::new(MEMORY_BYTES),
        rings: [Ring::NONE; 4],
        fails: false,
    };
    let model = Shared::new(model);
    (Vmxnet3::new(model.clone(), OWN_MACS), model)
}

#[test]
fn it_begins_with_its_own_address_or_the_one_that_it_is_given() {
    let (mut own, model) = card();
    assert!(own.begin() && own.is_in_order());
    assert_eq!(own.mac(), OWN_MAC);
    assert_eq!(model.inside().mac, [0x1200_5452, 0x5634]);
    assert_eq!(model.register(INTERRUPT_MASK), 1);
    assert_eq!(model.register(RECEIVE_PRODUCER), RECEIVE_COUNT as u32 - 1);
    let mut given = Vmxnet3::new(model.clone(), OTHER_MACS);
    assert!(given.begin());
    assert_eq!(model.inside().mac, [2, 0x100]);
    given.end();
    assert_eq!(mac(&model), OWN_MAC);
}

#[test]
fn a_card_that_cannot_be_used_is_told() {
    let changes: [fn(&mut Chip); 3] = [
        |model| model.fails = true,
        |model| model.registers.extend([(REVISION, 2)]),
        |model| model.registers.extend([(UPT_REVISION, NOBODY)]),
    ];
    for change in changes {
        let (mut card, model) = card();
        change(&mut model.inside());
        assert!(!card.begin());
    }
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
    for (len, which, told) in [
        (60, WHOLE, DAMAGED),
        (60, 1 << 14, 0),
        (FRAME_BYTES + 1, WHOLE, 0),
        (61, WHOLE, 0),
    ] {
        let frame = vec![1; len];
        assert!(model.inside().receive_as(&frame, which, told));
    }
    one_is_taken(&mut card, &model, 61);
}

#[test]
fn a_card_at_rest_takes_other_rings() {
    let (mut card, model) = card();
    assert!(card.begin());
    card.end();
    assert!(!model.inside().active);
    assert!(!model.inside().receive(&[1; 60]));
    assert!(card.begin());
    assert!(model.inside().receive(&[1; 60]));
}

#[test]
fn a_card_that_somebody_changed_is_not_in_order() {
    let changes: [fn(&mut Chip); 3] = [
        |model| model.body.memory.write(SEND_QUEUE + QUEUE_STATE, &[1]),
        |model| model.body.memory.write(RECEIVE_QUEUE + QUEUE_STATE, &[1]),
        |model| model.mac[0] = 0,
    ];
    changes_are_found(card, &changes);
}
