//! Reading, writing, translating and digesting memory. Requests are made by the host and
//! answered by the driver while the debuggee is halted.

use crate::address::{CoreId, GuestPhysical, GuestVirtual, PAGE_BYTES};
use crate::codec::{
    self, EncodeError, Parsed, Writer, difference, fixed_u64, narrow, reject, take, when,
};
use crate::digest::Digest;
use crate::limits;
use crate::pack::Packing;

/// Where memory is read or written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MemoryAt {
    /// Through the page tables that `core` uses now.
    Virtual {
        /// Whose CR3.
        core: CoreId,
        /// First byte.
        address: GuestVirtual,
    },
    /// Through page tables of any process.
    Tables {
        /// Where they begin.
        root: GuestPhysical,
        /// First byte.
        address: GuestVirtual,
    },
    /// Without translation.
    Physical {
        /// First byte.
        address: GuestPhysical,
    },
}

const PHYSICAL: u64 = 1;
/// In the place of a core, with [`PHYSICAL`].
const TABLES: u16 = 1;
const EXPECTED: u64 = 2;
/// Beside the number of a core that is to translate: page tables follow.
const WITH_ROOT: u32 = 1 << 16;

/// `core << 2 | flags`, or the flags alone for a physical address, or those with a 1 in the place of the core for page tables,
/// of which the page follows; then the address.
fn write_at(at: MemoryAt, flags: u64, base: u64, out: &mut Writer<'_>) -> Result<(), EncodeError> {
    match at {
        MemoryAt::Virtual { core, address } => {
            out.varint(u64::from(core.0) << 2 | flags)?;
            out.difference(address.0, base)
        }
        MemoryAt::Tables { root, address } => {
            out.varint(u64::from(TABLES) << 2 | PHYSICAL | flags)?;
            write_root(root, out)?;
            out.difference(address.0, base)
        }
        MemoryAt::Physical { address } => {
            out.varint(PHYSICAL | flags)?;
            out.varint(address.0)
        }
    }
}

fn parse_at(base: u64, input: &[u8]) -> Parsed<'_, (MemoryAt, u64)> {
    let (rest, head) = narrow::<u32>(input)?;
    let flags = u64::from(head & 3);
    let Ok(core) = u16::try_from(head >> 2) else {
        return reject(input);
    };
    if flags & PHYSICAL == 0 {
        let (rest, address) = difference(base)(rest)?;
        let core = CoreId(core);
        let address = GuestVirtual(address);
        Ok((rest, (MemoryAt::Virtual { core, address }, flags)))
    } else if core == TABLES {
        let (rest, root) = parse_root(rest)?;
        let (rest, address) = difference(base)(rest)?;
        let address = GuestVirtual(address);
        Ok((rest, (MemoryAt::Tables { root, address }, flags)))
    } else {
        if core != 0 {
            return reject(input);
        }
        let (rest, address) = codec::varint(rest)?;
        let address = GuestPhysical(address);
        Ok((rest, (MemoryAt::Physical { address }, flags)))
    }
}

fn write_root(root: GuestPhysical, out: &mut Writer<'_>) -> Result<(), EncodeError> {
    if !root.0.is_multiple_of(PAGE_BYTES) {
        return Err(EncodeError::OverLimit);
    }
    out.varint(root.0 / PAGE_BYTES)
}

fn parse_root(input: &[u8]) -> Parsed<'_, GuestPhysical> {
    let (rest, page) = codec::varint(input)?;
    match page.checked_mul(PAGE_BYTES) {
        Some(root) => Ok((rest, GuestPhysical(root))),
        None => reject(input),
    }
}

pub(crate) fn write_read(
    at: MemoryAt,
    len_bytes: u32,
    expected: Option<Digest>,
    base: u64,
    out: &mut Writer<'_>,
) -> Result<(), EncodeError> {
    let flags = if expected.is_some() { EXPECTED } else { 0 };
    write_at(at, flags, base, out)?;
    out.varint(len_bytes)?;
    match expected {
        Some(digest) => out.bytes(&digest.0.to_le_bytes()),
        None => Ok(()),
    }
}

