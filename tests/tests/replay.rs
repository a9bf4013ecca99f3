//! Recorded sessions, each played at both ends without any machine: the host program with the recording as its debuggee, and
//! the driver's core with the recording as its host.
//!
//! `replay/NAME.txt` has what is typed and what is printed, `replay/NAME.pcapng` the recording. With `STANDSTILL_RECORD` set
//! both are made anew, by the host program that talks to the core.
#![cfg(unix)]
#![allow(missing_docs, reason = "a test")]

#[path = "replay/foreign.rs"]
mod foreign;
#[path = "replay/handlers.rs"]
mod handlers;
#[path = "replay/mistakes.rs"]
mod mistakes;
#[path = "replay/transcript.rs"]
#[allow(dead_code, reason = "what only the recordings of the lab need")]
mod transcript;

use debugger_host::recording::describe::{self, Bases};
use debugger_host::recording::input::Input;
use debugger_host::recording::trim::{self, Found};
use debugger_host::recording::{Entry, Packet, Recording};
use debugger_host::session::How;
use flate2::read::GzDecoder;
use standstill_tests::core::ending::ENDINGS;
use standstill_tests::core::recording::{Noted, with_inputs};
use standstill_tests::core::served::Orders;
use standstill_tests::core::{STACK_BYTES, played, served};
use std::collections::BTreeSet;
use std::convert::Infallible;
use std::fs;
use std::io::Read;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::LazyLock;
use std::thread::JoinHandle;
use std::time::Duration;
use transcript::Transcript;
use vm_lab::host::{self, Host};

/// Longest wait for one command.
const PATIENCE: Duration = Duration::from_secs(120);
const SYMBOLS: &str = "System.map";

/// The folder with the recordings.
fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("replay")
}

/// The folder with those of the lab.
fn of_the_lab() -> PathBuf {
    folder().join("lab")
}

/// Sessions of the host program with the core alone, by their names.
fn sessions() -> Vec<String> {
    named(&folder(), "txt")
}

/// Recordings by their names.
fn names() -> Vec<String> {
    named(&folder(), "pcapng")
}

fn named(folder: &Path, extension: &str) -> Vec<String> {
    let files = fs::read_dir(folder)
        .unwrap()
        .map(|file| file.unwrap().path());
    let texts = files.filter(|file| file.extension().is_some_and(|it| it == extension));
    let mut names: Vec<String> = texts
        .map(|file| file.file_stem().unwrap().to_str().unwrap().to_owned())
        .collect();
    names.sort();
    assert!(!names.is_empty());
    names
}

fn recording(name: &str) -> Recording {
    recording_in(&folder(), name)
}

fn recording_in(folder: &Path, name: &str) -> Recording {
    let file = folder.join(format!("{name}.pcapng"));
    let packed = folder.join(format!("{name}.pcapng.gz"));
    if packed.exists() {
        let mut bytes = Vec::new();
        let mut packed = GzDecoder::new(fs::File::open(packed).unwrap());
        packed.read_to_end(&mut bytes).unwrap();
        let recording = Recording::read(&bytes);
        return recording.unwrap_or_else(|why| panic!("{}: {why}", file.display()));
    }
    Recording::open(&file).unwrap_or_else(|why| panic!("{}: {why}", file.display()))
}

fn is_recording() -> bool {
    std::env::var_os("STANDSTILL_RECORD").is_some()
}

/// The host program, built once.
fn host_program() -> &'static Path {
    static BUILT: LazyLock<PathBuf> = LazyLock::new(|| host::build().unwrap());
    &BUILT
}

/// The host program in a folder of its own, so that names of files are always the same.
fn program(symbols: &Path, place: &Path, arguments: &[&str]) -> Host {
    fs::copy(symbols.join(SYMBOLS), place.join(SYMBOLS)).unwrap();
    let scenarios = Path::new(env!("CARGO_MANIFEST_DIR")).join("scenarios");
    for scenario in fs::read_dir(scenarios).unwrap() {
        let scenario = scenario.unwrap();
        fs::copy(scenario.path(), place.join(scenario.file_name())).unwrap();
    }
    let mut command = Command::new(host_program());
    command
        .args(arguments)
        .args(["--batch", "--symbols", SYMBOLS]);
    Host::run(command.current_dir(place).stderr(Stdio::null())).unwrap()
}

/// The core, which waits for a host, to which this happens.
fn core(place: &Path, orders: &Orders) -> JoinHandle<Vec<Noted>> {
    let listener = UnixListener::bind(place.join("line")).unwrap();
    let thread = std::thread::Builder::new().stack_size(STACK_BYTES);
    let orders = orders.clone();
    let serve = move || served::serve(listener, orders).unwrap();
    thread.spawn(serve).unwrap()
}

