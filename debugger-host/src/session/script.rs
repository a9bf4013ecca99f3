//! Programs on the debuggee: what events run, what runs once, the variables they share, and what
//! they print. Called by [`crate::command`].

use super::{MessageContent, News, ProgramMessage, Session, SessionError};
use crate::recording::Moment;
use crate::script::Compiled;
use crate::script::lines::{Line, Lines};
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;
use wire_protocol::address::EventId;
use wire_protocol::bytecode::Program;
use wire_protocol::limits;
use wire_protocol::packet::{
    Content, Failure, Features, GlobalName, GlobalNames, Message, MessageCounts, MessageRecord,
    Messages, NetworkCounts, Notice, Reply, Request, Source,
};
use wire_protocol::print::{Clock, Site};

/// A compiled script, as the host keeps it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Script {
    /// The program.
    pub bytes: Vec<u8>,
    /// Which line each operation comes from; nothing if another host compiled it.
    pub lines: Lines,
    /// The event has a condition that is a script as well.
    pub is_beside_condition: bool,
}

impl From<Compiled> for Script {
    fn from(compiled: Compiled) -> Self {
        Self {
            bytes: compiled.bytes,
            lines: compiled.lines,
            is_beside_condition: false,
        }
    }
}

impl Script {
    /// Which line an offset in the code comes from.
    fn line(&self, at: u32) -> Option<Line> {
        Some(Line {
            or_condition: self.is_beside_condition,
            ..self.lines.at(at)?
        })
    }
}

/// What the host knows of programs. It outlives the events: what they printed may still be under
/// way.
#[derive(Default)]
pub(super) struct Programs {
    of_events: HashMap<EventId, Arc<Script>>,
    /// The last one that ran once.
    of_request: Option<Arc<Script>>,
    globals: HashMap<(String, u32), u16>,
}

/// How a script ran that ran once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunResult {
    /// What it gave; 0 if nothing.
    pub value: u64,
    /// What went wrong, and where in the script.
    pub failure: Option<(Failure, Option<Line>)>,
}

impl Programs {
    fn of(&self, source: Source) -> Option<&Arc<Script>> {
        match source {
            Source::Event(id) => self.of_events.get(&id),
            Source::Request => self.of_request.as_ref(),
        }
    }

    /// The script of an event is this one.
    pub(super) fn keep(&mut self, event: EventId, script: Arc<Script>) {
        self.of_events.insert(event, script);
    }

    /// Another session with the debuggee: its events are not the ones that are known.
    pub(super) fn forget(&mut self) {
        *self = Self::default();
    }

    /// Makes texts of messages.
    fn read(&self, messages: &Messages<'_>, at: Moment) -> Vec<ProgramMessage> {
        let (date, time) = crate::clock::date_and_time(at.since_1970());
        let clock = Clock {
            date: &date,
            time: &time,
        };
        messages
            .iter()
            .map(|record| ProgramMessage {
                source: record.source,
                core: messages.core,
                lost: record.lost,
                what: self.read_one(&record, clock),
            })
            .collect()
    }

    fn read_one(&self, record: &MessageRecord<'_>, clock: Clock<'_>) -> MessageContent {
        let script = self.of(record.source);
        match record.content {
            Content::Print { site, arguments } => {
                let program = script.and_then(|script| Program::parse(&script.bytes).ok());
                let mut text = String::new();
                let place = program.and_then(|program| Site::of(&program, site));
                let is_read =
                    place.is_some_and(|place| place.write(arguments, clock, &mut text).is_ok());
                if !is_read {
                    text = "<a message of a program that is not known>\n".to_owned();
                }
                MessageContent::Text(text)
            }
            Content::Trace { rip, code } => MessageContent::Trace {
                rip,
                code: code.to_vec(),
            },
            Content::Failure(failure) => MessageContent::Failure {
                failure,
                line: script.and_then(|script| script.line(failure.at)),
            },
            Content::Standing(standing) => MessageContent::Standing(standing),
        }
    }
}

/// What `flush` threw away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Flushed {
    /// Messages.
    pub dropped: u64,
    /// Messages that had found no room before, of which nobody was told yet.
    pub lost: u64,
}

/// Longest wait for what is nice to know.
const SOON: Duration = Duration::from_secs(2);

/// What the hash of a global's name is made with.
const NAME_SEED: u64 = 0;

impl Session {
    /// Takes a batch of messages: what can be read is news at once.
    pub(super) fn said(&mut self, messages: &Messages<'_>, raw: &[u8], at: Moment) {
        for record in messages.iter() {
            self.mirror.follow(&record);
        }
        let is_known = messages.iter().all(|record| {
            !matches!(record.content, Content::Print { .. })
                || self.programs.of(record.source).is_some()
        });
        self.news.push_back(if is_known {
            News::Messages(self.programs.read(messages, at))
        } else {
            let raw = raw.to_vec();
            News::Unread { raw, at }
        });
    }

    /// Reads messages of events that another host added.
    pub(super) fn read_foreign(&mut self, raw: &[u8], at: Moment) -> Vec<ProgramMessage> {
        let Ok(Message::Notice(Notice::Messages(messages))) = Message::decode(raw, self.base)
        else {
            return Vec::new();
        };
        for record in messages.iter() {
            if let Source::Event(event) = record.source
                && self.programs.of(record.source).is_none()
            {
                // Shown without its words if the program cannot be had.
                let _ = self.fetch_script(event);
            }
        }
        self.programs.read(&messages, at)
    }

