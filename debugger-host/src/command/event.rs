//! Events and the pools they draw on.

use super::{Action, Arguments, CommandError, Debugger, ParseError};
use crate::expression::Expression;
use crate::render;
use crate::session::Added;
use wire_protocol::address::{CoreId, EventId, GuestVirtual};
use wire_protocol::event::{EventChange, EventSpec, Filter, FreeCounts, PoolClass, Trigger};
use wire_protocol::refusal::Refusal;

type Parsed = Result<Box<dyn Action>, ParseError>;

enum Watched {
    EptHook(Expression),
    Cpuid(Option<Expression>),
}

/// A command that adds one event.
pub struct AddEvent {
    watched: Watched,
    pid: Option<Expression>,
    core: Option<Expression>,
}

const OPTIONS: [&str; 2] = ["pid", "core"];

/// `pid P` and `core C`, in any order.
fn with_options(watched: Watched, mut arguments: Arguments<'_>) -> Parsed {
    let mut event = AddEvent {
        watched,
        pid: None,
        core: None,
    };
    while !arguments.is_empty() {
        let (slot, option) = if arguments.keyword("pid") {
            (&mut event.pid, "pid")
        } else if arguments.keyword("core") {
            (&mut event.core, "core")
        } else {
            arguments.end()?;
            break;
        };
        if slot.is_some() {
            return Err(ParseError::Twice { option });
        }
        if !arguments.keyword("all") {
            *slot = Some(arguments.expression(option)?);
        }
    }
    Ok(Box::new(event))
}

pub(super) fn ept_hook(mut arguments: Arguments<'_>) -> Parsed {
    let address = arguments.expression("the address")?;
    with_options(Watched::EptHook(address), arguments)
}

pub(super) fn cpuid(mut arguments: Arguments<'_>) -> Parsed {
    let mut ahead = arguments.clone();
    let leaf = if ahead.is_empty() || OPTIONS.iter().any(|option| ahead.keyword(option)) {
        None
    } else {
        Some(arguments.expression("the leaf")?)
    };
    with_options(Watched::Cpuid(leaf), arguments)
}

fn narrow<T: TryFrom<u64>>(what: &'static str, value: u64, limit: u64) -> Result<T, CommandError> {
    T::try_from(value).map_err(|_| CommandError::TooBig { what, value, limit })
}

impl AddEvent {
    /// The event, with every argument's value.
    ///
    /// # Errors
    /// When an argument has no value, or is too big.
    pub fn spec(&self, debugger: &mut Debugger) -> Result<EventSpec<'static>, CommandError> {
        let trigger = match &self.watched {
            Watched::EptHook(address) => Trigger::EptHook {
                address: GuestVirtual(debugger.value(address)?),
            },
            Watched::Cpuid(leaf) => Trigger::Cpuid {
                leaf: match leaf {
                    Some(leaf) => Some(narrow(
                        "the leaf",
                        debugger.value(leaf)?,
                        u64::from(u32::MAX),
                    )?),
                    None => None,
                },
            },
        };
        let pid = match &self.pid {
            Some(pid) => Some(narrow(
                "the pid",
                debugger.value(pid)?,
                u64::from(u32::MAX),
            )?),
            None => None,
        };
        let core = match &self.core {
            Some(core) => Some(CoreId(narrow(
                "the core",
                debugger.value(core)?,
                u64::from(u16::MAX),
            )?)),
            None => None,
        };
        let mut spec = EventSpec::new(trigger);
        spec.settings.filter = Filter { pid, core };
        Ok(spec)
    }
}

/// What is said about one event of a message.
///
/// # Errors
/// The refusal.
pub fn report(
    debugger: &mut Debugger,
    spec: &EventSpec<'_>,
    result: &Result<EventId, Refusal>,
    free: Option<&FreeCounts>,
) -> Result<(), CommandError> {
    match result {
        Ok(id) => {
            let event = render::event_line(&spec.settings, &debugger.symbols);
            let left = free.map_or_else(String::new, render::free_counts);
            debugger.out.line(format!("event {id}: {event}{left}"));
            Ok(())
        }
        Err(refusal) => Err(crate::session::SessionError::Refused(*refusal).into()),
    }
}

