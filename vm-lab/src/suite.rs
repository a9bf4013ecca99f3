//! `lab test`: every check the project has, in one go, ending in one line of numbers.
//!
//! Called by `main`. Each check is another program; its output is passed through as it appears, and what the test
//! harness says in its `test result:` lines is added up. A check that is no test counts only when it fails.

use crate::progress::phase;
use crate::toolchain::{self, Tier};
use crate::{driver, fuzz, provision, repository, run};
use anyhow::{Context, Result};
use regex::Regex;
use std::io::{BufRead, BufReader, IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Checks in the order they run: what fails soonest comes first.
const IN_TURN: &[&str] = &["format", "clippy", "unit tests", "e2e"];
/// Checks that take long and find little from one day to the next. They run side by side, and only when asked for.
/// `miri PACKAGE [ARGUMENT]...` runs a package's unit tests in the interpreter that finds undefined behaviour; the driver's
/// are split into halves that take equally long.
const THOROUGH: &[&str] = &[
    "fuzz",
    "miri wire-protocol",
    "miri debuggee-driver exit::",
    "miri debuggee-driver --skip exit::",
];
/// The checks that are made of named tests, so that a filter applies inside them.
const NAMED: &[&str] = &["unit tests", "e2e"];

/// Tests that passed and failed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Tests that passed.
    pub passed: u64,
    /// Tests that failed, and checks that failed for another reason.
    pub failed: u64,
}

impl Tally {
    fn add(&mut self, other: Self) {
        self.passed += other.passed;
        self.failed += other.failed;
    }

    /// One thing that passed or did not.
    #[must_use]
    pub fn of(ok: bool) -> Self {
        Self {
            passed: u64::from(ok),
            failed: u64::from(!ok),
        }
    }
}

/// What `lab test` was asked for.
#[derive(Clone, Debug)]
pub struct Request {
    /// Run only tests whose names contain this, and of the other checks those whose headings begin with it.
    pub filter: Option<String>,
    /// Whether to run the checks that take long, too. A filter that is the heading of one asks for it as well.
    pub thorough: bool,
    /// How long each fuzz target runs.
    pub fuzz_seconds: u32,
}

impl Request {
    fn wants(&self, heading: &str) -> bool {
        match &self.filter {
            Some(filter) => NAMED.contains(&heading) || heading.starts_with(filter),
            None => self.thorough || !THOROUGH.contains(&heading),
        }
    }
}

/// Runs everything, prints the summary, says whether all is well.
#[must_use]
pub fn run_all(request: &Request) -> bool {
    let filter = request.filter.as_deref();
    let run_check = |heading: &str, out: &mut dyn Write| match heading {
        "format" => format(out),
        "clippy" => clippy(out),
        "unit tests" => unit_tests(filter, out),
        "e2e" => lab_tests("e2e", filter, out),
        "fuzz" => fuzz::run_all(request.fuzz_seconds),
        _ => miri(heading.split(' ').skip(1), out),
    };
    if let Err(error) = toolchain::prepare(Tier::Test) {
        println!("{error:#}\n\n0 passed, 1 failed");
        return false;
    }
    let asked = THOROUGH.iter().filter(|heading| request.wants(heading));
    let asked: Vec<&str> = asked.copied().collect();
    let no_nightly = (!asked.is_empty())
        .then(prepare_nightly)
        .and_then(Result::err)
        .map(|error| format!("{error:#}"));
    if let Some(why) = &no_nightly {
        println!("cannot run {}: {why}", asked.join(", "));
    }
    let check = |heading: &str, out: &mut dyn Write| {
        if !request.wants(heading) {
            return Tally::default();
        }
        let _ = writeln!(out, "\n== {heading}");
        if let (true, Some(why)) = (THOROUGH.contains(&heading), &no_nightly) {
            let _ = writeln!(out, "not run: {why}");
            return Tally::of(false);
        }
        run_check(heading, out).unwrap_or_else(|error| {
            let _ = writeln!(out, "{error:#}");
            Tally::of(false)
        })
    };
    let mut total = Tally::default();
    let mut now = std::io::stdout();
    for heading in IN_TURN {
        total.add(check(heading, &mut now));
    }
    std::thread::scope(|scope| {
        let started: Vec<_> = THOROUGH
            .iter()
            .map(|heading| {
                scope.spawn(|| {
                    let mut held = Vec::new();
                    (check(heading, &mut held), held)
                })
            })
            .collect();
        for thread in started {
            let (tally, held) = thread
                .join()
                .unwrap_or_else(|_| (Tally::of(false), b"a check's thread failed".to_vec()));
            let _ = now.write_all(&held);
            total.add(tally);
        }
    });
    println!("\n{} passed, {} failed", total.passed, total.failed);
    total.failed == 0
}

