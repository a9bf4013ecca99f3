//! Sessions that are recorded, and recordings that play the debuggee: what users see of it.
#![cfg(unix)]
#![allow(missing_docs, reason = "a test")]

#[allow(dead_code, reason = "other test files use the rest")]
mod fake;

use debugger_host::recording::{Ending, Recorder, Recording, Start};
use debugger_host::session::{Session, SessionError};
use debugger_host::timeout::{Interrupts, Timeout};
use debugger_host::transport::Endpoint;
use fake::Debuggee;
use fake::host::{Host, recorded, standstill};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

fn lines(bytes: &[u8]) -> Vec<String> {
    let text = String::from_utf8(bytes.to_vec()).expect("text");
    text.lines().map(str::to_owned).collect()
}

/// What a failed program says: one line.
fn complaint(output: &Output) -> String {
    assert!(!output.status.success());
    let [line] = &lines(&output.stderr)[..] else {
        panic!("{output:?}");
    };
    line.clone()
}

fn in_folder(debuggee: &Debuggee, name: &str) -> PathBuf {
    let folder = debuggee.socket.parent().expect("it is in a folder");
    folder.join(name)
}

fn replay(debuggee: &Debuggee, file: &Path) -> Host {
    Host::replay(file, &debuggee.symbols()).0
}

#[test]
fn a_recording_is_its_owners_and_the_program_says_so() {
    let debuggee = Debuggee::start();
    let file = in_folder(&debuggee, "recording");
    let connect = ["connect", "--batch", "--record"];
    let socket = Path::new("--socket");
    let output = standstill(&connect, &[&file, socket, &debuggee.socket]);
    assert!(output.status.success(), "{output:?}");
    assert_eq!(
        lines(&output.stderr),
        [format!(
            "recording to {}, which only its owner can read: it holds what is read of the \
             debuggee's memory and registers",
            file.display()
        )]
    );
    let mode = fs::metadata(&file).expect("it is there").permissions();
    assert_eq!(mode.mode() & 0o777, 0o600);
    let recording = Recording::open(&file).expect("it is whole");
    assert_eq!(recording.ending, Ending::Closed);
    assert!(recording.start.program.starts_with("standstill "));

    // What is there already stays what it is.
    let again = standstill(&connect, &[&file, socket, &debuggee.socket]);
    assert!(!again.status.success());
    assert!(
        lines(&again.stdout)[0].ends_with("recording: it is there already"),
        "{again:?}"
    );
    assert_eq!(Recording::open(&file), Ok(recording));
}

#[test]
fn what_cannot_be_recorded_to_is_one_line() {
    let debuggee = Debuggee::start();
    let folder = in_folder(&debuggee, ".");
    let nowhere = in_folder(&debuggee, "no/such/folder");
    for (place, why) in [
        (folder.as_path(), "there already"),
        (nowhere.as_path(), "No such file"),
        (Path::new("/proc/recording"), "No such file"),
        (Path::new("/dev/full"), "No space left"),
    ] {
        let arguments = ["connect", "--record"];
        let output = standstill(
            &arguments,
            &[place, Path::new("--socket"), &debuggee.socket],
        );
        let line = complaint(&output);
        let begins = format!("standstill: cannot record to {}: ", place.display());
        assert!(line.starts_with(&begins) && line.contains(why), "{line}");
    }
    // A line that cannot be opened leaves nothing in the way of the next try.
    let file = in_folder(&debuggee, "recording");
    let line = file.parent().expect("a folder");
    let output = standstill(
        &["connect", "--record"],
        &[&file, Path::new("--socket"), line],
    );
    assert!(!output.status.success() && !file.exists(), "{output:?}");
}

#[test]
fn what_is_no_recording_is_one_line() {
    let debuggee = Debuggee::start();
    let text = debuggee.file("text", "some text\n");
    let missing = in_folder(&debuggee, "missing");
    for file in [text.as_path(), missing.as_path(), Path::new("/tmp")] {
        for command in ["show", "replay"] {
            let line = complaint(&standstill(&[command], &[file]));
            let begins = format!("standstill: {}: ", file.display());
            assert!(line.starts_with(&begins), "{line}");
        }
    }
}

