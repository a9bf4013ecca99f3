//! Adding, changing and listing events. Requests are made by the host and answered by the driver
//! while the debuggee is halted.

use crate::address::{CoreId, EventId, GuestVirtual};
use crate::codec::{
    self, EncodeError, Parsed, Writer, byte, difference, fixed_u16, narrow, reject, when,
};
use crate::crc::Crc32;
use crate::event::{Actions, EventChange, EventEntry, EventSpec, Filter, FreeCounts, Trigger};
use crate::limits;
use crate::packet::list::{Item, List};
use crate::packet::{Reply, Request, refusal};
use crate::refusal::Refusal;

/// Events of one request, still encoded; the parser has checked every one.
pub type EventSpecs<'a> = List<'a, EventSpec>;

/// One result per event of a request, still encoded.
pub type AddResults<'a> = List<'a, Result<EventId, Refusal>>;

/// Installed events in ascending order of number, still encoded.
pub type EventEntries<'a> = List<'a, EventEntry>;

const TRIGGER: u8 = 0x0f;
const TRIGGER_EPT_HOOK: u8 = 0;
const TRIGGER_CPUID: u8 = 1;
const ONE_PID: u8 = 0x10;
const ONE_CORE: u8 = 0x20;
/// The action byte follows: the actions are not just `BREAK`.
const OTHER_ACTIONS: u8 = 0x40;
/// CPUID: the leaf follows.
const ONE_LEAF: u8 = 0x80;

/// Flags, then what they announce. An EPT hook that breaks for everyone is a zero and an address.
impl Item for EventSpec {
    const LIMIT: usize = limits::EVENTS_PER_REQUEST;

    fn parse<'a>(input: &'a [u8], previous: &mut u64) -> Parsed<'a, Self> {
        let (rest, flags) = byte(input)?;
        let (rest, trigger) = match flags & TRIGGER {
            TRIGGER_EPT_HOOK if flags & ONE_LEAF == 0 => {
                let (rest, address) = difference(*previous)(rest)?;
                *previous = address;
                let address = GuestVirtual(address);
                (rest, Trigger::EptHook { address })
            }
            TRIGGER_CPUID => {
                let (rest, leaf) = when(flags & ONE_LEAF != 0, narrow, rest)?;
                (rest, Trigger::Cpuid { leaf })
            }
            _ => return reject(input),
        };
        let (rest, pid) = when(flags & ONE_PID != 0, narrow, rest)?;
        let (rest, core) = when(flags & ONE_CORE != 0, narrow, rest)?;
        let core = core.map(CoreId);
        let (rest, bits) = when(flags & OTHER_ACTIONS != 0, byte, rest)?;
        let actions = match bits.map(Actions::from_bits) {
            None => Actions::BREAK,
            Some(Some(actions)) if actions != Actions::BREAK => actions,
            Some(_) => return reject(input),
        };
        Ok((
            rest,
            Self {
                trigger,
                filter: Filter { pid, core },
                actions,
            },
        ))
    }

    fn write(&self, out: &mut Writer<'_>, previous: &mut u64) -> Result<(), EncodeError> {
        let Filter { pid, core } = self.filter;
        let mut flags = match self.trigger {
            Trigger::EptHook { .. } => TRIGGER_EPT_HOOK,
            Trigger::Cpuid { leaf: None } => TRIGGER_CPUID,
            Trigger::Cpuid { leaf: Some(_) } => TRIGGER_CPUID | ONE_LEAF,
        };
        for (bit, present) in [
            (ONE_PID, pid.is_some()),
            (ONE_CORE, core.is_some()),
            (OTHER_ACTIONS, self.actions != Actions::BREAK),
        ] {
            flags |= if present { bit } else { 0 };
        }
        out.byte(flags)?;
        match self.trigger {
            Trigger::EptHook { address } => {
                out.difference(address.0, *previous)?;
                *previous = address.0;
            }
            Trigger::Cpuid { leaf: Some(leaf) } => out.varint(leaf)?,
            Trigger::Cpuid { leaf: None } => {}
        }
        if let Some(pid) = pid {
            out.varint(pid)?;
        }
        if let Some(core) = core {
            out.varint(core.0)?;
        }
        if self.actions == Actions::BREAK {
            Ok(())
        } else {
            out.byte(self.actions.bits())
        }
    }
}

