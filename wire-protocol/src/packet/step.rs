//! Single instructions of one core while all others stay held, and steps of a thread wherever it goes: what is asked for,
//! and what is told of each. Longer traces come in parts before the reply, so that the debuggee keeps no more than one of
//! them.

use crate::address::{CoreId, GuestVirtual};
use crate::closed::closed_set;
use crate::codec::{EncodeError, Parsed, Writer, byte, difference, narrow, reject, run};
use crate::limits;
use crate::packet::RegisterValues;
use crate::packet::list::{Item, List};
use crate::packet::register::{parse_values, write_values};
use crate::packet::run::{Stop, parse_stop, write_stop};
use crate::register::RegisterSet;

closed_set! {
    /// How much is told of each instruction but the last, which the stop tells.
    pub enum StepDetail {
        /// Where the core stands after it.
        Addresses,
        /// The bytes of the instruction there, too.
        Code,
        /// And the registers that changed.
        Registers,
    }
}

/// Where a thread is to halt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Until {
    /// After so many steps as were asked for.
    Count,
    /// Before the next call.
    Call,
    /// Before the next return.
    Return,
    /// When the routine that it is in has returned.
    Returned,
    /// At an instruction.
    Address(GuestVirtual),
}

/// Steps of the thread that a core runs, in the place of instructions of the core.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Walk {
    /// A call is one step, with all that it calls.
    pub is_over: bool,
    /// All other cores stay held.
    pub is_frozen: bool,
    /// Where it halts, if not after so many steps. What is told of each step is told with [`Until::Count`] alone.
    pub until: Until,
}

/// What is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StepOrder {
    /// Of which core, or of the thread that it runs.
    pub core: CoreId,
    /// So many at most, 1 to [`limits::STEPS`].
    pub count: u32,
    /// What is told of each.
    pub detail: StepDetail,
    /// Steps of the thread.
    pub walk: Option<Walk>,
}

/// Where the core stands after one instruction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StepRecord<'a> {
    /// The next one.
    pub rip: GuestVirtual,
    /// Its bytes; empty if they are not told, or there are none.
    pub code: &'a [u8],
    /// What the instruction changed: RIP is not among them.
    pub registers: Option<(RegisterSet, RegisterValues<'a>)>,
}

/// Records in order, still encoded.
pub type Steps<'a> = List<'a, StepRecord<'a>>;

/// What became of a request for steps.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Stepped<'a> {
    /// Where the machine stands now, and why.
    pub stop: Stop<'a>,
    /// Instructions that were executed.
    pub count: u32,
    /// Registers that changed since the halt before, all instructions together; RIP is not among them.
    pub set: RegisterSet,
    /// Their values.
    pub values: RegisterValues<'a>,
    /// The part of the trace that was not told before.
    pub steps: Steps<'a>,
}

/// First byte of a record: the distance to the record before, if it is one of these, or 0 and the distance follows.
const NEAR: core::ops::RangeInclusive<u64> = 1..=0x3f;
const SOME_CODE: u8 = 0x40;
const SOME_REGISTERS: u8 = 0x80;

