//! Every refusal of an event is provoked: it says the limit, its value, what was asked for and what helps, it changes
//! nothing, and what it says helps does help.

use crate::lab::Lab;
use std::fmt::Write;
use vm_lab::machine::Options;

/// Small enough that everything runs out, and no thread that refills it.
const CONSTANTS: &[(&str, u64)] = &[
    ("arena_bytes", 4 << 20),
    ("replenish_ms", 0),
    ("regular_events", 2),
    ("ept_hooks", 1),
    ("ept_hooks2", 1),
    ("monitors", 1),
    ("big_condition_bytes", 200),
    ("regular_action_bytes", 512),
    ("big_action_bytes", 2048),
    ("big_safe_buffer_bytes", 8192),
    // What a script may do without an end before it is ended: enough to miss a halt.
    ("script_operations", 30_000_000),
];

fn boot() -> Lab {
    let parameter = |(name, value): &(&str, u64)| ((*name).to_owned(), value.to_string());
    let mut lab = Lab::with(&Options {
        params: CONSTANTS.iter().map(parameter).collect(),
        ..Options::default()
    });
    lab.run("pause");
    lab
}

/// So many bytes of machine code that do nothing.
fn code(bytes: usize) -> String {
    format!("{}c3", "90".repeat(bytes - 1))
}

/// A machine, and what it did not say as it should.
struct Provoked {
    lab: Lab,
    wrong: String,
}

impl Provoked {
    /// The command is refused with these words, and changes neither pools nor events; returns the refusal.
    #[track_caller]
    fn refused(&mut self, command: &str, words: &[&str]) -> String {
        let state = |lab: &mut Lab| [lab.run("pools"), lab.run("events")];
        let before = state(&mut self.lab);
        let reply = self.lab.reply(command);
        let unchanged = state(&mut self.lab) == before;
        let said = reply.output.trim_end();
        let is_line = !reply.ok && said.lines().count() == 1;
        if !is_line || !unchanged || !words.iter().all(|word| said.contains(word)) {
            let shown = command.get(..60).unwrap_or(command);
            let _ = writeln!(
                self.wrong,
                "{shown}: unchanged {unchanged}: no {words:?} in: {said}"
            );
        }
        said.to_owned()
    }

    /// As [`Self::refused`]; then does what the refusal says, and the command goes through.
    #[track_caller]
    fn refused_and_helped(&mut self, command: &str, words: &[&str]) {
        let refusal = self.refused(command, words);
        let help = refusal.split('`').nth(1).unwrap_or_default();
        assert!(help.starts_with("prealloc "), "{refusal}");
        self.lab.run(help);
        let added = self.lab.run(command);
        assert!(added.starts_with("event "), "{added}");
    }
}

#[test]
fn every_error_says_what_helps_and_changes_nothing() {
    let mut provoked = Provoked {
        lab: boot(),
        wrong: String::new(),
    };
    let digest = provoked.lab.run("!digest");
    what_cannot_be_found(&mut provoked);
    what_is_too_large(&mut provoked);
    pools_that_run_dry(&mut provoked);
    hooks_that_cannot_be(&mut provoked);
    assert_eq!(provoked.lab.run("!digest"), digest, "the guest ran");
    provoked.lab.run("events c all");
    a_core_that_does_not_come(&mut provoked);
    assert!(provoked.wrong.is_empty(), "{}", provoked.wrong);
}

#[test]
fn a_processor_that_lacks_what_an_event_needs_says_so() {
    let lab = Lab::with(&Options {
        cpu: "corei7_ivy_bridge_3770k".into(),
        ..Options::default()
    });
    let mut provoked = Provoked {
        lab,
        wrong: String::new(),
    };
    provoked.lab.run("pause");
    let words = ["c000010e: ", "tell user from kernel execution"];
    provoked.refused("!mode u pid 1", &words);
    provoked.refused("!epthook2 vmlinux!vfs_read", &["c0000027: ", "VMFUNC"]);
    provoked
        .lab
        .run("!epthook vmlinux!__x64_sys_getsid script { .hits = .hits + 1; }");
    provoked.lab.run("g");
    assert!(provoked.lab.guest("lab-calls 5 1").contains("calls 5"));
    provoked.lab.run("pause");
    assert_eq!(provoked.lab.run("? print(.hits);").trim(), "5");
    assert!(provoked.wrong.is_empty(), "{}", provoked.wrong);
}

