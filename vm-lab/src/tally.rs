//! Running a check, which is another program, and counting its tests.
//!
//! Called by `suite`, `soak`, `miri` and `fuzz`. The program's output is passed through as it appears, and what the test
//! harness says in its `test result:` lines is added up; the names of failed tests are kept, to be said again at the end of what
//! may be thousands of lines. A check that is no test counts only when it fails.

use anyhow::{Context, Result};
use regex::Regex;
use std::io::{BufRead, BufReader, IsTerminal, Write};
use std::process::{Command, Stdio};

/// Tests that passed and failed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    /// Tests that passed.
    pub(crate) passed: u64,
    /// Tests that failed, and checks that failed for another reason.
    pub(crate) failed: u64,
    /// The tests among those that failed.
    pub(crate) failures: Vec<String>,
}

impl Tally {
    pub(crate) fn add(&mut self, other: Self) {
        self.passed += other.passed;
        self.failed += other.failed;
        self.failures.extend(other.failures);
    }

    /// One thing that passed or did not.
    #[must_use]
    pub(crate) fn of(ok: bool) -> Self {
        Self {
            passed: u64::from(ok),
            failed: u64::from(!ok),
            failures: Vec::new(),
        }
    }
}

/// Runs `command`, passes its output on, and counts its tests.
pub(crate) fn watch(command: &mut Command, out: &mut dyn Write) -> Result<Tally> {
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
            tally.failures.extend(failed_test(&line));
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
            failures: Vec::new(),
        }
    })
}

/// The test that a line of a test harness calls failed.
fn failed_test(line: &str) -> Option<String> {
    let pattern = Regex::new(r"^test (.+) \.\.\. (?:\x1b\[\d+m)?FAILED").ok()?;
    Some(pattern.captures(line)?[1].to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn result_lines_are_counted_with_and_without_colour() {
        let expected = Tally {
            passed: 53,
            failed: 1,
            failures: Vec::new(),
        };
        let plain =
            "test result: FAILED. 53 passed; 1 failed; 0 ignored; 0 measured; 0 filtered out";
        assert_eq!(result_line(plain), expected);
        let colour = "test result: \x1b[31mFAILED\x1b[m. 53 passed; 1 failed; 0 ignored";
        assert_eq!(result_line(colour), expected);
        assert_eq!(result_line("test a ... ok"), Tally::default());
    }

    #[test]
    fn failed_tests_are_named_with_and_without_colour() {
        let name = Some("code::a_hook (line 3)".to_owned());
        assert_eq!(failed_test("test code::a_hook (line 3) ... FAILED"), name);
        assert_eq!(
            failed_test("test code::a_hook (line 3) ... \x1b[31mFAILED\x1b[m"),
            name
        );
        assert_eq!(failed_test("test code::a_hook ... ok"), None);
    }

    #[test]
    fn failing_check_without_tests_counts_once() {
        let tally = watch(Command::new("sh").args(["-c", "exit 1"]), &mut Vec::new()).unwrap();
        assert_eq!(tally, Tally::of(false));
        let told = "echo 'test a ... FAILED'; echo 'test result: FAILED. 2 passed; 3 failed; 0 ignored'; exit 101";
        let tally = watch(Command::new("sh").args(["-c", told]), &mut Vec::new()).unwrap();
        assert_eq!((tally.passed, tally.failed), (2, 3));
        assert_eq!(tally.failures, ["a"]);
    }
}
