//! The driver's core beside a real machine that the driver runs on: it is given each VM exit that the machine takes, and
//! each request of the host that the driver is given. What it says the host hears, once the driver has said the same; so
//! the two are compared, and what the core took in can be written down.
//!
//! Used by the tests of the lab. The machine stands still at each exit until the core has dealt with it. Exits that
//! are about the machine's own order, timers and NMIs, are given to the core only where it halts.

use super::cores::{Cores, Waits, with_nmi};
use super::facts::RawFacts;
use super::line::{Heard, Host, HostEnd, go, lock};
use super::memory::{GuestMemory, Observed, Piece, Skims};
use super::recording::{Log, Noted, place};
use super::wire::{Came, Wire};
use super::{skims_through, told};
use debuggee_driver::fake::cpu::Place;
use debuggee_driver::vmx::{control_field, guest, reason, ro};
use debugger_host::recording::compare::{Care, Said, difference};
use debugger_host::recording::input::{Change, Input, LINE_BYTES};
use std::collections::VecDeque;
use std::io;
use std::os::unix::net::{UnixListener, UnixStream};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use wire_protocol::address::{CoreId, GuestVirtual};
use wire_protocol::link::Role;
use wire_protocol::packet::{Message, Notice, Reply, Request, StopCause};

/// Whoever waits looks again after this.
const REST: Duration = Duration::from_micros(50);
/// The driver answers within this.
const PATIENCE: Duration = Duration::from_secs(60);
/// Number of the sessions with the driver.
const CONNECT: u32 = 0x6265_7369;
/// A processor's NMIs are of this type.
const NMI_TYPE: u64 = 2;

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
    /// The line of the driver.
    pub line: UnixStream,
}

/// Whether these bytes, from some memory on, are what a platform tells.
#[must_use]
pub fn facts_at(bytes: &[u8]) -> Option<&[u8]> {
    let facts = bytes.get(..size_of::<RawFacts>())?;
    RawFacts::read(facts).map(|_| facts)
}

/// Bytes of what a platform tells: they begin with their number.
pub const FACTS_BYTES: usize = size_of::<RawFacts>();

/// What the core is told next.
enum Told {
    Connect,
    BreakIn,
    Message(Vec<u8>),
}

/// The core's host: it says what it is given to say.
struct Between {
    told: VecDeque<Told>,
    heard: VecDeque<Vec<u8>>,
    /// Halts that it told of.
    halts: usize,
    log: Log,
    skims: Skims,
    sessions: u32,
    is_idle: bool,
}

impl Host for Between {
    fn look(&mut self, end: &mut HostEnd) {
        self.is_idle = end.is_idle();
        if !self.is_idle {
            return;
        }
        let Some(told) = self.told.pop_front() else {
            return;
        };
        self.is_idle = false;
        self.log.heard();
        match told {
            Told::Connect => {
                self.sessions += 1;
                end.connect(self.sessions);
            }
            Told::BreakIn => end.break_in(),
            Told::Message(message) => {
                self.skims.set(skims_through(&message));
                end.send(&message);
            }
        }
    }

    fn hear(&mut self, heard: Heard) {
        if let Heard::Message(message) = heard {
            self.log.said(&message);
            self.halts += usize::from(cause(&message, GuestVirtual(0)).is_some());
            self.heard.push_back(message);
        }
    }

    fn rest(&self) -> Option<Duration> {
        (self.is_idle && self.told.is_empty()).then_some(REST)
    }
}

/// Memory of the real machine, written down as it is looked at.
struct NotedLines {
    memory: Memory,
    log: Log,
}

impl NotedLines {
    fn now(&mut self, line: u64) -> [u8; LINE_BYTES] {
        let mut now = [0; LINE_BYTES];
        (self.memory)(line, &mut now);
        now
    }
}

impl GuestMemory for NotedLines {
    fn first(&mut self, line: u64) -> Piece {
        let now = self.now(line);
        self.log.took(Input::line(line, &now));
        Piece {
            at: line,
            len_bytes: LINE_BYTES,
            bytes: now.to_vec(),
        }
    }

    fn again(&mut self, line: u64, then: &[u8]) -> Option<Vec<u8>> {
        let now = self.now(line);
        if now == then {
            return None;
        }
        self.log.took(Input::line(line, &now));
        Some(now.to_vec())
    }
}

