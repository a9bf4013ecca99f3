//! `.process` and `.thread`, and their second forms: lists, whose memory and registers are looked at, and where the debuggee
//! halts next.

use super::{Action, Arguments, CommandError, Debugger, ParseError};
use crate::answer::task::{ListDamage, Switch, TaskLine};
use crate::answer::{Address, Answer, TaskName};
use crate::expression::Expression;
use crate::session::{NewEvent, SessionError, Space, TaskInfo};
use wire_protocol::address::{CoreId, GuestVirtual};
use wire_protocol::event::{Breakpoint, Lifetime, Settings, Trigger};
use wire_protocol::packet::{TaskSelection, TaskState};
use wire_protocol::register::Register;

type Parsed = Result<Box<dyn Action>, ParseError>;

/// Which kind of task a command is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Process,
    Thread,
}

impl Kind {
    fn of(command: &str) -> Self {
        match command.contains("process") {
            true => Self::Process,
            false => Self::Thread,
        }
    }

    const fn number(self) -> &'static str {
        match self {
            Self::Process => "pid",
            Self::Thread => "tid",
        }
    }

    const fn structure(self) -> &'static str {
        match self {
            Self::Process => "process",
            Self::Thread => "thread",
        }
    }
}

/// How a task is named.
enum Named {
    Number(Expression),
    Structure(Expression),
}

enum What {
    /// Who runs, and who is looked at.
    Show,
    List(Option<Named>),
    Context(Option<Expression>),
    Switch(Named, Switch),
}

struct Tasks {
    kind: Kind,
    what: What,
}

/// `pid N` or `process ADDRESS`, if it comes next.
fn named(kind: Kind, arguments: &mut Arguments<'_>) -> Result<Option<Named>, ParseError> {
    if arguments.keyword(kind.number()) {
        let number = arguments.number("the number")?;
        return Ok(Some(Named::Number(number)));
    }
    if arguments.keyword(kind.structure()) {
        let address = arguments.expression("the address of the structure")?;
        return Ok(Some(Named::Structure(address)));
    }
    Ok(None)
}

pub(super) fn tasks(mut arguments: Arguments<'_>) -> Parsed {
    let kind = Kind::of(arguments.name);
    let is_second = arguments.name.ends_with('2');
    let method = match is_second {
        true => Switch::AtTheSwitch,
        false => Switch::InItsCode,
    };
    let what = if let Some(named) = named(kind, &mut arguments)? {
        What::Switch(named, method)
    } else if is_second {
        return Err(arguments.missing(match kind {
            Kind::Process => "`pid N` or `process ADDRESS`",
            Kind::Thread => "`tid N` or `thread ADDRESS`",
        }));
    } else if arguments.is_empty() {
        What::Show
    } else if arguments.keyword("list") {
        What::List(match kind {
            Kind::Process => None,
            Kind::Thread => named(Kind::Process, &mut arguments)?,
        })
    } else if arguments.keyword("context") {
        What::Context(match arguments.keyword("off") {
            true => None,
            false => Some(arguments.number("the number")?),
        })
    } else {
        let word = arguments.word().unwrap_or_default().to_owned();
        return Err(ParseError::BadWord {
            word,
            expected: match kind {
                Kind::Process => "list, pid N, process ADDRESS, context PID or context off",
                Kind::Thread => "list, tid N, thread ADDRESS, context TID or context off",
            },
        });
    };
    arguments.end()?;
    Ok(Box::new(Tasks { kind, what }))
}

impl Tasks {
    fn find(&self, debugger: &mut Debugger, named: &Named) -> Result<TaskInfo, CommandError> {
        match named {
            Named::Number(number) => {
                let number = debugger.task_number("the number", number)?;
                match self.kind {
                    Kind::Process => debugger.process_of(number),
                    Kind::Thread => debugger.thread_of(number),
                }
            }
            Named::Structure(address) => at(debugger, address),
        }
    }

    fn list(&self, debugger: &mut Debugger, of: Option<&Named>) -> Result<Answer, CommandError> {
        let which = match (self.kind, of) {
            (Kind::Process, _) => TaskSelection::Processes,
            (Kind::Thread, None) => TaskSelection::Threads,
            (Kind::Thread, Some(Named::Number(pid))) => {
                let pid = debugger.task_number("the process", pid)?;
                // Which is a process, and no thread.
                debugger.process_of(pid)?;
                TaskSelection::ThreadsOf { pid }
            }
            (Kind::Thread, Some(Named::Structure(address))) => TaskSelection::ThreadsOf {
                pid: at(debugger, address)?.id.pid,
            },
        };
        let (found, damage) = debugger.session.tasks(which)?;
        if let (true, Some(damage)) = (found.is_empty(), damage) {
            return Err(super::context::damaged(damage));
        }
        let current = debugger.session.current_task().map(|task| task.tid);
        Ok(Answer::Tasks {
            are_threads: self.kind == Kind::Thread,
            tasks: found
                .iter()
                .map(|task| TaskLine::new(task, current))
                .collect(),
            damage: damage.and_then(ListDamage::new),
        })
    }

