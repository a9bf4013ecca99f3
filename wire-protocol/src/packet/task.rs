//! Processes and threads of the guest, as the debuggee finds them in memory: which one stands where the machine stopped, and
//! lists of them.

use crate::address::{CoreId, GuestPhysical, GuestVirtual};
use crate::closed::closed_set;
use crate::codec::{
    EncodeError, Parsed, Writer, byte, difference, narrow, one_of, reject, run, varint, when,
};
use crate::limits;
use crate::packet::list::{Item, List};
use crate::register::RegisterSet;

/// Name of a process or a thread, NUL-padded, as its system has it: bytes, most often text.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TaskName {
    bytes: [u8; limits::TASK_NAME_BYTES],
}

impl TaskName {
    /// From the bytes of a structure: what stands behind the first NUL is left out.
    #[must_use]
    pub fn new(raw: &[u8]) -> Self {
        let mut name = Self::default();
        let text = raw.iter().take_while(|byte| **byte != 0);
        for (to, from) in name.bytes.iter_mut().zip(text) {
            *to = *from;
        }
        name
    }

    /// The name, without its padding.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        let len = self.bytes.iter().take_while(|byte| **byte != 0).count();
        self.bytes.get(..len).unwrap_or_default()
    }

    fn write(&self, out: &mut Writer<'_>) -> Result<(), EncodeError> {
        out.run(self.as_bytes(), limits::TASK_NAME_BYTES)
    }

    fn parse(input: &[u8]) -> Parsed<'_, Self> {
        let (rest, bytes) = run(limits::TASK_NAME_BYTES)(input)?;
        if bytes.contains(&0) {
            return reject(input);
        }
        Ok((rest, Self::new(bytes)))
    }
}

/// What runs on the core that a stop is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StopTask {
    /// Number of the process.
    pub pid: u32,
    /// Number of the thread.
    pub tid: u32,
    /// Name of the thread.
    pub name: TaskName,
    /// Of the general registers, flags and selectors those that are not what they were when the machine was let go; not RIP.
    /// `None` if the stop before was another core's, or told what changed otherwise.
    pub changed: Option<RegisterSet>,
}

pub(crate) fn write_stop_task(task: &StopTask, out: &mut Writer<'_>) -> Result<(), EncodeError> {
    out.varint(task.pid)?;
    out.difference(task.tid.into(), task.pid.into())?;
    task.name.write(out)?;
    match task.changed {
        Some(set) if !set.is_known() => Err(EncodeError::OverLimit),
        Some(set) => out.varint(set.0 << 1 | 1),
        None => out.varint(0u64),
    }
}

pub(crate) fn parse_stop_task(input: &[u8]) -> Parsed<'_, StopTask> {
    let (rest, pid) = narrow::<u32>(input)?;
    let (rest, tid) = thread_of(pid, rest)?;
    let (rest, name) = TaskName::parse(rest)?;
    let (rest, changed) = varint(rest)?;
    let set = RegisterSet(changed >> 1);
    let changed = match changed {
        0 => None,
        some if some & 1 == 1 && set.is_known() => Some(set),
        _ => return reject(input),
    };
    let task = StopTask {
        pid,
        tid,
        name,
        changed,
    };
    Ok((rest, task))
}

fn thread_of(pid: u32, input: &[u8]) -> Parsed<'_, u32> {
    let (rest, tid) = difference(pid.into())(input)?;
    match u32::try_from(tid) {
        Ok(tid) => Ok((rest, tid)),
        Err(_) => reject(input),
    }
}

closed_set! {
    /// What a task does.
    pub enum TaskState {
        /// It runs on a core.
        Running,
        /// It waits for a core.
        Runnable,
        /// It waits for something, or a signal.
        Sleeping,
        /// It waits for something, whatever signal comes.
        Uninterruptible,
        /// It was stopped by a signal.
        Stopped,
        /// Another process traces it, and it stands.
        Traced,
        /// It has ended, and its parent has not asked how.
        Zombie,
        /// It has ended.
        Dead,
        /// A thread of the kernel that was put aside.
        Parked,
        /// A thread of the kernel that waits for work.
        Idle,
        /// Something that this version does not know.
        Other,
    }
}

