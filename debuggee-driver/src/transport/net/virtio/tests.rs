//! The driver on a card that is made of values: what the specification says that registers and queues do.

extern crate std;
use super::*;
use crate::transport::net::card::{Config, SECOND_WINDOW};
use std::cell::RefCell;
use std::rc::Rc;
use std::vec;
use std::vec::Vec;

const MEMORY_AT: u64 = 0x1_2345_6000;
const OWN: Mac = [0x52, 0x54, 0, 0x12, 0x34, 0x56];
/// Where the pieces are, in both windows.
const COMMON_AT: u32 = 0x100;
const DEVICE_AT: u32 = SECOND_WINDOW + 0x40;
const NOTIFY_AT: u32 = SECOND_WINDOW + 0x80;
const STEP: u32 = 4;

fn places() -> Places {
    let mut config: Config = [0; 256];
    config[0x06] = 1 << 4;
    config[0x34] = 0x40;
    let pieces = [
        (1, 2, COMMON_AT),
        (4, 4, DEVICE_AT % SECOND_WINDOW),
        (2, 4, NOTIFY_AT % SECOND_WINDOW),
    ];
    for (index, (kind, bar, offset)) in pieces.into_iter().enumerate() {
        let at = 0x40 + 0x20 * index;
        let next = if index == 2 { 0 } else { at as u8 + 0x20 };
        config[at..at + 5].copy_from_slice(&[9, next, 20, kind, bar]);
        config[at + 8..at + 12].copy_from_slice(&offset.to_le_bytes());
        config[at + 12..at + 16].copy_from_slice(&0x40_u32.to_le_bytes());
        config[at + 16..at + 20].copy_from_slice(&STEP.to_le_bytes());
    }
    Places::of(&config).unwrap()
}

#[derive(Clone, Copy, Default)]
struct ModelQueue {
    size: u16,
    enabled: u16,
    /// Descriptors, available ring, used ring.
    parts: [u64; 3],
    seen: u16,
    used: u16,
}

struct Model {
    offered: u64,
    accepted: u64,
    select: [u32; 2],
    status: u8,
    queue: u16,
    queues: [ModelQueue; 2],
    memory: Vec<u8>,
    sent: Vec<Vec<u8>>,
    told: [usize; 2],
    /// It sends when it is told to; else what it was given waits.
    sends: bool,
    /// It never comes back from a reset.
    hangs: bool,
    /// It does not agree to what was chosen.
    refuses: bool,
    longest: u16,
}

#[derive(Clone)]
struct Shared(Rc<RefCell<Model>>);

impl Model {
    fn half(&self, at: usize) -> u16 {
        u16::from_le_bytes(self.memory[at..at + 2].try_into().unwrap())
    }

    fn word(&self, at: usize) -> u64 {
        u64::from_le_bytes(self.memory[at..at + 8].try_into().unwrap())
    }

    /// The next buffer that the card has of a queue: its number, place, length and flags.
    fn next(&mut self, number: usize) -> Option<(u16, usize, usize, u64)> {
        let queue = self.queues[number];
        let [descriptors, available, _] = queue.parts.map(|part| (part - MEMORY_AT) as usize);
        assert_eq!(self.half(available), 1, "no interrupts");
        if queue.seen == self.half(available + 2) {
            return None;
        }
        let slot = usize::from(queue.seen % queue.size);
        let index = self.half(available + 4 + 2 * slot);
        self.queues[number].seen = queue.seen.wrapping_add(1);
        let at = descriptors + 16 * usize::from(index);
        let told = self.word(at + 8);
        let place = (self.word(at) - MEMORY_AT) as usize;
        Some((index, place, (told & 0xffff_ffff) as usize, told >> 32))
    }

    fn done(&mut self, number: usize, index: u16, len: usize) {
        let queue = &mut self.queues[number];
        let used = (queue.parts[2] - MEMORY_AT) as usize;
        let at = used + 4 + 8 * usize::from(queue.used % queue.size);
        queue.used = queue.used.wrapping_add(1);
        let index_now = queue.used;
        self.memory[at..at + 4].copy_from_slice(&u32::from(index).to_le_bytes());
        self.memory[at + 4..at + 8].copy_from_slice(&(len as u32).to_le_bytes());
        self.memory[used + 2..used + 4].copy_from_slice(&index_now.to_le_bytes());
    }

    fn send(&mut self) {
        let mut done = Vec::new();
        while self.sends
            && let Some((index, at, len, flags)) = self.next(1)
        {
            assert_eq!(flags, 0, "one buffer that the card reads");
            assert_eq!(self.memory[at..at + 12], [0; 12]);
            self.sent.push(self.memory[at + 12..at + len].to_vec());
            done.push(index);
        }
        // In any order.
        for index in done.into_iter().rev() {
            self.done(1, index, 0);
        }
    }

