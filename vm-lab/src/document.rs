//! Documents: sessions that stand in a Markdown file as a user would see them, made into scripts, so that what a document
//! shows is what happens.
//!
//! Called by `lab script` and by the tests. A fence of the kind `session` holds what is typed and what comes of it:
//!
//! ```text
//! 0: kd> CMD       a command of the host program; lines follow until its braces are closed
//! debuggee# CMD    a command on the debuggee's console; with `&` at its end it is not waited for
//! ^C               `pause`
//! ```
//!
//! The lines after it are its whole output, but that `…` stands for anything in a line, a line of `…` alone for any lines,
//! and an address of 12 to 16 digits for any other. A refusal (`c00000…: `) means that the command must fail. What follows
//! a command with `&` is what halts the debuggee, or what it says until then.
//!
//! A fence `sh` of one line that begins with `cargo lab` says which machine the sessions after it are on; it boots anew.

use crate::arguments::MachineArguments;
use crate::script::{Line, Script, Step, depth};
use anyhow::{Context, Result, bail};
use clap::Parser;
use regex::Regex;
use std::path::{Path, PathBuf};

/// Seconds until a debuggee that runs must have halted.
const HALT_SECONDS: u32 = 60;

/// The sessions on one machine.
#[derive(Debug)]
pub struct Part {
    /// Which machine.
    pub machine: MachineArguments,
    /// What happens on it.
    pub script: Script,
}

/// Reads a document.
///
/// # Errors
/// When it can't be read, or with the number of the first line that makes no sense.
pub fn read(file: &Path) -> Result<Vec<Part>> {
    let shown = || file.display().to_string();
    let whole = std::path::absolute(file).with_context(shown)?;
    let text = std::fs::read_to_string(file).with_context(|| format!("reading {}", shown()))?;
    let dir = whole.parent().unwrap_or(&whole).to_owned();
    parse(&text, &dir).with_context(shown)
}

/// What `cargo lab` understands of a machine.
#[derive(Parser)]
#[command(name = "cargo lab", no_binary_name = true)]
struct Cli {
    #[command(flatten)]
    machine: MachineArguments,
}

fn parse(text: &str, dir: &Path) -> Result<Vec<Part>> {
    let mut parts: Vec<(MachineArguments, Vec<Line>)> = Vec::new();
    for fence in fences(text) {
        let number = fence.number;
        match (fence.kind, &fence.lines[..]) {
            ("sh", [line]) if line.starts_with("cargo lab") => {
                let words = line.trim_start_matches("cargo lab").split_whitespace();
                let cli = Cli::try_parse_from(words)
                    .map_err(|error| anyhow::anyhow!("line {}: {error}", number + 1))?;
                parts.push((cli.machine, Vec::new()));
            }
            ("session", lines) => match parts.last_mut() {
                Some((_, script)) => script.extend(steps(number + 1, lines)?),
                None => bail!("line {number}: no machine was named before this session"),
            },
            _ => {}
        }
    }
    parts.retain(|(_, lines)| !lines.is_empty());
    if parts.is_empty() {
        bail!("there is no session in it");
    }
    let part = |(machine, lines)| Part {
        machine,
        script: Script::new(lines, PathBuf::from(dir)),
    };
    Ok(parts.into_iter().map(part).collect())
}

/// A block of a document.
struct Fence<'t> {
    /// Of the line that opens it, counted from one.
    number: usize,
    kind: &'t str,
    lines: Vec<&'t str>,
}

fn fences(text: &str) -> Vec<Fence<'_>> {
    let mut found = Vec::new();
    let mut open: Option<Fence<'_>> = None;
    for (index, line) in text.lines().enumerate() {
        match (open.take(), line.strip_prefix("```")) {
            (Some(fence), Some(_)) => found.push(fence),
            (Some(mut fence), None) => {
                fence.lines.push(line);
                open = Some(fence);
            }
            (None, Some(kind)) => {
                open = Some(Fence {
                    number: index + 1,
                    kind: kind.trim(),
                    lines: Vec::new(),
                });
            }
            (None, None) => {}
        }
    }
    found
}

/// What is typed at the start of a line.
enum Typed<'t> {
    Host(&'t str),
    Guest(&'t str),
    Background(&'t str),
}

fn typed(line: &str) -> Option<Typed<'_>> {
    if line == "^C" {
        return Some(Typed::Host("pause"));
    }
    if let Some(command) = line.strip_prefix("debuggee# ") {
        return Some(match command.strip_suffix('&') {
            Some(command) => Typed::Background(command.trim_end()),
            None => Typed::Guest(command),
        });
    }
    let (core, command) = line.split_once(": kd> ")?;
    let is_core = !core.is_empty() && core.bytes().all(|digit| digit.is_ascii_hexdigit());
    is_core.then_some(Typed::Host(command))
}

/// The steps of a session whose first line has this number.
fn steps(first: usize, lines: &[&str]) -> Result<Vec<Line>> {
    let mut steps = Vec::new();
    let mut rest = lines.iter().zip(first..).peekable();
    while let Some((line, number)) = rest.next() {
        let Some(typed) = typed(line) else {
            bail!("line {number}: nothing was typed that `{line}` comes of");
        };
        let mut command = match typed {
            Typed::Host(command) | Typed::Guest(command) | Typed::Background(command) => {
                command.to_owned()
            }
        };
        while matches!(typed, Typed::Host(_)) && depth_of(&command) > 0 {
            let (more, _) = rest
                .next()
                .with_context(|| format!("line {number}: a brace is never closed"))?;
            command.push('\n');
            command.push_str(more.trim_end());
        }
        let mut output = Vec::new();
        while let Some((line, _)) = rest.next_if(|(line, _)| self::typed(line).is_none()) {
            output.push(*line);
        }
        let mut step = |step| steps.push(Line { number, step });
        match typed {
            Typed::Host(_) if is_refusal(&output) => step(Step::Fails(command)),
            Typed::Host(_) => step(Step::Host(command)),
            Typed::Guest(_) => step(Step::Guest(command)),
            Typed::Background(_) => {
                step(Step::Background(command));
                if output.is_empty() {
                    continue;
                }
                step(Step::Wait(HALT_SECONDS));
            }
        }
        step(Step::Expect(pattern(&output)?));
    }
    Ok(steps)
}

fn depth_of(command: &str) -> i32 {
    command.lines().map(depth).sum()
}

fn is_refusal(output: &[&str]) -> bool {
    output.first().is_some_and(|line| {
        line.split_once(": ").is_some_and(|(code, _)| {
            code.len() == 8 && code.starts_with("c0000") && u32::from_str_radix(code, 16).is_ok()
        })
    })
}

/// What matches this output and what may differ from it.
fn pattern(output: &[&str]) -> Result<String> {
    let varies = Regex::new(r"…|\b[0-9a-f]{12,16}\b")?;
    let mut pattern = String::from(r"\A");
    for line in output {
        if line.trim() == "…" {
            pattern.push_str(r"(?:.*(?:\n|\z))*?");
            continue;
        }
        let mut end = 0;
        for found in varies.find_iter(line) {
            pattern.push_str(&regex::escape(&line[end..found.start()]));
            pattern.push_str(match found.as_str() {
                "…" => ".*?",
                _ => "[0-9a-f]{12,16}",
            });
            end = found.end();
        }
        pattern.push_str(&regex::escape(line[end..].trim_end()));
        pattern.push_str(r"[ \t]*(?:\n|\z)");
    }
    pattern.push_str(r"\s*\z");
    Ok(pattern)
}

#[cfg(test)]
#[path = "document_tests.rs"]
mod tests;
