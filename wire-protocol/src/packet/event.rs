//! Adding, changing and listing events. Requests are made by the host and answered by the driver
//! while the debuggee is halted.

mod spec;
mod trigger;

use crate::address::{CoreId, EventId};
use crate::codec::{self, EncodeError, Parsed, Writer, byte, fixed_u16, narrow, reject, when};
use crate::crc::Crc32;
use crate::event::{
    EventChange, EventEntry, EventSpec, FreeCounts, PoolClass, Selection, Standing,
};
use crate::limits;
use crate::packet::list::{Item, List};
use crate::packet::refusal;
use crate::refusal::Refusal;

/// Bytes of the longest entry without its hits.
const LONGEST_ENTRY_BYTES: usize = 80;

/// Events of one request, still encoded; the parser has checked every one.
pub type EventSpecs<'a> = List<'a, EventSpec<'a>>;

/// One result per event of a request, still encoded.
pub type AddResults<'a> = List<'a, Result<EventId, Refusal>>;

/// Installed events in ascending order of number, still encoded.
pub type EventEntries<'a> = List<'a, EventEntry>;

/// An even number is twice the event's; 1 comes before a refusal.
impl<'a> Item<'a> for Result<EventId, Refusal> {
    const LIMIT: usize = limits::EVENTS_PER_REQUEST;

    fn parse(input: &'a [u8], previous: &mut u64) -> Parsed<'a, Self> {
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

impl<'a> Item<'a> for EventEntry {
    const LIMIT: usize = limits::EVENTS_PER_REPLY;

    fn parse(input: &'a [u8], previous: &mut u64) -> Parsed<'a, Self> {
        let (rest, head) = codec::varint(input)?;
        let Ok(id) = u32::try_from(head >> 1) else {
            return reject(input);
        };
        let (rest, (settings, sizes)) = spec::parse_entry(rest, previous)?;
        let (rest, standing) = codec::one_of(Standing::from_wire, rest)?;
        let (rest, hits) = codec::varint(rest)?;
        Ok((
            rest,
            Self {
                id: EventId(id),
                settings,
                sizes,
                enabled: head & 1 != 0,
                standing,
                hits,
            },
        ))
    }

    fn write(&self, out: &mut Writer<'_>, previous: &mut u64) -> Result<(), EncodeError> {
        write_settings(self, out, previous)?;
        out.byte(self.standing.to_wire())?;
        out.varint(self.hits)
    }
}

/// All of an entry that only the host can change; what it hooks changes by itself.
fn write_settings(
    entry: &EventEntry,
    out: &mut Writer<'_>,
    previous: &mut u64,
) -> Result<(), EncodeError> {
    out.varint(u64::from(entry.id.0) << 1 | u64::from(entry.enabled))?;
    spec::write_entry(&entry.settings, &entry.sizes, out, previous)
}

/// Sixteen bits that change when an event is added, cleared, enabled or disabled. The host keeps
/// its own list of events and compares; hits and standings do not count. Entries come in ascending order of
/// number.
#[must_use]
pub fn events_digest(entries: impl IntoIterator<Item = EventEntry>) -> u16 {
    let mut crc = Crc32::new();
    for entry in entries {
        let mut settings = [0; LONGEST_ENTRY_BYTES];
        let mut out = Writer::new(&mut settings);
        // There is room, so this cannot fail for settings that fit together.
        let _ = write_settings(&entry, &mut out, &mut 0);
        crc.update(out.written());
    }
    let sum = crc.finish();
    ((sum ^ sum >> 16) & 0xffff) as u16
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

pub(crate) fn parse_add(base: u64, input: &[u8]) -> Parsed<'_, (CoreId, bool, EventSpecs<'_>)> {
    let (rest, core) = narrow(input)?;
    let (rest, head) = narrow::<u16>(rest)?;
    let (rest, events) = EventSpecs::parse_items(head >> 1, base, rest)?;
    Ok((rest, (CoreId(core), head & 1 != 0, events)))
}

const CHANGE: u8 = 0x0f;
const ONE_EVENT: u8 = 0x10;
const BREAKPOINTS: u8 = 0x20;

pub(crate) fn write_change(
    change: EventChange,
    which: Selection,
    out: &mut Writer<'_>,
) -> Result<(), EncodeError> {
    let number = match change {
        EventChange::Enable => 0,
        EventChange::Disable => 1,
        EventChange::Clear => 2,
    };
    match which {
        Selection::One(event) => {
            out.byte(number | ONE_EVENT)?;
            out.varint(event.0)
        }
        Selection::Events => out.byte(number),
        Selection::Breakpoints => out.byte(number | BREAKPOINTS),
    }
}

pub(crate) fn parse_change(input: &[u8]) -> Parsed<'_, (EventChange, Selection)> {
    let (rest, flags) = byte(input)?;
    let change = match flags & CHANGE {
        0 => EventChange::Enable,
        1 => EventChange::Disable,
        2 => EventChange::Clear,
        _ => return reject(input),
    };
    let (rest, which) = match flags & !CHANGE {
        0 => (rest, Selection::Events),
        BREAKPOINTS => (rest, Selection::Breakpoints),
        ONE_EVENT => {
            let (rest, event) = narrow(rest)?;
            (rest, Selection::One(EventId(event)))
        }
        _ => return reject(input),
    };
    Ok((rest, (change, which)))
}

pub(crate) fn write_list(from: EventId, out: &mut Writer<'_>) -> Result<(), EncodeError> {
    out.varint(from.0)
}

pub(crate) fn parse_list(input: &[u8]) -> Parsed<'_, EventId> {
    let (rest, from) = narrow(input)?;
    let from = EventId(from);
    Ok((rest, from))
}

/// Free counts are a bit for each class concerned, then their counts.
fn write_after(free: &FreeCounts, digest: u16, out: &mut Writer<'_>) -> Result<(), EncodeError> {
    let concerned = free.iter().fold(0, |bits, (class, _)| bits | bit(class));
    out.byte(concerned)?;
    free.iter().try_for_each(|(_, count)| out.varint(count))?;
    out.bytes(&digest.to_le_bytes())
}

const fn bit(class: PoolClass) -> u8 {
    1 << class.to_wire()
}

fn parse_after(input: &[u8]) -> Parsed<'_, (FreeCounts, u16)> {
    let (mut rest, concerned) = byte(input)?;
    let mut free = FreeCounts::default();
    for class in PoolClass::ALL {
        let (after, count) = when(concerned & bit(class) != 0, narrow, rest)?;
        free = count.map_or(free, |count| free.with(class, count));
        rest = after;
    }
    let (rest, digest) = fixed_u16(rest)?;
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

pub(crate) fn parse_added(
    base: u64,
    input: &[u8],
) -> Parsed<'_, (AddResults<'_>, FreeCounts, u16)> {
    let (rest, results) = AddResults::parse(base)(input)?;
    let (rest, (free, digest)) = parse_after(rest)?;
    Ok((rest, (results, free, digest)))
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

pub(crate) fn parse_changed(input: &[u8]) -> Parsed<'_, (u32, FreeCounts, u16)> {
    let (rest, count) = narrow(input)?;
    let (rest, (free, digest)) = parse_after(rest)?;
    Ok((rest, (count, free, digest)))
}

#[cfg(test)]
mod tests;
