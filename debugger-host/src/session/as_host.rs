//! A recording plays the host: what the host sent then is sent to a debuggee now, in order, and what comes back must be
//! what came then, as far as that is the same in another run ([`Care::Stable`]). Called by `standstill replay --as-host`.

use super::incoming::Event;
use super::presence::other_host;
use super::{SLICE, Session, SessionError};
use crate::recording::compare::{Care, Difference, Said, difference};
use crate::recording::describe::Bases;
use crate::recording::{Entry, Moment, Packet, Recording};
use crate::transport::Endpoint;
use std::collections::{HashSet, VecDeque};
use std::fmt;
use std::time::{Duration, Instant};
use wire_protocol::packet::{Message, Notice, Reply};

/// What is waited for comes within this, beyond [`SLOWER`] times the time that it took then.
const PATIENCE: Duration = Duration::from_secs(6);
const SLOWER: u32 = 4;

/// A recording that was played to its end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Played {
    /// Requests that were sent.
    pub requests: usize,
    /// Messages that came as they came then.
    pub compared: usize,
}

/// Why it was not.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum PlayError {
    /// There is no way to the debuggee.
    #[error(transparent)]
    Session(#[from] SessionError),
    /// Nothing of the recording can be played.
    #[error("it has no session with a debuggee")]
    Empty,
    /// The debuggee does something else.
    #[error(transparent)]
    Diverged(Box<Divergence>),
}

/// Where what the debuggee says is not what the recording has.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct Divergence {
    /// Number of the packet.
    pub packet: u32,
    /// The command that was under way then.
    pub command: Option<String>,
    /// How.
    pub how: How,
}

/// See [`Divergence`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum How {
    /// Another message came.
    Other(Difference),
    /// Nothing came.
    Nothing {
        /// What was expected.
        expected: String,
        /// For so long.
        waited: Duration,
    },
    /// The core looks at a page of memory that it did not look at then, so that nobody knows what it holds.
    Page {
        /// Its address.
        at: u64,
    },
    /// Something came that did not come then.
    More {
        /// What.
        seen: String,
    },
    /// The driver was loaded anew.
    Reloaded,
}

impl Divergence {
    /// The command that was under way, if one was.
    #[must_use]
    pub fn under_way(&self) -> String {
        self.command.as_ref().map_or_else(String::new, |command| {
            format!(" (in the command `{}`)", command.replace('\n', "\\n"))
        })
    }
}

impl fmt::Display for Divergence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { packet, how, .. } = self;
        let command = self.under_way();
        write!(f, "the debuggee differs from packet {packet}{command}{how}")
    }
}

impl fmt::Display for How {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Other(difference) => difference.fmt(f),
            Self::Nothing { expected, waited } => {
                write!(f, ": expected {expected}, seen nothing")?;
                match waited.as_secs() {
                    0 => Ok(()),
                    seconds => write!(f, " for {seconds} s"),
                }
            }
            Self::Page { at } => write!(f, ": page {at:x} is looked at, which was not then"),
            Self::More { seen } => write!(f, ": expected nothing before it, seen {seen}"),
            Self::Reloaded => write!(f, ": the driver was loaded anew"),
        }
    }
}

/// What of a difference two tries have in common with the same debuggee: not what depends on its boot, nor on time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Essence(Kind);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Kind {
    Other {
        field: &'static str,
        expected: String,
    },
    Nothing {
        expected: String,
    },
    More,
    Page(u64),
    Reloaded,
}

impl From<&How> for Essence {
    fn from(how: &How) -> Self {
        Self(match how {
            How::Other(Difference {
                field, expected, ..
            }) => Kind::Other {
                field,
                expected: expected.clone(),
            },
            How::Nothing { expected, .. } => Kind::Nothing {
                expected: expected.clone(),
            },
            How::More { .. } => Kind::More,
            How::Page { at } => Kind::Page(*at),
            How::Reloaded => Kind::Reloaded,
        })
    }
}

/// Numbers of the requests that were never on the line: packets.
fn unsent(packets: &[Packet]) -> HashSet<u32> {
    let mut asked = [None; 256];
    let mut found = HashSet::new();
    for packet in packets {
        match &packet.entry {
            Entry::Request(message) => {
                asked[usize::from(message.get(1).copied().unwrap_or_default())] =
                    Some(packet.number);
            }
            Entry::Unsent { id, .. } => found.extend(asked[usize::from(*id)]),
            _ => {}
        }
    }
    found
}

/// A halt is told again where the host may not have heard of it; that counts once.
#[derive(Default)]
struct Halts {
    last: Option<u32>,
}

