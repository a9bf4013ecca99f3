//! The driver's calls, and what becomes of those that are not the driver's.

use super::machine::{DRIVER, Machine, RAM, TOKEN};
use super::on_a_large_stack;
use crate::ept::model::{GIB, MIB};
use crate::exit::Flow;
use crate::exit::hypercall::{self, is_offered};
use crate::fake::FlatMemory;
use crate::port::{Cpu, PhysicalMemory, gpr};
use crate::vmx::{guest, reason, ro};
use wire_protocol::address::CoreId;

/// Core 0 calls from the driver's code; how it goes on, and RAX then.
fn call(machine: &mut Machine, token: u64, number: u64) -> (Flow, u64) {
    let cpu = &mut machine.cores[0].cpu;
    cpu.vmwrite(guest::RIP, DRIVER);
    cpu.vmwrite(ro::EXIT_REASON, u64::from(reason::VMCALL));
    let registers = cpu.registers_mut();
    registers[gpr::RAX] = hypercall::MAGIC;
    registers[gpr::RCX] = number;
    registers[gpr::RSI] = token;
    let flow = machine.handle(0);
    (flow, machine.cores[0].cpu.registers()[gpr::RAX])
}

#[test]
fn calls_without_the_token_are_refused() {
    on_a_large_stack(|| {
        let mut machine = Machine::new();
        machine.shared.departure.join(CoreId(1));
        for number in [
            hypercall::LEAVE,
            hypercall::ARM,
            hypercall::WANTED_CHUNKS,
            hypercall::TAKE_CHUNK,
            hypercall::EXITS,
            hypercall::STIR,
            hypercall::CLEAR,
            hypercall::OCCASION,
            hypercall::WANTS_CRASH,
        ] {
            let answer = call(&mut machine, TOKEN ^ 1 << 40, number);
            assert_eq!(answer, (Flow::Enter, 0), "{number}");
        }
        assert!(!machine.shared.poll.is_by(CoreId(0)));
        assert_eq!(call(&mut machine, TOKEN, hypercall::ARM).0, Flow::Enter);
        assert!(machine.shared.poll.is_by(CoreId(0)));
    });
}

#[test]
fn a_core_leaves_with_all_others_only() {
    on_a_large_stack(|| {
        let mut machine = Machine::new();
        machine.cores[0].cpu.ticks_per_look = machine.shared.clock.timeout_ticks() / 1000;
        let left = call(&mut machine, TOKEN, hypercall::LEAVE);
        assert_eq!(left, (Flow::Enter, 0));
        // It waits no longer, so the other one does not leave alone either.
        machine.shared.departure.join(CoreId(1));
        assert!(!machine.shared.departure.is_complete(0b11));
    });
}

#[test]
#[cfg_attr(miri, ignore = "takes minutes there")]
fn memory_is_taken_only_as_the_driver_offers_it() {
    let machine = Machine::new();
    let facts = &machine.shared.facts;
    let (device, chunk) = (3 * GIB, RAM + 2 * MIB);
    let mut memory = FlatMemory::new(4 * GIB);
    let mut offer = |at: u64| memory.write_u64(at, TOKEN);
    offer(device);
    offer(chunk);
    assert!(is_offered(facts, &memory, chunk));
    assert!(!is_offered(facts, &memory, device), "no RAM");
    assert!(!is_offered(facts, &memory, chunk + 2 * MIB), "no token");
    let middle = chunk + 0x1000;
    memory.write_u64(middle, TOKEN);
    assert!(!is_offered(facts, &memory, middle), "no chunk");
    assert!(!is_offered(facts, &memory, chunk), "in use");
    memory.write_u64(middle, 0);
    memory.write_u64(chunk + 2 * MIB - 8, 1);
    assert!(!is_offered(facts, &memory, chunk), "its end in use");
}
