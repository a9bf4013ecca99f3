//! The last time that a call under a key had, in a file of its own: whoever recorded an earlier call brings it in vain, also
//! to a host program that was started anew. Called by [`super`].

use crate::private;
use std::io::{Error, ErrorKind, Result};
use std::path::PathBuf;
use wire_protocol::secure::Key;

/// See the module.
pub(super) struct LastClock(PathBuf);

impl LastClock {
    /// Of this key.
    pub(super) fn of(key: &Key) -> Result<Self> {
        let folder = private::folder("clocks").ok_or_else(|| {
            let why =
                "there is no folder to keep the debuggee's clock in; XDG_STATE_HOME names one";
            Error::new(ErrorKind::Unsupported, why)
        })?;
        let name = format!("{:08x}", u32::from_be_bytes(key.id()));
        Ok(Self(folder.join(name)))
    }

    /// In microseconds since 1970; `None` if there was no call.
    pub(super) fn read_us(&self) -> Result<Option<u64>> {
        let text = match std::fs::read_to_string(&self.0) {
            Err(why) if why.kind() == ErrorKind::NotFound => return Ok(None),
            read => read.map_err(|why| self.explained(&why))?,
        };
        let clock_us = text.trim().parse().map_err(|_| {
            let why = format!(
                "{} has the time of a debuggee's last call, and cannot be read; without it a recorded call is \
                 answered once",
                self.0.display()
            );
            Error::new(ErrorKind::InvalidInput, why)
        });
        clock_us.map(Some)
    }

    /// It is kept before anything is answered.
    pub(super) fn keep(&self, clock_us: u64) -> Result<()> {
        private::replace(&self.0, format!("{clock_us}\n").as_bytes())
            .map_err(|why| self.explained(&why))
    }

    fn explained(&self, why: &Error) -> Error {
        Error::new(why.kind(), format!("{}: {why}", self.0.display()))
    }
}
