//! The table: every command, and what each changes of the guest's in a halt.

use debugger_host::command::COMMANDS;

/// What is different after a command. Given once more, the same command takes it back.
#[derive(Clone, Copy, Debug)]
pub(super) enum Change {
    /// Nothing at all.
    Nothing,
    /// So many bytes at the top of the operating core's stack.
    Stack(u64),
    /// Registers of the operating core, as `r all` names them.
    Registers(&'static [&'static str]),
    /// The halt ends.
    Everything,
}

/// A line that can be typed in a halt. What stands in it for [`FILE`] is the name of a file with commands, for [`STACK`] the
/// physical address of the top of the operating core's stack.
#[derive(Clone, Copy, Debug)]
pub(super) struct Row {
    pub(super) line: &'static str,
    /// Part of what it prints.
    pub(super) says: &'static str,
    /// Whether the debugger does it.
    pub(super) is_done: bool,
    pub(super) change: Change,
}

/// See [`Row`].
pub(super) const FILE: &str = "FILE";
/// See [`Row`].
pub(super) const STACK: &str = "STACK";

const fn nothing(line: &'static str) -> Row {
    says(line, "")
}

const fn says(line: &'static str, says: &'static str) -> Row {
    Row {
        line,
        says,
        is_done: true,
        change: Change::Nothing,
    }
}

const fn refused(line: &'static str) -> Row {
    Row {
        is_done: false,
        ..nothing(line)
    }
}

const fn stack(line: &'static str, len_bytes: u64) -> Row {
    Row {
        change: Change::Stack(len_bytes),
        ..nothing(line)
    }
}

