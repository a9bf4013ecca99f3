//! Installed events and pools: changed by requests, mirrored here, so that listing them costs
//! nothing. Each reply carries a digest of the debuggee's list; when the mirror's differs, the
//! list is read anew.

use super::{Script, Session, SessionError};
use std::collections::HashMap;
use std::sync::Arc;
use wire_protocol::address::EventId;
use wire_protocol::event::{
    Condition, EventChange, EventEntry, EventSpec, FreeCounts, Lifetime, PoolClass, PoolLine,
    ProgramSizes, Programs, Selection, Settings, Standing,
};
use wire_protocol::limits;
use wire_protocol::packet::{
    Content, EventSpecs, MessageRecord, Reply, Request, Source, StopCause, events_digest,
};
use wire_protocol::refusal::{EventRefusal, Refusal};

/// What the host knows of the debuggee's events and pools.
#[derive(Default)]
pub(super) struct Mirror {
    /// `None` until they have been read.
    events: Option<Vec<EventEntry>>,
    pools: Option<Pools>,
    /// Where messages of events go, if not to the screen. Only the host knows.
    outputs: HashMap<EventId, Vec<String>>,
}

/// Reply to `pools`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pools {
    /// One line per class.
    pub lines: Vec<PoolLine>,
    /// Arena bytes carved.
    pub arena_carved_bytes: u64,
    /// Arena bytes left.
    pub arena_left_bytes: u64,
}

/// Reply to `prealloc`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Carved {
    /// Ready now because of this request.
    pub ready: u32,
    /// Ready after the next `g`.
    pub queued: u32,
    /// Free objects of the class.
    pub free: u32,
    /// Arena bytes left.
    pub arena_left_bytes: u64,
}

/// What decides whether an event acts, compiled.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum NewCondition {
    /// Nothing.
    #[default]
    Always,
    /// A script.
    Script(Script),
    /// Machine code.
    Code(Vec<u8>),
}

/// An event to be added, with its programs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewEvent {
    /// All but the programs.
    pub settings: Settings,
    /// What decides.
    pub condition: NewCondition,
    /// Its script; empty if it has none.
    pub script: Arc<Script>,
    /// Machine code, or nothing.
    pub code: Vec<u8>,
    /// Where its messages go; to the screen when this is empty.
    pub output: Vec<String>,
}

impl NewEvent {
    /// An event without programs.
    #[must_use]
    pub fn new(settings: Settings) -> Self {
        Self {
            settings,
            condition: NewCondition::Always,
            script: Arc::default(),
            code: Vec::new(),
            output: Vec::new(),
        }
    }

    /// What its messages come from: the script, or a condition that is one. Messages do not tell
    /// the two apart.
    fn speaking(&self) -> Option<Arc<Script>> {
        match &self.condition {
            NewCondition::Script(condition) if self.script.bytes.is_empty() => {
                Some(Arc::new(condition.clone()))
            }
            NewCondition::Script(_) => Some(Arc::new(Script {
                is_beside_condition: true,
                ..Script::clone(&self.script)
            })),
            _ if self.script.bytes.is_empty() => None,
            _ => Some(Arc::clone(&self.script)),
        }
    }

    /// As it is sent.
    #[must_use]
    pub fn spec(&self) -> EventSpec<'_> {
        EventSpec {
            settings: self.settings,
            programs: Programs {
                condition: match &self.condition {
                    NewCondition::Always => Condition::Always,
                    NewCondition::Script(script) => Condition::Script(&script.bytes),
                    NewCondition::Code(bytes) => Condition::Code(bytes),
                },
                script: &self.script.bytes,
                code: &self.code,
            },
        }
    }
}

/// Results of adding events, one per event, in order.
#[derive(Clone, Debug, PartialEq)]
pub struct Added {
    /// Its number, or why not.
    pub results: Vec<Result<EventId, Refusal>>,
    /// What is left.
    pub free: FreeCounts,
}

impl Mirror {
    pub(super) fn forget(&mut self) {
        self.events = None;
        self.pools = None;
    }

    pub(super) fn forget_outputs(&mut self) {
        self.outputs.clear();
    }

    pub(super) fn forget_pools(&mut self) {
        self.pools = None;
    }

