//! The list of breakpoints, and changes to it; called by the command table. The breakpoint of `g ADDRESS`, called by it.

use super::Parsed;
use super::manage::{changed, list, number};
use crate::answer::Answer;
use crate::command::program::{Kind, compile};
use crate::command::{Action, Arguments, CommandError, Debugger};
use crate::expression::Expression;
use crate::session::{NewEvent, SessionError};
use wire_protocol::address::{EventId, GuestVirtual};
use wire_protocol::event::{
    Access, Breakpoint, EventChange, FreeCounts, Lifetime, Selection, Settings, Trigger,
};
use wire_protocol::packet::StopCause;
use wire_protocol::register::Register;

/// Lets the debuggee halt where the thread that the operating core runs comes to an address, or at whatever is sooner. Where
/// the core is idle any thread is meant, as each core has an idle thread of its own.
///
/// # Errors
/// When no instruction starts there, or the debuggee has no room for it.
pub(in crate::command) fn stop_at(
    debugger: &mut Debugger,
    address: &Expression,
) -> Result<(), CommandError> {
    let address = debugger.value(address)?;
    let lead_bytes = debugger.lead_bytes(address, false)?;
    // Where it stands now is no place to come to: that pass goes by.
    let is_here =
        debugger.session.register(Register::Rip)? == address && begins_with_instruction(debugger)?;
    let program = compile(debugger, Kind::Expression, "$tid", "g")?;
    let tid = debugger.session.run_script(program.into())?.value;
    let mut settings = Settings::new(Trigger::EptHook {
        address: GuestVirtual(address),
    });
    settings.options.lead_bytes = lead_bytes;
    settings.filter.tid = u32::try_from(tid).ok().filter(|tid| *tid != 0);
    settings.breakpoint = Some(Breakpoint {
        first_pass: if is_here { 2 } else { 1 },
        lifetime: Lifetime::UntilNextHalt,
    });
    let added = debugger.session.add_events(&[NewEvent::new(settings)])?;
    match added.results.first() {
        Some(Ok(_)) => Ok(()),
        Some(Err(refusal)) => Err(SessionError::Refused(*refusal).into()),
        None => Err(CommandError::NoResult {}),
    }
}

/// Whether the instruction at which the debuggee stands is fetched when it goes on: what other events halt for is carried out
/// without that.
fn begins_with_instruction(debugger: &mut Debugger) -> Result<bool, CommandError> {
    let cause = debugger.session.halt().map(|halt| halt.cause);
    let Some(StopCause::Event { event }) = cause else {
        return Ok(true);
    };
    let events = debugger.session.events()?;
    let entry = events.iter().find(|entry| entry.id == event);
    Ok(entry.is_some_and(|entry| match entry.settings.trigger {
        Trigger::EptHook { .. } => true,
        Trigger::Monitor { access, .. } => access.contains(Access::EXECUTE),
        _ => false,
    }))
}

struct List;

pub(in crate::command) fn list_breakpoints(mut arguments: Arguments<'_>) -> Parsed {
    arguments.end()?;
    Ok(Box::new(List))
}

impl Action for List {
    fn run(&self, debugger: &mut Debugger) -> Result<Answer, CommandError> {
        list(debugger, true)
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
