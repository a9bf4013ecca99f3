//! From what made a core leave the guest to the events that wait for it. Called in VMX-root by
//! any core while the guest runs, all at once; it changes nothing but hit counts.
//!
//! Matching and counting are two calls: a core whose halt another core was faster to claim
//! repeats its exit, and only the repetition counts.

use super::installed::Installed;
use super::plan::core_matches;
use super::registry::{Record, Registry};
use super::trigger::{TriggerInstance, TriggerKind};
use core::cell::OnceCell;
use wire_protocol::address::{CoreId, EventId};
use wire_protocol::event::{Actions, ConditionKind, Filter, Stage};

/// What an event may ask about who left the guest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Running {
    /// The number of the process.
    Process,
    /// The number of the thread.
    Thread,
}

/// Who left the guest.
#[derive(Clone, Copy, Debug)]
pub struct ExitFacts<F> {
    /// Which core.
    pub core: CoreId,
    /// Looks up what runs on it; `None` if there is no telling. Called only if an event asks, and once per exit and
    /// question.
    pub running: F,
}

/// Before or after what is watched takes effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Moment {
    /// Before.
    Pre,
    /// After.
    Post,
}

impl Moment {
    const fn is_in(self, stage: Stage) -> bool {
        match self {
            Self::Pre => stage.has_pre(),
            Self::Post => stage.has_post(),
        }
    }
}

/// At least one event matched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hit<'o> {
    /// Which; of several, the oldest of those that break and stay, of those that break, or of all.
    pub event: EventId,
    /// What is to be done, for all that matched.
    pub actions: Actions,
    /// One of them keeps what is watched from taking effect.
    pub short_circuit: bool,
    /// One of them runs something.
    pub has_programs: bool,
    /// What happened.
    pub trigger: &'o TriggerInstance,
    /// When.
    pub moment: Moment,
    /// On which core.
    pub core: CoreId,
    /// `None` also if nobody asked.
    pid: Option<u32>,
    /// The same.
    tid: Option<u32>,
    from: Option<EventId>,
    /// Events from this number on came later.
    pub until: EventId,
    first: (EventId, u16),
    /// How many matched.
    pub count: u32,
    /// One of them intercepts the thread, and does nothing else.
    pub interception: Option<EventId>,
}

impl Installed {
    /// Whether an event may wait for this; if not, there is nothing to find.
    #[must_use]
    pub fn may_concern(&self, trigger: &TriggerInstance) -> bool {
        trigger.kind == TriggerKind::Memory || self.may_have(trigger.kind, trigger.value)
    }

    /// Whether an event may wait for this value of a kind, or for any.
    #[must_use]
    #[inline]
    pub fn may_have(&self, kind: TriggerKind, value: u64) -> bool {
        self.index.may_be_awaited(kind, value)
    }

    /// Whether an event of this kind may be served afterwards.
    #[must_use]
    #[inline]
    pub fn has_after(&self, kind: TriggerKind) -> bool {
        self.index.has_after(kind)
    }

    /// Whether an event waits for this value of a kind.
    #[must_use]
    pub fn has_value(&self, kind: TriggerKind, value: u64) -> bool {
        let (values, _) = self.index.matching(&TriggerInstance::new(kind, value));
        !values.is_empty()
    }

    /// Whether an event waits for the kernel to be entered by SYSCALL.
    #[must_use]
    #[inline]
    pub fn has_syscall_entries(&self) -> bool {
        self.index.has(TriggerKind::SyscallEntry)
    }

    /// The record of the only event that may wait for this before it takes effect, if that is plain
    /// and enabled. `None`: [`Self::find`] has to be asked.
    #[must_use]
    #[inline]
    pub fn only_plain(&self, trigger: &TriggerInstance) -> Option<&Record> {
        if trigger.kind == TriggerKind::Memory {
            return None;
        }
        let place = self.index.only(trigger.kind, trigger.value)?;
        let record = self.registry().at(place)?;
        (record.is_plain && record.acts()).then_some(record)
    }