impl Halts {
    /// Whether it was told before.
    fn is_known(&mut self, message: &Message<'_>) -> bool {
        let stop = match message {
            Message::Notice(Notice::Stopped(stop)) => Some(stop),
            Message::Reply {
                reply: Reply::Hello(hello),
                ..
            } => hello.stop.as_ref(),
            _ => None,
        };
        let is_notice = matches!(message, Message::Notice(_));
        stop.is_some_and(|stop| self.last.replace(stop.halt) == Some(stop.halt) && is_notice)
    }
}

/// Whether the message says nothing that another run says, too: what programs print, and when it is sent, depends on
/// what the guest does.
fn is_passed_over(message: &Message<'_>) -> bool {
    matches!(message, Message::Notice(Notice::Messages(_)))
}

struct Player<'s> {
    session: &'s mut Session,
    endpoint: Endpoint,
    played: Played,
    /// Told of each command that was typed then, before it is played; it goes on when that returns.
    begins: &'s mut dyn FnMut(&str),
    /// Commands that are under way: a file of commands is one, and so is each in it.
    depth: u32,
    command: Option<String>,
    /// Of the packet that is played.
    packet: u32,
    then: Bases,
    now: Bases,
    halts_then: Halts,
    halts_now: Halts,
    is_connected: bool,
    /// What came and was not waited for yet.
    replies: VecDeque<Vec<u8>>,
    notices: VecDeque<Vec<u8>>,
}

impl Session {
    /// Plays the host of a recording to the debuggee at `endpoint`. `begins` is told of each command that was typed then, before
    /// it is played.
    ///
    /// # Errors
    /// It cannot be reached, or does something else: the first difference. It is left as it is then.
    pub fn play_host(
        &mut self,
        recording: &Recording,
        endpoint: Endpoint,
        begins: &mut dyn FnMut(&str),
    ) -> Result<Played, PlayError> {
        let packets = &recording.packets;
        if !packets
            .iter()
            .any(|packet| matches!(packet.entry, Entry::Connect { .. }))
        {
            return Err(PlayError::Empty);
        }
        let unsent = unsent(packets);
        let mut player = Player {
            session: self,
            endpoint,
            played: Played::default(),
            begins,
            depth: 0,
            command: None,
            packet: 0,
            then: Bases::default(),
            now: Bases::default(),
            halts_then: Halts::default(),
            halts_now: Halts::default(),
            is_connected: false,
            replies: VecDeque::new(),
            notices: VecDeque::new(),
        };
        let mut before = Moment::default();
        for packet in packets {
            player.packet = packet.number;
            if !unsent.contains(&packet.number) {
                let took = packet.at.since_1970().checked_sub(before.since_1970());
                player.play(&packet.entry, took.unwrap_or_default())?;
            }
            before = packet.at;
        }
        player.finish()
    }
}