impl Action for AddEvent {
    fn run(&self, debugger: &mut Debugger) -> Result<(), CommandError> {
        let spec = self.spec(debugger)?;
        let Added { results, free } = debugger.session.add_events(&[spec])?;
        match results.first() {
            Some(result) => report(debugger, &spec, result, Some(&free)),
            None => Ok(()),
        }
    }

    fn as_event(&self) -> Option<&AddEvent> {
        Some(self)
    }
}

enum Events {
    List,
    Change(EventChange, Option<Expression>),
}

pub(super) fn events(mut arguments: Arguments<'_>) -> Parsed {
    let Some(word) = arguments.word() else {
        return Ok(Box::new(Events::List));
    };
    let change = match word.to_ascii_lowercase().as_str() {
        "e" => EventChange::Enable,
        "d" => EventChange::Disable,
        "c" => EventChange::Clear,
        _ => {
            return Err(ParseError::BadWord {
                word: word.to_owned(),
                expected: "e (enable), d (disable) or c (clear)",
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
pub(super) fn show_events(debugger: &mut Debugger) -> Result<(), CommandError> {
    let events = debugger.session.events()?;
    if events.is_empty() {
        debugger.out.line("no events");
    }
    for entry in events {
        let state = if entry.enabled { "enabled" } else { "disabled" };
        let event = render::event_line(&entry.settings, &debugger.symbols);
        debugger.out.line(format!(
            "{:>3}  {state:<8}  {event}; {} hits",
            entry.id, entry.hits
        ));
    }
    Ok(())
}

impl Action for Events {
    fn run(&self, debugger: &mut Debugger) -> Result<(), CommandError> {
        let Self::Change(change, event) = self else {
            return show_events(debugger);
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

struct Prealloc {
    class: PoolClass,
    count: Expression,
}

pub(super) fn prealloc(mut arguments: Arguments<'_>) -> Parsed {
    let word = arguments.required_word("the class")?;
    let class = PoolClass::ALL
        .into_iter()
        .find(|class| class.name().eq_ignore_ascii_case(word))
        .ok_or_else(|| ParseError::BadWord {
            word: word.to_owned(),
            expected: "one of regular-event, big-event, regular-safe-buffer, big-safe-buffer, \
                       epthook, epthook2, monitor, thread-interception",
        })?;
    let count = arguments.expression("the count")?;
    arguments.end()?;
    Ok(Box::new(Prealloc { class, count }))
}

impl Action for Prealloc {
    fn run(&self, debugger: &mut Debugger) -> Result<(), CommandError> {
        let limit = wire_protocol::limits::PREALLOC_COUNT;
        let value = debugger.value(&self.count)?;
        let count = u32::try_from(value)
            .ok()
            .filter(|count| *count <= limit)
            .ok_or(CommandError::TooBig {
                what: "the count",
                value,
                limit: u64::from(limit),
            })?;
        let carved = debugger.session.prealloc(self.class, count)?;
        let queued = match carved.queued {
            0 => String::new(),
            n => format!(", {n} more after the next `g`"),
        };
        debugger.out.line(format!(
            "{}: {} ready now{queued}; {} free; {} left in the arena",
            self.class.name(),
            carved.ready,
            carved.free,
            render::bytes(carved.arena_left_bytes)
        ));
        Ok(())
    }
}

struct ShowPools;

pub(super) fn pools(mut arguments: Arguments<'_>) -> Parsed {
    arguments.end()?;
    Ok(Box::new(ShowPools))
}

impl Action for ShowPools {
    fn run(&self, debugger: &mut Debugger) -> Result<(), CommandError> {
        let pools = debugger.session.pools()?;
        debugger.out.line(render::pools(&pools));
        Ok(())
    }
}
