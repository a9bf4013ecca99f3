//! What is dropped unanswered, and how often. Counted by both ends of `secure`, shown to users.

/// Why a datagram changes nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// It is none of this protocol.
    Foreign,
    /// Its end is missing.
    Truncated,
    /// It goes the other way: somebody sent it back.
    Reflected,
    /// Of a handshake under another key.
    WrongKey,
    /// It was made or changed by somebody who does not have the key.
    Forged,
    /// It came before, or is too old to tell.
    Replayed,
    /// The first of a handshake whose time is not later than that of one before.
    OlderClock,
    /// Of a session that is over, or was none of this end's.
    UnknownSession,
}

impl Cause {
    /// All of them, in the order of their numbers.
    pub const ALL: [Self; 8] = [
        Self::Foreign,
        Self::Truncated,
        Self::Reflected,
        Self::WrongKey,
        Self::Forged,
        Self::Replayed,
        Self::OlderClock,
        Self::UnknownSession,
    ];
}

/// How many were dropped for each cause.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Dropped([u64; Cause::ALL.len()]);

impl Dropped {
    /// How many for this one.
    #[must_use]
    pub fn of(&self, cause: Cause) -> u64 {
        self.0.get(cause as usize).copied().unwrap_or_default()
    }

    /// All together.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.0.iter().sum()
    }

    /// As many for each cause, in the order of [`Cause::ALL`].
    #[must_use]
    pub const fn from_counts(counts: [u64; Cause::ALL.len()]) -> Self {
        Self(counts)
    }

    /// The other way round.
    #[must_use]
    pub const fn counts(&self) -> [u64; Cause::ALL.len()] {
        self.0
    }

    /// With as many more.
    #[must_use]
    pub fn and(mut self, more: Self) -> Self {
        for (count, more) in self.0.iter_mut().zip(more.0) {
            *count = count.saturating_add(more);
        }
        self
    }

    /// One more; gives the cause back.
    #[cfg(any(test, feature = "secure"))]
    pub(crate) fn count(&mut self, cause: Cause) -> Cause {
        if let Some(count) = self.0.get_mut(cause as usize) {
            *count += 1;
        }
        cause
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_cause_is_counted_by_itself() {
        let mut dropped = Dropped::default();
        for (cause, times) in Cause::ALL.into_iter().zip(1..) {
            for _ in 0..times {
                assert_eq!(dropped.count(cause), cause);
            }
        }
        let counts = Cause::ALL.map(|cause| dropped.of(cause));
        assert_eq!(counts, [1, 2, 3, 4, 5, 6, 7, 8]);
        assert_eq!(dropped.total(), 36);
    }
}
