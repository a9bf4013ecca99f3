//! The host program, driven the way the lab's scripts and tests drive it: a command in, its output and verdict out.
//!
//! Called by the lab's commands and by the end-to-end tests. In batch mode the program ends each answer with a line that
//! starts with a record separator and says 0 or 1.

use crate::cache::Cache;
use crate::{repository, run};
use anyhow::{Context, Result, bail};
use rustix::process::{Pid, Signal, kill_process};
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

/// The host program's name.
const PROGRAM: &str = "standstill";
const MARK: char = '\x1e';
/// Long enough for the slowest command over a damaged line.
const TIMEOUT: Duration = Duration::from_secs(300);

/// What a command of the host program led to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    /// Everything it printed.
    pub output: String,
    /// Whether the program calls it a success.
    pub ok: bool,
}

/// The build profile of the program that calls: `cargo lab`, or tests. The host program is built in the same one, so that
/// nothing that both use is compiled twice.
#[must_use]
pub fn own_profile() -> String {
    let program = std::env::current_exe().unwrap_or_default();
    let directory = program.parent().unwrap_or(&program);
    let directory = match directory.file_name() {
        Some(name) if name == "deps" => directory.parent().unwrap_or(directory),
        _ => directory,
    };
    match directory.file_name().and_then(|name| name.to_str()) {
        Some("debug") | None => "dev".to_owned(),
        Some(profile) => profile.to_owned(),
    }
}

/// Builds the host program in the [own profile](own_profile) and returns its path.
///
/// # Errors
/// With the compiler's messages.
pub fn build() -> Result<PathBuf> {
    build_in(&own_profile())
}

/// Builds the host program in `profile` and returns its path.
///
/// # Errors
/// With the compiler's messages.
pub(crate) fn build_in(profile: &str) -> Result<PathBuf> {
    let root = repository();
    let _lock = Cache::open()?.lock("host")?;
    let mut cargo = Command::new("cargo");
    // Without naming the package: with the features that it has when all of the workspace is tested.
    cargo.args(["build", "--quiet", "--profile", profile, "--bin", PROGRAM]);
    run::output(cargo.current_dir(&root)).context("building the host program")?;
    let target = std::env::var_os("CARGO_TARGET_DIR")
        .map_or_else(|| root.join("target"), |dir| root.join(dir));
    let directory = match profile {
        "dev" => "debug",
        other => other,
    };
    Ok(target.join(directory).join(PROGRAM))
}

/// The host program's command line for a way to a debuggee, and its kernel.
#[must_use]
pub fn arguments(way: Vec<String>, symbols: &Path) -> Vec<String> {
    let mut words = vec!["connect".to_owned()];
    words.extend(way);
    words.extend(["--symbols".to_owned(), symbols.display().to_string()]);
    words
}

/// The words for a line at the other end of this socket.
#[must_use]
pub fn to_socket(socket: &Path) -> Vec<String> {
    vec!["--socket".to_owned(), socket.display().to_string()]
}

/// A host program in batch mode; dropping it ends it.
#[derive(Debug)]
pub struct Host {
    child: Child,
    input: Option<ChildStdin>,
    lines: Receiver<String>,
}

impl Host {
    /// Starts `program` with these arguments and waits until it is connected.
    ///
    /// # Errors
    /// When it can't be started, or says that it could not connect.
    pub fn start(program: &Path, arguments: Vec<String>, place: &Path) -> Result<Self> {
        let mut command = Command::new(program);
        command.args(arguments).arg("--batch");
        // What is set is kept for later sessions, with the machine and not among a person's.
        command.env("XDG_STATE_HOME", place);
        Self::run(&mut command)
    }

    /// Starts a program in batch mode and waits until it is connected, if its arguments say to whom.
    ///
    /// # Errors
    /// As for [`Host::start`].
    pub fn run(command: &mut Command) -> Result<Self> {
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .with_context(|| format!("starting {}", command.get_program().display()))?;
        let input = child.stdin.take();
        let output = child
            .stdout
            .take()
            .context("the program's output is piped")?;
        let (sender, lines) = channel();
        std::thread::spawn(move || {
            let mut reader = BufReader::new(output);
            let mut line = Vec::new();
            while reader
                .read_until(b'\n', &mut line)
                .is_ok_and(|count| count > 0)
            {
                if sender
                    .send(String::from_utf8_lossy(&line).into_owned())
                    .is_err()
                {
                    return;
                }
                line.clear();
            }
        });
        let mut host = Self {
            child,
            input,
            lines,
        };
        let reply = host.reply(TIMEOUT)?;
        if !reply.ok {
            bail!(
                "the host program could not connect: {}",
                reply.output.trim()
            );
        }
        Ok(host)
    }

