//! What kind of code the guest runs. Called by `exit`, in VMX-root.

use super::guest;
use crate::port::Cpu;

/// CPL is the DPL of SS ("Guest Register State", 25.4.1).
const SS_DPL_SHIFT: u64 = 5;

/// CS.L ("Guest Register State", table 25-2).
const CS_LONG: u64 = 1 << 13;

/// The guest's CPL.
pub fn cpl(cpu: &impl Cpu) -> u64 {
    cpu.vmread(guest::SS_ACCESS_RIGHTS) >> SS_DPL_SHIFT & 3
}

/// Whether the guest is at CPL 0.
pub fn is_kernel(cpu: &impl Cpu) -> bool {
    cpl(cpu) == 0
}

/// Whether the guest's code is 64-bit code.
#[inline]
pub fn is_in_64_bit_mode(cpu: &impl Cpu) -> bool {
    cpu.vmread(guest::CS_ACCESS_RIGHTS) & CS_LONG != 0
}
