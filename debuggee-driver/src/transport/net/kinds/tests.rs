//! Which card is driven by what, by configuration spaces as QEMU's cards have them.

extern crate std;
use super::*;
use crate::transport::net::card::SECOND_WINDOW;
use std::string::ToString;
use std::vec::Vec;

/// Of a card without capabilities.
fn plain(vendor: u16, device: u16) -> Config {
    let mut config = [0; 256];
    config[..2].copy_from_slice(&vendor.to_le_bytes());
    config[2..4].copy_from_slice(&device.to_le_bytes());
    config
}

/// Adds a vendor's own capability: kind, base address register, offset, length, and what follows.
fn add(config: &mut Config, at: usize, next: u8, kind: u8, bar: u8, words: [u32; 3]) {
    config[at..at + 5].copy_from_slice(&[0x09, next, 20, kind, bar]);
    // Only what says where a card is told of something has the last one.
    let count = if kind == 2 { 3 } else { 2 };
    for (index, word) in words.iter().take(count).enumerate() {
        let at = at + 8 + 4 * index;
        config[at..at + 4].copy_from_slice(&word.to_le_bytes());
    }
}

/// As QEMU's virtio-net-pci has it, and one more capability in front that is not a vendor's.
fn virtio() -> Config {
    let mut config = plain(0x1af4, 0x1041);
    config[0x06] = 1 << 4;
    config[0x34] = 0x98;
    config[0x98..0x9a].copy_from_slice(&[0x11, 0x84]);
    add(&mut config, 0x84, 0x70, 5, 0, [0; 3]);
    add(&mut config, 0x70, 0x60, 2, 4, [0x3000, 0x1000, 4]);
    add(&mut config, 0x60, 0x50, 4, 4, [0x2000, 0x1000, 0]);
    add(&mut config, 0x50, 0x40, 3, 4, [0x1000, 0x1000, 0]);
    add(&mut config, 0x40, 0, 1, 4, [0, 0x1000, 0]);
    config
}

#[test]
fn every_card_of_the_list_has_its_driver_and_no_other() {
    let families = [
        (0x100e, Family::Pci),
        (0x100f, Family::Pci),
        (0x10d3, Family::Express),
        (0x153a, Family::ChipSet),
        (0x15a3, Family::ChipSet),
        (0x156f, Family::ChipSet219),
        (0x15fc, Family::ChipSet219),
    ];
    for (device, family) in families {
        assert_eq!(Kind::of(&plain(0x8086, device)), Ok(Kind::E1000(family)));
        assert!(is_known(0x8086, device));
    }
    assert_eq!(Kind::of(&plain(0x15ad, 0x07b0)), Ok(Kind::Vmxnet3));
    assert_eq!(Kind::of(&plain(0x10ec, 0x8168)), Ok(Kind::Realtek));
    let others: Vec<_> = [(0x8086, 0x1533), (0x10ec, 0x8169), (0x1af4, 0x1042)]
        .into_iter()
        .filter(|(vendor, device)| is_known(*vendor, *device))
        .collect();
    assert!(others.is_empty(), "{others:x?}");
    assert_eq!(Kind::of(&[0xff; 256]), Err(CardError::Unknown));
}

#[test]
fn virtio_cards_say_where_their_registers_are() {
    let kind = Kind::of(&virtio()).unwrap();
    assert_eq!(kind.bars(), [Some(4), None]);
    assert!(!kind.takes_mac() && Kind::Vmxnet3.takes_mac());
    // In two base address registers.
    let mut config = virtio();
    config[0x74] = 2;
    let kind = Kind::of(&config).unwrap();
    assert_eq!(kind.bars(), [Some(4), Some(2)]);
}

#[test]
fn virtio_cards_that_cannot_be_driven_are_refused() {
    let changes: [fn(&mut Config); 7] = [
        // No capabilities, none of the modern ones, one missing, one in a third place.
        |config| config[0x06] = 0,
        |config| config[0x34] = 0x84,
        |config| config[0x43] = 5,
        |config| (config[0x74], config[0x64]) = (2, 3),
        // Too short, beyond the window, not at a multiple of four.
        |config| config[0x4d] = 0,
        |config| config[0x7b] = 0xff,
        |config| config[0x78] = 2,
    ];
    for (index, change) in changes.iter().enumerate() {
        let mut config = virtio();
        if index == 1 {
            config[0x85] = 0;
        }
        change(&mut config);
        assert_eq!(Kind::of(&config), Err(CardError::NotModern), "{index}");
    }
    assert!(CardError::NotModern.to_string().contains("version 1"));
}

/// A list that leads back to itself, and one that leads anywhere.
#[test]
fn lists_of_capabilities_end() {
    let mut config = virtio();
    config[0x41] = 0x98;
    assert!(Kind::of(&config).is_ok());
    for byte in 0..=255 {
        let mut config = [byte; 256];
        config[..4].copy_from_slice(&[0xf4, 0x1a, 0x41, 0x10]);
        config[0x06] = 1 << 4;
        let _ = Kind::of(&config);
    }
}

