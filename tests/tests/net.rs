//! The network: the host program and the driver's core, which calls it over UDP, with a relay between them that loses,
//! damages, doubles and reorders datagrams, and keeps a copy of all. No machine is needed.
#![cfg(unix)]
#![allow(missing_docs, reason = "a test")]

#[allow(dead_code, reason = "what only the tests with a machine need")]
#[path = "net/relay.rs"]
mod relay;

use debugger_host::recording::{Entry, Recording};
use debugger_host::transport::NetKey;
use relay::{Relay, assert_differ, has};
use standstill_tests::core::{STACK_BYTES, served};
use std::collections::HashSet;
use std::fs;
use std::io::{BufRead, BufReader};
use std::net::{SocketAddr, UdpSocket};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use tempfile::TempDir;
use vm_lab::host::{self, Host};
use wire_protocol::secure::{Caller, DATAGRAM_BYTES, Key, Timing};

/// Longest wait for anything, on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// A folder with a key, a port, and the host program.
struct Place {
    folder: TempDir,
    program: PathBuf,
    port: u16,
}

impl Place {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let program = host::build().unwrap();
        let made = Command::new(&program)
            .args(["key", "new", "key"])
            .current_dir(folder.path())
            .output()
            .unwrap();
        assert!(made.status.success() && made.stdout.is_empty());
        let mode = fs::metadata(folder.path().join("key"))
            .unwrap()
            .permissions();
        assert_eq!(mode.mode() & 0o777, 0o600);
        let symbols = Path::new(env!("CARGO_MANIFEST_DIR")).join("replay/System.map");
        fs::copy(symbols, folder.path().join("System.map")).unwrap();
        // A port that is free, and that no other test gets at once.
        let probe = UdpSocket::bind("127.0.0.1:0").unwrap();
        let port = probe.local_addr().unwrap().port();
        Self {
            folder,
            program,
            port,
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn key(&self) -> NetKey {
        NetKey::in_file(&self.path("key")).unwrap()
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.program);
        command.args(arguments).args(["--symbols", "System.map"]);
        command.current_dir(self.folder.path());
        command.env("XDG_STATE_HOME", self.folder.path());
        command
    }

    fn connect(&self, more: &[&str]) -> Command {
        let net = format!("127.0.0.1:{}", self.port);
        let mut command = self.command(&["connect", "--net", &net, "--batch"]);
        command.args(more);
        command
    }

    /// The host program, connected.
    fn host(&self, more: &[&str]) -> Host {
        let mut command = self.connect(&["--key-file", "key"]);
        Host::run(command.args(more).stderr(Stdio::null())).unwrap()
    }
}