    /// The events that wait for this; only from a number on, if one is given.
    pub fn find<'o, F: Fn(Running) -> Option<u32>>(
        &self,
        trigger: &'o TriggerInstance,
        moment: Moment,
        from: Option<EventId>,
        facts: &ExitFacts<F>,
    ) -> Option<Hit<'o>> {
        let (process, thread) = (OnceCell::new(), OnceCell::new());
        let running = |asked| {
            let known = match asked {
                Running::Process => &process,
                Running::Thread => &thread,
            };
            *known.get_or_init(|| (facts.running)(asked))
        };
        let until = self.registry().next_id();
        let mut found: Option<Hit<'o>> = None;
        let mut halts_once = false;
        for record in self.matching(trigger, moment, from, facts.core, &running) {
            let hit = found.get_or_insert(Hit {
                event: record.id,
                actions: Actions::empty(),
                short_circuit: false,
                has_programs: false,
                trigger,
                moment,
                core: facts.core,
                pid: None,
                tid: None,
                from,
                until,
                first: (record.id, record.place),
                count: 0,
                interception: None,
            });
            hit.count = hit.count.saturating_add(1);
            if record.settings.is_interception() {
                hit.interception = Some(record.id);
                continue;
            }
            let actions = record.settings.actions;
            let is_first = !hit.actions.contains(Actions::BREAK);
            // One that is there for good, as another core may be first with one that halts once.
            let stays = halts_once && !record.halts_once();
            if actions.contains(Actions::BREAK) && (is_first || stays) {
                hit.event = record.id;
                halts_once = record.halts_once();
            }
            hit.actions |= actions;
            hit.short_circuit |= record.settings.options.short_circuit;
            hit.has_programs |= actions.intersects(Actions::SCRIPT | Actions::CODE)
                || record.sizes.condition != ConditionKind::Always
                || record.skips_passes();
        }
        let mut hit = found?;
        hit.pid = process.get().copied().flatten();
        hit.tid = thread.get().copied().flatten();
        Some(hit)
    }

    /// Counts the hit for every event that matched and is still there.
    pub fn count(&self, hit: &Hit<'_>) {
        self.matched(hit).for_each(Record::count_hit);
    }

    /// Of the events that matched, the one after `previous` in order of number, or the first.
    #[must_use]
    pub fn next_of(&self, hit: &Hit<'_>, previous: Option<EventId>) -> Option<&Record> {
        let Some(previous) = previous else {
            let (event, place) = hit.first;
            return self.registry().seen_at(place, event);
        };
        self.matched(hit).find(|record| record.id > previous)
    }

    /// Events of a hit: those that came since it was found have no part in it.
    pub fn matched(&self, hit: &Hit<'_>) -> impl Iterator<Item = &Record> {
        let Hit { pid, tid, .. } = *hit;
        let running = move |asked| match asked {
            Running::Process => pid,
            Running::Thread => tid,
        };
        self.matching(hit.trigger, hit.moment, hit.from, hit.core, running)
            .filter(|record| record.id < hit.until)
    }

    /// Enabled events that wait for this and whose filters agree, in order of number.
    fn matching(
        &self,
        trigger: &TriggerInstance,
        moment: Moment,
        from: Option<EventId>,
        core: CoreId,
        running: impl Fn(Running) -> Option<u32>,
    ) -> impl Iterator<Item = &Record> {
        let (values, anys) = self.index.matching(trigger);
        let waiting = Waiting {
            registry: self.registry(),
            values,
            anys,
        };
        let monitors = trigger
            .touched
            .map(|(touch, earlier)| self.watches().monitors().events(touch, earlier));
        let touched = monitors.into_iter().flatten();
        let touched = touched.filter_map(|event| self.registry().get(event));
        waiting.chain(touched).filter(move |record| {
            let settings = &record.settings;
            record.acts()
                && from.is_none_or(|from| record.id >= from)
                && moment.is_in(settings.options.stage)
                && core_matches(settings, core)
                && trigger.concerns(&settings.trigger)
                && is_of(&settings.filter, &running)
        })
    }
}

/// Whether an event is for what runs.
pub fn is_of(filter: &Filter, running: impl Fn(Running) -> Option<u32>) -> bool {
    let is = |asked, wanted: Option<u32>| wanted.is_none() || running(asked) == wanted;
    is(Running::Process, filter.pid) && is(Running::Thread, filter.tid)
}

/// Two lists of places, each in order of number, as one.
struct Waiting<'a> {
    registry: &'a Registry,
    values: &'a [u16],
    anys: &'a [u16],
}

impl<'a> Iterator for Waiting<'a> {
    type Item = &'a Record;

    fn next(&mut self) -> Option<&'a Record> {
        let at = |place: Option<&u16>| self.registry.at(*place?);
        let (value, any) = (at(self.values.first()), at(self.anys.first()));
        let takes_value = match (value, any) {
            (Some(value), Some(any)) => value.id < any.id,
            (value, _) => value.is_some(),
        };
        let (list, record) = if takes_value {
            (&mut self.values, value)
        } else {
            (&mut self.anys, any)
        };
        *list = list.get(1..).unwrap_or_default();
        record
    }
}
