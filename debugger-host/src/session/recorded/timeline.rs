//! A recording as the session sees it: what it did, and what came to it, each in its order. Made
//! once by [`super::Recorded`].

use crate::recording::describe::{self, Bases};
use crate::recording::{Counts, Entry, Moment, NotOpen, Recording};
use std::collections::HashMap;
use std::time::Duration;
use wire_protocol::address::GuestVirtual;
use wire_protocol::link::SendError;
use wire_protocol::packet::{MemoryAt, Message, Notice, Reply, Request};

/// Something the session did.
pub(super) struct Act {
    /// Number of its packet.
    number: u32,
    at: Moment,
    /// So much of what came it had taken before.
    pub(super) taken: usize,
    pub(super) deed: Deed,
    nature: Nature,
    /// Where in [`Timeline::arrivals`] its answer is.
    pub(super) answer: Option<usize>,
    /// Its kernel base.
    base: GuestVirtual,
}

pub(super) enum Deed {
    Open(Result<(), NotOpen>),
    Connect,
    Request(Vec<u8>),
    BreakIn,
    Command(String),
    CommandEnd,
    Counts(Box<Counts>),
}

/// What an act is to the debuggee.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Nature {
    /// Nothing: it concerns the host alone.
    Mark,
    /// It asks, and may be asked again.
    Question(Matter),
    /// It changes something, once. What is asked later may have another answer by it.
    Change(&'static [Matter]),
    /// It lets the debuggee go on.
    Go,
}

/// A request and the reply to it.
pub(super) type Exchange<'t> = (Request<'t>, Reply<'t>);

/// What a question is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Matter {
    Identity,
    Registers,
    Memory,
    Events,
    Pools,
    Messages,
    Branches,
    Occasions,
}

/// Something that came to the session.
pub(super) struct Arrival {
    pub(super) at: Moment,
    pub(super) what: What,
}

pub(super) enum What {
    /// The session began that this act proposed.
    Connected {
        of: Option<usize>,
    },
    /// A reply to this act.
    Answer {
        of: usize,
        bytes: Vec<u8>,
    },
    Notice {
        bytes: Vec<u8>,
        is_stop: bool,
    },
    Greeting,
    OtherHost {
        seconds: Option<u32>,
    },
    Lost {
        why: String,
    },
    OpenAgain {
        untold: Option<String>,
    },
    /// This act could not be queued.
    Unsent {
        of: usize,
        why: SendError,
    },
    /// An answer to nothing that was asked here.
    Stray,
}

pub(super) struct Timeline {
    pub(super) acts: Vec<Act>,
    pub(super) arrivals: Vec<Arrival>,
}

fn nature(message: &[u8], base: GuestVirtual) -> Nature {
    use Matter::{Branches, Events, Identity, Memory, Messages, Occasions, Pools, Registers};
    let Ok((_, request)) = Request::decode(message, base) else {
        return Nature::Change(&[]);
    };
    match request {
        Request::Go => Nature::Go,
        Request::Hello { .. } | Request::ForeignHello { .. } => Nature::Question(Identity),
        Request::Cores | Request::ReadRegisters { .. } | Request::ListTasks { .. } => {
            Nature::Question(Registers)
        }
        Request::ReadMemory { .. } | Request::Translate { .. } | Request::DigestMemory { .. } => {
            Nature::Question(Memory)
        }
        Request::ListEvents { .. } | Request::EventPrograms { .. } => Nature::Question(Events),
        Request::Pools => Nature::Question(Pools),
        Request::MessageCounts => Nature::Question(Messages),
        Request::ReadBranches { .. } => Nature::Question(Branches),
        Request::Occasions { rules } if rules.is_empty() => Nature::Question(Occasions),
        Request::Occasions { .. } => Nature::Change(&[Occasions]),
        Request::Restart | Request::Crash => Nature::Change(&[]),
        // Memory is seen through the page tables that a register names.
        Request::WriteRegister { .. } => Nature::Change(&[Registers, Memory]),
        Request::WriteMemory { .. } => Nature::Change(&[Memory]),
        Request::AddEvents { .. } | Request::ChangeEvents { .. } => {
            Nature::Change(&[Events, Pools])
        }
        Request::Prealloc { .. } => Nature::Change(&[Pools]),
        Request::DefineGlobals(_) | Request::ShortCircuit { .. } => Nature::Change(&[]),
        Request::RunScript { .. } => {
            Nature::Change(&[Registers, Memory, Events, Pools, Messages, Branches])
        }
        // The halt that comes of it is another one; nothing of this one holds there.
        Request::Step(_) => Nature::Change(&[
            Identity, Registers, Memory, Events, Pools, Messages, Branches,
        ]),
        Request::Flush => Nature::Change(&[Messages]),
        Request::ChangeBranches { .. } => Nature::Change(&[Branches]),
    }
}

