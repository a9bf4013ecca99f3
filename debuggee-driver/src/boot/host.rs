//! The page tables that VMX-root runs on, and the pages in which machine code of events runs.
//!
//! Called by [`super::build`], in the kernel's context.

use super::{BootError, PAGE, Plan, RING_BYTES_MAX, carve};
use crate::hw::code::{self, CodePlace};
use crate::hw::host_pages::{HostPages, ImagePage};
use crate::hw::launch;
use crate::hw::percore;
use crate::hw::phys::DirectMap;
use crate::pool::arena::Arena;
use crate::port::PhysicalMemory;
use wire_protocol::address::{Extent, GuestPhysical, PAGE_BYTES};
use wire_protocol::limits;

/// Pages and a stack for machine code, for every core. What an event holds at most finds room.
pub(super) fn build_codes(
    plan: &Plan<'_>,
    arena: &mut Arena,
    memory: &DirectMap,
) -> Result<[CodePlace; limits::CORES], BootError> {
    const WHAT: &str = "machine code";
    let sizes = plan.constants.design().sizes;
    let len_bytes = sizes
        .big_action_bytes
        .max(sizes.big_condition_bytes)
        .clamp(PAGE, RING_BYTES_MAX as u32)
        .next_multiple_of(PAGE);
    let mut codes = [CodePlace::default(); limits::CORES];
    for (number, code) in (0..u64::from(plan.facts.core_count)).zip(codes.iter_mut()) {
        let stack = carve(arena, percore::CODE_STACK_BYTES, WHAT)?;
        *code = CodePlace {
            physical: carve(arena, len_bytes, WHAT)?.start().0,
            len_bytes,
            linear: code::window(number),
            stack_top: memory.address_of(stack.start().0) + stack.len_bytes(),
        };
    }
    Ok(codes)
}

/// Registers in memory, and where the kernel maps them.
pub(super) struct DevicePages {
    pub(super) physical: Extent<GuestPhysical>,
    pub(super) linear: u64,
}

pub(super) fn build_host_pages(
    plan: &Plan<'_>,
    codes: &[CodePlace],
    devices: &[Option<DevicePages>],
    arena: &mut Arena,
    memory: &mut DirectMap,
) -> Result<u64, BootError> {
    let failed = |_| BootError::ArenaTooSmall("the host's page tables");
    let (base, limit) = (memory.address_of(0), memory.limit());
    let mut pages = HostPages::new(memory, arena).map_err(failed)?;
    pages
        .map_physical(base, limit, launch::has_1gib_pages())
        .map_err(failed)?;
    for page in plan.image {
        pages.map_image(page).map_err(failed)?;
    }
    for device in devices.iter().flatten() {
        for offset in (0..device.physical.len_bytes()).step_by(PAGE as usize) {
            let page = ImagePage {
                linear: (device.linear & !(PAGE_BYTES - 1)) + offset,
                physical: device.physical.start().0 + offset,
                kind: ImagePage::DEVICE,
            };
            pages.map_image(&page).map_err(failed)?;
        }
    }
    for code in codes {
        for offset in (0..u64::from(code.len_bytes)).step_by(PAGE as usize) {
            let page = ImagePage {
                linear: code.linear + offset,
                physical: code.physical + offset,
                kind: ImagePage::CODE,
            };
            pages.map_image(&page).map_err(failed)?;
        }
    }
    Ok(pages.root())
}
