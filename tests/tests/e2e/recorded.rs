//! Scenarios recorded with what the driver's core took in: the core runs beside the machine, says what the driver says,
//! and says it again without the machine.
//!
//! With `STANDSTILL_RECORD` set the recordings go to `tests/replay/lab`, where `replay` plays them.

#[path = "../replay/transcript.rs"]
#[allow(dead_code, reason = "what only replays need")]
pub(crate) mod transcript;

use anyhow::{Context, Result, bail};
use debugger_host::recording::Recording;
use debugger_host::recording::input::Change;
use debugger_host::symbol;
use flate2::Compression;
use flate2::write::GzEncoder;
use standstill_tests::core::beside::{self, FACTS_BYTES, Ran, facts_at};
use standstill_tests::core::recording::{with_inputs, without_repeats};
use standstill_tests::core::{STACK_BYTES, played};
use std::collections::BTreeMap;
use std::io::{self, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use transcript::Transcript;
use vm_lab::exits::{Exit, Exits};
use vm_lab::host::{self, Host, Reply};
use vm_lab::machine::{Machine, Options};
use vm_lab::memory::Live;
use vm_lab::script;

/// Longest wait for one command of the host program.
const COMMAND_TIMEOUT: Duration = Duration::from_secs(240);
/// Of the guest: each exit that it takes waits for the core.
const GUEST_TIMEOUT: Duration = Duration::from_secs(900);
/// Programs of another run have their stacks where those of this one have them.
pub(crate) const FIXED_ADDRESSES: &str = "echo 0 > /proc/sys/kernel/randomize_va_space";
const LOOK: Duration = Duration::from_millis(1);
const PAGE_BYTES: usize = 4096;

/// Exits of an emulated machine.
struct Emulated(Exits);

fn changes(exit: Exit) -> (u16, Vec<Change>) {
    let values = exit.values.into_iter();
    let change = |(kind, number, value)| Change {
        kind,
        number,
        value,
    };
    (exit.core, values.map(change).collect())
}

impl beside::Machine for Emulated {
    fn next(&mut self, patience: Duration) -> io::Result<Option<(u16, Vec<Change>)>> {
        let exit = self.0.next(patience).map_err(io::Error::other)?;
        Ok(exit.map(changes))
    }

    fn go_on(&mut self) -> io::Result<()> {
        self.0.go_on().map_err(io::Error::other)
    }
}

/// The exits to come, and what each core had at its last one.
type Passed = (Exits, BTreeMap<u16, Vec<Change>>);

/// Lets every exit pass, as long as nobody wants to know more.
struct Passing {
    ends: Arc<AtomicBool>,
    thread: JoinHandle<Result<Passed>>,
}

impl Passing {
    fn start(mut exits: Exits) -> Self {
        let ends = Arc::new(AtomicBool::new(false));
        let has_ended = Arc::clone(&ends);
        let thread = std::thread::spawn(move || {
            let mut last = BTreeMap::new();
            while !has_ended.load(Ordering::SeqCst) {
                if let Some(exit) = exits.next(LOOK)? {
                    let (core, values) = changes(exit);
                    last.insert(core, values);
                    exits.go_on()?;
                }
            }
            Ok((exits, last))
        });
        Self { ends, thread }
    }

    /// The exits from now on, and the last ones.
    fn end(self) -> Result<Passed> {
        self.ends.store(true, Ordering::SeqCst);
        match self.thread.join() {
            Ok(result) => result,
            Err(_) => bail!("nobody lets exits pass"),
        }
    }
}

/// What the platform told the driver, somewhere in the machine's memory.
fn facts(memory: &Live, options: &Options) -> Result<Vec<u8>> {
    let end = u64::from(options.memory_mib) << 20;
    let mut bytes = [0; PAGE_BYTES];
    for page in (0..end).step_by(PAGE_BYTES) {
        memory.read(page, &mut bytes)?;
        for at in (0..PAGE_BYTES).step_by(8) {
            let word = bytes[at..]
                .first_chunk()
                .map(|word| u64::from_le_bytes(*word));
            if word != Some(FACTS_BYTES as u64) {
                continue;
            }
            let mut whole = vec![0; FACTS_BYTES];
            for (offset, part) in (0..)
                .step_by(PAGE_BYTES / 8)
                .zip(whole.chunks_mut(PAGE_BYTES / 8))
            {
                memory.read(page + at as u64 + offset, part)?;
            }
            if facts_at(&whole).is_some() {
                return Ok(whole);
            }
        }
    }
    bail!("the machine's memory has no facts")
}

/// Both ends of a scenario, with what is typed noted.
struct Ends<'m> {
    machine: &'m mut Machine,
    host: &'m mut Host,
    unplugs: Sender<()>,
    typed: Vec<String>,
}