    /// The debuggee halted: programs may have disabled or cleared events while it ran, and the time of breakpoints may
    /// have ended.
    pub(super) fn check_after_run(&mut self) {
        let changes = |entry: &EventEntry| {
            let ends = entry.settings.lifetime() != Lifetime::UntilCleared;
            ends || entry.sizes != ProgramSizes::default()
        };
        if self.events.iter().flatten().any(changes) {
            self.events = None;
        }
    }

    /// The debuggee says how an event stands, or lost what it had to say.
    pub(super) fn follow(&mut self, record: &MessageRecord<'_>) {
        if record.lost != 0 {
            self.events = None;
        }
        if let (Source::Event(id), Content::Standing(standing)) = (record.source, record.content)
            && let Some(entry) = self.events.iter_mut().flatten().find(|e| e.id == id)
        {
            entry.standing = standing;
        }
    }

    pub(super) fn count_hits(&mut self, hits: impl Iterator<Item = (EventId, u64)>) {
        for (id, hits) in hits {
            if let Some(entry) = self.events.iter_mut().flatten().find(|e| e.id == id) {
                entry.hits = hits;
            }
        }
    }

    fn compare(&mut self, digest: u16) {
        if let Some(events) = &self.events
            && events_digest(events.iter().copied()) != digest
        {
            self.events = None;
        }
    }
}

impl Session {
    /// All events. Costs nothing while the mirror is right.
    ///
    /// # Errors
    /// When it must be read, and the debuggee refuses or does not answer.
    pub fn events(&mut self) -> Result<Vec<EventEntry>, SessionError> {
        if let Some(events) = &self.mirror.events {
            return Ok(events.clone());
        }
        let mut events: Vec<EventEntry> = Vec::new();
        loop {
            let from = EventId(events.last().map_or(0, |last| last.id.0.saturating_add(1)));
            let part = self.ask(
                "list events",
                &Request::ListEvents { from },
                |reply| match reply {
                    Reply::Events(entries) => Some(entries.iter().collect::<Vec<_>>()),
                    _ => None,
                },
            )?;
            let is_last = part.len() < limits::EVENTS_PER_REPLY;
            events.extend(part);
            if is_last {
                break;
            }
        }
        self.mirror.events = Some(events.clone());
        Ok(events)
    }

    /// An event of the mirror, without asking.
    #[must_use]
    pub fn known_event(&self, id: EventId) -> Option<EventEntry> {
        self.mirror
            .events
            .iter()
            .flatten()
            .find(|e| e.id == id)
            .copied()
    }

    /// The events of the mirror, without asking; none if it is not known what there is.
    #[must_use]
    pub fn known_events(&self) -> &[EventEntry] {
        self.mirror.events.as_deref().unwrap_or_default()
    }

    /// Where the messages of an event go; to the screen when this is empty.
    #[must_use]
    pub fn output_of(&self, id: EventId) -> &[String] {
        self.mirror.outputs.get(&id).map_or(&[], Vec::as_slice)
    }

    /// Adds events with as few messages as they fit in, each for itself.
    ///
    /// # Errors
    /// When the debuggee runs, refuses the message as a whole, or does not answer.
    pub fn add_events(&mut self, new: &[NewEvent]) -> Result<Added, SessionError> {
        self.must_be_halted()?;
        match self.add_together(new) {
            // Scripts are long: what does not fit one message may fit two.
            Err(SessionError::TooLong { .. }) if new.len() > 1 => {
                let (first, second) = new.split_at(new.len() / 2);
                let mut added = self.add_events(first)?;
                let more = self.add_events(second)?;
                added.results.extend(more.results);
                added.free = more.free;
                Ok(added)
            }
            Err(SessionError::TooLong { .. }) => {
                let sizes = new.first().map(|event| event.spec().programs.sizes());
                let sizes = sizes.unwrap_or_default();
                Err(SessionError::Refused(Refusal::Event(
                    EventRefusal::ActionTooBig {
                        limit_bytes: limits::PROGRAM_BYTES as u32,
                        asked_bytes: sizes.script_bytes.saturating_add(sizes.code_bytes),
                    },
                )))
            }
            other => other,
        }
    }

