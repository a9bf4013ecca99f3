//! Every kind of line: one that is not there yet is waited for, one that can never be opened is refused, one that goes is
//! opened again when it comes back.
#![cfg(unix)]
#![allow(missing_docs, reason = "a test")]

#[allow(dead_code, reason = "other test files use the rest")]
mod fake;

use debugger_host::session::{News, Session, SessionError};
use debugger_host::timeout::{Interrupts, Timeout, Wait};
use debugger_host::transport::Endpoint;
use fake::Debuggee;
use fake::host::Host;
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use std::fs::File;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::os::unix::fs::symlink;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

/// A session with nobody yet, and what it says while it waits.
fn session(limit: Duration) -> (Session, Interrupts, Receiver<Wait>) {
    let interrupts = Interrupts::default();
    let (told, waits) = channel();
    let timeout = Timeout::new(interrupts.clone(), Some(limit), move |wait| {
        let _ = told.send(wait.clone());
    });
    (Session::new(timeout), interrupts, waits)
}

fn refused(endpoint: Endpoint) -> String {
    let (mut session, ..) = session(Duration::from_millis(300));
    let error = session.open(endpoint).expect_err("it cannot be opened");
    assert!(!session.is_connected());
    error.to_string()
}

fn tcp(address: impl ToString) -> Endpoint {
    let address = address.to_string();
    Endpoint::Tcp { address }
}

fn serial(device: &Path, baud: u32) -> Endpoint {
    let device = device.display().to_string();
    Endpoint::Serial {
        device,
        baud,
        baud_fixed: false,
    }
}

/// A port at which nobody listens.
fn closed_port() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    listener.local_addr().expect("it has one").to_string()
}

#[test]
fn what_makes_no_sense_is_refused_at_once_in_one_line() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().to_owned();
    let file = path.join("file");
    std::fs::write(&file, "x").expect("writable");
    let (at, file_at) = (path.display(), file.display());
    let is = |endpoint, text: String| assert_eq!(refused(endpoint), text);
    is(
        Endpoint::Socket { path: path.clone() },
        format!("socket {at} cannot be opened: it is a directory, no socket"),
    );
    is(
        Endpoint::Socket { path: file.clone() },
        format!("socket {file_at} cannot be opened: it is a file, no socket"),
    );
    is(
        serial(&path, 115_200),
        format!("serial line {at} at 115200 baud cannot be opened: it is no serial device"),
    );
    is(
        serial(Path::new("/dev/ttyS0"), 0),
        "serial line /dev/ttyS0 at 0 baud cannot be opened: 0 baud is no speed".to_owned(),
    );
    for address in ["vm", "vm:", "vm:0", "vm:telnet", ":5000", "::1:5000"] {
        is(
            tcp(address),
            format!(
                "tcp {address} cannot be opened: HOST:PORT is wanted, as in 192.0.2.1:4444 or \
                 [2001:db8::1]:4444"
            ),
        );
    }
    // The rest is the system's own, and whether there is a name service.
    let text = refused(tcp("no-such-host.example:5000"));
    let begin = "tcp no-such-host.example:5000 cannot be opened: no host `no-such-host.example` can be found: ";
    assert!(text.starts_with(begin), "{text}");
    let name = "a/b".to_owned();
    is(
        Endpoint::Pipe { name: name.clone() },
        r"pipe a/b cannot be opened: the name of a pipe has no slashes of either kind; its path is \\.\pipe\NAME".to_owned(),
    );
    is(
        Endpoint::PipeServer { name },
        r"pipe a/b, served here cannot be opened: the name of a pipe has no slashes of either kind; its path is \\.\pipe\NAME".to_owned(),
    );
    let name = "debug".to_owned();
    is(
        Endpoint::Pipe { name },
        r"pipe debug cannot be opened: only Windows has \\.\pipe\debug; use a socket, TCP or a serial device".to_owned(),
    );
}

#[test]
fn what_is_not_there_yet_is_waited_for_until_the_limit() {
    let port = closed_port();
    assert_eq!(
        refused(tcp(&port)),
        format!(
            "tcp {port} could not be opened for 0 s: {port}: Connection refused (os error 111)"
        )
    );
    let path = PathBuf::from("/nonexistent/line");
    assert_eq!(
        refused(Endpoint::Socket { path: path.clone() }),
        "socket /nonexistent/line could not be opened for 0 s: No such file or directory (os error 2)"
    );
    assert_eq!(
        refused(serial(&path, 9600)),
        "serial line /nonexistent/line at 9600 baud could not be opened for 0 s: No such file or directory"
    );
}

