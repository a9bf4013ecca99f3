//! The lab: boots Debian's own, unmodified kernel on emulated VT-x and hands out its debug line.
//!
//! One call does it all: [`machine::Machine::boot`] fetches and builds whatever is missing, boots, and loads the driver.
//! Used by the `lab` program and by the end-to-end tests. Reading order: `toolchain`, `provision`, `image`, `machine`, `line`.

mod apt;
pub mod arguments;
pub mod background;
mod bochs;
pub mod cache;
pub mod comment;
pub mod config;
pub mod console;
mod cpio;
pub mod debian;
mod delay;
pub mod document;
pub mod driver;
mod emulator;
pub mod exits;
pub mod faults;
mod fuzz;
pub mod host;
mod image;
mod kbuild;
mod kept;
pub mod line;
pub mod machine;
pub mod memory;
mod miri;
pub mod network;
pub mod package;
pub mod progress;
pub mod provision;
pub mod qemu;
mod rates;
pub mod relax;
pub mod relay;
pub mod run;
pub mod script;
pub mod selftests;
mod snapshot;
pub mod soak;
pub mod suite;
mod tally;
pub mod toolchain;
pub mod windows;
mod wireshark;

pub use faults::Faults;
pub use host::Host;
pub use image::GuestFile;
pub use line::LineCount;
pub use machine::{KernelLine, Machine, Options};

use std::path::PathBuf;

/// Root of the source repository the lab was built from.
#[must_use]
pub fn repository() -> PathBuf {
    let own = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    own.parent().map(PathBuf::from).unwrap_or(own)
}
