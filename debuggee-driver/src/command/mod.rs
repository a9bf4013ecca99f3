//! One request from the host, answered while everything stands still.
//!
//! Called by `halt::serve`. [`answer`] is one match; the handlers stand in files named like the
//! packet families of `wire-protocol`.

pub mod branch;
pub mod event;
pub mod meeting;
pub mod memory;
pub mod messages;
pub mod occasion;
pub mod register;
pub mod run;
pub mod script;
pub mod step;
pub mod system;
pub mod task;

use crate::port::{Cpu, Ports};
use crate::shared::{Halt, Shared, Writer};
use wire_protocol::packet::{Features, NetworkCounts, Reply, Request, StepOrder, StopCause};
use wire_protocol::refusal::Refusal;

/// What the handlers work with.
pub struct Context<'a, 'r, P: Ports> {
    /// The halt, for proofs and commits.
    pub halt: &'a mut Halt<'r>,
    /// The core that serves.
    pub cpu: &'a mut P::Cpu,
    /// What all cores share.
    pub shared: &'a Shared<P>,
    /// Why the machine was halted.
    pub cause: StopCause,
    /// How it stands with the network, if there is one.
    pub network: Option<NetworkCounts>,
}

impl<P: Ports> Context<'_, '_, P> {
    /// Who writes what the host asks to be written.
    fn writer(&self) -> Writer {
        Writer {
            core: self.halt.owner(),
            tsc: self.cpu.tsc(),
        }
    }
}

/// What the serving loop does after the reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// Wait for the next request.
    Stay,
    /// Let every core go.
    Go,
    /// Start the machine anew.
    Restart,
    /// Let one core execute instructions. The answer comes when it has.
    Step(StepOrder),
}

/// Answers a request. `scratch` holds what the reply borrows.
pub fn answer<'s, P: Ports>(
    request: &Request<'_>,
    context: &mut Context<'_, '_, P>,
    scratch: &'s mut [u8],
) -> (Reply<'s>, Next) {
    let reply = match *request {
        Request::Hello { features } => Ok(hello(context, features, scratch)),
        Request::ForeignHello { .. } => Ok(system::refuse_version()),
        Request::Go => return (Reply::Done, Next::Go),
        Request::Step(order) => match step::check(context, order) {
            Ok(()) => return (Reply::Done, Next::Step(order)),
            Err(refusal) => Err(refusal),
        },
        Request::Cores => run::cores(context, scratch),
        Request::Occasions { rules } => occasion::change(context, &rules, scratch),
        Request::Restart => return (Reply::Done, Next::Restart),
        Request::Crash => {
            context.shared.occasions.ask_for_crash();
            Ok(Reply::Done)
        }
        Request::ShortCircuit { on } => event::short_circuit(context, on),
        Request::ReadRegisters { core, set } => register::read(context, core, set, scratch),
        Request::WriteRegister {
            core,
            register,
            value,
        } => register::write(context, core, register, value),
        Request::ReadMemory {
            at,
            len_bytes,
            expected,
        } => memory::read(context, at, len_bytes, expected, scratch),
        Request::WriteMemory { at, bytes } => memory::write(context, at, bytes),
        Request::Translate {
            core,
            root,
            address,
        } => memory::translate(context, core, root, address),
        Request::ListTasks { which, from } => Ok(task::list(context, which, from, scratch)),
        Request::DigestMemory { address, len_bytes } => memory::digest(context, address, len_bytes),
        Request::AddEvents {
            core,
            all_or_nothing,
            events,
        } => event::add(context, core, all_or_nothing, &events, scratch),
        Request::ChangeEvents { change, which } => event::change(context, change, which),
        Request::ListEvents { from } => event::list(context, from, scratch),
        Request::Prealloc { class, count } => event::prealloc(context, class, count),
        Request::Pools => event::pools(context, scratch),
        Request::ChangeBranches { order, filter } => branch::change(context, order, filter),
        Request::ReadBranches { core } => branch::read(context, core, scratch),
        Request::DefineGlobals(names) => script::define(context.shared, &names, scratch),
        Request::EventPrograms { event } => event::programs(context, event, scratch),
        Request::RunScript { core, program } => script::run(context, core, program, scratch),
        Request::Flush | Request::MessageCounts => {
            Ok(messages::answer(context.shared, request, context.network))
        }
    };
    (reply.unwrap_or_else(Reply::Refused), Next::Stay)
}

/// The handshake of a host that comes, or comes back, while everything stands still.
fn hello<'s, P: Ports>(
    context: &mut Context<'_, '_, P>,
    features: Features,
    scratch: &'s mut [u8],
) -> Reply<'s> {
    let (for_stop, for_ram) = scratch.split_at_mut(scratch.len() / 2);
    let (code, for_hits) = for_stop.split_at_mut(wire_protocol::limits::STOP_CODE_BYTES);
    let stop = run::stop(context, code, for_hits);
    system::hello(context.cpu, context.shared, features, Some(stop), for_ram)
}

/// The refusal for lists that do not fit their buffer; the protocol's limits rule it out.
fn too_long(limit_bytes: usize) -> Refusal {
    Refusal::TooLong {
        limit_bytes: limit_bytes as u64,
        asked_bytes: limit_bytes as u64 + 1,
    }
}