/// A core that calls its host, until it is dropped.
struct Core {
    ends: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Core {
    fn calling(host: SocketAddr, key: &NetKey) -> Self {
        let ends = Arc::<AtomicBool>::default();
        let (key, until) = (key.clone(), Arc::clone(&ends));
        let thread = std::thread::Builder::new().stack_size(STACK_BYTES);
        let serve = move || {
            served::serve_net(&host.to_string(), &key, until).unwrap();
        };
        Self {
            ends,
            thread: Some(thread.spawn(serve).unwrap()),
        }
    }
}

impl Drop for Core {
    fn drop(&mut self) {
        self.ends.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Two hundred commands, four halts among them: each halts the core, sets events, reads, changes, and lets it run into them.
fn script() -> Vec<String> {
    let mut script = Vec::new();
    for round in 0..4 {
        script.push("pause".to_owned());
        let first = [
            "~",
            "r",
            "!epthook work",
            "!monitor w data data+7",
            "events",
            "pools",
        ];
        script.extend(first.map(str::to_owned));
        for n in 0..11 {
            script.push(format!(
                "db {:x} l 60",
                0xffff_ffff_8100_1000_u64 + 256 * (11 * round + n)
            ));
            script.push(format!(
                "? .n = {n}; printf(\"%d %llx\\n\", .n + {round}, @rip);"
            ));
            script.push(format!("r rbx = {n}"));
        }
        script.push(format!(
            "db {:x} l 1800",
            0xffff_ffff_8101_0000_u64 + 0x2000 * round
        ));
        // The hook, then the monitor.
        for _ in 0..2 {
            script.extend(["g", ".wait 0n30", "r rip"].map(str::to_owned));
        }
        // The store is done long before the next break-in.
        let last = ["events c all", "g", "sleep 0n300"];
        script.extend(last.map(str::to_owned));
    }
    script
}

fn transcript(host: &mut Host, script: &[String]) -> String {
    let mut text = String::new();
    for command in script {
        let reply = host.command_within(command, PATIENCE).unwrap();
        text += &format!("> {command}\n{}{}\n", reply.output, reply.ok);
    }
    text
}

/// Runs the script; what was printed, what went over the network, and what `.status` says of dropped datagrams then.
fn run(is_bad: bool) -> (String, Vec<Vec<u8>>, String, Place) {
    let place = Place::new();
    let relay = Relay::to(place.port, is_bad);
    let core = Core::calling(relay.address, &place.key());
    let mut host = place.host(&["--record", "recording"]);
    let printed = transcript(&mut host, &script());
    let status = host.command(".status").unwrap().output;
    host.finish().unwrap();
    drop(core);
    (printed, relay.captured(), status, place)
}

/// What both ends said to each other, above the channel.
fn said(recording: &Recording) -> Vec<&[u8]> {
    let said = recording.packets.iter().map(|packet| &packet.entry);
    said.filter_map(|entry| match entry {
        Entry::Request(bytes) | Entry::Message(bytes) => Some(&bytes[..]),
        _ => None,
    })
    .collect()
}

#[test]
fn a_script_goes_over_a_bad_network_as_over_a_good_one_and_nothing_in_the_clear() {
    let script = script();
    assert_eq!(script.len(), 200);
    let (clean, captured, status, place) = run(false);
    assert!(!status.contains("\ndropped"), "{status}");
    // It does what it is to do: every command works, but that a register is no other one.
    assert_eq!(clean.matches("\nfalse\n").count(), 0, "{clean}");
    assert_eq!(
        clean.matches(" hit on core 0: monitor").count(),
        4,
        "{clean}"
    );

    let (bad, more, status, _bad_place) = run(true);
    for (number, (one, other)) in (1..).zip(clean.lines().zip(bad.lines())) {
        assert_eq!(one, other, "line {number}");
    }
    assert_eq!(clean, bad);
    assert!(status.contains("\ndropped     "), "{status}");
    println!("{} and {} datagrams\n{status}", captured.len(), more.len());

    // What was said, and the kernel's banner in it, is in no datagram.
    let recording = Recording::open(&place.path("recording")).unwrap();
    let said = said(&recording);
    let banner = b"Linux 0 (made up)";
    assert!(said.iter().any(|bytes| has(banner, bytes)));
    let begins = said.iter().filter_map(|bytes| bytes.first_chunk::<8>());
    let begins: HashSet<_> = begins.chain(banner.first_chunk()).collect();
    assert!(begins.len() > 20, "{}", begins.len());
    for datagram in captured.iter().chain(&more) {
        let windows = datagram.windows(8);
        let mut eights = windows.filter_map(|window| window.first_chunk::<8>());
        assert!(!eights.any(|eight| begins.contains(eight)));
    }
    assert_differ(&captured);

    // The recording is above the channel, and plays as any other.
    let mut command = place.command(&["replay", "recording", "--batch"]);
    let mut host = Host::run(command.stderr(Stdio::null())).unwrap();
    assert_eq!(transcript(&mut host, &script), clean);
    host.finish().unwrap();
}

/// Parts of a long read are under way together, and come in order whatever happens to them.
#[test]
fn a_long_read_is_the_same_over_a_bad_network() {
    const BYTES: usize = 0x2_8010;
    let read = |is_bad: bool| {
        let place = Place::new();
        let relay = Relay::to(place.port, is_bad);
        let _core = Core::calling(relay.address, &place.key());
        let mut host = place.host(&[]);
        let long = format!(".writemem memory ffffffff81000000 l {BYTES:x}");
        for command in ["pause", &long, "g"] {
            let reply = host.command_within(command, PATIENCE).unwrap();
            assert!(reply.ok, "{command}: {}", reply.output);
        }
        host.finish().unwrap();
        fs::read(place.path("memory")).unwrap()
    };
    let clean = read(false);
    assert_eq!(clean.len(), BYTES);
    assert!(clean.iter().any(|byte| *byte != 0));
    assert!(read(true) == clean);
}

#[test]
fn a_hundred_sessions_use_no_key_with_a_nonce_twice() {
    let place = Place::new();
    let relay = Relay::to(place.port, false);
    let _core = Core::calling(relay.address, &place.key());
    let mut host = place.host(&[]);
    let again = format!(".debug remote net 127.0.0.1:{} @key", place.port);
    for _ in 0..100 {
        for command in [".debug close", &again, "pause", "r rip", "g"] {
            let reply = host.command_within(command, PATIENCE).unwrap();
            assert!(reply.ok, "{command}: {}", reply.output);
        }
    }
    host.finish().unwrap();
    let captured = relay.captured();
    let welcomes = captured.iter().filter(|it| it[0] == 0x92).count();
    assert!(welcomes >= 101, "{welcomes}");
    assert_differ(&captured);
    println!("{} datagrams, {welcomes} sessions", captured.len());
}

/// A call under another key.
fn foreign_call() -> Vec<u8> {
    let mut caller = Caller::new(Key::new([1; 32]), Timing::USUAL);
    let mut out = [0; DATAGRAM_BYTES];
    let len = caller.poll(0, 1 << 60, &[2; 32], &mut out);
    out[..len].to_vec()
}

#[test]
fn what_does_not_authenticate_changes_nothing_is_not_answered_and_is_counted() {
    let place = Place::new();
    let relay = Relay::to(place.port, false);
    let _core = Core::calling(relay.address, &place.key());
    let mut host = place.host(&[]);
    let before = host.command("pause").unwrap();
    assert!(before.ok, "{}", before.output);
    let status = |host: &mut Host| host.command(".status").unwrap().output;
    assert!(!status(&mut host).contains("\ndropped"));

    let captured = relay.captured();
    let of = |kind: u8| captured.iter().rfind(|it| it[0] == kind).unwrap().clone();
    let [hello, welcome, to_host, to_core] = [0x91, 0x92, 0x93, 0x94].map(of);
    let mut forged = to_host.clone();
    *forged.last_mut().unwrap() ^= 1;
    // The counter is one that did not come yet, or it would be taken for a replay.
    forged[8] = 0xff;
    let mut of_no_session = to_host.clone();
    of_no_session[3..7].fill(0);
    let stranger = UdpSocket::bind("127.0.0.1:0").unwrap();
    let host_at: SocketAddr = ([127, 0, 0, 1], place.port).into();
    let datagrams: [&[u8]; 9] = [
        b"GET / HTTP/1.1",
        &to_host[..to_host.len() - 1],
        &welcome,
        &to_core,
        &foreign_call(),
        &forged,
        &hello,
        &to_host,
        &of_no_session,
    ];
    for datagram in datagrams {
        stranger.send_to(datagram, host_at).unwrap();
    }
    let expected = "dropped     1 no debuggee's, 1 without their end, 2 sent back, 1 under another key, 1 forged or damaged, \
         2 replayed or doubled, 1 of a session that is over";
    let since = Instant::now();
    while !status(&mut host).contains(expected) {
        assert!(since.elapsed() < PATIENCE, "{}", status(&mut host));
    }
    // And the other end.
    for datagram in [&hello, &to_host, &to_core, &welcome, &foreign_call()] {
        relay.bring_to_core(datagram);
    }
    stranger
        .set_read_timeout(Some(Duration::from_millis(1)))
        .unwrap();
    assert!(stranger.recv(&mut [0; 2048]).is_err(), "it was answered");
    for (command, output) in [
        ("r rip", "rip=ffffffff81003000\n"),
        ("? printf(\"%d\\n\", 1 + 1);", "2\n"),
    ] {
        // Before it stands what is told of the other key.
        let said = host.command(command).unwrap().output;
        assert!(said.ends_with(output), "{said}");
    }
    host.finish().unwrap();
}

#[test]
fn a_debuggee_whose_address_changes_is_followed() {
    let place = Place::new();
    let relay = Relay::to(place.port, false);
    let _core = Core::calling(relay.address, &place.key());
    let mut host = place.host(&[]);
    assert!(host.command("pause").unwrap().ok);
    for round in 0..3 {
        relay.move_core();
        let command = format!("? printf(\"%d\\n\", 7 + {round});");
        let reply = host.command_within(&command, PATIENCE).unwrap();
        assert_eq!(reply.output, format!("{}\n", 7 + round));
    }
    host.finish().unwrap();
}

/// The line with these words that the host program prints while it waits; it is ended then.
fn told(command: &mut Command, words: &str) -> String {
    let mut host = command
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(host.stderr.take().unwrap()).lines();
    let found = lines
        .map_while(Result::ok)
        .find(|line| line.contains(words));
    let _ = host.kill();
    let _ = host.wait();
    found.unwrap_or_else(|| panic!("`{words}` is not said"))
}

#[test]
fn a_wait_says_what_it_waits_for_and_why_a_debuggee_is_not_answered() {
    let place = Place::new();
    let relay = Relay::to(place.port, false);
    let wait = || place.connect(&["--key-file", "key"]);
    let line = format!(
        "waiting for network port 127.0.0.1:{}, key {}: no debuggee with this key has called yet",
        place.port,
        place.key().id
    );
    let said = told(&mut wait(), "waiting for");
    assert_eq!(said, line.clone() + "; Ctrl+C to give up");

    let core = Core::calling(relay.address, &place.key());
    let other = place.program_key();
    let said = told(&mut place.connect(&["--key", &other]), "another key");
    assert!(
        said.contains("; a debuggee with another key calls from 127.0.0.1:"),
        "{said}"
    );

    // As if it had called in the year 2200.
    let clocks = place.path("standstill/clocks");
    fs::create_dir_all(&clocks).unwrap();
    fs::write(clocks.join(&place.key().id), "7258118400000000\n").unwrap();
    let said = told(&mut wait(), "earlier time");
    assert!(said.starts_with(&line), "{said}");
    assert!(said.contains("--accept-older-clock answers it"), "{said}");
    let mut host = place.host(&["--accept-older-clock"]);
    assert!(host.command("pause").unwrap().ok);
    host.finish().unwrap();
    // Its clock is the last one now.
    place.host(&[]).finish().unwrap();
    drop(core);
}

impl Place {
    /// A key that nobody else has, as it is printed.
    fn program_key(&self) -> String {
        let made = Command::new(&self.program).args(["key", "new"]).output();
        let text = String::from_utf8(made.unwrap().stdout).unwrap();
        text.trim().to_owned()
    }
}
