//! How the driver comes and goes on the line. Called by `exit` and `boot`, in VMX-root, while the guest runs or leaves.

use super::{drain, serve};
use crate::cores::roster::Presence;
use crate::line::Line;
use crate::port::Ports;
use crate::shared::Shared;
use wire_protocol::address::CoreId;
use wire_protocol::packet::Notice;

/// Sets the line's device up for good: no core of the guest reaches it any more.
pub fn take_line<P: Ports>(shared: &Shared<P>) {
    // No core polls yet, so none has the line.
    shared.line.try_with(Line::begin);
}

/// Tells a host that may be waiting that the driver is there.
pub fn greet<P: Ports>(shared: &Shared<P>) {
    // Another core has the line only if the driver greeted before.
    shared.line.try_with(|line| line.greet());
}

/// Tells the host that nobody answers from now on. No core polls any more.
pub fn say_goodbye<P: Ports>(cpu: &P::Cpu, shared: &Shared<P>) {
    shared.line.try_with(|line| {
        if line.is_in_session() {
            drain::before_stop(line, shared);
            line.send_notice(|_| Notice::Goodbye);
            serve::send_rest(line, cpu, shared);
        }
    });
}

/// Tells the host that the hypervisor itself met a fault on `core`, which stands still from now on. Another core sends it,
/// if there is one that polls the line; true if this one has to.
pub fn tell_fault<P: Ports>(
    shared: &Shared<P>,
    core: CoreId,
    vector: u16,
    rip: u64,
    detail: u64,
) -> bool {
    // If it serves a halt itself, the line is its own and goes silent.
    shared.hand_over_polling(core);
    let notice = Notice::Fault {
        core,
        vector,
        rip,
        detail,
    };
    let told = shared.line.try_with(|line| line.send_notice(|_| notice));
    // While one core steps alone, all others are held and look at no line.
    let looks = |other| shared.rendezvous.presence(other) == Presence::Running;
    told == Some(true)
        && !shared
            .rendezvous
            .present()
            .any(|other| other != core && looks(other))
}
