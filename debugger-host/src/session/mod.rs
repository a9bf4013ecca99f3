//! The conversation with one debuggee: requests and replies, what is known of its state, and
//! news. The only owner of the line. Called by [`crate::command`] and [`crate::repl`].

mod as_host;
mod branch;
mod cache;
mod connection;
mod error;
mod event;
mod identity;
mod incoming;
mod line;
mod memory;
mod news;
mod occasion;
mod peer;
mod pending;
mod presence;
mod recorded;
mod register;
mod run;
mod script;
mod step;
mod tape;
mod task;

pub use as_host::{Divergence, Essence, How, PlayError, Played};
pub use cache::Space;
pub use error::SessionError;
pub use event::{Added, Carved, NewCondition, NewEvent, Pools};
pub use identity::{Halt, Identity, System};
pub use news::{MessageContent, News, ProgramMessage};
pub use script::{Flushed, RunResult, Script};
pub use step::{Step, Stepped};
pub use task::{Damage, TaskId, TaskInfo};

use crate::symbol::image::Image;
use crate::timeout::{Timeout, Wait};
use crate::transport::Endpoint;
use cache::Cache;
use connection::Connection;
use event::Mirror;
use incoming::Event;
use pending::Pending;
use script::Programs;
use std::collections::VecDeque;
use std::time::{Duration, Instant, SystemTime};
use step::{Ending, Trace};
use tape::Tape;
use wire_protocol::address::{CoreId, EventId, GuestVirtual};
use wire_protocol::codec::Writer;
use wire_protocol::packet::{
    Features, Message, MessageError, NetworkCounts, Notice, Reply, Request, Stop,
};
use wire_protocol::refusal::Refusal;

/// A wait longer than this is explained to the user.
pub const EXPLAIN_AFTER: Duration = Duration::from_secs(2);
/// Messages of the line that are taken before the oldest news is shown.
const RECEIVED_AT_ONCE: usize = 64;
/// Between two looks at Ctrl+C.
const SLICE: Duration = Duration::from_millis(50);

/// One debuggee.
pub struct Session {
    /// None while it is not connected.
    line: Option<Connection>,
    /// Behind the line, so that it ends after it.
    tape: Tape,
    timeout: Timeout,
    /// Given to encoder and decoder; 0 until the handshake is over.
    base: GuestVirtual,
    pending: Pending,
    /// See [`Self::driver_is_gone`].
    is_gone: bool,
    /// Another host has the debuggee.
    is_taken: bool,
    /// See [`Self::take_over`].
    takes_over: bool,
    /// The debuggee told of a halt in words that could not be read.
    is_in_doubt: bool,
    identity: Identity,
    halted: Option<Halt>,
    core: CoreId,
    /// What that core runs, in a halt.
    current: Option<TaskId>,
    cache: Cache,
    image: Option<Image>,
    mirror: Mirror,
    programs: Programs,
    /// What was told of steps before their end.
    steps: Trace,
    /// Whether anything is to be told of steps.
    awaits_steps: bool,
    news: VecDeque<News>,
    requests: u64,
    /// How it stands with the debuggee's network, as far as that was asked.
    network: Option<NetworkCounts>,
}

impl Session {
    /// A session with nobody yet.
    #[must_use]
    pub fn new(timeout: Timeout) -> Self {
        Self {
            line: None,
            tape: Tape::default(),
            timeout,
            base: GuestVirtual(0),
            pending: Pending::default(),
            is_gone: false,
            is_taken: false,
            takes_over: false,
            is_in_doubt: false,
            identity: Identity::unknown(),
            halted: None,
            core: CoreId(0),
            current: None,
            cache: Cache::default(),
            image: None,
            mirror: Mirror::default(),
            programs: Programs::default(),
            steps: Trace::default(),
            awaits_steps: false,
            news: VecDeque::new(),
            requests: 0,
            network: None,
        }
    }

    /// Begins a new session with the debuggee, which may be running or halted.
    ///
    /// # Errors
    /// When it does not answer, or speaks another version.
    pub fn shake_hands(&mut self) -> Result<(), SessionError> {
        self.news.clear();
        self.introduce()
    }

