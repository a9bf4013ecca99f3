//! One core executes single instructions for the host, alone or while the others run: how that begins and ends, and how it is told.
//!
//! Called by [`super`] in the halts before and behind the steps, and by `exit` in between, in VMX-root.

use crate::command::{self, Context};
use crate::cores::registers::RegisterFile;
use crate::event::Running;
use crate::line::Line;
use crate::port::{Cpu, Ports};
use crate::shared::Shared;
use crate::steps::walk::{Place, Thread, Walker};
use wire_protocol::address::{CoreId, GuestVirtual};
use wire_protocol::link::Incoming;
use wire_protocol::packet::{Notice, StepOrder, StopCause};
use wire_protocol::register::{Register, RegisterSet};

/// What became of the part of a trace that was to be told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Told {
    /// It is on its way.
    Yes,
    /// The host wants a halt.
    BreakIn,
    /// Nobody took it.
    No,
}

/// Notes what request `id` asks for.
pub(super) fn order<P: Ports>(
    context: &mut Context<'_, '_, P>,
    id: u8,
    order: StepOrder,
    base: GuestVirtual,
) {
    let shared = context.shared;
    let tid = (shared.running(order.core))(Running::Thread).unwrap_or(0);
    // What the stop told, if it was this core's.
    let is_own = context.halt.owner() == order.core;
    if let Some(local) = context.halt.local_of(order.core) {
        // Nobody else uses it: no core steps now.
        let file = &local.file;
        let at = Place {
            rip: file.get(Register::Rip),
            rsp: file.get(Register::Rsp),
        };
        let thread = Thread::of(order.core, tid);
        let walker = order.walk.map(|walk| Walker::new(walk, thread, at));
        let task = command::task::of_stop(shared, order.core, None).filter(|_| is_own);
        shared.steps.try_with(|steps| {
            steps.begin(id, order, file, base, walker);
            steps.known_task = task;
        });
    }
}

/// From now on every instruction of `core` is counted, and it looks at the line.
pub(super) fn begin<P: Ports>(shared: &Shared<P>, core: CoreId, now: u64) {
    shared.steps.try_with(|steps| steps.start(now));
    // It may be the very first halt, before anybody looked at the line.
    shared.poll.set_on(true);
    shared.poll.give_to(core);
    shared.published.begin_host_steps(core);
}

/// The machine stands still again, or is about to, whatever ended the steps.
pub(super) fn end<P: Ports>(shared: &Shared<P>) {
    shared.published.end_host_steps();
    shared.steps.try_with(|steps| steps.end());
}

/// The machine is let go: what `core` has now is what the next stop compares with.
pub(super) fn remember<P: Ports>(shared: &Shared<P>, core: CoreId, file: &RegisterFile) {
    shared.steps.try_with(|steps| steps.remember(core, file));
}

/// A host shakes hands: it is not the one that waits for the answer.
pub(super) fn forget_host<P: Ports>(shared: &Shared<P>) {
    shared.steps.try_with(|steps| steps.forget_reply());
}

/// Answers the request for steps whose end this halt is. `None` if it is no such end; false if the line has no room now.
pub(super) fn answer<P: Ports>(
    line: &mut Line<P::Transport>,
    context: &mut Context<'_, '_, P>,
) -> Option<bool> {
    let shared = context.shared;
    let core = context.halt.owner();
    let base = line.base;
    let is_own = matches!(context.cause, StopCause::Stepped { .. });
    shared.steps.try_with(|steps| {
        let (id, count) = steps.to_answer()?;
        let changed = context
            .halt
            .local_of(core)
            .map(|local| steps.changed(&local.file));
        // Another core may have halted, which has nothing to do with the thread.
        let set = match steps.walks() && !is_own {
            true => Some(RegisterSet::EMPTY),
            false => changed,
        };
        let changed = (count, set.unwrap_or_default());
        let buffers = &mut line.buffers;
        let known = steps.known_task;
        let reply = command::step::answer(context, changed, known, steps.steps(), buffers.lists);
        let len_bytes = reply.encode_or_refuse(id, base, buffers.message);
        let is_told = line.send_reply(len_bytes).is_ok();
        if is_told {
            steps.forget_reply();
        }
        Some(is_told)
    })?
}

/// Tells the host the part of the trace that is there. The core waits until the line takes it: nothing else runs.
pub fn tell_part<P: Ports>(cpu: &P::Cpu, shared: &Shared<P>) -> Told {
    let start = cpu.tsc();
    let told = shared.line.try_with(|line| {
        loop {
            let base = line.base;
            let is_sent = shared.steps.try_with(|steps| {
                let is_sent = line.send_made(Notice::Steps(steps.steps()));
                if is_sent {
                    steps.clear_told(base);
                }
                is_sent
            });
            if is_sent == Some(true) {
                return Told::Yes;
            }
            let now = cpu.tsc();
            match line.turn(shared.clock.microseconds(now)) {
                Some(Incoming::BreakIn) if line.is_in_session() => return Told::BreakIn,
                Some(Incoming::Message) => super::answer_running(line, cpu, shared),
                Some(_) | None => {}
            }
            let limit_ticks = shared.clock.timeout_ticks().saturating_mul(TELL_S);
            if !line.is_in_session() || now.wrapping_sub(start) > limit_ticks {
                return Told::No;
            }
        }
    });
    told.unwrap_or(Told::No)
}

/// A line that takes nothing for so many seconds is not waited for any longer.
const TELL_S: u64 = 20;