    /// Adds events with one message.
    fn add_together(&mut self, new: &[NewEvent]) -> Result<Added, SessionError> {
        let what = "add events";
        let mut scratch = vec![0; limits::MESSAGE_BYTES];
        let specs = new.iter().map(NewEvent::spec);
        let events = EventSpecs::encode_into(specs, self.base, &mut scratch)
            .map_err(|_| SessionError::TooLong { what })?;
        let request = Request::AddEvents {
            core: self.core(),
            all_or_nothing: false,
            events,
        };
        self.mirror.forget_pools();
        let (added, digest) = self.ask(what, &request, |reply| match reply {
            Reply::EventsAdded {
                results,
                free,
                digest,
            } if results.len() == new.len() => Some((
                Added {
                    results: results.iter().collect(),
                    free,
                },
                digest,
            )),
            _ => None,
        })?;
        // Nothing known counts as no events: the digest tells whether that was right.
        let known = self.mirror.events.get_or_insert_default();
        // What stops one thread once is in no list, and its number is given again.
        let listed = |event: &&NewEvent| !event.settings.is_interception();
        for (event, result) in new.iter().filter(listed).zip(&added.results) {
            if let Ok(id) = result {
                self.mirror.outputs.insert(*id, event.output.clone());
                if let Some(script) = event.speaking() {
                    self.programs.keep(*id, script);
                }
                known.push(EventEntry {
                    id: *id,
                    settings: event.settings,
                    sizes: event.spec().programs.sizes(),
                    enabled: true,
                    standing: Standing::Active,
                    hits: 0,
                });
            }
        }
        self.mirror.compare(digest);
        Ok(added)
    }

    /// Enables, disables or clears events; returns how many were concerned.
    ///
    /// # Errors
    /// When the debuggee runs, refuses or does not answer.
    pub fn change_events(
        &mut self,
        change: EventChange,
        which: Selection,
    ) -> Result<(u32, FreeCounts), SessionError> {
        self.must_be_halted()?;
        self.mirror.forget_pools();
        let request = Request::ChangeEvents { change, which };
        let (count, free, digest) = self.ask("change events", &request, |reply| match reply {
            Reply::EventsChanged {
                count,
                free,
                digest,
            } => Some((count, free, digest)),
            _ => None,
        })?;
        if change == EventChange::Enable {
            // What a hook stands on may have changed while nobody looked.
            self.mirror.events = None;
        }
        if let Some(known) = &mut self.mirror.events {
            let concerned = |entry: &EventEntry| which.contains(entry.id, &entry.settings);
            match change {
                EventChange::Clear => known.retain(|entry| !concerned(entry)),
                EventChange::Enable | EventChange::Disable => {
                    for entry in known.iter_mut().filter(|entry| concerned(entry)) {
                        entry.enabled = change == EventChange::Enable;
                    }
                }
            }
        }
        self.mirror.compare(digest);
        Ok((count, free))
    }

    /// Decides whether what the stop in progress is about takes effect.
    ///
    /// # Errors
    /// When the debuggee runs, stopped for another reason than an event, refuses or does not
    /// answer.
    pub fn short_circuit(&mut self, on: bool) -> Result<(), SessionError> {
        let halt = self.halted.as_ref().ok_or(SessionError::Running)?;
        if !matches!(halt.cause, StopCause::Event { .. }) {
            return Err(SessionError::NotAtEvent);
        }
        let request = Request::ShortCircuit { on };
        self.ask("short-circuit", &request, |reply| {
            matches!(reply, Reply::Done).then_some(())
        })
    }

    /// Carves objects from the arena.
    ///
    /// # Errors
    /// When the debuggee refuses or does not answer.
    pub fn prealloc(&mut self, class: PoolClass, count: u32) -> Result<Carved, SessionError> {
        self.mirror.forget_pools();
        let request = Request::Prealloc { class, count };
        self.ask("prealloc", &request, |reply| match reply {
            Reply::Carved {
                ready,
                queued,
                free,
                arena_left_bytes,
            } => Some(Carved {
                ready,
                queued,
                free,
                arena_left_bytes,
            }),
            _ => None,
        })
    }

    /// State of all pools. Costs nothing when it cannot have changed.
    ///
    /// # Errors
    /// When the debuggee refuses or does not answer.
    pub fn pools(&mut self) -> Result<Pools, SessionError> {
        if let Some(pools) = &self.mirror.pools
            && self.halted.is_some()
        {
            return Ok(pools.clone());
        }
        let pools = self.ask("pools", &Request::Pools, |reply| match reply {
            Reply::Pools {
                lines,
                arena_carved_bytes,
                arena_left_bytes,
            } => Some(Pools {
                lines: lines.iter().collect(),
                arena_carved_bytes,
                arena_left_bytes,
            }),
            _ => None,
        })?;
        self.mirror.pools = Some(pools.clone());
        Ok(pools)
    }
}