/// What is typed is typed again.
fn type_in(host: &mut Host, transcript: &Transcript, orders: &Orders) -> Transcript {
    let lose = |kind: &str| orders.lose(u8::from_str_radix(kind, 16).unwrap());
    let end = |how: &str| {
        let ending = ENDINGS.iter().find(|(word, _)| *word == how);
        orders.end(ending.expect("one of the endings").1);
    };
    transcript.map(
        |command| host.command_within(command, PATIENCE).unwrap(),
        lose,
        end,
    )
}

/// Both ends at once: what the program prints, and the recording, with what the core took in.
fn run(transcript: &Transcript) -> (Transcript, Recording) {
    let place = tempfile::tempdir().unwrap();
    let orders = Orders::default();
    let core = core(place.path(), &orders);
    let arguments = ["connect", "--socket", "line", "--record", "recording"];
    let mut host = program(&folder(), place.path(), &arguments);
    let printed = type_in(&mut host, transcript, &orders);
    host.finish().unwrap();
    let inputs = core.join().unwrap();
    let recording = Recording::open(&place.path().join("recording")).unwrap();
    (printed, with_inputs(&recording, &inputs))
}

/// What both ends said, in order for each of them.
fn said(recording: &Recording) -> [Vec<&Entry>; 2] {
    let all = || recording.packets.iter().map(|packet| &packet.entry);
    [
        all()
            .filter(|it| matches!(it, Entry::Request(_) | Entry::BreakIn))
            .collect(),
        all().filter(|it| matches!(it, Entry::Message(_))).collect(),
    ]
}

#[test]
fn every_recording_replays_at_both_ends() {
    for name in sessions() {
        let file = folder().join(format!("{name}.txt"));
        let text = fs::read_to_string(&file).unwrap();
        let transcript = Transcript::read(&text);
        if is_recording() {
            let (printed, recording) = run(&transcript);
            fs::write(&file, printed.write()).unwrap();
            fs::write(
                folder().join(format!("{name}.pcapng")),
                recording.to_bytes(),
            )
            .unwrap();
        }
        replays_at_both_ends(&folder(), &name);
    }
}

/// The real driver said it on a real machine, which is not there any more.
#[test]
fn every_recording_of_the_lab_replays_at_both_ends() {
    for name in named(&of_the_lab(), "txt") {
        replays_at_both_ends(&of_the_lab(), &name);
    }
}

fn replays_at_both_ends(folder: &Path, name: &str) {
    let file = folder.join(format!("{name}.txt"));
    let text = fs::read_to_string(&file).unwrap();
    let transcript = Transcript::read(&text);
    let recorded = recording_in(folder, name);

    // The host's end, byte for byte.
    let place = tempfile::tempdir().unwrap();
    let copy = place.path().join("recording");
    fs::write(&copy, recorded.to_bytes()).unwrap();
    let mut host = program(folder, place.path(), &["replay", "recording"]);
    let printed = type_in(&mut host, &transcript, &Orders::default()).write();
    for (number, (then, now)) in (1..).zip(text.lines().zip(printed.lines())) {
        assert_eq!(then, now, "{}, line {number}", file.display());
    }
    assert_eq!(text, printed);

    // The core's end: what it says is computed.
    let played = played::play_aside(&recorded, || None);
    let played = played.unwrap_or_else(|why| panic!("{name}: {why}"));
    let [requests, messages] = said(&recorded);
    let requests = requests.iter().filter(|it| matches!(it, Entry::Request(_)));
    assert_eq!(played.requests, requests.count());
    assert!(played.compared >= messages.len());
    println!(
        "{name}: {} requests, {} messages",
        played.requests, played.compared
    );
}

/// At the core's end: no program of this version says what that host says.
#[test]
fn a_host_of_another_version_is_refused_in_a_replay_too() {
    let file = folder().join(format!("{}.pcapng", foreign::NAME));
    if is_recording() {
        let place = tempfile::tempdir().unwrap();
        let core = core(place.path(), &Orders::default());
        let said = foreign::record(&place.path().join("line"), &place.path().join("recording"));
        let inputs = core.join().unwrap();
        fs::write(&file, with_inputs(&said, &inputs).to_bytes()).unwrap();
    }
    let recorded = recording(foreign::NAME);
    let played = played::play_aside(&recorded, || None).unwrap();
    assert_eq!((played.requests, played.compared), (2, 2));
    let [requests, _] = kinds();
    assert!(requests.contains("ForeignHello"), "{requests:?}");
}

