//! A guest's page tables, and a kernel that keeps no processes.

use crate::fake::FlatMemory;
use crate::guest::kernel::KernelSpace;
use crate::guest::layout::{GuestLayout, SystemLayout};
use crate::guest::linux::{LinuxLayout, TaskLayout};
use crate::port::PhysicalMemory;
use wire_protocol::limits;
use wire_protocol::packet;

/// Bit of an entry: something is there.
pub const PRESENT: u64 = 1;
/// It may be written.
pub const WRITE: u64 = 2;
/// By programs, too.
pub const USER: u64 = 4;
/// It is a page, not a table.
pub const LARGE: u64 = 0x80;
/// Nothing there can be executed.
pub const NO_EXECUTE: u64 = 1 << 63;

/// Tables under construction: the root, and where the next table goes.
pub struct GuestTables {
    /// The first table.
    pub root: u64,
    next: u64,
    levels: u32,
}

impl GuestTables {
    /// Without any page. The tables stand one behind the other, from the root on.
    #[must_use]
    pub const fn new(root: u64, levels: u32) -> Self {
        Self {
            root,
            next: root + 4096,
            levels,
        }
    }

    /// Puts the tables to come at `at`.
    pub fn next_table(&mut self, at: u64) {
        self.next = at;
    }

    /// Maps the page of `1 << shift` bytes at `va` to `pa`; all flags go into the leaf.
    pub fn map(&mut self, mem: &mut FlatMemory, va: u64, pa: u64, shift: u32, flags: u64) {
        let mut table = self.root;
        let mut level_shift = 12 + 9 * (self.levels - 1);
        while level_shift > shift {
            let at = table + ((va >> level_shift) & 511) * 8;
            let mut entry = mem.read_u64(at);
            if entry & PRESENT == 0 {
                entry = self.next | PRESENT | WRITE | USER;
                self.next += 4096;
                mem.write_u64(at, entry);
            }
            table = entry & 0x000f_ffff_ffff_f000;
            level_shift -= 9;
        }
        let large = if shift > 12 { LARGE } else { 0 };
        let at = table + ((va >> shift) & 511) * 8;
        mem.write_u64(at, pa | flags | large);
    }
}

/// A kernel of which nothing is known.
pub fn no_processes() -> GuestLayout {
    GuestLayout {
        kernel: KernelSpace::default(),
        system: SystemLayout::Linux(linux(0)),
    }
}

/// How a kernel that nobody built keeps its processes. It says of no core which of them that one runs.
pub fn linux(init_task: u64) -> LinuxLayout {
    LinuxLayout {
        core_selector: 0,
        current_task_slot: [0; limits::CORES],
        init_task,
        task_tasks: 0x10,
        task_tgid: 0x20,
        task_pid: 0x24,
        task_mm: 0x28,
        task_active_mm: 0x30,
        task_leader: 0x48,
        task_comm: 0x38,
        mm_pgd: 8,
        tasks: TaskLayout::default(),
        for_host: packet::LinuxLayout::default(),
    }
}
