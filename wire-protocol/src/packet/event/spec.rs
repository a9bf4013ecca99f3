//! The wire form of an [`EventSpec`]: one byte with the trigger's number and flags, then what the
//! flags announce. An EPT hook that breaks for everyone is a zero and an address.

use super::trigger;
use crate::address::CoreId;
use crate::codec::{self, EncodeError, Parsed, Writer, byte, fixed_u32, narrow, reject, run, when};
use crate::event::{
    Actions, Breakpoint, Condition, ConditionKind, EventSpec, Filter, Lifetime, Options,
    ProgramSizes, Programs, Settings, Stage,
};
use crate::limits;
use crate::packet::list::Item;

const NUMBER: u8 = trigger::NUMBERS - 1;
const ONE_PID: u8 = 0x20;
const ONE_CORE: u8 = 0x40;
/// Two bytes follow: the options or the actions are not the usual ones.
const MORE: u8 = 0x80;

// First byte of those two: options.
const STAGE: u8 = 0x03;
const SHORT_CIRCUIT: u8 = 0x04;
const BATCHED: u8 = 0x08;
const BUFFER: u8 = 0x10;
const LEAD: u8 = 0x20;
const BREAKPOINT: u8 = 0x40;
const ONE_TID: u8 = 0x80;

// Second byte: actions in the low bits, and what the condition is.
const CONDITION_SHIFT: u8 = 3;

impl<'a> Item<'a> for EventSpec<'a> {
    const LIMIT: usize = limits::EVENTS_PER_REQUEST;

    fn parse(input: &'a [u8], previous: &mut u64) -> Parsed<'a, Self> {
        let (rest, (settings, kind)) = parse_settings(input, previous)?;
        let (rest, condition) = match kind {
            ConditionKind::Always => (rest, Condition::Always),
            ConditionKind::Script => {
                program(rest).map(|(rest, bytes)| (rest, Condition::Script(bytes)))?
            }
            ConditionKind::Code => {
                program(rest).map(|(rest, bytes)| (rest, Condition::Code(bytes)))?
            }
        };
        let (rest, script) = when(settings.actions.contains(Actions::SCRIPT), program, rest)?;
        let (rest, code) = when(settings.actions.contains(Actions::CODE), program, rest)?;
        let programs = Programs {
            condition,
            script: script.unwrap_or_default(),
            code: code.unwrap_or_default(),
        };
        Ok((rest, Self { settings, programs }))
    }

    fn write(&self, out: &mut Writer<'_>, previous: &mut u64) -> Result<(), EncodeError> {
        let Programs {
            condition,
            script,
            code,
        } = self.programs;
        write_settings(&self.settings, condition.kind(), out, previous)?;
        let is_conditional = condition.kind() != ConditionKind::Always;
        for (is_there, bytes) in [
            (is_conditional, condition.bytes()),
            (self.settings.actions.contains(Actions::SCRIPT), script),
            (self.settings.actions.contains(Actions::CODE), code),
        ] {
            if is_there == bytes.is_empty() {
                return Err(EncodeError::OverLimit);
            }
            if is_there {
                out.run(bytes, limits::MESSAGE_BYTES)?;
            }
        }
        Ok(())
    }
}

/// At least one byte.
fn program(input: &[u8]) -> Parsed<'_, &[u8]> {
    match run(limits::MESSAGE_BYTES)(input)? {
        (_, []) => reject(input),
        parsed => Ok(parsed),
    }
}

/// Settings, and in place of every program its length, with one checksum for all.
pub(super) fn write_entry(
    settings: &Settings,
    sizes: &ProgramSizes,
    out: &mut Writer<'_>,
    previous: &mut u64,
) -> Result<(), EncodeError> {
    write_settings(settings, sizes.condition, out, previous)?;
    let lengths = lengths(settings, sizes.condition, sizes);
    for (is_there, bytes) in lengths {
        if is_there != (*bytes != 0) {
            return Err(EncodeError::OverLimit);
        }
        if is_there {
            out.varint(*bytes)?;
        }
    }
    let is_any = lengths.iter().any(|(is_there, _)| *is_there);
    match sizes.crc {
        crc if is_any => out.bytes(&crc.to_le_bytes()),
        0 => Ok(()),
        _ => Err(EncodeError::OverLimit),
    }
}

