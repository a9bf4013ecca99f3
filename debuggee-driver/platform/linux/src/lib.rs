//! The Linux platform: what the C shim calls. It turns the shim's facts into the core's, and
//! nothing else.
#![no_std]

mod facts;
mod polled;

use core::ffi::c_void;
use core::fmt::{self, Write};
use debuggee_driver::boot::{self, Hypervisor, NetworkPlan, Plan, UartPlan};
use debuggee_driver::constants::Constants;
use debuggee_driver::exit::hypercall;
use debuggee_driver::hw::network::CardAccess;
use debuggee_driver::hw::phys::DirectMap;
use debuggee_driver::hw::{apart, launch};
use debuggee_driver::transport::choice::{self, Wish};
use debuggee_driver::transport::interrupt::InterruptPin;
use debuggee_driver::transport::net::card::{Card, Macs};
use debuggee_driver::transport::net::kinds::{self, AnyCard, CardError, Kind};
use debuggee_driver::transport::net::settings::{self, Settings, SettingsError};
use debuggee_driver::transport::place::Place;
use debuggee_driver::transport::uart16550::Speed;
use debuggee_driver::vmx::capability::State;
use facts::{RawCard, RawFacts, RawLine, RawNet, RawText, RawWish};

/// Nothing in the driver panics on purpose, and what may runs apart: it is left. Should it happen all the same, the core takes an exception that is
/// reported, in the kernel as an oops, in VMX-root to the host.
#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    apart::leave();
    loop {
        // SAFETY: it does not return: the core raises #UD, which the kernel and VMX-root report.
        unsafe { core::arch::asm!("ud2") }
    }
}

/// Argument and result of [`build_here`], which runs on another stack.
struct Job<'a> {
    facts: &'a RawFacts,
    net: &'a RawNet,
    reason: Reason<'a>,
    built: Option<&'static Hypervisor>,
}

/// Text for the kernel log, cut at the end of its buffer.
struct Reason<'a> {
    buffer: &'a mut [u8],
    len_bytes: usize,
}

impl Write for Reason<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        // The last byte stays NUL.
        let room = self.buffer.len().saturating_sub(1);
        for byte in text.bytes() {
            match self.buffer.get_mut(self.len_bytes) {
                Some(slot) if self.len_bytes < room => *slot = byte,
                _ => return Err(fmt::Error),
            }
            self.len_bytes += 1;
        }
        Ok(())
    }
}

/// Chooses the UART of the line. 0 if there is none, with a reason; else its name is in the reason's place.
///
/// # Safety
/// Called by the shim at module load: `wish` and its tables can be read, `line` and `reason_bytes` zeroed bytes at `reason`
/// can be written.
#[unsafe(no_mangle)]
unsafe extern "C" fn standstill_choose_line(
    wish: *const RawWish,
    line: *mut RawLine,
    reason: *mut u8,
    reason_bytes: usize,
) -> u64 {
    // SAFETY: the shim passes a wish that lives until this returns.
    let raw = unsafe { &*wish };
    // SAFETY: the shim passes as many bytes, zeroed, which nobody else uses until this returns.
    let buffer = unsafe { core::slice::from_raw_parts_mut(reason, reason_bytes) };
    let mut reason = Reason {
        buffer,
        len_bytes: 0,
    };
    // SAFETY: the kernel maps as many bytes of the table until the shim gives it back.
    let dbg2 = unsafe { table(raw.dbg2, raw.dbg2_bytes) };
    // SAFETY: the kernel maps as many bytes of the table until the shim gives it back.
    let spcr = unsafe { table(raw.spcr, raw.spcr_bytes) };
    // SAFETY: the kernel maps as many bytes of the table until the shim gives it back.
    let madt = unsafe { table(raw.madt, raw.madt_bytes) };
    // SAFETY: the kernel maps as many bytes of the table until the shim gives it back.
    let dmar = unsafe { table(raw.dmar, raw.dmar_bytes) };
    let wish = Wish {
        com: raw.com,
        io: raw.io,
        mmio: raw.mmio,
        stride: raw.stride,
        acpi: raw.acpi != 0,
        dbg2,
        spcr,
        madt,
        dmar,
    };
    match choice::choose(&wish) {
        Ok(choice) => {
            let (base, stride) = match choice.place {
                Place::Ports { first } => (u64::from(first), 0),
                Place::Memory { base, stride } => (base, u64::from(stride)),
            };
            let chosen = RawLine {
                base,
                len_bytes: u64::from(choice.place.extent()),
                stride,
                clock_hz: u64::from(choice.clock_hz),
                io_apic: choice.interrupt.map_or(0, |pin| pin.controller),
                pin: choice.interrupt.map_or(0, |pin| u64::from(pin.number)),
            };
            // SAFETY: the shim passes a line that nobody else uses until this returns.
            unsafe { line.write(chosen) };
            let _ = write!(reason, "{choice}");
            1
        }
        Err(error) => {
            let _ = write!(reason, "{error}");
            0
        }
    }
}