    /// Makes commands look at a task, and nothing runs.
    fn context(
        &self,
        debugger: &mut Debugger,
        number: Option<&Expression>,
    ) -> Result<Answer, CommandError> {
        debugger.session.must_be_halted()?;
        let Some(number) = number else {
            debugger.look_at_core();
            let core = debugger.session.core();
            return Ok(Answer::OperatingCore { core: core.0 });
        };
        let task = self.find(debugger, &Named::Number(number.clone()))?;
        if task.state == TaskState::Running {
            // The core has all of its registers.
            debugger.session.set_core(CoreId(task.core))?;
            debugger.look_at_core();
            let (core, task) = (task.core, TaskLine::new(&task, None));
            return Ok(Answer::TaskRuns { core, task });
        }
        let line = TaskLine::new(&task, None);
        let has_memory = task.has_memory;
        debugger.look_at(task)?;
        let context = debugger.context();
        let at = context.and_then(|of| of.register(Register::Rip));
        Ok(Answer::TaskContext {
            task: line,
            has_memory,
            at: at.map(|at| Address::new(at, &debugger.symbols)),
        })
    }

    fn show(&self, debugger: &mut Debugger) -> Result<Answer, CommandError> {
        debugger.session.must_be_halted()?;
        let core = debugger.session.core();
        let current = debugger.one_task(TaskSelection::On { core })?;
        let looked_at = debugger.context().map(|of| TaskLine::new(of.task(), None));
        Ok(Answer::CurrentTask {
            core: core.0,
            task: current.map(|task| TaskLine::new(&task, None)),
            context: looked_at,
        })
    }

    /// Halts the debuggee where the task goes on, the next time.
    fn switch(
        &self,
        debugger: &mut Debugger,
        named: &Named,
        method: Switch,
    ) -> Result<Answer, CommandError> {
        debugger.session.must_be_halted()?;
        let task = self.find(debugger, named)?;
        if matches!(task.state, TaskState::Zombie | TaskState::Dead) {
            let (pid, name) = (task.id.pid, task.id.name);
            return Err(CommandError::Exited { pid, name });
        }
        let address = match method {
            Switch::InItsCode => self.own_code(debugger, &task)?,
            Switch::AtTheSwitch => behind_the_switch(debugger)?,
        };
        let mut settings = Settings::new(Trigger::EptHook {
            address: GuestVirtual(address),
        });
        // In a process's memory the driver knows what starts where by itself.
        settings.options.lead_bytes = match method {
            Switch::InItsCode => None,
            Switch::AtTheSwitch => debugger.lead_bytes(address, false)?,
        };
        settings.filter.pid = Some(task.id.pid);
        if self.kind == Kind::Thread {
            settings.filter.tid = Some(task.id.tid);
        }
        settings.breakpoint = Some(Breakpoint {
            first_pass: 1,
            lifetime: Lifetime::UntilItHalts,
        });
        let added = debugger.session.add_events(&[NewEvent::new(settings)])?;
        match added.results.first() {
            Some(Ok(id)) => Ok(Answer::Switching {
                id: id.0,
                to: TaskName::from(&task.id),
                is_thread: self.kind == Kind::Thread,
                method,
                at: Address::new(address, &debugger.symbols),
            }),
            Some(Err(refusal)) => Err(SessionError::Refused(*refusal).into()),
            None => Err(CommandError::NoResult {}),
        }
    }

