//! A debuggee on a network of two, with a host that is made of the other end of the secure channel.

extern crate std;
use crate::fake::lan::{
    FakeCard, NoSenses, answer_who_has, datagram_in, frame_with, given, network,
};
use crate::transport::net::Memory;
use crate::transport::net::network::Network;
use crate::transport::net::settings::Addresses;
use proptest::prelude::*;
use std::vec::Vec;
use wire_protocol::secure::{
    Cause, DATAGRAM_BYTES, Heard, Key, Listener, OlderClock, ROOM_BYTES, Random, Timing,
};

const KEY: [u8; 32] = [0x4b; 32];

/// Both ends, and the time.
struct Pair<'m> {
    card: FakeCard,
    network: Network<'m, FakeCard, NoSenses>,
    listener: Listener,
    /// The debuggee's port, once it was seen.
    port: Option<u16>,
    heard: Vec<Vec<u8>>,
    now_us: u64,
    drawn: u8,
}

impl<'m> Pair<'m> {
    fn new(memory: &'m mut Memory<'m>, host_key: [u8; 32]) -> Self {
        let card = FakeCard::default();
        Self {
            network: network(memory, &card, Key::new(KEY), given()),
            card,
            listener: Listener::new(Key::new(host_key), None, OlderClock::Refused),
            port: None,
            heard: Vec::new(),
            now_us: 0,
            drawn: 0,
        }
    }

    fn random(&mut self) -> Random {
        self.drawn = self.drawn.wrapping_add(1);
        [self.drawn; 32]
    }

    /// A turn of the debuggee's, and what the host answers.
    fn turn(&mut self) {
        self.now_us += 1000;
        self.network.turn(self.now_us);
        while let Some(frame) = self.card.sent() {
            if answer_who_has(&self.card, &frame) {
                continue;
            }
            let (port, mut datagram) = datagram_in(&frame).unwrap();
            self.port = Some(port);
            let random = self.random();
            let mut out = [0; DATAGRAM_BYTES];
            let answer_bytes = match self.listener.take(&mut datagram, &random, &mut out) {
                Heard::Dropped(_) => 0,
                Heard::Call { answer_bytes, .. } => answer_bytes,
                Heard::Debuggee {
                    bytes,
                    answer_bytes,
                    ..
                } => {
                    if !bytes.is_empty() {
                        self.heard.push(bytes.to_vec());
                    }
                    answer_bytes
                }
            };
            if answer_bytes > 0 {
                self.card.arrive(&frame_with(port, &out[..answer_bytes]));
            }
        }
    }

    fn say(&mut self, bytes: &[u8]) {
        let random = self.random();
        let mut out = [0; DATAGRAM_BYTES];
        let len = self.listener.seal(bytes, &random, &mut out);
        let frame = frame_with(self.port.unwrap(), &out[..len]);
        self.card.arrive(&frame);
    }

    fn connected(memory: &'m mut Memory<'m>) -> Self {
        let mut pair = Self::new(memory, KEY);
        for _ in 0..10 {
            pair.turn();
        }
        assert!(pair.network.is_answered() && pair.listener.is_connected());
        pair
    }
}

#[test]
fn bytes_go_both_ways_once_the_host_has_answered() {
    let mut memory = Memory::new();
    let mut pair = Pair::connected(&mut memory);
    assert_eq!(pair.network.room(), ROOM_BYTES);
    for len in [1, 300, ROOM_BYTES] {
        let bytes: Vec<u8> = (0..len).map(|n| n as u8).collect();
        pair.network.send(&bytes);
        pair.turn();
        assert_eq!(pair.heard.pop().unwrap(), bytes);
        pair.say(&bytes);
        pair.turn();
        let (mut got, mut chunk) = (Vec::<u8>::new(), [0; 64]);
        loop {
            let count = pair.network.receive(&mut chunk);
            if count == 0 {
                break;
            }
            got.extend(&chunk[..count]);
        }
        assert_eq!(got, bytes);
    }
}

#[test]
fn what_comes_together_is_handed_out_one_after_the_other() {
    let mut memory = Memory::new();
    let mut pair = Pair::connected(&mut memory);
    let said: Vec<Vec<u8>> = (1..40).map(|n| std::vec![n; 10]).collect();
    for bytes in &said[..12] {
        pair.say(bytes);
    }
    let (mut got, mut chunk) = (Vec::new(), [0; 64]);
    for _ in 0..20 {
        pair.turn();
        let count = pair.network.receive(&mut chunk);
        if count > 0 {
            got.push(chunk[..count].to_vec());
        }
    }
    assert_eq!(got, said[..12]);
}

#[test]
#[cfg_attr(miri, ignore = "thousands of turns")]
fn nothing_is_sent_before_anybody_answered_but_calls_and_few_of_those() {
    let mut memory = Memory::new();
    let mut pair = Pair::new(&mut memory, [0x4c; 32]);
    let mut calls = 0;
    for turn in 0..5000 {
        pair.turn();
        assert_eq!(pair.network.room(), 0, "turn {turn}");
        pair.network.send(b"lost");
        calls = pair.listener.dropped().of(Cause::WrongKey);
    }
    // As many as in five seconds there may be; the first waits for the host's card.
    let most = 5_000_000 / Timing::USUAL.call_us + 1;
    assert!((most - 2..=most).contains(&calls), "{calls}");
}

