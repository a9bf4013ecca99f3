//! A booted machine with the host program connected, and words for what tests do with them.
//!
//! Used by every theme. A test that fails prints the session's transcript.

use anyhow::Result;
use serde_json::Value;
use std::fmt::Write;
use std::path::PathBuf;
use std::sync::{Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};
use vm_lab::host::{self, Host, Reply};
use vm_lab::machine::{KernelLine, Machine, Options};
use vm_lab::script;

/// Longest wait for one command of the host program.
const COMMAND_TIMEOUT: Duration = Duration::from_secs(90);
/// Longest wait for a command on the guest's console.
const GUEST_TIMEOUT: Duration = Duration::from_secs(120);
/// Emulators at a time: each wants a processor of its own.
const MACHINES: u32 = 2;

/// Goes into the kernel log before the driver is loaded.
pub(crate) const LOADING: &str = "lab: loading the driver";
/// Words of a kernel in trouble.
const COMPLAINTS: [&str; 11] = [
    "WARNING",
    "BUG",
    "Oops",
    "stall",
    "lockup",
    "Call Trace",
    "TSC ADJUST",
    "unstable",
    "hung task",
    "panic",
    "unchecked MSR",
];

static RUNNING: Mutex<u32> = Mutex::new(0);
static ENDED: Condvar = Condvar::new();

/// The right to run one emulator.
struct Permit;

impl Permit {
    fn wait() -> Self {
        let running = RUNNING.lock().unwrap_or_else(PoisonError::into_inner);
        let mut running = ENDED
            .wait_while(running, |running| *running >= MACHINES)
            .unwrap_or_else(PoisonError::into_inner);
        *running += 1;
        Self
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        *RUNNING.lock().unwrap_or_else(PoisonError::into_inner) -= 1;
        ENDED.notify_one();
    }
}

/// A machine under test.
pub(crate) struct Lab {
    host: Option<Host>,
    pub(crate) machine: Machine,
    transcript: String,
    _permit: Permit,
}

impl Lab {
    /// Two cores with the driver loaded and the host program connected.
    #[track_caller]
    pub(crate) fn boot(kernel_line: KernelLine) -> Self {
        Self::with(&Options {
            kernel_line,
            ..Options::default()
        })
    }

    /// As [`Lab::boot`], halted.
    #[track_caller]
    pub(crate) fn halted(kernel_line: KernelLine) -> Self {
        let mut lab = Self::boot(kernel_line);
        lab.run("pause");
        lab
    }

    /// Any machine; the host program connects if the driver is loaded.
    #[track_caller]
    pub(crate) fn with(options: &Options) -> Self {
        let permit = Permit::wait();
        let started = Instant::now();
        let machine = match Machine::boot(options) {
            Ok(machine) => machine,
            Err(error) => panic!("booting {options:?}: {error:#}"),
        };
        let mut lab = Self {
            host: None,
            machine,
            transcript: format!("booted in {:.1} s\n", started.elapsed().as_secs_f32()),
            _permit: permit,
        };
        if options.load_driver || options.starts_driver {
            lab.connect();
        }
        lab
    }

    /// Starts the host program and connects it.
    #[track_caller]
    pub(crate) fn connect(&mut self) {
        match self.machine.connect_host() {
            Ok(host) => self.host = Some(host),
            Err(error) => panic!("connecting the host program: {error:#}"),
        }
    }

    /// Starts the host program and connects it by the serial line, whatever else there is.
    #[track_caller]
    pub(crate) fn connect_by_line(&mut self) {
        let socket = host::to_socket(self.machine.socket_path());
        let arguments = host::arguments(socket, self.machine.kernel_image());
        let place = self.machine.socket_path().with_file_name("");
        let program = Machine::host_program().and_then(|it| Host::start(&it, arguments, &place));
        match program {
            Ok(host) => self.host = Some(host),
            Err(error) => panic!("connecting the host program: {error:#}"),
        }
    }

    /// Uses another host program.
    pub(crate) fn use_host(&mut self, host: Host) {
        self.host = Some(host);
    }

