//! `standstill doctor`: whether the host's side of a line is as it should be, and what to change if not.
//!
//! Called by `main`, without any session. What the debuggee's side takes, the driver says itself (`doctor=1`). A line that some
//! program uses is left alone: nothing is sent, and it is not opened.

#[cfg(target_os = "linux")]
mod holder;
mod network;
mod serial;
mod socket;

use crate::transport::Endpoint;
use std::fmt;

/// How it stands with what was looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// As it should be.
    Fine,
    /// Worth knowing; nothing has to be done.
    Note,
    /// The line does not work like this.
    Change,
}

/// One thing that was looked at, in a line for the user. If there is something to change, it says what.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// How it stands.
    pub verdict: Verdict,
    /// What there is to say.
    pub said: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let word = match self.verdict {
            Verdict::Fine => "fine",
            Verdict::Note => "note",
            Verdict::Change => "change",
        };
        write!(f, "{word}: {}", self.said)
    }
}

fn finding(verdict: Verdict, said: impl Into<String>) -> Finding {
    let said = said.into();
    Finding { verdict, said }
}

fn fine(said: impl Into<String>) -> Finding {
    finding(Verdict::Fine, said)
}

fn note(said: impl Into<String>) -> Finding {
    finding(Verdict::Note, said)
}

fn change(said: impl Into<String>) -> Finding {
    finding(Verdict::Change, said)
}

/// Looks at a line.
#[must_use]
pub fn examine(endpoint: &Endpoint) -> Vec<Finding> {
    match endpoint {
        Endpoint::Serial { device, .. } => serial::examine(endpoint, device),
        Endpoint::Socket { path } => socket::examine(endpoint, path),
        Endpoint::Tcp { address } => vec![network::tcp(endpoint, address)],
        Endpoint::Pipe { .. } => vec![opened(
            endpoint,
            "it is there once the machine runs; start it, and look whether the pipe's name is the machine's",
        )],
        Endpoint::PipeServer { .. } => vec![served(endpoint)],
        Endpoint::Net { address, .. } => network::udp(endpoint, *address),
    }
}

/// What there is to say when no line was named.
#[must_use]
pub fn examine_none() -> Vec<Finding> {
    let ports = serial::names();
    let said = if ports.is_empty() {
        "no line was named, and there is no serial port here; see --socket, --tcp, --pipe and --net"
            .to_owned()
    } else {
        format!(
            "no line was named; serial ports here: {}; say --serial DEVICE, or --socket, --tcp, --pipe or --net",
            ports.join(", ")
        )
    };
    vec![note(said)]
}

/// Opens a line and closes it again.
fn opened(endpoint: &Endpoint, advice: &str) -> Finding {
    match endpoint.transport().open() {
        Ok(_) => fine(format!("{endpoint} can be opened")),
        Err(why) => change(format!("{endpoint} cannot be opened: {why}; {advice}")),
    }
}

/// A pipe that this program serves is waited at.
fn served(endpoint: &Endpoint) -> Finding {
    match endpoint.transport().open() {
        Ok(_) => fine(format!("{endpoint}: the machine is at its other end")),
        Err(why) if why.kind() == std::io::ErrorKind::NotConnected => fine(format!(
            "{endpoint}: it can be served; the machine opens it when it starts"
        )),
        Err(why) => change(format!(
            "{endpoint} cannot be served: {why}; another program may serve it already"
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_finding_is_one_line_that_begins_with_its_verdict() {
        let lines = [fine("a"), note("b"), change("c")].map(|it| it.to_string());
        assert_eq!(lines, ["fine: a", "note: b", "change: c"]);
    }

    #[test]
    fn without_a_line_the_ports_of_this_machine_are_named() {
        let found = examine_none();
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].verdict, Verdict::Note);
        assert!(found[0].said.starts_with("no line was named"));
    }
}
