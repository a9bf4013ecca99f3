//! Running and halting, and the core that commands work on.

use super::incoming::Event;
use super::{EXPLAIN_AFTER, Halt, SLICE, Session, SessionError};
use crate::timeout::Wait;
use std::time::{Duration, Instant};
use wire_protocol::address::CoreId;
use wire_protocol::packet::{CoreState, Reply, Request};
use wire_protocol::refusal::Refusal;

/// A break-in is repeated until the halt is reported.
const BREAK_IN_EVERY: Duration = Duration::from_millis(200);

impl Session {
    /// The halt the debuggee is in.
    #[must_use]
    pub const fn halt(&self) -> Option<&Halt> {
        self.halted.as_ref()
    }

    /// Refuses when the debuggee runs.
    ///
    /// # Errors
    /// That it runs, or that there is none.
    pub const fn must_be_halted(&self) -> Result<(), SessionError> {
        match self.halted {
            Some(_) => Ok(()),
            None if !self.is_connected() => Err(SessionError::NotConnected),
            None if self.is_taken => Err(SessionError::TakenOver),
            None if self.is_gone => Err(SessionError::DriverGone),
            None => Err(SessionError::Running),
        }
    }

    /// The halt the debuggee is in, asked for if it may have been let go since.
    ///
    /// # Errors
    /// When the debuggee does not answer.
    pub fn certain_halt(&mut self) -> Result<Option<&Halt>, SessionError> {
        if self.pending.may_run() {
            match self.cores() {
                Ok(_) | Err(SessionError::Refused(Refusal::NotHalted)) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(self.halted.as_ref())
    }

    /// The debuggee was let go.
    pub(super) fn went_on(&mut self) {
        self.halted = None;
        self.cache.forget_all();
        self.mirror.forget_pools();
    }

    /// The core that commands work on.
    #[must_use]
    pub const fn core(&self) -> CoreId {
        self.core
    }

    /// Makes commands work on another core. What that one runs is asked for.
    ///
    /// # Errors
    /// When there is no such core, or it is not held.
    pub fn set_core(&mut self, core: CoreId) -> Result<(), SessionError> {
        self.must_have_driver()?;
        let halt = self.halted.as_ref().ok_or(SessionError::Running)?;
        if core.0 >= self.identity.cores {
            return Err(SessionError::Refused(Refusal::NoSuchCore {
                core,
                count: self.identity.cores,
            }));
        }
        if core.0 < 64 && halt.missing_cores & (1 << core.0) != 0 {
            return Err(SessionError::Refused(Refusal::CoreAway { core }));
        }
        self.learn_current(core)?;
        self.core = core;
        Ok(())
    }

    /// Lets the debuggee go on.
    ///
    /// # Errors
    /// When it runs already, refuses or does not answer.
    pub fn go(&mut self) -> Result<(), SessionError> {
        self.must_be_halted()?;
        let before = self.halted.as_ref().map(|halt| halt.number);
        self.ask("g", &Request::Go, |reply| {
            matches!(reply, Reply::Done).then_some(())
        })?;
        // A stop that came right behind the reply is news of its own.
        if self.halted.as_ref().map(|halt| halt.number) == before {
            self.went_on();
        }
        Ok(())
    }

    /// Halts the debuggee.
    ///
    /// # Errors
    /// When it does not halt in time, or the user gives up.
    pub fn break_in(&mut self) -> Result<(), SessionError> {
        let started = Instant::now();
        let mut explained = false;
        let mut sent: Option<Instant> = None;
        while self.halted.is_none() {
            self.must_have_driver()?;
            if sent.is_none_or(|at| at.elapsed() >= BREAK_IN_EVERY) {
                sent = Some(Instant::now());
                self.connected_link()?.break_in();
            }
            match self.next_event(SLICE) {
                Some(Event::Missing { id: None, gap }) => {
                    return Err(self.no_halt_then("pause", self.timeout.limit(), gap));
                }
                Some(event) => self.receive(event),
                None => {}
            }
            self.resolve_doubt()?;
            let waited = started.elapsed();
            if self.timeout.is_interrupted() {
                return Err(SessionError::GivenUp { what: "pause" });
            }
            if self.timeout.limit().is_some_and(|limit| waited >= limit) {
                return Err(SessionError::NotStopped {
                    seconds: waited.as_secs(),
                });
            }
            if !explained && waited >= EXPLAIN_AFTER && self.halted.is_none() {
                explained = true;
                self.explain_wait(waited);
            }
        }
        Ok(())
    }

    /// Says that the debuggee is waited for to halt.
    pub fn explain_wait(&self, waited: Duration) {
        self.timeout.explain(&Wait::Answer {
            request: None,
            seconds: waited.as_secs(),
            line: self.line_state(),
        });
    }

    /// Waits until the debuggee halts; succeeds at once if it is halted.
    ///
    /// # Errors
    /// When it does not halt in time, or the user gives up.
    pub fn wait_for_halt(&mut self, limit: Option<Duration>) -> Result<(), SessionError> {
        if !self.is_connected() {
            return Err(SessionError::NotConnected);
        }
        let started = Instant::now();
        loop {
            if let Some(event) = self.next_event(if self.halted.is_some() {
                Duration::ZERO
            } else {
                SLICE
            }) {
                self.receive(event);
            }
            self.resolve_doubt()?;
            if self.halted.is_some() {
                return Ok(());
            }
            let waited = started.elapsed();
            if limit.is_some_and(|limit| waited >= limit) {
                return Err(SessionError::NotStopped {
                    seconds: waited.as_secs(),
                });
            }
            if self.timeout.is_interrupted() {
                return Err(SessionError::GivenUp { what: ".wait" });
            }
        }
    }

    /// State of every core.
    ///
    /// # Errors
    /// When the debuggee refuses or does not answer.
    pub fn cores(&mut self) -> Result<Vec<CoreState>, SessionError> {
        self.ask("list cores", &Request::Cores, |reply| match reply {
            Reply::Cores(states) => Some(states.iter().collect()),
            _ => None,
        })
    }
}
