//! Guest memory.

use super::{Context, register};
use crate::event::Installed;
use crate::guest::memory;
use crate::guest::walk;
use crate::port::{Hidden, PhysicalMemory, Ports};
use crate::shared::Shared;
use wire_protocol::address::{CoreId, GuestPhysical, GuestVirtual, PAGE_BYTES};
use wire_protocol::digest::Digest;
use wire_protocol::limits;
use wire_protocol::pack::{self, Packing};
use wire_protocol::packet::{Features, MemoryAt, Reply};
use wire_protocol::refusal::Refusal;
use wire_protocol::register::Register;
use xxhash_rust::xxh64::Xxh64;

/// CR3 and CR4 of a held core, in which `address` is to be looked up.
fn space_of<P: Ports>(
    context: &mut Context<'_, '_, P>,
    core: CoreId,
    address: GuestVirtual,
) -> Result<(u64, u64), Refusal> {
    let (cr3, cr4) = address_space(context, core)?;
    let shared = context.shared;
    let layout = &shared.facts.layout;
    Ok((
        layout.kernel.tables_for(&shared.memory, cr3, cr4, address),
        cr4,
    ))
}

/// The page tables at `root`, of whatever process, and CR4 of the core that serves.
fn space_at<P: Ports>(
    context: &mut Context<'_, '_, P>,
    core: CoreId,
    root: GuestPhysical,
    address: GuestVirtual,
) -> Result<(u64, u64), Refusal> {
    let (_, cr4) = address_space(context, core)?;
    let shared = context.shared;
    let limit = shared.memory.limit();
    if root.0.checked_add(PAGE_BYTES).is_none_or(|end| end > limit) {
        return Err(Refusal::PhysicalOutOfRange {
            address: root,
            limit: GuestPhysical(limit),
        });
    }
    let layout = &shared.facts.layout;
    let tables = layout
        .kernel
        .tables_for(&shared.memory, root.0, cr4, address);
    Ok((tables, cr4))
}

/// CR3 and CR4 of a held core.
pub(super) fn address_space<P: Ports>(
    context: &mut Context<'_, '_, P>,
    core: CoreId,
) -> Result<(u64, u64), Refusal> {
    let file = register::file(context, core)?;
    Ok((file.get(Register::Cr3), file.get(Register::Cr4)))
}

fn check_length(asked: usize) -> Result<(), Refusal> {
    if asked > limits::MEMORY_BYTES {
        return Err(Refusal::TooLong {
            limit_bytes: limits::MEMORY_BYTES as u64,
            asked_bytes: asked as u64,
        });
    }
    Ok(())
}

/// Reads as much as is present.
///
/// # Errors
/// Nothing is present, or it is the debugger's own.
pub fn read<'s, P: Ports>(
    context: &mut Context<'_, '_, P>,
    at: MemoryAt,
    len_bytes: u32,
    expected: Option<Digest>,
    scratch: &'s mut [u8],
) -> Result<Reply<'s>, Refusal> {
    check_length(len_bytes as usize)?;
    if len_bytes == 0 {
        return Err(Refusal::ValueOutOfRange {
            value: 0,
            least: 1,
            most: limits::MEMORY_BYTES as u64,
        });
    }
    let (content, rest) = scratch.split_at_mut(scratch.len().min(limits::MEMORY_BYTES));
    let out = content.get_mut(..len_bytes as usize).unwrap_or(&mut []);
    let shared = context.shared;
    let present = match at {
        MemoryAt::Virtual { core, address } => {
            let (cr3, cr4) = space_of(context, core, address)?;
            context.halt.read(|installed| {
                memory::read_virtual(&shared.memory, installed, cr3, cr4, address, out)
            })?
        }
        MemoryAt::Tables { root, address } => {
            let owner = context.halt.owner();
            let (cr3, cr4) = space_at(context, owner, root, address)?;
            context.halt.read(|installed| {
                memory::read_virtual(&shared.memory, installed, cr3, cr4, address, out)
            })?
        }
        MemoryAt::Physical { address } => context
            .halt
            .read(|installed| memory::read_physical(&shared.memory, installed, address, out))?,
    };
    let bytes = content.get(..present).unwrap_or(&[]);
    if present == len_bytes as usize
        && let (Some(expected), Some(key)) = (expected, shared.digest_key())
        && expected == key.digest(bytes)
    {
        return Ok(Reply::MemoryAsExpected);
    }
    let packed = if bytes.len() < PACKED_FROM_BYTES {
        None
    } else if shared.host_can(Features::QUICK_MEMORY) {
        quicker(bytes, rest)
    } else if shared.host_can(Features::COMPRESSED_MEMORY) {
        shorter(bytes, rest)
    } else {
        None
    };
    Ok(Reply::Memory {
        len_bytes: present as u32,
        packing: packed.map(|(packing, _)| packing),
        bytes: packed.map_or(bytes, |(_, packed)| packed),
    })
}

