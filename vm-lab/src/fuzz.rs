//! Fuzzing of all that reads bytes from outside: compiles every target with coverage and the address sanitiser and runs it for a while.
//!
//! Called by `suite` and `soak`. The flags are those of cargo-fuzz, which need not be installed.

use crate::tally::Tally;
use crate::toolchain::nightly_cargo;
use crate::{repository, run};
use anyhow::{Context, Result};
use std::fs::{self, File};
use std::path::Path;
use std::process::{Command, Stdio};

/// The package of fuzz targets, from the repository's root.
pub(crate) const PACKAGE: &str = "tests/fuzz";

const FLAGS: &str = "-Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
    -Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table \
    -Cllvm-args=-sanitizer-coverage-trace-compares -Zsanitizer=address --cfg fuzzing -Cdebug-assertions \
    -Ccodegen-units=1";
/// Sanitisers need the target named, so that build scripts stay free of them.
const TARGET: &str = "x86_64-unknown-linux-gnu";

/// Runs every target for `seconds`, as many at a time as there are cores; each is one test.
pub(crate) fn run_all(seconds: u32) -> Result<Tally> {
    let package = repository().join(PACKAGE);
    let names = targets(&package.join("fuzz_targets"))?;
    let build = repository().join("target/fuzz");
    let mut cargo = nightly_cargo(&package);
    cargo.args(["build", "--release", "--target", TARGET]);
    cargo
        .env("CARGO_TARGET_DIR", &build)
        .env("RUSTFLAGS", FLAGS);
    run::output(&mut cargo).context("compiling the fuzz targets")?;

    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let mut tally = Tally::default();
    for group in names.chunks(cores) {
        let ended: Vec<Result<bool>> = std::thread::scope(|scope| {
            let running: Vec<_> = group
                .iter()
                .map(|name| scope.spawn(|| run_one(name, &package, &build, seconds)))
                .collect();
            let failed = |_| anyhow::anyhow!("the thread of a fuzz target failed");
            running
                .into_iter()
                .map(|thread| thread.join().map_err(failed).and_then(|result| result))
                .collect()
        });
        for ok in ended {
            let ok = Tally::of(ok?);
            tally.passed += ok.passed;
            tally.failed += ok.failed;
        }
    }
    Ok(tally)
}

/// The targets' names, from their source files.
fn targets(directory: &Path) -> Result<Vec<String>> {
    let mut names: Vec<String> = fs::read_dir(directory)
        .with_context(|| format!("there are no fuzz targets in {}", directory.display()))?
        .flatten()
        .filter_map(|file| {
            file.file_name()
                .to_str()?
                .strip_suffix(".rs")
                .map(str::to_owned)
        })
        .collect();
    names.sort();
    Ok(names)
}

fn run_one(name: &str, package: &Path, build: &Path, seconds: u32) -> Result<bool> {
    let corpus = build.join("corpus").join(name);
    fs::create_dir_all(&corpus)?;
    let log = build.join(format!("{name}.log"));
    let mut target = Command::new(build.join(TARGET).join("release").join(name));
    target.arg(format!("-max_total_time={seconds}"));
    target.arg(format!("-artifact_prefix={}/{name}-", build.display()));
    target.arg(&corpus);
    // Inputs kept with the source start the search and are not written to.
    let seeds = package.join("corpus").join(name);
    if seeds.exists() {
        target.arg(seeds);
    }
    let output = File::create(&log)?;
    let status = target
        .stdin(Stdio::null())
        .stdout(output.try_clone()?)
        .stderr(output)
        .status()
        .with_context(|| format!("starting fuzz target {name}"))?;
    let text = String::from_utf8_lossy(&fs::read(&log)?).into_owned();
    if status.success() {
        println!("fuzz {name} ... ok ({})", run::tail(&text, 1));
    } else {
        println!("fuzz {name} ... FAILED\n{}", run::tail(&text, 40));
    }
    Ok(status.success())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_are_the_source_files_in_order() {
        let dir = tempfile::tempdir().unwrap();
        for name in ["b.rs", "a.rs", "note.txt"] {
            fs::write(dir.path().join(name), "").unwrap();
        }
        assert_eq!(targets(dir.path()).unwrap(), ["a", "b"]);
        assert!(targets(&dir.path().join("none")).is_err());
    }
}