#[test]
fn a_socket_that_comes_late_is_waited_for_in_one_line() {
    let debuggee = Debuggee::start();
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("line");
    let (socket, later) = (debuggee.socket.clone(), path.clone());
    let coming = std::thread::spawn(move || {
        std::thread::sleep(Duration::from_millis(1800));
        symlink(socket, later).expect("writable");
    });
    let (mut session, _, waits) = session(Duration::from_secs(60));
    let line = format!("socket {}", path.display());
    session.open(Endpoint::Socket { path }).expect("it comes");
    session.shake_hands().expect("the debuggee answers");
    coming.join().expect("it made the link");
    let seconds = 1;
    let why = "No such file or directory (os error 2)".to_owned();
    let told: Vec<Wait> = waits.try_iter().collect();
    assert_eq!(told, [Wait::Line { line, seconds, why }]);
}

#[test]
fn control_c_ends_the_wait_for_a_line() {
    let (mut session, interrupts, _) = session(Duration::from_secs(60));
    let pressed = std::thread::spawn(move || {
        std::thread::sleep(Duration::from_millis(400));
        interrupts.fetch_add(1, Ordering::Relaxed);
    });
    let started = Instant::now();
    let port = closed_port();
    let error = session.open(tcp(&port)).expect_err("nobody comes");
    assert!(started.elapsed() < Duration::from_secs(10));
    pressed.join().expect("it sleeps and counts");
    assert_eq!(
        error.to_string(),
        format!("given up: tcp {port} is not open: {port}: Connection refused (os error 111)")
    );
}

/// Joins one connection of a host with the made-up debuggee, until either end hangs up.
fn join(
    debuggee: &Debuggee,
    mut from: impl Read + Send + 'static,
    mut to: impl Write + Send + 'static,
) {
    let mut there = UnixStream::connect(&debuggee.socket).expect("it listens");
    let mut back = there.try_clone().expect("one more");
    std::thread::spawn(move || {
        let _ = std::io::copy(&mut from, &mut there);
        let _ = there.shutdown(Shutdown::Both);
    });
    std::thread::spawn(move || {
        let mut bytes = [0; 4096];
        while let Ok(count @ 1..) = back.read(&mut bytes) {
            if to.write_all(&bytes[..count]).is_err() {
                break;
            }
        }
    });
}

fn accept(debuggee: &Debuggee, listener: &TcpListener) -> TcpStream {
    let (stream, _) = listener.accept().expect("the host comes");
    let part = || stream.try_clone().expect("one more");
    join(debuggee, part(), part());
    stream
}

#[track_caller]
fn next(session: &mut Session) -> News {
    let started = Instant::now();
    loop {
        if let Some(news) = session.take_news() {
            return news;
        }
        assert!(
            started.elapsed() < Duration::from_secs(20),
            "nothing is told"
        );
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn tcp_that_is_hung_up_is_back_by_itself_and_says_so_once() {
    let debuggee = Debuggee::start();
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("it has one");
    let (mut session, ..) = session(Duration::from_secs(60));
    session.open(tcp(address)).expect("somebody listens");
    let stream = accept(&debuggee, &listener);
    session.shake_hands().expect("the debuggee answers");
    session.break_in().expect("it halts");
    assert!(matches!(next(&mut session), News::Stopped(_)));
    // A line that was open for a while.
    std::thread::sleep(Duration::from_millis(1200));
    stream.shutdown(Shutdown::Both).expect("it is open");
    let _second = accept(&debuggee, &listener);
    assert!(session.cores().is_ok(), "the same session goes on");
    let untold = Some("the other end has closed it".to_owned());
    assert_eq!(next(&mut session), News::LineBack { untold });
    assert_eq!(session.take_news(), None);
    assert!(session.halt().is_some());
}

#[test]
fn a_line_that_is_taken_and_closed_over_and_over_is_not_tried_without_end() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("it has one");
    let (mut session, ..) = session(Duration::from_secs(60));
    session.open(tcp(address)).expect("somebody listens");
    listener.set_nonblocking(true).expect("supported");
    let started = Instant::now();
    let mut taken = 0;
    while started.elapsed() < Duration::from_secs(2) {
        taken += u32::from(listener.accept().is_ok());
        std::thread::sleep(Duration::from_millis(1));
    }
    assert!((2..=8).contains(&taken), "{taken}");
    assert_eq!(session.take_news(), None, "no line for each of them");
}

#[test]
fn a_line_that_another_host_has_says_so() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("it has one");
    std::thread::spawn(move || listener.incoming().for_each(drop));
    let (mut session, ..) = session(Duration::from_secs(1));
    session.open(tcp(address)).expect("somebody listens");
    let error = session.shake_hands().expect_err("no debuggee").to_string();
    let why =
        "the line is lost (the other end closes it unheard: another host program may have it)";
    assert!(error.contains(why), "{error}");
}

