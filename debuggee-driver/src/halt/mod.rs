//! Halting: every core stops and waits in VMX-root until the host lets it go.
//!
//! Called by `exit`. The core that claims the halt serves the host; all others are parked.

mod drain;
mod rest;
mod serve;
mod session;
pub mod silent;
pub mod steps;
pub mod walk;

use crate::command::meeting::OnCore;
use crate::command::system;
use crate::cores::registers::RegisterFile;
use crate::event::Hit;
use crate::event::registry::Record;
use crate::line::{Buffers, Line};
use crate::port::{Cpu, Ports};
use crate::run;
use crate::shared::{Halt, Seat, Shared};
use core::sync::atomic::Ordering::SeqCst;
use wire_protocol::address::{CoreId, GuestVirtual};
use wire_protocol::event::Actions;
use wire_protocol::link::Incoming;
use wire_protocol::packet::{Reply, Request, RequestError, StopCause};
use wire_protocol::refusal::Refusal;

pub use serve::Ending;
pub use session::{greet, say_goodbye, take_line, tell_fault};

/// What became of an attempt to halt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stopped {
    /// The machine was halted and has been let go.
    Served {
        /// What the user said about what it was halted for: whether it takes effect.
        short_circuit: Option<bool>,
    },
    /// Another core halts right now; nothing was done, and this core should exit again.
    OtherCoreHalts,
}

/// Halts every core, serves the host until it says go, and lets every core go.
///
/// `hit` is counted once the halt is this core's, so that an exit that has to be repeated after
/// another core's halt is counted once.
pub fn stop<P: Ports>(
    seat: &mut Seat<'_>,
    cpu: &mut P::Cpu,
    shared: &Shared<P>,
    cause: StopCause,
    hit: Option<Hit<'_>>,
) -> Stopped {
    let Some(mut halt) = seat.claim() else {
        return Stopped::OtherCoreHalts;
    };
    steps::end(shared);
    // What was said in a stop of another kind is not for this one. Only who halts looks at it.
    shared.take_short_circuit();
    if let Some(hit) = hit {
        halt.read(|installed| {
            installed.count(&hit);
            let halts = |record: &&Record| record.settings.actions.contains(Actions::BREAK);
            let halting = installed.matched(&hit).filter(halts);
            halting.for_each(|record| run::machine::spend_with_another(shared, installed, record));
        });
    }
    halt.read(|installed| run::machine::spend(shared, installed, cause));
    let core = halt.owner();
    capture(&mut halt.parts().1.file, core, cpu, shared);
    let limit_ticks = shared.clock.timeout_ticks();
    let still_since = halt.gather(&OnCore::new(cpu, shared), limit_ticks);
    // Until all came, others may have held the steps, or begun them anew.
    steps::end(shared);
    shared.halts.fetch_add(1, SeqCst);
    let ending = serve::serve(&mut halt, cpu, shared, cause);
    let short_circuit = shared.take_short_circuit();
    // Time since the last core checked in is hidden from all of them, so that their counters neither
    // drift apart nor run backwards.
    if shared.facts.constants.hide_time {
        shared.add_hidden_ticks(cpu.tsc().saturating_sub(still_since));
    }
    steps::remember(shared, core, &halt.parts().1.file);
    apply(&mut halt.parts().1.file, core, cpu, shared);
    match ending {
        Ending::Go => halt.release(&OnCore::new(cpu, shared), limit_ticks),
        Ending::Step {
            core: stepping,
            is_alone,
        } => {
            steps::begin(shared, stepping, cpu.tsc());
            let on_core = OnCore::new(cpu, shared);
            if is_alone {
                halt.hand_over(stepping, &on_core);
                if stepping != core {
                    park(seat, cpu, shared);
                }
            } else {
                halt.release(&on_core, limit_ticks);
            }
        }
    }
    Stopped::Served { short_circuit }
}

/// Checks in with the core that halts and waits until it lets go.
pub fn park<P: Ports>(seat: &mut Seat<'_>, cpu: &mut P::Cpu, shared: &Shared<P>) {
    let core = seat.core();
    capture(&mut seat.local().file, core, cpu, shared);
    seat.park(&mut OnCore::new(cpu, shared), |it| it.load_published(core));
    apply(&mut seat.local().file, core, cpu, shared);
}

/// Takes the registers of `core`, as its guest sees them, and what it recorded of its branches.
fn capture<P: Ports>(file: &mut RegisterFile, core: CoreId, cpu: &P::Cpu, shared: &Shared<P>) {
    file.capture(cpu);
    file.show_efer(shared.published.efer(core, cpu));
    if let Ok(layout) = shared.fixed.branches {
        shared.with_branches(core, |branches| branches.halted(cpu, layout));
    }
}

/// Loads what the user changed.
fn apply<P: Ports>(file: &mut RegisterFile, core: CoreId, cpu: &mut P::Cpu, shared: &Shared<P>) {
    file.apply(cpu);
    if let Ok(layout) = shared.fixed.branches {
        shared.with_branches(core, |branches| branches.let_go(cpu, layout));
    }
}

/// One look at the line while the guest runs. True if the host wants a halt.
pub fn poll<P: Ports>(cpu: &P::Cpu, shared: &Shared<P>) -> bool {
    let now_us = shared.clock.microseconds(cpu.tsc());
    let wanted = shared.line.try_with(|line| match line.turn(now_us) {
        // One that lay in the line, for another driver or before anybody was there, means nothing.
        Some(Incoming::BreakIn) => line.is_in_session() || shared.fixed.halts_without_session,
        Some(Incoming::Message) => {
            answer_running(line, cpu, shared);
            false
        }
        // The last two only hosts hear.
        Some(Incoming::Connected | Incoming::Busy | Incoming::TakenOver) => false,
        None => {
            drain::while_running(line, shared);
            false
        }
    });
    // Another core holds the line only while it serves a halt, and then this one is wanted there.
    wanted.unwrap_or(false)
}

/// While the guest runs, the handshake is answered, and what concerns messages.
fn answer_running<P: Ports>(line: &mut Line<P::Transport>, cpu: &P::Cpu, shared: &Shared<P>) {
    let base = line.base;
    let network = line.network();
    let (message, buffers) = line.received();
    let (reply_base, len_bytes) = match Request::decode(message, base) {
        Ok((id, Request::Hello { features })) => {
            steps::forget_host(shared);
            let reply = system::hello(cpu, shared, features, None, buffers.lists);
            let len_bytes = reply.encode_or_refuse(id, base, buffers.message);
            (shared.facts.kernel_base, len_bytes)
        }
        Ok((id, request @ (Request::Flush | Request::MessageCounts))) => {
            let reply = crate::command::messages::answer(shared, &request, network);
            (base, reply.encode_or_refuse(id, base, buffers.message))
        }
        Ok((id, Request::ForeignHello { .. })) => {
            let reply = system::refuse_version();
            (base, reply.encode_or_refuse(id, base, buffers.message))
        }
        Ok((id, _)) => {
            let reply = Reply::Refused(Refusal::NotHalted);
            (base, reply.encode_or_refuse(id, base, buffers.message))
        }
        Err(error) => (base, refuse_undecoded(error, base, buffers)),
    };
    line.release();
    line.base = reply_base;
    // A host that is gone needs no answer.
    let _ = line.send_reply(len_bytes);
}

/// Encodes the answer to a message that has no meaning here.
fn refuse_undecoded(error: RequestError, base: GuestVirtual, buffers: &mut Buffers) -> usize {
    let (id, refusal) = error.answer();
    Reply::Refused(refusal).encode_or_refuse(id, base, buffers.message)
}