/// Which tasks are asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TaskSelection {
    /// All processes.
    Processes,
    /// All threads.
    Threads,
    /// The threads of one process.
    ThreadsOf {
        /// Its number.
        pid: u32,
    },
    /// One process.
    Process {
        /// Its number.
        pid: u32,
    },
    /// One thread.
    Thread {
        /// Its number.
        tid: u32,
    },
    /// The task whose structure is there.
    At {
        /// Its address.
        address: GuestVirtual,
    },
    /// What a core runs.
    On {
        /// Which.
        core: CoreId,
    },
}

pub(crate) fn write_list(
    which: TaskSelection,
    from: u32,
    base: u64,
    out: &mut Writer<'_>,
) -> Result<(), EncodeError> {
    match which {
        TaskSelection::Processes => out.byte(0)?,
        TaskSelection::Threads => out.byte(1)?,
        TaskSelection::ThreadsOf { pid } => {
            out.byte(2)?;
            out.varint(pid)?;
        }
        TaskSelection::Process { pid } => {
            out.byte(3)?;
            out.varint(pid)?;
        }
        TaskSelection::Thread { tid } => {
            out.byte(4)?;
            out.varint(tid)?;
        }
        TaskSelection::At { address } => {
            out.byte(5)?;
            out.difference(address.0, base)?;
        }
        TaskSelection::On { core } => {
            out.byte(6)?;
            out.varint(core.0)?;
        }
    }
    out.varint(from)
}

pub(crate) fn parse_list(base: u64, input: &[u8]) -> Parsed<'_, (TaskSelection, u32)> {
    let (rest, number) = byte(input)?;
    let (rest, which) = match number {
        0 => (rest, TaskSelection::Processes),
        1 => (rest, TaskSelection::Threads),
        2 => narrow(rest).map(|(rest, pid)| (rest, TaskSelection::ThreadsOf { pid }))?,
        3 => narrow(rest).map(|(rest, pid)| (rest, TaskSelection::Process { pid }))?,
        4 => narrow(rest).map(|(rest, tid)| (rest, TaskSelection::Thread { tid }))?,
        5 => difference(base)(rest).map(|(rest, address)| {
            let address = GuestVirtual(address);
            (rest, TaskSelection::At { address })
        })?,
        6 => narrow(rest).map(|(rest, core)| {
            let core = CoreId(core);
            (rest, TaskSelection::On { core })
        })?,
        _ => return reject(input),
    };
    let (rest, from) = narrow(rest)?;
    Ok((rest, (which, from)))
}

/// A process, by its first thread, or a thread.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Task<'a> {
    /// Its structure in the kernel.
    pub address: GuestVirtual,
    /// Number of the process.
    pub pid: u32,
    /// Number of the thread.
    pub tid: u32,
    /// Number of the process that began it, or has it now.
    pub parent: u32,
    /// What it does.
    pub state: TaskState,
    /// Where it runs, or ran last.
    pub core: CoreId,
    /// Its page tables; the kernel's own if it has none.
    pub root: GuestPhysical,
    /// It has memory of its own.
    pub has_memory: bool,
    /// Where the kernel put its registers when it ran last; 0 if it runs, or if that is not known.
    pub saved_at: GuestVirtual,
    /// Its name.
    pub name: TaskName,
    /// The beginning of its command line, arguments apart by NULs; empty if there is none, or if it was not asked for.
    pub command: &'a [u8],
}

/// Tasks, still encoded.
pub type Tasks<'a> = List<'a, Task<'a>>;

const HAS_MEMORY: u8 = 0x80;
const HAS_SAVED: u8 = 0x40;

