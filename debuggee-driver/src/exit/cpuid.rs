//! CPUID exits, which VMX makes unconditional.

use crate::event::{TriggerInstance, TriggerKind};
use crate::exit::core::{Core, Outcome};
use crate::exit::watchers::watched;
use crate::port::{Cpu, Ports, gpr};
use crate::vmx::guest;

const LEAF_1_ECX_VMX: u32 = 1 << 5;
const LEAF_1_ECX_OSXSAVE: u32 = 1 << 27;
const LEAF_7_ECX_OSPKE: u32 = 1 << 4;
const CR4_OSXSAVE: u64 = 1 << 18;
const CR4_PKE: u64 = 1 << 22;

/// Serves the events that watch this leaf, then answers like the processor below.
pub fn handle<P: Ports>(core: &mut Core<'_, P>) -> Outcome {
    let leaf = core.cpu.registers()[gpr::RAX] as u32;
    let trigger = TriggerInstance::new(TriggerKind::Cpuid, u64::from(leaf));
    watched(core, trigger, emulate)
}

/// Whether it is certain that no event waits for the leaf that is asked for.
#[inline]
pub(super) fn is_nobodys<P: Ports>(core: &Core<'_, P>) -> bool {
    let leaf = core.cpu.registers()[gpr::RAX] as u32;
    !core
        .seat
        .read(|installed| installed.may_have(TriggerKind::Cpuid, u64::from(leaf)))
}

#[inline(always)]
pub(super) fn emulate<P: Ports>(core: &mut Core<'_, P>) -> Outcome {
    let (leaf, subleaf) = {
        let registers = core.cpu.registers();
        (registers[gpr::RAX] as u32, registers[gpr::RCX] as u32)
    };
    let real = core.cpu.cpuid(leaf, subleaf);
    let [eax, ebx, ecx, edx] = answer(real, leaf, subleaf, core.cpu.vmread(guest::CR4));
    let registers = core.cpu.registers_mut();
    registers[gpr::RAX] = u64::from(eax);
    registers[gpr::RBX] = u64::from(ebx);
    registers[gpr::RCX] = u64::from(ecx);
    registers[gpr::RDX] = u64::from(edx);
    Outcome::Advance
}

/// What the guest reads: the processor's answer without VMX, and with the bits that follow the
/// guest's own CR4 ("CPUID", leaf 1 ECX and leaf 7 ECX).
const fn answer(real: [u32; 4], leaf: u32, subleaf: u32, guest_cr4: u64) -> [u32; 4] {
    let [eax, ebx, mut ecx, edx] = real;
    if leaf == 1 {
        ecx &= !(LEAF_1_ECX_VMX | LEAF_1_ECX_OSXSAVE);
        if guest_cr4 & CR4_OSXSAVE != 0 {
            ecx |= LEAF_1_ECX_OSXSAVE;
        }
    }
    if leaf == 7 && subleaf == 0 {
        ecx &= !LEAF_7_ECX_OSPKE;
        if guest_cr4 & CR4_PKE != 0 {
            ecx |= LEAF_7_ECX_OSPKE;
        }
    }
    [eax, ebx, ecx, edx]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_guest_sees_no_vmx_and_its_own_cr4() {
        let all = [!0; 4];
        assert_eq!(
            answer(all, 1, 0, 0)[2],
            !(LEAF_1_ECX_VMX | LEAF_1_ECX_OSXSAVE)
        );
        assert_eq!(answer([0; 4], 1, 0, CR4_OSXSAVE)[2], LEAF_1_ECX_OSXSAVE);
        assert_eq!(answer([0; 4], 7, 0, CR4_PKE)[2], LEAF_7_ECX_OSPKE);
        assert_eq!(answer(all, 7, 1, 0), all);
        assert_eq!(answer(all, 0xd, 0, 0), all);
    }
}
