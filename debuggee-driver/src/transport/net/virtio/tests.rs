//! The driver on a card that is made of values: what the specification says that registers and queues do.

extern crate std;
use super::*;
use crate::transport::net::card::{Config, SECOND_WINDOW};
use crate::transport::net::model::{
    Body, MEMORY_AT, Model, OWN_MAC, PHYSICAL_AT, Shared, changes_are_found, frames_go_round,
    full_rings_lose_nothing, one_is_taken,
};
use std::vec;
use std::vec::Vec;

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

struct Chip {
    offered: u64,
    accepted: u64,
    select: [u32; 2],
    status: u8,
    queue: u16,
    queues: [ModelQueue; 2],
    body: Body,
    told: [usize; 2],
    /// It never comes back from a reset.
    hangs: bool,
    /// It does not agree to what was chosen.
    refuses: bool,
    longest: u16,
}

impl Chip {
    /// The next buffer that the card has of a queue: its number, place, length and flags.
    fn next(&mut self, number: usize) -> Option<(u16, usize, usize, u64)> {
        let queue = self.queues[number];
        let [descriptors, available, _] = queue.parts.map(|part| self.body.memory.place(part));
        assert_eq!(self.body.memory.half(available), 1, "no interrupts");
        if queue.seen == self.body.memory.half(available + 2) {
            return None;
        }
        let slot = usize::from(queue.seen % queue.size);
        let index = self.body.memory.half(available + 4 + 2 * slot);
        self.queues[number].seen = queue.seen.wrapping_add(1);
        let at = descriptors + 16 * usize::from(index);
        let told = self.body.memory.word(at + 8);
        let buffer = self.body.memory.named(at);
        Some((index, buffer, (told & 0xffff_ffff) as usize, told >> 32))
    }

    fn done(&mut self, number: usize, index: u16, len: usize) {
        let queue = &mut self.queues[number];
        let used = self.body.memory.place(queue.parts[2]);
        let at = used + 4 + 8 * usize::from(queue.used % queue.size);
        queue.used = queue.used.wrapping_add(1);
        let index_now = queue.used;
        self.body.memory.write(at, &u32::from(index).to_le_bytes());
        self.body.memory.write(at + 4, &(len as u32).to_le_bytes());
        self.body.memory.write(used + 2, &index_now.to_le_bytes());
    }
}

impl Model for Chip {
    fn body(&mut self) -> &mut Body {
        &mut self.body
    }

    fn send(&mut self) {
        let mut done = Vec::new();
        while self.body.sends
            && let Some((index, at, len, flags)) = self.next(1)
        {
            assert_eq!(flags, 0, "one buffer that the card reads");
            assert_eq!(self.body.memory.bytes(at, 12), [0; 12]);
            self.body.send(at + 12, len - 12);
            done.push(index);
        }
        // In any order.
        for index in done.into_iter().rev() {
            self.done(1, index, 0);
        }
    }

    fn receive(&mut self, frame: &[u8]) -> bool {
        if self.status != 15 {
            return false;
        }
        let Some((index, at, room, flags)) = self.next(0) else {
            return false;
        };
        assert_eq!(flags, 2, "one buffer that the card writes");
        assert!(room >= 12 + frame.len());
        self.body.memory.write(at + 12, frame);
        self.done(0, index, 12 + frame.len());
        true
    }

    fn register(&self, at: u32) -> u32 {
        match at - COMMON_AT {
            FEATURES => (self.offered >> (32 * self.select[0])) as u32,
            QUEUE_DESCRIPTORS => self.queues[usize::from(self.queue)].parts[0] as u32,
            other => panic!("four bytes at {other:#x}"),
        }
    }

    fn set_register(&mut self, at: u32, value: u32) {
        let queue = usize::from(self.queue);
        match at - COMMON_AT {
            FEATURE_SELECT => self.select[0] = value,
            DRIVER_FEATURE_SELECT => self.select[1] = value,
            DRIVER_FEATURES => {
                let shift = 32 * self.select[1];
                self.accepted |= u64::from(value) << shift;
            }
            place @ QUEUE_DESCRIPTORS..0x38 => {
                let part = ((place - QUEUE_DESCRIPTORS) / 8) as usize;
                let shift = 8 * (place & 4);
                let whole = &mut self.queues[queue].parts[part];
                *whole = *whole & !(0xffff_ffff << shift) | u64::from(value) << shift;
            }
            other => panic!("four bytes at {other:#x}"),
        }
    }

    fn register_u16(&self, at: u32) -> u16 {
        let queue = &self.queues[usize::from(self.queue)];
        match at - COMMON_AT {
            QUEUE_SIZE => queue.size,
            QUEUE_ENABLE => queue.enabled,
            QUEUE_NOTIFY => self.queue,
            other => panic!("two bytes at {other:#x}"),
        }
    }

    fn set_register_u16(&mut self, at: u32, value: u16) {
        if at >= NOTIFY_AT {
            assert_eq!(at - NOTIFY_AT, STEP * u32::from(value));
            self.told[usize::from(value)] += 1;
            if value == SENDING {
                self.send();
            }
            return;
        }
        let queue = usize::from(self.queue);
        match at - COMMON_AT {
            CONFIG_VECTOR | QUEUE_VECTOR => assert_eq!(value, NO_VECTOR),
            QUEUE_SELECT => self.queue = value,
            QUEUE_SIZE => self.queues[queue].size = value,
            QUEUE_ENABLE => {
                assert_ne!(self.status & FEATURES_OK, 0);
                self.queues[queue].enabled = value;
            }
            other => panic!("two bytes at {other:#x}"),
        }
    }

