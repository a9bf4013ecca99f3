//! What the debugger and its debuggee say to each other.
//!
//! Both ends compile this very code: the host program, and the debuggee driver in
//! VMX-root. So there is no allocation, no panic path and no `unsafe` in it.
//!
//! Reading order, bottom to top:
//! [`limits`], [`address`] and [`register`], then [`transport`], [`frame`] (finds and checks frames in a
//! stream of bytes), [`link`] (delivers messages once and in order), [`event`] and [`refusal`],
//! [`codec`] (how numbers are written), [`pack`] (memory contents made shorter), and on top
//! [`packet`]: requests, replies and notices.
//! Between link and network, with the feature `secure`, stands the secure channel over datagrams.
//! Beside them [`bytecode`], the programs that scripts are compiled to, and [`script`], which runs
//! them; [`print`] makes text of what they print; [`instruction`] knows how long x86 instructions are.
#![no_std]
#![forbid(unsafe_code)]
#![deny(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]
#![cfg_attr(not(test), warn(clippy::cast_possible_truncation))]

pub mod address;
pub mod baud;
pub mod branch;
#[cfg_attr(
    not(test),
    expect(
        clippy::cast_possible_truncation,
        reason = "what is counted lies within a program, whose limits the fields can hold, or is cut to the operand it came from"
    )
)]
pub mod bytecode;
mod closed;
pub mod codec;
pub mod crc;
pub mod digest;
pub mod dropped;
pub mod event;
pub mod frame;
pub mod instruction;
pub mod limits;
pub mod link;
#[cfg_attr(
    not(test),
    expect(
        clippy::cast_possible_truncation,
        reason = "the model works on bytes, and on probabilities of 16 bits"
    )
)]
pub mod pack;
pub mod packet;
pub mod pool;
pub mod print;
pub mod refusal;
pub mod register;
#[cfg_attr(
    not(test),
    expect(
        clippy::cast_possible_truncation,
        reason = "offsets are within a program, whose limits the fields can hold; the language itself narrows values"
    )
)]
pub mod script;
#[cfg(feature = "secure")]
pub mod secure;
pub mod transport;

#[cfg(test)]
extern crate std;

/// For tests: no files, and few cases where every step is slow.
#[cfg(test)]
fn proptest_config() -> proptest::test_runner::Config {
    proptest::test_runner::Config {
        cases: if cfg!(miri) { 2 } else { 512 },
        failure_persistence: None,
        ..proptest::test_runner::Config::default()
    }
}