/// As systems have them: memory at a place of its own.
const GOOD: Bar = Bar {
    start: 0xfebc_0000,
    bytes: 0x2_0000,
    is_memory: true,
};

#[test]
fn registers_that_cannot_be_reached_are_told() {
    let kind = Kind::E1000(Family::Pci);
    let with = |bar| kind.look_at(&[bar, GOOD, GOOD, GOOD, GOOD, GOOD]);
    assert_eq!(with(GOOD), Ok(()));
    let cases = [
        (Bar::default(), "register 0, which it does not have"),
        (
            Bar { start: 0, ..GOOD },
            "neither firmware nor kernel gave a place",
        ),
        (
            Bar {
                start: 0xc000,
                is_memory: false,
                ..GOOD
            },
            "register 0, which are I/O ports",
        ),
        (
            Bar {
                bytes: 0x1000,
                ..GOOD
            },
            "has 4096 bytes of the 131072",
        ),
        (
            Bar {
                start: 0xfebc_0800,
                ..GOOD
            },
            "131072 bytes at 0xfebc0800, in a page with others",
        ),
    ];
    for (bar, line) in cases {
        let said = with(bar).unwrap_err().to_string();
        assert!(said.contains(line), "{said}");
    }
}

#[test]
fn all_windows_that_a_card_has_are_looked_at_and_no_others() {
    let none = Bar::default();
    let kinds = [
        (Kind::Vmxnet3, [GOOD, GOOD, none, none, none, none], 1),
        (Kind::Realtek, [none, none, GOOD, none, none, none], 2),
        (
            Kind::of(&virtio()).unwrap(),
            [none, none, none, none, GOOD, none],
            4,
        ),
    ];
    for (kind, mut bars, last) in kinds {
        assert_eq!(kind.look_at(&bars), Ok(()));
        bars[last].bytes = 16;
        let why = NoRegisters::TooFew {
            bytes: 16,
            least_bytes: kind
                .window_bytes()
                .into_iter()
                .rfind(|it| *it != 0)
                .unwrap(),
        };
        let bar = last as u8;
        assert_eq!(kind.look_at(&bars), Err(CardError::Registers { bar, why }));
    }
    // All that a card of VIRTIO says that it has there.
    let kind = Kind::of(&virtio()).unwrap();
    assert_eq!(kind.window_bytes(), [0x4000, 0]);
}

#[test]
fn addresses_that_no_card_can_have_are_told_unless_there_is_another() {
    let (rtl, vmware) = (Kind::Realtek, Kind::Vmxnet3);
    let e1000 = Kind::E1000(Family::Pci);
    let virtio = Kind::of(&virtio()).unwrap();
    for kind in [rtl, vmware, e1000] {
        let good = [2, 0, 0, 0, 0, 1];
        assert_eq!(kind.own_mac(&mut Said(good), false), Ok(good));
        for (own, text) in [
            ([0; 6], "00:00:00:00:00:00"),
            ([0xff; 6], "ff:ff:ff:ff:ff:ff"),
        ] {
            let error = kind.own_mac(&mut Said(own), false).unwrap_err().to_string();
            assert!(error.contains(text) && error.contains("mac= gives it one"));
            assert_eq!(kind.own_mac(&mut Said(own), true), Ok(own));
        }
    }
    let error = virtio
        .own_mac(&mut Said([1, 0, 0, 0, 0, 1]), true)
        .unwrap_err();
    assert!(
        error
            .to_string()
            .contains("of its virtual machine give it one")
    );
}

/// A card that has this address wherever one is read.
struct Said(Mac);

impl Said {
    fn bytes<const LEN: usize>(&self, at: u32) -> [u8; LEN] {
        // That of e1000 begins in the middle of the registers, that of virtio where its piece is, others at a multiple of 8.
        let first = match at {
            0x5400..0x5408 => 0x5400,
            0x2000..0x2006 => 0x2000,
            SECOND_WINDOW.. => SECOND_WINDOW + 0x28,
            _ => 0,
        };
        // Its second half is four bytes behind, or eight in one card.
        let at = match (at - first) as usize {
            8 => 4,
            at => at,
        };
        core::array::from_fn(|more| self.0.get(at + more).copied().unwrap_or_default())
    }
}

impl CardIo for Said {
    fn register(&self, at: u32) -> u32 {
        u32::from_le_bytes(self.bytes(at))
    }

    fn set_register(&mut self, _: u32, _: u32) {}

    fn register_u16(&self, at: u32) -> u16 {
        u16::from_le_bytes(self.bytes(at))
    }

    fn set_register_u16(&mut self, _: u32, _: u16) {}

    fn register_u8(&self, at: u32) -> u8 {
        let [byte] = self.bytes(at);
        byte
    }

    fn set_register_u8(&mut self, _: u32, _: u8) {}

    fn wait_us(&self, _: u32) {}

    fn memory_address(&self) -> u64 {
        0
    }

    fn physical_address(&self) -> u64 {
        0
    }

    fn word(&self, _: usize) -> u64 {
        0
    }

    fn set_word(&mut self, _: usize, _: u64) {}

    fn read(&self, _: usize, _: &mut [u8]) {}

    fn write(&mut self, _: usize, _: &[u8]) {}
}
