//! Every refusal: the situation that makes it, what it says, and the way out that it names. One session, from the top
//! down; events are cleared after each row. In commands, `<name>` stands for what [`super::Session`] knows under that
//! name: `<help>` is the first command in the refusal, `<again>` the command that was refused.

use super::wire::{self, Line};
use wire_protocol::refusal::Refusal;

/// Where a refusal is made.
pub(super) enum Situation {
    /// In a halt, on a machine whose pools are small and never refilled.
    Halted(Case),
    /// There, with a core that did not come.
    Late(Case),
    /// There, with another process on core 1.
    Elsewhere(Case),
    /// On a machine whose processor can do less, and whose pools are refilled.
    Older(Case),
    /// By a message that the host program does not send: it says itself what is wrong, or would not do so.
    Wire(WireCase),
    /// Where no session of the lab can make it.
    Other {
        /// The file and the test in it that make it; none if nothing does.
        test: Option<(&'static str, &'static str)>,
        /// Why not here.
        because: &'static str,
    },
}

/// Commands of a session.
pub(super) struct Case {
    /// What leads there.
    pub(super) before: &'static [&'static str],
    /// What is refused.
    pub(super) command: &'static str,
    /// What the refusal says.
    pub(super) words: &'static [&'static str],
    /// What it advises: it works. `guest: ` is for the debuggee's console.
    pub(super) cure: &'static [&'static str],
}

/// Messages of a session.
pub(super) struct WireCase {
    /// What is refused.
    pub(super) ask: fn(&mut Line) -> Result<(), Refusal>,
    /// What the refusal says.
    pub(super) words: &'static [&'static str],
    /// What it advises: it works.
    pub(super) cure: fn(&mut Line) -> Result<(), Refusal>,
}

/// One row.
pub(super) struct Row {
    /// The refusal as programs see it, with the value of its closed set if its words differ by that.
    pub(super) refusal: &'static str,
    /// Where it is made.
    pub(super) situation: Situation,
}

macro_rules! rows {
    ($($refusal:literal $place:ident [$($before:literal),*] $command:literal: [$($words:literal),*] => [$($cure:literal),*];)*) => {
        &[$(Row {
            refusal: $refusal,
            situation: Situation::$place(Case {
                before: &[$($before),*],
                command: $command,
                words: &[$($words),*],
                cure: &[$($cure),*],
            }),
        }),*]
    };
}

