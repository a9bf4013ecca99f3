//! Instructions that are carried out at once where the guest cannot tell, and stepped where it can.

use super::machine::{Does, Machine, RAM, READ, WRITES};
use super::{DATA, STORE, machine, on_a_large_stack};
use crate::port::{Cpu, gpr};
use crate::vmx::{guest, interruptibility};

/// MOV RAX, [RBX]
const LOAD: &[u8] = &[0x48, 0x8b, 0x03];
/// MOV R9D, [RBX + 4]
const LOAD_HALF: &[u8] = &[0x44, 0x8b, 0x4b, 0x04];
/// NOP DWORD PTR [RAX + RAX + 0]
const NOP: &[u8] = &[0x0f, 0x1f, 0x44, 0x00, 0x00];

const INTERRUPTS: u64 = 1 << 9;
const SINGLE_STEP: u64 = 1 << 8;
const RESUME: u64 = 1 << 16;

fn read(machine: &Machine, field: u32) -> u64 {
    machine.cores[0].cpu.vmread(field)
}

fn write(machine: &mut Machine, field: u32, value: u64) {
    machine.cores[0].cpu.vmwrite(field, value);
}

/// One attempt at the instruction at [`RAM`], which exits: how far it came.
fn attempt(machine: &mut Machine, accesses: &[Does]) -> u64 {
    machine.set_rip(0, RAM);
    assert!(!machine.try_run(0, accesses, 0));
    read(machine, guest::RIP) - RAM
}

#[test]
fn a_hook_on_an_instruction_that_does_nothing_needs_no_step() {
    on_a_large_stack(|| {
        let mut machine = machine(NOP);
        let event = machine.hook(RAM);
        write(
            &mut machine,
            guest::INTERRUPTIBILITY_STATE,
            interruptibility::STI,
        );
        assert_eq!(attempt(&mut machine, &[]), 5);
        assert!(!machine.traps(0));
        assert_eq!(read(&machine, guest::INTERRUPTIBILITY_STATE), 0);
        assert_eq!(machine.hits(event), 1);
        machine.assert_all_watched();
        // The guest steps by itself, and control-flow enforcement is on.
        const CET: u64 = 1 << 23;
        for (field, value) in [(guest::RFLAGS, INTERRUPTS | SINGLE_STEP), (guest::CR4, CET)] {
            let before = read(&machine, field);
            write(&mut machine, field, value);
            assert_eq!(attempt(&mut machine, &[]), 0);
            assert!(machine.traps(0));
            machine.run(0, &[], RAM + 5);
            write(&mut machine, field, before);
        }
        assert_eq!(machine.hits(event), 3);
        machine.assert_all_watched();
    });
}

#[test]
fn a_load_of_other_bytes_needs_no_step() {
    on_a_large_stack(|| {
        let mut machine = machine(LOAD);
        let event = machine.monitor(DATA + 0x10, 8, READ | WRITES);
        machine.place_code(DATA, &[1, 2, 3, 4, 5, 6, 7, 8]);
        machine.cores[0].cpu.registers_mut()[gpr::RBX] = DATA;
        write(&mut machine, guest::RFLAGS, INTERRUPTS | RESUME);
        assert_eq!(attempt(&mut machine, &[Does(DATA, 8, READ)]), 3);
        let loaded = machine.cores[0].cpu.registers()[gpr::RAX];
        assert_eq!(loaded, 0x0807_0605_0403_0201);
        assert_eq!(read(&machine, guest::RFLAGS), INTERRUPTS);
        machine.place_code(RAM, LOAD_HALF);
        machine.cores[0].cpu.registers_mut()[9] = u64::MAX;
        assert_eq!(attempt(&mut machine, &[Does(DATA + 4, 4, READ)]), 4);
        assert_eq!(machine.cores[0].cpu.registers()[9], 0x0807_0605);
        assert!(!machine.traps(0));
        assert_eq!(machine.hits(event), 0);
        machine.assert_all_watched();
    });
}

#[test]
#[cfg_attr(miri, ignore = "takes minutes there")]
fn what_could_tell_a_load_from_the_processors_own_is_stepped() {
    on_a_large_stack(|| {
        let mut machine = machine(LOAD);
        let event = machine.monitor(DATA + 0x10, 8, READ | WRITES);
        machine.cores[0].cpu.registers_mut()[gpr::RBX] = DATA;
        // A data breakpoint, a single step, and an access that is not aligned or not where the register says.
        for (field, value, at) in [
            (guest::DR7, 0x401, DATA),
            (guest::RFLAGS, INTERRUPTS | SINGLE_STEP, DATA),
            (guest::DR7, 0x400, DATA + 1),
            (guest::DR7, 0x400, DATA + 0x20),
        ] {
            let before = read(&machine, field);
            write(&mut machine, field, value);
            if at == DATA + 1 {
                machine.cores[0].cpu.registers_mut()[gpr::RBX] = at;
            }
            assert_eq!(attempt(&mut machine, &[Does(at, 8, READ)]), 0, "{at:x}");
            assert!(machine.traps(0));
            machine.run(0, &[Does(at, 8, READ)], RAM + 3);
            write(&mut machine, field, before);
        }
        machine.place_code(RAM, STORE);
        assert_eq!(attempt(&mut machine, &[Does(DATA, 8, WRITES)]), 0);
        machine.run(0, &[Does(DATA, 8, WRITES)], RAM + 3);
        assert_eq!(machine.hits(event), 0);
        // What reaches into the watched bytes is a hit.
        machine.place_code(RAM, LOAD);
        machine.cores[0].cpu.registers_mut()[gpr::RBX] = DATA + 0xc;
        machine.set_rip(0, RAM);
        machine.run(0, &[Does(DATA + 0xc, 8, READ)], RAM + 3);
        assert_eq!(machine.hits(event), 1);
        machine.assert_all_watched();
    });
}
