//! From the rings of messages to the line. By whoever has the line, in VMX-root; the guest is
//! never held for it.

use crate::line::Line;
use crate::port::Ports;
use crate::shared::Shared;
use wire_protocol::limits;

/// While more than this is queued, messages wait in their rings: replies and stops stand behind
/// no more than that, and batches become fuller the slower the line is.
const QUEUE_BYTES: usize = limits::BATCH_BYTES;

/// Batches that go out before a stop is announced. What is left follows during the halt.
const BATCHES_BEFORE_STOP: usize = 4;

/// One batch, of a core that wants something sent now.
pub(super) fn while_running<P: Ports>(line: &mut Line<P::Transport>, shared: &Shared<P>) {
    if line.queued_bytes() >= QUEUE_BYTES {
        return;
    }
    send_one(line, shared, true);
}

/// What was printed before the halt, as far as it is little.
pub(super) fn before_stop<P: Ports>(line: &mut Line<P::Transport>, shared: &Shared<P>) {
    for _ in 0..BATCHES_BEFORE_STOP {
        if !send_one(line, shared, false) {
            return;
        }
    }
}

/// The longest reply to a request that prints.
const REPLY_BYTES: usize = 64;

/// What a script printed that the host sent, before the reply of `len_bytes` that is in the
/// message buffer and stays there.
pub(super) fn before_reply<P: Ports>(
    line: &mut Line<P::Transport>,
    shared: &Shared<P>,
    len_bytes: usize,
) {
    let mut reply = [0; REPLY_BYTES];
    let kept = line.buffers.message.get(..len_bytes);
    let (Some(kept), Some(copy)) = (kept, reply.get_mut(..len_bytes)) else {
        return;
    };
    copy.copy_from_slice(kept);
    // Ends when the rings are empty, or the link has no room: then the rest comes later.
    while send_one(line, shared, false) {}
    let (Some(kept), Some(copy)) = (
        line.buffers.message.get_mut(..len_bytes),
        reply.get(..len_bytes),
    ) else {
        return;
    };
    kept.copy_from_slice(copy);
}

/// One batch of any core, once the line has nothing else to do.
pub(super) fn while_halted<P: Ports>(line: &mut Line<P::Transport>, shared: &Shared<P>) {
    if line.queued_bytes() < QUEUE_BYTES {
        send_one(line, shared, false);
    }
}

/// Sends one batch; false if there is none, or nobody to take it. Each time it is another core's
/// turn to be looked at first.
fn send_one<P: Ports>(
    line: &mut Line<P::Transport>,
    shared: &Shared<P>,
    only_wanted: bool,
) -> bool {
    // Before the handshake nothing is sent.
    if !line.is_in_session() {
        return false;
    }
    shared
        .messages
        .next_to_send(only_wanted)
        .is_some_and(|(core, ring)| line.send_messages(core, ring))
}
