//! Starting: the only place that wires hardware to logic.
//!
//! Called by a platform package, in three steps, all in the kernel's context: [`build`] once,
//! [`start_core`] on each core with interrupts off, then [`call`]. From then on the core loop runs in VMX-root.
#![allow(
    unsafe_code,
    reason = "what the platform promises is passed on to `hw`"
)]

mod buffers;
mod core_loop;
mod detours;
mod entries;
mod host;
mod views;
mod ways;

use crate::constants::Constants;
use crate::ept::entry::Mode;
use crate::event::detour::ViewList;
use crate::event::{Bitmaps, Installed};
use crate::facts::Facts;
use crate::hw::code::CodePlace;
use crate::hw::detour::{self, Data};
use crate::hw::host_pages::ImagePage;
use crate::hw::io::Registers;
use crate::hw::launch::{self, Hardware};
use crate::hw::phys::DirectMap;
use crate::hw::vmx_cpu::{self, VmcsPlan};
use crate::pool::arena::{Arena, CHUNK_BYTES};
use crate::port::{HostTransport, PortRange};
use crate::rtc;
use crate::shared::{Fixed, Parts, Shared};
use crate::transport::interrupt::InterruptPin;
use crate::transport::place::Place;
use crate::transport::uart16550::{self, Speed};
use crate::vmx::capability::{self, Finding, Unsupported};
use buffers::{build_line, build_locals, build_messages, build_variables};
use core::fmt;
pub use core_loop::start_core;
use core_loop::{CorePages, build_core};
use detours::build_detours;
use host::{build_codes, build_host_pages};
use views::{build_mode_views, build_views, hide_devices};
pub use ways::NetworkPlan;
use ways::{build_rtc, build_ways, device_pages};
use wire_protocol::address::{Extent, GuestPhysical, PAGE_BYTES};
use wire_protocol::baud::Rates;
use wire_protocol::limits;

/// What the platform brings.
pub struct Plan<'a> {
    /// Physical addresses of the arena's 2 MiB chunks, zeroed.
    pub chunks: &'a [u64],
    /// Pages of the driver's image.
    pub image: &'a [ImagePage],
    /// All physical memory, RAM and devices.
    pub memory: DirectMap,
    /// The UART, if there is a serial line.
    pub uart: Option<UartPlan>,
    /// The network, if there is one.
    pub network: Option<NetworkPlan>,
    /// Design constants.
    pub constants: Constants,
    /// What the platform found out.
    pub facts: Facts,
}

/// The UART of the line, which is nobody else's from now on.
#[derive(Clone, Copy, Debug)]
pub struct UartPlan {
    /// Where its registers are.
    pub place: Place,
    /// Where the kernel maps them, uncached, if they are in memory.
    pub linear: u64,
    /// How fast it is to be.
    pub speed: Speed,
    /// Where its interrupt goes in, if that can call a core.
    pub interrupt: Option<InterruptPin>,
}

/// Why the hypervisor was not built. Nothing has changed.
#[derive(Clone, Copy, Debug)]
pub enum BootError {
    /// The processor cannot carry it.
    Unsupported(Unsupported),
    /// No UART answers there.
    NoUart(Place),
    /// Neither a serial line nor a network was asked for.
    NoWay,
    /// A baud rate that the UART's clock cannot make, and those that it can.
    BaudRate(u32, Rates),
    /// The arena is too small for what must be in it.
    ArenaTooSmall(&'static str),
    /// A chunk of the arena is unusable.
    Chunk(u64),
}

impl fmt::Display for BootError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unsupported(why) => f.write_str(why.text()),
            Self::NoUart(Place::Ports { first }) => write!(
                f,
                "no serial port at I/O port {first:#x}; choose another with com=N"
            ),
            Self::NoUart(Place::Memory { base, .. }) => write!(
                f,
                "no serial port at address {base:#x}; choose another with mmio=ADDRESS, or stride=4"
            ),
            Self::NoWay => f.write_str("there is no way to the host; com= or net= names one"),
            Self::BaudRate(baud, rates) => write!(
                f,
                "baud={baud}: with its clock of {} Hz this port makes {rates}",
                rates.clock_hz
            ),
            Self::ArenaTooSmall(what) => write!(
                f,
                "the arena has no room for {what}; load with a larger arena_bytes"
            ),
            Self::Chunk(base) => write!(f, "arena chunk {base:#x} is unusable"),
        }
    }
}