#[test]
fn a_recording_that_cannot_go_on_is_told_and_the_session_goes_on() {
    let debuggee = Debuggee::start();
    let pipe = in_folder(&debuggee, "pipe");
    let made = Command::new("mkfifo").arg(&pipe).status();
    assert!(made.expect("mkfifo is there").success());
    let reader = {
        let pipe = pipe.clone();
        std::thread::spawn(move || fs::File::open(pipe).expect("readable"))
    };
    let (mut host, _) = Host::record(&debuggee, &pipe);
    drop(reader.join().expect("it opens"));
    let told = host.good("? 1+1");
    assert!(
        told.starts_with("warning: the recording ends here, the session goes on: Broken pipe"),
        "{told}"
    );
    assert!(told.ends_with("2 = 0n2\n"), "{told}");
    assert_eq!(host.good("? 1+2"), "3 = 0n3\n");
}

#[test]
fn what_was_not_asked_then_is_one_line() {
    let (debuggee, file) = recorded(&["pause", "r rax", "eb vfs_read 90", "db vfs_read l 10"]);
    let mut host = replay(&debuggee, &file);
    host.good("pause");
    // Another register, and memory as it was before it was changed.
    let line = host.bad("r rbx");
    assert!(
        line.starts_with("the recording has no answer to ReadRegisters core=0 set=["),
        "{line}"
    );
    assert!(
        line.contains(": what was done next then is packet ") && line.contains("ReadRegisters"),
        "{line}"
    );
    let line = host.bad("db vfs_read l 10");
    assert!(line.contains("no answer to ReadMemory"), "{line}");
    assert_eq!(host.good("r rax"), "rax=0000000000001000\n");
    let line = host.bad("eb vfs_read 91");
    assert!(
        line.contains("no answer to WriteMemory") && line.contains("next then is packet"),
        "{line}"
    );
    host.good("eb vfs_read 90");
    assert!(host.good("db vfs_read l 10").contains("90"));
    let line = host.bad("g");
    assert_eq!(
        line,
        "the recording has no answer to Go: what was done next then is its end\n"
    );
}

#[test]
fn questions_between_two_changes_come_in_any_order() {
    let (debuggee, file) = recorded(&["pause", "r rax", "~", "r rbx", "db vfs_read l 10"]);
    let mut live = Host::connect(&debuggee).0;
    let mut host = replay(&debuggee, &file);
    host.good("pause");
    for command in [
        "db vfs_read l 10",
        "r rbx",
        "~",
        "r rax",
        "~",
        "~",
        "? 1+1",
        "r rbx",
        // What was read in other pieces.
        "db vfs_read+4 l 8",
        "r bx",
    ] {
        assert_eq!(host.good(command), live.good(command), "{command}");
    }
}

#[test]
fn g_and_pause_go_along() {
    let (debuggee, file) = recorded(&["pause", "r rax", "g", "pause", "r rbx", "g"]);
    let mut host = replay(&debuggee, &file);
    host.good("pause");
    // The register was asked for and is not now.
    host.good("g");
    let line = host.bad(".wait");
    assert!(
        line.starts_with("the recording has no answer to a wait for a halt")
            && line.ends_with("a break-in\n"),
        "{line}"
    );
    assert!(host.good("pause").starts_with("break-in on core 0"));
    assert_eq!(host.good("r rbx"), "rbx=0000000000001003\n");
    host.good("g");
    for command in ["pause", ".wait"] {
        let line = host.bad(command);
        assert!(line.ends_with("next then is its end\n"), "{line}");
    }
}