/// What is known of a core of the machine.
struct Latest {
    values: Vec<Change>,
    /// It is known to have come where it halts.
    has_come: bool,
    /// The core has its values that only the driver changes.
    is_begun: bool,
}

/// Fields that the driver decides on, each for its own memory and time.
const OWN_FIELDS: [u32; 9] = [
    control_field::EPTP_FULL,
    control_field::EPTP_LIST_ADDR_FULL,
    control_field::IO_BITMAP_A_ADDR_FULL,
    control_field::IO_BITMAP_B_ADDR_FULL,
    control_field::MSR_BITMAPS_ADDR_FULL,
    control_field::TSC_OFFSET_FULL,
    guest::VMX_PREEMPTION_TIMER_VALUE,
    guest::LINK_PTR_FULL,
    ro::VM_INSTRUCTION_ERROR,
];
/// Fields for the controls that the processor changes at an exit.
const ENTRY_FIELDS: [u32; 3] = [
    control_field::VMENTRY_INTERRUPTION_INFO_FIELD,
    control_field::VMENTRY_EXCEPTION_ERR_CODE,
    control_field::VMENTRY_INSTRUCTION_LEN,
];

impl Latest {
    fn value(&self, field: u32) -> u64 {
        let values = self.values.iter();
        let mut found = values.filter(|value| value.kind == 0 && value.number == field);
        found.next().map_or(0, |value| value.value)
    }

    fn reason(&self) -> u16 {
        self.value(ro::EXIT_REASON) as u16
    }

    fn is_nmi(&self) -> bool {
        let info = self.value(ro::VMEXIT_INTERRUPTION_INFO);
        self.reason() == reason::EXCEPTION_OR_NMI && info >> 8 & 7 == NMI_TYPE
    }

    /// What the core is given: all that is not the driver's own.
    fn for_core(&mut self) -> Vec<(Place, u64)> {
        let is_first = !std::mem::replace(&mut self.is_begun, true);
        let values = self.values.iter().filter(|value| {
            let is_control = value.kind == 0 && value.number >> 10 & 3 == 0;
            let is_entry = ENTRY_FIELDS.contains(&value.number);
            let is_own = value.kind == 0 && OWN_FIELDS.contains(&value.number);
            !is_own && (!is_control || is_entry || is_first)
        });
        values
            .filter_map(|value| Some((place(value)?, value.value)))
            .collect()
    }
}

fn failed(what: impl Into<String>) -> io::Error {
    io::Error::other(what.into())
}

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
    host: Wire,
    host_said: VecDeque<Came>,
    is_host_gone: bool,
    driver: Wire,
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
    let facts = RawFacts::read(&parts.facts).ok_or_else(|| failed("no facts"))?;
    let log = Log::default();
    log.took(Input::Facts(parts.facts));
    let skims = Skims::default();
    let core_host = Arc::new(Mutex::new(Between {
        told: VecDeque::new(),
        heard: VecDeque::new(),
        halts: 0,
        log: log.clone(),
        skims: skims.clone(),
        sessions: 0,
        is_idle: true,
    }));
    let memory = NotedLines {
        memory: parts.memory,
        log: log.clone(),
    };
    let cores = Cores::start(told(&facts, &core_host, skims, memory));
    let (stream, _) = parts.listener.accept()?;
    let latest = parts.last.into_iter().map(|values| Latest {
        values,
        has_come: false,
        is_begun: false,
    });
    let mut beside = Beside {
        machine: parts.machine,
        memory: cores.shared.memory.clone(),
        cores,
        core_host,
        log,
        latest: latest.collect(),
        held: None,
        host: Wire::new(stream, Role::Responder)?,
        host_said: VecDeque::new(),
        is_host_gone: false,
        driver: Wire::new(parts.line, Role::Initiator)?,
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
        let values = with_timer(beside.latest[core].for_core());
        beside.give(core, values, false)?;
    }
    beside.serve()?;
    Ok(Ran {
        notes: beside.log.notes(),
        exits: beside.exits,
        compared: beside.compared,
        printed: beside.printed,
    })
}

/// Values with which a core leaves its guest whose timer has run out.
fn with_timer(mut values: Vec<(Place, u64)>) -> Vec<(Place, u64)> {
    let reason = Place::Field(ro::EXIT_REASON);
    values.retain(|(place, _)| *place != reason);
    values.push((reason, u64::from(reason::PREEMPTION_TIMER)));
    values
}

