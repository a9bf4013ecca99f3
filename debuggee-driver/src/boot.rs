//! Starting: the only place that wires hardware to logic.
//!
//! Called by a platform package, in three steps, all in the kernel's context: [`build`] once,
//! [`start_core`] on each core with interrupts off, then [`call`]. From then on the core loop at the end of this file runs in VMX-root.
#![allow(
    unsafe_code,
    reason = "what the platform promises is passed on to `hw`"
)]

use crate::constants::Constants;
use crate::cores::cells::PerCoreCells;
use crate::cores::rendezvous::Seat;
use crate::ept::entry::{Entry, Level, MemoryType, Mode, Permissions};
use crate::ept::mode::ModeViews;
use crate::ept::step_view::{self, StepView};
use crate::ept::view::{HiddenChunks, MapRequest, Views};
use crate::event::detour::{self as event_detour, ViewList};
use crate::event::{Bitmaps, Installed};
use crate::exit::{self, Core, Fault, Flow};
use crate::facts::Facts;
use crate::hit::detour as hit_detour;
use crate::hw::code::{self, CodePlace};
use crate::hw::detour::{self, Data};
use crate::hw::host_pages::{HostPages, ImagePage};
use crate::hw::io::IoPorts;
use crate::hw::launch::{self, Hardware};
use crate::hw::percore::{self, PerCore};
use crate::hw::phys::DirectMap;
use crate::hw::vmx_cpu::{self, VmcsPlan, VmxCpu};
use crate::line::{Buffers, Line};
use crate::messages::Rings;
use crate::pool::arena::{Arena, Block, CHUNK_BYTES};
use crate::port::{Cpu, PhysicalMemory};
use crate::shared::{Inner, Parts, Place, Shared};
use crate::transport::uart16550::{Uart, UartError};
use crate::vmx::capability::{ControlValues, Unsupported};
use core::fmt;
use core::sync::atomic::{AtomicU64, Ordering::SeqCst};
use wire_protocol::address::{CoreId, PAGE_BYTES};
use wire_protocol::limits;
use wire_protocol::link::Storage;
use wire_protocol::packet::{Message, Notice};
use wire_protocol::script::Workspace;

/// What the platform brings.
pub struct Plan<'a> {
    /// Physical addresses of the arena's 2 MiB chunks, zeroed.
    pub chunks: &'a [u64],
    /// Pages of the driver's image.
    pub image: &'a [ImagePage],
    /// All physical memory, RAM and devices.
    pub memory: DirectMap,
    /// First I/O port of the UART.
    pub port: u16,
    /// Its speed.
    pub baud_hz: u32,
    /// Design constants.
    pub constants: Constants,
    /// What the platform found out.
    pub facts: Facts,
}

/// Why the hypervisor was not built. Nothing has changed.
#[derive(Clone, Copy, Debug)]
pub enum BootError {
    /// The processor cannot carry it.
    Unsupported(Unsupported),
    /// No UART answers at the port.
    NoUart(u16),
    /// A baud rate that the UART's clock cannot make.
    BaudRate(u32),
    /// The arena is too small for what must be in it.
    ArenaTooSmall(&'static str),
    /// A chunk of the arena is unusable.
    Chunk(u64),
}

impl fmt::Display for BootError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unsupported(why) => f.write_str(why.text()),
            Self::NoUart(port) => write!(
                f,
                "no serial port at I/O port {port:#x}; choose another with com=N"
            ),
            Self::BaudRate(baud) => write!(
                f,
                "baud={baud} is not a divisor of 115200; use 115200, 57600, 38400, 19200 or 9600"
            ),
            Self::ArenaTooSmall(what) => write!(
                f,
                "the arena has no room for {what}; load with a larger arena_bytes"
            ),
            Self::Chunk(base) => write!(f, "arena chunk {base:#x} is unusable"),
        }
    }
}

