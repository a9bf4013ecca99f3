//! The emulator's process: its configuration text, starting it, and making sure it never outlives the lab.
//!
//! Called by `machine`.

use anyhow::{Context, Result, bail};
use std::fs::{self, File};
use std::io::ErrorKind;
use std::net::{TcpListener, TcpStream};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::sync::mpsc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Emulated instructions per emulated second. Low: serial bytes, sleeps and timeouts then cost few instructions, and
/// the debug line is quick in real time. At two million the kernel starts to report stalls.
pub(crate) const INSTRUCTIONS_PER_SECOND: u32 = 10_000_000;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(60);

/// What the emulator is told.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    /// Processor cores.
    pub(crate) cpus: u32,
    /// Processor model, as the emulator names it.
    pub(crate) cpu: String,
    /// Memory in MiB.
    pub(crate) memory_mib: u32,
    /// Disc to boot from.
    pub(crate) disc: PathBuf,
    /// Root of the unpacked firmware packages.
    pub(crate) tree: PathBuf,
}

/// The configuration file's text; `console` and `line` are the TCP ports of the two serial lines.
#[must_use]
pub(crate) fn configuration(settings: &Settings, console: u16, line: u16, log: &Path) -> String {
    let Settings {
        cpus,
        cpu,
        memory_mib,
        disc,
        tree,
    } = settings;
    let share = tree.join("usr/share");
    let (share, disc, log) = (share.display(), disc.display(), log.display());
    format!(
        "config_interface: textconfig\n\
         display_library: nogui\n\
         romimage: file={share}/bochs/BIOS-bochs-latest\n\
         vgaromimage: file={share}/vgabios/vgabios.bin\n\
         cpu: model={cpu}, count={cpus}, ips={INSTRUCTIONS_PER_SECOND}, \
         reset_on_triple_fault=0, ignore_bad_msrs=1\n\
         memory: guest={memory_mib}, host={memory_mib}\n\
         ata0-master: type=cdrom, path={disc}, status=inserted\n\
         boot: cdrom\n\
         com1: enabled=1, mode=socket-client, dev=127.0.0.1:{console}\n\
         com2: enabled=1, mode=socket-client, dev=127.0.0.1:{line}\n\
         clock: sync=none\n\
         log: {log}\n\
         panic: action=fatal\n\
         error: action=report\n\
         info: action=ignore\n"
    )
}

/// A running emulator; dropping it kills it.
#[derive(Debug)]
pub(crate) struct Bochs {
    group: rustix::process::Pid,
    keeper: Option<JoinHandle<()>>,
    ended: mpsc::Receiver<Option<ExitStatus>>,
    log: PathBuf,
}

impl Bochs {
    /// Starts the emulator with its files in `dir`; returns it with its two serial lines: console, debug line.
    ///
    /// # Errors
    /// When it does not start or ends at once, with its own words.
    pub(crate) fn start(
        program: &Path,
        settings: &Settings,
        dir: &Path,
    ) -> Result<(Self, TcpStream, TcpStream)> {
        let console = TcpListener::bind("127.0.0.1:0")?;
        let line = TcpListener::bind("127.0.0.1:0")?;
        let log = dir.join("bochs.log");
        let ports = (console.local_addr()?.port(), line.local_addr()?.port());
        let file = dir.join("bochsrc");
        fs::write(&file, configuration(settings, ports.0, ports.1, &log))?;
        let output = dir.join("bochs.out");
        let out = File::create(&output)?;
        // setpriv asks the kernel to kill the emulator when the thread that started it ends, however that comes about;
        // so the thread waits for the emulator and for nothing else.
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "KILL", "--"]).arg(program);
        command.arg("-q").arg("-f").arg(&file);
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
            .and_then(rustix::process::Pid::from_raw)
            .context("the emulator has no process id")?;
        let bochs = Self {
            group,
            keeper: Some(keeper),
            ended,
            log: output,
        };
        let console = bochs.accept(&console)?;
        let line = bochs.accept(&line)?;
        Ok((bochs, console, line))
    }

    fn accept(&self, listener: &TcpListener) -> Result<TcpStream> {
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

    /// Whether the emulator is gone.
    #[must_use]
    pub(crate) fn has_ended(&self) -> bool {
        !matches!(self.ended.try_recv(), Err(mpsc::TryRecvError::Empty))
    }

    /// The end of what the emulator printed.
    #[must_use]
    pub(crate) fn words(&self) -> String {
        let text = fs::read(&self.log).unwrap_or_default();
        crate::run::tail(&String::from_utf8_lossy(&text), 12)
    }
}

impl Drop for Bochs {
    fn drop(&mut self) {
        // The keeper has not collected the process unless it ended, so the number can't belong to another one yet.
        if self
            .keeper
            .as_ref()
            .is_some_and(|keeper| !keeper.is_finished())
        {
            let _ = rustix::process::kill_process_group(self.group, rustix::process::Signal::KILL);
        }
        if let Some(keeper) = self.keeper.take() {
            let _ = keeper.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn configuration_names_ports_cores_and_memory() {
        let settings = Settings {
            cpus: 4,
            cpu: "zambezi".into(),
            memory_mib: 128,
            disc: "/d.iso".into(),
            tree: "/t".into(),
        };
        let text = configuration(&settings, 11, 22, Path::new("/l"));
        assert!(text.contains("model=zambezi, count=4, ips=10000000"));
        assert!(text.contains("memory: guest=128, host=128\n"));
        assert!(text.contains("com1: enabled=1, mode=socket-client, dev=127.0.0.1:11\n"));
        assert!(text.contains("com2: enabled=1, mode=socket-client, dev=127.0.0.1:22\n"));
        assert!(text.contains("path=/d.iso,"));
        assert!(text.lines().all(|line| !line.starts_with(' ')));
    }
}
