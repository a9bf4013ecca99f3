//! The debuggee and the session with it, in answers.

use super::{Address, Count, Hex};
use schemars::JsonSchema;
use serde::Serialize;
use wire_protocol::secure::Cause;

/// The session and the debuggee.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Status {
    /// The line.
    pub line: Line,
    /// The kernel's version, in its own words.
    pub banner: String,
    /// Changes when the driver is loaded anew.
    pub session: Hex,
    /// Cores under the hypervisor.
    pub cores: u16,
    /// Where the kernel begins.
    pub kernel_base: Hex,
    /// Ticks of the time-stamp counter in a millisecond.
    pub tsc_khz: u32,
    /// Running or halted.
    pub state: State,
    /// Symbols of the kernel; null if none are loaded.
    pub symbols: Option<KernelSymbols>,
    /// Design constants in force.
    pub constants: Constants,
    /// The debuggee's network, as the driver counts; null if it uses none.
    pub network: Option<Network>,
}

/// The debuggee's end of a network.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Network {
    /// Datagrams that changed nothing there, for each reason of which there were any.
    pub dropped: Vec<Dropped>,
    /// Sessions that began.
    pub sessions: Count,
    /// How often its code failed, and it was made anew.
    pub rebuilt: Count,
    /// How often the card was not as it had been left, and was set up anew.
    pub card_resets: Count,
    /// Milliseconds since a host was heard there; null if none ever was.
    pub heard_ms_ago: Option<Count>,
}

/// The line to the debuggee.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Line {
    /// What it is.
    pub endpoint: Endpoint,
    /// Why it is not open; null if it is.
    pub lost: Option<String>,
    /// Its speed now; null if it has none.
    pub baud: Option<u32>,
    /// The lowest speed that it did not carry; null if none was tried in vain.
    pub failed_baud: Option<u32>,
    /// Bytes that were sent.
    pub sent_bytes: Count,
    /// Bytes that came.
    pub received_bytes: Count,
    /// Requests that were made.
    pub requests: Count,
    /// Frames that were sent.
    pub sent_frames: Count,
    /// Frames that were sent again.
    pub repeated_frames: Count,
    /// Frames that came.
    pub received_frames: Count,
    /// Frames that came damaged.
    pub broken_frames: Count,
    /// Frames that came twice.
    pub duplicate_frames: Count,
    /// Frames that came after a gap.
    pub gap_frames: Count,
    /// Datagrams that changed nothing, for each reason of which there were any.
    pub dropped: Vec<Dropped>,
}

/// Datagrams that changed nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Dropped {
    /// Why.
    pub cause: DropCause,
    /// How many.
    pub count: Count,
}

/// Why a datagram changed nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum DropCause {
    /// It was no debuggee's.
    Foreign,
    /// Its end was missing.
    Truncated,
    /// This program's own came back.
    Reflected,
    /// It was a call under another key.
    WrongKey,
    /// It did not authenticate.
    Forged,
    /// It came before.
    Replayed,
    /// It was a call at an earlier time than the last one.
    OlderClock,
    /// It was of a session that is over.
    UnknownSession,
}

impl From<Cause> for DropCause {
    fn from(cause: Cause) -> Self {
        match cause {
            Cause::Foreign => Self::Foreign,
            Cause::Truncated => Self::Truncated,
            Cause::Reflected => Self::Reflected,
            Cause::WrongKey => Self::WrongKey,
            Cause::Forged => Self::Forged,
            Cause::Replayed => Self::Replayed,
            Cause::OlderClock => Self::OlderClock,
            Cause::UnknownSession => Self::UnknownSession,
        }
    }
}

/// What a line is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Endpoint {
    /// A serial device.
    Serial {
        /// Its name.
        device: String,
        /// Its speed when it was opened.
        baud: u32,
        /// It is not to be changed.
        baud_fixed: bool,
    },
    /// A Unix socket.
    Socket {
        /// Its path.
        path: String,
    },
    /// A TCP server.
    Tcp {
        /// `HOST:PORT`
        address: String,
    },
    /// A Windows named pipe.
    Pipe {
        /// Its name.
        name: String,
    },
    /// A Windows named pipe that the host program serves.
    PipeServer {
        /// Its name.
        name: String,
    },
    /// A debuggee on the network.
    Net {
        /// Where it is listened for: `ADDRESS:PORT`.
        address: String,
        /// What its key is known by.
        key: String,
    },
}

/// Running or halted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
pub enum State {
    /// It runs.
    Running {},
    /// Another host program has it.
    TakenOver {},
    /// It is halted.
    Halted {
        /// Counts halts since the driver was loaded.
        number: u32,
        /// The core that commands work on.
        core: u16,
    },
    /// The driver was unloaded, and is waited for.
    DriverGone {},
}

/// Symbols of the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct KernelSymbols {
    /// How many.
    pub count: u32,
    /// How far the kernel is from where it was linked.
    pub slide: Hex,
}

/// Design constants.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Constants {
    /// The arena.
    pub arena_bytes: Count,
    /// Part of it that only `prealloc` may take.
    pub prealloc_only_bytes: Count,
    /// Halted time is taken out of the guest's time-stamp counter.
    pub hides_time: bool,
    /// Polls of the line per second while the guest runs.
    pub poll_hz: u32,
}

/// What became of messages of programs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Messages {
    /// Made by programs.
    pub made: Count,
    /// Delivered.
    pub delivered: Count,
    /// Lost for want of room.
    pub dropped: Count,
    /// Dropped by `flush`.
    pub flushed: Count,
    /// Waiting.
    pub waiting: Count,
}

/// A core.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Core {
    /// Its number.
    pub core: u16,
    /// Commands work on it.
    pub is_operating: bool,
    /// How it is.
    pub state: CoreState,
}

/// How a core is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
pub enum CoreState {
    /// Halted.
    Halted {
        /// Where.
        at: Address,
    },
    /// Waits for a start-up IPI.
    WaitsForStartup {},
    /// Did not check in.
    Missing {},
    /// Not under the hypervisor.
    Offline {},
    /// Its guest cannot go on; it executes nothing any more.
    Died {
        /// Where it stood last.
        at: Address,
    },
    /// The hypervisor met a fault of its own there; nothing is known of it.
    Lost {},
}

/// Where messages of events can go.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Output {
    /// Its name.
    pub name: String,
    /// What it leads to.
    pub target: Target,
    /// It takes messages.
    pub is_open: bool,
    /// Why it writes no more; null if nothing failed.
    pub failure: Option<String>,
    /// Messages that were written.
    pub messages: Count,
    /// Bytes that were written.
    pub bytes: Count,
}

/// What an output leads to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Target {
    /// A file.
    File {
        /// Its path.
        path: String,
    },
    /// A TCP server.
    Tcp {
        /// Host and port.
        address: String,
    },
    /// A named pipe.
    Namedpipe {
        /// Its path.
        path: String,
    },
}
