//! A recording plays the debuggee. It implements what the link thread does for a line, so that the
//! session above does not know the difference.
//!
//! What was done when it was recorded happens in its order: a change (of memory, of events, a `g`)
//! only when it is asked for again, and what came behind it only then. Between changes questions may
//! come in any order, again, and in other pieces. Each packet says how much the session had taken before it acted,
//! so that whoever types the same commands gets the same output, whatever time it takes.

mod parts;
#[cfg(test)]
mod tests;
mod timeline;

use super::incoming::{Event, Gap, Health};
use crate::recording::{NotOpen, Recording};
use std::cell::RefCell;
use std::collections::{HashMap, HashSet, VecDeque};
use std::time::Duration;
use timeline::{Act, Deed, Exchange, Matter, Timeline, What, in_words, matter};
use wire_protocol::address::GuestVirtual;
use wire_protocol::codec::Writer;
use wire_protocol::limits;
use wire_protocol::packet::{Message, Notice, Reply, Request, Stop};

/// So many looks for something to come, between two commands and in vain, are those of somebody who
/// waits: what came during the next commands comes now.
const PATIENCE: u32 = 16;

/// See the module.
pub(super) struct Recorded(RefCell<State>);

struct State {
    timeline: Timeline,
    /// The next act of the recording.
    at: usize,
    /// The next arrival.
    given: usize,
    /// Acts that were asked for now, with the number that the request has now.
    asked: HashMap<usize, u8>,
    proposed: HashSet<usize>,
    /// What was answered without its turn.
    ready: VecDeque<Event>,
    /// Of the commands that run, the innermost last: which recorded one it is.
    commands: Vec<Option<usize>>,
    /// No command has begun yet.
    is_beginning: bool,
    /// Looks in vain.
    idle: u32,
    /// The last introduction.
    hello: Option<Vec<u8>>,
    /// The kernel base that it told.
    base: GuestVirtual,
    halt: LastHalt,
}

/// Where the halt stands that the debuggee is in.
#[derive(Clone, Debug, PartialEq, Eq)]
enum LastHalt {
    Running,
    /// In its introduction.
    Introduced,
    /// In a notice.
    Told(Vec<u8>),
}

impl Recorded {
    pub(super) fn new(recording: &Recording) -> Self {
        Self(RefCell::new(State {
            timeline: Timeline::new(recording),
            at: 0,
            given: 0,
            asked: HashMap::new(),
            proposed: HashSet::new(),
            ready: VecDeque::new(),
            commands: Vec::new(),
            is_beginning: true,
            idle: 0,
            hello: None,
            base: GuestVirtual(0),
            halt: LastHalt::Running,
        }))
    }

    /// Opens the line again, or not, as then.
    pub(super) fn open(&self) -> Result<(), NotOpen> {
        self.0.borrow_mut().open_line()
    }

    pub(super) fn connect(&self) {
        self.0.borrow_mut().connect();
    }

    pub(super) fn send(&self, message: &[u8]) {
        self.0.borrow_mut().send(message);
    }

    pub(super) fn break_in(&self) {
        self.0.borrow_mut().break_in();
    }

    pub(super) fn next(&self, limit: Duration) -> Option<Event> {
        let event = self.0.borrow_mut().next();
        if event.is_none() && !limit.is_zero() {
            std::thread::sleep(limit);
        }
        event
    }

    pub(super) fn health(&self) -> Health {
        self.0.borrow_mut().health()
    }

    pub(super) fn begin_command(&self, line: &str) {
        self.0.borrow_mut().begin_command(line);
    }

    pub(super) fn end_command(&self) {
        self.0.borrow_mut().end_command();
    }

    pub(super) fn why_no_halt(&self) -> Option<Gap> {
        self.0.borrow().why_no_halt()
    }
}

impl State {
    /// The first such act ahead, if no change has to be made before it.
    fn ahead(&self, is_it: impl Fn(&Act) -> bool) -> Option<usize> {
        for (index, act) in self.timeline.acts.iter().enumerate().skip(self.at) {
            if is_it(act) {
                return Some(index);
            }
            if act.is_change() {
                return None;
            }
        }
        None
    }