impl<'a> Item<'a> for StepRecord<'a> {
    const LIMIT: usize = limits::STEPS_PART_BYTES;

    fn parse(input: &'a [u8], previous: &mut u64) -> Parsed<'a, Self> {
        let (rest, head) = byte(input)?;
        let near = u64::from(head & 0x3f);
        let (rest, rip) = if near == 0 {
            let (rest, rip) = difference(*previous)(rest)?;
            if NEAR.contains(&rip.wrapping_sub(*previous)) {
                return reject(input);
            }
            (rest, rip)
        } else {
            (rest, previous.wrapping_add(near))
        };
        *previous = rip;
        let (rest, code) = if head & SOME_CODE == 0 {
            (rest, &[][..])
        } else {
            let (rest, code) = run(limits::STOP_CODE_BYTES)(rest)?;
            if code.is_empty() {
                return reject(input);
            }
            (rest, code)
        };
        let (rest, registers) = if head & SOME_REGISTERS == 0 {
            (rest, None)
        } else {
            let (rest, registers) = parse_values(rest)?;
            (rest, Some(registers))
        };
        let rip = GuestVirtual(rip);
        Ok((
            rest,
            Self {
                rip,
                code,
                registers,
            },
        ))
    }

    fn write(&self, out: &mut Writer<'_>, previous: &mut u64) -> Result<(), EncodeError> {
        let distance = self.rip.0.wrapping_sub(*previous);
        let near = u8::try_from(distance).ok();
        let near = near.filter(|_| NEAR.contains(&distance)).unwrap_or(0);
        let code = if self.code.is_empty() { 0 } else { SOME_CODE };
        let registers = self.registers.map_or(0, |_| SOME_REGISTERS);
        out.byte(near | code | registers)?;
        if near == 0 {
            out.difference(self.rip.0, *previous)?;
        }
        if code != 0 {
            out.run(self.code, limits::STOP_CODE_BYTES)?;
        }
        if let Some((set, values)) = &self.registers {
            write_values(*set, values, out)?;
        }
        *previous = self.rip.0;
        Ok(())
    }
}

/// Records as they are made, until they are sent.
#[derive(Debug)]
pub struct StepBuffer {
    bytes: [u8; limits::STEPS_PART_BYTES],
    len: usize,
    count: u16,
    base: GuestVirtual,
    previous: u64,
}

impl StepBuffer {
    /// No record.
    pub const EMPTY: Self = Self {
        bytes: [0; limits::STEPS_PART_BYTES],
        len: 0,
        count: 0,
        base: GuestVirtual(0),
        previous: 0,
    };

    /// Forgets all records. Those to come are for a message with this base.
    pub const fn clear(&mut self, base: GuestVirtual) {
        (self.len, self.count) = (0, 0);
        (self.base, self.previous) = (base, base.0);
    }

    /// Adds a record.
    ///
    /// # Errors
    /// There is no room, and nothing was added.
    pub fn push(&mut self, record: &StepRecord<'_>) -> Result<(), EncodeError> {
        let room = self.bytes.get_mut(self.len..).unwrap_or_default();
        let mut out = Writer::new(room);
        let mut previous = self.previous;
        record.write(&mut out, &mut previous)?;
        self.len += out.len();
        self.count += 1;
        self.previous = previous;
        Ok(())
    }

    /// The records.
    #[must_use]
    pub fn steps(&self) -> Steps<'_> {
        let bytes = self.bytes.get(..self.len).unwrap_or_default();
        Steps::parse_items(self.count, self.base.0, bytes).map_or(Steps::EMPTY, |(_, it)| it)
    }

    /// There is none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.count == 0
    }
}

const DETAIL: u8 = 0x03;
const WALKS: u8 = 0x04;
const OVER: u8 = 0x08;
const UNTIL: u8 = 0x70;
const UNTIL_SHIFT: u8 = 4;
const FROZEN: u8 = 0x80;

const UNTIL_COUNT: u8 = 0;
const UNTIL_CALL: u8 = 1;
const UNTIL_RETURN: u8 = 2;
const UNTIL_RETURNED: u8 = 3;
const UNTIL_ADDRESS: u8 = 4;

pub(crate) fn write_step(
    order: &StepOrder,
    base: u64,
    out: &mut Writer<'_>,
) -> Result<(), EncodeError> {
    if !(1..=limits::STEPS).contains(&order.count) {
        return Err(EncodeError::OverLimit);
    }
    out.varint(order.core.0)?;
    out.varint(order.count)?;
    let Some(walk) = &order.walk else {
        return out.byte(order.detail.to_wire());
    };
    let (until, address) = match walk.until {
        Until::Count => (UNTIL_COUNT, None),
        Until::Call => (UNTIL_CALL, None),
        Until::Return => (UNTIL_RETURN, None),
        Until::Returned => (UNTIL_RETURNED, None),
        Until::Address(address) => (UNTIL_ADDRESS, Some(address)),
    };
    let over = if walk.is_over { OVER } else { 0 };
    let frozen = if walk.is_frozen { FROZEN } else { 0 };
    out.byte(order.detail.to_wire() | WALKS | over | frozen | until << UNTIL_SHIFT)?;
    match address {
        Some(address) => out.difference(address.0, base),
        None => Ok(()),
    }
}

