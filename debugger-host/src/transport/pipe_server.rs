//! A Windows named pipe that this program serves: hypervisors can be its client. Called by the link thread through
//! [`Transport`].

use super::{Line, Transport, pipe, senseless};
use std::io::Result;

/// See [`super::Endpoint::PipeServer`].
pub(super) struct PipeServer {
    name: String,
    /// The pipe, while nobody is at its other end.
    #[cfg(windows)]
    waiting: Option<super::overlapped::Waiting>,
}

impl PipeServer {
    pub(super) const fn new(name: String) -> Self {
        Self {
            name,
            #[cfg(windows)]
            waiting: None,
        }
    }

    fn path(&self) -> Result<String> {
        let path = pipe::path(&self.name)?;
        if !pipe::is_local(&path) {
            return Err(senseless("a pipe can only be served on this machine"));
        }
        Ok(path)
    }
}

#[cfg(windows)]
impl Transport for PipeServer {
    fn open(&mut self) -> Result<Line> {
        use super::overlapped::{Accepted, Waiting};
        let waiting = match self.waiting.take() {
            Some(waiting) => waiting,
            None => Waiting::create(&self.path()?)?,
        };
        match waiting.accept()? {
            Accepted::Line(line) => Ok(line),
            Accepted::Nobody(waiting) => {
                self.waiting = Some(waiting);
                Err(std::io::Error::new(
                    std::io::ErrorKind::NotConnected,
                    "no program has opened it yet",
                ))
            }
        }
    }
}

#[cfg(not(windows))]
impl Transport for PipeServer {
    fn open(&mut self) -> Result<Line> {
        Err(pipe::no_pipes(&self.path()?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pipe_of_another_machine_cannot_be_served() {
        let mut server = PipeServer::new(r"\\server\pipe\debug".to_owned());
        let why = server.open().err().expect("refused").to_string();
        assert_eq!(why, "a pipe can only be served on this machine");
    }
}
