//! Several host programs reach one debuggee by a line that they share: one of them has it.

use crate::lab::Lab;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::mpsc::channel;
use std::time::{Duration, Instant};
use vm_lab::host::{self, Host, Reply};
use vm_lab::machine::Options;
use vm_lab::relay::Relay;

/// A host program at a line of the machine's.
pub(crate) struct AtLine {
    pub(crate) program: PathBuf,
    pub(crate) kernel: PathBuf,
}

impl AtLine {
    pub(crate) fn of(lab: &Lab) -> Self {
        Self {
            program: host::build().unwrap(),
            kernel: lab.machine.kernel_image().to_owned(),
        }
    }

    /// Connects, if it is let in; else what it says.
    pub(crate) fn connect(&self, socket: &Path, more: &[&str]) -> Result<Host, String> {
        let mut command = Command::new(&self.program);
        command.args(host::arguments(host::to_socket(socket), &self.kernel));
        command.arg("--batch").args(more);
        command.env("XDG_STATE_HOME", socket.parent().unwrap());
        Host::run(&mut command).map_err(|error| format!("{error:#}"))
    }
}

/// Far more than anything takes that is waited for, on a busy machine.
const SAID_WITHIN: Duration = Duration::from_secs(20);

/// The line with these words that a host program prints, which is killed then.
#[track_caller]
pub(crate) fn said_until(command: &mut Command, words: &str) -> String {
    command.stdin(Stdio::null());
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut host = command.spawn().unwrap();
    let (sender, lines) = channel();
    let outputs: [Box<dyn Read + Send>; 2] = [
        Box::new(host.stdout.take().unwrap()),
        Box::new(host.stderr.take().unwrap()),
    ];
    for output in outputs {
        let sender = sender.clone();
        let lines = BufReader::new(output).lines();
        std::thread::spawn(move || {
            lines
                .map_while(Result::ok)
                .try_for_each(|line| sender.send(line))
        });
    }
    drop(sender);
    let started = Instant::now();
    let left = || SAID_WITHIN.saturating_sub(started.elapsed());
    let mut others = Vec::new();
    let found = std::iter::from_fn(|| lines.recv_timeout(left()).ok()).find(|line| {
        others.push(line.clone());
        line.contains(words)
    });
    host.kill().unwrap();
    host.wait().unwrap();
    found.unwrap_or_else(|| panic!("{command:?}: no `{words}` in {others:?}"))
}

#[track_caller]
fn said(reply: anyhow::Result<Reply>, is_good: bool) -> String {
    let reply = reply.unwrap();
    assert_eq!(reply.ok, is_good, "{}", reply.output);
    eprintln!("{}", reply.output.trim_end());
    reply.output
}

#[test]
fn second_host_is_refused_unless_it_takes_over() {
    let mut lab = Lab::with(&Options::default());
    lab.kill_host();
    let socket = lab.machine.socket_path().with_file_name("shared");
    let _relay = Relay::shared(lab.machine.socket_path(), &socket).unwrap();
    let program = AtLine::of(&lab);
    let mut first = program.connect(&socket, &[]).unwrap();
    said(first.command("pause"), true);
    said(first.command("!cpuid 1234"), true);
    let rip = said(first.command("r rip"), true);
    for _ in 0..2 {
        let started = Instant::now();
        let refused = program.connect(&socket, &[]).map(drop).unwrap_err();
        eprintln!("{refused}, after {:.1?}", started.elapsed());
        let line = "another host program has the debuggee, for ";
        assert!(
            refused.contains(line) && refused.contains("--take-over"),
            "{refused}"
        );
        assert_eq!(said(first.command("r rip"), true), rip);
    }
    // The debuggee stays halted, and its events stay.
    let mut second = program.connect(&socket, &["--take-over"]).unwrap();
    assert_eq!(said(second.command("r rip"), true), rip);
    assert!(said(second.command("events"), true).contains("cpuid 1234"));
    let told = said(first.command("sleep 0n100"), true);
    assert!(
        told.starts_with("another host program has taken the debuggee over; "),
        "{told}"
    );
    assert_eq!(told.lines().count(), 1, "{told}");
    let told = said(first.command("r rip"), false);
    assert!(
        told.starts_with("another host program has taken the debuggee over; "),
        "{told}"
    );
    let told = said(first.command(".reconnect"), false);
    assert!(
        told.starts_with("another host program has the debuggee, for "),
        "{told}"
    );
    assert_eq!(said(second.command("r rip"), true), rip);
    // Who is killed locks nobody out.
    drop(second);
    let started = Instant::now();
    said(first.command(".reconnect"), true);
    eprintln!("let in after {:.1?}", started.elapsed());
    assert_eq!(said(first.command("r rip"), true), rip);
    // And it is taken back.
    let mut second = program.connect(&socket, &["--take-over"]).unwrap();
    said(first.command(".reconnect take-over"), true);
    assert!(said(second.command("r rip"), false).contains("has taken the debuggee over"));
    said(first.command("events c all"), true);
    said(first.command("g"), true);
    // Who leaves in order makes room at once.
    first.finish().unwrap();
    program.connect(&socket, &[]).unwrap();
    assert!(lab.guest("echo alive").contains("alive"));
}
