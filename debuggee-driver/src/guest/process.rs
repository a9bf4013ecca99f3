//! Processes and threads of the guest, whatever its system. Called in VMX-root, by any core; pure
//! reads, bounded.

use super::kernel::{NAME_BYTES, Process};
use super::layout::{GuestLayout, SystemLayout};
use super::linux;
use crate::port::PhysicalMemory;
use wire_protocol::address::{CoreId, GuestVirtual};
use wire_protocol::packet::TaskName;

/// The number of the process that runs on `core`, 0 for the idle task. `None` if it cannot be
/// read.
#[must_use]
pub fn current_pid(mem: &impl PhysicalMemory, layout: &GuestLayout, core: CoreId) -> Option<u32> {
    match &layout.system {
        SystemLayout::Linux(linux) => linux::current_pid(mem, &layout.kernel, linux, core),
    }
}

/// The number of the thread that runs on `core`.
#[must_use]
pub fn current_thread(
    mem: &impl PhysicalMemory,
    layout: &GuestLayout,
    core: CoreId,
) -> Option<u32> {
    match &layout.system {
        SystemLayout::Linux(linux) => linux::current_thread(mem, &layout.kernel, linux, core),
    }
}

/// The structure of the process that `core` runs.
#[must_use]
pub fn current_process(
    mem: &impl PhysicalMemory,
    layout: &GuestLayout,
    core: CoreId,
) -> Option<GuestVirtual> {
    match &layout.system {
        SystemLayout::Linux(linux) => linux::current_leader(mem, &layout.kernel, linux, core),
    }
}

/// The structure of the thread that `core` runs.
#[must_use]
pub fn current_task(
    mem: &impl PhysicalMemory,
    layout: &GuestLayout,
    core: CoreId,
) -> Option<GuestVirtual> {
    match &layout.system {
        SystemLayout::Linux(linux) => linux::current_task(mem, linux, core),
    }
}

/// Where the name of a thread stands, NUL-terminated, of which [`current_task`] gave the structure.
#[must_use]
pub const fn name_of_task(layout: &GuestLayout, task: GuestVirtual) -> GuestVirtual {
    match &layout.system {
        SystemLayout::Linux(linux) => GuestVirtual(task.0.wrapping_add(linux.task_comm as u64)),
    }
}

/// Its name.
#[must_use]
pub fn task_name(
    mem: &impl PhysicalMemory,
    layout: &GuestLayout,
    task: GuestVirtual,
) -> Option<TaskName> {
    let mut raw = [0; NAME_BYTES];
    layout
        .kernel
        .read(mem, name_of_task(layout, task).0, 0, &mut raw)?;
    Some(TaskName::new(&raw))
}

/// The process whose page tables are at `cr3`, by which of its root tables ever.
#[must_use]
pub fn process_of_tables(
    mem: &impl PhysicalMemory,
    layout: &GuestLayout,
    cr3: u64,
) -> Option<Process> {
    match &layout.system {
        SystemLayout::Linux(linux) => linux::process_of_tables(mem, &layout.kernel, linux, cr3),
    }
}

/// The process of that number.
#[must_use]
pub fn find_process(mem: &impl PhysicalMemory, layout: &GuestLayout, pid: u32) -> Option<Process> {
    match &layout.system {
        SystemLayout::Linux(linux) => linux::find_process(mem, &layout.kernel, linux, pid),
    }
}
