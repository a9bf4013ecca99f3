//! The `standstill` program: arguments in, exit code out. And where reading the code begins.
//!
//! | crate | is | begin with |
//! |---|---|---|
//! | [`wire_protocol`] | what both ends say to each other, and the scripts that both can run | [`link`](wire_protocol::link) for the line, [`packet`](wire_protocol::packet) for what is said, [`bytecode`](wire_protocol::bytecode) for scripts |
//! | [`debuggee_driver`](../debuggee_driver/index.html) | the hypervisor core, without an operating system | [`exit`](../debuggee_driver/exit/index.html) for the guest's side, [`halt`](../debuggee_driver/halt/index.html) for the host's, [`event`](../debuggee_driver/event/index.html) for what is installed |
//! | `standstill_linux` | the kernel module around it, built by the lab | `debuggee-driver/platform/linux/src/lib.rs` |
//! | [`debugger_host`] | all of this program but its `main` | [`command`](debugger_host::command) for what is typed, [`session`](debugger_host::session) for the conversation, [`script`](debugger_host::script) for the compiler |
//! | [`vm_lab`](../vm_lab/index.html) | a real kernel on emulated VT-x; `cargo lab` | [`machine`](../vm_lab/machine/index.html), [`suite`](../vm_lab/suite/index.html) |
//!
//! `wire_protocol` and `vm_lab` import none of the others; driver and host import `wire_protocol`, and not each other.
//! `ARCHITECTURE.md` follows a command down, a message and a hit up; `docs/glossary.md` has the words,
//! `docs/contributing.md` the places that an addition touches. Each module says what it is, who calls it, and in which
//! mode.

#[path = "main/doctor.rs"]
mod doctor;
#[path = "main/key.rs"]
mod key;
#[path = "main/papers.rs"]
mod papers;
#[path = "main/show.rs"]
mod show;
#[path = "main/trim.rs"]
mod trim;

use anyhow::{Context, bail};
use clap::{Args, CommandFactory, Parser, Subcommand};
use debugger_host::answer::recording::replayed;
use debugger_host::answer::{Form, News, Report, Response};
use debugger_host::command::{COMMANDS, Debugger, find, run_line, script, system};
use debugger_host::recording::{Recorder, Recording, Start};
use debugger_host::render::{Output, Screen, json, text};
use debugger_host::repl::{batch, interactive};
use debugger_host::script::tool::Tool;
use debugger_host::session::{Session, SessionError};
use debugger_host::symbol::{self, resolve::Symbols};
use debugger_host::timeout::{Interrupts, Timeout, Wait};
use debugger_host::transport::{Endpoint, NetKey, listen_address};
use std::io::IsTerminal;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::atomic::Ordering;
use std::time::Duration;

/// Longest wait for an answer when nobody can press Ctrl+C.
const UNATTENDED_LIMIT: Duration = Duration::from_secs(60);

#[derive(Parser)]
#[command(name = "standstill", version, about = "Two-machine kernel debugger")]
struct Cli {
    /// Without one: a prompt, at which `.debug remote` connects.
    #[command(subcommand)]
    action: Option<Task>,
}

#[derive(Subcommand)]
enum Task {
    /// Connect to a debuggee. Without a line to it: as `standstill` alone.
    Connect(Box<Connect>),
    /// Play a recorded session again: the file is the debuggee, or the host.
    Replay(Box<Replay>),
    /// Look whether this machine's end of a line is as it should be, and say what to change.
    Doctor(Box<doctor::Doctor>),
    /// Cut a recording from which a debuggee differs to the commands that its first difference needs.
    Trim(Box<trim::Trim>),
    /// Keys to debuggees on a network.
    #[command(subcommand)]
    Key(key::KeyTask),
    /// Print what a recording has, a line for each packet.
    Show {
        /// A file that `connect --record` wrote.
        file: PathBuf,
        /// As JSON, a document per line; see docs/recording.md.
        #[arg(long)]
        json: bool,
    },
    /// Print the reference of all commands as Markdown.
    Commands,
    /// Print the JSON Schema of what a session or a command answers in JSON.
    Schema {
        /// A command, as `r`; without one, every document of a session.
        command: Option<String>,
    },
    /// Check or try a script without any debuggee.
    #[command(subcommand)]
    Script(Tool),
    /// Write the manual's pages and completions for shells into a folder, for packages.
    #[command(hide = true)]
    Papers {
        /// The folder.
        folder: PathBuf,
    },
}