    /// Shakes hands; what was told before remains to be told.
    fn introduce(&mut self) -> Result<(), SessionError> {
        let was_gone = std::mem::take(&mut self.is_gone);
        self.forget_debuggee();
        while self.next_event(Duration::ZERO).is_some() {}
        self.is_taken = false;
        let takes_over = std::mem::take(&mut self.takes_over);
        self.connected_link()?.connect(draw_nonce(), takes_over);
        let answered = self.say_hello();
        // The link goes on proposing a session, if it has none.
        self.is_gone |= was_gone && answered.is_err();
        answered
    }

    fn say_hello(&mut self) -> Result<(), SessionError> {
        let packing = match self.endpoint() {
            Some(Endpoint::Net { .. }) => Features::QUICK_MEMORY,
            _ => Features::COMPRESSED_MEMORY,
        };
        let features =
            packing | Features::EXPECTED_MEMORY | Features::THREAD_STEPS | Features::TASKS;
        let request = Request::Hello { features };
        let reply = self.exchange("connect", &request)?;
        match Message::decode(&reply, GuestVirtual(0)) {
            Ok(Message::Reply {
                reply: Reply::Hello(hello),
                ..
            }) => {
                let identity =
                    Identity::new(&hello).map_err(|tag| SessionError::UnknownSystem { tag })?;
                if self.identity.session != identity.session {
                    self.programs.forget();
                    self.mirror.forget_outputs();
                }
                self.identity = identity;
                self.identity.features &= features | Features::NETWORK;
                self.base = hello.kernel_base;
                if let Some(stop) = hello.stop {
                    self.stopped(&stop);
                }
                Ok(())
            }
            // Whoever notices it, it is the same to the user.
            Ok(Message::Reply {
                reply: Reply::ForeignHello { version: ours, .. },
                ..
            }) => Err(SessionError::Refused(Refusal::ProtocolVersion { ours })),
            Ok(Message::Reply {
                reply: Reply::Refused(refusal),
                ..
            }) => Err(SessionError::Refused(refusal)),
            _ => Err(SessionError::BadReply {
                what: "connect",
                kind: reply.first().copied().unwrap_or_default(),
            }),
        }
    }

    /// Memory of the kernel is probably as this image says.
    pub fn expect_image(&mut self, image: Image) {
        self.image = Some(image);
    }

    /// The kernel runs `slide` bytes behind where it was linked.
    pub fn slide_image(&mut self, slide: u64) {
        if let Some(image) = &mut self.image {
            image.slide_to(slide);
        }
    }

    /// What the debuggee said of itself.
    #[must_use]
    pub const fn identity(&self) -> &Identity {
        &self.identity
    }

    /// Requests made so far.
    #[must_use]
    pub const fn request_count(&self) -> u64 {
        self.requests
    }

    /// Who says when to give up.
    pub const fn timeout(&self) -> &Timeout {
        &self.timeout
    }

    /// A command begins: Ctrl+C before it does not count.
    pub fn begin_command(&mut self) {
        self.timeout.begin();
        // Without an answer now, the command has none either, and says so.
        let _ = self.resolve_doubt();
    }

    /// Takes what came, but not all at once: while messages pour in, the oldest are shown.
    fn receive_some(&mut self) {
        self.look_at_tape();
        for _ in 0..RECEIVED_AT_ONCE {
            match self.next_event(Duration::ZERO) {
                Some(event) => self.receive(event),
                None => break,
            }
        }
    }

    /// The oldest news not seen yet, unless it is a halt.
    pub fn take_news_before_halt(&mut self) -> Option<News> {
        self.receive_some();
        match self.news.front()? {
            News::Stopped(_) => None,
            _ => self.take_news(),
        }
    }

    /// The oldest news not seen yet.
    pub fn take_news(&mut self) -> Option<News> {
        self.receive_some();
        match self.news.pop_front()? {
            News::Unread { raw, at } => Some(News::Messages(self.read_foreign(&raw, at))),
            other => Some(other),
        }
    }

    /// The halt of that number has been told.
    pub fn drop_news_of(&mut self, halt: u32) {
        let is_told = |news: &News| matches!(news, News::Stopped(told) if told.number == halt);
        self.news.retain(|news| !is_told(news));
    }

