//! The state that commands work on: the session, the symbols, and who is told of things. Also the
//! source of values for expressions.

use super::CommandError;
use super::kept::Kept;
use super::looked_at::TaskContext;
use crate::answer::event::{Installed, Pools};
use crate::answer::occasion::OccasionName;
use crate::answer::{Answer, Form, Hex, Message, Report, Warning};
use crate::expression::eval::{Context, EvalError, Other};
use crate::expression::{Expression, Read};
use crate::session::{Session, SessionError, Space, System};
use crate::sink::Sinks;
use crate::symbol::bpf;
use crate::symbol::modules::{self, Memory};
use crate::symbol::processes;
use crate::symbol::resolve::Symbols;
use crate::symbol::table::Table;
use crate::types::register;
use wire_protocol::address::EventId;
use wire_protocol::event::EventEntry;

/// Where Enter alone goes on.
#[derive(Clone, Debug)]
pub struct Continuation {
    /// The command, to which the next address is appended.
    pub command: String,
    /// The next address.
    pub address: u64,
    /// As much as last time.
    pub len: u64,
}

/// Who is told what commands find out, and what happens meanwhile.
pub trait Listener {
    /// Takes something to tell, as it comes.
    fn report(&mut self, report: Report<'_>, form: Form);

    /// A message as files get it.
    fn words(&self, message: &Message) -> String;
}

/// A breakpoint that is there for a lockup.
#[derive(Clone, Copy, Debug)]
pub(super) struct Lockup {
    /// Of which driver.
    pub(super) session: u64,
    /// Its number there.
    pub(super) id: EventId,
    /// Which lockup.
    pub(super) name: OccasionName,
}

/// Everything commands can reach.
pub struct Debugger {
    /// The debuggee.
    pub session: Session,
    /// Names.
    pub symbols: Symbols,
    /// Who is told.
    pub(super) listener: Box<dyn Listener>,
    /// In which form.
    pub form: Form,
    /// Where messages of events can go.
    pub sinks: Sinks,
    /// What the user has set, to set it again.
    pub(super) kept: Kept,
    /// Where Enter alone goes on.
    pub continuation: Option<Continuation>,
    /// What commands look at, in its halt.
    pub(super) context: Option<TaskContext>,
    /// The debuggee was let go and no command came since: a halt is left for the next one to tell.
    pub(super) has_just_gone: bool,
    /// The user wants to leave.
    pub is_leaving: bool,
    /// `$arg0`, `$arg1` … of the script that is being run.
    pub script_arguments: Vec<String>,
    /// Scripts within scripts.
    pub script_depth: usize,
    /// What the command met on its way; its response takes it.
    pub(super) warnings: Vec<Warning>,
    /// What a script printed that the command ran; its response takes it.
    pub(super) messages: Vec<Message>,
    /// Why memory or a register could not be read for an expression.
    unreadable: Option<SessionError>,
    /// Breakpoints that are there for lockups.
    pub(super) lockups: Vec<Lockup>,
    /// The halt for which the list of modules was read.
    modules_of_halt: Option<u32>,
}

impl Debugger {
    /// A debugger that has not shaken hands yet.
    #[must_use]
    pub fn new(session: Session, symbols: Symbols, listener: Box<dyn Listener>) -> Self {
        Self {
            session,
            symbols,
            listener,
            form: Form::default(),
            sinks: Sinks::default(),
            kept: Kept::default(),
            continuation: None,
            context: None,
            has_just_gone: false,
            is_leaving: false,
            script_arguments: Vec::new(),
            script_depth: 0,
            warnings: Vec::new(),
            messages: Vec::new(),
            unreadable: None,
            lockups: Vec::new(),
            modules_of_halt: None,
        }
    }

    /// Tells something.
    pub fn report(&mut self, report: Report<'_>) {
        self.listener.report(report, self.form);
    }

    /// Shakes hands; the answer has halt, events and pools of a halted debuggee.
    ///
    /// # Errors
    /// When the debuggee does not answer.
    pub fn connect(&mut self) -> Result<Answer, CommandError> {
        self.modules_of_halt = None;
        // Halts are counted anew where another driver is there, and its memory is another's.
        self.context = None;
        self.session.shake_hands()?;
        self.session.ask_of_network()?;
        let kernel_base = self.session.identity().kernel_base.0;
        self.symbols.place_kernel(kernel_base);
        let slide = self.symbols.kernel().map_or(0, Table::slide);
        self.session.slide_image(slide);
        let mut halt = None;
        let mut events = None;
        let mut there = None;
        let mut pools = None;
        if let Some(known) = self.session.halt().cloned() {
            // The mirror is filled first, so that the halt can name its event.
            let entries = self.session.events()?;
            events = Some(self.installed(&entries));
            there = Some(entries);
            self.session.drop_news_of(known.number);
            halt = Some(Box::new(self.halt(&known)));
            pools = Some(Pools::from(&self.session.pools()?));
        }
        self.meet(there.as_deref());
        Ok(Answer::Connected {
            status: Box::new(super::status::status(&self.session, &self.symbols)?),
            halt,
            events,
            pools,
        })
    }

    /// Events with the names of their addresses.
    pub(super) fn installed(&self, entries: &[EventEntry]) -> Vec<Installed> {
        entries
            .iter()
            .map(|entry| {
                let outputs = self.session.output_of(entry.id);
                Installed::new(entry, outputs, &self.symbols)
            })
            .collect()
    }

