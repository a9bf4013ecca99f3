//! Registers of a device, in I/O ports or in memory.

use super::ioapic::PinRegisters;
use crate::port::{Owned, OwnedMemory, PortRange, RegisterIo};
use crate::transport::place::{Place, REGISTERS};
use wire_protocol::address::{Extent, GuestPhysical, PAGE_BYTES};

/// The registers of one UART.
#[derive(Debug)]
pub struct Registers {
    place: Place,
    /// Where memory is mapped that they are in.
    linear: u64,
    interrupt: Option<PinRegisters>,
}

impl Registers {
    /// The registers at `place`.
    ///
    /// # Safety
    /// They belong to a device that nobody else drives, so that reading and writing its registers has no effect on the
    /// memory of others. Those in memory are mapped at `linear`, uncached, in the kernel and in VMX-root.
    #[must_use]
    pub const unsafe fn new(place: Place, linear: u64) -> Self {
        Self {
            place,
            linear,
            interrupt: None,
        }
    }

    /// The same of a device whose interrupt goes in there.
    #[must_use]
    pub fn with_interrupt(self, interrupt: Option<PinRegisters>) -> Self {
        Self { interrupt, ..self }
    }
}

impl RegisterIo for Registers {
    #[inline]
    fn read(&mut self, register: u8) -> u8 {
        let at = self.linear;
        match self.place {
            Place::Ports { first } => {
                // SAFETY: the port is ours by contract of `new`.
                unsafe { x86::io::inb(first.wrapping_add(u16::from(register))) }
            }
            Place::Memory { stride: 4, .. } => {
                let at = at.wrapping_add(4 * u64::from(register));
                // SAFETY: the register is ours, aligned and mapped, by contract of `new`; all of them are in its page.
                unsafe { (at as *const u32).read_volatile() as u8 }
            }
            Place::Memory { .. } => {
                let at = at.wrapping_add(u64::from(register));
                // SAFETY: the register is ours and mapped, by contract of `new`; all of them are in its page.
                unsafe { (at as *const u8).read_volatile() }
            }
        }
    }

    #[inline]
    fn write(&mut self, register: u8, value: u8) {
        let at = self.linear;
        match self.place {
            Place::Ports { first } => {
                // SAFETY: the port is ours by contract of `new`.
                unsafe { x86::io::outb(first.wrapping_add(u16::from(register)), value) }
            }
            Place::Memory { stride: 4, .. } => {
                let at = at.wrapping_add(4 * u64::from(register));
                // SAFETY: the register is ours, aligned and mapped, by contract of `new`; all of them are in its page.
                unsafe { (at as *mut u32).write_volatile(u32::from(value)) }
            }
            Place::Memory { .. } => {
                let at = at.wrapping_add(u64::from(register));
                // SAFETY: the register is ours and mapped, by contract of `new`; all of them are in its page.
                unsafe { (at as *mut u8).write_volatile(value) }
            }
        }
    }

    fn lead_interrupt(&mut self, apic_id: Option<u32>) -> bool {
        self.interrupt
            .as_mut()
            .is_some_and(|interrupt| interrupt.lead(apic_id))
    }

    fn owns(&self) -> Owned {
        match self.place {
            Place::Ports { first } => Owned {
                ports: PortRange {
                    first,
                    count: REGISTERS,
                },
                memory: OwnedMemory::default(),
            },
            Place::Memory { base, .. } => Owned {
                ports: PortRange::default(),
                memory: [
                    Extent::new(GuestPhysical(base).page(), PAGE_BYTES).unwrap_or_default(),
                    Extent::EMPTY,
                    Extent::EMPTY,
                    Extent::EMPTY,
                ],
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[cfg_attr(miri, ignore = "addresses are numbers here, as in the driver")]
    fn registers_in_memory_are_as_far_apart_as_is_said_and_read_by_themselves() {
        for stride in [1, 4] {
            let mut bytes = [0_u32; 8];
            let place = Place::in_memory(0xfe00_0000, stride).unwrap();
            let linear = bytes.as_mut_ptr() as u64;
            // SAFETY: the registers are words of this function's own, which lie at this address.
            let mut registers = unsafe { Registers::new(place, linear) };
            registers.write(3, 0x5a);
            registers.write(4, 0xa5);
            assert_eq!([registers.read(3), registers.read(4)], [0x5a, 0xa5]);
            let found = bytes.map(|word| word.swap_bytes());
            let expected = match stride {
                1 => [0x0000_005a, 0xa500_0000, 0, 0, 0, 0, 0, 0],
                _ => [0, 0, 0, 0x5a00_0000, 0xa500_0000, 0, 0, 0],
            };
            assert_eq!(found, expected);
            let owned = registers.owns();
            let [page, ..] = owned.memory;
            assert_eq!(page.start(), GuestPhysical(0xfe00_0000));
            assert_eq!(page.len_bytes(), PAGE_BYTES);
            assert!(!owned.ports.contains(0));
        }
    }
}