fn lengths<'s>(
    settings: &Settings,
    condition: ConditionKind,
    sizes: &'s ProgramSizes,
) -> [(bool, &'s u32); 3] {
    [
        (condition != ConditionKind::Always, &sizes.condition_bytes),
        (
            settings.actions.contains(Actions::SCRIPT),
            &sizes.script_bytes,
        ),
        (settings.actions.contains(Actions::CODE), &sizes.code_bytes),
    ]
}

pub(super) fn parse_entry<'a>(
    input: &'a [u8],
    previous: &mut u64,
) -> Parsed<'a, (Settings, ProgramSizes)> {
    let (rest, (settings, condition)) = parse_settings(input, previous)?;
    let has = |action| settings.actions.contains(action);
    let is_conditional = condition != ConditionKind::Always;
    let (rest, condition_bytes) = length(is_conditional, rest)?;
    let (rest, script_bytes) = length(has(Actions::SCRIPT), rest)?;
    let (rest, code_bytes) = length(has(Actions::CODE), rest)?;
    let is_any = is_conditional || has(Actions::SCRIPT) || has(Actions::CODE);
    let (rest, crc) = when(is_any, fixed_u32, rest)?;
    let sizes = ProgramSizes {
        condition,
        condition_bytes,
        script_bytes,
        code_bytes,
        crc: crc.unwrap_or_default(),
    };
    Ok((rest, (settings, sizes)))
}

fn length(is_there: bool, input: &[u8]) -> Parsed<'_, u32> {
    match when(is_there, narrow, input)? {
        (_, Some(0)) => reject(input),
        (rest, bytes) => Ok((rest, bytes.unwrap_or_default())),
    }
}

fn write_settings(
    settings: &Settings,
    condition: ConditionKind,
    out: &mut Writer<'_>,
    previous: &mut u64,
) -> Result<(), EncodeError> {
    let Filter { pid, tid, core } = settings.filter;
    let Options {
        stage,
        short_circuit,
        immediate,
        buffer_bytes,
        lead_bytes,
    } = settings.options;
    let options = flags([
        (1, stage == Stage::Post),
        (2, stage == Stage::All),
        (SHORT_CIRCUIT, short_circuit),
        (BATCHED, !immediate),
        (BUFFER, buffer_bytes != 0),
        (LEAD, lead_bytes != Options::DEFAULT.lead_bytes),
        (BREAKPOINT, settings.breakpoint.is_some()),
        (ONE_TID, tid.is_some()),
    ]);
    let condition = match condition {
        ConditionKind::Always => 0,
        ConditionKind::Script => 1,
        ConditionKind::Code => 2,
    };
    let more = [
        options,
        settings.actions.bits() | condition << CONDITION_SHIFT,
    ];
    let is_more = more != USUAL;
    let head = flags([
        (ONE_PID, pid.is_some()),
        (ONE_CORE, core.is_some()),
        (MORE, is_more),
    ]);
    out.byte(trigger::number(&settings.trigger) | head)?;
    if is_more {
        out.bytes(&more)?;
    }
    trigger::write(&settings.trigger, out, previous)?;
    if let Some(pid) = pid {
        out.varint(pid)?;
    }
    if let Some(tid) = tid {
        out.varint(tid)?;
    }
    if let Some(core) = core {
        out.varint(core.0)?;
    }
    if let Some(breakpoint) = settings.breakpoint {
        write_breakpoint(breakpoint, out)?;
    }
    if buffer_bytes != 0 {
        out.varint(buffer_bytes)?;
    }
    match lead_bytes {
        Some(0) => Ok(()),
        Some(bytes) if bytes > limits::LEAD_BYTES => Err(EncodeError::OverLimit),
        bytes => out.byte(bytes.unwrap_or(UNKNOWN_LEAD)),
    }
}

