//! A task that commands look at in the place of the operating core.

use super::error::CommandError;
use crate::session::{Space, TaskId, TaskInfo};
use wire_protocol::register::Register;

/// What commands look at instead of the operating core, until the debuggee runs.
#[derive(Clone, Debug)]
pub struct TaskContext {
    /// Whose.
    task: TaskInfo,
    /// Those that were saved when it ran last.
    registers: Vec<(Register, u64)>,
    /// The halt in which this was read.
    halt: u32,
}

impl TaskContext {
    /// A task with the registers that it saved, as read in that halt.
    pub(super) const fn new(task: TaskInfo, registers: Vec<(Register, u64)>, halt: u32) -> Self {
        Self {
            task,
            registers,
            halt,
        }
    }

    /// Whether it was read in that halt.
    pub(super) const fn is_of(&self, halt: u32) -> bool {
        self.halt == halt
    }

    /// The task.
    pub(super) const fn task(&self) -> &TaskInfo {
        &self.task
    }

    /// Who it is.
    #[must_use]
    pub const fn id(&self) -> &TaskId {
        &self.task.id
    }

    /// A register that was saved.
    pub(super) fn register(&self, register: Register) -> Option<u64> {
        let found = self.registers.iter().find(|(of, _)| *of == register);
        found.map(|(_, value)| *value)
    }

    /// All that were saved.
    pub(super) fn registers(&self) -> &[(Register, u64)] {
        &self.registers
    }

    /// That none was.
    pub(super) fn nothing_saved(&self) -> CommandError {
        CommandError::NoSavedRegisters {
            tid: self.task.id.tid,
            name: self.task.id.name.clone(),
        }
    }

    /// That a register was not.
    pub(super) fn not_saved(&self, name: &str) -> CommandError {
        if self.registers.is_empty() {
            return self.nothing_saved();
        }
        CommandError::NotSaved {
            name: name.to_owned(),
            tid: self.task.id.tid,
        }
    }

    /// Its memory.
    pub(super) const fn space(&self) -> Space {
        Space::Tables(self.task.root)
    }
}
