//! Linux's lists of tasks: the ring of processes that begins at `init_task`, and the ring of threads of each. A ring that a
//! broken guest has tied into a knot, or cut, ends the walk and is told.

use super::kernel::{FoundTask, KernelSpace};
use super::linux::{self, LinuxLayout};
use crate::port::PhysicalMemory;
use core::cell::Cell;
use wire_protocol::address::{CoreId, Extent, GuestPhysical, GuestVirtual};
use wire_protocol::packet::{Task, TaskName, TaskSelection, TaskState, TasksEnd};

/// Bits of a task's state.
mod state {
    pub(super) const INTERRUPTIBLE: u32 = 0x1;
    pub(super) const UNINTERRUPTIBLE: u32 = 0x2;
    pub(super) const STOPPED: u32 = 0x4;
    pub(super) const TRACED: u32 = 0x8;
    pub(super) const EXIT_DEAD: u32 = 0x10;
    pub(super) const EXIT_ZOMBIE: u32 = 0x20;
    pub(super) const PARKED: u32 = 0x40;
    pub(super) const DEAD: u32 = 0x80;
    pub(super) const NOT_LOAD: u32 = 0x400;
}

/// What the walk of a ring wants next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Go {
    On,
    /// That was all, or there is no room for it.
    End(TasksEnd),
}

/// A ring ends with its head, or it is damaged there.
type RingEnd = Result<TasksEnd, (TasksEnd, u64)>;

/// Links that are followed for one request, in all rings together.
const LINKS_MAX: u32 = 1 << 18;

/// Follows a ring of list nodes behind `head`, as long as there are links left.
fn ring(
    mem: &impl PhysicalMemory,
    kernel: &KernelSpace,
    left: &Cell<u32>,
    head: u64,
    mut each: impl FnMut(u64) -> Result<Go, (TasksEnd, u64)>,
) -> RingEnd {
    let mut node = head;
    // What comes back here is a loop: the place moves on after 1, 2, 4 ... nodes, so that every loop is met.
    let (mut mark, mut behind, mut until) = (head, 0_u32, 1_u32);
    while let Some(rest) = left.get().checked_sub(1) {
        left.set(rest);
        let next = kernel.read_u64(mem, node, 0).ok_or((TasksEnd::Cut, node))?;
        if next == head {
            return Ok(TasksEnd::Whole);
        }
        if next == mark {
            return Err((TasksEnd::Loop, node));
        }
        // A link that leads nowhere is damaged where it stands.
        if kernel.read_u64(mem, next, 0).is_none() {
            return Err((TasksEnd::Cut, node));
        }
        node = next;
        if let Go::End(end) = each(node)? {
            return Ok(end);
        }
        behind += 1;
        if behind == until {
            (mark, behind) = (node, 0);
            until = until.saturating_mul(2);
        }
    }
    Err((TasksEnd::Loop, node))
}