#[test]
fn a_new_session_nobody_began_then_is_the_one_that_is() {
    let (debuggee, file) = recorded(&["pause", "g", "pause", "r rax"]);
    let mut host = replay(&debuggee, &file);
    host.good("pause");
    host.good("g");
    let running = host.good(".reconnect");
    assert!(running.ends_with("running\n"), "{running}");
    host.good("pause");
    // The halt is told again; what else is asked of it was not.
    host.run(".reconnect");
    assert_eq!(host.good("r rax"), "rax=0000000000001000\n");
}

#[test]
fn a_program_that_was_killed_has_recorded_all() {
    let debuggee = Debuggee::start();
    let file = in_folder(&debuggee, "recording");
    let (mut host, _) = Host::record(&debuggee, &file);
    host.good("pause");
    let live = host.good("r");
    drop(host);
    let output = standstill(&["show"], &[&file]);
    assert!(output.status.success());
    assert!(
        lines(&output.stderr)[0].contains("the recording has no end"),
        "{output:?}"
    );
    let mut host = replay(&debuggee, &file);
    host.good("pause");
    assert_eq!(host.good("r"), live);
}

#[test]
fn a_damaged_recording_is_played_as_far_as_it_goes() {
    let (debuggee, file) = recorded(&["pause", "r rax"]);
    let bytes = fs::read(&file).expect("readable");
    let cut = debuggee.file("cut", "");
    fs::write(&cut, &bytes[..bytes.len() - 70]).expect("writable");
    let output = standstill(&["show"], &[&cut]);
    let line = complaint(&output);
    assert!(
        line.contains("the recording ends early: the file ends within packet"),
        "{line}"
    );
    assert!(lines(&output.stdout).len() > 5);
    let mut host = replay(&debuggee, &cut);
    host.good("pause");
    assert_eq!(host.good("r rax"), "rax=0000000000001000\n");
}

#[test]
fn scripts_and_json_replay_as_they_ran() {
    let debuggee = Debuggee::start();
    let script = debuggee.file(
        "script.ds",
        "pause\nr rax\n!epthook vfs_read\n!epthook do_sys_openat2\nevents\ng\n.status\n",
    );
    for form in [&[][..], &["--json"]] {
        let file = in_folder(&debuggee, &format!("recording{}", form.len()));
        let symbols = debuggee.symbols();
        let common: Vec<&Path> = ["--script".as_ref(), script.as_path(), "--symbols".as_ref()]
            .into_iter()
            .chain([symbols.as_path()])
            .chain(form.iter().map(Path::new))
            .collect();
        let mut live: Vec<&Path> = vec![
            "--socket".as_ref(),
            &debuggee.socket,
            "--record".as_ref(),
            &file,
        ];
        live.extend(&common);
        let live = standstill(&["connect"], &live);
        assert!(live.status.success(), "{live:?}");
        let mut again: Vec<&Path> = vec![&file];
        again.extend(&common);
        let again = standstill(&["replay"], &again);
        assert_eq!(lines(&again.stdout), lines(&live.stdout), "{again:?}");
        assert!(again.status.success(), "{again:?}");
    }
}

#[test]
fn a_session_that_begins_at_the_prompt_is_recorded_from_there() {
    let debuggee = Debuggee::start();
    let file = in_folder(&debuggee, "recording");
    let symbols = debuggee.symbols();
    let (mut host, greeting) = Host::start(&[
        "--symbols".as_ref(),
        symbols.as_os_str(),
        "--record".as_ref(),
        file.as_os_str(),
    ]);
    assert_eq!(greeting, "");
    let remote = format!(".debug remote socket {}", debuggee.socket.display());
    let commands = [
        "? 1+1",
        &remote,
        "pause",
        "r rax",
        ".debug close",
        "r rax",
        &remote,
    ];
    let live: Vec<_> = commands.iter().map(|command| host.run(command)).collect();
    assert!(
        live[1].1 && live[3].1 && !live[5].1 && live[6].1,
        "{live:?}"
    );
    host.end();
    let mut host = replay(&debuggee, &file);
    for (command, live) in commands.iter().zip(live) {
        assert_eq!(host.run(command), live, "{command}");
    }
}

