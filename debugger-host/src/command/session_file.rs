//! `.session`: what is set, into a file and back. Called by the command table.

use super::{Action, Arguments, CommandError, Debugger, ParseError, parse_line};
use crate::answer::session_file::NotSet;
use crate::answer::{Answer, Problem};
use crate::saved::{Saved, SavedError, SavedEvent, place_of};
use crate::session::{NewEvent, SessionError};
use std::path::PathBuf;
use wire_protocol::address::EventId;
use wire_protocol::event::{EventChange, Selection};

enum SessionFile {
    Save(Option<PathBuf>),
    Load(Option<PathBuf>),
}

pub(super) fn session(mut arguments: Arguments<'_>) -> Result<Box<dyn Action>, ParseError> {
    let word = arguments
        .required_word("`save` or `load`")?
        .to_ascii_lowercase();
    let path = match arguments.is_empty() {
        true => None,
        false => Some(arguments.path("FILE")?.into()),
    };
    match word.as_str() {
        "save" => Ok(Box::new(SessionFile::Save(path))),
        "load" => Ok(Box::new(SessionFile::Load(path))),
        _ => Err(ParseError::BadWord {
            word,
            expected: "save or load",
        }),
    }
}

impl Action for SessionFile {
    fn run(&self, debugger: &mut Debugger) -> Result<Answer, CommandError> {
        if !debugger.session.is_connected() {
            return Err(SessionError::NotConnected.into());
        }
        match self {
            Self::Save(path) => save(debugger, path.clone()),
            Self::Load(path) => load(debugger, path.clone()),
        }
    }
}

/// The target's own file.
fn own(target: &str) -> Result<PathBuf, SavedError> {
    place_of(target).ok_or_else(|| SavedError::NothingSaved {
        target: target.to_owned(),
    })
}

fn save(debugger: &mut Debugger, path: Option<PathBuf>) -> Result<Answer, CommandError> {
    let saved = debugger.saved();
    let path = match path {
        Some(path) => path,
        None => own(&saved.target)?,
    };
    saved.write(&path)?;
    let is_saved = |id: &u32| saved.events.iter().any(|event| event.id == *id);
    let there = debugger
        .session
        .known_events()
        .iter()
        .map(|entry| entry.id.0);
    Ok(Answer::SessionSaved {
        path: path.display().to_string(),
        events: count(saved.events.len()),
        unknown: there.filter(|id| !is_saved(id)).collect(),
    })
}

fn count(of: usize) -> u32 {
    u32::try_from(of).unwrap_or(u32::MAX)
}

/// What was lost with the driver before, else what the target's file has.
fn saved(debugger: &Debugger, path: Option<PathBuf>) -> Result<(PathBuf, Saved), CommandError> {
    let target = debugger.saved().target;
    if let Some(path) = path {
        let saved = Saved::read(&path)?;
        return Ok((path, saved));
    }
    let path = own(&target)?;
    if let Some(lost) = debugger.kept.lost() {
        return Ok((path, lost.clone()));
    }
    match path.exists() {
        true => Ok((path.clone(), Saved::read(&path)?)),
        false => Err(SavedError::NothingSaved { target }.into()),
    }
}

fn load(debugger: &mut Debugger, path: Option<PathBuf>) -> Result<Answer, CommandError> {
    let (path, saved) = saved(debugger, path)?;
    debugger.session.must_be_halted()?;
    let identity = debugger.session.identity();
    let is_same_driver = saved.driver == identity.session;
    let is_elsewhere =
        saved.kernel != identity.banner || saved.kernel_base != identity.kernel_base.0;
    let mut failed = Vec::new();
    for command in &saved.outputs {
        let name = command.split(' ').nth(2).unwrap_or_default();
        if debugger.sinks.list().iter().all(|sink| sink.name != name) {
            run(debugger, command, &mut failed);
            run(debugger, &format!("output open {name}"), &mut failed);
        }
    }
    // With the same driver they are reserved still.
    for command in saved.pools.iter().filter(|_| !is_same_driver) {
        run(debugger, command, &mut failed);
    }
    let (there, wanted): (Vec<&SavedEvent>, Vec<_>) = saved
        .events
        .iter()
        .partition(|event| debugger.kept.has(&event.command));
    let there = count(there.len());
    let set = set_events(debugger, &wanted, is_elsewhere, &mut failed)?;
    if debugger.kept.lost() == Some(&saved) {
        debugger.kept.forget_loss();
    }
    Ok(Answer::SessionLoaded {
        path: path.display().to_string(),
        set,
        there,
        other_kernel: is_elsewhere.then_some(saved.kernel),
        failed,
    })
}

fn not_set(command: &str, error: &CommandError) -> NotSet {
    NotSet {
        command: command.to_owned(),
        problem: Problem::from(error),
    }
}

fn run(debugger: &mut Debugger, command: &str, failed: &mut Vec<NotSet>) {
    let result = match parse_line(command) {
        Ok(Some(action)) => action.run(debugger).map(drop),
        Ok(None) => Ok(()),
        Err(error) => Err(error.into()),
    };
    if let Err(error) = result {
        failed.push(not_set(command, &error));
    }
}

/// An event that is to be set, ready to be sent.
fn prepared(
    debugger: &mut Debugger,
    event: &SavedEvent,
    is_elsewhere: bool,
) -> Result<(Box<dyn Action>, NewEvent), CommandError> {
    if event.is_by_address && is_elsewhere {
        return Err(CommandError::AddressOfThen {});
    }
    let action = parse_line(&event.command)?.ok_or(CommandError::NoResult {})?;
    let new = match action.as_event() {
        Some(of) => of.spec(debugger)?,
        None => return Err(CommandError::NoResult {}),
    };
    Ok((action, new))
}

/// Sets them with one message, and disables those that were. How many were set.
fn set_events(
    debugger: &mut Debugger,
    wanted: &[&SavedEvent],
    is_elsewhere: bool,
    failed: &mut Vec<NotSet>,
) -> Result<u32, CommandError> {
    let mut good = Vec::new();
    let mut new = Vec::new();
    for event in wanted {
        match prepared(debugger, event, is_elsewhere) {
            Ok((action, spec)) => {
                good.push((*event, action));
                new.push(spec);
            }
            Err(error) => failed.push(not_set(&event.command, &error)),
        }
    }
    if new.is_empty() {
        return Ok(0);
    }
    let added = debugger.session.add_events(&new)?;
    let mut disabled: Vec<EventId> = Vec::new();
    let mut set = 0;
    for (((event, action), new), result) in good.iter().zip(&new).zip(&added.results) {
        match result {
            Ok(id) => {
                set += 1;
                if let Some(of) = action.as_event() {
                    of.keep(debugger, new, Some(result));
                }
                disabled.extend((!event.is_enabled).then_some(*id));
            }
            Err(refusal) => {
                failed.push(not_set(
                    &event.command,
                    &SessionError::Refused(*refusal).into(),
                ));
            }
        }
    }
    for id in disabled {
        debugger
            .session
            .change_events(EventChange::Disable, Selection::One(id))?;
        debugger
            .kept
            .change(EventChange::Disable, Selection::One(id));
    }
    Ok(set)
}
