//! Why the session could not do something. Shown to the user by the commands.

use crate::timeout::LineState;
use wire_protocol::link::SendError;
use wire_protocol::refusal::Refusal;

/// Why a request has no result.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum SessionError {
    /// The debuggee refused; nothing was changed.
    #[error("{}", crate::refusal::refusal(.0))]
    Refused(Refusal),
    /// The debuggee did not answer in time.
    #[error(
        "no answer from the debuggee to `{what}` for {seconds} s; {line}; `.reconnect` begins a new session"
    )]
    NoAnswer {
        /// The request.
        what: &'static str,
        /// How long.
        seconds: u64,
        /// State of the line.
        line: LineState,
    },
    /// The user gave up with Ctrl+C.
    #[error("given up: `{what}` has no answer yet")]
    GivenUp {
        /// The request.
        what: &'static str,
    },
    /// The reply is damaged, or of another kind than asked for.
    #[error(
        "the answer to `{what}` can't be read (kind {kind:#04x}): do both ends have the same version?"
    )]
    BadReply {
        /// The request.
        what: &'static str,
        /// First byte of the reply.
        kind: u8,
    },
    /// The request could not be put on the line.
    #[error("`{what}` could not be sent: {}", why_unsent(*why))]
    Unsent {
        /// The request.
        what: &'static str,
        /// What the link says.
        why: SendError,
    },
    /// The line can never be opened.
    #[error("{line} cannot be opened: {why}")]
    NoLine {
        /// Which.
        line: String,
        /// What is wrong.
        why: String,
    },
    /// The line could not be opened in time.
    #[error("{line} could not be opened for {seconds} s: {why}")]
    NotOpened {
        /// Which.
        line: String,
        /// How long.
        seconds: u64,
        /// What the last attempt said.
        why: String,
    },
    /// The user gave up waiting for the line with Ctrl+C.
    #[error("given up: {line} is not open: {why}")]
    LineGivenUp {
        /// Which.
        line: String,
        /// What the last attempt said.
        why: String,
    },
    /// Needs a line to a debuggee.
    #[error("not connected; `.debug remote` connects, as in `.debug remote serial 115200 COM3`")]
    NotConnected,
    /// There is a line already.
    #[error("connected already, by {line}; `.debug close` ends that")]
    Connected {
        /// Which.
        line: String,
    },
    /// Needs the driver.
    #[error(
        "no driver answers: it was unloaded, or no session came about; you are told when one is there, \
         and `.reconnect` tries at once"
    )]
    DriverGone,
    /// Another host program has it.
    #[error(
        "another host program has the debuggee, for {seconds} s by now, and answers; it is left alone: `--take-over` (at \
         the prompt `.reconnect take-over`) takes the debuggee from it"
    )]
    Busy {
        /// How long.
        seconds: u32,
    },
    /// Another host program took it.
    #[error(
        "another host program has taken the debuggee over; `.reconnect` asks whether it is free, `.reconnect take-over` \
         takes it back"
    )]
    TakenOver,
    /// Of a driver that is older than this program.
    #[error(
        "the debuggee's driver is older and cannot follow a thread; `i` executes single instructions of one core"
    )]
    NoThreadSteps,
    /// Needs a halted debuggee.
    #[error("the debuggee is running; `pause` halts it")]
    Running,
    /// Needs a running debuggee.
    #[error("the debuggee is halted already")]
    Halted,
    /// Needs a halt at an event.
    #[error("the debuggee did not halt at an event: there is nothing to short-circuit")]
    NotAtEvent,
    /// Not halted in time.
    #[error("the debuggee did not halt within {seconds} s")]
    NotStopped {
        /// How long.
        seconds: u64,
    },
    /// The request is longer than a message can be.
    #[error("`{what}` is longer than a message can be")]
    TooLong {
        /// The request.
        what: &'static str,
    },
    /// An operating system that is not one of [`super::System`].
    #[error(
        "the debuggee runs an operating system that this program does not know (number {tag}); \
         use a newer program"
    )]
    UnknownSystem {
        /// Its number in the handshake.
        tag: u8,
    },
    /// The recording that is replayed does not have it.
    #[error("the recording has no answer to {asked}: what was done next then is {next}")]
    NotAskedThen {
        /// What is asked for, decoded.
        asked: String,
        /// What the recording has at this point.
        next: String,
    },
}

fn why_unsent(error: SendError) -> String {
    match error {
        SendError::NotConnected => "there is no session; `.reconnect` begins one".into(),
        SendError::QueueFull {
            wanted_bytes,
            free_bytes,
        } => format!(
            "it takes {wanted_bytes} bytes and what was sent before leaves room for {free_bytes}: \
             the debuggee does not answer"
        ),
        SendError::TooLong {
            limit_bytes,
            wanted_bytes,
        } => format!("it has {wanted_bytes} bytes and a message at most {limit_bytes}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_link_refuses_is_told_in_words() {
        let why = SendError::QueueFull {
            wanted_bytes: 40,
            free_bytes: 8,
        };
        let text = SessionError::Unsent { what: "g", why }.to_string();
        assert_eq!(
            text,
            "`g` could not be sent: it takes 40 bytes and what was sent before leaves room for 8: \
             the debuggee does not answer"
        );
    }
}