/// What a request asks about, if it changes nothing.
pub(super) fn matter(message: &[u8], base: GuestVirtual) -> Option<Matter> {
    match nature(message, base) {
        Nature::Question(matter) => Some(matter),
        Nature::Mark | Nature::Change(_) | Nature::Go => None,
    }
}

/// Which memory is asked for, whatever is expected there.
fn memory_asked(message: &[u8], base: GuestVirtual) -> Option<(MemoryAt, u32)> {
    match Request::decode(message, base) {
        Ok((_, Request::ReadMemory { at, len_bytes, .. })) => Some((at, len_bytes)),
        _ => None,
    }
}

impl Act {
    /// It concerns the host alone.
    pub(super) fn is_mark(&self) -> bool {
        self.nature == Nature::Mark
    }

    pub(super) fn is_go(&self) -> bool {
        self.nature == Nature::Go
    }

    /// What comes behind it holds only once it was done.
    pub(super) fn is_change(&self) -> bool {
        matches!(self.nature, Nature::Change(_) | Nature::Go) || self.is_divide()
    }

    /// Whether questions about this may have another answer once this was done.
    pub(super) fn spoils(&self, matter: Matter) -> bool {
        matches!(self.nature, Nature::Change(matters) if matters.contains(&matter))
    }

    /// Whether it lies between what is now and another halt or session.
    pub(super) fn is_divide(&self) -> bool {
        self.is_go() || matches!(self.deed, Deed::Open(_) | Deed::Connect | Deed::BreakIn)
    }

    /// The request that it was, with its reply.
    pub(super) fn exchange<'t>(&'t self, timeline: &'t Timeline) -> Option<Exchange<'t>> {
        let Deed::Request(request) = &self.deed else {
            return None;
        };
        let (reply, _) = timeline.reply(self)?;
        let (_, request) = Request::decode(request, self.base).ok()?;
        match Message::decode(reply, self.base) {
            Ok(Message::Reply { reply, .. }) => Some((request, reply)),
            _ => None,
        }
    }

    /// In words.
    pub(super) fn describe(&self) -> String {
        let what = match &self.deed {
            Deed::Open(_) => "a line that is opened".to_owned(),
            Deed::Connect => "a new session".to_owned(),
            Deed::BreakIn => "a break-in".to_owned(),
            Deed::Request(message) => in_words(message, self.base),
            Deed::Command(line) => format!("the command `{line}`"),
            Deed::CommandEnd => "the end of a command".to_owned(),
            Deed::Counts(_) => "a look at the line".to_owned(),
        };
        format!("packet {}, {what}", self.number)
    }
}

/// A request, in words.
pub(super) fn in_words(message: &[u8], base: GuestVirtual) -> String {
    let words = describe::request(message, base);
    format!("{} {}", words.kind, words.content)
        .trim_end()
        .to_owned()
}

impl Timeline {
    pub(super) fn new(recording: &Recording) -> Self {
        let mut made = Self {
            acts: Vec::new(),
            arrivals: Vec::new(),
        };
        let mut bases = Bases::default();
        let mut asked: HashMap<u8, usize> = HashMap::new();
        let mut proposed = None;
        for packet in &recording.packets {
            let deed = match &packet.entry {
                Entry::Open(_) => Deed::Open(Ok(())),
                Entry::NotOpen(not_open) => Deed::Open(Err(not_open.clone())),
                Entry::Connect { .. } => Deed::Connect,
                Entry::Request(message) => Deed::Request(message.clone()),
                Entry::BreakIn => Deed::BreakIn,
                Entry::Command(line) => Deed::Command(line.clone()),
                Entry::CommandEnd => Deed::CommandEnd,
                Entry::Counts(counts) => Deed::Counts(counts.clone()),
                arrived => {
                    made.arrive(packet.at, arrived, bases.received, &mut asked, proposed);
                    bases.pass(arrived);
                    continue;
                }
            };
            bases.pass(&packet.entry);
            let nature = match &deed {
                Deed::Request(message) => nature(message, bases.sent),
                Deed::Open(_) | Deed::Connect | Deed::BreakIn => Nature::Change(&[]),
                Deed::Command(_) | Deed::CommandEnd | Deed::Counts(_) => Nature::Mark,
            };
            let index = made.acts.len();
            match &deed {
                Deed::Connect => {
                    proposed = Some(index);
                    asked.clear();
                }
                Deed::Request(message) => {
                    asked.insert(message.get(1).copied().unwrap_or_default(), index);
                }
                _ => {}
            }
            made.acts.push(Act {
                number: packet.number,
                at: packet.at,
                taken: packet.taken as usize,
                deed,
                nature,
                answer: None,
                base: bases.sent,
            });
        }
        made
    }

