//! Events and pools. Every change is one transaction: plan, reserve, commit on all cores, flush,
//! reply; on failure nothing has changed.

use super::meeting::OnCore;
use super::{Context, memory, too_long};
use crate::event::{Installed, Resolver};
use crate::port::{Cpu, LiveRegister, PhysicalMemory, Ports};
use crate::shared::Shared;
use wire_protocol::address::{CoreId, EventId, GuestVirtual};
use wire_protocol::event::{Condition, ConditionKind, EventChange, PoolClass, Programs, Selection};
use wire_protocol::limits;
use wire_protocol::packet::{AddResults, EventEntries, EventSpecs, PoolLines, Reply, StopCause};
use wire_protocol::refusal::{EventOption, EventRefusal, Refusal};

/// Changes what is installed, with the proof that nothing runs.
fn edit<P: Ports, R>(
    context: &mut Context<'_, '_, P>,
    change: impl FnOnce(&mut Installed) -> R,
) -> Result<R, Refusal> {
    let mut proof = context
        .halt
        .all_halted()
        .map_err(|core| Refusal::CoreNotHeld { core })?;
    let installed = proof.edit();
    let result = change(installed);
    context.shared.publish(installed);
    Ok(result)
}

/// Makes every core take over what was edited.
fn commit<P: Ports>(context: &mut Context<'_, '_, P>) -> Result<(), CoreId> {
    let shared = context.shared;
    shared.load_published(context.halt.owner(), context.cpu);
    let processor = OnCore::new(context.cpu, shared);
    context
        .halt
        .commit_everywhere(&processor, shared.clock.timeout_ticks())
}

/// What names and addresses mean by these tables.
pub fn resolver<'s, P: Ports>(
    shared: &'s Shared<P>,
    cpu: &P::Cpu,
    (cr3, cr4): (u64, u64),
    dead_cores: u64,
) -> Resolver<'s> {
    Resolver {
        cr3,
        cr4,
        core_count: shared.facts.core_count,
        dead_cores,
        owned_ports: shared.fixed.bitmaps.owned_ports,
        can_take_interrupts: shared.fixed.can_take_interrupts,
        can_tell_modes: shared.fixed.mode_views.is_some(),
        layout: &shared.facts.layout,
        syscall_entry: GuestVirtual(cpu.live(LiveRegister::Lstar)),
        undisturbed: [shared.facts.entry_code, shared.facts.driver_image],
        ram: &shared.facts.ram,
    }
}

/// Adds events.
///
/// # Errors
/// Not every core is held. Refusals of single events stand in the reply.
pub fn add<'s, P: Ports>(
    context: &mut Context<'_, '_, P>,
    core: CoreId,
    all_or_nothing: bool,
    events: &EventSpecs<'_>,
    scratch: &'s mut [u8],
) -> Result<Reply<'s>, Refusal> {
    let (cr3, cr4) = memory::address_space(context, core)?;
    let shared = context.shared;
    let resolver = resolver(shared, context.cpu, (cr3, cr4), context.halt.dead_mask());
    let mut physical = shared.memory.clone();
    let mut results = [Err(Refusal::Malformed); limits::EVENTS_PER_REQUEST];
    let before = context
        .halt
        .read(|installed| installed.pools().all_counts());
    edit(context, |installed| {
        installed.add_all(
            &mut physical,
            &resolver,
            events.iter(),
            all_or_nothing,
            &mut results,
        );
    })?;
    if let Err(core) = commit(context) {
        edit(context, |installed| {
            for event in results.iter().flatten() {
                let _ = installed.change(&mut physical, EventChange::Clear, Selection::One(*event));
            }
        })?;
        let _ = commit(context);
        return Err(Refusal::CoreNotHeld { core });
    }
    let room = scratch.len();
    let results = AddResults::encode_into(
        results.into_iter().take(events.len()),
        shared.facts.kernel_base,
        scratch,
    )
    .map_err(|_| too_long(room))?;
    let (free, digest) = context
        .halt
        .read(|installed| (installed.pools().free_counts(&before), installed.digest()));
    Ok(Reply::EventsAdded {
        results,
        free,
        digest,
    })
}

/// `events e|d|c`, and `be`, `bd`, `bc`.
///
/// # Errors
/// No such event, or not every core is held; then nothing has changed.
pub fn change<'s, P: Ports>(
    context: &mut Context<'_, '_, P>,
    change: EventChange,
    which: Selection,
) -> Result<Reply<'s>, Refusal> {
    let missing = context.halt.all_halted().err();
    if let (EventChange::Clear, Selection::One(event), Some(core)) = (change, which, missing) {
        return Err(Refusal::Event(EventRefusal::ClearIncomplete {
            core,
            event,
        }));
    }
    let mut physical = context.shared.memory.clone();
    let before = context
        .halt
        .read(|installed| installed.pools().all_counts());
    let count = edit(context, |installed| {
        installed.change(&mut physical, change, which)
    })??;
    // A core that does not acknowledge is held and takes it over before it runs.
    let _ = commit(context);
    let (free, digest) = context
        .halt
        .read(|installed| (installed.pools().free_counts(&before), installed.digest()));
    Ok(Reply::EventsChanged {
        count,
        free,
        digest,
    })
}