pub(crate) fn parse_step(base: u64, input: &[u8]) -> Parsed<'_, StepOrder> {
    let (rest, core) = narrow(input)?;
    let (rest, count) = narrow(rest)?;
    if !(1..=limits::STEPS).contains(&count) {
        return reject(input);
    }
    let (rest, flags) = byte(rest)?;
    let Some(detail) = StepDetail::from_wire(flags & DETAIL) else {
        return reject(input);
    };
    let (rest, walk) = match flags & WALKS {
        0 if flags & !DETAIL != 0 => return reject(input),
        0 => (rest, None),
        _ => parse_walk(flags, base, rest).map(|(rest, walk)| (rest, Some(walk)))?,
    };
    let order = StepOrder {
        core: CoreId(core),
        count,
        detail,
        walk,
    };
    Ok((rest, order))
}

fn parse_walk(flags: u8, base: u64, input: &[u8]) -> Parsed<'_, Walk> {
    let (rest, until) = match (flags & UNTIL) >> UNTIL_SHIFT {
        UNTIL_COUNT => (input, Until::Count),
        UNTIL_CALL => (input, Until::Call),
        UNTIL_RETURN => (input, Until::Return),
        UNTIL_RETURNED => (input, Until::Returned),
        UNTIL_ADDRESS => {
            let (rest, address) = difference(base)(input)?;
            (rest, Until::Address(GuestVirtual(address)))
        }
        _ => return reject(input),
    };
    let walk = Walk {
        is_over: flags & OVER != 0,
        is_frozen: flags & FROZEN != 0,
        until,
    };
    Ok((rest, walk))
}

pub(crate) fn write_stepped(
    stepped: &Stepped<'_>,
    base: u64,
    out: &mut Writer<'_>,
) -> Result<(), EncodeError> {
    write_stop(&stepped.stop, base, out)?;
    out.varint(stepped.count)?;
    write_values(stepped.set, &stepped.values, out)?;
    stepped.steps.write(base, out)
}