fn parse_expected(input: &[u8]) -> Parsed<'_, Digest> {
    nom::number::complete::le_u128(input).map(|(rest, digest)| (rest, Digest(digest)))
}

pub(crate) fn parse_read(base: u64, input: &[u8]) -> Parsed<'_, (MemoryAt, u32, Option<Digest>)> {
    let (rest, (at, flags)) = parse_at(base, input)?;
    let (rest, len_bytes) = narrow(rest)?;
    let (rest, expected) = when(flags & EXPECTED != 0, parse_expected, rest)?;
    Ok((rest, (at, len_bytes, expected)))
}

pub(crate) fn write_write(
    at: MemoryAt,
    bytes: &[u8],
    base: u64,
    out: &mut Writer<'_>,
) -> Result<(), EncodeError> {
    write_at(at, 0, base, out)?;
    out.bytes(bytes)
}

/// The content takes the rest of the message.
pub(crate) fn parse_write(base: u64, input: &[u8]) -> Parsed<'_, (MemoryAt, &'_ [u8])> {
    let (rest, (at, flags)) = parse_at(base, input)?;
    if flags & EXPECTED != 0 {
        return reject(input);
    }
    let (rest, bytes) = take(rest.len())(rest)?;
    Ok((rest, (at, bytes)))
}

pub(crate) fn write_translate(
    core: CoreId,
    root: Option<GuestPhysical>,
    address: GuestVirtual,
    base: u64,
    out: &mut Writer<'_>,
) -> Result<(), EncodeError> {
    match root {
        None => out.varint(core.0)?,
        Some(root) => {
            out.varint(u32::from(core.0) | WITH_ROOT)?;
            write_root(root, out)?;
        }
    }
    out.difference(address.0, base)
}

pub(crate) fn parse_translate(
    base: u64,
    input: &[u8],
) -> Parsed<'_, (CoreId, Option<GuestPhysical>, GuestVirtual)> {
    let (rest, head) = narrow::<u32>(input)?;
    let Ok(core) = u16::try_from(head & !WITH_ROOT) else {
        return reject(input);
    };
    let (rest, root) = when(head & WITH_ROOT != 0, parse_root, rest)?;
    let (rest, address) = difference(base)(rest)?;
    Ok((rest, (CoreId(core), root, GuestVirtual(address))))
}

pub(crate) fn write_digest_request(
    address: GuestPhysical,
    len_bytes: u64,
    out: &mut Writer<'_>,
) -> Result<(), EncodeError> {
    out.size(address.0)?;
    out.size(len_bytes)
}

pub(crate) fn parse_digest_request(input: &[u8]) -> Parsed<'_, (GuestPhysical, u64)> {
    let (rest, address) = codec::size(input)?;
    let (rest, len_bytes) = codec::size(rest)?;
    Ok((rest, (GuestPhysical(address), len_bytes)))
}

/// What a reply may hold: something, not too much, and packed only if that made it shorter.
fn is_content(len_bytes: u32, packing: Option<Packing>, bytes: &[u8]) -> bool {
    let len_bytes = len_bytes as usize;
    let fits = match packing {
        None => bytes.len() == len_bytes,
        Some(Packing::Repeated) => bytes.len() == 1 && len_bytes > 1,
        Some(Packing::Model | Packing::Quick) => bytes.len() < len_bytes,
    };
    fits && !bytes.is_empty() && len_bytes <= limits::MEMORY_BYTES
}

/// Where the number of the packing stands, above a length.
const PACKING_SHIFT: u32 = 16;
const _: () = assert!(limits::MEMORY_BYTES << 1 < 1 << PACKING_SHIFT);

pub(crate) fn write_content(
    len_bytes: u32,
    packing: Option<Packing>,
    bytes: &[u8],
    out: &mut Writer<'_>,
) -> Result<(), EncodeError> {
    if !is_content(len_bytes, packing, bytes) {
        return Err(EncodeError::OverLimit);
    }
    let packed: u32 = match packing {
        None => 0,
        Some(Packing::Model) => 1,
        Some(Packing::Repeated) => 1 | 1 << PACKING_SHIFT,
        Some(Packing::Quick) => 1 | 2 << PACKING_SHIFT,
    };
    out.varint(len_bytes << 1 | packed)?;
    out.bytes(bytes)
}

