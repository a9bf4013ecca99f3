//! What a network card says to its driver: its configuration space, registers and rings.

use super::net::pieces;
use debuggee_driver::transport::net::card::{Card, CardIo, Config, FRAME_BYTES, Macs};
use debuggee_driver::transport::net::kinds::{AnyCard, BARS, Bar, Kind};
use std::cell::RefCell;
use std::rc::Rc;

/// Where the card has to say that its memory is.
const MEMORY_AT: u64 = 0x7000_0000;

/// Frames that are taken of a card that always has another one.
const TAKEN: u32 = 100;

/// Identifiers of a card of each kind, and of none.
const CARDS: [[u8; 4]; 7] = [
    [0x86, 0x80, 0x0e, 0x10],
    [0x86, 0x80, 0xd3, 0x10],
    [0x86, 0x80, 0x6f, 0x15],
    [0xf4, 0x1a, 0x41, 0x10],
    [0xad, 0x15, 0xb0, 0x07],
    [0xec, 0x10, 0x68, 0x81],
    [0xf4, 0x1a, 0x42, 0x10],
];

/// A card that says anything: the registers that are read have the next bytes of the input, and behind its end no bits and all
/// bits in turn, so that no wait is long. Nothing is kept but its memory.
#[derive(Clone)]
struct Liar(Rc<RefCell<State>>);

struct State {
    said: Vec<u8>,
    at: usize,
    memory: Vec<u8>,
}

impl Liar {
    fn next<const LEN: usize>(&self) -> [u8; LEN] {
        let state = &mut *self.0.borrow_mut();
        let said = state.said.get(state.at..).unwrap_or_default();
        state.at += 1;
        match said.first_chunk() {
            Some(next) => {
                state.at += LEN - 1;
                *next
            }
            None => [if state.at.is_multiple_of(2) { 0 } else { 0xff }; LEN],
        }
    }
}

impl CardIo for Liar {
    fn register(&self, _: u32) -> u32 {
        u32::from_le_bytes(self.next())
    }

    fn set_register(&mut self, _: u32, _: u32) {}

    fn register_u16(&self, _: u32) -> u16 {
        u16::from_le_bytes(self.next())
    }

    fn set_register_u16(&mut self, _: u32, _: u16) {}

    fn register_u8(&self, _: u32) -> u8 {
        let [byte] = self.next();
        byte
    }

    fn set_register_u8(&mut self, _: u32, _: u8) {}

    fn wait_us(&self, _: u32) {}

    fn memory_address(&self) -> u64 {
        MEMORY_AT
    }

    fn physical_address(&self) -> u64 {
        MEMORY_AT
    }

    fn word(&self, at: usize) -> u64 {
        let mut word = [0; 8];
        self.read(at, &mut word);
        u64::from_le_bytes(word)
    }

    fn set_word(&mut self, at: usize, value: u64) {
        self.write(at, &value.to_le_bytes());
    }

    /// What is outside the memory, a driver has no business with.
    fn read(&self, at: usize, out: &mut [u8]) {
        out.copy_from_slice(&self.0.borrow().memory[at..at + out.len()]);
    }

    fn write(&mut self, at: usize, bytes: &[u8]) {
        self.0.borrow_mut().memory[at..at + bytes.len()].copy_from_slice(bytes);
    }
}

/// Bytes as a kind of card, its configuration space, what its registers say, and what it writes into its memory meanwhile. The
/// driver stays in the memory, ends each call, and takes no frame that is longer than one may be.
pub fn card(bytes: &[u8]) {
    let mut parts = pieces(bytes);
    let Some((choice, space)) = parts.next() else {
        return;
    };
    let mut config: Config = [0; 256];
    config[..space.len()].copy_from_slice(space);
    config[..4].copy_from_slice(&CARDS[usize::from(choice) % CARDS.len()]);
    let Ok(kind) = Kind::of(&config) else {
        return;
    };
    let _ = kind.look_at(&[Bar::default(); BARS]);
    let said = parts.next().map_or(&[][..], |(_, said)| said);
    let io = Liar(Rc::new(RefCell::new(State {
        said: said.to_vec(),
        at: 0,
        memory: vec![0; kind.memory_bytes()],
    })));
    let Ok(own) = kind.own_mac(&mut io.clone(), kind.takes_mac()) else {
        return;
    };
    let mut card = AnyCard::new(kind, io.clone(), Macs::new(own, None));
    card.begin();
    for (choices, piece) in parts {
        let start = usize::from(choices) * 16 % (io.0.borrow().memory.len() - piece.len());
        io.clone().write(start, piece);
        let mut frame = [0; FRAME_BYTES];
        for _ in 0..TAKEN {
            let Some(len) = card.receive(&mut frame) else {
                break;
            };
            assert!(len <= FRAME_BYTES);
        }
        if card.can_send() {
            card.send(piece);
        }
        if !card.is_in_order() && choices & 1 != 0 {
            card.begin();
        }
    }
    card.end();
}
