//! The processes of the made-up debuggee: those of its list, a kernel thread, a zombie, and a second thread of `lonely`.

use super::KERNEL;
use wire_protocol::address::{CoreId, GuestPhysical, GuestVirtual};
use wire_protocol::packet::{
    FoundTasks, StopTask, Task, TaskName, TaskSelection, TaskState, TaskWriter, TasksEnd,
};
use wire_protocol::register::{Register, RegisterSet};

/// Page tables of `lonely`: what it has in memory is what all have.
pub(crate) const LONELY_ROOT: u64 = 0x3000;

/// What core 0 runs is `lonely`, core 1 its other thread.
pub(super) fn on_core(core: CoreId, changed: bool) -> StopTask {
    let changed = changed.then(|| RegisterSet::EMPTY.with(Register::Rcx).with(Register::R11));
    StopTask {
        pid: 0x1c,
        tid: 0x1c + u32::from(core.0),
        name: TaskName::new(b"lonely"),
        changed,
    }
}

type Row = (u32, u32, &'static [u8], TaskState, u16, &'static [u8]);

const TASKS: &[Row] = &[
    (0, 0, b"swapper/0", TaskState::Runnable, 0, b""),
    (
        0x1c,
        0x1c,
        b"lonely",
        TaskState::Running,
        0,
        b"/bin/lonely\0-v\0",
    ),
    (0x1c, 0x1d, b"lonely", TaskState::Running, 1, b""),
    (0x30, 0x30, b"twin", TaskState::Sleeping, 1, b"twin\0"),
    (0x40, 0x40, b"kthreadd", TaskState::Sleeping, 0, b""),
    (0x41, 0x41, b"gone", TaskState::Zombie, 0, b""),
    (
        0xcf,
        0xcf,
        b"twin",
        TaskState::Uninterruptible,
        0,
        b"twin\0",
    ),
];

fn task(index: usize, with_command: bool) -> Task<'static> {
    let (pid, tid, name, state, core, command) = TASKS[index];
    let has_no_stack = matches!(state, TaskState::Running | TaskState::Zombie);
    Task {
        address: GuestVirtual(KERNEL + 0x5000 + 0x40 * index as u64),
        pid,
        tid,
        parent: u32::from(pid != 0),
        state,
        core: CoreId(core),
        root: GuestPhysical(LONELY_ROOT),
        has_memory: !command.is_empty(),
        saved_at: GuestVirtual(if has_no_stack { 0 } else { KERNEL + 0x7000 }),
        name: TaskName::new(name),
        command: if with_command { command } else { &[] },
    }
}

pub(super) fn list<'s>(
    which: TaskSelection,
    from: u32,
    is_damaged: bool,
    base: GuestVirtual,
    scratch: &'s mut [u8],
) -> FoundTasks<'s> {
    let is_first = |(pid, tid, ..): &Row| pid == tid;
    let wanted = |index: usize, row: &Row| match which {
        TaskSelection::Processes => is_first(row),
        TaskSelection::Threads => true,
        TaskSelection::ThreadsOf { pid } => row.0 == pid,
        TaskSelection::Process { pid } => row.0 == pid && is_first(row),
        TaskSelection::Thread { tid } => row.1 == tid,
        TaskSelection::At { address } => task(index, false).address == address,
        TaskSelection::On { core } => row.3 == TaskState::Running && row.4 == core.0,
    };
    let with_command = !matches!(
        which,
        TaskSelection::Threads | TaskSelection::ThreadsOf { .. }
    );
    let chosen = TASKS.iter().enumerate();
    let chosen = chosen.filter(|(index, row)| wanted(*index, row));
    let mut tasks = TaskWriter::new(base, scratch);
    // Three fit.
    let mut end = TasksEnd::Whole;
    for (count, (index, _)) in chosen.skip(from as usize).enumerate() {
        if count == 3 {
            end = TasksEnd::More;
            break;
        }
        tasks.push(&task(index, with_command)).expect("room");
    }
    let is_list = matches!(which, TaskSelection::Processes);
    let (end, at) = match is_damaged && is_list {
        true => (TasksEnd::Loop, KERNEL + 0x5050),
        false => (end, 0),
    };
    FoundTasks {
        end,
        at: GuestVirtual(at),
        tasks: tasks.finish(),
    }
}
