//! The debugger itself: help, status, scripts, values, leaving.

use super::event::{OPTIONS, OPTIONS_DETAILS};
use super::{Action, Arguments, COMMANDS, CommandError, Debugger, ParseError, text};
use crate::expression::Expression;
use crate::render;
use crate::repl::script;
use std::time::{Duration, Instant};

type Parsed = Result<Box<dyn Action>, ParseError>;

/// Longest `sleep`.
const SLEEP_LIMIT_MS: u64 = 3_600_000;

struct Reconnect;

pub(super) fn reconnect(mut arguments: Arguments<'_>) -> Parsed {
    arguments.end()?;
    Ok(Box::new(Reconnect))
}

impl Action for Reconnect {
    fn run(&self, debugger: &mut Debugger) -> Result<(), CommandError> {
        debugger.connect()
    }
}

struct Status;

pub(super) fn status(mut arguments: Arguments<'_>) -> Parsed {
    arguments.end()?;
    Ok(Box::new(Status))
}

impl Action for Status {
    fn run(&self, debugger: &mut Debugger) -> Result<(), CommandError> {
        let counts = debugger.session.message_counts_soon();
        let session = &debugger.session;
        let identity = session.identity();
        let (link, lost) = session.health();
        let line = lost.map_or_else(|| "open".to_owned(), |why| format!("lost: {why}"));
        let state = match session.halt() {
            Some(halt) => format!(
                "halted (halt {}, operating core {})",
                halt.number,
                session.core()
            ),
            None => "running".to_owned(),
        };
        let constants = &identity.constants;
        let symbols = debugger.symbols.kernel().map_or_else(
            || "none".to_owned(),
            |table| format!("{} of the kernel, slide {:x}", table.len(), table.slide()),
        );
        let messages = match &counts {
            Some(counts) => format!(
                "{} made, {} delivered, {} found no room, {} flushed, {} waiting",
                counts.produced, counts.delivered, counts.dropped, counts.flushed, counts.waiting
            ),
            None => "unknown: the debuggee does not answer".to_owned(),
        };
        let text = [
            format!("line        {} ({line})", session.endpoint()),
            format!("debuggee    {}", identity.banner),
            format!(
                "session     {:016x}, {} cores, kernel at {:016x}, TSC {} kHz",
                identity.session, identity.cores, identity.kernel_base, identity.tsc_khz
            ),
            format!("state       {state}"),
            format!("symbols     {symbols}"),
            format!(
                "constants   arena {}, {} of it for prealloc alone; halted time {}; {} polls/s",
                render::bytes(constants.arena_bytes),
                render::bytes(constants.prealloc_only_bytes),
                if constants.hide_time { "hidden" } else { "shown" },
                constants.poll_hz
            ),
            format!("messages    {messages}"),
            format!(
                "link        {} bytes sent, {} bytes received, {} requests",
                link.sent_bytes,
                link.received_bytes,
                session.request_count()
            ),
            format!(
                "frames      {} sent ({} repeated), {} received, {} broken, {} duplicate, {} after a gap",
                link.sent_frames,
                link.repeated_frames,
                link.received_frames,
                link.broken_frames,
                link.duplicate_frames,
                link.gap_frames
            ),
        ]
        .join("\n");
        debugger.out.line(text);
        Ok(())
    }
}

struct Help(Option<String>);

pub(super) fn help(mut arguments: Arguments<'_>) -> Parsed {
    let name = arguments.word().map(str::to_owned);
    arguments.end()?;
    Ok(Box::new(Help(name)))
}

/// Names that the syntax does not show.
fn aliases(command: &super::Command) -> Vec<&'static str> {
    let shown: Vec<&str> = command.syntax.split([' ', '|']).collect();
    let names = command.names.iter().copied();
    names.filter(|name| !shown.contains(name)).collect()
}

/// Help of one command, from the table.
#[must_use]
pub fn help_text(command: &super::Command) -> String {
    let mut lines = vec![command.syntax.to_owned(), wrapped(command.summary, "  ", 2)];
    lines.extend(command.details.lines().map(|line| wrapped(line, "  ", 2)));
    let aliases = aliases(command);
    if !aliases.is_empty() {
        lines.push(format!("  also: {}", aliases.join(", ")));
    }
    lines.extend(
        command
            .examples
            .iter()
            .map(|example| format!("  e.g. {example}")),
    );
    lines.join("\n")
}

/// Columns of help.
const HELP_COLUMNS: usize = 90;

/// A text behind `first`, in lines of [`HELP_COLUMNS`]; those after the first are indented.
fn wrapped(text: &str, first: &str, indent: usize) -> String {
    let indent = " ".repeat(indent);
    let options = textwrap::Options::new(HELP_COLUMNS)
        .initial_indent(first)
        .subsequent_indent(&indent);
    textwrap::fill(text, options)
}

/// Help of the options of event commands.
fn option_lines() -> String {
    let width = OPTIONS
        .iter()
        .map(|option| option.syntax.chars().count())
        .max()
        .unwrap_or(0);
    let lines: Vec<String> = OPTIONS
        .iter()
        .map(|option| {
            let first = format!("{:width$}  ", option.syntax);
            wrapped(option.summary, &first, width + 2)
        })
        .collect();
    lines.join("\n")
}

