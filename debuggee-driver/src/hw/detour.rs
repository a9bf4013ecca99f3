//! Detours as the hardware sees them: the stub's data, its frame, and the calls from there.
//!
//! The stub (`detour.S`) runs as the guest. It changes to the trampoline view, in which the debugger's own
//! memory is there and nothing but the driver's code can be executed, to the host's page tables
//! and to a stack of the debugger's. So what it calls works as in VMX-root, on the same
//! data, but for VMX instructions. Interrupts are off; NMIs exit, and are deferred until
//! the core is out again.

use super::instructions as ins;
use super::phys::DirectMap;
use crate::event::detour::{PAGES, SLOT_BYTES, SLOTS, Site, ViewList};
use crate::exit::hypercall;
use crate::hit::detour::{FRAME_WORDS, Frame};
use crate::port::{GuestCpu, PhysicalMemory};
use core::arch::global_asm;
use core::mem::offset_of;
use wire_protocol::address::{Extent, GuestVirtual, PAGE_BYTES};
use wire_protocol::limits;

/// Bytes of a core's stack.
pub const STACK_BYTES: u32 = 32 * 1024;

/// Pages of data and places in the driver's image.
pub const IMAGE_PAGES: usize = 1 + PAGES;

/// The frame with what aligns the stack below it.
const FRAME_BYTES: usize = size_of::<Frame>().next_multiple_of(16);

/// What the stub knows.
#[repr(C)]
pub struct Data {
    /// End of each core's stack.
    pub stacks: [u64; limits::CORES],
    /// Root of the host's page tables.
    pub host_cr3: u64,
    /// The hypervisor (`boot` knows its type).
    pub hypervisor: u64,
    /// Segment whose limit tells a core its number.
    pub core_selector: u64,
    /// Cores that VMX-root wants to see as soon as they are out: not 0.
    pub deferred: [u8; limits::CORES],
}

const _: () = assert!(size_of::<Data>() <= PAGE_BYTES as usize);

global_asm!(
    include_str!("detour.S"),
    SLOTS_BYTES = const SLOTS as u64 * SLOT_BYTES,
    CORE_SELECTOR = const offset_of!(Data, core_selector),
    STACKS = const offset_of!(Data, stacks),
    HOST_CR3 = const offset_of!(Data, host_cr3),
    HYPERVISOR = const offset_of!(Data, hypervisor),
    OWED = const offset_of!(Data, deferred),
    FRAME_BYTES = const FRAME_BYTES,
    FRAME_WORDS = const FRAME_WORDS,
    MAGIC = const hypercall::MAGIC,
    FINISH = const hypercall::FINISH_DETOUR,
);

unsafe extern "C" {
    static standstill_detour_data: u8;
    static standstill_detour_slots: u8;
    fn standstill_detour();
    static standstill_detour_end: u8;
}

/// Linear address of the first of [`IMAGE_PAGES`].
#[must_use]
pub fn first_page() -> u64 {
    &raw const standstill_detour_data as u64
}

/// Where detours lead. `pages` are the ones that stand for the places; the list at `list` is to have `views`.
#[must_use]
pub fn site(pages: [u64; PAGES], lists: [ViewList; 2]) -> Site {
    Site {
        linear: GuestVirtual(&raw const standstill_detour_slots as u64),
        stub: GuestVirtual(standstill_detour as *const () as u64),
        pages,
        lists,
    }
}

/// The stub, and the places.
#[must_use]
pub fn stub() -> [Extent<GuestVirtual>; 2] {
    let stub = standstill_detour as *const () as u64;
    let stub_bytes = (&raw const standstill_detour_end as u64).wrapping_sub(stub);
    let places = &raw const standstill_detour_slots as u64;
    [(stub, stub_bytes), (places, SLOTS as u64 * SLOT_BYTES)]
        .map(|(start, len_bytes)| Extent::new(GuestVirtual(start), len_bytes).unwrap_or_default())
}

/// Writes what the stub knows to the page that stands for it.
pub fn write_data(memory: &mut DirectMap, page: u64, data: &Data) {
    for (at, stack) in (page..).step_by(8).zip(data.stacks) {
        memory.write_u64(at, stack);
    }
    for (offset, value) in [
        (offset_of!(Data, host_cr3), data.host_cr3),
        (offset_of!(Data, hypervisor), data.hypervisor),
        (offset_of!(Data, core_selector), data.core_selector),
    ] {
        memory.write_u64(page + offset as u64, value);
    }
    memory.write(page + offset_of!(Data, deferred) as u64, &data.deferred);
}

/// Physical address of the bytes of [`Data::deferred`].
#[must_use]
pub const fn deferred(page: u64) -> u64 {
    page + offset_of!(Data, deferred) as u64
}

/// A core that is a guest, for itself.
pub struct Inside;

impl GuestCpu for Inside {
    fn tsc(&self) -> u64 {
        // SAFETY: in the driver's code inside a detour, hence at CPL 0; VMX-root may carry it out.
        unsafe { x86::time::rdtsc() }
    }

    fn cr4(&self) -> u64 {
        // SAFETY: in the driver's code inside a detour, hence at CPL 0 in 64-bit mode.
        unsafe { ins::cr4() }
    }

    fn call(&self, number: u64, argument: u64, value: u64) -> u64 {
        let answer;
        // SAFETY: on a core that runs as a guest, in the driver's code; the call changes no memory.
        unsafe {
            core::arch::asm!(
                "vmcall",
                inout("rax") hypercall::MAGIC => answer,
                in("rcx") number,
                in("rdx") argument,
                in("rsi") value,
            );
        }
        answer
    }
}
