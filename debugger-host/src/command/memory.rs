//! Reading, writing, translating and digesting memory.

use super::{Action, Arguments, CommandError, Continuation, Debugger, ParseError};
use crate::answer::{Address, Answer, Bytes, Count, Hex, Mapping, Unit};
use crate::expression::Expression;
use crate::session::Space;
use wire_protocol::limits;
use wire_protocol::register::{Register, RegisterSet};
use xxhash_rust::xxh64::Xxh64;

type Parsed = Result<Box<dyn Action>, ParseError>;

/// Bytes that a dump shows when no length is given.
const DUMP_BYTES: u64 = 0x80;
/// Bytes that one dump can show.
const DUMP_LIMIT_BYTES: u64 = 1 << 20;

struct Dump {
    name: String,
    unit: Unit,
    physical: bool,
    address: Expression,
    len: Option<Expression>,
    pid: Option<Expression>,
}

/// `l LEN`, if it comes next.
pub(super) fn length(arguments: &mut Arguments<'_>) -> Result<Option<Expression>, ParseError> {
    if arguments.keyword("l") {
        arguments.number("the length").map(Some)
    } else {
        Ok(None)
    }
}

/// `pid N`, if it comes next.
pub(super) fn process(arguments: &mut Arguments<'_>) -> Result<Option<Expression>, ParseError> {
    if arguments.keyword("pid") {
        arguments.number("the process").map(Some)
    } else {
        Ok(None)
    }
}

/// `l LEN` and `pid N`, in any order.
pub(super) fn length_and_process(
    arguments: &mut Arguments<'_>,
) -> Result<(Option<Expression>, Option<Expression>), ParseError> {
    let pid = process(arguments)?;
    let len = length(arguments)?;
    let pid = match pid {
        Some(pid) => Some(pid),
        None => process(arguments)?,
    };
    Ok((len, pid))
}

pub(super) fn dump(mut arguments: Arguments<'_>) -> Parsed {
    let name = arguments.name.to_owned();
    let unit = match name.trim_start_matches('!') {
        "dc" => Unit::DoubleWordsAndText,
        "dd" => Unit::DoubleWords,
        "dq" => Unit::QuadWords,
        _ => Unit::Bytes,
    };
    let address = arguments.expression("the address")?;
    let physical = name.starts_with('!');
    let (len, pid) = match physical {
        true => (length(&mut arguments)?, None),
        false => length_and_process(&mut arguments)?,
    };
    arguments.end()?;
    Ok(Box::new(Dump {
        unit,
        pid,
        physical,
        name,
        address,
        len,
    }))
}

/// The value of `l LEN`, bounded.
pub(super) fn bounded(
    debugger: &mut Debugger,
    len: Option<&Expression>,
    default: u64,
) -> Result<u64, CommandError> {
    let len = match len {
        Some(len) => debugger.value(len)?,
        None => default,
    };
    if len > DUMP_LIMIT_BYTES {
        return Err(CommandError::TooBig {
            what: "the length",
            value: len,
            limit: DUMP_LIMIT_BYTES,
        });
    }
    Ok(len)
}

impl Action for Dump {
    fn run(&self, debugger: &mut Debugger) -> Result<Answer, CommandError> {
        let address = debugger.value(&self.address)?;
        let len = bounded(debugger, self.len.as_ref(), DUMP_BYTES)?;
        let space = if self.physical {
            Space::Physical
        } else {
            debugger.space_of(self.pid.as_ref())?
        };
        let bytes = debugger.session.memory(space, address, len as usize)?;
        debugger.continuation = Some(Continuation {
            command: self.name.clone(),
            address: address.wrapping_add(len),
            len,
        });
        Ok(Answer::Memory {
            is_physical: self.physical,
            address: Hex(address),
            // Bounded above.
            len_bytes: len as u32,
            unit: self.unit,
            bytes: Bytes(bytes),
        })
    }
}

struct Enter {
    bytes: usize,
    physical: bool,
    address: Expression,
    values: Vec<Expression>,
    pid: Option<Expression>,
}

pub(super) fn enter(mut arguments: Arguments<'_>) -> Parsed {
    let name = arguments.name;
    let bytes = match name.trim_start_matches('!') {
        "ed" => 4,
        "eq" => 8,
        _ => 1,
    };
    let address = arguments.tight_expression("the address")?;
    let mut values = vec![arguments.tight_expression("the value")?];
    let physical = name.starts_with('!');
    let mut pid = None;
    while !arguments.is_empty() {
        if !physical && let Some(of) = process(&mut arguments)? {
            pid = Some(of);
            arguments.end()?;
            break;
        }
        values.push(arguments.tight_expression("the value")?);
    }
    Ok(Box::new(Enter {
        bytes,
        physical,
        address,
        values,
        pid,
    }))
}

