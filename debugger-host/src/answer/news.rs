//! What the debuggee says by itself, and what programs print. Made by [`crate::command`].

use super::event::{StandingName, Trigger};
use super::occasion::OccasionName;
use super::status::{DropCause, Status};
use super::{Address, Count, Hex, Instruction, Problem};
use crate::dropped::DropNews;
use crate::script::lines::Line;
use crate::session::TaskId;
use crate::timeout::{LineState, Wait};
use schemars::JsonSchema;
use serde::Serialize;
use std::fmt;
use wire_protocol::link::RateNews;
use wire_protocol::packet::{self, FailureCause, StepEnd};

/// Something that happened while no command asked for it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
pub enum News {
    /// The debuggee halted.
    Halted {
        /// Why and where.
        halt: Box<Halt>,
    },
    /// The hypervisor met a fault of its own; the core stands still for good.
    Fault {
        /// On which core.
        core: u16,
        /// Exception vector.
        vector: u16,
        /// Host instruction pointer.
        rip: Hex,
        /// CR2 or error code.
        detail: Hex,
    },
    /// A program of an event said something.
    Message {
        /// What.
        message: Message,
    },
    /// Messages that are not shown, because the user pressed Ctrl+C.
    MessagesSpared {
        /// How many.
        count: Count,
    },
    /// The driver is not there any more. It is waited for.
    DriverGone {
        /// It told so itself; else another one was loaded without a word of the one before.
        said_goodbye: bool,
    },
    /// A driver that was waited for is there, and a new session began.
    DriverBack {
        /// With whom, and how it is.
        status: Box<Status>,
        /// The halt it is in; null when it runs.
        halt: Option<Box<Halt>>,
    },
    /// Another host program has the debuggee, and this one stops.
    OtherHost {
        /// For how long it had it; null when it took it from this one.
        seconds: Option<u32>,
    },
    /// What was set in the session before is not in the debuggee any more; `.session load` sets it again.
    EventsLost {
        /// How many events.
        events: u32,
    },
    /// A driver that was waited for is there, and no session came about.
    DriverFailed {
        /// Why.
        problem: Problem,
    },
    /// A notice of a kind that this program does not know.
    UnknownNotice {
        /// Its first byte.
        notice: u8,
    },
    /// A notice of a known kind that cannot be read.
    MalformedNotice {
        /// Its first byte.
        notice: u8,
    },
    /// A command takes long; Ctrl+C ends it.
    Waiting {
        /// The request that has no answer yet; null if the debuggee is to halt.
        request: Option<String>,
        /// How long it takes so far.
        seconds: Count,
        /// Bytes that came with no message among them; null if a message came, or next to nothing.
        foreign_bytes: Option<Count>,
        /// Why the line is not open; null if it is.
        lost: Option<String>,
    },
    /// The line cannot be opened yet; Ctrl+C ends the wait.
    WaitingForLine {
        /// Which.
        line: String,
        /// How long it takes so far.
        seconds: Count,
        /// What the last attempt said.
        why: String,
    },
    /// The line is lost, and is being opened again.
    LineLost {
        /// Why.
        why: String,
    },
    /// A line that was lost is open again.
    LineBack {
        /// Why it had been lost; null if that was told.
        why: Option<String>,
    },
    /// The debuggee is not at the speed that the line was opened with, and is talked to at its own.
    OtherBaud {
        /// The speed that the line was opened with.
        baud: u32,
        /// The debuggee's.
        found: u32,
    },
    /// What comes makes no sense at any speed that was tried.
    Garbage {
        /// The speed that the line was opened with.
        baud: u32,
        /// How many others were tried.
        tried: u32,
    },
    /// The line did not carry its speed any more.
    LowerBaud {
        /// That speed.
        baud: u32,
        /// The one at which it goes on.
        now: u32,
    },
    /// Datagrams came that change nothing.
    DatagramsDropped {
        /// Why.
        cause: DropCause,
        /// Where the last one came from.
        from: String,
        /// How many for this cause, so far.
        count: Count,
        /// In words, with what helps.
        text: String,
    },
    /// Nothing is recorded any more; the session goes on.
    RecordingEnded {
        /// What the operating system says.
        why: String,
    },
    /// An output does not take what it is given.
    OutputFailed {
        /// Why.
        problem: Problem,
    },
}

