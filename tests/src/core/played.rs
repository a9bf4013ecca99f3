//! A core whose host is a recording: what the host sent and what the core took in then comes again, in the core's own
//! order; what it says is computed, and must be what it said then.

mod steps;

use super::cores::{Cores, Waits, with_nmi};
use super::ending::End;
use super::facts::RawFacts;
use super::line::{Heard, Host, HostEnd, go, lock};
use super::memory::{GuestMemory, Observed, Piece, Skims};
use super::recording::place;
use super::skims_through;
use super::{Made, STACK_BYTES, made_up, told};
use debuggee_driver::fake::cpu::Place;
use debuggee_driver::fake::machine::Machine;
use debugger_host::recording::compare::{Care, Said, difference};
use debugger_host::recording::describe::Bases;
use debugger_host::recording::input::{Change, Input, LINE_BYTES, PAGE_BYTES};
use debugger_host::recording::{Entry, Recording};
use debugger_host::session::{Divergence, How, Played};
use std::collections::{HashMap, VecDeque};
use std::panic::resume_unwind;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use steps::{Expected, Step, What, facts, first_pieces, steps};
use wire_protocol::address::GuestVirtual;

/// A core that looked at its line so often and said nothing says nothing more.
const LOOKS: u32 = 100_000;

/// One that waits for others, in threads of their own, has to look for so long, too: a busy machine keeps those from
/// coming.
const PATIENCE: Duration = Duration::from_secs(60);

/// A core that was to come then is asked to within this.
const NOT_ASKED: Duration = Duration::from_secs(2);
const SOON: Duration = Duration::from_micros(50);

/// Whoever waits for cores looks again after this.
const LOOK: Duration = Duration::from_millis(5);

/// One that has said all looks so often once more, to see whether it says something else.
const LAST_LOOKS: u32 = 50;

/// What changes a request on its way to the core: as if what answers it were written otherwise.
pub type Mistake = Box<dyn FnMut(&[u8], GuestVirtual) -> Option<Vec<u8>> + Send>;

struct Player {
    steps: VecDeque<Step>,
    /// Where what the guest changes goes, once there is a machine.
    memory: Option<Observed>,
    skims: Skims,
    /// A page that the core looked at now, and not then.
    missing: Arc<Mutex<Option<u64>>>,
    expected: VecDeque<Expected>,
    sent: usize,
    requests: usize,
    now: Bases,
    /// Number of the last packet.
    last: u32,
    /// The request of that name.
    go: Vec<u8>,
    /// Looks since something happened, and when that was.
    looks: u32,
    since: Instant,
    patience: Duration,
    mistake: Option<Mistake>,
    /// The first difference. Nothing counts any more once there is one.
    divergence: Option<Box<Divergence>>,
    /// All was said and done; what comes is about letting the core go.
    is_over: bool,
}

impl Player {
    fn new(recording: &Recording, mistake: Option<Mistake>) -> Self {
        let (steps, expected) = steps(recording);
        Self {
            memory: None,
            skims: Skims::default(),
            missing: Arc::default(),
            go: go(),
            last: recording.packets.last().map_or(0, |packet| packet.number),
            steps,
            expected,
            sent: 0,
            requests: 0,
            now: Bases::default(),
            looks: 0,
            since: Instant::now(),
            patience: Duration::ZERO,
            mistake,
            divergence: None,
            is_over: false,
        }
    }

    /// Something happens.
    fn happens(&mut self) {
        self.looks = 0;
        self.since = Instant::now();
    }

    fn diverge(&mut self, packet: u32, command: Option<String>, how: How) {
        self.divergence.get_or_insert_with(|| {
            Box::new(Divergence {
                packet,
                command,
                how,
            })
        });
    }

    /// A difference that shows before this message.
    fn diverge_before_next(&mut self, how: How) {
        let next = self.expected.front();
        let (packet, command) = match (next, self.steps.front()) {
            (Some(next), _) => (next.packet, next.command.clone()),
            (None, Some(step)) => (step.packet, None),
            (None, None) => (self.last, None),
        };
        self.diverge(packet, command, how);
    }

    /// Nothing more comes: what was expected first.
    fn give_up(&mut self) {
        let step = self.steps.front();
        let is_due = |step: &&Step| step.sent <= self.sent;
        if let (Some(next), None) = (self.expected.front(), step.filter(is_due)) {
            let then = Said {
                message: &next.message,
                base: next.base,
            };
            let how = How::Nothing {
                expected: then.in_words(),
                waited: Duration::ZERO,
            };
            return self.diverge_before_next(how);
        }
        let packet = step.map_or(self.last, |step| step.packet);
        let how = How::Nothing {
            expected: "a guest that runs".to_owned(),
            waited: Duration::ZERO,
        };
        self.diverge(packet, None, how);
    }

    /// The next thing that happens, if it is one that the machine does by itself, and it is time.
    fn takes_own_step(&mut self) -> Option<Input> {
        let sent = self.sent;
        let is_own = |step: &mut Step| step.sent <= sent && step.what.is_own();
        let step = self.steps.pop_front_if(is_own)?;
        self.happens();
        self.replace(&step.what);
        self.takes_pieces();
        match step.what {
            What::Own(input) => Some(input),
            _ => None,
        }
    }