/// `events sc on|off`: whether what the stop is about takes effect.
///
/// # Errors
/// No event stopped, or one that nothing can keep from happening.
pub fn short_circuit<'s, P: Ports>(
    context: &mut Context<'_, '_, P>,
    on: bool,
) -> Result<Reply<'s>, Refusal> {
    let shared = context.shared;
    let can_be = match context.cause {
        StopCause::Event { event } => context.halt.read(|installed| {
            let record = installed.registry().get(event);
            record.is_some_and(|record| record.settings.trigger.can_short_circuit())
        }),
        _ => false,
    };
    if !can_be {
        let option = EventOption::ShortCircuit;
        return Err(Refusal::Event(EventRefusal::OptionDoesNotFit { option }));
    }
    shared.decide_short_circuit(on);
    Ok(Reply::Done)
}

/// Looks at what the guest may have changed in a way that nobody saw: where the pages of processes are, which their events
/// follow, and the code under hooks.
pub fn look_at_watches<P: Ports>(context: &mut Context<'_, '_, P>) {
    let shared = context.shared;
    let by = context.writer();
    let (is_to_follow, intercepts) = context.halt.read(|installed| {
        let is_to_follow = installed.is_to_follow(&shared.memory);
        (is_to_follow, installed.has_interceptions())
    });
    let mut physical = shared.memory.clone();
    let edited = (is_to_follow || intercepts).then(|| {
        edit(context, |installed| {
            installed.clear_interceptions(&mut physical);
            if is_to_follow {
                shared.follow(installed, by);
            }
        })
    });
    // With a core missing, it waits for the next halt.
    if let Some(Ok(())) = edited {
        let _ = commit(context);
    }
    let look = |installed: &Installed| shared.look_at_hooks(installed, by);
    context.halt.read(look);
}

/// Does what a script of the host's wanted to be done with events, and lets events follow.
///
/// # Errors
/// Not every core is held or acknowledged.
pub fn carry_out_wanted<P: Ports>(context: &mut Context<'_, '_, P>) -> Result<(), Refusal> {
    let shared = context.shared;
    let mut physical = shared.memory.clone();
    let by = context.writer();
    edit(context, |installed| {
        installed.carry_out_wanted(&mut physical);
        shared.follow(installed, by);
    })?;
    commit(context).map_err(|core| Refusal::CoreNotHeld { core })
}

/// Installed events from a number on, as many as one reply holds.
///
/// # Errors
/// None that the limits leave.
pub fn list<'s, P: Ports>(
    context: &mut Context<'_, '_, P>,
    from: EventId,
    scratch: &'s mut [u8],
) -> Result<Reply<'s>, Refusal> {
    let room = scratch.len();
    let base = context.shared.facts.kernel_base;
    context.halt.read(|installed| {
        let entries = installed.entries().filter(|entry| entry.id >= from);
        EventEntries::encode_into(entries.take(limits::EVENTS_PER_REPLY), base, scratch)
            .map(Reply::Events)
            .map_err(|_| too_long(room))
    })
}

/// What an event runs.
///
/// # Errors
/// No such event.
pub fn programs<'s, P: Ports>(
    context: &mut Context<'_, '_, P>,
    event: EventId,
    scratch: &'s mut [u8],
) -> Result<Reply<'s>, Refusal> {
    let shared = context.shared;
    let found = context.halt.read(|installed| {
        let record = installed.registry().get(event)?;
        Some((record.sizes, record.programs.parts(&record.sizes)))
    });
    let (sizes, stored) = found.ok_or(Refusal::NoSuchEvent { event })?;
    let room = scratch.len();
    let mut rest = scratch;
    let mut parts: [&'s [u8]; 3] = [&[]; 3];
    for (part, stored) in parts.iter_mut().zip(stored) {
        let (bytes, after) = rest
            .split_at_mut_checked(stored.len_bytes() as usize)
            .ok_or(too_long(room))?;
        shared.memory.read(stored.start().0, bytes);
        (*part, rest) = (bytes, after);
    }
    let [condition, script, code] = parts;
    let condition = match sizes.condition {
        ConditionKind::Always => Condition::Always,
        ConditionKind::Script => Condition::Script(condition),
        ConditionKind::Code => Condition::Code(condition),
    };
    Ok(Reply::EventPrograms(Programs {
        condition,
        script,
        code,
    }))
}

/// Carves objects from the arena; the guest is not needed for it.
///
/// # Errors
/// The arena cannot give that many.
pub fn prealloc<'s, P: Ports>(
    context: &mut Context<'_, '_, P>,
    class: PoolClass,
    count: u32,
) -> Result<Reply<'s>, Refusal> {
    if count > limits::PREALLOC_COUNT {
        return Err(Refusal::TooLong {
            limit_bytes: u64::from(limits::PREALLOC_COUNT),
            asked_bytes: u64::from(count),
        });
    }
    let carved = edit(context, |installed| {
        installed.pools_mut().prealloc(class, count)
    })??;
    Ok(Reply::Carved {
        ready: carved.ready,
        queued: carved.queued,
        free: carved.free,
        arena_left_bytes: carved.arena_left_bytes,
    })
}

/// The state of all pools.
///
/// # Errors
/// None that the limits leave.
pub fn pools<'s, P: Ports>(
    context: &mut Context<'_, '_, P>,
    scratch: &'s mut [u8],
) -> Result<Reply<'s>, Refusal> {
    let room = scratch.len();
    let base = context.shared.facts.kernel_base;
    context.halt.read(|installed| {
        let pools = installed.pools();
        Ok(Reply::Pools {
            lines: PoolLines::encode_into(pools.lines(), base, scratch)
                .map_err(|_| too_long(room))?,
            arena_carved_bytes: pools.arena().carved_bytes(),
            arena_left_bytes: pools.arena().left_bytes(),
        })
    })
}
