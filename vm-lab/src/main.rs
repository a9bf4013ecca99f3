//! The lab's command line: `cargo lab [COMMAND]`.

use anyhow::{Context, Result, bail};
use clap::{Parser, Subcommand, ValueEnum};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;
use vm_lab::arguments::MachineArguments;
use vm_lab::config::{self, HostSystem, Hypervisor, Subject};
use vm_lab::host::{self, Host, Reply};
use vm_lab::progress::phase;
use vm_lab::{Machine, background, document, driver, package, provision, script, soak, suite};

/// Boots a real kernel on emulated VT-x and connects the debugger to it.
#[derive(Parser)]
#[command(name = "lab", bin_name = "cargo lab")]
struct Cli {
    #[command(subcommand)]
    command: Option<What>,
    #[command(flatten)]
    machine: MachineArguments,
}

#[derive(Subcommand)]
enum What {
    /// Fetch and build what the lab needs from outside, and nothing else
    Provision {
        /// Take the packages that the mirror names today
        #[arg(long)]
        update: bool,
    },
    /// Build the driver as a kernel module and print its path
    Driver {
        /// Header directory of the kernel; for the running one, /lib/modules/$(uname -r)/build
        #[arg(long)]
        headers: Option<PathBuf>,
    },
    /// Print what to set in a virtual machine of your own, and the two commands that connect
    Config {
        /// Whose machine it is
        hypervisor: Hypervisor,
        /// Name of the machine
        #[arg(long, default_value = "debuggee")]
        name: String,
        /// The system that the hypervisor runs on
        #[arg(long)]
        host: Option<HostSystem>,
        /// Socket or pipe of the serial port
        #[arg(long, value_name = "PATH")]
        line: Option<String>,
    },
    /// Make packages of the release: `deb` of the driver and of the host program, `zip` of the host program for Windows
    Package {
        /// Which
        kind: PackageKind,
    },
    /// Boot a machine and leave it running
    Boot(MachineArguments),
    /// Run a command on the console of the machine that `boot` started
    Guest {
        /// The command
        #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true)]
        command: Vec<String>,
    },
    /// End the machine that `boot` started
    Shutdown,
    /// Boot a machine, run a script, print the session. A line is a command of the host program, or begins with
    /// guest>, guest>&, expect>, refute>, fails>, wait>, keep>, shell> or unplug> (see vm-lab/src/script.rs).
    /// Of a document (.md), the sessions in it, each on the machine that it names (see vm-lab/src/document.rs)
    Script {
        /// The script
        file: PathBuf,
        /// Go on after a failure
        #[arg(long)]
        keep_going: bool,
        #[command(flatten)]
        machine: MachineArguments,
    },
    /// Run the tests: style, unit tests, and sessions on a real kernel; the pinned toolchain is enough for them
    Test {
        /// Only tests whose names contain this; other checks only if their heading begins with it
        filter: Option<String>,
        /// The checks `miri` (some unit tests in an interpreter that finds undefined behaviour) and `fuzz`, too, which
        /// need a nightly toolchain
        #[arg(long)]
        thorough: bool,
        /// How long each fuzz target runs
        #[arg(long, value_name = "SECONDS", default_value_t = 10)]
        fuzz_seconds: u32,
    },
    /// Run what is slow and rarely tells anything; without a name, say what parts there are
    Soak {
        /// One of them, or `all`
        part: Option<String>,
        /// Again and again with other seeds, until the time is over: of parts that draw what they do; without a name, of all
        /// of those
        #[arg(long, value_name = "N")]
        minutes: Option<u64>,
        /// The seed to draw from, as an earlier run printed it
        #[arg(long, value_name = "NUMBER")]
        seed: Option<u64>,
    },
    /// Make the recordings of `tests/replay` anew, after a change of messages or of what is printed; then read the
    /// differences
    Record,
    /// Run the measurements
    Bench {
        /// Only those whose names contain this
        filter: Option<String>,
    },
    /// Holds a machine for `boot`
    #[command(hide = true)]
    Hold(MachineArguments),
}

