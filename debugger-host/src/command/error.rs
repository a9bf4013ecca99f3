//! Why a command was not carried out. One line each.

use crate::answer::Failure;
use crate::expression::SyntaxError;
use crate::expression::eval::EvalError;
use crate::session::SessionError;

/// Why a command line cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ParseError {
    /// No such command.
    #[error("no command `{name}`{}; `.help` lists all", hint(.similar.as_ref()))]
    UnknownCommand {
        /// As typed.
        name: String,
        /// A command with a name close to it.
        similar: Option<String>,
    },
    /// An argument that is no expression.
    #[error("{argument}: {why}")]
    Expression {
        /// What it is for.
        argument: &'static str,
        /// What is wrong.
        why: SyntaxError,
    },
    /// Something is not there.
    #[error("{argument} is missing; usage: {syntax}")]
    Missing {
        /// What it is for.
        argument: &'static str,
        /// Of the command.
        syntax: &'static str,
    },
    /// There is more than the command takes.
    #[error("`{rest}` is not understood here; usage: {syntax}")]
    Extra {
        /// From there to the end.
        rest: String,
        /// Of the command.
        syntax: &'static str,
    },
    /// A word that is none of those allowed.
    #[error("`{word}` is not {expected}")]
    BadWord {
        /// As typed.
        word: String,
        /// What could stand there.
        expected: &'static str,
    },
    /// An option that does not exist.
    #[error("there is no option `{option}`{}; `.help options` lists them", hint(.similar.as_ref()))]
    UnknownOption {
        /// As typed.
        option: String,
        /// An option with a name close to it.
        similar: Option<String>,
    },
    /// Two options that cannot stand together.
    #[error("`{one}` and `{other}` exclude each other: {help}")]
    Exclusive {
        /// One.
        one: &'static str,
        /// The other.
        other: &'static str,
        /// Why, and what to do.
        help: &'static str,
    },
    /// A key that is none.
    #[error("{why}")]
    BadKey {
        /// What is wrong.
        why: String,
    },
    /// An option that the command does not have, or one that it needs.
    #[error("`{option}` {why}")]
    Unfit {
        /// Which, or the command.
        option: &'static str,
        /// Why, and what to do.
        why: &'static str,
    },
    /// A block whose content cannot be used.
    #[error("the block of `{option}` cannot be used: {why}")]
    BadBlock {
        /// Which.
        option: &'static str,
        /// What is wrong with it.
        why: String,
    },
    /// More sinks than an event can have.
    #[error(
        "the block of `output` cannot be used: {count} sinks are more than an event can have ({limit})"
    )]
    TooManyOutputs {
        /// How many are named.
        count: usize,
        /// How many there can be.
        limit: usize,
    },
    /// A sink that is named twice.
    #[error("the block of `output` cannot be used: it names `{name}` twice")]
    OutputTwice {
        /// Which.
        name: String,
    },
    /// A block that does not end.
    #[error("the `}}` that closes the block is missing")]
    OpenBlock,
    /// A comment that does not end.
    #[error("the `*/` that closes the comment is missing")]
    OpenComment,
    /// A quoted word that does not end.
    #[error("the `\"` that ends the word is missing")]
    OpenQuote,
    /// An option given twice.
    #[error("`{option}` is given twice")]
    Twice {
        /// Which.
        option: &'static str,
    },
}

fn hint(similar: Option<&String>) -> String {
    similar.map_or_else(String::new, |name| format!("; is `{name}` meant?"))
}

