//! Events that are delivered at the next entry. Called by the other files of `exit`, in VMX-root.

use super::core::Core;
use super::due::Due;
use crate::port::{Cpu, Ports};
use crate::vmx::interruption::{Event, Kind, VALID};
use crate::vmx::{control_field, ro};

/// Delivers an event at the next entry.
pub(super) fn inject(cpu: &mut impl Cpu, event: Event) {
    cpu.vmwrite(
        control_field::VMENTRY_INTERRUPTION_INFO_FIELD,
        u64::from(event.encode()),
    );
    if let Some(code) = event.error_code {
        cpu.vmwrite(control_field::VMENTRY_EXCEPTION_ERR_CODE, u64::from(code));
    }
    if event.needs_instruction_length() {
        let length = cpu.vmread(ro::VMEXIT_INSTRUCTION_LEN);
        cpu.vmwrite(control_field::VMENTRY_INSTRUCTION_LEN, length);
    }
}

/// The event that the processor was delivering when it exited is delivered at the next entry
/// ("Information for VM Exits During Event Delivery", 28.2.4).
#[inline]
pub(super) fn redeliver<P: Ports>(core: &mut Core<'_, P>) {
    let info = core.cpu.vmread(ro::IDT_VECTORING_INFO);
    if info & VALID != 0 {
        redeliver_event(core, info as u32);
    }
}

#[cold]
fn redeliver_event<P: Ports>(core: &mut Core<'_, P>, info: u32) {
    let error_code = core.cpu.vmread(ro::IDT_VECTORING_ERR_CODE) as u32;
    if let Some(event) = Event::decode(info, error_code) {
        inject(&mut core.cpu, event);
        if event.kind == Kind::Nmi {
            core.due |= Due::NMI_UNBLOCKED;
        }
    }
}
