//! Linux processes, found in memory from layout data that the platform gathered at load. Pure
//! reads, bounded: a list that a broken guest has tied into a knot ends the search.

use super::kernel::{KernelSpace, NAME_BYTES, Process};
use crate::port::PhysicalMemory;
use wire_protocol::address::{CoreId, GuestVirtual};
use wire_protocol::limits;
use wire_protocol::packet;

/// Tasks looked at before a search gives up.
pub const TASKS_MAX: usize = 65_536;

/// Bits of CR3 that are an address.
const ROOT: u64 = 0x000f_ffff_ffff_f000;
/// With page-table isolation, the root for user mode is the page behind the kernel's own.
const USER_ROOT: u64 = 1 << 12;

/// Where things stand in the kernel's structures. Offsets are in bytes from the start of the
/// structure.
#[derive(Clone, Copy, Debug)]
pub struct LinuxLayout {
    /// Selector of the segment whose limit tells a core its number.
    pub core_selector: u16,
    /// Per core, the physical address of its `current` pointer; 0 if unknown.
    pub current_task_slot: [u64; limits::CORES],
    /// Virtual address of `init_task`.
    pub init_task: u64,
    /// `task_struct.tasks`, a `list_head`.
    pub task_tasks: u32,
    /// `task_struct.tgid`: what users call the process id.
    pub task_tgid: u32,
    /// `task_struct.pid`: what users call the thread id.
    pub task_pid: u32,
    /// `task_struct.mm`; a null pointer in kernel threads.
    pub task_mm: u32,
    /// `task_struct.active_mm`
    pub task_active_mm: u32,
    /// `task_struct.group_leader`
    pub task_leader: u32,
    /// `task_struct.comm`, [`NAME_BYTES`] with NUL padding.
    pub task_comm: u32,
    /// `mm_struct.pgd`
    pub mm_pgd: u32,
    /// What lists of tasks need besides.
    pub tasks: TaskLayout,
    /// What the host has to know: where the list of modules stands.
    pub for_host: packet::LinuxLayout,
}

/// Where things stand that lists of tasks tell. All zero: not known.
#[derive(Clone, Copy, Debug, Default)]
pub struct TaskLayout {
    /// `task_struct.__state`, 32 bits.
    pub state: u32,
    /// `task_struct.exit_state`, 32 bits.
    pub exit_state: u32,
    /// The core that the task runs on or ran on last, 32 bits.
    pub core: u32,
    /// `task_struct.real_parent`
    pub parent: u32,
    /// `task_struct.signal`, which all threads of a process share.
    pub signal: u32,
    /// `signal_struct.thread_head`, a `list_head`.
    pub threads: u32,
    /// `task_struct.thread_node`, a `list_head`.
    pub thread_node: u32,
    /// `task_struct.thread.sp`: the stack pointer when it ran last.
    pub stack: u32,
    /// `mm_struct.arg_start`
    pub command_start: u32,
    /// `mm_struct.arg_end`
    pub command_end: u32,
}

/// The number of the process that runs on `core`, 0 for the idle task. `None` if it cannot be
/// read.
#[must_use]
pub(super) fn current_pid(
    mem: &impl PhysicalMemory,
    kernel: &KernelSpace,
    layout: &LinuxLayout,
    core: CoreId,
) -> Option<u32> {
    let task = current_task(mem, layout, core)?;
    kernel.read_u32(mem, task.0, layout.task_tgid)
}

/// The number of the thread that runs on `core`.
#[must_use]
pub(super) fn current_thread(
    mem: &impl PhysicalMemory,
    kernel: &KernelSpace,
    layout: &LinuxLayout,
    core: CoreId,
) -> Option<u32> {
    let task = current_task(mem, layout, core)?;
    kernel.read_u32(mem, task.0, layout.task_pid)
}

/// The `task_struct` of the process that `core` runs: that of its first thread.
#[must_use]
pub(super) fn current_leader(
    mem: &impl PhysicalMemory,
    kernel: &KernelSpace,
    layout: &LinuxLayout,
    core: CoreId,
) -> Option<GuestVirtual> {
    let task = current_task(mem, layout, core)?;
    let leader = kernel.read_u64(mem, task.0, layout.task_leader)?;
    Some(GuestVirtual(leader))
}

/// The `task_struct` that is current on `core`.
#[must_use]
pub(super) fn current_task(
    mem: &impl PhysicalMemory,
    layout: &LinuxLayout,
    core: CoreId,
) -> Option<GuestVirtual> {
    let slot = *layout.current_task_slot.get(usize::from(core.0))?;
    if slot == 0 || slot.checked_add(8)? > mem.limit() {
        return None;
    }
    let mut bytes = [0; 8];
    mem.read(slot, &mut bytes);
    let task = u64::from_le_bytes(bytes);
    (task != 0).then_some(GuestVirtual(task))
}

