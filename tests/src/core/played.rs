//! A core whose host is a recording: what the host sent and what the core took in then comes again, in the core's own
//! order; what it says is computed, and must be what it said then.

use super::ending::End;
use super::line::{Heard, Host, HostEnd, go};
use super::memory::GuestMemory;
use super::recording::place;
use super::{STACK_BYTES, machine};
use debugger_host::recording::compare::{Care, Said, difference};
use debugger_host::recording::describe::Bases;
use debugger_host::recording::input::{Change, Input};
use debugger_host::recording::{Entry, Recording};
use debugger_host::session::{Divergence, How, Played};
use std::cell::RefCell;
use std::collections::{HashMap, VecDeque};
use std::panic::resume_unwind;
use std::rc::Rc;
use std::time::Duration;
use wire_protocol::address::GuestVirtual;

/// A core that looked at its line so often and said nothing says nothing more.
const LOOKS: u32 = 5_000;

/// One that has said all looks so often once more, to see whether it says something else.
const LAST_LOOKS: u32 = 50;

/// Something that happens to the core.
struct Step {
    /// Number of its packet.
    packet: u32,
    /// Messages that it has sent before.
    sent: usize,
    what: What,
}

enum What {
    Connect(u32),
    Request(Vec<u8>),
    BreakIn,
    Exit {
        core: u16,
        changes: Vec<Change>,
    },
    Page {
        at: u64,
        bytes: Vec<u8>,
    },
    Fault {
        core: u16,
        vector: u16,
        rip: u64,
        detail: u64,
    },
}

impl What {
    /// Whether the machine does it by itself.
    const fn is_own(&self) -> bool {
        matches!(
            self,
            Self::Exit { .. } | Self::Page { .. } | Self::Fault { .. }
        )
    }
}

/// A message that it sends.
struct Expected {
    packet: u32,
    command: Option<String>,
    message: Vec<u8>,
    base: GuestVirtual,
}

/// What changes a request on its way to the core: as if what answers it were written otherwise.
pub type Mistake = Box<dyn FnMut(&[u8], GuestVirtual) -> Option<Vec<u8>>>;

struct Player {
    steps: VecDeque<Step>,
    /// What each page held when the core looked at it first, however far the steps have come.
    pages: HashMap<u64, Vec<u8>>,
    expected: VecDeque<Expected>,
    sent: usize,
    requests: usize,
    now: Bases,
    /// Number of the last packet.
    last: u32,
    /// The request of that name.
    go: Vec<u8>,
    /// Looks since something happened.
    looks: u32,
    mistake: Option<Mistake>,
    /// The first difference. Nothing counts any more once there is one.
    divergence: Option<Box<Divergence>>,
    /// All was said and done; what comes is about letting the core go.
    is_over: bool,
}

/// The core's own order of what happened to it.
fn steps(recording: &Recording) -> (VecDeque<Step>, VecDeque<Expected>) {
    let (mut of_host, mut inputs) = (Vec::new(), VecDeque::new());
    let mut expected = VecDeque::new();
    // With how much of the host's the core had taken, and its place among all messages.
    let mut unheard = Vec::new();
    let mut bases = Bases::default();
    let mut command = None;
    // Number of the last session's first packet among those of the host, and the base before it.
    let mut before = None;
    for packet in &recording.packets {
        let what = match &packet.entry {
            Entry::Connect { nonce } => Some(What::Connect(*nonce)),
            Entry::Request(message) => Some(What::Request(message.clone())),
            Entry::BreakIn => Some(What::BreakIn),
            _ => None,
        };
        let step = |what| Step {
            packet: packet.number,
            sent: expected.len(),
            what,
        };
        if matches!(what, Some(What::Connect(_))) {
            before = Some((of_host.len(), bases.received));
        }
        match (&packet.entry, what) {
            (_, Some(what)) => of_host.push(step(what)),
            (Entry::Input(input), _) => {
                let taken = packet.taken as usize;
                let what = match input.clone() {
                    Input::Exit { core, changes } => What::Exit { core, changes },
                    Input::Page { at, bytes } => What::Page { at, bytes },
                    Input::Fault {
                        core,
                        vector,
                        rip,
                        detail,
                    } => What::Fault {
                        core,
                        vector,
                        rip,
                        detail,
                    },
                    Input::Unheard { message } => {
                        unheard.push((taken, expected.len()));
                        expected.push_back(Expected {
                            packet: packet.number,
                            command: command.clone(),
                            message,
                            // It may be of the session before.
                            base: match before {
                                Some((connect, base)) if taken <= connect => base,
                                _ => bases.received,
                            },
                        });
                        continue;
                    }
                };
                inputs.push_back((taken, step(what)));
            }
            (Entry::Message(message), _) => expected.push_back(Expected {
                packet: packet.number,
                command: command.clone(),
                message: message.clone(),
                base: bases.received,
            }),
            (Entry::Command(line), _) => command = Some(line.clone()),
            (Entry::CommandEnd, _) => command = None,
            _ => {}
        }
        bases.pass(&packet.entry);
    }
    let mut steps = VecDeque::new();
    for (heard, mut step) in of_host.into_iter().enumerate() {
        for (taken, place) in &unheard {
            if *taken <= heard {
                step.sent = step.sent.max(place + 1);
            }
        }
        while let Some((_, input)) = inputs.pop_front_if(|(taken, _)| *taken <= heard) {
            steps.push_back(input);
        }
        steps.push_back(step);
    }
    steps.extend(inputs.into_iter().map(|(_, input)| input));
    (steps, expected)
}