#[derive(Clone, Copy, ValueEnum)]
enum PackageKind {
    /// Debian packages
    Deb,
    /// A zip for Windows
    Zip,
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    match run(cli) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(cli: Cli) -> Result<ExitCode> {
    match cli.command {
        None => return connect(&cli.machine),
        Some(What::Provision { update }) => {
            if update {
                provision::forget_packages()?;
            }
            println!("kernel {}", provision::provision()?.release);
        }
        Some(What::Driver { headers }) => {
            let module = driver::build(&provision::provision()?, headers.as_deref())?;
            println!("{}", module.display());
        }
        Some(What::Config {
            hypervisor,
            name,
            host,
            line,
        }) => {
            let text = config::text(hypervisor, &Subject { name, host, line });
            print!("{}", text.map_err(anyhow::Error::msg)?);
        }
        Some(What::Package { kind }) => {
            let made = match kind {
                PackageKind::Deb => package::deb()?,
                PackageKind::Zip => vec![package::zip()?],
            };
            for path in made {
                println!("{}", path.display());
            }
        }
        Some(What::Boot(machine)) => boot(&machine)?,
        Some(What::Guest { command }) => {
            println!(
                "{}",
                background::ask(&format!("guest {}", command.join(" ")))?.trim_end()
            );
        }
        Some(What::Shutdown) => drop(background::ask("shutdown")?),
        Some(What::Script {
            file,
            keep_going,
            machine,
        }) => return run_script(&file, keep_going, &machine),
        Some(What::Test {
            filter,
            thorough,
            fuzz_seconds,
        }) => {
            return Ok(exit_code(suite::run_all(&suite::Request {
                filter,
                thorough,
                fuzz_seconds,
            })));
        }
        Some(What::Soak {
            part: None,
            minutes: None,
            seed: None,
        }) => soak::list(),
        Some(What::Soak {
            part,
            minutes,
            seed,
        }) => {
            let part = part.as_deref();
            let request = soak::Request {
                part,
                minutes,
                seed,
            };
            return Ok(exit_code(soak::run(&request)?));
        }
        Some(What::Record) => return Ok(exit_code(suite::record()?)),
        Some(What::Bench { filter }) => return Ok(exit_code(suite::bench(filter.as_deref())?)),
        Some(What::Hold(machine)) => background::hold(&machine.options())?,
    }
    Ok(ExitCode::SUCCESS)
}

fn exit_code(ok: bool) -> ExitCode {
    if ok {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

/// What the debuggee does while its console is not at hand: opening a file each second gives a hook something to catch.
const LIFE: &str = "while sleep 1; do cat /proc/uptime > /dev/null; done";

/// Boots, and gives the terminal to the host program.
fn connect(machine: &MachineArguments) -> Result<ExitCode> {
    let provisions = provision::provision()?;
    let program = phase("building the host program", |_| host::build())?;
    let mut machine = Machine::boot_with(&provisions, &machine.options())?;
    machine.guest_background(LIFE)?;
    // Ctrl-C means "halt the debuggee" to the host program; it must not end the lab, which gets it as well.
    signal_hook::flag::register(
        signal_hook::consts::SIGINT,
        Arc::new(AtomicBool::new(false)),
    )?;
    let status = Command::new(&program)
        .args(machine.host_arguments())
        .arg("--break-in")
        .status()
        .with_context(|| format!("starting {}", program.display()))?;
    drop(machine);
    println!("the machine is switched off; `cargo lab boot` leaves one running");
    Ok(exit_code(status.success()))
}

fn boot(machine: &MachineArguments) -> Result<()> {
    provision::provision()?;
    let program = phase("building the host program", |_| host::build())?;
    background::start(&machine.words())?;
    let words = background::ask("where")?;
    println!("attach with:  {} {words}", program.display());
    println!("its console:  cargo lab guest COMMAND");
    println!("stop it with: cargo lab shutdown");
    Ok(())
}

struct Both {
    host: Host,
    machine: Machine,
}

impl script::Ends for Both {
    fn host(&mut self, command: &str) -> Result<Reply> {
        self.host.command(command)
    }
    fn guest(&mut self, command: &str) -> Result<String> {
        self.machine.guest(command)
    }
    fn guest_background(&mut self, command: &str) -> Result<()> {
        self.machine.guest_background(command)
    }
    fn unplug(&mut self, time: Duration) {
        self.machine.unplug(time);
    }
}

fn run_script(file: &Path, keep_going: bool, machine: &MachineArguments) -> Result<ExitCode> {
    // A document says itself which machines its sessions are on.
    let parts = if file.extension().is_some_and(|extension| extension == "md") {
        document::read(file)?
    } else {
        vec![document::Part {
            machine: machine.clone(),
            script: script::read(file)?,
        }]
    };
    let provisions = provision::provision()?;
    phase("building the host program", |_| Machine::host_program())?;
    let mut failures = 0;
    for part in parts {
        let machine = Machine::boot_with(&provisions, &part.machine.options())?;
        let host = machine.connect_host()?;
        let mut ends = Both { host, machine };
        failures += script::run(&part.script, &mut ends, keep_going, &mut std::io::stdout())?;
        if failures > 0 && !keep_going {
            break;
        }
    }
    if failures > 0 {
        bail!("{failures} of the script's steps failed");
    }
    Ok(ExitCode::SUCCESS)
}
