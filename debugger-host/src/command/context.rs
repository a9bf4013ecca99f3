//! Another task's memory and registers in the place of those of the operating core, and processes by number. Called by the
//! commands that read memory and registers.

use super::looked_at::TaskContext;
use super::{CommandError, Debugger};
use crate::expression::Expression;
use crate::session::{Damage, Space, TaskInfo};
use wire_protocol::packet::{TaskSelection, TaskState};
use wire_protocol::register::Register;

/// What the kernel pushes on a task's stack before it switches to another one, from the stack pointer upwards; behind it
/// stands where it goes on.
const SAVED: [Register; 7] = [
    Register::R15,
    Register::R14,
    Register::R13,
    Register::R12,
    Register::Rbx,
    Register::Rbp,
    Register::Rip,
];

/// Numbers of 64 bits, as they stand in memory.
pub(super) fn words(bytes: &[u8]) -> impl Iterator<Item = u64> + '_ {
    let words = bytes.chunks_exact(8);
    words.map(|word| {
        word.iter()
            .rev()
            .fold(0, |all, byte| all << 8 | u64::from(*byte))
    })
}

impl Debugger {
    /// What commands look at, if it is not the operating core.
    #[must_use]
    pub fn context(&self) -> Option<&TaskContext> {
        let halt = self.session.halt()?.number;
        self.context.as_ref().filter(|of| of.is_of(halt))
    }

    /// Looks at a task that does not run; nothing runs meanwhile.
    ///
    /// # Errors
    /// When the debuggee runs or does not answer.
    pub(super) fn look_at(&mut self, task: TaskInfo) -> Result<(), CommandError> {
        self.session.must_be_halted()?;
        let mut registers = Vec::new();
        if task.saved_at != 0 {
            let here = Space::Virtual(self.session.core());
            let len = SAVED.len() * 8;
            // A stack that is gone leaves its memory to be looked at.
            let saved = self.session.memory(here, task.saved_at, len);
            let saved = saved.unwrap_or_default();
            if saved.len() == len {
                registers.extend(SAVED.into_iter().zip(words(&saved)));
                registers.push((Register::Rsp, task.saved_at.wrapping_add(len as u64)));
                registers.sort_by_key(|(register, _)| register.to_wire());
            }
        }
        let halt = self.session.halt().map_or(0, |halt| halt.number);
        self.context = Some(TaskContext::new(task, registers, halt));
        Ok(())
    }

    /// Looks at the operating core again.
    pub(super) fn look_at_core(&mut self) {
        self.context = None;
    }

    /// The one task that is asked for.
    pub(super) fn one_task(
        &mut self,
        which: TaskSelection,
    ) -> Result<Option<TaskInfo>, CommandError> {
        let (mut found, damage) = self.session.tasks(which)?;
        match (found.len(), damage) {
            (0, Some(damage)) => Err(damaged(damage)),
            (0, None) => Ok(None),
            _ => Ok(Some(found.swap_remove(0))),
        }
    }

    /// The process of a number.
    ///
    /// # Errors
    /// There is none; it is the number of a thread.
    pub(super) fn process_of(&mut self, pid: u32) -> Result<TaskInfo, CommandError> {
        if let Some(process) = self.one_task(TaskSelection::Process { pid })? {
            return Ok(process);
        }
        match self.one_task(TaskSelection::Thread { tid: pid })? {
            Some(thread) => Err(CommandError::IsThread {
                tid: pid,
                pid: thread.id.pid,
                name: thread.id.name,
            }),
            None => Err(CommandError::NoSuchProcess { pid }),
        }
    }

    /// The thread of a number.
    ///
    /// # Errors
    /// There is none.
    pub(super) fn thread_of(&mut self, tid: u32) -> Result<TaskInfo, CommandError> {
        let found = self.one_task(TaskSelection::Thread { tid })?;
        found.ok_or(CommandError::NoSuchThread { tid })
    }

    /// A number of a process or thread as typed.
    pub(super) fn task_number(
        &mut self,
        what: &'static str,
        number: &Expression,
    ) -> Result<u32, CommandError> {
        let value = self.value(number)?;
        u32::try_from(value).map_err(|_| CommandError::TooBig {
            what,
            value,
            limit: u32::MAX.into(),
        })
    }

    /// The memory of a process, or what is looked at where none is named.
    ///
    /// # Errors
    /// There is no such process, or it has no memory any more.
    pub(super) fn space_of(&mut self, pid: Option<&Expression>) -> Result<Space, CommandError> {
        let Some(pid) = pid else {
            return Ok(self.here());
        };
        self.session.must_be_halted()?;
        let pid = self.task_number("the process", pid)?;
        let process = self.process_of(pid)?;
        if matches!(process.state, TaskState::Zombie | TaskState::Dead) {
            let name = process.id.name;
            return Err(CommandError::Exited { pid, name });
        }
        Ok(Space::Tables(process.root))
    }
}

/// A list in which something was to be found.
pub(super) fn damaged(damage: Damage) -> CommandError {
    match damage {
        Damage::Unknown => CommandError::NoTasks,
        Damage::Loop { at } => CommandError::TasksLoop { at },
        Damage::Cut { at } => CommandError::TasksCut { at },
    }
}