/// The host program sends it, over a socket, to a core that runs by itself.
#[test]
fn a_recording_plays_the_host_to_a_core_behind_a_line() {
    let place = tempfile::tempdir().unwrap();
    let core = core(place.path(), &Orders::default());
    let mut command = Command::new(host_program());
    let file = folder().join("halt.pcapng");
    command
        .arg("replay")
        .arg(file)
        .args(["--as-host", "--socket", "line"]);
    let output = command.current_dir(place.path()).output().unwrap();
    core.join().unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(
        output.status.success() && said.starts_with("socket line answers as it was recorded: "),
        "{said}{}",
        String::from_utf8_lossy(&output.stderr)
    );
}

/// Names of the kinds of messages in all recordings: of the host, and of the debuggee.
fn kinds() -> [BTreeSet<String>; 2] {
    let mut kinds = [BTreeSet::new(), BTreeSet::new()];
    for name in names() {
        let mut bases = Bases::default();
        for packet in &recording(&name).packets {
            let of = match packet.entry {
                Entry::Request(_) => Some(0),
                Entry::Message(_) => Some(1),
                _ => None,
            };
            if let Some(of) = of {
                kinds[of].insert(describe::packet(packet, bases).kind);
            }
            bases.pass(&packet.entry);
        }
    }
    kinds
}

#[test]
fn every_kind_of_message_is_in_a_recording() {
    let document = fs::read_to_string(folder().join("../../docs/wire-format.md")).unwrap();
    let [requests, messages] = kinds();
    let all: BTreeSet<&str> = requests.union(&messages).map(String::as_str).collect();
    let listed = transcript::kinds_of_messages(&document);
    assert!(listed.len() > 25, "{listed:?}");
    for kind in listed {
        assert!(all.contains(kind.as_str()), "{kind}: {all:?}");
    }
}

#[test]
fn a_handler_that_is_written_otherwise_makes_a_replay_diverge() {
    let recordings: Vec<_> = names()
        .iter()
        .map(|name| (name.clone(), recording(name)))
        .collect();
    let [requests, _] = kinds();
    for kind in requests {
        let differences = recordings.iter().filter_map(|(name, recording)| {
            let kind = kind.clone();
            let mistake = move || -> Option<played::Mistake> {
                Some(Box::new(move |message, base| {
                    mistakes::altered(&kind, message, base)
                }))
            };
            let difference = played::play_aside(recording, mistake).err()?;
            Some((name, difference))
        });
        let differences: Vec<_> = differences.collect();
        let Some((name, difference)) = differences.first() else {
            panic!("no replay sees a mistake in what answers {kind}");
        };
        println!("{kind}: {name}: {difference}\n");
        let recording = &recordings
            .iter()
            .find(|(other, _)| other == *name)
            .unwrap()
            .1;
        let packet = &recording.packets[difference.packet as usize];
        assert!(matches!(
            packet.entry,
            Entry::Message(_) | Entry::Input(_) | Entry::Request(_)
        ));
    }
}

/// The first difference of the core with a mistake in what answers `WriteRegister`, or with none.
fn first_difference(
    recording: &Recording,
    is_mistaken: bool,
) -> Result<Option<Found<How>>, Infallible> {
    let mistake = move || {
        is_mistaken.then(|| -> played::Mistake {
            Box::new(|message, base| mistakes::altered("WriteRegister", message, base))
        })
    };
    let found = played::play_aside(recording, mistake).err();
    Ok(found.map(|it| Found {
        packet: it.packet,
        how: it.how,
    }))
}

/// What is typed in a recording.
fn typed(recording: &Recording) -> Vec<&str> {
    let commands = recording.packets.iter();
    let commands = commands.filter_map(|packet| match &packet.entry {
        Entry::Command(line) => Some(line.as_str()),
        _ => None,
    });
    commands.collect()
}

#[test]
fn a_recording_is_cut_to_the_commands_that_a_difference_needs() {
    let recording = recording("halt");
    let Ok(trimmed) = trim::trim(&recording, |it| first_difference(it, true));
    let (trimmed, difference) = trimmed.unwrap();
    assert_eq!(typed(&trimmed), ["pause", "r rbx=5", "r rbx"]);
    // It is a recording, shows the same, and without the mistake nothing.
    assert_eq!(Recording::read(&trimmed.to_bytes()).as_ref(), Ok(&trimmed));
    let Ok(again) = first_difference(&trimmed, true);
    assert_eq!(again.unwrap().how, difference.how);
    let Ok(again) = trim::trim(&trimmed, |it| first_difference(it, false));
    assert_eq!(again, None);
}

