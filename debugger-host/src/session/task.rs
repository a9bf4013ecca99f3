//! Processes and threads of the halted debuggee.

use super::{Session, SessionError};
use std::collections::HashSet;
use wire_protocol::address::CoreId;
use wire_protocol::packet::{
    Features, FoundTasks, Reply, Request, StopTask, Task, TaskSelection, TaskState, TasksEnd,
};

/// What runs somewhere.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TaskId {
    /// Number of the process.
    pub pid: u32,
    /// Number of the thread.
    pub tid: u32,
    /// Name of the thread.
    pub name: String,
}

/// Names are shown as text: what is none in them is replaced.
fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

impl From<&StopTask> for TaskId {
    fn from(task: &StopTask) -> Self {
        Self {
            pid: task.pid,
            tid: task.tid,
            name: text(task.name.as_bytes()),
        }
    }
}

/// A process or a thread.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TaskInfo {
    /// Who it is.
    pub id: TaskId,
    /// Its structure in the kernel.
    pub address: u64,
    /// Number of the parent.
    pub parent: u32,
    /// What it does.
    pub state: TaskState,
    /// Where it runs, or ran last.
    pub core: u16,
    /// Physical address of its page tables.
    pub root: u64,
    /// It has memory of its own.
    pub has_memory: bool,
    /// Where the kernel saved its registers; 0 if it runs.
    pub saved_at: u64,
    /// The beginning of its command line.
    pub command: String,
}

impl From<Task<'_>> for TaskInfo {
    fn from(task: Task<'_>) -> Self {
        let command: Vec<String> = task.command.split(|byte| *byte == 0).map(text).collect();
        Self {
            id: TaskId {
                pid: task.pid,
                tid: task.tid,
                name: text(task.name.as_bytes()),
            },
            address: task.address.0,
            parent: task.parent,
            state: task.state,
            core: task.core.0,
            root: task.root.0,
            has_memory: task.has_memory,
            saved_at: task.saved_at.0,
            command: command.join(" ").trim_end().to_owned(),
        }
    }
}

/// A list that does not end as it should.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Damage {
    /// It leads back to what was there before.
    Loop {
        /// The node from which it does.
        at: u64,
    },
    /// It leads to where nothing can be read.
    Cut {
        /// The node from which it does.
        at: u64,
    },
    /// The debuggee does not know where things stand.
    Unknown,
}

impl Session {
    /// Tasks in the order of the kernel's list, and how that is damaged if it is.
    ///
    /// # Errors
    /// When the debuggee runs, refuses or does not answer.
    pub fn tasks(
        &mut self,
        which: TaskSelection,
    ) -> Result<(Vec<TaskInfo>, Option<Damage>), SessionError> {
        self.must_be_halted()?;
        if !self.identity.features.contains(Features::TASKS) {
            return Ok((Vec::new(), Some(Damage::Unknown)));
        }
        let mut all = Vec::new();
        let mut seen = HashSet::new();
        let mut from = 0_u32;
        loop {
            let request = Request::ListTasks { which, from };
            let (end, at, part) = self.ask("list tasks", &request, |reply| match reply {
                Reply::Tasks(FoundTasks { end, at, tasks }) => {
                    let part: Vec<TaskInfo> = tasks.iter().map(Into::into).collect();
                    Some((end, at.0, part))
                }
                _ => None,
            })?;
            let count = part.len() as u32;
            // A loop is found after some of its tasks were met again.
            all.extend(part.into_iter().filter(|task| seen.insert(task.address)));
            let damage = match end {
                TasksEnd::More if count > 0 => {
                    from = from.saturating_add(count);
                    continue;
                }
                TasksEnd::Whole | TasksEnd::More => None,
                TasksEnd::Loop => Some(Damage::Loop { at }),
                TasksEnd::Cut => Some(Damage::Cut { at }),
                TasksEnd::Unknown => Some(Damage::Unknown),
            };
            return Ok((all, damage));
        }
    }

    /// What the operating core runs, as far as that is known in this halt.
    #[must_use]
    pub fn current_task(&self) -> Option<&TaskId> {
        self.halted.as_ref()?;
        self.current.as_ref()
    }

    /// Makes what the operating core runs known, if the debuggee can tell.
    ///
    /// # Errors
    /// When the debuggee does not answer.
    pub(super) fn learn_current(&mut self, core: CoreId) -> Result<(), SessionError> {
        self.current = None;
        if self.identity.features.contains(Features::TASKS) {
            let (found, _) = self.tasks(TaskSelection::On { core })?;
            self.current = found.into_iter().next().map(|task| task.id);
        }
        Ok(())
    }
}