/// Everything, in the arena.
pub struct Hypervisor {
    shared: Shared<Hardware>,
    memory: DirectMap,
    cores: [Option<CorePages>; limits::CORES],
}

/// A page, in the arena's measure.
const PAGE: u32 = PAGE_BYTES as u32;
/// Scratch for lists and memory contents of one reply, of which the handshake uses halves. Contents are packed in it.
const LISTS_BYTES: u32 = (2 * limits::MEMORY_BYTES + wire_protocol::pack::WORK_BYTES) as u32;
const _: () = assert!(LISTS_BYTES as usize >= 2 * limits::MESSAGE_BYTES);

/// A ring is one stretch of memory and fits in a chunk of the arena.
const RING_BYTES_MAX: u64 = 1 << 20;

fn carve(
    arena: &mut Arena,
    len_bytes: u32,
    what: &'static str,
) -> Result<Extent<GuestPhysical>, BootError> {
    arena
        .carve(len_bytes, PAGE)
        .map_err(|_| BootError::ArenaTooSmall(what))
}

/// How it stands with the number-th thing that this core's processor must have, or that some events need; `None` behind the
/// last one. What [`build`] refuses is found here, and nothing is changed.
///
/// # Safety
/// CPL 0 in the kernel's context, on a core that is not under the hypervisor.
#[must_use]
pub unsafe fn examine(number: usize) -> Option<Finding> {
    // SAFETY: at CPL 0 in the kernel's context, by contract.
    let raw = unsafe { vmx_cpu::raw_capabilities() };
    capability::examine(&raw).nth(number)
}

/// Whether there is a UART, which is left as it was.
///
/// # Errors
/// What the user is told if there is none.
///
/// # Safety
/// CPL 0 in the kernel's context; the UART's registers are nobody else's meanwhile, and mapped at `linear` if they are in
/// memory.
pub unsafe fn look_for_uart(place: Place, linear: u64) -> Result<(), BootError> {
    // SAFETY: nobody else's and mapped, by contract.
    let mut io = unsafe { Registers::new(place, linear) };
    if uart16550::is_there(&mut io) {
        Ok(())
    } else {
        Err(BootError::NoUart(place))
    }
}

