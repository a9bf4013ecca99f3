//! The list of breakpoints, and changes to it. Called by the command table.

use super::Parsed;
use super::manage::{changed, number};
use crate::answer::Answer;
use crate::command::{Action, Arguments, CommandError, Debugger};
use crate::expression::Expression;
use wire_protocol::address::EventId;
use wire_protocol::event::{EventChange, FreeCounts, Selection};

struct List;

pub(in crate::command) fn list_breakpoints(mut arguments: Arguments<'_>) -> Parsed {
    arguments.end()?;
    Ok(Box::new(List))
}

impl Action for List {
    fn run(&self, debugger: &mut Debugger) -> Result<Answer, CommandError> {
        let mut entries = debugger.session.events()?;
        entries.retain(|entry| entry.settings.breakpoint.is_some());
        Ok(Answer::Breakpoints {
            is_of_last_halt: debugger.session.halt().is_none(),
            breakpoints: debugger.installed(&entries),
        })
    }
}

struct Change {
    change: EventChange,
    /// None: all.
    breakpoints: Vec<Expression>,
}

pub(in crate::command) fn change_breakpoints(mut arguments: Arguments<'_>) -> Parsed {
    let change = match arguments.name {
        "be" => EventChange::Enable,
        "bd" => EventChange::Disable,
        _ => EventChange::Clear,
    };
    let mut breakpoints = Vec::new();
    if !arguments.keyword("all") && !arguments.keyword("*") {
        breakpoints.push(arguments.number("the breakpoint (N …, or all)")?);
        while !arguments.is_empty() {
            breakpoints.push(arguments.number("the next breakpoint")?);
        }
    }
    arguments.end()?;
    Ok(Box::new(Change {
        change,
        breakpoints,
    }))
}

impl Change {
    /// The breakpoints of these numbers; every one is there.
    fn named(&self, debugger: &mut Debugger) -> Result<Vec<EventId>, CommandError> {
        let known = debugger.session.events()?;
        let mut ids = Vec::new();
        for breakpoint in &self.breakpoints {
            let event = number(debugger, "the breakpoint", breakpoint)?;
            match known.iter().find(|entry| entry.id == event) {
                None => return Err(CommandError::NoBreakpoint { id: event.0 }),
                Some(entry) if entry.settings.breakpoint.is_none() => {
                    return Err(CommandError::IsAnEvent { id: event.0 });
                }
                Some(_) if ids.contains(&event) => {}
                Some(_) => ids.push(event),
            }
        }
        Ok(ids)
    }
}

impl Action for Change {
    fn run(&self, debugger: &mut Debugger) -> Result<Answer, CommandError> {
        let selections: Vec<Selection> = match self.breakpoints.is_empty() {
            true => vec![Selection::Breakpoints],
            false => {
                let named = self.named(debugger)?;
                named.into_iter().map(Selection::One).collect()
            }
        };
        let mut count = 0;
        let mut free = FreeCounts::default();
        for which in &selections {
            let (concerned, left) = debugger.session.change_events(self.change, *which)?;
            debugger.kept.change(self.change, *which);
            count += concerned;
            free = left
                .iter()
                .fold(free, |all, (class, count)| all.with(class, count));
        }
        let which = match selections[..] {
            [which] => which,
            _ => Selection::Breakpoints,
        };
        Ok(changed(self.change, (which, true), count, &free))
    }
}