fn what_cannot_be_found(provoked: &mut Provoked) {
    let unmapped = "ffffc7ffdead0000";
    for (command, words) in [
        ("!cpuid pid 7fff0".to_owned(), &["c0000040: ", "7fff0"][..]),
        (format!("!epthook {unmapped}"), &["c0000005: ", unmapped]),
        (
            format!("!monitor w {unmapped} l 8"),
            &["c0000005: ", unmapped],
        ),
        (
            "!cpuid core 7".to_owned(),
            &["c0000051: ", "core 7", "has 2"],
        ),
        ("~ 7".to_owned(), &["c0000051: ", "core 7", "has 2"]),
    ] {
        provoked.refused(&command, words);
    }
}

fn what_is_too_large(provoked: &mut Provoked) {
    for (command, words) in [
        (
            format!("!cpuid condition {{ {} }}", code(201)),
            ["c0000041: ", "0n201", "0n200", "big_condition_bytes"],
        ),
        (
            format!("!cpuid code {{ {} }}", code(2056)),
            ["c0000047: ", "0n2064", "0n2048", "big_action_bytes"],
        ),
        (
            "!cpuid buffer 16001".to_owned(),
            ["c0000048: ", "0n90113", "0n90112", "`buffer 16000`"],
        ),
        (
            "!cpuid buffer 2001".to_owned(),
            ["c000004b: ", "0n8193", "0n8192", "big_safe_buffer_bytes"],
        ),
    ] {
        provoked.refused(&command, &words);
    }
}

fn pools_that_run_dry(provoked: &mut Provoked) {
    let condition = format!("!cpuid condition {{ {} }}", code(150));
    let words = ["c0000043: ", "0n150", "0n100", "none is reserved"];
    provoked.refused_and_helped(&condition, &words);
    let action = format!("!cpuid code {{ {} }}", code(600));
    let words = ["c0000046: ", "0n608", "0n512", "all 1 are in use"];
    provoked.refused_and_helped(&action, &words);
    let words = ["c0000049: ", "regular safe buffer", "none is reserved"];
    provoked.refused_and_helped("!cpuid buffer 1000", &words);
    let words = ["c000004a: ", "big safe buffer", "none is reserved"];
    provoked.refused_and_helped("!cpuid buffer 1001", &words);
    // The two with buffers are the regular events there are.
    let words = ["c0000042: ", "regular event", "all 2 are in use", "`g`"];
    provoked.refused_and_helped("!cpuid 40000000", &words);
    provoked.lab.run("prealloc regular-event 40");
    provoked.lab.run("!epthook (vmlinux!_text + 1000) force");
    let words = ["c0000023: ", "EPT-hook page", "all 1 are in use"];
    provoked.refused_and_helped("!epthook vmlinux!vfs_write", &words);
    provoked.lab.run("!epthook2 vmlinux!vfs_read");
    let words = ["c0000023: ", "detour page", "all 1 are in use"];
    provoked.refused_and_helped("!epthook2 vmlinux!do_sys_openat2", &words);
    provoked.lab.run("!monitor w vmlinux!linux_banner l 1");
    let words = ["c0000023: ", "monitored page", "all 1 are in use"];
    provoked.refused_and_helped("!monitor w vmlinux!jiffies_64 l 8", &words);
    // Pages that are no whole 2 MiB: as many objects as the refusal says, and no event was in the way.
    let many = "!monitor rw ffff888000000000 l 200000";
    let words = ["c0000023: ", "too few monitored pages", "are needed"];
    provoked.refused(many, &words);
    // More than there is: what cannot be given now waits for the guest to run, or is refused.
    let words = ["c0000108: ", "big-event", "`prealloc big-event "];
    provoked.refused("prealloc big-event ffff", &words);
}

