//! `lab test`: every check the project has, in one go, ending in one line of numbers.
//!
//! Called by `main`. What fails soonest runs first. What comes from outside is fetched and built beside the first checks,
//! and so are the checks that are not about the machine; the tests on machines come last and have the cores for
//! themselves.

use crate::progress::phase;
use crate::tally::{Tally, watch};
use crate::toolchain::{self, Tier};
use crate::{driver, fuzz, host, miri, provision, repository, windows};
use anyhow::Result;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant, SystemTime};

/// When the run of continuous integration began, in seconds since 1970; its total is then compared with what it may take.
const STARTED: &str = "STANDSTILL_STARTED";
const ALLOWED: Duration = Duration::from_secs(45 * 60);

#[derive(Clone, Copy, PartialEq, Eq)]
enum Turn {
    /// One after the other.
    First,
    /// One after the other, beside those. What they print is shown when they are done.
    Beside,
    /// After both.
    Last,
}

struct Check {
    heading: &'static str,
    turn: Turn,
    tier: Tier,
    /// Made of named tests, so that a filter applies inside it.
    named: bool,
    run: fn(&Request, &mut dyn Write) -> Result<Tally>,
}

const CHECKS: &[Check] = &[
    Check {
        heading: "format",
        turn: Turn::First,
        tier: Tier::Test,
        named: false,
        run: |_, out| format(out),
    },
    Check {
        heading: "clippy",
        turn: Turn::First,
        tier: Tier::Test,
        named: false,
        run: |_, out| clippy(out),
    },
    Check {
        heading: "rustdoc",
        turn: Turn::First,
        tier: Tier::Test,
        named: false,
        run: |_, out| rustdoc(out),
    },
    Check {
        heading: "unit tests",
        turn: Turn::First,
        tier: Tier::Test,
        named: true,
        run: unit_tests,
    },
    // The tests on machines would do it themselves, but later; and what goes wrong, they say.
    Check {
        heading: "lab",
        turn: Turn::Beside,
        tier: Tier::Test,
        named: true,
        run: |_, _| {
            driver::build(&provision::provision()?, None)?;
            Ok(Tally::default())
        },
    },
    Check {
        heading: "miri",
        turn: Turn::Beside,
        tier: Tier::Thorough,
        named: false,
        // Where cores wait for each other and hand out what they share.
        run: |_, out| {
            miri::prepare()?;
            miri::run("debuggee-driver", "--lib", &["cores::"], out)
        },
    },
    Check {
        heading: "fuzz",
        turn: Turn::Beside,
        tier: Tier::Thorough,
        named: false,
        run: |request, _| fuzz::run_all(request.fuzz_seconds),
    },
    Check {
        heading: "windows",
        turn: Turn::Beside,
        tier: Tier::Test,
        named: false,
        run: |_, _| windows(),
    },
    Check {
        heading: "e2e",
        turn: Turn::Last,
        tier: Tier::Test,
        named: true,
        run: |request, out| lab_tests("e2e", request.filter.as_deref().as_slice(), &[], out),
    },
];

/// What `lab test` was asked for.
#[derive(Clone, Debug)]
pub struct Request {
    /// Run only tests whose names contain this, and of the other checks those whose headings begin with it.
    pub filter: Option<String>,
    /// Whether to run the checks of the thorough tier, too. A filter that is the heading of one asks for it as well.
    pub thorough: bool,
    /// How long each fuzz target runs.
    pub fuzz_seconds: u32,
}

impl Request {
    fn wants(&self, check: &Check) -> bool {
        match &self.filter {
            Some(filter) => check.named || check.heading.starts_with(filter),
            None => self.thorough || check.tier <= Tier::Test,
        }
    }
}

/// What a check led to.
struct Verdict {
    heading: &'static str,
    tally: Tally,
    took: Duration,
}