const fn registers(line: &'static str, names: &'static [&'static str]) -> Row {
    Row {
        change: Change::Registers(names),
        ..nothing(line)
    }
}

/// One event of every kind, and several of those that take places; each with what it carries.
pub(super) const EVENTS: &[&str] = &[
    "!epthook2 vmlinux!vfs_open script { .lab_still = .lab_still + 1; }",
    "!epthook2 vmlinux!schedule_timeout core 1 condition { $core == 0 }",
    "!monitor rw vmlinux!jiffies_64 l 8",
    "!monitor r vmlinux!init_task l 1000 stage post script { print($context); }",
    "!monitor w vmlinux!linux_banner vmlinux!linux_banner+20 sc on",
    "!monitor x vmlinux!vfs_read l 10",
    "!monitor pa rw 200000 l 8",
    "!syscall",
    "!syscall 7c pid 1 script { print($pid); }",
    "!syscall2 27",
    "!syscall entry",
    "!syscall entry 7c sc on script { @rax = 1; }",
    "!sysret",
    "!sysret2 core 1",
    "!cpuid",
    "!cpuid 1 stage post script { @rcx = @rcx & ~80000000; }",
    "!cpuid 2 condition { $context == 2 && $core == 1 }",
    "!cpuid 3 condition {31 c0 c3} code {90 90 c3}",
    "!msrread",
    "!msrread c0000082 sc on",
    "!msrwrite c0000082 stage all",
    "!ioin 71",
    "!ioout 70 imm no script { print(@rax); }",
    "!exception",
    "!exception e pid 1",
    "!exception 2",
    "!exception 8",
    "!interrupt ec",
    "!tsc",
    "!pmc",
    "!vmcall",
    "!dr core 1",
    "!crwrite 0",
    "!crwrite 4 mask 100",
    "!xsetbv",
    "!trace step-in pid 1",
    "!mode u core 1",
    "!mode ku pid 1 script { print($context); }",
];

/// A hook of each sort more than in [`EVENTS`], which are given with the table's other commands.
const HOOKS: &[&str] = &[
    "!epthook vmlinux!__x64_sys_getppid script { .lab_still = .lab_still + 1; }",
    "!epthook vmlinux!__x64_sys_getsid pid 1 buffer 40 script { eq($buffer, .lab_still); }",
];

/// Before the events, and with all of them.
const OTHERS: &[Row] = &[
    // Execution.
    says("pause", "halted already"),
    says(".lastevent", "; process "),
    says(".process", "runs process "),
    says(".process list", "kthreadd"),
    says(".process context 1", "process 1 (init)"),
    says("r", "rip="),
    says(".process context off", "operating core"),
    refused(".process pid ffff"),
    refused(".process2 pid ffff"),
    says(".thread list", "kthreadd"),
    says(".thread context 2", "no memory of its own"),
    says(".thread context off", "operating core"),
    refused(".thread tid ffff"),
    refused(".thread2 tid ffff"),
    nothing("u vfs_read l 8 pid 1"),
    nothing("db vfs_read l 8 pid 1"),
    nothing(".wait"),
    says("sx", "panic "),
    says("sxe warn", "halts"),
    says("sxe module-load toy", "for toy alone"),
    says("sxd panic", "goes on"),
    says("sxr", "double-fault"),
    refused("sxe nonsense"),
    // What they do is in `occasions.rs`.
    refused(".crash now"),
    refused(".reboot now"),
    says("~", "1  halted"),
    nothing("~ 1"),
    nothing("core 0"),
    // What they do when they are not refused is in `steps.rs` and `walks.rs`.
    refused("i 0"),
    refused("ir 41"),
    refused("t 0"),
    refused("tr 41"),
    refused("p 0"),
    refused("pr 41"),
    refused("gu 0"),
    refused("pa vmlinux!nosuch"),
    refused("ta vmlinux!nosuch"),
    refused("pc 3"),
    refused("tc 3"),
    refused("pt 3"),
    refused("tt 3"),
    // Branches: the lab's processors record none.
    refused("!lbr enable"),
    refused("!lbr disable"),
    refused("!lbr flush"),
    refused("!lbr filter user"),
    refused("!lbrdump"),
    refused("!lbrdump core 1"),
    // Registers.
    nothing("r"),
    nothing("r all"),
    nothing("r @al"),
    registers("r rax = (@rax ^ 123456789abcdef)", &["rax"]),
    registers("r al = (@al ^ 1)", &["rax"]),
    registers("r @zf = (1 - @zf)", &["rflags"]),
    registers("r rip = (@rip ^ 1)", &["rip"]),
    registers("r dr0 = (@dr0 ^ 1)", &["dr0"]),
    registers("r fs_base = (@fs_base ^ 1000)", &["fs_base"]),
    // Memory.
    nothing("db @rsp"),
    nothing("dc @rsp l 20"),
    nothing("dd @rip l 1000"),
    nothing("dq vmlinux!linux_banner l 100"),
    nothing("!db STACK"),
    nothing("!dc STACK l 20"),
    nothing("!dd STACK l 8"),
    nothing("!dq STACK l 1000"),
    stack("eb @rsp (db(@rsp) ^ 1)", 1),
    stack("eb @rsp (db(@rsp) ^ ff) (db(@rsp + 1) ^ 80)", 2),
    stack("ed @rsp (dd(@rsp) ^ ffffffff)", 4),
    stack("eq @rsp (dq(@rsp) ^ 8080808080808080)", 8),
    stack("!eb STACK (db(@rsp) ^ 1)", 1),
    stack("!ed STACK (dd(@rsp) ^ ffffffff)", 4),
    stack("!eq STACK (dq(@rsp) ^ ffffffffffffffff)", 8),
    nothing("!va2pa @rip"),
    nothing("!pa2va STACK"),
    nothing(".writemem FILE.page @rsp l 80"),
    nothing("!digest"),
    nothing("!digest 0 l 1000"),
    nothing("!digest registers"),
    // Code and symbols.
    nothing("u"),
    nothing("u vmlinux!vfs_read l 100"),
    nothing("x vmlinux!vfs_?ead"),
    says("lm", "standstill"),
    nothing("lm m stand"),
    nothing("ln @rip"),
    // Values and scripts.
    says("? 1 + 1", "2"),
    nothing("print poi(@rsp)"),
    nothing(".formats 0n5616"),
    nothing("? .lab_word = 1122334455667788;"),
    says("? printf(\"%llx\\n\", .lab_word);", "1122334455667788"),
    says(".formats .lab_word", "11223344`55667788"),
    nothing("? { char .lab_bytes[40]; memcpy(&.lab_bytes, @rsp, 40); }"),
    nothing("? { still = poi(@rsp) + @rip; .lab_still += still; print(still); }"),
    nothing("? interlocked_increment(&.lab_still);"),
    nothing(
        "? { interlocked_exchange(&.lab_still, @rip); interlocked_compare_exchange(&.lab_still, 5, @rip); }",
    ),
    says("? print(.lab_still);", "5"),
    nothing("? { spinlock_lock(&.lab_lock); spinlock_unlock(&.lab_lock); }"),
    nothing("? { for (i = 0; i < 100; i++) { .lab_sum += poi(@rsp + i * 8); } }"),
    nothing(
        "? { print(virtual_to_physical(@rsp)); print($pid); print($core); print(rdtsc()); flush(); }",
    ),
    stack("? eb(@rsp, db(@rsp) ^ 1);", 1),
    stack("? ew(@rsp, dw(@rsp) ^ ffff);", 2),
    stack("? ed(@rsp, dd(@rsp) ^ 1010101);", 4),
    stack("? eq(@rsp, poi(@rsp) ^ ffffffffffffffff);", 8),
    stack("? eq_pa(STACK, poi_pa(STACK) ^ 101010101010101);", 8),
    stack(
        "? { .lab_word = poi(@rsp) ^ 8000000000000001; memcpy(@rsp, &.lab_word, 1); }",
        1,
    ),
    registers("? @rbx = @rbx ^ 1;", &["rbx"]),
    registers("? { @r9 = @r9 ^ 1; @cl = @cl ^ 1; }", &["r9", "rcx"]),
    // Events and pools.
    nothing("events"),
    nothing("pools"),
    nothing("test pool"),
    nothing("preactivate mode"),
    nothing("flush"),
    nothing("output"),
    // The debugger itself.
    nothing(".status"),
    nothing(".help"),
    nothing(".help !epthook"),
    nothing("sleep 1"),
    nothing(".cls"),
    nothing(".script FILE 5"),
    says(".json r rip", "rip"),
    nothing(".json ? { .lab_still = .lab_still + 1; print(.lab_still); }"),
    nothing(".session save FILE.session"),
    nothing(".session load FILE.session"),
    nothing(".reconnect"),
    refused(".debug remote tcp 127.0.0.1:1"),
    nothing("exit"),
];

/// What has to be there before the events.
const RESERVE: &[Row] = &[
    nothing("prealloc regular-event 40"),
    nothing("prealloc epthook 4"),
    nothing("prealloc monitor 8"),
    nothing("prealloc regular-safe-buffer 2"),
    nothing("output create lab_still file FILE.out"),
    nothing("output open lab_still"),
    says("output", "lab_still"),
    nothing("output close lab_still"),
];

const CHANGES: &[Row] = &[
    nothing("events d 0"),
    nothing("events e 0"),
    nothing("events d all"),
    nothing("events e all"),
    nothing("? { event_disable(1); event_enable(1); event_clear(2); }"),
    refused("events sc on"),
    says("bp vmlinux!panic passes 2 once", "breakpoint "),
    says("ba w8 vmlinux!panic_timeout", "breakpoint "),
    says("bl", "passes 2, once"),
    nothing("bd *"),
    nothing("be all"),
    refused("bc 0"),
    nothing("bc all"),
];

const ENDS: &[Row] = &[
    nothing("events c 3"),
    nothing("events c all"),
    says("events", "no events"),
    Row {
        change: Change::Everything,
        ..nothing("g")
    },
];

/// All rows, in the order in which they are to be given.
pub(super) fn rows() -> impl Iterator<Item = Row> {
    let events = EVENTS.iter().chain(HOOKS).map(|line| nothing(line));
    let first = OTHERS.iter().chain(RESERVE).copied();
    let with_events = OTHERS.iter().chain(CHANGES).chain(ENDS).copied();
    first.chain(events).chain(with_events)
}

/// The command that a line begins with.
fn name(line: &str) -> &str {
    line.split(' ').next().unwrap_or_default()
}

#[test]
fn every_command_has_a_row_and_every_row_a_command() {
    let typed: Vec<&str> = rows().map(|row| name(row.line)).collect();
    let missing: Vec<&str> = COMMANDS
        .iter()
        .filter(|command| !command.names.iter().any(|name| typed.contains(name)))
        .map(|command| command.names[0])
        .collect();
    assert!(missing.is_empty(), "commands without a row: {missing:?}");
    let is_known = |name: &str| COMMANDS.iter().any(|command| command.names.contains(&name));
    let strange: Vec<&str> = typed.into_iter().filter(|name| !is_known(name)).collect();
    assert!(strange.is_empty(), "rows without a command: {strange:?}");
}
