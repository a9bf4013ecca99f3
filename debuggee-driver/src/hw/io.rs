//! I/O ports.

use crate::port::RegisterIo;

/// The processor's I/O space, for the ports of one device.
#[derive(Debug)]
pub struct IoPorts {
    first: u16,
    count: u16,
}

impl IoPorts {
    /// Ports `first .. first + count`.
    ///
    /// # Safety
    /// The ports belong to a device that nobody else drives, so that reading and writing its
    /// registers has no effect on the memory of others.
    #[must_use]
    pub const unsafe fn new(first: u16, count: u16) -> Self {
        Self { first, count }
    }

    const fn owns(&self, port: u16) -> bool {
        port.wrapping_sub(self.first) < self.count
    }
}

impl RegisterIo for IoPorts {
    fn read(&mut self, port: u16) -> u8 {
        if !self.owns(port) {
            return 0xff;
        }
        // SAFETY: the port is ours by contract of `new`.
        unsafe { x86::io::inb(port) }
    }

    fn write(&mut self, port: u16, value: u8) {
        if self.owns(port) {
            // SAFETY: the port is ours by contract of `new`.
            unsafe { x86::io::outb(port, value) }
        }
    }
}