impl<'a> Item<'a> for Task<'a> {
    const LIMIT: usize = limits::TASKS_PER_REPLY;

    fn parse(input: &'a [u8], previous: &mut u64) -> Parsed<'a, Self> {
        let (rest, head) = byte(input)?;
        let Some(state) = TaskState::from_wire(head & !(HAS_MEMORY | HAS_SAVED)) else {
            return reject(input);
        };
        let (rest, address) = difference(*previous)(rest)?;
        *previous = address;
        let (rest, pid) = narrow(rest)?;
        let (rest, tid) = thread_of(pid, rest)?;
        let (rest, parent) = narrow(rest)?;
        let (rest, core) = narrow(rest)?;
        let (rest, page) = varint(rest)?;
        if page >> 52 != 0 {
            return reject(input);
        }
        let (rest, saved_at) = when(head & HAS_SAVED != 0, difference(address), rest)?;
        if saved_at == Some(0) {
            return reject(input);
        }
        let (rest, name) = TaskName::parse(rest)?;
        let (rest, command) = run(limits::TASK_COMMAND_BYTES)(rest)?;
        let task = Self {
            address: GuestVirtual(address),
            pid,
            tid,
            parent,
            state,
            core: CoreId(core),
            root: GuestPhysical(page << 12),
            has_memory: head & HAS_MEMORY != 0,
            saved_at: GuestVirtual(saved_at.unwrap_or_default()),
            name,
            command,
        };
        Ok((rest, task))
    }

    fn write(&self, out: &mut Writer<'_>, previous: &mut u64) -> Result<(), EncodeError> {
        let has_saved = self.saved_at.0 != 0;
        let memory = if self.has_memory { HAS_MEMORY } else { 0 };
        let saved = if has_saved { HAS_SAVED } else { 0 };
        out.byte(self.state.to_wire() | memory | saved)?;
        out.difference(self.address.0, *previous)?;
        *previous = self.address.0;
        out.varint(self.pid)?;
        out.difference(self.tid.into(), self.pid.into())?;
        out.varint(self.parent)?;
        out.varint(self.core.0)?;
        if self.root.0 & 0xfff != 0 {
            return Err(EncodeError::OverLimit);
        }
        out.varint(self.root.0 >> 12)?;
        if has_saved {
            out.difference(self.saved_at.0, self.address.0)?;
        }
        self.name.write(out)?;
        out.run(self.command, limits::TASK_COMMAND_BYTES)
    }
}

/// Tasks as they are found, in memory given by the caller.
#[derive(Debug)]
pub struct TaskWriter<'b> {
    bytes: &'b mut [u8],
    len: usize,
    count: u16,
    base: u64,
    previous: u64,
}

impl<'b> TaskWriter<'b> {
    /// No task, for a message with this base.
    pub const fn new(base: GuestVirtual, bytes: &'b mut [u8]) -> Self {
        Self {
            bytes,
            len: 0,
            count: 0,
            base: base.0,
            previous: base.0,
        }
    }

    /// Adds one.
    ///
    /// # Errors
    /// There is no room, and nothing was added.
    pub fn push(&mut self, task: &Task<'_>) -> Result<(), EncodeError> {
        if usize::from(self.count) >= limits::TASKS_PER_REPLY {
            return Err(EncodeError::OverLimit);
        }
        let room = self.bytes.get_mut(self.len..).unwrap_or_default();
        let mut out = Writer::new(room);
        let mut previous = self.previous;
        task.write(&mut out, &mut previous)?;
        self.len += out.len();
        self.count += 1;
        self.previous = previous;
        Ok(())
    }

    /// Those that were added.
    #[must_use]
    pub fn finish(self) -> Tasks<'b> {
        let bytes = self.bytes.get(..self.len).unwrap_or_default();
        Tasks::parse_items(self.count, self.base, bytes).map_or(Tasks::EMPTY, |(_, tasks)| tasks)
    }
}

closed_set! {
    /// How a list of tasks ends.
    pub enum TasksEnd {
        /// There are no more.
        Whole,
        /// The reply is full; the rest is asked for by their place.
        More,
        /// It leads to what it had been at before.
        Loop,
        /// It leads to where nothing can be read.
        Cut,
        /// Where things stand in the guest's structures is not known.
        Unknown,
    }
}

/// What was found.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct FoundTasks<'a> {
    /// How the list ends.
    pub end: TasksEnd,
    /// Where it is damaged; 0 if it is not.
    pub at: GuestVirtual,
    /// The tasks.
    pub tasks: Tasks<'a>,
}

pub(crate) fn write_found(
    found: &FoundTasks<'_>,
    base: u64,
    out: &mut Writer<'_>,
) -> Result<(), EncodeError> {
    out.byte(found.end.to_wire())?;
    out.difference(found.at.0, 0)?;
    found.tasks.write(base, out)
}

