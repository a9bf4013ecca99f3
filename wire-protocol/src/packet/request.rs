//! [`Request`]: what the host asks for. One match writes it, one match reads it; each family's
//! file knows its own bodies.

use crate::address::{CoreId, EventId, GuestPhysical, GuestVirtual};
use crate::branch::BranchOrder;
use crate::codec::{EncodeError, Parsed, Writer, boolean, made, whole};
use crate::digest::Digest;
use crate::event::{EventChange, PoolClass, Selection};
#[cfg(doc)]
use crate::limits;
#[cfg(doc)]
use crate::packet::Reply;
use crate::packet::kind::RequestKind;
use crate::packet::system::Spoken;
use crate::packet::{
    EventSpecs, Features, GlobalNames, MemoryAt, OccasionRules, StepOrder, TaskSelection, branch,
    event, memory, pool, program, register, step, system, task,
};
use crate::refusal::Refusal;
use crate::register::{Register, RegisterSet};

/// Why a message is no request here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RequestError {
    /// It ends before its head does.
    Truncated,
    /// No request has that number: the host is newer.
    Unknown {
        /// The number.
        kind: u8,
        /// The request's id.
        id: u8,
    },
    /// The body is not one that this version writes.
    Malformed {
        /// The number.
        kind: u8,
        /// The request's id.
        id: u8,
    },
}

impl RequestError {
    /// How it is answered. A message that is too short to have an id gets 0: every message is
    /// answered.
    #[must_use]
    pub const fn answer(self) -> (u8, Refusal) {
        match self {
            Self::Truncated => (0, Refusal::Malformed),
            Self::Unknown { kind, id } => (id, Refusal::UnknownRequest { kind }),
            Self::Malformed { id, .. } => (id, Refusal::Malformed),
        }
    }
}

/// What the host asks for. Replies in brackets.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Request<'a> {
    /// First message of a session [`Reply::Hello`].
    Hello {
        /// What the host can do.
        features: Features,
    },
    /// The same, of a host whose version is not [`crate::packet::PROTOCOL_VERSION`]; it is refused
    /// [`Refusal::ProtocolVersion`].
    ForeignHello {
        /// Its version.
        version: u16,
        /// What it says in that version's words.
        body: &'a [u8],
    },
    /// Let every core go on [`Reply::Done`].
    Go,
    /// Lets one core execute instructions while all others stay held, or a thread take steps [`Reply::Stepped`], which
    /// comes after [`crate::packet::Notice::Steps`] if there is more to tell than fits. What is delivered in the place of
    /// an instruction of the core counts as one.
    Step(StepOrder),
    /// Every core's place and state [`Reply::Cores`].
    Cores,
    /// Processes or threads, found in the guest's memory [`Reply::Tasks`].
    ListTasks {
        /// Which.
        which: TaskSelection,
        /// Leaves out so many.
        from: u32,
    },
    /// Changes on which occasions the machine halts by itself, all or nothing, and says it of all; with no rule it only says
    /// it [`Reply::Occasions`].
    Occasions {
        /// What is to be otherwise.
        rules: OccasionRules<'a>,
    },
    /// Starts the machine anew, as its reset button does. The reply goes before [`Reply::Done`].
    Restart,
    /// Has the guest's kernel panic once the machine goes on [`Reply::Done`].
    Crash,
    /// Whether what the stop in progress is about takes effect [`Reply::Done`].
    ShortCircuit {
        /// It does not.
        on: bool,
    },
    /// [`Reply::Registers`]
    ReadRegisters {
        /// Whose.
        core: CoreId,
        /// Which.
        set: RegisterSet,
    },
    /// [`Reply::Done`]
    WriteRegister {
        /// Whose.
        core: CoreId,
        /// Which.
        register: Register,
        /// New value.
        value: u64,
    },
    /// [`Reply::Memory`]
    ReadMemory {
        /// Where.
        at: MemoryAt,
        /// At most [`limits::MEMORY_BYTES`].
        len_bytes: u32,
        /// What the host believes is there; if it is, the reply is [`Reply::MemoryAsExpected`].
        expected: Option<Digest>,
    },
    /// All or nothing [`Reply::Done`].
    WriteMemory {
        /// Where.
        at: MemoryAt,
        /// What; at most [`limits::MEMORY_BYTES`].
        bytes: &'a [u8],
    },
    /// `!va2pa` [`Reply::Physical`].
    Translate {
        /// Whose CR3, and whose CR4.
        core: CoreId,
        /// Page tables in the place of those of the core.
        root: Option<GuestPhysical>,
        /// What to translate.
        address: GuestVirtual,
    },
    /// [`Reply::EventsAdded`]
    AddEvents {
        /// Whose address space resolves addresses.
        core: CoreId,
        /// One refusal undoes all; else each stands for itself.
        all_or_nothing: bool,
        /// At most [`limits::EVENTS_PER_REQUEST`].
        events: EventSpecs<'a>,
    },
    /// `events e|d|c` and `be`, `bd`, `bc` [`Reply::EventsChanged`].
    ChangeEvents {
        /// What to do.
        change: EventChange,
        /// With which.
        which: Selection,
    },
    /// What is installed [`Reply::Events`]. A reply holds at most
    /// [`limits::EVENTS_PER_REPLY`]; when it holds that many, the host asks for the rest.
    ListEvents {
        /// Lowest number to list.
        from: EventId,
    },
    /// What an event runs, for a host that did not add it [`Reply::EventPrograms`].
    EventPrograms {
        /// Which event.
        event: EventId,
    },
    /// Carve objects from the arena, at once, without running the guest [`Reply::Carved`].
    Prealloc {
        /// Of which class.
        class: PoolClass,
        /// How many.
        count: u32,
    },
    /// [`Reply::Pools`]
    Pools,
    /// Makes sure that variables exist which all scripts share; asked for again, they are where
    /// they were [`Reply::GlobalsDefined`].
    DefineGlobals(GlobalNames<'a>),
    /// Runs a program once, as if by an event of this core. What it prints comes in
    /// [`crate::packet::Notice::Messages`] before the reply [`Reply::ScriptRan`].
    RunScript {
        /// Whose registers and address space it sees.
        core: CoreId,
        /// At most [`limits::PROGRAM_BYTES`].
        program: &'a [u8],
    },
    /// Throws away what programs printed and nobody was sent. Also while the guest runs
    /// [`Reply::MessageCounts`].
    Flush,
    /// What became of all that was printed. Also while the guest runs [`Reply::MessageCounts`].
    MessageCounts,
    /// Records branches, or does not, on all cores [`Reply::Done`].
    ChangeBranches {
        /// What to do.
        order: BranchOrder,
        /// For [`BranchOrder::Filter`]: see [`crate::branch::filter`].
        filter: u16,
    },
    /// [`Reply::Branches`]
    ReadBranches {
        /// Whose.
        core: CoreId,
    },
    /// XXH64 of physical memory, the debugger's own memory counted as zeroes [`Reply::Digest`].
    DigestMemory {
        /// First byte, page-aligned.
        address: GuestPhysical,
        /// Whole pages, at most [`limits::DIGEST_BYTES`].
        len_bytes: u64,
    },
}