fn hooks_that_cannot_be(provoked: &mut Provoked) {
    let on_page = |hook: u32| {
        format!(
            "!epthook (vmlinux!_text + {:x}) force",
            0x1000 + hook * 0x10
        )
    };
    for hook in 1..HOOKS_PER_PAGE {
        provoked.lab.run(&on_page(hook));
    }
    let words = [
        "c0000022: ",
        &format!("{HOOKS_PER_PAGE} hooks"),
        "`events c N`",
    ];
    provoked.refused(&on_page(HOOKS_PER_PAGE), &words);
    let taken = |command: &str| {
        (
            command.to_owned(),
            ["c0000026: ", "cannot share a page", "`events c "],
        )
    };
    for (command, words) in [
        taken("!epthook (vmlinux!vfs_read + 5)"),
        taken("!epthook2 vmlinux!vfs_read"),
        taken("!epthook2 (vmlinux!_text + 1000) force"),
    ] {
        provoked.refused(&command, &words);
    }
    for (at, why) in [
        ("1000", "only the kernel's code"),
        ("vmlinux!entry_SYSCALL_64", "kernel's entry"),
        ("(vmlinux!vfs_open + 5)", "shorter than the five bytes"),
    ] {
        provoked.refused(
            &format!("!epthook2 {at}"),
            &["c0000027: ", why, "`!epthook`"],
        );
    }
    let driver = provoked.lab.run("lm m standstill");
    let driver = driver
        .split_whitespace()
        .find(|word| word.starts_with("ffffffff"));
    let driver = format!("!epthook {}", driver.unwrap_or_default());
    provoked.refused(&driver, &["c0000052: ", "debugger itself"]);
    let device = "!monitor pa w ffffffffff000 l 8";
    provoked.refused(device, &["c0000056: ", "ffffffffff000", "end at"]);
    provoked.refused(
        "!mode u pid 1 sc on",
        &["`sc on`", "no instruction to skip"],
    );
}

/// A core that runs a long script when the machine is to halt: nothing can be installed or cleared, and all is well
/// once it came.
fn a_core_that_does_not_come(provoked: &mut Provoked) {
    let added = provoked.lab.run("!cpuid 9 core 1 script { while (1) { } }");
    let event = added
        .split([' ', ':'])
        .nth(1)
        .unwrap_or_default()
        .to_owned();
    provoked.lab.run("g");
    provoked.lab.guest_background("taskset 2 lab-cpuid 9 1");
    provoked.lab.run("sleep 500");
    let halt = provoked.lab.run("pause");
    assert!(halt.contains("core 1 did not check in"), "{halt}");
    let list = provoked.lab.run("~");
    assert!(list.contains("did not check in"), "{list}");
    provoked.refused("!cpuid 5", &["c0000050: ", "core 1", "nothing was applied"]);
    let clear = format!("events c {event}");
    let listed = format!("event {event} could not be cleared and is still listed");
    provoked.refused(&clear, &["c000004f: ", "core 1", &listed, &clear]);
    provoked.refused("~ 1", &["c0000051: ", "core 1", "`pause`"]);
    provoked.lab.run("g");
    provoked.lab.guest("wait");
    provoked.lab.run("pause");
    let list = provoked.lab.run("~");
    assert_eq!(list.matches("  halted   ").count(), 2, "{list}");
    provoked.lab.run(&clear);
    assert_eq!(provoked.lab.run("events"), "no events");
    provoked.lab.run("g");
    assert!(
        provoked
            .lab
            .guest("lab-check 2")
            .contains("check ok cores 2")
    );
}

/// What one page takes.
const HOOKS_PER_PAGE: u32 = 40;
