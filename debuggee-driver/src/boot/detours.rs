//! What detours run in, and the way from the stub's code to what serves them.
//!
//! Built for [`super::build`] in the kernel's context; [`detour_hit`] runs in guest mode.

use super::views::allowed;
use super::{BootError, Hypervisor, PAGE, Plan, carve};
use crate::ept::entry::{Entry, Level, MemoryType, Permissions};
use crate::ept::view::Views;
use crate::event::detour as event_detour;
use crate::hit::detour as hit_detour;
use crate::hw::detour;
use crate::hw::phys::DirectMap;
use crate::pool::arena::Arena;
use crate::run::Runner;
use crate::shared::TrampolineView;
use wire_protocol::address::CoreId;
use wire_protocol::limits;

/// What detours need, if the processor can carry them.
pub(super) struct DetourPages {
    pub(super) trampoline: TrampolineView,
    /// Stands for the page of the stub's data.
    pub(super) data: u64,
    /// Stand for the pages of the places.
    pub(super) places: [u64; event_detour::PAGES],
    pub(super) stacks: [u64; limits::CORES],
}

/// The trampoline view, in which only the driver's code can be executed, and the pages of the arena that stand for
/// the stub's data and places.
pub(super) fn build_detours(
    plan: &Plan<'_>,
    views: &Views,
    arena: &mut Arena,
    memory: &mut DirectMap,
) -> Result<Option<DetourPages>, BootError> {
    const WHAT: &str = "detours";
    let Some(trampoline) = views.trampoline else {
        return Ok(None);
    };
    let failed = |_| BootError::ArenaTooSmall(WHAT);
    let leaf =
        |page, permissions| Entry::leaf(page, Level::Page4K, MemoryType::WriteBack, permissions);
    for page in plan.image {
        let Some(permissions) = allowed(page) else {
            continue;
        };
        let leaf = leaf(page.physical, permissions);
        trampoline
            .replace(memory, page.physical, leaf, arena)
            .map_err(failed)?;
    }
    let read_execute = Permissions::READ | Permissions::EXECUTE;
    let mut standing = [0; detour::IMAGE_PAGES];
    for (linear, page) in (detour::first_page()..)
        .step_by(PAGE as usize)
        .zip(&mut standing)
    {
        *page = carve(arena, PAGE, WHAT)?.start().0;
        let mut image = plan.image.iter();
        let own = image.find(|own| own.linear == linear);
        let own = own.ok_or(BootError::ArenaTooSmall(WHAT))?.physical;
        for view in [&views.hooked, &trampoline] {
            view.replace(memory, own, leaf(*page, read_execute), arena)
                .map_err(failed)?;
        }
    }
    let lists = [
        carve(arena, PAGE, WHAT)?.start().0,
        carve(arena, PAGE, WHAT)?.start().0,
    ];
    let mut stacks = [0; limits::CORES];
    for (_, stack) in (0..plan.facts.core_count).zip(&mut stacks) {
        let block = carve(arena, detour::STACK_BYTES, WHAT)?;
        *stack = memory.address_of(block.start().0) + block.len_bytes();
    }
    let [data, places @ ..] = standing;
    Ok(Some(DetourPages {
        trampoline: TrampolineView {
            eptp: trampoline.eptp(),
            lists,
            deferred: detour::deferred(data),
            stub: detour::stub(),
        },
        data,
        places,
        stacks,
    }))
}

/// Serves a hit of a detour, in guest mode: what the stub is to pass on, or 0.
///
/// # Safety
/// Called by the stub with what it knows of `hypervisor`, on the core `number` inside.
pub(super) unsafe fn detour_hit(
    frame: &mut hit_detour::Frame,
    core: u16,
    number: u64,
    cr3: u64,
    hypervisor: u64,
) -> u64 {
    // SAFETY: the stub's data name the hypervisor, which is never dropped.
    let hypervisor = unsafe { &*(hypervisor as *const Hypervisor) };
    let shared = &hypervisor.shared;
    let core = CoreId(core);
    // SAFETY: the core's seat is in VMX-root, where an exit from inside a detour is only noted, or a
    // register read or written: see `exit::detour`.
    let Some(parts) = (unsafe { shared.rendezvous.beside(core) }) else {
        return 0;
    };
    let runner = Runner::new(core, parts);
    hit_detour::hit(runner, frame, number, cr3, &detour::Inside, shared)
        .map_or(0, hit_detour::StubRequest::encode)
}