/// An even number is twice the event's; 1 comes before a refusal.
impl Item for Result<EventId, Refusal> {
    const LIMIT: usize = limits::EVENTS_PER_REQUEST;

    fn parse<'a>(input: &'a [u8], previous: &mut u64) -> Parsed<'a, Self> {
        let (rest, head) = codec::varint(input)?;
        if head == 1 {
            let (rest, refusal) = refusal::parse(*previous, rest)?;
            return Ok((rest, Err(refusal)));
        }
        match u32::try_from(head >> 1) {
            Ok(event) if head & 1 == 0 => Ok((rest, Ok(EventId(event)))),
            _ => reject(input),
        }
    }

    fn write(&self, out: &mut Writer<'_>, previous: &mut u64) -> Result<(), EncodeError> {
        match self {
            Ok(event) => out.varint(u64::from(event.0) << 1),
            Err(refusal) => {
                out.byte(1)?;
                refusal::write(refusal, *previous, out)
            }
        }
    }
}

impl Item for EventEntry {
    const LIMIT: usize = limits::EVENTS_PER_REPLY;

    fn parse<'a>(input: &'a [u8], previous: &mut u64) -> Parsed<'a, Self> {
        let (rest, (id, enabled)) = {
            let (rest, head) = codec::varint(input)?;
            match u32::try_from(head >> 1) {
                Ok(id) => (rest, (EventId(id), head & 1 != 0)),
                Err(_) => return reject(input),
            }
        };
        let (rest, spec) = EventSpec::parse(rest, previous)?;
        let (rest, hits) = codec::varint(rest)?;
        Ok((
            rest,
            Self {
                id,
                spec,
                enabled,
                hits,
            },
        ))
    }

    fn write(&self, out: &mut Writer<'_>, previous: &mut u64) -> Result<(), EncodeError> {
        write_settings(self, out, previous)?;
        out.varint(self.hits)
    }
}

/// All of an entry that only the host can change.
fn write_settings(
    entry: &EventEntry,
    out: &mut Writer<'_>,
    previous: &mut u64,
) -> Result<(), EncodeError> {
    out.varint(u64::from(entry.id.0) << 1 | u64::from(entry.enabled))?;
    entry.spec.write(out, previous)
}

/// Sixteen bits that change when an event is added, cleared, enabled or disabled. The host keeps
/// its own list of events and compares; hits do not count. Entries come in ascending order of
/// number.
#[must_use]
pub fn events_digest(entries: impl IntoIterator<Item = EventEntry>) -> u16 {
    let mut crc = Crc32::new();
    for entry in entries {
        let mut settings = [0; 32];
        let mut out = Writer::new(&mut settings);
        // The longest entry takes 25 bytes, so this cannot fail.
        let _ = write_settings(&entry, &mut out, &mut 0);
        crc.update(out.written());
    }
    let sum = crc.finish();
    (sum ^ sum >> 16) as u16
}

pub(crate) fn write_add(
    core: CoreId,
    all_or_nothing: bool,
    events: &EventSpecs<'_>,
    base: u64,
    out: &mut Writer<'_>,
) -> Result<(), EncodeError> {
    out.varint(core.0)?;
    out.varint((events.len() as u64) << 1 | u64::from(all_or_nothing))?;
    events.write_items(base, out)
}

