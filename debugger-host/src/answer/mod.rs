//! What commands answer, as values: numbers, addresses with their names, lists. Made by
//! [`crate::command`]; [`crate::render`] makes text of them or JSON. The shapes of JSON are those
//! of these types, so a field that is added or renamed is a new [`FORM_VERSION`].

pub mod branch;
mod code;
pub mod event;
pub mod help;
mod news;
mod number;
pub mod occasion;
mod problem;
pub mod recording;
pub mod session_file;
pub mod status;
pub mod task;
mod warning;

pub use code::{Address, Instruction, Name, Operand};
pub use news::{Cause, Content, Failure, FailureName, Halt, Message, News, StepEndName, TaskName};
pub use number::{Bytes, Count, Hex};
pub use problem::{Field, Problem, Scalar};
pub use warning::Warning;

use event::{Event, Free, Installed, Pools};
use occasion::{EndName, OccasionLine};
use schemars::JsonSchema;
use serde::Serialize;
use session_file::NotSet;
use status::Status;
use task::{ListDamage, Switch, TaskLine};

/// Counts changes of the JSON form.
pub const FORM_VERSION: u32 = 1;

/// What a command found out or did.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Answer {
    /// It was done, and there is nothing more to say.
    Done {},
    /// A session began.
    Connected {
        /// With whom, and how it is.
        status: Box<Status>,
        /// The halt it is in.
        halt: Option<Box<Halt>>,
        /// Its events; null when it runs.
        events: Option<Vec<Installed>>,
        /// Its pools; null when it runs.
        pools: Option<Pools>,
    },
    /// The session is over.
    Closed {
        /// The line that was closed.
        line: String,
        /// The debuggee runs; else it did not say so.
        runs: bool,
        /// Events that stay enabled, as far as they are known.
        events: u32,
    },
    /// Connection, debuggee, constants, bytes on the line.
    Status {
        /// All of it.
        status: Box<Status>,
        /// What became of messages; null when the debuggee does not answer.
        messages: Option<status::Messages>,
    },
    /// A session file was written.
    SessionSaved {
        /// Where.
        path: String,
        /// Events that are in it.
        events: u32,
        /// Events that are not, because another host program set them.
        unknown: Vec<u32>,
    },
    /// What a session file has was set again.
    SessionLoaded {
        /// Where it is.
        path: String,
        /// Events that were set.
        set: u32,
        /// Events that were there already.
        there: u32,
        /// It is of another kernel, or of one that was elsewhere: its version line.
        other_kernel: Option<String>,
        /// What was not done.
        failed: Vec<NotSet>,
    },
    /// The debuggee was halted before.
    HaltedAlready {},
    /// Processes or threads.
    Tasks {
        /// They are threads.
        are_threads: bool,
        /// In the order of the kernel's list.
        tasks: Vec<TaskLine>,
        /// Where the list is damaged, and ends; null if it is not.
        damage: Option<ListDamage>,
    },
    /// What the operating core runs.
    CurrentTask {
        /// That core.
        core: u16,
        /// What it runs; null if it cannot be read.
        task: Option<TaskLine>,
        /// What commands look at instead; null if it is the core.
        context: Option<TaskLine>,
    },
    /// Commands look at a task that does not run.
    TaskContext {
        /// Which.
        task: TaskLine,
        /// It has memory of its own.
        has_memory: bool,
        /// Where it goes on; null if its registers cannot be read.
        at: Option<Address>,
    },
    /// A task that is to be looked at runs, on what is the operating core now.
    TaskRuns {
        /// That core.
        core: u16,
        /// What it runs.
        task: TaskLine,
    },
    /// The debuggee halts where a task goes on, once it runs.
    Switching {
        /// Number of the breakpoint.
        id: u32,
        /// Which task.
        to: TaskName,
        /// A thread, and not any of its process.
        is_thread: bool,
        /// Where in its way.
        method: Switch,
        /// The address.
        at: Address,
    },
    /// At what the debuggee halts by itself.
    Occasions {
        /// All, or those that were changed.
        occasions: Vec<OccasionLine>,
    },
    /// The debuggee goes on, or is ended, and there is something to say of that.
    Ends {
        /// What.
        end: EndName,
    },
    /// Why the debuggee is halted.
    LastEvent {
        /// The halt.
        halt: Box<Halt>,
    },
    /// Commands work on another core now.
    OperatingCore {
        /// Which.
        core: u16,
    },
    /// All cores.
    Cores {
        /// In the order of their numbers.
        cores: Vec<status::Core>,
    },
    /// The general registers, or all.
    Registers {
        /// Of which core.
        core: u16,
        /// All were asked for.
        is_all: bool,
        /// Names and values.
        registers: Vec<RegisterValue>,
        /// Flags that are set, by their names; `iopl` has a value of its own.
        flags: Flags,
        /// Names of those that changed since this core let the debuggee go; null when that is not known.
        changed: Option<Vec<String>>,
    },
    /// A register, a part of one, or a flag.
    Register {
        /// Of which core.
        core: u16,
        /// Its name, as typed.
        name: String,
        /// How many bits it has.
        bits: u32,
        /// Its value.
        value: Hex,
        /// If it is rflags: what is set.
        flags: Option<Flags>,
    },
    /// Memory.
    Memory {
        /// The address is a physical one.
        is_physical: bool,
        /// First byte.
        address: Hex,
        /// Bytes that were asked for.
        len_bytes: u32,
        /// How people see it.
        unit: Unit,
        /// The bytes that are there; what is missing at the end is not mapped.
        bytes: Bytes,
    },
    /// Memory is in a file.
    MemoryWritten {
        /// Which.
        path: String,
        /// How many bytes.
        bytes: Count,
        /// Where memory ended before there were as many as were asked for.
        missing: Option<Hex>,
    },
    /// Where a virtual address leads.
    Physical {
        /// The virtual address.
        virtual_address: Hex,
        /// The physical one.
        physical_address: Hex,
        /// Bytes of the page that maps it.
        page_bytes: Count,
    },
    /// Instructions of one core were executed, or a thread took steps.
    Stepped {
        /// They are a thread's steps.
        is_thread: bool,
        /// How many.
        count: Count,
        /// RIP after each of them.
        trace: Vec<Hex>,
        /// The instructions that came next, in order; of many the last few. The last of all stands in `halt`.
        lines: Vec<StepLine>,
        /// What changed: by the last instruction if the registers are shown, else by all of them.
        registers: Vec<RegisterValue>,
        /// Each instruction is shown with what it changed.
        shows_registers: bool,
        /// The halt that they ended in.
        halt: Box<Halt>,
    },
    /// Branches that cores recorded.
    Branches {
        /// By core.
        cores: Vec<branch::CoreBranches>,
    },
    /// Virtual addresses of a physical one.
    Virtual {
        /// The physical address.
        physical_address: Hex,
        /// Where it is mapped.
        mappings: Vec<Mapping>,
    },
    /// A digest.
    Digest {
        /// XXH64
        digest: Hex,
    },
    /// Instructions.
    Code {
        /// In the order of their addresses.
        instructions: Vec<Instruction>,
    },
    /// Symbols that match.
    Symbols {
        /// In the order of their addresses.
        symbols: Vec<Address>,
    },
    /// The kernel and its modules.
    Modules {
        /// Those that were asked for.
        modules: Vec<Module>,
    },
    /// The symbol at or before an address.
    Nearest {
        /// The address.
        at: Address,
        /// The symbol after it.
        next: Option<Address>,
    },
    /// A value.
    Value {
        /// The value, and what is at this address.
        value: Address,
        /// A failure that did not end the script: something gave 0.
        failure: Option<Failure>,
    },
    /// A value in floating point.
    Float {
        /// Its bits as a double.
        bits: Hex,
        /// The value; null if it is infinite or no number.
        value: Option<f64>,
        /// A failure that did not end the script: something gave 0.
        failure: Option<Failure>,
    },
    /// A value in every form.
    Formats {
        /// The value, and what is at this address.
        value: Address,
        /// As signed number, in decimal.
        signed: String,
        /// As unsigned number, in decimal.
        unsigned: String,
        /// In octal.
        octal: String,
        /// In binary.
        binary: String,
        /// Its bytes as characters, highest first; a dot for what cannot be shown.
        characters: String,
        /// The low 32 bits as a float; null if it is infinite or no number.
        float: Option<f32>,
        /// All bits as a double; null if it is infinite or no number.
        double: Option<f64>,
        /// A failure that did not end the script: something gave 0.
        failure: Option<Failure>,
    },
    /// A script ran that gave no value.
    Ran {
        /// A failure that did not end the script: something gave 0.
        failure: Option<Failure>,
    },
    /// An event was added.
    EventAdded {
        /// Its number.
        id: u32,
        /// What was asked for.
        event: Event,
        /// What is left of the classes concerned; null if a later event of the same message
        /// tells it.
        free: Option<Vec<Free>>,
        /// Classes that run low.
        low: Vec<Free>,
    },
    /// All events.
    Events {
        /// The debuggee runs: this is as of the last halt.
        is_of_last_halt: bool,
        /// In the order of their numbers.
        events: Vec<Installed>,
    },
    /// Breakpoints in order of number.
    Breakpoints {
        /// The debuggee runs, so they may have changed.
        is_of_last_halt: bool,
        /// What is set.
        breakpoints: Vec<Installed>,
    },
    /// Events or breakpoints were enabled, disabled or cleared.
    EventsChanged {
        /// What was done.
        change: Change,
        /// Which one; null for several.
        id: Option<u32>,
        /// They are breakpoints.
        are_breakpoints: bool,
        /// How many were concerned.
        count: u32,
        /// What is left of the classes concerned.
        free: Vec<Free>,
    },
    /// Whether what this stop is about takes effect.
    ShortCircuit {
        /// It does not.
        is_on: bool,
    },
    /// Messages were dropped.
    Flushed {
        /// How many.
        dropped: Count,
        /// Messages that had found no room before, of which nothing was told yet.
        lost: Count,
    },
    /// Objects were reserved.
    Reserved {
        /// The class.
        class: event::Class,
        /// Ready now because of this command.
        ready: u32,
        /// Ready after the next `g`.
        queued: u32,
        /// Free objects of the class.
        free: u32,
        /// Bytes of the arena that are left.
        arena_left_bytes: Count,
    },
    /// All pools.
    Pools {
        /// Their state.
        pools: Pools,
    },
    /// No event needs preparation.
    NothingToPrepare {},
    /// All outputs.
    Outputs {
        /// In the order in which they were made.
        outputs: Vec<status::Output>,
    },
    /// An output was made.
    OutputCreated {
        /// Its name.
        name: String,
        /// What it leads to.
        target: status::Target,
    },
    /// An output was opened.
    OutputOpened {
        /// Its name.
        name: String,
    },
    /// An output was closed.
    OutputClosed {
        /// Its name.
        name: String,
    },
    /// All commands.
    Commands {
        /// In the order of the help.
        commands: Vec<help::CommandName>,
    },
    /// How a command is used.
    Command {
        /// All of the table.
        command: help::CommandHelp,
    },
    /// The options of event commands.
    Options {
        /// Each of them.
        options: Vec<help::OptionHelp>,
        /// What is said of all of them.
        details: String,
    },
    /// How command lines are read.
    Lines {
        /// The rules.
        rules: String,
    },
    /// A file of commands ran to its end.
    ScriptRan {
        /// Commands in it, without those of scripts that it called.
        commands: u32,
    },
    /// The screen is to be cleared.
    Cleared {},
    /// The user leaves.
    Leaving {
        /// The debuggee stays halted.
        is_halted: bool,
    },
}

