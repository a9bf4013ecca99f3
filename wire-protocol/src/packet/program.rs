//! Programs that the host sends by themselves: a script that runs once on a held core, and the
//! variables that all scripts share.

use crate::address::{CoreId, EventId};
use crate::codec::{self, EncodeError, Parsed, Writer, boolean, byte, narrow, reject, run, when};
use crate::event::{Condition, Programs};
use crate::limits;
use crate::packet::list::{Item, List};
use crate::packet::messages::{self, Failure};

/// A global variable that a script wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GlobalName {
    /// XXH64 of its name.
    pub hash: u64,
    /// Its size.
    pub len_bytes: u32,
}

/// Where a global variable stands: bytes from the start of the area of all of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GlobalOffset(pub u32);

/// Variables that are to be there, still encoded.
pub type GlobalNames<'a> = List<'a, GlobalName>;

/// Their places in the same order, still encoded.
pub type GlobalOffsets<'a> = List<'a, GlobalOffset>;

impl<'a> Item<'a> for GlobalName {
    const LIMIT: usize = limits::GLOBALS_PER_REQUEST;

    fn parse(input: &'a [u8], _: &mut u64) -> Parsed<'a, Self> {
        let (rest, hash) = codec::fixed_u64(input)?;
        let (rest, len_bytes) = narrow(rest)?;
        Ok((rest, Self { hash, len_bytes }))
    }

    fn write(&self, out: &mut Writer<'_>, _: &mut u64) -> Result<(), EncodeError> {
        out.bytes(&self.hash.to_le_bytes())?;
        out.varint(self.len_bytes)
    }
}

impl<'a> Item<'a> for GlobalOffset {
    const LIMIT: usize = limits::GLOBALS_PER_REQUEST;

    fn parse(input: &'a [u8], _: &mut u64) -> Parsed<'a, Self> {
        let (rest, offset) = narrow(input)?;
        Ok((rest, Self(offset)))
    }

    fn write(&self, out: &mut Writer<'_>, _: &mut u64) -> Result<(), EncodeError> {
        out.varint(self.0)
    }
}

pub(crate) fn parse_define(input: &[u8]) -> Parsed<'_, GlobalNames<'_>> {
    let (rest, names) = GlobalNames::parse(0)(input)?;
    Ok((rest, names))
}

pub(crate) fn parse_defined(input: &[u8]) -> Parsed<'_, GlobalOffsets<'_>> {
    let (rest, offsets) = GlobalOffsets::parse(0)(input)?;
    Ok((rest, offsets))
}

pub(crate) fn write_run(
    core: CoreId,
    program: &[u8],
    out: &mut Writer<'_>,
) -> Result<(), EncodeError> {
    out.varint(core.0)?;
    out.run(program, limits::PROGRAM_BYTES)
}

pub(crate) fn parse_run(input: &[u8]) -> Parsed<'_, (CoreId, &'_ [u8])> {
    let (rest, core) = narrow(input)?;
    let (rest, program) = run(limits::PROGRAM_BYTES)(rest)?;
    let core = CoreId(core);
    Ok((rest, (core, program)))
}

pub(crate) fn write_ran(
    value: u64,
    failure: Option<&Failure>,
    out: &mut Writer<'_>,
) -> Result<(), EncodeError> {
    out.byte(u8::from(failure.is_some()))?;
    out.difference(value, 0)?;
    failure.map_or(Ok(()), |failure| messages::write_failure(failure, out))
}

pub(crate) fn parse_ran(input: &[u8]) -> Parsed<'_, (u64, Option<Failure>)> {
    let (rest, failed) = boolean(input)?;
    let (rest, value) = codec::difference(0)(rest)?;
    let (rest, failure) = when(failed, messages::parse_failure, rest)?;
    Ok((rest, (value, failure)))
}

pub(crate) fn parse_of_event(input: &[u8]) -> Parsed<'_, EventId> {
    let (rest, event) = narrow(input)?;
    let event = EventId(event);
    Ok((rest, event))
}

const ALWAYS: u8 = 0;
const BY_SCRIPT: u8 = 1;
const BY_CODE: u8 = 2;

/// What the condition is; then condition, script and code, each after its length.
pub(crate) fn write_programs(
    programs: &Programs<'_>,
    out: &mut Writer<'_>,
) -> Result<(), EncodeError> {
    out.byte(match programs.condition {
        Condition::Always => ALWAYS,
        Condition::Script(_) => BY_SCRIPT,
        Condition::Code(_) => BY_CODE,
    })?;
    for bytes in [programs.condition.bytes(), programs.script, programs.code] {
        out.run(bytes, limits::PROGRAM_BYTES)?;
    }
    Ok(())
}

pub(crate) fn parse_programs(input: &[u8]) -> Parsed<'_, Programs<'_>> {
    let part = run(limits::PROGRAM_BYTES);
    let (rest, kind) = byte(input)?;
    let (rest, condition) = part(rest)?;
    let (rest, script) = part(rest)?;
    let (rest, code) = part(rest)?;
    let condition = match (kind, condition) {
        (ALWAYS, []) => Condition::Always,
        (BY_SCRIPT, [_, ..]) => Condition::Script(condition),
        (BY_CODE, [_, ..]) => Condition::Code(condition),
        _ => return reject(input),
    };
    let programs = Programs {
        condition,
        script,
        code,
    };
    Ok((rest, programs))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::packet::kind::{ReplyKind, RequestKind};
    use crate::packet::testing::{
        BASE, reply_body, reply_is_malformed, request_body, request_is_malformed,
    };
    use crate::packet::{Reply, Request};

    #[test]
    fn globals_are_named_by_hash_and_size() {
        let mut scratch = [0; 32];
        let name = GlobalName {
            hash: 0x0807_0605_0403_0201,
            len_bytes: 8,
        };
        let names = GlobalNames::encode_into([name], BASE, &mut scratch).unwrap();
        let body = request_body(Request::DefineGlobals(names));
        assert_eq!(body, [1, 1, 2, 3, 4, 5, 6, 7, 8, 8]);
        request_is_malformed(RequestKind::DefineGlobals, &body[..9]);
        let mut scratch = [0; 32];
        let offsets = GlobalOffsets::encode_into([GlobalOffset(24)], BASE, &mut scratch).unwrap();
        assert_eq!(reply_body(Reply::GlobalsDefined(offsets)), [1, 24]);
    }

    #[test]
    fn programs_of_an_event_come_back() {
        let event = EventId(5);
        assert_eq!(request_body(Request::EventPrograms { event }), [5]);
        let mut programs = Programs::NONE;
        assert_eq!(reply_body(Reply::EventPrograms(programs)), [0, 0, 0, 0]);
        programs.condition = Condition::Code(&[0xc3]);
        programs.script = &[1, 2];
        let body = reply_body(Reply::EventPrograms(programs));
        assert_eq!(body, [2, 1, 0xc3, 2, 1, 2, 0]);
        for body in [[1, 0, 0, 0], [3, 0, 0, 0]] {
            reply_is_malformed(ReplyKind::EventPrograms, &body);
        }
    }

    #[test]
    fn a_script_to_run_names_its_core() {
        let program = &[9, 8, 7];
        let core = CoreId(2);
        let body = request_body(Request::RunScript { core, program });
        assert_eq!(body, [2, 3, 9, 8, 7]);
        request_is_malformed(RequestKind::RunScript, &[2, 4, 9, 8, 7]);
        assert_eq!(request_body(Request::Flush), []);
        assert_eq!(request_body(Request::MessageCounts), []);
    }
}
