//! The table of all commands: parser, help, completion and documentation come from here.

mod event;
mod occasion;

use super::{
    Command, branch, connection, memory, memory_file, register, run, script, session_file, step,
    symbol, system, task, value, walk,
};
use std::sync::LazyLock;

/// Every command, in the order of the help.
pub static COMMANDS: LazyLock<Vec<&'static Command>> = LazyLock::new(|| {
    let of_debuggee = DEBUGGEE.iter().chain(occasion::ROWS);
    of_debuggee.chain(event::ROWS).chain(HOST).collect()
});

/// Execution, registers, memory, symbols, values.
static DEBUGGEE: &[Command] = &[
    Command {
        names: &["g", "go"],
        syntax: "g [ADDRESS]",
        summary: "let the debuggee run, until this thread comes to ADDRESS if there is one",
        details: "The breakpoint there is for the thread that the operating core runs; where that is idle, for all. It is\n\
            gone with the next halt, whatever that is for. Behind the end of the kernel it says what there is left to run.",
        examples: &["g", "g vfs_read", "g (@rip + 5)"],
        answers: &["done", "ends"],
        parse: run::go,
    },
    Command {
        names: &["i"],
        syntax: "i [COUNT]",
        summary: "execute one instruction of the operating core, or COUNT of them, while all others stay held",
        details: "Into system calls, exceptions, interrupts, and back: what comes in the place of an\n\
            instruction, and each repetition of a string instruction, counts as one. Shown is the\n\
            instruction that comes next; of more than 0n64 the last eight. Ctrl+C and events end it\n\
            early. Interrupts wait until 0n10000 instructions are done, unless the core sleeps. COUNT\n\
            is at most 0n1048576.",
        examples: &["i", "i 10", "i 0n10000"],
        answers: &["stepped"],
        parse: step::plain,
    },
    Command {
        names: &["ir"],
        syntax: "ir [COUNT]",
        summary: "the same, with the registers that each instruction changed",
        details: "COUNT is at most 0n64.",
        examples: &["ir", "ir 5"],
        answers: &["stepped"],
        parse: step::with_registers,
    },
    Command {
        names: &["t", "tr"],
        syntax: "t|tr [COUNT] [freeze]",
        summary: "let the thread of the operating core take one step, or COUNT, into what it calls, while the others run",
        details: "Halts in this thread alone, whichever core runs it then. System calls, interrupts and faults\n\
            that come meanwhile are no steps; `i` goes into them. `tr` shows the registers that each\n\
            step changed, of at most 0n64. With `freeze` all other cores stay held; if the thread does\n\
            not get on without them, that ends it, and is told. Ctrl+C, events and breakpoints end it\n\
            early. Takes an object from the pool thread-interception while it lasts.",
        examples: &["t", "tr 5", "t 100 freeze"],
        answers: &["stepped"],
        parse: walk::walk,
    },
    Command {
        names: &["p", "pr"],
        syntax: "p|pr [COUNT] [freeze]",
        summary: "the same, with each call as one step",
        details: "Of a call the return of this thread at this depth counts: others that run the same function,\n\
            and deeper calls of a recursion, do not halt. A string instruction is one step with all its\n\
            repetitions. `.help t` has the rest.",
        examples: &["p", "pr 3", "p freeze"],
        answers: &["stepped"],
        parse: walk::walk,
    },
    Command {
        names: &["gu"],
        syntax: "gu [MAX] [freeze]",
        summary: "step over calls until this routine has returned",
        details: "After MAX steps (0n1048576 if it is not given) it halts in any case.",
        examples: &["gu", "gu 1000"],
        answers: &["stepped"],
        parse: walk::walk,
    },
    Command {
        names: &["pa", "ta"],
        syntax: "pa|ta ADDRESS [freeze]",
        summary: "step over calls (pa) or into them (ta) until the thread is at ADDRESS",
        details: "After 0n1048576 steps it halts in any case. `g ADDRESS` is faster, where nothing but the\n\
            address counts.",
        examples: &["pa vfs_read+20", "ta vfs_read+20"],
        answers: &["stepped"],
        parse: walk::walk,
    },
    Command {
        names: &["pc", "tc"],
        syntax: "pc|tc [freeze]",
        summary: "step over calls (pc) or into them (tc) until the next instruction is a call",
        details: "",
        examples: &["pc", "tc freeze"],
        answers: &["stepped"],
        parse: walk::walk,
    },
    Command {
        names: &["pt", "tt"],
        syntax: "pt|tt [freeze]",
        summary: "step over calls (pt) or into them (tt) until the next instruction is a return",
        details: "",
        examples: &["pt"],
        answers: &["stepped"],
        parse: walk::walk,
    },
    Command {
        names: &["pause", ".pause"],
        syntax: "pause",
        summary: "halt the debuggee (Ctrl+C does the same while it runs)",
        details: "",
        examples: &["pause"],
        answers: &["done", "halted-already"],
        parse: run::pause,
    },
    Command {
        names: &[".wait"],
        syntax: ".wait [SECONDS]",
        summary: "wait until the debuggee is halted, and show why",
        details: "Succeeds at once if it is halted already; fails when it is not halted in time.\n\
            Why it is halted is told once: here, unless another command came before.\n\
            SECONDS is hexadecimal, as every number, and at most a day (15180).",
        examples: &[".wait", ".wait 0n30"],
        answers: &["done"],
        parse: run::wait,
    },
    Command {
        names: &[".process", "process"],
        syntax: ".process [list | pid PID | process ADDRESS | context (PID | off)]",
        summary: "the process of the operating core; all processes; or another one",
        details: "`list`: number, parent, state, core, structure, name and command line of each. `context`: memory,\n\
            disassembly and registers are those of that process, as it saved them when it ran last, until the\n\
            next `g`; nothing runs. `pid`, or `process` with its structure: with the next `g` the debuggee halts\n\
            where that process goes on in its own code.",
        examples: &[
            ".process",
            ".process list",
            ".process context 1c",
            ".process pid 1c",
        ],
        answers: &[
            "tasks",
            "current-task",
            "task-context",
            "task-runs",
            "operating-core",
            "switching",
        ],
        parse: task::tasks,
    },
    Command {
        names: &[".process2", "process2"],
        syntax: ".process2 pid PID | process ADDRESS",
        summary: "halt, with the next `g`, when the kernel has switched to a process",
        details: "Before it runs in its own code; also for threads of the kernel, which have none.",
        examples: &[".process2 pid 1c"],
        answers: &["switching"],
        parse: task::tasks,
    },
    Command {
        names: &[".thread", "thread"],
        syntax: ".thread [list [pid PID | process ADDRESS] | tid TID | thread ADDRESS | context (TID | off)]",
        summary: "the same for threads",
        details: "`list` has all, or those of one process.",
        examples: &[
            ".thread list pid 1c",
            ".thread context 1d",
            ".thread tid 1d",
        ],
        answers: &[
            "tasks",
            "current-task",
            "task-context",
            "task-runs",
            "operating-core",
            "switching",
        ],
        parse: task::tasks,
    },
    Command {
        names: &[".thread2", "thread2"],
        syntax: ".thread2 tid TID | thread ADDRESS",
        summary: "halt, with the next `g`, when the kernel has switched to a thread",
        details: "Before it runs in its own code; also for threads of the kernel, which have none.",
        examples: &[".thread2 tid 1d"],
        answers: &["switching"],
        parse: task::tasks,
    },
    Command {
        names: &[".lastevent"],
        syntax: ".lastevent",
        summary: "say once more why the debuggee is halted",
        details: "Cause, core, process, thread, place, the instruction that is next, and which registers have\n\
            changed since this core let the debuggee go; `r` marks them with a `*`.",
        examples: &[".lastevent"],
        answers: &["last-event"],
        parse: run::last_event,
    },
    Command {
        names: &["~", "core"],
        syntax: "~ [N]",
        summary: "list the cores, or make commands work on core N",
        details: "Nothing runs when the core is changed.",
        examples: &["~", "~ 1"],
        answers: &["cores", "operating-core"],
        parse: run::core,
    },
    Command {
        names: &["r"],
        syntax: "r [REGISTER [= EXPRESSION]]",
        summary: "show or change registers, parts of registers and flags",
        details: "Alone: general registers, rip, flags, segments; `r all`: every register.\n\
            Registers: rax … r15 with their 32-, 16- and 8-bit parts, rip, rflags, segments,\n\
            cr0 cr2 cr3 cr4 cr8, dr0-3 dr6 dr7, fs_base gs_base kernel_gs_base, efer,\n\
            gdtr gdtr_limit idtr idtr_limit ldtr tr, and flags by name (cf pf af zf sf tf if df of\n\
            iopl nt rf vm ac vif vip id). Writing a part leaves the rest of the register as it is.",
        examples: &["r", "r @rax", "r rax = rbx+8", "r @zf = 1", "r cr3"],
        answers: &["registers", "register", "done"],
        parse: register::registers,
    },
    Command {
        names: &["db", "dc", "dd", "dq"],
        syntax: "db|dc|dd|dq ADDRESS [l LENGTH] [pid PID]",
        summary: "show memory as bytes, double words with text, double words, quad words",
        details: "80h bytes when no length is given; Enter alone goes on. `pid`: in the memory of that process.",
        examples: &[
            "db @rsp",
            "dq @rsp+8 l 40",
            "db 401000 pid 1c",
            "dc poi(@rdi) l 20",
        ],
        answers: &["memory"],
        parse: memory::dump,
    },
    Command {
        names: &["!db", "!dc", "!dd", "!dq"],
        syntax: "!db|!dc|!dd|!dq PHYSICAL [l LENGTH]",
        summary: "show physical memory",
        details: "As db, with a physical address.",
        examples: &["!db 1000", "!dq @cr3 & ~fff l 100"],
        answers: &["memory"],
        parse: memory::dump,
    },
    Command {
        names: &[".writemem"],
        syntax: ".writemem OUT-FILE [physical] ADDRESS l LENGTH",
        summary: "write memory of the debuggee to a file",
        details: "Byte for byte, up to where no memory is. Over a network parts of it are under way at a time.\n\
            Ctrl+C ends it; what came before is in the file.",
        examples: &[
            ".writemem page @rip & ~fff l 1000",
            ".writemem ram.bin physical 0 l 1000000",
        ],
        answers: &["memory-written"],
        parse: memory_file::write_memory,
    },
    Command {
        names: &["eb", "ed", "eq"],
        syntax: "eb|ed|eq ADDRESS VALUE … [pid PID]",
        summary: "write bytes, double words or quad words to memory",
        details: "All values or none are written. Spaces separate; within a value use parentheses.",
        examples: &["eb @rip 90 90 90", "eq @rsp (@rax + 8)"],
        answers: &["done"],
        parse: memory::enter,
    },
    Command {
        names: &["!eb", "!ed", "!eq"],
        syntax: "!eb|!ed|!eq PHYSICAL VALUE …",
        summary: "write to physical memory",
        details: "As eb, with a physical address.",
        examples: &["!ed 1000 0n100"],
        answers: &["done"],
        parse: memory::enter,
    },
    Command {
        names: &["!va2pa"],
        syntax: "!va2pa ADDRESS [pid PID]",
        summary: "physical address of a virtual one, as the operating core sees it",
        details: "`pid`: as that process sees it.",
        examples: &["!va2pa @rip"],
        answers: &["physical"],
        parse: memory::to_physical,
    },
    Command {
        names: &["!pa2va"],
        syntax: "!pa2va PHYSICAL",
        summary: "virtual addresses of a physical one, in the direct map and the kernel image",
        details: "",
        examples: &["!pa2va 1000000"],
        answers: &["virtual"],
        parse: memory::to_virtual,
    },
    Command {
        names: &["u", "u64"],
        syntax: "u [ADDRESS] [l LENGTH] [pid PID]",
        summary: "disassemble, with names",
        details: "From rip when no address is given, 40h bytes when no length is given;\n\
            Enter alone goes on.",
        examples: &["u", "u vmlinux!vfs_read l 20"],
        answers: &["code"],
        parse: symbol::unassemble,
    },
    Command {
        names: &["x"],
        syntax: "x [MODULE!]PATTERN",
        summary: "search symbols; * and ? stand for any characters",
        details: "The kernel when no module is given; `nt!` is the kernel, too, and `bpf!` has BPF programs.",
        examples: &[
            "x do_sys_*",
            "x vmlinux!vfs_?ead",
            "x ext4!*read*",
            "x bpf!*",
        ],
        answers: &["symbols"],
        parse: symbol::search,
    },
    Command {
        names: &["lm"],
        syntax: "lm [m PART]",
        summary: "list the kernel and its modules",
        details: "`m PART`: only those with PART in their names.",
        examples: &["lm", "lm m ext"],
        answers: &["modules"],
        parse: symbol::modules,
    },
    Command {
        names: &["ln"],
        syntax: "ln ADDRESS",
        summary: "the symbol at or before an address, and the one after it",
        details: "",
        examples: &["ln @rip"],
        answers: &["nearest"],
        parse: symbol::nearest,
    },
    Command {
        names: &["?", "print", "eval", "evaluate"],
        syntax: "? EXPRESSION|STATEMENTS",
        summary: "value of an expression; or statements of the script language, carried out at once",
        details: "Operators and their precedence are those of C. @rax and rax are registers; poi(x),\n\
            dq(x), dd(x), dw(x), db(x), hi(x), low(x) read memory, with _pa physical memory;\n\
            .name is a global variable, which all scripts share. Scripts run on the operating core\n\
            and see its registers and memory; statements may stand in braces, over several lines.",
        examples: &[
            "? poi(@rsp)+10",
            "print vmlinux!vfs_read",
            "? .hits = 0;",
            "? { for (i = 0; i < 4; i++) { printf(\"%llx\\n\", poi(@rsp + i * 8)); } }",
        ],
        answers: &["value", "float", "ran"],
        parse: value::print,
    },
    Command {
        names: &[".formats", ".format"],
        syntax: ".formats EXPRESSION",
        summary: "value of an expression in every form",
        details: "",
        examples: &[".formats 0n5616", ".formats .hits"],
        answers: &["formats", "ran"],
        parse: value::formats,
    },
    Command {
        names: &["!digest"],
        syntax: "!digest [PHYSICAL l LENGTH | registers]",
        summary: "XXH64 of all RAM, of a range, or of all registers of all cores",
        details: "Memory of the debugger itself counts as zeroes. Equal digests before and after show\n\
            that nothing changed.",
        examples: &["!digest", "!digest 0 l 1000", "!digest registers"],
        answers: &["digest"],
        parse: memory::digest,
    },
];

