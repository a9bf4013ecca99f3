//! Other kinds of line to a machine: what a host program says over TCP or a pseudo-terminal goes on to the Unix socket of
//! the machine's debug line.
//!
//! Called by the tests of the host program's lines. One thread per relay, one host at a time.

use anyhow::Result;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{OptionalActions, speed, tcgetattr, tcsetattr};
use std::fs::File;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

/// Between two looks whether it is to end.
const SLICE: Duration = Duration::from_millis(50);

/// One that runs; dropping it ends it.
#[derive(Debug)]
pub struct Relay {
    end: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Relay {
    fn start(run: impl FnOnce(&AtomicBool) + Send + 'static) -> Self {
        let end = Arc::<AtomicBool>::default();
        let shared = Arc::clone(&end);
        let thread = Some(std::thread::spawn(move || run(&shared)));
        Self { end, thread }
    }

    /// Takes connections at a port of this machine, one after the other.
    ///
    /// # Errors
    /// When there is no port.
    pub fn tcp(line: &Path) -> Result<(Self, SocketAddr)> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let address = listener.local_addr()?;
        let line = line.to_owned();
        let relay = Self::start(move |end| {
            while !end.load(Ordering::Relaxed) {
                if !is_ready(&listener) {
                    continue;
                }
                if let Ok((host, _)) = listener.accept()
                    && host.set_nodelay(true).is_ok()
                    && let Ok(line) = UnixStream::connect(&line)
                {
                    join(host, line, end, false);
                }
            }
        });
        Ok((relay, address))
    }

    /// Serves a Unix socket at `path` that any number of programs share, as some servers of serial ports do: each hears what
    /// the machine says, and the machine what any of them says.
    ///
    /// # Errors
    /// When the socket cannot be made, or the machine is gone.
    pub fn shared(line: &Path, path: &Path) -> Result<Self> {
        let listener = UnixListener::bind(path)?;
        Self::share(line, listener, |listener| Ok(listener.accept()?.0))
    }

    /// The same at a port of this machine.
    ///
    /// # Errors
    /// When there is no port, or the machine is gone.
    pub fn shared_tcp(line: &Path) -> Result<(Self, SocketAddr)> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let address = listener.local_addr()?;
        let relay = Self::share(line, listener, |listener| {
            let (host, _) = listener.accept()?;
            host.set_nodelay(true)?;
            Ok(host)
        })?;
        Ok((relay, address))
    }

    fn share<L, H>(line: &Path, listener: L, accept: fn(&L) -> io::Result<H>) -> Result<Self>
    where
        L: AsFd + Send + 'static,
        H: AsFd + Read + Write + 'static,
    {
        let mut line = UnixStream::connect(line)?;
        Ok(Self::start(move |end| {
            let mut hosts: Vec<H> = Vec::new();
            while !end.load(Ordering::Relaxed) {
                let mut fds = vec![
                    PollFd::new(&listener, PollFlags::IN),
                    PollFd::new(&line, PollFlags::IN),
                ];
                fds.extend(hosts.iter().map(|host| PollFd::new(host, PollFlags::IN)));
                if poll(&mut fds, limit().as_ref()).is_err() {
                    return;
                }
                let ready: Vec<bool> = fds.iter().map(|fd| !fd.revents().is_empty()).collect();
                drop(fds);
                let mut at = 0;
                hosts.retain_mut(|host| {
                    at += 1;
                    !ready[at + 1] || copy(host, &mut line)
                });
                if ready[1] && !copy(&mut line, &mut All(&mut hosts)) {
                    return;
                }
                if ready[0]
                    && let Ok(host) = accept(&listener)
                {
                    hosts.push(host);
                }
            }
        }))
    }

    /// Makes a pseudo-terminal and gives its name, for programs that want a serial device, with its other end for a
    /// [`Cable`](crate::line::Cable).
    ///
    /// # Errors
    /// When it can't be made, or the machine is gone.
    pub fn terminal(line: &Path) -> Result<(Self, PathBuf, OwnedFd)> {
        let control = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY)?;
        grantpt(&control)?;
        unlockpt(&control)?;
        let name = ptsname(&control, Vec::new())?.into_string()?;
        // Wine knows the speeds that have names only, and asks before it sets one.
        let mut settings = tcgetattr(&control)?;
        settings.make_raw();
        settings.set_speed(speed::B115200)?;
        tcsetattr(&control, OptionalActions::Now, &settings)?;
        let other_end = control.try_clone()?;
        let mut host = File::from(control);
        let line = line.to_owned();
        let relay = Self::start(move |end| {
            while !end.load(Ordering::Relaxed) {
                // The line is one host's at a time, and until now nobody wants it here.
                if is_typed(&host)
                    && let Ok(mut line) = UnixStream::connect(&line)
                    && copy(&mut host, &mut line)
                {
                    join(&host, line, end, true);
                }
            }
        });
        Ok((relay, name.into(), other_end))
    }
}