impl Player {
    fn new(recording: &Recording, mistake: Option<Mistake>) -> Self {
        let (mut steps, expected) = steps(recording);
        let mut pages = HashMap::new();
        steps.retain(|step| match &step.what {
            What::Page { at, bytes } if !pages.contains_key(at) => {
                pages.insert(*at, bytes.clone());
                false
            }
            _ => true,
        });
        Self {
            pages,
            go: go(),
            last: recording.packets.last().map_or(0, |packet| packet.number),
            steps,
            expected,
            sent: 0,
            requests: 0,
            now: Bases::default(),
            looks: 0,
            mistake,
            divergence: None,
            is_over: false,
        }
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

    /// Whether the next thing that happens is one that the machine does by itself, and it is time.
    fn takes_own_step(&mut self) -> Option<What> {
        let is_own = |step: &mut Step| step.sent <= self.sent && step.what.is_own();
        let step = self.steps.pop_front_if(is_own)?;
        self.looks = 0;
        Some(step.what)
    }

    fn is_through(&self) -> bool {
        self.steps.is_empty() && self.expected.is_empty()
    }
}

impl Host for Player {
    fn look(&mut self, end: &mut HostEnd) {
        self.looks += 1;
        if self.looks > LOOKS && !self.is_over {
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
        let is_due = |step: &mut Step| step.sent <= self.sent && !step.what.is_own();
        let Some(step) = self.steps.pop_front_if(is_due) else {
            return;
        };
        self.looks = 0;
        match step.what {
            What::Connect(nonce) => end.connect(nonce),
            What::BreakIn => end.break_in(),
            What::Request(message) => {
                self.requests += 1;
                let mistake = self.mistake.as_mut();
                let other = mistake.and_then(|change| change(&message, self.now.sent));
                end.send(other.as_ref().unwrap_or(&message));
            }
            What::Exit { .. } | What::Page { .. } | What::Fault { .. } => {}
        }
    }

    fn hear(&mut self, heard: Heard) {
        if self.is_over || self.divergence.is_some() {
            return;
        }
        self.looks = 0;
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

/// The guest's pages, as the core saw them first.
struct Pages {
    player: Rc<RefCell<Player>>,
    left: HashMap<u64, Vec<u8>>,
}

impl GuestMemory for Pages {
    fn page(&mut self, at: u64) -> Vec<u8> {
        match self.left.remove(&at) {
            Some(bytes) => bytes,
            None => {
                self.player
                    .borrow_mut()
                    .diverge_before_next(How::Page { at });
                Vec::new()
            }
        }
    }
}

/// Plays a recording to a core, which may have a mistake.
///
/// # Errors
/// The first difference.
pub fn play(recording: &Recording, mistake: Option<Mistake>) -> Result<Played, Box<Divergence>> {
    let compared = steps(recording).1.len();
    let player = Rc::new(RefCell::new(Player::new(recording, mistake)));
    let left = std::mem::take(&mut player.borrow_mut().pages);
    let pages = Pages {
        player: Rc::clone(&player),
        left,
    };
    let mut machine = machine(&player, pages);
    let mut end = End::default();
    while player.borrow().divergence.is_none() {
        let step = player.borrow_mut().takes_own_step();
        match step {
            Some(What::Exit { core, changes }) => {
                let core = usize::from(core);
                let Some(known) = machine.cores.get_mut(core) else {
                    continue;
                };
                for change in &changes {
                    if let Some(place) = place(change) {
                        known.cpu.change(place, change.value);
                    }
                }
                end.handle(&mut machine, core);
            }
            Some(What::Page { at, bytes }) => machine.shared.memory.replace(at, &bytes),
            Some(What::Fault {
                core,
                vector,
                rip,
                detail,
            }) => {
                let core = usize::from(core).min(machine.cores.len() - 1);
                machine.fault(core, vector, rip, detail);
            }
            Some(What::Connect(_) | What::Request(_) | What::BreakIn) => {}
            None if player.borrow().is_over => break,
            None if end.has_left => {
                let mut player = player.borrow_mut();
                // What the host says from then on, nobody hears.
                player.steps.retain(|step| step.what.is_own());
                if !player.is_through() {
                    player.give_up();
                }
                break;
            }
            None => end.look(&mut machine),
        }
    }
    let mut player = player.borrow_mut();
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
