//! A network card of the driver's own, and all that stands between it and the link: `card` and a file for each kind of card,
//! `stack` (Ethernet, IP, UDP), `network` (the secure channel), and what the loader says of it (`settings`).

pub mod card;
pub mod e1000;
pub mod network;
pub mod settings;
mod stack;

pub use stack::Memory;

/// Bytes of the memory that a card of this kind reads and writes by itself, by its identifiers on the PCI bus; 0 if there is no
/// driver for it.
#[must_use]
pub fn card_memory_bytes(vendor: u16, device: u16) -> usize {
    if vendor == e1000::VENDOR && e1000::DEVICES.contains(&device) {
        e1000::MEMORY_BYTES
    } else {
        0
    }
}