    fn fetch_script(&mut self, event: EventId) -> Result<(), SessionError> {
        let request = Request::EventPrograms { event };
        let bytes = self.ask("read a program", &request, |reply| match reply {
            Reply::EventPrograms(programs) => Some(programs.script.to_vec()),
            _ => None,
        })?;
        let script = Script {
            bytes,
            ..Script::default()
        };
        self.programs.keep(event, Arc::new(script));
        Ok(())
    }

    /// Where a global variable is; made if there is none.
    ///
    /// # Errors
    /// When there is no room, it has another size, or the debuggee does not answer.
    pub fn global(&mut self, name: &str, len_bytes: u32) -> Result<u16, SessionError> {
        if let Some(offset) = self.programs.globals.get(&(name.to_owned(), len_bytes)) {
            return Ok(*offset);
        }
        let what = "define a global";
        let hash = xxhash_rust::xxh64::xxh64(name.as_bytes(), NAME_SEED);
        let mut scratch = [0; 32];
        let names =
            GlobalNames::encode_into([GlobalName { hash, len_bytes }], self.base, &mut scratch)
                .map_err(|_| SessionError::TooLong { what })?;
        let offset = self.ask(what, &Request::DefineGlobals(names), |reply| match reply {
            Reply::GlobalsDefined(offsets) => offsets
                .iter()
                .next()
                .and_then(|first| u16::try_from(first.0).ok()),
            _ => None,
        })?;
        let key = (name.to_owned(), len_bytes);
        self.programs.globals.insert(key, offset);
        Ok(offset)
    }

    /// Runs a program once on the operating core. What it prints is news that came before.
    ///
    /// # Errors
    /// When the debuggee runs, refuses or does not answer.
    pub fn run_script(&mut self, script: Script) -> Result<RunResult, SessionError> {
        self.must_be_halted()?;
        let what = "run a script";
        if script.bytes.len() > limits::PROGRAM_BYTES {
            return Err(SessionError::TooLong { what });
        }
        let script = Arc::new(script);
        self.programs.of_request = Some(Arc::clone(&script));
        // It may change registers, memory and events.
        self.cache.forget_all();
        self.mirror.forget();
        let request = Request::RunScript {
            core: self.core(),
            program: &script.bytes,
        };
        self.ask(what, &request, |reply| match reply {
            Reply::ScriptRan { value, failure } => {
                let failure = failure.map(|failure| (failure, script.lines.at(failure.at)));
                Some(RunResult { value, failure })
            }
            _ => None,
        })
    }

    /// What became of all messages.
    ///
    /// # Errors
    /// When the debuggee refuses or does not answer.
    pub fn message_counts(&mut self) -> Result<MessageCounts, SessionError> {
        let counts = self.counts("count messages", &Request::MessageCounts)?;
        self.network = counts.network;
        Ok(counts)
    }

    /// How it stands with the debuggee's network, when that was asked last: at the start of the session or for
    /// [`Self::message_counts`]. `None` if it has none.
    #[must_use]
    pub const fn network(&self) -> Option<NetworkCounts> {
        self.network
    }

    /// Asks for it, if there is one.
    ///
    /// # Errors
    /// When the debuggee does not answer.
    pub fn ask_of_network(&mut self) -> Result<(), SessionError> {
        if self.identity.features.contains(Features::NETWORK) {
            self.message_counts()?;
        }
        Ok(())
    }

    /// The same for people who want to see what is known: `None` if no answer comes soon.
    pub fn message_counts_soon(&mut self) -> Option<MessageCounts> {
        if self.health().lost.is_some() {
            return None;
        }
        self.timeout.shorten(Some(SOON));
        let counts = self.message_counts();
        self.timeout.shorten(None);
        counts.ok()
    }

    /// Drops all messages that nobody has seen yet: those of the debuggee, and those that came before
    /// its answer and wait here.
    ///
    /// # Errors
    /// When the debuggee refuses or does not answer.
    pub fn flush(&mut self) -> Result<Flushed, SessionError> {
        // Among them may be how events stand.
        self.mirror.forget();
        let before = self.message_counts()?;
        let after = self.counts("flush", &Request::Flush)?;
        let mut flushed = Flushed {
            dropped: after.flushed.saturating_sub(before.flushed),
            lost: before.dropped.saturating_sub(before.told),
        };
        for news in std::mem::take(&mut self.news) {
            let messages = match news {
                News::Messages(messages) => messages,
                News::Unread { raw, at } => self.read_foreign(&raw, at),
                other => {
                    self.news.push_back(other);
                    continue;
                }
            };
            flushed.dropped += messages.len() as u64;
            flushed.lost += messages.iter().map(|message| message.lost).sum::<u64>();
        }
        Ok(flushed)
    }

    fn counts(
        &mut self,
        what: &'static str,
        request: &Request<'_>,
    ) -> Result<MessageCounts, SessionError> {
        self.ask(what, request, |reply| match reply {
            Reply::MessageCounts(counts) => Some(counts),
            _ => None,
        })
    }
}