/// Runs everything, prints the summary, says whether all is well.
#[must_use]
pub fn run_all(request: &Request) -> bool {
    let started = Instant::now();
    let wanted: Vec<&Check> = CHECKS.iter().filter(|check| request.wants(check)).collect();
    let mut out = std::io::stdout();
    if let Err(error) = toolchain::prepare(Tier::Test) {
        println!("{error:#}\n\n0 passed, {} failed", wanted.len());
        return false;
    }
    let thorough = wanted.iter().filter(|check| check.tier == Tier::Thorough);
    let thorough: Vec<&str> = thorough.map(|check| check.heading).collect();
    let no_nightly = (!thorough.is_empty())
        .then(toolchain::prepare_nightly)
        .and_then(Result::err)
        .map(|error| format!("{error:#}"));
    if let Some(why) = &no_nightly {
        println!("cannot run {}: {why}", thorough.join(" and "));
    }

    let run = |check: &Check, out: &mut dyn Write| {
        let started = Instant::now();
        let _ = writeln!(out, "\n== {}", check.heading);
        let result = match &no_nightly {
            Some(why) if check.tier == Tier::Thorough => Err(anyhow::anyhow!("not run: {why}")),
            _ => (check.run)(request, out),
        };
        let tally = result.unwrap_or_else(|error| {
            let _ = writeln!(out, "{error:#}");
            Tally::of(false)
        });
        Verdict {
            heading: check.heading,
            tally,
            took: started.elapsed(),
        }
    };
    let run_those = |turn: Turn, out: &mut dyn Write| -> Vec<Verdict> {
        let those = wanted.iter().filter(|check| check.turn == turn);
        those.map(|check| run(check, out)).collect()
    };
    let mut verdicts = std::thread::scope(|scope| {
        let beside = scope.spawn(|| {
            let mut held = Vec::new();
            (run_those(Turn::Beside, &mut held), held)
        });
        let mut verdicts = run_those(Turn::First, &mut out);
        match beside.join() {
            Ok((more, held)) => {
                let _ = out.write_all(&held);
                verdicts.extend(more);
            }
            Err(_) => verdicts.push(Verdict {
                heading: "a thread that runs checks",
                tally: Tally::of(false),
                took: Duration::ZERO,
            }),
        }
        verdicts
    });
    verdicts.extend(run_those(Turn::Last, &mut out));

    let seconds: Vec<_> = verdicts.iter().map(|v| (v.heading, v.took)).collect();
    print_seconds(&seconds, &mut out);
    print_total(started.elapsed());
    let mut total = Tally::default();
    for verdict in verdicts {
        if verdict.tally.failed > 0 {
            let tests = verdict.tally.failures.join(", ");
            println!("\nfailed in {}: {tests}", verdict.heading);
        }
        total.add(verdict.tally);
    }
    println!("\n{} passed, {} failed", total.passed, total.failed);
    total.failed == 0
}

/// How long each part took.
pub(crate) fn print_seconds(parts: &[(&str, Duration)], out: &mut dyn Write) {
    let _ = writeln!(out, "\n== seconds");
    for (name, took) in parts {
        let _ = writeln!(out, "{name:<12} {:6.0}", took.as_secs_f32());
    }
}

fn print_total(own: Duration) {
    let began = std::env::var(STARTED)
        .ok()
        .and_then(|text| text.parse().ok());
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    match (began, now) {
        (Some(began), Ok(now)) => println!(
            "{:<12} {:6} of {} allowed",
            "in all",
            now.as_secs().saturating_sub(began),
            ALLOWED.as_secs()
        ),
        _ => println!("{:<12} {:6.0}", "in all", own.as_secs_f32()),
    }
}

/// Runs the measurements of the tests crate.
///
/// # Errors
/// When they can't be started.
pub fn bench(filter: Option<&str>) -> Result<bool> {
    Ok(lab_tests("bench", filter.as_slice(), &[], &mut std::io::stdout())?.failed == 0)
}

/// Makes the recordings of the tests crate anew, those of the lab first, and plays them.
///
/// # Errors
/// When that can't be started.
pub fn record() -> Result<bool> {
    let settings = [("STANDSTILL_BESIDE", "all"), ("STANDSTILL_RECORD", "1")];
    let beside = ["--include-ignored", "core_beside_the_machine"];
    if lab_tests("e2e", &beside, &settings, &mut std::io::stdout())?.failed > 0 {
        return Ok(false);
    }
    let mut cargo = cargo(&repository());
    cargo.args(["test", "--workspace", "--profile", &host::own_profile()]);
    cargo.args([
        "--test",
        "replay",
        "--",
        "every_recording",
        "another_version",
    ]);
    let mut out = std::io::stdout();
    Ok(watch(cargo.env("STANDSTILL_RECORD", "1"), &mut out)?.failed == 0)
}

fn unit_tests(request: &Request, out: &mut dyn Write) -> Result<Tally> {
    let mut cargo = cargo(&repository());
    cargo.args(["test", "--workspace", "--no-fail-fast", "--profile"]);
    cargo.arg(host::own_profile()).arg("--");
    watch(cargo.args(request.filter.as_deref()), out)
}

