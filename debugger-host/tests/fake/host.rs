//! The program under test, driven through its pipe.

use super::Debuggee;
use std::ffi::OsStr;
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

pub(crate) struct Host {
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
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

    pub(crate) fn connect_with(debuggee: &Debuggee, symbols: &std::path::Path) -> (Self, String) {
        let socket = debuggee.socket.as_os_str();
        Self::start(&[
            "--socket".as_ref(),
            socket,
            "--symbols".as_ref(),
            symbols.as_os_str(),
        ])
    }

    /// The program with these arguments of `connect`, and what it said first.
    pub(crate) fn start(arguments: &[&OsStr]) -> (Self, String) {
        let mut child = Command::new(env!("CARGO_BIN_EXE_standstill"))
            .args(["connect", "--batch"])
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the program starts");
        let input = child.stdin.take().expect("piped");
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
        writeln!(self.input, "{line}").expect("the program listens");
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
        let name = |path: std::path::PathBuf| std::fs::read_to_string(path.join("comm")).ok();
        names.filter_map(|task| name(task.path())).collect()
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