impl script::Ends for Ends<'_> {
    fn host(&mut self, command: &str) -> Result<Reply> {
        self.typed.push(command.to_owned());
        self.host.command_within(command, COMMAND_TIMEOUT)
    }
    fn guest(&mut self, command: &str) -> Result<String> {
        let answer = self.machine.try_guest(command, GUEST_TIMEOUT)?;
        Ok(answer.output)
    }
    fn guest_background(&mut self, command: &str) -> Result<()> {
        self.machine.guest_background(command)
    }
    fn unplug(&mut self, time: Duration) {
        // Whoever waits for it is gone, and says why.
        let _ = self.unplugs.send(());
        std::thread::sleep(time);
    }
}

/// A scenario that was run on a machine with the core beside it.
struct Recorded {
    recording: Recording,
    typed: Vec<String>,
    /// The symbols that the host knew.
    symbols: String,
    ran: Ran,
}

fn record(scenario: &Scenario) -> Result<Recorded> {
    let place = tempfile::tempdir()?;
    let exits = place.path().join("exits");
    let options = Options {
        exits: Some(exits.clone()),
        ..scenario.options()
    };
    let passing = Passing::start(Exits::listen(&exits)?);
    let mut machine = Machine::boot(&options)?;
    machine.guest(FIXED_ADDRESSES)?;
    let memory = machine.live_memory()?;
    let facts = facts(&memory, &options)?;
    let (exits, last) = passing.end()?;
    let socket = place.path().join("line");
    let (unplugs, unplugged) = channel();
    let parts = beside::Parts {
        machine: Emulated(exits),
        memory: Box::new(move |at, out| {
            // A machine that is gone shows at its next exit.
            let _ = memory.read(at, out);
        }),
        facts,
        last: last.into_values().collect(),
        listener: UnixListener::bind(&socket)?,
        unplugs: unplugged,
        line: UnixStream::connect(machine.socket_path())?,
    };
    let thread = std::thread::Builder::new().stack_size(STACK_BYTES);
    let beside = thread.spawn(move || beside::run(parts))?;
    let file_recorded = place.path().join("recording");
    let mut command = Command::new(Machine::host_program()?);
    let map = place.path().join(SYMBOLS_FILE);
    let symbols = symbols(machine.kernel_image())?;
    std::fs::write(&map, &symbols)?;
    command.args(host::arguments(host::to_socket(&socket), &map));
    command.arg("--batch").arg("--record").arg(&file_recorded);
    command.env("XDG_STATE_HOME", place.path());
    let mut host = Host::run(&mut command)?;
    let script = scenario.script()?;
    let mut ends = Ends {
        machine: &mut machine,
        host: &mut host,
        unplugs,
        typed: Vec::new(),
    };
    let mut session = Vec::new();
    let result = script::run(&script, &mut ends, false, &mut session);
    let typed = ends.typed;
    let session = String::from_utf8_lossy(&session).into_owned();
    let finished = host.finish();
    let ran = match beside.join() {
        Ok(ran) => ran.with_context(|| session.clone())?,
        Err(_) => bail!("the core panicked"),
    };
    finished?;
    if result.context("the scenario")? != 0 {
        bail!("{session}");
    }
    let recording = without_repeats(&Recording::open(&file_recorded)?);
    Ok(Recorded {
        recording: with_inputs(&recording, &ran.notes),
        typed,
        symbols,
        ran,
    })
}

