//! The emulator: its configuration text, and what can be done with its process.
//!
//! Called by `machine`.

use crate::kept::Kept;
use crate::{cache, network};
use anyhow::{Result, bail};
use rustix::process::Signal;
use std::fs;
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Emulated instructions per emulated second. Low: serial bytes, sleeps and timeouts then cost few instructions, and
/// the debug line is quick in real time. At two million the kernel starts to report stalls.
pub(crate) const INSTRUCTIONS_PER_SECOND: u32 = 10_000_000;

/// Longest wait for a machine to be saved.
const SAVE_TIMEOUT: Duration = Duration::from_secs(60);

/// Longest wait for a process to be stopped.
const STOP_TIMEOUT: Duration = Duration::from_secs(10);

/// Where the emulator saves a machine and finds a saved one, from its working directory.
pub(crate) const SAVED: &str = "saved";
/// The emulator's name for the configuration of a saved machine.
const CONFIGURATION: &str = "config";

/// Devices that a machine has by default when it is powered on, and by this alone when it is restored.
const DEVICES: &str = "unmapped=1, biosdev=1, speaker=1, extfpuirq=1, parallel=1, serial=1";

/// Most of a machine's memory, in MiB, that the emulator keeps in its own; the rest is in a file and comes when needed.
const OWN_MEMORY_MIB: u32 = 2048;

/// Most pieces that the emulator should keep account of memory in, and their usual size: adding one to its lists takes
/// time that grows with their number, and 32,768 take minutes.
const PIECES: u32 = 8192;
const PIECE_KIB: u32 = 128;

/// Names the socket of who is told of VM exits.
const EXITS: &str = "BOCHS_VMEXITS";

/// What the emulator is told.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    /// The emulator's program.
    pub(crate) program: PathBuf,
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
    /// It has a network card.
    pub(crate) has_card: bool,
    /// Who is told of VM exits, if anybody: see [`crate::exits`].
    pub(crate) exits: Option<PathBuf>,
}

impl Settings {
    /// What memory is kept account of in: a power of two.
    pub(crate) fn piece_kib(&self) -> u32 {
        PIECE_KIB.max((self.memory_mib * 1024 / PIECES).next_power_of_two())
    }

    /// The configuration file's text; `console` and `line` are the TCP ports of the two serial lines.
    fn configuration(&self, console: u16, line: u16, log: &Path) -> String {
        let Self {
            cpus,
            cpu,
            memory_mib,
            ..
        } = self;
        let share = self.tree.join("usr/share");
        let own_memory_mib = OWN_MEMORY_MIB.min(*memory_mib);
        let piece_kib = self.piece_kib();
        let (share, disc, log) = (share.display(), self.disc.display(), log.display());
        let (card, card_lines) = match self.has_card {
            true => (format!(", {}", network::DEVICE), network::CONFIGURATION),
            false => (String::new(), ""),
        };
        format!(
            "plugin_ctrl: {DEVICES}{card}\n\
             config_interface: textconfig\n\
             display_library: nogui\n\
             romimage: file={share}/bochs/BIOS-bochs-latest\n\
             vgaromimage: file={share}/vgabios/vgabios.bin\n\
             cpu: model={cpu}, count={cpus}, ips={INSTRUCTIONS_PER_SECOND}, \
             reset_on_triple_fault=0, ignore_bad_msrs=1\n\
             memory: guest={memory_mib}, host={own_memory_mib}, block_size={piece_kib}\n\
             ata0-master: type=cdrom, path={disc}, status=inserted\n\
             boot: cdrom\n\
             com1: enabled=1, mode=socket-client, dev=127.0.0.1:{console}\n\
             com2: enabled=1, mode=socket-client, dev=127.0.0.1:{line}\n\
             {card_lines}\
             clock: sync=none\n\
             log: {log}\n\
             panic: action=fatal\n\
             error: action=report\n\
             info: action=ignore\n"
        )
    }

    /// A name for machines that are alike: program, disc and all.
    ///
    /// # Errors
    /// Never in practice; it reads no file.
    pub(crate) fn name(&self) -> Result<String> {
        let program = self.program.to_string_lossy();
        let text = self.configuration(0, 0, Path::new(""));
        cache::fingerprint(&[], &[&program, &text])
    }
}

/// A running emulator; dropping it kills it.
#[derive(Debug)]
pub(crate) struct Bochs(Kept);

impl Bochs {
    /// Powers a machine on, with the emulator's files in `dir`; returns it with its two serial lines: console, debug
    /// line.
    ///
    /// # Errors
    /// When the emulator does not start or ends at once, with its own words.
    pub(crate) fn power_on(
        settings: &Settings,
        dir: &Path,
    ) -> Result<(Self, TcpStream, TcpStream)> {
        fs::create_dir(dir.join(SAVED))?;
        Self::start(settings, dir, "bochsrc", &["-f", "bochsrc"])
    }

    /// As [`Bochs::power_on`], but goes on where the machine stood that was saved in the directory `from`.
    ///
    /// # Errors
    /// As for [`Bochs::power_on`].
    pub(crate) fn restore(
        settings: &Settings,
        dir: &Path,
        from: &Path,
    ) -> Result<(Self, TcpStream, TcpStream)> {
        let saved = dir.join(SAVED);
        fs::create_dir(&saved)?;
        for file in fs::read_dir(from.join(SAVED))? {
            let file = file?;
            // The serial lines are at other ports now.
            if file.file_name() != CONFIGURATION {
                symlink(file.path(), saved.join(file.file_name()))?;
            }
        }
        let configuration = format!("{SAVED}/{CONFIGURATION}");
        Self::start(settings, dir, &configuration, &["-r", SAVED])
    }

