//! Questions that were asked in other pieces: what a host asks for depends on what it knows already,
//! so whoever types other commands asks for other registers at once, and for other stretches of
//! memory. Called by [`super::Recorded`].

use super::timeline::Exchange;
use crate::unpacked::unpacked;
use std::collections::BTreeMap;
use wire_protocol::address::GuestVirtual;
use wire_protocol::codec::Writer;
use wire_protocol::limits;
use wire_protocol::packet::{MemoryAt, Message, RegisterValues, Reply, Request};

/// A reply made of those to other questions, if they have all of it.
pub(super) fn answer(
    request: &Request<'_>,
    id: u8,
    base: GuestVirtual,
    exchanges: &[Exchange<'_>],
) -> Option<Vec<u8>> {
    match *request {
        Request::ReadRegisters { core, set } => {
            let mut known = BTreeMap::new();
            // The first ones are the last that were asked.
            for (asked, reply) in exchanges.iter().rev() {
                if let (Request::ReadRegisters { core: of, .. }, Reply::Registers { set, values }) =
                    (asked, reply)
                    && *of == core
                {
                    known.extend(set.iter().zip(values.iter()));
                }
            }
            let values: Option<Vec<u64>> = set.iter().map(|it| known.get(&it).copied()).collect();
            let mut scratch = [0; 1024];
            let values = RegisterValues::encode_into(values?, &mut scratch).ok()?;
            encoded(id, Reply::Registers { set, values }, base)
        }
        Request::ReadMemory { at, len_bytes, .. } => {
            let bytes = memory(at, len_bytes as usize, exchanges)?;
            let reply = Reply::Memory {
                len_bytes,
                packing: None,
                bytes: &bytes,
            };
            encoded(id, reply, base)
        }
        _ => None,
    }
}

fn encoded(id: u8, reply: Reply<'_>, base: GuestVirtual) -> Option<Vec<u8>> {
    let mut buffer = vec![0; limits::MESSAGE_BYTES];
    let mut out = Writer::new(&mut buffer);
    Message::Reply { id, reply }.encode(base, &mut out).ok()?;
    Some(out.written().to_vec())
}

/// Whose memory it is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Seen {
    By(u16),
    Through(u64),
    AsItIs,
}

/// Where a place is, and what it is compared by with others.
fn split(at: MemoryAt) -> (Seen, u64) {
    match at {
        MemoryAt::Virtual { core, address } => (Seen::By(core.0), address.0),
        MemoryAt::Tables { root, address } => (Seen::Through(root.0), address.0),
        MemoryAt::Physical { address } => (Seen::AsItIs, address.0),
    }
}

/// All bytes from there on, if each was read.
fn memory(at: MemoryAt, len: usize, exchanges: &[Exchange<'_>]) -> Option<Vec<u8>> {
    let (space, from) = split(at);
    let mut bytes: Vec<Option<u8>> = vec![None; len];
    for (asked, reply) in exchanges.iter().rev() {
        let (
            Request::ReadMemory { at, .. },
            Reply::Memory {
                len_bytes,
                packing,
                bytes: content,
            },
        ) = (asked, reply)
        else {
            continue;
        };
        let (of, start) = split(*at);
        if of != space {
            continue;
        }
        let content = unpacked(*packing, *len_bytes as usize, content)?;
        for (offset, byte) in content.iter().enumerate() {
            let place = start.wrapping_add(offset as u64).wrapping_sub(from);
            let place = usize::try_from(place).ok();
            if let Some(known) = place.and_then(|place| bytes.get_mut(place)) {
                *known = Some(*byte);
            }
        }
    }
    bytes.into_iter().collect()
}
