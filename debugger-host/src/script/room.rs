//! How much of a pool a script takes.

use super::Compiled;
use std::fmt;

/// Bytes of a regular event's action, unless the driver was loaded with another value.
const REGULAR_BYTES: usize = 8192;
/// Bytes of a big event's action, likewise.
const BIG_BYTES: usize = wire_protocol::limits::PROGRAM_BYTES;

/// The smallest event that has room for a script, with the driver's own design constants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Room {
    /// A regular one.
    Regular,
    /// A big one.
    Big,
    /// None.
    None,
}

impl Compiled {
    /// Bytes of an event's action that the program and its locals take.
    #[must_use]
    pub fn action_bytes(&self, cores: u16) -> usize {
        let locals = self.local_bytes * usize::from(cores);
        if locals == 0 {
            self.bytes.len()
        } else {
            self.bytes.len().next_multiple_of(8) + locals
        }
    }

    /// The event it needs.
    #[must_use]
    pub fn room(&self, cores: u16) -> Room {
        match self.action_bytes(cores) {
            bytes if bytes <= REGULAR_BYTES => Room::Regular,
            bytes if bytes <= BIG_BYTES => Room::Big,
            _ => Room::None,
        }
    }
}

impl fmt::Display for Room {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Regular => write!(
                f,
                "a regular event has room for it (up to {REGULAR_BYTES:x})"
            ),
            Self::Big => write!(
                f,
                "it needs a big event (up to {BIG_BYTES:x}); `prealloc big-event 1` before the halt"
            ),
            Self::None => write!(f, "no event has room for it (up to {BIG_BYTES:x})"),
        }
    }
}