#[derive(Args, Default)]
struct Connect {
    #[command(flatten)]
    place: Place,
    /// Halt the debuggee once connected.
    #[arg(long, requires = "Line")]
    break_in: bool,
    /// Take the debuggee from the host program that has it; without this it is left alone.
    #[arg(long, requires = "Line")]
    take_over: bool,
    /// Record every message into this new file, which only its owner can read.
    #[arg(long, value_name = "FILE")]
    record: Option<PathBuf>,
    #[command(flatten)]
    front: Front,
}

#[derive(Args)]
struct Replay {
    /// A file that `connect --record` wrote.
    file: PathBuf,
    /// The file is the host instead: send what it sent then to the debuggee on this line, and tell where that answers
    /// otherwise.
    #[arg(long, requires = "Line", conflicts_with_all = ["break_in", "symbols", "script", "batch", "json"])]
    as_host: bool,
    /// Tell each command that was typed then, and wait for a line of standard input before it is played: the time to do on
    /// the debuggee what was done there then.
    #[arg(long, requires = "as_host")]
    confirm: bool,
    #[command(flatten)]
    place: Place,
    /// Halt the debuggee once connected.
    #[arg(long)]
    break_in: bool,
    #[command(flatten)]
    front: Front,
}

/// What is the same for a debuggee and for a recording of one.
#[derive(Args, Default)]
struct Front {
    /// The debuggee's kernel: vmlinuz, vmlinux, System.map, or a copy of /proc/kallsyms.
    #[arg(long, value_name = "FILE")]
    symbols: Option<PathBuf>,
    /// Run this file of commands and leave.
    #[arg(long, value_name = "FILE")]
    script: Option<String>,
    /// Go on with the script when a command fails.
    #[arg(long, requires = "script")]
    keep_going: bool,
    /// For programs: commands from standard input, a mark after the output of each.
    #[arg(long, conflicts_with = "script")]
    batch: bool,
    /// Everything as JSON, a document per line; see docs/json.md.
    #[arg(long, conflicts_with = "batch")]
    json: bool,
}

/// Where a debuggee is.
#[derive(Args, Default)]
struct Place {
    #[command(flatten)]
    line: Line,
    /// Speed of the serial line at first; then it goes as fast as it can.
    #[arg(long, default_value_t = 115_200, requires = "serial")]
    baud: u32,
    /// Leave the serial line at that speed.
    #[arg(long, requires = "serial")]
    baud_fixed: bool,
    /// The key of a debuggee on the network, or @ and a file that has it; `standstill key new` makes one.
    #[arg(
        long,
        value_name = "KEY",
        requires = "net",
        conflicts_with = "key_file"
    )]
    key: Option<String>,
    /// A file with the key of a debuggee on the network: whoever lists processes sees it not.
    #[arg(long, value_name = "FILE", requires = "net")]
    key_file: Option<PathBuf>,
    /// Answer a debuggee on the network though its clock says an earlier time than when it called last.
    #[arg(long, requires = "net")]
    accept_older_clock: bool,
}

#[derive(Args, Default)]
#[group(multiple = false)]
struct Line {
    /// Serial device.
    #[arg(long, value_name = "DEVICE")]
    serial: Option<String>,
    /// Unix socket of an emulated serial port.
    #[arg(long, value_name = "PATH")]
    socket: Option<PathBuf>,
    /// TCP server: an emulator's serial port, or a server of such.
    #[arg(long, value_name = "HOST:PORT")]
    tcp: Option<String>,
    /// Windows named pipe that another program serves.
    #[arg(long, value_name = "NAME")]
    pipe: Option<String>,
    /// Windows named pipe that this program serves.
    #[arg(long, value_name = "NAME")]
    pipe_server: Option<String>,
    /// UDP port at which a debuggee on the network calls, with --key.
    #[arg(long, value_name = "[ADDRESS:]PORT", value_parser = listen_address)]
    net: Option<SocketAddr>,
}

impl Place {
    /// The one that was named.
    fn endpoint(&self) -> anyhow::Result<Option<Endpoint>> {
        let line = &self.line;
        let device = line.serial.clone();
        let serial = device.map(|device| Endpoint::Serial {
            device,
            baud: self.baud,
            baud_fixed: self.baud_fixed,
        });
        let socket = line.socket.clone().map(|path| Endpoint::Socket { path });
        let tcp = line.tcp.clone().map(|address| Endpoint::Tcp { address });
        let pipe = line.pipe.clone().map(|name| Endpoint::Pipe { name });
        let server = line.pipe_server.clone();
        let server = server.map(|name| Endpoint::PipeServer { name });
        let byte_line = serial.or(socket).or(tcp).or(pipe).or(server);
        Ok(match line.net {
            Some(address) => Some(Endpoint::Net {
                address,
                key: self.key()?,
            }),
            None => byte_line,
        })
    }

