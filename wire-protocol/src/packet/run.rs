//! Halting, going on, and where the cores stand. The driver reports a [`Stop`] by itself, with
//! what a user looks at first, so that nothing has to be asked for.

use crate::address::{CoreId, EventId, GuestVirtual};
use crate::closed::closed_set;
use crate::codec::{
    self, EncodeError, Parsed, Writer, byte, difference, narrow, one_of, reject, run, when,
};
use crate::limits;
use crate::packet::list::{Item, List};
use crate::packet::occasion::{Came, parse_came, write_came};
use crate::packet::task::{StopTask, parse_stop_task, write_stop_task};

closed_set! {
    /// Why no more instructions were executed, where neither the host nor an event halted the machine.
    pub enum StepEnd {
        /// They are as many as were asked for.
        Count,
        /// The core sleeps, and nothing came that wakes it.
        Asleep,
        /// The next one did not end in time.
        Stuck,
        /// Nobody takes what is told of them.
        Untold,
        /// They are as many as were asked for, and what they were to lead to did not come.
        Limit,
        /// The thread came to the address where it was to halt.
        Arrived,
        /// There is no way to be told when the thread comes back: no hook can be where it will.
        Lost,
    }
}

/// How the debuggee got here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StopCause {
    /// The host asked for it.
    BreakIn,
    /// An event with the action `break`.
    Event {
        /// Which.
        event: EventId,
    },
    /// The guest cannot go on on this core, which executes nothing any more.
    CoreDied {
        /// The processor's exit reason, or VM-instruction error + 256.
        reason: u16,
        /// Exit qualification or guest-physical address.
        detail: u64,
    },
    /// A [`crate::packet::Request::Step`] came to its end.
    Stepped {
        /// Why.
        end: StepEnd,
    },
    /// The guest came to something at which the machine halts by itself.
    Occasion(Came),
}

/// A halt. Lists are bounded by [`limits`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Stop<'a> {
    /// Counts halts since the driver was loaded; two equal numbers are the same halt.
    pub halt: u32,
    /// Why.
    pub cause: StopCause,
    /// On which core.
    pub core: CoreId,
    /// Where that core stands.
    pub rip: GuestVirtual,
    /// Instruction bytes at `rip` (fewer at the end of present memory; original bytes under hooks).
    pub code: &'a [u8],
    /// Bit N set: core N did not check in and may still run.
    pub missing_cores: u64,
    /// Events that matched since the last stop, with their hit counts now.
    pub hits: Hits<'a>,
    /// What that core runs; `None` if the host does not want to know it, or it cannot be read.
    pub task: Option<StopTask>,
}

/// `(event, hits so far)` pairs, still encoded.
pub type Hits<'a> = List<'a, (EventId, u64)>;

/// State of one core in [`crate::packet::Reply::Cores`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CoreState {
    /// Waits in VMX-root.
    Halted {
        /// Where its guest stands.
        rip: GuestVirtual,
    },
    /// Waits for a start-up IPI and executes nothing (taken offline or being started).
    WaitForSipi,
    /// Did not check in.
    Missing,
    /// Not under the hypervisor.
    Offline,
    /// Waits in VMX-root, and its guest cannot go on.
    Died {
        /// Where it stood last.
        rip: GuestVirtual,
    },
    /// Met a fault in VMX-root and stands still for good; nothing is known of its guest.
    Lost,
}

/// One state per core, still encoded.
pub type CoreStates<'a> = List<'a, CoreState>;

impl<'a> Item<'a> for (EventId, u64) {
    const LIMIT: usize = limits::HITS_PER_STOP;

    fn parse(input: &'a [u8], _: &mut u64) -> Parsed<'a, Self> {
        let (rest, event) = narrow(input)?;
        let (rest, hits) = codec::varint(rest)?;
        Ok((rest, (EventId(event), hits)))
    }

    fn write(&self, out: &mut Writer<'_>, _: &mut u64) -> Result<(), EncodeError> {
        out.varint(self.0.0)?;
        out.varint(self.1)
    }
}

impl<'a> Item<'a> for CoreState {
    const LIMIT: usize = limits::CORES;

