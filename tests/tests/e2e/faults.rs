//! Every fault of a line, over every kind of line: what the user reads, and how the session goes on. Damage is done by one
//! relay, whatever kind of line leads to it, from a seed.
//!
//! Every run tries each fault once, on one kind of line or another; `cargo lab soak faults` tries all on all, with the
//! seed in `STANDSTILL_FAULTS_SEED`.

use crate::churn::setting;
use crate::hosts::{AtLine, said_until};
use crate::lab::Lab;
use crate::windows::join;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use vm_lab::faults::Faults;
use vm_lab::host::{self, Host};
use vm_lab::machine::Options;
use vm_lab::relay::Relay;
use vm_lab::windows::{self, Wine};

/// Wants every cell.
const ALL: &str = "STANDSTILL_FAULTS";

/// Kinds of line: the words of `connect` for each.
const LINES: [&str; 3] = ["--socket", "--tcp", "--serial"];
/// Those that only the program for Windows has.
const PIPES: [&str; 2] = ["--pipe", "--pipe-server"];
const PIPE: &str = r"\\.\pipe\standstill-faults";
/// Between two looks at the program that joins a pipe with the machine's line.
const SLICE: Duration = Duration::from_millis(20);

#[derive(Clone, Copy)]
enum Fault {
    Damage(&'static str, Faults),
    Cut,
    HungUp,
    Paused,
    Killed,
    SwitchedOff,
    SecondHost,
}

const NONE: Faults = Faults {
    seed: 0,
    flip: 0.0,
    drop: 0.0,
    insert: 0.0,
    duplicate: 0.0,
    hole: 0.0,
    reorder: 0.0,
    delay: Duration::ZERO,
};

const FAULTS: [Fault; 12] = [
    Fault::Damage(
        "corrupt",
        Faults {
            flip: 0.003,
            ..NONE
        },
    ),
    Fault::Damage(
        "drop",
        Faults {
            drop: 0.003,
            ..NONE
        },
    ),
    Fault::Damage(
        "insert",
        Faults {
            insert: 0.003,
            ..NONE
        },
    ),
    Fault::Damage(
        "duplicate",
        Faults {
            duplicate: 0.003,
            ..NONE
        },
    ),
    Fault::Damage(
        "reorder",
        Faults {
            reorder: 0.02,
            ..NONE
        },
    ),
    Fault::Damage(
        "delay",
        Faults {
            delay: Duration::from_millis(400),
            ..NONE
        },
    ),
    Fault::Cut,
    Fault::HungUp,
    Fault::Paused,
    Fault::Killed,
    Fault::SwitchedOff,
    Fault::SecondHost,
];

impl Fault {
    const fn name(self) -> &'static str {
        match self {
            Self::Damage(name, _) => name,
            Self::Cut => "cut and resume",
            Self::HungUp => "hang up",
            Self::Paused => "machine paused",
            Self::Killed => "host killed",
            Self::SwitchedOff => "debuggee reset",
            Self::SecondHost => "second host",
        }
    }
}

/// The host programs of both systems. The one for Windows is there when all is tried.
struct Programs {
    own: AtLine,
    windows: Option<(Arc<Wine>, PathBuf)>,
}

impl Programs {
    fn of(lab: &Lab, all: bool) -> Self {
        let windows = all.then(|| {
            let programs = windows::build(&host::own_profile()).unwrap();
            (Arc::new(Wine::start(&[]).unwrap()), programs)
        });
        Self {
            own: AtLine::of(lab),
            windows,
        }
    }

    /// The one that has such a line, about to connect.
    fn command(&self, (kind, place): (&str, &str)) -> Command {
        let mut command = match &self.windows {
            Some((wine, programs)) if PIPES.contains(&kind) => {
                wine.command(&programs.join("standstill.exe"))
            }
            _ => Command::new(&self.own.program),
        };
        command.args(["connect", kind, place, "--batch", "--symbols"]);
        command.arg(&self.own.kernel);
        command.env(
            "XDG_STATE_HOME",
            std::env::temp_dir().join("standstill-faults"),
        );
        command
    }
}