/// The content takes the rest of the message.
pub(crate) fn parse_content(input: &[u8]) -> Parsed<'_, (u32, Option<Packing>, &'_ [u8])> {
    let (rest, head) = narrow::<u32>(input)?;
    let len_bytes = (head & ((1 << PACKING_SHIFT) - 1)) >> 1;
    let packing = match (head & 1, head >> PACKING_SHIFT) {
        (0, 0) => None,
        (1, 0) => Some(Packing::Model),
        (1, 1) => Some(Packing::Repeated),
        (1, 2) => Some(Packing::Quick),
        _ => return reject(input),
    };
    let (rest, bytes) = take(rest.len())(rest)?;
    if !is_content(len_bytes, packing, bytes) {
        return reject(input);
    }
    Ok((rest, (len_bytes, packing, bytes)))
}

pub(crate) fn write_physical(
    address: GuestPhysical,
    page_bytes: u64,
    out: &mut Writer<'_>,
) -> Result<(), EncodeError> {
    if !page_bytes.is_power_of_two() {
        return Err(EncodeError::OverLimit);
    }
    out.byte((page_bytes.trailing_zeros() & 0x3f) as u8)?;
    out.varint(address.0)
}

pub(crate) fn parse_physical(input: &[u8]) -> Parsed<'_, (GuestPhysical, u64)> {
    let (rest, page_bytes) = codec::one_of(|shift| 1u64.checked_shl(u32::from(shift)), input)?;
    let (rest, address) = codec::varint(rest)?;
    let address = GuestPhysical(address);
    Ok((rest, (address, page_bytes)))
}

pub(crate) fn write_digest(digest: u64, out: &mut Writer<'_>) -> Result<(), EncodeError> {
    out.bytes(&digest.to_le_bytes())
}

