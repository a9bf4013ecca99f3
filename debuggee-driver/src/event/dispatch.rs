//! From what made a core leave the guest to the event that waits for it. Called in VMX-root by
//! any core while the guest runs, all at once; it changes nothing but hit counts.
//!
//! Matching and counting are two calls: a core whose halt another core was faster to claim
//! repeats its exit, and only the repetition counts.

use super::plan::core_matches;
use super::registry::Record;
use super::transaction::Installed;
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
    core: CoreId,
    /// `None` also if nobody asked.
    pid: Option<u32>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Watched {
    Execute(GuestPhysical),
    Cpuid(u32),
}

impl Installed {
    /// Whether the byte at `at` is a breakpoint in the hooked view: then it is no breakpoint of
    /// the guest's, whether [`Self::on_execute`] finds an event or not.
    #[must_use]
    pub fn is_hooked(&self, at: GuestPhysical) -> bool {
        self.hooked().hook_at(at).is_some_and(|hook| hook.enabled)
    }

    /// A breakpoint exception came from the byte at `at`, in the hooked view.
    pub fn on_execute<F: Fn() -> Option<u32>>(
        &self,
        at: GuestPhysical,
        facts: &ExitFacts<F>,
    ) -> Option<Hit> {
        self.find(Watched::Execute(at), facts)
    }

    /// CPUID was executed with `leaf` in EAX.
    pub fn on_cpuid<F: Fn() -> Option<u32>>(&self, leaf: u32, facts: &ExitFacts<F>) -> Option<Hit> {
        self.find(Watched::Cpuid(leaf), facts)
    }

    /// Counts the hit for every event that matched. Nothing may have been installed or removed
    /// since it was found.
    pub fn count(&self, hit: &Hit) {
        let Occasion { watched, core, pid } = hit.occasion;
        self.matching(watched, core, &|| pid)
            .for_each(Record::count_hit);
    }

    fn find<F: Fn() -> Option<u32>>(&self, watched: Watched, facts: &ExitFacts<F>) -> Option<Hit> {
        let current = OnceCell::new();
        let pid = || *current.get_or_init(&facts.pid);
        let mut found: Option<Hit> = None;
        for record in self.matching(watched, facts.core, &pid) {
            let occasion = Occasion {
                watched,
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
        core: CoreId,
        pid: &impl Fn() -> Option<u32>,
    ) -> impl Iterator<Item = &Record> {
        let (hook, leaf) = match watched {
            Watched::Execute(at) => (self.hooked().hook_at(at), None),
            Watched::Cpuid(leaf) => (None, Some(leaf)),
        };
        let hooked = hook.map(|hook| hook.event);
        let waiting = leaf.map(|leaf| self.cpuid.matching(leaf));
        let candidates = hooked.into_iter().chain(waiting.into_iter().flatten());
        candidates
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