    fn arrive(
        &mut self,
        at: Moment,
        entry: &Entry,
        base: GuestVirtual,
        asked: &mut HashMap<u8, usize>,
        proposed: Option<usize>,
    ) {
        let index = self.arrivals.len();
        let mut answers = |id: u8, acts: &mut Vec<Act>| {
            let of = asked.remove(&id)?;
            acts[of].answer = Some(index);
            Some(of)
        };
        let what = match entry {
            Entry::Connected => What::Connected { of: proposed },
            Entry::Greeting => What::Greeting,
            Entry::OtherHost { seconds } => What::OtherHost { seconds: *seconds },
            Entry::Lost { why } => What::Lost { why: why.clone() },
            Entry::Reopened { untold } => What::OpenAgain {
                untold: untold.clone(),
            },
            Entry::Unsent { id, why } => match answers(*id, &mut self.acts) {
                Some(of) => What::Unsent { of, why: *why },
                None => What::Stray,
            },
            Entry::Message(bytes) => match bytes[..] {
                [kind, id, ..] if kind < 0x80 => match answers(id, &mut self.acts) {
                    Some(of) => What::Answer {
                        of,
                        bytes: bytes.clone(),
                    },
                    None => What::Stray,
                },
                _ => What::Notice {
                    bytes: bytes.clone(),
                    is_stop: matches!(
                        Message::decode(bytes, base),
                        Ok(Message::Notice(Notice::Stopped(_)))
                    ),
                },
            },
            // Nobody takes them.
            _ => return,
        };
        self.arrivals.push(Arrival { at, what });
    }

    /// The reply to an act.
    pub(super) fn reply(&self, act: &Act) -> Option<(&[u8], Moment)> {
        let arrival = self.arrivals.get(act.answer?)?;
        match &arrival.what {
            What::Answer { bytes, .. } => Some((bytes, arrival.at)),
            _ => None,
        }
    }

    /// Whether the act asked what `message` asks, and its answer is one to it.
    pub(super) fn is_same(&self, act: &Act, message: &[u8]) -> bool {
        let Deed::Request(recorded) = &act.deed else {
            return false;
        };
        if recorded.first() == message.first() && recorded.get(2..) == message.get(2..) {
            return true;
        }
        // Whoever can do more is answered as the older program was, which could do less.
        let hellos = [recorded, message].map(|it| match Request::decode(it, act.base) {
            Ok((_, Request::Hello { features })) => Some(features),
            _ => None,
        });
        if let [Some(then), Some(now)] = hellos {
            return now.contains(then);
        }
        // Content that was sent answers whoever expects something else, or nothing.
        let was_sent = || {
            self.reply(act).is_some_and(|(reply, _)| {
                matches!(
                    Message::decode(reply, act.base),
                    Ok(Message::Reply {
                        reply: Reply::Memory { .. } | Reply::Refused(_),
                        ..
                    })
                )
            })
        };
        let asked = memory_asked(message, act.base);
        asked.is_some() && asked == memory_asked(recorded, act.base) && was_sent()
    }

    /// Of the stops that came: the first that is not before `index`.
    pub(super) fn next_stop(&self, index: usize) -> Option<usize> {
        let is_stop =
            |arrival: &Arrival| matches!(arrival.what, What::Notice { is_stop: true, .. });
        let rest = self.arrivals.get(index..)?;
        rest.iter().position(is_stop).map(|at| index + at)
    }

    /// How long the command went on in which the act at `index` was done, or which it began.
    pub(super) fn waited(&self, index: usize) -> Duration {
        let rest = self.acts.get(index..).unwrap_or_default();
        let end = rest
            .iter()
            .find(|act| matches!(act.deed, Deed::CommandEnd))
            .or(rest.last());
        match (rest.first(), end) {
            (Some(first), Some(end)) => Duration::from_micros(end.at.0.saturating_sub(first.at.0)),
            _ => Duration::ZERO,
        }
    }

    /// The first act at or behind `index` that reached the debuggee.
    pub(super) fn next_order(&self, index: usize) -> Option<&Act> {
        self.acts.get(index..)?.iter().find(|act| !act.is_mark())
    }
}