/// See [`super::task::list`].
pub(super) fn list(
    mem: &impl PhysicalMemory,
    kernel: &KernelSpace,
    layout: &LinuxLayout,
    (which, from): (TaskSelection, u32),
    mut take: impl FnMut(FoundTask) -> bool,
) -> (TasksEnd, GuestVirtual) {
    let is_known = layout.init_task != 0 && layout.tasks.parent != 0;
    if !is_known {
        return (TasksEnd::Unknown, GuestVirtual(0));
    }
    let left = &Cell::new(LINKS_MAX);
    let mut left_out = from;
    let mut add = |address: u64, with_command: bool| {
        if left_out > 0 {
            left_out -= 1;
            return Go::On;
        }
        match task(mem, kernel, layout, address, with_command) {
            Some(found) if !take(found) => Go::End(TasksEnd::More),
            // What cannot be read is shown by the link that leads on from there.
            Some(_) | None => Go::On,
        }
    };
    let ended = match which {
        TaskSelection::On { core } => {
            let current = linux::current_task(mem, layout, core);
            Ok(current.map_or(TasksEnd::Whole, |task| one(add(task.0, true))))
        }
        TaskSelection::At { address } => Ok(one(add(address.0, true))),
        TaskSelection::Processes => {
            processes(mem, kernel, left, layout, |task| Ok(add(task, true)))
        }
        TaskSelection::Process { pid } => processes(mem, kernel, left, layout, |task| {
            let is_it = kernel.read_u32(mem, task, layout.task_tgid) == Some(pid);
            Ok(if is_it { last(add(task, true)) } else { Go::On })
        }),
        TaskSelection::Threads => processes(mem, kernel, left, layout, |process| {
            let ended = threads(mem, kernel, left, layout, process, |task| add(task, false))?;
            Ok(went_on(ended))
        }),
        TaskSelection::ThreadsOf { pid } => processes(mem, kernel, left, layout, |process| {
            if kernel.read_u32(mem, process, layout.task_tgid) != Some(pid) {
                return Ok(Go::On);
            }
            threads(mem, kernel, left, layout, process, |task| add(task, false)).map(Go::End)
        }),
        TaskSelection::Thread { tid } => {
            let mut is_found = false;
            processes(mem, kernel, left, layout, |process| {
                let ended = threads(mem, kernel, left, layout, process, |task| {
                    if kernel.read_u32(mem, task, layout.task_pid) != Some(tid) {
                        return Go::On;
                    }
                    is_found = true;
                    last(add(task, true))
                })?;
                Ok(if is_found { Go::End(ended) } else { Go::On })
            })
        }
    };
    match ended {
        Ok(end) => (end, GuestVirtual(0)),
        Err((end, at)) => (end, GuestVirtual(at)),
    }
}

/// There is one only, so the list is whole behind it.
const fn last(added: Go) -> Go {
    match added {
        Go::On => Go::End(TasksEnd::Whole),
        Go::End(end) => Go::End(end),
    }
}

const fn one(added: Go) -> TasksEnd {
    match added {
        Go::On => TasksEnd::Whole,
        Go::End(end) => end,
    }
}

/// A list in a list was whole: the outer one goes on.
const fn went_on(ended: TasksEnd) -> Go {
    match ended {
        TasksEnd::Whole => Go::On,
        end => Go::End(end),
    }
}

/// The first threads of all processes, `init_task` first.
fn processes(
    mem: &impl PhysicalMemory,
    kernel: &KernelSpace,
    left: &Cell<u32>,
    layout: &LinuxLayout,
    mut each: impl FnMut(u64) -> Result<Go, (TasksEnd, u64)>,
) -> RingEnd {
    if let Go::End(end) = each(layout.init_task)? {
        return Ok(end);
    }
    let offset = u64::from(layout.task_tasks);
    ring(
        mem,
        kernel,
        left,
        layout.init_task.wrapping_add(offset),
        |node| each(node.wrapping_sub(offset)),
    )
}

/// All threads of the process that `leader` leads.
fn threads(
    mem: &impl PhysicalMemory,
    kernel: &KernelSpace,
    left: &Cell<u32>,
    layout: &LinuxLayout,
    leader: u64,
    mut each: impl FnMut(u64) -> Go,
) -> RingEnd {
    let tasks = &layout.tasks;
    let signal = kernel
        .read_u64(mem, leader, tasks.signal)
        .filter(|signal| *signal != 0)
        .ok_or((TasksEnd::Cut, leader.wrapping_add(tasks.signal.into())))?;
    let head = signal.wrapping_add(tasks.threads.into());
    let offset = u64::from(tasks.thread_node);
    ring(mem, kernel, left, head, |node| {
        Ok(each(node.wrapping_sub(offset)))
    })
}

