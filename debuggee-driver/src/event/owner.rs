//! Whose memory an event watches, as data: a process's, or the kernel's where it can be given back.

use crate::guest::layout::GuestLayout;
use crate::guest::process;
use crate::port::PhysicalMemory;
use wire_protocol::address::GuestVirtual;

/// Whose memory an event watches, and what of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Owner {
    /// The process; `None` for the kernel.
    pub pid: Option<u32>,
    /// Its page tables.
    pub cr3: u64,
    /// CR4 that goes with them.
    pub cr4: u64,
    /// First byte.
    pub from: GuestVirtual,
    /// At least one.
    pub len_bytes: u64,
}

impl Owner {
    /// Whether the process is there and has the same memory: it neither ended nor runs another program. The kernel is
    /// always there.
    pub(super) fn lives(&self, mem: &impl PhysicalMemory, layout: &GuestLayout) -> bool {
        self.pid.is_none_or(|pid| {
            process::find_process(mem, layout, pid).is_some_and(|found| found.cr3 == self.cr3)
        })
    }

    /// The last byte.
    pub(super) fn last(&self) -> GuestVirtual {
        GuestVirtual(self.from.0.saturating_add(self.len_bytes.max(1) - 1))
    }
}
