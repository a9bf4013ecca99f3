//! One debuggee: a booted kernel with a console and a debug line.
//!
//! Called by the lab's commands and by the end-to-end tests. Dropping a machine ends its emulator and removes its files.

mod options;
mod saving;

use crate::bochs::{Bochs, Settings};
use crate::console::{Answer, Console};
use crate::faults::Faults;
use crate::host::{self, Host};
use crate::image;
use crate::line::{Cable, Line, LineCount};
use crate::memory::{Live, Memory};
use crate::network::Network;
use crate::progress::phase;
use crate::provision::{Provisions, provision};
use crate::snapshot::{self, Snapshot};
use anyhow::{Context, Result, bail};
pub use options::{DEFAULT_CPU, KernelLine, Options};
pub use saving::{Done, Saved};
use std::fs;
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

const BOOT_TIMEOUT: Duration = Duration::from_secs(180);
const COMMAND_TIMEOUT: Duration = Duration::from_secs(120);
/// With it the kernel tells its first process to load the driver, and how.
const START_DRIVER: &str = "lab_driver";
/// Files of a machine that was switched on again, in its directory.
const SWITCHED_ON_AGAIN: &str = "again";
/// Goes into the kernel log before the driver is loaded.
const LOADING: &str = "lab: loading the driver";

/// A running debuggee.
#[derive(Debug)]
pub struct Machine {
    // Order matters: the emulator ends before its lines do, and the directory goes last.
    bochs: Bochs,
    console: Console,
    line: Line,
    socket: PathBuf,
    network: Option<Network>,
    kernel: PathBuf,
    settings: Settings,
    /// What it was started from, if it was not booted for good.
    saved: Option<Snapshot>,
    dir: tempfile::TempDir,
}

impl Machine {
    /// Provisions and builds what is missing, boots, and loads the driver if asked to.
    ///
    /// # Errors
    /// When any of that fails, with the reason the failing part gave.
    pub fn boot(options: &Options) -> Result<Self> {
        Self::boot_with(&provision()?, options)
    }

    /// As [`Machine::boot`], with provisions at hand.
    ///
    /// # Errors
    /// As for [`Machine::boot`].
    pub fn boot_with(provisions: &Provisions, options: &Options) -> Result<Self> {
        let mut line = options.kernel_line.text();
        for word in &options.kernel_words {
            line.push_str(&format!(" {word}"));
        }
        if options.starts_driver {
            // The kernel hands what it does not know to its first process.
            let words = parameters(None, &options.params);
            line.push_str(&format!(" {START_DRIVER}=\"{words}\""));
        }
        let settings = Settings {
            program: provisions.bochs.clone(),
            cpus: options.cpus,
            cpu: options.cpu.clone(),
            memory_mib: options.memory_mib,
            disc: image::build(
                provisions,
                &line,
                &options.files,
                options.load_driver || options.starts_driver,
            )?,
            tree: provisions.tree.clone(),
            has_card: options.network,
            exits: options.exits.clone(),
        };
        let cores = options.cpus;
        if options.starts_driver {
            return phase(format!("booting {cores} cores"), |_| {
                let mut machine = Self::start(provisions, settings, None, options.faults)?;
                if !options.halts_at_load() {
                    machine.wait_for_start()?;
                }
                Ok(machine)
            });
        }
        let saved = snapshot::get(&provisions.cache, &settings.name()?, |place| {
            phase(format!("booting {cores} cores"), |_| {
                Self::boot_and_save(&settings, place)
            })
        })?;
        let mut machine = phase(format!("starting {cores} cores"), |_| {
            let mut machine = Self::start(provisions, settings, Some(saved), options.faults)?;
            machine
                .try_guest("true", COMMAND_TIMEOUT)
                .map_err(|error| {
                    let words = machine.bochs.words();
                    error.context(format!("starting; the emulator says:\n{words}"))
                })?;
            Ok(machine)
        })?;
        if options.load_driver {
            phase("loading the driver", |_| {
                machine.load_driver(&options.params)
            })?;
        }
        Ok(machine)
    }

