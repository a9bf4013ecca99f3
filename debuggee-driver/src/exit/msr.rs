//! RDMSR and WRMSR that exit: registers that events watch, the TSC deadline once time was hidden,
//! EFER while SYSCALL is watched, and numbers that no bitmap covers, which no processor has.

use crate::event::{TriggerInstance, TriggerKind};
use crate::exit::core::{Core, Outcome};
use crate::exit::single::passthrough;
use crate::exit::single::state::Intercept;
use crate::exit::watchers::watched;
use crate::port::{Cpu, LiveRegister, Ports, gpr};
use crate::vmx::control::{cr0, efer};
use crate::vmx::interruption::GENERAL_PROTECTION;
use crate::vmx::{TSC_DEADLINE, guest, msr};

fn number(cpu: &impl Cpu) -> u32 {
    cpu.registers()[gpr::RCX] as u32
}

/// RDMSR.
pub fn on_read<P: Ports>(core: &mut Core<'_, P>) -> Outcome {
    let number = number(&core.cpu);
    let trigger = TriggerInstance::new(TriggerKind::MsrRead, u64::from(number));
    match number {
        TSC_DEADLINE => watched(core, trigger, |core| {
            let deadline = deadline(core);
            answer(core, deadline)
        }),
        msr::EFER => watched(core, trigger, |core| {
            let efer = core.shared.published.efer(core.id, &core.cpu);
            answer(core, efer)
        }),
        _ if msr::bitmap_bit(number, false).is_some() => {
            passthrough::watched(core, trigger, Intercept::Msrs)
        }
        _ => watched(core, trigger, |_| Outcome::Inject(GENERAL_PROTECTION)),
    }
}

/// WRMSR.
pub fn on_write<P: Ports>(core: &mut Core<'_, P>) -> Outcome {
    let number = number(&core.cpu);
    let trigger = TriggerInstance::new(TriggerKind::MsrWrite, u64::from(number));
    match number {
        TSC_DEADLINE => watched(core, trigger, set_deadline),
        msr::EFER => watched(core, trigger, |core| set_efer(core)),
        _ if msr::bitmap_bit(number, true).is_some() => {
            passthrough::watched(core, trigger, Intercept::Msrs)
        }
        _ => watched(core, trigger, |_| Outcome::Inject(GENERAL_PROTECTION)),
    }
}

fn answer<P: Ports>(core: &mut Core<'_, P>, value: u64) -> Outcome {
    let registers = core.cpu.registers_mut();
    registers[gpr::RAX] = value & 0xffff_ffff;
    registers[gpr::RDX] = value >> 32;
    Outcome::Advance
}

fn written(cpu: &impl Cpu) -> u64 {
    let registers = cpu.registers();
    registers[gpr::RDX] << 32 | registers[gpr::RAX] & 0xffff_ffff
}

fn deadline<P: Ports>(core: &Core<'_, P>) -> u64 {
    match core.cpu.live(LiveRegister::TscDeadline) {
        0 => 0,
        real => real.wrapping_sub(core.time.hidden_ticks),
    }
}

fn set_deadline<P: Ports>(core: &mut Core<'_, P>) -> Outcome {
    let real = match written(&core.cpu) {
        0 => 0,
        value => value.wrapping_add(core.time.hidden_ticks),
    };
    core.cpu.set_live(LiveRegister::TscDeadline, real);
    Outcome::Advance
}

fn set_efer<P: Ports>(core: &mut Core<'_, P>) -> Outcome {
    let now = core.shared.published.efer(core.id, &core.cpu);
    let paging = core.cpu.vmread(guest::CR0) & cr0::PG != 0;
    let Some(new) = efer_after(written(&core.cpu), now, paging) else {
        return Outcome::Inject(GENERAL_PROTECTION);
    };
    core.shared.published.set_efer(core.id, &mut core.cpu, new);
    if (now ^ new) & efer::NXE != 0 {
        core.cpu.invalidate_translations();
    }
    Outcome::Advance
}

/// What EFER holds after `value` was written to it; `None` if that faults ("Extended Feature
/// Enable Register", 2.2.1; LMA is read-only, and LME is while paging is on).
const fn efer_after(value: u64, now: u64, paging: bool) -> Option<u64> {
    const DEFINED: u64 = efer::SCE | efer::LME | efer::LMA | efer::NXE;
    if value & !DEFINED != 0 || paging && (value ^ now) & efer::LME != 0 {
        return None;
    }
    Some(value & !efer::LMA | now & efer::LMA)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn efer_keeps_what_is_the_processors() {
        let long = efer::LME | efer::LMA;
        assert_eq!(efer_after(efer::LME, long, true), Some(long));
        assert_eq!(
            efer_after(efer::SCE | long, long, true),
            Some(efer::SCE | long)
        );
        assert_eq!(efer_after(0, long, true), None);
        assert_eq!(efer_after(1 << 9, 0, false), None);
        assert_eq!(efer_after(efer::LME, 0, false), Some(efer::LME));
    }
}