    /// Kills the host program.
    pub(crate) fn kill_host(&mut self) {
        self.host = None;
    }

    /// Gives the host program a command and kills it so much later.
    pub(crate) fn kill_host_during(&mut self, command: &str, later: Duration) {
        let _ = writeln!(
            self.transcript,
            "standstill> {command}  (killed after {later:?})"
        );
        if let Some(mut host) = self.host.take() {
            // That it does not answer in time is what is wanted.
            let _ = host.command_within(command, later);
        }
    }

    /// Runs a command of the host program, which gets Ctrl+C so much later; returns what it printed.
    #[track_caller]
    pub(crate) fn interrupted(&mut self, command: &str, later: Duration) -> String {
        let Some(host) = &mut self.host else {
            panic!("no host program is connected");
        };
        let reply = host.interrupted_command(command, later);
        let reply = reply.unwrap_or_else(|error| panic!("`{command}`: {error:#}"));
        let _ = writeln!(self.transcript, "standstill> {command}  (Ctrl+C)");
        self.transcript.push_str(&reply.output);
        reply.output
    }

    /// Runs a command of the host program, whatever it leads to.
    #[track_caller]
    pub(crate) fn reply(&mut self, command: &str) -> Reply {
        let started = Instant::now();
        let Some(host) = &mut self.host else {
            panic!("no host program is connected");
        };
        let reply = host.command_within(command, COMMAND_TIMEOUT);
        let seconds = started.elapsed().as_secs_f32();
        let verdict = match &reply {
            Ok(reply) if reply.ok => "",
            Ok(_) => ", failed",
            Err(_) => ", no answer",
        };
        let _ = writeln!(
            self.transcript,
            "standstill> {command}  ({seconds:.2} s{verdict})"
        );
        match reply {
            Ok(reply) => {
                self.transcript.push_str(&reply.output);
                reply
            }
            Err(error) => panic!("`{command}`: {error:#}"),
        }
    }

    /// Runs a command that must succeed; returns what it printed, without the last newline.
    #[track_caller]
    pub(crate) fn run(&mut self, command: &str) -> String {
        let reply = self.reply(command);
        assert!(reply.ok, "`{command}` failed: {}", reply.output);
        reply.output.trim_end().to_owned()
    }

    /// What a command that must succeed answers, as values.
    #[track_caller]
    pub(crate) fn answer(&mut self, command: &str) -> Value {
        let text = self.run(&format!(".json {command}"));
        let line = text.lines().last().unwrap_or_default();
        let document: Value = serde_json::from_str(line).unwrap_or_else(|_| panic!("{text}"));
        document["answer"].clone()
    }

    /// What an expression of the script language gives.
    #[track_caller]
    pub(crate) fn value(&mut self, expression: &str) -> u64 {
        let text = self.run(&format!("? printf(\"%llx\\n\", {expression});"));
        u64::from_str_radix(text.trim(), 16).unwrap_or_else(|_| panic!("{expression}: {text}"))
    }

    /// Runs a command that must fail with one line, and returns that line.
    #[track_caller]
    pub(crate) fn refused(&mut self, command: &str) -> String {
        let reply = self.reply(command);
        let line = reply.output.trim_end();
        assert!(!reply.ok, "`{command}` succeeded: {line}");
        assert!(
            !line.is_empty() && !line.contains('\n'),
            "`{command}` must fail with one line, but said {line:?}"
        );
        line.to_owned()
    }

    /// A file for the host program to read, next to the machine's own.
    #[track_caller]
    pub(crate) fn file(&self, name: &str, text: &str) -> PathBuf {
        let path = self.machine.socket_path().with_file_name(name);
        if let Err(error) = std::fs::write(&path, text) {
            panic!("writing {}: {error}", path.display());
        }
        path
    }

    /// Runs a command in the guest that must succeed; returns what it printed.
    #[track_caller]
    pub(crate) fn guest(&mut self, command: &str) -> String {
        self.guest_within(command, GUEST_TIMEOUT)
    }

