//! The driver's core beside a real machine that the driver runs on: it is given each VM exit that the machine takes, and
//! each request of the host that the driver is given. What it says the host hears, once the driver has said the same; so
//! the two are compared, and what the core took in can be written down.
//!
//! Used by the tests of the lab. The machine stands still at each exit until the core has dealt with it. Exits that
//! are about the machine's own order, timers and NMIs, are given to the core only where it halts.

mod between;
mod exits;
mod latest;

use super::cores::{Cores, Waits};
use super::facts::RawFacts;
use super::line::{go, lock};
use super::memory::{Observed, Skims};
use super::recording::{Log, Noted};
use super::told;
use super::wire::{Came, Wire};
use between::{Between, NotedLines, Told, cause, is_reply_to, printed};
use debuggee_driver::fake::cpu::Place;
use debugger_host::recording::compare::{Care, Said, difference};
use debugger_host::recording::input::{Change, Input};
use latest::Latest;
use std::collections::{BTreeMap, VecDeque};
use std::io::{self, ErrorKind};
use std::os::unix::net::{UnixListener, UnixStream};
use std::sync::mpsc::Receiver;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use wire_protocol::address::GuestVirtual;
use wire_protocol::link::Role;
use wire_protocol::packet::{Message, Reply, Request, StopCause};

/// Whoever waits looks again after this.
const REST: Duration = Duration::from_micros(50);
/// The driver answers within this.
const PATIENCE: Duration = Duration::from_secs(60);
/// From here on the sessions with the driver are counted.
const CONNECT: u32 = 0x6265_7369;

/// Where VM exits come from.
pub trait Machine: Send {
    /// The next exit, if there is one within this time: the core, and all its values. The machine stands still.
    ///
    /// # Errors
    /// It is gone.
    fn next(&mut self, patience: Duration) -> io::Result<Option<(u16, Vec<Change>)>>;
    /// It goes on.
    ///
    /// # Errors
    /// It is gone.
    fn go_on(&mut self) -> io::Result<()>;
}

/// Reads memory of a machine that stands still.
pub type Memory = Box<dyn FnMut(u64, &mut [u8]) + Send>;

/// What it takes to run beside a machine.
pub struct Parts<M> {
    /// The machine.
    pub machine: M,
    /// Its memory.
    pub memory: Memory,
    /// What the platform told the driver.
    pub facts: Vec<u8>,
    /// The values of each core at its last exit.
    pub last: Vec<Vec<Change>>,
    /// Where the host is waited for.
    pub listener: UnixListener,
    /// Tells that the host's line is pulled out, and put in again at once.
    pub unplugs: Receiver<()>,
    /// The line of the driver.
    pub line: UnixStream,
}

/// Whether these bytes, from some memory on, are what a platform tells.
#[must_use]
pub fn facts_at(bytes: &[u8]) -> Option<&[u8]> {
    let facts = bytes.get(..size_of::<RawFacts>())?;
    RawFacts::from_bytes(facts).map(|_| facts)
}

/// Bytes of what a platform tells: they begin with their number.
pub const FACTS_BYTES: usize = size_of::<RawFacts>();

fn failed(what: impl Into<String>) -> io::Error {
    io::Error::other(what.into())
}

/// What a core leaves its guest with.
type Values = Vec<(Place, u64)>;

/// See the module.
struct Beside<M> {
    machine: M,
    cores: Cores<Between>,
    core_host: Arc<Mutex<Between>>,
    memory: Observed,
    log: Log,
    latest: Vec<Latest>,
    /// The core whose exit the machine stands still at.
    held: Option<usize>,
    /// The last exit that was given is a call of the driver's.
    is_call: bool,
    /// Exits of cores that are wanted, with which they do not come if the driver dealt with them before it halted.
    early: BTreeMap<usize, Vec<Values>>,
    /// Exits to be given once no core halts.
    late: VecDeque<(usize, Values)>,
    /// Cores that ask to leave the hypervisor, with what they left their guests with.
    leaving: BTreeMap<usize, Values>,
    /// All did.
    has_left: bool,
    listener: UnixListener,
    unplugs: Receiver<()>,
    host: Wire,
    host_said: VecDeque<Came>,
    is_host_gone: bool,
    driver: Wire,
    /// Sessions with it.
    sessions: u32,
    is_driver_connected: bool,
    /// Replies and halts of the driver that were not compared yet.
    driver_said: VecDeque<Vec<u8>>,
    /// Of what the driver says.
    base: GuestVirtual,
    /// What scripts printed, on each core: as the core has it, and as the driver has.
    printed: [Vec<String>; 2],
    is_halted: bool,
    /// The host has asked for a halt.
    is_to_halt: bool,
    /// Halts that were dealt with.
    halts: usize,
    exits: usize,
    compared: usize,
}

/// What came of it.
#[derive(Clone, Debug, Default)]
pub struct Ran {
    /// What the core took in and said.
    pub notes: Vec<Noted>,
    /// Exits that it was given.
    pub exits: usize,
    /// Messages of the driver that were as the core's.
    pub compared: usize,
    /// What scripts printed: as the core has it, and as the driver has.
    pub printed: [Vec<String>; 2],
}

