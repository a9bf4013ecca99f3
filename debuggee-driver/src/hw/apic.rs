//! The local APIC, in whichever mode the guest left it: an NMI to another core, the end of an interrupt, its timer.
//!
//! "Interrupt Command Register (ICR)", 11.6.1; x2APIC form in 11.12.9. "Local Vector Table", 11.5.1.

use super::phys::DirectMap;
use x86::msr;

const X2APIC_ENABLED: u64 = 1 << 10;
const BASE_MASK: u64 = 0x000f_ffff_ffff_f000;
const EOI: u64 = 0xb0;
const LVT_TIMER: u64 = 0x320;
const ICR_LOW: u64 = 0x300;
const ICR_HIGH: u64 = 0x310;
/// Delivery mode NMI, level assert, physical destination.
const NMI_COMMAND: u32 = 0x400 | 1 << 14;
/// Delivery mode fixed, level assert, to the core itself.
const SELF_COMMAND: u32 = 1 << 14 | 1 << 18;
const DELIVERY_PENDING: u32 = 1 << 12;
/// Turns of the wait for an earlier command to leave.
const WAIT_TURNS: u32 = 100_000;

/// The value of the x2APIC's ICR that sends an NMI.
const fn x2apic_command(apic_id: u32) -> u64 {
    (apic_id as u64) << 32 | NMI_COMMAND as u64
}

/// Sends an NMI. `apic_base` is this core's IA32_APIC_BASE.
pub fn send_nmi(memory: &DirectMap, apic_base: u64, apic_id: u32) {
    if apic_base & X2APIC_ENABLED != 0 {
        // SAFETY: in x2APIC mode the register exists; an NMI to a core of ours is expected there.
        unsafe { msr::wrmsr(msr::IA32_X2APIC_ICR, x2apic_command(apic_id)) };
        return;
    }
    let registers = memory.address_of(apic_base & BASE_MASK);
    let low = (registers + ICR_LOW) as *mut u32;
    let high = (registers + ICR_HIGH) as *mut u32;
    // The guest may stand between its own two writes: its high half is put back afterwards.
    // SAFETY: the local APIC's page, mapped by the direct map and uncached by its MTRR.
    let guests_high = unsafe { high.read_volatile() };
    wait_until_sent(low);
    // SAFETY: as the read above: the register of this core's local APIC.
    unsafe { high.write_volatile(apic_id << 24) };
    // SAFETY: as the read above; an NMI to a core of ours is expected there.
    unsafe { low.write_volatile(NMI_COMMAND) };
    wait_until_sent(low);
    // SAFETY: as the read above; the value that the guest had there.
    unsafe { high.write_volatile(guests_high) };
}

/// The vector of the timer: the lowest byte of its entry.
pub fn timer_vector(memory: &DirectMap, apic_base: u64) -> u8 {
    if apic_base & X2APIC_ENABLED != 0 {
        // SAFETY: in x2APIC mode the register exists, and reading it changes nothing.
        return unsafe { msr::rdmsr(msr::IA32_X2APIC_LVT_TIMER) } as u8;
    }
    let register = (memory.address_of(apic_base & BASE_MASK) + LVT_TIMER) as *const u32;
    // SAFETY: the local APIC's page, mapped by the direct map and uncached by its MTRR.
    unsafe { register.read_volatile() as u8 }
}

/// Tells the local APIC that the interrupt in service is done.
pub fn end_of_interrupt(memory: &DirectMap, apic_base: u64) {
    if apic_base & X2APIC_ENABLED != 0 {
        // SAFETY: in x2APIC mode the register exists and takes 0.
        unsafe { msr::wrmsr(msr::IA32_X2APIC_EOI, 0) };
        return;
    }
    let register = (memory.address_of(apic_base & BASE_MASK) + EOI) as *mut u32;
    // SAFETY: the local APIC's page, mapped by the direct map and uncached by its MTRR.
    unsafe { register.write_volatile(0) };
}

/// Sends an interrupt to this core itself, which takes it as soon as it can.
pub fn send_to_self(memory: &DirectMap, apic_base: u64, vector: u8) {
    if apic_base & X2APIC_ENABLED != 0 {
        // SAFETY: in x2APIC mode the register exists and takes any vector of an interrupt.
        unsafe { msr::wrmsr(msr::IA32_X2APIC_SELF_IPI, u64::from(vector)) };
        return;
    }
    let low = (memory.address_of(apic_base & BASE_MASK) + ICR_LOW) as *mut u32;
    wait_until_sent(low);
    // SAFETY: the local APIC's page, mapped by the direct map and uncached by its MTRR; the
    // destination is in this half of the command.
    unsafe { low.write_volatile(SELF_COMMAND | u32::from(vector)) };
}

fn wait_until_sent(low: *mut u32) {
    for _ in 0..WAIT_TURNS {
        // SAFETY: the callers pass the command register of this core's local APIC, mapped by the direct map.
        if unsafe { low.read_volatile() } & DELIVERY_PENDING == 0 {
            return;
        }
        core::hint::spin_loop();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_x2apic_command_names_the_core_in_its_high_half() {
        assert_eq!(x2apic_command(3), 0x3_0000_4400);
    }
}
