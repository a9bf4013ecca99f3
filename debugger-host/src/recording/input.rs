//! What the driver's core took in of its machine, so that it can be played again without one: [`Input`], the content of
//! a packet.

use nom::Parser;
use nom::combinator::{all_consuming, map, rest};
use nom::error::{Error, ErrorKind};
use nom::multi::many0;
use nom::number::complete::{le_u16, le_u32, le_u64, u8};

/// Bytes of a page.
pub const PAGE_BYTES: usize = 4096;

const EXIT: u8 = 0;
const PAGE: u8 = 1;
const UNHEARD: u8 = 2;
const FAULT: u8 = 3;
const LINE: u8 = 4;
const FACTS: u8 = 5;

/// Bytes of a line of memory.
pub const LINE_BYTES: usize = 64;

/// See the module.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Input {
    /// A core left its guest.
    Exit {
        /// Which.
        core: u16,
        /// What is not as the core left it when it entered its guest.
        changes: Vec<Change>,
    },
    /// What a page of the guest's memory holds, when the core looks at it first, or once the guest changed it.
    Page {
        /// Its address.
        at: u64,
        /// Its bytes; zeros at its end are left out.
        bytes: Vec<u8>,
    },
    /// The hypervisor itself met a fault on a core, which stands still from then on.
    Fault {
        /// Which.
        core: u16,
        /// Exception vector.
        vector: u16,
        /// Where.
        rip: u64,
        /// CR2 or error code.
        detail: u64,
    },
    /// Nothing came in: the core said this, and no host heard it.
    Unheard {
        /// The message.
        message: Vec<u8>,
    },
    /// What a line of memory, a small part of a page, holds when the core looks at it first, or again and the guest
    /// changed it.
    Line {
        /// Its address.
        at: u64,
        /// Its bytes; zeros at its end are left out.
        bytes: Vec<u8>,
    },
    /// What the platform told the core at its load, as the platform lays it out.
    Facts(Vec<u8>),
}

/// A value of the processor's that is not what it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Change {
    /// What kind of register it is; the driver's made-up processor has the numbers.
    pub kind: u8,
    /// Which.
    pub number: u32,
    /// What it holds now.
    pub value: u64,
}

impl Input {
    /// A page without the zeros at its end.
    #[must_use]
    pub fn page(at: u64, bytes: &[u8]) -> Self {
        let bytes = without_zeros(bytes);
        Self::Page { at, bytes }
    }

    /// A line without the zeros at its end.
    #[must_use]
    pub fn line(at: u64, bytes: &[u8]) -> Self {
        let bytes = without_zeros(bytes);
        Self::Line { at, bytes }
    }

    pub(super) fn write(&self, out: &mut Vec<u8>) {
        match self {
            Self::Exit { core, changes } => {
                out.push(EXIT);
                out.extend(core.to_le_bytes());
                for change in changes {
                    out.push(change.kind);
                    out.extend(change.number.to_le_bytes());
                    out.extend(change.value.to_le_bytes());
                }
            }
            Self::Page { at, bytes } => {
                out.push(PAGE);
                out.extend(at.to_le_bytes());
                out.extend(bytes);
            }
            Self::Fault {
                core,
                vector,
                rip,
                detail,
            } => {
                out.push(FAULT);
                out.extend(core.to_le_bytes());
                out.extend(vector.to_le_bytes());
                out.extend(rip.to_le_bytes());
                out.extend(detail.to_le_bytes());
            }
            Self::Unheard { message } => {
                out.push(UNHEARD);
                out.extend(message);
            }
            Self::Line { at, bytes } => {
                out.push(LINE);
                out.extend(at.to_le_bytes());
                out.extend(bytes);
            }
            Self::Facts(facts) => {
                out.push(FACTS);
                out.extend(facts);
            }
        }
    }

    pub(super) fn read(input: &[u8]) -> nom::IResult<&[u8], Self> {
        let reject = |input| Err(nom::Err::Error(Error::new(input, ErrorKind::Verify)));
        match u8(input)? {
            (after, EXIT) => {
                let change = map((u8, le_u32, le_u64), |(kind, number, value)| Change {
                    kind,
                    number,
                    value,
                });
                let exit = (le_u16, all_consuming(many0(change)));
                map(exit, |(core, changes)| Self::Exit { core, changes }).parse(after)
            }
            (after, PAGE) => {
                let (after, (at, bytes)) = (le_u64, rest).parse(after)?;
                match is_piece(at, bytes, PAGE_BYTES) {
                    true => Ok((after, Self::page(at, bytes))),
                    false => reject(input),
                }
            }
            (after, FAULT) => {
                let fault = (le_u16, le_u16, le_u64, le_u64);
                let mut fault = map(fault, |(core, vector, rip, detail)| Self::Fault {
                    core,
                    vector,
                    rip,
                    detail,
                });
                fault.parse(after)
            }
            (after, LINE) => {
                let (after, (at, bytes)) = (le_u64, rest).parse(after)?;
                match is_piece(at, bytes, LINE_BYTES) {
                    true => Ok((after, Self::line(at, bytes))),
                    false => reject(input),
                }
            }
            (after, FACTS) => map(rest, |facts: &[u8]| Self::Facts(facts.to_vec())).parse(after),
            (after, UNHEARD) => map(rest, |message: &[u8]| Self::Unheard {
                message: message.to_vec(),
            })
            .parse(after),
            _ => reject(input),
        }
    }
}

fn without_zeros(bytes: &[u8]) -> Vec<u8> {
    let end = bytes.iter().rposition(|byte| *byte != 0);
    bytes[..end.map_or(0, |end| end + 1)].to_vec()
}

/// Whoever wrote a page or a line knows where it can be and how long it is, and where it ends.
fn is_piece(at: u64, bytes: &[u8], len_bytes: usize) -> bool {
    at.is_multiple_of(len_bytes as u64) && bytes.len() <= len_bytes && bytes.last() != Some(&0)
}