/// The debugger itself.
static HOST: &[Command] = &[
    Command {
        names: &[".status"],
        syntax: ".status",
        summary: "connection, debuggee, constants, bytes on the line",
        details: "",
        examples: &[".status"],
        answers: &["status"],
        parse: system::status,
    },
    Command {
        names: &[".debug", "debug"],
        syntax: ".debug remote [pause] [take-over] (serial BAUD [fixed] DEVICE | namedpipe NAME | pipeserver NAME | \
            tcp HOST:PORT | socket PATH | net UDP-PORT [accept-older-clock] (KEY | @FILE)) | close",
        summary: "connect to a debuggee, or let it run and end the session",
        details: "`remote` does what `standstill connect` does, `pause` halts the debuggee then. What is not there\n\
            yet is waited for. `take-over` takes a debuggee from the host program that has it, which is told.\n\
            BAUD is decimal, and where the line begins: then it goes as fast as it can, unless it is `fixed`.\n\
            `namedpipe` is a Windows pipe that another program serves, `pipeserver` one that this program\n\
            serves, for hypervisors that are clients. `net` listens at a UDP port for a debuggee that has the\n\
            KEY, or that in the file. `close` lets the debuggee run; its events stay. `exit`\n\
            leaves it as it is, halted or running.",
        examples: &[
            ".debug remote pause serial 115200 COM3",
            ".debug remote namedpipe \\\\.\\pipe\\debug",
            ".debug remote tcp 192.0.2.1:4444",
            ".debug close",
        ],
        answers: &["connected", "closed"],
        parse: connection::debug,
    },
    Command {
        names: &[".reconnect"],
        syntax: ".reconnect [take-over]",
        summary: "begin a new session on the same line, after the debuggee was started anew",
        details: "A lost line is opened again by itself; this is for a debuggee that forgot the session.\n\
            `take-over` takes it from another host program, which is told and stops.",
        examples: &[".reconnect", ".reconnect take-over"],
        answers: &["connected"],
        parse: connection::reconnect,
    },
    Command {
        names: &[".session"],
        syntax: ".session save [FILE] | load [FILE]",
        summary: "keep what is set (events, reserved objects, outputs) in a file, or set it again",
        details: "A file of commands, which `.script` runs, too. Without FILE: the target's own, which is\n\
            written at each `g` and read by its owner only. Places are kept by name, so that they are\n\
            right in another kernel; what cannot be set is told, with the reason, and the rest is set.\n\
            Values of script variables are not kept, nor events that another program set.",
        examples: &[".session load", ".session save hooks.session"],
        answers: &["session-saved", "session-loaded"],
        parse: session_file::session,
    },
    Command {
        names: &[".help", ".hh", "help", "!help"],
        syntax: ".help [COMMAND]",
        summary: "list all commands, or explain one",
        details: "`.help options` is about the options of event commands, `.help lines` about\n\
            words, quotes and comments.",
        examples: &[".help", ".help !epthook"],
        answers: &["commands", "command", "options", "lines"],
        parse: system::help,
    },
    Command {
        names: &[".json"],
        syntax: ".json COMMAND",
        summary: "what COMMAND answers, as JSON",
        details: "One document per line, the answer last. docs/json.md has the form, and\n\
            `standstill schema COMMAND` prints its schema; `connect --json` makes a whole session so.",
        examples: &[".json r", ".json ? vfs_read+4"],
        answers: &["*"],
        parse: system::json,
    },
    Command {
        names: &[".script", "script"],
        syntax: ".script FILE [ARGUMENT …]",
        summary: "run a file of commands",
        details: "$arg1, $arg2 … in the file stand for the arguments, $arg0 for the file.\n\
            It ends at the first command that fails.",
        examples: &[
            ".script hooks.ds 1c",
            ".script \"/tmp/my hooks.ds\" \"arg one\"",
        ],
        answers: &["script-ran"],
        parse: script::run_script,
    },
    Command {
        names: &["sleep"],
        syntax: "sleep MS",
        summary: "wait, in a script",
        details: "MS is hexadecimal, as every number.",
        examples: &["sleep 0n500"],
        answers: &["done"],
        parse: system::sleep,
    },
    Command {
        names: &[".cls", "cls", "clear"],
        syntax: ".cls",
        summary: "clear the screen",
        details: "",
        examples: &[".cls"],
        answers: &["cleared"],
        parse: system::clear,
    },
    Command {
        names: &["!lbr"],
        syntax: "!lbr enable | disable | flush | filter [WORD …]",
        summary: "record the branches that are taken, on all cores",
        details: "In last-branch records of the processor, from the next `g` on and without an exit. A filter\n\
            names what is left out: kernel, user, jcc, rel_call, ind_call, return, ind_jmp, rel_jmp, far,\n\
            other_branches (the same as far); call_stack keeps calls that have not returned. Without a word\n\
            all is recorded. `flush` forgets what was. The guest can see that its IA32_DEBUGCTL or\n\
            IA32_LBR_CTL is used; where it uses them itself, nothing is recorded. A debug exception ends\n\
            the recording: `lbr_check()` in a script tells, `lbr_restore()` goes on.",
        examples: &[
            "!lbr enable",
            "!lbr filter kernel jcc",
            "!lbr flush",
            "!lbr disable",
        ],
        answers: &["done"],
        parse: branch::change,
    },
    Command {
        names: &["!lbrdump", "!lbrdmp", "!lbrprint"],
        syntax: "!lbrdump [core N]",
        summary: "print the branches that were recorded last",
        details: "The newest last. What a script kept with `lbr_save()`, or else what was recorded before the halt.",
        examples: &["!lbrdump", "!lbrdump core 1"],
        answers: &["branches"],
        parse: branch::dump,
    },
    Command {
        names: &["exit", ".exit", "quit", "q"],
        syntax: "exit",
        summary: "leave; the debuggee stays as it is, running or halted",
        details: "",
        examples: &["exit"],
        answers: &["leaving"],
        parse: system::exit,
    },
];