pub(crate) fn parse_digest(input: &[u8]) -> Parsed<'_, u64> {
    fixed_u64(input)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::packet::kind::{ReplyKind, RequestKind};
    use crate::packet::testing::{
        BASE, reply_body, reply_is_malformed, request_body, request_is_malformed, unencodable_reply,
    };
    use crate::packet::{Reply, Request};

    const AT: MemoryAt = MemoryAt::Virtual {
        core: CoreId(1),
        address: GuestVirtual(BASE.0 + 1),
    };
    const PHYSICAL_AT: MemoryAt = MemoryAt::Physical {
        address: GuestPhysical(5),
    };

    fn read(at: MemoryAt, expected: Option<Digest>) -> std::vec::Vec<u8> {
        request_body(Request::ReadMemory {
            at,
            len_bytes: 16,
            expected,
        })
    }

    fn content(len_bytes: u32, packing: Option<Packing>, bytes: &[u8]) -> Reply<'_> {
        Reply::Memory {
            len_bytes,
            packing,
            bytes,
        }
    }

    #[test]
    fn read_names_place_length_and_expectation() {
        assert_eq!(read(AT, None), [4, 2, 16]);
        let digest = Digest(u128::from_le_bytes([9; 16]));
        let body = read(AT, Some(digest));
        assert_eq!(body[..3], [6, 2, 16]);
        assert_eq!(body[3..], [9; 16]);
        assert_eq!(read(PHYSICAL_AT, None), [1, 5, 16]);
    }

    #[test]
    fn physical_place_of_a_core_is_rejected() {
        request_is_malformed(RequestKind::ReadMemory, &[5, 5, 16]);
    }

    #[test]
    fn expectation_that_is_cut_is_rejected() {
        request_is_malformed(RequestKind::ReadMemory, &[6, 2, 16, 1, 2, 3, 4]);
    }

    #[test]
    fn core_above_16_bits_is_rejected() {
        request_is_malformed(RequestKind::ReadMemory, &[0x80, 0x80, 0x10, 2, 16]);
    }

    #[test]
    fn written_bytes_take_the_rest_of_the_message() {
        let bytes = &[7, 8, 9];
        assert_eq!(
            request_body(Request::WriteMemory { at: AT, bytes }),
            [4, 2, 7, 8, 9]
        );
    }

    #[test]
    fn write_with_an_expectation_is_rejected() {
        request_is_malformed(RequestKind::WriteMemory, &[6, 2, 7, 8, 9]);
    }

    #[test]
    fn content_takes_the_rest_of_the_message() {
        assert_eq!(reply_body(content(2, None, &[7, 8])), [4, 7, 8]);
        let packed = |packing| reply_body(content(9, Some(packing), &[7, 8]));
        assert_eq!(packed(Packing::Model), [19, 7, 8]);
        assert_eq!(packed(Packing::Quick), [0x93, 0x80, 8, 7, 8]);
        let repeated = content(9, Some(Packing::Repeated), &[7]);
        assert_eq!(reply_body(repeated), [0x93, 0x80, 4, 7]);
        assert_eq!(reply_body(Reply::MemoryAsExpected), []);
    }

    #[test]
    fn content_of_another_length_is_rejected() {
        assert!(unencodable_reply(content(3, None, &[7, 8])).is_some());
        reply_is_malformed(ReplyKind::Memory, &[6, 7, 8]);
    }

    #[test]
    fn content_that_compression_made_longer_is_rejected() {
        assert!(unencodable_reply(content(2, Some(Packing::Model), &[7, 8])).is_some());
        reply_is_malformed(ReplyKind::Memory, &[5, 7, 8]);
    }

    #[test]
    fn content_of_a_packing_that_is_none_is_rejected() {
        // 9 bytes packed in a third other way, and not packed in one of them.
        reply_is_malformed(ReplyKind::Memory, &[0x93, 0x80, 0xc, 7, 8]);
        reply_is_malformed(ReplyKind::Memory, &[0x84, 0x80, 4, 7, 8]);
    }

    #[test]
    fn repetition_of_more_than_a_byte_or_of_one_is_rejected() {
        for (len_bytes, bytes) in [(9, &[7, 8][..]), (1, &[7])] {
            let reply = content(len_bytes, Some(Packing::Repeated), bytes);
            assert!(unencodable_reply(reply).is_some());
        }
        reply_is_malformed(ReplyKind::Memory, &[0x93, 0x80, 4, 7, 8]);
        reply_is_malformed(ReplyKind::Memory, &[0x83, 0x80, 4, 7]);
    }

    #[test]
    fn empty_content_is_rejected() {
        assert!(unencodable_reply(content(0, None, &[])).is_some());
        reply_is_malformed(ReplyKind::Memory, &[0]);
    }

    #[test]
    fn content_above_the_limit_is_rejected() {
        let len_bytes = limits::MEMORY_BYTES as u32 + 1;
        assert!(unencodable_reply(content(len_bytes, Some(Packing::Model), &[7])).is_some());
        reply_is_malformed(ReplyKind::Memory, &[0x83, 0x80, 2, 7]);
    }

    #[test]
    fn translation_has_address_and_page_size() {
        let body = reply_body(Reply::Physical {
            address: GuestPhysical(5),
            page_bytes: 4096,
        });
        assert_eq!(body, [12, 5]);
        let core = CoreId(1);
        let address = BASE;
        assert_eq!(
            request_body(Request::Translate {
                core,
                root: None,
                address
            }),
            [1, 0]
        );
    }

    #[test]
    fn page_size_that_is_no_power_of_two_is_rejected() {
        let error = unencodable_reply(Reply::Physical {
            address: GuestPhysical(5),
            page_bytes: 4097,
        });
        assert_eq!(error, Some(EncodeError::OverLimit));
        reply_is_malformed(ReplyKind::Physical, &[64, 5]);
    }

    #[test]
    fn digest_of_pages_is_short_to_ask_for() {
        let body = request_body(Request::DigestMemory {
            address: GuestPhysical(0x1000),
            len_bytes: 0x10_0000,
        });
        assert_eq!(body, [2, 0x80, 4]);
        assert_eq!(reply_body(Reply::Digest(1)), [1, 0, 0, 0, 0, 0, 0, 0]);
    }
}
