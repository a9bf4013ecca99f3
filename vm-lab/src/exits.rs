//! VM exits as the emulator tells them: each one stops the whole machine, with all that the core left behind, until it is
//! let go on.
//!
//! Called by whoever wants to know what the driver takes in; `machine` hands the socket on. The other end is in `emulator`.

use anyhow::{Context, Result};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use std::io::{Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::time::Duration;

/// One value of a core's state: its kind (0 a field of the VMCS, 1 a general register, 2 one that an exit leaves in the
/// processor), its number, and what it holds.
pub type Value = (u8, u32, u64);

/// Bytes of a [`Value`] as they are told.
const VALUE_BYTES: usize = 13;
/// Of the core's number and of the length of what follows.
const HEAD_BYTES: usize = 8;

/// A core left its guest, and the machine stands still.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exit {
    /// Which core.
    pub core: u16,
    /// All that it has.
    pub values: Vec<Value>,
}

/// Hears of the exits of one machine.
#[derive(Debug)]
pub struct Exits {
    listener: UnixListener,
    stream: Option<UnixStream>,
}

impl Exits {
    /// Listens at `path`, before the machine is started.
    ///
    /// # Errors
    /// When the socket cannot be made.
    pub fn listen(path: &Path) -> Result<Self> {
        let listener = UnixListener::bind(path)?;
        listener.set_nonblocking(true)?;
        Ok(Self {
            listener,
            stream: None,
        })
    }

    /// The next exit, if there is one within `patience`. The machine stands still until [`Self::go_on`].
    ///
    /// # Errors
    /// When the emulator is gone.
    pub fn next(&mut self, patience: Duration) -> Result<Option<Exit>> {
        let Some(stream) = &mut self.stream else {
            if is_ready(&self.listener, patience)? {
                let (stream, _) = self.listener.accept()?;
                stream.set_nonblocking(false)?;
                self.stream = Some(stream);
            }
            return Ok(None);
        };
        if !is_ready(&*stream, patience)? {
            return Ok(None);
        }
        let mut head = [0; HEAD_BYTES];
        stream.read_exact(&mut head).context("the emulator ended")?;
        let mut body = vec![0; number(&head[4..]) as usize];
        stream.read_exact(&mut body).context("the emulator ended")?;
        let values = body.chunks_exact(VALUE_BYTES);
        Ok(Some(Exit {
            core: number(&head[..4]) as u16,
            values: values
                .map(|value| (value[0], number(&value[1..5]) as u32, number(&value[5..])))
                .collect(),
        }))
    }

    /// Lets the machine go on.
    ///
    /// # Errors
    /// When the emulator is gone.
    pub fn go_on(&mut self) -> Result<()> {
        let stream = self.stream.as_mut().context("no exit was told")?;
        Ok(stream.write_all(&[0])?)
    }
}

/// A number, lowest byte first.
fn number(bytes: &[u8]) -> u64 {
    bytes
        .iter()
        .rev()
        .fold(0, |number, byte| number << 8 | u64::from(*byte))
}

fn is_ready(from: impl std::os::fd::AsFd, patience: Duration) -> Result<bool> {
    let limit: Timespec = patience.try_into()?;
    let mut fds = [PollFd::new(&from, PollFlags::IN)];
    Ok(poll(&mut fds, Some(&limit))? > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exits_come_one_by_one_with_their_values() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("exits");
        let mut exits = Exits::listen(&path).unwrap();
        assert_eq!(exits.next(Duration::ZERO).unwrap(), None);
        let mut emulator = UnixStream::connect(&path).unwrap();
        let mut told = vec![1, 0, 0, 0, 26, 0, 0, 0];
        told.extend([0, 0x02, 0x44, 0, 0, 48, 0, 0, 0, 0, 0, 0, 0]);
        told.extend([1, 15, 0, 0, 0, 8, 7, 6, 5, 4, 3, 2, 1]);
        emulator.write_all(&told).unwrap();
        assert_eq!(exits.next(Duration::from_secs(9)).unwrap(), None);
        let exit = exits.next(Duration::from_secs(9)).unwrap().unwrap();
        let values = vec![(0, 0x4402, 48), (1, 15, 0x0102_0304_0506_0708)];
        assert_eq!(exit, Exit { core: 1, values });
        exits.go_on().unwrap();
        emulator.read_exact(&mut [0]).unwrap();
        assert_eq!(exits.next(Duration::ZERO).unwrap(), None);
        drop(emulator);
        assert!(exits.next(Duration::from_secs(9)).is_err());
    }
}