/// A new pseudo-terminal under that name, and its other end.
fn terminal(name: &Path) -> File {
    let control = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).expect("a terminal");
    grantpt(&control).expect("ours");
    unlockpt(&control).expect("ours");
    let device = ptsname(&control, Vec::new()).expect("it has a name");
    let _ = std::fs::remove_file(name);
    symlink(device.to_str().expect("a plain name"), name).expect("writable");
    File::from(control)
}

/// Copies between a terminal and the debuggee until it is dropped.
struct Cable {
    end: std::sync::Arc<std::sync::atomic::AtomicBool>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Cable {
    fn plug(debuggee: &Debuggee, mut terminal: File) -> Self {
        let end = std::sync::Arc::<std::sync::atomic::AtomicBool>::default();
        let ended = std::sync::Arc::clone(&end);
        let mut line = UnixStream::connect(&debuggee.socket).expect("it listens");
        line.set_nonblocking(true).expect("supported");
        let flags = rustix::fs::fcntl_getfl(&terminal).expect("supported");
        rustix::fs::fcntl_setfl(&terminal, flags | rustix::fs::OFlags::NONBLOCK)
            .expect("supported");
        let thread = std::thread::spawn(move || {
            let mut bytes = [0; 512];
            // A terminal that nobody has opened yet cannot be read, which is not its end.
            while !ended.load(Ordering::Relaxed) {
                if let Ok(count) = terminal.read(&mut bytes) {
                    line.write_all(&bytes[..count]).expect("little");
                }
                if let Ok(count) = line.read(&mut bytes) {
                    terminal.write_all(&bytes[..count]).expect("little");
                }
                std::thread::sleep(Duration::from_millis(1));
            }
        });
        let thread = Some(thread);
        Self { end, thread }
    }
}

impl Drop for Cable {
    fn drop(&mut self) {
        self.end.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

#[test]
fn a_pseudo_terminal_is_a_serial_line_and_comes_back_after_a_hang_up() {
    let debuggee = Debuggee::start();
    let folder = tempfile::tempdir().expect("a folder");
    let name = folder.path().join("tty");
    let cable = Cable::plug(&debuggee, terminal(&name));
    let (mut session, ..) = session(Duration::from_secs(60));
    session.open(serial(&name, 115_200)).expect("it is there");
    session.shake_hands().expect("the debuggee answers");
    session.break_in().expect("it halts");
    assert!(matches!(next(&mut session), News::Stopped(_)));
    let second = refused(serial(&name, 115_200));
    assert!(second.contains("another program has it open"), "{second}");
    drop(cable);
    let News::LineLost { why } = next(&mut session) else {
        panic!("the line was not lost");
    };
    let hung_up = [
        "the other end has closed it",
        "Broken pipe",
        "Input/output error",
    ];
    assert!(hung_up.iter().any(|text| why.contains(text)), "{why}");
    let _cable = Cable::plug(&debuggee, terminal(&name));
    assert_eq!(next(&mut session), News::LineBack { untold: None });
    assert!(session.cores().is_ok(), "the same session goes on");
    assert!(session.halt().is_some());
}

#[test]
fn a_session_is_begun_and_closed_by_command() {
    let debuggee = Debuggee::start();
    let (mut host, said) = Host::start(&[]);
    assert_eq!(said, "");
    let hint =
        "not connected; `.debug remote` connects, as in `.debug remote serial 115200 COM3`\n";
    for line in [
        "r",
        "g",
        "pause",
        ".wait",
        "events",
        ".status",
        ".reconnect",
        ".debug close",
        "~ 1",
    ] {
        assert_eq!(host.bad(line), hint, "{line}");
    }
    assert_eq!(host.good("? 1 + 1"), "2 = 0n2\n");
    let line = format!("socket {}", debuggee.socket.display());
    let text = host.good(&format!(".debug remote pause {line}"));
    assert!(text.starts_with("connected: Linux version 6.1"), "{text}");
    assert!(
        text.contains("\nbreak-in on core 0; process 1c (lonely); changed: rcx r11\n"),
        "{text}"
    );
    assert_eq!(
        host.bad(&format!(".debug remote {line}")),
        format!("connected already, by {line}; `.debug close` ends that\n")
    );
    host.good("!epthook 1000");
    assert_eq!(
        host.good(".debug close"),
        format!(
            "{line} is closed; the debuggee runs; 1 event stays, and if it halts the debuggee, that waits \
             for you to connect\n"
        )
    );
    assert_eq!(host.bad("r"), hint);
    let text = host.good(&format!("debug REMOTE {line}"));
    assert!(text.ends_with("; running\n"), "{text}");
    assert_eq!(
        host.good(".debug close"),
        format!("{line} is closed; the debuggee runs\n")
    );
    // No thread is left of it, when those have looked whether they are wanted.
    let started = Instant::now();
    let left = |host: &Host| host.threads().iter().any(|name| name.contains("lin"));
    while left(&host) && started.elapsed() < Duration::from_secs(10) {
        std::thread::sleep(Duration::from_millis(20));
    }
    assert!(!left(&host), "{:?}", host.threads());
}

#[test]
fn a_line_by_command_is_written_as_people_write_it() {
    let (mut host, _) = Host::start(&[]);
    let usage = ".debug remote [pause] [take-over] (serial BAUD [fixed] DEVICE | namedpipe NAME | pipeserver NAME | \
                 tcp HOST:PORT | socket PATH | net UDP-PORT [accept-older-clock] (KEY | @FILE)) | close";
    let missing = |what: &str| format!("{what} is missing; usage: {usage}\n");
    for (line, text) in [
        (".debug", missing("`remote` or `close`")),
        (".debug remote", missing("the kind of line")),
        (".debug remote serial", missing("BAUD")),
        (".debug remote serial 9600", missing("DEVICE")),
        (".debug remote tcp", missing("HOST:PORT")),
        (".debug remote net", missing("UDP-PORT")),
        (".debug remote net 50000", missing("KEY or @FILE")),
        (
            ".debug remote net host:50000 @key",
            "`host:50000` is not PORT or ADDRESS:PORT, as 50000 or 192.0.2.1:50000\n".to_owned(),
        ),
        (
            ".debug remote net 50000 @/nosuch",
            "the key's file /nosuch: No such file or directory (os error 2)\n".to_owned(),
        ),
        (
            ".debug remote net 50000 1.2.3",
            "a key has 4 groups of 13 characters with dots between them; this has 3; `standstill key new` makes one\n"
                .to_owned(),
        ),
        (
            ".debug remote serial fast COM3",
            "`fast` is not a speed in decimal, as 115200\n".to_owned(),
        ),
        (
            ".debug remote serial 0 COM3",
            "serial line COM3 at 0 baud cannot be opened: 0 baud is no speed\n".to_owned(),
        ),
        (
            ".debug remote usb x",
            "`usb` is not serial, namedpipe, pipeserver, tcp, socket or net\n".to_owned(),
        ),
        (
            r".debug remote namedpipe \\.\pipe\debug",
            concat!(
                r"pipe \\.\pipe\debug cannot be opened: only Windows has \\.\pipe\debug; use a socket, ",
                "TCP or a serial device\n"
            )
            .to_owned(),
        ),
        (
            ".debug prepare serial 115200 com2",
            "`prepare` is not remote or close; the debuggee is prepared by loading its driver there\n"
                .to_owned(),
        ),
        (
            ".debug close now",
            format!("`now` is not understood here; usage: {usage}\n"),
        ),
    ] {
        assert_eq!(host.bad(line), text, "{line}");
    }
}

#[test]
fn the_program_says_in_one_line_that_a_line_makes_no_sense() {
    let run = |arguments: &[&str]| {
        let output = std::process::Command::new(env!("CARGO_BIN_EXE_standstill"))
            .arg("connect")
            .args(arguments)
            .stdin(std::process::Stdio::null())
            .output()
            .expect("the program starts");
        assert!(!output.status.success());
        String::from_utf8(output.stderr).expect("text")
    };
    assert_eq!(
        run(&["--socket", "/"]),
        "standstill: socket / cannot be opened: it is a directory, no socket\n"
    );
    assert_eq!(
        run(&["--serial", "/dev/ttyS0", "--baud", "0"]),
        "standstill: serial line /dev/ttyS0 at 0 baud cannot be opened: 0 baud is no speed\n"
    );
    assert!(run(&["--socket", "/", "--tcp", "vm:1"]).contains("cannot be used with"));
    let error = SessionError::NotConnected.to_string();
    assert!(error.starts_with("not connected"), "{error}");
}