/// A host program on a line, and what it printed that no command asked for.
struct User<'l> {
    host: Option<Host>,
    programs: &'l Programs,
    line: (&'static str, &'l str),
    read: Vec<String>,
}

impl<'l> User<'l> {
    fn connect(programs: &'l Programs, line: (&'static str, &'l str)) -> Self {
        Self {
            host: Some(Self::start(programs, line).unwrap()),
            programs,
            line,
            read: Vec::new(),
        }
    }

    fn start(programs: &Programs, line: (&str, &str)) -> Result<Host, String> {
        Host::run(&mut programs.command(line)).map_err(|error| format!("{error:#}"))
    }

    /// What somebody else reads who wants the debuggee, too: of the host that has it, or of the line where two cannot share it.
    fn second_host(&self) -> String {
        let words = match self.line.0 {
            "--serial" | "--pipe" => "another program has it open",
            "--pipe-server" => "another program serves it",
            _ => {
                let told = Self::start(self.programs, self.line).map(drop).unwrap_err();
                let line = told.lines().last().unwrap_or_default();
                assert!(
                    line.contains("another host program has the debuggee"),
                    "{told}"
                );
                return line.to_owned();
            }
        };
        said_until(&mut self.programs.command(self.line), words)
    }

    /// Lines of the session itself are kept apart from the command's.
    fn try_run(&mut self, command: &str) -> Result<String, String> {
        let reply = self.host.as_mut().unwrap().command(command).unwrap();
        let is_told = |line: &&str| {
            ["the line ", "the debuggee ", "the driver ", "another host "]
                .iter()
                .any(|start| line.starts_with(start))
        };
        let (told, answer): (Vec<&str>, Vec<&str>) = reply.output.lines().partition(is_told);
        self.read.extend(told.into_iter().map(str::to_owned));
        let answer = answer.join("\n");
        if reply.ok { Ok(answer) } else { Err(answer) }
    }

    #[track_caller]
    fn run(&mut self, command: &str) -> String {
        let tried = self.try_run(command);
        tried.unwrap_or_else(|said| panic!("{command}: {said}\n{:?}", self.read))
    }

    /// What a halted debuggee answers, whoever asks.
    #[track_caller]
    fn answers(&mut self) -> Vec<String> {
        ["r", "dq vmlinux!_text l 800", "!va2pa @rip", "~"]
            .map(|command| self.run(command))
            .to_vec()
    }
}

/// One cell; what was read.
#[track_caller]
fn cell(lab: &mut Lab, user: &mut User<'_>, fault: Fault, seed: u64) -> Vec<String> {
    user.run("pause");
    let before = user.answers();
    match fault {
        Fault::Damage(_, faults) => lab.machine.set_faults(Some(Faults { seed, ..faults })),
        Fault::Cut => lab.machine.cut_line(Duration::from_millis(1500)),
        Fault::HungUp => {
            std::thread::sleep(Duration::from_millis(1100));
            lab.machine.hang_up();
        }
        Fault::Paused => lab.machine.pause(Duration::from_millis(1500)).unwrap(),
        Fault::Killed => {
            let mut host = user.host.take().unwrap();
            let later = Duration::from_millis(seed % 20);
            // That it does not answer in time is what is wanted.
            let _ = host.command_within("dq vmlinux!_text l 4000", later);
            drop(host);
            user.host = Some(User::start(user.programs, user.line).unwrap());
        }
        Fault::SecondHost => {
            let told = user.second_host();
            user.read.push(told);
        }
        Fault::SwitchedOff => {
            lab.machine.power_cycle().unwrap();
            lab.load_driver(&[]);
            // Where the driver's greeting got lost with the machine, the next command that asks it anything finds out.
            if let Err(said) = user.try_run("pools") {
                user.read.extend(said.lines().map(str::to_owned));
            }
            for _ in 0..200 {
                user.run("sleep 0n50");
                if user.read.iter().any(|line| line.contains("there again")) {
                    break;
                }
            }
            user.run("pause");
            assert_eq!(user.run("events"), "no events");
            user.run("g");
            return std::mem::take(&mut user.read);
        }
    }
    // What is done is done once, and nothing is lost.
    let event = user.run("!cpuid 7");
    assert_eq!(user.run("events").lines().count(), 1, "{event}");
    user.run("events c all");
    assert_eq!(user.answers(), before, "{}", fault.name());
    lab.machine.set_faults(None);
    user.run("g");
    assert!(lab.guest("echo alive").contains("alive"));
    std::mem::take(&mut user.read)
}