    /// As [`Lab::guest`], with a time limit.
    #[track_caller]
    pub(crate) fn guest_within(&mut self, command: &str, timeout: Duration) -> String {
        let started = Instant::now();
        let answer = self.machine.try_guest(command, timeout);
        let seconds = started.elapsed().as_secs_f32();
        let _ = writeln!(self.transcript, "guest> {command}  ({seconds:.2} s)");
        match answer {
            Ok(answer) => {
                self.transcript.push_str(&answer.output);
                assert!(
                    answer.status == 0,
                    "`{command}` in the guest ended with {}: {}",
                    answer.status,
                    answer.output
                );
                answer.output
            }
            Err(error) => panic!("`{command}` in the guest: {error:#}"),
        }
    }

    /// Starts a command in the guest and goes on.
    #[track_caller]
    pub(crate) fn guest_background(&mut self, command: &str) {
        let _ = writeln!(self.transcript, "guest>& {command}");
        if let Err(error) = self.machine.guest_background(command) {
            panic!("`{command}` in the guest: {error:#}");
        }
    }

    /// Whether the guest's shell says something within a second, in which a running one answers many times.
    pub(crate) fn guest_answers(&mut self) -> bool {
        self.machine
            .try_guest("echo moved", Duration::from_secs(1))
            .is_ok()
    }

    /// Loads the driver.
    #[track_caller]
    pub(crate) fn load_driver(&mut self, params: &[(String, String)]) {
        self.transcript.push_str("(loading the driver)\n");
        if let Err(error) = self.machine.load_driver(params) {
            panic!("{error:#}");
        }
    }

    /// Unloads the driver.
    #[track_caller]
    pub(crate) fn unload_driver(&mut self) {
        self.transcript.push_str("(unloading the driver)\n");
        if let Err(error) = self.machine.unload_driver() {
            panic!("{error:#}");
        }
    }

    /// Loads the probe module.
    #[track_caller]
    pub(crate) fn load_probe(&mut self) {
        if let Err(error) = self.machine.load_probe() {
            panic!("{error:#}");
        }
    }

    /// Lets the guest run and shows that it does.
    #[track_caller]
    pub(crate) fn go(&mut self) {
        self.run("g");
        assert!(self.guest("echo alive").contains("alive"));
    }
}

/// Both ends, for a written script.
pub(crate) struct Both<'l>(&'l mut Lab);

impl Lab {
    /// This machine for a written script.
    pub(crate) fn ends(&mut self) -> Both<'_> {
        Both(self)
    }
}

impl script::Ends for Both<'_> {
    fn host(&mut self, command: &str) -> Result<Reply> {
        Ok(self.0.reply(command))
    }
    fn guest(&mut self, command: &str) -> Result<String> {
        self.0.machine.guest(command)
    }
    fn guest_background(&mut self, command: &str) -> Result<()> {
        self.0.machine.guest_background(command)
    }
    fn unplug(&mut self, time: Duration) {
        self.0.machine.unplug(time);
    }
}

/// The kernel complains of nothing that has to do with a hypervisor below it.
#[track_caller]
pub(crate) fn assert_log_is_clean(log: &str) {
    // What the kernel says of the emulated machine before the driver comes.
    let since = log.find(LOADING).map_or("", |at| &log[at..]);
    assert!(!since.is_empty(), "the driver was never loaded:\n{log}");
    let complaints: Vec<&str> = since
        .lines()
        .filter(|line| COMPLAINTS.iter().any(|word| line.contains(word)))
        .collect();
    assert!(
        complaints.is_empty(),
        "{}\n--- in:\n{since}",
        complaints.join("\n")
    );
}

impl Drop for Lab {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let console = self.machine.console_transcript();
            let start = console.len().saturating_sub(6000);
            let tail = console.get(start..).unwrap_or(&console);
            eprintln!(
                "--- session\n{}\n--- end of the guest's console\n{tail}\n---",
                self.transcript
            );
        }
    }
}
