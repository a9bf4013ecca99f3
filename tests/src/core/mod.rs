//! The driver's core as a program: its processor and its memory are made up, its host is a program behind a socket
//! or on the network ([`served`]) or a recording ([`played`]).
//!
//! Used by `standstill-core` and by tests. All that the core takes in from its machine goes through [`memory`] and the
//! exits of [`guest`]; both can be written down, and played again.

pub mod ending;
mod guest;
mod line;
mod memory;
pub mod played;
pub mod recording;
pub mod served;
mod way;

use debuggee_driver::fake::cpu::FakeCpu;
use debuggee_driver::fake::machine::{Machine, furnish, line_over};
use debuggee_driver::fake::world::{design, world};
use debuggee_driver::port::Ports;
use debuggee_driver::vmx::branch::{Format, Layout};
use line::{Host, InnerLine};
use memory::{GuestMemory, Observed};
use std::cell::RefCell;
use std::marker::PhantomData;
use std::rc::Rc;
use wire_protocol::address::GuestVirtual;
use wire_protocol::limits;

/// Stack of a thread that runs a machine: its parts are moved into their places.
pub const STACK_BYTES: usize = 64 << 20;

/// Room for lists in replies, as a driver has it.
const LISTS_BYTES: usize = 2 * limits::MESSAGE_BYTES + wire_protocol::pack::WORK_BYTES;
/// What the machine says that it runs.
const BANNER: &[u8] = b"Linux 0 (made up)";
/// What its processor draws.
const DRAWN: u64 = 0x6472_6177_6e00_0001;

/// Made-up hardware, and who plays the host.
pub struct Made<H>(PhantomData<H>);

impl<H: Host + 'static> Ports for Made<H> {
    type Cpu = FakeCpu;
    type Memory = Observed;
    type Transport = InnerLine<H>;
}

/// A machine with two cores, of which the second waits to be started.
fn machine<H: Host + 'static>(
    host: &Rc<RefCell<H>>,
    pages: impl GuestMemory + 'static,
) -> Machine<Made<H>> {
    let line = line_over(InnerLine::new(Rc::clone(host)), LISTS_BYTES);
    let memory = |own| Observed::new(own, pages);
    let world = world(true, design());
    let mut machine: Machine<Made<H>> = Machine::assemble(world, memory, line, |parts| {
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
    for core in &mut machine.cores {
        // Time goes on by being looked at.
        core.cpu.ticks_per_look = 1;
        core.cpu.random = Some(DRAWN);
    }
    for (place, value) in guest::FIRST {
        machine.cores[0].cpu.change(place, value);
    }
    machine.shared.poll.set_on(true);
    machine
}