/// Runs the measurements of the tests crate.
///
/// # Errors
/// When they can't be started.
pub fn bench(filter: Option<&str>) -> Result<bool> {
    Ok(lab_tests("bench", filter, &mut std::io::stdout())?.failed == 0)
}

fn unit_tests(filter: Option<&str>, out: &mut dyn Write) -> Result<Tally> {
    let mut cargo = cargo(&repository());
    cargo.args(["test", "--workspace", "--no-fail-fast", "--"]);
    watch(cargo.args(filter), out)
}

fn lab_tests(target: &str, filter: Option<&str>, out: &mut dyn Write) -> Result<Tally> {
    // Here and not in the first test, where nobody would see it.
    provision::provision()?;
    phase("building the host program", |_| crate::host::build())?;
    let mut cargo = cargo(&repository());
    cargo.args([
        "test",
        "--release",
        "--package",
        "standstill-tests",
        "--test",
        target,
        "--",
    ]);
    cargo.args((target == "bench").then_some("--nocapture"));
    watch(cargo.args(filter), out)
}

/// Packages outside the workspace, which cargo's `--workspace` does not reach.
fn excluded_packages() -> Vec<PathBuf> {
    let root = repository();
    [driver::source(), root.join(fuzz::PACKAGE)]
        .into_iter()
        .filter(|package| package.join("Cargo.toml").exists())
        .collect()
}

fn format(out: &mut dyn Write) -> Result<Tally> {
    let mut tally = watch(cargo(&repository()).args(["fmt", "--all", "--check"]), out)?;
    for package in excluded_packages() {
        tally.add(watch(cargo(&package).args(["fmt", "--check"]), out)?);
    }
    Ok(tally)
}

fn clippy(out: &mut dyn Write) -> Result<Tally> {
    let root = repository();
    let mut clippy = cargo(&root);
    clippy.args(["clippy", "--workspace", "--all-targets", "--", "-Dwarnings"]);
    let mut tally = watch(&mut clippy, out)?;
    // What no plain `cargo test` runs, `--all-targets` leaves out.
    let mut lab = cargo(&root);
    lab.args(["clippy", "--package", "standstill-tests"]);
    lab.args(["--test", "e2e", "--test", "bench", "--", "-Dwarnings"]);
    tally.add(watch(&mut lab, out)?);
    if driver::source().join("Cargo.toml").exists() {
        let mut platform = cargo(&driver::source());
        platform.args(["clippy", "--release", "--", "-Dwarnings"]);
        platform.env("CARGO_TARGET_DIR", root.join("target/driver"));
        tally.add(watch(&mut platform, out)?);
    }
    Ok(tally)
}

/// Runs the unit tests of a package, which touch no hardware, in the interpreter; `words` are the package and arguments.
fn miri<'w>(mut words: impl Iterator<Item = &'w str>, out: &mut dyn Write) -> Result<Tally> {
    let mut miri = nightly_cargo(&repository());
    miri.args(["miri", "test", "--lib", "--package"]);
    miri.args(words.next()).arg("--").args(words);
    // Property tests read the environment and the clock. The interpreter is some hundred times slower than the machine.
    miri.env("MIRIFLAGS", "-Zmiri-disable-isolation")
        .env("PROPTEST_CASES", "4");
    watch(&mut miri, out)
}

