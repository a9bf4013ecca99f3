//! `standstill doctor`: each thing that is wrong with a line is said, with what to change, and is gone when that is changed.
#![cfg(target_os = "linux")]
#![allow(missing_docs, reason = "a test")]

use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};

/// What it says of a line, and whether there is nothing to change.
fn said(arguments: &[&str]) -> (String, bool) {
    let output = Command::new(env!("CARGO_BIN_EXE_standstill"))
        .arg("doctor")
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .expect("the program starts");
    let text = String::from_utf8(output.stdout).expect("text");
    let has_change = text.lines().any(|line| line.starts_with("change: "));
    assert_eq!(output.status.success(), !has_change, "{text}");
    let last = String::from_utf8(output.stderr).expect("text");
    assert_eq!(
        last,
        if has_change {
            "standstill: 1 to change\n"
        } else {
            ""
        }
    );
    (text, !has_change)
}

#[track_caller]
fn is_fine(arguments: &[&str], line: &str) {
    let (text, is_well) = said(arguments);
    assert!(
        is_well && text.starts_with(&format!("fine: {line}")),
        "{text}"
    );
}

#[track_caller]
fn is_to_change(arguments: &[&str], parts: &[&str]) {
    let (text, is_well) = said(arguments);
    let line = text.trim_end();
    assert!(!is_well && !line.contains('\n'), "{text}");
    for part in parts {
        assert!(line.contains(part), "{part} is not in: {text}");
    }
}

fn text(path: &Path) -> String {
    path.display().to_string()
}

#[test]
fn serial_device_is_not_there_is_none_or_is_another_programs() {
    let folder = tempfile::tempdir().expect("a folder");
    let nothing = text(&folder.path().join("ttyX9"));
    is_to_change(
        &["--serial", &nothing],
        &["is not there; ", "plug the adapter in"],
    );
    std::fs::write(&nothing, "x").expect("writable");
    is_to_change(&["--serial", &nothing], &["is no serial device; "]);
    std::fs::remove_file(&nothing).expect("it is there");

    let controller = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).expect("a pseudo-terminal");
    grantpt(&controller).expect("granted");
    unlockpt(&controller).expect("unlocked");
    let device = ptsname(&controller, Vec::new()).expect("its name");
    let device = device.into_string().expect("a name");
    is_fine(
        &["--serial", &device],
        &format!("serial line {device} at 115200 baud can be opened"),
    );
    let input = std::fs::File::open(&device).expect("it can be opened");
    let mut holder = Command::new("sleep")
        .arg("1000")
        .stdin(input)
        .spawn()
        .expect("sleep");
    let who = format!("process {} (sleep) has {device} open", holder.id());
    is_to_change(&["--serial", &device], &[&who, "close that one"]);
    holder.kill().expect("it runs");
    holder.wait().expect("it ran");
    is_fine(&["--serial", &device], "serial line ");
}

#[test]
fn socket_is_not_there_is_left_behind_or_is_another_programs() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("line");
    let name = text(&path);
    let line = ["--socket", name.as_str()];
    is_to_change(&line, &["is not there; start the machine whose port it is"]);
    std::fs::write(&path, "x").expect("writable");
    is_to_change(&line, &["is no socket; remove it"]);
    std::fs::remove_file(&path).expect("it is there");
    let listener = UnixListener::bind(&path).expect("a socket");
    is_fine(&line, &format!("socket {name} can be opened"));
    // Nobody accepted what was only looked at.
    let (looked_at, _) = listener.accept().expect("the look");
    drop(looked_at);
    let other = UnixStream::connect(&path).expect("somebody listens");
    let (accepted, _) = listener.accept().expect("the other program");
    is_to_change(
        &line,
        &["another program is connected to socket ", "close that one"],
    );
    drop(other);
    drop(accepted);
    is_fine(&line, "socket ");
    drop(listener);
    is_to_change(&line, &["nobody listens at socket ", "start the machine"]);
}

/// Root may open everything, so another user has to look.
#[test]
fn port_that_the_user_may_not_open_is_said() {
    const NOBODY: u32 = 65_534;
    let folder = tempfile::tempdir().expect("a folder");
    let open = std::fs::Permissions::from_mode(0o755);
    std::fs::set_permissions(folder.path(), open).expect("its owner");
    let path = folder.path().join("line");
    let _listener = UnixListener::bind(&path).expect("a socket");
    for (mode, is_allowed) in [(0o600, false), (0o666, true)] {
        let mode = std::fs::Permissions::from_mode(mode);
        std::fs::set_permissions(&path, mode).expect("its owner");
        let looked = Command::new(env!("CARGO_BIN_EXE_standstill"))
            .args(["doctor", "--socket", &text(&path)])
            .uid(NOBODY)
            .gid(NOBODY)
            .output();
        // Only root can be somebody else, who may be unable to enter the build directory.
        let Ok(output) = looked else {
            return;
        };
        let said = String::from_utf8(output.stdout).expect("text");
        let refused = format!("change: you may not open socket {}; ", text(&path));
        assert_eq!(said.starts_with(&refused), !is_allowed, "{said}");
    }
}

#[test]
fn tcp_port_is_nobodys_or_another_programs() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("it has one").to_string();
    let line = ["--tcp", address.as_str()];
    is_fine(&line, &format!("tcp {address} can be opened"));
    drop(listener.accept().expect("the look"));
    let other = TcpStream::connect(&address).expect("somebody listens");
    let accepted = listener.accept().expect("the other program");
    is_to_change(
        &line,
        &["another program is connected to ", "close that one"],
    );
    drop(accepted);
    drop(other);
    drop(listener);
    is_to_change(
        &line,
        &["cannot be opened: ", "start the machine or the server"],
    );
    is_to_change(&["--tcp", "nonsense"], &["HOST:PORT is wanted"]);
}

#[test]
fn network_port_is_free_or_named_with_who_has_it() {
    let folder = tempfile::tempdir().expect("a folder");
    let key = text(&folder.path().join("key"));
    let made = Command::new(env!("CARGO_BIN_EXE_standstill"))
        .args(["key", "new", &key])
        .status()
        .expect("the program starts");
    assert!(made.success());
    let socket = UdpSocket::bind("127.0.0.1:0").expect("a port");
    let address = socket.local_addr().expect("it has one").to_string();
    let line = ["--net", address.as_str(), "--key-file", key.as_str()];
    let own = format!("process {} (", std::process::id());
    is_to_change(
        &line,
        &["cannot be listened at: ", &own, "choose another port"],
    );
    drop(socket);
    let (said, is_well) = said(&line);
    assert!(
        is_well && said.contains("note: the debuggee has to reach UDP port "),
        "{said}"
    );
}

#[test]
fn without_a_line_it_says_which_ports_there_are() {
    let (said, is_well) = said(&[]);
    assert!(
        is_well && said.starts_with("note: no line was named"),
        "{said}"
    );
}