/// Why a command failed. One line each.
#[derive(Debug, thiserror::Error)]
pub enum CommandError {
    /// A hook inside an instruction.
    #[error(
        "no instruction starts at {at} ({address:016x}), which is inside `{instruction}` at {start}; \
             hook that one, or add `force` if it is meant"
    )]
    NoInstructionStart {
        /// Name of the address.
        at: String,
        /// The address.
        address: u64,
        /// The instruction there.
        instruction: String,
        /// Name of its address.
        start: String,
    },
    /// A hook in code that the kernel needed once.
    #[error(
        "{at} ({address:016x}) was code of the kernel's start, whose memory has long been used for other things; \
             `force` hooks what is there now"
    )]
    DiscardedCode {
        /// Name of the address.
        at: String,
        /// The address.
        address: u64,
    },
    /// It could not be read.
    #[error(transparent)]
    Parse(#[from] ParseError),
    /// An argument has no value.
    #[error(transparent)]
    Value(#[from] EvalError),
    /// The session could not do it.
    #[error(transparent)]
    Session(#[from] SessionError),
    /// The module list could not be read.
    #[error(transparent)]
    Modules(#[from] crate::symbol::modules::ModuleError<SessionError>),
    /// No symbols are loaded.
    #[error(
        "no kernel symbols are loaded; start with --symbols FILE (the debuggee's kernel image)"
    )]
    NoSymbols,
    /// A pattern without a match.
    #[error("no symbol matches `{pattern}`")]
    NoMatch {
        /// As typed.
        pattern: String,
    },
    /// No module of that name.
    #[error("no module `{name}` is loaded; `lm` lists them")]
    NoModule {
        /// As typed.
        name: String,
    },
    /// No process of that name.
    #[error(
        "no process is called `{name}`; `pid` takes a number (hexadecimal) or the name of one process"
    )]
    NoProcess {
        /// As typed.
        name: String,
    },
    /// Several processes of that name.
    #[error("several processes are called `{name}`: say which, by number ({pids})")]
    ManyProcesses {
        /// As typed.
        name: String,
        /// Their numbers, hexadecimal.
        pids: String,
    },
    /// No process of that number.
    #[error("no process {pid:x} (0n{pid}) is there; `.process list` shows all")]
    NoSuchProcess {
        /// As typed.
        pid: u32,
    },
    /// No thread of that number.
    #[error("no thread {tid:x} (0n{tid}) is there; `.thread list` shows all")]
    NoSuchThread {
        /// As typed.
        tid: u32,
    },
    /// What is to be a process is a thread.
    #[error(
        "{tid:x} is a thread of process {pid:x} ({name}): say {pid:x}, or `.thread context {tid:x}`"
    )]
    IsThread {
        /// As typed.
        tid: u32,
        /// Its process.
        pid: u32,
        /// Its name.
        name: String,
    },
    /// A process that is no more.
    #[error("process {pid:x} ({name}) has ended; its memory is gone, and it does not run any more")]
    Exited {
        /// Its number.
        pid: u32,
        /// Its name.
        name: String,
    },
    /// A task that has no code of its own.
    #[error(
        "{tid:x} ({name}) is a thread of the kernel and has no code of its own; `.process2` and `.thread2` halt when the kernel has switched to it"
    )]
    KernelThread {
        /// Its number.
        tid: u32,
        /// Its name.
        name: String,
    },
    /// A task that has not come from code of its own.
    #[error(
        "where {tid:x} ({name}) goes on in its own code cannot be read; `.process2` and `.thread2` halt when the kernel has switched to it"
    )]
    NoUserCode {
        /// Its number.
        tid: u32,
        /// Its name.
        name: String,
    },
    /// No task has its structure there.
    #[error(
        "no process or thread has its structure at {address:016x}; `.process list` and `.thread list` show where they are"
    )]
    NoTaskAt {
        /// As typed.
        address: u64,
    },
    /// Nothing is known of processes.
    #[error("the driver does not tell where processes and threads are; load one of this release")]
    NoTasks,
    /// A list that is a loop.
    #[error("the kernel's list of tasks is damaged: what stands at {at:016x} leads back into it")]
    TasksLoop {
        /// The node.
        at: u64,
    },
    /// A list that is cut.
    #[error("the kernel's list of tasks is damaged: what stands at {at:016x} leads nowhere")]
    TasksCut {
        /// The node.
        at: u64,
    },
    /// The kernel's function is not known.
    #[error(
        "the kernel has no symbol finish_task_switch, where it has switched to another task; load its symbols (--symbols FILE)"
    )]
    NoSwitch,
    /// A register that was not saved.
    #[error(
        "{name} of {tid:x} was not saved when it ran last: r15 r14 r13 r12 rbx rbp rip rsp are; `.thread context off` returns to the core's registers"
    )]
    NotSaved {
        /// As typed.
        name: String,
        /// The thread.
        tid: u32,
    },
    /// The registers of a task are nowhere.
    #[error(
        "what {tid:x} ({name}) had in its registers is not known: it has ended, or its stack cannot be read; `.thread context off` returns to the core's registers"
    )]
    NoSavedRegisters {
        /// The thread.
        tid: u32,
        /// Its name.
        name: String,
    },
    /// Registers that are not in a core.
    #[error(
        "registers of a task that does not run cannot be changed; `.thread context off` returns to the core's"
    )]
    ContextRegisters,
    /// No symbol near an address.
    #[error("no symbol is near {address:016x}")]
    NoPlace {
        /// The address.
        address: u64,
    },
    /// A value that does not fit.
    #[error("{what} is {value:x}, more than {limit:x}")]
    TooBig {
        /// What it is.
        what: &'static str,
        /// Its value.
        value: u64,
        /// The most it can be.
        limit: u64,
    },
    /// A value out of its range.
    #[error("{what} is {value:x}, not between {least:x} and {most:x}")]
    OutOfRange {
        /// What it is.
        what: &'static str,
        /// Its value.
        value: u64,
        /// The least it can be.
        least: u64,
        /// The most it can be.
        most: u64,
    },
    /// No breakpoint has that number.
    #[error("there is no breakpoint {id:x}; `bl` lists them")]
    NoBreakpoint {
        /// As typed.
        id: u32,
    },
    /// What `bc` and its like change is none.
    #[error("{id:x} is an event and no breakpoint; `events e|d|c {id:x}` changes it")]
    IsAnEvent {
        /// Its number.
        id: u32,
    },
    /// An output that cannot be used.
    #[error(transparent)]
    Sink(#[from] crate::sink::SinkError),
    /// A text that is no script.
    #[error(transparent)]
    Program(#[from] crate::script::problem::Explained),
    /// A script did not run to its end, or not as meant.
    #[error("{0}")]
    ScriptEnded(Failure),
    /// A text that is no machine code.
    #[error("{option}: {why}")]
    Assembly {
        /// The option it belongs to.
        option: &'static str,
        /// What is wrong, and where.
        why: crate::assembler::AssemblyError,
    },
    /// A register that cannot be named.
    #[error("no register `{name}`; `.help r` lists them")]
    NoRegister {
        /// As typed.
        name: String,
    },
    /// No virtual address leads to a physical one in a way that is known here.
    #[error("physical address {physical:x} is not in the kernel's direct map, nor in its image")]
    NoVirtual {
        /// The address.
        physical: u64,
    },
    /// A session file that cannot be used.
    #[error(transparent)]
    Saved(#[from] crate::saved::SavedError),
    /// An address of a session file that means nothing here.
    #[error(
        "its address is a number, and the kernel is another one or elsewhere now; set it by name"
    )]
    AddressOfThen {},
    /// A file for memory could not be written.
    #[error("cannot write {path}: {why}")]
    MemoryFile {
        /// Which file.
        path: String,
        /// What the system says.
        why: String,
    },
    /// A script could not be read.
    #[error("cannot read the script {path}: {why}")]
    Script {
        /// Which file.
        path: String,
        /// What the system says.
        why: String,
    },
    /// A script failed at a line.
    #[error("{path}, line {line}: the script ends here")]
    ScriptFailed {
        /// Which file.
        path: String,
        /// Counted from 1.
        line: usize,
    },
    /// Scripts that call scripts without end.
    #[error("scripts call each other more than {limit} deep")]
    ScriptDepth {
        /// The limit.
        limit: usize,
    },
    /// An event was sent with others, and there is no result for it.
    #[error("the debuggee gave no result for it")]
    NoResult {},
    /// Part of several events failed; said line by line before.
    #[error("{failed} of {count} commands failed")]
    Partly {
        /// How many failed.
        failed: usize,
        /// Of how many.
        count: usize,
    },
}
