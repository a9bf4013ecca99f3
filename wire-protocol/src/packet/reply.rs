//! [`Reply`]: what the debuggee answers. One match writes it, one match reads it; each family's
//! file knows its own bodies.

use crate::address::{GuestPhysical, GuestVirtual};
use crate::codec::{EncodeError, Parsed, Writer};
#[cfg(doc)]
use crate::event::PoolLine;
use crate::event::{FreeCounts, Programs};
#[cfg(doc)]
use crate::packet::events_digest;
use crate::packet::{
    AddResults, CoreStates, EventEntries, Failure, GlobalOffsets, Hello, MessageCounts, PoolLines,
    RegisterValues, event, kind, memory, messages, pool, program, refusal, register, system,
};
use crate::refusal::Refusal;
use crate::register::RegisterSet;

/// Every kind of list in a reply is kept encoded and read by an iterator: nothing is allocated.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Reply<'a> {
    /// See [`Hello`].
    Hello(Hello<'a>),
    /// Carried out.
    Done,
    /// Nothing was changed.
    Refused(Refusal),
    /// One state per core, in order.
    Cores(CoreStates<'a>),
    /// Values of the set, in ascending order of register number.
    Registers {
        /// Which.
        set: RegisterSet,
        /// Their values.
        values: RegisterValues<'a>,
    },
    /// Memory as it is; `bytes` may be shorter than asked for: it ends at the first page that is
    /// not present (never empty: then the reply is a refusal).
    Memory {
        /// Length once unpacked.
        len_bytes: u32,
        /// `bytes` are what [`crate::pack`] made.
        compressed: bool,
        /// The content.
        bytes: &'a [u8],
    },
    /// The memory has the digest that the host named.
    MemoryAsExpected,
    /// Translation, with the size of the page it stands in.
    Physical {
        /// The address.
        address: GuestPhysical,
        /// 4 KiB, 2 MiB or 1 GiB.
        page_bytes: u64,
    },
    /// One result per event, in order.
    EventsAdded {
        /// Number given to it, or why not.
        results: AddResults<'a>,
        /// What is left.
        free: FreeCounts,
        /// See [`events_digest`].
        digest: u16,
    },
    /// How many were concerned.
    EventsChanged {
        /// Events concerned.
        count: u32,
        /// What is left.
        free: FreeCounts,
        /// See [`events_digest`].
        digest: u16,
    },
    /// All installed events.
    Events(EventEntries<'a>),
    /// What an event runs.
    EventPrograms(Programs<'a>),
    /// Carved from the arena at once.
    Carved {
        /// Objects that are ready now because of this request.
        ready: u32,
        /// Objects queued for the replenisher: ready after the next `g`.
        queued: u32,
        /// Free objects of the class now.
        free: u32,
        /// Arena bytes left.
        arena_left_bytes: u64,
    },
    /// One line per class, and the arena.
    Pools {
        /// See [`PoolLine`].
        lines: PoolLines<'a>,
        /// Bytes of the arena carved so far, by pools and by the hypervisor's own tables and stacks.
        arena_carved_bytes: u64,
        /// Bytes left.
        arena_left_bytes: u64,
    },
    /// Where the variables are, in the order of the request.
    GlobalsDefined(GlobalOffsets<'a>),
    /// The program ran.
    ScriptRan {
        /// The value that it ended with; 0 if it has none or was ended.
        value: u64,
        /// Why it was ended, if it was. What it did until then is done.
        failure: Option<Failure>,
    },
    /// See [`MessageCounts`].
    MessageCounts(MessageCounts),
    /// XXH64, seed 0.
    Digest(u64),
}

impl<'a> Reply<'a> {
    /// Writes the whole message. `id` is that of the request; `base` is the kernel base once the
    /// handshake is over, 0 before.
    ///
    /// # Errors
    /// It does not fit, or holds more than [`crate::limits`] allows.
    pub fn encode(
        &self,
        id: u8,
        base: GuestVirtual,
        out: &mut Writer<'_>,
    ) -> Result<(), EncodeError> {
        let base = base.0;
        out.byte(self.kind())?;
        out.byte(id)?;
        match self {
            Self::Hello(hello) => system::write_hello(hello, out),
            Self::Done | Self::MemoryAsExpected => Ok(()),
            Self::Refused(refusal) => refusal::write(refusal, base, out),
            Self::Cores(states) => states.write(base, out),
            Self::Registers { set, values } => register::write_values(*set, values, out),
            Self::Memory {
                len_bytes,
                compressed,
                bytes,
            } => memory::write_content(*len_bytes, *compressed, bytes, out),
            Self::Physical {
                address,
                page_bytes,
            } => memory::write_physical(*address, *page_bytes, out),
            Self::EventsAdded {
                results,
                free,
                digest,
            } => event::write_added(results, free, *digest, base, out),
            Self::EventsChanged {
                count,
                free,
                digest,
            } => event::write_changed(*count, free, *digest, out),
            Self::Events(entries) => entries.write(base, out),
            Self::EventPrograms(programs) => program::write_programs(programs, out),
            Self::Carved {
                ready,
                queued,
                free,
                arena_left_bytes,
            } => pool::write_carved(*ready, *queued, *free, *arena_left_bytes, out),
            Self::Pools {
                lines,
                arena_carved_bytes,
                arena_left_bytes,
            } => pool::write_pools(lines, *arena_carved_bytes, *arena_left_bytes, out),
            Self::Digest(digest) => memory::write_digest(*digest, out),
            Self::GlobalsDefined(offsets) => offsets.write(0, out),
            Self::ScriptRan { value, failure } => program::write_ran(*value, failure.as_ref(), out),
            Self::MessageCounts(counts) => messages::write_counts(counts, out),
        }
    }

    fn kind(&self) -> u8 {
        match self {
            Self::Hello(_) => kind::HELLO,
            Self::Done => kind::DONE,
            Self::Refused(_) => kind::REFUSED,
            Self::Cores(_) => kind::CORES,
            Self::Registers { .. } => kind::REGISTERS,
            Self::Memory { .. } => kind::MEMORY,
            Self::MemoryAsExpected => kind::MEMORY_AS_EXPECTED,
            Self::Physical { .. } => kind::PHYSICAL,
            Self::EventsAdded { .. } => kind::ADD_EVENTS,
            Self::EventsChanged { .. } => kind::CHANGE_EVENTS,
            Self::Events(_) => kind::EVENTS,
            Self::EventPrograms(_) => kind::EVENT_PROGRAMS,
            Self::Carved { .. } => kind::PREALLOC,
            Self::Pools { .. } => kind::POOLS,
            Self::Digest(_) => kind::DIGEST,
            Self::GlobalsDefined(_) => kind::DEFINE_GLOBALS,
            Self::ScriptRan { .. } => kind::RUN_SCRIPT,
            Self::MessageCounts(_) => kind::MESSAGE_COUNTS,
        }
    }

    /// `None`: no reply has that number.
    pub(crate) fn parse(kind: u8, base: u64, body: &'a [u8]) -> Option<Parsed<'a, Self>> {
        Some(match kind {
            kind::HELLO => system::parse_hello(body),
            kind::DONE => Ok((body, Self::Done)),
            kind::REFUSED => {
                refusal::parse(base, body).map(|(rest, refusal)| (rest, Self::Refused(refusal)))
            }
            kind::CORES => {
                CoreStates::parse(base)(body).map(|(rest, states)| (rest, Self::Cores(states)))
            }
            kind::REGISTERS => register::parse_values(body),
            kind::MEMORY => memory::parse_content(body),
            kind::MEMORY_AS_EXPECTED => Ok((body, Self::MemoryAsExpected)),
            kind::PHYSICAL => memory::parse_physical(body),
            kind::ADD_EVENTS => event::parse_added(base, body),
            kind::CHANGE_EVENTS => event::parse_changed(body),
            kind::EVENTS => {
                EventEntries::parse(base)(body).map(|(rest, entries)| (rest, Self::Events(entries)))
            }
            kind::EVENT_PROGRAMS => program::parse_programs(body),
            kind::PREALLOC => pool::parse_carved(body),
            kind::POOLS => pool::parse_pools(body),
            kind::DIGEST => memory::parse_digest(body),
            kind::DEFINE_GLOBALS => program::parse_defined(body),
            kind::RUN_SCRIPT => program::parse_ran(body),
            kind::MESSAGE_COUNTS => messages::parse_counts(body),
            _ => return None,
        })
    }
}
