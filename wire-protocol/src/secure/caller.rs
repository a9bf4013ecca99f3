//! The debuggee's end: it calls the host until there is a session, looks after it, and calls anew when the host is gone. Driven
//! by whoever has the network: the driver in VMX-root, or a program that plays the debuggee.

use super::datagram::{self, Datagram, Kind, Welcome};
use super::key::Key;
use super::noise::Initiator;
use super::secret::{Random, Secret};
use super::session::{Content, Opened, Session};
use crate::dropped::{Cause, Dropped};

/// Parts a key for ephemeral ones from the [`Key`].
const EPHEMERAL_PURPOSE: &[u8; 16] = b"standstill call ";
/// Both ends must mean the same.
pub(super) const PROLOGUE: &[u8] = b"standstill datagrams 2";

/// How patient the debuggee is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timing {
    /// Between calls.
    pub call_us: u64,
    /// When nothing was sent for so long, something is: routers in between forget who speaks, and the host answers.
    pub alive_us: u64,
    /// A host that is not heard for so long is called anew.
    pub lost_us: u64,
    /// Keys are not used for longer.
    pub rekey_us: u64,
}

impl Timing {
    /// Of a debuggee that a person waits for.
    pub const USUAL: Self = Self {
        call_us: 500_000,
        alive_us: 1_000_000,
        lost_us: 3_500_000,
        rekey_us: 3_600_000_000,
    };
}

/// What a datagram brought about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Taken<'d> {
    /// Nothing, and it was counted.
    Dropped(Cause),
    /// Nothing for the link.
    Done,
    /// A session with the host begins, or goes on under new keys. What the link says reaches it from now on.
    Session,
    /// Bytes for the link.
    Bytes(&'d [u8]),
}

/// A call that is not answered yet.
struct Call {
    initiator: Initiator,
    /// Bytes by which its answer names it.
    attempt: [u8; 4],
}

struct Established {
    session: Session,
    since_us: u64,
    /// When the host was heard last, and when anything was said to it.
    heard_us: u64,
    said_us: u64,
}

/// See the module.
pub struct Caller {
    key: Key,
    ephemeral_key: Secret,
    timing: Timing,
    /// The time in the last call.
    clock_us: u64,
    call: Option<Call>,
    called_us: Option<u64>,
    established: Option<Established>,
    /// The host does not use the session before it has heard something in it.
    alive_wanted: bool,
    sessions: u64,
    heard_us: Option<u64>,
    dropped: Dropped,
}

impl Caller {
    /// One that has not called yet.
    #[must_use]
    pub fn new(key: Key, timing: Timing) -> Self {
        Self {
            ephemeral_key: key.0.derive(EPHEMERAL_PURPOSE),
            key,
            timing,
            clock_us: 0,
            call: None,
            called_us: None,
            established: None,
            alive_wanted: false,
            sessions: 0,
            heard_us: None,
            dropped: Dropped::default(),
        }
    }

    /// In the place of one that was lost, whose last call had this time.
    #[must_use]
    pub fn after(self, clock_us: u64) -> Self {
        Self { clock_us, ..self }
    }

    /// There is a session.
    #[must_use]
    pub const fn is_connected(&self) -> bool {
        self.established.is_some()
    }

    /// The host of the session is not heard for so long that it is called anew.
    #[must_use]
    pub fn is_lost(&self, now_us: u64) -> bool {
        self.established.as_ref().is_none_or(|established| {
            now_us.saturating_sub(established.heard_us) >= self.timing.lost_us
        })
    }

    /// The time that the last call had, in microseconds since 1970; 0 before the first.
    #[must_use]
    pub const fn clock_us(&self) -> u64 {
        self.clock_us
    }

    /// How many sessions began.
    #[must_use]
    pub const fn sessions(&self) -> u64 {
        self.sessions
    }

    /// When a host was heard last, if ever.
    #[must_use]
    pub const fn heard_us(&self) -> Option<u64> {
        self.heard_us
    }

    /// What was dropped.
    #[must_use]
    pub const fn dropped(&self) -> Dropped {
        self.dropped
    }

    /// [`Self::poll`] has something to write.
    #[must_use]
    pub fn is_due(&self, now_us: u64) -> bool {
        self.is_to_call(now_us) || self.must_speak(now_us)
    }

    /// That is a call, which has a time.
    #[must_use]
    pub fn is_to_call(&self, now_us: u64) -> bool {
        self.may_call(now_us) && self.must_call(now_us)
    }

