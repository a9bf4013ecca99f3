//! Scripts: a debugging session written down, with what it must show.
//!
//! Called by `lab script`. A line is a command of the host program unless it starts with one of the lab's own words:
//!
//! ```text
//! guest> CMD     type CMD on the debuggee's console and wait for its end
//! guest>& CMD    type it and do not wait
//! expect> REGEX  the last output must match
//! refute> REGEX  the last output must not match
//! fails> CMD     a host command that must fail
//! wait> SECONDS  wait for the debuggee to stop
//! keep> NAME REGEX  the last output must match; its first group is `<NAME>` from now on
//! shell> CMD     run CMD on this computer, in `<temp>`; it must succeed
//! unplug> SECONDS  pull the debug line out of this computer, for that long
//! # ...          a comment; `//` and `/* */` are some as well, where they are in the host program
//! ```
//!
//! `<NAME>` stands for what was kept, in every line; `<dir>` for the script's directory, `<temp>` for one that is removed
//! after the session. In an expression to match it stands for its very letters.
//!
//! Lines from one that opens more braces than it closes, or a comment, to the one that closes them, are one command.

use crate::comment;
use crate::host::Reply;
use crate::run::output;
use anyhow::{Context, Result, bail};
use regex::{Regex, RegexBuilder};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

/// One thing a script asks for.
#[derive(Debug)]
pub enum Step {
    /// A command of the host program.
    Host(String),
    /// One that must fail.
    Fails(String),
    /// A command on the debuggee's console.
    Guest(String),
    /// One that is not waited for.
    Background(String),
    /// The last output must match.
    Expect(String),
    /// The last output must not match.
    Refute(String),
    /// Wait this many seconds for the debuggee to stop.
    Wait(u32),
    /// What of the last output gets a name.
    Keep(String, String),
    /// A command on this computer.
    Shell(String),
    /// The line is out for this many seconds.
    Unplug(u32),
}

/// A step and the number of the line it begins on.
#[derive(Debug)]
pub struct Line {
    /// Counted from one.
    pub number: usize,
    /// What to do.
    pub step: Step,
}

/// A script that was read.
#[derive(Debug)]
pub struct Script {
    lines: Vec<Line>,
    /// Where its file is.
    dir: PathBuf,
}

impl Script {
    /// A script of these lines, as if from a file in `dir`.
    pub(crate) const fn new(lines: Vec<Line>, dir: PathBuf) -> Self {
        Self { lines, dir }
    }
}

/// Reads a script's file.
///
/// # Errors
/// When it can't be read, or with the number of the first line that makes no sense.
pub fn read(file: &Path) -> Result<Script> {
    let shown = || file.display().to_string();
    let whole = std::path::absolute(file).with_context(shown)?;
    let text = std::fs::read_to_string(file).with_context(|| format!("reading {}", shown()))?;
    Ok(Script {
        lines: parse(&text).with_context(shown)?,
        dir: whole.parent().unwrap_or(&whole).to_owned(),
    })
}

fn parse(text: &str) -> Result<Vec<Line>> {
    let mut script = Vec::new();
    let mut lines = text.lines().enumerate();
    while let Some((index, line)) = lines.next() {
        let number = index + 1;
        let trimmed = line.trim();
        let step = match own_word(trimmed) {
            Some((word, rest)) => {
                own_step(word, rest).with_context(|| format!("line {number}: `{trimmed}`"))?
            }
            None => {
                let mut block = trimmed.to_owned();
                while comment::is_open(&block) {
                    let (_, more) = lines.next().with_context(|| {
                        format!("line {number}: a brace or a comment is never closed")
                    })?;
                    block.push('\n');
                    block.push_str(more.trim_end());
                }
                if comment::is_comment(&block) {
                    continue;
                }
                Step::Host(block)
            }
        };
        script.push(Line { number, step });
    }
    Ok(script)
}

fn own_word(line: &str) -> Option<(&str, &str)> {
    let words = [
        "guest>&", "guest>", "expect>", "refute>", "fails>", "wait>", "keep>", "shell>", "unplug>",
    ];
    let word = words.into_iter().find(|word| line.starts_with(word))?;
    Some((word, line[word.len()..].trim()))
}

fn own_step(word: &str, rest: &str) -> Result<Step> {
    if rest.is_empty() {
        bail!("nothing follows {word}");
    }
    let seconds = || rest.parse().context("not a number of seconds");
    Ok(match word {
        "guest>&" => Step::Background(rest.to_owned()),
        "guest>" => Step::Guest(rest.to_owned()),
        "expect>" => Step::Expect(regex(rest).map(|_| rest.to_owned())?),
        "refute>" => Step::Refute(regex(rest).map(|_| rest.to_owned())?),
        "fails>" => Step::Fails(rest.to_owned()),
        "shell>" => Step::Shell(rest.to_owned()),
        "unplug>" => Step::Unplug(seconds()?),
        "keep>" => {
            let (name, pattern) = rest
                .split_once(' ')
                .context("a name and what to match are needed")?;
            regex(pattern)?;
            Step::Keep(name.to_owned(), pattern.trim().to_owned())
        }
        _ => Step::Wait(seconds()?),
    })
}

fn regex(pattern: &str) -> Result<Regex> {
    Ok(RegexBuilder::new(pattern).multi_line(true).build()?)
}

/// The two ends that a script talks to.
pub trait Ends {
    /// Runs a command of the host program.
    ///
    /// # Errors
    /// When the program is gone; a failing command is a reply.
    fn host(&mut self, command: &str) -> Result<Reply>;
    /// Runs a command on the debuggee's console.
    ///
    /// # Errors
    /// When it gives no answer.
    fn guest(&mut self, command: &str) -> Result<String>;
    /// Starts a command on the debuggee's console.
    ///
    /// # Errors
    /// When the emulator is gone.
    fn guest_background(&mut self, command: &str) -> Result<()>;
    /// Hangs up on the host program and loses all bytes of the debug line for `time`.
    fn unplug(&mut self, time: Duration);
}

