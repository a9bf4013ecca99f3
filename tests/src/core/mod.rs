//! The driver's core as a program: its processor and its memory are made up, its host is a program behind a socket
//! or on the network ([`served`]) or a recording ([`played`]).
//!
//! Used by `standstill-core` and by tests. All that the core takes in from its machine goes through `memory` and the
//! exits of `guest`, or of a real machine beside which it runs ([`beside`]); both can be written down, and played again.

pub mod beside;
mod code;
mod cores;
pub mod ending;
mod facts;
mod guest;
mod line;
mod memory;
pub mod played;
pub mod recording;
pub mod served;
mod way;
mod wire;

use code::Code;
use debuggee_driver::constants::Constants;
use debuggee_driver::fake::FlatMemory;
use debuggee_driver::fake::cpu::FakeCpu;
use debuggee_driver::fake::machine::{Built, Machine, cores_of, furnish, line_over};
use debuggee_driver::fake::rtc::FakeRtc;
use debuggee_driver::fake::world::{BITMAPS, CHUNKS, design, world, world_of};
use debuggee_driver::port::{PortRange, Ports};
use debuggee_driver::vmx::branch::{Format, Layout};
use facts::RawFacts;
use line::{Host, InnerLine};
use memory::{GuestMemory, Observed, Skims};
use std::marker::PhantomData;
use std::sync::{Arc, Mutex};
use wire_protocol::address::{GuestVirtual, PAGE_BYTES};
use wire_protocol::limits;
use wire_protocol::packet::Request;

/// Stack of a thread that runs a machine: its parts are moved into their places.
pub const STACK_BYTES: usize = 64 << 20;

/// Room for lists in replies, as a driver has it.
const LISTS_BYTES: usize = 2 * limits::MESSAGE_BYTES + wire_protocol::pack::WORK_BYTES;
/// What the machine says that it runs.
const BANNER: &[u8] = b"Linux 0 (made up)";
/// What its processor draws.
const DRAWN: u64 = 0x6472_6177_6e00_0001;

/// A digest of more memory than this is one of what was looked at otherwise.
const SKIMMED_BYTES: u64 = 1 << 20;

/// Made-up hardware, and who plays the host.
pub struct Made<H>(PhantomData<H>);

impl<H: Host> Ports for Made<H> {
    type Cpu = FakeCpu;
    type Memory = Observed;
    type Transport = InnerLine<H>;
    type ClockRegisters = FakeRtc;
}

/// Two cores with a made-up guest, of which the second waits to be started.
fn made_up<H: Host>(
    host: &Arc<Mutex<H>>,
    skims: Skims,
    guest: impl GuestMemory + 'static,
) -> Built<Made<H>> {
    let line = line_over(InnerLine::new(Arc::clone(host)), LISTS_BYTES);
    let bitmaps = [BITMAPS.msr, BITMAPS.own_msr, BITMAPS.io];
    let [msr, own_msr, io] = bitmaps.map(|bitmap| (bitmap, PAGE_BYTES));
    let others = [msr, own_msr, io, (BITMAPS.io + PAGE_BYTES, PAGE_BYTES)];
    let memory = |own: FlatMemory| Observed::new(own, &CHUNKS, &others, skims, guest);
    let world = world(true, design());
    let (shared, mut cores): Built<Made<H>> = cores_of(world, memory, line, |parts| {
        let facts = &mut parts.facts;
        facts.kernel_base = GuestVirtual(guest::KERNEL);
        facts.layout.kernel = guest::space();
        facts.driver_image = guest::driver();
        facts.banner[..BANNER.len()].copy_from_slice(BANNER);
        facts.banner_bytes = BANNER.len();
        parts.fixed.branches = Ok(Layout::Legacy {
            depth: 16,
            format: Format::Plain,
        });
        furnish(parts);
    });
    for core in &mut cores {
        begin(&mut core.cpu);
    }
    for (place, value) in guest::FIRST {
        cores[0].cpu.change(place, value);
    }
    shared.poll.set_on(true);
    (shared, cores)
}

/// The same as a machine that runs by itself.
fn machine<H: Host>(host: &Arc<Mutex<H>>, guest: impl GuestMemory + 'static) -> Machine<Made<H>> {
    Machine::of(made_up(host, Skims::default(), guest))
}

/// Cores of a machine that a platform has told about.
fn told<H: Host>(
    raw: &RawFacts,
    host: &Arc<Mutex<H>>,
    skims: Skims,
    guest: impl GuestMemory + 'static,
) -> Built<Made<H>> {
    let line = line_over(InnerLine::new(Arc::clone(host)), LISTS_BYTES);
    let constants = Constants::of_words(raw.constants);
    let facts = raw.for_core();
    let chunks = raw.chunks();
    let memory = |own: FlatMemory| Observed::new(own, chunks, &[], skims, guest);
    let limit = raw.physical_limit;
    let world = world_of(chunks, limit, facts.core_count, constants.design());
    let (shared, mut cores): Built<Made<H>> = cores_of(world, memory, line, |parts| {
        parts.facts = facts;
        parts.fixed.script_operations = constants.script_operations;
        parts.fixed.code_instructions = constants.code_instructions;
        parts.fixed.halts_without_session = constants.halt != 0;
        parts.fixed.bitmaps.owned_ports = PortRange {
            first: raw.line.base as u16,
            count: raw.line.len_bytes as u16,
        };
        furnish(parts);
    });
    for core in &mut cores {
        begin(&mut core.cpu);
        let mut code = Code {
            memory: shared.memory.clone(),
            direct_map: raw.direct_map_base,
        };
        core.cpu.runs_code = Some(Box::new(move |bytes, call, instructions, registers| {
            code.run(bytes, call, instructions, registers)
        }));
    }
    shared.poll.set_on(true);
    (shared, cores)
}

fn begin(cpu: &mut FakeCpu) {
    // Time goes on by being looked at.
    cpu.ticks_per_look = 1;
    cpu.random = Some(DRAWN);
}

/// Whether a request makes the core read so much memory that it is not taken in.
fn skims_through(request: &[u8]) -> bool {
    match Request::decode(request, GuestVirtual(0)) {
        Ok((_, Request::DigestMemory { len_bytes, .. })) => len_bytes > SKIMMED_BYTES,
        _ => false,
    }
}
