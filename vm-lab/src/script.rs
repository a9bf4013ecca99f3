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
//! # ...          a comment
//! ```
//!
//! Lines from one that opens more braces than it closes, to the one that closes them, are one command.

use crate::host::Reply;
use anyhow::{Context, Result, bail};
use regex::{Regex, RegexBuilder};
use std::io::Write;

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
    Expect(Regex),
    /// The last output must not match.
    Refute(Regex),
    /// Wait this many seconds for the debuggee to stop.
    Wait(u32),
}

/// A step and the number of the line it begins on.
#[derive(Debug)]
pub struct Line {
    /// Counted from one.
    pub number: usize,
    /// What to do.
    pub step: Step,
}

/// Reads a whole script.
///
/// # Errors
/// With the number of the first line that makes no sense.
pub fn parse(text: &str) -> Result<Vec<Line>> {
    let mut script = Vec::new();
    let mut lines = text.lines().enumerate();
    while let Some((index, line)) = lines.next() {
        let number = index + 1;
        let trimmed = line.trim();
        if trimmed.is_empty() || trimmed.starts_with('#') {
            continue;
        }
        let step = match own_word(trimmed) {
            Some((word, rest)) => {
                own_step(word, rest).with_context(|| format!("line {number}: `{trimmed}`"))?
            }
            None => {
                let mut block = trimmed.to_owned();
                let mut open = depth(trimmed);
                while open > 0 {
                    let (_, more) = lines
                        .next()
                        .with_context(|| format!("line {number}: a brace is never closed"))?;
                    open += depth(more);
                    block.push('\n');
                    block.push_str(more.trim_end());
                }
                Step::Host(block)
            }
        };
        script.push(Line { number, step });
    }
    Ok(script)
}

fn own_word(line: &str) -> Option<(&str, &str)> {
    let words = ["guest>&", "guest>", "expect>", "refute>", "fails>", "wait>"];
    let word = words.into_iter().find(|word| line.starts_with(word))?;
    Some((word, line[word.len()..].trim()))
}

fn own_step(word: &str, rest: &str) -> Result<Step> {
    if rest.is_empty() {
        bail!("nothing follows {word}");
    }
    let regex = || RegexBuilder::new(rest).multi_line(true).build();
    Ok(match word {
        "guest>&" => Step::Background(rest.to_owned()),
        "guest>" => Step::Guest(rest.to_owned()),
        "expect>" => Step::Expect(regex()?),
        "refute>" => Step::Refute(regex()?),
        "fails>" => Step::Fails(rest.to_owned()),
        _ => Step::Wait(rest.parse().context("not a number of seconds")?),
    })
}

/// How many more braces a line opens than it closes; quoted text and comments don't count.
fn depth(line: &str) -> i32 {
    let mut quoted = false;
    let mut escaped = false;
    let mut open = 0;
    let mut previous = ' ';
    for letter in line.chars() {
        match letter {
            _ if escaped => escaped = false,
            '\\' if quoted => escaped = true,
            '"' => quoted = !quoted,
            '/' if !quoted && previous == '/' => break,
            '#' if !quoted && previous == ' ' => break,
            '{' if !quoted => open += 1,
            '}' if !quoted => open -= 1,
            _ => {}
        }
        previous = letter;
    }
    open
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
}

/// Runs `script`, writing the session to `out` as a person would see it; returns how many steps failed.
///
/// # Errors
/// When the session can't go on, or `out` can't be written.
pub fn run(
    script: &[Line],
    ends: &mut dyn Ends,
    keep_going: bool,
    out: &mut dyn Write,
) -> Result<usize> {
    let mut failures = 0;
    let mut last = String::new();
    for Line { number, step } in script {
        let verdict =
            run_step(step, ends, &mut last, out).with_context(|| format!("line {number}"))?;
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
    last: &mut String,
    out: &mut dyn Write,
) -> Result<Result<(), String>> {
    let wait;
    let (command, must_succeed) = match step {
        Step::Host(command) => (command.as_str(), true),
        Step::Fails(command) => (command.as_str(), false),
        Step::Wait(seconds) => {
            // Numbers in a script are decimal, in commands hexadecimal.
            wait = format!(".wait 0n{seconds}");
            (wait.as_str(), true)
        }
        Step::Guest(command) => {
            writeln!(out, "guest> {command}")?;
            let answer = ends.guest(command);
            // A halted debuggee answers nobody; that fails the step, and the session goes on.
            return Ok(match answer {
                Ok(output) => {
                    *last = output;
                    show(last, out)?;
                    Ok(())
                }
                Err(error) => Err(format!("{error:#}")),
            });
        }
        Step::Background(command) => {
            writeln!(out, "guest>& {command}")?;
            ends.guest_background(command)?;
            return Ok(Ok(()));
        }
        Step::Expect(regex) if !regex.is_match(last) => {
            return Ok(Err(format!("the output above does not match `{regex}`")));
        }
        Step::Refute(regex) if regex.is_match(last) => {
            return Ok(Err(format!("the output above matches `{regex}`")));
        }
        Step::Expect(_) | Step::Refute(_) => return Ok(Ok(())),
    };
    writeln!(out, "standstill> {command}")?;
    let reply = ends.host(command)?;
    *last = reply.output;
    show(last, out)?;
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
