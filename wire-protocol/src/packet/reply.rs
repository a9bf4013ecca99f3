//! [`Reply`]: what the debuggee answers. One match writes it, one match reads it; each family's
//! file knows its own bodies.

use crate::address::{GuestPhysical, GuestVirtual};
use crate::codec::{EncodeError, Parsed, Writer, made};
#[cfg(doc)]
use crate::event::PoolLine;
use crate::event::{FreeCounts, Programs};
use crate::limits;
use crate::pack::Packing;
#[cfg(doc)]
use crate::packet::events_digest;
use crate::packet::kind::ReplyKind;
use crate::packet::system::Spoken;
use crate::packet::{
    AddResults, Branches, CoreStates, EventEntries, Failure, FoundTasks, GlobalOffsets, Hello,
    MessageCounts, OccasionRules, PoolLines, RegisterValues, Stepped, branch, event, memory,
    messages, pool, program, refusal, register, step, system, task,
};
use crate::refusal::Refusal;
use crate::register::RegisterSet;

/// Every kind of list in a reply is kept encoded and read by an iterator: nothing is allocated.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Reply<'a> {
    /// See [`Hello`].
    Hello(Hello<'a>),
    /// The same, of a debuggee whose version is not [`crate::packet::PROTOCOL_VERSION`].
    ForeignHello {
        /// Its version.
        version: u16,
        /// What it says in that version's words.
        body: &'a [u8],
    },
    /// Carried out.
    Done,
    /// Nothing was changed.
    Refused(Refusal),
    /// One state per core, in order.
    Cores(CoreStates<'a>),
    /// See [`Stepped`].
    Stepped(Stepped<'a>),
    /// See [`FoundTasks`].
    Tasks(FoundTasks<'a>),
    /// On which occasions the machine halts by itself: all, in order.
    Occasions(OccasionRules<'a>),
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
        /// How `bytes` were packed, if they were.
        packing: Option<Packing>,
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
    /// What a core recorded.
    Branches {
        /// It records now.
        is_on: bool,
        /// The newest first.
        branches: Branches<'a>,
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
        out.byte(self.kind().to_wire())?;
        out.byte(id)?;
        match self {
            Self::Hello(hello) => system::write_hello(hello, out),
            Self::ForeignHello { version, body } => {
                system::write_foreign_hello(*version, body, out)
            }
            Self::Done | Self::MemoryAsExpected => Ok(()),
            Self::Refused(refusal) => refusal::write(refusal, base, out),
            Self::Cores(states) => states.write(base, out),
            Self::Stepped(stepped) => step::write_stepped(stepped, base, out),
            Self::Tasks(found) => task::write_found(found, base, out),
            Self::Occasions(rules) => rules.write(base, out),
            Self::Registers { set, values } => register::write_values(*set, values, out),
            Self::Memory {
                len_bytes,
                packing,
                bytes,
            } => memory::write_content(*len_bytes, *packing, bytes, out),
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
            Self::Branches { is_on, branches } => {
                branch::write_branches(*is_on, branches, base, out)
            }
            Self::MessageCounts(counts) => messages::write_counts(counts, out),
        }
    }

    /// Writes the whole message into a buffer and gives its length. An answer that cannot be
    /// written is replaced by [`Refusal::AnswerLost`]: whoever asks is never left without a word.
    pub fn encode_or_refuse(
        &self,
        id: u8,
        base: GuestVirtual,
        buffer: &mut [u8; limits::MESSAGE_BYTES],
    ) -> usize {
        let mut out = Writer::new(buffer);
        if self.encode(id, base, &mut out).is_ok() {
            return out.len();
        }
        let head = [ReplyKind::Refused.to_wire(), id, refusal::ANSWER_LOST];
        let [first, second, third, ..] = buffer;
        [*first, *second, *third] = head;
        head.len()
    }

    const fn kind(&self) -> ReplyKind {
        match self {
            Self::Hello(_) | Self::ForeignHello { .. } => ReplyKind::Hello,
            Self::Done => ReplyKind::Done,
            Self::Refused(_) => ReplyKind::Refused,
            Self::Cores(_) => ReplyKind::Cores,
            Self::Stepped(_) => ReplyKind::Stepped,
            Self::Tasks(_) => ReplyKind::Tasks,
            Self::Occasions(_) => ReplyKind::Occasions,
            Self::Registers { .. } => ReplyKind::Registers,
            Self::Memory { .. } => ReplyKind::Memory,
            Self::MemoryAsExpected => ReplyKind::MemoryAsExpected,
            Self::Physical { .. } => ReplyKind::Physical,
            Self::EventsAdded { .. } => ReplyKind::EventsAdded,
            Self::EventsChanged { .. } => ReplyKind::EventsChanged,
            Self::Events(_) => ReplyKind::Events,
            Self::EventPrograms(_) => ReplyKind::EventPrograms,
            Self::Carved { .. } => ReplyKind::Carved,
            Self::Pools { .. } => ReplyKind::Pools,
            Self::Digest(_) => ReplyKind::Digest,
            Self::GlobalsDefined(_) => ReplyKind::GlobalsDefined,
            Self::ScriptRan { .. } => ReplyKind::ScriptRan,
            Self::Branches { .. } => ReplyKind::Branches,
            Self::MessageCounts(_) => ReplyKind::MessageCounts,
        }
    }

    pub(super) fn parse(kind: ReplyKind, base: u64, body: &'a [u8]) -> Parsed<'a, Self> {
        match kind {
            ReplyKind::Hello => made(system::parse_hello(body), |spoken| match spoken {
                Spoken::Ours(hello) => Self::Hello(hello),
                Spoken::Foreign { version, body } => Self::ForeignHello { version, body },
            }),
            ReplyKind::Done => Ok((body, Self::Done)),
            ReplyKind::Refused => {
                refusal::parse(base, body).map(|(rest, refusal)| (rest, Self::Refused(refusal)))
            }
            ReplyKind::Cores => {
                CoreStates::parse(base)(body).map(|(rest, states)| (rest, Self::Cores(states)))
            }
            ReplyKind::Stepped => made(step::parse_stepped(base, body), Self::Stepped),
            ReplyKind::Tasks => made(task::parse_found(base, body), Self::Tasks),
            ReplyKind::Occasions => made(OccasionRules::parse(base)(body), Self::Occasions),
            ReplyKind::Registers => made(register::parse_values(body), |(set, values)| {
                Self::Registers { set, values }
            }),
            ReplyKind::Memory => made(
                memory::parse_content(body),
                |(len_bytes, packing, bytes)| Self::Memory {
                    len_bytes,
                    packing,
                    bytes,
                },
            ),
            ReplyKind::MemoryAsExpected => Ok((body, Self::MemoryAsExpected)),
            ReplyKind::Physical => made(memory::parse_physical(body), |(address, page_bytes)| {
                Self::Physical {
                    address,
                    page_bytes,
                }
            }),
            ReplyKind::EventsAdded => {
                made(event::parse_added(base, body), |(results, free, digest)| {
                    Self::EventsAdded {
                        results,
                        free,
                        digest,
                    }
                })
            }
            ReplyKind::EventsChanged => {
                made(event::parse_changed(body), |(count, free, digest)| {
                    Self::EventsChanged {
                        count,
                        free,
                        digest,
                    }
                })
            }
            ReplyKind::Events => {
                EventEntries::parse(base)(body).map(|(rest, entries)| (rest, Self::Events(entries)))
            }
            ReplyKind::EventPrograms => made(program::parse_programs(body), Self::EventPrograms),
            ReplyKind::Carved => made(
                pool::parse_carved(body),
                |(ready, queued, free, arena_left_bytes)| Self::Carved {
                    ready,
                    queued,
                    free,
                    arena_left_bytes,
                },
            ),
            ReplyKind::Pools => made(
                pool::parse_pools(body),
                |(lines, arena_carved_bytes, arena_left_bytes)| Self::Pools {
                    lines,
                    arena_carved_bytes,
                    arena_left_bytes,
                },
            ),
            ReplyKind::Digest => made(memory::parse_digest(body), Self::Digest),
            ReplyKind::GlobalsDefined => made(program::parse_defined(body), Self::GlobalsDefined),
            ReplyKind::ScriptRan => made(program::parse_ran(body), |(value, failure)| {
                Self::ScriptRan { value, failure }
            }),
            ReplyKind::Branches => made(branch::parse_branches(base, body), |(is_on, branches)| {
                Self::Branches { is_on, branches }
            }),
            ReplyKind::MessageCounts => made(messages::parse_counts(body), Self::MessageCounts),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::packet::Message;
    use crate::packet::testing::{BASE, ID};
    use std::boxed::Box;

    fn encoded_or_refused(reply: Reply<'_>) -> std::vec::Vec<u8> {
        let mut buffer = Box::new([0xee; limits::MESSAGE_BYTES]);
        let len = reply.encode_or_refuse(ID, BASE, &mut buffer);
        buffer[..len].to_vec()
    }

    #[test]
    fn an_answer_that_cannot_be_written_is_a_refusal_that_can() {
        let nothing = Reply::Memory {
            len_bytes: 0,
            packing: None,
            bytes: &[],
        };
        let message = encoded_or_refused(nothing);
        let reply = Reply::Refused(Refusal::AnswerLost);
        assert_eq!(message, encoded_or_refused(reply));
        assert_eq!(
            Message::decode(&message, BASE),
            Ok(Message::Reply { id: ID, reply })
        );
    }

    #[test]
    fn an_answer_that_can_be_written_is_itself() {
        assert_eq!(
            encoded_or_refused(Reply::Digest(1)),
            [0x33, ID, 1, 0, 0, 0, 0, 0, 0, 0]
        );
    }
}