/// The process of that number. Number 0 is the idle task of the first core.
#[must_use]
pub(super) fn find_process(
    mem: &impl PhysicalMemory,
    kernel: &KernelSpace,
    layout: &LinuxLayout,
    pid: u32,
) -> Option<Process> {
    let task = tasks(mem, kernel, layout)
        .find(|task| kernel.read_u32(mem, task.0, layout.task_tgid) == Some(pid))?;
    process(mem, kernel, layout, task)
}

/// The process that has the root table which `cr3` names, or the one of user mode that stands behind it.
#[must_use]
pub(super) fn process_of_tables(
    mem: &impl PhysicalMemory,
    kernel: &KernelSpace,
    layout: &LinuxLayout,
    cr3: u64,
) -> Option<Process> {
    let root = cr3 & ROOT;
    let having = |root: u64| {
        let mut all =
            tasks(mem, kernel, layout).filter_map(|task| process(mem, kernel, layout, task));
        all.find(|found| found.cr3 == root && root != kernel.cr3)
    };
    having(root).or_else(|| having(root & !USER_ROOT))
}

/// The tasks that lead a process, each once, `init_task` first.
pub(super) fn tasks<M: PhysicalMemory>(
    mem: &M,
    kernel: &KernelSpace,
    layout: &LinuxLayout,
) -> impl Iterator<Item = GuestVirtual> {
    let mut next = Some(layout.init_task).filter(|task| *task != 0);
    let walk = core::iter::from_fn(move || {
        let task = next?;
        // A link leads to the list node inside the next task.
        next = kernel
            .read_u64(mem, task, layout.task_tasks)
            .and_then(|link| link.checked_sub(u64::from(layout.task_tasks)))
            .filter(|task| *task != layout.init_task);
        Some(GuestVirtual(task))
    });
    walk.take(TASKS_MAX)
}

