//! What is set is kept in a file of the target's own, which is written at each `g`: a program that dies, or a debuggee that is
//! started anew, loses nothing. Called when a session begins, and before the debuggee goes on.

use super::Debugger;
use super::kept::{reserving, saved_events};
use crate::answer::{Problem, Warning};
use crate::saved::{Saved, SavedError, place_of};
use wire_protocol::event::EventEntry;

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