/// Joins a pipe with the machine's line, again and again, as a hypervisor does.
struct Joined {
    ends: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Joined {
    fn start((wine, programs): (Arc<Wine>, PathBuf), role: &'static str, line: String) -> Self {
        let ends = Arc::<AtomicBool>::default();
        let has_ended = Arc::clone(&ends);
        let thread = std::thread::spawn(move || {
            while !has_ended.load(Ordering::Relaxed) {
                let mut join = join(&wine, &programs, role, PIPE, &line);
                while !has_ended.load(Ordering::Relaxed) && join.try_wait().unwrap().is_none() {
                    std::thread::sleep(SLICE);
                }
                // It has ended, or is not wanted any more.
                let _ = join.kill();
                join.wait().unwrap();
            }
        });
        Self {
            ends,
            thread: Some(thread),
        }
    }
}

impl Drop for Joined {
    fn drop(&mut self) {
        self.ends.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// A line of some kind; dropping it ends what leads to the machine.
struct Way {
    place: String,
    _joined: Option<Joined>,
    _relay: Option<Relay>,
}

impl Way {
    fn to(socket: &Path, line: &str, fault: Fault, programs: &Programs) -> Self {
        let mut joined = None;
        let shares = matches!(fault, Fault::SecondHost);
        let (relay, place) = match line {
            "--socket" if shares => {
                let path = socket.with_file_name("shared");
                let _ = std::fs::remove_file(&path);
                let relay = Relay::shared(socket, &path).unwrap();
                (Some(relay), path.display().to_string())
            }
            "--socket" => (None, socket.display().to_string()),
            "--serial" => {
                let (relay, device, _) = Relay::terminal(socket).unwrap();
                (Some(relay), device.display().to_string())
            }
            "--tcp" if shares => {
                let (relay, address) = Relay::shared_tcp(socket).unwrap();
                (Some(relay), address.to_string())
            }
            "--tcp" => {
                let (relay, address) = Relay::tcp(socket).unwrap();
                (Some(relay), address.to_string())
            }
            pipe => {
                let (relay, address) = Relay::tcp(socket).unwrap();
                let windows = programs.windows.clone().unwrap();
                let role = match pipe {
                    "--pipe" => "serve",
                    _ => "open",
                };
                joined = Some(Joined::start(windows, role, address.to_string()));
                (Some(relay), PIPE.to_owned())
            }
        };
        Self {
            place,
            _joined: joined,
            _relay: relay,
        }
    }
}

#[test]
fn faults_of_lines_and_what_is_read_of_them() {
    let all = std::env::var_os(ALL).is_some();
    let seed = setting("STANDSTILL_FAULTS_SEED", 7);
    let mut lab = Lab::with(&Options::default());
    lab.kill_host();
    let programs = Programs::of(&lab, all);
    let socket = lab.machine.socket_path().to_owned();
    println!("seed {seed}");
    println!("{:<16}{:<13}{:>6}  what is read", "fault", "line", "s");
    for (number, fault) in FAULTS.into_iter().enumerate() {
        let lines: Vec<&str> = match all {
            true => LINES.into_iter().chain(PIPES).collect(),
            false => vec![LINES[number % LINES.len()]],
        };
        for line in lines {
            // The machine's line is one relay's at a time.
            let way = Way::to(&socket, line, fault, &programs);
            let started = Instant::now();
            let mut user = User::connect(&programs, (line, &way.place));
            let read = cell(&mut lab, &mut user, fault, seed);
            let read = match read.is_empty() {
                true => "nothing; all is as before".to_owned(),
                false => read.join(" / "),
            };
            let took = started.elapsed().as_secs_f32();
            println!("{:<16}{:<13}{took:>6.1}  {read}", fault.name(), &line[2..]);
            user.host.take().unwrap().finish().unwrap();
        }
    }
}