/// By commands.
pub(super) const ROWS: &[Row] = rows! {
    "process-not-found" Halted [] "!cpuid pid 7fff0": ["c0000040: ", "7fff0"] => ["!cpuid pid 1"];
    "not-present" Halted [] "!epthook ffffc7ffdead0000": ["c0000005: ", "ffffc7ffdead0000", "`~ N`"] => [];
    "not-present" Halted [] "!monitor w ffffc7ffdead0000 l 8": ["c0000005: ", "ffffc7ffdead0000"] => [];
    "no-such-core" Halted [] "!cpuid core 7": ["c0000051: ", "core 7", "has 2, from 0 to 1"] => ["!cpuid core 1"];
    "no-such-core" Halted [] "~ 7": ["c0000051: ", "core 7", "has 2, from 0 to 1"] => ["~ 0"];
    "no-such-event" Halted [] "events c 63": ["c0000100: ", "event 63"] => ["<help>"];
    "physical-out-of-range" Halted []
        "!monitor pa w ffffffffff000 l 8": ["c0000056: ", "ffffffffff000", "end at"] => ["!monitor pa w (<end> - 1000) l 8"];
    "debugger-memory" Halted [] "!epthook <driver>": ["c0000052: ", "debugger itself", "cannot be"] => [];
    "read-only-register" Halted [] "r tr = 1": ["c0000101: ", "tr can only be read"] => ["r tr"];
    "bad-register-value" Halted [] "r cr4 = ffffffffffffffff": ["c0000102: ", "cr4"] => ["r cr4 = @cr4"];
    "not-whole-pages" Halted [] "!digest 10 l 1000": ["c0000111: ", "multiples of 1000"] => ["!digest 1000 l 1000"];
    "own-port" Halted [] "!ioin 2f8": ["c000010c: ", "port 2f8"] => ["!ioin 60"];
    "own-msr" Halted [] "!msrread 480": ["c000010d: ", "MSR 480"] => ["!msrread 1b"];
    "global-length" Halted ["? .shared = 1;"] "? { long .shared[4]; .shared[0] = 1; }":
        ["c0000120: ", "has 8 bytes", "wants 32", "another name"] => ["? { long .shared_by_four[4]; .shared_by_four[0] = 1; }"];
    "globals-full" Halted [] "? { char .all[100000]; .all[0] = 1; }":
        ["c0000121: ", "1048576 bytes", "use what there is"] => ["? .shared = 2;"];

    // Each pool, empty.
    "pool-exhausted regular-event" Halted ["!cpuid 1", "!cpuid 2"] "!cpuid 3":
        ["c0000042: ", "all 2 are in use", "; run `prealloc regular-event 1`"] => ["<help>", "<again>"];
    "no-big-event condition" Halted [] "!cpuid condition { <150 bytes> }":
        ["c0000043: ", "0n150", "0n100", "none is reserved", "; run `prealloc big-event 1`"] => ["<help>", "<again>"];
    "no-big-event action" Halted ["!cpuid condition { <150 bytes> }"] "!cpuid code { <600 bytes> }":
        ["c0000046: ", "0n608", "0n512", "all 1 are in use", "; run `prealloc big-event 1`"] => ["<help>", "<again>"];
    "pool-exhausted regular-safe-buffer" Halted [] "!cpuid buffer 1000":
        ["c0000049: ", "none is reserved", "; run `prealloc regular-safe-buffer 1`"] => ["<help>", "<again>"];
    "pool-exhausted big-safe-buffer" Halted [] "!cpuid buffer 1001":
        ["c000004a: ", "none is reserved", "; run `prealloc big-safe-buffer 1`"] => ["<help>", "<again>"];
    "pool-exhausted epthook" Halted ["!epthook vmlinux!vfs_read"] "!epthook vmlinux!do_sys_openat2":
        ["c0000023: ", "all 1 are in use", "; run `prealloc epthook 1`"] => ["<help>", "<again>"];
    "pool-exhausted epthook2" Halted ["!epthook2 vmlinux!vfs_read"] "!epthook2 vmlinux!do_sys_openat2":
        ["c0000023: ", "all 1 are in use", "; run `prealloc epthook2 1`"] => ["<help>", "<again>"];
    "pool-exhausted monitor" Halted ["!monitor w vmlinux!linux_banner l 1"] "!monitor w vmlinux!jiffies_64 l 8":
        ["c0000023: ", "all 1 are in use", "; run `prealloc monitor 1`"] => ["<help>", "<again>"];
    "pool-exhausted monitor" Halted [] "!monitor rw ffff888000001000 l 6000":
        ["c0000023: ", "too few monitored pages: 6 are needed, and of 2 2 are free; run `prealloc monitor 4`"] => ["<help>", "<again>"];

    // What is too large.
    "condition-too-big" Halted ["prealloc regular-event 40"] "!cpuid condition { <201 bytes> }":
        ["c0000041: ", "0n201", "0n200", "smaller", "larger big_condition_bytes"] => ["!cpuid condition { <200 bytes> }"];
    "action-too-big" Halted [] "!cpuid code { <2056 bytes> }":
        ["c0000047: ", "0n2064", "0n2048", "smaller", "larger big_action_bytes"] => ["!cpuid code { <2000 bytes> }"];
    "buffer-over-message" Halted [] "!cpuid buffer 16001": ["c0000048: ", "0n90113", "0n90112"] => ["!cpuid <help>"];
    "buffer-too-big" Halted [] "!cpuid buffer 2001":
        ["c000004b: ", "0n8193", "0n8192", "larger big_safe_buffer_bytes"] => ["!cpuid <help>"];

    // Hooks that cannot be there.
    "too-many-hooks-on-page" Halted ["<forty hooks>"] "!epthook (vmlinux!_text + 1280) force":
        ["c0000022: ", "40 hooks", "`events c N`"] => ["events c <event>", "<again>"];
    "page-taken" Halted ["!epthook2 vmlinux!vfs_read"] "!epthook (vmlinux!vfs_read + 5)":
        ["c0000026: ", "cannot share a page", "; `events c <event>` clears it"] => ["events c <event>", "<again>"];
    "page-taken" Halted ["!epthook2 vmlinux!vfs_read"] "!epthook2 vmlinux!vfs_read":
        ["c0000026: ", "nor two detours an instruction"] => ["events c <event>", "<again>"];
    "page-taken" Halted ["!epthook (vmlinux!_text + 1000) force"] "!epthook2 (vmlinux!_text + 1000) force":
        ["c0000026: ", "cannot share a page"] => ["events c <event>"];
    "not-ram" Halted [] "!epthook <device>": ["c0000052: ", "belongs to a device"] => ["<help> w <device> l 4"];
    "no-detour not-kernel" Halted [] "!epthook2 1000": ["c0000027: ", "only the kernel's code"] => [];
    "no-detour entry-code" Halted [] "!epthook2 vmlinux!entry_SYSCALL_64":
        ["c0000027: ", "kernel's entry"] => ["<help> vmlinux!entry_SYSCALL_64"];
    "no-detour too-short" Halted [] "!epthook2 (vmlinux!vfs_open + 5)":
        ["c0000027: ", "shorter than the five bytes"] => ["<help> (vmlinux!vfs_open + 5)"];
    "no-detour instruction" Halted [] "!epthook2 <unmovable> force": ["c0000027: ", "carried out elsewhere"] => ["<help> <unmovable> force"];
    "no-detour page-end" Halted [] "!epthook2 <crossing> force": ["c0000027: ", "on the next page"] => ["<help> <crossing> force"];
    "no-detour out-of-reach" Halted [] "!epthook2 <far> force":
        ["c0000027: ", "does not reach the driver"] => ["<help> <far> force"];

    "no-branches processor" Halted [] "!lbr enable": ["c0000112: ", "announces no last-branch records"] => ["<help> step-in pid 1"];
    "no-branches processor" Halted [] "!lbrdump": ["c0000112: ", "announces no last-branch records"] => ["<help> step-in pid 1"];

    // The last ones here: the arena is empty then.
    "arena-too-small" Halted [] "prealloc big-event ffff":
        ["c0000108: ", "cannot be 65535 objects of big-event more", "; `prealloc big-event "] => ["<help>"];
    "arena-too-small" Halted [] "prealloc regular-safe-buffer 300":
        ["c0000108: ", "no room for 768 objects", "; `prealloc regular-safe-buffer ", "larger arena"] => ["<help>"];
    "arena-too-small" Halted [] "prealloc regular-safe-buffer 1":
        ["c0000108: ", "it can give nothing now; load the driver with a larger arena"] => [];
    "pool-exhausted big-safe-buffer" Halted ["!cpuid buffer 1001"] "!cpuid buffer 1001":
        ["c000004a: ", "all 1 are in use", "no piece large enough", "(`events c N`)", "larger arena"] => ["events c <event>", "<again>"];

    // What is advised is done for all of these at once.
    "core-not-held" Late [] "!cpuid 5": ["c0000050: ", "core 1 is not held", "`g` and `pause`"] => ["<again>"];
    "core-away" Late [] "~ 1": ["c0000051: ", "core 1 is not held", "`g` and `pause`"] => ["<again>", "~ 0"];
    "clear-incomplete" Late [] "events c <event>":
        ["c000004f: ", "core 1 is not held", "could not be cleared and is still listed", "`g` and `pause`"] => ["<again>"];

    "not-present" Elsewhere ["~ 0"] "dq <stack> l 1": ["c0000005: ", "another core (`~ N`)"] => ["~ 1", "<again>"];

    "no-feature mode-based-execute" Older [] "!mode u pid 1": ["c000010e: ", "tell user from kernel execution"] => [];
    "no-detour processor" Older [] "!epthook2 vmlinux!vfs_read": ["c0000027: ", "VMFUNC"] => ["<help> vmlinux!vfs_read"];
    "pool-exhausted regular-event" Older ["!cpuid 7771", "!cpuid 7772"] "!cpuid 7773":
        ["c0000042: ", "all 2 are in use", "`prealloc regular-event 1`, or `g` and break in when it is refilled, every 500 ms"]
        => ["g", "guest: sleep 2", "pause", "<again>"];
};

