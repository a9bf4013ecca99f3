//! What a user should know of datagrams that were dropped. Made by [`crate::transport`], told by [`crate::session`].

use std::fmt;
use std::net::SocketAddr;
use wire_protocol::secure::Cause;

/// Datagrams came that change nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DropNews {
    /// Why.
    pub cause: Cause,
    /// Where the last one came from.
    pub from: SocketAddr,
    /// How many for this cause, so far.
    pub count: u64,
}

impl fmt::Display for DropNews {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { cause, from, count } = self;
        match cause {
            Cause::Foreign => write!(f, "what comes from {from} is no debuggee's"),
            Cause::Truncated => write!(
                f,
                "datagrams from {from} come without their end, as if something on the way took no long ones"
            ),
            Cause::Reflected => write!(f, "{from} sends back what it was sent"),
            Cause::WrongKey => write!(f, "a debuggee with another key calls from {from}"),
            Cause::Forged => write!(
                f,
                "datagrams from {from} do not authenticate: they were changed on the way, or made by somebody without \
                 the key"
            ),
            Cause::Replayed => write!(f, "datagrams from {from} come more than once"),
            Cause::OlderClock => write!(
                f,
                "a debuggee with this key calls from {from} at an earlier time than before: its clock was set back, as in \
                 a machine that was restored, or somebody recorded the call; --accept-older-clock answers it"
            ),
            Cause::UnknownSession => {
                write!(f, "datagrams from {from} are of a session that is over")
            }
        }?;
        write!(f, " (dropped, {count} so far)")
    }
}