/// The host program cuts it with the core as a program, whose recording says something else here.
#[test]
fn the_host_program_cuts_a_recording_by_a_program_that_plays_it() {
    let mut recording = recording("halt");
    let command = recording
        .packets
        .iter()
        .position(|packet| matches!(&packet.entry, Entry::Command(line) if line == "r rbx"));
    let of = recording.packets[command.unwrap()..].iter_mut();
    let reply = of.filter_map(|packet| match &mut packet.entry {
        Entry::Message(message) => Some(message),
        _ => None,
    });
    *reply.into_iter().next().unwrap().last_mut().unwrap() ^= 1;
    let place = tempfile::tempdir().unwrap();
    let [whole, cut] = ["whole", "cut"].map(|name| place.path().join(name));
    recording.save(&whole).unwrap();
    let trim = |file: &Path, new: &Path| {
        let mut command = Command::new(host_program());
        command.arg("trim").args([file, new]);
        command.args(["--core", env!("CARGO_BIN_EXE_standstill-core")]);
        command.output().unwrap()
    };
    let output = trim(&whole, &cut);
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{output:?}");
    assert!(
        said.contains("(in the command `r rbx`): expected Registers"),
        "{said}"
    );
    let trimmed = Recording::open(&cut).unwrap();
    assert_eq!(typed(&trimmed), ["pause", "r rbx=5", "r rbx"]);
    // Nothing is left of the tries, and nothing is cut where nothing differs.
    assert_eq!(fs::read_dir(place.path()).unwrap().count(), 2);
    let good = folder().join("halt.pcapng");
    let output = trim(&good, &place.path().join("other"));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(
        !output.status.success() && said.contains("nothing differs from it"),
        "{said}"
    );
}

/// The replies are computed: where the recording says something else, the core does not.
#[test]
fn what_a_recording_says_otherwise_is_a_difference_there() {
    let recordings: Vec<_> = names()
        .iter()
        .map(|name| (name.clone(), recording(name)))
        .collect();
    let [_, kinds] = kinds();
    for kind in kinds {
        let found = recordings.iter().find_map(|(name, recording)| {
            let mut bases = Bases::default();
            let packet = recording.packets.iter().position(|packet| {
                let is_it = matches!(packet.entry, Entry::Message(_))
                    && describe::packet(packet, bases).kind == kind;
                bases.pass(&packet.entry);
                is_it
            })?;
            Some((name, recording.clone(), packet))
        });
        let (name, mut recording, at) = found.unwrap();
        let Entry::Message(message) = &mut recording.packets[at].entry else {
            panic!("{kind} is a message");
        };
        *message.last_mut().unwrap() ^= 1;
        let difference = played::play_aside(&recording, || None).unwrap_err();
        assert_eq!(
            difference.packet as usize, at,
            "{kind} in {name}: {difference}"
        );
    }
}

/// What the core says follows from what it takes in.
#[test]
fn another_page_or_exit_makes_a_replay_diverge() {
    let first_difference = |alter: &mut dyn FnMut(&mut Input) -> bool| {
        let mut recording = recording("events");
        let mut inputs =
            recording
                .packets
                .iter_mut()
                .filter_map(|packet| match &mut packet.entry {
                    Entry::Input(input) => Some(input),
                    _ => None,
                });
        assert!(inputs.any(alter), "no such input");
        played::play_aside(&recording, || None).unwrap_err()
    };
    // The code where the guest stands at the first halt.
    let page = first_difference(&mut |input| match input {
        Input::Page {
            at: 0x400_3000,
            bytes,
        } => {
            bytes[0] ^= 1;
            true
        }
        _ => false,
    });
    assert!(
        page.to_string().contains(": expected Stopped halt="),
        "{page}"
    );
    // RAX, which a script prints.
    let exit = first_difference(&mut |input| match input {
        Input::Exit { changes, .. } => changes
            .iter_mut()
            .filter(|change| (change.kind, change.number) == (1, 0))
            .map(|change| change.value += 1)
            .next()
            .is_some(),
        _ => false,
    });
    assert!(
        exit.to_string().contains("seen Messages core=")
            || exit.to_string().contains("expected Messages core="),
        "{exit}"
    );
}

#[test]
fn a_page_that_a_recording_lacks_is_named() {
    let mut recording = recording("halt");
    let page = |packet: &Packet| {
        matches!(
            packet.entry,
            Entry::Input(Input::Page { at: 0x410_0000, .. })
        )
    };
    let at = recording.packets.iter().position(page).unwrap();
    recording.packets.remove(at);
    let difference = played::play_aside(&recording, || None).unwrap_err();
    assert!(
        difference
            .to_string()
            .ends_with(": page 4100000 is looked at, which was not then"),
        "{difference}"
    );
}
