//! [`Notice`]: what comes without having been asked for.

use crate::address::{CoreId, GuestVirtual};
use crate::codec::{EncodeError, Parsed, Writer, difference, narrow, varint};
use crate::packet::kind::NoticeKind;
use crate::packet::{Messages, Steps, Stop, run};

/// What the debuggee says by itself.
#[expect(
    clippy::large_enum_variant,
    reason = "a stop is made once in a halt, and nothing is allocated here"
)]
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Notice<'a> {
    /// All cores are halted and wait for requests.
    Stopped(Stop<'a>),
    /// The hypervisor itself met a fault in VMX-root on a core; that core stands still for good.
    Fault {
        /// Which core.
        core: CoreId,
        /// Exception vector.
        vector: u16,
        /// Host instruction pointer.
        rip: u64,
        /// CR2 or error code.
        detail: u64,
    },
    /// What programs of one core printed, in order.
    Messages(Messages<'a>),
    /// The driver is being unloaded: nobody answers any more.
    Goodbye,
    /// Part of what is told of the steps that were asked for last, in order.
    Steps(Steps<'a>),
}

impl Notice<'_> {
    /// Writes the whole message. `base` is the kernel base once the handshake is over, 0 before.
    ///
    /// # Errors
    /// It does not fit, or holds more than [`crate::limits`] allows.
    pub fn encode(&self, base: GuestVirtual, out: &mut Writer<'_>) -> Result<(), EncodeError> {
        out.byte(self.kind().to_wire())?;
        match self {
            Self::Stopped(stop) => run::write_stop(stop, base.0, out),
            Self::Fault {
                core,
                vector,
                rip,
                detail,
            } => {
                out.varint(core.0)?;
                out.varint(*vector)?;
                out.difference(*rip, base.0)?;
                out.varint(*detail)
            }
            Self::Messages(messages) => messages.write(out),
            Self::Goodbye => Ok(()),
            Self::Steps(steps) => steps.write(base.0, out),
        }
    }

    const fn kind(&self) -> NoticeKind {
        match self {
            Self::Stopped(_) => NoticeKind::Stopped,
            Self::Fault { .. } => NoticeKind::Fault,
            Self::Messages(_) => NoticeKind::Messages,
            Self::Goodbye => NoticeKind::Goodbye,
            Self::Steps(_) => NoticeKind::Steps,
        }
    }

    pub(super) fn parse(kind: NoticeKind, base: u64, body: &[u8]) -> Parsed<'_, Notice<'_>> {
        match kind {
            NoticeKind::Stopped => {
                run::parse_stop(base, body).map(|(rest, stop)| (rest, Notice::Stopped(stop)))
            }
            NoticeKind::Fault => parse_fault(base, body),
            NoticeKind::Messages => {
                Messages::parse(body).map(|(rest, messages)| (rest, Notice::Messages(messages)))
            }
            NoticeKind::Goodbye => Ok((body, Notice::Goodbye)),
            NoticeKind::Steps => {
                Steps::parse(base)(body).map(|(rest, steps)| (rest, Notice::Steps(steps)))
            }
        }
    }
}

fn parse_fault(base: u64, input: &[u8]) -> Parsed<'_, Notice<'_>> {
    let (rest, core) = narrow(input)?;
    let (rest, vector) = narrow(rest)?;
    let (rest, rip) = difference(base)(rest)?;
    let (rest, detail) = varint(rest)?;
    Ok((
        rest,
        Notice::Fault {
            core: CoreId(core),
            vector,
            rip,
            detail,
        },
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::packet::testing::{BASE, notice_body, notice_is_malformed};

    #[test]
    fn fault_names_core_vector_and_place() {
        let body = notice_body(Notice::Fault {
            core: CoreId(1),
            vector: 14,
            rip: BASE.0 + 2,
            detail: 5,
        });
        assert_eq!(body, [1, 14, 4, 5]);
    }

    #[test]
    fn goodbye_has_no_body() {
        assert_eq!(notice_body(Notice::Goodbye), []);
        notice_is_malformed(NoticeKind::Goodbye, &[0]);
    }

    #[test]
    fn fault_with_a_vector_above_16_bits_is_rejected() {
        notice_is_malformed(NoticeKind::Fault, &[1, 0x80, 0x80, 4, 4, 5]);
    }

    #[test]
    fn fault_that_is_cut_is_rejected() {
        notice_is_malformed(NoticeKind::Fault, &[1, 14, 4]);
    }

    #[test]
    fn fault_with_something_behind_it_is_rejected() {
        notice_is_malformed(NoticeKind::Fault, &[1, 14, 4, 5, 0]);
    }
}
