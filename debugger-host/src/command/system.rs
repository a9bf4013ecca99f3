//! The debugger itself: help, status, values, leaving.

use super::event::{OPTIONS, OPTIONS_DETAILS};
use super::{Action, Arguments, Command, CommandError, Debugger, ParseError, status};
use crate::answer::help::{CommandHelp, CommandName, OptionHelp};
use crate::answer::status::Messages;
use crate::answer::{Answer, Count};
use crate::expression::Expression;
use std::time::{Duration, Instant};

pub use super::text::RULES;

type Parsed = Result<Box<dyn Action>, ParseError>;

/// Longest `sleep`.
const SLEEP_LIMIT_MS: u64 = 3_600_000;

/// A command in the JSON form.
struct Json(Box<dyn Action>);

pub(super) fn json(mut arguments: Arguments<'_>) -> Parsed {
    let mut ahead = arguments.clone();
    if ahead.keyword(super::JSON) {
        return Err(ParseError::BadWord {
            word: super::JSON.to_owned(),
            expected: "a command that has an answer of its own",
        });
    }
    if arguments.is_empty() {
        arguments.required_word("the command")?;
    }
    let action = super::parse_line(arguments.rest())?.ok_or(ParseError::Missing {
        argument: "the command",
        syntax: ".json COMMAND",
    })?;
    Ok(Box::new(Json(action)))
}

impl Action for Json {
    fn run(&self, debugger: &mut Debugger) -> Result<Answer, CommandError> {
        self.0.run(debugger)
    }
}

struct Status;

pub(super) fn status(mut arguments: Arguments<'_>) -> Parsed {
    arguments.end()?;
    Ok(Box::new(Status))
}

impl Action for Status {
    fn run(&self, debugger: &mut Debugger) -> Result<Answer, CommandError> {
        let messages = debugger.session.message_counts_soon();
        Ok(Answer::Status {
            status: Box::new(status::status(&debugger.session, &debugger.symbols)?),
            messages: messages.map(|counts| Messages {
                made: Count(counts.produced),
                delivered: Count(counts.delivered),
                dropped: Count(counts.dropped),
                flushed: Count(counts.flushed),
                waiting: Count(counts.waiting),
            }),
        })
    }
}

struct Help(Option<String>);

pub(super) fn help(mut arguments: Arguments<'_>) -> Parsed {
    let name = arguments.word().map(str::to_owned);
    arguments.end()?;
    Ok(Box::new(Help(name)))
}

fn owned(texts: &[&str]) -> Vec<String> {
    texts.iter().map(|text| (*text).to_owned()).collect()
}

/// Help of one command, from the table.
#[must_use]
pub fn help_of(command: &Command) -> CommandHelp {
    CommandHelp {
        names: owned(command.names),
        syntax: command.syntax.to_owned(),
        summary: command.summary.to_owned(),
        details: command.details.to_owned(),
        examples: owned(command.examples),
    }
}

/// Help of the options of event commands.
#[must_use]
pub fn options() -> Vec<OptionHelp> {
    OPTIONS
        .iter()
        .map(|option| OptionHelp {
            name: option.name.to_owned(),
            syntax: option.syntax.to_owned(),
            summary: option.summary.to_owned(),
        })
        .collect()
}

/// What is said of all options.
pub const ABOUT_OPTIONS: &str = OPTIONS_DETAILS;

impl Action for Help {
    fn run(&self, _: &mut Debugger) -> Result<Answer, CommandError> {
        let Some(name) = &self.0 else {
            let commands = super::commands().map(|command| CommandName {
                names: owned(command.names),
                summary: command.summary.to_owned(),
            });
            return Ok(Answer::Commands {
                commands: commands.collect(),
            });
        };
        if name.eq_ignore_ascii_case("options") {
            return Ok(Answer::Options {
                options: options(),
                details: ABOUT_OPTIONS.to_owned(),
            });
        }
        if name.eq_ignore_ascii_case("lines") {
            return Ok(Answer::Lines {
                rules: RULES.to_owned(),
            });
        }
        let command = super::find(name).ok_or_else(|| ParseError::UnknownCommand {
            name: name.clone(),
            similar: super::meant::meant(name),
        })?;
        Ok(Answer::Command {
            command: help_of(command),
        })
    }
}

struct Clear;

pub(super) fn clear(mut arguments: Arguments<'_>) -> Parsed {
    arguments.end()?;
    Ok(Box::new(Clear))
}

impl Action for Clear {
    fn run(&self, _: &mut Debugger) -> Result<Answer, CommandError> {
        Ok(Answer::Cleared {})
    }
}

struct Sleep(Expression);

pub(super) fn sleep(mut arguments: Arguments<'_>) -> Parsed {
    let milliseconds = arguments.number("MS")?;
    arguments.end()?;
    Ok(Box::new(Sleep(milliseconds)))
}

impl Action for Sleep {
    fn run(&self, debugger: &mut Debugger) -> Result<Answer, CommandError> {
        let milliseconds = debugger.value(&self.0)?;
        if milliseconds > SLEEP_LIMIT_MS {
            return Err(CommandError::TooBig {
                what: "MS",
                value: milliseconds,
                limit: SLEEP_LIMIT_MS,
            });
        }
        if debugger.session.is_replay() {
            // What came meanwhile is there already.
            debugger.show_news();
            return Ok(Answer::Done {});
        }
        let until = Instant::now() + Duration::from_millis(milliseconds);
        while !debugger.session.timeout().is_interrupted() {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            std::thread::sleep(left.min(Duration::from_millis(20)));
            debugger.show_news();
        }
        Ok(Answer::Done {})
    }
}

struct Exit;

pub(super) fn exit(mut arguments: Arguments<'_>) -> Parsed {
    arguments.end()?;
    Ok(Box::new(Exit))
}

impl Action for Exit {
    fn run(&self, debugger: &mut Debugger) -> Result<Answer, CommandError> {
        debugger.is_leaving = true;
        Ok(Answer::Leaving {
            is_halted: debugger.session.halt().is_some(),
        })
    }
}