/// All commands as a Markdown document.
#[must_use]
pub fn reference() -> String {
    let mut text = String::from(
        "# Commands\n\nNumbers are hexadecimal unless a prefix says otherwise (0n10 is decimal ten).\n",
    );
    for command in COMMANDS.iter() {
        text.push_str(&format!(
            "\n## `{}`\n\n{}\n",
            command.syntax,
            sentence(command.summary)
        ));
        if !command.details.is_empty() {
            text.push_str(&format!("\n{}\n", command.details));
        }
        let aliases = aliases(command);
        if !aliases.is_empty() {
            let names: Vec<String> = aliases.iter().map(|name| format!("`{name}`")).collect();
            text.push_str(&format!("\nAlso: {}.\n", names.join(", ")));
        }
        text.push_str("\n```text\n");
        for example in command.examples {
            text.push_str(&format!("{example}\n"));
        }
        text.push_str("```\n");
    }
    text.push_str(&format!("\n## How a line is read\n\n{}\n", text::RULES));
    text.push_str(&format!(
        "\n## Options of event commands\n\n{OPTIONS_DETAILS}\n\n```text\n{}\n```\n",
        option_lines()
    ));
    text
}

/// A summary as a sentence.
fn sentence(summary: &str) -> String {
    let mut letters = summary.chars();
    letters.next().map_or_else(String::new, |first| {
        format!("{}{}.", first.to_uppercase(), letters.as_str())
    })
}

impl Action for Help {
    fn run(&self, debugger: &mut Debugger) -> Result<(), CommandError> {
        let Some(name) = &self.0 else {
            let width = COMMANDS.iter().map(|c| c.names[0].len()).max().unwrap_or(0);
            for command in COMMANDS.iter() {
                debugger
                    .out
                    .line(format!("{:<width$}  {}", command.names[0], command.summary));
            }
            debugger
                .out
                .line("`.help COMMAND` tells more; numbers are hexadecimal, 0n10 is decimal ten");
            return Ok(());
        };
        if name.eq_ignore_ascii_case("options") {
            debugger
                .out
                .line(format!("{}\n{OPTIONS_DETAILS}", option_lines()));
            return Ok(());
        }
        if name.eq_ignore_ascii_case("lines") {
            debugger
                .out
                .line(wrapped(&text::RULES.replace('\n', " "), "", 0));
            return Ok(());
        }
        let command = super::find(name).ok_or_else(|| ParseError::UnknownCommand {
            name: name.clone(),
            similar: super::similar(name),
        })?;
        debugger.out.line(help_text(command));
        Ok(())
    }
}

struct Clear;

pub(super) fn clear(mut arguments: Arguments<'_>) -> Parsed {
    arguments.end()?;
    Ok(Box::new(Clear))
}

impl Action for Clear {
    fn run(&self, debugger: &mut Debugger) -> Result<(), CommandError> {
        debugger.out.clear();
        Ok(())
    }
}

struct Sleep(Expression);

pub(super) fn sleep(mut arguments: Arguments<'_>) -> Parsed {
    let milliseconds = arguments.expression("MS")?;
    arguments.end()?;
    Ok(Box::new(Sleep(milliseconds)))
}

impl Action for Sleep {
    fn run(&self, debugger: &mut Debugger) -> Result<(), CommandError> {
        let milliseconds = debugger.value(&self.0)?;
        let until = Instant::now() + Duration::from_millis(milliseconds.min(SLEEP_LIMIT_MS));
        while !debugger.session.patience().is_interrupted() {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            std::thread::sleep(left.min(Duration::from_millis(20)));
            debugger.show_news();
        }
        Ok(())
    }
}

struct Script {
    path: String,
    arguments: Vec<String>,
}

pub(super) fn run_script(mut arguments: Arguments<'_>) -> Parsed {
    let path = arguments.required_word("the file")?.to_owned();
    let mut words = Vec::new();
    while let Some(word) = arguments.word() {
        words.push(word.to_owned());
    }
    Ok(Box::new(Script {
        path,
        arguments: words,
    }))
}

impl Action for Script {
    fn run(&self, debugger: &mut Debugger) -> Result<(), CommandError> {
        script::run(debugger, &self.path, &self.arguments, false)
    }
}

struct Exit;

pub(super) fn exit(mut arguments: Arguments<'_>) -> Parsed {
    arguments.end()?;
    Ok(Box::new(Exit))
}

impl Action for Exit {
    fn run(&self, debugger: &mut Debugger) -> Result<(), CommandError> {
        if debugger.session.halt().is_some() {
            debugger
                .out
                .line("the debuggee stays halted; connect again to go on with it");
        }
        debugger.is_leaving = true;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn help_fits_a_terminal() {
        let fits = |line: &str| assert!(line.chars().count() <= HELP_COLUMNS, "{line}");
        for command in COMMANDS.iter() {
            let text = help_text(command);
            let prose = text.lines().skip(1).filter(|line| !line.contains("e.g. "));
            prose.for_each(fits);
        }
        option_lines().lines().for_each(fits);
        text::RULES
            .lines()
            .for_each(|line| assert!(line.chars().count() <= 100, "{line}"));
    }
}
