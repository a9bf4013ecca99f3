//! The kernel's own self-tests of what a processor does for programs come to the same verdicts as without a debugger,
//! whatever is watched.
//!
//! `STANDSTILL_SELFTESTS=whole` runs all of them, under each set of events by itself.

use crate::lab::{Lab, assert_log_is_clean};
use std::fmt::Write;
use std::time::{Duration, Instant};
use vm_lab::machine::Options;
use vm_lab::provision::provision;
use vm_lab::selftests;

/// Longest that one may take in the guest, in its seconds.
const SELFTEST_SECONDS: u32 = 2000;
/// Longest wait for one.
const SELFTEST_TIMEOUT: Duration = Duration::from_secs(1200);

/// The quick ones that tell most.
const SHORT: [&str; 8] = [
    "single_step_syscall",
    "syscall_nt",
    "sigreturn",
    "iopl",
    "mov_ss_trap",
    "ptrace_syscall",
    "breakpoint_test",
    "vdso_test_abi",
];

/// Events that are there at the same time.
type Watch = &'static [&'static str];

/// What the tests meet.
const WATCHES: [Watch; 6] = [
    &[],
    &[
        "!epthook vmlinux!__x64_sys_rt_sigreturn",
        "!epthook vmlinux!__x64_sys_ptrace",
        "!exception",
        "!dr",
    ],
    // Programs read this page themselves, in the kernel's own library.
    &[
        "!epthook2 vmlinux!__x64_sys_rt_sigaction",
        "!monitor rw vmlinux!__vvar_page l 100",
    ],
    &["!syscall2", "!sysret2"],
    &[
        "!cpuid",
        "!tsc",
        "!pmc",
        "!vmcall",
        "!xsetbv",
        "!ioin",
        "!ioout",
        "!msrread",
        "!msrwrite",
        "!crwrite 0",
        "!crwrite 4",
        "!interrupt ec",
        "!syscall entry",
    ],
    &["!syscall", "!sysret"],
];

/// It makes so many system calls, traced ones among them, that it meets only those events that are about them.
const LONG: &str = "syscall_numbering";
const ABOUT_LONG: &str = "!syscall";

/// What differs from run to run without a debugger, too: of one test, lines that begin in either way say the same.
const UNSTEADY: [(&str, [&str; 2]); 1] = [
    // The way back from an interrupt clears a null selector that is not 0. Whether one comes there is chance.
    (
        "fsgsbase",
        ["[OK] GS/BASE remained", "[OK] GS/BASE changed from"],
    ),
];

/// Where the emulator does not do what the processor does that it says it is. The driver does, where it carries the
/// instruction out itself; there all has to be well.
const BETTER: [&str; 1] = [
    // SYSRET leaves size and limit of the stack's segment as they were, as AMD's processors do. The kernel knows of that,
    // but not of an Intel one, so that the stack of 32-bit code has 16 bits after it.
    "sysret_ss_attrs",
];

/// What one said.
struct Verdict {
    name: &'static str,
    status: i32,
    lines: Vec<String>,
}

/// The machine that they run on.
struct Selftests {
    lab: Lab,
    names: Vec<&'static str>,
}

impl Selftests {
    #[track_caller]
    fn boot(names: Vec<&'static str>) -> Self {
        let files = provision().and_then(|provisions| selftests::build(&provisions, &names));
        let files = files.unwrap_or_else(|error| panic!("{error:#}"));
        let lab = Lab::with(&Options {
            load_driver: false,
            files,
            ..Options::default()
        });
        Self { lab, names }
    }

    #[track_caller]
    fn run_all(&mut self) -> Vec<Verdict> {
        self.run_those(|_| true)
    }

    #[track_caller]
    fn run_those(&mut self, wanted: impl Fn(&str) -> bool) -> Vec<Verdict> {
        let mut names = self.names.clone();
        names.retain(|name| wanted(name));
        names.into_iter().map(|name| self.run(name)).collect()
    }

    #[track_caller]
    fn run(&mut self, name: &'static str) -> Verdict {
        let started = Instant::now();
        let command = format!(
            "timeout -s KILL {SELFTEST_SECONDS} /selftests/{name} < /dev/null > /said 2>&1; \
             status=$?; cat /said; echo; echo status $status"
        );
        let said = self.lab.guest_within(&command, SELFTEST_TIMEOUT);
        let status = said.lines().last().and_then(|line| line.rsplit(' ').next());
        let status = status.and_then(|word| word.parse().ok());
        let status = status.unwrap_or_else(|| panic!("{name} said no status:\n{said}"));
        let lines = said.lines().filter(|line| is_verdict(line));
        let lines: Vec<String> = lines.map(|line| steady(name, line)).collect();
        let (seconds, count) = (started.elapsed().as_secs_f32(), lines.len());
        println!("{name:<28} status {status:<3} {count:>3} verdicts {seconds:5.1} s");
        Verdict {
            name,
            status,
            lines,
        }
    }

