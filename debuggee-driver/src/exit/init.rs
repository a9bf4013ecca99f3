//! INIT and start-up IPIs: a core that the operating system takes offline and brings back.

use crate::exit::arrivals::TakenInterrupts;
use crate::exit::core::{Core, Outcome};
use crate::exit::due::Due;
use crate::exit::single::{host, passthrough, step};
use crate::port::{Cpu, Gprs, Ports, gpr};
use crate::vmx::control::{cr0, cr4};
use crate::vmx::{control_field, reset, ro};
use x86::vmx::vmcs::control::EntryControls;

/// INIT: the core loses its state and waits for a start-up IPI.
pub fn on_init<P: Ports>(core: &mut Core<'_, P>) -> Outcome {
    step::end(core);
    passthrough::end(core);
    core.arrivals.interrupts = TakenInterrupts::NONE;
    core.shared.published.set_efer(core.id, &mut core.cpu, 0);
    let signature = core.cpu.cpuid(1, 0)[0];
    let reset = reset::after_init(cr0::NE, cr4::VMXE, signature);
    for (field, value) in reset.fields() {
        core.cpu.vmwrite(field, value);
    }
    let entry = core.cpu.vmread(control_field::VMENTRY_CONTROLS);
    let long_mode = u64::from(EntryControls::IA32E_MODE_GUEST.bits());
    core.cpu
        .vmwrite(control_field::VMENTRY_CONTROLS, entry & !long_mode);
    core.cpu
        .vmwrite(control_field::VMENTRY_INTERRUPTION_INFO_FIELD, 0);
    let mut registers: Gprs = [0; 16];
    registers[gpr::RDX] = reset.rdx;
    *core.cpu.registers_mut() = registers;
    core.arrivals.nmi_pending = false;
    core.arrivals.wants_interrupt_window = false;
    core.arrivals.wants_nmi_window = false;
    core.due |= Due::CONTROLS | Due::RESET;
    core.shared.hand_over_polling(core.id);
    core.waits_for_sipi = true;
    // Who would wake it stands still as long as it steps for the host.
    host::sleep(core);
    Outcome::Stay
}

/// Start-up IPI: the core begins at the page that the vector names.
pub fn on_sipi<P: Ports>(core: &mut Core<'_, P>) -> Outcome {
    core.waits_for_sipi = false;
    let vector = core.cpu.vmread(ro::EXIT_QUALIFICATION) as u8;
    for (field, value) in reset::after_sipi(vector) {
        core.cpu.vmwrite(field, value);
    }
    Outcome::Stay
}
