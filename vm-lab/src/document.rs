//! Documents: sessions that stand in a Markdown file as a user would see them, made into scripts, so that what a document
//! shows is what happens.
//!
//! Called by `lab script` and by the tests. A fence of the kind `session` holds what is typed and what comes of it:
//!
//! ```text
//! 0: kd> CMD       a command of the host program; lines follow until its braces are closed
//! > CMD            the same while the debuggee runs
//! debuggee# CMD    a command on the debuggee's console; with `&` at its end it is not waited for
//! ^C               `pause`
//! ```
//!
//! The lines after it are its whole output, but that `…` stands for anything in a line, and a line of `…` alone for any
//! lines. A number of 12 to 32 hexadecimal digits stands for what is found in its place at first, and from then on, in
//! commands too, for just that: addresses differ from kernel to kernel, yet one thing has one address. A refusal
//! (`c00000…: `) means that the command must fail. What follows a command with `&` is what comes until the debuggee halts.
//!
//! A fence `sh` of one line that begins with `cargo lab` says which machine the sessions after it are on; it boots anew.

use crate::arguments::MachineArguments;
use crate::comment::is_open;
use crate::script::{Line, Script, Step};
use anyhow::{Context, Result, bail};
use clap::Parser;
use regex::Regex;
use std::collections::BTreeSet;
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
    let mut parts: Vec<Sessions> = Vec::new();
    for fence in fences(text) {
        let number = fence.number;
        match (fence.kind, &fence.lines[..]) {
            ("sh", [line]) if line.starts_with("cargo lab") => {
                let words = line.trim_start_matches("cargo lab").split_whitespace();
                let cli = Cli::try_parse_from(words)
                    .map_err(|error| anyhow::anyhow!("line {}: {error}", number + 1))?;
                parts.push(Sessions {
                    machine: cli.machine,
                    lines: Vec::new(),
                    known: BTreeSet::new(),
                });
            }
            ("session", lines) => match parts.last_mut() {
                Some(part) => part.session(number + 1, lines)?,
                None => bail!("line {number}: no machine was named before this session"),
            },
            _ => {}
        }
    }
    parts.retain(|part| !part.lines.is_empty());
    if parts.is_empty() {
        bail!("there is no session in it");
    }
    let part = |part: Sessions| Part {
        machine: part.machine,
        script: Script::new(part.lines, PathBuf::from(dir)),
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
    if let Some(command) = line.strip_prefix("> ") {
        return Some(Typed::Host(command));
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

/// The sessions on one machine as they are read.
struct Sessions {
    machine: MachineArguments,
    lines: Vec<Line>,
    /// Addresses that have been seen.
    known: BTreeSet<String>,
}

impl Sessions {
    /// Adds a session whose first line has this number.
    fn session(&mut self, first: usize, lines: &[&str]) -> Result<()> {
        let mut rest = lines.iter().zip(first..).peekable();
        while let Some((line, number)) = rest.next() {
            let Some(typed) = typed(line) else {
                bail!("line {number}: nothing was typed that `{line}` comes of");
            };
            let (Typed::Host(command) | Typed::Guest(command) | Typed::Background(command)) = typed;
            let mut command = command.to_owned();
            while matches!(typed, Typed::Host(_)) && is_open(&command) {
                let (more, _) = rest.next().with_context(|| {
                    format!("line {number}: a brace or a comment is never closed")
                })?;
                command.push('\n');
                command.push_str(more.trim_end());
            }
            let mut output = Vec::new();
            while let Some((line, _)) = rest.next_if(|(line, _)| self::typed(line).is_none()) {
                output.push(*line);
            }
            let command = self.with_names(&command)?;
            match typed {
                Typed::Host(_) if is_refusal(&output) => self.step(number, Step::Fails(command)),
                Typed::Host(_) => self.step(number, Step::Host(command)),
                Typed::Guest(_) => self.step(number, Step::Guest(command)),
                Typed::Background(_) => {
                    self.step(number, Step::Background(command));
                    if output.is_empty() {
                        continue;
                    }
                    self.step(number, Step::Wait(HALT_SECONDS));
                }
            }
            self.expect(number, &output)?;
        }
        Ok(())
    }

    fn step(&mut self, number: usize, step: Step) {
        self.lines.push(Line { number, step });
    }

    /// A command with names in place of the addresses that have been seen.
    fn with_names(&self, command: &str) -> Result<String> {
        let mut named = String::new();
        for part in parts_of(command)? {
            match part {
                Word::Address(word) if self.known.contains(word) => {
                    named.push_str(&format!("<{word}>"));
                }
                Word::Address(text) | Word::Text(text) | Word::Anything(text) => {
                    named.push_str(text);
                }
            }
        }
        Ok(named)
    }

    /// The output before must be this one; what addresses it shows for the first time is kept.
    fn expect(&mut self, number: usize, output: &[&str]) -> Result<()> {
        let mut fresh = BTreeSet::new();
        for part in parts_of(&output.join("\n"))? {
            if let Word::Address(word) = part
                && !self.known.contains(word)
            {
                fresh.insert(word.to_owned());
            }
        }
        for word in fresh {
            let pattern = self.pattern(output, Some(&word))?;
            self.step(number, Step::Keep(word.clone(), pattern));
            self.known.insert(word);
        }
        let pattern = self.pattern(output, None)?;
        self.step(number, Step::Expect(pattern));
        Ok(())
    }

    /// What matches this output and what may differ from it; the first group is what is found for `wanted`.
    fn pattern(&self, output: &[&str], wanted: Option<&str>) -> Result<String> {
        let mut pattern = String::from(r"\A");
        let mut wanted = wanted;
        for line in output {
            if line.trim() == "…" {
                pattern.push_str(r"(?:.*(?:\n|\z))*?");
                continue;
            }
            for part in parts_of(line.trim_end())? {
                match part {
                    Word::Text(text) => pattern.push_str(&regex::escape(text)),
                    Word::Anything(_) => pattern.push_str(".*?"),
                    Word::Address(word) if self.known.contains(word) => {
                        pattern.push_str(&format!("<{word}>"));
                    }
                    Word::Address(word) if wanted == Some(word) => {
                        wanted = None;
                        pattern.push_str("([0-9a-f]{12,32})");
                    }
                    Word::Address(_) => pattern.push_str("[0-9a-f]{12,32}"),
                }
            }
            pattern.push_str(r"[ \t]*(?:\n|\z)");
        }
        pattern.push_str(r"\s*\z");
        Ok(pattern)
    }
}

/// A part of a line.
enum Word<'t> {
    /// As it is.
    Text(&'t str),
    /// `…`.
    Anything(&'t str),
    /// A number of so many digits that it must be an address, or a digest.
    Address(&'t str),
}

fn parts_of(text: &str) -> Result<Vec<Word<'_>>> {
    let varies = Regex::new(r"…|\b[0-9a-f]{12,32}\b")?;
    let mut parts = Vec::new();
    let mut end = 0;
    for found in varies.find_iter(text) {
        parts.push(Word::Text(&text[end..found.start()]));
        parts.push(match found.as_str() {
            "…" => Word::Anything("…"),
            word => Word::Address(word),
        });
        end = found.end();
    }
    parts.push(Word::Text(&text[end..]));
    Ok(parts)
}

/// Whether the first line has the number of a refusal.
fn is_refusal(output: &[&str]) -> bool {
    let is_code = |word: &str| {
        word.strip_suffix(':').is_some_and(|code| {
            let digits = code.bytes().all(|digit| digit.is_ascii_hexdigit());
            code.len() == 8 && code.starts_with("c0000") && digits
        })
    };
    let first = output.first().copied().unwrap_or_default();
    first.split(' ').any(is_code)
}

#[cfg(test)]
#[path = "document_tests.rs"]
mod tests;