/// How memory is shown to people.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Unit {
    /// Bytes and characters.
    Bytes,
    /// Double words and characters.
    DoubleWordsAndText,
    /// Double words.
    DoubleWords,
    /// Quad words.
    QuadWords,
}

impl Unit {
    /// Bytes of one column.
    #[must_use]
    pub const fn size(self) -> usize {
        match self {
            Self::Bytes => 1,
            Self::DoubleWordsAndText | Self::DoubleWords => 4,
            Self::QuadWords => 8,
        }
    }
}

/// An instruction that was stepped to.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct StepLine {
    /// Where the core stood.
    pub at: Address,
    /// What is next there; null when it cannot be read.
    pub instruction: Option<Instruction>,
    /// What the instruction before it changed, if that is shown.
    pub registers: Vec<RegisterValue>,
}

/// A register with its value.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RegisterValue {
    /// Its name.
    pub name: String,
    /// Its value.
    pub value: Hex,
}

/// What rflags says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Flags {
    /// The I/O privilege level.
    pub iopl: u8,
    /// Names of the flags that are set, highest bit first.
    pub set: Vec<String>,
}

/// One virtual address of a physical one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Mapping {
    /// In the kernel's map of all memory.
    DirectMap {
        /// The virtual address.
        at: Address,
        /// Bytes of the page that maps it.
        page_bytes: Count,
    },
    /// In the kernel's image.
    KernelImage {
        /// The virtual address.
        at: Address,
    },
}

