//! Lists of processes and threads, whatever the guest's system. Called while everything stands still, in VMX-root, by the core
//! that serves; pure reads, bounded.

use super::kernel::FoundTask;
use super::layout::{GuestLayout, SystemLayout};
use super::linux_tasks;
use crate::port::PhysicalMemory;
use wire_protocol::address::GuestVirtual;
use wire_protocol::packet::{TaskSelection, TasksEnd};

/// Gives the tasks that are asked for to `take`, until that has no room for one. How the list ends, and where it is damaged.
pub fn list(
    mem: &impl PhysicalMemory,
    layout: &GuestLayout,
    which: TaskSelection,
    from: u32,
    take: impl FnMut(FoundTask) -> bool,
) -> (TasksEnd, GuestVirtual) {
    match &layout.system {
        SystemLayout::Linux(linux) => {
            linux_tasks::list(mem, &layout.kernel, linux, (which, from), take)
        }
    }
}
