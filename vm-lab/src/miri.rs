//! Unit tests in Miri, the interpreter of the nightly toolchain that finds undefined behaviour.
//!
//! Called by `suite` for the few files where cores share memory, and by `soak` for whole crates.

use crate::tally::{Tally, watch};
use crate::toolchain::nightly_cargo;
use crate::{repository, run};
use anyhow::Result;
use std::io::Write;

/// Makes the interpreter ready for use.
pub(crate) fn prepare() -> Result<()> {
    run::output(nightly_cargo(&repository()).args(["miri", "setup"])).map(drop)
}

/// Runs the tests of `package` that `target` of its targets has and `arguments` to the test harness name; that there are none
/// is a failure.
pub(crate) fn run(
    package: &str,
    target: &str,
    arguments: &[&str],
    out: &mut dyn Write,
) -> Result<Tally> {
    let mut miri = nightly_cargo(&repository());
    miri.args(["miri", "test", target, "--package", package, "--"]);
    miri.args(arguments);
    // Property tests read the environment and the clock. What the crates have lasts for good, and tests make it so by leaving
    // it behind. The interpreter is some hundred times slower than the machine.
    miri.env("MIRIFLAGS", "-Zmiri-disable-isolation -Zmiri-ignore-leaks")
        .env("PROPTEST_CASES", "4");
    let mut tally = watch(&mut miri, out)?;
    if tally == Tally::default() {
        writeln!(out, "{package} has no such tests")?;
        tally.failed = 1;
    }
    Ok(tally)
}