/// Looks whether the network can be used as the loader wrote it; 0 with a reason if not.
///
/// # Safety
/// Called by the shim at module load: `raw` and its texts can be read, `reason_bytes` zeroed bytes at `reason` can be written.
#[unsafe(no_mangle)]
unsafe extern "C" fn standstill_check_net(
    raw: *const RawNet,
    reason: *mut u8,
    reason_bytes: usize,
) -> u64 {
    // SAFETY: the shim passes what lives until this returns.
    let raw = unsafe { &*raw };
    // SAFETY: the shim passes as many bytes, zeroed, which nobody else uses until this returns.
    let buffer = unsafe { core::slice::from_raw_parts_mut(reason, reason_bytes) };
    // SAFETY: the shim's texts can be read.
    match unsafe { settings(raw) } {
        Ok(_) => 1,
        Err(error) => {
            let mut reason = Reason {
                buffer,
                len_bytes: 0,
            };
            let _ = write!(reason, "{error}");
            0
        }
    }
}

/// 1 if there is a driver for a card of this kind.
///
/// # Safety
/// None is needed.
#[unsafe(no_mangle)]
unsafe extern "C" fn standstill_knows_card(vendor: u64, device: u64) -> u64 {
    u64::from(kinds::is_known(vendor as u16, device as u16))
}

/// Says what a card needs, by its configuration space; 0 with a reason if it cannot be driven.
///
/// # Safety
/// Called by the shim at module load: nobody else uses `card`, and `reason_bytes` zeroed bytes at `reason` can be written.
#[unsafe(no_mangle)]
unsafe extern "C" fn standstill_look_at_card(
    card: *mut RawCard,
    has_other_mac: u64,
    reason: *mut u8,
    reason_bytes: usize,
) -> u64 {
    // SAFETY: the shim passes a card that nobody else uses until this returns.
    let card = unsafe { &mut *card };
    // SAFETY: the shim passes as many bytes, zeroed, which nobody else uses until this returns.
    let buffer = unsafe { core::slice::from_raw_parts_mut(reason, reason_bytes) };
    let looked = Kind::of(&card.config).and_then(|kind| {
        if has_other_mac != 0 && !kind.takes_mac() {
            return Err(CardError::KeepsMac);
        }
        card.wants(kind)
    });
    told(looked, buffer)
}

/// 1, or 0 with the reason why a card cannot be driven.
fn told(result: Result<(), CardError>, buffer: &mut [u8]) -> u64 {
    let Err(error) = result else {
        return 1;
    };
    let mut reason = Reason {
        buffer,
        len_bytes: 0,
    };
    let _ = write!(reason, "{error}");
    0
}

/// Reads the own address of a card; 0 with a reason if it is none that a card can have, and has to do.
///
/// # Safety
/// Called by the shim at module load: the card was taken, it is mapped as `card` says, and nobody else uses `card`;
/// `reason_bytes` zeroed bytes at `reason` can be written.
#[unsafe(no_mangle)]
unsafe extern "C" fn standstill_read_mac(
    card: *mut RawCard,
    has_other_mac: u64,
    reason: *mut u8,
    reason_bytes: usize,
) -> u64 {
    // SAFETY: the shim passes a card that nobody else uses until this returns.
    let card = unsafe { &mut *card };
    // SAFETY: the shim passes as many bytes, zeroed, which nobody else uses until this returns.
    let buffer = unsafe { core::slice::from_raw_parts_mut(reason, reason_bytes) };
    let read = card.for_core().and_then(|plan| {
        // SAFETY: none of it is used.
        let memory = unsafe { DirectMap::new(0, 0) };
        // SAFETY: at CPL 0; the card is nobody else's and mapped as its plan says, by contract.
        let mut access = unsafe { CardAccess::new(plan, memory) };
        plan.kind.own_mac(&mut access, has_other_mac != 0)
    });
    let read = read.map(|[a, b, c, d, e, f]| card.own_mac = [a, b, c, d, e, f, 0, 0]);
    told(read, buffer)
}