/// By messages.
pub(super) const WIRE_ROWS: &[Row] = &[
    wire(
        "protocol-version",
        wire::other_version,
        &["version 4", "one release"],
        wire::greets,
    ),
    wire(
        "unknown-request",
        wire::unknown,
        &["request 7e", "older than this program"],
        wire::known,
    ),
    wire(
        "malformed",
        wire::malformed,
        &["could not read"],
        wire::known,
    ),
    wire(
        "bad-program",
        wire::bad_program,
        &["does not run the script", "one release"],
        wire::good_program,
    ),
    wire(
        "too-long",
        wire::too_long,
        &["4001 bytes", "(4000)"],
        wire::just_right,
    ),
    wire(
        "value-out-of-range",
        wire::vector_below,
        &["1f is out of range", "from 20 to ff"],
        wire::vector,
    ),
    wire(
        "option-does-not-fit",
        wire::option,
        &["option `sc`", "does not fit"],
        wire::no_option,
    ),
    wire(
        "not-halted",
        wire::running,
        &["is running", "`pause`"],
        wire::paused,
    ),
];

const NO_RECORDS: &str = "no processor of the emulator has last-branch records";

/// Not here.
pub(super) const OTHER_ROWS: &[Row] = &[
    other(
        "core-died",
        Some((
            "tests/tests/e2e/ends.rs",
            "core_that_dies_halts_the_machine",
        )),
        "the machine is of no use for the other rows then",
    ),
    other(
        "answer-lost",
        Some((
            "wire-protocol/src/packet/reply.rs",
            "an_answer_that_cannot_be_written_is_a_refusal_that_can",
        )),
        "every answer of the driver can be written",
    ),
    other(
        "no-feature acknowledge-interrupt",
        Some((
            "debuggee-driver/src/event/tests/batches.rs",
            "interrupts_are_taken_only_where_the_processor_tells_their_vector",
        )),
        "each processor of the emulator that can carry the driver has it",
    ),
    other(
        "no-branches model",
        Some((
            "debuggee-driver/src/vmx/branch_tests.rs",
            "models_are_known_or_refused",
        )),
        NO_RECORDS,
    ),
    other(
        "no-branches exits",
        Some((
            "debuggee-driver/src/vmx/branch_tests.rs",
            "architectural_records_need_exits_that_leave_them_alone",
        )),
        NO_RECORDS,
    ),
    other(
        "no-branches guest",
        Some((
            "debuggee-driver/src/exit/tests/branches.rs",
            "a_guest_that_records_branches_itself_keeps_them",
        )),
        NO_RECORDS,
    ),
    other(
        "no-branches filter",
        Some((
            "debuggee-driver/src/vmx/branch_tests.rs",
            "filters_are_those_that_the_processor_has",
        )),
        NO_RECORDS,
    ),
    other(
        "no-detour no-place",
        Some((
            "debuggee-driver/src/event/tests/detours.rs",
            "a_place_belongs_to_one_instruction_for_good",
        )),
        "it takes 512 detours",
    ),
    other(
        "pool-exhausted big-event",
        None,
        "`no-big-event` says it, with what did not fit a regular one",
    ),
    other(
        "pool-exhausted thread-interception",
        None,
        "no event takes one",
    ),
];

const fn wire(
    refusal: &'static str,
    ask: fn(&mut Line) -> Result<(), Refusal>,
    words: &'static [&'static str],
    cure: fn(&mut Line) -> Result<(), Refusal>,
) -> Row {
    let situation = Situation::Wire(WireCase { ask, words, cure });
    Row { refusal, situation }
}

const fn other(
    refusal: &'static str,
    test: Option<(&'static str, &'static str)>,
    because: &'static str,
) -> Row {
    let situation = Situation::Other { test, because };
    Row { refusal, situation }
}