    fn key(&self) -> anyhow::Result<NetKey> {
        let mut key = match (&self.key, &self.key_file) {
            (Some(key), _) => NetKey::given(key)?,
            (None, Some(file)) => NetKey::in_file(file)?,
            (None, None) => {
                bail!("--net takes --key or --key-file; `standstill key new` makes a key")
            }
        };
        key.accepts_older_clock = self.accept_older_clock;
        Ok(key)
    }
}

impl Connect {
    /// Begins to record, if that is wanted, and says so.
    fn recorder(&self, endpoint: Option<Endpoint>) -> anyhow::Result<Option<Recorder>> {
        let Some(path) = &self.record else {
            return Ok(None);
        };
        let symbols = self.front.symbols.as_ref();
        let start = Start {
            protocol: wire_protocol::packet::PROTOCOL_VERSION,
            program: concat!("standstill ", env!("CARGO_PKG_VERSION")).to_owned(),
            endpoint,
            symbols: symbols.map(|path| path.display().to_string()),
        };
        let recorder = Recorder::create(path, start)
            .with_context(|| format!("cannot record to {}", path.display()))?;
        eprintln!("{}", text::recording::recording(path));
        Ok(Some(recorder))
    }

    /// Opens the line, if one was named.
    fn begin(&self, session: &mut Session) -> anyhow::Result<()> {
        let endpoint = self.place.endpoint()?;
        if let Some(recorder) = self.recorder(endpoint.clone())? {
            session.record(recorder);
        }
        let Some(endpoint) = endpoint else {
            return Ok(());
        };
        if self.take_over {
            session.take_over();
        }
        let opened = session.open(endpoint);
        // Nothing was said that would be worth keeping, and the next try needs the name.
        if let (Err(_), Some(path)) = (&opened, &self.record)
            && path.is_file()
        {
            std::fs::remove_file(path)?;
        }
        Ok(opened?)
    }

    fn run(&self) -> anyhow::Result<()> {
        self.front.run(self.break_in, |session| self.begin(session))
    }
}

/// A whole recording, or why not.
fn recording(path: &Path) -> anyhow::Result<Recording> {
    Recording::open(path).map_err(|error| anyhow::anyhow!("{}: {error}", path.display()))
}

impl Replay {
    fn begin(&self, session: &mut Session) -> anyhow::Result<()> {
        let recording = recording(&self.file)?;
        let told = replayed(&recording, self.front.symbols.is_none());
        eprintln!("{}", text::recording::replayed(&self.file, &told));
        Ok(session.replay(&recording)?)
    }

    /// The file is the host.
    fn as_host(&self, endpoint: Endpoint) -> anyhow::Result<()> {
        let recording = recording(&self.file)?;
        eprintln!(
            "{}",
            text::recording::replayed(&self.file, &replayed(&recording, false))
        );
        let interrupts = count_interrupts()?;
        let explain = |wait: &Wait| eprintln!("{}", text::news(&News::from(wait)));
        let mut session = Session::new(Timeout::new(interrupts, Some(UNATTENDED_LIMIT), explain));
        let line = endpoint.to_string();
        let mut begins = |command: &str| {
            if self.confirm {
                println!("next: {}", command.replace('\n', "\\n"));
                // At its end all is confirmed.
                let _ = std::io::stdin().read_line(&mut String::new());
            }
        };
        let played = session.play_host(&recording, endpoint, &mut begins);
        let played = played.with_context(|| self.file.display().to_string())?;
        println!("{}", text::recording::played(&line, played));
        Ok(())
    }

    fn run(&self) -> anyhow::Result<()> {
        match self.place.endpoint()? {
            Some(endpoint) if self.as_host => self.as_host(endpoint),
            Some(_) => bail!("a line is of use with --as-host only: else the file is the debuggee"),
            None => self.front.run(self.break_in, |session| self.begin(session)),
        }
    }
}

/// Ctrl+C is counted from now on.
fn count_interrupts() -> anyhow::Result<Interrupts> {
    let interrupts = Interrupts::default();
    let counter = interrupts.clone();
    ctrlc::set_handler(move || {
        counter.fetch_add(1, Ordering::Relaxed);
    })?;
    Ok(interrupts)
}

