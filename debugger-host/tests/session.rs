//! The session against a made-up debuggee: time limits, and what is said while waiting.
#![cfg(unix)]
#![allow(missing_docs, reason = "a test")]

#[allow(dead_code, reason = "the other test file uses the rest")]
mod fake;

use debugger_host::session::{News, Session, SessionError};
use debugger_host::timeout::{Interrupts, LineState, Timeout, Wait};
use debugger_host::transport::Endpoint;
use fake::{Debuggee, Driver, ToldStop};
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};
use wire_protocol::packet::GuestSystem;

fn unconnected(debuggee: &Debuggee, limit: Duration) -> (Session, Interrupts) {
    let interrupts = Interrupts::default();
    let endpoint = Endpoint::Socket {
        path: debuggee.socket.clone(),
    };
    let timeout = Timeout::new(interrupts.clone(), Some(limit), |_| {});
    let mut session = Session::new(timeout);
    session.open(endpoint).expect("the socket is there");
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
        "c0000105: the driver speaks version 77 of the protocol, this program version 4; use a \
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

/// The next halt is not told as it should.
fn tell_next_stop(debuggee: &Debuggee, told: ToldStop) {
    *debuggee.controls.next_stop.lock().expect("unpoisoned") = Some(told);
    std::thread::sleep(Duration::from_millis(50));
}

#[test]
fn a_halt_that_was_told_to_nobody_is_told_again() {
    let debuggee = Debuggee::start();
    for told in [ToldStop::Lost, ToldStop::Garbled] {
        let (mut session, _) = session(&debuggee, Duration::from_secs(10));
        session.go().expect("it is halted");
        tell_next_stop(&debuggee, told);
        let started = Instant::now();
        session.break_in().expect("the debuggee is halted");
        assert!(started.elapsed() < Duration::from_secs(3), "{told:?}");
        assert!(session.cores().is_ok(), "{told:?}");
    }
}

#[test]
fn a_halt_told_in_words_that_are_lost_is_asked_for_by_the_next_command() {
    let debuggee = Debuggee::start();
    let (mut session, _) = session(&debuggee, Duration::from_secs(10));
    session.go().expect("it is halted");
    tell_next_stop(&debuggee, ToldStop::Garbled);
    debuggee.controls.core_dies.store(true, Ordering::Relaxed);
    std::thread::sleep(Duration::from_millis(300));
    while session.take_news().is_some() {}
    session.begin_command();
    assert!(session.halt().is_some());
    session.go().expect("it is halted, and both ends know");
}

#[test]
fn a_go_whose_answer_came_late_has_let_the_debuggee_go() {
    let debuggee = Debuggee::start();
    let (mut session, interrupts) = session(&debuggee, Duration::from_secs(10));
    session.begin_command();
    interrupts.fetch_add(1, Ordering::Relaxed);
    let gone = session.go();
    session.begin_command();
    if gone.is_err() {
        assert_eq!(session.certain_halt(), Ok(None), "it runs");
    }
    session.break_in().expect("the debuggee halts");
    assert!(session.certain_halt().is_ok_and(|halt| halt.is_some()));
}

#[test]
fn a_driver_that_goes_is_missed_at_once_and_met_again() {
    let debuggee = Debuggee::start();
    let (mut session, _) = session(&debuggee, Duration::from_secs(60));
    while session.take_news().is_some() {}
    let next = |session: &mut Session| {
        let started = Instant::now();
        while started.elapsed() < Duration::from_secs(10) {
            if let Some(news) = session.take_news() {
                return Some(news);
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        None
    };
    let becomes = |driver| *debuggee.controls.driver.lock().expect("unpoisoned") = Some(driver);
    becomes(Driver::Goes);
    let said_goodbye = true;
    assert_eq!(next(&mut session), Some(News::DriverGone { said_goodbye }));
    let started = Instant::now();
    for refused in [
        session.break_in(),
        session.go(),
        session.events().map(drop),
        session.cores().map(drop),
    ] {
        assert_eq!(refused, Err(SessionError::DriverGone));
    }
    assert!(started.elapsed() < Duration::from_secs(1), "nothing waits");
    becomes(Driver::Comes);
    assert_eq!(next(&mut session), Some(News::DriverBack));
    session.shake_hands().expect("the driver answers");
    session.break_in().expect("the debuggee halts");
    assert!(matches!(next(&mut session), Some(News::Stopped(_))));
    // One that was reset says no goodbye.
    becomes(Driver::Comes);
    let said_goodbye = false;
    assert_eq!(next(&mut session), Some(News::DriverGone { said_goodbye }));
    assert_eq!(next(&mut session), Some(News::DriverBack));
}

#[test]
fn whoever_waits_for_a_halt_is_told_so_after_two_seconds() {
    let debuggee = Debuggee::start();
    debuggee.controls.deaf_for.store(1000, Ordering::Relaxed);
    let (told, waits) = std::sync::mpsc::channel();
    let endpoint = Endpoint::Socket {
        path: debuggee.socket.clone(),
    };
    let limit = Some(Duration::from_secs(4));
    let timeout = Timeout::new(Interrupts::default(), limit, move |wait| {
        told.send(wait.clone()).expect("somebody listens");
    });
    let mut session = Session::new(timeout);
    session.open(endpoint).expect("the socket is there");
    session.shake_hands().expect("the debuggee answers");
    assert!(session.break_in().is_err());
    let told: Vec<_> = waits.try_iter().collect();
    let [wait] = &told[..] else {
        panic!("{told:?}");
    };
    let line = LineState::Open;
    let (request, seconds) = (None, 2);
    assert_eq!(
        *wait,
        Wait::Answer {
            request,
            seconds,
            line
        }
    );
}
