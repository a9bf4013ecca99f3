//! What every kernel has, whatever the system: memory that is its own, and processes. Looked at by
//! all cores, in VMX-root.

use super::walk;
use crate::port::PhysicalMemory;
use wire_protocol::address::{Extent, GuestVirtual, PAGE_BYTES};
use wire_protocol::packet::Task;

/// How the kernel's memory is reached, whatever process runs.
#[derive(Clone, Copy, Debug, Default)]
pub struct KernelSpace {
    /// Virtual addresses at which physical memory is mapped from 0 on. Empty if there are none.
    pub direct_map: Extent<GuestVirtual>,
    /// Virtual addresses of the kernel itself, without modules.
    pub image: Extent<GuestVirtual>,
    /// Physical address of the kernel's own page tables, for what is not in the direct map.
    pub cr3: u64,
    /// The kernel's CR4; bit LA57 says how many levels of tables there are.
    pub cr4: u64,
}

/// Bytes of a process's name.
pub const NAME_BYTES: usize = 16;

/// A process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Process {
    /// Its structure in the kernel: the `task_struct` that leads it on Linux.
    pub task: GuestVirtual,
    /// The number that users know it by.
    pub pid: u32,
    /// Physical address of its page tables; the kernel's own if it has none.
    pub cr3: u64,
    /// Its name, NUL-padded.
    pub name: [u8; NAME_BYTES],
}

/// A task, and where its command line stands in its own memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FoundTask {
    /// All else.
    pub task: Task<'static>,
    /// Empty if there is none, or it is not told.
    pub command: Extent<GuestVirtual>,
}

impl KernelSpace {
    /// The page tables in which to look for `address`: the core's own, or the kernel's for an
    /// address of the kernel that the core does not map. With page-table isolation a core in user
    /// mode maps next to nothing of the kernel.
    #[must_use]
    pub fn tables_for(
        &self,
        mem: &impl PhysicalMemory,
        cr3: u64,
        cr4: u64,
        address: GuestVirtual,
    ) -> u64 {
        let is_kernels = address.0 >> 63 != 0;
        if is_kernels && walk::translate(mem, cr3, cr4, address).is_err() {
            self.cr3
        } else {
            cr3
        }
    }

    /// Whether an address is one that the kernel maps memory at and takes it back: that of a module or of BPF code, or a
    /// stack. Not where it sees all memory, nor in itself.
    #[must_use]
    pub fn maps_for_a_time(&self, address: GuestVirtual) -> bool {
        let is_kernels = address.0 >> 63 != 0;
        is_kernels && !self.direct_map.contains(address) && !self.image.contains(address)
    }

    /// Reads a number of 64 bits at an offset in one of the kernel's structures.
    pub(super) fn read_u64(
        &self,
        mem: &impl PhysicalMemory,
        base: u64,
        offset: u32,
    ) -> Option<u64> {
        let mut bytes = [0; 8];
        self.read(mem, base, offset, &mut bytes)?;
        Some(u64::from_le_bytes(bytes))
    }

    /// The same, of 32 bits.
    pub(super) fn read_u32(
        &self,
        mem: &impl PhysicalMemory,
        base: u64,
        offset: u32,
    ) -> Option<u32> {
        let mut bytes = [0; 4];
        self.read(mem, base, offset, &mut bytes)?;
        Some(u32::from_le_bytes(bytes))
    }

    /// Reads a field of one of the kernel's structures, page by page.
    pub(super) fn read(
        &self,
        mem: &impl PhysicalMemory,
        base: u64,
        offset: u32,
        out: &mut [u8],
    ) -> Option<()> {
        let start = base.checked_add(u64::from(offset))?;
        let mut at = start;
        let mut rest = out;
        while !rest.is_empty() {
            let in_page = (PAGE_BYTES - at % PAGE_BYTES) as usize;
            let (part, tail) = rest.split_at_mut_checked(in_page.min(rest.len()))?;
            let phys = self.physical(mem, at)?;
            if phys.checked_add(part.len() as u64)? > mem.limit() {
                return None;
            }
            mem.read(phys, part);
            at = at.checked_add(part.len() as u64)?;
            rest = tail;
        }
        Some(())
    }

    /// Physical address of a kernel address: by the direct map, else by the kernel's tables.
    #[must_use]
    pub fn physical(&self, mem: &impl PhysicalMemory, va: u64) -> Option<u64> {
        let va = GuestVirtual(va);
        if self.direct_map.contains(va) {
            return Some(va.0.wrapping_sub(self.direct_map.start().0));
        }
        let translation = walk::translate(mem, self.cr3, self.cr4, va).ok()?;
        Some(translation.address.0)
    }
}