/// Four times the first pass that acts, and the lifetime.
fn write_breakpoint(breakpoint: Breakpoint, out: &mut Writer<'_>) -> Result<(), EncodeError> {
    match breakpoint {
        Breakpoint { first_pass: 0, .. } => Err(EncodeError::OverLimit),
        Breakpoint {
            first_pass,
            lifetime,
        } => {
            let lifetime = match lifetime {
                Lifetime::UntilCleared => 0,
                Lifetime::UntilItHalts => 1,
                Lifetime::UntilNextHalt => 2,
            };
            out.varint(u64::from(first_pass) << 2 | lifetime)
        }
    }
}

fn breakpoint(input: &[u8]) -> Parsed<'_, Breakpoint> {
    let (rest, word) = codec::varint(input)?;
    let lifetime = match word & 3 {
        0 => Lifetime::UntilCleared,
        1 => Lifetime::UntilItHalts,
        2 => Lifetime::UntilNextHalt,
        _ => return reject(input),
    };
    match u32::try_from(word >> 2) {
        Ok(0) | Err(_) => reject(input),
        Ok(first_pass) => {
            let breakpoint = Breakpoint {
                first_pass,
                lifetime,
            };
            Ok((rest, breakpoint))
        }
    }
}

/// In place of the bytes before a hook, where nobody knows them.
const UNKNOWN_LEAD: u8 = 0;

/// The two bytes that are left out.
const USUAL: [u8; 2] = [0, Actions::BREAK.bits()];

fn flags<const N: usize>(bits: [(u8, bool); N]) -> u8 {
    bits.into_iter()
        .filter(|(_, is_set)| *is_set)
        .fold(0, |flags, (bit, _)| flags | bit)
}

fn parse_settings<'a>(
    input: &'a [u8],
    previous: &mut u64,
) -> Parsed<'a, (Settings, ConditionKind)> {
    let (rest, head) = byte(input)?;
    let (rest, more) = if head & MORE == 0 {
        (rest, USUAL)
    } else {
        let (rest, options) = byte(rest)?;
        let (rest, actions) = byte(rest)?;
        if [options, actions] == USUAL {
            return reject(input);
        }
        (rest, [options, actions])
    };
    let [options, actions] = more;
    let stage = match options & STAGE {
        0 => Stage::Pre,
        1 => Stage::Post,
        2 => Stage::All,
        _ => return reject(input),
    };
    let condition = match actions >> CONDITION_SHIFT {
        0 => ConditionKind::Always,
        1 => ConditionKind::Script,
        2 => ConditionKind::Code,
        _ => return reject(input),
    };
    let actions = Actions::from_bits_truncate(actions);
    let (rest, trigger) = trigger::parse(head & NUMBER, rest, previous)?;
    let (rest, pid) = when(head & ONE_PID != 0, narrow, rest)?;
    let (rest, tid) = when(options & ONE_TID != 0, narrow, rest)?;
    let (rest, core) = when(head & ONE_CORE != 0, narrow, rest)?;
    let core = core.map(CoreId);
    let (rest, breakpoint) = when(options & BREAKPOINT != 0, breakpoint, rest)?;
    let (rest, buffer_bytes) = length(options & BUFFER != 0, rest)?;
    let (rest, lead) = when(options & LEAD != 0, byte, rest)?;
    let lead_bytes = match lead {
        None => Some(0),
        Some(UNKNOWN_LEAD) => None,
        Some(bytes) if bytes > limits::LEAD_BYTES => return reject(input),
        Some(bytes) => Some(bytes),
    };
    let settings = Settings {
        trigger,
        filter: Filter { pid, tid, core },
        actions,
        options: Options {
            stage,
            short_circuit: options & SHORT_CIRCUIT != 0,
            immediate: options & BATCHED == 0,
            buffer_bytes,
            lead_bytes,
        },
        breakpoint,
    };
    Ok((rest, (settings, condition)))
}
