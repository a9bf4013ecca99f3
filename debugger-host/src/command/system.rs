//! The debugger itself: help, status, values, leaving.

use super::event::{OPTIONS, OPTIONS_DETAILS};
use super::{Action, Arguments, COMMANDS, Command, CommandError, Debugger, ParseError};
use crate::answer::help::{CommandHelp, CommandName, OptionHelp};
use crate::answer::status::{
    Constants, Endpoint, KernelSymbols, Line, Messages, State, Status as Known,
};
use crate::answer::{Answer, Count, Hex};
use crate::expression::Expression;
use crate::transport;
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

struct Reconnect;

pub(super) fn reconnect(mut arguments: Arguments<'_>) -> Parsed {
    arguments.end()?;
    Ok(Box::new(Reconnect))
}

impl Action for Reconnect {
    fn run(&self, debugger: &mut Debugger) -> Result<Answer, CommandError> {
        debugger.connect()
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
            status: Box::new(status_of(debugger)),
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

/// What is known of the session and the debuggee.
pub(super) fn status_of(debugger: &Debugger) -> Known {
    let session = &debugger.session;
    let identity = session.identity();
    let constants = &identity.constants;
    let (link, lost) = session.health();
    Known {
        line: Line {
            endpoint: match session.endpoint() {
                transport::Endpoint::Serial { device, baud } => Endpoint::Serial {
                    device: device.clone(),
                    baud: *baud,
                },
                transport::Endpoint::Socket { path } => Endpoint::Socket {
                    path: path.display().to_string(),
                },
                transport::Endpoint::Pipe { name } => Endpoint::Pipe { name: name.clone() },
            },
            lost,
            sent_bytes: Count(link.sent_bytes),
            received_bytes: Count(link.received_bytes),
            requests: Count(session.request_count()),
            sent_frames: Count(link.sent_frames),
            repeated_frames: Count(link.repeated_frames),
            received_frames: Count(link.received_frames),
            broken_frames: Count(link.broken_frames),
            duplicate_frames: Count(link.duplicate_frames),
            gap_frames: Count(link.gap_frames),
        },
        banner: identity.banner.clone(),
        session: Hex(identity.session),
        cores: identity.cores,
        kernel_base: Hex(identity.kernel_base.0),
        tsc_khz: identity.tsc_khz,
        state: match session.halt() {
            Some(halt) => State::Halted {
                number: halt.number,
                core: session.core().0,
            },
            None => State::Running {},
        },
        symbols: debugger.symbols.kernel().map(|table| KernelSymbols {
            count: u32::try_from(table.len()).unwrap_or(u32::MAX),
            slide: Hex(table.slide()),
        }),
        constants: Constants {
            arena_bytes: Count(constants.arena_bytes),
            prealloc_only_bytes: Count(constants.prealloc_only_bytes),
            hides_time: constants.hide_time,
            poll_hz: constants.poll_hz,
        },
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
            let commands = COMMANDS.iter().map(|command| CommandName {
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
            similar: super::similar(name),
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
    let milliseconds = arguments.expression("MS")?;
    arguments.end()?;
    Ok(Box::new(Sleep(milliseconds)))
}

impl Action for Sleep {
    fn run(&self, debugger: &mut Debugger) -> Result<Answer, CommandError> {
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