    /// Where a process goes on in its own code: what the kernel pushed when it came in last.
    fn own_code(&self, debugger: &mut Debugger, task: &TaskInfo) -> Result<u64, CommandError> {
        let name = || task.id.name.clone();
        if !task.has_memory {
            return Err(CommandError::KernelThread {
                tid: task.id.tid,
                name: name(),
            });
        }
        let stack = if task.saved_at != 0 {
            task.saved_at
        } else {
            let core = CoreId(task.core);
            let set = [Register::Rsp, Register::Cs, Register::Rip];
            let set = set.into_iter().fold(
                Default::default(),
                wire_protocol::register::RegisterSet::with,
            );
            let values = debugger.session.registers(core, set)?;
            let value = |of| {
                values
                    .iter()
                    .find(|(it, _)| *it == of)
                    .map_or(0, |(_, it)| *it)
            };
            if value(Register::Cs) & 3 == 3 {
                return Ok(value(Register::Rip));
            }
            value(Register::Rsp)
        };
        let end = (stack & !(STACK_BYTES - 1)).wrapping_add(STACK_BYTES);
        let here = Space::Virtual(debugger.session.core());
        let len = FRAME_WORDS + FRAME_PADDING;
        let bytes = debugger
            .session
            .memory(here, end.wrapping_sub(8 * len as u64), 8 * len)?;
        let words: Vec<u64> = super::context::words(&bytes).collect();
        returns_to(&words).ok_or_else(|| CommandError::NoUserCode {
            tid: task.id.tid,
            name: name(),
        })
    }
}

/// A task's stack in the kernel, on whose end stands what the kernel pushed when it came in from the program.
const STACK_BYTES: u64 = 16 << 10;
/// What the processor pushes: rip, cs, rflags, rsp, ss.
const FRAME_WORDS: usize = 5;
/// Kernels that can have the processor push more leave so many words free behind it.
const FRAME_PADDING: usize = 2;
/// Code of 64 bits and of 32 bits, and the stack of both, in programs.
const USER_CODE: [u64; 2] = [0x33, 0x23];
const USER_STACK: u64 = 0x2b;
/// Bits of a word that are a selector. The others have the rest of what the processor pushed.
const SELECTOR: u64 = 0xffff;

/// Where a program goes on, by the words at the end of its stack in the kernel.
fn returns_to(end: &[u64]) -> Option<u64> {
    let frames = [0, FRAME_PADDING].map(|padding| {
        let end = end.get(..end.len().saturating_sub(padding))?;
        end.last_chunk::<FRAME_WORDS>()
    });
    frames.into_iter().flatten().find_map(|frame| {
        let [rip, cs, _, _, ss] = *frame;
        let is_programs = USER_CODE.contains(&(cs & SELECTOR)) && ss & SELECTOR == USER_STACK;
        is_programs.then_some(rip)
    })
}

/// Where the kernel has just switched to another task.
fn behind_the_switch(debugger: &mut Debugger) -> Result<u64, CommandError> {
    let names = ["finish_task_switch", "finish_task_switch.isra.0"];
    let found = names.iter().find_map(|name| debugger.symbols.find(name));
    found.ok_or(CommandError::NoSwitch)
}

/// The task whose structure is at an address.
fn at(debugger: &mut Debugger, address: &Expression) -> Result<TaskInfo, CommandError> {
    let address = debugger.value(address)?;
    let which = TaskSelection::At {
        address: GuestVirtual(address),
    };
    let found = debugger.one_task(which)?;
    // What is no task has numbers that lead to none.
    let found = match found {
        Some(task) => {
            let which = TaskSelection::Thread { tid: task.id.tid };
            let known = debugger.one_task(which)?;
            known.filter(|known| known.address == address)
        }
        None => None,
    };
    found.ok_or(CommandError::NoTaskAt { address })
}

impl Action for Tasks {
    fn run(&self, debugger: &mut Debugger) -> Result<Answer, CommandError> {
        match &self.what {
            What::Show => self.show(debugger),
            What::List(of) => self.list(debugger, of.as_ref()),
            What::Context(number) => self.context(debugger, number.as_ref()),
            What::Switch(named, method) => self.switch(debugger, named, *method),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::returns_to;

    #[test]
    fn a_program_goes_on_where_the_frame_says() {
        let frame = [0x4b_fde3, 0x33, 0x246, 0x7ffd_0000, 0x2b];
        let behind = |free: &[u64]| [&[7, 7][..], &frame, free].concat();
        assert_eq!(returns_to(&behind(&[])), Some(0x4b_fde3));
        assert_eq!(returns_to(&behind(&[0, 0])), Some(0x4b_fde3));
        let more = [0x4b_fde3, 0x1_0033, 0x246, 0x7ffd_0000, 0x5_0000_002b, 8, 0];
        assert_eq!(returns_to(&more), Some(0x4b_fde3));
        // Another kind of frame, one of the kernel's, and none.
        assert_eq!(returns_to(&behind(&[0])), None);
        assert_eq!(returns_to(&[0, 0, 5, 0x10, 2, 3, 0x18]), None);
        assert_eq!(returns_to(&frame[1..]), None);
        assert_eq!(returns_to(&[]), None);
    }
}
