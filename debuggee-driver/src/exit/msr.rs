//! RDMSR and WRMSR that exit: the TSC deadline once time was hidden, and numbers that no
//! bitmap covers, which no processor has.

use super::{Core, Outcome};
use crate::port::{Cpu, LiveRegister, gpr};
use crate::vmx::TSC_DEADLINE;
use crate::vmx::interruption::GENERAL_PROTECTION;

fn number(cpu: &impl Cpu) -> u32 {
    cpu.registers()[gpr::RCX] as u32
}

/// RDMSR.
pub fn on_read<C: Cpu>(core: &mut Core<C>) -> Outcome {
    if number(&core.cpu) != TSC_DEADLINE {
        return Outcome::Inject(GENERAL_PROTECTION);
    }
    let real = core.cpu.live(LiveRegister::TscDeadline);
    let value = if real == 0 {
        0
    } else {
        real.wrapping_sub(core.hidden_ticks)
    };
    let registers = core.cpu.registers_mut();
    registers[gpr::RAX] = value & 0xffff_ffff;
    registers[gpr::RDX] = value >> 32;
    Outcome::Advance
}

/// WRMSR.
pub fn on_write<C: Cpu>(core: &mut Core<C>) -> Outcome {
    if number(&core.cpu) != TSC_DEADLINE {
        return Outcome::Inject(GENERAL_PROTECTION);
    }
    let registers = core.cpu.registers();
    let value = registers[gpr::RDX] << 32 | registers[gpr::RAX] & 0xffff_ffff;
    let real = if value == 0 {
        0
    } else {
        value.wrapping_add(core.hidden_ticks)
    };
    core.cpu.set_live(LiveRegister::TscDeadline, real);
    Outcome::Advance
}