/// Puts a card at rest.
///
/// # Safety
/// Called by the shim at unload: the card was taken, it is mapped as `card` says, its memory from `direct_map` on, and nobody
/// drives it any more.
#[unsafe(no_mangle)]
unsafe extern "C" fn standstill_end_card(card: *const RawCard, direct_map: u64) {
    // SAFETY: the shim passes a card that lives until this returns.
    let card = unsafe { &*card };
    let Ok(plan) = card.for_core() else {
        return;
    };
    let limit = card.memory.saturating_add(card.memory_bytes);
    // SAFETY: the kernel maps physical memory there by contract, and of that the card's alone is used.
    let memory = unsafe { DirectMap::new(direct_map, limit) };
    // SAFETY: at CPL 0; the card is nobody else's and mapped as its plan says, by contract.
    let access = unsafe { CardAccess::new(plan, memory) };
    AnyCard::new(plan.kind, access, Macs::new(plan.own_mac, None)).end();
}

/// # Safety
/// The texts can be read.
unsafe fn settings(raw: &RawNet) -> Result<Option<Settings>, SettingsError> {
    // SAFETY: the text can be read by contract.
    let text = |raw: &RawText| unsafe { table(raw.bytes, raw.len_bytes) };
    let [host, key, ip, gateway, mac] = [&raw.net, &raw.key, &raw.ip, &raw.gateway, &raw.mac]
        .map(|it| core::str::from_utf8(text(it)).unwrap_or("?"));
    let wish = settings::Wish {
        net: host,
        key,
        ip,
        gateway,
        mac,
    };
    wish.settings()
}

/// A table of the firmware's, or a text; empty if there is none.
///
/// # Safety
/// There are as many bytes, or the pointer is null.
unsafe fn table<'t>(bytes: *const u8, len_bytes: u64) -> &'t [u8] {
    if bytes.is_null() {
        return &[];
    }
    // SAFETY: as many bytes, by contract.
    unsafe { core::slice::from_raw_parts(bytes, len_bytes as usize) }
}

/// What [`standstill_examine`] answers besides 0.
const FINE: u64 = 1;
const NOTE: u64 = 2;
const CHANGE: u64 = 3;

/// Says how it stands with the number-th thing that this core's processor must have: `enum verdict` of `doctor.h`. 0: there are
/// no more.
///
/// # Safety
/// Called by the shim on a core that is not under the hypervisor and cannot be left meanwhile; `said` has `said_bytes` zeroed
/// bytes.
#[unsafe(no_mangle)]
unsafe extern "C" fn standstill_examine(number: u64, said: *mut u8, said_bytes: usize) -> u64 {
    // SAFETY: the shim passes as many bytes, zeroed, which nobody else uses until this returns.
    let buffer = unsafe { core::slice::from_raw_parts_mut(said, said_bytes) };
    let mut said = Reason {
        buffer,
        len_bytes: 0,
    };
    // SAFETY: at CPL 0 in the kernel's context, on a core that is not under the hypervisor, by contract.
    let Some(finding) = (unsafe { boot::examine(number as usize) }) else {
        return 0;
    };
    match finding.state {
        State::Fine => {
            let _ = said.write_str(finding.name);
            FINE
        }
        State::Without(what) => {
            let _ = write!(said, "no {}: {what}", finding.name);
            NOTE
        }
        State::Missing(why) => {
            let _ = said.write_str(why.text());
            CHANGE
        }
    }
}

/// Whether there is a UART; if not, with a reason. It is left as it was.
///
/// # Safety
/// Called by the shim at module load: `line` came from [`standstill_choose_line`], its registers are the caller's and mapped at
/// `linear` if they are in memory; `reason` has `reason_bytes` zeroed bytes.
#[unsafe(no_mangle)]
unsafe extern "C" fn standstill_look_for_uart(
    line: *const RawLine,
    linear: u64,
    reason: *mut u8,
    reason_bytes: usize,
) -> u64 {
    // SAFETY: the shim passes as many bytes, zeroed, which nobody else uses until this returns.
    let buffer = unsafe { core::slice::from_raw_parts_mut(reason, reason_bytes) };
    let mut reason = Reason {
        buffer,
        len_bytes: 0,
    };
    // SAFETY: the shim passes a line that lives until this returns.
    let line = unsafe { &*line };
    // SAFETY: at CPL 0, with registers that are the caller's and mapped, by contract.
    match unsafe { boot::look_for_uart(place(line), linear) } {
        Ok(()) => 1,
        Err(error) => {
            let _ = write!(reason, "{error}");
            0
        }
    }
}

