//! The process of an emulator: starting it, and making sure that it never outlives the lab.
//!
//! Called by `bochs` and `qemu`.

use anyhow::{Context, Result, bail};
use rustix::process::{Pid, Signal, kill_process_group};
use std::fs::{self, File};
use std::io::ErrorKind;
use std::net::{TcpListener, TcpStream};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::sync::mpsc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(60);

/// A running emulator; dropping it kills it.
#[derive(Debug)]
pub(crate) struct Kept {
    group: Pid,
    keeper: Option<JoinHandle<()>>,
    ended: mpsc::Receiver<Option<ExitStatus>>,
    log: PathBuf,
}

impl Kept {
    /// What it prints goes there.
    pub(crate) fn log(&self) -> &Path {
        &self.log
    }

    /// What starts `program`, to be given its arguments.
    pub(crate) fn command(program: &Path) -> Command {
        // setpriv asks the kernel to kill the emulator when the thread that started it ends, however that comes about;
        // so the thread waits for the emulator and for nothing else.
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "KILL", "--"]).arg(program);
        command
    }

    /// Starts it; what it prints goes to the file `log`.
    ///
    /// # Errors
    /// When it does not start.
    pub(crate) fn start(mut command: Command, log: &Path) -> Result<Self> {
        let out = File::create(log)?;
        command
            .stdin(Stdio::null())
            .stderr(out.try_clone()?)
            .stdout(out);
        command.process_group(0);
        let (started, start) = mpsc::channel();
        let (ends, ended) = mpsc::channel();
        let keeper = std::thread::spawn(move || match command.spawn() {
            Ok(mut child) => {
                let _ = started.send(Ok(child.id()));
                let _ = ends.send(child.wait().ok());
            }
            Err(error) => drop(started.send(Err(error))),
        });
        let id = start.recv()?.context("starting the emulator")?;
        let group = i32::try_from(id)
            .ok()
            .and_then(Pid::from_raw)
            .context("the emulator has no process id")?;
        Ok(Self {
            group,
            keeper: Some(keeper),
            ended,
            log: log.to_owned(),
        })
    }

    /// Waits until the emulator has connected.
    ///
    /// # Errors
    /// When it does not, with its own words.
    pub(crate) fn accept(&self, listener: &TcpListener) -> Result<TcpStream> {
        listener.set_nonblocking(true)?;
        let deadline = Instant::now() + CONNECT_TIMEOUT;
        loop {
            match listener.accept() {
                Ok((stream, _)) => {
                    stream.set_nonblocking(false)?;
                    stream.set_nodelay(true)?;
                    return Ok(stream);
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(error) => return Err(error.into()),
            }
            if Instant::now() > deadline || self.has_ended() {
                bail!("the emulator did not start:\n{}", self.words());
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Sends a signal to all its threads.
    ///
    /// # Errors
    /// When it is gone.
    pub(crate) fn signal(&self, signal: Signal) -> Result<()> {
        Ok(kill_process_group(self.group, signal)?)
    }

    /// How it ended, if it does within `timeout`.
    pub(crate) fn status(&self, timeout: Duration) -> Option<ExitStatus> {
        self.ended.recv_timeout(timeout).ok().flatten()
    }

    /// The id of the process.
    pub(crate) fn process(&self) -> i32 {
        self.group.as_raw_nonzero().get()
    }

    /// Ends it, if it has not ended.
    pub(crate) fn end(&mut self) {
        // The keeper has not collected the process unless it ended, so the number can't belong to another one yet.
        if self
            .keeper
            .as_ref()
            .is_some_and(|keeper| !keeper.is_finished())
        {
            let _ = kill_process_group(self.group, Signal::KILL);
        }
        if let Some(keeper) = self.keeper.take() {
            let _ = keeper.join();
        }
    }

    /// Whether it is gone.
    #[must_use]
    pub(crate) fn has_ended(&self) -> bool {
        !matches!(self.ended.try_recv(), Err(mpsc::TryRecvError::Empty))
    }

    /// The end of what it printed.
    #[must_use]
    pub(crate) fn words(&self) -> String {
        let text = fs::read(&self.log).unwrap_or_default();
        crate::run::tail(&String::from_utf8_lossy(&text), 12)
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        self.end();
    }
}
