//! What programs print while the guest runs, and what else is worth a line: traced instructions
//! and programs that had to be ended. Made by any core in VMX-root, kept in its ring, sent in
//! batches by the core that polls; formatted by the host, which has the program.

mod batch;

use crate::address::EventId;
use crate::codec::{self, EncodeError, Parsed, Writer, difference, narrow, reject, run};
use crate::event::Standing;
use crate::limits;
use crate::packet::network::{self, NetworkCounts};
pub use batch::{Batch, Messages};

/// Whose program it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// An event's.
    Event(EventId),
    /// That of a [`crate::packet::Request::RunScript`].
    Request,
}

/// One argument of a print.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Argument<'a> {
    /// A number, or the bits of one.
    Number(u64),
    /// A copy of a string as it was in memory, without its end.
    Bytes(&'a [u8]),
}

/// What went wrong with a program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FailureCause {
    /// A script did more operations than [`Failure::detail`].
    Operations,
    /// A script's functions called each other too deeply.
    Depth,
    /// The program is not the one that was verified.
    Broken,
    /// Machine code ran more instructions than [`Failure::detail`]; the event is disabled.
    Instructions,
    /// Machine code raised the exception with the vector [`Failure::detail`]; the event is
    /// disabled.
    Exception,
    /// A script divided by zero, which gave 0.
    Division,
    /// A script read where nothing is, at [`Failure::detail`], which gave 0.
    Read,
    /// A script wrote where nothing is, at [`Failure::detail`].
    Write,
    /// A script used [`Failure::detail`] as the address of a variable for an atomic operation.
    Variable,
    /// A register did not take the value [`Failure::detail`].
    Register,
}

impl FailureCause {
    /// In the order of their wire numbers.
    pub const ALL: [Self; 10] = [
        Self::Operations,
        Self::Depth,
        Self::Broken,
        Self::Instructions,
        Self::Exception,
        Self::Division,
        Self::Read,
        Self::Write,
        Self::Variable,
        Self::Register,
    ];

    /// Whether the run ended with it. After any other, it went on.
    #[must_use]
    pub const fn ends_the_run(self) -> bool {
        matches!(
            self,
            Self::Operations | Self::Depth | Self::Broken | Self::Instructions | Self::Exception
        )
    }
}

/// Something that went wrong while a program ran.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Failure {
    /// Why.
    pub cause: FailureCause,
    /// Where in the program: bytes from the start of its code.
    pub at: u32,
    /// See [`FailureCause`].
    pub detail: u64,
}

/// What a record says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Content<'a> {
    /// A script printed.
    Print {
        /// Which of its prints: bytes from the start of its code.
        site: u32,
        /// What.
        arguments: Arguments<'a>,
    },
    /// An instruction of a traced thread is about to run.
    Trace {
        /// Where.
        rip: u64,
        /// Its first bytes.
        code: &'a [u8],
    },
    /// Something went wrong.
    Failure(Failure),
    /// The event stands otherwise to the code that it hooks.
    Standing(Standing),
}

/// One record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MessageRecord<'a> {
    /// Whose it is.
    pub source: Source,
    /// The time-stamp counter of the core that made it.
    pub tsc: u64,
    /// Records of the same core that found no room right before this one.
    pub lost: u64,
    /// What it says.
    pub content: Content<'a>,
}

/// Arguments of a print, still encoded.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Arguments<'a> {
    count: u32,
    /// Bit N: argument N is bytes.
    bytes: u32,
    encoded: &'a [u8],
}

impl<'a> Arguments<'a> {
    /// No argument.
    pub const EMPTY: Self = Self {
        count: 0,
        bytes: 0,
        encoded: &[],
    };