/// One core's own pages in the arena.
#[derive(Clone, Copy, Debug)]
struct CorePages {
    core: *mut PerCore,
    plan: VmcsPlan,
    view: [u64; step_view::PAGES],
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

fn carve(arena: &mut Arena, len_bytes: u32, what: &'static str) -> Result<Block, BootError> {
    arena
        .carve(len_bytes, PAGE)
        .map_err(|_| BootError::ArenaTooSmall(what))
}

/// Builds everything in the arena. Nothing of the processor is changed.
///
/// # Errors
/// Why not.
///
/// # Safety
/// CPL 0 in the kernel's context, on a stack of at least 16 MiB. The chunks of `plan` are zeroed
/// memory that is nobody else's as long as the hypervisor lives, and mapped by `plan.memory`.
pub unsafe fn build(plan: &Plan<'_>) -> Result<&'static Hypervisor, BootError> {
    // SAFETY: CPL 0 by contract.
    let controls = unsafe { vmx_cpu::check() }.map_err(BootError::Unsupported)?;
    // SAFETY: the platform owns the port range of the UART.
    let io = unsafe { IoPorts::new(plan.port, 8) };
    let uart = Uart::init(io, plan.port, plan.baud_hz).map_err(|error| match error {
        UartError::Missing { base_port } => BootError::NoUart(base_port),
        UartError::BadSpeed { baud } => BootError::BaudRate(baud),
    })?;
    let mut memory = plan.memory;
    let mut arena = Arena::new();
    for chunk in plan.chunks {
        arena
            .add_chunk(*chunk)
            .map_err(|_| BootError::Chunk(*chunk))?;
    }
    let growth = plan.constants.arena_growth_bytes / CHUNK_BYTES;
    arena.allow_growth(u32::try_from(growth).unwrap_or(u32::MAX));
    let zero_page = carve(&mut arena, PAGE, "the zero page")?.phys;
    let sink_page = carve(&mut arena, PAGE, "the sink page")?.phys;
    let bitmaps = Bitmaps {
        msr: carve(&mut arena, PAGE, "the MSR bitmap")?.phys,
        own_msr: carve(&mut arena, PAGE, "the MSR bitmap")?.phys,
        io: carve(&mut arena, 2 * PAGE, "the I/O bitmaps")?.phys,
        line_port: plan.port,
    };
    let views = build_views(
        plan,
        &controls,
        &mut arena,
        &mut memory,
        zero_page,
        sink_page,
    )?;
    let detours = build_detours(plan, &views, &mut arena, &mut memory)?;
    let mode_views = build_mode_views(&controls, &views, &mut arena, &mut memory)?;
    let codes = build_codes(plan, &mut arena, &memory)?;
    let host_cr3 = build_host_pages(plan, &codes, &mut arena, &mut memory)?;
    let common = VmcsPlan {
        controls,
        eptp: views.hooked.eptp(),
        eptp_list: detours.as_ref().map_or(0, |detours| detours.inner.lists[0]),
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
    let line = build_line(uart, &mut arena, &memory, plan.baud_hz)?;
    let messages = build_messages(plan, &mut arena, &memory)?;
    let workspaces = build_workspaces(plan, &mut arena, &memory)?;
    let hypervisor_block = carve(&mut arena, size_of::<Hypervisor>() as u32, "the hypervisor")?;
    let mut installed = Installed::new();
    installed
        .init(arena, plan.constants.design(), views, plan.facts.core_count)
        .map_err(|_| BootError::ArenaTooSmall("the objects reserved at load"))?;
    if let Some(detours) = &detours {
        // A detour begins and ends in the kernel.
        let watched = mode_views.map_or(views.hooked.eptp(), |views| views.only_for(Mode::Kernel));
        let outer = [views.hooked.eptp(), watched];
        let [ordinary, watched] = outer.map(|outer| [outer, detours.inner.eptp]);
        let [at, at_watched] = detours.inner.lists;
        let lists = [(at, ordinary), (at_watched, watched)];
        let lists = lists.map(|(at, views)| ViewList { at, views });
        installed.place_detours(detour::site(detours.places, lists));
    }
    let shared = Shared::new(Parts {
        installed,
        line,
        messages,
        workspaces,
        script_operations: plan.constants.script_operations,
        code_instructions: plan.constants.code_instructions,
        memory,
        facts: plan.facts,
        eptp_hooked: views.hooked.eptp(),
        eptp_clean: views.clean.eptp(),
        inner: detours.as_ref().map(|detours| detours.inner),
        sink_page,
        bitmaps,
        cr4_allowed: controls.cr4_allowed,
        can_take_interrupts: controls.interrupts,
        mode_views,
        preemption_timer_shift: controls.preemption_timer_shift,
    });
    let hypervisor = Hypervisor {
        shared,
        memory,
        cores,
    };
    // SAFETY: carved for this, page-aligned and large enough.
    let hypervisor: &'static Hypervisor =
        unsafe { launch::place(&memory, &hypervisor_block, hypervisor) };
    if let Some(detours) = &detours {
        let data = Data {
            stacks: detours.stacks,
            host_cr3,
            hypervisor: &raw const *hypervisor as u64,
            core_selector: u64::from(plan.facts.core_selector),
            owed: [0; limits::CORES],
        };
        detour::write_data(&mut memory, detours.data, &data);
    }
    for pages in hypervisor.cores.iter().flatten() {
        // SAFETY: the core's own page, made above; no core runs yet.
        unsafe { (*pages.core).hypervisor = &raw const *hypervisor as u64 };
    }
    Ok(hypervisor)
}

fn build_views(
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
    let failed = |_| BootError::ArenaTooSmall("the protection of the driver's code");
    for page in plan
        .image
        .iter()
        .filter(|page| page.kind == ImagePage::CODE)
    {
        let read_execute = Permissions::READ | Permissions::EXECUTE;
        views
            .hooked
            .protect(memory, page.physical, read_execute, arena)
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

/// The views for one mode alone, if the processor can tell modes apart. The hooked view is complete.
fn build_mode_views(
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

/// What detours need, if the processor can carry them.
struct DetourPages {
    inner: Inner,
    /// Stands for the page of the stub's data.
    data: u64,
    /// Stand for the pages of the places.
    places: [u64; event_detour::PAGES],
    stacks: [u64; limits::CORES],
}

/// The inner view, in which only the driver's code can be executed, and the pages of the arena that stand for
/// the stub's data and places.
fn build_detours(
    plan: &Plan<'_>,
    views: &Views,
    arena: &mut Arena,
    memory: &mut DirectMap,
) -> Result<Option<DetourPages>, BootError> {
    const WHAT: &str = "detours";
    let Some(inner) = views.inner else {
        return Ok(None);
    };
    let failed = |_| BootError::ArenaTooSmall(WHAT);
    let leaf = |page| {
        let read_execute = Permissions::READ | Permissions::EXECUTE;
        Entry::leaf(page, Level::Page4K, MemoryType::WriteBack, read_execute)
    };
    let code = plan.image.iter();
    for page in code.filter(|page| page.kind == ImagePage::CODE) {
        inner
            .replace(memory, page.physical, leaf(page.physical), arena)
            .map_err(failed)?;
    }
    let mut standing = [0; detour::IMAGE_PAGES];
    for (linear, page) in (detour::first_page()..)
        .step_by(PAGE as usize)
        .zip(&mut standing)
    {
        *page = carve(arena, PAGE, WHAT)?.phys;
        let mut image = plan.image.iter();
        let own = image.find(|own| own.linear == linear);
        let own = own.ok_or(BootError::ArenaTooSmall(WHAT))?.physical;
        for view in [&views.hooked, &inner] {
            view.replace(memory, own, leaf(*page), arena)
                .map_err(failed)?;
        }
    }
    let lists = [
        carve(arena, PAGE, WHAT)?.phys,
        carve(arena, PAGE, WHAT)?.phys,
    ];
    let mut stacks = [0; limits::CORES];
    for (_, stack) in (0..plan.facts.core_count).zip(&mut stacks) {
        let block = carve(arena, detour::STACK_BYTES, WHAT)?;
        *stack = memory.address_of(block.phys) + u64::from(block.len_bytes);
    }
    let [data, places @ ..] = standing;
    Ok(Some(DetourPages {
        inner: Inner {
            eptp: inner.eptp(),
            lists,
            owed: detour::owed(data),
            ways: detour::ways(),
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
pub unsafe fn detour_hit(
    frame: &mut hit_detour::Frame,
    core: u16,
    number: u64,
    cr3: u64,
    hypervisor: u64,
) -> u64 {
    // SAFETY: by contract.
    let hypervisor = unsafe { &*(hypervisor as *const Hypervisor) };
    let shared = &hypervisor.shared;
    hit_detour::hit(CoreId(core), frame, number, cr3, &detour::Inside, shared)
        .map_or(0, hit_detour::Wish::encode)
}

/// Pages and a stack for machine code, for every core. What an event holds at most finds room.
fn build_codes(
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
            physical: carve(arena, len_bytes, WHAT)?.phys,
            len_bytes,
            linear: code::window(number),
            stack_top: memory.address_of(stack.phys) + u64::from(stack.len_bytes),
        };
    }
    Ok(codes)
}

fn build_host_pages(
    plan: &Plan<'_>,
    codes: &[CodePlace],
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

fn build_core(
    arena: &mut Arena,
    memory: &mut DirectMap,
    common: VmcsPlan,
    number: u64,
) -> Result<CorePages, BootError> {
    const WHAT: &str = "the cores";
    let vmxon_region = carve(arena, PAGE, WHAT)?.phys;
    let vmcs = carve(arena, PAGE, WHAT)?.phys;
    let stack = carve(arena, percore::STACK_BYTES, WHAT)?;
    let gdt_page = carve(arena, PAGE, WHAT)?.phys;
    let idt_page = carve(arena, PAGE, WHAT)?.phys;
    let core_block = carve(arena, PAGE, WHAT)?;
    let gdt = memory.address_of(gdt_page);
    for (index, descriptor) in (0u64..).zip(percore::gdt_page(gdt)) {
        memory.write_u64(gdt_page + index * 8, descriptor);
    }
    for (place, len_bytes) in (0u64..).zip(percore::INTERRUPT_STACK_BYTES) {
        let block = carve(arena, len_bytes, WHAT)?;
        let top = memory.address_of(block.phys) + u64::from(len_bytes);
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
        *page = carve(arena, PAGE, WHAT)?.phys;
    }
    let self_address = memory.address_of(core_block.phys);
    let core = PerCore {
        self_address,
        root_nmis: AtomicU64::new(0),
        machine_checks: AtomicU64::new(0),
        stack_top: memory.address_of(stack.phys) + u64::from(percore::STACK_BYTES),
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
    };
    // SAFETY: carved for this, page-aligned and large enough.
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

fn build_line(
    uart: Uart<IoPorts>,
    arena: &mut Arena,
    memory: &DirectMap,
    baud_hz: u32,
) -> Result<Line<IoPorts>, BootError> {
    const WHAT: &str = "the line's buffers";
    let storage = carve(arena, Storage::BYTES as u32, WHAT)?;
    let message = carve(arena, limits::MESSAGE_BYTES as u32, WHAT)?;
    let lists = carve(arena, LISTS_BYTES, WHAT)?;
    // SAFETY: carved for this.
    let storage = unsafe { launch::bytes(memory, &storage) };
    let buffers = Buffers {
        // SAFETY: carved for this.
        message: unsafe { launch::bytes(memory, &message) },
        // SAFETY: carved for this.
        lists: unsafe { launch::bytes(memory, &lists) },
    };
    let storage = Storage::carve(storage).ok_or(BootError::ArenaTooSmall(WHAT))?;
    Ok(Line::new(uart, storage, buffers, baud_hz))
}

fn build_messages(
    plan: &Plan<'_>,
    arena: &mut Arena,
    memory: &DirectMap,
) -> Result<Rings, BootError> {
    let len_bytes = plan.constants.message_ring_bytes.min(RING_BYTES_MAX) as u32;
    let mut rings = Rings::default();
    for number in 0..plan.facts.core_count {
        let block = carve(arena, len_bytes, "the messages")?;
        // SAFETY: carved for this, page-aligned.
        rings.place(CoreId(number), unsafe { launch::words(memory, &block) });
    }
    Ok(rings)
}

fn build_workspaces(
    plan: &Plan<'_>,
    arena: &mut Arena,
    memory: &DirectMap,
) -> Result<PerCoreCells<Place>, BootError> {
    let places = PerCoreCells::<Place>::default();
    for number in 0..plan.facts.core_count {
        let block = carve(arena, size_of::<Workspace>() as u32, "running scripts")?;
        // SAFETY: carved for this, page-aligned and large enough.
        let workspace = unsafe { launch::place(memory, &block, Workspace::new()) };
        let mut made = Some(Place::new(workspace));
        places.with_mine(CoreId(number), |place| {
            if let Some(made) = made.take() {
                *place = made;
            }
        });
    }
    Ok(places)
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
    if hypervisor.shared.rendezvous.seat(CoreId(number)) != Seat::Offline {
        return 0;
    }
    // SAFETY: by contract; the core's pages are its own.
    unsafe { launch::enter(pages.core) }
}

/// Asks the hypervisor below this core for something: `exit::hypercall` has the numbers.
///
/// # Safety
/// On a core that was started, CPL 0; to leave, with interrupts off in the kernel's context.
pub unsafe fn call(number: u64, argument: u64) -> u64 {
    // SAFETY: by contract.
    unsafe { launch::hypercall(number, argument) }
}

/// Runs a core, on its own stack. Returns only if the launch failed.
///
/// # Safety
/// `core` was made by [`build`] for the core that runs this, and [`build`]'s result lives.
pub unsafe fn core_main(core: *mut PerCore) -> u64 {
    // SAFETY: by contract.
    let (address, number) = unsafe { (*core).origin() };
    // SAFETY: every core's pointer was set by `build`.
    let hypervisor = unsafe { &*(address as *const Hypervisor) };
    let shared = &hypervisor.shared;
    let Some(Some(pages)) = hypervisor.cores.get(usize::from(number)) else {
        return u64::MAX;
    };
    if let Some(slot) = shared.apic_ids.get(usize::from(number)) {
        slot.store(launch::apic_id(), SeqCst);
    }
    // SAFETY: by contract.
    let cpu = match unsafe { VmxCpu::start(core, pages.plan, hypervisor.memory) } {
        Ok(cpu) => cpu,
        Err(error) => return error.code(),
    };
    let id = CoreId(number);
    let mut core = Core::new(id, cpu, StepView::new(pages.view));
    core.root_nmis_seen = core.cpu.root_nmis();
    shared.rendezvous.set_seat(id, Seat::Running);
    exit::before_entry(&mut core, shared);
    if let Err(error) = core.cpu.run() {
        shared.rendezvous.set_seat(id, Seat::Offline);
        // SAFETY: no VM exit happened yet.
        unsafe { core.cpu.abandon() };
        return error.code();
    }
    loop {
        match exit::handle(&mut core, shared) {
            Flow::Enter => {}
            Flow::Leave => {
                shared.rendezvous.set_seat(id, Seat::Offline);
                // SAFETY: `hypercall` saw that the guest is the driver in the kernel.
                unsafe { core.cpu.leave() }
            }
            Flow::Dead(fault) => {
                let rip = core.cpu.vmread(crate::vmx::guest::RIP);
                stand_still(hypervisor, id, fault, rip)
            }
        }
        if let Err(error) = core.cpu.run() {
            let fault = Fault {
                code: 256 + error.code() as u16,
                detail: error.code(),
            };
            stand_still(hypervisor, id, fault, 0)
        }
    }
}

/// Reports an exception in VMX-root and stands still.
pub fn report_fault(core: &PerCore, vector: u16, rip: u64, detail: u64) -> ! {
    let (address, number) = core.origin();
    // SAFETY: every core's pointer was set by `build`.
    let hypervisor = unsafe { &*(address as *const Hypervisor) };
    let fault = Fault {
        code: vector,
        detail,
    };
    stand_still(hypervisor, CoreId(number), fault, rip)
}

/// The end of a core that cannot go on: the host is told, and the core counts as held in every
/// later halt. If it dies while it serves one itself, the line is its own and goes silent.
fn stand_still(hypervisor: &Hypervisor, core: CoreId, fault: Fault, rip: u64) -> ! {
    let shared = &hypervisor.shared;
    shared.hand_over_polling(core);
    shared.rendezvous.set_seat(core, Seat::Held);
    let notice = Message::Notice(Notice::Fault {
        core,
        vector: fault.code,
        rip,
        detail: fault.detail,
    });
    let told = shared.line.try_with(|line| {
        let len_bytes = crate::line::encode(&notice, line.base, line.buffers.message);
        line.send_encoded(len_bytes).is_ok()
    });
    // Another core that polls sends it; if this was the only one, it does so itself.
    let alone = told == Some(true) && shared.rendezvous.present().all(|other| other == core);
    loop {
        if alone {
            let now_us = shared.microseconds(launch::tsc());
            shared.line.try_with(|line| line.transmit(now_us));
        }
        core::hint::spin_loop();
    }
}
