//! Where messages of events can go besides the screen: files, TCP servers, named pipes. Made by the
//! `output` command, fed by [`crate::command::Debugger`]. Each sink has a thread of its own, so
//! that a slow one holds up neither the prompt nor the others; what it is given it writes once and
//! in order.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::net::{TcpStream, ToSocketAddrs};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// A closed sink may take so long to write what it was given.
const CLOSE_LIMIT: Duration = Duration::from_secs(5);
/// Longest wait for a TCP server.
const CONNECT_LIMIT: Duration = Duration::from_secs(5);

/// Why a sink cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum SinkError {
    /// No such name.
    #[error("there is no output `{name}`; `output create {name} file PATH` makes one")]
    Unknown {
        /// As typed.
        name: String,
    },
    /// The name is taken.
    #[error("there is an output `{name}` already; `output` lists them")]
    Exists {
        /// As typed.
        name: String,
    },
    /// Open already.
    #[error("output `{name}` is open already")]
    IsOpen {
        /// Its name.
        name: String,
    },
    /// Not open.
    #[error("output `{name}` is not open; `output open {name}` opens it")]
    IsClosed {
        /// Its name.
        name: String,
    },
    /// The system refused.
    #[error("output `{name}` cannot be opened ({target}): {why}")]
    CannotOpen {
        /// Its name.
        name: String,
        /// What it leads to.
        target: String,
        /// What the system says.
        why: String,
    },
    /// Not everything was written.
    #[error("output `{name}` ({target}) did not take everything: {why}")]
    Lost {
        /// Its name.
        name: String,
        /// What it leads to.
        target: String,
        /// What the system says.
        why: String,
    },
}

/// What a sink leads to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// A file, to which messages are appended.
    File(PathBuf),
    /// `HOST:PORT`
    Tcp(String),
    /// A named pipe that somebody reads.
    Pipe(PathBuf),
}

impl std::fmt::Display for Target {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::File(path) => write!(f, "file {}", path.display()),
            Self::Tcp(address) => write!(f, "tcp {address}"),
            Self::Pipe(path) => write!(f, "namedpipe {}", path.display()),
        }
    }
}

impl Target {
    fn open(&self) -> std::io::Result<Box<dyn Write + Send>> {
        Ok(match self {
            Self::File(path) => Box::new(OpenOptions::new().create(true).append(true).open(path)?),
            Self::Tcp(address) => {
                let mut last = std::io::Error::other("the name leads to no address");
                for place in address.to_socket_addrs()? {
                    match TcpStream::connect_timeout(&place, CONNECT_LIMIT) {
                        Ok(stream) => return Ok(Box::new(stream)),
                        Err(error) => last = error,
                    }
                }
                return Err(last);
            }
            Self::Pipe(path) => Box::new(open_pipe(path)?),
        })
    }
}

/// Opens a named pipe that has a reader; without one this would wait for it.
#[cfg(unix)]
fn open_pipe(path: &Path) -> std::io::Result<File> {
    use rustix::fs::{Mode, OFlags, fcntl_setfl, open};
    let flags = OFlags::WRONLY | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let pipe = open(path, flags, Mode::empty()).map_err(|error| match error {
        rustix::io::Errno::NXIO => std::io::Error::other("nobody reads from it"),
        other => other.into(),
    })?;
    fcntl_setfl(&pipe, OFlags::WRONLY)?;
    Ok(File::from(pipe))
}

#[cfg(not(unix))]
fn open_pipe(path: &Path) -> std::io::Result<File> {
    OpenOptions::new().write(true).open(path)
}

#[derive(Default)]
struct Progress {
    messages: u64,
    bytes: u64,
    failure: Option<String>,
}

/// The thread that writes.
struct Writer {
    texts: Sender<String>,
    ended: Receiver<()>,
}

struct Sink {
    name: String,
    target: Target,
    writer: Option<Writer>,
    progress: Arc<Mutex<Progress>>,
    /// The failure was shown.
    is_told: bool,
}

/// A sink as `output` lists it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SinkLine {
    /// Its name.
    pub name: String,
    /// What it leads to.
    pub target: Target,
    /// Whether it takes messages.
    pub is_open: bool,
    /// Messages written.
    pub messages: u64,
    /// Bytes written.
    pub bytes: u64,
    /// Why it writes no more, if it does not.
    pub failure: Option<String>,
}

/// All sinks, in the order in which they were made.
#[derive(Default)]
pub struct Sinks(Vec<Sink>);

fn write_all(mut to: Box<dyn Write + Send>, texts: &Receiver<String>, progress: &Mutex<Progress>) {
    for text in texts {
        let result = to.write_all(text.as_bytes()).and_then(|()| to.flush());
        let Ok(mut progress) = progress.lock() else {
            return;
        };
        match result {
            Ok(()) => {
                progress.messages += 1;
                progress.bytes += text.len() as u64;
            }
            Err(error) => {
                progress.failure = Some(error.to_string());
                return;
            }
        }
    }
}