    /// Takes what is not the reply to a request.
    fn receive(&mut self, event: Event) {
        let (message, at) = match event {
            Event::Message { bytes, at } => (bytes, at),
            Event::Connected => return self.connected(),
            // It greets until it hears of a session, and that it came is known.
            Event::Greeting if self.is_gone => return,
            Event::Greeting => return self.lose_driver(false),
            Event::OtherHost { seconds } => return self.lose_to_other_host(seconds),
            // Of a request that was given up.
            Event::Unsent { id, .. } | Event::Missing { id: Some(id), .. } => {
                return self.answered_late(id, false);
            }
            // A break-in was given up.
            Event::Missing { id: None, .. } => return,
            Event::Lost { why } => return self.news.push_back(News::LineLost { why }),
            Event::OpenAgain { untold } => {
                return self.news.push_back(News::LineBack { untold });
            }
            Event::Rate(news) => return self.hear_of_rate(news),
            Event::Dropped(news) => return self.hear_of_dropped(news),
            // Whoever opened it waited for these.
            Event::Open | Event::NotOpen { .. } => return,
        };
        match Message::decode(&message, self.base) {
            Ok(Message::Notice(Notice::Stopped(stop))) => self.stopped(&stop),
            Ok(Message::Notice(Notice::Fault {
                core,
                vector,
                rip,
                detail,
            })) => self.news.push_back(News::Fault {
                core,
                vector,
                rip,
                detail,
            }),
            Err(MessageError::UnknownNotice { kind }) => {
                self.news.push_back(News::UnknownNotice { kind });
            }
            Err(error @ MessageError::MalformedNotice { kind }) => {
                self.is_in_doubt |= error.is_of_a_stop();
                self.news.push_back(News::MalformedNotice { kind });
            }
            Ok(Message::Notice(Notice::Messages(messages))) => self.said(&messages, &message, at),
            Ok(Message::Notice(Notice::Goodbye)) => self.lose_driver(true),
            Ok(Message::Notice(Notice::Steps(steps))) if self.awaits_steps => {
                self.steps.extend(steps.iter());
            }
            // Of steps that nobody waits for any more.
            Ok(Message::Notice(Notice::Steps(_))) => {}
            Ok(Message::Reply {
                id,
                reply: Reply::Stepped(stepped),
            }) => {
                self.answered_late(id, true);
                self.stopped(&stepped.stop);
            }
            Ok(Message::Reply { id, reply }) => self.answered_late(id, reply == Reply::Done),
            Err(
                MessageError::UnknownReply { id, .. } | MessageError::MalformedReply { id, .. },
            ) => self.answered_late(id, false),
            Err(MessageError::Truncated) => {}
        }
    }

    /// The answer to a request that was given up. It may have let the debuggee go.
    fn answered_late(&mut self, id: u8, is_done: bool) {
        let ended = self.pending.answered(id);
        let known = self.halted.as_ref().map(|halt| halt.number);
        if is_done && ended.is_some() && ended == known {
            self.went_on();
        }
    }

    fn stopped(&mut self, stop: &Stop<'_>) {
        let halt = Halt::from(stop);
        if self
            .halted
            .as_ref()
            .is_some_and(|known| known.number == halt.number)
        {
            return;
        }
        self.halted_at(&halt, stop.hits.iter());
        self.news.push_back(News::Stopped(halt));
    }

    /// The debuggee is in another halt than before, with so many hits of events.
    fn halted_at(&mut self, halt: &Halt, hits: impl Iterator<Item = (EventId, u64)>) {
        self.is_in_doubt = false;
        self.cache.forget_all();
        self.mirror.check_after_run();
        self.mirror.count_hits(hits);
        self.core = halt.core;
        self.current = halt.task.as_ref().map(TaskId::from);
        self.halted = Some(halt.clone());
    }