    /// Acts whose answers about this are those that the debuggee would give now: of the halt that it
    /// is in, with no change between that concerns them. The last ones before now come first.
    fn neighbours(&self, matter: Matter) -> Vec<&Act> {
        let timeline = &self.timeline;
        let (before, after) = timeline.acts.split_at(self.at);
        let is_of_this_halt = |act: &&Act| {
            let from = act.taken.min(self.given);
            let to = act.taken.max(self.given);
            timeline.next_stop(from).is_none_or(|stop| stop >= to)
        };
        let is_near = |act: &&Act| !act.is_divide() && !act.spoils(matter) && is_of_this_halt(act);
        let mut near: Vec<&Act> = before.iter().rev().take_while(is_near).collect();
        near.extend(after.iter().take_while(is_near));
        near
    }

    /// What was answered to this, or to parts of it, around now.
    fn answer_out_of_turn(&self, message: &[u8], id: u8) -> Option<Event> {
        let near = self.neighbours(matter(message, self.base)?);
        let same = near
            .iter()
            .filter(|act| self.timeline.is_same(act, message))
            .find_map(|act| self.timeline.reply(act));
        if let Some((reply, at)) = same {
            let bytes = renumbered(reply, id);
            return Some(Event::Message { bytes, at });
        }
        let (_, request) = Request::decode(message, self.base).ok()?;
        let exchanges: Vec<Exchange<'_>> = near
            .iter()
            .filter_map(|act| act.exchange(&self.timeline))
            .collect();
        let bytes = parts::answer(&request, id, self.base, &exchanges)?;
        let at = self.timeline.arrivals.get(self.given.checked_sub(1)?)?.at;
        Some(Event::Message { bytes, at })
    }

    fn open_line(&mut self) -> Result<(), NotOpen> {
        self.ready.clear();
        let found = self.ahead(|act| matches!(act.deed, Deed::Open(_)));
        let Some(index) = found else {
            // Nobody did then; the debuggee is there all the same.
            return Ok(());
        };
        self.at = index + 1;
        let act = &self.timeline.acts[index];
        // What nobody had taken is lost with the line before.
        self.given = self.given.max(act.taken);
        match &act.deed {
            Deed::Open(opened) => opened.clone(),
            _ => Ok(()),
        }
    }

    fn connect(&mut self) {
        match self.ahead(|act| matches!(act.deed, Deed::Connect)) {
            Some(index) => {
                self.proposed.insert(index);
                self.at = index + 1;
            }
            // Nobody did then; the debuggee is there all the same.
            None => self.ready.push_back(Event::Connected),
        }
    }

    fn send(&mut self, message: &[u8]) {
        let id = message.get(1).copied().unwrap_or_default();
        let base = self.base;
        let request = Request::decode(message, base).map(|(_, request)| request);
        let ahead = match request {
            // Whatever else was done in this halt, the debuggee goes on.
            Ok(Request::Go) => {
                let mut rest = self.timeline.acts.iter().skip(self.at);
                rest.position(Act::is_go).map(|distance| self.at + distance)
            }
            _ => self.ahead(|act| self.timeline.is_same(act, message)),
        };
        if let Some(index) = ahead {
            self.asked.insert(index, id);
            self.at = index + 1;
            let answer = self.timeline.acts[index].answer;
            // No session took an answer before it asked; a file can say so.
            let can_come = |answer| (self.given..self.open()).contains(&answer);
            if !answer.is_some_and(can_come) {
                let waited = self.timeline.waited(index);
                let gap = Gap::NotAnswered { waited };
                self.ready.push_back(Event::Missing { id: Some(id), gap });
            }
            return;
        }
        let again = match request {
            Ok(Request::Hello { .. }) => self.introduction(id),
            _ => self.answer_out_of_turn(message, id),
        };
        self.ready
            .push_back(again.unwrap_or_else(|| Event::Missing {
                id: Some(id),
                gap: self.not_asked(in_words(message, base)),
            }));
    }

