//! Events that are delivered at the next entry. Called by the other files of `exit`, in VMX-root.

use crate::port::Cpu;
use crate::vmx::interruption::{Event, Kind};
use crate::vmx::{control_field, guest, interruptibility, ro};

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
pub(super) fn redeliver(cpu: &mut impl Cpu) {
    const VALID: u32 = 1 << 31;
    let info = cpu.vmread(ro::IDT_VECTORING_INFO) as u32;
    if info & VALID != 0 {
        redeliver_event(cpu, info);
    }
}

#[cold]
fn redeliver_event(cpu: &mut impl Cpu, info: u32) {
    let error_code = cpu.vmread(ro::IDT_VECTORING_ERR_CODE) as u32;
    if let Some(event) = Event::decode(info, error_code) {
        inject(cpu, event);
        if event.kind == Kind::Nmi {
            let blocking = cpu.vmread(guest::INTERRUPTIBILITY_STATE);
            cpu.vmwrite(
                guest::INTERRUPTIBILITY_STATE,
                blocking & !interruptibility::NMI,
            );
        }
    }
}