    /// A frame comes in; false if the card has no room for it.
    fn receive(&mut self, frame: &[u8]) -> bool {
        if self.status != 15 {
            return false;
        }
        let Some((index, at, room, flags)) = self.next(0) else {
            return false;
        };
        assert_eq!(flags, 2, "one buffer that the card writes");
        assert!(room >= 12 + frame.len());
        self.memory[at + 12..at + 12 + frame.len()].copy_from_slice(frame);
        self.done(0, index, 12 + frame.len());
        true
    }
}

impl CardIo for Shared {
    fn register(&self, at: u32) -> u32 {
        let model = self.0.borrow();
        match at - COMMON_AT {
            FEATURES => (model.offered >> (32 * model.select[0])) as u32,
            QUEUE_DESCRIPTORS => model.queues[usize::from(model.queue)].parts[0] as u32,
            other => panic!("four bytes at {other:#x}"),
        }
    }

    fn set_register(&mut self, at: u32, value: u32) {
        let mut model = self.0.borrow_mut();
        let queue = usize::from(model.queue);
        match at - COMMON_AT {
            FEATURE_SELECT => model.select[0] = value,
            DRIVER_FEATURE_SELECT => model.select[1] = value,
            DRIVER_FEATURES => {
                let shift = 32 * model.select[1];
                model.accepted |= u64::from(value) << shift;
            }
            place @ QUEUE_DESCRIPTORS..0x38 => {
                let part = ((place - QUEUE_DESCRIPTORS) / 8) as usize;
                let shift = 8 * (place & 4);
                let whole = &mut model.queues[queue].parts[part];
                *whole = *whole & !(0xffff_ffff << shift) | u64::from(value) << shift;
            }
            other => panic!("four bytes at {other:#x}"),
        }
    }

    fn register_u16(&self, at: u32) -> u16 {
        let model = self.0.borrow();
        let queue = &model.queues[usize::from(model.queue)];
        match at - COMMON_AT {
            QUEUE_SIZE => queue.size,
            QUEUE_ENABLE => queue.enabled,
            QUEUE_NOTIFY => model.queue,
            other => panic!("two bytes at {other:#x}"),
        }
    }

    fn set_register_u16(&mut self, at: u32, value: u16) {
        let mut model = self.0.borrow_mut();
        if at >= NOTIFY_AT {
            assert_eq!(at - NOTIFY_AT, STEP * u32::from(value));
            model.told[usize::from(value)] += 1;
            if value == SENDING {
                model.send();
            }
            return;
        }
        let queue = usize::from(model.queue);
        match at - COMMON_AT {
            CONFIG_VECTOR | QUEUE_VECTOR => assert_eq!(value, NO_VECTOR),
            QUEUE_SELECT => model.queue = value,
            QUEUE_SIZE => model.queues[queue].size = value,
            QUEUE_ENABLE => {
                assert_ne!(model.status & FEATURES_OK, 0);
                model.queues[queue].enabled = value;
            }
            other => panic!("two bytes at {other:#x}"),
        }
    }

    fn register_u8(&self, at: u32) -> u8 {
        if at >= DEVICE_AT {
            return OWN[(at - DEVICE_AT) as usize];
        }
        assert_eq!(at - COMMON_AT, STATUS);
        self.0.borrow().status
    }

    fn set_register_u8(&mut self, at: u32, value: u8) {
        assert_eq!(at - COMMON_AT, STATUS);
        let mut model = self.0.borrow_mut();
        let empty = ModelQueue {
            size: model.longest,
            ..ModelQueue::default()
        };
        match value {
            0 if model.hangs => {}
            0 => {
                model.status = 0;
                model.accepted = 0;
                model.queues = [empty; 2];
            }
            _ if model.refuses => model.status = value & !FEATURES_OK,
            _ => model.status = value,
        }
    }

    fn memory_address(&self) -> u64 {
        MEMORY_AT
    }

    fn word(&self, at: usize) -> u64 {
        self.0.borrow().word(at)
    }

    fn set_word(&mut self, at: usize, value: u64) {
        self.write(at, &value.to_le_bytes());
    }

    fn read(&self, at: usize, out: &mut [u8]) {
        out.copy_from_slice(&self.0.borrow().memory[at..at + out.len()]);
    }

    fn write(&mut self, at: usize, bytes: &[u8]) {
        self.0.borrow_mut().memory[at..at + bytes.len()].copy_from_slice(bytes);
    }
}