impl Player<'_> {
    fn play(&mut self, entry: &Entry, took: Duration) -> Result<(), PlayError> {
        match entry {
            Entry::Open(_) => self.open()?,
            Entry::Connect { nonce } => {
                self.is_connected = false;
                self.replies.clear();
                self.session.connected_link()?.connect(*nonce, false);
            }
            Entry::Connected => self.await_session(took)?,
            Entry::Request(message) => {
                self.played.requests += 1;
                self.session.connected_link()?.send(message.clone());
            }
            Entry::BreakIn => self.session.connected_link()?.break_in(),
            Entry::Message(message) => self.await_message(message, took)?,
            Entry::Command(line) => {
                if self.depth == 0 {
                    (self.begins)(line);
                }
                self.depth += 1;
                self.command = Some(line.clone());
            }
            Entry::CommandEnd => {
                self.depth = self.depth.saturating_sub(1);
                self.command = None;
            }
            // They are of that line, or of that driver's start.
            Entry::Start(_)
            | Entry::Greeting
            | Entry::OtherHost { .. }
            | Entry::Unsent { .. }
            | Entry::Lost { .. }
            | Entry::Reopened { .. }
            | Entry::Counts(_)
            | Entry::NotOpen(_)
            | Entry::Input(_)
            | Entry::End => {}
        }
        self.then.pass(entry);
        Ok(())
    }

    /// A session of our own comes first: it says whether the debuggee can be spoken to, and the recorded number may be
    /// that of the last session that it had.
    fn open(&mut self) -> Result<(), SessionError> {
        self.session.close();
        self.session.open(self.endpoint.clone())?;
        self.session.shake_hands()?;
        self.session.news.clear();
        self.now = Bases::default();
        self.halts_then = Halts::default();
        self.halts_now = Halts::default();
        self.notices.clear();
        Ok(())
    }

    fn diverged(&self, how: How) -> PlayError {
        PlayError::Diverged(Box::new(Divergence {
            packet: self.packet,
            command: self.command.clone(),
            how,
        }))
    }

    /// Waits until `is_there`, for a multiple of the time that it took then. `None` when it did not come.
    fn await_until(
        &mut self,
        took: Duration,
        is_there: impl Fn(&Self) -> bool,
    ) -> Result<Option<Duration>, PlayError> {
        let started = Instant::now();
        let patience = PATIENCE + took * SLOWER;
        loop {
            while let Some(event) = self.session.next_event(Duration::ZERO) {
                self.take(event)?;
            }
            if is_there(self) {
                return Ok(None);
            }
            let waited = started.elapsed();
            if self.session.timeout.is_interrupted() {
                return Err(SessionError::GivenUp { what: "replay" }.into());
            }
            if waited >= patience {
                return Ok(Some(waited));
            }
            if let Some(event) = self.session.next_event(SLICE.min(patience - waited)) {
                self.take(event)?;
            }
        }
    }

    fn take(&mut self, event: Event) -> Result<(), PlayError> {
        match event {
            Event::Message { bytes, .. } => self.take_message(bytes),
            Event::Connected => {
                self.is_connected = true;
                self.now.pass(&Entry::Connected);
            }
            Event::Greeting => return Err(self.diverged(How::Reloaded)),
            Event::Unsent { why, .. } => {
                return Err(SessionError::Unsent {
                    what: "replay",
                    why,
                }
                .into());
            }
            Event::OtherHost { seconds } => return Err(other_host(seconds).into()),
            // A line that is lost is opened again, or runs at another rate; what does not come meanwhile is waited for.
            Event::Lost { .. }
            | Event::Rate(_)
            | Event::Dropped(_)
            | Event::OpenAgain { .. }
            | Event::Open
            | Event::NotOpen { .. }
            | Event::Missing { .. } => {}
        }
        Ok(())
    }

    fn take_message(&mut self, bytes: Vec<u8>) {
        match Message::decode(&bytes, self.now.received) {
            Ok(message) if is_passed_over(&message) || self.halts_now.is_known(&message) => {}
            Ok(Message::Reply { .. }) => {
                self.now.pass(&Entry::Message(bytes.clone()));
                self.replies.push_back(bytes);
            }
            // What cannot be read is told where a notice is waited for.
            Ok(Message::Notice(_)) | Err(_) => self.notices.push_back(bytes),
        }
    }

    fn await_session(&mut self, took: Duration) -> Result<(), PlayError> {
        match self.await_until(took, |player| player.is_connected)? {
            None => Ok(()),
            Some(waited) => Err(self.diverged(How::Nothing {
                expected: "a session".to_owned(),
                waited,
            })),
        }
    }

    /// Waits for the message that came then, and compares.
    fn await_message(&mut self, expected: &[u8], took: Duration) -> Result<(), PlayError> {
        let base = self.then.received;
        let is_reply = match Message::decode(expected, base) {
            Ok(message) if is_passed_over(&message) || self.halts_then.is_known(&message) => {
                return Ok(());
            }
            Ok(Message::Reply { .. }) => true,
            Ok(Message::Notice(_)) | Err(_) => false,
        };
        let queue = |player: &Self| match is_reply {
            true => player.replies.front().cloned(),
            false => player.notices.front().cloned(),
        };
        let then = Said {
            message: expected,
            base,
        };
        let waited = self.await_until(took, |player| queue(player).is_some())?;
        let Some(seen) = queue(self) else {
            // Where something else came, that tells more.
            let other = self.notices.front().or(self.replies.front());
            return Err(match other {
                Some(other) => self.other(then, &other.clone()),
                None => self.diverged(How::Nothing {
                    expected: then.in_words(),
                    waited: waited.unwrap_or_default(),
                }),
            });
        };
        let now = Said {
            message: &seen,
            base: self.now.received,
        };
        if difference(then, now, Care::Stable).is_some() {
            return Err(self.other(then, &seen));
        }
        match is_reply {
            true => self.replies.pop_front(),
            false => self.notices.pop_front(),
        };
        self.played.compared += 1;
        Ok(())
    }

    /// Something else came.
    fn other(&self, then: Said<'_>, seen: &[u8]) -> PlayError {
        let now = Said {
            message: seen,
            base: self.now.received,
        };
        match difference(then, now, Care::Stable) {
            Some(difference) => self.diverged(How::Other(difference)),
            None => self.diverged(How::More {
                seen: now.in_words(),
            }),
        }
    }

    /// Nothing came that did not come then.
    fn finish(mut self) -> Result<Played, PlayError> {
        while let Some(event) = self.session.next_event(Duration::ZERO) {
            self.take(event)?;
        }
        match self.notices.front().or(self.replies.front()) {
            Some(seen) => Err(self.diverged(How::More {
                seen: Said {
                    message: seen,
                    base: self.now.received,
                }
                .in_words(),
            })),
            None => Ok(self.played),
        }
    }
}
