//! At what the debuggee halts by itself, and how it is ended on purpose.

use super::{Session, SessionError};
use wire_protocol::limits;
use wire_protocol::packet::{Occasion, OccasionRule, OccasionRules, Reply, Request};

/// Of one rule, encoded.
const RULE_BYTES: usize = 4 + limits::OCCASION_TEXT_BYTES;

impl Session {
    /// Changes some of the rules, and gives all.
    ///
    /// # Errors
    /// When the debuggee runs, refuses or does not answer.
    pub fn occasions(
        &mut self,
        changes: &[OccasionRule],
    ) -> Result<Vec<OccasionRule>, SessionError> {
        const WHAT: &str = "occasions";
        self.must_be_halted()?;
        let mut memory = vec![0; RULE_BYTES * Occasion::COUNT];
        let rules = OccasionRules::encode_into(changes.iter().copied(), self.base, &mut memory)
            .map_err(|_| SessionError::TooLong { what: WHAT })?;
        self.ask(WHAT, &Request::Occasions { rules }, |reply| match reply {
            Reply::Occasions(rules) => Some(rules.iter().collect()),
            _ => None,
        })
    }

    /// Has the guest's kernel panic once it goes on.
    ///
    /// # Errors
    /// As [`Self::occasions`].
    pub fn crash(&mut self) -> Result<(), SessionError> {
        self.must_be_halted()?;
        self.ask(".crash", &Request::Crash, |reply| {
            matches!(reply, Reply::Done).then_some(())
        })
    }

    /// Starts the machine anew. The driver of its next start is another one.
    ///
    /// # Errors
    /// As [`Self::occasions`].
    pub fn restart(&mut self) -> Result<(), SessionError> {
        self.must_be_halted()?;
        self.ask(".reboot", &Request::Restart, |reply| {
            matches!(reply, Reply::Done).then_some(())
        })?;
        self.went_on();
        Ok(())
    }
}
