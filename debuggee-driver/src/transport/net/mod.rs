//! A network card of the driver's own, and all that stands between it and the link: `card`, a file for each kind of card and
//! `kinds`, which has them all, `stack` (Ethernet, IP, UDP), `network` (the secure channel), and what the loader says of it (`settings`).

pub mod card;
pub mod e1000;
pub mod kinds;
pub mod network;
pub mod realtek;
pub mod settings;
mod stack;
pub mod virtio;
pub mod vmxnet3;

pub use stack::Memory;

#[cfg(test)]
mod model;
