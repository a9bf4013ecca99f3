//! A booted machine with the host program connected, and words for what tests do with them.
//!
//! Used by every theme. A test that fails prints the session's transcript.

use std::fmt::Write;
use std::sync::{Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};
use vm_lab::host::{Host, Reply};
use vm_lab::machine::{KernelLine, Machine, Options};

/// Longest wait for one command of the host program.
const COMMAND_TIMEOUT: Duration = Duration::from_secs(90);
/// Longest wait for a command on the guest's console.
const GUEST_TIMEOUT: Duration = Duration::from_secs(120);
/// Emulators at a time: each wants a processor of its own.
const MACHINES: u32 = 2;

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
        if options.load_driver {
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

    /// Kills the host program.
    pub(crate) fn kill_host(&mut self) {
        self.host = None;
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

impl Drop for Lab {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let console = self.machine.console_transcript();
            let start = console.len().saturating_sub(1500);
            let tail = console.get(start..).unwrap_or(&console);
            eprintln!(
                "--- session\n{}\n--- end of the guest's console\n{tail}\n---",
                self.transcript
            );
        }
    }
}