    /// Boots such a machine and saves it in `place`.
    fn boot_and_save(settings: &Settings, place: &Path) -> Result<()> {
        let (bochs, console, _line) = Bochs::power_on(settings, place)?;
        if let Err(error) = Console::new(console)?.wait_ready(BOOT_TIMEOUT) {
            return Err(error.context(format!("booting; the emulator says:\n{}", bochs.words())));
        }
        bochs.save()
    }

    /// Starts a saved machine, or powers one on.
    fn start(
        provisions: &Provisions,
        settings: Settings,
        saved: Option<Snapshot>,
        faults: Option<Faults>,
    ) -> Result<Self> {
        let dir = tempfile::Builder::new().prefix("standstill-").tempdir()?;
        let (bochs, console, line) = switch_on(&settings, saved.as_ref(), dir.path())?;
        let socket = dir.path().join("line");
        let network = match settings.has_card {
            true => Some(Network::new(&Self::host_program()?, dir.path())?),
            false => None,
        };
        Ok(Self {
            bochs,
            console: Console::new(console)?,
            line: Line::start(line, &socket, faults)?,
            socket,
            network,
            kernel: provisions.kernel_image(),
            settings,
            saved,
            dir,
        })
    }

    /// Waits until the guest has started, with the driver if it is the guest that loads it. One whose driver halts at load does
    /// not before a host has let it go.
    ///
    /// # Errors
    /// When it does not start within three minutes.
    pub fn wait_for_start(&mut self) -> Result<()> {
        self.console.wait_ready(BOOT_TIMEOUT).map_err(|error| {
            error.context(format!(
                "booting; the emulator says:\n{}",
                self.bochs.words()
            ))
        })
    }

    /// Lets the guest reset the machine, and waits until it has started again. The lines stay as they are.
    ///
    /// # Errors
    /// When it does not start within three minutes.
    pub fn reset(&mut self) -> Result<()> {
        self.guest_background("reboot -f")?;
        self.wait_for_start()
    }

    /// As when the power fails and comes again: who has the line is hung up on, and the machine starts as it did before,
    /// without a driver unless the guest loads it. A machine that switched itself off is switched on.
    ///
    /// # Errors
    /// When it does not start.
    pub fn power_cycle(&mut self) -> Result<()> {
        self.bochs.end();
        self.line.hang_up();
        fs::remove_file(&self.socket).context("the socket of the debug line")?;
        let place = self.dir.path().join(SWITCHED_ON_AGAIN);
        if place.exists() {
            fs::remove_dir_all(&place)?;
        }
        fs::create_dir(&place)?;
        let (bochs, console, line) = switch_on(&self.settings, self.saved.as_ref(), &place)?;
        self.bochs = bochs;
        self.console = Console::new(console)?;
        self.line = Line::start(line, &self.socket, None)?;
        match self.saved {
            Some(_) => self.guest("true").map(drop),
            None => self.wait_for_start(),
        }
    }

    /// Runs `command` on the debuggee's console and returns what it printed, whatever its exit status.
    ///
    /// # Errors
    /// When it does not end within two minutes, for example because the debuggee is halted.
    pub fn guest(&mut self, command: &str) -> Result<String> {
        Ok(self.try_guest(command, COMMAND_TIMEOUT)?.output)
    }

    /// As [`Machine::guest`], with a time limit and the exit status. After a timeout the machine can still be used.
    ///
    /// # Errors
    /// When it does not end within `timeout`.
    pub fn try_guest(&mut self, command: &str, timeout: Duration) -> Result<Answer> {
        self.console.run(command, timeout)
    }

    /// Starts `command` on the debuggee and does not wait. Its output appears in that of a later command, at the latest
    /// in that of `wait`.
    ///
    /// # Errors
    /// When the emulator is gone.
    pub fn guest_background(&mut self, command: &str) -> Result<()> {
        self.console.send(&format!("{{ {command}; }} &"))?;
        Ok(())
    }

    /// The Unix socket that the host program connects to.
    #[must_use]
    pub fn socket_path(&self) -> &Path {
        &self.socket
    }

    /// The network, if the machine has a card.
    #[must_use]
    pub const fn network(&self) -> Option<&Network> {
        self.network.as_ref()
    }