impl From<RateNews> for News {
    fn from(news: RateNews) -> Self {
        match news {
            RateNews::Elsewhere { asked_hz, found_hz } => Self::OtherBaud {
                baud: asked_hz,
                found: found_hz,
            },
            RateNews::Nowhere { asked_hz, tried } => Self::Garbage {
                baud: asked_hz,
                tried,
            },
            RateNews::Lowered { from_hz, to_hz } => Self::LowerBaud {
                baud: from_hz,
                now: to_hz,
            },
        }
    }
}

impl From<DropNews> for News {
    fn from(news: DropNews) -> Self {
        Self::DatagramsDropped {
            cause: news.cause.into(),
            from: news.from.to_string(),
            count: Count(news.count),
            text: news.to_string(),
        }
    }
}

impl From<&Wait> for News {
    fn from(wait: &Wait) -> Self {
        match wait {
            Wait::Answer {
                request,
                seconds,
                line,
            } => Self::Waiting {
                request: request.map(str::to_owned),
                seconds: Count(*seconds),
                foreign_bytes: match line {
                    LineState::Foreign { bytes } => Some(Count(*bytes)),
                    LineState::Open | LineState::Lost { .. } => None,
                },
                lost: match line {
                    LineState::Open | LineState::Foreign { .. } => None,
                    LineState::Lost { why } => Some(why.clone()),
                },
            },
            Wait::Rate(news) => Self::from(*news),
            Wait::Dropped(news) => Self::from(*news),
            Wait::Line { line, seconds, why } => Self::WaitingForLine {
                line: line.clone(),
                seconds: Count(*seconds),
                why: why.clone(),
            },
        }
    }
}

/// A halt.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Halt {
    /// Counts halts since the driver was loaded.
    pub number: u32,
    /// On which core.
    pub core: u16,
    /// Why.
    pub cause: Cause,
    /// Cores that did not check in and may still run.
    pub missing_cores: Vec<u16>,
    /// Where the core stands.
    pub at: Address,
    /// The instruction there; null when it cannot be read.
    pub instruction: Option<Instruction>,
    /// What runs there; null when that is not known.
    pub task: Option<TaskName>,
    /// General registers, flags and selectors, but for rip, that are not what they were when this core let the debuggee go;
    /// null when another core did, or that is told otherwise.
    pub changed: Option<Vec<String>>,
}

/// A thread, and its process.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TaskName {
    /// Number of the process.
    pub pid: u32,
    /// Number of the thread.
    pub tid: u32,
    /// Name of the thread.
    pub name: String,
}

impl From<&TaskId> for TaskName {
    fn from(id: &TaskId) -> Self {
        Self {
            pid: id.pid,
            tid: id.tid,
            name: id.name.clone(),
        }
    }
}

/// Why the debuggee halted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Cause {
    /// The host asked for it.
    BreakIn {},
    /// An event was hit, or its script paused.
    Event {
        /// Its number.
        id: u32,
        /// It is a breakpoint.
        is_breakpoint: bool,
        /// What it watches; null when the list of events cannot be read.
        trigger: Option<Trigger>,
    },
    /// The guest cannot go on on this core, which executes nothing any more.
    CoreDied {
        /// The processor's exit reason, or VM-instruction error + 256; 2 is a triple fault.
        reason: u16,
        /// Exit qualification or guest-physical address.
        detail: Hex,
    },
    /// The guest came to something at which it halts by itself.
    Occasion {
        /// What.
        name: OccasionName,
        /// The instruction that it is about, or the first one of what begins; null if there is none.
        place: Option<Address>,
        /// Error code, number of a signal or a thread, exit code.
        number: Hex,
        /// What the kernel says, or whose name it is.
        text: Option<String>,
    },
    /// Steps that were asked for came to their end.
    Stepped {
        /// Why.
        end: StepEndName,
    },
}

/// Why no more instructions were executed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum StepEndName {
    /// They are as many as were asked for.
    Count,
    /// The core sleeps, and nothing came that wakes it.
    Asleep,
    /// The next one did not end in time.
    Stuck,
    /// The line did not take what was to be told of them.
    Untold,
    /// They are as many as were asked for, and did not lead where they were to.
    Limit,
    /// The thread came to the address where it was to halt.
    Arrived,
    /// Nothing can tell when the thread comes back.
    Lost,
}

impl From<StepEnd> for StepEndName {
    fn from(end: StepEnd) -> Self {
        match end {
            StepEnd::Count => Self::Count,
            StepEnd::Asleep => Self::Asleep,
            StepEnd::Stuck => Self::Stuck,
            StepEnd::Untold => Self::Untold,
            StepEnd::Limit => Self::Limit,
            StepEnd::Arrived => Self::Arrived,
            StepEnd::Lost => Self::Lost,
        }
    }
}