/// Symbols that scenarios name, and what the kernel's own ends need. The whole table would be larger than all recordings.
const SYMBOLS: [&str; 17] = [
    "_text",
    "_stext",
    "_etext",
    "_end",
    "__kmalloc",
    "do_readlinkat",
    "do_sys_openat2",
    "init_uts_ns",
    "jiffies",
    "jiffies_64",
    "mwait_idle",
    "panic",
    "panic_timeout",
    "user_path_at_empty",
    "vfs_read",
    "__x64_sys_getsid",
    "__x64_sys_umask",
];
const SYMBOLS_FILE: &str = "System.map";

/// A list of these symbols of a kernel.
fn symbols(image: &Path) -> Result<String> {
    let kernel = symbol::load(image)?;
    let symbols = kernel.table.iter();
    let named = symbols.filter(|symbol| SYMBOLS.contains(&symbol.name.as_str()));
    let line = |symbol: &symbol::table::Symbol| {
        let (kind, name) = (char::from(symbol.kind), &symbol.name);
        format!("{:016x} {kind} {name}\n", symbol.address)
    };
    Ok(named.map(line).collect())
}

/// A command without the folders of this computer.
fn anywhere(command: &str) -> String {
    let scenarios = Path::new(env!("CARGO_MANIFEST_DIR")).join("scenarios");
    let mut command = command.replace(&scenarios.display().to_string(), ".");
    let temporary = std::env::temp_dir().join("standstill-");
    while let Some(at) = command.find(&temporary.display().to_string()) {
        let end = command[at..].match_indices('/').nth(2);
        let end = end.map_or(command.len(), |(slash, _)| at + slash);
        command.replace_range(at..end, ".");
    }
    command
}

/// What the host program prints that plays the recording.
fn transcript(recording: &Path, symbols: &Path, typed: &[String]) -> Result<Transcript> {
    let place = tempfile::tempdir()?;
    std::fs::copy(symbols, place.path().join(SYMBOLS_FILE))?;
    for file in std::fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("scenarios"))? {
        let file = file?;
        std::fs::copy(file.path(), place.path().join(file.file_name()))?;
    }
    let mut command = Command::new(Machine::host_program()?);
    command.arg("replay").arg(recording).arg("--batch");
    command.args(["--symbols", SYMBOLS_FILE]);
    let mut host = Host::run(command.current_dir(place.path()).stderr(Stdio::null()))?;
    let commands = typed.iter().map(|command| anywhere(command));
    let transcript = Transcript::of(commands);
    let printed = transcript.map(
        |command| match host.command_within(command, COMMAND_TIMEOUT) {
            Ok(reply) => reply,
            Err(error) => panic!("{command}: {error:#}"),
        },
        |_| {},
        |_| {},
    );
    Ok(printed)
}

/// What each core printed, in its own order: which core is asked first depends on time.
fn by_core(mut printed: Vec<String>) -> Vec<String> {
    printed.sort_by(|one, other| one.split(' ').next().cmp(&other.split(' ').next()));
    printed
}

/// Records a scenario, plays it, and keeps it if that is wanted.
fn record_and_play(scenario: &Scenario) -> Result<()> {
    let name = scenario.name;
    let began = Instant::now();
    let Recorded {
        recording,
        typed,
        symbols,
        ran,
    } = record(scenario)?;
    let bytes = recording.to_bytes();
    let [core, driver] = ran.printed.map(by_core);
    println!(
        "{name}: the core was given {} exits and said what the driver says, {} messages and {} printed; {} KiB in {} s",
        ran.exits,
        ran.compared,
        core.len(),
        bytes.len() >> 10,
        began.elapsed().as_secs(),
    );
    assert_eq!(core, driver, "{name}: what scripts printed");
    let place = tempfile::tempdir()?;
    let file = place.path().join("recording");
    let map = place.path().join(SYMBOLS_FILE);
    std::fs::write(&file, &bytes)?;
    std::fs::write(&map, &symbols)?;
    let printed = transcript(&file, &map, &typed)?;
    if std::env::var_os("STANDSTILL_RECORD").is_some() {
        let folder = folder();
        std::fs::create_dir_all(&folder)?;
        let packed = std::fs::File::create(folder.join(format!("{name}.pcapng.gz")))?;
        let mut packed = GzEncoder::new(packed, Compression::best());
        packed.write_all(&bytes)?;
        packed.finish()?;
        std::fs::write(folder.join(format!("{name}.txt")), printed.write())?;
        std::fs::write(folder.join(SYMBOLS_FILE), &symbols)?;
    }
    match played::play_aside(&recording, || None) {
        Ok(_) => Ok(()),
        Err(why) => bail!("{name}: {why}"),
    }
}