/// Builds the hypervisor. Null, with a reason, if it cannot be.
///
/// # Safety
/// Called by the shim at module load: `facts` and `net` are complete and true, `stack_top` ends a stack of
/// 16 MiB, `reason` has `reason_bytes` zeroed bytes.
#[unsafe(no_mangle)]
unsafe extern "C" fn standstill_build(
    facts: *const RawFacts,
    net: *const RawNet,
    stack_top: u64,
    reason: *mut u8,
    reason_bytes: usize,
) -> *const Hypervisor {
    // SAFETY: the shim passes facts that are complete and live until this returns.
    let facts = unsafe { &*facts };
    // SAFETY: the shim passes what lives until this returns.
    let net = unsafe { &*net };
    // SAFETY: the shim passes as many bytes, zeroed, which nobody else uses until this returns.
    let buffer = unsafe { core::slice::from_raw_parts_mut(reason, reason_bytes) };
    let mut job = Job {
        facts,
        net,
        reason: Reason {
            buffer,
            len_bytes: 0,
        },
        built: None,
    };
    // SAFETY: `build_here` takes a job; the stack is ours.
    unsafe { launch::on_stack((&raw mut job).cast(), stack_top, build_here) };
    job.built
        .map_or(core::ptr::null(), |hypervisor| &raw const *hypervisor)
}

/// # Safety
/// `job` points to a [`Job`].
unsafe extern "C" fn build_here(job: *mut c_void) -> u64 {
    // SAFETY: `job` is what `standstill_build` passed, which waits and does not use it meanwhile.
    let job = unsafe { &mut *job.cast::<Job<'_>>() };
    if job.facts.size_bytes != size_of::<RawFacts>() as u64 {
        let _ = job
            .reason
            .write_str("shim and core were not built together");
        return 1;
    }
    // SAFETY: the shim's facts are true.
    let plan = unsafe { plan(job.facts, job.net) };
    // SAFETY: at module load, on a stack of 16 MiB; the chunks are the module's own.
    match unsafe { boot::build(&plan) } {
        Ok(hypervisor) => {
            job.built = Some(hypervisor);
            0
        }
        Err(error) => {
            let _ = write!(job.reason, "{error}");
            1
        }
    }
}

/// # Safety
/// The facts are true.
unsafe fn plan<'f>(raw: &'f RawFacts, net: &RawNet) -> Plan<'f> {
    let constants = Constants::of_words(raw.constants);
    let image_count = raw.image_page_count as usize;
    // SAFETY: the facts' texts can be read; they were looked at before.
    let settings = unsafe { settings(net) }.unwrap_or(None);
    // The shim took none but a card that can be driven.
    let card = net.card.for_core().ok();
    let network = settings.zip(card).map(|(settings, card)| NetworkPlan {
        card,
        settings,
        seed: net.seed,
        epoch_us: net.epoch_us,
        rtc_century: (net.has_rtc != 0).then_some(net.rtc_century as u8),
        panic_every: net.panic_every as u32,
    });
    Plan {
        chunks: raw.chunks.get(..raw.chunk_count as usize).unwrap_or(&[]),
        // SAFETY: the shim's array has as many elements.
        image: unsafe { core::slice::from_raw_parts(raw.image_pages, image_count) },
        // SAFETY: the shim asked the kernel where it maps all physical memory, and `build` repeats that for
        // the host.
        memory: unsafe { DirectMap::new(raw.direct_map_base, raw.physical_limit) },
        uart: (raw.line.len_bytes != 0).then(|| UartPlan {
            place: place(&raw.line),
            linear: raw.line_linear,
            speed: Speed {
                clock_hz: raw.clock_hz as u32,
                baud_hz: raw.baud_hz as u32,
                is_fixed: raw.baud_fixed != 0,
            },
            interrupt: (raw.line.io_apic != 0).then_some(InterruptPin {
                controller: raw.line.io_apic,
                number: raw.line.pin as u8,
            }),
        }),
        network,
        constants,
        facts: raw.for_core(),
    }
}

/// The place that [`standstill_choose_line`] chose.
fn place(line: &RawLine) -> Place {
    match line.stride {
        0 => Place::Ports {
            first: line.base as u16,
        },
        stride => Place::Memory {
            base: line.base,
            stride: stride as u8,
        },
    }
}

