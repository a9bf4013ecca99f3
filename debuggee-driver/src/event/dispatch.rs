//! From what made a core leave the guest to the event that waits for it. Called in VMX-root by
//! any core while the guest runs, all at once; it changes nothing but hit counts.
//!
//! Matching and counting are two calls: a core whose halt another core was faster to claim
//! repeats its exit, and only the repetition counts.

use super::plan::core_matches;
use super::registry::Record;
use super::transaction::Installed;
use crate::ept::monitor::Touch;
use core::cell::OnceCell;
use wire_protocol::address::{CoreId, EventId, GuestPhysical};
use wire_protocol::event::Actions;

/// Who left the guest.
#[derive(Clone, Copy, Debug)]
pub struct ExitFacts<F> {
    /// Which core.
    pub core: CoreId,
    /// Looks up the process that runs on it; `None` if there is no telling. Called only if an
    /// event asks for a process, and once per exit.
    pub pid: F,
}

/// At least one event matched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hit {
    /// Which; of several, the oldest of those that break, or else the oldest.
    pub event: EventId,
    /// What is to be done, for all that matched.
    pub actions: Actions,
    occasion: Occasion,
}

/// What a hit was found for, to find the same events again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Occasion {
    watched: Watched,
    /// Only events from this number on.
    from: Option<EventId>,
    core: CoreId,
    /// `None` also if nobody asked.
    pid: Option<u32>,
}

/// What made a core leave the guest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Watched {
    /// A breakpoint exception came from this byte, in the hooked view.
    Execute(GuestPhysical),
    /// Memory was touched.
    Memory {
        /// On one page.
        touch: Touch,
        /// By the same access on the page before; who watches that was served already.
        earlier: Option<Touch>,
    },
    /// CPUID was executed with this leaf in EAX.
    Cpuid(u32),
}

impl Installed {
    /// Memory was touched, or a breakpoint exception came; only events from a number on are looked
    /// at.
    pub fn on_memory<F: Fn() -> Option<u32>>(
        &self,
        watched: Watched,
        from: Option<EventId>,
        facts: &ExitFacts<F>,
    ) -> Option<Hit> {
        self.find(watched, from, facts)
    }

    /// CPUID was executed with `leaf` in EAX.
    pub fn on_cpuid<F: Fn() -> Option<u32>>(&self, leaf: u32, facts: &ExitFacts<F>) -> Option<Hit> {
        self.find(Watched::Cpuid(leaf), None, facts)
    }

    /// Counts the hit for every event that matched. Nothing may have been installed or removed
    /// since it was found.
    pub fn count(&self, hit: &Hit) {
        let Occasion {
            watched,
            from,
            core,
            pid,
        } = hit.occasion;
        self.matching(watched, from, core, &|| pid)
            .for_each(Record::count_hit);
    }

    fn find<F: Fn() -> Option<u32>>(
        &self,
        watched: Watched,
        from: Option<EventId>,
        facts: &ExitFacts<F>,
    ) -> Option<Hit> {
        let current = OnceCell::new();
        let pid = || *current.get_or_init(&facts.pid);
        let mut found: Option<Hit> = None;
        for record in self.matching(watched, from, facts.core, &pid) {
            let occasion = Occasion {
                watched,
                from,
                core: facts.core,
                pid: None,
            };
            let hit = Hit {
                event: record.id,
                actions: record.settings.actions,
                occasion,
            };
            found = Some(found.map_or(hit, |other| other.with(hit)));
        }
        let mut hit = found?;
        hit.occasion.pid = current.get().copied().flatten();
        Some(hit)
    }

    /// Enabled events that wait for this and whose filters agree.
    fn matching(
        &self,
        watched: Watched,
        from: Option<EventId>,
        core: CoreId,
        pid: &impl Fn() -> Option<u32>,
    ) -> impl Iterator<Item = &Record> {
        let (at, touched, leaf) = match watched {
            Watched::Execute(at) => (Some(at), None, None),
            Watched::Memory { touch, earlier } => (None, Some((touch, earlier)), None),
            Watched::Cpuid(leaf) => (None, None, Some(leaf)),
        };
        let watches = self.watches();
        let hooks = at.map(|at| watches.hooks_at(at));
        let hooked = hooks.into_iter().flatten().map(|hook| hook.event);
        let monitors = touched.map(|(touch, earlier)| watches.monitors().events(touch, earlier));
        let waiting = leaf.map(|leaf| self.cpuid.matching(leaf));
        hooked
            .chain(monitors.into_iter().flatten())
            .chain(waiting.into_iter().flatten())
            .filter(move |event| from.is_none_or(|from| *event >= from))
            .filter_map(|event| self.registry().get(event))
            .filter(move |record| {
                let wanted = record.settings.filter.pid;
                record.enabled
                    && core_matches(&record.settings, core)
                    && wanted.is_none_or(|wanted| pid() == Some(wanted))
            })
    }
}

impl Hit {
    /// Two events matched the same exit.
    fn with(self, other: Self) -> Self {
        let key = |hit: &Self| (!hit.actions.contains(Actions::BREAK), hit.event);
        let first = if key(&self) <= key(&other) {
            self
        } else {
            other
        };
        Self {
            actions: self.actions | other.actions,
            ..first
        }
    }
}