impl Action for Enter {
    fn run(&self, debugger: &mut Debugger) -> Result<Answer, CommandError> {
        let address = debugger.value(&self.address)?;
        let limit = u64::MAX >> (64 - 8 * self.bytes);
        let mut bytes = Vec::new();
        for value in &self.values {
            let value = debugger.value(value)?;
            if value > limit {
                return Err(CommandError::TooBig {
                    what: "the value",
                    value,
                    limit,
                });
            }
            bytes.extend_from_slice(&value.to_le_bytes()[..self.bytes]);
        }
        let space = if self.physical {
            Space::Physical
        } else {
            debugger.space_of(self.pid.as_ref())?
        };
        debugger.session.write_memory(space, address, &bytes)?;
        Ok(Answer::Done {})
    }
}

struct ToPhysical(Expression, Option<Expression>);

pub(super) fn to_physical(mut arguments: Arguments<'_>) -> Parsed {
    let address = arguments.expression("the address")?;
    let pid = process(&mut arguments)?;
    arguments.end()?;
    Ok(Box::new(ToPhysical(address, pid)))
}

impl Action for ToPhysical {
    fn run(&self, debugger: &mut Debugger) -> Result<Answer, CommandError> {
        let address = debugger.value(&self.0)?;
        let space = debugger.space_of(self.1.as_ref())?;
        let (physical, page_bytes) = debugger.session.translate(space, address)?;
        Ok(Answer::Physical {
            virtual_address: Hex(address),
            physical_address: Hex(physical.0),
            page_bytes: Count(page_bytes),
        })
    }
}

struct ToVirtual(Expression);

pub(super) fn to_virtual(mut arguments: Arguments<'_>) -> Parsed {
    let address = arguments.expression("the physical address")?;
    arguments.end()?;
    Ok(Box::new(ToVirtual(address)))
}

impl Action for ToVirtual {
    fn run(&self, debugger: &mut Debugger) -> Result<Answer, CommandError> {
        let physical = debugger.value(&self.0)?;
        let core = Space::Virtual(debugger.session.core());
        let identity = debugger.session.identity();
        let (direct, image) = (identity.direct_map_base.0, identity.kernel_base.0);
        let mut mappings = Vec::new();
        if direct != 0 {
            let guess = direct.wrapping_add(physical);
            if let Ok((back, page_bytes)) = debugger.session.translate(core, guess)
                && back.0 == physical
            {
                mappings.push(Mapping::DirectMap {
                    at: Address::new(guess, &debugger.symbols),
                    page_bytes: Count(page_bytes),
                });
            }
        }
        // The kernel image is mapped in one piece.
        if let Ok((start, _)) = debugger.session.translate(core, image)
            && let Some(offset) = physical.checked_sub(start.0)
        {
            let guess = image.wrapping_add(offset);
            if let Ok((back, _)) = debugger.session.translate(core, guess)
                && back.0 == physical
            {
                mappings.push(Mapping::KernelImage {
                    at: Address::new(guess, &debugger.symbols),
                });
            }
        }
        if mappings.is_empty() {
            return Err(CommandError::NoVirtual { physical });
        }
        Ok(Answer::Virtual {
            physical_address: Hex(physical),
            mappings,
        })
    }
}

enum Digest {
    AllMemory,
    Range { from: Expression, len: Expression },
    Registers,
}

pub(super) fn digest(mut arguments: Arguments<'_>) -> Parsed {
    let digest = if arguments.is_empty() {
        Digest::AllMemory
    } else if arguments.keyword("registers") {
        Digest::Registers
    } else {
        let from = arguments.expression("the physical address")?;
        let len = length(&mut arguments)?.ok_or(arguments.missing("`l LENGTH`"))?;
        Digest::Range { from, len }
    };
    arguments.end()?;
    Ok(Box::new(digest))
}

/// Digests of the pieces of a range, in order, become one.
fn add_range(
    debugger: &mut Debugger,
    from: u64,
    len: u64,
    whole: &mut Xxh64,
) -> Result<(), CommandError> {
    let mut done = 0;
    while done < len {
        let part = (len - done).min(limits::DIGEST_BYTES);
        let digest = debugger.session.digest(from.wrapping_add(done), part)?;
        whole.update(&digest.to_le_bytes());
        done += part;
    }
    Ok(())
}

impl Action for Digest {
    fn run(&self, debugger: &mut Debugger) -> Result<Answer, CommandError> {
        let mut whole = Xxh64::new(0);
        match self {
            Self::AllMemory => {
                for range in debugger.session.identity().ram.clone() {
                    add_range(debugger, range.start().0, range.len_bytes(), &mut whole)?;
                }
            }
            Self::Range { from, len } => {
                let from = debugger.value(from)?;
                let len = debugger.value(len)?;
                let limit = u64::MAX - from;
                if len > limit {
                    return Err(CommandError::TooBig {
                        what: "the length",
                        value: len,
                        limit,
                    });
                }
                add_range(debugger, from, len, &mut whole)?;
            }
            Self::Registers => {
                let every = (0..=u8::MAX)
                    .map_while(Register::from_wire)
                    .fold(RegisterSet::default(), RegisterSet::with);
                for core in 0..debugger.session.identity().cores {
                    let core = wire_protocol::address::CoreId(core);
                    debugger.session.forget_registers(core);
                    for (_, value) in debugger.session.registers(core, every)? {
                        whole.update(&value.to_le_bytes());
                    }
                }
            }
        }
        Ok(Answer::Digest {
            digest: Hex(whole.digest()),
        })
    }
}