/// Runs beside a machine until the host is gone. On a stack of [`super::STACK_BYTES`].
///
/// # Errors
/// The core says something else than the driver, or an end is gone.
pub fn run<M: Machine>(parts: Parts<M>) -> io::Result<Ran> {
    let facts = RawFacts::from_bytes(&parts.facts).ok_or_else(|| failed("no facts"))?;
    let log = Log::default();
    log.took(Input::Facts(parts.facts));
    let skims = Skims::default();
    let core_host = Arc::new(Mutex::new(Between::new(log.clone(), skims.clone())));
    let memory = NotedLines {
        memory: parts.memory,
        log: log.clone(),
    };
    let cores = Cores::start(told(&facts, &core_host, skims, memory));
    let (stream, _) = parts.listener.accept()?;
    parts.listener.set_nonblocking(true)?;
    let latest = parts.last.into_iter().map(Latest::new);
    let mut beside = Beside {
        machine: parts.machine,
        memory: cores.shared.memory.clone(),
        cores,
        core_host,
        log,
        latest: latest.collect(),
        held: None,
        is_call: false,
        early: BTreeMap::new(),
        late: VecDeque::new(),
        leaving: BTreeMap::new(),
        has_left: false,
        listener: parts.listener,
        unplugs: parts.unplugs,
        host: Wire::new(stream, Role::Responder)?,
        host_said: VecDeque::new(),
        is_host_gone: false,
        driver: Wire::new(parts.line, Role::Initiator)?,
        sessions: 0,
        is_driver_connected: false,
        driver_said: VecDeque::new(),
        base: GuestVirtual(0),
        printed: Default::default(),
        is_halted: false,
        is_to_halt: false,
        halts: 0,
        exits: 0,
        compared: 0,
    };
    for core in 0..beside.latest.len() {
        let values = beside.latest[core].for_timer();
        beside.give(core, values, false)?;
    }
    beside.serve()?;
    // What lets the core go is not the host's.
    let notes = beside.log.notes();
    beside.end()?;
    Ok(Ran {
        notes,
        exits: beside.exits,
        compared: beside.compared,
        printed: beside.printed,
    })
}

impl<M: Machine> Beside<M> {
    fn serve(&mut self) -> io::Result<()> {
        loop {
            self.pass_on();
            if self.unplugs.try_recv().is_ok() {
                self.unplug()?;
            }
            self.hear_host()?;
            match self.host_said.pop_front() {
                Some(Came::Connected) => self.connect()?,
                // The host repeats it until it hears of a halt. The core is told when the driver has halted.
                Some(Came::BreakIn) if self.is_halted || self.is_to_halt => {}
                Some(Came::BreakIn) => {
                    self.is_to_halt = true;
                    self.driver.link.break_in();
                }
                Some(Came::Message(message)) => self.answer(message)?,
                None if self.is_host_gone => return Ok(()),
                None => self.turn()?,
            }
        }
    }

    /// The host is hung up on, and comes again.
    fn unplug(&mut self) -> io::Result<()> {
        self.host.hang_up()?;
        let since = Instant::now();
        loop {
            match self.listener.accept() {
                Ok((stream, _)) => return self.host.reopen(stream),
                Err(why) if why.kind() == ErrorKind::WouldBlock && since.elapsed() < PATIENCE => {
                    std::thread::sleep(REST);
                }
                Err(why) => return Err(why),
            }
        }
    }

    /// Lets the core go, if it stands still.
    fn end(&mut self) -> io::Result<()> {
        if self.is_halted {
            self.tell(Told::Message(go()));
            self.until("the end of a halt", |it| {
                Ok((it.cores.wait(REST) == Waits::Idle).then_some(()))
            })?;
        }
        Ok(())
    }

    fn tell(&self, told: Told) {
        lock(&self.core_host).told.push_back(told);
    }

    /// The host hears what the core has said.
    fn pass_on(&mut self) {
        let mut between = lock(&self.core_host);
        while let Some(message) = between.heard.front() {
            // What finds no room is said later.
            if self.host.link.send(message).is_err() {
                return;
            }
            if let Some(texts) = printed(message, self.base) {
                self.printed[0].extend(texts);
            }
            between.heard.pop_front();
        }
    }

    fn hear_host(&mut self) -> io::Result<()> {
        match self.host.turn() {
            Ok(Some(came)) => self.host_said.extend(came),
            Ok(None) | Err(_) => self.is_host_gone = true,
        }
        Ok(())
    }

    fn hear_driver(&mut self) -> io::Result<()> {
        let came = self.driver.turn()?;
        for came in came.ok_or_else(|| failed("the driver's line is gone"))? {
            match came {
                Came::Connected => self.is_driver_connected = true,
                Came::BreakIn => {}
                Came::Message(message) => match printed(&message, self.base) {
                    Some(texts) => self.printed[1].extend(texts),
                    None => self.driver_said.push_back(message),
                },
            }
        }
        Ok(())
    }

