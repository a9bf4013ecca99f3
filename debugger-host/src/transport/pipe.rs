//! A Windows named pipe that another program serves, as hypervisors do for serial ports. Called by the link thread through
//! [`Transport`].

use super::{Line, Transport, senseless};
use std::io::Result;

/// What begins the path of every pipe of this machine.
const LOCAL: &str = r"\\.\pipe\";

/// See [`super::Endpoint::Pipe`].
pub(super) struct Pipe {
    pub(super) name: String,
}

impl Transport for Pipe {
    fn open(&mut self) -> Result<Line> {
        let path = path(&self.name)?;
        #[cfg(windows)]
        let line = super::overlapped::connect(&path);
        #[cfg(not(windows))]
        let line = Err(no_pipes(&path));
        line
    }
}

/// The path of a pipe; one of another machine is written out as `\\MACHINE\pipe\NAME`.
pub(super) fn path(name: &str) -> Result<String> {
    let (place, bare) = match name
        .strip_prefix(r"\\")
        .and_then(|rest| rest.split_once('\\'))
    {
        Some((machine, rest)) if !machine.is_empty() => {
            let is_pipe = |rest: &str| rest.to_ascii_lowercase().starts_with(r"pipe\");
            if !is_pipe(rest) {
                return Err(senseless(r"the path of a pipe is \\.\pipe\NAME"));
            }
            (format!(r"\\{machine}\pipe\"), &rest[r"pipe\".len()..])
        }
        _ => (LOCAL.to_owned(), name),
    };
    if bare.is_empty() || bare.contains(['\\', '/']) {
        return Err(senseless(
            r"the name of a pipe has no slashes of either kind; its path is \\.\pipe\NAME",
        ));
    }
    Ok(place + bare)
}

/// Whether a path is one of this machine.
pub(super) fn is_local(path: &str) -> bool {
    path.starts_with(LOCAL)
}

#[cfg(not(windows))]
pub(super) fn no_pipes(path: &str) -> std::io::Error {
    std::io::Error::new(
        std::io::ErrorKind::Unsupported,
        format!("only Windows has {path}; use a socket, TCP or a serial device"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_becomes_a_path() {
        for name in ["debug", r"\\.\pipe\debug", r"\\.\PIPE\debug"] {
            let path = path(name).expect("a good name");
            assert_eq!(path, r"\\.\pipe\debug");
            assert!(is_local(&path));
        }
        let remote = path(r"\\server\pipe\debug").expect("a good name");
        assert_eq!(remote, r"\\server\pipe\debug");
        assert!(!is_local(&remote));
    }

    #[test]
    fn what_is_no_name_is_refused() {
        for name in [
            "",
            "a/b",
            r"a\b",
            r"\\.\pipe\",
            r"\\.\pipe\a\b",
            "/tmp/line",
        ] {
            let why = path(name).expect_err(name).to_string();
            assert!(
                why.starts_with("the name of a pipe has no slashes"),
                "{why}"
            );
        }
        let why = path(r"\\.\COM3").expect_err("no pipe").to_string();
        assert_eq!(why, r"the path of a pipe is \\.\pipe\NAME");
    }
}
