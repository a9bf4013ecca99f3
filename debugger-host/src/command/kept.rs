//! What the user has set, to set it again: kept while the program runs, and in a file of the target's own at each `g`, so that
//! a program that dies, or a debuggee that is started anew, loses nothing. Called by the commands that set it.

use super::Debugger;
use crate::answer::{Problem, Warning};
use crate::saved::{Saved, SavedError, SavedEvent, place_of};
use std::collections::BTreeMap;
use wire_protocol::event::{EventChange, EventEntry};

/// An event that was set.
#[derive(Clone, Debug)]
pub(super) struct KeptEvent {
    pub(super) command: String,
    pub(super) is_enabled: bool,
    pub(super) is_by_address: bool,
}

/// See the module.
#[derive(Default)]
pub(super) struct Kept {
    /// With which driver; it draws another number each time it is loaded.
    driver: Option<u64>,
    events: BTreeMap<u32, KeptEvent>,
    pools: BTreeMap<&'static str, u32>,
    /// Whose they are: all but what is set.
    of: Saved,
    /// What was set with the driver before, and how it was kept then.
    lost: Option<Saved>,
    /// Of the loss it was not told yet.
    is_loss_untold: bool,
    /// What is in the target's file.
    written: Option<Saved>,
    is_failure_told: bool,
}

impl Kept {
    pub(super) fn add(&mut self, id: u32, event: KeptEvent) {
        self.events.insert(id, event);
    }

    /// Whether an event was set with this command and is there.
    pub(super) fn has(&self, command: &str) -> bool {
        self.events.values().any(|event| event.command == command)
    }

    pub(super) fn change(&mut self, change: EventChange, id: Option<u32>) {
        let concerned = |of: &u32| id.is_none_or(|id| id == *of);
        match change {
            EventChange::Clear => self.events.retain(|id, _| !concerned(id)),
            EventChange::Enable | EventChange::Disable => {
                for (_, event) in self.events.iter_mut().filter(|(id, _)| concerned(id)) {
                    event.is_enabled = change == EventChange::Enable;
                }
            }
        }
    }

    pub(super) fn reserve(&mut self, class: &'static str, count: u32) {
        let reserved = self.pools.entry(class).or_default();
        *reserved = reserved.saturating_add(count);
    }

    /// Events that were lost, once.
    pub(super) fn take_loss(&mut self) -> Option<u32> {
        let lost = self.lost.as_ref().filter(|_| self.is_loss_untold)?;
        self.is_loss_untold = false;
        u32::try_from(lost.events.len()).ok()
    }

    /// What was lost was set again, as far as that could be done.
    pub(super) fn forget_loss(&mut self) {
        self.lost = None;
        self.is_loss_untold = false;
    }

    pub(super) const fn lost(&self) -> Option<&Saved> {
        self.lost.as_ref()
    }

    /// Takes events over that an earlier program set.
    fn adopt(&mut self, events: Vec<SavedEvent>) {
        for event in events {
            let kept = KeptEvent {
                command: event.command,
                is_enabled: event.is_enabled,
                is_by_address: event.is_by_address,
            };
            self.events.insert(event.id, kept);
        }
    }
}

fn saved_events(events: &BTreeMap<u32, KeptEvent>) -> Vec<SavedEvent> {
    let saved = |(id, event): (&u32, &KeptEvent)| SavedEvent {
        id: *id,
        is_enabled: event.is_enabled,
        is_by_address: event.is_by_address,
        command: event.command.clone(),
    };
    events.iter().map(saved).collect()
}

fn reserving(pools: &BTreeMap<&'static str, u32>) -> Vec<String> {
    let command = |(class, count): (&&str, &u32)| format!("prealloc {class} {count:x}");
    pools.iter().map(command).collect()
}

impl Debugger {
    fn target(&self) -> String {
        let line = self.session.endpoint();
        line.map_or_else(String::new, ToString::to_string)
    }

    /// All that is set now.
    pub(super) fn saved(&self) -> Saved {
        let identity = self.session.identity();
        let sinks = self.sinks.list().into_iter();
        Saved {
            target: self.target(),
            kernel: identity.banner.clone(),
            kernel_base: identity.kernel_base.0,
            driver: identity.session,
            pools: reserving(&self.kept.pools),
            outputs: sinks
                .map(|sink| {
                    let target = sink.target.to_string();
                    let (kind, to) = target.split_once(' ').unwrap_or((&target, ""));
                    format!("output create {} {kind} \"{to}\"", sink.name)
                })
                .collect(),
            events: saved_events(&self.kept.events),
        }
    }

    /// A session began: with the driver that what is kept was set with, or with another one. `there` are the events that are
    /// there, if that is known.
    pub(super) fn meet(&mut self, there: Option<&[EventEntry]>) {
        let driver = self.session.identity().session;
        if self.kept.driver != Some(driver) {
            let is_first = self.kept.driver.is_none();
            let before = std::mem::take(&mut self.kept);
            self.kept.driver = Some(driver);
            let earlier = match is_first {
                true => self.kept_in_file(),
                // Whatever was set since the last `g` counts as well.
                false if !before.events.is_empty() => Some(Saved {
                    events: saved_events(&before.events),
                    pools: reserving(&before.pools),
                    ..before.of
                }),
                false => before.lost,
            };
            match earlier {
                Some(saved) if saved.driver == driver => {
                    self.kept.adopt(saved.events.clone());
                    self.kept.written = Some(saved);
                }
                Some(saved) if !saved.events.is_empty() => {
                    self.kept.lost = Some(saved);
                    self.kept.is_loss_untold = true;
                }
                _ => {}
            }
        }
        self.kept.of = Saved {
            events: Vec::new(),
            pools: Vec::new(),
            ..self.saved()
        };
        if let Some(there) = there {
            let is_there = |id: &u32| there.iter().any(|entry| entry.id.0 == *id);
            self.kept.events.retain(|id, _| is_there(id));
        }
    }

    /// What an earlier program kept of this target.
    fn kept_in_file(&self) -> Option<Saved> {
        if self.session.is_replay() {
            return None;
        }
        Saved::read(&place_of(&self.target())?).ok()
    }

    /// Keeps what is set in the target's file, if that is not done. What was lost stays there until something else is set.
    pub(super) fn back_up(&mut self) {
        if self.session.is_replay() || !self.session.is_connected() {
            return;
        }
        let saved = self.saved();
        let is_known = self.kept.written.as_ref() == Some(&saved);
        let has_nothing = saved.events.is_empty() && saved.pools.is_empty();
        let had_nothing = self.kept.written.is_none();
        if is_known || has_nothing && (had_nothing || self.kept.lost.is_some()) {
            return;
        }
        let written = match place_of(&saved.target) {
            Some(place) => saved.write(&place),
            None => Err(SavedError::SessionFile {
                path: "of this target".to_owned(),
                why: "there is no directory for it".to_owned(),
            }),
        };
        self.kept.written = Some(saved);
        if let Err(error) = written
            && !std::mem::replace(&mut self.kept.is_failure_told, true)
        {
            let problem = Problem::from(&error.into());
            self.warnings.push(Warning::NotKept { problem });
        }
    }
}
