//! Rows of what is about the ends of the debuggee's kernel, and of what lives in it.

use crate::command::{Command, occasion};

pub(super) static ROWS: &[Command] = &[
    Command {
        names: &["sx"],
        syntax: "sx",
        summary: "list at what the debuggee halts by itself: panic, oops, modules, processes and others",
        details: "`sxe` and `sxd` change it, `sxr` makes it as it was at load. It holds until the driver is unloaded,\n\
            and only for a driver that a host was in a session with, or that was loaded with halt=1.",
        examples: &["sx"],
        answers: &["occasions"],
        parse: occasion::list,
    },
    Command {
        names: &["sxe"],
        syntax: "sxe WHAT [NAME]",
        summary: "halt at WHAT, of which `sx` has the list, or only if it is about NAME",
        details: "NAME is that of a module for module-load and module-unload (which is told when its exit function has\n\
            run), of a thread for create, exit, signal and process: there it is the program's; a new thread has that of\n\
            who made it. The kernel keeps 15 bytes of it. A kernel that starts another one for a dump when it panics\n\
            tells of the oops before, not of the panic. Nothing runs, and no guest memory changes. The halt is where the\n\
            kernel tells of it, in the driver's code: the stop line has the place that it is about. Where a kernel\n\
            does not tell of something, the log has a line for it when the driver is loaded. `ta` with the place that\n\
            is told of a program goes to its first instruction. For soft-lockup and hard-lockup a breakpoint is set,\n\
            which `bl` has, too, and which takes an event and a hook.",
        examples: &[
            "sxe warn",
            "sxe module-load ext4",
            "sxe process sh",
            "sxe signal",
        ],
        answers: &["occasions"],
        parse: occasion::enable,
    },
    Command {
        names: &["sxd", "sxi"],
        syntax: "sxd WHAT",
        summary: "do not halt at WHAT",
        details: "",
        examples: &["sxd oops", "sxd process"],
        answers: &["occasions"],
        parse: occasion::disable,
    },
    Command {
        names: &["sxr"],
        syntax: "sxr",
        summary: "halt at what the debuggee halted at when the driver was loaded",
        details: "That is panic, oops, double-fault, triple-fault and reboot.",
        examples: &["sxr"],
        answers: &["occasions"],
        parse: occasion::reset,
    },
    Command {
        names: &[".crash"],
        syntax: ".crash",
        summary: "let the debuggee run, and have its kernel panic",
        details: "In a thread of the driver, within a second; a kernel that schedules nothing any more does not get there.",
        examples: &[".crash"],
        answers: &["done"],
        parse: occasion::crash,
    },
    Command {
        names: &[".reboot"],
        syntax: ".reboot",
        summary: "start the debuggee's machine anew, at once, as its reset button does",
        details: "Nothing is written to its disks before. This program waits for the driver of its next start, which\n\
            has to be loaded at boot or by hand, and says when it is there.",
        examples: &[".reboot"],
        answers: &["ends"],
        parse: occasion::restart,
    },
];