/// The kernel or a module.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Module {
    /// Its name; `vmlinux` is the kernel.
    pub name: String,
    /// First byte.
    pub base: Hex,
    /// One past the last byte, if it is known.
    pub end: Option<Hex>,
    /// How many symbols are known; null if they were not read.
    pub symbols: Option<u32>,
}

/// What was done to events.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Change {
    /// They act on hits again.
    Enabled,
    /// They stay and do nothing.
    Disabled,
    /// They are gone.
    Cleared,
}

/// What came of one command.
#[derive(Clone, Debug, PartialEq)]
pub struct Response {
    /// The command's name, as in the table; empty if there is none of that name.
    pub command: String,
    /// What was met on the way.
    pub warnings: Vec<Warning>,
    /// What a script printed that the command ran.
    pub messages: Vec<Message>,
    /// What it found out or did, or why not.
    pub result: Result<Answer, Problem>,
}

/// In which form things are told.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Form {
    /// For people.
    #[default]
    Text,
    /// For programs: a document per line.
    Json,
}

/// Something to tell the user, as it comes.
#[derive(Debug)]
pub enum Report<'r> {
    /// A script runs this command next, at this prompt.
    Next {
        /// The operating core of a halted debuggee.
        core: Option<u16>,
        /// The command.
        line: &'r str,
    },
    /// A command ended.
    Response(&'r Response),
    /// Something happened.
    News(&'r [News]),
}
