//! The line to the debuggee: opening it, or waiting until that can be done, and closing it. A line that is lost is opened
//! again by its thread (`line.rs`).

use super::identity::Identity;
use super::incoming::Event;
use super::line::LinkThread;
use super::peer::Peer;
use super::{SLICE, Session, SessionError, tape};
use crate::recording::{Counts, Entry};
use crate::timeout::{LineState, Wait};
use crate::transport::Endpoint;
use std::time::{Duration, Instant};

/// A wait for the line that takes longer is told.
const TELL_AFTER: Duration = Duration::from_secs(1);
/// More than a line that is being plugged in makes up.
const FOREIGN_BYTES: u64 = 16;

/// A line, open or to be opened.
pub(super) struct Connection {
    endpoint: Endpoint,
    link: Peer,
}

impl Session {
    /// Opens the line; whatever is not there yet (the debuggee, its socket, a device) is waited for.
    ///
    /// # Errors
    /// When it can never be opened, or was not in time, or the user gives up.
    pub fn open(&mut self, endpoint: Endpoint) -> Result<(), SessionError> {
        if let Some(connection) = &self.line {
            let line = connection.endpoint.to_string();
            return Err(SessionError::Connected { line });
        }
        let line = endpoint.to_string();
        let link = match self.tape.recorded() {
            Some(recorded) => {
                let opened = recorded.open();
                opened.map_err(|not_open| tape::told(not_open, line))?;
                Peer::Recorded(recorded)
            }
            None => Peer::Line(self.open_line(&endpoint, line)?),
        };
        self.line = Some(Connection { endpoint, link });
        Ok(())
    }

    /// The same, recorded if that is wanted.
    fn open_line(&self, endpoint: &Endpoint, line: String) -> Result<LinkThread, SessionError> {
        let recorder = self.tape.recorder();
        let opened = LinkThread::start(endpoint.transport(), recorder.clone())
            .map_err(|why| SessionError::NoLine {
                line: line.clone(),
                why: why.to_string(),
            })
            .and_then(|link| self.await_line(&link, line).map(|()| link));
        if let Some(recorder) = recorder {
            match &opened {
                Ok(_) => recorder.act(Entry::Open(endpoint.clone())),
                Err(error) => {
                    let not_open = tape::not_open(error).map(Entry::NotOpen);
                    not_open.into_iter().for_each(|entry| recorder.act(entry));
                }
            }
        }
        opened
    }

    fn await_line(&self, link: &LinkThread, line: String) -> Result<(), SessionError> {
        let started = Instant::now();
        let mut told = String::new();
        let mut why = "it is being tried".to_owned();
        loop {
            match link.next(SLICE) {
                Some(Event::Open) => return Ok(()),
                Some(Event::NotOpen {
                    why,
                    is_final: true,
                }) => return Err(SessionError::NoLine { line, why }),
                Some(Event::NotOpen { why: now, .. }) => why = now,
                _ => {}
            }
            if self.timeout.is_interrupted() {
                return Err(SessionError::LineGivenUp { line, why });
            }
            let waited = started.elapsed();
            let seconds = waited.as_secs();
            if self.timeout.limit().is_some_and(|limit| waited >= limit) {
                return Err(SessionError::NotOpened { line, seconds, why });
            }
            if waited >= TELL_AFTER && told != why {
                told.clone_from(&why);
                self.timeout.explain(&Wait::Line {
                    line: line.clone(),
                    seconds,
                    why: why.clone(),
                });
            }
        }
    }

    /// Ends the session; the debuggee stays as it is.
    pub fn close(&mut self) {
        self.line = None;
        self.forget_debuggee();
        self.is_gone = false;
        self.is_taken = false;
        self.identity = Identity::unknown();
        self.programs.forget();
        self.mirror.forget_outputs();
        self.news.clear();
        self.requests = 0;
    }

    /// There is a line to a debuggee.
    #[must_use]
    pub const fn is_connected(&self) -> bool {
        self.line.is_some()
    }

    /// Where the debuggee is.
    #[must_use]
    pub fn endpoint(&self) -> Option<&Endpoint> {
        self.line.as_ref().map(|connection| &connection.endpoint)
    }

    /// Counts of the link, how fast the line is, and why it is not open, if it is not.
    #[must_use]
    pub fn health(&self) -> Counts {
        let health = self.connected_link().map(Peer::health);
        health.unwrap_or_default()
    }

    pub(super) fn line_state(&self) -> LineState {
        let Counts {
            statistics, lost, ..
        } = self.health();
        let bytes = statistics.received_bytes;
        match lost {
            Some(why) => LineState::Lost { why },
            None if statistics.received_frames == 0 && bytes >= FOREIGN_BYTES => {
                LineState::Foreign { bytes }
            }
            None => LineState::Open,
        }
    }

    pub(super) fn connected_link(&self) -> Result<&Peer, SessionError> {
        let connection = self.line.as_ref().ok_or(SessionError::NotConnected)?;
        Ok(&connection.link)
    }

    /// What the link thread tells next; `None` if it tells nothing in time.
    pub(super) fn next_event(&self, limit: Duration) -> Option<Event> {
        self.line.as_ref()?.link.next(limit)
    }
}
