//! The session against a made-up debuggee: time limits, and what is said while waiting.
#![cfg(unix)]
#![allow(missing_docs, reason = "a test")]

#[allow(dead_code, reason = "the other test file uses the rest")]
mod fake;

use debugger_host::session::{News, Session, SessionError};
use debugger_host::timeout::{Interrupts, Timeout};
use debugger_host::transport::Endpoint;
use fake::Debuggee;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};
use wire_protocol::packet::GuestSystem;

fn unconnected(debuggee: &Debuggee, limit: Duration) -> (Session, Interrupts) {
    let interrupts = Interrupts::default();
    let endpoint = Endpoint::Socket {
        path: debuggee.socket.clone(),
    };
    let timeout = Timeout::new(interrupts.clone(), Some(limit), |_| {});
    let session = Session::open(endpoint, timeout).expect("the socket is there");
    (session, interrupts)
}

fn session(debuggee: &Debuggee, limit: Duration) -> (Session, Interrupts) {
    let (mut session, interrupts) = unconnected(debuggee, limit);
    session.shake_hands().expect("the debuggee answers");
    session.break_in().expect("the debuggee halts");
    (session, interrupts)
}

#[test]
fn a_mute_debuggee_ends_in_a_message_that_names_the_request() {
    let debuggee = Debuggee::start();
    let (mut session, _) = session(&debuggee, Duration::from_millis(300));
    debuggee.controls.is_mute.store(true, Ordering::Relaxed);
    let error = session.events().expect_err("no answer comes");
    assert_eq!(
        error.to_string(),
        "no answer from the debuggee to `list events` for 0 s; the line is open; \
         `.reconnect` begins a new session"
    );
}

#[test]
fn control_c_ends_a_wait() {
    let debuggee = Debuggee::start();
    let (mut session, interrupts) = session(&debuggee, Duration::from_secs(60));
    debuggee.controls.is_mute.store(true, Ordering::Relaxed);
    session.begin_command();
    let pressed = std::thread::spawn(move || {
        std::thread::sleep(Duration::from_millis(200));
        interrupts.fetch_add(1, Ordering::Relaxed);
    });
    let started = Instant::now();
    let error = session.pools().expect_err("no answer comes");
    assert_eq!(error, SessionError::GivenUp { what: "pools" });
    assert!(started.elapsed() < Duration::from_secs(5));
    pressed.join().expect("it sleeps and counts");
}

#[test]
fn a_late_answer_is_not_taken_for_the_next_one() {
    let debuggee = Debuggee::start();
    let (mut session, interrupts) = session(&debuggee, Duration::from_secs(10));
    session.begin_command();
    interrupts.fetch_add(1, Ordering::Relaxed);
    // Given up at the first look; its answer comes while the next request waits.
    let first = session.pools();
    session.begin_command();
    assert!(session.cores().is_ok(), "{first:?}");
    assert!(session.events().is_ok());
}

#[test]
fn a_line_that_is_gone_is_named_in_the_message() {
    let debuggee = Debuggee::start();
    let (mut session, _) = session(&debuggee, Duration::from_millis(700));
    std::fs::remove_file(&debuggee.socket).expect("it is there");
    debuggee.controls.hang_up.store(true, Ordering::Relaxed);
    std::thread::sleep(Duration::from_millis(100));
    let error = session.events().expect_err("no answer comes").to_string();
    assert!(
        error.contains("the line is lost (the other end has closed it)"),
        "{error}"
    );
}

#[test]
fn notices_that_are_unknown_and_such_that_are_malformed_are_told_apart() {
    let debuggee = Debuggee::start();
    let (mut session, _) = session(&debuggee, Duration::from_secs(10));
    while session.take_news().is_some() {}
    // One of no known kind, a fault without its core, and a reply that is too short to be one.
    let raw = vec![vec![0x9f, 1], vec![0x81], vec![0x30]];
    *debuggee.controls.raw.lock().expect("unpoisoned") = raw;
    let mut news = Vec::new();
    let started = Instant::now();
    while news.len() < 2 && started.elapsed() < Duration::from_secs(5) {
        news.extend(session.take_news());
        std::thread::sleep(Duration::from_millis(5));
    }
    let unknown = News::UnknownNotice { kind: 0x9f };
    let malformed = News::MalformedNotice { kind: 0x81 };
    assert_eq!(news, [unknown, malformed]);
    assert!(
        session.cores().is_ok(),
        "what could not be read answered nothing"
    );
}

/// What the user reads when the handshake fails.
fn refused_handshake(debuggee: &Debuggee) -> String {
    let (mut session, _) = unconnected(debuggee, Duration::from_secs(10));
    let error = session.shake_hands().expect_err("one of them is too old");
    error.to_string()
}

#[test]
fn a_debuggee_of_another_version_is_one_clear_line() {
    let debuggee = Debuggee::start();
    *debuggee.controls.other_version.lock().expect("unpoisoned") = Some(77);
    assert_eq!(
        refused_handshake(&debuggee),
        "c0000105: the driver speaks version 77 of the protocol, this program version 3; use a \
         program and a driver of one release"
    );
}

#[test]
fn an_unknown_operating_system_is_one_clear_line() {
    let debuggee = Debuggee::start();
    let system = GuestSystem::Unknown {
        tag: 9,
        layout: &[1, 2, 3],
    };
    *debuggee.controls.system.lock().expect("unpoisoned") = Some(system);
    assert_eq!(
        refused_handshake(&debuggee),
        "the debuggee runs an operating system that this program does not know (number 9); use a \
         newer program"
    );
}
