//! What happens at a hit: which events wait for it, what they run, whether everything halts, and
//! whether the guest gets what was watched.
//!
//! Called by `exit`, in VMX-root, by every core for itself, before and after an instruction is
//! carried out or an event is delivered.

pub mod detour;

use crate::event::registry::Record;
use crate::event::{Hit, Installed, Moment, TriggerInstance};
use crate::halt::walk::{self, Arrival};
use crate::halt::{self, Stopped};
use crate::port::{Cpu, Ports};
use crate::run::{self, Runner};
use crate::shared::{Seat, Shared};
use crate::vmx::guest;
use wire_protocol::address::EventId;
use wire_protocol::event::{Actions, Lifetime};
use wire_protocol::packet::StopCause;

/// How the guest goes on after a hit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// What was watched takes effect.
    Complete,
    /// It does not.
    Skip,
    /// The guest goes on where it stands now: it was moved, or what was watched comes up again.
    Retry,
}

/// Whether what happened happens again when the guest goes on where it stands: like a fault, or like a trap.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Nature {
    /// It does: a core that is not the first to halt may leave everything to the next time.
    FaultLike,
    /// It does not: everything is done now.
    TrapLike,
}

/// Serves the events that wait for `trigger`, in order of their numbers.
pub fn fire<P: Ports>(
    seat: &mut Seat<'_>,
    cpu: &mut P::Cpu,
    shared: &Shared<P>,
    trigger: &TriggerInstance,
    moment: Moment,
    nature: Nature,
) -> Verdict {
    if moment == Moment::Pre
        && let Some(verdict) = fire_only(seat, cpu, shared, trigger)
    {
        return verdict;
    }
    let rip = cpu.vmread(guest::RIP);
    let hit = (trigger, moment, nature);
    fire_from(seat, cpu, shared, hit, None, rip, Verdict::Complete)
}

/// Serves the only event that waits for `trigger`, before it takes effect, if all that the event does is run
/// scripts. `None`: nobody waits or there is more to it, and nothing was done.
pub fn fire_only<P: Ports>(
    seat: &mut Seat<'_>,
    cpu: &mut P::Cpu,
    shared: &Shared<P>,
    trigger: &TriggerInstance,
) -> Option<Verdict> {
    let core = seat.core();
    let (installed, local) = seat.parts();
    let record = installed.only_plain(trigger)?;
    if run::is_ruled_out(cpu, shared, record, trigger.context) {
        return Some(Verdict::Complete);
    }
    let mut runner = Runner::new(core, (installed, local));
    let rip = cpu.vmread(guest::RIP);
    let ran = run::scripts_of(&mut runner, cpu, shared, record, trigger.context);
    let (event, until) = (record.id, runner.installed.registry().next_id());
    let mut short_circuit = ran.short_circuit.unwrap_or(false);
    if ran.pauses {
        let said = stop_once(seat, cpu, shared, event, None);
        short_circuit = said.unwrap_or(short_circuit);
    }
    if cpu.vmread(guest::RIP) != rip {
        return Some(Verdict::Retry);
    }
    let verdict = if short_circuit {
        Verdict::Skip
    } else {
        Verdict::Complete
    };
    if !ran.pauses {
        return Some(verdict);
    }
    let hit = (trigger, Moment::Pre, Nature::TrapLike);
    Some(fire_from(seat, cpu, shared, hit, Some(until), rip, verdict))
}

/// Serves the events from number `served` on.
#[inline(never)]
fn fire_from<P: Ports>(
    seat: &mut Seat<'_>,
    cpu: &mut P::Cpu,
    shared: &Shared<P>,
    (trigger, moment, nature): (&TriggerInstance, Moment, Nature),
    mut served: Option<EventId>,
    rip: u64,
    mut verdict: Verdict,
) -> Verdict {
    if !seat.read(|installed| installed.may_concern(trigger)) {
        return verdict;
    }
    // Every turn but the first serves events that were added in a halt of the turn before.
    loop {
        let facts = shared.dispatch_facts(seat.core());
        let found = seat.read(|installed| installed.find(trigger, moment, served, &facts));
        let Some(hit) = found else {
            return verdict;
        };
        let nature = if served.is_none() {
            nature
        } else {
            Nature::TrapLike
        };
        let Some(served_now) = serve(seat, cpu, shared, &hit, nature) else {
            return Verdict::Retry;
        };
        if cpu.vmread(guest::RIP) != rip {
            return Verdict::Retry;
        }
        if served_now.short_circuit {
            verdict = Verdict::Skip;
        }
        if !served_now.halted {
            return verdict;
        }
        served = Some(hit.until);
    }
}

/// What serving the events of a hit led to.
struct Served {
    short_circuit: bool,
    /// The machine was halted, and more events may have been added.
    halted: bool,
}