/// Makes the nightly toolchain's interpreter ready for use.
fn prepare_nightly() -> Result<()> {
    toolchain::prepare_nightly()?;
    phase("preparing the interpreter", |_| {
        run::output(nightly_cargo(&repository()).args(["miri", "setup"]))
    })?;
    Ok(())
}

/// The pinned toolchain's cargo in `directory`.
fn cargo(directory: &Path) -> Command {
    let mut cargo = Command::new("cargo");
    cargo.current_dir(directory);
    cargo
}

/// The nightly toolchain's cargo in `directory`.
pub(crate) fn nightly_cargo(directory: &Path) -> Command {
    let mut cargo = Command::new("rustup");
    cargo
        .args(["run", "nightly", "cargo"])
        .current_dir(directory);
    cargo
}

/// Runs `command`, passes its output on, and counts its tests.
fn watch(command: &mut Command, out: &mut dyn Write) -> Result<Tally> {
    if std::io::stdout().is_terminal() {
        command.env("CARGO_TERM_COLOR", "always");
    }
    let name = command.get_program().to_string_lossy().into_owned();
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .with_context(|| format!("starting {name}"))?;
    let mut tally = Tally::default();
    if let Some(output) = child.stdout.take() {
        for line in BufReader::new(output).split(b'\n') {
            let line = line?;
            let line = String::from_utf8_lossy(&line);
            writeln!(out, "{line}")?;
            tally.add(result_line(&line));
        }
    }
    // Failing before or beside any test, for instance by not compiling, must not pass for success.
    if !child.wait()?.success() && tally.failed == 0 {
        tally.failed = 1;
    }
    Ok(tally)
}

/// What one line of a test harness adds.
fn result_line(line: &str) -> Tally {
    let none = Tally::default();
    let Ok(pattern) = Regex::new(r"^test result: .* (\d+) passed; (\d+) failed;") else {
        return none;
    };
    pattern.captures(line).map_or(none, |found| {
        let number = |index: usize| found[index].parse().unwrap_or(0);
        Tally {
            passed: number(1),
            failed: number(2),
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn result_lines_are_counted_with_and_without_colour() {
        let expected = Tally {
            passed: 53,
            failed: 1,
        };
        let plain =
            "test result: FAILED. 53 passed; 1 failed; 0 ignored; 0 measured; 0 filtered out";
        assert_eq!(result_line(plain), expected);
        let colour = "test result: \x1b[31mFAILED\x1b[m. 53 passed; 1 failed; 0 ignored";
        assert_eq!(result_line(colour), expected);
        assert_eq!(result_line("test a ... ok"), Tally::default());
    }

    #[test]
    fn failing_check_without_tests_counts_once() {
        let tally = watch(Command::new("sh").args(["-c", "exit 1"]), &mut Vec::new()).unwrap();
        assert_eq!(tally, Tally::of(false));
        let told = "echo 'test result: FAILED. 2 passed; 3 failed; 0 ignored'; exit 101";
        let tally = watch(Command::new("sh").args(["-c", told]), &mut Vec::new()).unwrap();
        assert_eq!((tally.passed, tally.failed), (2, 3));
    }

    #[test]
    fn filter_selects_checks_by_heading() {
        let request = |filter: Option<&str>| Request {
            filter: filter.map(str::to_owned),
            thorough: false,
            fuzz_seconds: 1,
        };
        assert!(!request(None).wants("miri wire-protocol"));
        let thorough = Request {
            thorough: true,
            ..request(None)
        };
        assert!(thorough.wants("miri wire-protocol"));
        assert!(request(Some("fuzz")).wants("fuzz"));
        assert!(request(Some("miri")).wants("miri debuggee-driver exit::"));
        assert!(!request(Some("exit")).wants("miri debuggee-driver exit::"));
        assert!(!request(Some("watch")).wants("format"));
        assert!(request(Some("watch")).wants("unit tests"));
    }
}