/// Less than this is sent as it is: what packing would gain, the answer's frame has anyway.
const PACKED_FROM_BYTES: usize = 64;

/// Content that was packed, and how.
type Packed<'s> = (Packing, &'s [u8]);

/// `bytes` packed as short as can be, if that makes them shorter; `room` is for that and the work it takes.
fn shorter<'s>(bytes: &[u8], room: &'s mut [u8]) -> Option<Packed<'s>> {
    let (work, out) = room.split_at_mut_checked(pack::WORK_BYTES)?;
    let len = pack::pack(bytes, work, out.get_mut(..bytes.len() - 1)?)?;
    Some((Packing::Model, out.get(..len)?))
}

/// Asking for more than this is asking for much, of which others are under way: there the processor is what takes the time, and
/// packing takes more of it than the bytes that are saved.
const QUICK_UP_TO_BYTES: usize = PAGE_BYTES as usize;

/// `bytes` packed as it is worth on a fast line, if that makes them shorter; `room` is for that.
fn quicker<'s>(bytes: &'s [u8], room: &'s mut [u8]) -> Option<Packed<'s>> {
    if let Some(byte) = pack::repeated(bytes) {
        return Some((Packing::Repeated, byte));
    }
    if bytes.len() > QUICK_UP_TO_BYTES {
        return None;
    }
    let len = pack::quick::pack(bytes, room.get_mut(..bytes.len() - 1)?)?;
    Some((Packing::Quick, room.get(..len)?))
}

/// What may not be written: the arena, and the driver's code as well, which may be read.
struct Guarded<'a, P: Ports>(&'a Shared<P>, &'a Installed);

impl<P: Ports> Hidden for Guarded<'_, P> {
    fn hides(&self, page: GuestPhysical) -> bool {
        self.0.is_guarded(self.1, page)
    }
}

/// Writes all or nothing. Shadows of hooked pages follow.
///
/// # Errors
/// Some of it is not present, or is the debugger's own.
pub fn write<'s, P: Ports>(
    context: &mut Context<'_, '_, P>,
    at: MemoryAt,
    bytes: &[u8],
) -> Result<Reply<'s>, Refusal> {
    check_length(bytes.len())?;
    let shared = context.shared;
    let physical = &mut shared.memory.clone();
    let by = context.writer();
    let space = match at {
        MemoryAt::Physical { address } => {
            context.halt.read(|installed| {
                let guarded = &Guarded(shared, installed);
                let refresh = |page| shared.refresh_shadow(installed, page, by);
                memory::write_physical(physical, guarded, address, bytes, refresh)
            })?;
            return Ok(Reply::Done);
        }
        MemoryAt::Virtual { core, address } => (space_of(context, core, address)?, address),
        MemoryAt::Tables { root, address } => {
            let owner = context.halt.owner();
            (space_at(context, owner, root, address)?, address)
        }
    };
    let ((cr3, cr4), address) = space;
    context.halt.read(|installed| {
        let guarded = &Guarded(shared, installed);
        let refresh = |page| shared.refresh_shadow(installed, page, by);
        memory::write_virtual(physical, guarded, cr3, cr4, address, bytes, refresh)
    })?;
    Ok(Reply::Done)
}

