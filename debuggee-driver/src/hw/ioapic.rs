//! A pin of an I/O APIC, which leads to a core as an NMI for the time of a halt. In VMX-root, by the core that serves the halt:
//! whoever else uses the controller stands still.

use super::phys::DirectMap;
use crate::transport::interrupt::{FIRST_HALF, InterruptPin, MASKED, VERSION, entry_to_core};

/// Offset of the data; the index stands at the beginning.
const DATA: u64 = 0x10;

/// See the module.
#[derive(Debug)]
pub struct PinRegisters {
    index: *mut u32,
    data: *mut u32,
    number: u8,
    /// Both halves of the entry that the guest has there, while it leads elsewhere.
    guests: Option<(u32, u32)>,
}

// SAFETY: the addresses are the same on every core, and who has the value is the only one that uses them.
unsafe impl Send for PinRegisters {}

impl PinRegisters {
    /// The registers behind a pin.
    ///
    /// # Safety
    /// There is an I/O APIC, below `memory`'s limit, and the value is used only in VMX-root while every other core stands still.
    #[must_use]
    pub const unsafe fn new(pin: InterruptPin, memory: &DirectMap) -> Self {
        let at = memory.address_of(pin.controller);
        Self {
            index: at as *mut u32,
            data: (at + DATA) as *mut u32,
            number: pin.number,
            guests: None,
        }
    }

    /// Leads the pin to the core with this local APIC id, or back to where it went. False if that cannot be done.
    pub fn lead(&mut self, apic_id: Option<u32>) -> bool {
        // SAFETY: a register of the controller, by contract of `new`.
        let guests_index = unsafe { self.index.read_volatile() };
        let is_led = match apic_id {
            Some(apic_id) => self.lead_to(apic_id),
            None => self.lead_back(),
        };
        // SAFETY: a register of the controller, by contract of `new`; the guest may stand between its index and its data.
        unsafe { self.index.write_volatile(guests_index) };
        is_led
    }

    fn lead_to(&mut self, apic_id: u32) -> bool {
        let half = FIRST_HALF + 2 * u32::from(self.number);
        let (low, high) = (self.read(half), self.read(half + 1));
        let Some(entry) = entry_to_core(self.read(VERSION), self.number, low, apic_id) else {
            return false;
        };
        self.guests = Some((low, high));
        self.write_entry(entry);
        true
    }

    fn lead_back(&mut self) -> bool {
        if let Some(entry) = self.guests.take() {
            self.write_entry(entry);
        }
        true
    }

    /// Masked first, so that nothing goes to a core that is half named.
    fn write_entry(&mut self, (low, high): (u32, u32)) {
        let half = FIRST_HALF + 2 * u32::from(self.number);
        self.write(half, low | MASKED);
        self.write(half + 1, high);
        self.write(half, low);
    }

    fn read(&mut self, index: u32) -> u32 {
        // SAFETY: a register of the controller, by contract of `new`.
        unsafe { self.index.write_volatile(index) };
        // SAFETY: as above; reading it changes nothing.
        unsafe { self.data.read_volatile() }
    }

    fn write(&mut self, index: u32, value: u32) {
        // SAFETY: a register of the controller, by contract of `new`.
        unsafe { self.index.write_volatile(index) };
        // SAFETY: as above; an NMI to a core of ours is expected there, and the guest's own entry is its own.
        unsafe { self.data.write_volatile(value) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[cfg_attr(miri, ignore = "addresses are numbers here, as in the driver")]
    fn a_pin_without_a_controller_behind_it_leads_nowhere_and_index_and_entry_stay() {
        // Plain memory: what is written last is read, whatever the index, so the version has no pin 3.
        let mut registers = [0_u32; 8];
        registers[0] = 7;
        let pin = InterruptPin {
            controller: registers.as_mut_ptr() as u64,
            number: 3,
        };
        // SAFETY: nothing is done with it but to name the words above.
        let memory = unsafe { DirectMap::new(0, u64::MAX) };
        // SAFETY: words of this function's own, which lie at this address.
        let mut pin = unsafe { PinRegisters::new(pin, &memory) };
        assert!(!pin.lead(Some(1)));
        assert!(pin.lead(None));
        assert_eq!((registers[0], registers[4]), (7, 0));
    }
}