fn card() -> (Virtio<Shared>, Shared) {
    let model = Model {
        offered: FEATURE_VERSION_1 | FEATURE_MAC | FEATURE_PLATFORM | 1 << 15 | 1 << 29,
        accepted: 0,
        select: [0; 2],
        status: 0xff,
        queue: 0,
        queues: [ModelQueue::default(); 2],
        memory: vec![0xee; MEMORY_BYTES],
        sent: Vec::new(),
        told: [0; 2],
        sends: true,
        hangs: false,
        refuses: false,
        longest: 256,
    };
    let model = Shared(Rc::new(RefCell::new(model)));
    (Virtio::new(model.clone(), places()), model)
}

fn received(card: &mut Virtio<Shared>) -> Option<Vec<u8>> {
    let mut frame = [0; FRAME_BYTES];
    let len = card.receive(&mut frame)?;
    Some(frame[..len].to_vec())
}

#[test]
fn it_begins_with_what_both_can_and_nothing_more() {
    let (mut card, model) = card();
    assert!(card.begin() && card.is_in_order());
    assert_eq!(card.mac(), OWN);
    let model = model.0.borrow();
    assert_eq!(
        model.accepted,
        FEATURE_VERSION_1 | FEATURE_MAC | FEATURE_PLATFORM
    );
    assert_eq!(model.status, 15);
    assert_eq!(model.queues.map(|queue| queue.size), [64, 32]);
}

#[test]
fn a_card_that_cannot_be_used_is_told() {
    let changes: [fn(&mut Model); 5] = [
        |model| model.hangs = true,
        |model| model.refuses = true,
        |model| model.offered &= !FEATURE_VERSION_1,
        |model| model.offered &= !FEATURE_MAC,
        |model| model.longest = 16,
    ];
    for change in changes {
        let (mut card, model) = card();
        change(&mut model.0.borrow_mut());
        assert!(!card.begin());
        assert!(!card.is_in_order());
    }
}

#[test]
fn frames_come_out_in_their_order_however_often_the_queues_go_round() {
    let (mut card, model) = card();
    assert!(card.begin());
    // More than the counts of a queue hold.
    for round in 0..70_000 {
        let frame = vec![round as u8; 60 + round % 1400];
        assert!(card.can_send());
        card.send(&frame);
        assert_eq!(model.0.borrow_mut().sent.pop().unwrap(), frame);
        assert!(model.0.borrow_mut().receive(&frame));
        assert_eq!(received(&mut card).unwrap(), frame);
        assert_eq!(received(&mut card), None);
    }
    let told = model.0.borrow().told;
    assert_eq!(told, [1 + 70_000 / RETURNED_AT_ONCE, 70_000]);
}

#[test]
fn a_full_queue_takes_nothing_and_loses_nothing() {
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
        while model.0.borrow_mut().receive(&[count; 60]) {
            count += 1;
        }
        assert_eq!(usize::from(count), RECEIVE_COUNT);
        for expected in 0..count {
            assert_eq!(received(&mut card).unwrap()[0], expected);
        }
    }
}

#[test]
fn longer_and_cut_frames_are_thrown_away() {
    let (mut card, model) = card();
    assert!(card.begin());
    assert!(model.0.borrow_mut().receive(&vec![1; FRAME_BYTES + 1]));
    let (index, ..) = model.0.borrow_mut().next(0).unwrap();
    model.0.borrow_mut().done(0, index, 11);
    assert!(model.0.borrow_mut().receive(&[2; 61]));
    assert_eq!(received(&mut card).unwrap().len(), 61);
    assert_eq!(received(&mut card), None);
    card.send(&[0; FRAME_BYTES + 1]);
    assert!(model.0.borrow().sent.is_empty());
}

#[test]
fn a_card_at_rest_has_no_queues() {
    let (mut card, model) = card();
    assert!(card.begin());
    card.end();
    assert_eq!(model.0.borrow().queues.map(|queue| queue.enabled), [0; 2]);
    assert!(!model.0.borrow_mut().receive(&[1; 60]));
    assert!(!card.is_in_order());
}

#[test]
fn a_card_that_somebody_changed_is_not_in_order() {
    let changes: [fn(&mut Model); 4] = [
        |model| model.status = 0,
        |model| model.status |= NEEDS_RESET,
        |model| model.queues[0].parts[0] = 0,
        |model| model.queues[1].enabled = 0,
    ];
    for change in changes {
        let (mut card, model) = card();
        assert!(card.begin());
        change(&mut model.0.borrow_mut());
        assert!(!card.is_in_order());
        assert!(card.begin() && card.is_in_order());
    }
}
