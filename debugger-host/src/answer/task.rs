//! Processes and threads. Made by [`crate::command`].

use super::{Hex, TaskName};
use crate::session::{Damage, TaskInfo};
use schemars::JsonSchema;
use serde::Serialize;
use wire_protocol::packet::TaskState;

/// A process or a thread.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TaskLine {
    /// Who it is.
    pub task: TaskName,
    /// The operating core runs it.
    pub is_current: bool,
    /// Its structure in the kernel.
    pub address: Hex,
    /// What it does.
    pub state: TaskStateName,
    /// Where it runs, or ran last.
    pub core: u16,
    /// Number of its parent.
    pub parent: u32,
    /// Physical address of its page tables.
    pub root: Hex,
    /// The beginning of its command line; null if it has none, or in a list of threads.
    pub command: Option<String>,
}

impl TaskLine {
    /// With the thread that the operating core runs.
    #[must_use]
    pub fn new(task: &TaskInfo, current: Option<u32>) -> Self {
        Self {
            task: TaskName::from(&task.id),
            is_current: current == Some(task.id.tid),
            address: Hex(task.address),
            state: task.state.into(),
            core: task.core,
            parent: task.parent,
            root: Hex(task.root),
            command: Some(task.command.clone()).filter(|text| !text.is_empty()),
        }
    }
}

/// What a task does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum TaskStateName {
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
    /// Another process traces it.
    Traced,
    /// It has ended, and its parent has not asked how.
    Zombie,
    /// It has ended.
    Dead,
    /// It was put aside.
    Parked,
    /// It waits for work.
    Idle,
    /// Something else.
    Other,
}

impl From<TaskState> for TaskStateName {
    fn from(state: TaskState) -> Self {
        match state {
            TaskState::Running => Self::Running,
            TaskState::Runnable => Self::Runnable,
            TaskState::Sleeping => Self::Sleeping,
            TaskState::Uninterruptible => Self::Uninterruptible,
            TaskState::Stopped => Self::Stopped,
            TaskState::Traced => Self::Traced,
            TaskState::Zombie => Self::Zombie,
            TaskState::Dead => Self::Dead,
            TaskState::Parked => Self::Parked,
            TaskState::Idle => Self::Idle,
            TaskState::Other => Self::Other,
        }
    }
}

impl TaskStateName {
    /// As JSON has it, and people.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Runnable => "runnable",
            Self::Sleeping => "sleeping",
            Self::Uninterruptible => "uninterruptible",
            Self::Stopped => "stopped",
            Self::Traced => "traced",
            Self::Zombie => "zombie",
            Self::Dead => "dead",
            Self::Parked => "parked",
            Self::Idle => "idle",
            Self::Other => "other",
        }
    }
}

/// Where a list of tasks is damaged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
pub enum ListDamage {
    /// It leads back to what was there before.
    Loop {
        /// The node from which it does.
        at: Hex,
    },
    /// It leads to where nothing can be read.
    Cut {
        /// The node from which it does.
        at: Hex,
    },
}

impl ListDamage {
    pub(crate) const fn new(damage: Damage) -> Option<Self> {
        match damage {
            Damage::Loop { at } => Some(Self::Loop { at: Hex(at) }),
            Damage::Cut { at } => Some(Self::Cut { at: Hex(at) }),
            Damage::Unknown => None,
        }
    }
}

/// Where a debuggee halts for a task.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Switch {
    /// At the instruction of its own with which it goes on.
    InItsCode,
    /// When the kernel has switched to it.
    AtTheSwitch,
}
