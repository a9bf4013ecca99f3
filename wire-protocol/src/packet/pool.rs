//! Pre-allocated objects: carving more of them, and counting them. Requests are made by the host
//! and answered by the driver while the debuggee is halted.

use crate::codec::{self, EncodeError, Parsed, Writer, narrow, one_of, reject, when};
use crate::event::{PoolClass, PoolLine};
use crate::packet::list::{Item, List};

/// One line per pool class, still encoded.
pub type PoolLines<'a> = List<'a, PoolLine>;

impl<'a> Item<'a> for PoolLine {
    const LIMIT: usize = PoolClass::ALL.len();

    fn parse(input: &'a [u8], _: &mut u64) -> Parsed<'a, Self> {
        let (rest, class) = one_of(PoolClass::from_wire, input)?;
        let (rest, object_bytes) = narrow(rest)?;
        let (rest, reserved) = narrow(rest)?;
        let (rest, in_use) = narrow(rest)?;
        Ok((
            rest,
            Self {
                class,
                object_bytes,
                reserved,
                in_use,
            },
        ))
    }

    fn write(&self, out: &mut Writer<'_>, _: &mut u64) -> Result<(), EncodeError> {
        out.byte(self.class.to_wire())?;
        out.varint(self.object_bytes)?;
        out.varint(self.reserved)?;
        out.varint(self.in_use)
    }
}

pub(crate) fn write_prealloc(
    class: PoolClass,
    count: u32,
    out: &mut Writer<'_>,
) -> Result<(), EncodeError> {
    out.byte(class.to_wire())?;
    out.varint(count)
}

pub(crate) fn parse_prealloc(input: &[u8]) -> Parsed<'_, (PoolClass, u32)> {
    let (rest, class) = one_of(PoolClass::from_wire, input)?;
    let (rest, count) = narrow(rest)?;
    Ok((rest, (class, count)))
}

/// The queue takes no byte when it is empty.
pub(crate) fn write_carved(
    ready: u32,
    queued: u32,
    free: u32,
    arena_left_bytes: u64,
    out: &mut Writer<'_>,
) -> Result<(), EncodeError> {
    out.varint(u64::from(ready) << 1 | u64::from(queued != 0))?;
    if queued != 0 {
        out.varint(queued)?;
    }
    out.varint(free)?;
    out.size(arena_left_bytes)
}

pub(crate) fn parse_carved(input: &[u8]) -> Parsed<'_, (u32, u32, u32, u64)> {
    let (rest, head) = codec::varint(input)?;
    let Ok(ready) = u32::try_from(head >> 1) else {
        return reject(input);
    };
    let (rest, queued) = when(head & 1 != 0, narrow, rest)?;
    if queued == Some(0) {
        return reject(input);
    }
    let queued = queued.unwrap_or_default();
    let (rest, free) = narrow(rest)?;
    let (rest, arena_left_bytes) = codec::size(rest)?;
    Ok((rest, (ready, queued, free, arena_left_bytes)))
}

pub(crate) fn write_pools(
    lines: &PoolLines<'_>,
    arena_carved_bytes: u64,
    arena_left_bytes: u64,
    out: &mut Writer<'_>,
) -> Result<(), EncodeError> {
    lines.write(0, out)?;
    out.size(arena_carved_bytes)?;
    out.size(arena_left_bytes)
}

pub(crate) fn parse_pools(input: &[u8]) -> Parsed<'_, (PoolLines<'_>, u64, u64)> {
    let (rest, lines) = PoolLines::parse(0)(input)?;
    let (rest, arena_carved_bytes) = codec::size(rest)?;
    let (rest, arena_left_bytes) = codec::size(rest)?;
    Ok((rest, (lines, arena_carved_bytes, arena_left_bytes)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::packet::kind::{ReplyKind, RequestKind};
    use crate::packet::testing::{
        BASE, reply_body, reply_is_malformed, request_body, request_is_malformed,
    };
    use crate::packet::{Reply, Request};

    fn carved(ready: u32, queued: u32) -> std::vec::Vec<u8> {
        reply_body(Reply::Carved {
            ready,
            queued,
            free: 9,
            arena_left_bytes: 0x3000,
        })
    }

    #[test]
    fn prealloc_names_class_and_count() {
        let class = PoolClass::EptHook;
        let count = 50;
        assert_eq!(request_body(Request::Prealloc { class, count }), [4, 50]);
        assert_eq!(carved(50, 0), [100, 9, 6]);
        assert_eq!(carved(49, 1), [99, 1, 9, 6]);
        carved(u32::MAX, u32::MAX);
    }

    #[test]
    fn unknown_class_is_rejected() {
        request_is_malformed(RequestKind::Prealloc, &[8, 50]);
    }

    #[test]
    fn announced_but_empty_queue_is_rejected() {
        reply_is_malformed(ReplyKind::Carved, &[99, 0, 9, 6]);
    }

    #[test]
    fn count_above_32_bits_is_rejected() {
        reply_is_malformed(ReplyKind::Carved, &[0x80, 0x80, 0x80, 0x80, 0x20, 9, 6]);
    }

    #[test]
    fn pools_have_a_line_per_class() {
        let line = |class| PoolLine {
            class,
            object_bytes: 128,
            reserved: 60,
            in_use: 3,
        };
        let mut scratch = [0; 64];
        let lines = PoolClass::ALL.map(line);
        let lines = PoolLines::encode_into(lines, BASE, &mut scratch).unwrap();
        let body = reply_body(Reply::Pools {
            lines,
            arena_carved_bytes: 0x1000,
            arena_left_bytes: 0x2000,
        });
        assert_eq!(body.len(), 1 + 8 * 5 + 2);
        assert_eq!(request_body(Request::Pools), []);
    }

    #[test]
    fn more_lines_than_classes_are_rejected() {
        let mut body = [0; 1 + 9 * 4 + 2];
        body[0] = 9;
        reply_is_malformed(ReplyKind::Pools, &body);
    }
}