/// Everybody hears the same; who does not is dropped when it is read from.
struct All<'h, H>(&'h mut [H]);

impl<H: Write> Write for All<'_, H> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        for host in &mut *self.0 {
            let _ = host.write_all(bytes);
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.end.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Whether a terminal has something to read; one that nobody has open says at once that it has not.
fn is_typed(terminal: &File) -> bool {
    let mut fds = [PollFd::new(terminal, PollFlags::IN)];
    let _ = poll(&mut fds, limit().as_ref());
    let events = fds[0].revents();
    if events.contains(PollFlags::HUP) {
        std::thread::sleep(SLICE);
    }
    events.contains(PollFlags::IN)
}

/// Waits a little for something to read.
fn is_ready(from: impl AsFd) -> bool {
    let mut fds = [PollFd::new(&from, PollFlags::IN)];
    matches!(poll(&mut fds, limit().as_ref()), Ok(1..))
}

fn limit() -> Option<Timespec> {
    SLICE.try_into().ok()
}

/// Copies both ways until an end hangs up. A terminal that nobody has open says that it is hung up, and may be opened.
fn join(mut host: impl AsFd + Read + Write, mut line: UnixStream, end: &AtomicBool, stays: bool) {
    while !end.load(Ordering::Relaxed) {
        let mut fds = [
            PollFd::new(&host, PollFlags::IN),
            PollFd::new(&line, PollFlags::IN),
        ];
        if poll(&mut fds, limit().as_ref()).is_err() {
            return;
        }
        let [from_host, from_line] = fds.map(|fd| !fd.revents().is_empty());
        if from_host && !copy(&mut host, &mut line) {
            if !stays {
                return;
            }
            std::thread::sleep(SLICE);
        }
        if from_line && !copy(&mut line, &mut host) {
            return;
        }
    }
}

/// Copies what there is; false at the end.
fn copy(from: &mut impl Read, to: &mut impl Write) -> bool {
    let mut bytes = [0; 16 * 1024];
    match from.read(&mut bytes) {
        Ok(0) => false,
        Ok(count) => to.write_all(&bytes[..count]).is_ok(),
        Err(error) => error.kind() == ErrorKind::Interrupted,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::OpenOptions;
    use std::net::TcpStream;

    /// A line that answers every byte with the next one.
    fn line(folder: &Path) -> PathBuf {
        let path = folder.join("line");
        let listener = UnixListener::bind(&path).unwrap();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                let mut byte = [0];
                while stream.read_exact(&mut byte).is_ok() {
                    stream.write_all(&[byte[0].wrapping_add(1)]).unwrap();
                }
            }
        });
        path
    }

    fn asks(mut host: impl Read + Write) {
        let mut answer = [0; 3];
        host.write_all(b"ADG").unwrap();
        host.read_exact(&mut answer).unwrap();
        assert_eq!(&answer, b"BEH");
    }

    #[test]
    fn tcp_goes_on_to_the_line_again_and_again() {
        let folder = tempfile::tempdir().unwrap();
        let (_relay, address) = Relay::tcp(&line(folder.path())).unwrap();
        for _ in 0..2 {
            asks(TcpStream::connect(address).unwrap());
        }
    }

    #[test]
    fn terminal_goes_on_to_the_line_whoever_opens_it() {
        let folder = tempfile::tempdir().unwrap();
        let (_relay, name, _) = Relay::terminal(&line(folder.path())).unwrap();
        for _ in 0..2 {
            asks(
                OpenOptions::new()
                    .read(true)
                    .write(true)
                    .open(&name)
                    .unwrap(),
            );
        }
    }
}
