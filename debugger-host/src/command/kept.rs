//! What the user has set, to set it again. Called by the commands that set it, and by [`super::backup`], which has it in a file.

use crate::saved::{Saved, SavedEvent};
use std::collections::BTreeMap;
use wire_protocol::event::{EventChange, Selection};

/// Commands that set breakpoints.
pub(super) const BREAKPOINTS: [&str; 2] = ["bp", "ba"];

/// An event that was set.
#[derive(Clone, Debug)]
pub(super) struct KeptEvent {
    pub(super) command: String,
    pub(super) is_enabled: bool,
    pub(super) is_by_address: bool,
    /// A breakpoint that halted, and is gone when the debuggee runs again.
    pub(super) is_spent: bool,
}

impl KeptEvent {
    fn is_breakpoint(&self) -> bool {
        let name = self.command.split_whitespace().next();
        name.is_some_and(|name| BREAKPOINTS.contains(&name))
    }
}

/// See the module.
#[derive(Default)]
pub(super) struct Kept {
    /// With which driver; it draws another number each time it is loaded.
    pub(super) driver: Option<u64>,
    pub(super) events: BTreeMap<u32, KeptEvent>,
    pub(super) pools: BTreeMap<&'static str, u32>,
    /// Whose they are: all but what is set.
    pub(super) of: Saved,
    /// What was set with the driver before, and how it was kept then.
    pub(super) lost: Option<Saved>,
    /// Of the loss it was not told yet.
    pub(super) is_loss_untold: bool,
    /// What is in the target's file.
    pub(super) written: Option<Saved>,
    pub(super) is_failure_told: bool,
}

impl Kept {
    pub(super) fn add(&mut self, id: u32, event: KeptEvent) {
        self.events.insert(id, event);
    }

    /// Whether an event was set with this command and is there.
    pub(super) fn has(&self, command: &str) -> bool {
        let mut there = self.events.values().filter(|event| !event.is_spent);
        there.any(|event| event.command == command)
    }

    pub(super) fn change(&mut self, change: EventChange, which: Selection) {
        let concerned = |id: u32, event: &KeptEvent| match which {
            Selection::One(one) => one.0 == id,
            Selection::Events => !event.is_breakpoint(),
            Selection::Breakpoints => event.is_breakpoint(),
        };
        match change {
            EventChange::Clear => self.events.retain(|id, event| !concerned(*id, event)),
            EventChange::Enable | EventChange::Disable => {
                for (id, event) in &mut self.events {
                    if concerned(*id, event) {
                        event.is_enabled = change == EventChange::Enable;
                        event.is_spent &= !event.is_enabled;
                    }
                }
            }
        }
    }

    /// A breakpoint that halts once has halted.
    pub(super) fn spend(&mut self, id: u32) {
        if let Some(event) = self.events.get_mut(&id) {
            event.is_spent = true;
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
    pub(super) fn adopt(&mut self, events: Vec<SavedEvent>) {
        for event in events {
            let kept = KeptEvent {
                command: event.command,
                is_enabled: event.is_enabled,
                is_by_address: event.is_by_address,
                is_spent: false,
            };
            self.events.insert(event.id, kept);
        }
    }
}

pub(super) fn saved_events(events: &BTreeMap<u32, KeptEvent>) -> Vec<SavedEvent> {
    let saved = |(id, event): (&u32, &KeptEvent)| SavedEvent {
        id: *id,
        is_enabled: event.is_enabled,
        is_by_address: event.is_by_address,
        command: event.command.clone(),
    };
    let lasting = events.iter().filter(|(_, event)| !event.is_spent);
    lasting.map(saved).collect()
}

pub(super) fn reserving(pools: &BTreeMap<&'static str, u32>) -> Vec<String> {
    let command = |(class, count): (&&str, &u32)| format!("prealloc {class} {count:x}");
    pools.iter().map(command).collect()
}