    /// Encodes arguments into `scratch`, which the result keeps.
    ///
    /// # Errors
    /// They do not fit, or are more than [`limits::PRINT_ARGUMENTS`].
    pub fn encode_into(
        arguments: &[Argument<'_>],
        scratch: &'a mut [u8],
    ) -> Result<Self, EncodeError> {
        if arguments.len() > limits::PRINT_ARGUMENTS {
            return Err(EncodeError::OverLimit);
        }
        let mut out = Writer::new(scratch);
        let mut bytes = 0;
        for (place, argument) in arguments.iter().enumerate() {
            match argument {
                Argument::Number(value) => out.difference(*value, 0)?,
                Argument::Bytes(string) => {
                    bytes |= 1 << place;
                    out.run(string, limits::RECORD_BYTES)?;
                }
            }
        }
        Ok(Self {
            count: u32::try_from(arguments.len()).map_err(|_| EncodeError::OverLimit)?,
            bytes,
            encoded: out.into_written(),
        })
    }

    /// The arguments.
    pub fn iter(&self) -> impl Iterator<Item = Argument<'a>> + use<'a> {
        let mut rest = self.encoded;
        let kinds = self.bytes;
        (0..self.count).map_while(move |place| {
            let (after, argument) = argument(kinds >> place & 1 != 0, rest).ok()?;
            rest = after;
            Some(argument)
        })
    }

    fn parse(input: &'a [u8]) -> Parsed<'a, Self> {
        // The highest bit set stands above those of the arguments.
        let (rest, shape) = narrow::<u32>(input)?;
        let Some(count) = shape.checked_ilog2() else {
            return reject(input);
        };
        if count as usize > limits::PRINT_ARGUMENTS {
            return reject(input);
        }
        let bytes = shape & !(1 << count);
        let start = rest;
        let mut rest = rest;
        for place in 0..count {
            (rest, _) = argument(bytes >> place & 1 != 0, rest)?;
        }
        let (rest, encoded) = codec::take(start.len() - rest.len())(start)?;
        Ok((
            rest,
            Self {
                count,
                bytes,
                encoded,
            },
        ))
    }

    fn write(&self, out: &mut Writer<'_>) -> Result<(), EncodeError> {
        out.varint(1 << self.count | self.bytes)?;
        out.bytes(self.encoded)
    }
}

impl core::fmt::Debug for Arguments<'_> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

fn argument(is_bytes: bool, input: &[u8]) -> Parsed<'_, Argument<'_>> {
    if is_bytes {
        let (rest, bytes) = run(limits::RECORD_BYTES)(input)?;
        Ok((rest, Argument::Bytes(bytes)))
    } else {
        let (rest, number) = difference(0)(input)?;
        Ok((rest, Argument::Number(number)))
    }
}

const KIND_BITS: u32 = 2;
const PRINT: u64 = 0;
const TRACE: u64 = 1;
const FAILURE: u64 = 2;
const STANDING: u64 = 3;

impl<'a> Content<'a> {
    /// Writes it as a batch holds it; returns its length.
    ///
    /// # Errors
    /// It does not fit, or is longer than [`limits::RECORD_BYTES`].
    pub fn encode_into(&self, buffer: &mut [u8]) -> Result<usize, EncodeError> {
        let mut out = Writer::new(buffer);
        match *self {
            Self::Print { site, arguments } => {
                out.varint(u64::from(site) << KIND_BITS | PRINT)?;
                arguments.write(&mut out)?;
            }
            Self::Trace { rip, code } => {
                out.varint((code.len() as u64) << KIND_BITS | TRACE)?;
                if code.len() > limits::STOP_CODE_BYTES {
                    return Err(EncodeError::OverLimit);
                }
                out.bytes(code)?;
                out.difference(rip, 0)?;
            }
            Self::Failure(failure) => {
                out.varint(u64::from(failure.at) << KIND_BITS | FAILURE)?;
                write_failure_tail(&failure, &mut out)?;
            }
            Self::Standing(standing) => {
                out.varint(u64::from(standing.to_wire()) << KIND_BITS | STANDING)?;
            }
        }
        if out.len() > limits::RECORD_BYTES {
            return Err(EncodeError::OverLimit);
        }
        Ok(out.len())
    }

    fn parse(input: &'a [u8]) -> Parsed<'a, Self> {
        let (rest, head) = codec::varint(input)?;
        let Ok(value) = u32::try_from(head >> KIND_BITS) else {
            return reject(input);
        };
        let (rest, content) = match head & ((1 << KIND_BITS) - 1) {
            PRINT => {
                let (rest, arguments) = Arguments::parse(rest)?;
                let site = value;
                (rest, Self::Print { site, arguments })
            }
            TRACE if value as usize <= limits::STOP_CODE_BYTES => {
                let (rest, code) = codec::take(value as usize)(rest)?;
                let (rest, rip) = difference(0)(rest)?;
                (rest, Self::Trace { rip, code })
            }
            FAILURE => {
                let (rest, failure) = parse_failure_tail(value, rest)?;
                (rest, Self::Failure(failure))
            }
            STANDING => {
                let standing = u8::try_from(value).ok().and_then(Standing::from_wire);
                let Some(standing) = standing else {
                    return reject(input);
                };
                (rest, Self::Standing(standing))
            }
            _ => return reject(input),
        };
        if input.len() - rest.len() > limits::RECORD_BYTES {
            return reject(input);
        }
        Ok((rest, content))
    }
}

fn write_failure_tail(failure: &Failure, out: &mut Writer<'_>) -> Result<(), EncodeError> {
    out.byte(failure.cause as u8)?;
    out.varint(failure.detail)
}

fn parse_failure_tail(at: u32, input: &[u8]) -> Parsed<'_, Failure> {
    let cause = |number: u8| FailureCause::ALL.get(usize::from(number)).copied();
    let (rest, cause) = codec::one_of(cause, input)?;
    let (rest, detail) = codec::varint(rest)?;
    Ok((rest, Failure { cause, at, detail }))
}

/// What became of all records since the driver was loaded: `produced` is the sum of what was delivered,
/// dropped and flushed, and of what waits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MessageCounts {
    /// Made by programs.
    pub produced: u64,
    /// Given to the link.
    pub delivered: u64,
    /// Found no room.
    pub dropped: u64,
    /// Thrown away by `flush`.
    pub flushed: u64,
    /// In the rings now.
    pub waiting: u64,
    /// Of those that found no room, how many a later record or a `flush` told of.
    pub told: u64,
    /// How it stands with the network, if the debuggee has one.
    pub network: Option<NetworkCounts>,
}

pub(crate) fn write_counts(
    counts: &MessageCounts,
    out: &mut Writer<'_>,
) -> Result<(), EncodeError> {
    out.varint(counts.produced)?;
    out.varint(counts.delivered)?;
    out.varint(counts.dropped)?;
    out.varint(counts.flushed)?;
    out.varint(counts.waiting)?;
    out.varint(counts.told)?;
    match &counts.network {
        Some(network) => network::write_counts(network, out),
        None => Ok(()),
    }
}

pub(crate) fn parse_counts(input: &[u8]) -> Parsed<'_, MessageCounts> {
    let (rest, produced) = codec::varint(input)?;
    let (rest, delivered) = codec::varint(rest)?;
    let (rest, dropped) = codec::varint(rest)?;
    let (rest, flushed) = codec::varint(rest)?;
    let (rest, waiting) = codec::varint(rest)?;
    let (rest, told) = codec::varint(rest)?;
    let (rest, network) = match rest {
        [] => (rest, None),
        _ => {
            let (rest, network) = network::parse_counts(rest)?;
            (rest, Some(network))
        }
    };
    Ok((
        rest,
        MessageCounts {
            produced,
            delivered,
            dropped,
            flushed,
            waiting,
            told,
            network,
        },
    ))
}

pub(crate) fn write_failure(failure: &Failure, out: &mut Writer<'_>) -> Result<(), EncodeError> {
    out.varint(failure.at)?;
    write_failure_tail(failure, out)
}

pub(crate) fn parse_failure(input: &[u8]) -> Parsed<'_, Failure> {
    let (rest, at) = narrow(input)?;
    parse_failure_tail(at, rest)
}

#[cfg(test)]
mod tests;
