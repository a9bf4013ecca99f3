//! One core: its pages, its start, and the loop that it runs in VMX-root from then on.
//!
//! Built for [`super::build`]; [`start_core`] is called by the platform package, the rest by [`super::entries`].

use super::{BootError, Hypervisor, PAGE, carve};
use crate::cores::roster::Presence;
use crate::ept::step_view::{self, StepView};
use crate::exit::{self, Core, Death, Fault, Flow};
use crate::halt;
use crate::hw::launch::{self, Hardware};
use crate::hw::percore::{self, PerCore};
use crate::hw::phys::DirectMap;
use crate::hw::vmx_cpu::{NotEntered, VmcsPlan, VmxCpu};
use crate::pool::arena::Arena;
use crate::port::{Cpu, PhysicalMemory};
use core::sync::atomic::{AtomicU64, Ordering::SeqCst};
use wire_protocol::address::CoreId;

/// One core's own pages in the arena.
#[derive(Clone, Copy, Debug)]
pub(super) struct CorePages {
    pub(super) core: *mut PerCore,
    pub(super) plan: VmcsPlan,
    pub(super) view: [u64; step_view::PAGES],
}

pub(super) fn build_core(
    arena: &mut Arena,
    memory: &mut DirectMap,
    common: VmcsPlan,
    number: u64,
) -> Result<CorePages, BootError> {
    const WHAT: &str = "the cores";
    let vmxon_region = carve(arena, PAGE, WHAT)?.start().0;
    let vmcs = carve(arena, PAGE, WHAT)?.start().0;
    let stack = carve(arena, percore::STACK_BYTES, WHAT)?;
    let gdt_page = carve(arena, PAGE, WHAT)?.start().0;
    let idt_page = carve(arena, PAGE, WHAT)?.start().0;
    let core_block = carve(arena, PAGE, WHAT)?;
    let gdt = memory.address_of(gdt_page);
    for (index, descriptor) in (0u64..).zip(percore::gdt_page(gdt)) {
        memory.write_u64(gdt_page + index * 8, descriptor);
    }
    for (place, len_bytes) in (0u64..).zip(percore::INTERRUPT_STACK_BYTES) {
        let block = carve(arena, len_bytes, WHAT)?;
        let top = memory.address_of(block.start().0) + u64::from(len_bytes);
        let slot = percore::TSS_OFFSET + percore::FIRST_STACK_OFFSET + place * 8;
        memory.write(gdt_page + slot, &top.to_le_bytes());
    }
    for vector in 0..=255u8 {
        let [low, high] = percore::idt_gate(vector);
        memory.write_u64(idt_page + u64::from(vector) * 16, low);
        memory.write_u64(idt_page + u64::from(vector) * 16 + 8, high);
    }
    let mut view = [0; step_view::PAGES];
    for page in &mut view {
        *page = carve(arena, PAGE, WHAT)?.start().0;
    }
    let self_address = memory.address_of(core_block.start().0);
    let core = PerCore {
        self_address,
        root_nmis: AtomicU64::new(0),
        machine_checks: AtomicU64::new(0),
        stack_top: memory.address_of(stack.start().0) + u64::from(percore::STACK_BYTES),
        guest_rsp: 0,
        guest_rip: 0,
        registers: [0; 16],
        leave_frame: [0; 5],
        hypervisor: 0,
        number,
        code_active: 0,
        code_rsp: 0,
        code_left: 0,
        code_vector: 0,
        code_rip: 0,
        code_arguments: [0; 3],
        apart_rsp: 0,
    };
    // SAFETY: carved above, for this alone: a page, which a `PerCore` fits in.
    let core = unsafe { launch::place(memory, &core_block, core) };
    Ok(CorePages {
        core,
        plan: VmcsPlan {
            vmxon_region,
            vmcs,
            gdt,
            idt: memory.address_of(idt_page),
            ..common
        },
        view,
    })
}

/// Puts the core with this number under the hypervisor. Returns 0, or why not
/// (`vmx_cpu::LaunchError::code`).
///
/// # Safety
/// On that core, CPL 0, interrupts off, in the kernel's context.
pub unsafe fn start_core(hypervisor: &'static Hypervisor, number: u16) -> u64 {
    let Some(Some(pages)) = hypervisor.cores.get(usize::from(number)) else {
        return u64::MAX;
    };
    if hypervisor.shared.rendezvous.presence(CoreId(number)) != Presence::Offline {
        return 0;
    }
    // SAFETY: on that core with interrupts off, by contract; its pages were made for it by `build_core`.
    unsafe { launch::enter(pages.core) }
}

