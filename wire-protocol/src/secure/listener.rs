//! The host's end: it answers a debuggee that calls with the key, and follows it to the next session. Driven by the host
//! program, which has the socket and the file with the last time.

use super::caller::PROLOGUE;
use super::datagram::{self, Datagram, Hello, Kind, Sealed};
use super::key::Key;
use super::noise::Responder;
use super::secret::{Random, Secret};
use super::session::{Content, Session};
use crate::dropped::{Cause, Dropped};

/// Parts a key for ephemeral ones from the [`Key`].
const EPHEMERAL_PURPOSE: &[u8; 16] = b"standstill reply";

/// What becomes of a debuggee whose clock says an earlier time than the last call had.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OlderClock {
    /// It is not answered: it may be a call that somebody recorded.
    Refused,
    /// It is answered, until a session has begun: the time of that is the last one then. A recorded call is answered, too,
    /// meanwhile, but no session comes of it.
    Accepted,
}

/// What a datagram brought about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Heard<'d> {
    /// Nothing, and it was counted.
    Dropped(Cause),
    /// A debuggee calls. The answer is written; before it is sent, the time is to be kept.
    Call {
        /// Bytes of the answer.
        answer_bytes: usize,
        /// The time of the call.
        clock_us: u64,
    },
    /// From the debuggee of the session.
    Debuggee {
        /// For the link; there may be none.
        bytes: &'d [u8],
        /// Bytes of an answer that was written; 0 if none is due.
        answer_bytes: usize,
        /// None that was sent later has come: where it came from is where the debuggee is now.
        is_newest: bool,
        /// The first of a session that it began, with the time of its call.
        begins: Option<u64>,
    },
}

struct Begun {
    session: Session,
    clock_us: u64,
}

/// See the module.
pub struct Listener {
    key: Key,
    ephemeral_key: Secret,
    /// The last time that was answered.
    clock_us: Option<u64>,
    /// The public key of that call.
    answered: Option<[u8; 32]>,
    older: OlderClock,
    current: Option<Session>,
    /// Answered, and nothing was heard in it yet.
    next: Option<Begun>,
    dropped: Dropped,
}

impl Listener {
    /// One that nobody has called. `clock_us` is the last time that a call under this key had, if it is known.
    #[must_use]
    pub fn new(key: Key, clock_us: Option<u64>, older: OlderClock) -> Self {
        Self {
            ephemeral_key: key.0.derive(EPHEMERAL_PURPOSE),
            key,
            clock_us,
            answered: None,
            older,
            current: None,
            next: None,
            dropped: Dropped::default(),
        }
    }

    /// There is a session.
    #[must_use]
    pub const fn is_connected(&self) -> bool {
        self.current.is_some()
    }

    /// What was dropped.
    #[must_use]
    pub const fn dropped(&self) -> Dropped {
        self.dropped
    }

    /// Seals bytes of the link, [`super::ROOM_BYTES`] at most, and returns the datagram's length; 0 if there is no session.
    pub fn seal(&mut self, bytes: &[u8], random: &Random, out: &mut [u8]) -> usize {
        self.sealed(Content::Bytes(bytes), random, out)
    }

    /// The host leaves: the debuggee calls anew at once, for whoever comes next.
    pub fn bye(&mut self, random: &Random, out: &mut [u8]) -> usize {
        let len_bytes = self.sealed(Content::Bye, random, out);
        self.current = None;
        len_bytes
    }

    fn sealed(&mut self, content: Content<'_>, random: &Random, out: &mut [u8]) -> usize {
        let current = self.current.as_mut();
        let sealed = current.and_then(|session| session.seal(content, random, out));
        sealed.unwrap_or(0)
    }

    /// Takes a datagram, which is opened in place. What is to be sent to where it came from is written to `out`.
    pub fn take<'d>(
        &mut self,
        datagram: &'d mut [u8],
        random: &Random,
        out: &mut [u8],
    ) -> Heard<'d> {
        let heard = match datagram::read(datagram) {
            Ok(Datagram::Welcome(_) | Datagram::ToDebuggee(_)) => Err(Cause::Reflected),
            Ok(Datagram::Hello(hello)) => self.called(&hello, random, out),
            Ok(Datagram::ToHost(sealed)) => self.opened(&sealed, datagram, random, out),
            Err(cause) => Err(cause),
        };
        heard.unwrap_or_else(|cause| Heard::Dropped(self.dropped.count(cause)))
    }

    fn called(
        &mut self,
        hello: &Hello,
        random: &Random,
        out: &mut [u8],
    ) -> Result<Heard<'static>, Cause> {
        if hello.key_id != self.key.id() {
            return Err(Cause::WrongKey);
        }
        let mut clock = hello.sealed_clock;
        let (psk, theirs) = (&self.key.0, &hello.public);
        let responder =
            Responder::begin(psk, PROLOGUE, theirs, &mut clock, &hello.tag).ok_or(Cause::Forged)?;
        let clock_us = u64::from_le_bytes(clock);
        if self.answered == Some(hello.public) {
            return Err(Cause::Replayed);
        }
        let is_later = self.clock_us.is_none_or(|last_us| clock_us > last_us);
        if !is_later && self.older == OlderClock::Refused {
            return Err(Cause::OlderClock);
        }
        let hash = responder.hash();
        let ephemeral = Secret::new(self.ephemeral_key.mac(&[random, hash]));
        let (keys, public, tag) = responder.finish(&ephemeral, &mut []).ok_or(Cause::Forged)?;
        let [a, b, c, d, ..] = hello.public;
        let head = Kind::Welcome.head(datagram::WELCOME_BYTES);
        let answer_bytes = datagram::write(&[&head, &[a, b, c, d], &public, &tag], out);
        if self.older == OlderClock::Refused {
            self.clock_us = Some(clock_us);
        }
        self.answered = Some(hello.public);
        self.next = Some(Begun {
            session: Session::new(keys, false),
            clock_us,
        });
        Ok(Heard::Call {
            answer_bytes,
            clock_us,
        })
    }

    fn opened<'d>(
        &mut self,
        sealed: &Sealed,
        datagram: &'d mut [u8],
        random: &Random,
        out: &mut [u8],
    ) -> Result<Heard<'d>, Cause> {
        let is_of_next = self
            .next
            .as_ref()
            .is_some_and(|it| it.session.id == sealed.session);
        let session = match (&mut self.next, &mut self.current) {
            (Some(next), _) if is_of_next => &mut next.session,
            (_, Some(current)) if current.id == sealed.session => current,
            _ => return Err(Cause::UnknownSession),
        };
        let opened = session.open(sealed, datagram)?;
        let begins = match is_of_next {
            true => self.begin_next(),
            false => None,
        };
        let (bytes, answer_bytes) = match opened.content {
            Content::Bytes(bytes) => (bytes, 0),
            Content::Alive => (&[][..], self.sealed(Content::Alive, random, out)),
            Content::Bye => (&[][..], 0),
        };
        Ok(Heard::Debuggee {
            bytes,
            answer_bytes,
            is_newest: opened.is_newest,
            begins,
        })
    }

    /// The debuggee has the keys, so its call was no recorded one.
    fn begin_next(&mut self) -> Option<u64> {
        let Begun { session, clock_us } = self.next.take()?;
        self.current = Some(session);
        self.older = OlderClock::Refused;
        self.clock_us = Some(clock_us);
        Some(clock_us)
    }
}