/// A session with nobody yet that waits no longer than this.
fn session(limit: Duration) -> Session {
    Session::new(Timeout::new(Interrupts::default(), Some(limit), |_| {}))
}

/// A session in which the debuggee answers the handshake and one break-in, and then no more.
fn in_vain(session: &mut Session, becomes_mute: impl FnOnce()) -> [Option<SessionError>; 3] {
    session.shake_hands().expect("the debuggee answers");
    becomes_mute();
    let mut commands = ["pause", "g", "pools"].into_iter();
    let mut run = |session: &mut Session, act: fn(&mut Session) -> Result<(), SessionError>| {
        session.note_command(commands.next().unwrap_or_default());
        let result = act(session);
        session.note_end_of_command();
        result.err()
    };
    [
        run(session, Session::break_in),
        run(session, Session::go),
        run(session, |session| session.pools().map(drop)),
    ]
}

/// Where a socket's recording begins.
fn recorder(file: &Path, endpoint: &Endpoint) -> Recorder {
    let start = Start {
        protocol: wire_protocol::packet::PROTOCOL_VERSION,
        program: "standstill 0".to_owned(),
        endpoint: Some(endpoint.clone()),
        symbols: None,
    };
    Recorder::create(file, start).expect("a new file")
}

#[test]
fn what_was_told_of_a_long_wait_keeps_nothing_from_coming() {
    let debuggee = Debuggee::start();
    let file = in_folder(&debuggee, "recording");
    let endpoint = Endpoint::Socket {
        path: debuggee.socket.clone(),
    };
    let limit = Duration::from_secs(10);
    let run = |session: &mut Session, meanwhile: &dyn Fn(&Session)| {
        session.shake_hands().expect("the debuggee answers");
        session.break_in().expect("it halts");
        session.go().expect("it goes on");
        session.note_command(".wait");
        meanwhile(session);
        session.wait_for_halt(Some(limit)).expect("it halts");
        session.note_end_of_command();
        session.halt().cloned()
    };
    let mut live = session(limit);
    live.record(recorder(&file, &endpoint));
    live.open(endpoint).expect("the socket is there");
    let halt = run(&mut live, &|session| {
        // As it is done after two seconds.
        let _ = session.health();
        debuggee.controls.core_dies.store(true, Ordering::Relaxed);
    });
    drop(live);
    let mut again = session(limit);
    let recording = Recording::open(&file).expect("it is whole");
    again.replay(&recording).expect("it was there then");
    let started = Instant::now();
    assert_eq!(run(&mut again, &|_| {}), halt);
    assert!(started.elapsed() < Duration::from_secs(5));
}

#[test]
fn waits_that_were_in_vain_end_at_once_and_as_they_ended() {
    let debuggee = Debuggee::start();
    let file = in_folder(&debuggee, "recording");
    let limit = Duration::from_millis(1100);
    let endpoint = Endpoint::Socket {
        path: debuggee.socket.clone(),
    };
    let mut live = session(limit);
    live.record(recorder(&file, &endpoint));
    live.open(endpoint).expect("the socket is there");
    let told = in_vain(&mut live, || {
        debuggee.controls.deaf_for.store(1000, Ordering::Relaxed);
        debuggee.controls.is_mute.store(true, Ordering::Relaxed);
    });
    drop(live);
    let not_stopped = SessionError::NotStopped { seconds: 1 };
    assert_eq!(told[..2], [Some(not_stopped), Some(SessionError::Running)]);
    assert!(matches!(told[2], Some(SessionError::NoAnswer { .. })));
    let mut again = session(limit);
    let recording = Recording::open(&file).expect("it is whole");
    again.replay(&recording).expect("it was there then");
    let started = Instant::now();
    assert_eq!(in_vain(&mut again, || {}), told);
    assert!(
        started.elapsed() < Duration::from_millis(900),
        "nothing waits"
    );
}