/// What is told of one. `None`: it cannot be read.
fn task(
    mem: &impl PhysicalMemory,
    kernel: &KernelSpace,
    layout: &LinuxLayout,
    address: u64,
    with_command: bool,
) -> Option<FoundTask> {
    let tasks = &layout.tasks;
    let process = linux::process(mem, kernel, layout, GuestVirtual(address))?;
    let tid = kernel.read_u32(mem, address, layout.task_pid)?;
    let core = kernel.read_u32(mem, address, tasks.core)?;
    let core = CoreId(u16::try_from(core).ok()?);
    let is_current = linux::current_task(mem, layout, core) == Some(GuestVirtual(address));
    let state = state_of(
        kernel.read_u32(mem, address, tasks.state)?,
        kernel.read_u32(mem, address, tasks.exit_state)?,
        is_current,
    );
    let parent = kernel.read_u64(mem, address, tasks.parent)?;
    let parent = kernel.read_u32(mem, parent, layout.task_tgid).unwrap_or(0);
    let mm = kernel.read_u64(mem, address, layout.task_mm)?;
    // The stack of one that has ended is another's by now, or nobody's.
    let saved = match is_current || matches!(state, TaskState::Zombie | TaskState::Dead) {
        true => None,
        false => kernel.read_u64(mem, address, tasks.stack),
    };
    let command = match with_command && mm != 0 {
        true => command(mem, kernel, layout, mm),
        false => None,
    };
    let task = Task {
        address: GuestVirtual(address),
        pid: process.pid,
        tid,
        parent,
        state,
        core,
        root: GuestPhysical(process.cr3).page(),
        has_memory: mm != 0,
        saved_at: GuestVirtual(saved.unwrap_or_default()),
        name: TaskName::new(&process.name),
        command: &[],
    };
    Some(FoundTask {
        task,
        command: command.unwrap_or_default(),
    })
}

/// Where the command line stands.
fn command(
    mem: &impl PhysicalMemory,
    kernel: &KernelSpace,
    layout: &LinuxLayout,
    mm: u64,
) -> Option<Extent<GuestVirtual>> {
    let start = kernel.read_u64(mem, mm, layout.tasks.command_start)?;
    let end = kernel.read_u64(mem, mm, layout.tasks.command_end)?;
    Extent::new(GuestVirtual(start), end.checked_sub(start)?)
}

