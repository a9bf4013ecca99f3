//! Sinks that take, refuse and fail.

use super::*;
use std::io::Read;

fn names(name: &str) -> Vec<String> {
    vec![name.to_owned()]
}

#[test]
fn a_file_gets_every_message_once_and_in_order() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("out.txt");
    let mut sinks = Sinks::default();
    sinks.create("a", Target::File(path.clone())).expect("new");
    assert!(!sinks.give(&names("a"), "too early\n"));
    sinks.open("a").expect("it can be written");
    let expected: String = (0..1000).map(|n| format!("{n}\n")).collect();
    for n in 0..1000 {
        assert!(sinks.give(&names("a"), &format!("{n}\n")));
    }
    sinks.close("a").expect("all is written");
    assert!(!sinks.give(&names("a"), "too late\n"));
    assert_eq!(std::fs::read_to_string(&path).expect("a file"), expected);
    let line = &sinks.list()[0];
    assert_eq!((line.messages, line.is_open), (1000, false));
    sinks.open("a").expect("again");
    sinks.give(&names("a"), "more\n");
    drop(sinks);
    let text = std::fs::read_to_string(&path).expect("a file");
    assert_eq!(text, expected + "more\n");
}

#[test]
fn a_tcp_server_gets_the_messages() {
    let server = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = server.local_addr().expect("bound").to_string();
    let mut sinks = Sinks::default();
    sinks.create("net", Target::Tcp(address)).expect("new");
    sinks.open("net").expect("it listens");
    let (mut peer, _) = server.accept().expect("a connection");
    sinks.give(&names("net"), "hello\n");
    sinks.close("net").expect("all is written");
    let mut text = String::new();
    peer.read_to_string(&mut text).expect("text");
    assert_eq!(text, "hello\n");
}

#[test]
#[cfg(unix)]
fn a_pipe_that_nobody_reads_is_refused_and_one_with_a_reader_gets_the_messages() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("pipe");
    let made = std::process::Command::new("mkfifo").arg(&path).status();
    assert!(made.is_ok_and(|status| status.success()));
    let mut sinks = Sinks::default();
    sinks.create("p", Target::Pipe(path.clone())).expect("new");
    let error = sinks.open("p").expect_err("no reader").to_string();
    assert!(error.contains("nobody reads from it"), "{error}");
    let reader = std::thread::spawn(move || std::fs::read_to_string(path).expect("text"));
    while sinks.open("p").is_err() {
        std::thread::sleep(Duration::from_millis(5));
    }
    sinks.give(&names("p"), "hello\n");
    sinks.close("p").expect("all is written");
    assert_eq!(reader.join().expect("it reads"), "hello\n");
}

#[test]
fn wrong_names_and_states_are_refused() {
    let mut sinks = Sinks::default();
    assert!(matches!(sinks.open("a"), Err(SinkError::Unknown { .. })));
    assert!(sinks.check(&names("a")).is_err());
    let target = Target::File(PathBuf::from("/nowhere/at/all"));
    sinks.create("a", target.clone()).expect("new");
    assert!(matches!(
        sinks.create("a", target),
        Err(SinkError::Exists { .. })
    ));
    assert!(matches!(sinks.close("a"), Err(SinkError::IsClosed { .. })));
    let error = sinks.open("a").expect_err("no such folder").to_string();
    assert!(error.contains("file /nowhere/at/all"), "{error}");
}

#[test]
#[cfg(target_os = "linux")]
fn a_sink_that_cannot_take_more_says_so_once() {
    let mut sinks = Sinks::default();
    let target = Target::File(PathBuf::from("/dev/full"));
    sinks.create("full", target).expect("new");
    sinks.open("full").expect("it can be opened");
    sinks.give(&names("full"), "x");
    while sinks.list()[0].failure.is_none() {
        std::thread::sleep(Duration::from_millis(5));
    }
    assert_eq!(sinks.take_failures().len(), 1);
    assert!(sinks.take_failures().is_empty());
    assert!(sinks.close("full").is_err());
}