/// What is known about the process that `task` leads.
#[must_use]
pub(super) fn process(
    mem: &impl PhysicalMemory,
    kernel: &KernelSpace,
    layout: &LinuxLayout,
    task: GuestVirtual,
) -> Option<Process> {
    let pid = kernel.read_u32(mem, task.0, layout.task_tgid)?;
    let mm = kernel.read_u64(mem, task.0, layout.task_mm)?;
    let cr3 = if mm == 0 {
        kernel.cr3
    } else {
        let pgd = kernel.read_u64(mem, mm, layout.mm_pgd)?;
        kernel.physical(mem, pgd)?
    };
    let mut name = [0; NAME_BYTES];
    kernel.read(mem, task.0, layout.task_comm, &mut name)?;
    Some(Process {
        task,
        pid,
        cr3,
        name,
    })
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;
    use crate::fake::FlatMemory;
    use crate::fake::tables::{self as model, GuestTables, PRESENT};
    use crate::guest::layout::{GuestLayout, SystemLayout};
    use crate::guest::process::{current_pid, current_thread, find_process};
    use std::vec::Vec;
    use wire_protocol::address::Extent;

    const DIRECT_MAP: u64 = 0xffff_8880_0000_0000;
    const KERNEL: u64 = 0xffff_ffff_8100_0000;
    const ROOT: u64 = 0x10_0000;
    /// `init_task` is in the kernel's image, all others are in the direct map.
    const INIT_PHYSICAL: u64 = 0x8_0000;
    const LIMIT: u64 = 0x20_0000;

    fn layout() -> GuestLayout {
        let mut linux = model::linux(KERNEL);
        linux.current_task_slot[..2].copy_from_slice(&[0x1000, 0x1008]);
        GuestLayout {
            kernel: KernelSpace {
                direct_map: Extent::new(GuestVirtual(DIRECT_MAP), LIMIT).unwrap(),
                image: Extent::default(),
                cr3: ROOT,
                cr4: 0,
            },
            system: SystemLayout::Linux(linux),
        }
    }

    /// A kernel with processes 0, 1, 50 and 51, of which 50 is a kernel thread.
    fn memory() -> FlatMemory {
        let mut mem = FlatMemory::new(LIMIT);
        GuestTables::new(ROOT, 4).map(&mut mem, KERNEL, INIT_PHYSICAL, 12, PRESENT);
        let tasks = [INIT_PHYSICAL, 0x4000, 0x5000, 0x6ff0];
        let addresses = [
            KERNEL,
            DIRECT_MAP + 0x4000,
            DIRECT_MAP + 0x5000,
            DIRECT_MAP + 0x6ff0,
        ];
        let next = addresses.iter().cycle().skip(1);
        for (((phys, next), pid), mm) in tasks
            .iter()
            .zip(next)
            .zip([0, 1, 50, 51])
            .zip([0, 0x7000, 0, 0x7100])
        {
            mem.write(phys + 0x10, &(next + 0x10).to_le_bytes());
            mem.write(phys + 0x20, &u32::to_le_bytes(pid));
            mem.write(phys + 0x24, &u32::to_le_bytes(pid + 1000));
            let mm_pointer = if mm == 0 { 0 } else { DIRECT_MAP + mm };
            mem.write(phys + 0x28, &mm_pointer.to_le_bytes());
            mem.write(phys + 0x38, b"name\0");
            if mm != 0 {
                mem.write(
                    mm + 8,
                    &(DIRECT_MAP + 0x9000 + u64::from(pid) * 4096).to_le_bytes(),
                );
            }
        }
        mem.write(0x1000, &(DIRECT_MAP + 0x5000).to_le_bytes());
        mem
    }

    #[test]
    fn processes_are_found_by_number() {
        let mem = memory();
        let found = find_process(&mem, &layout(), 51).unwrap();
        // Its fields straddle two pages.
        assert_eq!(found.task, GuestVirtual(DIRECT_MAP + 0x6ff0));
        assert_eq!(found.cr3, 0x9000 + 51 * 4096);
        assert!(found.name.starts_with(b"name\0"));
        assert_eq!(find_process(&mem, &layout(), 1).unwrap().cr3, 0xa000);
        assert_eq!(find_process(&mem, &layout(), 52), None);
    }

    #[test]
    fn processes_are_found_by_their_tables() {
        let mem = memory();
        let pid = |cr3| {
            let GuestLayout { kernel, system } = layout();
            let SystemLayout::Linux(linux) = &system;
            process_of_tables(&mem, &kernel, linux, cr3).map(|found| found.pid)
        };
        let own = 0x9000 + 51 * 4096;
        assert_eq!(pid(own | 0x801), Some(51));
        assert_eq!(pid(0xa000), Some(1));
        // The root of user mode, which stands behind.
        assert_eq!(pid(own | USER_ROOT), Some(51));
        assert_eq!(pid(ROOT), None);
        assert_eq!(pid(0), None);
    }

    #[test]
    fn kernel_threads_and_the_idle_task_use_the_kernels_tables() {
        let mem = memory();
        assert_eq!(find_process(&mem, &layout(), 50).unwrap().cr3, ROOT);
        let idle = find_process(&mem, &layout(), 0).unwrap();
        assert_eq!(idle.task, GuestVirtual(KERNEL));
    }

    #[test]
    fn every_task_is_visited_once() {
        let mem = memory();
        let GuestLayout { kernel, system } = layout();
        let SystemLayout::Linux(linux) = &system;
        let tasks: Vec<u64> = tasks(&mem, &kernel, linux).map(|task| task.0).collect();
        assert_eq!(tasks.len(), 4);
        assert_eq!(tasks[0], KERNEL);
    }

    #[test]
    fn a_list_tied_into_a_knot_ends_the_search() {
        let mut mem = memory();
        // The last task leads back to the second.
        mem.write(0x6ff0 + 0x10, &(DIRECT_MAP + 0x4010).to_le_bytes());
        if !cfg!(miri) {
            assert_eq!(find_process(&mem, &layout(), 52), None);
            let GuestLayout { kernel, system } = layout();
            let SystemLayout::Linux(linux) = &system;
            assert_eq!(tasks(&mem, &kernel, linux).count(), TASKS_MAX);
        }
        assert!(find_process(&mem, &layout(), 51).is_some());
    }

    #[test]
    fn a_list_that_leads_nowhere_ends_the_search() {
        for link in [0_u64, 5, 0xdead_0000_0000_0000, u64::MAX] {
            let mut mem = memory();
            mem.write(0x4010, &link.to_le_bytes());
            assert_eq!(find_process(&mem, &layout(), 51), None);
            assert!(find_process(&mem, &layout(), 1).is_some());
        }
    }

    #[test]
    fn an_address_space_that_cannot_be_walked_is_no_process() {
        let mut mem = memory();
        mem.write(0x7108, &0xdead_0000_0000_0000_u64.to_le_bytes());
        assert_eq!(find_process(&mem, &layout(), 51), None);
    }

    #[test]
    fn the_running_process_is_known_per_core() {
        let mem = memory();
        assert_eq!(current_pid(&mem, &layout(), CoreId(0)), Some(50));
        assert_eq!(current_thread(&mem, &layout(), CoreId(0)), Some(1050));
        // Its pointer is null; it has no pointer; there is no such core.
        for core in [1, 2, 63, 64, u16::MAX] {
            assert_eq!(current_pid(&mem, &layout(), CoreId(core)), None);
        }
    }

    #[test]
    fn a_layout_of_zeroes_finds_nothing() {
        let mut unknown = layout();
        let SystemLayout::Linux(linux) = &mut unknown.system;
        linux.init_task = 0;
        linux.current_task_slot = [u64::MAX; limits::CORES];
        assert_eq!(find_process(&memory(), &unknown, 0), None);
        assert_eq!(current_pid(&memory(), &unknown, CoreId(0)), None);
    }

    #[test]
    fn kernel_addresses_that_a_core_does_not_map_are_in_the_kernels_tables() {
        let mem = memory();
        let (layout, empty) = (layout(), 0x3000);
        for (cr3, address, expected) in [
            (empty, KERNEL, ROOT),
            (ROOT, KERNEL, ROOT),
            // An address of the user's half is the core's own, mapped or not.
            (empty, 0x1000, empty),
        ] {
            let tables = layout
                .kernel
                .tables_for(&mem, cr3, 0, GuestVirtual(address));
            assert_eq!(tables, expected);
        }
    }
}
