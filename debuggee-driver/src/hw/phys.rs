//! Physical memory through the kernel's direct map, which the host's own page tables repeat at the
//! same addresses: a pointer is good in the kernel at boot and in VMX-root later.

use super::volatile;
use crate::port::PhysicalMemory;

/// All physical memory, mapped one after the other from `base`.
#[derive(Clone, Copy, Debug)]
pub struct DirectMap {
    base: u64,
    limit: u64,
}

impl DirectMap {
    /// Memory from 0 to `limit`, mapped at `base`.
    ///
    /// # Safety
    /// Every page below `limit` that is RAM or device memory is mapped there, readable and
    /// writable, in the kernel's page tables (for what `boot` touches) and in the host's.
    #[must_use]
    pub const unsafe fn new(base: u64, limit: u64) -> Self {
        Self { base, limit }
    }

    /// Where a physical address is mapped.
    #[must_use]
    pub const fn address_of(&self, physical: u64) -> u64 {
        self.base.wrapping_add(physical)
    }

    fn covers(&self, at: u64, len_bytes: usize) -> bool {
        at.checked_add(len_bytes as u64)
            .is_some_and(|end| end <= self.limit)
    }
}

impl PhysicalMemory for DirectMap {
    fn limit(&self) -> u64 {
        self.limit
    }

    fn read(&self, at: u64, out: &mut [u8]) {
        if !self.covers(at, out.len()) {
            out.fill(0);
            return;
        }
        let from = self.address_of(at) as *const u8;
        // SAFETY: the range is mapped by contract of `new` and does not overlap `out`, which is
        // memory of the caller's stack or of the arena's buffers that no request can name.
        unsafe { volatile::read(from, out) }
    }

    fn write(&mut self, at: u64, bytes: &[u8]) {
        if !self.covers(at, bytes.len()) {
            return;
        }
        let to = self.address_of(at) as *mut u8;
        // SAFETY: as in `read`; what is written belongs to the guest or to the tables of the caller.
        unsafe { volatile::write(to, bytes) }
    }

    fn read_u64(&self, at: u64) -> u64 {
        if !self.covers(at, 8) || !at.is_multiple_of(8) {
            return 0;
        }
        // SAFETY: mapped by contract of `new`, aligned by the check; volatile, as page walkers and
        // other cores read and write it too.
        unsafe { (self.address_of(at) as *const u64).read_volatile() }
    }

    fn write_u64(&mut self, at: u64, value: u64) {
        if !self.covers(at, 8) || !at.is_multiple_of(8) {
            return;
        }
        // SAFETY: mapped by contract of `new`, aligned by the check; volatile, as others use it, too.
        unsafe { (self.address_of(at) as *mut u64).write_volatile(value) }
    }

    fn with_bytes<R>(&self, at: u64, len_bytes: usize, look: impl FnOnce(&[u8]) -> R) -> R {
        let bytes = if self.covers(at, len_bytes) {
            let start = self.address_of(at) as *const u8;
            // SAFETY: mapped by contract of `new`; nobody writes it meanwhile by contract of the trait.
            unsafe { core::slice::from_raw_parts(start, len_bytes) }
        } else {
            nothing()
        };
        look(bytes)
    }

    fn with_bytes_mut<R>(
        &mut self,
        at: u64,
        len_bytes: usize,
        change: impl FnOnce(&mut [u8]) -> R,
    ) -> R {
        let bytes = if self.covers(at, len_bytes) {
            let start = self.address_of(at) as *mut u8;
            // SAFETY: mapped by contract of `new`; nobody else uses it by contract of the trait.
            unsafe { core::slice::from_raw_parts_mut(start, len_bytes) }
        } else {
            nothing()
        };
        change(bytes)
    }
}

/// What stands in for memory that is not there. Out of line, and not to be foreseen: else both outcomes are computed at
/// every hit, and one of them taken.
#[cold]
#[inline(never)]
fn nothing<'a>() -> &'a mut [u8] {
    core::hint::black_box(&mut [])
}
