//! What the driver's part in the guest tells of the kernel, and when that halts the machine.

extern crate std;

use super::ends::conversation;
use super::machine::{DRIVER, Machine, RAM, TOKEN, line};
use super::on_a_large_stack;
use crate::exit::core::Outcome;
use crate::exit::hypercall;
use crate::port::{Cpu, PhysicalMemory, gpr};
use crate::vmx::guest;
use core::sync::atomic::Ordering::SeqCst;
use wire_protocol::address::GuestVirtual;
use wire_protocol::packet::{Features, Occasion, OccasionRule, OccasionText};

/// Where what is told stands: the guest maps it to itself.
const BLOCK: u64 = RAM + 0x3000;
const KERNEL: GuestVirtual = GuestVirtual(0xffff_ffff_8100_0000);

/// How often the machine halts if this is told, by a driver that a host was in a session with or not.
fn halts(number: u64, name: &[u8], rule: OccasionRule, has_host: bool) -> u32 {
    let mut machine = Machine::with(|parts| {
        parts.line = line(&conversation(&[]));
        parts.facts.kernel_base = KERNEL;
        parts.memory.write_u64(BLOCK, number);
        parts.memory.write_u64(BLOCK + 8, 0x1234);
        parts.memory.write_u64(BLOCK + 16, 11);
        parts.memory.write(BLOCK + 24, name);
    });
    let shared = machine.shared;
    if has_host {
        shared.begin_session(Features::empty(), None);
    }
    shared.occasions.change([rule].into_iter());
    let [core, other] = &mut machine.cores;
    core.cpu.ticks_per_look = shared.clock.timeout_ticks() / 10;
    core.cpu.vmwrite(guest::RIP, DRIVER);
    let registers = core.cpu.registers_mut();
    registers[gpr::RAX] = hypercall::MAGIC;
    registers[gpr::RCX] = hypercall::OCCASION;
    registers[gpr::RDX] = BLOCK;
    registers[gpr::RSI] = TOKEN;
    let outcome = other.seat.wait_for_sipi(|| hypercall::handle(core));
    assert!(matches!(outcome, Outcome::Advance), "{outcome:?}");
    shared.halts.load(SeqCst)
}

fn rule(occasion: Occasion, stops: bool, name: &[u8]) -> OccasionRule {
    OccasionRule {
        occasion,
        stops,
        name: OccasionText::new(name),
    }
}

#[test]
fn what_is_wanted_halts_where_a_host_may_look() {
    on_a_large_stack(|| {
        let program = u64::from(Occasion::Program.to_wire());
        let of = |name| rule(Occasion::Program, true, name);
        assert_eq!(halts(program, b"sh", of(b""), true), 1);
        assert_eq!(halts(program, b"sh", of(b"sh"), true), 1);
        assert_eq!(halts(program, b"sh", of(b"ls"), true), 0, "another one");
        assert_eq!(halts(program, b"sh", of(b""), false), 0, "nobody is there");
        let never = rule(Occasion::Program, false, b"");
        assert_eq!(halts(program, b"sh", never, true), 0);
    });
}

#[test]
fn a_panic_halts_by_itself_and_what_is_nothing_does_not() {
    on_a_large_stack(|| {
        let other = rule(Occasion::Oops, false, b"");
        assert_eq!(halts(0, b"no init found", other, true), 1);
        assert_eq!(
            halts(16, b"", other, true),
            0,
            "there is none of that number"
        );
        assert_eq!(halts(u64::MAX, b"", other, true), 0);
    });
}
