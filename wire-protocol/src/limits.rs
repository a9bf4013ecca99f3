//! Every bound of the protocol, each with its unit. A length from the wire is compared with one
//! of these before anything is done with it.

/// Payload of one frame: a 4 KiB memory reply with its header fits in one.
pub const FRAME_PAYLOAD_BYTES: usize = 4224;

/// What a line that loses much is given at once: parts of a frame of so many bytes.
pub const LEAST_CUT_BYTES: usize = 64;

/// One message, however many frames it takes: an event with 80 KiB of actions and a page of
/// condition, and room above for what must be refused because it is longer.
pub const MESSAGE_BYTES: usize = 88 * 1024;

/// Frames sent and not yet acknowledged.
pub const WINDOW_FRAMES: usize = 8;

/// Memory read or written by one request.
pub const MEMORY_BYTES: usize = 16 * 1024;

/// Physical memory digested by one request, so that one request stays short.
pub const DIGEST_BYTES: u64 = 16 << 20;

/// Events added by one request.
pub const EVENTS_PER_REQUEST: usize = 256;

/// Bytes of code before a hook in which instructions are known to start one behind the other.
pub const LEAD_BYTES: u8 = 40;

/// Events listed by one reply.
pub const EVENTS_PER_REPLY: usize = 1024;

/// Events whose hits come with a stop; those of the others are in the list of events.
pub const HITS_PER_STOP: usize = 256;

/// Objects carved by one `prealloc`.
pub const PREALLOC_COUNT: u32 = 0x10000;

/// Logical processors.
pub const CORES: usize = 64;

/// Bytes of code at the instruction pointer that come with a stop.
pub const STOP_CODE_BYTES: usize = 16;

/// Instructions executed by one request for steps.
pub const STEPS: u32 = 0x10_0000;

/// What is told of them at once, encoded.
pub const STEPS_PART_BYTES: usize = 1024;

/// Name of a process or thread.
pub const TASK_NAME_BYTES: usize = 16;

/// What a kernel says when it ends, or the name of what begins.
pub const OCCASION_TEXT_BYTES: usize = 120;

/// Bytes of a command line in a list of processes.
pub const TASK_COMMAND_BYTES: usize = 96;

/// Processes or threads in one reply.
pub const TASKS_PER_REPLY: usize = 128;

/// Ranges of physical memory in the handshake.
pub const RAM_RANGES: usize = 32;

/// What is said in the handshake about the guest's operating system.
pub const SYSTEM_BYTES: usize = 256;

/// The debuggee's own description of itself (the kernel's banner), in bytes of UTF-8.
pub const BANNER_BYTES: usize = 192;

/// A program, or machine code, in one message: what a big event's action buffer holds.
pub const PROGRAM_BYTES: usize = 80 * 1024;

/// Arguments of one print.
pub const PRINT_ARGUMENTS: usize = 16;

/// What one record of a print, a trace or a failure says, encoded.
pub const RECORD_BYTES: usize = 2048;

/// Records in one notice, encoded: one frame.
pub const BATCH_BYTES: usize = 4096;

/// Global variables defined by one request.
pub const GLOBALS_PER_REQUEST: usize = 256;
