//! All cards that there is a driver for: which one drives a card, what the card needs, and one type that stands for any of them.
//!
//! By the platform at load, and by `hw/network.rs`.

use super::card::{Card, CardIo, Config, FRAME_BYTES, Mac, WINDOWS};
use super::e1000::family::{self, Family};
use super::e1000::{self, E1000};
use super::realtek::{self, Realtek};
use super::virtio::places::Places;
use super::virtio::{self, Virtio};
use super::vmxnet3::{self, Vmxnet3};
use core::fmt;

/// A kind of card.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Intel's gigabit cards.
    E1000(Family),
    /// VIRTIO's, whose registers are where it says.
    Virtio(Places),
    /// VMware's.
    Vmxnet3,
    /// Realtek's gigabit cards.
    Realtek,
}

/// Why a card cannot be driven.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CardError {
    /// There is no driver for it.
    Unknown,
    /// A card of VIRTIO has no modern interface, or one that is spread over too much.
    NotModern,
    /// It has an address of its own, and takes no other.
    KeepsMac,
}

impl fmt::Display for CardError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Unknown => "no network card that the driver knows; docs/network.md lists them",
            Self::NotModern => {
                "a virtio card without the interface of version 1; QEMU has that with disable-modern=off"
            }
            Self::KeepsMac => {
                "mac= is not for a virtio card, which has the address that its virtual machine says"
            }
        })
    }
}

/// There is a driver for a card of these identifiers.
#[must_use]
pub fn is_known(vendor: u16, device: u16) -> bool {
    match vendor {
        family::VENDOR => Family::of(device).is_some(),
        virtio::VENDOR => virtio::DEVICES.contains(&device),
        vmxnet3::VENDOR => vmxnet3::DEVICES.contains(&device),
        realtek::VENDOR => realtek::DEVICES.contains(&device),
        _ => false,
    }
}

impl Kind {
    /// Which one a card is, by its configuration space.
    ///
    /// # Errors
    /// Why it cannot be driven.
    pub fn of(config: &Config) -> Result<Self, CardError> {
        let [a, b, c, d, ..] = *config;
        let (vendor, device) = (u16::from_le_bytes([a, b]), u16::from_le_bytes([c, d]));
        if !is_known(vendor, device) {
            return Err(CardError::Unknown);
        }
        match vendor {
            virtio::VENDOR => Places::of(config)
                .map(Self::Virtio)
                .ok_or(CardError::NotModern),
            vmxnet3::VENDOR => Ok(Self::Vmxnet3),
            realtek::VENDOR => Ok(Self::Realtek),
            _ => Family::of(device)
                .map(Self::E1000)
                .ok_or(CardError::Unknown),
        }
    }

    /// It can be driven with another address than its own.
    #[must_use]
    pub const fn takes_mac(self) -> bool {
        !matches!(self, Self::Virtio(_))
    }

    /// Bytes of the memory that it reads and writes by itself.
    #[must_use]
    pub const fn memory_bytes(self) -> usize {
        match self {
            Self::E1000(_) => e1000::MEMORY_BYTES,
            Self::Virtio(_) => virtio::MEMORY_BYTES,
            Self::Vmxnet3 => vmxnet3::MEMORY_BYTES,
            Self::Realtek => realtek::MEMORY_BYTES,
        }
    }

    /// The base address registers of the windows in which its registers are.
    #[must_use]
    pub const fn bars(self) -> [Option<u8>; WINDOWS] {
        match self {
            Self::E1000(_) => e1000::BARS,
            Self::Virtio(places) => places.bars,
            Self::Vmxnet3 => vmxnet3::BARS,
            Self::Realtek => realtek::BARS,
        }
    }
}

/// A card of any kind.
pub enum AnyCard<I> {
    /// See [`Kind`].
    E1000(E1000<I>),
    /// See [`Kind`].
    Virtio(Virtio<I>),
    /// See [`Kind`].
    Vmxnet3(Vmxnet3<I>),
    /// See [`Kind`].
    Realtek(Realtek<I>),
}

impl<I: CardIo> AnyCard<I> {
    /// The card of this kind behind these registers, with an address of its own or the one that is in it. It does nothing
    /// before it begins.
    pub fn new(kind: Kind, io: I, mac: Option<Mac>) -> Self {
        match kind {
            Kind::E1000(family) => Self::E1000(E1000::new(io, family, mac)),
            Kind::Virtio(places) => Self::Virtio(Virtio::new(io, places)),
            Kind::Vmxnet3 => Self::Vmxnet3(Vmxnet3::new(io, mac)),
            Kind::Realtek => Self::Realtek(Realtek::new(io, mac)),
        }
    }

    fn card(&self) -> &dyn Card {
        match self {
            Self::E1000(card) => card,
            Self::Virtio(card) => card,
            Self::Vmxnet3(card) => card,
            Self::Realtek(card) => card,
        }
    }

    fn card_mut(&mut self) -> &mut dyn Card {
        match self {
            Self::E1000(card) => card,
            Self::Virtio(card) => card,
            Self::Vmxnet3(card) => card,
            Self::Realtek(card) => card,
        }
    }
}

impl<I: CardIo> Card for AnyCard<I> {
    fn begin(&mut self) -> bool {
        self.card_mut().begin()
    }

    fn end(&mut self) {
        self.card_mut().end();
    }

    fn is_in_order(&mut self) -> bool {
        self.card_mut().is_in_order()
    }

    fn mac(&self) -> Mac {
        self.card().mac()
    }

    fn receive(&mut self, into: &mut [u8; FRAME_BYTES]) -> Option<usize> {
        self.card_mut().receive(into)
    }

    fn can_send(&self) -> bool {
        self.card().can_send()
    }

    fn send(&mut self, frame: &[u8]) {
        self.card_mut().send(frame);
    }
}

#[cfg(test)]
mod tests;