#[test]
#[cfg_attr(miri, ignore = "thousands of turns")]
fn a_card_that_did_not_come_up_is_set_up_again() {
    let mut memory = Memory::new();
    let mut pair = Pair::new(&mut memory, KEY);
    pair.card.forget();
    for _ in 0..900 {
        pair.turn();
    }
    assert!(!pair.listener.is_connected());
    for _ in 0..4000 {
        pair.turn();
    }
    assert!(pair.network.is_answered() && pair.listener.is_connected());
}

#[test]
#[cfg_attr(miri, ignore = "thousands of turns")]
fn a_card_that_never_comes_up_is_set_up_less_and_less_often() {
    let mut memory = Memory::new();
    let mut pair = Pair::new(&mut memory, KEY);
    let mut resets = 0;
    for second in 0..200 {
        pair.card.forget();
        pair.now_us = second * 1_000_000;
        pair.network.turn(pair.now_us);
        resets = pair.network.counts().card_resets;
    }
    // After 1, 3, 7, 15, 31, 63 and 127 seconds, and then every 64.
    assert_eq!(resets, 8);
    // One that does is looked at each second again.
    for second in 200..300 {
        pair.now_us = second * 1_000_000;
        pair.network.turn(pair.now_us);
    }
    pair.card.forget();
    pair.network.turn(pair.now_us + 1_000_000);
    assert_eq!(pair.network.counts().card_resets, 9);
}

#[test]
#[cfg_attr(miri, ignore = "thousands of turns")]
fn a_host_that_is_gone_is_called_again() {
    let mut memory = Memory::new();
    let mut pair = Pair::connected(&mut memory);
    let before = pair.network.clock_us();
    pair.listener = Listener::new(Key::new(KEY), Some(before), OlderClock::Refused);
    for _ in 0..8000 {
        pair.turn();
    }
    assert!(pair.network.is_answered() && pair.listener.is_connected());
    assert!(pair.network.clock_us() > before);
    assert!(pair.listener.dropped().of(Cause::UnknownSession) > 0);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    /// Frames of any kind, most of them nearly right, are met with silence, and the session stays as it was.
    #[test]
    #[cfg_attr(miri, ignore = "hundreds of handshakes")]
    fn what_does_not_authenticate_changes_nothing_and_is_not_answered(
        junk in proptest::collection::vec(any::<u8>(), 0..200),
        shape in 0_u8..4,
        flip in proptest::option::of((any::<proptest::sample::Index>(), 1_u8..)),
        to_other_port: bool,
    ) {
        let mut memory = Memory::new();
        let mut pair = Pair::connected(&mut memory);
        let port = pair.port.unwrap();
        let port = if to_other_port { port ^ 1 } else { port };
        let mut frame = match shape {
            0 => junk.clone(),
            1 => frame_with(68, &junk),
            _ => frame_with(port, &junk),
        };
        if let Some((at, bits)) = flip && !frame.is_empty() {
            let at = at.index(frame.len());
            frame[at] ^= bits;
        }
        pair.card.arrive(&frame);
        pair.network.turn(pair.now_us + 1);
        prop_assert_eq!(pair.card.sent(), None);
        prop_assert!(pair.network.is_answered());
        prop_assert_eq!(pair.network.receive(&mut [0; 8]), 0);
        pair.say(b"still here");
        pair.turn();
        let mut got = [0; 16];
        let count = pair.network.receive(&mut got);
        prop_assert_eq!(&got[..count], b"still here");
    }
}

#[test]
fn without_an_address_it_asks_for_one_and_calls_nobody() {
    let card = FakeCard::default();
    let mut memory = Memory::new();
    let mut network = network(&mut memory, &card, Key::new(KEY), Addresses::Dhcp);
    for turn in 0..3000 {
        network.turn(turn * 1000);
    }
    let mut asked = 0;
    while let Some(frame) = card.sent() {
        let (port, _) = datagram_in(&frame).unwrap();
        assert_eq!(port, 68);
        asked += 1;
    }
    assert!((1..=3).contains(&asked), "{asked}");
}

/// A processor that draws nothing, and a seed that comes again with a snapshot.
#[test]
fn bits_of_the_operating_system_change_what_is_drawn() {
    let public_key = |bits: Option<u64>| {
        let mut memory = Memory::new();
        let mut pair = Pair::new(&mut memory, KEY);
        if let Some(bits) = bits {
            pair.network.stir(bits);
        }
        for _ in 0..1000 {
            pair.now_us += 1000;
            pair.network.turn(pair.now_us);
            while let Some(frame) = pair.card.sent() {
                if !answer_who_has(&pair.card, &frame) {
                    return datagram_in(&frame).unwrap().1;
                }
            }
        }
        panic!("it does not call");
    };
    assert_eq!(public_key(None), public_key(None));
    assert_ne!(public_key(None), public_key(Some(1)));
    assert_ne!(public_key(Some(1)), public_key(Some(2)));
}
