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
use std::time::{Duration, Instant};

/// No part may take longer.
const ALLOWED: Duration = Duration::from_secs(30 * 60);
/// How long each fuzz target runs.
const FUZZ_SECONDS: u32 = 4 * 60;
/// Random changes of events under load.
const CHANGES: &str = "40000";

struct Part {
    name: &'static str,
    about: &'static str,
    work: Work,
}

/// What a part does.
enum Work {
    /// Tests of a package under Miri: which of its targets, and arguments to the test harness.
    Miri(&'static str, &'static str, &'static [&'static str]),
    /// The test on machines of this name, which this setting makes thorough.
    Lab(&'static str, Option<(&'static str, &'static str)>),
    /// The same, which draws what it does from the seed in this variable.
    Drawn(&'static str, (&'static str, &'static str), &'static str),
    /// Something else.
    Other(fn(&mut dyn Write) -> Result<Tally>),
}

const PARTS: &[Part] = &[
    Part {
        name: "miri-wire",
        about: "all unit tests of the wire crate under Miri",
        work: Work::Miri("wire-protocol", "--lib", &[]),
    },
    Part {
        name: "miri-programs",
        about: "programs of arbitrary bytes under Miri: verified, decoded and run, but for the count of why they are refused",
        work: Work::Miri(
            "wire-protocol",
            "--test=scripts",
            &["--skip=some_mutated_programs"],
        ),
    },
    Part {
        name: "miri-driver",
        about: "all unit tests of the driver's core under Miri, but those of exits and events",
        work: Work::Miri(
            "debuggee-driver",
            "--lib",
            &["--skip", "exit::", "--skip", "event::"],
        ),
    },
    Part {
        name: "miri-events",
        about: "the unit tests of events under Miri",
        work: Work::Miri("debuggee-driver", "--lib", &["event::"]),
    },
    Part {
        name: "miri-exits",
        about: "the unit tests of exits under Miri, but those of whole sequences of them",
        work: Work::Miri(
            "debuggee-driver",
            "--lib",
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
            "--lib",
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
        about: "each fuzz target for four minutes",
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
        work: Work::Drawn(
            "ten_thousand_random_changes",
            ("STANDSTILL_CHURN_CHANGES", CHANGES),
            "STANDSTILL_CHURN_SEED",
        ),
    },
    Part {
        name: "reconnects",
        about: "a host that connects over the network 100 times, and no nonce that comes twice",
        work: Work::Lab(
            "no_nonce_comes_twice_however_often_a_host_connects",
            Some(("STANDSTILL_RECONNECTS", "100")),
        ),
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
        name: "handlers",
        about: "a changed line in each handler of a request, which the recordings must find",
        work: Work::Other(handlers),
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
        name: "nics",
        about: "10,000 datagrams over each network card of QEMU's, over a bad network, behind an IOMMU, too",
        work: Work::Lab("a_card_of_qemus", Some(("STANDSTILL_CARDS", "all"))),
    },
    Part {
        name: "kills",
        about: "a host program that is killed a hundred times at any point of a command",
        work: Work::Drawn(
            "killed_host_finds_everything_as_it_was",
            ("STANDSTILL_KILLS", "100"),
            "STANDSTILL_KILLS_SEED",
        ),
    },
    Part {
        name: "faults",
        about: "every fault of a line over every kind of line, with the seed that is printed, as a table",
        work: Work::Drawn(
            "faults_of_lines_and_what_is_read_of_them",
            ("STANDSTILL_FAULTS", "all"),
            "STANDSTILL_FAULTS_SEED",
        ),
    },
    Part {
        name: "beside",
        about: "scenarios with the driver's core beside the machine, which says what the driver says",
        work: Work::Lab(
            "core_beside_the_machine",
            Some(("STANDSTILL_BESIDE", "all")),
        ),
    },
    Part {
        name: "as-host",
        about: "the recordings of scenarios as the host of a machine, which answers as then",
        work: Work::Lab(
            "recorded_scenarios_play_the_host",
            Some(("STANDSTILL_AS_HOST", "all")),
        ),
    },
    Part {
        name: "packages",
        about: "the packages in a clean Debian, for which it takes root, and doctor on kernels that want more of a driver",
        work: Work::Lab("packages_", None),
    },
    Part {
        name: "deny",
        about: "licences, bans and sources of all dependencies, by cargo-deny",
        work: Work::Other(deny),
    },
];

impl Work {
    const fn is_drawn(&self) -> bool {
        matches!(self, Self::Drawn(..))
    }

    fn run(&self, seed: u64, out: &mut dyn Write) -> Result<Tally> {
        match self {
            Self::Miri(package, target, arguments) => {
                toolchain::prepare_nightly()?;
                miri::prepare()?;
                miri::run(package, target, arguments, out)
            }
            Self::Lab(test, setting) => lab_test(test, setting.as_slice(), out),
            Self::Drawn(test, setting, variable) => {
                lab_test(test, &[*setting, (variable, &seed.to_string())], out)
            }
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

/// What is wanted of `lab soak`.
#[derive(Clone, Copy, Debug, Default)]
pub struct Request<'r> {
    /// A part, or `all`. Without one: those that draw from a seed.
    pub part: Option<&'r str>,
    /// Again and again with other seeds, until so much time is over.
    pub minutes: Option<u64>,
    /// The first seed; without one, one that nobody knows.
    pub seed: Option<u64>,
}

/// The parts that are wanted.
fn parts(request: &Request<'_>) -> Result<Vec<&'static Part>> {
    let is_drawn = request.minutes.is_some() || request.seed.is_some();
    let is_wanted = |part: &&Part| match request.part {
        Some("all") => true,
        Some(name) => part.name == name,
        None => part.work.is_drawn(),
    };
    let parts: Vec<&Part> = PARTS.iter().filter(is_wanted).collect();
    if parts.is_empty() {
        list();
        bail!("soak has no part {}", request.part.unwrap_or_default());
    }
    if let Some(part) = parts.iter().find(|part| is_drawn && !part.work.is_drawn()) {
        bail!(
            "soak {} draws nothing from a seed, and does the same each time",
            part.name
        );
    }
    Ok(parts)
}

/// Runs parts; says whether all is well.
///
/// # Errors
/// When there is no such part, or it has no seeds.
pub fn run(request: &Request<'_>) -> Result<bool> {
    let parts = parts(request)?;
    let until = request
        .minutes
        .map(|minutes| Duration::from_secs(60 * minutes));
    let mut out = std::io::stdout();
    let mut total = Tally::default();
    let mut seconds = Vec::new();
    let began = Instant::now();
    let mut seed = request.seed.unwrap_or_else(|| fastrand::u64(..1 << 32));
    for part in parts.iter().cycle().take(match until {
        Some(_) => usize::MAX,
        None => parts.len(),
    }) {
        println!("\n== {}", part.name);
        if part.work.is_drawn() {
            println!("the same again: cargo lab soak {} --seed {seed}", part.name);
        }
        let started = Instant::now();
        total.add(part.work.run(seed, &mut out).unwrap_or_else(|error| {
            println!("{error:#}");
            Tally::of(false)
        }));
        let took = started.elapsed();
        if took > ALLOWED {
            println!("{} took longer than half an hour", part.name);
            total.add(Tally::of(false));
        }
        seconds.push((part.name, took));
        seed = seed.wrapping_add(1);
        if until.is_some_and(|until| began.elapsed() >= until) {
            break;
        }
    }
    print_seconds(&seconds, &mut out);
    println!("\n{} passed, {} failed", total.passed, total.failed);
    Ok(total.failed == 0)
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

/// Runs the test that builds the core with a changed line in each handler, which everybody else ignores.
fn handlers(out: &mut dyn Write) -> Result<Tally> {
    let mut test = Command::new("cargo");
    test.args(["test", "--package", "standstill-tests", "--test", "replay"]);
    test.args(["--", "--include-ignored", "--nocapture", "one_changed_line"]);
    watch(test.current_dir(repository()), out)
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
        let rest = Request {
            part: Some("rest"),
            ..Request::default()
        };
        assert!(run(&rest).unwrap_err().to_string().contains("rest"));
    }

    #[test]
    fn parts_are_repeated_that_draw_what_they_do() {
        let names = |part, minutes| {
            let request = Request {
                part,
                minutes,
                seed: None,
            };
            let found = parts(&request).map_err(|why| why.to_string())?;
            Ok::<_, String>(found.iter().map(|part| part.name).collect::<Vec<_>>())
        };
        assert_eq!(names(Some("faults"), Some(1)), Ok(vec!["faults"]));
        assert_eq!(names(None, Some(1)), Ok(vec!["churn", "kills", "faults"]));
        assert!(names(Some("deny"), Some(1)).unwrap_err().contains("seed"));
        assert_eq!(names(Some("deny"), None), Ok(vec!["deny"]));
    }
}