    fn not_asked(&self, asked: String) -> Gap {
        let next = match self.timeline.next_order(self.at) {
            Some(act) => act.describe(),
            None => "its end".to_owned(),
        };
        Gap::NotAsked { asked, next }
    }

    fn break_in(&mut self) {
        let acts = &self.timeline.acts;
        let is_break_in = |act: &Act| matches!(act.deed, Deed::BreakIn);
        let rest = acts.iter().skip(self.at).take_while(|act| !act.is_go());
        if let Some(distance) = rest.clone().position(is_break_in) {
            // It was repeated until it was heard.
            let repeated = rest.skip(distance).take_while(|act| is_break_in(act));
            let first = self.at + distance;
            self.at = first + repeated.count();
            if self
                .timeline
                .next_stop(self.given)
                .is_none_or(|stop| stop >= self.open())
            {
                let waited = self.timeline.waited(first);
                let gap = Gap::NotAnswered { waited };
                self.ready.push_back(Event::Missing { id: None, gap });
            }
        } else if let Some(stop) = self.timeline.next_stop(self.given)
            && !acts
                .iter()
                .skip(self.at)
                .any(|act| act.taken <= stop && act.is_go())
        {
            // The debuggee halted by itself.
            let before = acts.iter().skip(self.at);
            self.at += before.take_while(|act| act.taken <= stop).count();
        } else {
            let gap = self.not_asked("a wait for a halt".to_owned());
            self.ready.push_back(Event::Missing { id: None, gap });
        }
    }

    /// How much of what came may be told now.
    fn open(&self) -> usize {
        let is_following = match self.commands.last() {
            Some(recorded) => recorded.is_some(),
            None => self.is_beginning || self.idle < PATIENCE,
        };
        // When the line is looked at depends on how long something took: what waits for it could
        // wait in vain.
        let is_look = |act: &&Act| matches!(act.deed, Deed::Counts(_));
        let mut ahead = self.timeline.acts.iter().skip(self.at);
        let next = match is_following {
            true => ahead.find(|act| !is_look(act)),
            false => self.timeline.next_order(self.at),
        };
        // A file may say of itself what cannot be.
        let all = self.timeline.arrivals.len();
        next.map_or(all, |act| act.taken.min(all))
    }

    fn next(&mut self) -> Option<Event> {
        while self.given < self.open() {
            let index = self.given;
            self.given += 1;
            if let Some(event) = self.arrive(index) {
                self.idle = 0;
                return Some(event);
            }
        }
        let event = self.ready.pop_front();
        self.idle = match event {
            Some(_) => 0,
            None => self.idle.saturating_add(1),
        };
        event
    }

    /// What came, if it is for what was asked now.
    fn arrive(&mut self, index: usize) -> Option<Event> {
        let arrival = &self.timeline.arrivals[index];
        let at = arrival.at;
        match &arrival.what {
            What::Connected { of } => of
                .is_some_and(|of| self.proposed.contains(&of))
                .then_some(Event::Connected),
            What::Greeting => Some(Event::Greeting),
            What::OtherHost { seconds } => {
                let seconds = *seconds;
                Some(Event::OtherHost { seconds })
            }
            What::Lost { why } => Some(Event::Lost { why: why.clone() }),
            What::OpenAgain { untold } => Some(Event::OpenAgain {
                untold: untold.clone(),
            }),
            What::Unsent { of, why } => {
                let (id, why) = (*self.asked.get(of)?, *why);
                Some(Event::Unsent { id, why })
            }
            What::Answer { of, bytes } => {
                let bytes = renumbered(bytes, *self.asked.get(of)?);
                match Message::decode(&bytes, GuestVirtual(0)) {
                    Ok(Message::Reply {
                        reply: Reply::Hello(hello),
                        ..
                    }) => {
                        self.halt = match hello.stop {
                            Some(_) => LastHalt::Introduced,
                            None => LastHalt::Running,
                        };
                        self.base = hello.kernel_base;
                        self.hello = Some(bytes.clone());
                    }
                    Ok(Message::Reply {
                        reply: Reply::Done, ..
                    }) if self.timeline.acts[*of].is_go() => self.halt = LastHalt::Running,
                    _ => {}
                }
                Some(Event::Message { bytes, at })
            }
            What::Notice { bytes, is_stop } => {
                let bytes = bytes.clone();
                if *is_stop {
                    self.halt = LastHalt::Told(bytes.clone());
                }
                Some(Event::Message { bytes, at })
            }
            What::Stray => None,
        }
    }

