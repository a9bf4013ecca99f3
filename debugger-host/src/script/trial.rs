//! Runs a script without any debuggee, on registers and memory that are made up: with the very
//! interpreter that the driver runs. Called by `standstill script run` and by tests.

use super::Environment;
use crate::symbol::resolve::Symbols;
use std::fmt::Write as _;
use std::io::Write;
use std::sync::atomic::AtomicU64;
use std::time::Instant;
use wire_protocol::branch::Branch;
use wire_protocol::bytecode::routine::{Pseudo, Routine};
use wire_protocol::bytecode::{BadProgram, Decoded, GLOBAL_BYTES, Program, Verified};
use wire_protocol::packet::Arguments;
use wire_protocol::print::{Clock, Site};
use wire_protocol::register::Register;
use wire_protocol::script::globals::{GlobalError, Globals};
use wire_protocol::script::{Ask, Machine, Outcome, Tracing, Workspace, run};

/// Operations after which a run ends, unless something else is asked for: what the driver allows.
pub const OPERATIONS: u64 = 1_000_000;

/// What a script can name when there is no debuggee.
#[derive(Default)]
pub struct Names {
    /// Symbols of a kernel image, if one was given.
    pub symbols: Symbols,
    globals: Globals,
}

impl Environment for Names {
    fn symbol(&mut self, name: &str) -> Option<u64> {
        self.symbols.find(name)
    }

    fn similar(&mut self, name: &str) -> Option<String> {
        self.symbols.similar(name)
    }

    fn global(&mut self, name: &str, len_bytes: u32) -> Result<u16, String> {
        let hash = xxhash_rust::xxh64::xxh64(name.as_bytes(), 0);
        self.globals
            .define(hash, len_bytes)
            .map_err(|why| match why {
                GlobalError::OtherLength { len_bytes } => {
                    format!("there is one of {len_bytes:x} bytes")
                }
                GlobalError::Full {
                    free_bytes,
                    free_names,
                } => {
                    format!("there is room for {free_bytes:x} bytes and {free_names:x} names more")
                }
            })
    }
}

/// Memory at an address.
#[derive(Clone, Debug)]
struct Region {
    start: u64,
    bytes: Vec<u8>,
}

impl Region {
    /// The address behind the last byte.
    fn end(&self) -> u64 {
        self.start + self.bytes.len() as u64
    }
}

/// Why memory cannot be put somewhere.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum PlaceTaken {
    /// There is memory already.
    #[error("there is memory from {start:x} to {end:x} already")]
    Memory {
        /// Where it begins.
        start: u64,
        /// The address behind its last byte.
        end: u64,
    },
    /// The file is too long.
    #[error("the address space ends before the file does")]
    End,
}

/// A core that is made up. Physical memory is the virtual memory, at the same addresses.
pub struct World {
    registers: [u64; Register::COUNT],
    pseudo: Vec<u64>,
    regions: Vec<Region>,
    globals: Vec<AtomicU64>,
    started: Instant,
}

impl Default for World {
    fn default() -> Self {
        Self {
            registers: [0; Register::COUNT],
            pseudo: vec![0; Pseudo::ALL.len()],
            regions: Vec::new(),
            globals: (0..GLOBAL_BYTES / 8).map(|_| AtomicU64::new(0)).collect(),
            started: Instant::now(),
        }
    }
}

impl World {
    /// A register's value.
    #[must_use]
    pub fn register(&self, register: Register) -> u64 {
        self.registers
            .get(register as usize)
            .copied()
            .unwrap_or_default()
    }

    /// Changes a register.
    pub fn set_register(&mut self, register: Register, value: u64) {
        if let Some(place) = self.registers.get_mut(register as usize) {
            *place = value;
        }
    }

    /// Changes a pseudo-register.
    pub fn set_pseudo(&mut self, pseudo: Pseudo, value: u64) {
        if let Some(place) = self.pseudo.get_mut(pseudo as usize) {
            *place = value;
        }
    }

    /// Puts memory at an address.
    ///
    /// # Errors
    /// When there is memory already, or the address space ends before.
    pub fn put_memory(&mut self, start: u64, bytes: Vec<u8>) -> Result<(), PlaceTaken> {
        let end = start
            .checked_add(bytes.len() as u64)
            .ok_or(PlaceTaken::End)?;
        let other = self
            .regions
            .iter()
            .find(|other| start < other.end() && other.start < end);
        if let Some(other) = other {
            return Err(PlaceTaken::Memory {
                start: other.start,
                end: other.end(),
            });
        }
        self.regions.push(Region { start, bytes });
        Ok(())
    }

    /// The byte at an address.
    fn byte(&mut self, address: u64) -> Option<&mut u8> {
        self.regions.iter_mut().find_map(|region| {
            let offset = usize::try_from(address.checked_sub(region.start)?).ok()?;
            region.bytes.get_mut(offset)
        })
    }

    /// Reads memory; `None` if any of it is not there.
    pub fn read(&mut self, address: u64, out: &mut [u8]) -> Option<()> {
        for (address, to) in (0..).map(|offset| address.wrapping_add(offset)).zip(out) {
            *to = *self.byte(address)?;
        }
        Some(())
    }