    /// What the driver sends, once it is loaded, comes to another port of this machine than the one at which the host program
    /// listens: somebody stands between.
    pub fn call_through(&mut self, port: u16) {
        if let Some(network) = &mut self.network {
            network.calls_port = port;
        }
    }

    /// The host program's arguments: the way to the debuggee, and its kernel.
    #[must_use]
    pub fn host_arguments(&self) -> Vec<String> {
        let way = match &self.network {
            Some(network) => network.arguments(),
            None => host::to_socket(&self.socket),
        };
        host::arguments(way, &self.kernel)
    }

    /// Connects the host program in batch mode, building it first if this process has not done so yet.
    ///
    /// # Errors
    /// When it can't be built, started or connected.
    pub fn connect_host(&self) -> Result<Host> {
        Host::start(
            &Self::host_program()?,
            self.host_arguments(),
            self.dir.path(),
        )
    }

    /// As [`Self::connect_host`], with what it says and hears recorded in `file`.
    ///
    /// # Errors
    /// As there, and when the file cannot be made.
    pub fn record_host(&self, file: &Path) -> Result<Host> {
        let mut command = Command::new(Self::host_program()?);
        command.args(self.host_arguments());
        Host::run(command.arg("--batch").arg("--record").arg(file))
    }

    /// The host program, built when it is wanted first.
    ///
    /// # Errors
    /// With the compiler's messages.
    pub fn host_program() -> Result<PathBuf> {
        static BUILT: Mutex<Option<PathBuf>> = Mutex::new(None);
        let mut built = BUILT.lock().unwrap_or_else(PoisonError::into_inner);
        match &*built {
            Some(program) => Ok(program.clone()),
            None => Ok(built.insert(host::build()?).clone()),
        }
    }

    /// Bytes that crossed the debug line so far.
    #[must_use]
    pub fn line_bytes(&self) -> LineCount {
        self.line.count()
    }

    /// Damages the debug line from now on, or no longer.
    pub fn set_faults(&mut self, faults: Option<Faults>) {
        self.line.set_faults(faults);
    }

    /// Loses all bytes on the debug line for `time`.
    pub fn cut_line(&mut self, time: Duration) {
        self.line.cut(time);
    }

    /// Has rates at both ends from now on: see [`Cable`].
    pub fn set_cable(&mut self, cable: Cable) {
        self.line.set_cable(cable);
    }

    /// Closes the host's connection, as if the cable's host end were pulled.
    pub fn hang_up(&mut self) {
        self.line.hang_up();
    }

    /// Stands the machine still for `time`, as a hypervisor does that pauses it: its clock stands still, too.
    ///
    /// # Errors
    /// When the emulator does not stop.
    pub fn pause(&self, time: Duration) -> Result<()> {
        self.bochs.while_stopped(|_| {
            std::thread::sleep(time);
            Ok(())
        })
    }

    /// As if the cable were pulled out of the host, and put in again after `time`.
    pub fn unplug(&mut self, time: Duration) {
        self.line.cut(time);
        self.line.hang_up();
    }

    /// The image of the running kernel.
    #[must_use]
    pub fn kernel_image(&self) -> &Path {
        &self.kernel
    }

    /// Loads the driver with `params` besides those that name the debug line.
    ///
    /// # Errors
    /// With the kernel log's last lines.
    pub fn load_driver(&mut self, params: &[(String, String)]) -> Result<()> {
        let way = self.network.as_ref().map(Network::parameters);
        let command = format!("insmod /standstill.ko {}", parameters(way, params));
        let marked = format!("echo '{LOADING}' > /dev/kmsg; {command}");
        let answer = self.try_guest(&marked, COMMAND_TIMEOUT)?;
        if answer.status != 0 {
            let log = self.kernel_log()?;
            bail!(
                "`{command}` failed:\n{}",
                load_failure(&answer.output, &log)
            );
        }
        Ok(())
    }

    /// Unloads the driver.
    ///
    /// # Errors
    /// With what `rmmod` said.
    pub fn unload_driver(&mut self) -> Result<()> {
        let answer = self.try_guest("rmmod standstill", COMMAND_TIMEOUT)?;
        if answer.status != 0 {
            bail!("rmmod failed: {}", answer.output.trim());
        }
        Ok(())
    }