/// Where the recordings are.
pub(crate) fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("replay/lab")
}

/// A scenario, and its machine.
pub(crate) struct Scenario {
    /// Name of the recording.
    pub(crate) name: &'static str,
    file: &'static str,
    cpus: u32,
    /// Parameters of the driver.
    params: &'static [(&'static str, &'static str)],
    /// It halts, and goes on with this line: what is before needs what no such core can do.
    from: Option<&'static str>,
}

impl Scenario {
    const fn of(name: &'static str, file: &'static str) -> Self {
        Self {
            name,
            file,
            cpus: 2,
            params: &[],
            from: None,
        }
    }

    pub(crate) fn options(&self) -> Options {
        let params = self.params.iter();
        Options {
            cpus: self.cpus,
            params: params
                .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
                .collect(),
            ..Options::default()
        }
    }

    pub(crate) fn script(&self) -> Result<script::Script> {
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join(self.file);
        let Some(from) = self.from else {
            return script::read(&file);
        };
        let text = std::fs::read_to_string(&file)?;
        let begin = text.find(from).context("the scenario has changed")?;
        let folder = tempfile::tempdir()?;
        let part = folder.path().join("part.ds");
        std::fs::write(&part, format!("pause\n{}", &text[begin..]))?;
        script::read(&part)
    }
}

/// All that are recorded.
pub(crate) const SCENARIOS: [Scenario; 10] = [
    Scenario::of("first-steps", "tests/scripts/first-steps.txt"),
    Scenario::of("refusals", "scenarios/refusals.ds"),
    Scenario::of("05-instant-events", "scenarios/05-instant-events.ds"),
    Scenario::of("06-conditional-stop", "scenarios/06-conditional-stop.ds"),
    Scenario::of("07-who-writes", "scenarios/07-who-writes.ds"),
    Scenario::of("08-system-calls", "scenarios/08-system-calls.ds"),
    Scenario {
        cpus: 4,
        ..Scenario::of("09-count", "scenarios/09-count.ds")
    },
    Scenario::of("11-instructions", "scenarios/11-instructions.ds"),
    Scenario {
        params: &[("arena_bytes", "6291456"), ("replenish_ms", "0")],
        ..Scenario::of("12-pools", "scenarios/12-pools.ds")
    },
    Scenario {
        from: Some("# A core without page tables"),
        ..Scenario::of("13-a-core-dies", "scenarios/13-what-changes-underneath.ds")
    },
];

/// Those that a variable names, each by its name or all of them.
pub(crate) fn wanted(variable: &str, otherwise: &str) -> Vec<&'static Scenario> {
    let words = std::env::var(variable).unwrap_or_else(|_| otherwise.to_owned());
    let scenarios = SCENARIOS.iter();
    let is_wanted = |scenario: &&Scenario| {
        words
            .split(' ')
            .any(|it| it == scenario.name || it == "all")
    };
    scenarios.filter(is_wanted).collect()
}

/// All of them, or those that `STANDSTILL_BESIDE` names.
#[test]
#[ignore = "it takes minutes; `cargo lab soak beside` runs it"]
fn core_beside_the_machine_says_what_the_driver_says() {
    for scenario in wanted("STANDSTILL_BESIDE", "all") {
        if let Err(error) = record_and_play(scenario) {
            panic!("{}: {error:?}", scenario.name);
        }
    }
}