    /// The exit that is next, if it is one of these cores.
    fn takes_exit_of(&mut self, cores: &[usize]) -> Option<(usize, Vec<Change>)> {
        let is_it = |step: &mut Step| match step.what {
            What::Own(Input::Exit { core, .. }) => cores.contains(&usize::from(core)),
            _ => false,
        };
        let step = self.steps.pop_front_if(is_it)?;
        self.takes_pieces();
        match step.what {
            What::Own(Input::Exit { core, changes }) => Some((usize::from(core), changes)),
            _ => None,
        }
    }

    /// Whether an exit is next.
    fn exits_next(&self) -> bool {
        let next = self.steps.front();
        next.is_some_and(|step| matches!(step.what, What::Own(Input::Exit { .. })))
    }

    /// What the core looked at while it dealt with what comes now.
    fn takes_pieces(&mut self) {
        let is_line = |step: &mut Step| matches!(step.what, What::Own(Input::Line { .. }));
        while let Some(step) = self.steps.pop_front_if(is_line) {
            self.replace(&step.what);
        }
    }

    fn replace(&self, what: &What) {
        if let (Some(memory), Some(piece)) = (&self.memory, what.piece()) {
            memory.replace(piece.at, piece.len_bytes, piece.bytes);
        }
    }

    /// Whether the core looked at what it did not look at then.
    fn looks_elsewhere(&mut self) {
        let page = lock(&self.missing).take();
        if let Some(at) = page {
            self.diverge_before_next(How::Page { at });
        }
    }

    /// The driver has left.
    fn ends(&mut self) {
        // What the host says from then on, nobody hears.
        self.steps.retain(|step| step.what.is_own());
        if !self.is_through() {
            self.give_up();
        }
    }

    fn is_through(&self) -> bool {
        self.steps.is_empty() && self.expected.is_empty()
    }
}

impl Host for Player {
    fn look(&mut self, end: &mut HostEnd) {
        self.looks += 1;
        let is_lost = self.looks > LOOKS && self.since.elapsed() >= self.patience;
        if is_lost && !self.is_over {
            self.give_up();
        }
        if !end.is_idle() {
            return;
        }
        self.is_over |= self.is_through() && self.looks > LAST_LOOKS;
        if self.is_over || self.divergence.is_some() {
            // A core that stands still would do so for ever.
            end.send(&self.go);
            return;
        }
        let sent = self.sent;
        let is_due = |step: &mut Step| step.sent <= sent && !step.what.is_own();
        let Some(step) = self.steps.pop_front_if(is_due) else {
            return;
        };
        self.happens();
        self.takes_pieces();
        match step.what {
            What::Connect(nonce) => end.connect(nonce),
            What::BreakIn => end.break_in(),
            What::Request(message) => {
                self.requests += 1;
                self.skims.set(skims_through(&message));
                let mistake = self.mistake.as_mut();
                let other = mistake.and_then(|change| change(&message, self.now.sent));
                end.send(other.as_ref().unwrap_or(&message));
            }
            What::Own(_) => {}
        }
    }

    fn hear(&mut self, heard: Heard) {
        self.looks_elsewhere();
        if self.is_over || self.divergence.is_some() {
            return;
        }
        self.happens();
        let message = match heard {
            Heard::Connected => return self.now = Bases::default(),
            Heard::Message(message) => message,
        };
        let now = Said {
            message: &message,
            base: self.now.received,
        };
        let Some(expected) = self.expected.pop_front() else {
            let seen = now.in_words();
            return self.diverge_before_next(How::More { seen });
        };
        let then = Said {
            message: &expected.message,
            base: expected.base,
        };
        if let Some(difference) = difference(then, now, Care::All) {
            return self.diverge(expected.packet, expected.command, How::Other(difference));
        }
        self.sent += 1;
        self.now.pass(&Entry::Message(message));
    }
}

/// The guest's memory, as the core saw it first.
struct Pieces {
    left: HashMap<u64, (usize, Vec<u8>)>,
    /// A page that it did not look at then.
    missing: Arc<Mutex<Option<u64>>>,
}

impl GuestMemory for Pieces {
    fn first(&mut self, line: u64) -> Piece {
        let page = line & !(PAGE_BYTES as u64 - 1);
        for at in [line, page] {
            if let Some((len_bytes, bytes)) = self.left.remove(&at) {
                return Piece {
                    at,
                    len_bytes,
                    bytes,
                };
            }
        }
        lock(&self.missing).get_or_insert(page);
        Piece {
            at: line,
            len_bytes: LINE_BYTES,
            bytes: Vec::new(),
        }
    }
}

/// Where changes go.
fn values(changes: &[Change]) -> Vec<(Place, u64)> {
    let values = changes.iter();
    values
        .filter_map(|change| Some((place(change)?, change.value)))
        .collect()
}

/// A recording on its way to the cores.
struct Director {
    cores: Cores<Player>,
    player: Arc<Mutex<Player>>,
}