/// Runs a core, on its own stack. Returns only if the launch failed.
///
/// # Safety
/// `core` was made by [`super::build`] for the core that runs this, and [`super::build`]'s result lives.
pub(super) unsafe fn core_main(core: *mut PerCore) -> u64 {
    // SAFETY: `core` was made by `build` for this core, by contract.
    let (address, number) = unsafe { (*core).origin() };
    // SAFETY: `build` set every core's pointer to the hypervisor, which is never dropped.
    let hypervisor = unsafe { &*(address as *const Hypervisor) };
    let shared = &hypervisor.shared;
    let Some(Some(pages)) = hypervisor.cores.get(usize::from(number)) else {
        return u64::MAX;
    };
    if let Some(slot) = shared.apic_ids.get(usize::from(number)) {
        slot.store(launch::apic_id(), SeqCst);
    }
    // SAFETY: on this core at CPL 0 with its own pages, by contract; `build` completed the host's page
    // tables.
    let mut cpu = match unsafe { VmxCpu::start(core, pages.plan, hypervisor.memory) } {
        Ok(cpu) => cpu,
        Err(error) => return error.code(),
    };
    let Some(seat) = shared.rendezvous.seat(CoreId(number)) else {
        // SAFETY: no VM exit happened yet.
        unsafe { cpu.abandon() };
        return u64::MAX;
    };
    let mut core = Core::new(seat, cpu, shared, StepView::new(pages.view));
    core.arrivals.root_nmis_seen = core.cpu.root_nmis();
    exit::before_entry(&mut core);
    if let Err(NotEntered) = core.cpu.launch() {
        let error = core.cpu.entry_error();
        core.seat.leave();
        // SAFETY: no VM exit happened yet.
        unsafe { core.cpu.abandon() };
        return error.code();
    }
    loop {
        match exit::handle(&mut core) {
            Flow::Enter => {}
            Flow::Leave => {
                shared.give_up_branches(core.id, &mut core.cpu);
                core.seat.leave();
                // SAFETY: `hypercall` saw that the guest is the driver in the kernel.
                unsafe { core.cpu.leave() }
            }
            Flow::Dead(fault) => stay_dead(&mut core, fault),
        }
        let entered = if core.waits_for_sipi {
            run_once_woken(&mut core)
        } else {
            core.cpu.run()
        };
        if let Err(NotEntered) = entered {
            let error = core.cpu.entry_error();
            stay_dead(&mut core, Fault::of_entry(error.code()));
        }
    }
}

/// What is left for a core whose guest cannot go on: to tell it, and to take part in halts.
#[cold]
#[inline(never)]
fn stay_dead(core: &mut Core<'_, Hardware>, fault: Fault) -> ! {
    let mut death = Death::new(core, fault);
    loop {
        death.turn(core);
        death.rest(core);
    }
}

/// Enters a guest that waits for a start-up IPI. Out of line, since each jump of an exit's way counts.
#[cold]
#[inline(never)]
fn run_once_woken(core: &mut Core<'_, Hardware>) -> Result<(), NotEntered> {
    let cpu = &mut core.cpu;
    core.seat.wait_for_sipi(|| cpu.run())
}

/// Reports an exception in VMX-root and stands still.
pub(super) fn report_fault(core: &PerCore, vector: u16, rip: u64, detail: u64) -> ! {
    let (address, number) = core.origin();
    // SAFETY: `build` set every core's pointer to the hypervisor, which is never dropped.
    let hypervisor = unsafe { &*(address as *const Hypervisor) };
    let core = CoreId(number);
    // SAFETY: what the core was doing, with its seat, was interrupted and never goes on.
    unsafe { hypervisor.shared.rendezvous.give_up(core) };
    let shared = &hypervisor.shared;
    let alone = halt::tell_fault(shared, core, vector, rip, detail);
    loop {
        if alone {
            let now_us = shared.clock.microseconds(launch::tsc());
            shared.line.try_with(|line| line.transmit(now_us));
        }
        core::hint::spin_loop();
    }
}
