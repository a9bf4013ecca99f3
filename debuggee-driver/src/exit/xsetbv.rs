//! XSETBV, which VMX makes exit.

use crate::event::{TriggerInstance, TriggerKind};
use crate::exit::core::{Core, Outcome};
use crate::exit::watchers::watched;
use crate::port::{Cpu, Ports, gpr};
use crate::vmx::control;
use crate::vmx::interruption::GENERAL_PROTECTION;
use crate::vmx::privilege::is_kernel;

/// CPUID leaf of the XSAVE state components.
const XSAVE_LEAF: u32 = 0xd;

/// Serves the events that watch the register, then writes it.
pub fn handle<P: Ports>(core: &mut Core<'_, P>) -> Outcome {
    if !is_kernel(&core.cpu) {
        // Privilege is looked at before the exit; an emulated processor may not.
        return Outcome::Inject(GENERAL_PROTECTION);
    }
    let index = core.cpu.registers()[gpr::RCX] as u32;
    let trigger = TriggerInstance::new(TriggerKind::Xsetbv, u64::from(index));
    watched(core, trigger, |core| write(&mut core.cpu))
}

/// Writes XCR0 for the guest, or faults as the processor would.
fn write(cpu: &mut impl Cpu) -> Outcome {
    let registers = cpu.registers();
    let index = registers[gpr::RCX] as u32;
    let value = registers[gpr::RDX] << 32 | registers[gpr::RAX] & 0xffff_ffff;
    let [low, _, _, high] = cpu.cpuid(XSAVE_LEAF, 0);
    let supported = u64::from(high) << 32 | u64::from(low);
    if index != 0 || !control::xcr0_is_valid(value, supported) {
        return Outcome::Inject(GENERAL_PROTECTION);
    }
    cpu.set_xcr0(value);
    Outcome::Advance
}
