//! What cores and line keep in the arena: frames and lists, message rings, workspaces and variables of scripts.
//!
//! Called by [`super::build`], in the kernel's context.

use super::ways::WaysHere;
use super::{BootError, LISTS_BYTES, Plan, RING_BYTES_MAX, carve};
use crate::hw::launch;
use crate::hw::phys::DirectMap;
use crate::line::{Buffers, Line};
use crate::messages::Rings;
use crate::pool::arena::Arena;
use crate::shared::{Local, Variables};
use wire_protocol::address::CoreId;
use wire_protocol::bytecode::GLOBAL_BYTES;
use wire_protocol::limits;
use wire_protocol::link::Storage;
use wire_protocol::script::Workspace;

pub(super) fn build_line(
    ways: WaysHere,
    arena: &mut Arena,
    memory: &DirectMap,
) -> Result<Line<WaysHere>, BootError> {
    const WHAT: &str = "the line's buffers";
    let storage = carve(arena, Storage::BYTES as u32, WHAT)?;
    let message = carve(arena, limits::MESSAGE_BYTES as u32, WHAT)?;
    let lists = carve(arena, LISTS_BYTES, WHAT)?;
    // SAFETY: `storage` was carved here, for this alone; nothing else names it.
    let storage = unsafe { launch::bytes(memory, &storage) };
    // SAFETY: `message` was carved here, for this alone; nothing else names it.
    let message = unsafe { launch::bytes(memory, &message) };
    let message = message.first_chunk_mut();
    let buffers = Buffers {
        message: message.ok_or(BootError::ArenaTooSmall(WHAT))?,
        // SAFETY: `lists` was carved here, for this alone; nothing else names it.
        lists: unsafe { launch::bytes(memory, &lists) },
    };
    let storage = Storage::carve(storage).ok_or(BootError::ArenaTooSmall(WHAT))?;
    Ok(Line::new(ways, storage, buffers))
}

pub(super) fn build_messages(
    plan: &Plan<'_>,
    arena: &mut Arena,
    memory: &DirectMap,
) -> Result<Rings, BootError> {
    let len_bytes = plan.constants.message_ring_bytes.min(RING_BYTES_MAX) as u32;
    let mut rings = Rings::default();
    for number in 0..plan.facts.core_count {
        let block = carve(arena, len_bytes, "the messages")?;
        // SAFETY: carved here, for this alone, in whole pages that start at one.
        rings.place(CoreId(number), unsafe { launch::words(memory, &block) });
    }
    Ok(rings)
}

pub(super) fn build_locals(
    plan: &Plan<'_>,
    arena: &mut Arena,
    memory: &DirectMap,
) -> Result<[Local; limits::CORES], BootError> {
    let mut locals = [const { Local::NONE }; limits::CORES];
    for (_, local) in (0..plan.facts.core_count).zip(&mut locals) {
        let block = carve(arena, size_of::<Workspace>() as u32, "running scripts")?;
        // SAFETY: carved here, for this alone, page-aligned and of the size of a workspace.
        local.workspace = Some(unsafe { launch::place(memory, &block, Workspace::new()) });
    }
    Ok(locals)
}

pub(super) fn build_variables(
    arena: &mut Arena,
    memory: &DirectMap,
) -> Result<&'static Variables, BootError> {
    const WHAT: &str = "the variables of scripts";
    let block = carve(arena, GLOBAL_BYTES as u32, WHAT)?;
    // SAFETY: carved here, for this alone, in whole pages that start at one.
    let words = unsafe { launch::words(memory, &block) };
    words.first_chunk().ok_or(BootError::ArenaTooSmall(WHAT))
}
