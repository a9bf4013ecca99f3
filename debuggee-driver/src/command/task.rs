//! Processes and threads.

use super::Context;
use crate::guest::{memory, process, task};
use crate::port::Ports;
use crate::shared::Shared;
use wire_protocol::address::{CoreId, GuestVirtual};
use wire_protocol::limits;
use wire_protocol::packet::{
    Features, FoundTasks, Reply, StopTask, Task, TaskSelection, TaskWriter,
};
use wire_protocol::register::RegisterSet;

/// The tasks that are asked for, as far as there is room.
pub fn list<'s, P: Ports>(
    context: &mut Context<'_, '_, P>,
    which: TaskSelection,
    from: u32,
    scratch: &'s mut [u8],
) -> Reply<'s> {
    let shared = context.shared;
    let layout = &shared.facts.layout;
    let mut tasks = TaskWriter::new(shared.facts.kernel_base, scratch);
    let (end, at) = context.halt.read(|installed| {
        task::list(&shared.memory, layout, which, from, |found| {
            let mut command = [0; limits::TASK_COMMAND_BYTES];
            let len = usize::try_from(found.command.len_bytes()).unwrap_or(usize::MAX);
            let room = command.get_mut(..len.min(limits::TASK_COMMAND_BYTES));
            let (root, cr4) = (found.task.root.0, layout.kernel.cr4);
            let start = found.command.start();
            let room = room.unwrap_or_default();
            // What is not present is not told.
            let read = memory::read_virtual(&shared.memory, installed, root, cr4, start, room);
            let command = room.get(..read.unwrap_or(0)).unwrap_or_default();
            let task = Task {
                command,
                ..found.task
            };
            tasks.push(&task).is_ok()
        })
    });
    let tasks = tasks.finish();
    Reply::Tasks(FoundTasks { end, at, tasks })
}

/// What `core` runs, if the host wants to know it. `changed` are registers that are not what they were.
pub fn of_stop<P: Ports>(
    shared: &Shared<P>,
    core: CoreId,
    changed: Option<RegisterSet>,
) -> Option<StopTask> {
    if !shared.host_can(Features::TASKS) {
        return None;
    }
    let (memory, layout) = (&shared.memory, &shared.facts.layout);
    let task: GuestVirtual = process::current_task(memory, layout, core)?;
    Some(StopTask {
        pid: process::current_pid(memory, layout, core)?,
        tid: process::current_thread(memory, layout, core)?,
        name: process::task_name(memory, layout, task)?,
        changed,
    })
}
