//! The hypervisor core of Standstill, without any operating system.
//!
//! Modules in call order: `boot` wires hardware to logic and starts each core; `exit` handles one
//! VM exit; `hit` does what the events of a trigger ask for; `halt` stops every core and serves the host; `command` answers one request; `event`
//! holds what is installed; below it `ept`, `cores`, `guest`, `pool` and `vmx`, and the traits of
//! `port`. Each imports only from its right in that list. `hw` and `transport` implement the
//! traits; only `boot` and the platform packages name them.
#![no_std]
#![deny(unsafe_code)]
#![cfg_attr(
    not(test),
    deny(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::panic,
        clippy::indexing_slicing
    )
)]

pub mod boot;
pub mod clock;
pub mod command;
pub mod constants;
#[allow(unsafe_code, reason = "see `cores::rendezvous` and `cores::exclusive`")]
pub mod cores;
pub mod ept;
pub mod event;
pub mod exit;
pub mod facts;
#[cfg(any(test, feature = "fake"))]
#[allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "it stands for hardware in tests, and is in no driver"
)]
pub mod fake;
pub mod guest;
pub mod halt;
pub mod hit;
#[allow(unsafe_code, reason = "the hardware files")]
pub mod hw;
pub mod line;
pub mod messages;
pub mod occasions;
pub mod poll;
pub mod pool;
pub mod port;
pub mod published;
pub mod rtc;
pub mod run;
pub mod shared;
pub mod steps;
pub mod transport;
pub mod vmx;
