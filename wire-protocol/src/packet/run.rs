//! Halting, going on, and where the cores stand. The driver reports a [`Stop`] by itself, with
//! what a user looks at first, so that nothing has to be asked for.

use crate::address::{CoreId, EventId, GuestVirtual};
use crate::codec::{
    self, EncodeError, Parsed, Writer, byte, difference, narrow, reject, run, when,
};
use crate::limits;
use crate::packet::list::{Item, List};

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
}

/// One state per core, still encoded.
pub type CoreStates<'a> = List<'a, CoreState>;

impl Item for (EventId, u64) {
    const LIMIT: usize = limits::HITS_PER_STOP;

    fn parse<'a>(input: &'a [u8], _: &mut u64) -> Parsed<'a, Self> {
        let (rest, event) = narrow(input)?;
        let (rest, hits) = codec::varint(rest)?;
        Ok((rest, (EventId(event), hits)))
    }

    fn write(&self, out: &mut Writer<'_>, _: &mut u64) -> Result<(), EncodeError> {
        out.varint(self.0.0)?;
        out.varint(self.1)
    }
}

impl Item for CoreState {
    const LIMIT: usize = limits::CORES;

    fn parse<'a>(input: &'a [u8], previous: &mut u64) -> Parsed<'a, Self> {
        let (rest, number) = byte(input)?;
        let state = match number {
            0 => {
                let (rest, rip) = difference(*previous)(rest)?;
                *previous = rip;
                let rip = GuestVirtual(rip);
                return Ok((rest, Self::Halted { rip }));
            }
            1 => Self::WaitForSipi,
            2 => Self::Missing,
            3 => Self::Offline,
            _ => return reject(input),
        };
        Ok((rest, state))
    }

    fn write(&self, out: &mut Writer<'_>, previous: &mut u64) -> Result<(), EncodeError> {
        match *self {
            Self::Halted { rip } => {
                out.byte(0)?;
                out.difference(rip.0, *previous)?;
                *previous = rip.0;
                Ok(())
            }
            Self::WaitForSipi => out.byte(1),
            Self::Missing => out.byte(2),
            Self::Offline => out.byte(3),
        }
    }
}

const CAUSE: u8 = 0x0f;
const CAUSE_BREAK_IN: u8 = 0;
const CAUSE_EVENT: u8 = 1;
const SOME_MISSING: u8 = 0x10;
const SOME_HITS: u8 = 0x20;
const KNOWN: u8 = CAUSE | SOME_MISSING | SOME_HITS;

/// Flags, the event if one was the cause, and the rest in the order of the fields. Missing cores
/// and hits take no byte when there are none.
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
    match stop.cause {
        StopCause::BreakIn => out.byte(CAUSE_BREAK_IN | missing | hits)?,
        StopCause::Event { event } => {
            out.byte(CAUSE_EVENT | missing | hits)?;
            out.varint(event.0)?;
        }
    }
    out.varint(stop.halt)?;
    out.varint(stop.core.0)?;
    out.difference(stop.rip.0, base)?;
    out.run(stop.code, limits::STOP_CODE_BYTES)?;
    if stop.missing_cores != 0 {
        out.varint(stop.missing_cores)?;
    }
    if stop.hits.is_empty() {
        Ok(())
    } else {
        stop.hits.write(base, out)
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
        _ => return reject(input),
    };
    let (rest, halt) = narrow(rest)?;
    let (rest, core) = narrow(rest)?;
    let (rest, rip) = difference(base)(rest)?;
    let (rest, code) = run(limits::STOP_CODE_BYTES)(rest)?;
    let (rest, missing_cores) = when(flags & SOME_MISSING != 0, codec::varint, rest)?;
    let (rest, hits) = when(flags & SOME_HITS != 0, Hits::parse(base), rest)?;
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
        },
    ))
}