    /// Writes what is due besides the link's bytes, and returns its length; 0 if nothing is. Once more until it is 0.
    ///
    /// `clock_us` is the time since 1970, as the machine knows it: the later one of it and of the last one that was used
    /// counts. Nobody asks for it but where [`Self::is_to_call`] says so.
    pub fn poll(&mut self, now_us: u64, clock_us: u64, random: &Random, out: &mut [u8]) -> usize {
        if self.is_to_call(now_us) {
            self.called_us = Some(now_us);
            return self.call(clock_us, random, out).unwrap_or(0);
        }
        if !self.must_speak(now_us) {
            return 0;
        }
        let Some(established) = &mut self.established else {
            return 0;
        };
        self.alive_wanted = false;
        established.said_us = now_us;
        let sealed = established.session.seal(Content::Alive, random, out);
        sealed.unwrap_or(0)
    }

    fn may_call(&self, now_us: u64) -> bool {
        self.called_us
            .is_none_or(|called_us| now_us.saturating_sub(called_us) >= self.timing.call_us)
    }

    /// The host has heard nothing for a while, or waits for a first word.
    fn must_speak(&self, now_us: u64) -> bool {
        self.established.as_ref().is_some_and(|established| {
            let quiet_us = now_us.saturating_sub(established.said_us);
            self.alive_wanted || quiet_us >= self.timing.alive_us
        })
    }

    fn must_call(&self, now_us: u64) -> bool {
        self.established.as_ref().is_none_or(|established| {
            self.is_lost(now_us)
                || now_us.saturating_sub(established.since_us) >= self.timing.rekey_us
                || established.session.is_worn()
        })
    }

    fn call(&mut self, clock_us: u64, random: &Random, out: &mut [u8]) -> Option<usize> {
        self.clock_us = clock_us.max(self.clock_us.saturating_add(1));
        let mut clock = self.clock_us.to_le_bytes();
        let ephemeral = Secret::new(self.ephemeral_key.mac(&[random, &clock]));
        let (initiator, public, tag) =
            Initiator::begin(&self.key.0, PROLOGUE, ephemeral, &mut clock)?;
        self.call = Some(Call {
            initiator,
            attempt: *public.first_chunk()?,
        });
        let head = Kind::Hello.head(datagram::HELLO_BYTES);
        let pieces: [&[u8]; 5] = [&head, &self.key.id(), &public, &clock, &tag];
        Some(datagram::write(&pieces, out))
    }

    /// Seals bytes of the link, [`super::ROOM_BYTES`] at most, and returns the datagram's length; 0 if there is no session.
    pub fn seal(&mut self, bytes: &[u8], now_us: u64, random: &Random, out: &mut [u8]) -> usize {
        let Some(established) = &mut self.established else {
            return 0;
        };
        established.said_us = now_us;
        self.alive_wanted = false;
        let sealed = established.session.seal(Content::Bytes(bytes), random, out);
        sealed.unwrap_or(0)
    }

    /// Takes a datagram, which is opened in place.
    pub fn take<'d>(&mut self, datagram: &'d mut [u8], now_us: u64) -> Taken<'d> {
        match self.taken(datagram, now_us) {
            Ok(taken) => taken,
            Err(cause) => Taken::Dropped(self.dropped.count(cause)),
        }
    }

    fn taken<'d>(&mut self, datagram: &'d mut [u8], now_us: u64) -> Result<Taken<'d>, Cause> {
        let sealed = match datagram::read(datagram)? {
            Datagram::Hello(_) | Datagram::ToHost(_) => return Err(Cause::Reflected),
            Datagram::Welcome(welcome) => return self.welcomed(&welcome, now_us),
            Datagram::ToDebuggee(sealed) => sealed,
        };
        let established = self
            .established
            .as_mut()
            .filter(|it| it.session.id == sealed.session)
            .ok_or(Cause::UnknownSession)?;
        let Opened { content, .. } = established.session.open(&sealed, datagram)?;
        established.heard_us = now_us;
        self.heard_us = Some(now_us);
        Ok(match content {
            Content::Bytes(bytes) => Taken::Bytes(bytes),
            Content::Alive => Taken::Done,
            Content::Bye => {
                self.established = None;
                self.alive_wanted = false;
                self.called_us = None;
                Taken::Done
            }
        })
    }

    fn welcomed(&mut self, welcome: &Welcome, now_us: u64) -> Result<Taken<'static>, Cause> {
        let call = self
            .call
            .as_ref()
            .filter(|call| call.attempt == welcome.attempt)
            .ok_or(Cause::UnknownSession)?;
        let keys = call
            .initiator
            .finish(&welcome.public, &mut [], &welcome.tag)
            .ok_or(Cause::Forged)?;
        self.call = None;
        self.established = Some(Established {
            session: Session::new(keys, true),
            since_us: now_us,
            heard_us: now_us,
            said_us: now_us,
        });
        self.alive_wanted = true;
        self.sessions += 1;
        self.heard_us = Some(now_us);
        Ok(Taken::Session)
    }
}