/// Builds everything in the arena. Nothing of the processor is changed.
///
/// # Errors
/// Why not.
///
/// # Safety
/// CPL 0 in the kernel's context, on a stack of at least 16 MiB. The devices of `plan` are nobody else's, and mapped where it
/// says. The chunks of `plan` are zeroed memory that is nobody else's as long as the hypervisor lives, and mapped by `plan.memory`.
pub unsafe fn build(plan: &Plan<'_>) -> Result<&'static Hypervisor, BootError> {
    // SAFETY: at CPL 0 in the kernel's context, by contract.
    let controls = unsafe { vmx_cpu::check() }.map_err(BootError::Unsupported)?;
    let mut memory = plan.memory;
    let mut arena = Arena::new();
    for chunk in plan.chunks {
        arena
            .add_chunk(*chunk)
            .map_err(|_| BootError::Chunk(*chunk))?;
    }
    let growth = plan.constants.growth_bytes() / CHUNK_BYTES;
    arena.allow_growth(u32::try_from(growth).unwrap_or(u32::MAX));
    let rtc = build_rtc(plan, &mut arena, &memory)?;
    // SAFETY: at CPL 0, with devices that are nobody else's, by contract.
    let ways = unsafe { build_ways(plan, &mut arena, &memory, rtc) }?;
    let owned = ways.owns();
    let zero_page = carve(&mut arena, PAGE, "the zero page")?.start().0;
    let sink_page = carve(&mut arena, PAGE, "the sink page")?.start().0;
    let bitmaps = Bitmaps {
        msr: carve(&mut arena, PAGE, "the MSR bitmap")?.start().0,
        own_msr: carve(&mut arena, PAGE, "the MSR bitmap")?.start().0,
        io: carve(&mut arena, 2 * PAGE, "the I/O bitmaps")?.start().0,
        owned_ports: owned.ports,
        clock_ports: rtc.map_or_else(PortRange::default, |_| rtc::PORTS),
    };
    let views = build_views(
        plan,
        &controls,
        &mut arena,
        &mut memory,
        zero_page,
        sink_page,
    )?;
    hide_devices(&views, &owned.memory, &mut arena, &mut memory, sink_page)?;
    let detours = build_detours(plan, &views, &mut arena, &mut memory)?;
    let mode_views = build_mode_views(&controls, &views, &mut arena, &mut memory)?;
    let codes = build_codes(plan, &mut arena, &memory)?;
    let devices = device_pages(plan, &ways);
    let host_cr3 = build_host_pages(plan, &codes, &devices, &mut arena, &mut memory)?;
    let common = VmcsPlan {
        controls,
        eptp: views.hooked.eptp(),
        eptp_list: detours
            .as_ref()
            .map_or(0, |detours| detours.trampoline.lists[0]),
        msr_bitmap: bitmaps.msr,
        io_bitmaps: bitmaps.io,
        host_cr3,
        vmxon_region: 0,
        vmcs: 0,
        gdt: 0,
        idt: 0,
        code: CodePlace::default(),
    };
    let mut cores = [None; limits::CORES];
    for (number, slot) in (0..u64::from(plan.facts.core_count)).zip(cores.iter_mut()) {
        let code = codes.get(number as usize).copied().unwrap_or_default();
        let common = VmcsPlan { code, ..common };
        *slot = Some(build_core(&mut arena, &mut memory, common, number)?);
    }
    let line = build_line(ways, &mut arena, &memory)?;
    let messages = build_messages(plan, &mut arena, &memory)?;
    let locals = build_locals(plan, &mut arena, &memory)?;
    let variables = build_variables(&mut arena, &memory)?;
    let hypervisor_block = carve(&mut arena, size_of::<Hypervisor>() as u32, "the hypervisor")?;
    let mut installed = Installed::new();
    installed
        .init(arena, plan.constants.design(), views, plan.facts.core_count)
        .map_err(|_| BootError::ArenaTooSmall("the objects reserved at load"))?;
    installed.hide(owned.memory);
    if let Some(detours) = &detours {
        // A detour begins and ends in the kernel.
        let watched = mode_views.map_or(views.hooked.eptp(), |views| views.only_for(Mode::Kernel));
        let outer = [views.hooked.eptp(), watched];
        let [ordinary, watched] = outer.map(|outer| [outer, detours.trampoline.eptp]);
        let [at, at_watched] = detours.trampoline.lists;
        let lists = [(at, ordinary), (at_watched, watched)];
        let lists = lists.map(|(at, views)| ViewList { at, views });
        installed.place_detours(detour::site(detours.places, lists));
    }
    let shared = Shared::new(Parts {
        installed,
        line,
        messages,
        locals,
        variables,
        memory,
        rtc,
        facts: plan.facts,
        fixed: Fixed {
            script_operations: plan.constants.script_operations,
            code_instructions: plan.constants.code_instructions,
            halts_without_session: plan.constants.halt != 0,
            has_network: plan.network.is_some(),
            eptp_hooked: views.hooked.eptp(),
            eptp_clean: views.clean.eptp(),
            trampoline: detours.as_ref().map(|detours| detours.trampoline),
            sink_page,
            bitmaps,
            cr4_allowed: controls.cr4_allowed,
            can_take_interrupts: controls.interrupts,
            branches: controls.branches,
            mode_views,
            preemption_timer_shift: controls.preemption_timer_shift,
        },
    });
    let hypervisor = Hypervisor {
        shared,
        memory,
        cores,
    };
    // SAFETY: carved above, for this alone, page-aligned and of the size of a `Hypervisor`.
    let hypervisor: &'static Hypervisor =
        unsafe { launch::place(&memory, &hypervisor_block, hypervisor) };
    if let Some(detours) = &detours {
        let data = Data {
            stacks: detours.stacks,
            host_cr3,
            hypervisor: &raw const *hypervisor as u64,
            core_selector: u64::from(plan.facts.layout.core_selector()),
            deferred: [0; limits::CORES],
        };
        detour::write_data(&mut memory, detours.data, &data);
    }
    for pages in hypervisor.cores.iter().flatten() {
        // SAFETY: the core's own page, made above; no core runs yet.
        unsafe { (*pages.core).hypervisor = &raw const *hypervisor as u64 };
    }
    Ok(hypervisor)
}

/// Asks the hypervisor below this core for something: `exit::hypercall` has the numbers.
///
/// # Safety
/// On a core that was started, CPL 0; to leave, with interrupts off in the kernel's context.
pub unsafe fn call(token: u64, number: u64, argument: u64) -> u64 {
    // SAFETY: on a core that runs as a guest, at CPL 0 in the driver's image, by contract.
    unsafe { launch::hypercall(token, number, argument) }
}