    fn parse(input: &'a [u8], previous: &mut u64) -> Parsed<'a, Self> {
        let (rest, number) = byte(input)?;
        let state = match number {
            0 | 4 => {
                let (rest, rip) = difference(*previous)(rest)?;
                *previous = rip;
                let rip = GuestVirtual(rip);
                let state = match number {
                    0 => Self::Halted { rip },
                    _ => Self::Died { rip },
                };
                return Ok((rest, state));
            }
            1 => Self::WaitForSipi,
            2 => Self::Missing,
            3 => Self::Offline,
            5 => Self::Lost,
            _ => return reject(input),
        };
        Ok((rest, state))
    }

    fn write(&self, out: &mut Writer<'_>, previous: &mut u64) -> Result<(), EncodeError> {
        let (number, rip) = match *self {
            Self::Halted { rip } => (0, Some(rip)),
            Self::WaitForSipi => (1, None),
            Self::Missing => (2, None),
            Self::Offline => (3, None),
            Self::Died { rip } => (4, Some(rip)),
            Self::Lost => (5, None),
        };
        out.byte(number)?;
        let Some(rip) = rip else { return Ok(()) };
        out.difference(rip.0, *previous)?;
        *previous = rip.0;
        Ok(())
    }
}

const CAUSE: u8 = 0x0f;
const CAUSE_BREAK_IN: u8 = 0;
const CAUSE_EVENT: u8 = 1;
const CAUSE_CORE_DIED: u8 = 2;
const CAUSE_STEPPED: u8 = 8;
const CAUSE_OCCASION: u8 = 9;
const SOME_MISSING: u8 = 0x10;
const SOME_HITS: u8 = 0x20;
const SOME_TASK: u8 = 0x40;
const KNOWN: u8 = CAUSE | SOME_MISSING | SOME_HITS | SOME_TASK;

/// Flags, what belongs to the cause, and the rest in the order of the fields. Missing cores,
/// hits and task take no byte when there are none.
pub(crate) fn write_stop(
    stop: &Stop<'_>,
    base: u64,
    out: &mut Writer<'_>,
) -> Result<(), EncodeError> {
    let missing = if stop.missing_cores == 0 {
        0
    } else {
        SOME_MISSING
    };
    let hits = if stop.hits.is_empty() { 0 } else { SOME_HITS };
    let task = stop.task.map_or(0, |_| SOME_TASK);
    let some = missing | hits | task;
    match stop.cause {
        StopCause::BreakIn => out.byte(CAUSE_BREAK_IN | some)?,
        StopCause::Event { event } => {
            out.byte(CAUSE_EVENT | some)?;
            out.varint(event.0)?;
        }
        StopCause::CoreDied { reason, detail } => {
            out.byte(CAUSE_CORE_DIED | some)?;
            out.varint(reason)?;
            out.varint(detail)?;
        }
        StopCause::Stepped { end } => {
            out.byte(CAUSE_STEPPED | some)?;
            out.byte(end.to_wire())?;
        }
        StopCause::Occasion(came) => {
            out.byte(CAUSE_OCCASION | some)?;
            write_came(&came, base, out)?;
        }
    }
    out.varint(stop.halt)?;
    out.varint(stop.core.0)?;
    out.difference(stop.rip.0, base)?;
    out.run(stop.code, limits::STOP_CODE_BYTES)?;
    if stop.missing_cores != 0 {
        out.varint(stop.missing_cores)?;
    }
    if !stop.hits.is_empty() {
        stop.hits.write(base, out)?;
    }
    match &stop.task {
        Some(task) => write_stop_task(task, out),
        None => Ok(()),
    }
}

pub(crate) fn parse_stop(base: u64, input: &[u8]) -> Parsed<'_, Stop<'_>> {
    let (rest, flags) = byte(input)?;
    let (rest, cause) = match flags & CAUSE {
        _ if flags & !KNOWN != 0 => return reject(input),
        CAUSE_BREAK_IN => (rest, StopCause::BreakIn),
        CAUSE_EVENT => {
            let (rest, event) = narrow(rest)?;
            let event = EventId(event);
            (rest, StopCause::Event { event })
        }
        CAUSE_CORE_DIED => {
            let (rest, reason) = narrow(rest)?;
            let (rest, detail) = codec::varint(rest)?;
            (rest, StopCause::CoreDied { reason, detail })
        }
        CAUSE_STEPPED => {
            let (rest, end) = one_of(StepEnd::from_wire, rest)?;
            (rest, StopCause::Stepped { end })
        }
        CAUSE_OCCASION => {
            let (rest, came) = parse_came(base, rest)?;
            (rest, StopCause::Occasion(came))
        }
        _ => return reject(input),
    };
    let (rest, halt) = narrow(rest)?;
    let (rest, core) = narrow(rest)?;
    let (rest, rip) = difference(base)(rest)?;
    let (rest, code) = run(limits::STOP_CODE_BYTES)(rest)?;
    let (rest, missing_cores) = when(flags & SOME_MISSING != 0, codec::varint, rest)?;
    let (rest, hits) = when(flags & SOME_HITS != 0, Hits::parse(base), rest)?;
    let (rest, task) = when(flags & SOME_TASK != 0, parse_stop_task, rest)?;
    if missing_cores == Some(0) || hits.is_some_and(|hits| hits.is_empty()) {
        return reject(input);
    }
    Ok((
        rest,
        Stop {
            halt,
            cause,
            core: CoreId(core),
            rip: GuestVirtual(rip),
            code,
            missing_cores: missing_cores.unwrap_or_default(),
            hits: hits.unwrap_or_default(),
            task,
        },
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::packet::kind::{NoticeKind, ReplyKind, RequestKind};
    use crate::packet::testing::{
        BASE, notice_body, notice_is_malformed, reply_body, reply_is_malformed, request_body,
        request_is_malformed,
    };
    use crate::packet::{Notice, Occasion, OccasionText, Reply, Request, StopTask, TaskName};
    use crate::register::{Register, RegisterSet};

    const STOP: Stop<'static> = Stop {
        halt: 3,
        cause: StopCause::BreakIn,
        core: CoreId(1),
        rip: GuestVirtual(BASE.0 + 2),
        code: &[0xcc, 0x90],
        missing_cores: 0,
        hits: Hits::EMPTY,
        task: None,
    };

    #[test]
    fn stop_without_surprises_has_no_byte_too_many() {
        let body = notice_body(Notice::Stopped(STOP));
        assert_eq!(body, [0, 3, 1, 4, 2, 0xcc, 0x90]);
    }

    #[test]
    fn stop_with_everything_comes_back() {
        let mut scratch = [0; 16];
        let event = EventId(9);
        let body = notice_body(Notice::Stopped(Stop {
            cause: StopCause::Event { event },
            missing_cores: 4,
            hits: Hits::encode_into([(event, 200)], BASE, &mut scratch).unwrap(),
            ..STOP
        }));
        assert_eq!(body, [0x31, 9, 3, 1, 4, 2, 0xcc, 0x90, 4, 1, 9, 0xc8, 1]);
    }

    #[test]
    fn the_death_of_a_core_has_its_reason() {
        let (reason, detail) = (2, 200);
        let body = notice_body(Notice::Stopped(Stop {
            cause: StopCause::CoreDied { reason, detail },
            ..STOP
        }));
        assert_eq!(body, [2, 2, 0xc8, 1, 3, 1, 4, 2, 0xcc, 0x90]);
        notice_is_malformed(NoticeKind::Stopped, &[2, 0x80, 0x80, 4, 0, 3, 1, 4, 0]);
    }

    #[test]
    fn an_occasion_has_its_place_number_and_text() {
        let body = notice_body(Notice::Stopped(Stop {
            cause: StopCause::Occasion(Came {
                occasion: Occasion::Oops,
                place: BASE,
                number: 2,
                text: OccasionText::new(b"no"),
            }),
            ..STOP
        }));
        assert_eq!(body, [9, 1, 0, 2, 2, b'n', b'o', 3, 1, 4, 2, 0xcc, 0x90]);
        notice_is_malformed(NoticeKind::Stopped, &[9, 16, 0, 2, 0, 3, 1, 4, 0]);
        notice_is_malformed(NoticeKind::Stopped, &[9, 1, 0, 2, 1, 0, 3, 1, 4, 0]);
    }

    #[test]
    fn stop_says_what_runs_there_and_what_changed() {
        let task = |changed| StopTask {
            pid: 300,
            tid: 302,
            name: TaskName::new(b"sh"),
            changed,
        };
        let with = |changed| {
            notice_body(Notice::Stopped(Stop {
                task: Some(task(changed)),
                ..STOP
            }))
        };
        let body = [0x40, 3, 1, 4, 2, 0xcc, 0x90, 0xac, 2, 4, 2, b's', b'h', 0];
        assert_eq!(with(None), body);
        let rsp_and_flags = RegisterSet::EMPTY
            .with(Register::Rsp)
            .with(Register::Rflags);
        let changed = with(Some(rsp_and_flags));
        assert_eq!(changed[..13], body[..13]);
        assert_eq!(changed[13..], [0xa1, 0x80, 0x10]);
        for wrong in [2, 0x80] {
            let mut body = body;
            body[13] = wrong;
            notice_is_malformed(NoticeKind::Stopped, &body);
        }
        notice_is_malformed(NoticeKind::Stopped, &body[..13]);
    }

    #[test]
    fn unknown_cause_or_flag_is_rejected() {
        notice_is_malformed(NoticeKind::Stopped, &[3, 3, 1, 4, 0]);
        notice_is_malformed(NoticeKind::Stopped, &[0x80, 3, 1, 4, 0]);
    }

    #[test]
    fn code_above_the_limit_is_rejected() {
        let mut body = [0x90; 22];
        body[..5].copy_from_slice(&[0, 3, 1, 4, 17]);
        notice_is_malformed(NoticeKind::Stopped, &body);
        let code = &[0x90; 17];
        let stop = Stop { code, ..STOP };
        let error = write_stop(&stop, 0, &mut Writer::new(&mut [0; 64]));
        assert_eq!(error, Err(EncodeError::OverLimit));
    }

    #[test]
    fn announced_but_empty_sets_are_rejected() {
        notice_is_malformed(NoticeKind::Stopped, &[0x10, 3, 1, 4, 0, 0]);
        notice_is_malformed(NoticeKind::Stopped, &[0x20, 3, 1, 4, 0, 0]);
    }

    #[test]
    fn stop_that_is_cut_is_rejected() {
        for len in 0..7 {
            notice_is_malformed(NoticeKind::Stopped, &[0, 3, 1, 4, 2, 0xcc, 0x90][..len]);
        }
    }

    #[test]
    fn cores_have_their_states_in_order() {
        let mut scratch = [0; 32];
        let rip = GuestVirtual(BASE.0 + 2);
        let states = [
            CoreState::Halted { rip },
            CoreState::Halted { rip },
            CoreState::WaitForSipi,
            CoreState::Missing,
            CoreState::Offline,
            CoreState::Died { rip },
            CoreState::Lost,
        ];
        let states = CoreStates::encode_into(states, BASE, &mut scratch).unwrap();
        let body = [7, 0, 4, 0, 0, 1, 2, 3, 4, 0, 5];
        assert_eq!(reply_body(Reply::Cores(states)), body);
    }

    #[test]
    fn unknown_core_state_is_rejected() {
        reply_is_malformed(ReplyKind::Cores, &[1, 6]);
    }

    #[test]
    fn more_cores_than_there_can_be_are_rejected() {
        let mut body = [1; 66];
        body[0] = 65;
        reply_is_malformed(ReplyKind::Cores, &body);
    }

    #[test]
    fn short_circuit_is_on_or_off() {
        assert_eq!(request_body(Request::ShortCircuit { on: true }), [1]);
        assert_eq!(request_body(Request::ShortCircuit { on: false }), [0]);
        request_is_malformed(RequestKind::ShortCircuit, &[2]);
    }

    #[test]
    fn going_on_needs_no_body() {
        assert_eq!(request_body(Request::Go), []);
        assert_eq!(request_body(Request::Cores), []);
        assert_eq!(reply_body(Reply::Done), []);
    }
}