/// Serves the events that were found. `None`: another core halts, and nothing was done.
fn serve<P: Ports>(
    seat: &mut Seat<'_>,
    cpu: &mut P::Cpu,
    shared: &Shared<P>,
    hit: &Hit<'_>,
    nature: Nature,
) -> Option<Served> {
    let mut short_circuit = hit.short_circuit;
    let mut halted = false;
    let mut awaited = None;
    if let Some(interception) = hit.interception {
        match walk::arrived(seat, cpu, shared, interception) {
            Arrival::PassesBy => {}
            Arrival::Halts(cause) => awaited = Some(cause),
            // Whoever else waits is served when it comes here again.
            Arrival::GoesOn | Arrival::Later => return None,
        }
    }
    if hit.has_programs {
        let ran = run_all(seat, cpu, shared, hit);
        short_circuit = ran.short_circuit;
        if let Some(event) = ran.stops {
            let said = stop_once(seat, cpu, shared, event, None);
            halted = true;
            short_circuit = said.unwrap_or(short_circuit);
        }
    } else if hit.actions.contains(Actions::BREAK) {
        let cause = StopCause::Event { event: hit.event };
        let said = match nature {
            Nature::FaultLike => match halt::stop(seat, cpu, shared, cause, Some(*hit)) {
                Stopped::Served { short_circuit } => short_circuit,
                Stopped::OtherCoreHalts => return None,
            },
            Nature::TrapLike => stop_once(seat, cpu, shared, hit.event, Some(*hit)),
        };
        halted = true;
        short_circuit = said.unwrap_or(short_circuit);
    } else if awaited.is_none() {
        seat.read(|installed| installed.count(hit));
    }
    if let Some(cause) = awaited.filter(|_| !halted) {
        let counted = (!hit.has_programs).then_some(*hit);
        let is_there = |installed: &Installed| {
            let interception = hit.interception.and_then(|id| installed.registry().get(id));
            interception.is_some_and(Record::is_enabled)
        };
        // Every turn is another core's halt, which the user ends.
        while !halted && seat.read(is_there) {
            match halt::stop(seat, cpu, shared, cause, counted) {
                Stopped::Served { .. } => halted = true,
                Stopped::OtherCoreHalts if hit.has_programs => halt::park(seat, cpu, shared),
                Stopped::OtherCoreHalts => return None,
            }
        }
    }
    Some(Served {
        short_circuit,
        halted,
    })
}

/// What the events of a hit asked for, together.
struct CombinedRun {
    /// The first event that halts.
    stops: Option<EventId>,
    short_circuit: bool,
}

/// Runs the programs of every event that matched, each once.
fn run_all<P: Ports>(
    seat: &mut Seat<'_>,
    cpu: &mut P::Cpu,
    shared: &Shared<P>,
    hit: &Hit<'_>,
) -> CombinedRun {
    let mut all = CombinedRun {
        stops: None,
        short_circuit: false,
    };
    let mut stops_once = false;
    let mut previous = None;
    for _ in 0..hit.count {
        let next = seat.read(|installed| {
            let record = installed.next_of(hit, previous)?;
            let by_itself = record.settings.options.short_circuit;
            Some((record.id, record.place, by_itself, record.settings.actions))
        });
        // One that was disabled meanwhile is not served.
        let Some((event, place, by_itself, actions)) = next else {
            break;
        };
        previous = Some(event);
        if hit.interception == Some(event) {
            continue;
        }
        let is_post = hit.moment == Moment::Post;
        let context = hit.trigger.context;
        let ran = run::programs(seat, cpu, shared, (event, place), context, is_post);
        if !ran.holds {
            continue;
        }
        all.short_circuit |= by_itself;
        all.short_circuit = ran.short_circuit.unwrap_or(all.short_circuit);
        if ran.pauses || actions.contains(Actions::BREAK) {
            let passes = seat.read(|installed| {
                let record = installed.registry().seen_at(place, event);
                record.is_some_and(Record::halts_once)
            });
            match all.stops {
                None => stops_once = passes,
                // The halt is named after one that stays, as another core may be first with one that does not.
                Some(first) if stops_once && !passes => {
                    spend(seat, shared, first);
                    stops_once = false;
                    all.stops = None;
                }
                Some(_) => spend(seat, shared, event),
            }
            all.stops = all.stops.or(Some(event));
        }
    }
    all
}

/// It halts together with the event that the halt is named after.
fn spend<P: Ports>(seat: &mut Seat<'_>, shared: &Shared<P>, event: EventId) {
    seat.read(|installed| {
        if let Some(record) = installed.registry().get(event) {
            run::machine::spend_with_another(shared, installed, record);
        }
    });
}

/// Runs what an event runs once more, where its core stands now. Its filters were checked at its hit.
pub fn again<P: Ports>(seat: &mut Seat<'_>, cpu: &mut P::Cpu, shared: &Shared<P>, event: EventId) {
    let found = seat.read(|installed| {
        let place = installed.registry().place(event)?;
        let record = installed.registry().seen_at(place, event)?;
        record
            .is_enabled()
            .then_some((place, record.settings.actions))
    });
    let Some((place, actions)) = found else {
        return;
    };
    let ran = run::programs(seat, cpu, shared, (event, place), 0, false);
    if ran.pauses || ran.holds && actions.contains(Actions::BREAK) {
        stop_once(seat, cpu, shared, event, None);
    }
}

/// Halts for something that does not come again: a core that is not the first waits for the other
/// halt's end and then has its own. Returns what the user said about what is watched.
pub fn stop_once<P: Ports>(
    seat: &mut Seat<'_>,
    cpu: &mut P::Cpu,
    shared: &Shared<P>,
    event: EventId,
    hit: Option<Hit<'_>>,
) -> Option<bool> {
    let cause = StopCause::Event { event };
    // Every turn is another core's halt, which the user ends.
    loop {
        match halt::stop(seat, cpu, shared, cause, hit) {
            Stopped::Served { short_circuit } => return short_circuit,
            Stopped::OtherCoreHalts => halt::park(seat, cpu, shared),
        }
        if seat.read(|installed| is_spent(installed, event)) {
            return None;
        }
    }
}

/// Whether an event is gone, or a breakpoint that has halted for another core, and halts no more.
fn is_spent(installed: &Installed, event: EventId) -> bool {
    let record = installed.registry().get(event);
    record.is_none_or(|record| {
        record.settings.lifetime() != Lifetime::UntilCleared && !record.is_enabled()
    })
}
