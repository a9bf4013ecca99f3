//! The network as a way to the host: bytes of the link, sealed, in datagrams. It calls the host until that answers.
//!
//! In VMX-root, by the core that has the line, in steps that end. What is here may panic, since it stands on libraries: it is
//! run apart (`hw/apart.rs`), and made anew when it did.

use super::card::Card;
use super::settings::Settings;
use super::stack::{Memory, Stack};
use crate::port::Senses;
use wire_protocol::packet::NetworkCounts;
use wire_protocol::secure::{Caller, DATAGRAM_BYTES, Entropy, ROOM_BYTES, Random, Taken, Timing};

/// What is due at once is at most a call and a sign of life.
const DUE_PER_TURN: usize = 4;
/// Datagrams that are opened in one turn until one has something for the link.
const OPENED_PER_TURN: usize = 16;

/// Datagrams that go out until bits are drawn anew for them.
const DATAGRAMS_PER_DRAW: u32 = 16;

/// See the module.
pub struct Network<'m, C, S> {
    stack: Stack<'m, C>,
    caller: Caller,
    senses: S,
    entropy: Entropy,
    /// Bits that were drawn for so many datagrams more.
    drawn: (Random, u32),
    now_us: u64,
    datagram: [u8; DATAGRAM_BYTES],
    /// Bytes for the link that came in one datagram, and those of them that were handed out.
    arrived: [u8; ROOM_BYTES],
    arrived_bytes: usize,
    taken_bytes: usize,
    card_resets: u64,
    /// When the card is looked at next, as long as no host answers, and how long after the look before.
    look_at_us: u64,
    look_every_us: u64,
}

/// Between two looks at a card while no host answers: one that did not come up, or lost what it was told, comes back by itself.
/// Where it has to be set up over and over, the looks become as rare: that takes time of the guest's, too.
const LOOK_EVERY_US: u64 = 1_000_000;
const LOOK_SELDOM_US: u64 = 64_000_000;

/// What a network is made of.
pub struct Parts<'m, 'p, C, S> {
    /// Nobody else's from now on.
    pub memory: &'m mut Memory<'m>,
    /// Set up.
    pub card: C,
    /// What the loader said.
    pub settings: &'p Settings,
    /// Nobody else draws from it.
    pub entropy: Entropy,
    /// Of the machine.
    pub senses: S,
    /// The time that the last call had, in microseconds since 1970; 0 if there was none.
    pub clock_us: u64,
    /// Now, as the turns will have it.
    pub now_us: u64,
    /// For tests: it panics at each so many-th frame; 0: never.
    pub panic_every: u32,
}

impl<'m, C: Card, S: Senses> Network<'m, C, S> {
    /// One that has not called yet.
    #[must_use]
    pub fn new(parts: Parts<'m, '_, C, S>) -> Self {
        let Parts {
            memory,
            card,
            settings,
            mut entropy,
            senses,
            clock_us,
            now_us,
            panic_every,
        } = parts;
        let [a, b, c, d, e, f, g, h, ..] = draw(&mut entropy, &senses);
        let seed = u64::from_le_bytes([a, b, c, d, e, f, g, h]);
        Self {
            stack: Stack::new(memory, card, settings, seed, now_us).panicking(panic_every),
            caller: Caller::new(settings.key.clone(), Timing::USUAL).after(clock_us),
            senses,
            entropy,
            drawn: (Random::default(), 0),
            now_us,
            datagram: [0; DATAGRAM_BYTES],
            arrived: [0; ROOM_BYTES],
            arrived_bytes: 0,
            taken_bytes: 0,
            card_resets: 0,
            look_at_us: now_us.saturating_add(LOOK_EVERY_US),
            look_every_us: LOOK_EVERY_US,
        }
    }

    /// Sets the card up anew.
    pub fn begin(&mut self) {
        self.stack.card().begin();
    }

    /// Does so if it is not as it was.
    pub fn mend(&mut self) {
        self.is_mended();
    }

    fn is_mended(&mut self) -> bool {
        let card = self.stack.card();
        let has_to = !card.is_in_order();
        if has_to {
            card.begin();
            self.card_resets += 1;
        }
        has_to
    }

    /// Takes random bits of the operating system.
    pub fn stir(&mut self, bits: u64) {
        self.entropy.stir(&bits.to_le_bytes());
        self.drawn = (Random::default(), 0);
    }

