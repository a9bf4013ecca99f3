//! `lab soak`: what is slow and rarely tells anything, in parts of at most half an hour.
//!
//! Called by `main`. Whoever changes what a part is about runs it; nobody runs all of it for every change.

use crate::suite::{lab_tests, print_seconds};
use crate::tally::{Tally, watch};
use crate::toolchain;
use crate::{fuzz, miri, repository, run, wireshark};
use anyhow::{Context, Result, bail};
use std::io::Write;
use std::process::Command;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// No part may take longer.
const ALLOWED: Duration = Duration::from_secs(30 * 60);
/// How long each fuzz target runs.
const FUZZ_SECONDS: u32 = 6 * 60;
/// Random changes of events under load.
const CHANGES: &str = "40000";

struct Part {
    name: &'static str,
    about: &'static str,
    work: Work,
}

/// What a part does.
enum Work {
    /// Unit tests of a package under Miri, with arguments to the test harness.
    Miri(&'static str, &'static [&'static str]),
    /// The test on machines of this name, which this setting makes thorough.
    Lab(&'static str, Option<(&'static str, &'static str)>),
    /// Something else.
    Other(fn(&mut dyn Write) -> Result<Tally>),
}

const PARTS: &[Part] = &[
    Part {
        name: "miri-wire",
        about: "all unit tests of the wire crate under Miri",
        work: Work::Miri("wire-protocol", &[]),
    },
    Part {
        name: "miri-driver",
        about: "all unit tests of the driver's core under Miri, but those of exits and events",
        work: Work::Miri(
            "debuggee-driver",
            &["--skip", "exit::", "--skip", "event::"],
        ),
    },
    Part {
        name: "miri-events",
        about: "the unit tests of events under Miri",
        work: Work::Miri("debuggee-driver", &["event::"]),
    },
    Part {
        name: "miri-exits",
        about: "the unit tests of exits under Miri, but those of whole sequences of them",
        work: Work::Miri(
            "debuggee-driver",
            &[
                "exit::",
                "--skip=exit::tests::detours",
                "--skip=exit::tests::ends",
                "--skip=exit::tests::events",
                "--skip=exit::tests::forms",
            ],
        ),
    },
    Part {
        name: "miri-sequences",
        about: "the unit tests of sequences of exits under Miri",
        work: Work::Miri(
            "debuggee-driver",
            &[
                "exit::tests::detours",
                "exit::tests::ends",
                "exit::tests::events",
                "exit::tests::forms",
            ],
        ),
    },
    Part {
        name: "fuzz",
        about: "each fuzz target for six minutes",
        work: Work::Other(|_| {
            toolchain::prepare_nightly()?;
            fuzz::run_all(FUZZ_SECONDS)
        }),
    },
    Part {
        name: "changing-code",
        about: "every way in which code or its page changes, under every kind of watcher",
        work: Work::Lab(
            "code_and_pages_change_under_every_watcher",
            Some(("STANDSTILL_CHANGING_CODE", "all")),
        ),
    },
    Part {
        name: "churn",
        about: "40,000 random changes of events under load on four cores, other ones each time",
        work: Work::Other(churn),
    },
    Part {
        name: "instructions",
        about: "every form of instruction in every place, under each kind of event by itself",
        work: Work::Lab(
            "instructions_in_all_forms",
            Some(("STANDSTILL_FORMS", "whole")),
        ),
    },
    Part {
        name: "instructions-slow",
        about: "the same under the kinds of event that take long",
        work: Work::Lab(
            "instructions_in_all_forms",
            Some(("STANDSTILL_FORMS", "slow")),
        ),
    },
    Part {
        name: "instructions-often",
        about: "every form of instruction in its usual place, under what is met hundreds of times for each",
        work: Work::Lab(
            "instructions_in_all_forms",
            Some(("STANDSTILL_FORMS", "often")),
        ),
    },
    Part {
        name: "instructions-traced",
        about: "every form of instruction in its usual place, while its core is traced",
        work: Work::Lab(
            "instructions_in_all_forms",
            Some(("STANDSTILL_FORMS", "traced")),
        ),
    },
    Part {
        name: "selftests",
        about: "the kernel's own self-tests of x86, breakpoints, ptrace and vDSO, under each set of events by itself",
        work: Work::Lab(
            "selftests_of_the_kernel",
            Some(("STANDSTILL_SELFTESTS", "whole")),
        ),
    },
    Part {
        name: "kernel-paths",
        about: "hooks and detours in entries, locks and code that changes code, of the stock kernel on four cores",
        work: Work::Lab(
            "hooks_of_the_stock_kernel_see",
            Some(("STANDSTILL_KERNEL_PATHS", "stock")),
        ),
    },
    Part {
        name: "starvation",
        about: "a program whose page tables are watched, so that its core does nothing else than tell of it",
        work: Work::Lab("page_tables_are_watched", None),
    },
    Part {
        name: "dissector",
        about: "the Wireshark dissector, by tshark, on recordings with every kind of message",
        work: Work::Other(dissector),
    },
    Part {
        name: "windows",
        about: "the program for Windows under Wine, over named pipes of either end, TCP and COM",
        work: Work::Lab(
            "windows_program_connects",
            Some(("STANDSTILL_WINDOWS", "all")),
        ),
    },
    Part {
        name: "kills",
        about: "a host program that is killed a hundred times at any point of a command",
        work: Work::Lab(
            "killed_host_finds_everything_as_it_was",
            Some(("STANDSTILL_KILLS", "100")),
        ),
    },
    Part {
        name: "faults",
        about: "every fault of a line over every kind of line, with seeds that change, as a table",
        work: Work::Lab(
            "faults_of_lines_and_what_is_read_of_them",
            Some(("STANDSTILL_FAULTS", "all")),
        ),
    },
    Part {
        name: "deny",
        about: "licences, bans and sources of all dependencies, by cargo-deny",
        work: Work::Other(deny),
    },
];

impl Work {
    fn run(&self, out: &mut dyn Write) -> Result<Tally> {
        match self {
            Self::Miri(package, arguments) => {
                toolchain::prepare_nightly()?;
                miri::prepare()?;
                miri::run(package, arguments, out)
            }
            Self::Lab(test, setting) => lab_test(test, setting.as_slice(), out),
            Self::Other(run) => run(out),
        }
    }
}

/// Runs the test on machines whose name contains `test`, though other runs ignore it; a table that it prints is shown.
fn lab_test(test: &str, settings: &[(&str, &str)], out: &mut dyn Write) -> Result<Tally> {
    let arguments = ["--include-ignored", "--nocapture", test];
    lab_tests("e2e", &arguments, settings, out)
}

/// Prints what parts there are.
pub fn list() {
    println!("parts of `cargo lab soak`, each of at most half an hour; `all` runs them in turn:");
    for part in PARTS {
        println!("  {:<15} {}", part.name, part.about);
    }
}

/// Runs the part called `name`, or `all`; says whether all is well.
///
/// # Errors
/// When there is no such part.
pub fn run(name: &str) -> Result<bool> {
    let parts: Vec<&Part> = PARTS
        .iter()
        .filter(|part| name == "all" || part.name == name)
        .collect();
    if parts.is_empty() {
        list();
        bail!("soak has no part {name}");
    }
    let mut out = std::io::stdout();
    let mut total = Tally::default();
    let mut seconds = Vec::new();
    for part in parts {
        println!("\n== {}", part.name);
        let started = Instant::now();
        total.add(part.work.run(&mut out).unwrap_or_else(|error| {
            println!("{error:#}");
            Tally::of(false)
        }));
        let took = started.elapsed();
        if took > ALLOWED {
            println!("{} took longer than half an hour", part.name);
            total.add(Tally::of(false));
        }
        seconds.push((part.name, took));
    }
    print_seconds(&seconds, &mut out);
    println!("\n{} passed, {} failed", total.passed, total.failed);
    Ok(total.failed == 0)
}

fn churn(out: &mut dyn Write) -> Result<Tally> {
    let seed = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs();
    writeln!(out, "STANDSTILL_CHURN_SEED={seed}")?;
    let settings = [
        ("STANDSTILL_CHURN_SEED", &*seed.to_string()),
        ("STANDSTILL_CHURN_CHANGES", CHANGES),
    ];
    lab_test("ten_thousand_random_changes", &settings, out)
}

/// Runs the test of the dissector, which everybody else ignores.
fn dissector(out: &mut dyn Write) -> Result<Tally> {
    let tshark = wireshark::tshark()?;
    let mut test = Command::new("cargo");
    test.args(["test", "--package", "debugger-host", "--test", "dissector"]);
    test.args(["--", "--include-ignored"]);
    test.current_dir(repository())
        .env("STANDSTILL_TSHARK", tshark);
    watch(&mut test, out)
}

/// Runs `cargo deny`, which is compiled into the build directory where it is missing.
fn deny(out: &mut dyn Write) -> Result<Tally> {
    let tools = repository().join("target/tools");
    if !run::has_program("cargo-deny") && !tools.join("bin/cargo-deny").exists() {
        writeln!(out, "compiling cargo-deny")?;
        let mut install = Command::new("cargo");
        install.args(["install", "--quiet", "--locked", "cargo-deny", "--root"]);
        run::output(install.arg(&tools)).context("compiling cargo-deny")?;
    }
    let own = std::env::var_os("PATH").unwrap_or_default();
    let path = std::iter::once(tools.join("bin")).chain(std::env::split_paths(&own));
    let mut deny = Command::new("cargo");
    deny.args(["deny", "--all-features", "check"]);
    deny.args(["licenses", "bans", "sources"]);
    deny.current_dir(repository())
        .env("PATH", std::env::join_paths(path)?);
    let tally = watch(&mut deny, out)?;
    Ok(Tally::of(tally.failed == 0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_have_names_of_their_own_and_others_are_refused() {
        for (index, part) in PARTS.iter().enumerate() {
            assert_ne!(part.name, "all");
            let later = &PARTS[index + 1..];
            assert!(later.iter().all(|other| other.name != part.name));
        }
        assert!(run("rest").unwrap_err().to_string().contains("rest"));
    }
}