    /// Sends a request and gives its reply, if it is one that `read` can use.
    fn ask<T>(
        &mut self,
        what: &'static str,
        request: &Request<'_>,
        read: impl FnOnce(Reply<'_>) -> Option<T>,
    ) -> Result<T, SessionError> {
        let message = self.exchange(what, request)?;
        self.read_answer(what, &message, read)
    }

    /// What `read` makes of the reply to a request.
    fn read_answer<T>(
        &mut self,
        what: &'static str,
        message: &[u8],
        read: impl FnOnce(Reply<'_>) -> Option<T>,
    ) -> Result<T, SessionError> {
        let bad = SessionError::BadReply {
            what,
            kind: message.first().copied().unwrap_or_default(),
        };
        match Message::decode(message, self.base) {
            Ok(Message::Reply {
                reply: Reply::Refused(refusal),
                ..
            }) => {
                // The answer to a `g` that was given up came after all.
                if refusal == Refusal::NotHalted && self.halted.take().is_some() {
                    self.cache.forget_all();
                }
                Err(SessionError::Refused(refusal))
            }
            Ok(Message::Reply { reply, .. }) => read(reply).ok_or(bad),
            _ => Err(bad),
        }
    }

    /// Sends a request and waits for the message with its number.
    fn exchange(
        &mut self,
        what: &'static str,
        request: &Request<'_>,
    ) -> Result<Vec<u8>, SessionError> {
        let id = self.submit(what, request)?;
        let are_steps = matches!(request, Request::Step(_));
        let answer = self.await_answer(what, id, are_steps);
        let may_run = are_steps || matches!(request, Request::Go);
        self.note_patience(id, &answer, may_run);
        answer
    }

    /// The answer to a question that was sent before.
    fn answer_to(&mut self, what: &'static str, id: u8) -> Result<Vec<u8>, SessionError> {
        let answer = self.await_answer(what, id, false);
        self.note_patience(id, &answer, false);
        answer
    }

    /// Whether the answer is not waited for any more, to what may have let the debuggee go.
    fn note_patience(&mut self, id: u8, answer: &Result<Vec<u8>, SessionError>, may_run: bool) {
        if matches!(
            answer,
            Err(SessionError::GivenUp { .. } | SessionError::NoAnswer { .. })
        ) {
            let halt = self.halted.as_ref().filter(|_| may_run);
            self.pending.give_up(id, halt.map(|halt| halt.number));
        }
    }

    /// Sends a request and gives its number.
    fn submit(&mut self, what: &'static str, request: &Request<'_>) -> Result<u8, SessionError> {
        self.must_have_driver()?;
        let id = self.pending.draw_id();
        let mut buffer = vec![0; wire_protocol::limits::MESSAGE_BYTES];
        let mut out = Writer::new(&mut buffer);
        request
            .encode(id, self.base, &mut out)
            .map_err(|_| SessionError::TooLong { what })?;
        self.requests += 1;
        self.connected_link()?.send(out.written().to_vec());
        Ok(id)
    }

    /// Who gives up on steps ends them, and has their answer all the same.
    fn await_answer(
        &mut self,
        what: &'static str,
        id: u8,
        are_steps: bool,
    ) -> Result<Vec<u8>, SessionError> {
        let started = Instant::now();
        let mut explained = false;
        let mut ending = are_steps.then(Ending::default);
        loop {
            match self.next_event(SLICE) {
                Some(Event::Message { bytes, .. }) if is_reply_to(&bytes, id) => return Ok(bytes),
                Some(Event::Unsent { id: of, why }) if of == id => {
                    return Err(SessionError::Unsent { what, why });
                }
                // Who begins is refused; who has a session hears it as news, too.
                Some(Event::OtherHost {
                    seconds: Some(seconds),
                }) => {
                    self.is_taken = true;
                    return Err(SessionError::Busy { seconds });
                }
                Some(Event::Missing { id: Some(of), gap }) if of == id => {
                    return Err(self.no_answer_then(what, gap));
                }
                Some(event) => self.receive(event),
                None => {}
            }
            self.must_have_driver()?;
            let waited = started.elapsed();
            let is_late = self.timeout.limit().is_some_and(|limit| waited >= limit);
            if let Some(ending) = &mut ending
                && (is_late || self.timeout.is_interrupted())
                && ending.is_waited_for()
            {
                if ending.is_due() {
                    self.connected_link()?.break_in();
                }
                continue;
            }
            if self.timeout.is_interrupted() {
                return Err(SessionError::GivenUp { what });
            }
            if is_late {
                return Err(SessionError::NoAnswer {
                    what,
                    seconds: waited.as_secs(),
                    line: self.line_state(),
                });
            }
            if !are_steps && !explained && waited >= EXPLAIN_AFTER {
                explained = true;
                self.timeout.explain(&Wait::Answer {
                    request: Some(what),
                    seconds: waited.as_secs(),
                    line: self.line_state(),
                });
            }
        }
    }
}

/// Notices have no number; what has one is a reply.
fn is_reply_to(message: &[u8], id: u8) -> bool {
    matches!(message, [kind, number, ..] if *kind < 0x80 && *number == id)
}

/// Differs from that of every session whose frames may still be under way.
fn draw_nonce() -> u32 {
    let now = SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default()
        .as_nanos();
    let seed = u64::from(std::process::id());
    (xxhash_rust::xxh64::xxh64(&now.to_le_bytes(), seed) >> 16) as u32
}