/// Puts this core under the hypervisor; 0, or the code of a failed launch.
///
/// # Safety
/// `hypervisor` came from [`standstill_build`]; on core `core`, interrupts off.
#[unsafe(no_mangle)]
unsafe extern "C" fn standstill_start_core(hypervisor: *const Hypervisor, core: u64) -> u64 {
    // SAFETY: `hypervisor` came from `standstill_build`, by contract, and is never dropped.
    let hypervisor = unsafe { &*hypervisor };
    // SAFETY: on core `core` with interrupts off in the kernel's context, by contract.
    unsafe { boot::start_core(hypervisor, core as u16) }
}

/// Takes this core out of the hypervisor, once all others ask for the same; 0 if they do not yet.
///
/// # Safety
/// The core was started; interrupts off.
#[unsafe(no_mangle)]
unsafe extern "C" fn standstill_stop_core(token: u64) -> u64 {
    // SAFETY: the core runs as a guest and its interrupts are off, by contract.
    unsafe { boot::call(token, hypercall::LEAVE, 0) }
}

/// Lets the host break in.
///
/// # Safety
/// The calling core was started and cannot be left meanwhile.
#[unsafe(no_mangle)]
unsafe extern "C" fn standstill_arm(token: u64) {
    // SAFETY: on a core that was started and cannot be left meanwhile, by contract.
    unsafe { boot::call(token, hypercall::ARM, 0) };
}

/// Chunks that the arena wants to grow by, after the pools took what it has.
///
/// # Safety
/// As [`standstill_arm`].
#[unsafe(no_mangle)]
unsafe extern "C" fn standstill_wanted_chunks(token: u64) -> u64 {
    // SAFETY: on a core that was started and cannot be left meanwhile, by contract.
    unsafe { boot::call(token, hypercall::WANTED_CHUNKS, 0) }
}

/// Gives a chunk, zeroed but for the token as its first word, to the arena; 1 if it was taken, then it is nobody else's any more.
///
/// # Safety
/// As [`standstill_arm`]; the chunk is the caller's alone.
#[unsafe(no_mangle)]
unsafe extern "C" fn standstill_take_chunk(token: u64, base: u64) -> u64 {
    // SAFETY: on a core that was started, by contract; the chunk is the caller's alone to give.
    unsafe { boot::call(token, hypercall::TAKE_CHUNK, base) }
}

/// Gives random bits to the network; 0 if they could not be taken right now.
///
/// # Safety
/// As [`standstill_arm`].
#[unsafe(no_mangle)]
unsafe extern "C" fn standstill_stir(token: u64, bits: u64) -> u64 {
    // SAFETY: on a core that was started and cannot be left meanwhile, by contract.
    unsafe { boot::call(token, hypercall::STIR, bits) }
}

/// Tells what the kernel came to; the machine may halt there.
///
/// # Safety
/// As [`standstill_arm`]; `occasion` points to a `struct ss_occasion` that nobody changes meanwhile.
#[unsafe(no_mangle)]
unsafe extern "C" fn standstill_occasion(token: u64, occasion: u64) {
    // SAFETY: on a core that was started and cannot be left meanwhile, by contract.
    unsafe { boot::call(token, hypercall::OCCASION, occasion) };
}

/// 1 if the kernel is to panic.
///
/// # Safety
/// As [`standstill_arm`].
#[unsafe(no_mangle)]
unsafe extern "C" fn standstill_wants_crash(token: u64) -> u64 {
    // SAFETY: on a core that was started and cannot be left meanwhile, by contract.
    unsafe { boot::call(token, hypercall::WANTS_CRASH, 0) }
}

/// Exits that the calling core took.
///
/// # Safety
/// As [`standstill_arm`].
#[unsafe(no_mangle)]
unsafe extern "C" fn standstill_exits(token: u64) -> u64 {
    // SAFETY: on a core that was started and cannot be left meanwhile, by contract.
    unsafe { boot::call(token, hypercall::EXITS, 0) }
}

/// Clears all events; 1 if threads may still be in the code of detours.
///
/// # Safety
/// As [`standstill_arm`].
#[unsafe(no_mangle)]
unsafe extern "C" fn standstill_clear(token: u64) -> u64 {
    // SAFETY: on a core that was started and cannot be left meanwhile, by contract.
    unsafe { boot::call(token, hypercall::CLEAR, 0) }
}