    fn start(
        settings: &Settings,
        dir: &Path,
        configuration: &str,
        arguments: &[&str],
    ) -> Result<(Self, TcpStream, TcpStream)> {
        let console = TcpListener::bind("127.0.0.1:0")?;
        let line = TcpListener::bind("127.0.0.1:0")?;
        let log = dir.join("bochs.log");
        let ports = (console.local_addr()?.port(), line.local_addr()?.port());
        let text = settings.configuration(ports.0, ports.1, &log);
        fs::write(dir.join(configuration), text)?;
        let mut command = Kept::command(&settings.program);
        command.arg("-q").args(arguments).current_dir(dir);
        if let Some(exits) = &settings.exits {
            command.env(EXITS, exits);
        }
        let bochs = Self(Kept::start(command, &dir.join("bochs.out"))?);
        let console = bochs.0.accept(&console)?;
        let line = bochs.0.accept(&line)?;
        Ok((bochs, console, line))
    }

    /// As [`Bochs::save`], of a machine that may itself have been restored: in the directory `into`, which is made.
    ///
    /// # Errors
    /// As there.
    pub(crate) fn save_into(&self, into: &Path) -> Result<()> {
        let place = self.0.log().with_file_name(SAVED);
        // The files of what it was restored from are somebody else's, and are not written to.
        fs::remove_dir_all(&place)?;
        fs::create_dir(&place)?;
        self.save()?;
        fs::create_dir(into)?;
        fs::rename(&place, into.join(SAVED))?;
        Ok(())
    }

    /// Saves the machine in the directory it was powered on in, for [`Bochs::restore`], and ends it.
    ///
    /// # Errors
    /// When the emulator does not do so within a minute.
    pub(crate) fn save(&self) -> Result<()> {
        self.0.signal(Signal::USR1)?;
        match self.0.status(SAVE_TIMEOUT) {
            Some(status) if status.success() => Ok(()),
            _ => bail!("the emulator did not save the machine:\n{}", self.words()),
        }
    }

    /// Looks at the emulator's process, by its id, while all its threads are stopped.
    ///
    /// # Errors
    /// What `look` reports, or that the emulator does not stop.
    pub(crate) fn while_stopped<R>(&self, look: impl FnOnce(i32) -> Result<R>) -> Result<R> {
        let process = self.process();
        self.0.signal(Signal::STOP)?;
        let looked = wait_until_stopped(process).and_then(|()| look(process));
        self.0.signal(Signal::CONT)?;
        looked
    }

    /// The id of the emulator's process.
    pub(crate) fn process(&self) -> i32 {
        self.0.process()
    }

    /// Ends the emulator, if it has not ended.
    pub(crate) fn end(&mut self) {
        self.0.end();
    }

    /// Whether the emulator is gone.
    #[must_use]
    pub(crate) fn has_ended(&self) -> bool {
        self.0.has_ended()
    }

    /// The end of what the emulator printed.
    #[must_use]
    pub(crate) fn words(&self) -> String {
        self.0.words()
    }
}

fn wait_until_stopped(process: i32) -> Result<()> {
    let deadline = Instant::now() + STOP_TIMEOUT;
    while !is_stopped(process)? {
        if Instant::now() > deadline {
            bail!("the emulator does not stop");
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    Ok(())
}

/// Whether all threads of a process are stopped, by the letter behind the name that stands in parentheses.
fn is_stopped(process: i32) -> Result<bool> {
    for thread in fs::read_dir(format!("/proc/{process}/task"))? {
        let state = fs::read_to_string(thread?.path().join("stat"))?;
        let letter = state
            .rsplit_once(") ")
            .map(|(_, rest)| rest.starts_with('T'));
        if letter != Some(true) {
            return Ok(false);
        }
    }
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings() -> Settings {
        Settings {
            program: "/p".into(),
            cpus: 4,
            cpu: "zambezi".into(),
            memory_mib: 128,
            disc: "/d.iso".into(),
            tree: "/t".into(),
            has_card: false,
            exits: None,
        }
    }

    #[test]
    fn machines_that_differ_have_names_that_differ() {
        let disc = Settings {
            disc: "/e.iso".into(),
            ..settings()
        };
        let program = Settings {
            program: "/q".into(),
            ..settings()
        };
        let card = Settings {
            has_card: true,
            ..settings()
        };
        let name = |settings: &Settings| settings.name().unwrap();
        assert_eq!(name(&settings()), name(&settings()));
        assert_ne!(name(&settings()), name(&disc));
        assert_ne!(name(&settings()), name(&program));
        assert_ne!(name(&settings()), name(&card));
    }

    #[test]
    fn configuration_names_ports_cores_and_memory() {
        let settings = settings();
        let text = settings.configuration(11, 22, Path::new("/l"));
        assert!(text.contains("model=zambezi, count=4, ips=10000000"));
        assert!(text.contains("memory: guest=128, host=128, block_size=128\n"));
        assert!(text.contains("com1: enabled=1, mode=socket-client, dev=127.0.0.1:11\n"));
        assert!(text.contains("com2: enabled=1, mode=socket-client, dev=127.0.0.1:22\n"));
        assert!(text.contains("path=/d.iso,"));
        assert!(text.lines().all(|line| !line.starts_with(' ')));
    }

    #[test]
    fn emulator_keeps_no_more_memory_than_it_can() {
        let settings = Settings {
            memory_mib: 4096,
            ..settings()
        };
        let text = settings.configuration(11, 22, Path::new("/l"));
        assert!(text.contains("memory: guest=4096, host=2048, block_size=512\n"));
    }
}
