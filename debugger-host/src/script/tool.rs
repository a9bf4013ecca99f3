//! `standstill script check` and `standstill script run`: scripts without any debuggee. Called by
//! `main`.

use super::problem::Explained;
use super::trial::{Names, OPERATIONS, World};
use super::{Compiled, compile};
use crate::symbol;
use crate::types::{SyntaxError, number, register};
use clap::{Args, Subcommand};
use std::io::{self, Write};
use std::path::PathBuf;
use wire_protocol::bytecode::BadProgram;
use wire_protocol::bytecode::routine::Pseudo;
use wire_protocol::limits::CORES;
use wire_protocol::script::{End, FaultKind, Outcome};

/// What to do with a script.
#[derive(Debug, Subcommand)]
pub enum Tool {
    /// Say whether a script is right, and how large its program is.
    Check(Check),
    /// Run a script on registers and memory that are made up.
    Run(Box<Run>),
    /// Print the language: what there is, and every function.
    Reference,
}

/// What both need.
#[derive(Debug, Args)]
pub struct Script {
    /// The script; `-` is standard input.
    #[arg(value_name = "FILE")]
    file: String,
    /// Its arguments: `$arg1`, `$arg2` …
    #[arg(value_name = "ARGUMENT")]
    arguments: Vec<String>,
    /// Where symbols come from: vmlinuz, vmlinux, System.map, or a copy of /proc/kallsyms.
    #[arg(long, value_name = "FILE")]
    symbols: Option<PathBuf>,
}

/// `check`
#[derive(Debug, Args)]
pub struct Check {
    #[command(flatten)]
    script: Script,
    /// Cores of the debuggee: each has locals of its own.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=CORES as i64))]
    cores: u16,
}

/// `run`
#[derive(Debug, Args)]
pub struct Run {
    #[command(flatten)]
    script: Script,
    /// A register or pseudo-register, as `rax=10` or `$pid=1a0`; hexadecimal as in scripts.
    #[arg(long = "reg", value_name = "NAME=VALUE")]
    registers: Vec<String>,
    /// Memory from a file, as `FILE@ADDRESS`.
    #[arg(long, value_name = "FILE@ADDRESS")]
    memory: Vec<String>,
    /// Operations after which the run ends.
    #[arg(long, value_name = "N", default_value_t = OPERATIONS)]
    budget: u64,
    /// Run so often; locals and globals keep their values.
    #[arg(long, value_name = "N", default_value_t = 1)]
    times: u32,
}

