//! IN, OUT, INS and OUTS that are watched, and those to the line's own ports.

use crate::event::TriggerInstance;
use crate::exit::core::{Core, Outcome};
use crate::exit::emulate::port::{PortAccess, meet_nobody};
use crate::exit::single::passthrough;
use crate::exit::single::state::Intercept;
use crate::exit::watchers;
use crate::port::{Cpu, PortRange, Ports};
use crate::vmx::ro;
use x86::vmx::vmcs::control::PrimaryControls;

/// Serves the events of the port, and lets the guest carry the instruction out.
pub fn handle<P: Ports>(core: &mut Core<'_, P>) -> Outcome {
    let access = PortAccess::decode(core.cpu.vmread(ro::EXIT_QUALIFICATION));
    let owned = core.shared.fixed.bitmaps.owned_ports;
    if access.touches(owned) {
        return handle_owned(core, access, owned);
    }
    let trigger = watched_by(core, access, PortRange::default());
    let bitmaps = PrimaryControls::USE_IO_BITMAPS.bits();
    passthrough::watched(core, trigger, Intercept::Primary(bitmaps))
}

/// The first of its ports that an event waits for, or else the first, but none of `owned`.
#[inline(always)]
fn watched_by<P: Ports>(
    core: &Core<'_, P>,
    access: PortAccess,
    owned: PortRange,
) -> TriggerInstance {
    let port = access
        .ports()
        .filter(|port| !owned.contains(*port))
        .find(|port| {
            core.seat
                .read(|installed| installed.has_value(access.kind, u64::from(*port)))
        })
        .unwrap_or(access.port);
    TriggerInstance::new(access.kind, u64::from(port))
}

/// The line's ports are nobody's to watch. An access may reach others besides.
#[cold]
#[inline(never)]
fn handle_owned<P: Ports>(core: &mut Core<'_, P>, access: PortAccess, owned: PortRange) -> Outcome {
    if access.ports().all(|port| owned.contains(port)) {
        return meet_nobody(core, access);
    }
    let trigger = watched_by(core, access, owned);
    watchers::watched(core, trigger, |core| meet_nobody(core, access))
}