pub(crate) fn parse_stepped(base: u64, input: &[u8]) -> Parsed<'_, Stepped<'_>> {
    let (rest, stop) = parse_stop(base, input)?;
    let (rest, count) = narrow(rest)?;
    let (rest, (set, values)) = parse_values(rest)?;
    let (rest, steps) = Steps::parse(base)(rest)?;
    Ok((
        rest,
        Stepped {
            stop,
            count,
            set,
            values,
            steps,
        },
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::packet::kind::{NoticeKind, RequestKind};
    use crate::packet::testing::{
        BASE, notice_body, notice_is_malformed, reply_body, request_body, request_is_malformed,
    };
    use crate::packet::{Hits, Notice, Reply, Request, StepEnd, StopCause};
    use crate::register::Register;

    const ORDER: StepOrder = StepOrder {
        core: CoreId(1),
        count: 3,
        detail: StepDetail::Code,
        walk: None,
    };

    const fn at(rip: u64) -> StepRecord<'static> {
        StepRecord {
            rip: GuestVirtual(rip),
            code: &[],
            registers: None,
        }
    }

    #[test]
    fn a_request_says_whose_steps_how_many_and_what_is_told() {
        let step = |count| Request::Step(StepOrder { count, ..ORDER });
        assert_eq!(request_body(step(200)), [1, 0xc8, 1, 1]);
        assert_eq!(request_body(step(limits::STEPS)).len(), 5);
        request_is_malformed(RequestKind::Step, &[1, 0, 1]);
        request_is_malformed(RequestKind::Step, &[1, 0x81, 0x80, 0x40, 1]);
        request_is_malformed(RequestKind::Step, &[1, 1, 3]);
        request_is_malformed(RequestKind::Step, &[1, 1, 0x11]);
        let none = StepOrder { count: 0, ..ORDER };
        let error = write_step(&none, 0, &mut Writer::new(&mut [0; 8]));
        assert_eq!(error, Err(EncodeError::OverLimit));
    }

    #[test]
    fn steps_of_a_thread_take_no_byte_more_unless_they_go_to_an_address() {
        let walk = |is_over, is_frozen, until| {
            request_body(Request::Step(StepOrder {
                walk: Some(Walk {
                    is_over,
                    is_frozen,
                    until,
                }),
                ..ORDER
            }))
        };
        assert_eq!(walk(false, false, Until::Count), [1, 3, 5]);
        assert_eq!(walk(true, false, Until::Call), [1, 3, 0x1d]);
        assert_eq!(walk(false, true, Until::Return), [1, 3, 0xa5]);
        assert_eq!(walk(true, true, Until::Returned), [1, 3, 0xbd]);
        let near = GuestVirtual(BASE.0 + 2);
        assert_eq!(walk(false, false, Until::Address(near)), [1, 3, 0x45, 4]);
        for body in [&[1, 3, 0x55][..], &[1, 3, 0x45], &[1, 3, 7], &[1, 3]] {
            request_is_malformed(RequestKind::Step, body);
        }
    }

    #[test]
    fn a_step_to_an_instruction_behind_takes_one_byte() {
        let mut buffer = StepBuffer::EMPTY;
        buffer.clear(BASE);
        for rip in [3, 0x42, 0x42, 0x82, 0x80] {
            buffer.push(&at(BASE.0 + rip)).unwrap();
        }
        let body = notice_body(Notice::Steps(buffer.steps()));
        assert_eq!(body, [5, 3, 0x3f, 0, 0, 0, 0x80, 1, 0, 3]);
        // A distance that has a byte of its own must be told by it.
        notice_is_malformed(NoticeKind::Steps, &[1, 0, 6]);
    }

    #[test]
    fn code_and_registers_follow() {
        let mut scratch = [0; 16];
        let set = RegisterSet::EMPTY.with(Register::Rcx);
        let values = RegisterValues::encode_into([0x1234], &mut scratch).unwrap();
        let mut buffer = StepBuffer::EMPTY;
        buffer.clear(BASE);
        let record = StepRecord {
            code: &[0x0f, 0x05],
            registers: Some((set, values)),
            ..at(BASE.0 + 1)
        };
        buffer.push(&record).unwrap();
        let body = notice_body(Notice::Steps(buffer.steps()));
        assert_eq!(body, [1, 0xc1, 2, 0x0f, 0x05, 2, 2, 0x34, 0x12]);
        notice_is_malformed(NoticeKind::Steps, &[1, 0x41, 0]);
    }

    #[test]
    fn a_full_buffer_takes_nothing_and_keeps_what_it_has() {
        let mut buffer = StepBuffer::EMPTY;
        buffer.clear(BASE);
        let mut count = 0;
        while buffer.push(&at(BASE.0 + (count % 2) * 0x10_0000)).is_ok() {
            count += 1;
        }
        assert_eq!(buffer.steps().len() as u64, count);
        assert!(!buffer.is_empty());
        buffer.clear(BASE);
        assert!(buffer.is_empty() && buffer.steps().is_empty());
    }

    #[test]
    fn the_answer_has_the_stop_and_what_changed() {
        let mut scratch = [0; 16];
        let stop = Stop {
            halt: 4,
            cause: StopCause::Stepped {
                end: StepEnd::Count,
            },
            core: CoreId(1),
            rip: GuestVirtual(BASE.0 + 2),
            code: &[0x90],
            missing_cores: 0,
            hits: Hits::EMPTY,
            task: None,
        };
        let body = reply_body(Reply::Stepped(Stepped {
            stop,
            count: 1,
            set: RegisterSet::EMPTY.with(Register::Rsp),
            values: RegisterValues::encode_into([0xffff_c900_0000_0ff8], &mut scratch).unwrap(),
            steps: Steps::EMPTY,
        }));
        let expected = [
            8, 0, 4, 1, 4, 1, 0x90, 1, 0x10, 6, 0xf8, 0x0f, 0, 0, 0, 0xc9, 0,
        ];
        assert_eq!(body, expected);
    }
}