pub(crate) fn parse_found(base: u64, input: &[u8]) -> Parsed<'_, FoundTasks<'_>> {
    let (rest, end) = one_of(TasksEnd::from_wire, input)?;
    let (rest, at) = difference(0)(rest)?;
    let (rest, tasks) = Tasks::parse(base)(rest)?;
    let at = GuestVirtual(at);
    Ok((rest, FoundTasks { end, at, tasks }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::packet::kind::{ReplyKind, RequestKind};
    use crate::packet::testing::{
        BASE, reply_body, reply_is_malformed, request_body, request_is_malformed,
    };
    use crate::packet::{Reply, Request};

    #[test]
    fn names_end_at_their_first_nul_and_at_their_room() {
        assert_eq!(TaskName::new(b"sh\0garbage").as_bytes(), b"sh");
        assert_eq!(TaskName::new(b"").as_bytes(), b"");
        let long = [b'x'; 20];
        assert_eq!(TaskName::new(&long).as_bytes(), &long[..16]);
    }

    #[test]
    fn selections_have_one_form_each() {
        for (which, from, body) in [
            (TaskSelection::Processes, 0, &[0, 0][..]),
            (TaskSelection::Threads, 200, &[1, 0xc8, 1]),
            (TaskSelection::ThreadsOf { pid: 5 }, 0, &[2, 5, 0]),
            (TaskSelection::Process { pid: 5 }, 0, &[3, 5, 0]),
            (TaskSelection::Thread { tid: 6 }, 0, &[4, 6, 0]),
            (
                TaskSelection::At {
                    address: GuestVirtual(BASE.0 + 1),
                },
                0,
                &[5, 2, 0],
            ),
            (TaskSelection::On { core: CoreId(1) }, 0, &[6, 1, 0]),
        ] {
            assert_eq!(request_body(Request::ListTasks { which, from }), body);
        }
        request_is_malformed(RequestKind::ListTasks, &[7, 0]);
        request_is_malformed(RequestKind::ListTasks, &[2, 5]);
        request_is_malformed(RequestKind::ListTasks, &[6, 0x80, 0x80, 4, 0]);
    }

    #[test]
    fn a_sleeping_process_has_all_its_parts() {
        let task = Task {
            address: GuestVirtual(BASE.0 + 16),
            pid: 10,
            tid: 11,
            parent: 1,
            state: TaskState::Sleeping,
            core: CoreId(1),
            root: GuestPhysical(0x5000),
            has_memory: true,
            saved_at: GuestVirtual(BASE.0 + 8),
            name: TaskName::new(b"sh"),
            command: b"sh\0-c",
        };
        let mut scratch = [0; 64];
        let found = FoundTasks {
            end: TasksEnd::Cut,
            at: GuestVirtual(1),
            tasks: Tasks::encode_into([task], BASE, &mut scratch).unwrap(),
        };
        let body = reply_body(Reply::Tasks(found));
        let expected = [
            3, 2, 1, 0xc2, 32, 10, 2, 1, 1, 5, 15, 2, b's', b'h', 5, b's', b'h', 0, b'-', b'c',
        ];
        assert_eq!(body, expected);
        // No such state, no such end, a name with a NUL in it, and a cut.
        for (at, wrong) in [(3, 0xff), (0, 5), (12, 0)] {
            let mut body = expected;
            body[at] = wrong;
            reply_is_malformed(ReplyKind::Tasks, &body);
        }
        for len in 0..expected.len() {
            reply_is_malformed(ReplyKind::Tasks, &expected[..len]);
        }
    }

    #[test]
    fn roots_are_whole_pages() {
        let task = Task {
            root: GuestPhysical(0x5001),
            address: GuestVirtual(0),
            pid: 0,
            tid: 0,
            parent: 0,
            state: TaskState::Idle,
            core: CoreId(0),
            has_memory: false,
            saved_at: GuestVirtual(0),
            name: TaskName::default(),
            command: &[],
        };
        let mut scratch = [0; 64];
        let mut tasks = TaskWriter::new(BASE, &mut scratch);
        assert_eq!(tasks.push(&task), Err(EncodeError::OverLimit));
        assert!(tasks.finish().is_empty());
    }
}