impl Front {
    fn open(
        &self,
        interrupts: &Interrupts,
        screen: &Screen,
        breaks_in: bool,
        begin: impl FnOnce(&mut Session) -> anyhow::Result<()>,
    ) -> anyhow::Result<Debugger> {
        let mut symbols = Symbols::default();
        let mut image = None;
        if let Some(path) = &self.symbols {
            let kernel = symbol::load(path)?;
            symbols.set_kernel(kernel.table);
            image = kernel.image;
        }
        if let Some(path) = &self.script
            && let Err(error) = std::fs::File::open(path)
        {
            bail!("cannot read the script {path}: {error}");
        }
        let is_attended =
            !self.batch && !self.json && self.script.is_none() && std::io::stdin().is_terminal();
        let limit = (!is_attended).then_some(UNATTENDED_LIMIT);
        let told = screen.clone();
        let is_json = self.json;
        let timeout = Timeout::new(interrupts.clone(), limit, move |wait| {
            let news = News::from(wait);
            match is_json {
                true => told.news(&news),
                // Where text is piped, this is no part of any answer.
                false => eprintln!("{}", text::news(&news)),
            }
        });
        let mut session = Session::new(timeout);
        begin(&mut session)?;
        let is_unconnected = !session.is_connected();
        if let Some(image) = image {
            session.expect_image(image);
        }
        let mut debugger = Debugger::new(session, symbols, Box::new(screen.clone()));
        if self.json {
            debugger.form = Form::Json;
        }
        if is_unconnected {
            return Ok(debugger);
        }
        let response = Response {
            command: "connect".to_owned(),
            warnings: Vec::new(),
            messages: Vec::new(),
            result: Ok(debugger.connect()?),
        };
        debugger.report(Report::Response(&response));
        debugger.show_news();
        if breaks_in && debugger.session.halt().is_none() && !run_line(&mut debugger, "pause") {
            bail!("the debuggee could not be halted");
        }
        Ok(debugger)
    }

    fn run(
        &self,
        breaks_in: bool,
        begin: impl FnOnce(&mut Session) -> anyhow::Result<()>,
    ) -> anyhow::Result<()> {
        let interrupts = count_interrupts()?;
        let stdout = std::io::stdout();
        let is_screen = stdout.is_terminal();
        let screen = Screen::new(Output::new(stdout, is_screen));
        if self.batch {
            let mut debugger = match self.open(&interrupts, &screen, breaks_in, begin) {
                Ok(debugger) => debugger,
                Err(error) => {
                    println!("{error:#}\n{}", batch::mark(false));
                    std::process::exit(1);
                }
            };
            screen.line(batch::mark(true));
            batch::run(&mut debugger, std::io::stdin().lock(), Some(&screen))?;
            return Ok(());
        }
        let mut debugger = match self.open(&interrupts, &screen, breaks_in, begin) {
            Err(error) if self.json => {
                screen.line(json::refused(&format!("{error:#}")));
                return Err(error);
            }
            opened => opened?,
        };
        if let Some(path) = &self.script {
            script::run(&mut debugger, path, &[], self.keep_going)?;
            return Ok(());
        }
        if std::io::stdin().is_terminal() && !self.json {
            if !debugger.session.is_connected() {
                screen.line(SessionError::NotConnected);
            }
            interactive::run(&mut debugger, &interrupts, &screen)?;
        } else {
            batch::run(&mut debugger, std::io::stdin().lock(), None)?;
        }
        Ok(())
    }
}

/// All commands as a Markdown document.
fn reference() -> String {
    let commands: Vec<_> = COMMANDS.iter().map(|row| system::help_of(row)).collect();
    text::help::reference(
        &commands,
        &system::options(),
        system::ABOUT_OPTIONS,
        system::RULES,
    )
}

/// Prints what the JSON form looks like.
fn schema(name: Option<&str>) -> anyhow::Result<()> {
    let schema = match name {
        None => json::schema(),
        Some(name) => json::schema_of(find(name).with_context(|| {
            format!("no command `{name}`; `standstill commands` prints them all")
        })?),
    };
    println!("{}", serde_json::to_string_pretty(&schema)?);
    Ok(())
}

fn main() -> ExitCode {
    let alone = || Task::Connect(Box::default());
    let result = match Cli::parse().action.unwrap_or_else(alone) {
        Task::Connect(connect) => connect.run(),
        Task::Replay(replay) => replay.run(),
        Task::Trim(trim) => trim.run(),
        Task::Show { file, json } => show::show(&file, json),
        Task::Doctor(doctor) => doctor.run(),
        Task::Key(task) => task.run(),
        Task::Script(tool) => tool.run(&mut std::io::stdout()).map_err(Into::into),
        Task::Commands => {
            print!("{}", reference());
            Ok(())
        }
        Task::Schema { command } => schema(command.as_deref()),
        Task::Papers { folder } => papers::write(Cli::command(), &folder),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("standstill: {error:#}");
            ExitCode::FAILURE
        }
    }
}