    fn write(&mut self, address: u64, bytes: &[u8]) -> Option<()> {
        let all = (0..).map(|offset| address.wrapping_add(offset)).zip(bytes);
        for (address, _) in all.clone() {
            self.byte(address)?;
        }
        for (address, from) in all {
            *self.byte(address)? = *from;
        }
        Some(())
    }

    /// Runs a program once; what it prints goes to `out`. `locals` keep their values from one run
    /// to the next.
    ///
    /// # Errors
    /// When the driver would refuse the program.
    pub fn run(
        &mut self,
        bytes: &[u8],
        locals: &mut [u8],
        budget: u64,
        out: &mut dyn Write,
    ) -> Result<Outcome, BadProgram> {
        let verified = Verified::new(bytes)?;
        let mut memory = vec![0; verified.decoded_bytes().0];
        let decoded = Decoded::new(&verified, &mut memory).expect("as much memory as it needs");
        let mut trial = Trial {
            program: *verified.program(),
            world: self,
            out,
        };
        let mut workspace = Box::new(Workspace::new());
        Ok(run(&decoded, locals, &mut workspace, &mut trial, budget))
    }
}

/// A run.
struct Trial<'r> {
    program: Program<'r>,
    world: &'r mut World,
    out: &'r mut dyn Write,
}

impl Trial<'_> {
    /// Whoever does not listen is no reason to stop.
    fn say(&mut self, text: &str) {
        let _ = self.out.write_all(text.as_bytes());
    }
}

impl Machine for Trial<'_> {
    fn register(&mut self, register: Register) -> u64 {
        self.world.register(register)
    }

    fn set_register(&mut self, register: Register, value: u64) -> bool {
        self.world.set_register(register, value);
        true
    }

    fn pseudo(&mut self, pseudo: Pseudo) -> u64 {
        match pseudo {
            Pseudo::Ip => self.world.register(Register::Rip),
            other => self.world.pseudo.get(other as usize).copied().unwrap_or(0),
        }
    }

    fn read_virtual(&mut self, address: u64, out: &mut [u8]) -> bool {
        self.world.read(address, out).is_some()
    }

    fn write_virtual(&mut self, address: u64, bytes: &[u8]) -> bool {
        self.world.write(address, bytes).is_some()
    }

    fn read_physical(&mut self, address: u64, out: &mut [u8]) -> bool {
        self.world.read(address, out).is_some()
    }

    fn write_physical(&mut self, address: u64, bytes: &[u8]) -> bool {
        self.world.write(address, bytes).is_some()
    }

    fn virtual_to_physical(&mut self, address: u64) -> Option<u64> {
        self.world.byte(address).map(|_| address)
    }

    fn physical_to_virtual(&mut self, address: u64) -> Option<u64> {
        self.world.byte(address).map(|_| address)
    }

    fn globals(&self) -> &[AtomicU64] {
        &self.world.globals
    }

    fn record(&mut self, site: u32, arguments: Arguments<'_>) {
        let (date, time) = crate::clock::date_and_time(crate::clock::now());
        let clock = Clock {
            date: &date,
            time: &time,
        };
        let mut text = String::new();
        let written = Site::of(&self.program, site).map(|s| s.write(arguments, clock, &mut text));
        if !matches!(written, Some(Ok(()))) {
            let _ = writeln!(text, "<a print that cannot be shown, at {site:x}>");
        }
        self.say(&text);
    }

    fn branch(&mut self, _: usize) -> Option<Branch> {
        None
    }

    fn ask(&mut self, ask: Ask) -> bool {
        let text = match ask {
            Ask::Pause => "[pause: all cores would halt]".to_owned(),
            Ask::Flush => "[flush: queued messages would be dropped]".to_owned(),
            Ask::Enable(event) => format!("[event_enable: event {event:x} would be enabled]"),
            Ask::Disable(event) => format!("[event_disable: event {event:x} would be disabled]"),
            Ask::Clear(event) => format!("[event_clear: event {event:x} would be cleared]"),
            Ask::ShortCircuit(true) => {
                "[event_sc: what triggered the event would not take place]".to_owned()
            }
            Ask::ShortCircuit(false) => {
                "[event_sc: what triggered the event would take place]".to_owned()
            }
            Ask::Inject {
                kind,
                vector,
                error_code,
            } => {
                let code =
                    error_code.map_or_else(String::new, |code| format!(", error code {code:x}"));
                format!("[event_inject: type {kind:x}, vector {vector:x}{code} would be injected]")
            }
            Ask::Branches(_) => return false,
            Ask::Trace(tracing) => {
                let routine = match tracing {
                    Tracing::Step => Routine::TraceStep,
                    Tracing::StepIn => Routine::TraceStepIn,
                    Tracing::StepOut => Routine::TraceStepOut,
                    Tracing::InstrumentationStep => Routine::TraceInstrumentationStep,
                    Tracing::InstrumentationStepIn => Routine::TraceInstrumentationStepIn,
                };
                let name = routine.name();
                format!("[{name}: the core would step, and run this again]")
            }
        };
        self.say(&text);
        self.say("\n");
        true
    }

    fn tsc(&mut self) -> u64 {
        u64::try_from(self.world.started.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }

    fn relax(&mut self) {
        std::hint::spin_loop();
    }

    fn sleep_us(&mut self, microseconds: u32) {
        std::thread::sleep(std::time::Duration::from_micros(u64::from(microseconds)));
    }
}