    /// Takes what has come, and does what is due.
    pub fn turn(&mut self, now_us: u64) {
        self.now_us = now_us;
        if now_us >= self.look_at_us {
            self.look_every_us = match !self.caller.is_connected() && self.is_mended() {
                true => (2 * self.look_every_us).min(LOOK_SELDOM_US),
                false => LOOK_EVERY_US,
            };
            self.look_at_us = now_us.saturating_add(self.look_every_us);
        }
        self.stack.turn(now_us);
        for _ in 0..OPENED_PER_TURN {
            if self.taken_bytes < self.arrived_bytes || !self.open_next() {
                break;
            }
        }
        for _ in 0..DUE_PER_TURN {
            if !self.caller.is_due(now_us) || !self.stack.can_send() {
                break;
            }
            let random = draw(&mut self.entropy, &self.senses);
            // It is asked for no more often than it is needed.
            let clock_us = match self.caller.is_to_call(now_us) {
                true => self.senses.clock_us(),
                false => 0,
            };
            let len = self
                .caller
                .poll(now_us, clock_us, &random, &mut self.datagram);
            self.put(len);
        }
    }

    /// Opens the datagram that came first. False if there is none.
    fn open_next(&mut self) -> bool {
        let Some(len) = self.stack.receive(&mut self.datagram) else {
            return false;
        };
        let datagram = self.datagram.get_mut(..len).unwrap_or_default();
        if let Taken::Bytes(bytes) = self.caller.take(datagram, self.now_us) {
            let room = self.arrived.get_mut(..bytes.len());
            if let Some(room) = room {
                room.copy_from_slice(bytes);
                self.arrived_bytes = bytes.len();
                self.taken_bytes = 0;
            }
        }
        true
    }

    /// Bytes for the link, into the front of `into`.
    pub fn receive(&mut self, into: &mut [u8]) -> usize {
        let left = self.arrived.get(self.taken_bytes..self.arrived_bytes);
        let left = left.unwrap_or_default();
        let count = left.len().min(into.len());
        for (to, from) in into.iter_mut().zip(left) {
            *to = *from;
        }
        self.taken_bytes += count;
        count
    }

    /// How many bytes [`Self::send`] takes: as many as go in a datagram, or none.
    pub fn room(&self) -> usize {
        match self.caller.is_connected() && self.stack.can_send() {
            true => ROOM_BYTES,
            false => 0,
        }
    }

    /// Sends bytes of the link in one datagram.
    pub fn send(&mut self, bytes: &[u8]) {
        if bytes.is_empty() {
            return;
        }
        let random = self.random();
        let len = self
            .caller
            .seal(bytes, self.now_us, &random, &mut self.datagram);
        self.put(len);
    }

    /// For one datagram: what the processor draws, and its time-stamp counter, over bits that serve for some datagrams. That
    /// they are others each time is all that a nonce needs, and less work than to draw them one by one.
    fn random(&mut self) -> Random {
        let (mut random, left) = self.drawn;
        if left == 0 {
            random = draw(&mut self.entropy, &self.senses);
        }
        self.drawn = (random, left.checked_sub(1).unwrap_or(DATAGRAMS_PER_DRAW));
        for (places, number) in random.chunks_exact_mut(8).zip(fresh(&self.senses)) {
            for (place, byte) in places.iter_mut().zip(number.to_le_bytes()) {
                *place ^= byte;
            }
        }
        random
    }

    fn put(&mut self, len: usize) {
        let datagram = self.datagram.get(..len).unwrap_or_default();
        if !datagram.is_empty() {
            self.stack.send(datagram, self.now_us);
        }
    }

    /// A host has answered, and was heard not long ago.
    pub fn is_answered(&self) -> bool {
        !self.caller.is_lost(self.now_us)
    }

    /// What became of it.
    pub fn counts(&self) -> NetworkCounts {
        NetworkCounts {
            dropped: self.caller.dropped(),
            sessions: self.caller.sessions(),
            rebuilt: 0,
            card_resets: self.card_resets,
            heard_ms_ago: self
                .caller
                .heard_us()
                .map(|heard_us| self.now_us.saturating_sub(heard_us) / 1000),
        }
    }

    /// The time that the last call had.
    pub const fn clock_us(&self) -> u64 {
        self.caller.clock_us()
    }
}

/// Random bits of the processor's, where it has them, and of what the operating system drew at load and gave since.
fn draw(entropy: &mut Entropy, senses: &impl Senses) -> Random {
    let mut bytes = [0; 40];
    for (place, number) in bytes.chunks_exact_mut(8).zip(fresh(senses)) {
        place.copy_from_slice(&number.to_le_bytes());
    }
    entropy.draw(&bytes)
}

/// The time-stamp counter, and what the processor draws.
fn fresh(senses: &impl Senses) -> impl Iterator<Item = u64> {
    core::iter::once(senses.tsc()).chain((0..4).filter_map(|_| senses.random()))
}

#[cfg(test)]
mod tests;