    /// Goes on until something is there.
    fn until<T>(
        &mut self,
        what: &str,
        mut there: impl FnMut(&mut Self) -> io::Result<Option<T>>,
    ) -> io::Result<T> {
        let since = Instant::now();
        loop {
            if let Some(it) = there(self)? {
                return Ok(it);
            }
            if since.elapsed() > PATIENCE {
                let said: Vec<_> = self.driver_said.iter().map(|it| self.words(it)).collect();
                return Err(failed(format!(
                    "nothing came of {what}; the driver said {said:?}"
                )));
            }
            self.turn()?;
        }
    }

    fn words(&self, message: &[u8]) -> String {
        let base = self.base;
        Said { message, base }.in_words()
    }

    /// Takes what the driver says, and an exit if there is one.
    fn turn(&mut self) -> io::Result<()> {
        self.hear_host()?;
        self.hear_driver()?;
        while !self.is_halted
            && let Some((core, values)) = self.late.pop_front()
        {
            self.give(core, values, false)?;
            self.drain()?;
        }
        if self.held.is_none() {
            self.held = self.hear_machine()?;
        }
        match self.held.take() {
            // The core knows already that it is to come, and will leave its guest in the same way again.
            Some(_) if self.is_halted => self.machine.go_on()?,
            // Each of them waits in the hypervisor for the others.
            Some(core) if self.latest[core].asks_to_leave() => {
                let values = self.latest[core].for_core();
                self.leaving.insert(core, values);
                self.machine.go_on()?;
                if self.leaving.len() == self.latest.len() {
                    self.leave()?;
                }
            }
            Some(core) => {
                let values = self.latest[core].for_core();
                self.give(core, values, true)?;
                self.drain()?;
            }
            None => {}
        }
        let stop = self.driver_said.iter().find_map(|it| cause(it, self.base));
        match stop {
            Some((StopCause::BreakIn, core)) if !self.is_halted => {
                self.is_to_halt = false;
                self.tell(Told::BreakIn);
                let core = usize::from(core.0);
                let values = self.latest[core].for_timer();
                self.give(core, values, false)?;
                while !self.is_halted {
                    self.look()?;
                }
                Ok(())
            }
            Some((cause, _)) if !self.is_halted => Err(failed(format!(
                "the driver halts for {cause:?}, and the core does not"
            ))),
            _ => Ok(()),
        }
    }

    /// The core that left its guest for a reason that matters, if one did: the machine stands still then.
    fn hear_machine(&mut self) -> io::Result<Option<usize>> {
        let Some((core, values)) = self.machine.next(REST)? else {
            return Ok(None);
        };
        let core = usize::from(core);
        let Some(latest) = self.latest.get_mut(core) else {
            return Err(failed(format!("there is no core {core}")));
        };
        if latest.leaves(values) {
            return Ok(Some(core));
        }
        self.machine.go_on()?;
        Ok(None)
    }

    /// What the core says must be what the driver says.
    fn compare(&mut self, core: &[u8], driver: &[u8]) -> io::Result<()> {
        let base = self.base;
        let [expected, seen] = [driver, core].map(|message| Said { message, base });
        match difference(expected, seen, Care::Stable) {
            None => self.compared += 1,
            Some(difference) => {
                return Err(failed(format!(
                    "the core differs from the driver{difference}"
                )));
            }
        }
        Ok(())
    }

    fn connect(&mut self) -> io::Result<()> {
        lock(&self.core_host).heard.clear();
        self.base = GuestVirtual(0);
        self.driver_said.clear();
        self.is_driver_connected = false;
        self.tell(Told::Connect);
        self.sessions += 1;
        self.driver.link.connect(CONNECT + self.sessions);
        self.until("a session", |it| {
            it.look_if_running()?;
            let is_told = lock(&it.core_host).told.is_empty();
            Ok((it.is_driver_connected && is_told).then_some(()))
        })
    }

    fn look_if_running(&mut self) -> io::Result<()> {
        match self.is_halted || self.has_left {
            true => Ok(()),
            false => self.look(),
        }
    }

    /// Gives a request to the core, and then to the driver.
    fn answer(&mut self, message: Vec<u8>) -> io::Result<()> {
        let Ok((number, request)) = Request::decode(&message, self.base) else {
            return Err(failed("a request that nobody understands"));
        };
        let is_go = request == Request::Go;
        let what = format!("{request:x?}");
        let base = self.base;
        let is_reply = |said: &[u8]| is_reply_to(said, number, base);
        self.tell(Told::Message(message.clone()));
        let reply = self.until(&what, |it| {
            it.look_if_running()?;
            Ok(lock(&it.core_host).last(is_reply))
        })?;
        if is_go && self.is_halted {
            self.is_halted = false;
            self.settle(false)?;
        }
        if self.driver.link.send(&message).is_err() {
            return Err(failed("the driver takes no request"));
        }
        let said = self.until(&what, |it| Ok(it.take_said(is_reply)))?;
        self.compare(&reply, &said)?;
        if let Ok(Message::Reply {
            reply: Reply::Hello(hello),
            ..
        }) = Message::decode(&said, base)
        {
            self.base = hello.kernel_base;
        }
        Ok(())
    }
}