/// What a script has seen.
struct Seen {
    last: String,
    /// Names and what they stand for, the newest first.
    kept: Vec<(String, String)>,
    temp: tempfile::TempDir,
}

impl Seen {
    /// `text` with what its names stand for, each as `show` shows it.
    fn with_names(&self, text: &str, show: impl Fn(&str) -> String) -> String {
        let mut text = text.to_owned();
        for (name, value) in &self.kept {
            text = text.replace(&format!("<{name}>"), &show(value));
        }
        text
    }

    fn filled(&self, text: &str) -> String {
        self.with_names(text, str::to_owned)
    }

    fn pattern(&self, text: &str) -> Result<Regex> {
        regex(&self.with_names(text, regex::escape))
    }

    /// Takes and shows the output of a step, if there is one.
    fn take(&mut self, answer: Result<String>, out: &mut dyn Write) -> Result<Result<(), String>> {
        match answer {
            Ok(output) => {
                self.last = output;
                show(&self.last, out)?;
                Ok(Ok(()))
            }
            Err(error) => Ok(Err(format!("{error:#}"))),
        }
    }
}

/// Runs `script`, writing the session to `out` as a person would see it; returns how many steps failed.
///
/// # Errors
/// When the session can't go on, or `out` can't be written.
pub fn run(
    script: &Script,
    ends: &mut dyn Ends,
    keep_going: bool,
    out: &mut dyn Write,
) -> Result<usize> {
    let mut failures = 0;
    let temp = tempfile::Builder::new().prefix("standstill-").tempdir()?;
    let mut seen = Seen {
        last: String::new(),
        kept: vec![
            ("dir".to_owned(), script.dir.display().to_string()),
            ("temp".to_owned(), temp.path().display().to_string()),
        ],
        temp,
    };
    for Line { number, step } in &script.lines {
        let verdict =
            run_step(step, ends, &mut seen, out).with_context(|| format!("line {number}"))?;
        if let Err(why) = verdict {
            failures += 1;
            writeln!(out, "*** line {number}: {why}")?;
            if !keep_going {
                break;
            }
        }
        out.flush()?;
    }
    Ok(failures)
}

fn run_step(
    step: &Step,
    ends: &mut dyn Ends,
    seen: &mut Seen,
    out: &mut dyn Write,
) -> Result<Result<(), String>> {
    match step {
        Step::Host(command) => run_host(&seen.filled(command), true, ends, seen, out),
        Step::Fails(command) => run_host(&seen.filled(command), false, ends, seen, out),
        // Numbers in a script are decimal, in commands hexadecimal.
        Step::Wait(seconds) => run_host(&format!(".wait 0n{seconds}"), true, ends, seen, out),
        Step::Guest(command) => {
            let command = seen.filled(command);
            writeln!(out, "guest> {command}")?;
            // A halted debuggee answers nobody; that fails the step, and the session goes on.
            let answer = ends.guest(&command);
            seen.take(answer, out)
        }
        Step::Shell(command) => {
            let command = seen.filled(command);
            writeln!(out, "shell> {command}")?;
            let mut shell = Command::new("sh");
            let answer = output(shell.args(["-c", &command]).current_dir(seen.temp.path()));
            seen.take(answer, out)
        }
        Step::Background(command) => {
            let command = seen.filled(command);
            writeln!(out, "guest>& {command}")?;
            ends.guest_background(&command)?;
            Ok(Ok(()))
        }
        Step::Unplug(seconds) => {
            writeln!(out, "unplug> {seconds}")?;
            ends.unplug(Duration::from_secs((*seconds).into()));
            Ok(Ok(()))
        }
        Step::Expect(pattern) => {
            let regex = seen.pattern(pattern)?;
            let told = || format!("the output above does not match `{regex}`");
            Ok(regex.is_match(&seen.last).then_some(()).ok_or_else(told))
        }
        Step::Refute(pattern) => {
            let regex = seen.pattern(pattern)?;
            let told = || format!("the output above matches `{regex}`");
            Ok((!regex.is_match(&seen.last)).then_some(()).ok_or_else(told))
        }
        Step::Keep(name, pattern) => {
            let regex = seen.pattern(pattern)?;
            let Some(found) = regex.captures(&seen.last) else {
                return Ok(Err(format!("the output above does not match `{regex}`")));
            };
            let value = found.get(1).or_else(|| found.get(0));
            let value = value.map_or("", |found| found.as_str()).to_owned();
            writeln!(out, "<{name}> is {value}")?;
            seen.kept.insert(0, (name.clone(), value));
            Ok(Ok(()))
        }
    }
}

fn run_host(
    command: &str,
    must_succeed: bool,
    ends: &mut dyn Ends,
    seen: &mut Seen,
    out: &mut dyn Write,
) -> Result<Result<(), String>> {
    writeln!(out, "standstill> {command}")?;
    let reply = ends.host(command)?;
    seen.last = reply.output;
    show(&seen.last, out)?;
    Ok(match (reply.ok, must_succeed) {
        (true, false) => Err("the command succeeded, but was expected to fail".to_owned()),
        (false, true) => Err("the command failed".to_owned()),
        _ => Ok(()),
    })
}

fn show(output: &str, out: &mut dyn Write) -> std::io::Result<()> {
    out.write_all(output.as_bytes())?;
    if !output.is_empty() && !output.ends_with('\n') {
        writeln!(out)?;
    }
    Ok(())
}

#[cfg(test)]
#[path = "script_tests.rs"]
mod tests;
