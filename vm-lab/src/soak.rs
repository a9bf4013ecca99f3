//! `lab soak`: what is slow and rarely tells anything, in parts of at most half an hour.
//!
//! Called by `main`. Whoever changes what a part is about runs it; nobody runs all of it for every change.

use crate::suite::{lab_tests, print_seconds};
use crate::tally::{Tally, watch};
use crate::toolchain;
use crate::{fuzz, miri, repository, run};
use anyhow::{Context, Result, bail};
use std::io::Write;
use std::process::Command;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// No part may take longer.
const ALLOWED: Duration = Duration::from_secs(30 * 60);
/// How long each fuzz target runs.
const FUZZ_SECONDS: u32 = 10 * 60;
/// Random changes of events under load.
const CHANGES: u32 = 80_000;

struct Part {
    name: &'static str,
    about: &'static str,
    run: fn(&mut dyn Write) -> Result<Tally>,
}

const PARTS: &[Part] = &[
    Part {
        name: "miri-wire",
        about: "all unit tests of the wire crate under Miri",
        run: |out| on_miri("wire-protocol", &[], out),
    },
    Part {
        name: "miri-driver",
        about: "all unit tests of the driver's core under Miri, but those of exits and events",
        run: |out| {
            let others = ["--skip", "exit::", "--skip", "event::"];
            on_miri("debuggee-driver", &others, out)
        },
    },
    Part {
        name: "miri-events",
        about: "the unit tests of events under Miri",
        run: |out| on_miri("debuggee-driver", &["event::"], out),
    },
    Part {
        name: "miri-exits",
        about: "the unit tests of exits under Miri",
        run: |out| on_miri("debuggee-driver", &["exit::"], out),
    },
    Part {
        name: "fuzz",
        about: "each fuzz target for ten minutes",
        run: |_| {
            toolchain::prepare_nightly()?;
            fuzz::run_all(FUZZ_SECONDS)
        },
    },
    Part {
        name: "changing-code",
        about: "every way in which code or its page changes, under every kind of watcher",
        run: |out| {
            // The table is printed, whatever comes of it.
            let all = [
                ("STANDSTILL_CHANGING_CODE", "all".to_owned()),
                ("RUST_TEST_NOCAPTURE", "1".to_owned()),
            ];
            lab_tests("e2e", Some("changing::"), &all, out)
        },
    },
    Part {
        name: "churn",
        about: "80,000 random changes of events under load on four cores, other ones each time",
        run: churn,
    },
    Part {
        name: "instructions",
        about: "every form of instruction in every place, under each kind of event by itself",
        run: instructions,
    },
    Part {
        name: "selftests",
        about: "the kernel's own self-tests of x86, breakpoints, ptrace and vDSO, under each set of events by itself",
        run: |out| {
            let whole = [("STANDSTILL_SELFTESTS", "whole".to_owned())];
            lab_tests("e2e", Some("selftests_of_the_kernel"), &whole, out)
        },
    },
    Part {
        name: "kernel-paths",
        about: "hooks and detours in entries, locks and code that changes code, of the stock kernel on four cores",
        run: |out| {
            let stock = [("STANDSTILL_KERNEL_PATHS", "stock".to_owned())];
            lab_tests("e2e", Some("hooks_of_the_stock_kernel_see"), &stock, out)
        },
    },
    Part {
        name: "starvation",
        about: "a program whose page tables are watched, so that its core does nothing else than tell of it",
        run: |out| {
            let whole = [("STANDSTILL_STARVATION", "whole".to_owned())];
            lab_tests("e2e", Some("page_tables_are_watched"), &whole, out)
        },
    },
    Part {
        name: "deny",
        about: "licences, bans and sources of all dependencies, by cargo-deny",
        run: deny,
    },
];

/// Prints what parts there are.
pub fn list() {
    println!("parts of `cargo lab soak`, each of at most half an hour; `all` runs them in turn:");
    for part in PARTS {
        println!("  {:<13} {}", part.name, part.about);
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
        total.add((part.run)(&mut out).unwrap_or_else(|error| {
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

fn on_miri(package: &str, arguments: &[&str], out: &mut dyn Write) -> Result<Tally> {
    toolchain::prepare_nightly()?;
    miri::prepare()?;
    miri::run(package, arguments, out)
}

fn churn(out: &mut dyn Write) -> Result<Tally> {
    let seed = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs();
    writeln!(out, "STANDSTILL_CHURN_SEED={seed}")?;
    let settings = [
        ("STANDSTILL_CHURN_SEED", seed.to_string()),
        ("STANDSTILL_CHURN_CHANGES", CHANGES.to_string()),
    ];
    lab_tests("e2e", Some("ten_thousand_random_changes"), &settings, out)
}

fn instructions(out: &mut dyn Write) -> Result<Tally> {
    let settings = [("STANDSTILL_FORMS", "whole".to_owned())];
    lab_tests("e2e", Some("instructions_in_all_forms"), &settings, out)
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