impl Director {
    /// Waits until what was begun is done.
    fn settle(&self) {
        // Another core is to come first, which nobody has asked yet.
        let mut unasked = Instant::now();
        loop {
            lock(&self.player).looks_elsewhere();
            match self.cores.wait(LOOK) {
                Waits::Idle => return,
                // The others are to leave with it.
                Waits::Busy if self.cores.any_leaves() => return,
                Waits::ForCores(asked) => {
                    let mut player = lock(&self.player);
                    let given = player.takes_exit_of(&asked);
                    if given.is_none() && player.exits_next() && unasked.elapsed() < NOT_ASKED {
                        drop(player);
                        std::thread::sleep(SOON);
                        continue;
                    }
                    drop(player);
                    let (core, values) = given.map_or_else(
                        || {
                            let mut values = Vec::new();
                            with_nmi(&mut values);
                            (asked[0], values)
                        },
                        |(core, changes)| (core, values(&changes)),
                    );
                    self.cores.exit(core, values);
                    unasked = Instant::now();
                }
                Waits::Busy if lock(&self.player).since.elapsed() >= PATIENCE => {
                    return lock(&self.player).give_up();
                }
                // In a halt this lasts as long as the host wants; it looks at the line all the while.
                Waits::Busy => {}
            }
        }
    }

    fn run(&self) {
        loop {
            if lock(&self.player).divergence.is_some() {
                break;
            }
            let step = lock(&self.player).takes_own_step();
            match step {
                Some(Input::Exit { core, changes }) => {
                    self.cores.exit(usize::from(core), values(&changes));
                    self.settle();
                }
                Some(_) => {}
                None if lock(&self.player).is_over => break,
                None if self.cores.all_have_left() => {
                    lock(&self.player).ends();
                    break;
                }
                None if self.cores.any_leaves() => self.settle_or_leave(),
                None => {
                    self.cores.look();
                    self.settle();
                }
            }
        }
    }

    /// Waits for cores that all leave, or give it up.
    fn settle_or_leave(&self) {
        let is_busy = self.cores.wait(LOOK) == Waits::Busy;
        let mut player = lock(&self.player);
        if is_busy && player.since.elapsed() >= PATIENCE {
            player.give_up();
        }
    }
}

/// A made-up machine, which is played by one thread.
fn run_alone(mut machine: Machine<Made<Player>>, player: &Mutex<Player>) {
    let mut end = End::default();
    loop {
        lock(player).looks_elsewhere();
        if lock(player).divergence.is_some() {
            return;
        }
        let step = lock(player).takes_own_step();
        match step {
            Some(Input::Exit { core, changes }) => {
                let core = usize::from(core);
                let Some(known) = machine.cores.get_mut(core) else {
                    continue;
                };
                for (place, value) in values(&changes) {
                    known.cpu.change(place, value);
                }
                end.handle(&mut machine, core);
            }
            Some(Input::Fault {
                core,
                vector,
                rip,
                detail,
            }) => {
                let core = usize::from(core).min(machine.cores.len() - 1);
                machine.fault(core, vector, rip, detail);
            }
            Some(_) => {}
            None if lock(player).is_over => return,
            None if end.has_left => return lock(player).ends(),
            None => end.look(&mut machine),
        }
    }
}

/// Plays a recording to a core, which may have a mistake.
///
/// # Errors
/// The first difference.
pub fn play(recording: &Recording, mistake: Option<Mistake>) -> Result<Played, Box<Divergence>> {
    let compared = steps(recording).1.len();
    let mut player = Player::new(recording, mistake);
    let left = first_pieces(&mut player.steps);
    let missing = Arc::clone(&player.missing);
    let skims = player.skims.clone();
    let player = Arc::new(Mutex::new(player));
    let pieces = Pieces { left, missing };
    match facts(recording) {
        Some(facts) => {
            lock(&player).patience = PATIENCE;
            let cores = Cores::start(told(&facts, &player, skims, pieces));
            lock(&player).memory = Some(cores.shared.memory.clone());
            let player = Arc::clone(&player);
            Director { cores, player }.run();
        }
        None => {
            let machine = Machine::of(made_up(&player, skims, pieces));
            lock(&player).memory = Some(machine.shared.memory.clone());
            run_alone(machine, &player);
        }
    }
    let mut player = lock(&player);
    match player.divergence.take() {
        None => Ok(Played {
            requests: player.requests,
            compared,
        }),
        Some(divergence) => Err(divergence),
    }
}

/// The same, on a stack of its own that is large enough.
///
/// # Errors
/// As [`play`].
pub fn play_aside(
    recording: &Recording,
    mistake: impl FnOnce() -> Option<Mistake> + Send,
) -> Result<Played, Box<Divergence>> {
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().stack_size(STACK_BYTES);
        let thread = thread.spawn_scoped(scope, || play(recording, mistake()));
        match thread.map(|thread| thread.join()) {
            Ok(Ok(result)) => result,
            Ok(Err(why)) => resume_unwind(why),
            Err(error) => panic!("no thread for a machine: {error}"),
        }
    })
}