    /// Value of an expression.
    ///
    /// # Errors
    /// When it has none.
    pub fn value(&mut self, expression: &Expression) -> Result<u64, CommandError> {
        self.unreadable = None;
        expression.evaluate(self).map_err(|error| match error {
            EvalError::UnknownSymbol { name, .. } => {
                CommandError::Value(EvalError::UnknownSymbol {
                    similar: self.symbols.similar(&name),
                    name,
                })
            }
            // The session's error says more than its words.
            EvalError::Unreadable(_) if self.unreadable.is_some() => self
                .unreadable
                .take()
                .map_or(CommandError::NoResult {}, Into::into),
            other => CommandError::Value(other),
        })
    }

    /// The operating core's virtual memory, or that of the task that is looked at.
    #[must_use]
    pub fn here(&self) -> Space {
        self.context()
            .map_or(Space::Virtual(self.session.core()), TaskContext::space)
    }

    /// Reads the list of modules, once in a halt.
    ///
    /// # Errors
    /// When memory cannot be read.
    pub fn refresh_modules(&mut self) -> Result<(), CommandError> {
        let halt = self.session.halt().ok_or(SessionError::Running)?.number;
        if self.modules_of_halt != Some(halt) {
            let System::Linux(layout) = self.session.identity().system;
            let list = modules::list(&mut SessionMemory(&mut self.session), &layout)?;
            self.symbols.set_modules(list);
            // Without their names one can go on.
            let programs = bpf::programs(&mut SessionMemory(&mut self.session), &layout);
            self.symbols.set_programs(programs.unwrap_or_default());
            self.modules_of_halt = Some(halt);
        }
        Ok(())
    }

    /// The number of the one process that has this name.
    ///
    /// # Errors
    /// When none has it, or several have, or memory cannot be read.
    pub fn process(&mut self, name: &str) -> Result<u32, CommandError> {
        let System::Linux(layout) = self.session.identity().system;
        let found = processes::named(&mut SessionMemory(&mut self.session), &layout, name)?;
        let name = name.to_owned();
        match found[..] {
            [pid] => Ok(pid),
            [] => Err(CommandError::NoProcess { name }),
            _ => {
                let pids: Vec<String> = found.iter().map(|pid| format!("{pid:x}")).collect();
                let pids = pids.join(", ");
                Err(CommandError::ManyProcesses { name, pids })
            }
        }
    }

    /// Reads the symbols of a module, if that was not done.
    ///
    /// # Errors
    /// When memory cannot be read, or there is no such module.
    pub fn read_module_symbols(&mut self, name: &str) -> Result<(), CommandError> {
        self.refresh_modules()?;
        if name.eq_ignore_ascii_case(bpf::BPF) {
            return Ok(());
        }
        let module = self
            .symbols
            .modules()
            .iter()
            .find(|m| m.name.eq_ignore_ascii_case(name))
            .cloned()
            .ok_or_else(|| CommandError::NoModule {
                name: name.to_owned(),
            })?;
        if module.table.is_none() {
            let System::Linux(layout) = self.session.identity().system;
            let table = modules::symbols(&mut SessionMemory(&mut self.session), &layout, &module)?;
            self.symbols.set_module_table(&module.name, table);
        }
        Ok(())
    }
}

struct SessionMemory<'a>(&'a mut Session);

impl Memory for SessionMemory<'_> {
    type Error = SessionError;

    fn read(&mut self, address: u64, len: usize) -> Result<Vec<u8>, SessionError> {
        let space = Space::Virtual(self.0.core());
        self.0.memory(space, address, len)
    }
}

impl Debugger {
    /// Keeps why something cannot be read, for [`Self::value`].
    fn unreadable(&mut self, error: SessionError) -> EvalError {
        let words = error.to_string();
        self.unreadable = Some(error);
        EvalError::Unreadable(words)
    }
}

impl Context for Debugger {
    fn register(&mut self, name: &str) -> Result<u64, EvalError> {
        let part =
            register::part(name).ok_or_else(|| EvalError::UnknownRegister { name: name.into() })?;
        if let Some(context) = self.context() {
            return match context.register(part.register) {
                Some(whole) => Ok(part.of(whole)),
                None => Err(EvalError::Unreadable(context.not_saved(name).to_string())),
            };
        }
        let whole = self
            .session
            .register(part.register)
            .map_err(|error| self.unreadable(error))?;
        Ok(part.of(whole))
    }

    fn pseudo(&mut self, name: &str) -> Result<u64, EvalError> {
        match name {
            "ip" => self.register("rip"),
            "core" => match self.session.halt() {
                Some(_) => Ok(u64::from(self.session.core().0)),
                None => Err(self.unreadable(SessionError::Running)),
            },
            _ => Err(EvalError::UnknownPseudo { name: name.into() }),
        }
    }

    fn symbol(&mut self, name: &str) -> Option<u64> {
        if let Some(address) = self.symbols.find(name) {
            return Some(address);
        }
        let (module, _) = name.split_once('!')?;
        if self.session.halt().is_some() && self.read_module_symbols(module).is_ok() {
            return self.symbols.find(name);
        }
        None
    }

    fn memory(&mut self, read: Read, address: u64) -> Result<u64, EvalError> {
        let space = if read.physical {
            Space::Physical
        } else {
            self.here()
        };
        let bytes = self
            .session
            .memory(space, address, read.bytes)
            .map_err(|error| self.unreadable(error))?;
        if bytes.len() < read.bytes {
            return Err(EvalError::Short {
                address,
                bytes: bytes.len(),
            });
        }
        Ok(bytes
            .iter()
            .rev()
            .fold(0, |value, b| value << 8 | u64::from(*b)))
    }

    fn ambiguous(&mut self, word: &str, value: u64, other: Other) {
        let (word, value) = (word.to_owned(), Hex(value));
        self.warnings.push(match other {
            Other::Symbol(symbol) => Warning::NumberIsSymbol {
                word,
                value,
                symbol: Hex(symbol),
            },
            Other::Register => Warning::NumberIsRegister { word, value },
        });
    }
}