impl Sink {
    fn failure(&self) -> Option<String> {
        self.progress.lock().ok()?.failure.clone()
    }

    fn lost(&self, why: String) -> SinkError {
        SinkError::Lost {
            name: self.name.clone(),
            target: self.target.to_string(),
            why,
        }
    }

    /// Waits until all is written.
    fn close(&mut self) -> Result<(), SinkError> {
        let Some(writer) = self.writer.take() else {
            return Ok(());
        };
        drop(writer.texts);
        // The thread ends its half of the channel without a word.
        let is_late = matches!(
            writer.ended.recv_timeout(CLOSE_LIMIT),
            Err(std::sync::mpsc::RecvTimeoutError::Timeout)
        );
        match self.failure() {
            Some(why) => Err(self.lost(why)),
            None if is_late => Err(self.lost(format!(
                "it was still writing after {} s",
                CLOSE_LIMIT.as_secs()
            ))),
            None => Ok(()),
        }
    }
}

impl Drop for Sink {
    fn drop(&mut self) {
        // Nobody is left to be told.
        let _ = self.close();
    }
}

impl Sinks {
    fn find(&mut self, name: &str) -> Result<&mut Sink, SinkError> {
        self.0
            .iter_mut()
            .find(|sink| sink.name == name)
            .ok_or_else(|| SinkError::Unknown {
                name: name.to_owned(),
            })
    }

    /// Makes a sink, which is not open yet.
    ///
    /// # Errors
    /// When the name is taken.
    pub fn create(&mut self, name: &str, target: Target) -> Result<(), SinkError> {
        if self.find(name).is_ok() {
            return Err(SinkError::Exists {
                name: name.to_owned(),
            });
        }
        self.0.push(Sink {
            name: name.to_owned(),
            target,
            writer: None,
            progress: Arc::default(),
            is_told: false,
        });
        Ok(())
    }

    /// Opens a sink.
    ///
    /// # Errors
    /// When there is no such sink, it is open, or the system refuses.
    pub fn open(&mut self, name: &str) -> Result<(), SinkError> {
        let sink = self.find(name)?;
        if sink.writer.is_some() {
            return Err(SinkError::IsOpen {
                name: name.to_owned(),
            });
        }
        let cannot = |error: std::io::Error| SinkError::CannotOpen {
            name: name.to_owned(),
            target: sink.target.to_string(),
            why: error.to_string(),
        };
        let to = sink.target.open().map_err(cannot)?;
        let (texts, given) = channel();
        let (ending, ended) = channel();
        if let Ok(mut progress) = sink.progress.lock() {
            progress.failure = None;
        }
        let progress = Arc::clone(&sink.progress);
        std::thread::Builder::new()
            .name(format!("output {name}"))
            .spawn(move || {
                write_all(to, &given, &progress);
                drop::<Sender<()>>(ending);
            })
            .map_err(cannot)?;
        sink.writer = Some(Writer { texts, ended });
        sink.is_told = false;
        Ok(())
    }

    /// Closes a sink after it has written everything.
    ///
    /// # Errors
    /// When there is no such sink, it is not open, or not everything could be written.
    pub fn close(&mut self, name: &str) -> Result<(), SinkError> {
        let sink = self.find(name)?;
        if sink.writer.is_none() {
            return Err(SinkError::IsClosed {
                name: name.to_owned(),
            });
        }
        sink.close()
    }

    /// Whether all of `names` exist.
    ///
    /// # Errors
    /// The first that does not.
    pub fn check(&mut self, names: &[String]) -> Result<(), SinkError> {
        names
            .iter()
            .try_for_each(|name| self.find(name).map(|_| ()))
    }

    /// Gives a message to those of `names` that are open. False when none is.
    pub fn give(&mut self, names: &[String], text: &str) -> bool {
        let mut is_taken = false;
        for name in names {
            if let Ok(Sink {
                writer: Some(writer),
                ..
            }) = self.find(name)
            {
                is_taken |= writer.texts.send(text.to_owned()).is_ok();
            }
        }
        is_taken
    }

    /// Sinks that failed since the last look.
    pub fn take_failures(&mut self) -> Vec<SinkError> {
        let mut failures = Vec::new();
        for sink in &mut self.0 {
            if let Some(why) = sink.failure()
                && !std::mem::replace(&mut sink.is_told, true)
            {
                failures.push(sink.lost(why));
            }
        }
        failures
    }

    /// All sinks.
    #[must_use]
    pub fn list(&self) -> Vec<SinkLine> {
        self.0
            .iter()
            .map(|sink| {
                let (messages, bytes, failure) = sink.progress.lock().map_or_else(
                    |_| (0, 0, None),
                    |progress| (progress.messages, progress.bytes, progress.failure.clone()),
                );
                SinkLine {
                    name: sink.name.clone(),
                    target: sink.target.clone(),
                    is_open: sink.writer.is_some(),
                    messages,
                    bytes,
                    failure,
                }
            })
            .collect()
    }
}

#[cfg(test)]
mod tests;