    /// Loads the lab's probe module; its files are in `/sys/module/lab_probe/parameters`.
    ///
    /// # Errors
    /// With what `insmod` said.
    pub fn load_probe(&mut self) -> Result<()> {
        self.load_own(image::PROBE)
    }

    /// Loads the module that attacks the debugger, if it is not.
    ///
    /// # Errors
    /// With what `insmod` said.
    pub fn load_hostile(&mut self) -> Result<()> {
        self.load_own(image::HOSTILE)
    }

    fn load_own(&mut self, name: &str) -> Result<()> {
        let command = format!("test -d /sys/module/{name} || insmod /{name}.ko");
        let answer = self.try_guest(&command, COMMAND_TIMEOUT)?;
        if answer.status != 0 {
            bail!("loading {name} failed: {}", answer.output.trim());
        }
        Ok(())
    }

    /// A copy of the debuggee's memory, made while the emulator stands still: neither guest nor debugger takes part.
    ///
    /// # Errors
    /// When the emulator does not stop or its memory can't be read.
    pub fn memory(&self) -> Result<Memory> {
        let memory_bytes = u64::from(self.settings.memory_mib) << 20;
        let block_bytes = u64::from(self.settings.piece_kib()) << 10;
        let copied = self
            .bochs
            .while_stopped(|process| Memory::copy(process, memory_bytes, block_bytes));
        copied.context("reading the emulator's memory")
    }

    /// The debuggee's memory as it is whenever it is looked at.
    ///
    /// # Errors
    /// As [`Self::memory`].
    pub fn live_memory(&self) -> Result<Live> {
        let memory_bytes = u64::from(self.settings.memory_mib) << 20;
        let block_bytes = u64::from(self.settings.piece_kib()) << 10;
        Live::of(self.bochs.process(), memory_bytes, block_bytes)
            .context("reading the emulator's memory")
    }

    /// The kernel's log.
    ///
    /// # Errors
    /// As for [`Machine::guest`].
    pub fn kernel_log(&mut self) -> Result<String> {
        self.guest("dmesg").context("reading the kernel log")
    }

    /// Everything the console showed since power-on.
    #[must_use]
    pub fn console_transcript(&self) -> String {
        self.console.transcript()
    }

    /// Whether the emulator still runs.
    #[must_use]
    pub fn is_running(&self) -> bool {
        !self.bochs.has_ended()
    }
}

/// Restores a saved machine, or powers one on.
fn switch_on(
    settings: &Settings,
    saved: Option<&Snapshot>,
    place: &Path,
) -> Result<(Bochs, TcpStream, TcpStream)> {
    match saved {
        Some(saved) => Bochs::restore(settings, place, &saved.place),
        None => Bochs::power_on(settings, place),
    }
}

/// What the driver is told: the way to the host, by default the debug line, and `params`.
fn parameters(way: Option<String>, params: &[(String, String)]) -> String {
    let params = params
        .iter()
        .map(|(name, value)| format!(" {name}={value}"));
    std::iter::once(way.unwrap_or_else(|| "com=2 baud=115200".to_owned()))
        .chain(params)
        .collect()
}

/// What `insmod` said and what the kernel logged since the driver began to load.
fn load_failure(said: &str, log: &str) -> String {
    let since = log
        .rfind(LOADING)
        .map_or(log, |at| &log[at + LOADING.len()..]);
    // An emergency is printed on the console as well as logged.
    let words = said.lines().filter(|line| !line.starts_with('['));
    let told: Vec<&str> = words.chain(since.trim_start().lines()).collect();
    told.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn load_failure_shows_the_log_since_loading_once() {
        let log = format!("[ 1.0] old\n[ 2.0] {LOADING}\n[ 3.0] standstill: no VMX\n");
        let said = "[ 3.0] standstill: no VMX\ninsmod: can't insert\n";
        assert_eq!(
            load_failure(said, &log),
            "insmod: can't insert\n[ 3.0] standstill: no VMX"
        );
    }
}
