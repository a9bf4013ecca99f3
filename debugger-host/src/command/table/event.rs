//! Rows of the event commands, and of what manages events.

use crate::command::{Command, event, output};

/// An event command; all have the same parser.
macro_rules! event {
    ($names:expr, $syntax:literal, $summary:literal, $context:literal, $examples:expr) => {
        Command {
            names: $names,
            syntax: concat!($syntax, " [OPTION …]"),
            summary: $summary,
            details: concat!(
                "$context: ",
                $context,
                ".\nApplied at once, on all cores; nothing runs and no guest memory changes.\n",
                "`.help options` lists the options."
            ),
            examples: $examples,
            answers: &["event-added"],
            parse: event::add,
        }
    };
}

pub(super) static ROWS: &[Command] = &[
    event!(
        &["!epthook"],
        "!epthook ADDRESS",
        "before the instruction at ADDRESS runs: a hidden execute breakpoint; it is stale, which \
         `events` and a line tell, while no instruction starts there or other code stands there",
        "the address; neither `sc` nor `stage post`",
        &[
            "!epthook vmlinux!do_sys_openat2",
            "!epthook vfs_read pid 1c core 0",
            "!epthook vfs_read script { printf(\"%llx\\n\", @rdi); }"
        ]
    ),
    event!(
        &["!epthook2"],
        "!epthook2 ADDRESS",
        "the same by a detour inside the guest: scripts run there, without a VM exit, and only halts \
         and machine code take one; kernel code only, not on a page with `!epthook`, once for an \
         instruction, which must be five bytes long or longer, as at the start of functions; a hidden \
         breakpoint while the kernel has another instruction there",
        "the address; neither `sc` nor `stage post`",
        &["!epthook2 vmlinux!vfs_read script { print(@rdi); }"]
    ),
    event!(
        &["!monitor"],
        "!monitor [va|pa] r|w|x|rw|rx|wx|rwx FROM (TO | l LENGTH)",
        "when memory is read, written or executed; TO is the last byte. In a program it follows the \
         pages; it is stale, which `events` and a line tell, when the process or the kernel's memory \
         there is gone",
        "the address touched",
        &[
            "!monitor w @rsp @rsp+7",
            "!monitor pa rw 1000 l 8 stage post",
            "!monitor x vfs_read l 1 sc on"
        ]
    ),
    event!(
        &["!syscall"],
        "!syscall [entry] [NUMBER]",
        "when SYSCALL is executed, for all system calls or one. EFER.SCE is off meanwhile, so that \
         each SYSCALL and SYSRET leaves the guest and events see the program that executes it. \
         With `entry` there is a hidden breakpoint where the kernel begins instead: less than half \
         the cost, but rip, rsp, rcx and r11 are then what the kernel begins with (rcx is where \
         the program goes on)",
        "the number (rax); with `entry` no `stage post`",
        &["!syscall", "!syscall 55 pid 1c", "!syscall entry 55 sc on"]
    ),
    event!(
        &["!syscall2"],
        "!syscall2 [NUMBER]",
        "as !syscall, told by the range rip is in, not by the bytes at rip",
        "the number (rax)",
        &["!syscall2 0 script { print($pid); }"]
    ),
    event!(
        &["!sysret"],
        "!sysret",
        "when SYSRET is executed",
        "rip",
        &["!sysret pid 1c script { print(@rax); }"]
    ),
    event!(
        &["!sysret2"],
        "!sysret2",
        "as !sysret, told by the range rip is in, not by the bytes at rip",
        "rip",
        &["!sysret2"]
    ),
    event!(
        &["!cpuid"],
        "!cpuid [LEAF]",
        "when CPUID is executed, for all leaves or one",
        "the leaf",
        &[
            "!cpuid",
            "!cpuid 40000000 pid 1c",
            "!cpuid 1 stage post script { @rcx = @rcx & ~80000000; }"
        ]
    ),
    event!(
        &["!msrread", "!msread"],
        "!msrread [MSR]",
        "when RDMSR is executed, for all MSRs or one, by number or by the manual's name without IA32_",
        "the MSR (ecx)",
        &["!msrread c0000082", "!msrread efer"]
    ),
    event!(
        &["!msrwrite"],
        "!msrwrite [MSR]",
        "when WRMSR is executed, for all MSRs or one, by number or by the manual's name without IA32_",
        "the MSR (ecx)",
        &["!msrwrite lstar stage all"]
    ),
    event!(
        &["!ioin"],
        "!ioin [PORT]",
        "when a port is read (IN, INS), all but those of the line or one",
        "the port",
        &["!ioin 60", "!ioin 71 sc on"]
    ),
    event!(
        &["!ioout", "!iout"],
        "!ioout [PORT]",
        "when a port is written (OUT, OUTS), all but those of the line or one",
        "the port",
        &["!ioout 80"]
    ),
    event!(
        &["!exception"],
        "!exception [VECTOR]",
        "exceptions, faults, traps and NMI, all or one (vectors 0 to 1f, or their names: de db nmi bp \
         of br ud nm df ts np ss gp pf mf ac mc xm ve cp)",
        "the vector",
        &["!exception pf pid 4", "!exception 3"]
    ),
    event!(
        &["!interrupt"],
        "!interrupt VECTOR",
        "an external interrupt (vectors 20 to ff)",
        "the vector",
        &["!interrupt 30"]
    ),
    event!(
        &["!tsc"],
        "!tsc",
        "when the time-stamp counter is read",
        "0 for RDTSC, 1 for RDTSCP",
        &["!tsc pid 1c"]
    ),
    event!(&["!pmc"], "!pmc", "when RDPMC is executed", "0", &["!pmc"]),
    event!(
        &["!vmcall"],
        "!vmcall",
        "when the guest executes VMCALL",
        "0",
        &["!vmcall"]
    ),
    event!(
        &["!dr"],
        "!dr",
        "when a debug register is read or written",
        "0",
        &["!dr core 1"]
    ),
    event!(
        &["!crwrite"],
        "!crwrite 0|4 [mask BITS]",
        "when CR0 or CR4 is written, or only these bits of it change",
        "the new value",
        &["!crwrite 4", "!crwrite 0 mask 10000"]
    ),
    event!(
        &["!xsetbv"],
        "!xsetbv [XCR]",
        "when XSETBV is executed, for all registers or one",
        "the XCR (ecx)",
        &["!xsetbv 0"]
    ),
    event!(
        &["!mode"],
        "!mode u|k|ku",
        "at the first instruction of user mode (u), of the kernel (k), or of either, after the other",
        "3 in user mode, 0 in the kernel; neither `sc` nor `stage post`;\n\
            needs a processor with mode-based execute control",
        &[
            "!mode u pid 1c",
            "!mode ku pid 1c script { print($context); }"
        ]
    ),
    event!(
        &["!trace"],
        "!trace step-in|step-out|instrument-step",
        "at every instruction (instrument-step), but those of handlers (step-in), or behind returns (step-out)",
        "0; neither `sc` nor `stage post`;\n\
            a traced core is slow, all its processes are, and interrupts come less often",
        &["!trace step-in pid 1c", "!trace instrument-step core 0"]
    ),
    event!(
        &["bp"],
        "bp ADDRESS",
        "halt before the instruction at ADDRESS runs; the guest cannot see it, and `bl` lists it; a script runs first",
        "the address; neither `sc` nor `stage post`",
        &[
            "bp vmlinux!do_sys_openat2",
            "bp vfs_read pid 1c condition { @rdx > 1000 }",
            "bp vfs_read tid 5e passes 3",
            "bp vfs_read once"
        ]
    ),
    event!(
        &["ba"],
        "ba [va|pa] r|w|x|rw|rx|wx|rwx ADDRESS l LENGTH",
        "halt when memory is read (r: reads alone), written or executed; `ba w8 ADDRESS` is `ba w ADDRESS l 8`; `bl` lists it",
        "the address touched",
        &[
            "ba w8 @rsp",
            "ba rw4 vmlinux!panic_timeout stage post",
            "ba w vmlinux!init_uts_ns l 186"
        ]
    ),
    Command {
        names: &["bl"],
        syntax: "bl",
        summary: "list breakpoints",
        details: "With what was asked for, and how many passes there were.",
        examples: &["bl"],
        answers: &["breakpoints"],
        parse: event::list_breakpoints,
    },
    Command {
        names: &["be"],
        syntax: "be N … | be all",
        summary: "enable breakpoints",
        details: "By the numbers that `bl` has; `*` is all, too. One that was to halt\n\
            once, and has, does so again.",
        examples: &["be 0", "be 1 2", "be all"],
        answers: &["events-changed"],
        parse: event::change_breakpoints,
    },
    Command {
        names: &["bd"],
        syntax: "bd N … | bd all",
        summary: "disable breakpoints, which keep their objects",
        details: "By the numbers that `bl` has; `*` is all, too.",
        examples: &["bd 0", "bd *"],
        answers: &["events-changed"],
        parse: event::change_breakpoints,
    },
    Command {
        names: &["bc"],
        syntax: "bc N … | bc all",
        summary: "clear breakpoints",
        details: "They are gone from every core, with their objects back in their pools, before the reply comes.",
        examples: &["bc 0", "bc 1 2", "bc all"],
        answers: &["events-changed"],
        parse: event::change_breakpoints,
    },
    Command {
        names: &["events", "event"],
        syntax: "events [e|d|c N|all] | events sc on|off",
        summary: "list events; enable, disable or clear one or all; short-circuit this stop",
        details: "A cleared event is gone from every core, with its objects back in their pools,\n\
            before the reply comes. `all` leaves breakpoints alone, which `bc` clears. `events sc on`:\n\
            what this stop is about does not take effect.",
        examples: &[
            "events",
            "events d 0",
            "events e all",
            "events c all",
            "events sc on",
        ],
        answers: &["events", "events-changed", "short-circuit"],
        parse: event::events,
    },
    Command {
        names: &["output"],
        syntax: "output [create NAME file|tcp|namedpipe TARGET | open NAME | close NAME]",
        summary: "list, make, open and close the sinks that messages of events can go to",
        details: "Events name up to 5 of them: `output {NAME, …}`. A sink gets each message once, the\n\
            messages of a core in order. Files are appended to; `close` waits until all is written.",
        examples: &[
            "output",
            "output create log file /tmp/out.txt",
            "output create net tcp 127.0.0.1:5000",
            "output open log",
            "output close log",
        ],
        answers: &[
            "outputs",
            "output-created",
            "output-opened",
            "output-closed",
        ],
        parse: output::output,
    },
    Command {
        names: &["flush"],
        syntax: "flush",
        summary: "drop the messages of all events that were not delivered yet",
        details: "Tells how many, and how many had found no room before; none of them comes later.",
        examples: &["flush"],
        answers: &["flushed"],
        parse: event::flush,
    },
    Command {
        names: &["prealloc", "preallocate"],
        syntax: "prealloc CLASS COUNT",
        summary: "reserve objects for events to come, without letting the debuggee run",
        details: "Classes: regular-event, big-event, regular-safe-buffer, big-safe-buffer, epthook,\n\
            epthook2, monitor, thread-interception. COUNT is hexadecimal, and so is the answer.",
        examples: &["prealloc regular-event 10", "prealloc big-safe-buffer 2"],
        answers: &["reserved"],
        parse: event::prealloc,
    },
    Command {
        names: &["preactivate"],
        syntax: "preactivate mode",
        summary: "for scripts that prepare features: no event has to be prepared here",
        details: "",
        examples: &["preactivate mode"],
        answers: &["nothing-to-prepare"],
        parse: event::preactivate,
    },
    Command {
        names: &["pools"],
        syntax: "pools",
        summary: "objects reserved, in use and free, by class, and what is left of the arena",
        details: "`test pool` is the same.",
        examples: &["pools"],
        answers: &["pools"],
        parse: event::pools,
    },
    Command {
        names: &["test", ".test"],
        syntax: "test pool",
        summary: "the state of the pools, as `pools` shows it",
        details: "",
        examples: &["test pool"],
        answers: &["pools"],
        parse: event::test,
    },
];