/// Where a linear address is in memory.
///
/// # Errors
/// It is not present.
pub fn translate<'s, P: Ports>(
    context: &mut Context<'_, '_, P>,
    core: CoreId,
    root: Option<GuestPhysical>,
    address: GuestVirtual,
) -> Result<Reply<'s>, Refusal> {
    let (cr3, cr4) = match root {
        Some(root) => space_at(context, core, root, address)?,
        None => space_of(context, core, address)?,
    };
    let found = walk::translate(&context.shared.memory, cr3, cr4, address).map_err(|missing| {
        Refusal::NotPresent {
            address: missing.address,
        }
    })?;
    Ok(Reply::Physical {
        address: found.address,
        page_bytes: found.page_bytes,
    })
}

/// Digest of physical memory, the debugger's own memory counted as zeroes.
///
/// # Errors
/// The range is not made of whole pages, too long, or beyond memory.
pub fn digest<'s, P: Ports>(
    context: &mut Context<'_, '_, P>,
    address: GuestPhysical,
    len_bytes: u64,
) -> Result<Reply<'s>, Refusal> {
    if len_bytes > limits::DIGEST_BYTES {
        return Err(Refusal::TooLong {
            limit_bytes: limits::DIGEST_BYTES,
            asked_bytes: len_bytes,
        });
    }
    if address.offset() != 0 || !len_bytes.is_multiple_of(PAGE_BYTES) {
        return Err(Refusal::NotWholePages { address, len_bytes });
    }
    let shared = context.shared;
    let limit = GuestPhysical(shared.memory.limit());
    if address
        .0
        .checked_add(len_bytes)
        .is_none_or(|end| end > limit.0)
    {
        return Err(Refusal::PhysicalOutOfRange { address, limit });
    }
    let mut hasher = Xxh64::new(0);
    let mut page = [0; PAGE_BYTES as usize];
    for offset in (0..len_bytes).step_by(PAGE_BYTES as usize) {
        let at = GuestPhysical(address.0 + offset);
        if context.halt.read(|installed| installed.hides(at)) {
            page.fill(0);
        } else {
            shared.memory.read(at.0, &mut page);
        }
        hasher.update(&page);
    }
    Ok(Reply::Digest(hasher.digest()))
}

#[cfg(test)]
mod tests {
    extern crate std;

    use super::*;
    use std::vec;
    use std::vec::Vec;

    /// Room as the driver has it.
    const ROOM_BYTES: usize = limits::MEMORY_BYTES + pack::WORK_BYTES;

    /// What compilers make of the beginning of a function, over and over.
    fn code(len: usize) -> Vec<u8> {
        const BEGINNING: [u8; 16] = [
            0x0f, 0x1f, 0x44, 0x00, 0x00, 0x55, 0x48, 0x89, 0xe5, 0x53, 0x48, 0x89, 0xfb, 0x48,
            0x8b, 0x07,
        ];
        BEGINNING.iter().copied().cycle().take(len).collect()
    }

    #[test]
    fn page_of_code_is_packed_quickly_on_a_network() {
        let code = code(PAGE_BYTES as usize);
        let room = &mut vec![0; ROOM_BYTES];
        let (packing, packed) = quicker(&code, room).unwrap();
        assert_eq!(packing, Packing::Quick);
        assert!(packed.len() < 2000, "{}", packed.len());
        let mut content = vec![0; code.len()];
        assert!(packing.unpack(packed, &mut [], &mut content));
        assert_eq!(content, code);
    }

    #[test]
    fn more_than_a_page_of_code_goes_as_it_is_on_a_network() {
        let room = &mut vec![0; ROOM_BYTES];
        assert_eq!(quicker(&code(PAGE_BYTES as usize + 1), room), None);
    }

    #[test]
    fn one_byte_over_and_over_goes_as_that_byte() {
        let room = &mut vec![0; ROOM_BYTES];
        let zeroes = [0; limits::MEMORY_BYTES];
        let packed = quicker(&zeroes, room);
        assert_eq!(packed, Some((Packing::Repeated, &[0][..])));
    }

    #[test]
    fn page_of_code_is_packed_shorter_on_a_slow_line() {
        let code = code(PAGE_BYTES as usize);
        let mut room = vec![0; ROOM_BYTES];
        let (packing, packed) = shorter(&code, &mut room).unwrap();
        assert_eq!(packing, Packing::Model);
        assert!(packed.len() < 200, "{}", packed.len());
    }
}
