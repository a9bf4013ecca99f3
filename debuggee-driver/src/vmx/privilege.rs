//! What kind of code the guest runs, and where it stands. Called by `exit`, in VMX-root.

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

/// Linear address of the guest's code at `ip`. Outside 64-bit mode the segment's base counts, and addresses have 32 bits.
#[inline]
pub fn linear_of_code(cpu: &impl Cpu, ip: u64) -> u64 {
    if is_in_low_32_bits(ip) {
        linear_in_segment(cpu, ip)
    } else {
        ip
    }
}

/// Where the guest goes on behind an instruction of `len_bytes` at `ip`. Outside 64-bit mode it has 32 bits: a higher
/// one would not be accepted at the next entry ("Checks on Guest RIP, RFLAGS, and SSP", 27.3.1.4).
#[inline]
pub fn next_ip(cpu: &impl Cpu, ip: u64, len_bytes: u64) -> u64 {
    let next = ip.wrapping_add(len_bytes);
    if (ip ^ next) >> 32 != 0 {
        wrapped(cpu, next)
    } else {
        next
    }
}

/// Whether the guest's code at `ip` is 64-bit code.
#[inline]
pub fn is_64_bit_code(cpu: &impl Cpu, ip: u64) -> bool {
    !is_in_low_32_bits(ip) || is_in_64_bit_mode(cpu)
}

/// Only 64-bit code can stand anywhere else, so that most addresses tell the mode.
#[inline]
const fn is_in_low_32_bits(ip: u64) -> bool {
    ip <= u32::MAX as u64
}

#[cold]
#[inline(never)]
fn linear_in_segment(cpu: &impl Cpu, ip: u64) -> u64 {
    if is_in_64_bit_mode(cpu) {
        ip
    } else {
        cpu.vmread(guest::CS_BASE).wrapping_add(ip) & u64::from(u32::MAX)
    }
}

#[cold]
#[inline(never)]
fn wrapped(cpu: &impl Cpu, next: u64) -> u64 {
    if is_in_64_bit_mode(cpu) {
        next
    } else {
        next & u64::from(u32::MAX)
    }
}