    fn register_u8(&self, at: u32) -> u8 {
        if at >= DEVICE_AT {
            return OWN_MAC[(at - DEVICE_AT) as usize];
        }
        assert_eq!(at - COMMON_AT, STATUS);
        self.status
    }

    fn set_register_u8(&mut self, at: u32, value: u8) {
        assert_eq!(at - COMMON_AT, STATUS);
        let empty = ModelQueue {
            size: self.longest,
            ..ModelQueue::default()
        };
        match value {
            0 if self.hangs => {}
            0 => {
                self.status = 0;
                self.accepted = 0;
                self.queues = [empty; 2];
            }
            _ if self.refuses => self.status = value & !FEATURES_OK,
            _ if self.status & FEATURES_OK == 0 && value & FEATURES_OK != 0 => {
                self.status = value;
                self.body.memory.at = match self.accepted & FEATURE_PLATFORM {
                    0 => PHYSICAL_AT,
                    _ => MEMORY_AT,
                };
            }
            _ => self.status = value,
        }
    }
}

fn card() -> (Virtio<Shared<Chip>>, Shared<Chip>) {
    let model = Chip {
        offered: FEATURE_VERSION_1 | FEATURE_MAC | FEATURE_PLATFORM | 1 << 15 | 1 << 29,
        accepted: 0,
        select: [0; 2],
        status: 0xff,
        queue: 0,
        queues: [ModelQueue::default(); 2],
        body: Body::new(MEMORY_BYTES),
        told: [0; 2],
        hangs: false,
        refuses: false,
        longest: 256,
    };
    let model = Shared::new(model);
    (Virtio::new(model.clone(), places()), model)
}

#[test]
fn it_begins_with_what_both_can_and_nothing_more() {
    let (mut card, model) = card();
    assert!(card.begin() && card.is_in_order());
    assert_eq!(card.mac(), OWN_MAC);
    let model = model.inside();
    assert_eq!(
        model.accepted,
        FEATURE_VERSION_1 | FEATURE_MAC | FEATURE_PLATFORM
    );
    assert_eq!(model.status, 15);
    assert_eq!(model.queues.map(|queue| queue.size), [64, 32]);
}

#[test]
fn a_card_that_cannot_be_used_is_told() {
    let changes: [fn(&mut Chip); 5] = [
        |model| model.hangs = true,
        |model| model.refuses = true,
        |model| model.offered &= !FEATURE_VERSION_1,
        |model| model.offered &= !FEATURE_MAC,
        |model| model.longest = 16,
    ];
    for change in changes {
        let (mut card, model) = card();
        change(&mut model.inside());
        assert!(!card.begin());
        assert!(!card.is_in_order());
    }
}

#[test]
fn frames_come_out_in_their_order_however_often_the_queues_go_round() {
    let (mut card, model) = card();
    assert!(card.begin());
    // More than the counts of a queue hold.
    frames_go_round(&mut card, &model, 70_000);
    let told = model.inside().told;
    assert_eq!(told, [1 + 70_000 / RETURNED_AT_ONCE, 70_000]);
}

#[test]
fn a_card_that_no_iommu_stands_before_is_told_physical_addresses() {
    let (mut card, model) = card();
    model.inside().offered &= !FEATURE_PLATFORM;
    assert!(card.begin() && card.is_in_order());
    let at = |model: &Shared<Chip>| model.inside().queues.map(|queue| queue.parts[0]);
    assert!(at(&model)[0] == PHYSICAL_AT && at(&model)[1] < PHYSICAL_AT + 4096);
    frames_go_round(&mut card, &model, 200);
    // Whichever it says next time.
    model.inside().offered |= FEATURE_PLATFORM;
    assert!(card.begin() && card.is_in_order());
    assert_eq!(at(&model)[0], MEMORY_AT);
    frames_go_round(&mut card, &model, 200);
}

#[test]
fn a_full_queue_takes_nothing_and_loses_nothing() {
    let (mut card, model) = card();
    assert!(card.begin());
    full_rings_lose_nothing(&mut card, &model, SEND_COUNT, RECEIVE_COUNT);
}

#[test]
fn longer_and_cut_frames_are_thrown_away() {
    let (mut card, model) = card();
    assert!(card.begin());
    assert!(model.inside().receive(&vec![1; FRAME_BYTES + 1]));
    let (index, ..) = model.inside().next(0).unwrap();
    model.inside().done(0, index, 11);
    assert!(model.inside().receive(&[2; 61]));
    one_is_taken(&mut card, &model, 61);
}

#[test]
fn a_card_at_rest_has_no_queues() {
    let (mut card, model) = card();
    assert!(card.begin());
    card.end();
    assert_eq!(model.inside().queues.map(|queue| queue.enabled), [0; 2]);
    assert!(!model.inside().receive(&[1; 60]));
    assert!(!card.is_in_order());
}

#[test]
fn a_card_that_somebody_changed_is_not_in_order() {
    let changes: [fn(&mut Chip); 4] = [
        |model| model.status = 0,
        |model| model.status |= NEEDS_RESET,
        |model| model.queues[0].parts[0] = 0,
        |model| model.queues[1].enabled = 0,
    ];
    changes_are_found(card, &changes);
}