    /// The debuggee introduces itself where nobody asked it to: as it did before, with the halt that
    /// it is in now.
    fn introduction(&self, id: u8) -> Option<Event> {
        let bytes = self.hello.as_ref()?;
        let Ok(Message::Reply {
            reply: Reply::Hello(mut hello),
            ..
        }) = Message::decode(bytes, GuestVirtual(0))
        else {
            return None;
        };
        hello.stop = match &self.halt {
            LastHalt::Running => None,
            LastHalt::Introduced => hello.stop,
            LastHalt::Told(notice) => stop_of(notice, hello.kernel_base),
        };
        let mut buffer = vec![0; limits::MESSAGE_BYTES];
        let mut out = Writer::new(&mut buffer);
        let reply = Reply::Hello(hello);
        let message = Message::Reply { id, reply };
        message.encode(GuestVirtual(0), &mut out).ok()?;
        Some(Event::Message {
            bytes: out.written().to_vec(),
            at: self.timeline.arrivals.get(self.given.checked_sub(1)?)?.at,
        })
    }

    fn health(&mut self) -> Health {
        let is_look = |act: &Act| matches!(act.deed, Deed::Counts(_));
        let found = match self.ahead(is_look) {
            Some(index) => {
                self.at = index + 1;
                Some(index)
            }
            None => self.timeline.acts[..self.at].iter().rposition(is_look),
        };
        match found.map(|index| &self.timeline.acts[index].deed) {
            Some(Deed::Counts(counts)) => (**counts).clone(),
            _ => Health::default(),
        }
    }

    fn begin_command(&mut self, line: &str) {
        self.is_beginning = false;
        self.idle = 0;
        let found = self.ahead(|act| matches!(&act.deed, Deed::Command(then) if then == line));
        if let Some(index) = found {
            self.at = index + 1;
        }
        self.commands.push(found);
    }

    fn end_command(&mut self) {
        self.idle = 0;
        if self.commands.pop().flatten().is_none() {
            return;
        }
        let is_other = |act: &Act| act.is_change() || matches!(act.deed, Deed::Command(_));
        let mut rest = self.timeline.acts.iter().skip(self.at);
        let end = rest.position(|act| is_other(act) || matches!(act.deed, Deed::CommandEnd));
        if let Some(distance) = end
            && !is_other(&self.timeline.acts[self.at + distance])
        {
            self.at += distance + 1;
        }
    }

    fn why_no_halt(&self) -> Option<Gap> {
        if let Some(Some(command)) = self.commands.last() {
            // What is still to come is told now or, as then, never.
            let waited = self.timeline.waited(*command);
            return (self.given >= self.open()).then_some(Gap::NotAnswered { waited });
        }
        let next = self.timeline.next_order(self.at);
        let open = next.map_or(self.timeline.arrivals.len(), |act| act.taken);
        let is_dry = open <= self.given && self.ready.is_empty();
        is_dry.then(|| self.not_asked("a wait for a halt".to_owned()))
    }
}

/// A reply with the number that the request has now.
fn renumbered(reply: &[u8], id: u8) -> Vec<u8> {
    let mut bytes = reply.to_vec();
    if let Some(number) = bytes.get_mut(1) {
        *number = id;
    }
    bytes
}

fn stop_of(notice: &[u8], base: GuestVirtual) -> Option<Stop<'_>> {
    match Message::decode(notice, base) {
        Ok(Message::Notice(Notice::Stopped(stop))) => Some(stop),
        _ => None,
    }
}
