//! The list of events, and changes to it. Called by the command table.

use super::{Parsed, narrow};
use crate::answer::event::free as free_of;
use crate::answer::{self, Answer, Count};
use crate::command::{Action, Arguments, CommandError, Debugger, ParseError};
use crate::expression::Expression;
use wire_protocol::address::EventId;
use wire_protocol::event::{EventChange, FreeCounts, Selection};

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
        Some(arguments.number("the event (N or all)")?)
    };
    arguments.end()?;
    Ok(Box::new(Events::Change(change, event)))
}

/// The list of events, or of breakpoints.
pub(super) fn list(debugger: &mut Debugger, are_breakpoints: bool) -> Result<Answer, CommandError> {
    let mut entries = debugger.session.events()?;
    entries.retain(|entry| entry.settings.breakpoint.is_some() == are_breakpoints);
    let is_of_last_halt = debugger.session.halt().is_none();
    let listed = debugger.installed(&entries);
    Ok(match are_breakpoints {
        true => Answer::Breakpoints {
            is_of_last_halt,
            breakpoints: listed,
        },
        false => Answer::Events {
            is_of_last_halt,
            events: listed,
        },
    })
}

/// The number of an event.
pub(super) fn number(
    debugger: &mut Debugger,
    what: &'static str,
    of: &Expression,
) -> Result<EventId, CommandError> {
    let number = debugger.value(of)?;
    Ok(EventId(narrow(what, number, u64::from(u32::MAX))?))
}

/// What is said of a change.
pub(super) fn changed(
    change: EventChange,
    (which, are_breakpoints): (Selection, bool),
    count: u32,
    free: &FreeCounts,
) -> Answer {
    Answer::EventsChanged {
        change: match change {
            EventChange::Enable => answer::Change::Enabled,
            EventChange::Disable => answer::Change::Disabled,
            EventChange::Clear => answer::Change::Cleared,
        },
        id: match which {
            Selection::One(id) => Some(id.0),
            Selection::Events | Selection::Breakpoints => None,
        },
        are_breakpoints,
        count,
        free: free_of(free),
    }
}

impl Action for Events {
    fn run(&self, debugger: &mut Debugger) -> Result<Answer, CommandError> {
        let (change, event) = match self {
            Self::List => return list(debugger, false),
            Self::ShortCircuit(on) => {
                debugger.session.short_circuit(*on)?;
                return Ok(Answer::ShortCircuit { is_on: *on });
            }
            Self::Change(change, event) => (change, event),
        };
        let (which, known) = match event {
            Some(event) => {
                let id = number(debugger, "the event", event)?;
                (Selection::One(id), debugger.session.known_event(id))
            }
            None => (Selection::Events, None),
        };
        let is_breakpoint = known.is_some_and(|entry| entry.settings.breakpoint.is_some());
        let (count, free) = debugger.session.change_events(*change, which)?;
        debugger.kept.change(*change, which);
        Ok(changed(*change, (which, is_breakpoint), count, &free))
    }
}

struct Flush;

pub(in crate::command) fn flush(mut arguments: Arguments<'_>) -> Parsed {
    arguments.end()?;
    Ok(Box::new(Flush))
}

impl Action for Flush {
    fn run(&self, debugger: &mut Debugger) -> Result<Answer, CommandError> {
        let flushed = debugger.session.flush()?;
        Ok(Answer::Flushed {
            dropped: Count(flushed.dropped),
            lost: Count(flushed.lost),
        })
    }
}