/// What a task does, by the words that Linux keeps of it.
fn state_of(task: u32, exit: u32, is_current: bool) -> TaskState {
    let has = |bit: u32| task & bit != 0;
    if exit & state::EXIT_ZOMBIE != 0 {
        return TaskState::Zombie;
    }
    if exit & state::EXIT_DEAD != 0 || has(state::DEAD) {
        return TaskState::Dead;
    }
    if is_current {
        return TaskState::Running;
    }
    match task {
        0 => TaskState::Runnable,
        _ if has(state::STOPPED) => TaskState::Stopped,
        _ if has(state::TRACED) => TaskState::Traced,
        _ if has(state::PARKED) => TaskState::Parked,
        _ if has(state::UNINTERRUPTIBLE) && has(state::NOT_LOAD) => TaskState::Idle,
        _ if has(state::UNINTERRUPTIBLE) => TaskState::Uninterruptible,
        _ if has(state::INTERRUPTIBLE) => TaskState::Sleeping,
        _ => TaskState::Other,
    }
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;
    use crate::fake::FlatMemory;
    use crate::fake::tables::linux as model;
    use crate::guest::linux::TaskLayout;
    use std::vec::Vec;

    const DIRECT_MAP: u64 = 0xffff_8880_0000_0000;
    const LIMIT: u64 = 0x20_0000;

    fn kernel() -> KernelSpace {
        KernelSpace {
            direct_map: Extent::new(GuestVirtual(DIRECT_MAP), LIMIT).unwrap(),
            image: Extent::default(),
            cr3: 0x10_0000,
            cr4: 0,
        }
    }

    fn layout() -> LinuxLayout {
        let mut layout = model(DIRECT_MAP + 0x4000);
        layout.current_task_slot[..2].copy_from_slice(&[0x1000, 0x1008]);
        layout.tasks = TaskLayout {
            state: 0x50,
            exit_state: 0x54,
            core: 0x58,
            parent: 0x60,
            signal: 0x68,
            threads: 0x10,
            thread_node: 0x70,
            stack: 0x80,
            command_start: 0x10,
            command_end: 0x18,
        };
        layout
    }

    fn at(phys: u64) -> u64 {
        DIRECT_MAP + phys
    }

    fn node(mem: &mut FlatMemory, nodes: &[u64]) {
        for (node, next) in nodes.iter().zip(nodes.iter().cycle().skip(1)) {
            mem.write_u64(*node, at(*next));
        }
    }

    /// Processes 0, 1 and 50; 50 has threads 50 and 51, and 51 runs on core 1.
    fn memory() -> FlatMemory {
        let mut mem = FlatMemory::new(LIMIT);
        for (phys, pid, tid, signal) in [
            (0x4000, 0_u32, 0_u32, 0x8000_u64),
            (0x4200, 1, 1, 0x8100),
            (0x4400, 50, 50, 0x8200),
            (0x4600, 50, 51, 0x8200),
        ] {
            mem.write(phys + 0x20, &pid.to_le_bytes());
            mem.write(phys + 0x24, &tid.to_le_bytes());
            mem.write(phys + 0x38, b"name\0");
            mem.write(phys + 0x50, &1_u32.to_le_bytes());
            mem.write_u64(phys + 0x60, at(0x4200));
            mem.write_u64(phys + 0x68, at(signal));
            mem.write_u64(phys + 0x80, at(0x9000 + phys));
        }
        mem.write(0x4658, &1_u32.to_le_bytes());
        mem.write_u64(0x1008, at(0x4600));
        node(&mut mem, &[0x4010, 0x4210, 0x4410]);
        node(&mut mem, &[0x8010, 0x4070]);
        node(&mut mem, &[0x8110, 0x4270]);
        node(&mut mem, &[0x8210, 0x4470, 0x4670]);
        // Process 50 has memory, with a command line.
        for task in [0x4400, 0x4600] {
            mem.write_u64(task + 0x28, at(0xa000));
        }
        mem.write_u64(0xa008, at(0xb000));
        mem.write_u64(0xa010, 0x7000);
        mem.write_u64(0xa018, 0x7009);
        mem
    }

    fn listed(mem: &FlatMemory, which: TaskSelection) -> (Vec<FoundTask>, TasksEnd, u64) {
        let mut found = Vec::new();
        let (end, at) = list(mem, &kernel(), &layout(), (which, 0), |task| {
            found.push(task);
            true
        });
        (found, end, at.0)
    }

    fn tids(mem: &FlatMemory, which: TaskSelection) -> Vec<u32> {
        let (found, end, _) = listed(mem, which);
        assert_eq!(end, TasksEnd::Whole, "{which:?}");
        found.iter().map(|found| found.task.tid).collect()
    }

    #[test]
    fn each_selection_has_its_tasks() {
        let mem = memory();
        let core = |core| TaskSelection::On { core: CoreId(core) };
        for (which, expected) in [
            (TaskSelection::Processes, &[0, 1, 50][..]),
            (TaskSelection::Threads, &[0, 1, 50, 51]),
            (TaskSelection::ThreadsOf { pid: 50 }, &[50, 51]),
            (TaskSelection::ThreadsOf { pid: 51 }, &[]),
            (TaskSelection::Process { pid: 1 }, &[1]),
            // The number of a thread.
            (TaskSelection::Process { pid: 51 }, &[]),
            (TaskSelection::Thread { tid: 51 }, &[51]),
            (TaskSelection::Thread { tid: 52 }, &[]),
            (core(1), &[51]),
            (core(0), &[]),
            (core(64), &[]),
            (
                TaskSelection::At {
                    address: GuestVirtual(at(0x4200)),
                },
                &[1],
            ),
        ] {
            assert_eq!(tids(&mem, which), expected, "{which:?}");
        }
    }

    #[test]
    fn a_task_has_its_state_its_parent_and_its_memory() {
        let mem = memory();
        let (found, ..) = listed(&mem, TaskSelection::Threads);
        let (sleeps, runs) = (found[2].task, found[3].task);
        assert_eq!(sleeps.state, TaskState::Sleeping);
        assert_eq!(sleeps.saved_at, GuestVirtual(at(0xd400)));
        assert_eq!((runs.state, runs.core), (TaskState::Running, CoreId(1)));
        assert_eq!(runs.saved_at, GuestVirtual(0), "the core has its registers");
        assert_eq!((runs.parent, runs.root), (1, GuestPhysical(0xb000)));
        let (found, ..) = listed(&mem, TaskSelection::Process { pid: 50 });
        let command = Extent::new(GuestVirtual(0x7000), 9).unwrap();
        assert_eq!(found[0].command, command);
    }

    #[test]
    fn one_that_has_ended_has_saved_nothing_that_is_still_its_own() {
        let mut mem = memory();
        mem.write(0x4254, &0x20_u32.to_le_bytes());
        let (found, ..) = listed(&mem, TaskSelection::Process { pid: 1 });
        assert_eq!(found[0].task.state, TaskState::Zombie);
        assert_eq!(found[0].task.saved_at, GuestVirtual(0));
    }

    #[test]
    fn a_list_goes_on_where_there_was_no_room() {
        let mem = memory();
        let mut tids = Vec::new();
        for from in 0..5 {
            let mut room = 1;
            let which = TaskSelection::Threads;
            let (end, _) = list(&mem, &kernel(), &layout(), (which, from), |found| {
                let has_room = room > 0;
                if has_room {
                    tids.push(found.task.tid);
                }
                room -= 1;
                has_room
            });
            let is_last = from >= 3;
            assert_eq!(end == TasksEnd::Whole, is_last, "{from}");
        }
        assert_eq!(tids, [0, 1, 50, 51]);
    }

    #[test]
    fn a_knot_is_found_wherever_it_is_tied() {
        for (link, to) in [(0x4410, 0x4210), (0x4410, 0x4410), (0x4210, 0x4210)] {
            let mut mem = memory();
            mem.write_u64(link, at(to));
            let (found, end, _) = listed(&mem, TaskSelection::Processes);
            assert_eq!(end, TasksEnd::Loop);
            assert!(found.len() < 12, "{}", found.len());
        }
        let mut mem = memory();
        mem.write_u64(0x4670, at(0x4470));
        let (_, end, _) = listed(&mem, TaskSelection::ThreadsOf { pid: 50 });
        assert_eq!(end, TasksEnd::Loop);
    }

    #[test]
    fn a_cut_list_says_where() {
        for link in [0, 5, 0xdead_0000_0000_0000, u64::MAX] {
            let mut mem = memory();
            mem.write_u64(0x4210, link);
            let (found, end, place) = listed(&mem, TaskSelection::Processes);
            assert_eq!(found.len(), 2);
            assert_eq!((end, place), (TasksEnd::Cut, at(0x4210)));
        }
        let mut mem = memory();
        mem.write_u64(0x4468, 0);
        let (_, end, place) = listed(&mem, TaskSelection::Threads);
        assert_eq!((end, place), (TasksEnd::Cut, at(0x4468)));
    }

    #[test]
    fn nothing_is_guessed_of_a_kernel_that_is_not_known() {
        let mut unknown = layout();
        unknown.tasks = TaskLayout::default();
        let which = (TaskSelection::Processes, 0);
        let (end, _) = list(&memory(), &kernel(), &unknown, which, |_| true);
        assert_eq!(end, TasksEnd::Unknown);
    }

    #[test]
    fn states_are_those_of_the_kernels_words() {
        for (task, exit, state) in [
            (0, 0, TaskState::Runnable),
            (1, 0, TaskState::Sleeping),
            (2, 0, TaskState::Uninterruptible),
            (0x402, 0, TaskState::Idle),
            (4, 0, TaskState::Stopped),
            (8, 0, TaskState::Traced),
            (0x80, 0x20, TaskState::Zombie),
            (0x80, 0x10, TaskState::Dead),
            (0x40, 0, TaskState::Parked),
            (0x1000, 0, TaskState::Other),
        ] {
            assert_eq!(state_of(task, exit, false), state, "{task:x} {exit:x}");
        }
        assert_eq!(state_of(1, 0, true), TaskState::Running);
    }
}