    /// Runs them while these events watch; what is not as it was.
    #[track_caller]
    fn differences(&mut self, events: &[&str], bare: &[Verdict]) -> String {
        self.lab.run("pause");
        self.lab.run("? .n = 0;");
        for event in events {
            self.lab.run(&format!("{event} script {{ .n += 1; }}"));
        }
        self.lab.run("g");
        let is_about_long = events.contains(&ABOUT_LONG);
        let watched = self.run_those(|name| name != LONG || is_about_long);
        self.lab.run("pause");
        println!("{}", self.lab.run("events"));
        assert!(events.is_empty() || self.lab.value(".n") > 0);
        self.lab.run("events c all");
        self.lab.run("g");
        differences(bare, &watched)
    }
}

/// What those say that did not say it before.
fn differences(before: &[Verdict], now: &[Verdict]) -> String {
    let mut told = String::new();
    for Verdict {
        name,
        status,
        lines,
    } in now
    {
        let Some(before) = before.iter().find(|before| before.name == *name) else {
            continue;
        };
        let is_well = *status == 0 && lines.iter().all(|line| line.starts_with("[OK]"));
        if (*status, lines) == (before.status, &before.lines) || is_well && BETTER.contains(name) {
            continue;
        }
        let _ = writeln!(told, "{name}: status {status}, it was {}", before.status);
        let only = |these: &[String], those: &[String], mark: char, told: &mut String| {
            for line in these.iter().filter(|line| !those.contains(line)).take(10) {
                let _ = writeln!(told, "  {mark} {line}");
            }
        };
        only(&before.lines, lines, '-', &mut told);
        only(lines, &before.lines, '+', &mut told);
        let _ = writeln!(
            told,
            "  {} verdicts, before {}",
            lines.len(),
            before.lines.len()
        );
    }
    told
}

/// Whether the line tells how something went, in either of the two ways that the tests have.
fn is_verdict(line: &str) -> bool {
    const WORDS: [&str; 8] = [
        "[OK]", "[FAIL]", "[SKIP]", "[WARN]", "[XFAIL]", "ok ", "not ok ", "# Totals",
    ];
    WORDS.iter().any(|word| line.trim_start().starts_with(word))
}

/// The line without what differs from run to run: addresses and times, which are longer than other numbers, and what is
/// [`UNSTEADY`].
fn steady(name: &str, line: &str) -> String {
    let is_long = |word: &str| word.len() > 6 && word.contains(|c: char| c.is_ascii_digit());
    let words = line.split_whitespace();
    let words = words.map(|word| if is_long(word) { "#" } else { word });
    let line = words.collect::<Vec<_>>().join(" ");
    let unsteady = UNSTEADY.iter().find(|(test, ways)| {
        let is_one = ways.iter().any(|way| line.starts_with(way));
        *test == name && is_one
    });
    unsteady.map_or(line, |(_, ways)| ways.join(" or "))
}

#[test]
fn selftests_of_the_kernel_have_the_verdicts_that_they_have_without_a_debugger() {
    let is_whole = std::env::var("STANDSTILL_SELFTESTS").is_ok_and(|what| what == "whole");
    let (mut tests, watches) = if is_whole {
        let tests = Selftests::boot(selftests::names());
        (tests, WATCHES.map(<[&str]>::to_vec).to_vec())
    } else {
        (Selftests::boot(SHORT.to_vec()), vec![WATCHES.concat()])
    };
    let bare = tests.run_all();
    if is_whole {
        let again = tests.run_those(|name| name != LONG);
        let unsteady = differences(&bare, &again);
        assert!(unsteady.is_empty(), "without a debugger:\n{unsteady}");
    }
    tests.lab.load_driver(&[]);
    tests.lab.connect();
    let mut wrong = String::new();
    for watch in &watches {
        let started = Instant::now();
        let differences = tests.differences(watch, &bare);
        println!("{watch:?}: {:.1} s", started.elapsed().as_secs_f32());
        if !differences.is_empty() {
            println!("{differences}");
            let _ = writeln!(wrong, "--- {watch:?}\n{differences}");
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
    assert_log_is_clean(&tests.lab.guest("dmesg"));
    assert!(tests.lab.guest("lab-check 2").contains("check ok cores"));
}
