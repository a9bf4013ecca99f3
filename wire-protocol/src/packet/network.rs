//! How it stands with the debuggee's network, which is worth a look over whichever way there is. Part of the counts of messages.

use crate::codec::{self, EncodeError, Parsed, Writer};
use crate::dropped::{Cause, Dropped};

/// What became of the network since the driver was loaded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct NetworkCounts {
    /// Datagrams that changed nothing.
    pub dropped: Dropped,
    /// Sessions that began.
    pub sessions: u64,
    /// How often its code panicked, and it was made anew.
    pub rebuilt: u64,
    /// How often the card was not as it had been left, and was set up anew.
    pub card_resets: u64,
    /// Milliseconds since a host was heard there, if ever.
    pub heard_ms_ago: Option<u64>,
}

impl NetworkCounts {
    /// Nothing happened yet.
    pub const NONE: Self = Self {
        dropped: Dropped::from_counts([0; Cause::ALL.len()]),
        sessions: 0,
        rebuilt: 0,
        card_resets: 0,
        heard_ms_ago: None,
    };

    /// Those of two, one of which followed the other.
    #[must_use]
    pub fn and(&self, later: &Self) -> Self {
        Self {
            dropped: self.dropped.and(later.dropped),
            sessions: self.sessions.saturating_add(later.sessions),
            rebuilt: self.rebuilt.saturating_add(later.rebuilt),
            card_resets: self.card_resets.saturating_add(later.card_resets),
            heard_ms_ago: later.heard_ms_ago.or(self.heard_ms_ago),
        }
    }
}

pub(crate) fn write_counts(
    counts: &NetworkCounts,
    out: &mut Writer<'_>,
) -> Result<(), EncodeError> {
    for count in counts.dropped.counts() {
        out.varint(count)?;
    }
    out.varint(counts.sessions)?;
    out.varint(counts.rebuilt)?;
    out.varint(counts.card_resets)?;
    out.varint(counts.heard_ms_ago.map_or(0, |ms| ms.saturating_add(1)))
}

pub(crate) fn parse_counts(input: &[u8]) -> Parsed<'_, NetworkCounts> {
    let mut dropped = [0; Cause::ALL.len()];
    let mut rest = input;
    for count in &mut dropped {
        (rest, *count) = codec::varint(rest)?;
    }
    let (rest, sessions) = codec::varint(rest)?;
    let (rest, rebuilt) = codec::varint(rest)?;
    let (rest, card_resets) = codec::varint(rest)?;
    let (rest, heard): (_, u64) = codec::varint(rest)?;
    Ok((
        rest,
        NetworkCounts {
            dropped: Dropped::from_counts(dropped),
            sessions,
            rebuilt,
            card_resets,
            heard_ms_ago: heard.checked_sub(1),
        },
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::packet::kind::ReplyKind;
    use crate::packet::testing::{reply_body, reply_is_malformed};
    use crate::packet::{MessageCounts, Reply};

    #[test]
    fn counts_are_numbers_and_a_host_that_never_came_is_zero() {
        let counts = |heard_ms_ago| NetworkCounts {
            dropped: Dropped::from_counts([1, 2, 3, 4, 5, 6, 7, 8]),
            sessions: 9,
            rebuilt: 10,
            card_resets: 11,
            heard_ms_ago,
        };
        for (heard, last) in [(None, 0), (Some(0), 1), (Some(12), 13)] {
            let body = reply_body(Reply::MessageCounts(MessageCounts {
                network: Some(counts(heard)),
                ..MessageCounts::default()
            }));
            assert_eq!(
                body,
                [0, 0, 0, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, last]
            );
        }
        reply_is_malformed(ReplyKind::MessageCounts, &[1; 17]);
    }
}
