//! Runs verified programs. The driver does so in VMX-root on every hit, the host when a script is
//! tried without a machine: the very same code.
//!
//! A run cannot fault, recurse or loop without bound, or touch anything but its own [`Workspace`],
//! its locals, and what its [`Machine`] lets it touch; and it allocates nothing. What a script
//! does wrong gives 0 and is counted ([`Outcome::faults`]). Each operation (a word of the decoded
//! program) takes one from the budget; operations that work on many bytes take one for each 64, and so
//! does each turn of a lock that is not free. The budget is looked at where a run does not simply go on:
//! at jumps, calls and returns, and before what takes more than one.

pub mod globals;
mod interpret;
pub mod machine;
mod memory;
mod record;
mod routine;
mod run;
mod text;
mod update;
mod value;

pub use machine::{Ask, BranchCall, Machine, Tracing};
use run::RecordMemory;
pub use run::TEXT_BYTES;
pub use run::run;

#[cfg(test)]
mod tests;

/// Registers of all calls together.
pub const STACK_VALUES: usize = 2048;

/// Calls within calls.
pub const CALLS: usize = 256;

/// Memory of all frames together.
pub const FRAMES_BYTES: usize = 8192;

/// Most bytes that are moved at a time.
pub const PIECE_BYTES: usize = 64;

/// Longest wait of one `microsleep`. Each microsecond takes [`SLEEP_COST`] from the budget.
pub const SLEEP_US: u32 = 10_000;

/// What waiting for a microsecond costs, in operations.
pub const SLEEP_COST: u64 = 100;

/// Longest back-off of a lock unless the script says otherwise, in turns.
pub const BACK_OFF: u64 = 65_536;

/// A call that has not returned.
#[derive(Clone, Copy, Debug, Default)]
struct Call {
    /// Where the caller goes on.
    next: u32,
    /// Where its registers begin.
    base: u16,
    /// Its register that gets the result.
    result: u8,
    /// Where the caller's frame begins, and where it ends.
    frame: (u16, u16),
}

/// Memory that a run needs and leaves in any state. One per core that runs programs; about 30 KiB.
#[derive(Debug)]
pub struct Workspace {
    stack: [u64; STACK_VALUES],
    frames: [u8; FRAMES_BYTES],
    calls: [Call; CALLS],
    record: RecordMemory,
}

impl Workspace {
    /// A workspace. What it holds does not matter: memory of zeros is one, too.
    #[must_use]
    pub const fn new() -> Self {
        let call = Call {
            next: 0,
            base: 0,
            result: 0,
            frame: (0, 0),
        };
        Self {
            stack: [0; STACK_VALUES],
            frames: [0; FRAMES_BYTES],
            calls: [call; CALLS],
            record: RecordMemory::new(),
        }
    }
}

impl Default for Workspace {
    fn default() -> Self {
        Self::new()
    }
}

/// How a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// By itself; `value` is what it returned, 0 if nothing.
    Finished {
        /// The result.
        value: u64,
    },
    /// It took more operations than it was given.
    OverBudget {
        /// Code offset of the operation that was next.
        at: u32,
    },
    /// Calls within calls took more than the workspace holds.
    StackOverflow {
        /// Code offset of the call.
        at: u32,
    },
    /// The program is not the one that was verified.
    Broken {
        /// Code offset of what makes no sense.
        at: u32,
    },
}

/// What a script did wrong: the operation gave 0, or did nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FaultKind {
    /// Division by zero.
    DivisionByZero,
    /// This address cannot be read.
    Read(u64),
    /// This address cannot be written.
    Write(u64),
    /// An atomic operation or a lock on something that is no variable, or not aligned.
    NotAVariable(u64),
    /// A register does not take this value.
    Register(u64),
}

/// The first fault of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fault {
    /// Code offset of the operation.
    pub at: u32,
    /// What happened.
    pub kind: FaultKind,
}

/// What is known after a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// How it ended.
    pub end: End,
    /// Budget that was not used.
    pub left: u64,
    /// Number of faults.
    pub faults: u32,
    /// The first of them.
    pub first_fault: Option<Fault>,
}

impl Outcome {
    /// The result of a run that ended by itself.
    #[must_use]
    pub fn value(&self) -> Option<u64> {
        match self.end {
            End::Finished { value } => Some(value),
            _ => None,
        }
    }
}
