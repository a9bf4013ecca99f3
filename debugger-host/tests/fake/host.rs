//! The program under test, driven through its pipe.

use super::Debuggee;
use std::ffi::OsStr;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Output, Stdio};

pub(crate) struct Host {
    child: Child,
    input: Option<ChildStdin>,
    output: BufReader<ChildStdout>,
}

/// The program with these arguments and files, to its end.
pub(crate) fn standstill(arguments: &[&str], files: &[&Path]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_standstill"))
        .args(arguments)
        .args(files)
        .stdin(Stdio::null())
        .output()
        .expect("the program starts")
}

/// A recorded session, in which these commands were typed; its debuggee is kept for its folder.
pub(crate) fn recorded(commands: &[&str]) -> (Debuggee, PathBuf) {
    let debuggee = Debuggee::start();
    let file = debuggee.socket.with_file_name("recording");
    let (mut host, _) = Host::record(&debuggee, &file);
    for command in commands {
        host.run(command);
    }
    host.end();
    (debuggee, file)
}

/// A debuggee that is halted, and a host that was connected to it.
pub(crate) fn halted() -> (Debuggee, Host) {
    let debuggee = Debuggee::start();
    let (mut host, _) = Host::connect(&debuggee);
    host.good("pause");
    debuggee.take_requests();
    (debuggee, host)
}

impl Host {
    pub(crate) fn connect(debuggee: &Debuggee) -> (Self, String) {
        Self::connect_with(debuggee, &debuggee.symbols())
    }

    pub(crate) fn connect_with(debuggee: &Debuggee, symbols: &Path) -> (Self, String) {
        let socket = debuggee.socket.as_os_str();
        Self::start(&[
            "--socket".as_ref(),
            socket,
            "--symbols".as_ref(),
            symbols.as_os_str(),
        ])
    }

    /// The same, recorded.
    pub(crate) fn record(debuggee: &Debuggee, file: &Path) -> (Self, String) {
        let mut command = Command::new(env!("CARGO_BIN_EXE_standstill"));
        command.args(["connect", "--batch", "--socket"]);
        command.arg(&debuggee.socket).arg("--symbols");
        command.arg(debuggee.symbols()).arg("--record").arg(file);
        Self::run_program(command.stderr(Stdio::null()))
    }

    /// The program with a recording instead of a debuggee.
    pub(crate) fn replay(file: &Path, symbols: &Path) -> (Self, String) {
        let mut command = Command::new(env!("CARGO_BIN_EXE_standstill"));
        command.args(["replay", "--batch", "--symbols"]);
        command.arg(symbols).arg(file);
        Self::run_program(command.stderr(Stdio::null()))
    }

    /// The program with these arguments of `connect`, and what it said first.
    pub(crate) fn start(arguments: &[&OsStr]) -> (Self, String) {
        let mut command = Command::new(env!("CARGO_BIN_EXE_standstill"));
        command.args(["connect", "--batch"]).args(arguments);
        Self::run_program(&mut command)
    }

    fn run_program(command: &mut Command) -> (Self, String) {
        let mut child = command
            // What is set is kept for later sessions, and not among a person's.
            .env("XDG_STATE_HOME", env!("CARGO_TARGET_TMPDIR"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the program starts");
        let input = child.stdin.take();
        let output = BufReader::new(child.stdout.take().expect("piped"));
        let mut host = Self {
            child,
            input,
            output,
        };
        let (text, is_good) = host.reply();
        assert!(is_good, "{text}");
        (host, text)
    }

    /// Leaves the program in its own way.
    pub(crate) fn end(mut self) {
        drop(self.input.take());
        let status = self.child.wait().expect("it was started");
        assert!(status.success(), "{status}");
    }

    pub(crate) fn reply(&mut self) -> (String, bool) {
        let mut text = String::new();
        loop {
            let mut line = String::new();
            assert_ne!(
                self.output.read_line(&mut line).expect("text"),
                0,
                "ended: {text}"
            );
            match line.trim_end() {
                "\x1e0" => return (text, true),
                "\x1e1" => return (text, false),
                _ => text.push_str(&line),
            }
        }
    }

    pub(crate) fn run(&mut self, line: &str) -> (String, bool) {
        let input = self.input.as_mut().expect("it was not left");
        writeln!(input, "{line}").expect("the program listens");
        self.reply()
    }

    pub(crate) fn good(&mut self, line: &str) -> String {
        let (text, is_good) = self.run(line);
        assert!(is_good, "{line}: {text}");
        text
    }

    pub(crate) fn bad(&mut self, line: &str) -> String {
        let (text, is_good) = self.run(line);
        assert!(!is_good, "{line}: {text}");
        assert_eq!(text.lines().count(), 1, "{text}");
        text
    }
}

impl Host {
    /// Names of the program's threads.
    pub(crate) fn threads(&self) -> Vec<String> {
        let tasks = format!("/proc/{}/task", self.child.id());
        let names = std::fs::read_dir(tasks).expect("it runs").flatten();
        let name = |path: PathBuf| std::fs::read_to_string(path.join("comm")).ok();
        names.filter_map(|task| name(task.path())).collect()
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
