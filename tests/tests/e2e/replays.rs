//! A recording plays the host to a real debuggee, which answers as the recorded one did.

use crate::lab::Lab;
use crate::recorded::transcript::Transcript;
use crate::recorded::{self, FIXED_ADDRESSES, Scenario};
use anyhow::{Context, Result, bail, ensure};
use debugger_host::recording::{Entry, Recording};
use flate2::read::GzDecoder;
use std::collections::VecDeque;
use std::fs::File;
use std::io::{BufRead, BufReader, Read, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Output, Stdio};
use std::time::Duration;
use vm_lab::host::Reply;
use vm_lab::machine::{Machine, Options};
use vm_lab::script;

/// Which command differs, and how, once there is an event that was not there then.
const DIFFERENCE: &str =
    "(in the command `!epthook vmlinux!__x64_sys_getsid`) in its results ([0] then, [";

/// A short session with something of every kind: questions, changes, refusals, scripts, and halts that were asked for and
/// that the guest brought about.
const COMMANDS: [&str; 34] = [
    "pause",
    "~",
    "r",
    "r all",
    "u @rip l 4",
    "dq vmlinux!_text l 40",
    "db 0 l 10",
    "!va2pa vmlinux!_text",
    "!digest 100000 l 100000",
    "lm",
    "!epthook vmlinux!__x64_sys_getsid",
    "!epthook vmlinux!__x64_sys_getsid+1",
    "!cpuid 7 condition { @rcx == 0 } script { printf(\"%llx\\n\", @rax); }",
    "!monitor w 0 l ffffffffffff",
    "!crwrite 4 pid 1",
    "!lbr",
    "events",
    "pools",
    "prealloc epthook 3",
    "? .count = 5;",
    "? printf(\"%d\\n\", .count / 0);",
    // What is written then is written when it is played, too, whatever the core is about: nothing that it uses.
    "r @dr0 = 0",
    "eb @rsp @@rsp",
    "g",
    ".wait 0n30",
    "r rip",
    "event_sc on",
    "events d 1",
    "events c 0",
    "events e 1",
    "events",
    "events c all",
    "g",
    "flush",
];

fn play(lab: &Lab, file: &Path) -> Output {
    let mut command = Command::new(Machine::host_program().unwrap());
    command.args(["replay", "--as-host", "--socket"]);
    command.arg(lab.machine.socket_path()).arg(file);
    command.output().unwrap()
}

#[test]
fn a_recording_plays_the_host_to_a_driver_that_was_loaded_anew() {
    let options = Options {
        load_driver: false,
        ..Options::default()
    };
    let mut lab = Lab::with(&options);
    lab.load_driver(&[]);
    // A guest that calls what is hooked, again and again.
    lab.guest_background("while true; do lab-calls 1 1; usleep 100000; done");
    let file = lab.machine.socket_path().with_file_name("recording");
    lab.use_host(lab.machine.record_host(&file).unwrap());
    for command in COMMANDS {
        eprintln!("{command}: {}", lab.reply(command).output.trim_end());
    }
    lab.run(".debug close");
    lab.kill_host();

    // The driver that was recorded is gone, and with it its halts and events.
    lab.unload_driver();
    lab.load_driver(&[]);
    let output = play(&lab, &file);
    let said = String::from_utf8(output.stdout).unwrap();
    let complaint = String::from_utf8(output.stderr).unwrap();
    eprintln!("{said}{complaint}");
    assert!(output.status.success() && said.contains(ANSWERS));

    // A debuggee that is not as it was then is told from that one.
    lab.connect();
    lab.run("pause");
    lab.run("!epthook vmlinux!panic");
    lab.run("g");
    lab.kill_host();
    let output = play(&lab, &file);
    let complaint = String::from_utf8(output.stderr).unwrap();
    eprintln!("{complaint}");
    assert!(!output.status.success());
    assert!(complaint.contains(DIFFERENCE));
}

/// A few commands, of which the difference needs two.
const FEW: [&str; 7] = [
    "pause",
    "r",
    "u @rip l 4",
    "!epthook vmlinux!__x64_sys_getsid",
    "events",
    "events c all",
    "g",
];

