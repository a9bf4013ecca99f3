//! The loop of a halt: poll, decode, answer. Runs on the core that claimed the halt, in VMX-root,
//! with every other core parked.

use super::rest::Rest;
use super::{Halt, Shared, drain, refuse_undecoded, steps};
use crate::command::{self, Context, Next};
use crate::line::Line;
use crate::port::{Cpu, Ports};
use wire_protocol::address::CoreId;
use wire_protocol::limits;
use wire_protocol::link::Incoming;
use wire_protocol::packet::{Notice, Request, StopCause};

/// How a halt ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// All cores go on.
    Go,
    /// This one executes single instructions.
    Step {
        /// Which.
        core: CoreId,
        /// All others stay held.
        is_alone: bool,
    },
}

/// Serves the host until it says go, or wants one core to go on alone.
pub(super) fn serve<P: Ports>(
    halt: &mut Halt<'_>,
    cpu: &mut P::Cpu,
    shared: &Shared<P>,
    cause: StopCause,
) -> Ending {
    let mut context = Context {
        halt,
        cpu,
        shared,
        cause,
        network: None,
    };
    // The polling core has left the line when it checked in; only a core that is missing can hold
    // it, and then there is no way to the host: the guest goes on.
    shared
        .line
        .try_with(|line| serve_line(line, &mut context))
        .unwrap_or(Ending::Go)
}

fn serve_line<P: Ports>(line: &mut Line<P::Transport>, context: &mut Context<'_, '_, P>) -> Ending {
    line.mend();
    command::event::look_at_watches(context);
    drain::before_stop(line, context.shared);
    context.halt.read(|installed| installed.begin_report());
    let mut is_told = announce(line, context);
    let mut rest = Rest::Untried;
    // Ends with the host's `g`. Until then the machine stands still, which is what was asked for.
    let ending = loop {
        let now_us = context.shared.clock.microseconds(context.cpu.tsc());
        match line.turn(now_us) {
            Some(Incoming::Message) => match answer(line, context) {
                Next::Stay => {}
                Next::Go => break Ending::Go,
                Next::Restart => {
                    send_rest(line, context.cpu, context.shared);
                    // What comes back has no way to do it.
                    context.cpu.reset_machine();
                }
                Next::Step(order) => {
                    break Ending::Step {
                        core: order.core,
                        is_alone: order.walk.is_none_or(|walk| walk.is_frozen),
                    };
                }
            },
            // The host does not know of the halt, unless it is just being told.
            Some(Incoming::BreakIn) if line.queued_bytes() == 0 => {
                is_told = announce(line, context);
            }
            // The last two only hosts hear.
            Some(
                Incoming::BreakIn | Incoming::Connected | Incoming::Busy | Incoming::TakenOver,
            ) => {}
            None if is_told => {
                drain::while_halted(line, context.shared);
                rest.rest(line, context);
            }
            None => is_told = announce(line, context),
        }
    };
    rest.end::<P>(line);
    send_rest(line, context.cpu, context.shared);
    ending
}

/// Tells the host that the machine stands still, by the answer to its request for steps if there is one. Before the
/// handshake nothing is sent: its reply reports the halt. False if the line has no room now.
fn announce<P: Ports>(line: &mut Line<P::Transport>, context: &mut Context<'_, '_, P>) -> bool {
    if !line.is_in_session() {
        return true;
    }
    if let Some(is_told) = steps::answer(line, context) {
        return is_told;
    }
    line.send_notice(|lists| {
        let (code, hits) = lists.split_at_mut(lists.len().min(limits::STOP_CODE_BYTES));
        Notice::Stopped(command::run::stop(context, code, hits))
    })
}

fn answer<P: Ports>(line: &mut Line<P::Transport>, context: &mut Context<'_, '_, P>) -> Next {
    let base = line.base;
    let mut base_after = base;
    let mut printed = false;
    context.network = line.network();
    let (message, buffers) = line.received();
    let (len_bytes, next) = match Request::decode(message, base) {
        Ok((id, request)) => {
            printed = matches!(request, Request::RunScript { .. });
            if matches!(request, Request::Hello { .. }) {
                steps::forget_host(context.shared);
                context.shared.occasions.forget_host();
                base_after = context.shared.facts.kernel_base;
            }
            let (reply, next) = command::answer(&request, context, buffers.lists);
            if let Next::Step(order) = next {
                steps::order(context, id, order, base);
            }
            (reply.encode_or_refuse(id, base, buffers.message), next)
        }
        Err(error) => (refuse_undecoded(error, base, buffers), Next::Stay),
    };
    line.release();
    line.base = base_after;
    if printed {
        drain::before_reply(line, context.shared, len_bytes);
    }
    // Steps are answered when they are done. A host that is gone needs no answer; a `g` is carried out all the same.
    if !matches!(next, Next::Step(_)) {
        let _ = line.send_reply(len_bytes);
    }
    next
}

/// Puts the last reply on the line before the guest runs: from then on only sixteen bytes leave
/// with each poll.
pub(super) fn send_rest<P: Ports>(line: &mut Line<P::Transport>, cpu: &P::Cpu, shared: &Shared<P>) {
    let start = cpu.tsc();
    loop {
        let now = cpu.tsc();
        let more = line.transmit(shared.clock.microseconds(now));
        if !more || now.wrapping_sub(start) > shared.clock.timeout_ticks() {
            return;
        }
    }
}