/// What a program said.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Message {
    /// The event; null if it is a script that ran once.
    pub event: Option<u32>,
    /// On which core it ran.
    pub core: u16,
    /// Messages of that core that found no room right before this one.
    pub lost: Count,
    /// What.
    pub content: Content,
}

/// What one message holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Content {
    /// The text of a script, as it wrote it.
    Text {
        /// The text.
        text: String,
    },
    /// An instruction of a trace is about to run.
    Trace {
        /// Where.
        at: Address,
        /// Which; null when it cannot be read.
        instruction: Option<Box<Instruction>>,
    },
    /// A program did not do all of its work.
    Failure {
        /// Why.
        failure: Failure,
    },
    /// The event stands otherwise to the code that it hooks.
    Standing {
        /// How.
        standing: StandingName,
    },
}

/// Why a program did not do all of its work.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Failure {
    /// Why.
    pub cause: FailureName,
    /// Offset in the program.
    pub at: u32,
    /// Line of the script, if that is known.
    pub line: Option<Line>,
    /// Count, address, vector or value, as the cause says.
    pub detail: Hex,
}

/// Causes of failures.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum FailureName {
    /// More operations than a run may have; `detail` is the limit.
    Operations,
    /// Functions call each other too deeply.
    Depth,
    /// The program is damaged.
    Broken,
    /// Machine code ran more instructions than it may; `detail` is the limit.
    Instructions,
    /// Machine code raised an exception; `detail` is the vector.
    Exception,
    /// Division by zero gave 0.
    Division,
    /// Nothing can be read at `detail`.
    Read,
    /// Nothing can be written at `detail`.
    Write,
    /// `detail` is not the address of a variable.
    Variable,
    /// A register does not take the value `detail`.
    Register,
}

impl From<FailureCause> for FailureName {
    fn from(cause: FailureCause) -> Self {
        match cause {
            FailureCause::Operations => Self::Operations,
            FailureCause::Depth => Self::Depth,
            FailureCause::Broken => Self::Broken,
            FailureCause::Instructions => Self::Instructions,
            FailureCause::Exception => Self::Exception,
            FailureCause::Division => Self::Division,
            FailureCause::Read => Self::Read,
            FailureCause::Write => Self::Write,
            FailureCause::Variable => Self::Variable,
            FailureCause::Register => Self::Register,
        }
    }
}

impl FailureName {
    /// As JSON has it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Operations => "operations",
            Self::Depth => "depth",
            Self::Broken => "broken",
            Self::Instructions => "instructions",
            Self::Exception => "exception",
            Self::Division => "division",
            Self::Read => "read",
            Self::Write => "write",
            Self::Variable => "variable",
            Self::Register => "register",
        }
    }
}

impl Failure {
    /// A failure, with its line if that is known.
    #[must_use]
    pub fn new(failure: &packet::Failure, line: Option<Line>) -> Self {
        Self {
            cause: failure.cause.into(),
            at: failure.at,
            line,
            detail: Hex(failure.detail),
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            cause, at, line, ..
        } = self;
        let detail = self.detail.0;
        match (line, cause) {
            (_, FailureName::Instructions | FailureName::Exception) => {
                write!(f, "code, offset {at:x}: ")
            }
            (Some(line), _) => write!(f, "{line}: "),
            (None, _) => write!(f, "script, offset {at:x}: "),
        }?;
        match cause {
            FailureName::Operations => write!(
                f,
                "it did more than {detail} (0x{detail:x}) operations and was ended; \
                 script_operations is the limit that the driver is loaded with"
            ),
            FailureName::Depth => {
                f.write_str("its functions call each other too deeply; it was ended")
            }
            FailureName::Broken => f.write_str("the program is damaged; it was ended"),
            FailureName::Instructions => write!(
                f,
                "it ran more than {detail} (0x{detail:x}) instructions; the event is disabled"
            ),
            FailureName::Exception => {
                write!(f, "it raised exception {detail:x}; the event is disabled")
            }
            FailureName::Division => f.write_str("division by zero gave 0"),
            FailureName::Read => {
                write!(f, "nothing can be read at {detail:016x}; the value is 0")
            }
            FailureName::Write => write!(f, "nothing can be written at {detail:016x}"),
            FailureName::Variable => write!(
                f,
                "{detail:016x} is not the address of a variable, or not aligned, and cannot be used \
                 atomically"
            ),
            FailureName::Register => {
                write!(f, "the register does not take the value {detail:x}")
            }
        }
    }
}
