//! Events: commands that add them (`trigger` reads their own arguments, `options` what they
//! share), commands that list and change them (`manage`, and `breakpoint` for those that are breakpoints), and the pools
//! they draw on (`pools`).

mod breakpoint;
mod manage;
mod options;
mod place;
mod pools;
mod source;
mod trigger;
mod typed;

pub(super) use breakpoint::{change_breakpoints, list_breakpoints, stop_at};
pub(super) use manage::{events, flush};
pub(super) use options::{OPTIONS, OPTIONS_DETAILS};
pub(super) use pools::{pools, preactivate, prealloc, test};
pub(super) use trigger::add;

use super::kept::BREAKPOINTS;
use super::{Action, CommandError, Debugger, ParseError};
use crate::answer::Answer;
use crate::answer::event::{Event, free, low};
use crate::session::{Added, NewEvent, SessionError};
use options::{Options, Process};
use trigger::{TriggerArguments, within};
use wire_protocol::address::{CoreId, EventId};
use wire_protocol::event::{
    Actions, Breakpoint, Filter, FreeCounts, Lifetime, Options as EventOptions, Settings, Trigger,
};
use wire_protocol::refusal::Refusal;

type Parsed = Result<Box<dyn Action>, ParseError>;

/// A command that adds one event.
pub struct AddEvent {
    /// The command's name.
    name: String,
    /// What follows it, up to the options, as typed.
    own: String,
    arguments: TriggerArguments,
    options: Options,
}

fn narrow<T: TryFrom<u64>>(what: &'static str, value: u64, limit: u64) -> Result<T, CommandError> {
    T::try_from(value).map_err(|_| CommandError::TooBig { what, value, limit })
}

impl AddEvent {
    fn is_breakpoint(&self) -> bool {
        BREAKPOINTS.contains(&self.name.as_str())
    }

    /// What makes it a breakpoint, if it is one.
    fn breakpoint(&self, debugger: &mut Debugger) -> Result<Option<Breakpoint>, CommandError> {
        if !self.is_breakpoint() {
            return Ok(None);
        }
        let first_pass = match &self.options.passes {
            Some(passes) => {
                let passes = debugger.value(passes)?;
                within("the number of the pass", passes, 1, u32::MAX.into())? as u32
            }
            None => 1,
        };
        Ok(Some(Breakpoint {
            first_pass,
            lifetime: match self.options.is_once {
                true => Lifetime::UntilItHalts,
                false => Lifetime::UntilCleared,
            },
        }))
    }

    /// Options that this event does not have, and one that it needs.
    fn check_options(&self) -> Result<(), ParseError> {
        let options = &self.options;
        let kind = self.arguments.kind();
        let unfit = |option, why| Err(ParseError::Unfit { option, why });
        if options.short_circuit && !kind.can_short_circuit() {
            return unfit(
                "sc on",
                "has no meaning with this event: there is no instruction to skip; a script can \
                 change @rip instead",
            );
        }
        if options.stage.has_post() && !kind.has_stages() {
            return unfit(
                "stage",
                "can only be `pre` with this event: nothing is emulated that could be over",
            );
        }
        if !self.is_breakpoint()
            && let Some(option) = options.of_breakpoints()
        {
            return unfit(option, "is for breakpoints, which `bp` and `ba` set");
        }
        let is_hook = matches!(kind, Trigger::EptHook { .. } | Trigger::EptHook2 { .. });
        if options.is_forced && !is_hook {
            return unfit(
                "force",
                "has no meaning with this event: it is for hooks where no instruction starts",
            );
        }
        Ok(())
    }

    /// The event, with every argument's value, its programs compiled.
    ///
    /// # Errors
    /// When an argument has no value or is out of range, or a program is wrong.
    pub fn spec(&self, debugger: &mut Debugger) -> Result<NewEvent, CommandError> {
        let trigger = self.arguments.trigger(debugger)?;
        let options = &self.options;
        let lead_bytes = match trigger {
            Trigger::EptHook { address } | Trigger::EptHook2 { address } => {
                debugger.lead_bytes(address.0, options.is_forced)?
            }
            _ => EventOptions::DEFAULT.lead_bytes,
        };
        let limit = u64::from(u32::MAX);
        let pid = match &options.pid {
            Some(Process::Number(pid)) => Some(narrow("the pid", debugger.value(pid)?, limit)?),
            Some(Process::Name(name)) => Some(debugger.process(name)?),
            None => None,
        };
        let tid = match &options.tid {
            Some(tid) => Some(narrow("the tid", debugger.value(tid)?, limit)?),
            None => None,
        };
        let core = match &options.core {
            Some(core) => {
                let most = u64::from(u16::MAX);
                Some(CoreId(narrow("the core", debugger.value(core)?, most)?))
            }
            None => None,
        };
        let buffer_bytes = match &options.buffer {
            Some(bytes) => within("the buffer", debugger.value(bytes)?, 1, limit)? as u32,
            None => 0,
        };
        let mut event = NewEvent::new(Settings {
            trigger,
            filter: Filter { pid, tid, core },
            actions: Actions::empty(),
            options: EventOptions {
                stage: options.stage,
                short_circuit: options.short_circuit,
                immediate: options.immediate,
                buffer_bytes,
                lead_bytes,
            },
            breakpoint: self.breakpoint(debugger)?,
        });
        if let Some(source) = &options.condition {
            event.condition = source.condition_program(debugger)?;
        }
        if let Some(source) = &options.script {
            event.script = source.script_program(debugger)?.into();
            event.settings.actions |= Actions::SCRIPT;
        }
        if let Some(source) = &options.code {
            event.code = source.machine_code("code", debugger)?;
            event.settings.actions |= Actions::CODE;
        }
        if event.settings.actions.is_empty() || self.is_breakpoint() {
            event.settings.actions |= Actions::BREAK;
        }
        event.output.clone_from(&options.output);
        debugger.sinks.check(&event.output)?;
        event.spec().check().map_err(SessionError::Refused)?;
        Ok(event)
    }
}

/// What is said about one event of a message.
///
/// # Errors
/// The refusal.
pub fn report(
    debugger: &Debugger,
    event: &NewEvent,
    result: &Result<EventId, Refusal>,
    left: Option<&FreeCounts>,
) -> Result<Answer, CommandError> {
    match result {
        Ok(id) => {
            let sizes = event.spec().programs.sizes();
            let free = left.map(free);
            Ok(Answer::EventAdded {
                id: id.0,
                event: Event::new(&event.settings, &sizes, &event.output, &debugger.symbols),
                low: free.as_deref().map(low).unwrap_or_default(),
                free,
            })
        }
        Err(refusal) => Err(SessionError::Refused(*refusal).into()),
    }
}

impl Action for AddEvent {
    fn run(&self, debugger: &mut Debugger) -> Result<Answer, CommandError> {
        let event = self.spec(debugger)?;
        let events = [event];
        let Added { results, free } = debugger.session.add_events(&events)?;
        self.keep(debugger, &events[0], results.first());
        match results.first() {
            Some(Err(_)) => {
                // What was not done needs no warning.
                debugger.warnings.retain(|warning| !warning.is_of_hook());
                report(debugger, &events[0], &results[0], None)
            }
            Some(result) => report(debugger, &events[0], result, Some(&free)),
            None => Err(CommandError::NoResult {}),
        }
    }

    fn as_event(&self) -> Option<&AddEvent> {
        Some(self)
    }
}