impl<'a> Request<'a> {
    /// Writes the whole message. `base` is the kernel base once the handshake is over, 0 before.
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
        match *self {
            Self::Hello { features } => system::write_hello_request(features, out),
            Self::ForeignHello { version, body } => system::write_foreign_hello(version, body, out),
            Self::Go
            | Self::Cores
            | Self::Restart
            | Self::Crash
            | Self::Pools
            | Self::Flush
            | Self::MessageCounts => Ok(()),
            Self::Occasions { rules } => rules.write(base, out),
            Self::ShortCircuit { on } => out.byte(u8::from(on)),
            Self::Step(order) => step::write_step(&order, base, out),
            Self::ReadRegisters { core, set } => register::write_read(core, set, out),
            Self::WriteRegister {
                core,
                register,
                value,
            } => register::write_write(core, register, value, out),
            Self::ReadMemory {
                at,
                len_bytes,
                expected,
            } => memory::write_read(at, len_bytes, expected, base, out),
            Self::WriteMemory { at, bytes } => memory::write_write(at, bytes, base, out),
            Self::Translate {
                core,
                root,
                address,
            } => memory::write_translate(core, root, address, base, out),
            Self::ListTasks { which, from } => task::write_list(which, from, base, out),
            Self::DigestMemory { address, len_bytes } => {
                memory::write_digest_request(address, len_bytes, out)
            }
            Self::AddEvents {
                core,
                all_or_nothing,
                events,
            } => event::write_add(core, all_or_nothing, &events, base, out),
            Self::ChangeEvents { change, which } => event::write_change(change, which, out),
            Self::ListEvents { from } => event::write_list(from, out),
            Self::EventPrograms { event } => event::write_list(event, out),
            Self::Prealloc { class, count } => pool::write_prealloc(class, count, out),
            Self::ChangeBranches { order, filter } => branch::write_change(order, filter, out),
            Self::ReadBranches { core } => branch::write_read(core, out),
            Self::DefineGlobals(names) => names.write(0, out),
            Self::RunScript { core, program } => program::write_run(core, program, out),
        }
    }

    /// Reads a whole message: its id, and what is asked for.
    ///
    /// # Errors
    /// The number is unknown, or the body is not one that [`Self::encode`] writes.
    pub fn decode(message: &'a [u8], base: GuestVirtual) -> Result<(u8, Self), RequestError> {
        let &[kind, id, ref body @ ..] = message else {
            return Err(RequestError::Truncated);
        };
        let known = RequestKind::from_wire(kind).ok_or(RequestError::Unknown { kind, id })?;
        whole(Self::parse(known, base.0, body))
            .map(|request| (id, request))
            .ok_or(RequestError::Malformed { kind, id })
    }

    fn parse(kind: RequestKind, base: u64, body: &'a [u8]) -> Parsed<'a, Self> {
        match kind {
            RequestKind::Hello => made(system::parse_hello_request(body), |spoken| match spoken {
                Spoken::Ours(features) => Self::Hello { features },
                Spoken::Foreign { version, body } => Self::ForeignHello { version, body },
            }),
            RequestKind::Go => Ok((body, Self::Go)),
            RequestKind::Cores => Ok((body, Self::Cores)),
            RequestKind::Occasions => made(OccasionRules::parse(base)(body), |rules| {
                Self::Occasions { rules }
            }),
            RequestKind::Restart => Ok((body, Self::Restart)),
            RequestKind::Crash => Ok((body, Self::Crash)),
            RequestKind::Step => made(step::parse_step(base, body), Self::Step),
            RequestKind::ShortCircuit => {
                boolean(body).map(|(rest, on)| (rest, Self::ShortCircuit { on }))
            }
            RequestKind::ReadRegisters => made(register::parse_read(body), |(core, set)| {
                Self::ReadRegisters { core, set }
            }),
            RequestKind::WriteRegister => {
                made(register::parse_write(body), |(core, register, value)| {
                    Self::WriteRegister {
                        core,
                        register,
                        value,
                    }
                })
            }
            RequestKind::ReadMemory => made(
                memory::parse_read(base, body),
                |(at, len_bytes, expected)| Self::ReadMemory {
                    at,
                    len_bytes,
                    expected,
                },
            ),
            RequestKind::WriteMemory => made(memory::parse_write(base, body), |(at, bytes)| {
                Self::WriteMemory { at, bytes }
            }),
            RequestKind::Translate => made(
                memory::parse_translate(base, body),
                |(core, root, address)| Self::Translate {
                    core,
                    root,
                    address,
                },
            ),
            RequestKind::ListTasks => made(task::parse_list(base, body), |(which, from)| {
                Self::ListTasks { which, from }
            }),
            RequestKind::DigestMemory => made(
                memory::parse_digest_request(body),
                |(address, len_bytes)| Self::DigestMemory { address, len_bytes },
            ),
            RequestKind::AddEvents => made(
                event::parse_add(base, body),
                |(core, all_or_nothing, events)| Self::AddEvents {
                    core,
                    all_or_nothing,
                    events,
                },
            ),
            RequestKind::ChangeEvents => made(event::parse_change(body), |(change, which)| {
                Self::ChangeEvents { change, which }
            }),
            RequestKind::ListEvents => {
                made(event::parse_list(body), |from| Self::ListEvents { from })
            }
            RequestKind::EventPrograms => made(program::parse_of_event(body), |event| {
                Self::EventPrograms { event }
            }),
            RequestKind::Prealloc => made(pool::parse_prealloc(body), |(class, count)| {
                Self::Prealloc { class, count }
            }),
            RequestKind::Pools => Ok((body, Self::Pools)),
            RequestKind::DefineGlobals => made(program::parse_define(body), Self::DefineGlobals),
            RequestKind::RunScript => made(program::parse_run(body), |(core, program)| {
                Self::RunScript { core, program }
            }),
            RequestKind::ChangeBranches => made(branch::parse_change(body), |(order, filter)| {
                Self::ChangeBranches { order, filter }
            }),
            RequestKind::ReadBranches => {
                made(branch::parse_read(body), |core| Self::ReadBranches { core })
            }
            RequestKind::Flush => Ok((body, Self::Flush)),
            RequestKind::MessageCounts => Ok((body, Self::MessageCounts)),
        }
    }

    const fn kind(&self) -> RequestKind {
        match self {
            Self::Hello { .. } | Self::ForeignHello { .. } => RequestKind::Hello,
            Self::Go => RequestKind::Go,
            Self::Cores => RequestKind::Cores,
            Self::Occasions { .. } => RequestKind::Occasions,
            Self::Restart => RequestKind::Restart,
            Self::Crash => RequestKind::Crash,
            Self::Step(_) => RequestKind::Step,
            Self::ShortCircuit { .. } => RequestKind::ShortCircuit,
            Self::ReadRegisters { .. } => RequestKind::ReadRegisters,
            Self::WriteRegister { .. } => RequestKind::WriteRegister,
            Self::ReadMemory { .. } => RequestKind::ReadMemory,
            Self::WriteMemory { .. } => RequestKind::WriteMemory,
            Self::ListTasks { .. } => RequestKind::ListTasks,
            Self::Translate { .. } => RequestKind::Translate,
            Self::DigestMemory { .. } => RequestKind::DigestMemory,
            Self::AddEvents { .. } => RequestKind::AddEvents,
            Self::ChangeEvents { .. } => RequestKind::ChangeEvents,
            Self::ListEvents { .. } => RequestKind::ListEvents,
            Self::EventPrograms { .. } => RequestKind::EventPrograms,
            Self::Prealloc { .. } => RequestKind::Prealloc,
            Self::DefineGlobals(_) => RequestKind::DefineGlobals,
            Self::RunScript { .. } => RequestKind::RunScript,
            Self::ChangeBranches { .. } => RequestKind::ChangeBranches,
            Self::ReadBranches { .. } => RequestKind::ReadBranches,
            Self::Flush => RequestKind::Flush,
            Self::MessageCounts => RequestKind::MessageCounts,
            Self::Pools => RequestKind::Pools,
        }
    }
}
