//! NMIs: those that ask this core to halt, and the guest's own, which it gets.

use crate::event::{TriggerInstance, TriggerKind};
use crate::exit::core::{Core, Outcome};
use crate::exit::due::Due;
use crate::exit::single::passthrough;
use crate::exit::watchers;
use crate::hit::{Nature, Verdict};
use crate::port::{Cpu, Ports};
use crate::vmx::interruption::{NMI, VALID};
use crate::vmx::{control_field, guest, interruptibility};

/// An NMI reached this core in its guest.
pub fn on_exit<P: Ports>(core: &mut Core<'_, P>) -> Outcome {
    core.cpu.end_nmi_blocking();
    arrived(core, 1);
    Outcome::Stay
}

/// Looks at the NMIs that reached this core in VMX-root.
pub fn look_at_root_nmis<P: Ports>(core: &mut Core<'_, P>) {
    let count = core.cpu.root_nmis();
    let arrived_here = count.wrapping_sub(core.arrivals.root_nmis_seen);
    if arrived_here != 0 {
        core.arrivals.root_nmis_seen = count;
        arrived(core, u32::try_from(arrived_here).unwrap_or(u32::MAX));
    }
}

/// An expected NMI has done its work by making the core exit, or by waking it: the halt itself is seen by
/// `before_entry`. All others are the guest's, which meets them as one, as NMIs that come while it handles one.
pub(super) fn arrived<P: Ports>(core: &mut Core<'_, P>, nmis: u32) {
    if core.seat.take_expected_nmis(nmis) == nmis {
        return;
    }
    let verdict = watchers::serve_before(core, &trigger(), Nature::TrapLike);
    core.arrivals.nmi_pending |= verdict != Verdict::Skip;
}

const fn trigger() -> TriggerInstance {
    TriggerInstance::new(TriggerKind::Exception, NMI.vector as u64)
}

/// The guest can take an NMI now.
pub fn on_window<P: Ports>(core: &mut Core<'_, P>) -> Outcome {
    core.arrivals.wants_nmi_window = false;
    core.due |= Due::CONTROLS;
    core.arrivals.nmi_pending = true;
    Outcome::Stay
}

/// Gives the guest the NMI it is owed, or asks for the moment when it can take it.
///
/// During a step it waits for the step's end: an NMI window opens before the stepped instruction
/// and would never let it run. For the same reason the shadow of STI is no obstacle but is
/// dropped: an NMI may come in it ("Guest Non-Register State", table 25-3).
pub fn deliver<P: Ports>(core: &mut Core<'_, P>) {
    if !core.arrivals.nmi_pending || core.single.is_busy() {
        return;
    }
    core.arrivals.nmi_pending = false;
    let cpu = &mut core.cpu;
    let blocking = core.due.blocking(cpu.vmread(guest::INTERRUPTIBILITY_STATE));
    let blocked = blocking & (interruptibility::MOV_SS | interruptibility::NMI) != 0;
    // As with an interrupt, a single step of the guest's that is due comes first.
    let busy = cpu.vmread(control_field::VMENTRY_INTERRUPTION_INFO_FIELD) & VALID != 0
        || cpu.vmread(guest::PENDING_DBG_EXCEPTIONS) != 0;
    if blocked || busy {
        core.arrivals.wants_nmi_window = true;
        return;
    }
    core.due |= Due::STI_ENDED;
    cpu.vmwrite(
        control_field::VMENTRY_INTERRUPTION_INFO_FIELD,
        u64::from(NMI.encode()),
    );
    passthrough::deliver(core, trigger());
}