/// Cuts a recording by tries on the machine's line. Before each the driver is loaded anew, with an event in it that was not there
/// then, as long as somebody waits for that.
fn trim(lab: &mut Lab, file: &Path, new: &Path, resets: bool) -> String {
    let asked = new.with_extension("reset");
    let mut command = Command::new(Machine::host_program().unwrap());
    command.arg("trim").args([file, new]).arg("--socket");
    command.arg(lab.machine.socket_path());
    if resets {
        let asked = asked.display();
        let wait = format!("touch {asked}; while [ -e {asked} ]; do sleep 0.1; done");
        command.args(["--reset", &wait]);
    }
    command.stdout(Stdio::piped());
    let mut program = command.spawn().unwrap();
    while program.try_wait().unwrap().is_none() {
        if asked.exists() {
            lab.unload_driver();
            lab.load_driver(&[]);
            spoil(lab);
            std::fs::remove_file(&asked).unwrap();
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    let output = program.wait_with_output().unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    eprintln!("{said}");
    assert!(
        output.status.success() && said.contains(DIFFERENCE),
        "{said}"
    );
    said
}

/// An event that was not there then.
fn spoil(lab: &mut Lab) {
    lab.connect();
    lab.run("pause");
    lab.run("!epthook vmlinux!panic");
    lab.run("g");
    lab.kill_host();
}

/// What is typed in a recording.
fn typed(file: &Path) -> Vec<String> {
    let packets = Recording::open(file).unwrap().packets.into_iter();
    let commands = packets.filter_map(|packet| match packet.entry {
        Entry::Command(line) => Some(line),
        _ => None,
    });
    commands.collect()
}

#[test]
fn a_recording_is_cut_by_tries_on_a_line() {
    let options = Options {
        load_driver: false,
        ..Options::default()
    };
    let mut lab = Lab::with(&options);
    lab.load_driver(&[]);
    let [file, cut, behind] =
        ["few", "cut", "behind"].map(|name| lab.machine.socket_path().with_file_name(name));
    lab.use_host(lab.machine.record_host(&file).unwrap());
    for command in FEW {
        lab.run(command);
    }
    lab.run(".debug close");
    lab.kill_host();
    spoil(&mut lab);

    // With nobody who brings the machine back: only what is behind the difference goes.
    trim(&mut lab, &file, &behind, false);
    assert_eq!(typed(&behind), FEW[..4]);
    // The debuggee is halted in it, and is let go.
    lab.connect();
    lab.run("g");
    lab.kill_host();

    trim(&mut lab, &file, &cut, true);
    assert_eq!(typed(&cut), ["pause", "!epthook vmlinux!__x64_sys_getsid"]);
}

/// Begins what the host program says of each command that it is about to play.
const NEXT: &str = "next: ";
/// The last thing that it says.
const ANSWERS: &str = " answers as it was recorded: ";

/// A scenario whose host is its recording; what the guest does is done again.
struct Ends {
    machine: Machine,
    program: Child,
    input: Option<ChildStdin>,
    output: BufReader<ChildStdout>,
    /// What was typed then, and what came of it.
    then: VecDeque<(String, Reply)>,
}

impl Ends {
    fn start(machine: Machine, file: &Path, then: Transcript) -> Result<Self> {
        let mut command = Command::new(Machine::host_program()?);
        command.args(["replay", "--as-host", "--confirm", "--socket"]);
        command.arg(machine.socket_path()).arg(file);
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut program = command.spawn()?;
        let input = program.stdin.take();
        let output = program.stdout.take().context("it is piped")?;
        Ok(Self {
            machine,
            program,
            input,
            output: BufReader::new(output),
            then: then.replies().into(),
        })
    }

    fn line(&mut self) -> Result<String> {
        let mut line = String::new();
        self.output.read_line(&mut line)?;
        Ok(line)
    }

    /// What the host program says in the end.
    fn finish(mut self) -> Result<String> {
        drop(self.input.take());
        let last = self.line()?;
        let status = self.program.wait()?;
        ensure!(
            status.success() && last.contains(ANSWERS),
            "it ended with {status}: {last}"
        );
        Ok(last.trim_end().to_owned())
    }
}

impl script::Ends for Ends {
    /// The recording goes on with this command, as far as it is the one that was typed then.
    fn host(&mut self, command: &str) -> Result<Reply> {
        let line = self.line()?;
        let Some(typed) = line.strip_prefix(NEXT) else {
            bail!("the replay has ended before `{command}`");
        };
        let name = |command: &str| command.split_whitespace().next().map(str::to_owned);
        ensure!(
            name(typed) == name(command),
            "then came {typed}, and now {command}"
        );
        let input = self.input.as_mut().context("it is piped")?;
        input.write_all(b"\n")?;
        let (_, reply) = self.then.pop_front().context("less was typed then")?;
        Ok(reply)
    }
    fn guest(&mut self, command: &str) -> Result<String> {
        self.machine.guest(command)
    }
    fn guest_background(&mut self, command: &str) -> Result<()> {
        self.machine.guest_background(command)
    }
    /// The recording has none of it.
    fn unplug(&mut self, _: Duration) {}
}

impl Drop for Ends {
    fn drop(&mut self) {
        // It has ended, or is not wanted any more.
        let _ = self.program.kill();
        let _ = self.program.wait();
    }
}

/// What the replay says in the end, and how many steps of the scenario went otherwise: what they are about, as numbers of
/// processes, may be another one than then.
fn plays_as_host(scenario: &Scenario) -> Result<(String, usize)> {
    let folder = recorded::folder();
    let mut bytes = Vec::new();
    let packed = File::open(folder.join(format!("{}.pcapng.gz", scenario.name)))?;
    GzDecoder::new(packed).read_to_end(&mut bytes)?;
    let place = tempfile::tempdir()?;
    let file = place.path().join("recording");
    std::fs::write(&file, bytes)?;
    let then = std::fs::read_to_string(folder.join(format!("{}.txt", scenario.name)))?;
    let then = Transcript::read(&then);
    let mut machine = Machine::boot(&scenario.options())?;
    machine.guest(FIXED_ADDRESSES)?;
    let mut ends = Ends::start(machine, &file, then)?;
    let mut session = Vec::new();
    let others = script::run(&scenario.script()?, &mut ends, true, &mut session);
    let session = String::from_utf8_lossy(&session).into_owned();
    let others = others.with_context(|| session.clone())?;
    if others > 0 {
        let told = session.lines().filter(|line| line.starts_with("***"));
        told.for_each(|line| println!("{}: {line}", scenario.name));
    }
    Ok((ends.finish().context(session)?, others))
}

/// One of them, or those that `STANDSTILL_AS_HOST` names: `cargo lab soak as-host` plays all.
#[test]
fn recorded_scenarios_play_the_host_to_the_machine() {
    let mut failed = Vec::new();
    for scenario in recorded::wanted("STANDSTILL_AS_HOST", "refusals") {
        match plays_as_host(scenario) {
            Ok((said, others)) => println!("{}: {said}; {others} steps differ", scenario.name),
            Err(why) => {
                println!("{}: {why:?}", scenario.name);
                failed.push(scenario.name);
            }
        }
    }
    assert!(failed.is_empty(), "{failed:?}");
}
