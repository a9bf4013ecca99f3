//! The list of events, and changes to it. Called by the command table.

use super::{Parsed, narrow};
use crate::command::{Action, Arguments, CommandError, Debugger, ParseError};
use crate::expression::Expression;
use crate::render;
use wire_protocol::address::EventId;
use wire_protocol::event::EventChange;

enum Events {
    List,
    ShortCircuit(bool),
    Change(EventChange, Option<Expression>),
}

pub(in crate::command) fn events(mut arguments: Arguments<'_>) -> Parsed {
    let Some(word) = arguments.word() else {
        return Ok(Box::new(Events::List));
    };
    let change = match word.to_ascii_lowercase().as_str() {
        "e" => EventChange::Enable,
        "d" => EventChange::Disable,
        "c" => EventChange::Clear,
        "sc" => {
            let word = arguments.required_word("on or off")?;
            let on = match word.to_ascii_lowercase().as_str() {
                "on" => true,
                "off" => false,
                _ => {
                    return Err(ParseError::BadWord {
                        word: word.to_owned(),
                        expected: "on or off",
                    });
                }
            };
            arguments.end()?;
            return Ok(Box::new(Events::ShortCircuit(on)));
        }
        _ => {
            return Err(ParseError::BadWord {
                word: word.to_owned(),
                expected: "e (enable), d (disable), c (clear) or sc (short-circuit)",
            });
        }
    };
    let event = if arguments.keyword("all") {
        None
    } else {
        Some(arguments.expression("N or all")?)
    };
    arguments.end()?;
    Ok(Box::new(Events::Change(change, event)))
}

/// The list of events.
pub(in crate::command) fn show_events(debugger: &mut Debugger) -> Result<(), CommandError> {
    let events = debugger.session.events()?;
    if events.is_empty() {
        debugger.out.line("no events");
    }
    if debugger.session.halt().is_none() {
        debugger.out.line("as of the last halt:");
    }
    for entry in events {
        let state = if entry.enabled { "enabled" } else { "disabled" };
        let output = debugger.session.output_of(entry.id).to_vec();
        let event = render::event_line(&entry.settings, &entry.sizes, &output, &debugger.symbols);
        debugger.out.line(format!(
            "{:>3}  {state:<8}  {event}; {} hits",
            entry.id, entry.hits
        ));
    }
    Ok(())
}

impl Action for Events {
    fn run(&self, debugger: &mut Debugger) -> Result<(), CommandError> {
        let (change, event) = match self {
            Self::List => return show_events(debugger),
            Self::ShortCircuit(on) => {
                debugger.session.short_circuit(*on)?;
                debugger.out.line(if *on {
                    "what this stop is about does not take effect"
                } else {
                    "what this stop is about takes effect"
                });
                return Ok(());
            }
            Self::Change(change, event) => (change, event),
        };
        let event = match event {
            Some(event) => Some(EventId(narrow(
                "the event",
                debugger.value(event)?,
                u64::from(u32::MAX),
            )?)),
            None => None,
        };
        let (count, free) = debugger.session.change_events(*change, event)?;
        let done = match change {
            EventChange::Enable => "enabled",
            EventChange::Disable => "disabled",
            EventChange::Clear => "cleared",
        };
        let what = match event {
            Some(id) => format!("event {id}"),
            None if count == 1 => "1 event".to_owned(),
            None => format!("{count} events"),
        };
        debugger
            .out
            .line(format!("{what} {done}{}", render::free_counts(&free)));
        Ok(())
    }
}

struct Flush;

pub(in crate::command) fn flush(mut arguments: Arguments<'_>) -> Parsed {
    arguments.end()?;
    Ok(Box::new(Flush))
}

impl Action for Flush {
    fn run(&self, debugger: &mut Debugger) -> Result<(), CommandError> {
        let before = debugger.session.message_counts()?.flushed;
        let dropped = debugger.session.flush()?.flushed - before;
        debugger.out.line(format!("{dropped} messages dropped"));
        Ok(())
    }
}