/// Why a script was not checked or run to its end.
#[derive(Debug, thiserror::Error)]
pub enum ToolError {
    /// It cannot be read.
    #[error("cannot read {path}: {why}")]
    Unreadable {
        /// Which file.
        path: String,
        /// What the system says.
        why: io::Error,
    },
    /// Symbols cannot be read.
    #[error(transparent)]
    Symbols(#[from] symbol::LoadError),
    /// It is wrong.
    #[error("{why}{}", marked(.why))]
    Wrong {
        /// Where and how.
        why: Box<Explained>,
    },
    /// The driver would refuse the program.
    #[error("the driver would refuse the program: {}, at {:x}", .0.reason.text(), .0.at)]
    Refused(BadProgram),
    /// An option cannot be understood.
    #[error("`{option}`: {why}")]
    Option {
        /// As typed.
        option: String,
        /// What is wrong.
        why: String,
    },
    /// The run was ended.
    #[error("{line}: {why}")]
    Ended {
        /// File and line.
        line: String,
        /// Why.
        why: String,
    },
    /// Nobody reads the output.
    #[error("cannot write: {0}")]
    Output(#[from] io::Error),
}

fn marked(why: &Explained) -> String {
    match why.mark() {
        mark if mark.is_empty() => mark,
        mark => format!("\n{mark}"),
    }
}

impl Tool {
    /// Does what was asked for, with the text going to `out`.
    ///
    /// # Errors
    /// When the script is wrong, or its run was ended.
    pub fn run(&self, out: &mut dyn Write) -> Result<(), ToolError> {
        match self {
            Self::Check(check) => {
                let compiled = check.script.compiled(&mut Names::default(), out)?;
                Ok(out.write_all(compiled.summary(check.cores).as_bytes())?)
            }
            Self::Run(run) => run.run(out),
            Self::Reference => Ok(out.write_all(super::reference::text().as_bytes())?),
        }
    }
}

impl Script {
    fn compiled(&self, names: &mut Names, out: &mut dyn Write) -> Result<Compiled, ToolError> {
        if let Some(path) = &self.symbols {
            names.symbols.set_kernel(symbol::load(path)?.table);
        }
        let text = if self.file == "-" {
            io::read_to_string(io::stdin())
        } else {
            std::fs::read_to_string(&self.file)
        };
        let text = text.map_err(|why| ToolError::Unreadable {
            path: self.file.clone(),
            why,
        })?;
        let mut arguments = vec![self.file.clone()];
        arguments.extend_from_slice(&self.arguments);
        let compiled = compile(&text, &self.file, &arguments, names)
            .map_err(|why| ToolError::Wrong { why: Box::new(why) })?;
        for warning in &compiled.warnings {
            writeln!(out, "warning: {warning}{}", marked(warning))?;
        }
        Ok(compiled)
    }
}

impl Compiled {
    /// What `script check` prints.
    #[must_use]
    pub fn summary(&self, cores: u16) -> String {
        let globals: Vec<String> = self
            .globals
            .iter()
            .map(|(name, len)| format!(".{name} ({len:x} bytes)"))
            .collect();
        let globals = if globals.is_empty() {
            "none".to_owned()
        } else {
            globals.join(", ")
        };
        let plural = if cores == 1 { "" } else { "s" };
        format!(
            "ok: {:x} bytes of program, {:x} bytes of locals per core\n\
             globals: {globals}\n\
             with {cores} core{plural} it takes {:x} bytes: {}\n",
            self.bytes.len(),
            self.local_bytes,
            self.action_bytes(cores),
            self.room(cores)
        )
    }
}

impl Run {
    fn run(&self, out: &mut dyn Write) -> Result<(), ToolError> {
        let mut names = Names::default();
        let compiled = self.script.compiled(&mut names, out)?;
        let mut world = World::default();
        for option in &self.registers {
            set(&mut world, option).map_err(|why| ToolError::Option {
                option: option.clone(),
                why,
            })?;
        }
        for option in &self.memory {
            let bad = |why: String| ToolError::Option {
                option: option.clone(),
                why,
            };
            let (path, address) = option
                .rsplit_once('@')
                .ok_or_else(|| bad("a file and an address are needed, `FILE@ADDRESS`".into()))?;
            let start = number::parse(address).map_err(|why| bad(why.to_string()))?;
            let bytes = std::fs::read(path).map_err(|why| ToolError::Unreadable {
                path: path.to_owned(),
                why,
            })?;
            world
                .put_memory(start, bytes)
                .map_err(|why| bad(why.to_string()))?;
        }
        let mut locals = vec![0; compiled.local_bytes];
        for _ in 0..self.times {
            let outcome = world
                .run(&compiled.bytes, &mut locals, self.budget, out)
                .map_err(ToolError::Refused)?;
            report(&compiled, &outcome, self.budget, out)?;
        }
        Ok(())
    }
}

/// Sets `name=value`.
fn set(world: &mut World, option: &str) -> Result<(), String> {
    let (name, value) = option
        .split_once('=')
        .ok_or("a name and a value are needed, `NAME=VALUE`")?;
    let value = number::parse(value).map_err(|why: SyntaxError| why.to_string())?;
    if let Some(name) = name.strip_prefix('$') {
        let pseudo = Pseudo::from_name(name).ok_or("there is no such pseudo-register")?;
        world.set_pseudo(pseudo, value);
        return Ok(());
    }
    let name = name.trim_start_matches('@').to_ascii_lowercase();
    let part = register::part(&name).ok_or("there is no such register")?;
    let whole = world.register(part.register);
    world.set_register(part.register, part.replaced(whole, value));
    Ok(())
}

/// Says how a run went; a run that did not end by itself is an error.
fn report(
    compiled: &Compiled,
    outcome: &Outcome,
    budget: u64,
    out: &mut dyn Write,
) -> Result<(), ToolError> {
    let line = |at| {
        compiled
            .lines
            .at(at)
            .map_or_else(|| "?".to_owned(), |line| line.to_string())
    };
    if let Some(fault) = outcome.first_fault {
        let what = match fault.kind {
            FaultKind::DivisionByZero => "division by zero".to_owned(),
            FaultKind::Read(address) => format!("there is no memory at {address:x} to read"),
            FaultKind::Write(address) => format!("there is no memory at {address:x} to write"),
            FaultKind::NotAVariable(address) => {
                format!("{address:x} is not the address of a variable")
            }
            FaultKind::Register(value) => format!("the register does not take {value:x}"),
        };
        let more = match outcome.faults {
            0 | 1 => String::new(),
            faults => format!(" ({} more of its kind)", faults - 1),
        };
        writeln!(out, "warning: {}: {what}; 0 was used{more}", line(fault.at))?;
    }
    match outcome.end {
        End::Finished { value: 0 } => Ok(()),
        End::Finished { value } => Ok(writeln!(out, "returned {value:x}")?),
        End::OverBudget { at } => Err(ToolError::Ended {
            line: line(at),
            why: format!(
                "stopped here after {budget} operations; leave the loop earlier, or allow more with `--budget`"
            ),
        }),
        End::StackOverflow { at } => Err(ToolError::Ended {
            line: line(at),
            why: "functions call each other too deeply".into(),
        }),
        End::Broken { at } => Err(ToolError::Ended {
            line: line(at),
            why: "the program makes no sense here".into(),
        }),
    }
}
