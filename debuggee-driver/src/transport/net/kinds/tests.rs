//! Which card is driven by what, by configuration spaces as QEMU's cards have them.

extern crate std;
use super::*;
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