/// The host program for the other system it is for is built.
fn windows() -> Result<Tally> {
    windows::build(&host::own_profile())?;
    Ok(Tally::default())
}

/// Runs the tests on machines that are the target `target` of the tests crate, with `arguments` to the test harness.
pub(crate) fn lab_tests(
    target: &str,
    arguments: &[&str],
    settings: &[(&str, &str)],
    out: &mut dyn Write,
) -> Result<Tally> {
    // Here and not in the first test, where nobody would see it.
    provision::provision()?;
    // Measurements are of the program as users have it.
    let profile = match target {
        "bench" => "release".to_owned(),
        _ => host::own_profile(),
    };
    phase("building the host program", |_| host::build_in(&profile))?;
    let mut cargo = cargo(&repository());
    cargo.args(["test", "--profile", &profile, "--test", target, "--"]);
    cargo.args((target == "bench").then_some("--nocapture"));
    cargo.envs(settings.iter().copied());
    watch(cargo.args(arguments), out)
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
    let profile = host::own_profile();
    clippy.args(["clippy", "--profile", &profile, "--workspace"]);
    let mut tally = watch(clippy.args(["--all-targets", "--", "-Dwarnings"]), out)?;
    // What no plain `cargo test` runs, `--all-targets` leaves out.
    let mut lab = cargo(&root);
    lab.args(["clippy", "--profile", &profile]);
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

/// Documentation is for whoever reads the code, so it has all that is private, and may link to it.
fn rustdoc(out: &mut dyn Write) -> Result<Tally> {
    let root = repository();
    let mut doc = cargo(&root);
    doc.args(["doc", "--profile", &host::own_profile(), "--workspace"]);
    doc.args(["--no-deps", "--document-private-items"]);
    doc.env(
        "RUSTDOCFLAGS",
        "-Dwarnings -Arustdoc::private-intra-doc-links",
    );
    let mut tally = watch(&mut doc, out)?;
    // Rustdoc looks at links to items only; the page that leads through the crates has others.
    let front = std::fs::read_to_string(root.join("debugger-host/src/main.rs"))?;
    for link in links_to_pages(&front) {
        if !root.join("target/doc/standstill").join(link).exists() {
            writeln!(out, "the page of standstill links to {link}, which is none")?;
            tally.add(Tally::of(false));
        }
    }
    Ok(tally)
}

/// Links of a module's documentation to pages of other crates.
fn links_to_pages(source: &str) -> Vec<&str> {
    let lines = source.lines().filter(|line| line.starts_with("//!"));
    let rest = lines.flat_map(|line| line.split("](").skip(1));
    rest.filter_map(|rest| rest.split(')').next())
        .filter(|link| link.ends_with(".html"))
        .collect()
}

/// The pinned toolchain's cargo in `directory`.
fn cargo(directory: &Path) -> Command {
    let mut cargo = Command::new("cargo");
    cargo.current_dir(directory);
    cargo
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_to_pages_are_found_in_documentation_only() {
        let source =
            "//! [`a`](../a/index.html) | [b](b) | [`c`](../c/d/index.html)\n// [x](../x.html)\n";
        assert_eq!(
            links_to_pages(source),
            ["../a/index.html", "../c/d/index.html"]
        );
    }

    fn wanted(filter: Option<&str>, thorough: bool) -> Vec<&'static str> {
        let request = Request {
            filter: filter.map(str::to_owned),
            thorough,
            fuzz_seconds: 1,
        };
        let those = CHECKS.iter().filter(|check| request.wants(check));
        those.map(|check| check.heading).collect()
    }

    #[test]
    fn filter_selects_checks_by_heading() {
        let plain = wanted(None, false);
        assert!(plain.contains(&"clippy") && !plain.contains(&"miri"));
        assert_eq!(wanted(None, true).len(), CHECKS.len());
        assert!(wanted(Some("fuzz"), false).contains(&"fuzz"));
        assert!(!wanted(Some("exit"), true).contains(&"miri"));
        let watch = wanted(Some("watch"), false);
        assert!(!watch.contains(&"format"));
        assert!(watch.contains(&"unit tests") && watch.contains(&"e2e"));
    }

    #[test]
    fn seconds_are_printed_for_each_part() {
        let mut out = Vec::new();
        let parts = [("format", Duration::from_millis(1600)), ("e2e", ALLOWED)];
        print_seconds(&parts, &mut out);
        let shown = "\n== seconds\nformat            2\ne2e            2700\n";
        assert_eq!(String::from_utf8_lossy(&out), shown);
    }
}
