//! All cards that there is a driver for: which one drives a card, what the card needs, and one type that stands for any of them.
//!
//! By the platform at load, and by `hw/network.rs`.

use super::card::{Card, CardIo, Config, FRAME_BYTES, Mac, Macs, WINDOWS, is_unicast};
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
    /// It has no address of its own that a card can have.
    NoMac {
        /// The one that it has.
        own: Mac,
        /// It could be driven with another.
        takes_mac: bool,
    },
    /// Its registers cannot be reached.
    Registers {
        /// The base address register that ought to lead there.
        bar: u8,
        /// Why not.
        why: NoRegisters,
    },
}

/// Why registers cannot be reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoRegisters {
    /// There is nothing at all.
    Nothing,
    /// Neither firmware nor kernel found a place for them.
    NoPlace,
    /// They are I/O ports.
    Ports,
    /// There are fewer than the driver uses.
    TooFew {
        /// There are.
        bytes: u64,
        /// There have to be.
        least_bytes: u32,
    },
    /// In the same page of memory may be something else.
    PartOfPage {
        /// Where they begin.
        start: u64,
        /// How many bytes there are.
        bytes: u64,
    },
}

/// What a base address register leads to, as the system has it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Bar {
    /// 0 if there is no place for it.
    pub start: u64,
    /// 0 if there is nothing.
    pub bytes: u64,
    /// It is memory, not I/O ports.
    pub is_memory: bool,
}

/// A card has so many.
pub const BARS: usize = 6;
/// Nobody else is reached in pages that are mapped for the card.
const PAGE: u64 = 4096;

/// An address as people write it.
struct Written(Mac);

impl fmt::Display for Written {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}

impl fmt::Display for NoRegisters {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Nothing => f.write_str("which it does not have; nic= may name another card"),
            Self::NoPlace => f.write_str(
                "to which neither firmware nor kernel gave a place; boot with pci=realloc",
            ),
            Self::Ports => f.write_str("which are I/O ports; the driver drives cards by memory"),
            Self::TooFew { bytes, least_bytes } => write!(
                f,
                "which has {bytes} bytes of the {least_bytes} that the driver uses"
            ),
            Self::PartOfPage { start, bytes } => write!(
                f,
                "which are {bytes} bytes at {start:#x}, in a page with others; boot with pci=resource_alignment=12@ and its slot"
            ),
        }
    }
}

impl fmt::Display for CardError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unknown => {
                f.write_str("is no network card that the driver knows; docs/network.md lists them")
            }
            Self::NotModern => f.write_str(
                "is a virtio card without the interface of version 1; QEMU has that with disable-modern=off",
            ),
            Self::KeepsMac => f.write_str(
                "is a virtio card, which has the address that its virtual machine says; mac= is not for it",
            ),
            Self::NoMac { own, takes_mac } => {
                let own = Written(*own);
                match takes_mac {
                    true => write!(f, "has the address {own}, which is no card's; mac= gives it one"),
                    false => write!(
                        f,
                        "has the address {own}, which is no card's; the settings of its virtual machine give it one"
                    ),
                }
            }
            Self::Registers { bar, why } => {
                write!(f, "has its registers in base address register {bar}, {why}")
            }
        }
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

    /// Whether its registers can be reached, by what its base address registers lead to.
    ///
    /// # Errors
    /// Why not.
    pub fn look_at(self, bars: &[Bar; BARS]) -> Result<(), CardError> {
        for (bar, least_bytes) in self.bars().into_iter().zip(self.window_bytes()) {
            let Some(bar) = bar else {
                continue;
            };
            let found = bars.get(usize::from(bar)).copied().unwrap_or_default();
            let Bar { start, bytes, .. } = found;
            let why = if bytes == 0 {
                NoRegisters::Nothing
            } else if !found.is_memory {
                NoRegisters::Ports
            } else if start == 0 {
                NoRegisters::NoPlace
            } else if bytes < u64::from(least_bytes) {
                NoRegisters::TooFew { bytes, least_bytes }
            } else if (start | bytes) % PAGE != 0 {
                NoRegisters::PartOfPage { start, bytes }
            } else {
                continue;
            };
            return Err(CardError::Registers { bar, why });
        }
        Ok(())
    }

    /// The address that a card of this kind has, if the driver can use it, or gets another.
    ///
    /// # Errors
    /// When neither is so.
    pub fn own_mac(self, io: &mut impl CardIo, has_other_mac: bool) -> Result<Mac, CardError> {
        let own = match self {
            Self::E1000(family) => e1000::mac(io, family),
            Self::Virtio(places) => virtio::mac(io, places),
            Self::Vmxnet3 => vmxnet3::mac(io),
            Self::Realtek => realtek::mac(io),
        };
        let takes_mac = self.takes_mac();
        match is_unicast(own) || has_other_mac && takes_mac {
            true => Ok(own),
            false => Err(CardError::NoMac { own, takes_mac }),
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

    /// As many bytes of each of those windows the driver uses.
    const fn window_bytes(self) -> [u32; WINDOWS] {
        match self {
            Self::E1000(_) => e1000::WINDOW_BYTES,
            Self::Virtio(places) => places.window_bytes,
            Self::Vmxnet3 => vmxnet3::WINDOW_BYTES,
            Self::Realtek => realtek::WINDOW_BYTES,
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
    /// The card of this kind behind these registers. It does nothing before it begins. One that keeps its address has that.
    pub fn new(kind: Kind, io: I, macs: Macs) -> Self {
        match kind {
            Kind::E1000(family) => Self::E1000(E1000::new(io, family, macs)),
            Kind::Virtio(places) => Self::Virtio(Virtio::new(io, places)),
            Kind::Vmxnet3 => Self::Vmxnet3(Vmxnet3::new(io, macs)),
            Kind::Realtek => Self::Realtek(Realtek::new(io, macs)),
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