pub(crate) fn parse_add(base: u64, input: &[u8]) -> Parsed<'_, Request<'_>> {
    let (rest, core) = narrow(input)?;
    let (rest, head) = narrow::<u16>(rest)?;
    let (rest, events) = EventSpecs::parse_items(head >> 1, base, rest)?;
    Ok((
        rest,
        Request::AddEvents {
            core: CoreId(core),
            all_or_nothing: head & 1 != 0,
            events,
        },
    ))
}

const CHANGE: u8 = 0x0f;
const ONE_EVENT: u8 = 0x10;

pub(crate) fn write_change(
    change: EventChange,
    event: Option<EventId>,
    out: &mut Writer<'_>,
) -> Result<(), EncodeError> {
    let number = match change {
        EventChange::Enable => 0,
        EventChange::Disable => 1,
        EventChange::Clear => 2,
    };
    match event {
        Some(event) => {
            out.byte(number | ONE_EVENT)?;
            out.varint(event.0)
        }
        None => out.byte(number),
    }
}

pub(crate) fn parse_change(input: &[u8]) -> Parsed<'_, Request<'_>> {
    let (rest, flags) = byte(input)?;
    let change = match flags & CHANGE {
        _ if flags & !(CHANGE | ONE_EVENT) != 0 => return reject(input),
        0 => EventChange::Enable,
        1 => EventChange::Disable,
        2 => EventChange::Clear,
        _ => return reject(input),
    };
    let (rest, event) = when(flags & ONE_EVENT != 0, narrow, rest)?;
    let event = event.map(EventId);
    Ok((rest, Request::ChangeEvents { change, event }))
}

pub(crate) fn write_list(from: EventId, out: &mut Writer<'_>) -> Result<(), EncodeError> {
    out.varint(from.0)
}

pub(crate) fn parse_list(input: &[u8]) -> Parsed<'_, Request<'_>> {
    let (rest, from) = narrow(input)?;
    let from = EventId(from);
    Ok((rest, Request::ListEvents { from }))
}

fn write_after(free: &FreeCounts, digest: u16, out: &mut Writer<'_>) -> Result<(), EncodeError> {
    out.varint(free.regular_events)?;
    out.varint(free.big_events)?;
    out.varint(free.ept_hooks)?;
    out.bytes(&digest.to_le_bytes())
}

fn parse_after(input: &[u8]) -> Parsed<'_, (FreeCounts, u16)> {
    let (rest, regular_events) = narrow(input)?;
    let (rest, big_events) = narrow(rest)?;
    let (rest, ept_hooks) = narrow(rest)?;
    let (rest, digest) = fixed_u16(rest)?;
    let free = FreeCounts {
        regular_events,
        big_events,
        ept_hooks,
    };
    Ok((rest, (free, digest)))
}

pub(crate) fn write_added(
    results: &AddResults<'_>,
    free: &FreeCounts,
    digest: u16,
    base: u64,
    out: &mut Writer<'_>,
) -> Result<(), EncodeError> {
    results.write(base, out)?;
    write_after(free, digest, out)
}

pub(crate) fn parse_added(base: u64, input: &[u8]) -> Parsed<'_, Reply<'_>> {
    let (rest, results) = AddResults::parse(base)(input)?;
    let (rest, (free, digest)) = parse_after(rest)?;
    Ok((
        rest,
        Reply::EventsAdded {
            results,
            free,
            digest,
        },
    ))
}

pub(crate) fn write_changed(
    count: u32,
    free: &FreeCounts,
    digest: u16,
    out: &mut Writer<'_>,
) -> Result<(), EncodeError> {
    out.varint(count)?;
    write_after(free, digest, out)
}

pub(crate) fn parse_changed(input: &[u8]) -> Parsed<'_, Reply<'_>> {
    let (rest, count) = narrow(input)?;
    let (rest, (free, digest)) = parse_after(rest)?;
    Ok((
        rest,
        Reply::EventsChanged {
            count,
            free,
            digest,
        },
    ))
}

#[cfg(test)]
mod tests;
