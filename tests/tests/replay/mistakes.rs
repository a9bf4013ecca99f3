//! Handlers that are written otherwise: each is given another request than came, as one changed line at its beginning would
//! do, and one in the dispatch where there is nothing to change in the request.

use wire_protocol::address::{CoreId, EventId, GuestPhysical, GuestVirtual};
use wire_protocol::branch::BranchOrder;
use wire_protocol::codec::Writer;
use wire_protocol::event::EventChange;
use wire_protocol::limits;
use wire_protocol::packet::{Features, GlobalNames, MemoryAt, OccasionRules, Request, StepOrder};
use wire_protocol::register::RegisterSet;

const fn next_core(core: CoreId) -> CoreId {
    CoreId(core.0 + 1)
}

const fn next_event(event: EventId) -> EventId {
    EventId(event.0 + 1)
}

const fn next_byte(at: MemoryAt) -> MemoryAt {
    match at {
        MemoryAt::Virtual { core, address } => MemoryAt::Virtual {
            core,
            address: GuestVirtual(address.0.wrapping_add(1)),
        },
        MemoryAt::Tables { root, address } => MemoryAt::Tables {
            root,
            address: GuestVirtual(address.0.wrapping_add(1)),
        },
        MemoryAt::Physical { address } => MemoryAt::Physical {
            address: GuestPhysical(address.0 + 1),
        },
    }
}

/// What the handler takes the request for.
fn mistaken(request: Request<'_>) -> Request<'_> {
    match request {
        Request::Hello { .. } => Request::Hello {
            features: Features::empty(),
        },
        Request::ForeignHello { .. } => Request::Hello {
            features: Features::empty(),
        },
        Request::Go => Request::Cores,
        Request::Cores => Request::Pools,
        Request::Pools => Request::Cores,
        Request::Flush => Request::MessageCounts,
        Request::MessageCounts => Request::Flush,
        Request::ShortCircuit { on } => Request::ShortCircuit { on: !on },
        Request::Step(StepOrder { core, .. }) => Request::ReadRegisters {
            core,
            set: RegisterSet::ALL,
        },
        Request::ReadRegisters { core, set } => Request::ReadRegisters {
            core: next_core(core),
            set,
        },
        Request::WriteRegister {
            core,
            register,
            value,
        } => Request::WriteRegister {
            core,
            register,
            value: value + 1,
        },
        Request::ReadMemory {
            at,
            len_bytes,
            expected,
        } => Request::ReadMemory {
            at: next_byte(at),
            len_bytes,
            expected,
        },
        Request::WriteMemory { at, bytes } => Request::WriteMemory {
            at: next_byte(at),
            bytes,
        },
        Request::ListTasks { .. } => Request::Pools,
        Request::Occasions { .. } => Request::Occasions {
            rules: OccasionRules::EMPTY,
        },
        Request::Restart | Request::Crash => Request::Pools,
        Request::Translate {
            core,
            root,
            address,
        } => Request::Translate {
            core,
            root,
            address: GuestVirtual(address.0 ^ 0x1000),
        },
        Request::DigestMemory { address, len_bytes } => Request::DigestMemory {
            address: GuestPhysical(address.0 + 0x1000),
            len_bytes,
        },
        Request::AddEvents {
            core,
            all_or_nothing,
            events,
        } => Request::AddEvents {
            core: next_core(core),
            all_or_nothing,
            events,
        },
        Request::ChangeEvents { change, which } => Request::ChangeEvents {
            change: match change {
                EventChange::Enable | EventChange::Clear => EventChange::Disable,
                EventChange::Disable => EventChange::Enable,
            },
            which,
        },
        Request::ListEvents { from } => Request::ListEvents {
            from: next_event(from),
        },
        Request::EventPrograms { event } => Request::EventPrograms {
            event: next_event(event),
        },
        Request::Prealloc { class, count } => Request::Prealloc {
            class,
            count: count + 1,
        },
        Request::DefineGlobals(_) => Request::DefineGlobals(GlobalNames::EMPTY),
        Request::RunScript { core, program } => Request::RunScript {
            core: next_core(core),
            program,
        },
        Request::ChangeBranches { order, filter } => Request::ChangeBranches {
            order: match order {
                BranchOrder::Enable => BranchOrder::Disable,
                BranchOrder::Disable | BranchOrder::Flush | BranchOrder::Filter => {
                    BranchOrder::Enable
                }
            },
            filter,
        },
        Request::ReadBranches { core } => Request::ReadBranches {
            core: next_core(core),
        },
    }
}

/// The name of a request's kind.
pub(crate) fn kind(request: &Request<'_>) -> String {
    let text = format!("{request:?}");
    let end = text.find(|c: char| !c.is_alphanumeric());
    text[..end.unwrap_or(text.len())].to_owned()
}

/// The request that a handler with a mistake takes this one for, if it is of that kind.
pub(crate) fn altered(of: &str, message: &[u8], base: GuestVirtual) -> Option<Vec<u8>> {
    let (id, request) = Request::decode(message, base).ok()?;
    if kind(&request) != of {
        return None;
    }
    let mut bytes = vec![0; limits::MESSAGE_BYTES];
    let mut out = Writer::new(&mut bytes);
    mistaken(request).encode(id, base, &mut out).ok()?;
    Some(out.written().to_vec())
}
