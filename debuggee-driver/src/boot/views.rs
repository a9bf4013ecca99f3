//! The EPT views that every guest starts with: what it reads, and that the driver's code and constants stay as they
//! are.
//!
//! Called by [`super::build`], in the kernel's context.

use super::{BootError, PAGE, Plan, carve};
use crate::ept::entry::{Entry, Permissions};
use crate::ept::mode::ModeViews;
use crate::ept::view::{HiddenChunks, MapRequest, Views};
use crate::hw::host_pages::ImagePage;
use crate::hw::launch;
use crate::hw::phys::DirectMap;
use crate::pool::arena::Arena;
use crate::port::{OwnedMemory, PhysicalMemory};
use crate::vmx::capability::ControlValues;
use wire_protocol::address::{Extent, GuestPhysical, PAGE_BYTES};

/// What the guest may do with a page of the driver's image; `None`: it is the kernel's own.
pub(super) fn allowed(page: &ImagePage) -> Option<Permissions> {
    match page.kind {
        ImagePage::CODE => Some(Permissions::READ | Permissions::EXECUTE),
        ImagePage::READ_ONLY => Some(Permissions::READ),
        _ => None,
    }
}

pub(super) fn build_views(
    plan: &Plan<'_>,
    controls: &ControlValues,
    arena: &mut Arena,
    memory: &mut DirectMap,
    zero_page: u64,
    sink_page: u64,
) -> Result<Views, BootError> {
    // SAFETY: CPL 0, as `build`'s caller promised; a processor with VMX has MTRRs.
    let mtrrs = unsafe { launch::read_mtrrs() };
    let hidden = HiddenChunks::new(arena.chunks());
    let request = MapRequest {
        limit: memory.limit(),
        mtrrs: &mtrrs,
        has_1gib_leaves: controls.ept_1gib_leaves,
        hidden: &hidden,
        zero_page,
        sink_page,
        has_view_switching: controls.view_switching,
    };
    let views = Views::build(&request, memory, arena)
        .map_err(|_| BootError::ArenaTooSmall("the EPT views"))?;
    let failed = |_| BootError::ArenaTooSmall("the protection of the driver's image");
    for page in plan.image {
        let Some(permissions) = allowed(page) else {
            continue;
        };
        views
            .hooked
            .protect(memory, page.physical, permissions, arena)
            .map_err(failed)?;
        views
            .clean
            .protect(
                memory,
                page.physical,
                Permissions::READ | Permissions::WRITE,
                arena,
            )
            .map_err(failed)?;
        let leaf = views.clean.walk(memory, page.physical);
        let sink = leaf.entry.0 & (PAGE_BYTES - 1) | sink_page;
        views.clean.set_leaf(memory, leaf.entry_phys, Entry(sink));
    }
    Ok(views)
}

/// The pages of the line's devices that are in memory, as the guest finds them: no device answers. What other devices have
/// there is out of its reach, too.
pub(super) fn hide_devices(
    views: &Views,
    devices: &OwnedMemory,
    arena: &mut Arena,
    memory: &mut DirectMap,
    sink_page: u64,
) -> Result<(), BootError> {
    const WHAT: &str = "the pages of the line's devices";
    if devices.iter().all(Extent::is_empty) {
        return Ok(());
    }
    let ones_page = carve(arena, PAGE, WHAT)?.start().0;
    for offset in (0..PAGE_BYTES).step_by(8) {
        memory.write_u64(ones_page + offset, u64::MAX);
    }
    for device in devices {
        for offset in (0..device.len_bytes()).step_by(PAGE as usize) {
            let page = GuestPhysical(device.start().0 + offset);
            views
                .make_absent(memory, arena, page, [ones_page, sink_page])
                .map_err(|_| BootError::ArenaTooSmall(WHAT))?;
        }
    }
    Ok(())
}

/// The views for one mode alone, if the processor can tell modes apart. The hooked view is complete.
pub(super) fn build_mode_views(
    controls: &ControlValues,
    views: &Views,
    arena: &mut Arena,
    memory: &mut DirectMap,
) -> Result<Option<ModeViews>, BootError> {
    if !controls.mode_based_execute {
        return Ok(None);
    }
    let built = ModeViews::build(&views.hooked, memory, arena);
    built
        .map(Some)
        .ok_or(BootError::ArenaTooSmall("the EPT views"))
}
