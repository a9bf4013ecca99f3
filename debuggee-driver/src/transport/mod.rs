//! Ways to move bytes to the host, each generic over the device's registers and polled: no
//! interrupts, no memory of their own.

pub mod choice;
pub mod firmware;
pub mod interrupt;
pub mod net;
pub mod place;
pub mod uart16550;
pub mod ways;