/// The cause of a halt that a message tells of.
fn cause(message: &[u8], base: GuestVirtual) -> Option<(StopCause, CoreId)> {
    match Message::decode(message, base) {
        Ok(Message::Notice(Notice::Stopped(stop))) => Some((stop.cause, stop.core)),
        _ => None,
    }
}

fn is_reply_to(message: &[u8], number: u8, base: GuestVirtual) -> bool {
    matches!(Message::decode(message, base), Ok(Message::Reply { id, .. }) if id == number)
}

/// What a message says that scripts printed.
fn printed(message: &[u8], base: GuestVirtual) -> Option<Vec<String>> {
    match Message::decode(message, base) {
        Ok(Message::Notice(Notice::Messages(messages))) => {
            let core = messages.core;
            let texts = messages.iter();
            let texts =
                texts.map(|record| format!("{core:?} {:?} {:x?}", record.source, record.content));
            Some(texts.collect())
        }
        _ => None,
    }
}

impl<M: Machine> Beside<M> {
    fn serve(&mut self) -> io::Result<()> {
        loop {
            self.pass_on();
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
                None if self.is_host_gone => return self.end(),
                None => self.turn()?,
            }
        }
    }

    /// Lets the core go, if it stands still.
    fn end(&mut self) -> io::Result<()> {
        if self.is_halted {
            self.tell(Told::Message(go()));
            self.until("the end of a halt", |it| {
                Ok(it.cores.wait(REST) == Waits::Idle)
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

    /// Goes on until something is so.
    fn until(
        &mut self,
        what: &str,
        mut is_so: impl FnMut(&mut Self) -> io::Result<bool>,
    ) -> io::Result<()> {
        let since = Instant::now();
        while !is_so(self)? {
            if since.elapsed() > PATIENCE {
                let said: Vec<_> = self.driver_said.iter().map(|it| self.words(it)).collect();
                return Err(failed(format!(
                    "nothing came of {what}; the driver said {said:?}"
                )));
            }
            self.turn()?;
        }
        Ok(())
    }

    fn words(&self, message: &[u8]) -> String {
        let base = self.base;
        Said { message, base }.in_words()
    }

    /// Takes what the driver says, and an exit if there is one.
    fn turn(&mut self) -> io::Result<()> {
        self.hear_host()?;
        self.hear_driver()?;
        if self.held.is_none() {
            self.held = self.hear_machine()?;
        }
        match self.held.take() {
            // The core knows already that it is to come, and will leave its guest in the same way again.
            Some(_) if self.is_halted => self.machine.go_on()?,
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
                let values = with_timer(self.latest[core].for_core());
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
        latest.values = values;
        if latest.is_nmi() {
            latest.has_come = true;
        } else if latest.reason() != reason::PREEMPTION_TIMER {
            return Ok(Some(core));
        }
        self.machine.go_on()?;
        Ok(None)
    }

    /// The core that polls looks at the line.
    fn look(&mut self) -> io::Result<()> {
        self.cores.look();
        self.settle(false)
    }

    /// What the core says leaves it before anything else happens: else what goes together would depend on time.
    fn drain(&mut self) -> io::Result<()> {
        while !self.is_halted {
            self.look()?;
            let queued = self.cores.shared.line.try_with(|line| line.queued_bytes());
            if queued == Some(0) && lock(&self.core_host).is_idle {
                return Ok(());
            }
        }
        Ok(())
    }

    /// Gives the core an exit, at which the machine may stand still.
    fn give(&mut self, core: usize, values: Vec<(Place, u64)>, is_held: bool) -> io::Result<()> {
        self.exits += 1;
        self.memory.guest_runs();
        for latest in &mut self.latest {
            latest.has_come = false;
        }
        self.cores.exit(core, values, Some(self.log.clone()));
        self.settle(is_held)
    }

    /// Waits until the core is done or stands still, and lets the machine go on when it is as far.
    fn settle(&mut self, mut is_held: bool) -> io::Result<()> {
        let since = Instant::now();
        loop {
            let waits = self.cores.wait(REST);
            if self.cores.any_ended() {
                return Err(failed("a core will not enter its guest again"));
            }
            let has_halted = lock(&self.core_host).halts > self.halts;
            let goes_on = waits != Waits::Busy || has_halted;
            if is_held && goes_on {
                is_held = false;
                self.machine.go_on()?;
            }
            match waits {
                Waits::ForCores(asked) => self.gather(asked[0])?,
                _ if has_halted => return self.halted(),
                Waits::Idle => return Ok(()),
                Waits::Busy if since.elapsed() > PATIENCE => {
                    return Err(failed("the core comes to no end"));
                }
                Waits::Busy => {}
            }
        }
    }

    /// A core is wanted where another one halts: it is given the exit with which it comes.
    fn gather(&mut self, core: usize) -> io::Result<()> {
        let since = Instant::now();
        // If the driver has halted, or another core goes on, it has come without an exit of its own.
        let is_over = |it: &Self| {
            it.held.is_some_and(|held| held != core)
                || it
                    .driver_said
                    .iter()
                    .any(|said| cause(said, it.base).is_some())
                || since.elapsed() > PATIENCE
        };
        while !(self.latest[core].has_come || self.held == Some(core) || is_over(self)) {
            self.hear_driver()?;
            if self.held.is_none() {
                self.held = self.hear_machine()?;
            }
        }
        let mut values = self.latest[core].for_core();
        if self.held != Some(core) {
            with_nmi(&mut values);
            self.cores.exit(core, values, Some(self.log.clone()));
            return Ok(());
        }
        self.held = None;
        self.cores.exit(core, values, Some(self.log.clone()));
        while self.cores.is_at_work(core) {
            std::thread::sleep(REST);
        }
        self.machine.go_on()
    }

    /// The core stands still, and so does the driver before the host hears of it.
    fn halted(&mut self) -> io::Result<()> {
        self.halts += 1;
        self.is_halted = true;
        if self.is_to_halt {
            return Err(failed("the host asked for a halt, and another one came"));
        }
        let mut stop = None;
        self.until("a halt", |it| {
            let base = it.base;
            let found = it
                .driver_said
                .iter()
                .position(|said| cause(said, base).is_some());
            stop = found.and_then(|at| it.driver_said.remove(at));
            Ok(stop.is_some())
        })?;
        let between = lock(&self.core_host);
        let own = between.heard.iter().rev();
        let own = own.filter(|said| cause(said, self.base).is_some()).take(1);
        let own: Vec<_> = own.cloned().collect();
        drop(between);
        match (own.first(), stop) {
            (Some(own), Some(stop)) => self.compare(own, &stop),
            _ => Err(failed("a halt that the core has not told")),
        }
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
        self.driver.link.connect(CONNECT);
        self.until("a session", |it| {
            if !it.is_halted {
                it.look()?;
            }
            let is_told = lock(&it.core_host).told.is_empty();
            Ok(it.is_driver_connected && is_told)
        })
    }

    /// Gives a request to the core, and then to the driver.
    fn answer(&mut self, message: Vec<u8>) -> io::Result<()> {
        let Ok((number, request)) = Request::decode(&message, self.base) else {
            return Err(failed("a request that nobody understands"));
        };
        let is_go = request == Request::Go;
        let base = self.base;
        let own = |it: &Self| {
            let between = lock(&it.core_host);
            let mut heard = between.heard.iter().rev();
            heard.find(|said| is_reply_to(said, number, base)).cloned()
        };
        self.tell(Told::Message(message.clone()));
        let since = Instant::now();
        let reply = loop {
            if let Some(reply) = own(self) {
                break reply;
            }
            if since.elapsed() > PATIENCE {
                return Err(failed(format!("the core has no answer to {request:x?}")));
            }
            match self.is_halted {
                true => std::thread::sleep(REST),
                false => self.look()?,
            }
        };
        if is_go && self.is_halted {
            self.is_halted = false;
            self.settle(false)?;
        }
        if self.driver.link.send(&message).is_err() {
            return Err(failed("the driver takes no request"));
        }
        let mut said = None;
        self.until("a request", |it| {
            let found = it
                .driver_said
                .iter()
                .position(|it| is_reply_to(it, number, base));
            said = found.and_then(|at| it.driver_said.remove(at));
            Ok(said.is_some())
        })?;
        let said = said.unwrap_or_default();
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