    /// Runs one command, which may be a block of several lines.
    ///
    /// # Errors
    /// When the program ended or does not answer within five minutes; a command that fails is no error.
    pub fn command(&mut self, text: &str) -> Result<Reply> {
        self.command_within(text, TIMEOUT)
    }

    /// As [`Host::command`], with a time limit.
    ///
    /// # Errors
    /// As for [`Host::command`].
    pub fn command_within(&mut self, text: &str, timeout: Duration) -> Result<Reply> {
        let input = self
            .input
            .as_mut()
            .context("the host program's input is closed")?;
        let sent = input
            .write_all(format!("{text}\n").as_bytes())
            .and_then(|()| input.flush());
        sent.context("the host program has ended")?;
        self.reply(timeout)
    }

    /// As [`Host::command`], with Ctrl+C so much later.
    ///
    /// # Errors
    /// As for [`Host::command`].
    pub fn interrupted_command(&mut self, text: &str, later: Duration) -> Result<Reply> {
        let program = Pid::from_child(&self.child);
        let presses = std::thread::spawn(move || {
            std::thread::sleep(later);
            kill_process(program, Signal::INT)
        });
        let reply = self.command(text);
        let pressed = presses.join();
        if !matches!(pressed, Ok(Ok(()))) {
            bail!("the host program takes no Ctrl+C: {pressed:?}");
        }
        reply
    }

    /// Closes the program's input and waits for its end; returns what it still printed.
    ///
    /// # Errors
    /// When it ends with a failure.
    pub fn finish(mut self) -> Result<String> {
        drop(self.input.take());
        let rest: String = self.lines.iter().collect();
        let status = self.child.wait()?;
        if !status.success() {
            bail!("the host program ended with {status}: {}", rest.trim());
        }
        Ok(rest)
    }

    fn reply(&mut self, timeout: Duration) -> Result<Reply> {
        let deadline = Instant::now() + timeout;
        let mut output = String::new();
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            match self.lines.recv_timeout(left) {
                Ok(line) => {
                    // A last line of output without its newline shares the mark's line.
                    let Some(at) = line.find(MARK) else {
                        output.push_str(&line);
                        continue;
                    };
                    output.push_str(&line[..at]);
                    let ok = line[at + 1..].trim() == "0";
                    return Ok(Reply { output, ok });
                }
                Err(RecvTimeoutError::Timeout) => {
                    bail!(
                        "the host program gave no answer for {} s; so far:\n{output}",
                        timeout.as_secs()
                    )
                }
                Err(RecvTimeoutError::Disconnected) => {
                    bail!("the host program ended ({}):\n{output}", self.child.wait()?)
                }
            }
        }
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        drop(self.input.take());
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    /// Speaks the batch contract: `fail` fails, `die` ends, a block is repeated, all else is echoed.
    const FAKE: &str = "#!/bin/sh\nprintf '\\0360\\n'\nwhile IFS= read -r l; do\n case \"$l\" in\n\
        fail) printf 'bad\\n\\0361\\n';;\n die) exit 3;;\n\
        *'{') while IFS= read -r m; do echo \"in $m\"; [ \"$m\" = '}' ] && break; done; printf '\\0360\\n';;\n\
        *) printf 'did %s\\0360\\n' \"$l\";;\n esac\ndone\n";

    pub(crate) fn fake(dir: &Path) -> PathBuf {
        let program = dir.join("fake");
        std::fs::write(&program, FAKE).unwrap();
        std::fs::set_permissions(&program, PermissionsExt::from_mode(0o755)).unwrap();
        program
    }

    fn start() -> (tempfile::TempDir, Host) {
        let dir = tempfile::tempdir().unwrap();
        let host = Host::start(&fake(dir.path()), Vec::new(), Path::new("k")).unwrap();
        (dir, host)
    }

    #[test]
    fn commands_and_blocks_get_their_own_output() {
        let (_dir, mut host) = start();
        let did = host.command("x").unwrap();
        assert_eq!((did.output.as_str(), did.ok), ("did x", true));
        let failed = host.command("fail").unwrap();
        assert_eq!((failed.output.as_str(), failed.ok), ("bad\n", false));
        assert_eq!(host.command("a {\n b\n}").unwrap().output, "in  b\nin }\n");
        host.finish().unwrap();
    }

    #[test]
    fn own_profile_is_one_that_cargo_knows() {
        let profile = own_profile();
        assert!(profile == "dev" || profile == "release", "{profile}");
    }

    #[test]
    fn end_of_the_program_is_an_error() {
        let (_dir, mut host) = start();
        assert!(host.command("die").is_err());
    }
}
